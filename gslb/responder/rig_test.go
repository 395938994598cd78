package responder

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/selection"
	"github.com/sluicelb/sluice/gslb/zone"
)

// zoneFile is a whole zone. Its negative TTL is 300.
const zoneFile = `
$ORIGIN example.com.
$TTL 3600
@            IN SOA   ns1 hostmaster 2026010101 7200 3600 1209600 300
             IN NS    ns1
             IN NS    ns2
             IN MX    10 mail
             IN MX    20 mail2
             IN TXT   "v=spf1 -all"
             IN CAA   0 issue "ca.example.net"
ns1          IN A     192.0.2.1
ns1          IN AAAA  2001:db8::1
ns2          IN A     192.0.2.2
mail         IN A     192.0.2.25
mail2        IN A     192.0.2.26
a            IN A     192.0.2.10
low     60   IN A     192.0.2.11
multi        IN A     192.0.2.12
multi        IN A     192.0.2.13
_sip._tcp    IN SRV   10 60 5060 mail
ptr          IN PTR   a
unknown      IN TYPE65280 \# 4 0A000001
svc          IN SVCB  1 www alpn="h2" ipv4hint="203.0.113.1,203.0.113.2" ipv6hint="2001:db8:f::1"
web          IN HTTPS 1 www alpn="h2,h3" ipv4hint="203.0.113.1" ipv6hint="2001:db8:f::1"
www          IN HTTPS 1 . alpn="h2" ipv4hint="203.0.113.1"
www          IN TXT   "beside the rules"
four         IN HTTPS 1 . mandatory="alpn,ipv6hint" alpn="h2" ipv4hint="203.0.113.1" ipv6hint="2001:db8:f::1"
nohint       IN HTTPS 1 www alpn="h2"
still        IN HTTPS 1 a ipv4hint="203.0.113.1"
aliasmode    IN HTTPS 0 www
alias        IN CNAME a
alias2       IN CNAME alias
toother      IN CNAME host.example.org.
toforeign    IN CNAME host.foreign.test.
tonowhere    IN CNAME nowhere
tonodata     IN CNAME txtonly
tosub        IN CNAME host.sub
torule       IN CNAME www
torefused    IN CNAME refused
toforward    IN CNAME forwarded
txtonly      IN TXT   "text"
loop1        IN CNAME loop2
loop2        IN CNAME loop1
self         IN CNAME self
tree         IN DNAME target
x.target     IN A     192.0.2.30
www.target   IN CNAME a
twice.target IN CNAME x.tree
thrice.target IN CNAME twice.tree
far          IN DNAME example.org.
long         IN DNAME aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc.com.
*.wild       IN A     192.0.2.40
*.wild       IN MX    10 mail
there.wild   IN TXT   "blocks"
below.ent    IN A     192.0.2.50
*.cnwild     IN CNAME a
sub          IN NS    ns.sub
             IN NS    ns.other.test.
ns.sub       IN A     192.0.2.60
ns.sub       IN AAAA  2001:db8::60
`

// otherFile is a second whole zone.
const otherFile = `
$ORIGIN example.org.
$TTL 600
@    IN SOA ns1.example.com. hostmaster.example.com. 1 7200 3600 1209600 7200
     IN NS  ns1.example.com.
host IN A   198.51.100.1
back IN CNAME a.example.com.
`

// rig is a responder with a configuration that has some of everything.
type rig struct {
	t      testing.TB
	cfg    *config.Config
	view   *View
	core   Core
	client netip.AddrPort
	tcp    bool
	now    time.Time
}

func parse(t testing.TB, text string) []dns.RR {
	t.Helper()
	p := dns.NewZoneParser(strings.NewReader(text), "", "")
	var rrs []dns.RR
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		rr.Header().Name = dns.CanonicalName(rr.Header().Name)
		rrs = append(rrs, rr)
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	return rrs
}

// manyRecords is a name with n TXT records of about 100 bytes each.
func manyRecords(t testing.TB, owner string, n int) []dns.RR {
	var rrs []dns.RR
	for i := range n {
		rrs = append(rrs, &dns.TXT{Hdr: header(owner, dns.TypeTXT, 3600),
			Txt: []string{strings.Repeat("x", 80) + string(rune('0'+i/10)) + string(rune('0'+i%10))}})
	}
	return rrs
}

// The answers of the rig, by index.
const (
	east = iota
	west
	fourOnly
	toCNAME
	toServer
	unknownOne
)

