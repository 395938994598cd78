package netstack

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/p4/packet"
	"github.com/sluicelb/sluice/p4/packet/packettest"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

// What a switch's link gives is a host's link.
var _ Link = (*port.End)(nil)

// Hosts of the tests:
//
//	client 192.0.2.10 --- router --- hub --- server 10.0.0.11, VIP 10.0.0.100
//	          192.0.2.1 ---^  ^--- 10.0.0.1
//
// The server answers no ARP for the VIP, so the test itself, on the hub, answers for it with the
// server's MAC, as the switch does with its own.
var (
	clientMAC = packet.MAC{2, 0, 0, 0, 0, 0x10}
	serverMAC = packet.MAC{2, 0, 0, 0, 0, 0x11}
	otherMAC  = packet.MAC{2, 0, 0, 0, 0, 0x12}
	routerMAC = packet.MAC{2, 0, 0, 0, 0, 1}
	outerMAC  = packet.MAC{2, 0, 0, 0, 0, 2}

	serverAddr = netip.MustParseAddr("10.0.0.11")
	otherAddr  = netip.MustParseAddr("10.0.0.12")
	routerAddr = netip.MustParseAddr("10.0.0.1")
	vip        = netip.MustParseAddr("10.0.0.100")
	vipPort    = netip.AddrPortFrom(vip, 80)
)

// hub repeats every frame to all ends but the one it came from, and remembers it.
type hub struct {
	t    *testing.T
	mu   sync.Mutex // guards ends, seen
	ends []*CableEnd
	seen [][]byte
}

func newHub(t *testing.T) *hub { return &hub{t: t} }

// join returns the end of a cable to the hub.
func (h *hub) join() *CableEnd {
	far, near, stop := Cable()
	h.t.Cleanup(stop)
	h.mu.Lock()
	h.ends = append(h.ends, near)
	h.mu.Unlock()
	near.Receive(func(frame []byte) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.seen = append(h.seen, slices.Clone(frame))
		for _, end := range h.ends {
			if end != near {
				end.Send(frame)
			}
		}
	})
	return far
}

func (h *hub) frames() [][]byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.seen)
}

// arp lists the ARP packets seen, without repetitions, as "who has 10.0.0.1 tell 10.0.0.11".
func (h *hub) arp() []string {
	var lines []string
	for _, frame := range h.frames() {
		e := packet.Ethernet(frame)
		if e.Type() != packet.TypeARP {
			continue
		}
		a := packet.ARP(e.Payload())
		line := fmt.Sprintf("who has %v tell %v", a.Target(), a.Sender())
		if a.Operation() == packet.ARPReply {
			line = fmt.Sprintf("%v is at %v", a.Sender(), a.SenderMAC())
		}
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

// answerARP makes the test answer requests for the VIP with mac.
func (h *hub) answerARP(mac packet.MAC) {
	end := h.join()
	end.Receive(func(frame []byte) {
		if e := packet.Ethernet(frame); e.Type() == packet.TypeARP {
			if a := packet.ARP(e.Payload()); a.Operation() == packet.ARPRequest && a.Target() == vip {
				end.Send(packet.NewARPReply(mac, vip, a.SenderMAC(), a.Sender()))
			}
		}
	})
}

func start(t *testing.T, cfg Config, link Link) *Host {
	t.Helper()
	h, err := New(cfg, link)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func server(t *testing.T, link Link, answerARP bool) *Host {
	return start(t, Config{
		Name: "server", MAC: serverMAC, Address: netip.PrefixFrom(serverAddr, 24), Gateway: routerAddr,
		VIPs: []netip.Addr{vip}, AnswerARPForVIPs: answerARP,
	}, link)
}

func other(t *testing.T, link Link) *Host {
	return start(t, Config{Name: "other", MAC: otherMAC, Address: netip.PrefixFrom(otherAddr, 24)}, link)
}

// serve runs an HTTP server on the host that names the address a request came to, and from where.
func serve(t *testing.T, h *Host, addr netip.AddrPort) {
	t.Helper()
	l, err := h.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(w, "%v for %s", r.Context().Value(http.LocalAddrContextKey), host)
	})}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
}

func get(t *testing.T, h *Host, url string) (string, error) {
	t.Helper()
	transport := &http.Transport{DialContext: h.DialContext}
	defer transport.CloseIdleConnections()
	c := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	r, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return string(body), err
}

