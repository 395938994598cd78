package keepalive

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"
	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/healthd/check"
	"github.com/sluicelb/sluice/healthd/probe"
	"github.com/sluicelb/sluice/internal/loadreport"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// patientTiming is a timing for tests against real servers: quick, and so patient that a busy machine fails none.
func patientTiming() config.Timing {
	return config.Timing{Interval: 100 * time.Millisecond, Timeout: patience, Successes: 1, Failures: 1}
}

// reports asks load reporters by their own client.
type reports struct{ client loadreport.Client }

func (r *reports) Ask(ctx context.Context, to netip.AddrPort, secret []byte, tag string,
	vip netip.AddrPort,
) (loadreport.Report, error) {
	key, err := loadreport.NewKey(secret)
	if err != nil {
		return loadreport.Report{}, err
	}
	item := loadreport.VIP(vip, 0)
	if tag != "" {
		item = loadreport.Tag(tag)
	}
	answer, err := r.client.Ask(ctx, to, key, []loadreport.Item{item})
	if err != nil {
		return loadreport.Report{}, err
	}
	return answer[0], nil
}

// start runs keepalives in the kernel's network until the test ends.
func start(t *testing.T, all ...config.Keepalive) (*Manager, <-chan change) {
	t.Helper()
	changes := make(chan change, 1000)
	m := New(Deps{Loads: &reports{}, OnChange: func(index int, up bool, load int, reason string, at time.Time) {
		changes <- change{index: index, up: up, load: load, reason: reason, at: at}
	}})
	m.Set(all)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return m, changes
}

// await returns the next change.
func await(t *testing.T, m *Manager, changes <-chan change) change {
	t.Helper()
	select {
	case c := <-changes:
		return c
	case <-time.After(2 * patience):
		t.Fatalf("nothing changes: %v", states(m.Snapshot()))
	}
	return change{}
}

// Every kind asks a real server, which is well, falls ill and is well again.
func TestRealServers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		serve func(t *testing.T, ill *atomic.Bool) config.Keepalive
		want  string // reason, with the address replaced by ADDR
		load  int
	}{
		{"HEAD-RST", web(false, false), "HTTP HEAD http://ADDR/is%20it?up: status 503, want 200", NoLoad},
		{"HEAD-FIN", web(false, true), "HTTP HEAD http://ADDR/is%20it?up: status 503, want 200", NoLoad},
		{"HTTPS", web(true, false), "HTTPS HEAD https://ADDR/is%20it?up: status 503, want 200", NoLoad},
		{"HTTPS-FIN", web(true, true), "HTTPS HEAD https://ADDR/is%20it?up: status 503, want 200", NoLoad},
		{"name server", nameServer, "DNS A www.example.com. at ADDR: answer SERVFAIL, want NOERROR", NoLoad},
		{"SNMP", snmpAgent, "SNMP .1.3.6.1.4.1.2021.10.1.5.1 at ADDR: value 250, want 0 to 100", NoLoad},
		{"load report", loadReporter, "load of tag web from ADDR: it must get no traffic", 42},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var ill atomic.Bool
			k := tt.serve(t, &ill)
			m, changes := start(t, k)
			for range 2 {
				if c := await(t, m, changes); !c.up || c.load != tt.load || c.reason != "" {
					t.Errorf("got %+v, want up with load %d", c, tt.load)
				}
				ill.Store(true)
				c := await(t, m, changes)
				if got := strings.ReplaceAll(c.reason, k.Address.String(), "ADDR"); c.up || c.load != NoLoad ||
					got != tt.want {
					t.Errorf("got %+v, want down: %s", c, tt.want)
				}
				ill.Store(false)
			}
		})
	}
}

func web(secured, fin bool) func(*testing.T, *atomic.Bool) config.Keepalive {
	return func(t *testing.T, ill *atomic.Bool) config.Keepalive {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if got, want := fmt.Sprint(r.Method, " ", r.Host, r.RequestURI, " ", r.UserAgent()),
				"HEAD www.example.com/is%20it?up sluice-gslb"; got != want {
				t.Errorf("asked %s, want %s", got, want)
			}
			if ill.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}))
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		if secured {
			s.StartTLS()
		} else {
			s.Start()
		}
		t.Cleanup(s.Close)
		return config.Keepalive{
			Kind: config.HTTPHead, Address: netip.MustParseAddrPort(s.Listener.Addr().String()),
			Timing: patientTiming(),
			TLS:    secured, FIN: fin, Host: "www.example.com", Path: "/is it?up", ExpectStatus: []uint16{200},
		}
	}
}

