package responder

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/selection"
)

func opcode(op int) func(*dns.Msg) { return func(m *dns.Msg) { m.Opcode = op } }

func TestNotifyAndUpdateAreNotAuthOrRefused(t *testing.T) {
	r := newRig(t)
	for _, op := range []int{dns.OpcodeNotify, dns.OpcodeUpdate} {
		r.want(r.ask("example.com.", dns.TypeSOA, opcode(op)), "REFUSED")
		r.want(r.ask("EXAMPLE.com.", dns.TypeSOA, opcode(op)), "REFUSED")
		r.want(r.ask("fetched.test.", dns.TypeSOA, opcode(op)), "REFUSED")
		r.want(r.ask("foreign.test.", dns.TypeSOA, opcode(op)), "NOTAUTH")
		r.want(r.ask("a.example.com.", dns.TypeSOA, opcode(op)), "NOTAUTH") // not a zone
		r.want(r.ask("example.com.", dns.TypeSOA, opcode(op), func(m *dns.Msg) {
			m.Question[0].Qclass = dns.ClassCHAOS
		}), "NOTAUTH")
		m := r.ask("example.com.", dns.TypeSOA, opcode(op), func(m *dns.Msg) { m.Question = nil })
		r.want(m, "FORMERR")
	}
	// An UPDATE that would add a record, with a prerequisite.
	m := new(dns.Msg)
	m.SetUpdate("example.com.")
	m.Insert(parse(t, "new.example.com. 60 IN A 192.0.2.99"))
	m.NameNotUsed(parse(t, "new.example.com. 60 IN A 192.0.2.99"))
	r.want(r.send(pack(t, m)), "REFUSED")
}

func TestOtherOpcodesAreNotImplemented(t *testing.T) {
	r := newRig(t)
	for op := range 16 {
		if op == dns.OpcodeQuery || op == dns.OpcodeNotify || op == dns.OpcodeUpdate {
			continue
		}
		wire := pack(t, query("example.com.", dns.TypeSOA, opcode(op), edns(), func(m *dns.Msg) {
			m.RecursionDesired = true
		}))
		for _, n := range []int{len(wire), 30, 12} {
			m := r.send(wire[:n])
			r.want(m, "NOTIMP")
			if len(m.Question)+len(m.Extra) > 0 {
				t.Errorf("opcode %d of %d bytes: %v, want a header alone", op, n, m)
			}
		}
	}
}

func TestRFC9619OneQuestion(t *testing.T) {
	r := newRig(t)
	for _, edit := range []func(*dns.Msg){
		func(m *dns.Msg) { m.Question = nil },
		func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) },
		func(m *dns.Msg) { m.Question = slices.Repeat(m.Question, 17) },
	} {
		r.want(r.ask("a.example.com.", dns.TypeA, edit), "FORMERR")
	}
	m := query("a.example.com.", dns.TypeA, edns())
	m.Question = nil
	r.want(r.send(pack(t, m)), "FORMERR") // OPT, but no cookie
}

func TestTransfersAreRefused(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"example.com.", "a.example.com.", "foreign.test.", "www.example.com."} {
		for _, r.tcp = range []bool{false, true} {
			r.want(r.ask(name, dns.TypeAXFR), "REFUSED")
			r.want(r.ask(name, dns.TypeIXFR, func(m *dns.Msg) {
				m.Ns = parse(t, "example.com. 0 IN SOA a. b. 1 0 0 0 0")
			}), "REFUSED")
		}
	}
}

func TestMetaTypes(t *testing.T) {
	r := newRig(t)
	for qtype, want := range map[uint16]string{
		dns.TypeOPT: "FORMERR", dns.TypeTSIG: "FORMERR", dns.TypeNXNAME: "FORMERR",
		dns.TypeTKEY: "NOTIMP", dns.TypeMAILA: "NOTIMP", dns.TypeMAILB: "NOTIMP",
	} {
		r.want(r.ask("a.example.com.", qtype), want)
	}
	r.want(r.ask("a.example.com.", dns.TypeRRSIG), "NOERROR aa", negativeSOA)
	r.want(r.ask("a.example.com.", 0), "NOERROR aa", negativeSOA)
}

func class(c uint16) func(*dns.Msg) { return func(m *dns.Msg) { m.Question[0].Qclass = c } }

