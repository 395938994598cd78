package server

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/responder"
	"github.com/sluicelb/sluice/gslb/selection"
)

// owner is the name server of foreign.test: miekg/dns over UDP. It ends with the test.
func owner(t testing.TB, answer func(w dns.ResponseWriter, q *dns.Msg)) netip.AddrPort {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	up, ended := make(chan struct{}), make(chan struct{})
	s := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(answer), NotifyStartedFunc: func() { close(up) }}
	go func() { // ends with Shutdown
		defer close(ended)
		s.ActivateAndServe()
	}()
	<-up
	t.Cleanup(func() {
		s.Shutdown()
		<-ended
	})
	return pc.LocalAddr().(*net.UDPAddr).AddrPort()
}

func record(t testing.TB, s string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(s)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

func TestForward(t *testing.T) {
	var asked atomic.Int64
	addr := owner(t, func(w dns.ResponseWriter, q *dns.Msg) {
		asked.Add(1)
		m := new(dns.Msg).SetReply(q)
		m.Authoritative = true
		switch dns.CanonicalName(q.Question[0].Name) {
		case "big.foreign.test.":
			for i := range 40 {
				m.Answer = append(m.Answer, record(t, fmt.Sprintf("big.foreign.test. 60 IN TXT %020d", i)))
			}
		case "none.foreign.test.":
			m.Rcode = dns.RcodeNameError
			m.Ns = []dns.RR{record(t, "foreign.test. 60 IN SOA ns1 host 1 2 3 4 5")}
		default:
			m.Answer = []dns.RR{record(t, q.Question[0].Name+" 60 IN TXT relayed")}
		}
		if opt := q.IsEdns0(); opt != nil {
			m.SetEdns0(4096, opt.Do())
			for _, o := range opt.Option {
				if s, ok := o.(*dns.EDNS0_SUBNET); ok {
					scoped := *s
					scoped.SourceScope = 21
					m.IsEdns0().Option = []dns.EDNS0{&scoped, &dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: "6162"}}
				}
			}
		}
		w.WriteMsg(m)
	})
	s, ours := start(t, configuration(t, addr))
	for _, row := range []struct {
		network, name string
		qtype         uint16
		edns          func(*dns.OPT)
		rcode         int
		answers       int
		truncated     bool
		options       []string
	}{
		{network: "udp", name: "MX.foreign.TEST.", qtype: dns.TypeTXT, answers: 1},
		{network: "tcp", name: "MX.foreign.TEST.", qtype: dns.TypeTXT, answers: 1},
		{network: "udp", name: "ns.example.com.", qtype: dns.TypeTXT, answers: 1},
		{network: "udp", name: "none.foreign.test.", qtype: dns.TypeTXT, rcode: dns.RcodeNameError},
		{network: "udp", name: "big.foreign.test.", qtype: dns.TypeTXT, truncated: true},
		{network: "udp", name: "big.foreign.test.", qtype: dns.TypeTXT, truncated: true,
			edns: func(o *dns.OPT) { o.SetUDPSize(600) }},
		{network: "tcp", name: "big.foreign.test.", qtype: dns.TypeTXT, answers: 40,
			edns: func(o *dns.OPT) { o.SetUDPSize(600) }},
		{
			network: "udp", name: "subnet.foreign.test.", qtype: dns.TypeTXT, answers: 1,
			edns: func(o *dns.OPT) {
				o.SetDo()
				o.Option = []dns.EDNS0{&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24,
					Address: net.IP{192, 0, 2, 0}}}
			},
			options: []string{"192.0.2.0/24/21"},
		},
	} {
		t.Run(row.network+" "+row.name, func(t *testing.T) {
			q := new(dns.Msg).SetQuestion(row.name, row.qtype)
			if row.edns != nil {
				q.SetEdns0(1232, false)
				row.edns(q.IsEdns0())
			}
			c := dns.Client{Net: row.network, Timeout: hang}
			m, _, err := c.Exchange(q, ours.String())
			if err != nil {
				t.Fatal(err)
			}
			if m.Rcode != row.rcode || len(m.Answer) != row.answers || m.Truncated != row.truncated ||
				!m.Authoritative {
				t.Errorf("reply = %v, want %s, %d answers, truncated %v, AA", m, dns.RcodeToString[row.rcode],
					row.answers, row.truncated)
			}
			if diff := cmp.Diff(q.Question, m.Question); diff != "" {
				t.Errorf("question (-want +got):\n%s", diff)
			}
			opt := m.IsEdns0()
			if (opt != nil) != (row.edns != nil) {
				t.Fatalf("OPT = %v", opt)
			}
			if opt == nil {
				return
			}
			var options []string
			for _, o := range opt.Option {
				options = append(options, o.String())
			}
			if diff := cmp.Diff(row.options, options); diff != "" || opt.UDPSize() != 1232 ||
				opt.Do() != q.IsEdns0().Do() {
				t.Errorf("OPT = %v; options (-want +got):\n%s", opt, diff)
			}
		})
	}
	counts := s.Counts()
	if counts.Events[Forwarded] != 8 || counts.Events[ForwardFailed] != 0 {
		t.Errorf("events = %v, want 8 forwarded, none failed", counts.Events)
	}
	if diff := cmp.Diff(map[string]uint64{"ns": 1}, counts.Answers); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

