package keepalive

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"
	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/healthd/check"
	"github.com/sluicelb/sluice/internal/loadreport"
)

// behaviour is what the servers of a lab do.
type behaviour uint8

const (
	answers       behaviour = iota
	silent                  // to all
	halfSilent              // takes connections, and says nothing
	refuses                 // connections, and what else is sent
	overloaded              // says no, or that no traffic may come
	cannotBeAsked           // this host has no descriptors
	unseeing                // load reporters: they see nothing of it
	without                 // load reporters: they have no such
)

// lab is a network in which every server behaves the same, at once and without sockets, and a load reporter.
type lab struct {
	mu      sync.Mutex
	is      behaviour
	of      map[string]behaviour // servers that do otherwise, by address
	lose    int                  // so many tries are lost
	load    uint8
	tries   []time.Time // starts
	asked   []string    // addresses
	open    int
	most    int // of open
	latency time.Duration
}

func (l *lab) be(b behaviour) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.is = b
}

// loses makes so many tries vanish on the way.
func (l *lab) loses(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lose = n
}

func (l *lab) seen() []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]time.Time(nil), l.tries...)
}

// begin notes a try, and says what will come of it.
func (l *lab) begin(address string) behaviour {
	l.mu.Lock()
	l.tries = append(l.tries, time.Now())
	l.asked = append(l.asked, address)
	l.open++
	l.most = max(l.most, l.open)
	b, ok := l.of[address]
	if !ok {
		b = l.is
	}
	if l.lose > 0 {
		l.lose--
		b = silent
	}
	latency := l.latency
	l.mu.Unlock()
	time.Sleep(latency)
	return b
}

func (l *lab) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
}

// reach is the error of a try that does not get through.
func (l *lab) reach(ctx context.Context, b behaviour) error {
	switch b {
	case silent:
		<-ctx.Done()
		return ctx.Err()
	case refuses:
		return syscall.ECONNREFUSED
	case cannotBeAsked:
		return fmt.Errorf("%w: %w", check.ErrNotAsked, syscall.EMFILE)
	}
	return nil
}

func (l *lab) Ping(ctx context.Context, address netip.Addr) (time.Duration, error) {
	defer l.end()
	b := l.begin(address.String())
	if b == halfSilent {
		b = silent
	}
	return 0, l.reach(ctx, b)
}

// Ask is that of an Asker.
func (l *lab) Ask(ctx context.Context, to netip.AddrPort, key []byte, tag string,
	vip netip.AddrPort,
) (loadreport.Report, error) {
	defer l.end()
	b := l.begin(to.String())
	if b == halfSilent {
		b = silent
	}
	switch b {
	case overloaded:
		return loadreport.Report{Known: true, Load: loadreport.Offline}, nil
	case unseeing:
		return loadreport.Report{Known: true, Load: loadreport.Offline, Unseen: true}, nil
	case without:
		return loadreport.Report{Load: loadreport.Offline}, nil
	}
	if err := l.reach(ctx, b); err != nil {
		return loadreport.Report{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return loadreport.Report{Known: true, Load: l.load}, nil
}

func (l *lab) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	b := l.begin(address)
	if err := l.reach(ctx, b); err != nil {
		l.end()
		return nil, err
	}
	here, there := net.Pipe()
	c := &conn{Conn: here, fin: make(chan struct{}), ended: l.end}
	go func() { // ends when the check closes its end
		<-c.fin
		there.Close()
	}()
	go func() { // ends when either end is closed
		switch at := netip.MustParseAddrPort(address); {
		case b == halfSilent:
			io.Copy(io.Discard, there)
		case network == "udp" && at.Port() == 53:
			answerDNS(there, b)
		case network == "udp":
			answerSNMP(there, b)
		default:
			answerHTTP(there, b)
		}
	}()
	return c, nil
}

// conn is one end of a pipe that can be closed for writing: its other end closes then too.
type conn struct {
	net.Conn
	fin   chan struct{}
	once  sync.Once
	ended func()
}

func (c *conn) CloseWrite() error {
	c.once.Do(func() { close(c.fin) })
	return nil
}

func (c *conn) Close() error {
	c.CloseWrite()
	c.ended()
	return c.Conn.Close()
}

func answerHTTP(c net.Conn, b behaviour) {
	if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
		return // a TCP check says nothing
	}
	status := "200 OK"
	if b == overloaded {
		status = "503 Sick"
	}
	io.WriteString(c, "HTTP/1.1 "+status+"\r\n\r\n")
}