func newRig(t testing.TB, edit ...func(*config.Config)) *rig {
	t.Helper()
	vip := func(name, v4, v6 string) config.Answer {
		a := config.Answer{Name: name, Kind: config.VIP, Owner: config.None, DataCenter: config.None,
			IPv4: netip.MustParseAddr(v4)}
		if v6 != "" {
			a.IPv6 = netip.MustParseAddr(v6)
		}
		return a
	}
	whole := append(parse(t, zoneFile), manyRecords(t, "many.example.com.", 8)...) // about 800 bytes
	whole = append(whole, manyRecords(t, "toomany.example.com.", 20)...)           // about 2,000 bytes
	whole = append(whole, parse(t, "tomany.example.com. 3600 IN CNAME toomany.example.com.")...)
	for i := range 24 {
		host := "ns" + string(rune('a'+i)) + ".wide.example.com."
		whole = append(whole, &dns.NS{Hdr: header("wide.example.com.", dns.TypeNS, 3600), Ns: host},
			&dns.A{Hdr: header(host, dns.TypeA, 3600), A: []byte{192, 0, 2, byte(100 + i)}},
			&dns.AAAA{Hdr: header(host, dns.TypeAAAA, 3600),
				AAAA: netip.MustParseAddr("2001:db8::" + string(rune('a'+i%6))).AsSlice()})
	}
	cfg := &config.Config{
		Server: config.Server{
			UDPSize: 1232, NSID: "node-1", Version: `Sluice \ "gslb"`, ID: "node-1.example.net",
			NoMatch:       config.NoMatchRefused,
			CookieSecrets: [][16]byte{{1, 2, 3}}, TCP: config.TCPLimits{Idle: 10 * time.Second},
		},
		SourceLists: []config.SourceList{
			{Name: config.Anywhere, Owner: config.None, Prefixes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"),
				netip.MustParsePrefix("::/0")}},
			{Name: "inside", Owner: config.None, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"),
				netip.MustParsePrefix("fd00::/8")}},
			{Name: "branch", Owner: config.None, Prefixes: []netip.Prefix{netip.MustParsePrefix("198.18.64.0/18")}},
		},
		Answers: []config.Answer{
			east:     vip("east", "203.0.113.10", "2001:db8:e::10"),
			west:     vip("west", "203.0.113.20", "2001:db8:f::20"),
			fourOnly: vip("four-only", "203.0.113.30", ""),
			toCNAME: {Name: "to-cname", Kind: config.CNAME, Owner: config.None, DataCenter: config.None,
				Target: "a.example.com."},
			toServer: {Name: "to-server", Kind: config.NameServer, Owner: config.None, DataCenter: config.None,
				Servers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")}},
			unknownOne: vip("unknown-one", "203.0.113.40", ""),
		},
		Zones: []config.Zone{
			{Name: "example.com.", Records: whole},
			{Name: "example.org.", Records: parse(t, otherFile)},
			{Name: "fetched.test.", SOAFrom: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.54:53")}},
			{Name: "relayed.test.", SOAFrom: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.54:53")},
				NoMatch: config.NoMatchForward, Forward: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.55:53")}},
		},
	}
	both := []int{east, west}
	rule := func(domain string, members []int, edit func(*config.Rule)) {
		group := config.Group{Name: domain, Owner: config.None, Kind: cfg.Answers[members[0]].Kind}
		for i, m := range members {
			group.Members = append(group.Members, config.Member{Answer: m, Order: i + 1, Weight: 1})
		}
		cfg.Groups = append(cfg.Groups, group)
		d := domainOf(domain)
		cfg.DomainLists = append(cfg.DomainLists, config.DomainList{Name: domain, Owner: config.None,
			Domains: []config.Domain{d}})
		r := config.Rule{
			Name: domain, Owner: config.None, Sources: 0, Domains: len(cfg.DomainLists) - 1, TTL: 30,
			Unknown: config.AsDown, MaxWait: 2 * time.Second, Prefix4: 32, Prefix6: 128,
			Forward: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.56:53")},
			Clauses: []config.Clause{{Group: len(cfg.Groups) - 1, Balance: config.Ordered, Count: 1,
				AllDown: config.NoData}},
		}
		if edit != nil {
			edit(&r)
		}
		cfg.Rules = append(cfg.Rules, r)
	}
	down := []int{unknownOne}
	rule("www.example.com.", both, nil)
	rule("turns.example.com.", both, func(r *config.Rule) { r.Clauses[0].Balance = config.RoundRobin })
	rule("all.example.com.", both, func(r *config.Rule) { r.Clauses[0].Count = 2 })
	rule("four.example.com.", []int{fourOnly}, nil)
	rule("named.example.com.", []int{toCNAME}, nil)
	rule("asked.example.com.", []int{toServer}, nil)
	rule("nodata.example.com.", down, nil)
	rule("refused.example.com.", down, func(r *config.Rule) { r.Clauses[0].AllDown = config.Refused })
	rule("forwarded.example.com.", down, func(r *config.Rule) { r.Clauses[0].AllDown = config.Forward })
	rule("anyway.example.com.", down, func(r *config.Rule) { r.Clauses[0].AllDown = config.AllAnswers })
	rule("waiting.example.com.", down, func(r *config.Rule) { r.Unknown = config.Wait })
	rule("inside.example.com.", both, func(r *config.Rule) { r.Sources = 1 })
	rule("inside.fetched.test.", both, func(r *config.Rule) { r.Sources = 1 })
	rule("subnet.example.com.", []int{west}, func(r *config.Rule) {
		r.ClientSubnet, r.Prefix4, r.Prefix6 = true, 24,
			56
	})
	cfg.Rules = append(cfg.Rules, cfg.Rules[len(cfg.Rules)-1])
	branch := &cfg.Rules[len(cfg.Rules)-1]
	branch.Name, branch.Sources = "branch", 2
	branch.Clauses = slices.Clone(branch.Clauses)
	branch.Clauses[0].Group = 0
	rule("*.balanced.example.com.", both, nil)
	rule(`~^web[0-9]+[.]expression[.]example[.]com$`, both, nil)
	rule(`~^branchonly[0-9][.]example[.]com$`, both, func(r *config.Rule) { r.Sources = 2 })
	rule("www.fetched.test.", []int{fourOnly}, nil)
	rule("www.relayed.test.", []int{fourOnly}, nil)
	rule("stays.example.com.", both, func(r *config.Rule) {
		r.Clauses[0].Balance, r.Sticky = config.RoundRobin,
			config.Sticky{By: config.StickyDomain, Inactivity: time.Minute}
	})
	for _, e := range edit {
		e(cfg)
	}
	slices.SortStableFunc(cfg.Zones, func(a, b config.Zone) int { return len(b.Name) - len(a.Name) })
	r := &rig{t: t, cfg: cfg, client: netip.MustParseAddrPort("198.51.100.77:4242"), now: time.Unix(1767225600, 0)}
	rules := selection.Compile(cfg)
	zones, err := zone.Build(cfg.Zones, rules.Balanced())
	if err != nil {
		t.Fatal(err)
	}
	states := selection.NewStates(cfg)
	for i := range states.Answers {
		states.Answers[i].Health = selection.Up
	}
	states.Answers[unknownOne].Health = selection.Unknown
	r.view = &View{Config: cfg, Zones: zones, Rules: rules, States: states}
	return r
}

// domainOf is a domain of a list: a name, or an expression behind a tilde.
func domainOf(s string) config.Domain {
	if expression, ok := strings.CutPrefix(s, "~"); ok {
		return config.Domain{Regexp: regexp.MustCompilePOSIX(expression)}
	}
	return config.Domain{Name: s}
}

// health sets the verdict on an answer.
func (r *rig) health(answer int, h selection.Health) {
	states := *r.view.States
	states.Answers = slices.Clone(states.Answers)
	states.Answers[answer].Health = h
	view := *r.view
	view.States = &states
	r.view = &view
}

// query is a message that asks, as the tests write it.
func query(name string, qtype uint16, edit ...func(*dns.Msg)) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.Id = 0xBEEF
	m.RecursionDesired = false
	for _, e := range edit {
		e(m)
	}
	return m
}

