package responder

import (
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/selection"
)

func TestRFC2308NXDomainHasTheSOA(t *testing.T) {
	r := newRig(t)
	r.want(r.ask("nowhere.example.com.", dns.TypeA), "NXDOMAIN aa", negativeSOA)
}

func TestRFC2308NoDataHasTheSOA(t *testing.T) {
	r := newRig(t)
	r.want(r.ask("a.example.com.", dns.TypeTXT), "NOERROR aa", negativeSOA)
}

// The SOA of example.com has a TTL of 3600 and a minimum of 300; that of example.org 600 and 7200.
func TestRFC2308NegativeTTLIsTheLesser(t *testing.T) {
	r := newRig(t)
	r.want(r.ask("nowhere.example.com.", dns.TypeA), "NXDOMAIN aa", negativeSOA)
	r.want(r.ask("nowhere.example.org.", dns.TypeA), "NXDOMAIN aa", orgSOA)
	if got := r.ask("example.com.", dns.TypeSOA).Answer[0].Header().Ttl; got != 3600 {
		t.Errorf("SOA asked for itself: TTL %d, want its own, 3600", got)
	}
}

func TestRFC2308AAAAOfAnAOnlyNameIsNoData(t *testing.T) {
	r := newRig(t)
	r.want(r.ask("a.example.com.", dns.TypeAAAA), "NOERROR aa", negativeSOA)
	r.want(r.ask("four.example.com.", dns.TypeAAAA), "NOERROR aa", ruledSOA) // balanced
}

func TestRFC2308NegativeAfterCNAME(t *testing.T) {
	r := newRig(t)
	r.want(r.ask("tonowhere.example.com.", dns.TypeA), "NXDOMAIN aa",
		"answer tonowhere.example.com. 3600 IN CNAME nowhere.example.com.", negativeSOA)
	r.want(r.ask("tonodata.example.com.", dns.TypeA), "NOERROR aa",
		"answer tonodata.example.com. 3600 IN CNAME txtonly.example.com.", negativeSOA)
}

// fetched is a NegativeSource with the SOA of one zone, which expires.
type fetched struct {
	zone    string
	soa     *dns.SOA
	expires time.Time
}

func (f fetched) SOA(zone string, now time.Time) *dns.SOA {
	left := f.expires.Sub(now)
	if zone != f.zone || left < time.Second {
		return nil
	}
	soa := *f.soa
	soa.Hdr.Ttl = uint32(left / time.Second)
	return &soa
}

func TestRFC2308FetchedSOACountsDown(t *testing.T) {
	r := newRig(t, func(c *config.Config) { zoneOf(c, "fetched.test.").NoMatch = config.NoMatchNXDomain })
	soa := parse(t, "fetched.test. 400 IN SOA ns.owner.test. admin.owner.test. 7 7200 3600 1209600 300")[0].(*dns.SOA)
	r.view.Negative = fetched{"fetched.test.", soa, r.now.Add(400 * time.Second)}
	const data = " IN SOA ns.owner.test. admin.owner.test. 7 7200 3600 1209600 300"
	for _, step := range []struct {
		after time.Duration
		ttl   string
	}{{0, "300"}, {100 * time.Second, "300"}, {150 * time.Second, "250"}, {399 * time.Second, "1"}} {
		later := *r
		later.now = r.now.Add(step.after)
		later.want(later.ask("other.fetched.test.", dns.TypeA), "NXDOMAIN aa", "authority fetched.test. "+step.ttl+data)
	}
	r.want(r.ask("www.fetched.test.", dns.TypeAAAA), "NOERROR aa", "authority fetched.test. 30"+data) // by a rule
	r.want(r.ask("fetched.test.", dns.TypeSOA), "NOERROR aa", "answer fetched.test. 300"+data)
	r.now = r.now.Add(400 * time.Second)
	r.want(r.ask("www.fetched.test.", dns.TypeAAAA), "NOERROR aa") // what is not known is not made up
	r.view.Negative = nil
	r.want(r.ask("www.fetched.test.", dns.TypeAAAA), "NOERROR aa")
	r.want(r.ask("fetched.test.", dns.TypeSOA), "NOERROR aa")
}