func TestOtherClassesAreRefused(t *testing.T) {
	r := newRig(t)
	for _, c := range []uint16{0, 2, dns.ClassHESIOD, dns.ClassNONE, dns.ClassANY, 65535} {
		r.want(r.ask("a.example.com.", dns.TypeA, class(c)), "REFUSED")
	}
	r.want(r.ask("a.example.com.", dns.TypeTXT, class(dns.ClassCHAOS)), "REFUSED")
}

func TestRFC4892ChaosTXT(t *testing.T) {
	r := newRig(t)
	chaos := class(dns.ClassCHAOS)
	for name, want := range map[string]string{
		"version.bind.": `Sluice \ "gslb"`, "version.server.": `Sluice \ "gslb"`, "VERSION.Bind.": `Sluice \ "gslb"`,
		"id.server.": "node-1.example.net", "hostname.bind.": "node-1.example.net",
	} {
		for _, qtype := range []uint16{dns.TypeTXT, dns.TypeANY} {
			wire := pack(t, query(name, qtype, chaos))
			resp := r.respond(wire)
			m := r.check(wire, resp)
			if !m.Authoritative || m.Rcode != dns.RcodeSuccess || len(m.Answer) != 1 {
				t.Fatalf("%s: %v", name, m)
			}
			h := m.Answer[0].Header()
			data := resp.Wire[len(resp.Wire)-int(h.Rdlength):]
			if string(data[1:]) != want || int(data[0]) != len(want) || h.Class != dns.ClassCHAOS || h.Ttl != 0 {
				t.Errorf("%s: %v, want %q", name, m.Answer[0], want)
			}
		}
	}
	r.want(r.ask("version.bind.", dns.TypeA, chaos), "NOERROR aa")
	r.want(r.ask("version.bind.", dns.TypeAXFR, chaos), "REFUSED")
	r.want(r.ask("authors.bind.", dns.TypeTXT, chaos), "REFUSED")
	r.want(r.ask("version.bind.", dns.TypeTXT), "REFUSED") // class IN
	r = newRig(t, func(c *config.Config) { c.Server.Version, c.Server.ID = "", "" })
	for _, name := range []string{"version.bind.", "version.server.", "id.server.", "hostname.bind."} {
		r.want(r.ask(name, dns.TypeTXT, chaos), "REFUSED")
	}
}

func TestFlagsOfTheQueryDoNotComeBack(t *testing.T) {
	r := newRig(t)
	for bits := range 1 << 7 { // AA TC RD RA Z AD CD; check holds RA, Z, AD and CD
		wire := pack(t, query("a.example.com.", dns.TypeA))
		wire[2] = byte(bits & 7)
		wire[3] = byte(bits >> 3 << 4)
		m := r.send(wire)
		want := "NOERROR aa"
		if bits&1 != 0 {
			want += " rd" // RFC 1035 section 4.1.1 has it copied
		}
		r.want(m, want, "answer a.example.com. 3600 IN A 192.0.2.10")
	}
}

func TestAAOnOwnDataOnly(t *testing.T) {
	r := newRig(t)
	for name, want := range map[string]bool{
		"a.example.com.": true, "nowhere.example.com.": true, "ent.example.com.": true, "www.example.com.": true,
		"nodata.example.com.": true, "alias.example.com.": true,
		"toforeign.example.com.": true, "x.tree.example.com.": true, "x.wild.example.com.": true,
		"web7.expression.example.com.": true,
		"sub.example.com.":             false, "host.sub.example.com.": false, "foreign.test.": false,
		"refused.example.com.": false, "other.fetched.test.": false,
	} {
		if m := r.ask(name, dns.TypeA); m.Authoritative != want {
			t.Errorf("%s: AA %v, want %v", name, m.Authoritative, want)
		}
	}
}

