package server

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/selection"
)

func TestTCPWithStockClient(t *testing.T) {
	_, addr := start(t, configuration(t))
	for _, row := range []struct {
		network, name string
		rcode         int
		want          string
	}{
		{"tcp", "a.example.com.", dns.RcodeSuccess, "192.0.2.10"},
		{"udp", "a.example.com.", dns.RcodeSuccess, "192.0.2.10"},
		{"tcp", "www.example.com.", dns.RcodeSuccess, "203.0.113.10"},
		{"udp", "www.example.com.", dns.RcodeSuccess, "203.0.113.10"},
		{"tcp", "none.example.com.", dns.RcodeNameError, ""},
		{"udp", "none.example.com.", dns.RcodeNameError, ""},
		{"udp", "example.org.", dns.RcodeRefused, ""},
	} {
		t.Run(row.network+" "+row.name, func(t *testing.T) {
			c := dns.Client{Net: row.network, Timeout: hang}
			got, _, err := c.Exchange(new(dns.Msg).SetQuestion(row.name, dns.TypeA), addr.String())
			if err != nil {
				t.Fatal(err)
			}
			if got.Rcode != row.rcode {
				t.Errorf("rcode = %s, want %s", dns.RcodeToString[got.Rcode], dns.RcodeToString[row.rcode])
			}
			if row.want != "" && (len(got.Answer) != 1 || got.Answer[0].(*dns.A).A.String() != row.want) {
				t.Errorf("answer = %v, want %s", got.Answer, row.want)
			}
		})
	}
}

// RFC 7766 section 6.2.1.1: many queries at once on one connection, all answered.
func TestTCPPipelined(t *testing.T) {
	_, addr := start(t, configuration(t))
	c := dial(t, addr)
	const n = 500 // more than may be under way
	var all [][]byte
	for i := range uint16(n) {
		all = append(all, ask(t, i, "a.example.com.", dns.TypeA))
	}
	go c.send(all...) // ends when all is read
	seen := make(map[uint16]bool)
	for range n {
		m := c.next()
		seen[m.Id] = len(m.Answer) == 1
	}
	if len(seen) != n {
		t.Errorf("%d different answers, want %d", len(seen), n)
	}
}

// RFC 7766 section 6.2.1.1: a slow answer keeps none behind it back.
func TestTCPOutOfOrder(t *testing.T) {
	release := make(chan struct{})
	s, addr := start(t, configuration(t), slow(release))
	c := dial(t, addr)
	c.send(ask(t, 1, "slow.example.com.", dns.TypeA), ask(t, 2, "a.example.com.", dns.TypeA),
		ask(t, 3, "b.example.com.", dns.TypeA))
	if first, second := c.next().Id, c.next().Id; first != 2 || second != 3 {
		t.Errorf("first answers %d and %d, want 2 and 3", first, second)
	}
	close(release)
	s.Publish(s.views.load())
	if third := c.next(); third.Id != 1 || third.Rcode != dns.RcodeNameError {
		t.Errorf("last answer is %v, want 1, NXDOMAIN", third)
	}
}

