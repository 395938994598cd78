package demo

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

func TestAnswered(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(m *dns.Msg)
		want   string
	}{
		{"right", func(*dns.Msg) {}, ""},
		{"an error", func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }, "the RCODE is SERVFAIL"},
		{"not authoritative", func(m *dns.Msg) { m.Authoritative = false }, "its flags are wrong: "},
		{"truncated", func(m *dns.Msg) { m.Truncated = true }, "its flags are wrong: "},
		{"a query", func(m *dns.Msg) { m.Response = false }, "its flags are wrong: "},
		{"another question", func(m *dns.Msg) { m.Question[0].Name = "example.com." }, "it answers another question"},
		{"nothing", func(m *dns.Msg) { m.Answer = nil }, "it has 0 records"},
		{"twice", func(m *dns.Msg) { m.Answer = append(m.Answer, m.Answer[0]) }, "it has 2 records"},
		{"another TTL", func(m *dns.Msg) { m.Answer[0].Header().Ttl = 0 },
			`it is "www.example.com. 0 IN A 10.0.0.100", not an A record with TTL 1`},
		{"another name", func(m *dns.Msg) { m.Answer[0].Header().Name = "web.example.com." },
			`it is "web.example.com. 1 IN A 10.0.0.100", not an A record with TTL 1`},
	} {
		t.Run(test.name, func(t *testing.T) {
			query, m := new(dns.Msg), new(dns.Msg)
			query.SetQuestion(webName, dns.TypeA)
			answer(m, query)
			test.change(m)
			vip, got := answered(query, m)
			if got != test.want && !(test.want != "" && strings.HasPrefix(got, test.want)) {
				t.Errorf("%q, want %q", got, test.want)
			}
			if test.want == "" && vip != fra.vip.Addr() {
				t.Errorf("names %v", vip)
			}
		})
	}
}

// answer makes m the right response, which names fra.
func answer(m, query *dns.Msg) {
	m.SetReply(query)
	m.Authoritative = true
	m.Answer = []dns.RR{&dns.A{
		Hdr: dns.RR_Header{Name: webName, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: webTTL},
		A:   fra.vip.Addr().AsSlice(),
	}}
}

func TestJudge(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	first, second := fra.vip.Addr(), ams.vip.Addr()
	eras := []era{
		{at(0), []netip.Addr{first}},
		{at(100), []netip.Addr{first, second}}, // the cut
		{at(110), []netip.Addr{second}},        // gslb says so
		{at(200), []netip.Addr{first, second}},
		{at(210), []netip.Addr{first}},
	}
	for _, test := range []struct {
		name           string
		sent, received int64
		vip            netip.Addr
		want           bool
	}{
		{"before the cut", 10, 11, first, true},
		{"too early", 98, 99, second, false},
		{"under way at the cut", 99, 101, second, true},
		{"not known yet", 105, 106, first, true},
		{"known", 105, 106, second, true},
		{"asked before it was known, answered later", 109, 112, first, true},
		{"still the dead one", 111, 112, first, false},
		{"the live one", 111, 112, second, true},
		{"back too early", 198, 199, first, false},
		{"back", 199, 201, first, true},
		{"not back yet", 205, 206, second, true},
		{"forever away", 211, 212, second, false},
		{"at home", 211, 212, first, true},
		{"a stranger", 105, 106, netip.MustParseAddr("10.9.0.100"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			wrong, examples := judge([]exchange{{at(test.sent), at(test.received), test.vip, ""}}, eras)
			if right := wrong == 0; right != test.want || len(examples) != wrong {
				t.Errorf("%d wrong: %q", wrong, examples)
			}
		})
	}
	lost := exchange{sent: at(10), received: at(15), fault: "no answer: i/o timeout"}
	wrong, examples := judge([]exchange{lost, {at(111), at(112), first, ""}, lost, lost, lost, lost}, eras)
	want := []string{
		"DNS answer after 15.0 s: no answer: i/o timeout",
		"DNS answer after 112.0 s: it names 10.0.0.100",
		"DNS answer after 15.0 s: no answer: i/o timeout",
		"DNS answer after 15.0 s: no answer: i/o timeout",
		"DNS answer after 15.0 s: no answer: i/o timeout",
	}
	if diff := cmp.Diff(want, examples); diff != "" || wrong != 6 {
		t.Errorf("%d wrong, want 6; examples (-want +got):\n%s", wrong, diff)
	}
}

// Clients ask once in a TTL, whether there is an answer or none.
func TestResolver(t *testing.T) {
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var refuse atomic.Bool
	server := &dns.Server{PacketConn: socket, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		m := new(dns.Msg)
		if answer(m, query); refuse.Load() {
			m.SetRcode(query, dns.RcodeRefused)
		}
		w.WriteMsg(m)
	})}
	serving := make(chan error)
	go func() { serving <- server.ActivateAndServe() }()
	t.Cleanup(func() {
		socket.Close()
		<-serving
	})
	r := newResolver(netip.MustParseAddrPort(socket.LocalAddr().String()), newPace(), nil)
	fresh := func() { r.cached.received = time.Now().Add(time.Hour) }
	stale := func() { r.cached.received = time.Now().Add(-webTTL * time.Second) }
	look := func(want string, asked int) {
		t.Helper()
		vip, err := r.lookup(t.Context())
		got := vip.String()
		if err != nil {
			got = err.Error()
		}
		if got != want || r.exchanges.next() != asked {
			t.Errorf("%s after %d queries, want %s after %d", got, r.exchanges.next(), want, asked)
		}
	}
	look("10.0.0.100", 1)
	fresh()
	look("10.0.0.100", 1)
	refuse.Store(true)
	fresh()
	look("10.0.0.100", 1)
	stale()
	look("looking up www.example.com.: the RCODE is REFUSED", 2)
	fresh()
	look("looking up www.example.com.: the RCODE is REFUSED", 2)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	stale()
	if _, err := r.lookup(ended); err == nil || r.exchanges.next() != 2 {
		t.Errorf("error %v; %d queries that count, want 2", err, r.exchanges.next())
	}
}

// What gslb logs of its answers is heard, and logged as if nobody listened.
func TestNoticer(t *testing.T) {
	var text strings.Builder
	notices := newJournal[notice]()
	log := slog.New(&noticer{slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelWarn}),
		notices}).With("role", "gslb")
	log.Info("answer down", "answer", "www-fra", "was", "up", "reason", "no backend")
	log.Info("configuration loaded")
	log.WithGroup("a").Warn("answer up", "answer", "www-fra")
	log.Debug("answer up", "answer", "www-ams")
	var got []string
	for _, n := range notices.all() {
		if n.at.IsZero() {
			t.Errorf("%+v: without a time", n)
		}
		got = append(got, n.answer+" "+n.state+" "+n.reason)
	}
	if diff := cmp.Diff([]string{"www-fra down no backend", "www-fra up "}, got); diff != "" {
		t.Errorf("notices (-want +got):\n%s", diff)
	}
	if n := strings.Count(text.String(), "\n"); n != 1 ||
		!strings.Contains(text.String(), "role=gslb a.answer=www-fra") {
		t.Errorf("log:\n%s", &text)
	}
}