// Of what a rule has forwarded no TTL is above the rule's; what no rule has a say in keeps its own.
func TestForwardTTLs(t *testing.T) {
	addr := owner(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		name := q.Question[0].Name
		m.Answer = []dns.RR{record(t, name+" 86400 IN A 203.0.113.1"), record(t, name+" 5 IN A 203.0.113.2")}
		m.Ns = []dns.RR{record(t, "foreign.test. 86400 IN SOA ns1 host 1 2 3 4 86400")}
		m.Extra = []dns.RR{record(t, "ns1.foreign.test. 4294967295 IN A 203.0.113.3")}
		m.SetEdns0(4096, true)
		w.WriteMsg(m)
	})
	_, ours := start(t, configuration(t, addr))
	for name, want := range map[string][]uint32{
		"ns.example.com.":   {30, 5, 30, 30},
		"www.foreign.test.": {86400, 5, 86400, 4294967295},
	} {
		q := new(dns.Msg).SetQuestion(name, dns.TypeA)
		q.SetEdns0(1232, true)
		c := dns.Client{Timeout: hang}
		m, _, err := c.Exchange(q, ours.String())
		if err != nil {
			t.Fatal(err)
		}
		var got []uint32
		for _, rr := range slices.Concat(m.Answer, m.Ns, m.Extra) {
			if rr.Header().Rrtype != dns.TypeOPT {
				got = append(got, rr.Header().Ttl)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" || m.IsEdns0() == nil || !m.IsEdns0().Do() {
			t.Errorf("%s: %v\nTTLs (-want +got):\n%s", name, m, diff)
		}
	}
}

// A client that sends a cookie gets this server's, not the owner's.
func TestForwardAnswersCookies(t *testing.T) {
	addr := owner(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.SetEdns0(1232, false)
		if n := len(q.IsEdns0().Option); n != 0 {
			t.Errorf("%d options reached the owner", n)
		}
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE,
			Cookie: "00000000000000001111111111111111"}}
		w.WriteMsg(m)
	})
	_, ours := start(t, configuration(t, addr))
	q := new(dns.Msg).SetQuestion("a.foreign.test.", dns.TypeTXT)
	q.SetEdns0(1232, false)
	q.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"}}
	c := dns.Client{Timeout: hang}
	m, _, err := c.Exchange(q, ours.String())
	if err != nil {
		t.Fatal(err)
	}
	options := m.IsEdns0().Option
	if len(options) != 1 || len(options[0].String()) != 48 || options[0].String()[:18] != "010203040506070801" {
		t.Errorf("options = %v, want the client's cookie and one of this server", options)
	}
}

// Owners that do not answer make SERVFAIL, and keep nobody else waiting meanwhile.
func TestForwardFails(t *testing.T) {
	asked := make(chan struct{}, 10)
	addr := owner(t, func(dns.ResponseWriter, *dns.Msg) { asked <- struct{}{} })
	cfg := configuration(t, addr)
	cfg.Server.ForwardTimeout = 200 * time.Millisecond
	s, ours := start(t, cfg)
	got := make(chan *dns.Msg)
	go func() { // ends with its reply
		c := dns.Client{Timeout: hang}
		m, _, err := c.Exchange(new(dns.Msg).SetQuestion("dead.foreign.test.", dns.TypeTXT), ours.String())
		if err != nil {
			t.Error(err)
		}
		got <- m
	}()
	<-asked
	c := dns.Client{Timeout: hang}
	if m, _, err := c.Exchange(new(dns.Msg).SetQuestion("a.example.com.", dns.TypeA), ours.String()); err != nil ||
		len(m.Answer) != 1 {
		t.Errorf("meanwhile: %v, %v", m, err)
	}
	if m := <-got; m != nil && (m.Rcode != dns.RcodeServerFailure || len(m.Answer)+len(m.Ns) != 0) {
		t.Errorf("reply = %v, want SERVFAIL", m)
	}
	if n := s.Counts().Events[ForwardFailed]; n != 1 {
		t.Errorf("%d failed, want 1", n)
	}
}