func TestExpressionsAreTriedOnAMissOnly(t *testing.T) {
	r := newRig(t, withRule(t, `~.*`, east))
	r.want(r.ask("web7.expression.example.com.", dns.TypeA), "NOERROR aa",
		"answer web7.expression.example.com. 30 IN A 203.0.113.10")
	r.want(r.ask("WEB7.expression.example.com.", dns.TypeAAAA), "NOERROR aa",
		"answer WEB7.expression.example.com. 30 IN AAAA 2001:db8:e::10")
	r.want(r.ask("nowhere.example.com.", dns.TypeA), "NOERROR aa", "answer nowhere.example.com. 30 IN A 203.0.113.10")
	r.want(r.ask("nowhere.example.com.", dns.TypeMX), "NOERROR aa", ruledSOA)
	r.want(r.ask("ent.example.com.", dns.TypeA), "NOERROR aa", "answer ent.example.com. 30 IN A 203.0.113.10")
	r.want(r.ask("a.example.com.", dns.TypeA), "NOERROR aa", "answer a.example.com. 3600 IN A 192.0.2.10")
	r.want(r.ask("x.wild.example.com.", dns.TypeA), "NOERROR aa", "answer x.wild.example.com. 3600 IN A 192.0.2.40")
	r.want(r.ask("foreign.test.", dns.TypeA), "REFUSED") // all names of our zones, not of the world
}

// withRule adds a rule that answers a name with one VIP in order.
func withRule(t testing.TB, domain string, answer int) func(*config.Config) {
	return func(c *config.Config) {
		i := slices.IndexFunc(c.DomainLists, func(l config.DomainList) bool { return l.Domains[0].Regexp != nil })
		list := c.DomainLists[i]
		list.Name, list.Domains = domain, []config.Domain{domainOf(domain)}
		c.DomainLists = append(c.DomainLists, list)
		c.Groups = append(c.Groups, config.Group{Name: domain, Owner: config.None, Kind: config.VIP,
			Members: []config.Member{{Answer: answer, Order: 1, Weight: 1}}})
		rule := c.Rules[0]
		rule.Name, rule.Domains = domain, len(c.DomainLists)-1
		rule.Clauses = []config.Clause{{Group: len(c.Groups) - 1, Balance: config.Ordered, Count: 1,
			AllDown: config.NoData}}
		c.Rules = append(c.Rules, rule)
	}
}

func TestBalancedAddresses(t *testing.T) {
	r := newRig(t)
	r.want(r.ask("all.example.com.", dns.TypeA), "NOERROR aa", "answer all.example.com. 30 IN A 203.0.113.10",
		"answer all.example.com. 30 IN A 203.0.113.20")
	r.want(r.ask("all.example.com.", dns.TypeAAAA), "NOERROR aa", "answer all.example.com. 30 IN AAAA 2001:db8:e::10",
		"answer all.example.com. 30 IN AAAA 2001:db8:f::20")
	// The round robin of this core moves with each answer.
	for _, want := range []string{"203.0.113.10", "203.0.113.20", "203.0.113.10"} {
		r.want(r.ask("turns.example.com.", dns.TypeA), "NOERROR aa", "answer turns.example.com. 30 IN A "+want)
	}
	other := *r
	other.core = Core{}
	other.want(other.ask("turns.example.com.", dns.TypeA), "NOERROR aa",
		"answer turns.example.com. 30 IN A 203.0.113.10")
}

func TestHealthFlipIsInTheNextAnswer(t *testing.T) {
	r := newRig(t)
	const east4, west4 = "answer www.example.com. 30 IN A 203.0.113.10", "answer www.example.com. 30 IN A 203.0.113.20"
	r.want(r.ask("www.example.com.", dns.TypeA), "NOERROR aa", east4)
	r.health(east, selection.Down)
	r.want(r.ask("www.example.com.", dns.TypeA), "NOERROR aa", west4)
	r.want(r.ask("torule.example.com.", dns.TypeA), "NOERROR aa",
		"answer torule.example.com. 3600 IN CNAME www.example.com.", west4)
	r.health(west, selection.Down)
	r.want(r.ask("www.example.com.", dns.TypeA), "NOERROR aa", ruledSOA)
	r.health(east, selection.Up)
	r.want(r.ask("www.example.com.", dns.TypeA), "NOERROR aa", east4)
}

func TestNameServerAnswersAreForwarded(t *testing.T) {
	r := newRig(t)
	for _, qtype := range []uint16{dns.TypeA, dns.TypeMX, dns.TypeTXT, dns.TypeANY} {
		got := r.disposition("asked.example.com.", qtype)
		want := Response{Disposition: Forward, Forward: r.cfg.Answers[toServer].Servers, Rule: 5, Clause: 0,
			Answer: toServer}
		if got.Limit = nil; !cmp.Equal(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })) {
			t.Errorf("%s: %+v", dns.TypeToString[qtype], got)
		}
	}
	r.health(toServer, selection.Down)
	r.want(r.ask("asked.example.com.", dns.TypeA), "NOERROR aa", ruledSOA)
}

