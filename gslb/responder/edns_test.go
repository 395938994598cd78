package responder

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
)

// version sets the version of the OPT record.
func version(v uint8) func(*dns.Msg) { return func(m *dns.Msg) { m.IsEdns0().SetVersion(v) } }

func TestRFC6891NoOPTUnlessAsked(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"a.example.com.", "nowhere.example.com.", "foreign.test.", "www.example.com.",
		"sub.example.com."} {
		if m := r.ask(name, dns.TypeA); m.IsEdns0() != nil {
			t.Errorf("%s without OPT: the response has one", name)
		}
		if m := r.ask(name, dns.TypeA, edns()); m.IsEdns0() == nil || m.IsEdns0().Version() != 0 ||
			m.IsEdns0().UDPSize() != 1232 {
			t.Errorf("%s with OPT: the response has %v", name, m.IsEdns0())
		}
	}
}

func TestRFC6891BadVersEvenWithOptions(t *testing.T) {
	r := newRig(t)
	for _, v := range []uint8{1, 2, 100, 255} {
		for _, options := range [][]dns.EDNS0{nil, {option(100)}, {option(dns.EDNS0NSID)},
			{option(dns.EDNS0COOKIE, 1, 2, 3, 4, 5, 6, 7, 8)}, {option(dns.EDNS0SUBNET, 9, 9, 9, 9)},
			{option(dns.EDNS0COOKIE, 1)}} {
			m := r.ask("a.example.com.", dns.TypeA, edns(options...), version(v))
			r.want(m, "BADVERS")
			if opt := m.IsEdns0(); opt == nil || opt.Version() != 0 || len(opt.Option) > 0 {
				t.Errorf("version %d with %v: OPT %v, want one of version 0 without options", v, options, opt)
			}
		}
	}
}

func TestRFC6891UnknownOptionsAndFlagsAreIgnored(t *testing.T) {
	r := newRig(t)
	for _, o := range []dns.EDNS0{option(100), option(65001, 1, 2, 3), option(dns.EDNS0EXPIRE),
		option(dns.EDNS0EXPIRE, 1), option(dns.EDNS0LLQ, 1), option(dns.EDNS0PADDING, make([]byte, 468)...), option(0),
		option(65535)} {
		m := r.ask("a.example.com.", dns.TypeA, edns(o))
		r.want(m, "NOERROR aa", "answer a.example.com. 3600 IN A 192.0.2.10")
		if got := m.IsEdns0().Option; len(got) > 0 {
			t.Errorf("option %d: the response has %v", o.Option(), got)
		}
	}
	m := r.ask("a.example.com.", dns.TypeA, edns(), func(m *dns.Msg) { m.IsEdns0().Hdr.Ttl |= 0x7FFF })
	if got := m.IsEdns0().Hdr.Ttl; got != 0 {
		t.Errorf("unknown flags come back: %x", got)
	}
}

func TestRFC3225DOComesBack(t *testing.T) {
	r := newRig(t)
	for _, do := range []bool{false, true} {
		m := r.ask("a.example.com.", dns.TypeA, edns(), func(m *dns.Msg) { m.IsEdns0().SetDo(do) })
		if m.IsEdns0().Do() != do {
			t.Errorf("DO %v for %v", m.IsEdns0().Do(), do)
		}
	}
}

