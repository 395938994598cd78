package check_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/healthd/check"
)

// nameServer answers queries over UDP and TCP on one port of loopback until the test ends.
func nameServer(t *testing.T, answer dns.HandlerFunc) netip.AddrPort {
	t.Helper()
	for range 20 { // the UDP port may belong to somebody over TCP
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		stream, err := net.Listen("tcp", packets.LocalAddr().String())
		if err != nil {
			packets.Close()
			continue
		}
		for _, s := range []*dns.Server{{PacketConn: packets, Handler: answer}, {Listener: stream, Handler: answer}} {
			ready := make(chan struct{})
			s.NotifyStartedFunc = func() { close(ready) }
			done := make(chan error, 1)
			go func() { done <- s.ActivateAndServe() }() // until Shutdown
			<-ready
			t.Cleanup(func() {
				if err := s.Shutdown(); err != nil {
					t.Error(err)
				}
				<-done
			})
		}
		return packets.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	t.Fatal("no port is free for both UDP and TCP")
	return netip.AddrPort{}
}

// reply writes the records, or what else the change makes of the reply.
func reply(w dns.ResponseWriter, r *dns.Msg, change func(*dns.Msg), records ...string) {
	m := new(dns.Msg).SetReply(r)
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	if change != nil {
		change(m)
	}
	w.WriteMsg(m)
}

func overTCP(w dns.ResponseWriter) bool { return w.RemoteAddr().Network() == "tcp" }

func TestDNS(t *testing.T) {
	const a = "www.example.com. 60 IN A 192.0.2.1"
	truncate := func(m *dns.Msg) { m.Truncated, m.Answer = true, nil }
	tests := []struct {
		name   string
		answer dns.HandlerFunc
		kind   uint16
		want   string
	}{
		{"a record", func(w dns.ResponseWriter, r *dns.Msg) { reply(w, r, nil, a) }, dns.TypeA, "passed"},
		{"behind a CNAME", func(w dns.ResponseWriter, r *dns.Msg) {
			reply(w, r, nil, "www.example.com. 60 IN CNAME web.example.net.", "web.example.net. 60 IN A 192.0.2.1")
		}, dns.TypeA, "passed"},
		{"only a CNAME", func(w dns.ResponseWriter, r *dns.Msg) {
			reply(w, r, nil, "www.example.com. 60 IN CNAME web.example.net.")
		}, dns.TypeA, "DNS A www.example.com. at ADDR: answer NOERROR without A records"},
		{"another type", func(w dns.ResponseWriter, r *dns.Msg) { reply(w, r, nil, a) }, dns.TypeAAAA,
			"DNS AAAA www.example.com. at ADDR: answer NOERROR without AAAA records"},
		{"any type", func(w dns.ResponseWriter, r *dns.Msg) { reply(w, r, nil, a) }, dns.TypeANY, "passed"},
		{"a type without a name", func(w dns.ResponseWriter, r *dns.Msg) { reply(w, r, nil) }, 65280,
			"DNS TYPE65280 www.example.com. at ADDR: answer NOERROR without TYPE65280 records"},
		{"NXDOMAIN", func(w dns.ResponseWriter, r *dns.Msg) {
			reply(w, r, func(m *dns.Msg) { m.Rcode = dns.RcodeNameError })
		}, dns.TypeA, "DNS A www.example.com. at ADDR: answer NXDOMAIN, want NOERROR"},
		{"refused without the question", func(w dns.ResponseWriter, r *dns.Msg) {
			reply(w, r, func(m *dns.Msg) { m.Rcode, m.Question = dns.RcodeRefused, nil })
		}, dns.TypeA, "DNS A www.example.com. at ADDR: answer REFUSED, want NOERROR"},
		{"an RCODE without a name", func(w dns.ResponseWriter, r *dns.Msg) {
			reply(w, r, func(m *dns.Msg) { m.Rcode = 15 })
		}, dns.TypeA, "DNS A www.example.com. at ADDR: answer RCODE 15, want NOERROR"},
		{"truncated", func(w dns.ResponseWriter, r *dns.Msg) {
			if !overTCP(w) {
				reply(w, r, truncate)
				return
			}
			reply(w, r, nil, a)
		}, dns.TypeA, "passed"},
		{"truncated in the middle of a record", func(w dns.ResponseWriter, r *dns.Msg) {
			if overTCP(w) {
				reply(w, r, nil, a)
				return
			}
			m := new(dns.Msg).SetReply(r)
			rr, _ := dns.NewRR(a)
			m.Answer, m.Truncated = []dns.RR{rr}, true
			packed, _ := m.Pack()
			w.Write(packed[:len(packed)-3])
		}, dns.TypeA, "passed"},
		{"truncated, and TCP closes", func(w dns.ResponseWriter, r *dns.Msg) {
			if overTCP(w) {
				w.Close()
				return
			}
			reply(w, r, truncate)
		}, dns.TypeA, "DNS A www.example.com. at ADDR: querying: the server closed the connection"},
		{"answers to others first", func(w dns.ResponseWriter, r *dns.Msg) {
			w.Write([]byte("no DNS"))
			reply(w, r, func(m *dns.Msg) { m.Id++ })
			reply(w, r, func(m *dns.Msg) { m.Response = false })
			reply(w, r, func(m *dns.Msg) { m.Question[0].Name = "www.example.org." })
			reply(w, r, func(m *dns.Msg) { m.Question[0].Name = "WWW.example.com." }, a)
		}, dns.TypeA, "passed"},
		{"malformed", func(w dns.ResponseWriter, r *dns.Msg) {
			m := new(dns.Msg).SetReply(r)
			rr, _ := dns.NewRR(a)
			m.Answer = []dns.RR{rr}
			packed, _ := m.Pack()
			w.Write(packed[:len(packed)-3])
		}, dns.TypeA,
			"DNS A www.example.com. at ADDR: querying: the answer is malformed: dns: overflowing header size"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address := nameServer(t, tt.answer)
			err := run(t, check.DNS{Network: check.Kernel{}, Address: address, Name: "www.example.com.", Type: tt.kind},
				patience)
			if got := message(err, address); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// quiet is a UDP port on which nobody answers.
func quiet(t *testing.T) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// closedUDP is a UDP port on which nobody listens.
func closedUDP(t *testing.T) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// What asks over UDP tells silence from a closed port and from what this side could not do.
func TestDatagramFailures(t *testing.T) {
	silence, nobody := quiet(t), closedUDP(t)
	noDescriptors := broken{check.ErrNotAsked}
	for _, tt := range []struct {
		name    string
		network check.Network
		address netip.AddrPort
		timeout time.Duration
		want    string
		is      error
	}{
		{"silent", check.Kernel{}, silence, 50 * time.Millisecond, "no answer within 50ms", context.DeadlineExceeded},
		{"blackholed", blackhole{}, silence, 50 * time.Millisecond, "no answer within 50ms", context.DeadlineExceeded},
		{"closed", check.Kernel{}, nobody, patience, "connection refused", syscall.ECONNREFUSED},
		{"not asked", noDescriptors, silence, patience, "not asked", check.ErrNotAsked},
	} {
		for prefix, c := range map[string]check.Check{
			"DNS A www.example.com. at ADDR: querying: ": check.DNS{Network: tt.network, Address: tt.address,
				Name: "www.example.com.", Type: dns.TypeA},
			"SNMP .1.3.6.1 at ADDR: asking: ": check.SNMP{Network: tt.network, Address: tt.address, OID: "1.3.6.1",
				Community: "public"},
		} {
			t.Run(tt.name+" "+prefix[:4], func(t *testing.T) {
				err := run(t, c, tt.timeout)
				if got := message(err, tt.address); got != prefix+tt.want {
					t.Errorf("got  %q\nwant %q", got, prefix+tt.want)
				}
				if !errors.Is(err, tt.is) {
					t.Errorf("%v is not %v", err, tt.is)
				}
			})
		}
	}
}