func TestStickyClientsStay(t *testing.T) {
	r := newRig(t)
	r.view.Sticky = selection.NewStickyTable(100)
	ask := func(r *rig) string { return show(r.ask("stays.example.com.", dns.TypeA))[1] }
	first := ask(r)
	for range 5 {
		if got := ask(r); got != first {
			t.Fatalf("%s, want %s again", got, first)
		}
	}
	other := *r
	other.client = netip.MustParseAddrPort("198.51.100.99:4242")
	second := ask(&other)
	if second == first {
		t.Errorf("another client: %s too, want the next of the round robin", second)
	}
	r.health(east, selection.Down)
	r.health(west, selection.Down)
	r.want(r.ask("stays.example.com.", dns.TypeA), "NOERROR aa", ruledSOA)
	r.health(west, selection.Up)
	if got := ask(r); got != "answer stays.example.com. 30 IN A 203.0.113.20" {
		t.Errorf("%s, want the one that is up", got)
	}
}

func TestTTLsNeverExceedTheRules(t *testing.T) {
	r := newRig(t)
	for _, q := range []struct {
		name  string
		qtype uint16
	}{
		{"www.example.com.", dns.TypeA}, {"www.example.com.", dns.TypeAAAA}, {"www.example.com.", dns.TypeHTTPS},
		{"named.example.com.", dns.TypeCNAME},
		{"x.balanced.example.com.", dns.TypeA}, {"svc.example.com.", dns.TypeSVCB}, {"turns.example.com.", dns.TypeANY},
		{"web1.expression.example.com.", dns.TypeA},
	} {
		for range 2 { // with all up, and with all down
			m := r.ask(q.name, q.qtype)
			for _, rr := range append(m.Answer, m.Ns...) {
				if rr.Header().Ttl > 30 && rr.Header().Name != "a.example.com." {
					t.Errorf("%v: TTL above the rule's 30", rr)
				}
			}
			for _, answer := range []int{east, west, toCNAME} {
				r.health(answer, selection.Down)
			}
		}
		for _, answer := range []int{east, west, toCNAME} {
			r.health(answer, selection.Up)
		}
	}
}

func TestSVCBAndHTTPSHintsFollowHealth(t *testing.T) {
	r := newRig(t)
	want := func(name string, qtype uint16, records ...string) {
		t.Helper()
		lines := []string{"NOERROR aa"}
		for _, rr := range records {
			lines = append(lines, "answer "+name+" "+rr)
		}
		r.want(r.ask(name, qtype), lines...)
	}
	want("web.example.com.", dns.TypeHTTPS, `30 IN HTTPS 1 www.example.com. alpn="h2,h3" ipv4hint="203.0.113.10" `+
		`ipv6hint="2001:db8:e::10"`)
	want("svc.example.com.", dns.TypeSVCB, `30 IN SVCB 1 www.example.com. alpn="h2" ipv4hint="203.0.113.10" `+
		`ipv6hint="2001:db8:e::10"`)
	want("www.example.com.", dns.TypeHTTPS, `30 IN HTTPS 1 . alpn="h2" ipv4hint="203.0.113.10"`)
	// no IPv6: neither hint nor mandatory
	want("four.example.com.", dns.TypeHTTPS, `30 IN HTTPS 1 . mandatory="alpn" alpn="h2" ipv4hint="203.0.113.30"`)
	r.health(east, selection.Down)
	want("web.example.com.", dns.TypeHTTPS, `30 IN HTTPS 1 www.example.com. alpn="h2,h3" ipv4hint="203.0.113.20" `+
		`ipv6hint="2001:db8:f::20"`)
	r.health(west, selection.Down)
	want("web.example.com.", dns.TypeHTTPS, `30 IN HTTPS 1 www.example.com. alpn="h2,h3"`)
	// Not balanced, or written without hints, or in alias mode: as written.
	want("still.example.com.", dns.TypeHTTPS, `3600 IN HTTPS 1 a.example.com. ipv4hint="203.0.113.1"`)
	want("nohint.example.com.", dns.TypeHTTPS, `3600 IN HTTPS 1 www.example.com. alpn="h2"`)
	want("aliasmode.example.com.", dns.TypeHTTPS, `3600 IN HTTPS 0 www.example.com.`)
}