func TestRFC6891MalformedOPTIsFormErr(t *testing.T) {
	r := newRig(t)
	root := func(m *dns.Msg) *dns.OPT { return m.IsEdns0() }
	for name, edit := range map[string]func(*dns.Msg){
		"two": func(m *dns.Msg) { m.Extra = append(m.Extra, root(m)) },
		"two, one of version 1": func(m *dns.Msg) {
			m.Extra = append(m.Extra, &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Ttl: 1 << 16}})
		},
		"not at the root": func(m *dns.Msg) { root(m).Hdr.Name = "example.com." },
	} {
		m := r.ask("a.example.com.", dns.TypeA, edns(), edit)
		if m.Rcode != dns.RcodeFormatError || len(m.Question) != 1 {
			t.Errorf("%s: %v, want FORMERR with the question", name, show(m))
		}
	}
	// Options that do not fill the record.
	good := pack(t, query("a.example.com.", dns.TypeA, edns(option(100, 1, 2, 3))))
	for name, edit := range map[string]func([]byte){
		"length beyond":   func(b []byte) { b[len(b)-4] = 4 },
		"bytes left over": func(b []byte) { b[len(b)-4] = 2 },
	} {
		wire := bytes.Clone(good)
		edit(wire)
		m := r.send(wire)
		if m.Rcode != dns.RcodeFormatError || m.IsEdns0() == nil || len(m.Question) != 1 {
			t.Errorf("%s: %v, want FORMERR with question and OPT", name, m)
		}
	}
}

func TestRFC5001NSID(t *testing.T) {
	r := newRig(t)
	if got := optionOf(r.ask("a.example.com.", dns.TypeA, edns(option(dns.EDNS0NSID))),
		dns.EDNS0NSID); string(got) != "node-1" {
		t.Errorf("NSID %q", got)
	}
	if got := optionOf(r.ask("a.example.com.", dns.TypeA, edns()), dns.EDNS0NSID); got != nil {
		t.Errorf("without being asked: NSID %q", got)
	}
	r = newRig(t, func(c *config.Config) { c.Server.NSID = "" })
	if got := optionOf(r.ask("a.example.com.", dns.TypeA, edns(option(dns.EDNS0NSID))), dns.EDNS0NSID); got != nil {
		t.Errorf("without one: NSID %q", got)
	}
	// One that fills a datagram is left out rather than the answer.
	r = newRig(t, func(c *config.Config) { c.Server.NSID = strings.Repeat("n", 1300) })
	if m := r.ask("www.foreign.test.", dns.TypeA, edns(option(dns.EDNS0NSID))); m.Rcode != dns.RcodeRefused ||
		optionOf(m, dns.EDNS0NSID) != nil {
		t.Errorf("%v", m)
	}
}

func TestRFC7828KeepaliveOverTCP(t *testing.T) {
	r := newRig(t)
	ask := func() []byte {
		return optionOf(r.ask("a.example.com.", dns.TypeA, edns(option(dns.EDNS0TCPKEEPALIVE))), dns.EDNS0TCPKEEPALIVE)
	}
	if got := ask(); got != nil {
		t.Errorf("over UDP: %x, want none", got)
	}
	r.tcp = true
	if got := ask(); !bytes.Equal(got, []byte{0, 100}) {
		t.Errorf("over TCP: %x, want 100 times 100 ms", got)
	}
	if got := optionOf(r.ask("a.example.com.", dns.TypeA, edns()), dns.EDNS0TCPKEEPALIVE); got != nil {
		t.Errorf("without being asked: %x", got)
	}
}

// ecs is the option of a client subnet.
func ecs(prefix string) dns.EDNS0 {
	return option(dns.EDNS0SUBNET, subnetOption(netip.MustParsePrefix(prefix))...)
}

// echo is what the option for prefix is in a response with that scope.
func echo(prefix string, scope byte) []byte {
	b := subnetOption(netip.MustParsePrefix(prefix))
	b[3] = scope
	return b
}