func TestFetchedSOAIsTheAnswerAtTheApex(t *testing.T) {
	for _, policy := range []config.NoMatch{config.NoMatchDefault, config.NoMatchRefused, config.NoMatchNXDomain,
		config.NoMatchForward} {
		r := newRig(t, func(c *config.Config) { zoneOf(c, "fetched.test.").NoMatch = policy })
		soa := parse(t,
			"fetched.test. 400 IN SOA ns.owner.test. admin.owner.test. 7 7200 3600 1209600 300")[0].(*dns.SOA)
		r.view.Negative = fetched{"fetched.test.", soa, r.now.Add(200 * time.Second)}
		r.want(r.ask("fetched.test.", dns.TypeSOA), "NOERROR aa",
			"answer fetched.test. 200 IN SOA ns.owner.test. admin.owner.test. 7 7200 3600 1209600 300")
	}
}

func TestRFC8020EmptyNonTerminalIsNoError(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"ent.example.com.", "_tcp.example.com.", "balanced.example.com.",
		"there.wild.example.com."} {
		r.want(r.ask(name, dns.TypeA), "NOERROR aa", negativeSOA)
	}
	// Above names that an expression matches, and at one for a client that its rules do not have.
	for _, name := range []string{"expression.example.com.", "branchonly7.example.com."} {
		r.want(r.ask(name, dns.TypeA), "NOERROR aa", negativeSOA)
	}
	r.want(r.ask("x.expression.example.com.", dns.TypeA), "NXDOMAIN aa", negativeSOA)
}

func TestRFC4592Wildcard(t *testing.T) {
	r := newRig(t)
	r.want(r.ask("x.wild.example.com.", dns.TypeA), "NOERROR aa", "answer x.wild.example.com. 3600 IN A 192.0.2.40")
	r.want(r.ask("x.y.wild.example.com.", dns.TypeA), "NOERROR aa", "answer x.y.wild.example.com. 3600 IN A 192.0.2.40")
	r.want(r.ask("x.wild.example.com.", dns.TypeMX), "NOERROR aa",
		"answer x.wild.example.com. 3600 IN MX 10 mail.example.com.")
	r.want(r.ask("x.wild.example.com.", dns.TypeTXT), "NOERROR aa", negativeSOA)
	r.want(r.ask("*.wild.example.com.", dns.TypeA), "NOERROR aa", "answer *.wild.example.com. 3600 IN A 192.0.2.40")
	r.want(r.ask("x.cnwild.example.com.", dns.TypeA), "NOERROR aa",
		"answer x.cnwild.example.com. 3600 IN CNAME a.example.com.", "answer a.example.com. 3600 IN A 192.0.2.10")
}

func TestRFC4592ClosestEncloserBlocksShallowerWildcard(t *testing.T) {
	r := newRig(t)
	r.want(r.ask("x.there.wild.example.com.", dns.TypeA), "NXDOMAIN aa", negativeSOA)
}

func TestRFC4592WildcardOfRules(t *testing.T) {
	r := newRig(t)
	r.want(r.ask("x.balanced.example.com.", dns.TypeA), "NOERROR aa",
		"answer x.balanced.example.com. 30 IN A 203.0.113.10")
	r.want(r.ask("x.balanced.example.com.", dns.TypeMX), "NOERROR aa", negativeSOA)
}

func TestForeignNameIsRefusedAndEmpty(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"www.foreign.test.", "com.", ".", "example.net.", "xexample.com."} {
		r.want(r.ask(name, dns.TypeA), "REFUSED")
	}
}

func TestNoMatchPolicies(t *testing.T) {
	forward := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.99:53")}
	r := newRig(t, func(c *config.Config) { c.Server.NoMatch, c.Server.Forward = config.NoMatchForward, forward })
	if got := r.disposition("www.foreign.test.", dns.TypeA); got.Disposition != Forward ||
		got.Forward[0] != forward[0] {
		t.Errorf("foreign name: %+v, want forwarded to the server's", got)
	}
	if got := r.disposition("other.relayed.test.", dns.TypeMX); got.Disposition != Forward ||
		got.Forward[0] != zoneOf(r.cfg, "relayed.test.").Forward[0] {
		t.Errorf("name of a zone that forwards: %+v, want forwarded to the zone's", got)
	}
	if got := r.disposition("other.fetched.test.", dns.TypeMX); got.Disposition != Forward ||
		got.Forward[0] != forward[0] {
		t.Errorf("name of a zone that leaves it to the server: %+v, want forwarded to the server's", got)
	}
	r.want(r.ask("nowhere.example.com.", dns.TypeA), "NXDOMAIN aa", negativeSOA) // a whole zone knows

	r = newRig(t, func(c *config.Config) {
		zoneOf(c, "fetched.test.").NoMatch = config.NoMatchNXDomain
		zoneOf(c, "relayed.test.").NoMatch = config.NoMatchRefused
	})
	r.want(r.ask("other.fetched.test.", dns.TypeA), "NXDOMAIN aa")
	r.want(r.ask("other.relayed.test.", dns.TypeA), "REFUSED")
	r.want(r.ask("www.relayed.test.", dns.TypeA), "NOERROR aa", "answer www.relayed.test. 30 IN A 203.0.113.30")
}