// What is served is shared by all queries.
func TestAnswersDoNotChangeTheZone(t *testing.T) {
	r := newRig(t)
	before := show(r.ask("web.example.com.", dns.TypeHTTPS))
	r.health(east, selection.Down)
	r.ask("web.example.com.", dns.TypeHTTPS)
	r.ask("x.wild.example.com.", dns.TypeA)
	r.health(east, selection.Up)
	if d := cmp.Diff(before, show(r.ask("web.example.com.", dns.TypeHTTPS))); d != "" {
		t.Errorf("after other answers (-want +got):\n%s", d)
	}
	r.want(r.ask("*.wild.example.com.", dns.TypeA), "NOERROR aa", "answer *.wild.example.com. 3600 IN A 192.0.2.40")
}

// What rate limits and metrics go by.
func TestKindsAndLimits(t *testing.T) {
	r := newRig(t)
	for _, test := range []struct {
		name  string
		kind  Kind
		limit string
	}{
		{"A.example.com.", Answer, "a.example.com."},
		{"alias.example.com.", Answer, "alias.example.com."},
		{"x1.wild.example.com.", Answer, "wild.example.com."},
		{"x1.balanced.example.com.", Answer, "balanced.example.com."},
		{"x1.tree.example.com.", NXDomain, "tree.example.com."},
		{"x1.nowhere.example.com.", NXDomain, "example.com."},
		{"x1.host.sub.example.com.", Referral, "sub.example.com."},
		{"txtonly.example.com.", NoData, "txtonly.example.com."},
		{"tonodata.example.com.", NoData, "tonodata.example.com."},
		{"refused.example.com.", Refused, "refused.example.com."},
		{"x1.foreign.test.", Refused, "test."},
	} {
		got := r.disposition(test.name, dns.TypeA)
		if got.Kind != test.kind || presentation(got.Limit) != test.limit {
			t.Errorf("%s: kind %d, limit %s; want %d, %s", test.name, got.Kind, presentation(got.Limit), test.kind,
				test.limit)
		}
	}
	if got := r.disposition("a.example.com.", dns.TypeA, opcode(dns.OpcodeUpdate)); got.Kind != Error ||
		got.Limit != nil {
		t.Errorf("UPDATE: kind %d, limit %x", got.Kind, got.Limit)
	}
	if got := r.disposition("www.example.com.", dns.TypeA); got.Rule != 0 || got.Clause != 0 || got.Answer != east {
		t.Errorf("rule %d, clause %d, answer %d; want 0, 0, east", got.Rule, got.Clause, got.Answer)
	}
	if got := r.disposition("a.example.com.", dns.TypeA); got.Rule != config.None || got.Clause != config.None ||
		got.Answer != config.None {
		t.Errorf("static data: rule %d, clause %d, answer %d", got.Rule, got.Clause, got.Answer)
	}
}

// A response must not keep the buffer that the query was read into.
func TestNothingOfTheQueryIsKept(t *testing.T) {
	r := newRig(t)
	wire := pack(t, query("Nowhere.example.com.", dns.TypeA,
		edns(ecs("10.0.0.0/8"), option(dns.EDNS0COOKIE, clientCookie...))))
	first := r.respond(wire)
	message, limit := slices.Clone(first.Wire), slices.Clone(first.Limit)
	clear(wire)
	if !slices.Equal(message, first.Wire) || !slices.Equal(limit, first.Limit) {
		t.Error("the response changed with the buffer of the query")
	}
}

func TestWaitIsForTheWholeQuery(t *testing.T) {
	r := newRig(t, withZone(t, "chain.test.",
		"chain.test. 60 IN SOA a. b. 1 1 1 1 1\nw.chain.test. 60 IN CNAME waiting.example.com."))
	got := r.disposition("w.chain.test.", dns.TypeA)
	if got.Disposition != Wait || got.MaxWait != 2*time.Second || got.Wire != nil {
		t.Errorf("%+v, want Wait", got)
	}
}
