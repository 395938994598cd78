package server

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/cookie"
	"github.com/sluicelb/sluice/gslb/selection"
)

// alone is a worker without a socket.
func alone(t testing.TB, c *config.Config) *worker {
	t.Helper()
	s := New(Config{Cores: 1})
	s.Publish(viewOf(t, c, selection.Up))
	w := s.newWorker(func([]byte, netip.AddrPort, local) { t.Error("an answer came later") })
	w.begin()
	return w
}

var resolver = netip.MustParseAddrPort("192.0.2.1:4711")

// handle returns the response to a message, nil if there is none.
func handle(t testing.TB, w *worker, request []byte, from netip.AddrPort) *dns.Msg {
	t.Helper()
	out := make([]byte, maxUDP)
	n := w.handle(request, from, local{}, out)
	if n == 0 {
		return nil
	}
	m := new(dns.Msg)
	if err := m.Unpack(out[:n]); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMitigation(t *testing.T) {
	query := ask(t, 1, "a.example.com.", dns.TypeA)
	response := append([]byte(nil), query...)
	response[2] |= 0x80
	for _, row := range []struct {
		name     string
		off      bool
		message  []byte
		port     uint16
		answered bool
		event    Event // that is counted, if not answered
	}{
		{"query", false, query, 4711, true, 0},
		{"query from the port of name servers", false, query, 53, true, 0},
		{"query from port 1024", false, query, 1024, true, 0},
		{"query from a privileged port", false, query, 1023, false, DroppedPorts},
		{"query from chargen", false, query, 19, false, DroppedPorts},
		{"query from no port", false, query, 0, false, DroppedMalformed},
		{"response", false, response, 4711, false, DroppedResponses},
		{"response from a privileged port", false, response, 53, false, DroppedResponses},
		{"half a header", false, query[:11], 4711, false, DroppedMalformed},
		{"nothing", false, nil, 4711, false, DroppedMalformed},
		{"off: query from a privileged port", true, query, 1023, true, 0},
		{"off: response, which nobody answers", true, response, 4711, false, DroppedMalformed},
		{"off: query from no port", true, query, 0, false, DroppedMalformed},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := configuration(t)
			c.Server.Mitigation = config.Mitigation{Responses: !row.off, PrivilegedPorts: !row.off}
			w := alone(t, c)
			got := handle(t, w, row.message, netip.AddrPortFrom(resolver.Addr(), row.port))
			if (got != nil) != row.answered {
				t.Errorf("answered with %v, want %v", got, row.answered)
			}
			counts := w.s.Counts()
			if !row.answered && counts.Events[row.event] != 1 {
				t.Errorf("events = %v, want 1 %v", counts.Events, row.event)
			}
			if counts.Queries[UDP] != 1 {
				t.Errorf("%d queries counted, want 1", counts.Queries[UDP])
			}
		})
	}
}

// limited is a configuration that sends two responses of a kind a second, and truncates all others.
func limited(t testing.TB, slip int) *config.Config {
	c := configuration(t)
	c.Server.RateLimit = config.RateLimit{Responses: 2, Window: 15 * time.Second, Slip: slip}
	return c
}

func TestRateLimit(t *testing.T) {
	names := func(name ...string) []string { return name }
	for _, row := range []struct {
		name      string
		questions []string
		slip      int
		want      string // by question: a answered, t truncated, - nothing
	}{
		{"one name", names("a.example.com.", "a.example.com.", "A.Example.com.", "a.example.com."), 1, "aatt"},
		{"one name, no slip", names("a.example.com.", "a.example.com.", "a.example.com.", "a.example.com."), 0, "aa--"},
		{"different names", names("a.example.com.", "b.example.com.", "a.example.com.", "b.example.com."), 1, "aaaa"},
		{"random names", names("x1.example.com.", "x2.example.com.", "x3.example.com.", "x4.example.com."), 1, "aatt"},
		{"random names of a wildcard", names("x1.w.example.com.", "x2.w.example.com.", "x3.w.example.com.",
			"x4.w.example.com."), 1, "aatt"},
		{"names of others", names("a.test.", "b.test.", "c.test.", "d.test."), 1, "aatt"},
		{"by rules", names("www.example.com.", "www.example.com.", "www.example.com.", "a.example.com."), 1, "aata"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := alone(t, limited(t, row.slip))
			got := ""
			for i, name := range row.questions {
				m := handle(t, w, ask(t, uint16(i), name, dns.TypeA), resolver)
				switch {
				case m == nil:
					got += "-"
				case m.Truncated && len(m.Answer)+len(m.Ns) == 0 && m.Id == uint16(i) && m.Question[0].Name == name:
					got += "t"
				case !m.Truncated:
					got += "a"
				default:
					t.Errorf("response %d is %v", i, m)
				}
			}
			if got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

// A valid cookie proves the address, one of another address or server does not.
func TestRateLimitAndCookies(t *testing.T) {
	for _, row := range []struct {
		name, of string
		secret   [16]byte
		limited  bool
	}{
		{"ours", "192.0.2.1", [16]byte{1}, false},
		{"of another address", "192.0.2.2", [16]byte{1}, true},
		{"of another server", "192.0.2.1", [16]byte{2}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := alone(t, limited(t, 0))
			q := new(dns.Msg).SetQuestion("a.example.com.", dns.TypeA)
			q.SetEdns0(1232, false)
			value := cookie.Make(nil, row.secret, []byte("12345678"), netip.MustParseAddr(row.of),
				uint32(time.Now().Unix()))
			q.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: dns.EDNS0COOKIE, Data: value}}
			wire, err := q.Pack()
			if err != nil {
				t.Fatal(err)
			}
			answered := 0
			for range 10 {
				if handle(t, w, wire, resolver) != nil {
					answered++
				}
			}
			if (answered < 10) != row.limited {
				t.Errorf("%d of 10 answered, want limited %v", answered, row.limited)
			}
			e := w.s.Counts().Events
			if row.limited && (e[LimitedDropped] != 8 || e[ValidCookies] != 0) ||
				!row.limited && e[ValidCookies] != 10 {
				t.Errorf("events = %v", e)
			}
		})
	}
}