func TestRFC7871SubnetSelectsWhereTheRuleAllowsIt(t *testing.T) {
	r := newRig(t) // 198.18.64.0/18 has a rule of its own for subnet.example.com
	for _, test := range []struct {
		name, subnet, answer string
		scope                byte
	}{
		{"subnet.example.com.", "198.18.64.0/24", "203.0.113.10", 18}, // the prefix that decided
		// anywhere decided, but half of 198.18.0.0/17 has that other rule
		{"subnet.example.com.", "198.18.0.0/24", "203.0.113.20", 18},
		{"subnet.example.com.", "192.0.2.0/24", "203.0.113.20", 6},  // 196.0.0.0/6 has it
		{"subnet.example.com.", "2001:db8::/56", "203.0.113.20", 0}, // no other rule in all of IPv6
		{"www.example.com.", "198.18.64.0/24", "203.0.113.10", 0},   // a rule that does not look at it
	} {
		m := r.ask(test.name, dns.TypeA, edns(ecs(test.subnet)))
		r.want(m, "NOERROR aa", "answer "+test.name+" 30 IN A "+test.answer)
		got := optionOf(m, dns.EDNS0SUBNET)
		if !bytes.Equal(got, echo(test.subnet, test.scope)) {
			t.Errorf("%s for %s: option %x, want scope %d", test.name, test.subnet, got, test.scope)
		}
	}
	// Without the option the resolver's own address counts, and no option comes back.
	r.client = netip.MustParseAddrPort("198.18.64.9:4242")
	m := r.ask("subnet.example.com.", dns.TypeA, edns())
	r.want(m, "NOERROR aa", "answer subnet.example.com. 30 IN A 203.0.113.10")
	if got := optionOf(m, dns.EDNS0SUBNET); got != nil {
		t.Errorf("without being asked: option %x", got)
	}
	// A source prefix length of 0 says that nobody's address is to be used but the resolver's (section 7.1.2).
	m = r.ask("subnet.example.com.", dns.TypeA, edns(ecs("0.0.0.0/0")))
	r.want(m, "NOERROR aa", "answer subnet.example.com. 30 IN A 203.0.113.10")
	if got := optionOf(m, dns.EDNS0SUBNET); !bytes.Equal(got, echo("0.0.0.0/0", 0)) {
		t.Errorf("for /0: option %x", got)
	}
}

func TestRFC7871EchoesFamilySourceAndAddress(t *testing.T) {
	r := newRig(t)
	for _, subnet := range []string{"0.0.0.0/0", "10.0.0.0/8", "198.51.100.0/24", "198.51.100.128/25",
		"198.51.100.7/32", "::/0", "2001:db8::/32", "2001:db8:1:200::/56", "2001:db8::7/128"} {
		for _, name := range []string{"a.example.com.", "subnet.example.com.", "nowhere.example.com.",
			"foreign.test."} {
			got := optionOf(r.ask(name, dns.TypeA, edns(ecs(subnet))), dns.EDNS0SUBNET)
			if len(got) < 4 || !bytes.Equal(got, echo(subnet, got[3])) {
				t.Errorf("%s for %s: option %x, want that of the query", name, subnet, got)
			}
		}
	}
	// Some clients say family 0 when they mean no address at all.
	if got := optionOf(r.ask("a.example.com.", dns.TypeA, edns(option(dns.EDNS0SUBNET, 0, 0, 0, 0))),
		dns.EDNS0SUBNET); !bytes.Equal(got, []byte{0, 0, 0, 0}) {
		t.Errorf("family 0: option %x", got)
	}
}

func TestRFC7871ScopeIsZeroOnNegativeAndStaticAnswers(t *testing.T) {
	r := newRig(t)
	for _, q := range []struct {
		name  string
		qtype uint16
	}{
		{"a.example.com.", dns.TypeA}, {"alias.example.com.", dns.TypeA}, {"nowhere.example.com.", dns.TypeA},
		{"a.example.com.", dns.TypeTXT},
		{"subnet.example.com.", dns.TypeMX}, {"foreign.test.", dns.TypeA}, {"sub.example.com.", dns.TypeA},
		{"nodata.example.com.", dns.TypeA},
	} {
		m := r.ask(q.name, q.qtype, edns(ecs("198.18.64.0/24")))
		if got := optionOf(m, dns.EDNS0SUBNET); !bytes.Equal(got, echo("198.18.64.0/24", 0)) {
			t.Errorf("%s %s: option %x, want scope 0", q.name, dns.TypeToString[q.qtype], got)
		}
	}
}