func answerDNS(c net.Conn, b behaviour) {
	in := make([]byte, 512)
	n, err := c.Read(in)
	query := new(dns.Msg)
	if err != nil || query.Unpack(in[:n]) != nil {
		return
	}
	reply := new(dns.Msg).SetReply(query)
	reply.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: query.Question[0].Name, Rrtype: dns.TypeA,
		Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, 1)}}
	if b == overloaded {
		reply.Answer, reply.Rcode = nil, dns.RcodeServerFailure
	}
	out, _ := reply.Pack()
	c.Write(out)
}

func answerSNMP(c net.Conn, b behaviour) {
	in := make([]byte, 512)
	n, err := c.Read(in)
	if err != nil {
		return
	}
	p, err := (&gosnmp.GoSNMP{Version: gosnmp.Version2c}).SnmpDecodePacket(in[:n])
	if err != nil {
		return
	}
	value := 5
	if b == overloaded {
		value = 50
	}
	p.PDUType = gosnmp.GetResponse
	p.Variables = []gosnmp.SnmpPDU{{Name: p.Variables[0].Name, Type: gosnmp.Integer, Value: value}}
	out, _ := p.MarshalMsg()
	c.Write(out)
}

// change is one call of OnChange, and when it came.
type change struct {
	index  int
	up     bool
	load   int
	reason string
	at     time.Time
	seen   time.Time
}

// world is a manager in a lab, that runs until its test ends. Make it inside a synctest bubble.
type world struct {
	*Manager
	*lab
	t       *testing.T
	changes chan change
}

func newWorld(t *testing.T, l *lab, maxProbes int) world {
	t.Helper()
	w := world{lab: l, t: t, changes: make(chan change, 100_000)}
	w.Manager = New(Deps{Network: l, Loads: l, MaxProbes: maxProbes,
		OnChange: func(index int, up bool, load int, reason string, at time.Time) {
			w.changes <- change{index, up, load, reason, at, time.Now()}
		}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w
}

// next is the next change. It waits for an hour of the bubble's time.
func (w world) next() change {
	w.t.Helper()
	select {
	case c := <-w.changes:
		return c
	case <-time.After(time.Hour):
		w.t.Fatal("nothing changes")
	}
	return change{}
}

func (w world) nextIs(up bool) change {
	w.t.Helper()
	c := w.next()
	if c.up != up {
		w.t.Fatalf("got %+v, want up %t", c, up)
	}
	return c
}

var (
	// standard and fast are the presets, as the configuration has them.
	standard = config.Timing{Interval: 40 * time.Second, Timeout: 20 * time.Second, Successes: 1, Failures: 1}
	fast     = config.Timing{Fast: true, Response: 2 * time.Second, Retry: 2 * time.Second, Retries: 1, Successes: 1}
)

// keepalives is one of each kind that asks.
func keepalives(t config.Timing) map[string]config.Keepalive {
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr("10.0.0.11"), port) }
	return map[string]config.Keepalive{
		"ICMP":     {Kind: config.ICMP, Address: at(0), Timing: t},
		"TCP-RST":  {Kind: config.TCP, Address: at(80), Timing: t},
		"TCP-FIN":  {Kind: config.TCP, Address: at(80), FIN: true, Timing: t},
		"HEAD-RST": {Kind: config.HTTPHead, Address: at(80), Path: "/", Timing: t},
		"HEAD-FIN": {Kind: config.HTTPHead, Address: at(80), Path: "/", FIN: true, Timing: t},
		"name server": {Kind: config.NameServerQuery, Address: at(53), QueryName: "www.example.com.",
			QueryType: dns.TypeA, Timing: t},
		"SNMP": {Kind: config.SNMP, Address: at(161), OID: ".1.3.6.1.2.1.1.7.0", Community: "public", SNMPMin: 0,
			SNMPMax: 10, Timing: t},
		"load report": {Kind: config.LoadReport, Address: at(9681), Tag: "web", Key: []byte("sixteen bytes or more"),
			Timing: t},
	}
}