// RFC 7766 section 8: segments cut messages anywhere, between the two bytes of a length, too.
func TestTCPSplit(t *testing.T) {
	_, addr := start(t, configuration(t))
	stream := appendFrame(appendFrame(nil, ask(t, 1, "a.example.com.", dns.TypeA)),
		ask(t, 2, "b.example.com.", dns.TypeA))
	for cut := 1; cut < len(stream); cut++ {
		c := dial(t, addr)
		c.SetNoDelay(true)
		for _, part := range [][]byte{stream[:cut], stream[cut:]} {
			if _, err := c.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		if first, second := c.next().Id, c.next().Id; first != 1 || second != 2 {
			t.Fatalf("cut at %d: answers %d and %d, want 1 and 2", cut, first, second)
		}
		c.Close()
	}
	c := dial(t, addr)
	for _, b := range stream {
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if first, second := c.next().Id, c.next().Id; first != 1 || second != 2 {
		t.Errorf("byte by byte: answers %d and %d, want 1 and 2", first, second)
	}
}

// A client that has closed its side gets all its answers, the slow ones too, before the server closes its own.
func TestTCPHalfClose(t *testing.T) {
	release := make(chan struct{})
	s, addr := start(t, configuration(t), slow(release))
	c := dial(t, addr)
	c.send(ask(t, 1, "slow.example.com.", dns.TypeA), ask(t, 2, "a.example.com.", dns.TypeA))
	c.CloseWrite()
	if m := c.next(); m.Id != 2 {
		t.Errorf("first answer is %d, want 2", m.Id)
	}
	close(release)
	s.Publish(s.views.load())
	if m := c.next(); m.Id != 1 {
		t.Errorf("second answer is %d, want 1", m.Id)
	}
	c.ended()
}

// What is too short to have an id ends the connection; what came before it is answered.
func TestTCPBadFrames(t *testing.T) {
	for name, frame := range map[string][]byte{
		"zero length": {0, 0},
		"one byte":    {0, 1, 'x'},
		"eleven":      {0, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
	} {
		t.Run(name, func(t *testing.T) {
			s, addr := start(t, configuration(t))
			c := dial(t, addr)
			if _, err := c.Write(append(appendFrame(nil, ask(t, 1, "a.example.com.", dns.TypeA)),
				frame...)); err != nil {
				t.Fatal(err)
			}
			if m := c.next(); m.Id != 1 {
				t.Errorf("answer is %d, want 1", m.Id)
			}
			c.ended()
			if n := s.Counts().Events[TCPBadFrame]; n != 1 {
				t.Errorf("%d bad frames counted, want 1", n)
			}
		})
	}
}

// A response on a TCP connection is not answered, and does no harm to what follows.
func TestTCPResponseIsIgnored(t *testing.T) {
	_, addr := start(t, configuration(t))
	c := dial(t, addr)
	response := ask(t, 1, "a.example.com.", dns.TypeA)
	response[2] |= 0x80
	c.send(response, ask(t, 2, "a.example.com.", dns.TypeA))
	if m := c.next(); m.Id != 2 {
		t.Errorf("answer is %d, want 2", m.Id)
	}
}

// piped runs f with the client's end of a connection to a server in a bubble, where time is what the test makes of it.
func piped(t *testing.T, limits config.TCPLimits, f func(t *testing.T, s *Server, c net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg := configuration(t)
		cfg.Server.TCP = limits
		s := New(Config{Cores: 1})
		s.Publish(viewOf(t, cfg, selection.Up))
		ours, theirs := net.Pipe()
		c := &conn{s: s, tcp: ours, from: resolver}
		c.touch()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			c.serve(t.Context())
		}()
		f(t, s, theirs)
		theirs.Close()
		<-ended
		s.late.Wait()
	})
}

// endsAfter reads to the end of a connection, which must come after so long.
func endsAfter(t *testing.T, c net.Conn, want time.Duration) {
	t.Helper()
	begun := time.Now()
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Errorf("reading: %v", err)
	}
	if got := time.Since(begun); got != want {
		t.Errorf("closed after %v, want %v", got, want)
	}
}

// exchange sends a query and reads a response.
func exchange(t *testing.T, c net.Conn, query []byte) {
	t.Helper()
	if _, err := c.Write(appendFrame(nil, query)); err != nil {
		t.Fatal(err)
	}
	if _, err := (frames{bufio.NewReader(c)}).next(func() {}); err != nil {
		t.Fatal(err)
	}
}

func TestTCPIdle(t *testing.T) {
	limits := config.TCPLimits{Idle: 10 * time.Second, Query: 5 * time.Second, Pipeline: 4}
	for name, f := range map[string]func(t *testing.T, s *Server, c net.Conn){
		"silent": func(t *testing.T, _ *Server, c net.Conn) {
			endsAfter(t, c, 10*time.Second)
		},
		"after an answer": func(t *testing.T, _ *Server, c net.Conn) {
			for range 5 {
				time.Sleep(9 * time.Second)
				exchange(t, c, ask(t, 1, "a.example.com.", dns.TypeA))
			}
			endsAfter(t, c, 10*time.Second)
		},
		// RFC 7766 section 6.2.3: a connection with a query under way is not idle.
		"not while a query is under way": func(t *testing.T, s *Server, c net.Conn) {
			time.Sleep(5 * time.Second)
			s.Publish(viewOf(t, s.views.load().Config, selection.Unknown))
			time.AfterFunc(24*time.Second, func() { s.Publish(viewOf(t, s.views.load().Config, selection.Up)) })
			exchange(t, c, ask(t, 1, "www.example.com.", dns.TypeA))
			endsAfter(t, c, 10*time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) { piped(t, limits, f) })
	}
}