func TestRFC7871BadFamilyOrLengthIsFormErr(t *testing.T) {
	r := newRig(t)
	for name, value := range map[string][]byte{
		"empty":                          {},
		"three bytes":                    {0, 1, 0},
		"family 0 with a length":         {0, 0, 8, 0, 10},
		"family 3":                       {0, 3, 8, 0, 10},
		"family 256":                     {1, 0, 8, 0, 10},
		"IPv4 of 33 bits":                {0, 1, 33, 0, 10, 0, 0, 0, 0},
		"IPv6 of 129 bits":               append([]byte{0, 2, 129, 0}, make([]byte, 17)...),
		"IPv4 of 24 bits in four bytes":  {0, 1, 24, 0, 10, 0, 0, 0},
		"IPv4 of 24 bits in two bytes":   {0, 1, 24, 0, 10, 0},
		"IPv4 of 0 bits in one byte":     {0, 1, 0, 0, 0},
		"IPv4 of 20 bits, the 21st set":  {0, 1, 20, 0, 10, 0, 0x08},
		"IPv6 of 50 bits, the last set":  {0, 2, 50, 0, 0x20, 0x01, 0x0D, 0xB8, 0, 0, 1},
		"with a scope, as queries don't": {0, 1, 24, 24, 10, 0, 0},
	} {
		m := r.ask("a.example.com.", dns.TypeA, edns(option(dns.EDNS0SUBNET, value...)))
		if m.Rcode != dns.RcodeFormatError || m.IsEdns0() == nil || len(m.Question) != 1 ||
			optionOf(m, dns.EDNS0SUBNET) != nil {
			t.Errorf("%s: %v, want FORMERR with OPT and without the option", name, m)
		}
	}
}

var clientCookie = []byte{1, 2, 3, 4, 5, 6, 7, 8}

func TestRFC7873Cookies(t *testing.T) {
	r := newRig(t)
	ask := func(r *rig, value []byte) ([]byte, CookieState) {
		t.Helper()
		wire := pack(t, query("a.example.com.", dns.TypeA, edns(option(dns.EDNS0COOKIE, value...))))
		resp := r.respond(wire)
		m := r.check(wire, resp)
		r.want(m, "NOERROR aa", "answer a.example.com. 3600 IN A 192.0.2.10")
		return optionOf(m, dns.EDNS0COOKIE), resp.Cookie
	}
	first, state := ask(r, clientCookie)
	if len(first) != 24 || !bytes.Equal(first[:8], clientCookie) || state != ClientCookie {
		t.Fatalf("client cookie alone: %x, state %d", first, state)
	}
	if again, state := ask(r, first); !bytes.Equal(again, first) || state != GoodCookie {
		t.Errorf("own cookie: %x, state %d; want it back and good", again, state)
	}
	later := *r
	later.now = r.now.Add(40 * time.Minute)
	if again, state := ask(&later, first); bytes.Equal(again, first) || state != GoodCookie {
		t.Errorf("after 40 minutes: %x, state %d; want a new one, and good", again, state)
	}
	later.now = r.now.Add(61 * time.Minute)
	if again, state := ask(&later, first); bytes.Equal(again, first) || state != BadCookie {
		t.Errorf("after 61 minutes: %x, state %d; want a new one, and bad", again, state)
	}
	thief := *r
	thief.client = netip.MustParseAddrPort("198.51.100.78:4242")
	if again, state := ask(&thief, first); bytes.Equal(again, first) || state != BadCookie {
		t.Errorf("from another address: %x, state %d; want a new one, and bad", again, state)
	}
	node := newRig(t) // shares the secret
	if again, state := ask(node, first); !bytes.Equal(again, first) || state != GoodCookie {
		t.Errorf("at another node: %x, state %d; want it back and good", again, state)
	}
	rolled := newRig(t, func(c *config.Config) { c.Server.CookieSecrets = [][16]byte{{9}, {1, 2, 3}} })
	if again, state := ask(rolled, first); bytes.Equal(again, first) || state != GoodCookie {
		t.Errorf("after the secret was rolled over: %x, state %d; want a new one, and good", again, state)
	}
	if again, state := ask(r, slices.Concat(clientCookie, make([]byte, 32))); len(again) != 24 || state != BadCookie {
		t.Errorf("another kind of server cookie: %x, state %d; want a new one, and bad", again, state)
	}
	if resp := r.disposition("a.example.com.", dns.TypeA, edns()); resp.Cookie != NoCookie {
		t.Errorf("without one: state %d", resp.Cookie)
	}
}

