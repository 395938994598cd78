package server

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/relay"
	"github.com/sluicelb/sluice/gslb/responder"
	"github.com/sluicelb/sluice/gslb/selection"
	"github.com/sluicelb/sluice/gslb/zone"
)

const zoneFile = `
$ORIGIN example.com.
$TTL 3600
@     IN SOA ns1 hostmaster 1 7200 3600 1209600 300
      IN NS  ns1
ns1   IN A   192.0.2.1
a     IN A   192.0.2.10
b     IN A   192.0.2.11
*.w   IN A   192.0.2.12
`

// hang is for what must happen: long enough for a slow machine, and only reached by a failure.
const hang = 60 * time.Second

// configuration is a whole zone example.com; foreign.test, which is forwarded to forward if there is any;
// www.example.com, a rule whose only answer is 203.0.113.10 and which waits for its verdict; ns.example.com, a rule
// whose answer is the name server forward.
func configuration(t testing.TB, forward ...netip.AddrPort) *config.Config {
	t.Helper()
	p := dns.NewZoneParser(strings.NewReader(zoneFile), "", "")
	var records []dns.RR
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		records = append(records, rr)
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	rule := func(name string, group, domains int) config.Rule {
		return config.Rule{
			Name: name, Owner: config.None, Domains: domains, TTL: 30, Unknown: config.Wait, MaxWait: hang, Prefix4: 32,
			Prefix6: 128,
			Clauses: []config.Clause{{Group: group, Balance: config.Ordered, Count: 1, AllDown: config.NoData}},
		}
	}
	domains := func(name string) config.DomainList {
		return config.DomainList{Name: name, Owner: config.None, Domains: []config.Domain{{Name: name}}}
	}
	c := &config.Config{
		Server: config.Server{
			UDPSize: 1232, NoMatch: config.NoMatchRefused, CookieSecrets: [][16]byte{{1}}, ForwardTimeout: hang,
			ForwardMax: 1000,
			TCP:        config.TCPLimits{Connections: 1000, PerClient: 1000, Idle: hang, Query: hang, Pipeline: 64},
			Mitigation: config.Mitigation{Responses: true, PrivilegedPorts: true},
		},
		SourceLists: []config.SourceList{{Name: config.Anywhere, Owner: config.None, Prefixes: []netip.Prefix{
			netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"),
		}}},
		Answers: []config.Answer{
			{Name: "vip", Kind: config.VIP, Owner: config.None, DataCenter: config.None,
				IPv4: netip.MustParseAddr("203.0.113.10")},
			{Name: "ns", Kind: config.NameServer, Owner: config.None, DataCenter: config.None, Servers: forward},
		},
		Groups: []config.Group{
			{Name: "vips", Owner: config.None, Kind: config.VIP,
				Members: []config.Member{{Answer: 0, Order: 1, Weight: 1}}},
			{Name: "servers", Owner: config.None, Kind: config.NameServer,
				Members: []config.Member{{Answer: 1, Order: 1, Weight: 1}}},
		},
		DomainLists: []config.DomainList{domains("www.example.com."), domains("ns.example.com.")},
		Rules:       []config.Rule{rule("www", 0, 0), rule("ns", 1, 1)},
		Zones: []config.Zone{
			{Name: "example.com.", Records: records},
		},
	}
	if len(forward) > 0 {
		c.Zones = append(c.Zones, config.Zone{Name: "foreign.test.", SOAFrom: forward, NoMatch: config.NoMatchForward,
			Forward: forward})
	}
	return c
}

// viewOf compiles a configuration. Its answers have one health.
func viewOf(t testing.TB, c *config.Config, health selection.Health) *responder.View {
	t.Helper()
	rules := selection.Compile(c)
	zones, err := zone.Build(c.Zones, rules.Balanced())
	if err != nil {
		t.Fatal(err)
	}
	states := selection.NewStates(c)
	for i := range states.Answers {
		states.Answers[i].Health = health
	}
	return &responder.View{Config: c, Zones: zones, Rules: rules, States: states}
}

// start serves the configuration on the loopback until the test ends. edit may change the server before it runs.
func start(t testing.TB, c *config.Config, edit ...func(*Server)) (*Server, netip.AddrPort) {
	t.Helper()
	s := New(Config{
		Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
		Cores:  2,
		Relay:  relay.New(relay.Config{}),
	})
	for _, f := range edit {
		f(s)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	s.Publish(viewOf(t, c, selection.Up))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }() // ends with cancel
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(hang):
			t.Error("Run does not end")
		}
	})
	return s, s.Addrs()[0]
}

// slow makes queries for names that begin with "slow" wait until release is closed, as if they were forwarded, and all
// others be answered with their question.
func slow(release <-chan struct{}) func(*Server) {
	return func(s *Server) {
		inner := s.respond
		s.respond = func(v *responder.View, c *responder.Client, request []byte) responder.Response {
			if len(request) > 17 && string(request[13:17]) == "slow" {
				select {
				case <-release:
				default:
					return responder.Response{Disposition: responder.Wait, MaxWait: hang, Rule: config.None,
						Clause: config.None, Answer: config.None}
				}
			}
			return inner(v, c, request)
		}
	}
}

// ask is a query in wire format.
func ask(t testing.TB, id uint16, name string, qtype uint16) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.Id = id
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// client is one raw TCP connection.
type client struct {
	*net.TCPConn
	t testing.TB
}

func dial(t testing.TB, addr netip.AddrPort) client {
	t.Helper()
	c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(hang))
	return client{c, t}
}

// send writes messages in one segment.
func (c client) send(messages ...[]byte) {
	c.t.Helper()
	var all []byte
	for _, m := range messages {
		all = appendFrame(all, m)
	}
	if _, err := c.Write(all); err != nil {
		c.t.Fatal(err)
	}
}

// next reads one message.
func (c client) next() *dns.Msg {
	c.t.Helper()
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		c.t.Fatalf("reading a length: %v", err)
	}
	wire := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, wire); err != nil {
		c.t.Fatalf("reading a message: %v", err)
	}
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		c.t.Fatal(err)
	}
	return m
}

// ended waits for the server to close the connection.
func (c client) ended() {
	c.t.Helper()
	n, err := io.Copy(io.Discard, c)
	if n > 0 {
		c.t.Errorf("%d bytes came, want none", n)
	}
	if nerr, ok := err.(net.Error); ok && nerr.Timeout() {
		c.t.Error("the connection stays open")
	}
}

// refused makes a connection that the server closes at once, perhaps before it is made.
func refused(t testing.TB, addr netip.AddrPort) {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr.String(), hang)
	if err != nil {
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(hang))
	if n, err := c.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection is not closed: %d bytes, %v", n, err)
	}
}