// A message has to be complete in time, however often a byte of it comes.
func TestTCPSlowloris(t *testing.T) {
	limits := config.TCPLimits{Idle: 10 * time.Second, Query: 5 * time.Second, Pipeline: 4}
	stream := appendFrame(nil, ask(t, 1, "a.example.com.", dns.TypeA))
	for name, n := range map[string]int{"half a length": 1, "a length": 2, "all but a byte": len(stream) - 1} {
		t.Run(name, func(t *testing.T) {
			piped(t, limits, func(t *testing.T, s *Server, c net.Conn) {
				time.Sleep(9 * time.Second)
				if _, err := c.Write(stream[:n]); err != nil {
					t.Fatal(err)
				}
				endsAfter(t, c, 5*time.Second)
				if n := s.Counts().Events[TCPTimedOut]; n != 1 {
					t.Errorf("%d connections timed out, want 1", n)
				}
			})
		})
	}
	t.Run("byte by byte", func(t *testing.T) {
		piped(t, limits, func(t *testing.T, s *Server, c net.Conn) {
			n := 0
			for _, b := range stream {
				if _, err := c.Write([]byte{b}); err != nil {
					break
				}
				n++
				time.Sleep(1100 * time.Millisecond)
			}
			if n != 5 {
				t.Errorf("%d bytes were taken, want 5", n)
			}
		})
	})
}

// An answer has to be taken in time.
func TestTCPSlowReader(t *testing.T) {
	limits := config.TCPLimits{Idle: 10 * time.Second, Query: 5 * time.Second, Pipeline: 4}
	piped(t, limits, func(t *testing.T, s *Server, c net.Conn) {
		query := appendFrame(nil, ask(t, 1, "a.example.com.", dns.TypeA))
		begun := time.Now()
		n := 0
		for {
			if _, err := c.Write(query); err != nil {
				break
			}
			n++
		}
		// One answer is being written, four are waiting for that, and one query waits for these: its slot.
		if took := time.Since(begun); took != 5*time.Second || n > 2*limits.Pipeline+1 {
			t.Errorf("closed after %v and %d queries, want 5s and no more than the pipeline takes", took, n)
		}
		if n := s.Counts().Events[TCPTimedOut]; n != 1 {
			t.Errorf("%d connections timed out, want 1", n)
		}
	})
}

// A client that asks and never reads: what it is owed stays bounded, and it is cut off.
func TestTCPNeverReads(t *testing.T) {
	c := configuration(t)
	c.Server.TCP.Query = time.Second
	s, addr := start(t, c)
	victim := dial(t, addr)
	victim.SetReadBuffer(4096)
	query := appendFrame(nil, ask(t, 1, "a.example.com.", dns.TypeA))
	many := bytes.Repeat(query, 1000)
	for {
		if _, err := victim.Write(many); err != nil {
			if nerr, ok := err.(net.Error); ok && nerr.Timeout() {
				t.Fatal("the connection stays open")
			}
			break
		}
	}
	if n := s.Counts().Events[TCPTimedOut]; n == 0 {
		t.Error("no connection timed out, want 1")
	}
	// Others are served.
	other := dial(t, addr)
	other.send(ask(t, 2, "a.example.com.", dns.TypeA))
	if m := other.next(); m.Id != 2 {
		t.Errorf("answer is %d, want 2", m.Id)
	}
}