func TestRFC7873MalformedCookieIsFormErr(t *testing.T) {
	r := newRig(t)
	for _, n := range []int{0, 1, 7, 9, 15, 41, 100} {
		m := r.ask("a.example.com.", dns.TypeA, edns(option(dns.EDNS0COOKIE, make([]byte, n)...)))
		if m.Rcode != dns.RcodeFormatError || optionOf(m, dns.EDNS0COOKIE) != nil {
			t.Errorf("%d bytes: %v, want FORMERR", n, m)
		}
	}
}

func TestRFC7873OnlyTheFirstCookieCounts(t *testing.T) {
	r := newRig(t)
	m := r.ask("a.example.com.", dns.TypeA,
		edns(option(dns.EDNS0COOKIE, clientCookie...), option(dns.EDNS0COOKIE, 8, 7, 6, 5, 4, 3, 2, 1)))
	if got := optionOf(m, dns.EDNS0COOKIE); len(got) != 24 || !bytes.Equal(got[:8], clientCookie) ||
		len(m.IsEdns0().Option) != 1 {
		t.Errorf("%v", m.IsEdns0())
	}
}

func TestRFC7873QueryForACookieAlone(t *testing.T) {
	r := newRig(t)
	ask := func(value []byte) *dns.Msg {
		t.Helper()
		m := query(".", 0, edns(option(dns.EDNS0COOKIE, value...)))
		m.Question = nil
		return r.send(pack(t, m))
	}
	m := ask(clientCookie)
	own := optionOf(m, dns.EDNS0COOKIE)
	if m.Rcode != dns.RcodeSuccess || len(m.Question)+len(m.Answer)+len(m.Ns) > 0 || len(own) != 24 {
		t.Fatalf("client cookie alone: %v", m)
	}
	if m := ask(own); m.Rcode != dns.RcodeSuccess {
		t.Errorf("good server cookie: %v, want NOERROR", m)
	}
	own[23] ^= 1
	if m := ask(own); m.Rcode != dns.RcodeBadCookie || len(optionOf(m, dns.EDNS0COOKIE)) != 24 {
		t.Errorf("bad server cookie: %v, want BADCOOKIE and a new one", m)
	}
}

// The order of options is what the fast path writes, too.
func TestOptionsAreInOrder(t *testing.T) {
	r := newRig(t)
	r.tcp = true
	m := r.ask("a.example.com.", dns.TypeA,
		edns(option(dns.EDNS0TCPKEEPALIVE), option(dns.EDNS0COOKIE, clientCookie...), ecs("10.0.0.0/8"), option(100),
			option(dns.EDNS0NSID)))
	var codes []uint16
	for _, o := range m.IsEdns0().Option {
		codes = append(codes, o.Option())
	}
	if !slices.Equal(codes, []uint16{dns.EDNS0NSID, dns.EDNS0SUBNET, dns.EDNS0COOKIE, dns.EDNS0TCPKEEPALIVE}) {
		t.Errorf("options %v", codes)
	}
	if last := m.Extra[len(m.Extra)-1]; last.Header().Rrtype != dns.TypeOPT {
		t.Errorf("the last record is %v, want OPT", last)
	}
}