func TestVIPOnLoopback(t *testing.T) {
	net := newHub(t)
	net.answerARP(serverMAC)
	s := server(t, net.join(), false)
	o := other(t, net.join())
	serve(t, s, vipPort)
	serve(t, s, netip.AddrPortFrom(serverAddr, 80))

	for _, test := range []struct{ url, want string }{
		{"http://10.0.0.100/", "10.0.0.100:80 for 10.0.0.12"},
		{"http://10.0.0.11/", "10.0.0.11:80 for 10.0.0.12"},
	} {
		got, err := get(t, o, test.url)
		if err != nil {
			t.Fatal(err)
		}
		if got != test.want {
			t.Errorf("GET %s: %q, want %q", test.url, got, test.want)
		}
	}
	for _, frame := range net.frames() {
		e := packet.Ethernet(frame)
		if e.Type() != packet.TypeIPv4 || e.Src() != serverMAC {
			continue
		}
		p := packet.IPv4(e.Payload())
		if s := packet.TCP(p.Payload()); p.Src() != vip && p.Src() != serverAddr ||
			p.Protocol() != packet.ProtocolTCP || s.SrcPort() != 80 {
			t.Errorf("the server sent a packet from %v", p.Src())
		}
	}
	// Only the test answered for the VIP, and nobody asked in its name.
	want := []string{"10.0.0.100 is at 02:00:00:00:00:11", "who has 10.0.0.100 tell 10.0.0.12"}
	if diff := cmp.Diff(want, slices.DeleteFunc(net.arp(), func(line string) bool {
		return !strings.Contains(line, vip.String())
	})); diff != "" {
		t.Errorf("ARP (-want +got):\n%s", diff)
	}
}

func TestARPForVIP(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer bool
		want   []netip.Addr
	}{
		{"suppressed", false, []netip.Addr{serverAddr}},
		{"the ARP problem", true, []netip.Addr{vip, serverAddr}},
	} {
		t.Run(test.name, func(t *testing.T) {
			net := newHub(t)
			server(t, net.join(), test.answer)
			probe := net.join()
			answers := make(chan netip.Addr, 16)
			probe.Receive(func(frame []byte) { answers <- packet.ARP(packet.Ethernet(frame).Payload()).Sender() })
			probe.Send(packet.NewARPRequest(otherMAC, otherAddr, vip))
			probe.Send(packet.NewARPRequest(otherMAC, otherAddr, serverAddr))
			for _, want := range test.want {
				if got := <-answers; got != want {
					t.Errorf("ARP answer for %v, want %v", got, want)
				}
			}
		})
	}
}

func TestServerLeavesAloneWhatIsNotItsOwn(t *testing.T) {
	net := newHub(t)
	server(t, net.join(), false)
	probe := net.join()
	got := make(chan []byte, 16)
	probe.Receive(func(frame []byte) { got <- slices.Clone(frame) })
	from := netip.MustParseAddrPort("10.0.0.12:9")
	segment := func(dstMAC packet.MAC, dst netip.Addr) []byte {
		return packet.NewTCP(packet.Segment{
			DstMAC: dstMAC, SrcMAC: otherMAC, Src: from, Dst: netip.AddrPortFrom(dst, 80), Flags: packet.SYN,
		})
	}
	probe.Send(segment(serverMAC, netip.MustParseAddr("10.0.0.77"))) // must not be forwarded
	probe.Send(segment(otherMAC, serverAddr))                        // flooded by a switch
	probe.Send([]byte{1, 2, 3})
	probe.Send(append(packet.AppendEthernet(nil, serverMAC, otherMAC, packet.TypeIPv4), 0x45))
	probe.Send(packet.NewARPRequest(otherMAC, otherAddr, serverAddr))
	frame := <-got // the queue keeps its order: whatever came of the others came before
	if a := packet.ARP(packet.Ethernet(frame).Payload()); packet.Ethernet(frame).Type() != packet.TypeARP ||
		a.Operation() != packet.ARPReply {
		t.Errorf("the server sent % x", frame)
	}
}