func TestTCPPerClient(t *testing.T) {
	c := configuration(t)
	c.Server.TCP.PerClient = 3
	s, addr := start(t, c)
	var open []client
	for range 3 {
		c := dial(t, addr)
		c.send(ask(t, 1, "a.example.com.", dns.TypeA))
		c.next()
		open = append(open, c)
	}
	refused(t, addr)
	if counts := s.Counts(); counts.Events[TCPRefused] != 1 || counts.Events[TCPAccepted] != 3 {
		t.Errorf("counts = %v, want 3 accepted, 1 refused", counts.Events)
	}
	open[0].Close()
	for n := s.Connections(); n != 2; n = s.Connections() {
		open[1].send(ask(t, 2, "a.example.com.", dns.TypeA))
		open[1].next()
	}
	again := dial(t, addr)
	again.send(ask(t, 3, "a.example.com.", dns.TypeA))
	if m := again.next(); m.Id != 3 {
		t.Errorf("answer is %d, want 3", m.Id)
	}
}

// settle waits until so many queries are under way over TCP.
func settle(s *Server, want int32) {
	for {
		busy := int32(0)
		s.clients.mu.Lock()
		for c := range s.clients.conns {
			busy += c.busy.Load()
		}
		s.clients.mu.Unlock()
		if busy == want {
			return
		}
		runtime.Gosched()
	}
}

// With all connections taken, a new one takes the place of the one that is idle for longest, and of none that waits for
// an answer.
func TestTCPEvictsOldestIdle(t *testing.T) {
	limits := configuration(t)
	limits.Server.TCP.Connections = 3
	release := make(chan struct{})
	defer close(release)
	s, addr := start(t, limits, slow(release))
	alive := func(c client, name string) {
		t.Helper()
		c.send(ask(t, 1, "a.example.com.", dns.TypeA))
		if m := c.next(); m.Id != 1 {
			t.Errorf("%s: answer is %d, want 1", name, m.Id)
		}
	}
	waiting := dial(t, addr)
	waiting.send(ask(t, 9, "slow.example.com.", dns.TypeA))
	alive(waiting, "waiting")
	oldest, newer := dial(t, addr), dial(t, addr)
	alive(newer, "newer")
	alive(oldest, "oldest")
	alive(newer, "newer")
	settle(s, 1)
	fourth := dial(t, addr)
	alive(fourth, "fourth")
	oldest.ended()
	alive(newer, "newer, after the oldest was closed")
	alive(waiting, "waiting, after the oldest was closed")
	newer.send(ask(t, 9, "slow.example.com.", dns.TypeA))
	fourth.send(ask(t, 9, "slow.example.com.", dns.TypeA))
	alive(newer, "newer")
	alive(fourth, "fourth")
	refused(t, addr) // none is idle
	if e := s.Counts().Events; e[TCPEvicted] != 1 || e[TCPRefused] != 1 || e[TCPAccepted] != 4 {
		t.Errorf("counts = %v, want 4 accepted, 1 evicted, 1 refused", e)
	}
	if n := s.Connections(); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
}

// A thousand connections that say nothing leave room for who has something to ask.
func TestTCPThousandConnections(t *testing.T) {
	c := configuration(t)
	c.Server.TCP.Connections = 100
	s, addr := start(t, c)
	var all sync.WaitGroup
	held := make(chan net.Conn, 1000)
	for range 10 {
		all.Go(func() {
			for range 100 {
				c, err := net.DialTimeout("tcp", addr.String(), hang)
				if err != nil {
					t.Error(err)
					return
				}
				held <- c
			}
		})
	}
	all.Wait()
	honest := dial(t, addr)
	honest.send(ask(t, 1, "a.example.com.", dns.TypeA))
	if m := honest.next(); m.Id != 1 {
		t.Errorf("answer is %d, want 1", m.Id)
	}
	if n := s.Connections(); n != 100 {
		t.Errorf("%d connections, want 100", n)
	}
	close(held)
	for c := range held {
		c.Close()
	}
}