// Over TCP nothing is limited.
func TestRateLimitNotOverTCP(t *testing.T) {
	_, addr := start(t, limited(t, 0))
	c := dial(t, addr)
	for i := range uint16(20) {
		c.send(ask(t, i, "a.example.com.", dns.TypeA))
		if m := c.next(); m.Id != i || m.Truncated {
			t.Errorf("answer is %v", m)
		}
	}
}

// Counts are by name, outlive reloads that change what is at an index, and add up over cores.
func TestCounts(t *testing.T) {
	first := configuration(t)
	s := New(Config{Cores: 2})
	s.Publish(viewOf(t, first, selection.Up))
	var workers []*worker
	for range 2 {
		workers = append(workers, s.newWorker(nil))
	}
	round := func() {
		for _, w := range workers {
			w.begin()
			handle(t, w, ask(t, 1, "www.example.com.", dns.TypeA), resolver)
			handle(t, w, ask(t, 1, "none.example.com.", dns.TypeA), resolver)
		}
	}
	round()
	second := configuration(t)
	second.Rules = append([]config.Rule{{Name: "before", Owner: config.None, Domains: 1,
		Clauses: second.Rules[0].Clauses}}, second.Rules[0])
	second.Answers[0].Name = "renamed"
	s.Publish(viewOf(t, second, selection.Up))
	round()
	round()
	got := s.Counts()
	if diff := cmp.Diff(map[string][]uint64{"www": {6}}, got.Rules); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]uint64{"vip": 2, "renamed": 4}, got.Answers); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if got.Queries != [Transports]uint64{UDP: 12} || got.Responses[UDP][dns.RcodeSuccess] != 6 ||
		got.Responses[UDP][dns.RcodeNameError] != 6 {
		t.Errorf("queries %v, responses %v", got.Queries, got.Responses)
	}
}

func TestNames(t *testing.T) {
	seen := make(map[string]bool)
	for e := range Event(Events) {
		if e.String() == "" || seen[e.String()] {
			t.Errorf("event %d is called %q", e, e)
		}
		seen[e.String()] = true
	}
	if UDP.String() != "udp" || TCP.String() != "tcp" {
		t.Errorf("transports are called %v and %v", UDP, TCP)
	}
}

// The fast path, mitigation, limits and counters together allocate nothing.
func TestNoAllocations(t *testing.T) {
	c := configuration(t)
	c.Server.RateLimit = config.RateLimit{Responses: 1_000_000, Window: time.Second, Slip: 2}
	w := alone(t, c)
	out := make([]byte, maxUDP)
	for _, name := range []string{"www.example.com.", "a.example.com.", "none.example.com.", "example.org."} {
		request := ask(t, 1, name, dns.TypeA)
		before := w.s.Counts().Events[FastAnswers]
		if n := testing.AllocsPerRun(100, func() {
			w.begin()
			if w.handle(request, resolver, local{}, out) == 0 {
				t.Fatal("no answer")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
		if n := w.s.Counts().Events[FastAnswers] - before; n != 101 {
			t.Errorf("%s: %d fast answers, want 101", name, n)
		}
	}
}

func BenchmarkHandle(b *testing.B) {
	for name, responses := range map[string]int{"unlimited": 0, "limited": 1_000_000} {
		b.Run(name, func(b *testing.B) {
			c := configuration(b)
			c.Server.RateLimit = config.RateLimit{Responses: responses, Window: time.Second, Slip: 2}
			w := alone(b, c)
			request, out := ask(b, 1, "www.example.com.", dns.TypeA), make([]byte, maxUDP)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%32 == 0 {
					w.begin()
				}
				w.handle(request, resolver, local{}, out)
			}
		})
	}
}