// No key is known, so that a signature proves nothing (RFC 8945 section 5.2.1).
func TestRFC8945UnknownKeyIsBadKey(t *testing.T) {
	r := newRig(t)
	tsig := func(name, algorithm string) func(*dns.Msg) {
		return func(m *dns.Msg) {
			m.Extra = append(m.Extra, &dns.TSIG{
				Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTSIG, Class: dns.ClassANY}, Algorithm: algorithm,
				TimeSigned: 1767225600, Fudge: 300, MACSize: 32, MAC: strings.Repeat("ab", 32), OrigId: m.Id,
			})
		}
	}
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAXFR} {
		m := r.ask("a.example.com.", qtype, edns(), tsig("key.", dns.HmacSHA256))
		got := m.IsTsig()
		if m.Rcode != dns.RcodeNotAuth || len(m.Answer) > 0 || got == nil || got.Error != dns.RcodeBadKey ||
			got.MACSize != 0 || got.Hdr.Name != "key." {
			t.Errorf("%v, want NOTAUTH with BADKEY", m)
		}
	}
	long := strings.Repeat(strings.Repeat("k", 60)+".", 4)
	if m := r.ask("a.example.com.", dns.TypeA, tsig(long, long)); m.Rcode != dns.RcodeNotAuth {
		t.Errorf("names that do not fit: %v, want NOTAUTH", m)
	}
	if m := r.ask("a.example.com.", dns.TypeA, tsig("key.", dns.HmacSHA256), edns()); m.Rcode != dns.RcodeFormatError {
		t.Errorf("not the last record: %v, want FORMERR", m)
	}
}

// A TSIG record without all that it is made of is malformed (RFC 8945 section 5.2), and so are OPT and TSIG anywhere
// but in the additional section (RFC 6891 section 6.1.1, RFC 8945 section 5.1).
func TestTSIGAndOPTInTheirPlace(t *testing.T) {
	r := newRig(t)
	good := pack(t, query("a.example.com.", dns.TypeA))
	with := func(section int, rr ...byte) []byte {
		wire := slices.Concat(good, rr)
		wire[4+2*section+1]++
		return wire
	}
	record := func(rrtype uint16, class uint16, data ...byte) []byte {
		rr := binary.BigEndian.AppendUint16([]byte{0}, rrtype)
		rr = append(binary.BigEndian.AppendUint16(rr, class), 0, 0, 0, 0)
		return append(binary.BigEndian.AppendUint16(rr, uint16(len(data))), data...)
	}
	whole := []byte{1, 'a', 0, 0, 0, 0, 0, 0, 1, 0, 9, 0, 2, 7, 7, 0, 1, 0, 0, 0, 1, 5}
	rcode := func(wire []byte) int {
		m := new(dns.Msg)
		if err := m.Unpack(r.respond(wire).Wire); err != nil {
			t.Fatal(err)
		}
		return m.Rcode
	}
	tsig := func(data []byte) []byte { return record(dns.TypeTSIG, dns.ClassANY, data...) }
	for n := range len(whole) {
		if got := rcode(with(3, tsig(whole[:n])...)); got != dns.RcodeFormatError {
			t.Errorf("the first %d bytes of TSIG data: %s, want FORMERR", n, dns.RcodeToString[got])
		}
	}
	for _, tt := range []struct {
		name    string
		section int
		rr      []byte
		want    int
	}{
		{"TSIG", 3, tsig(whole), dns.RcodeNotAuth},
		{"TSIG with a byte more", 3, tsig(append(whole[:len(whole):len(whole)], 0)), dns.RcodeFormatError},
		{"TSIG among the answers", 1, tsig(whole), dns.RcodeFormatError},
		{"TSIG in authority", 2, tsig(whole), dns.RcodeFormatError},
		{"OPT", 3, record(dns.TypeOPT, 1232), dns.RcodeSuccess},
		{"OPT among the answers", 1, record(dns.TypeOPT, 1232), dns.RcodeFormatError},
		{"OPT in authority", 2, record(dns.TypeOPT, 1232), dns.RcodeFormatError},
		{"another record among the answers", 1, record(dns.TypeA, dns.ClassINET, 192, 0, 2, 1), dns.RcodeSuccess},
	} {
		if got := rcode(with(tt.section, tt.rr...)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, dns.RcodeToString[got], dns.RcodeToString[tt.want])
		}
	}
}