// edns adds an OPT record with these options.
func edns(options ...dns.EDNS0) func(*dns.Msg) {
	return func(m *dns.Msg) {
		m.SetEdns0(4096, false)
		m.IsEdns0().Option = options
	}
}

func option(code uint16, data ...byte) dns.EDNS0 { return &dns.EDNS0_LOCAL{Code: code, Data: data} }

func pack(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// respond sends bytes.
func (r *rig) respond(wire []byte) Response {
	client := &Client{Addr: r.client, TCP: r.tcp, Core: &r.core, Now: r.now.UnixNano()}
	return Respond(r.view, client, wire)
}

// send sends bytes that must be answered, and checks what holds for every response.
func (r *rig) send(wire []byte) *dns.Msg {
	r.t.Helper()
	resp := r.respond(wire)
	if resp.Disposition != Reply {
		r.t.Fatalf("disposition %d, want Reply", resp.Disposition)
	}
	return r.check(wire, resp)
}

// check reads a response and checks what holds for every one.
func (r *rig) check(wire []byte, resp Response) *dns.Msg {
	r.t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(resp.Wire); err != nil {
		r.t.Fatalf("the response cannot be read: %v\n%x", err, resp.Wire)
	}
	if !bytes.Equal(resp.Wire[:2], wire[:2]) {
		r.t.Errorf("id %x, want %x", resp.Wire[:2], wire[:2])
	}
	if !m.Response || m.Opcode != int(wire[2]>>3)&0xF {
		r.t.Errorf("QR %v, opcode %d: not a response to %x", m.Response, m.Opcode, wire[:12])
	}
	if m.RecursionAvailable || m.Zero || m.AuthenticatedData || m.CheckingDisabled {
		r.t.Errorf("flags RA, Z, AD or CD are set: %x", resp.Wire[2:4])
	}
	if n := len(m.Question); n > 0 {
		end := questionEnd(resp.Wire)
		if !bytes.Equal(resp.Wire[12:end], wire[12:end]) {
			r.t.Errorf("question %x, want %x", resp.Wire[12:end], wire[12:end])
		}
	}
	limit := 65535
	if !r.tcp {
		limit = 512
		q := new(dns.Msg)
		if err := q.Unpack(wire); err == nil && q.IsEdns0() != nil {
			limit = max(512, min(int(q.IsEdns0().UDPSize()), int(r.cfg.Server.UDPSize)))
		}
	}
	if len(resp.Wire) > limit {
		r.t.Errorf("%d bytes, the client takes %d", len(resp.Wire), limit)
	}
	if resp.Rcode != m.Rcode {
		r.t.Errorf("Response.Rcode %d, the message has %d", resp.Rcode, m.Rcode)
	}
	return m
}

// questionEnd is where the first question ends.
func questionEnd(wire []byte) int {
	at := 12
	for wire[at] != 0 {
		at += 1 + int(wire[at])
	}
	return at + 5
}

func (r *rig) ask(name string, qtype uint16, edit ...func(*dns.Msg)) *dns.Msg {
	r.t.Helper()
	return r.send(pack(r.t, query(name, qtype, edit...)))
}

// disposition is what becomes of a query that may not be answered at once.
func (r *rig) disposition(name string, qtype uint16, edit ...func(*dns.Msg)) Response {
	r.t.Helper()
	return r.respond(pack(r.t, query(name, qtype, edit...)))
}

// show is a response as the tests compare it: flags and RCODE, and the records of its sections.
func show(m *dns.Msg) []string {
	head := dns.RcodeToString[m.Rcode]
	if m.Rcode == dns.RcodeBadVers {
		head = "BADVERS"
	}
	for _, f := range []struct {
		set  bool
		name string
	}{{m.Authoritative, " aa"}, {m.Truncated, " tc"}, {m.RecursionDesired, " rd"}} {
		if f.set {
			head += f.name
		}
	}
	out := []string{head}
	add := func(section string, rrs []dns.RR) {
		for _, rr := range rrs {
			if rr.Header().Rrtype != dns.TypeOPT {
				out = append(out, section+" "+strings.Join(strings.Fields(rr.String()), " "))
			}
		}
	}
	add("answer", m.Answer)
	add("authority", m.Ns)
	add("additional", m.Extra)
	return out
}

// want compares a response with lines as of show.
func (r *rig) want(m *dns.Msg, lines ...string) {
	r.t.Helper()
	if d := cmp.Diff(lines, show(m)); d != "" {
		r.t.Errorf("response (-want +got):\n%s", d)
	}
}

const (
	negativeSOA = "authority example.com. 300 IN SOA ns1.example.com. hostmaster.example.com. 2026010101 7200 3600 " +
		"1209600 300"
	// by rules, whose TTL is 30
	ruledSOA = "authority example.com. 30 IN SOA ns1.example.com. hostmaster.example.com. 2026010101 7200 3600 " +
		"1209600 300"
	orgSOA = "authority example.org. 600 IN SOA ns1.example.com. hostmaster.example.com. 1 7200 3600 1209600 7200"
)

// optionOf returns the value of an option of a response, nil if it has none.
func optionOf(m *dns.Msg, code uint16) []byte {
	opt := m.IsEdns0()
	if opt == nil {
		return nil
	}
	for _, o := range opt.Option {
		if o.Option() == code {
			wire := make([]byte, dns.Len(&dns.OPT{Hdr: opt.Hdr, Option: []dns.EDNS0{o}})+1)
			n, err := dns.PackRR(&dns.OPT{Hdr: opt.Hdr, Option: []dns.EDNS0{o}}, wire, 0, nil, false)
			if err != nil {
				return nil
			}
			size := binary.BigEndian.Uint16(wire[13:])
			return wire[15:n][:size]
		}
	}
	return nil
}

// withZone adds a zone to the rig's configuration.
func withZone(t testing.TB, name, file string) func(*config.Config) {
	return func(c *config.Config) {
		c.Zones = append(c.Zones, config.Zone{Name: name, Records: parse(t, file)})
	}
}

// zoneOf is a zone of the configuration.
func zoneOf(c *config.Config, name string) *config.Zone {
	return &c.Zones[slices.IndexFunc(c.Zones, func(z config.Zone) bool { return z.Name == name })]
}
