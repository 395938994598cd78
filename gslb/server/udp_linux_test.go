package server

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// dialUDP is a client that takes datagrams from that address and port only.
func dialUDP(t testing.TB, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(hang))
	return c
}

func sendUDP(t testing.TB, c *net.UDPConn, wire []byte) {
	t.Helper()
	if _, err := c.Write(wire); err != nil {
		t.Fatal(err)
	}
}

func receiveUDP(t testing.TB, c *net.UDPConn) *dns.Msg {
	t.Helper()
	buf := make([]byte, maxUDP+1)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	m := new(dns.Msg)
	if err := m.Unpack(buf[:n]); err != nil {
		t.Fatal(err)
	}
	return m
}

func listen(addr string) func(*Server) {
	return func(s *Server) { s.listen = []netip.AddrPort{netip.MustParseAddrPort(addr)} }
}

// needIPv6 skips where the loopback has no IPv6.
func needIPv6(t testing.TB) {
	c, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Skipf("no IPv6 on this machine: %v", err)
	}
	c.Close()
}

func TestUDP(t *testing.T) {
	for _, row := range []struct {
		name, listen string
		ask          []string // addresses
	}{
		{"one IPv4 address", "127.0.0.1:0", []string{"127.0.0.1"}},
		{"one IPv6 address", "[::1]:0", []string{"::1"}},
		// A client hears only the address that it asked.
		{"all IPv4 addresses", "0.0.0.0:0", []string{"127.0.0.1", "127.0.0.2", "127.1.2.3"}},
		{"all IPv6 addresses", "[::]:0", []string{"::1"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			at := netip.MustParseAddrPort(row.listen)
			if at.Addr().Is6() {
				needIPv6(t)
			}
			elsewhere := owner(t, func(w dns.ResponseWriter, q *dns.Msg) {
				m := new(dns.Msg).SetReply(q)
				m.Answer = []dns.RR{record(t, q.Question[0].Name+" 60 IN A 192.0.2.99")}
				w.WriteMsg(m)
			})
			_, bound := start(t, configuration(t, elsewhere), listen(row.listen))
			for i, a := range row.ask {
				to := netip.AddrPortFrom(netip.MustParseAddr(a), bound.Port())
				// two come late
				for _, name := range []string{"a.example.com.", "ns.example.com.", "host.foreign.test."} {
					c := dialUDP(t, to)
					sendUDP(t, c, ask(t, uint16(i), name, dns.TypeA))
					if m := receiveUDP(t, c); m.Id != uint16(i) || len(m.Answer) != 1 {
						t.Errorf("from %s about %s came\n%v", a, name, m)
					}
				}
			}
		})
	}
}

// The sockets of an address share it, and every query is answered by one of them, once. There are not so many that they
// do not fit into the buffers that the unprivileged get.
func TestUDPManyAtOnce(t *testing.T) {
	const clients, each = 16, 16
	s, addr := start(t, configuration(t))
	if len(s.udp) != 2 {
		t.Fatalf("%d sockets, want 2", len(s.udp))
	}
	var all [clients]*net.UDPConn
	for i := range all {
		all[i] = dialUDP(t, addr)
		for id := range each {
			sendUDP(t, all[i], ask(t, uint16(id), "b.example.com.", dns.TypeA))
		}
	}
	for i, c := range all {
		var seen [each]bool
		for range each {
			m := receiveUDP(t, c)
			if m.Id >= each || seen[m.Id] || len(m.Answer) != 1 {
				t.Fatalf("client %d got again, or got\n%v", i, m)
			}
			seen[m.Id] = true
		}
	}
	if n := s.Counts().Queries[UDP]; n != clients*each {
		t.Errorf("%d queries counted, want %d", n, clients*each)
	}
}

// Run ends at once although nothing comes, and the port is free then.
func TestUDPEndsIdle(t *testing.T) {
	s := New(Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Cores: 2})
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }() // ends with cancel
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(hang):
		t.Fatal("Run does not end")
	}
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(s.Addrs()[0]))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestUDPAddressInUse(t *testing.T) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	addr := c.LocalAddr().(*net.UDPAddr).AddrPort()
	err = New(Config{Listen: []netip.AddrPort{addr}, Cores: 2}).Listen()
	if want := "listening on UDP " + addr.String() + ": bind: address already in use"; err == nil ||
		err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// An address that a server of ours has is not shared with the next one, which would take its queries until it ends.
func TestUDPAddressOfAnotherServer(t *testing.T) {
	first := New(Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Cores: 2})
	if err := first.Listen(); err != nil {
		t.Fatal(err)
	}
	defer first.close()
	addr := first.Addrs()[0]
	err := New(Config{Listen: first.Addrs(), Cores: 2}).Listen()
	if want := "listening on UDP " + addr.String() + ": bind: address already in use"; err == nil ||
		err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestUDPUnknownZone(t *testing.T) {
	err := New(Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("[fe80::1%no-such-link]:0")}}).Listen()
	if want := "listening on UDP [fe80::1%no-such-link]:0: zone no-such-link: route ip+net: no such network " +
		"interface"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestUDPBuffers(t *testing.T) {
	s, _ := start(t, configuration(t))
	for _, option := range []int{unix.SO_RCVBUF, unix.SO_SNDBUF} {
		n, err := unix.GetsockoptInt(s.udp[0].fd, unix.SOL_SOCKET, option)
		if err != nil {
			t.Fatal(err)
		}
		if n < 64<<10 { // what the system allows at least; the kernel counts twice what was asked for
			t.Errorf("buffer %d of %d bytes", option, n)
		}
	}
}