// routed builds the network drawn above.
func routed(t *testing.T) (client *Host, h *hub, srv *Host) {
	h = newHub(t)
	outer, inner, stop := Cable()
	t.Cleanup(stop)
	r, err := NewRouter("router",
		Interface{Link: outer, MAC: outerMAC, Address: netip.MustParsePrefix("192.0.2.1/24")},
		Interface{Link: h.join(), MAC: routerMAC, Address: netip.MustParsePrefix("10.0.0.1/24")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	client = start(t, Config{
		Name: "client", MAC: clientMAC, Address: netip.MustParsePrefix("192.0.2.10/24"),
		Gateway: netip.MustParseAddr("192.0.2.1"),
	}, inner)
	return client, h, server(t, h.join(), false)
}

func TestRouter(t *testing.T) {
	client, net, srv := routed(t)
	net.answerARP(serverMAC)
	serve(t, srv, vipPort)
	got, err := get(t, client, "http://10.0.0.100/")
	if err != nil {
		t.Fatal(err)
	}
	if want := "10.0.0.100:80 for 192.0.2.10"; got != want {
		t.Errorf("GET: %q, want %q", got, want)
	}
	var requests, replies int
	for _, frame := range net.frames() {
		e := packet.Ethernet(frame)
		if e.Type() != packet.TypeIPv4 {
			continue
		}
		p := packet.IPv4(e.Payload())
		if packet.Checksum(p[:p.HeaderLen()]) != 0 || packet.TransportChecksum(p.Src(), p.Dst(), packet.ProtocolTCP,
			p.Payload()) != 0 {
			t.Errorf("wrong checksum in a packet from %v", p.Src())
		}
		switch {
		case e.Src() == routerMAC && e.Dst() == serverMAC && p.Dst() == vip && p.TTL() == 63:
			requests++
		case e.Src() == serverMAC && e.Dst() == routerMAC && p.Src() == vip && p.TTL() == 64:
			replies++
		default:
			t.Errorf("unexpected packet %v -> %v, MAC %v -> %v, TTL %d", p.Src(), p.Dst(), e.Src(), e.Dst(), p.TTL())
		}
	}
	if requests < 3 || replies < 2 {
		t.Errorf("%d packets to the server and %d from it, want a whole connection", requests, replies)
	}
	// The server, with the VIP in its packets, asked for the gateway in its own name.
	for _, line := range net.arp() {
		if strings.HasSuffix(line, "tell 10.0.0.100") {
			t.Errorf("ARP names the VIP as sender: %s", line)
		}
	}
}

func TestRouterDrops(t *testing.T) {
	hub := newHub(t)
	outer, inner, stop := Cable()
	t.Cleanup(stop)
	r, err := NewRouter("router",
		Interface{Link: outer, MAC: outerMAC, Address: netip.MustParsePrefix("192.0.2.1/24")},
		Interface{Link: hub.join(), MAC: routerMAC, Address: netip.MustParsePrefix("10.0.0.1/24")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	hub.answerARP(serverMAC)
	got := make(chan []byte, 16)
	hub.join().Receive(func(frame []byte) {
		if packet.Ethernet(frame).Type() == packet.TypeIPv4 {
			got <- slices.Clone(frame)
		}
	})
	segment := func(dst netip.Addr, ttl byte, port uint16) []byte {
		frame := packet.NewTCP(packet.Segment{
			DstMAC: outerMAC, SrcMAC: clientMAC, Flags: packet.SYN,
			Src: netip.MustParseAddrPort("192.0.2.10:9"), Dst: netip.AddrPortFrom(dst, port),
		})
		ip := frame[packet.EthernetLen:]
		ip[8], ip[10], ip[11] = ttl, 0, 0
		binary.BigEndian.PutUint16(ip[10:], packet.Checksum(ip[:packet.IPv4Len]))
		return frame
	}
	inner.Send(segment(vip, 1, 1))                                 // spent
	inner.Send(segment(vip, 0, 2))                                 // should not have arrived
	inner.Send(segment(netip.MustParseAddr("198.51.100.1"), 9, 3)) // no such network
	inner.Send(segment(vip, 2, 4))
	frame := <-got
	want := segment(vip, 1, 4)
	packet.Ethernet(want).SetDst(serverMAC)
	packet.Ethernet(want).SetSrc(routerMAC)
	packettest.Equal(t, frame, want)
}

func TestPing(t *testing.T) {
	client, _, _ := routed(t)
	if rtt, err := client.Ping(t.Context(), serverAddr); err != nil || rtt <= 0 {
		t.Errorf("Ping(%v) = %v, %v", serverAddr, rtt, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := client.Ping(ctx, netip.MustParseAddr("10.0.0.77"))
	if want := "pinging 10.0.0.77 from client: context deadline exceeded"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestManyConnections(t *testing.T) {
	client, net, srv := routed(t)
	net.answerARP(serverMAC)
	serve(t, srv, vipPort)
	began := time.Now()
	const workers, each = 16, 50
	var running sync.WaitGroup
	for w := range workers {
		running.Go(func() {
			for i := range each {
				local := netip.MustParseAddrPort(fmt.Sprintf("192.0.2.10:%d", 20000+w*each+i))
				conn, err := client.DialFrom(t.Context(), local, vipPort)
				if err != nil {
					t.Error(err)
					return
				}
				if got := conn.LocalAddr().String(); got != local.String() {
					t.Errorf("connected from %s, want %v", got, local)
				}
				fmt.Fprintf(conn, "GET / HTTP/1.0\r\n\r\n")
				body, err := io.ReadAll(conn)
				if err != nil || !bytes.HasSuffix(body, []byte("10.0.0.100:80 for 192.0.2.10")) {
					t.Errorf("reply %q, %v", body, err)
				}
				conn.Close()
			}
		})
	}
	running.Wait()
	t.Logf("%.0f connections/s", workers*each/time.Since(began).Seconds())
}

func TestClose(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("network", func(t *testing.T) {
		net := newHub(t)
		net.answerARP(serverMAC)
		s := server(t, net.join(), false)
		o := other(t, net.join())
		l, err := s.Listen(vipPort)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := o.DialContext(t.Context(), "tcp", vipPort.String())
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		blocked := make(chan error)
		go func() { _, err := l.Accept(); blocked <- err }()
		l.Close()
		if err := <-blocked; !errors.Is(err, io.ErrClosedPipe) && err.Error() != "use of closed network connection" {
			t.Errorf("Accept on a closed listener: %v", err)
		}
		frames := len(net.frames())
		s.Close()
		s.Close()
		if _, err := accepted.Read(make([]byte, 1)); err == nil {
			t.Error("the connection of a closed host still reads")
		}
		if got := len(net.frames()); got != frames {
			t.Errorf("a host that closes sent %d frames", got-frames)
		}
		conn.Close()
	})
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(
		10 * time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before,
				stacks[:runtime.Stack(stacks, true)])
		}
	}
}

func TestErrors(t *testing.T) {
	link, _, stop := Cable()
	defer stop()
	good := Config{Name: "h", MAC: serverMAC, Address: netip.MustParsePrefix("10.0.0.11/24")}
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no MAC", func(c *Config) { c.MAC = packet.MAC{} },
			"starting host h: MAC 00:00:00:00:00:00: must be that of a station"},
		{"group MAC", func(c *Config) { c.MAC = packet.Broadcast },
			"starting host h: MAC ff:ff:ff:ff:ff:ff: must be that of a station"},
		{"no address", func(c *Config) { c.Address = netip.Prefix{} },
			"starting host h: address invalid Prefix: must be IPv4"},
		{"IPv6", func(c *Config) { c.Address = netip.MustParsePrefix("2001:db8::1/64") },
			"starting host h: address 2001:db8::1/64: must be IPv4"},
		{"VIP twice", func(c *Config) { c.VIPs = []netip.Addr{vip, vip} },
			"starting host h: adding address 10.0.0.100/32: duplicate address"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := good
			test.change(&cfg)
			_, err := New(cfg, link)
			if err == nil || err.Error() != test.want {
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}
	h := start(t, good, link)
	for _, test := range []struct{ network, address, want string }{
		{"udp", "10.0.0.1:80", `dialing from h: network "udp": must be tcp or tcp4`},
		{"tcp", "localhost:80", `dialing from h: address "localhost:80": must be an IPv4 address and port`},
		{"tcp", "192.0.2.1:80", `dialing 192.0.2.1:80 from h: connect tcp 192.0.2.1:80: network is unreachable`},
	} {
		if _, err := h.DialContext(t.Context(), test.network, test.address); err == nil || err.Error() != test.want {
			t.Errorf("DialContext(%s, %s): %v, want %s", test.network, test.address, err, test.want)
		}
	}
}