func TestNoRuleForThisClient(t *testing.T) {
	r := newRig(t)
	inside := *r
	inside.client = netip.MustParseAddrPort("10.1.2.3:4242")
	inside.want(inside.ask("inside.example.com.", dns.TypeA), "NOERROR aa",
		"answer inside.example.com. 30 IN A 203.0.113.10")
	inside.want(inside.ask("inside.fetched.test.", dns.TypeA), "NOERROR aa",
		"answer inside.fetched.test. 30 IN A 203.0.113.10")
	r.want(r.ask("inside.example.com.", dns.TypeA), "NOERROR aa", negativeSOA)
	r.want(r.ask("inside.fetched.test.", dns.TypeA), "REFUSED")
}

func TestPoliciesWhenAllIsDown(t *testing.T) {
	r := newRig(t)
	r.want(r.ask("nodata.example.com.", dns.TypeA), "NOERROR aa", ruledSOA)
	r.want(r.ask("refused.example.com.", dns.TypeA), "REFUSED")
	r.want(r.ask("anyway.example.com.", dns.TypeA), "NOERROR aa", "answer anyway.example.com. 30 IN A 203.0.113.40")
	if got := r.disposition("forwarded.example.com.", dns.TypeA); got.Disposition != Forward ||
		got.Forward[0].String() != "192.0.2.56:53" {
		t.Errorf("forward: %+v", got)
	}
	if got := r.disposition("waiting.example.com.", dns.TypeA); got.Disposition != Wait ||
		got.MaxWait != 2*time.Second {
		t.Errorf("wait: %+v", got)
	}
	r.health(unknownOne, selection.Up)
	for _, name := range []string{"nodata.example.com.", "refused.example.com.", "forwarded.example.com.",
		"waiting.example.com."} {
		r.want(r.ask(name, dns.TypeA), "NOERROR aa", "answer "+name+" 30 IN A 203.0.113.40")
	}
}

// What waited too long, or could not be forwarded, is the server's to give up on.
func TestFailIsServfailWithTheQuestion(t *testing.T) {
	r := newRig(t)
	wire := pack(t, query("waiting.example.com.", dns.TypeA, edns(option(dns.EDNS0COOKIE, 1, 2, 3, 4, 5, 6, 7, 8))))
	resp := Fail(r.view, &Client{Addr: r.client, Core: &r.core, Now: r.now.UnixNano()}, wire, dns.RcodeServerFailure)
	m := r.check(wire, resp)
	r.want(m, "SERVFAIL")
	if len(m.Question) != 1 || m.IsEdns0() == nil || len(optionOf(m, dns.EDNS0COOKIE)) != 24 {
		t.Errorf("without its question, OPT or cookie: %v", m)
	}
	if got := Fail(r.view, &Client{Addr: r.client, Core: &r.core}, wire[:11],
		dns.RcodeServerFailure); got.Disposition != Drop {
		t.Errorf("of no header: %+v, want dropped", got)
	}
	broken := append([]byte(nil), wire[:20]...)
	if got := Fail(r.view, &Client{Addr: r.client, Core: &r.core}, broken,
		dns.RcodeServerFailure); got.Rcode != dns.RcodeFormatError {
		t.Errorf("of a malformed query: %+v, want FORMERR", got)
	}
}

func TestSlipIsTruncatedAndEmpty(t *testing.T) {
	r := newRig(t)
	wire := pack(t, query("a.example.com.", dns.TypeA, edns()))
	resp := Slip(r.view, &Client{Addr: r.client, Core: &r.core, Now: r.now.UnixNano()}, wire)
	m := r.check(wire, resp)
	r.want(m, "NOERROR tc")
	if len(m.Question) != 1 || m.IsEdns0() == nil {
		t.Errorf("without its question or OPT: %v", m)
	}
	if got := Slip(r.view, &Client{Addr: r.client, Core: &r.core}, nil); got.Disposition != Drop {
		t.Errorf("of nothing: %+v, want dropped", got)
	}
}