// Over UDP and TCP a query waits for the first verdict, and is answered by it.
func TestWaitForVerdict(t *testing.T) {
	for network, health := range map[string]selection.Health{"udp": selection.Up, "tcp": selection.Down} {
		t.Run(network, func(t *testing.T) {
			cfg := configuration(t)
			s, addr := start(t, cfg)
			s.Publish(viewOf(t, cfg, selection.Unknown))
			got := make(chan *dns.Msg)
			go func() { // ends with its reply
				c := dns.Client{Net: network, Timeout: hang}
				m, _, err := c.Exchange(new(dns.Msg).SetQuestion("www.example.com.", dns.TypeA), addr.String())
				if err != nil {
					t.Error(err)
				}
				got <- m
			}()
			for s.waiting.Load() == 0 {
				s.Publish(viewOf(t, cfg, selection.Unknown)) // no verdict yet
			}
			s.Publish(viewOf(t, cfg, health))
			m := <-got
			want := map[selection.Health]int{selection.Up: 1, selection.Down: 0}[health]
			if m == nil || m.Rcode != dns.RcodeSuccess || len(m.Answer) != want {
				t.Errorf("reply = %v, want NOERROR with %d records", m, want)
			}
			if e := s.Counts().Events; e[Waited] != 1 || e[WaitFailed] != 0 {
				t.Errorf("events = %v, want 1 waited, none failed", e)
			}
		})
	}
}

// waiting is a server without sockets, all of whose queries wait, and one of these.
func waiting(t *testing.T) (*Server, *query) {
	s := New(Config{})
	s.Publish(viewOf(t, configuration(t), selection.Unknown))
	return s, &query{request: ask(t, 1, "www.example.com.", dns.TypeA), from: netip.MustParseAddrPort("192.0.2.1:4711")}
}

func rcodeOf(t *testing.T, r responder.Response) string {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(r.Wire); err != nil {
		t.Fatal(err)
	}
	return dns.RcodeToString[m.Rcode]
}

func TestWaitEndsWithTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, q := waiting(t)
		begun := time.Now()
		go func() { // news that is none does not lengthen it
			for range 9 {
				time.Sleep(time.Second)
				s.Publish(viewOf(t, s.views.load().Config, selection.Unknown))
			}
		}()
		r := s.wait(t.Context(), q, 10*time.Second)
		if got := rcodeOf(t, r); got != "SERVFAIL" || time.Since(begun) != 10*time.Second {
			t.Errorf("%s after %v, want SERVFAIL after 10s", got, time.Since(begun))
		}
		if n := s.Counts().Events[WaitFailed]; n != 1 {
			t.Errorf("%d failed, want 1", n)
		}
	})
}

func TestWaitEndsWithServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, q := waiting(t)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if got := rcodeOf(t, s.wait(ctx, q, time.Hour)); got != "SERVFAIL" {
			t.Errorf("%s, want SERVFAIL", got)
		}
	})
}

// More than maxWaiting queries: those beyond fail at once.
func TestWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, q := waiting(t)
		replies := make(chan responder.Response, 2*maxWaiting)
		for range maxWaiting + 10 {
			copied := *q
			s.later(&copied, responder.Response{Disposition: responder.Wait, MaxWait: time.Hour},
				func(_ *core, r responder.Response) { replies <- r })
		}
		synctest.Wait()
		if n := len(replies); n != 10 {
			t.Errorf("%d of %d fail at once, want 10", n, maxWaiting+10)
		}
		s.Publish(viewOf(t, s.views.load().Config, selection.Up))
		s.late.Wait()
		good := 0
		for range maxWaiting + 10 {
			if rcodeOf(t, <-replies) == "NOERROR" {
				good++
			}
		}
		if good != maxWaiting {
			t.Errorf("%d are answered, want %d", good, maxWaiting)
		}
	})
}

// A reply that was chosen by rules that have been replaced meanwhile is not counted for the new ones.
func TestForwardAcrossReload(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	addr := owner(t, func(w dns.ResponseWriter, q *dns.Msg) {
		close(asked)
		<-release
		w.WriteMsg(new(dns.Msg).SetReply(q))
	})
	s, ours := start(t, configuration(t, addr))
	got := make(chan *dns.Msg)
	go func() { // ends with its reply
		c := dns.Client{Timeout: hang}
		m, _, err := c.Exchange(new(dns.Msg).SetQuestion("ns.example.com.", dns.TypeTXT), ours.String())
		if err != nil {
			t.Error(err)
		}
		got <- m
	}()
	<-asked
	next := configuration(t, addr)
	next.Rules, next.Answers = next.Rules[:1], next.Answers[:1]
	next.Groups = next.Groups[:1]
	s.Publish(viewOf(t, next, selection.Up))
	close(release)
	if m := <-got; m != nil && m.Rcode != dns.RcodeSuccess {
		t.Errorf("reply = %v, want the owner's", m)
	}
	if counts := s.Counts(); len(counts.Rules) != 0 || len(counts.Answers) != 0 {
		t.Errorf("counts = %v, %v, want none", counts.Rules, counts.Answers)
	}
}