// A small pipeline holds the reader back and answers all the same.
func TestTCPPipelineLimit(t *testing.T) {
	c := configuration(t)
	c.Server.TCP.Pipeline = 2
	release := make(chan struct{})
	s, addr := start(t, c, slow(release))
	client := dial(t, addr)
	client.send(ask(t, 1, "slow.example.com.", dns.TypeA), ask(t, 2, "a.example.com.", dns.TypeA),
		ask(t, 3, "slow.example.com.", dns.TypeA), ask(t, 4, "a.example.com.", dns.TypeA))
	if m := client.next(); m.Id != 2 {
		t.Errorf("first answer is %d, want 2", m.Id)
	}
	close(release)
	s.Publish(s.views.load())
	var got []uint16
	for range 3 {
		got = append(got, client.next().Id)
	}
	slices.Sort(got)
	if diff := cmp.Diff([]uint16{1, 3, 4}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

// RFC 7828: the option is answered over TCP, with the idle limit in units of 100 ms, and not over UDP.
func TestTCPKeepaliveOption(t *testing.T) {
	limits := configuration(t)
	limits.Server.TCP.Idle = 70 * time.Second
	_, addr := start(t, limits)
	for network, want := range map[string]uint16{"tcp": 700, "udp": 0} {
		q := new(dns.Msg).SetQuestion("a.example.com.", dns.TypeA)
		q.SetEdns0(1232, false)
		q.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE}}
		c := dns.Client{Net: network, Timeout: hang}
		m, _, err := c.Exchange(q, addr.String())
		if err != nil {
			t.Fatal(err)
		}
		var got uint16
		for _, o := range m.IsEdns0().Option {
			if k, ok := o.(*dns.EDNS0_TCP_KEEPALIVE); ok {
				got = k.Timeout
			}
		}
		if got != want {
			t.Errorf("%s: timeout = %d, want %d", network, got, want)
		}
	}
}

// What is under way when the server is told to end is answered; nothing new is read.
func TestTCPGracefulEnd(t *testing.T) {
	release := make(chan struct{})
	s := New(Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}})
	slow(release)(s)
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	s.Publish(viewOf(t, configuration(t), selection.Up))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	c := dial(t, s.Addrs()[0])
	c.send(ask(t, 1, "slow.example.com.", dns.TypeA), ask(t, 2, "a.example.com.", dns.TypeA))
	c.next()
	cancel()
	close(release)
	s.Publish(s.views.load())
	if m := c.next(); m.Id != 1 {
		t.Errorf("answer is %d, want 1", m.Id)
	}
	c.ended()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := s.Connections(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

func TestTCPWithoutView(t *testing.T) {
	s := New(Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}})
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	refused(t, s.Addrs()[0])
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestClientOf(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1":          "192.0.2.1/32",
		"2001:db8:1:2:3::4":  "2001:db8:1:2::/64",
		"fe80::1%eth0":       "fe80::/64",
		"2001:db8:1:2:ff::1": "2001:db8:1:2::/64",
	} {
		if got := clientOf(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("clientOf(%s) = %s, want %s", addr, got, want)
		}
	}
}

func TestListen(t *testing.T) {
	// A port that is taken over TCP, and over UDP is nobody's.
	var addr netip.AddrPort
	for try := 1; ; try++ {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addr = l.Addr().(*net.TCPAddr).AddrPort()
		pc, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
		if err == nil {
			pc.Close()
			break
		}
		if try == portTries {
			t.Fatal(err)
		}
	}
	s := New(Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0"), addr}})
	want := "listening on TCP " + addr.String() + ": listen tcp4 " + addr.String() + ": bind: address already in use"
	if err := s.Listen(); err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
	// All that was opened is closed again: the UDP port is free.
	pc, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	pc.Close()
}

// All addresses of one family are not those of the other: one port can be listened at on both.
func TestListenAtAllAddressesOfBothFamilies(t *testing.T) {
	if l, err := net.Listen("tcp6", "[::1]:0"); err != nil {
		t.Skipf("no IPv6 on this machine: %v", err)
	} else {
		l.Close()
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	var err error
	for range portTries { // what is free for IPv6 may be another's for IPv4
		six := New(Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("[::]:0")}})
		if err := six.Listen(); err != nil {
			t.Fatal(err)
		}
		want := netip.AddrPortFrom(netip.IPv4Unspecified(), six.Addrs()[0].Port())
		four := New(Config{Listen: []netip.AddrPort{want}})
		if err = four.Listen(); err == nil && four.Addrs()[0] != want {
			t.Errorf("listens at %v, want %v", four.Addrs()[0], want)
		}
		for _, s := range []*Server{four, six} {
			if err := s.Run(over); err != nil {
				t.Errorf("Run: %v", err)
			}
		}
		if err == nil {
			return
		}
	}
	t.Errorf("no port can be listened at on both: %v", err)
}