// listenUDP has a port of loopback, for a server that closes it.
func listenUDP(t *testing.T) (net.PacketConn, netip.AddrPort) {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return c, c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func nameServer(t *testing.T, ill *atomic.Bool) config.Keepalive {
	c, address := listenUDP(t)
	s := &dns.Server{PacketConn: c, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg).SetReply(r)
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeA,
			Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, 1)}}
		if ill.Load() {
			m.Answer, m.Rcode = nil, dns.RcodeServerFailure
		}
		w.WriteMsg(m)
	})}
	ready, done := make(chan struct{}), make(chan error, 1)
	s.NotifyStartedFunc = func() { close(ready) }
	go func() { done <- s.ActivateAndServe() }() // until Shutdown
	<-ready
	t.Cleanup(func() {
		if err := s.Shutdown(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return config.Keepalive{Kind: config.NameServerQuery, Address: address, Timing: patientTiming(),
		QueryName: "www.example.com.", QueryType: dns.TypeA}
}

func snmpAgent(t *testing.T, ill *atomic.Bool) config.Keepalive {
	c, address := listenUDP(t)
	done := make(chan struct{})
	t.Cleanup(func() {
		c.Close()
		<-done
	})
	go func() {
		defer close(done)
		in := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(in)
			if err != nil {
				return // closed by Cleanup
			}
			p, err := (&gosnmp.GoSNMP{Version: gosnmp.Version2c}).SnmpDecodePacket(in[:n])
			if err != nil || p.Community != "public" {
				t.Errorf("asked %v, %v", p, err)
				continue
			}
			load := 50
			if ill.Load() {
				load = 250
			}
			p.PDUType = gosnmp.GetResponse
			p.Variables = []gosnmp.SnmpPDU{{Name: p.Variables[0].Name, Type: gosnmp.Integer, Value: load}}
			out, err := p.MarshalMsg()
			if err != nil {
				t.Error(err)
			}
			c.WriteTo(out, from)
		}
	}()
	return config.Keepalive{Kind: config.SNMP, Address: address, Timing: patientTiming(),
		OID: "1.3.6.1.4.1.2021.10.1.5.1", Community: "public", SNMPMin: 0, SNMPMax: 100}
}

func loadReporter(t *testing.T, ill *atomic.Bool) config.Keepalive {
	secret := []byte("a secret of both ends")
	key, err := loadreport.NewKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	s, err := loadreport.Listen(loadreport.Config{Listen: "127.0.0.1:0", Keys: []loadreport.Key{key}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- s.Run(ctx, func(i loadreport.Item) loadreport.Report {
			if i != loadreport.Tag("web") {
				t.Errorf("asked for %v", i)
			}
			if ill.Load() {
				return loadreport.Report{Known: true, Load: loadreport.Offline}
			}
			return loadreport.Report{Known: true, Load: 42, Live: 2, Total: 2}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return config.Keepalive{Kind: config.LoadReport, Address: s.Addr(), Timing: patientTiming(), Tag: "web",
		Key: secret}
}

// Servers that are there or not, for what knows no illness.
func TestRealHosts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed at the end
			}
			go func() {
				io.Copy(io.Discard, c)
				c.Close()
			}()
		}
	}()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	loopback := netip.MustParseAddr("127.0.0.1")
	open, closed := netip.MustParseAddrPort(l.Addr().String()), netip.MustParseAddrPort(gone.Addr().String())
	all := []config.Keepalive{
		{Kind: config.TCP, Address: open, Timing: patientTiming()},
		{Kind: config.TCP, Address: open, Timing: patientTiming(), FIN: true},
		{Kind: config.TCP, Address: closed, Timing: patientTiming()},
		{Kind: config.ICMP, Address: netip.AddrPortFrom(loopback, 0), Timing: patientTiming()},
	}
	pings := true
	if _, err := (check.Kernel{}).Ping(t.Context(), loopback); err != nil {
		t.Logf("no ICMP: %v", err)
		pings, all = false, all[:3]
	}
	m, changes := start(t, all...)
	for range all {
		await(t, m, changes)
	}
	for i, r := range m.Snapshot() {
		want := probe.Up
		if i == 2 {
			want = probe.Down
		}
		if r.Health != want || r.LastProbe.IsZero() || r.Since.IsZero() {
			t.Errorf("%d: got %+v, want %v", i, r, want)
		}
	}
	if !pings {
		t.Skip("the rest passed; pinging is not possible here")
	}
}