// pair is a batch on a socket, and a client of it.
func pair(t testing.TB) (*batch, *net.UDPConn) {
	t.Helper()
	sockets, err := openUDP(New(Config{}), netip.MustParseAddrPort("127.0.0.1:0"), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sockets[0].close)
	return newBatch(sockets[0].fd, false), dialUDP(t, sockets[0].addr())
}

// queue reads one datagram and queues answers to its sender.
func (b *batch) queue(t testing.TB, answers ...string) {
	t.Helper()
	if n, err := b.receive(); n != 1 || err != 0 {
		t.Fatal(n, err)
	}
	for _, answer := range answers {
		b.answer(0, func(_ []byte, _ netip.AddrPort, _ local, out []byte) int { return copy(out, answer) })
	}
}

// The kernel refuses some datagrams; the others go.
func TestFlushRefused(t *testing.T) {
	for _, row := range []struct {
		name    string
		refused []int
		want    string
	}{
		{"none", nil, "abcd"},
		{"first", []int{0}, "bcd"},
		{"in between", []int{1, 2}, "ad"},
		{"last", []int{3}, "abc"},
		{"all", []int{0, 1, 2, 3}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			b, c := pair(t)
			sendUDP(t, c, []byte("?"))
			b.queue(t, "a", "b", "c", "d", ".")
			for _, i := range row.refused {
				b.out[i].Name = (*byte)(unsafe.Pointer(&unix.RawSockaddrInet4{Family: unix.AF_INET})) // port 0: EINVAL
			}
			b.flush(1)
			got := ""
			for buf := make([]byte, 10); ; {
				n, err := c.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				if string(buf[:n]) == "." {
					break
				}
				got += string(buf[:n])
			}
			if got != row.want {
				t.Errorf("sent %q, want %q", got, row.want)
			}
		})
	}
}

// What goes unanswered leaves no gap, and no answer takes another's client.
func TestBatchUnanswered(t *testing.T) {
	b, c := pair(t)
	other := dialUDP(t, c.RemoteAddr().(*net.UDPAddr).AddrPort())
	sendUDP(t, c, []byte("drop"))
	sendUDP(t, other, []byte("keep"))
	for n := 0; n < 2; {
		got, err := b.receive()
		if err != 0 {
			t.Fatal(err)
		}
		n += got
		for i := range got {
			b.answer(i, func(request []byte, from netip.AddrPort, at local, out []byte) int {
				if string(request) == "drop" {
					return 0
				}
				if want := other.LocalAddr().(*net.UDPAddr).AddrPort(); from != want || at != (local{}) {
					t.Errorf("from %v at %v, want %v and nothing", from, at, want)
				}
				return copy(out, request)
			})
		}
		b.flush(got)
	}
	buf := make([]byte, 10)
	if n, err := other.Read(buf); err != nil || string(buf[:n]) != "keep" {
		t.Errorf("got %q, %v, want keep", buf[:n], err)
	}
}

// A datagram that is longer than any may be is told from the longest that may be.
func TestBatchLong(t *testing.T) {
	b, c := pair(t)
	sendUDP(t, c, make([]byte, maxUDP+100))
	if got, err := b.receive(); got != 1 || err != 0 {
		t.Fatal(got, err)
	}
	b.answer(0, func(request []byte, _ netip.AddrPort, _ local, out []byte) int {
		if len(request) != maxUDP+1 || len(out) != maxUDP {
			t.Errorf("%d bytes into %d, want %d and %d", len(request), len(out), maxUDP+1, maxUDP)
		}
		return 0
	})
}

func TestUDPNoAllocations(t *testing.T) {
	s := New(Config{})
	s.Publish(viewOf(t, configuration(t), 1))
	b, c := pair(t)
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	w := s.newWorker(func([]byte, netip.AddrPort, local) {})
	handle, query, buf := w.handle, ask(t, 1, "a.example.com.", dns.TypeA), make([]byte, 512)
	raw.Control(func(fd uintptr) {
		unix.SetNonblock(int(fd), false)
		n := testing.AllocsPerRun(100, func() {
			if _, err := syscall.Write(int(fd), query); err != nil {
				t.Fatal(err)
			}
			got, err := b.receive()
			if err != 0 {
				t.Fatal(err)
			}
			w.begin()
			for i := range got {
				b.answer(i, handle)
			}
			b.flush(got)
			if _, err := syscall.Read(int(fd), buf); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%v allocations for a query, want none", n)
		}
	})
}