// Counts, lengths and pointers that lie.
func TestMalformedBodyIsFormErr(t *testing.T) {
	r := newRig(t)
	good := pack(t, query("a.example.com.", dns.TypeA))
	counts := func(qd, an, ns, ar uint16) []byte {
		wire := bytes.Clone(good)
		for i, n := range []uint16{qd, an, ns, ar} {
			binary.BigEndian.PutUint16(wire[4+2*i:], n)
		}
		return wire
	}
	header := good[:12]
	end := []byte{0, 1, 0, 1}
	for _, test := range []struct {
		name     string
		wire     []byte
		question bool // comes back
	}{
		{"header alone", header, false},
		{"half a question", good[:20], false},
		{"no class", good[:len(good)-2], false},
		{"no question", slices.Concat(header[:4], make([]byte, 8)), false},
		{"two questions", slices.Concat(counts(2, 0, 0, 0), good[12:]), false},
		{"two questions, one there", counts(2, 0, 0, 0), false},
		{"65535 questions", counts(65535, 0, 0, 0), false},
		{"an answer that is not there", counts(1, 1, 0, 0), true},
		{"an authority that is not there", counts(1, 0, 1, 0), true},
		{"65535 of all", counts(1, 65535, 65535, 65535), true},
		{"an additional record that is not there", counts(1, 0, 0, 1), true},
		{"bytes behind the end", append(bytes.Clone(good), 0), true},
		{"OPT that is not counted", slices.Concat(good, []byte{0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0}), true},
		{"half an OPT", slices.Concat(counts(1, 0, 0, 1), []byte{0, 0, 41, 4, 208}), true},
		{"OPT longer than the message",
			slices.Concat(counts(1, 0, 0, 1), []byte{0, 0, 41, 4, 208, 0, 0, 0, 0, 255, 255}), true},
		{"label longer than the message", slices.Concat(header, []byte{63, 'a'}, end), false},
		{"label of 64 bytes", slices.Concat(header, []byte{64}, make([]byte, 64), []byte{0}, end), false},
		{"label of a reserved kind", slices.Concat(header, []byte{0x80, 'a', 0}, end), false},
		{"name that never ends", slices.Concat(header, bytes.Repeat([]byte{1, 'a'}, 200)), false},
		{"name of 256 bytes", slices.Concat(header, bytes.Repeat(append([]byte{50}, make([]byte, 50)...), 5), []byte{0},
			end), false},
		{"question that points to itself", slices.Concat(header, []byte{0xC0, 12}, end), false},
		{"question that points into the header", slices.Concat(header, []byte{0xC0, 0}, end), false},
		{"question that points ahead", slices.Concat(header, []byte{0xC0, 18}, end, []byte{0}), false},
		{"record whose name points to itself",
			slices.Concat(counts(1, 0, 0, 1), []byte{0xC0, byte(len(good)), 0, 1, 0, 1, 0, 0, 0, 0, 0, 0}), true},
		{"record whose name points into the header",
			slices.Concat(counts(1, 0, 0, 1), []byte{0xC0, 4, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0}), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := *r
			r.t = t
			m := r.send(test.wire)
			if m.Rcode != dns.RcodeFormatError || len(m.Answer)+len(m.Ns) > 0 || m.Authoritative ||
				(len(m.Question) == 1) != test.question {
				t.Errorf("%v, want FORMERR, question %v", m, test.question)
			}
		})
	}
}

func TestNothingIsSaidToWhatIsNoQuery(t *testing.T) {
	r := newRig(t)
	good := pack(t, query("a.example.com.", dns.TypeA))
	for n := range 12 {
		if got := r.respond(good[:n]); got.Disposition != Drop || got.Wire != nil {
			t.Errorf("%d bytes: %+v, want dropped", n, got)
		}
	}
	good[2] |= 0x80
	if got := r.respond(good); got.Disposition != Drop || got.Wire != nil {
		t.Errorf("a response: %+v, want dropped", got)
	}
}
