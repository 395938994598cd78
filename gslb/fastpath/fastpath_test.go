package fastpath

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/relay"
	"github.com/sluicelb/sluice/gslb/responder"
)

// row is a query and who answers it.
type row struct {
	name   string
	query  []byte
	client int // of clients
	view   int // of world.views
	fast   bool
	kind   responder.Kind // 0: not a reply
}

func ask(name string, qtype uint16, edit ...func(*dns.Msg)) []byte {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.Id = 0xBEEF
	for _, e := range edit {
		e(m)
	}
	wire, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return wire
}

// opt adds an OPT record with these options, each a code and hexadecimal data.
func opt(size uint16, options ...any) func(*dns.Msg) {
	return func(m *dns.Msg) {
		m.SetEdns0(size, false)
		o := m.IsEdns0()
		for i := 0; i < len(options); i += 2 {
			data, err := hex.DecodeString(options[i+1].(string))
			if err != nil {
				panic(err)
			}
			o.Option = append(o.Option, &dns.EDNS0_LOCAL{Code: uint16(options[i].(int)), Data: data})
		}
	}
}

// Codes of options.
const (
	nsid      = dns.EDNS0NSID
	subnet    = dns.EDNS0SUBNET
	cookies   = dns.EDNS0COOKIE
	keepalive = dns.EDNS0TCPKEEPALIVE
	padding   = dns.EDNS0PADDING
)

// change returns the message with other bytes from i on.
func change(msg []byte, i int, b ...byte) []byte {
	copy(msg[i:], b)
	return msg
}

func rows() []row {
	const a, aaaa, txt = dns.TypeA, dns.TypeAAAA, dns.TypeTXT
	long := strings.Repeat("a23456789.b23456789.c23456789.d23456789.e23456789.f23456789.", 4)
	return []row{
		{"ordered", ask("www.example.com.", a), 0, 0, true, responder.Answer},
		{"ordered, IPv6", ask("www.example.com.", aaaa), 0, 0, true, responder.Answer},
		{"ordered, all down", ask("www.example.com.", a), 0, 1, true, responder.NoData},
		{"capitals", ask("wWw.eXample.COM.", a), 0, 0, true, responder.Answer},
		{"without recursion desired", ask("www.example.com.", a, func(m *dns.Msg) { m.RecursionDesired = false }), 0, 0,
			true, responder.Answer},
		{"AD and CD", ask("www.example.com.", a, func(m *dns.Msg) {
			m.AuthenticatedData, m.CheckingDisabled = true, true
		}), 0, 0, true, responder.Answer},
		{"AA and TC", ask("www.example.com.", a, func(m *dns.Msg) { m.Authoritative, m.Truncated = true, true }), 0, 0,
			true, responder.Answer},
		{"round robin, two answers", ask("turns.example.com.", a), 0, 0, true, responder.Answer},
		{"weighted round robin", ask("weights.example.com.", a), 0, 0, true, responder.Answer},
		{"least loaded", ask("loads.example.com.", a), 0, 0, true, responder.Answer},
		{"least loaded, one over its threshold", ask("loads.example.com.", a), 0, 2, true, responder.Answer},
		{"hash by source", ask("source.example.com.", a), 3, 0, true, responder.Answer},
		{"hash by source, client mapped into IPv6", ask("source.example.com.", a), 4, 0, true, responder.Answer},
		{"hash by domain", ask("domain.example.com.", a), 0, 0, true, responder.Answer},
		{"hash by both", ask("both.example.com.", a), 0, 0, true, responder.Answer},
		{"all answers", ask("all.example.com.", a), 0, 0, true, responder.Answer},
		{"all answers, IPv6", ask("all.example.com.", aaaa, opt(1232)), 0, 0, true, responder.Answer},
		{"wildcard of rules", ask("x.y.any.example.com.", a), 0, 0, true, responder.Answer},
		{"no IPv6", ask("four.example.com.", aaaa), 0, 0, true, responder.NoData},
		{"other type of a balanced name", ask("www.example.com.", txt), 0, 0, true, responder.NoData},
		{"policy no data", ask("dead.example.com.", a), 0, 0, true, responder.NoData},
		{"policy refused", ask("refused.example.com.", a), 0, 0, true, responder.Refused},
		{"policy all answers", ask("anyway.example.com.", a), 0, 0, true, responder.Answer},
		{"policy forward", ask("forwarded.example.com.", a), 0, 0, true, 0},
		{"waiting for a verdict", ask("waiting.example.com.", a, opt(1232, cookies, "0102030405060708")), 0, 0, true,
			0},
		{"source list has the client", ask("inside.example.com.", a), 1, 0, true, responder.Answer},
		{"source list has not, nothing else", ask("inside.example.com.", a), 0, 0, true, responder.NoData},
		{"records beside rules", ask("beside.example.com.", txt), 0, 0, true, responder.Answer},
		{"source list has not, not whole", ask("in.fetched.test.", a), 0, 0, true, responder.Refused},
		{"expression", ask("img17.example.com.", a), 0, 0, true, responder.Answer},
		{"several expressions", ask("img17.example.com.", a), 1, 0, true, responder.Answer},
		{"expression, not for the client", ask("x7.example.com.", a), 0, 0, true, responder.NoData},
		{"above the name of an expression", ask("er.example.com.", a), 0, 0, true, responder.NoData},
		{"beside the name of an expression", ask("x.er.example.com.", a), 0, 0, true, responder.NXDomain},
		{"expression at an empty non-terminal", ask("b.empty.example.com.", a), 0, 0, true, responder.NoData},
		{"sticky", ask("stays.example.com.", a), 0, 0, true, responder.Answer},
		{"sticky by subnet", ask("stays.example.com.", a, opt(1232, subnet, "00011800c00002")), 0, 0, true,
			responder.Answer},
		{"sticky server", ask("staysserver.example.com.", a), 0, 0, true, 0},
		{"sticky CNAME", ask("stayscname.example.com.", a), 0, 0, true, responder.Answer},
		{"sticky CNAME to no data", ask("stayscname.example.com.", aaaa), 0, 0, true, responder.Answer},
		{"sticky CNAME, to what the full path says", ask("staysleft.example.com.", a), 0, 0, false, responder.NXDomain},
		{"addresses that fill a message", ask("crowd.example.com.", aaaa, opt(1232)), 0, 0, true, responder.Answer},
		{"addresses that do not fit", ask("crowd.example.com.", a), 0, 0, false, responder.Answer},
		{"addresses that do not fit, IPv6", ask("crowd.example.com.", aaaa), 0, 0, false, responder.Answer},
		{"CNAME by rules, foreign", ask("cdn.example.com.", a), 0, 0, true, responder.Answer},
		{"CNAME by rules, for itself", ask("cdn.example.com.", dns.TypeCNAME), 0, 0, true, responder.Answer},
		{"CNAME by rules, to records", ask("inner.example.com.", a), 0, 0, true, responder.Answer},
		{"CNAME by rules, to rules", ask("toturns.example.com.", a, opt(1232)), 0, 0, true, responder.Answer},
		{"CNAME by rules, to a suffix", ask("above.example.com.", a), 0, 0, false, responder.NoData},
		{"CNAME by rules, to a suffix, for itself", ask("above.example.com.", dns.TypeCNAME), 0, 0, true,
			responder.Answer},
		{"CNAME by rules, to another CNAME", ask("chain.example.com.", a), 0, 0, false, responder.Answer},
		{"CNAME by rules, to nothing", ask("lost.example.com.", a), 0, 0, false, responder.NXDomain},
		{"CNAME by rules, to another zone", ask("outside.example.com.", a), 0, 0, true, responder.Answer},
		{"CNAMEs by turns, one to no data", ask("cdns.example.com.", aaaa), 0, 0, false, responder.NoData},
		{"ask servers", ask("servers.example.com.", dns.TypeMX), 0, 0, true, 0},

		{"A record", ask("multi.example.com.", a), 0, 0, true, responder.Answer},
		{"AAAA record", ask("multi.example.com.", aaaa), 0, 0, true, responder.Answer},
		{"SOA", ask("example.com.", dns.TypeSOA), 0, 0, true, responder.Answer},
		{"NS", ask("example.com.", dns.TypeNS), 0, 0, true, responder.Answer},
		{"MX", ask("EXAMPLE.com.", dns.TypeMX), 0, 0, true, responder.Answer},
		{"SRV", ask("_sip._tcp.example.com.", dns.TypeSRV), 0, 0, true, responder.Answer},
		{"PTR", ask("ptr.example.com.", dns.TypePTR), 0, 0, true, responder.Answer},
		{"unknown type", ask("strange.example.com.", 65280), 0, 0, true, responder.Answer},
		{"ANY of records", ask("example.com.", dns.TypeANY), 0, 0, true, responder.Answer},
		{"ANY of rules", ask("www.example.com.", dns.TypeANY), 0, 0, false, responder.Answer},
		{"ANY of a CNAME", ask("alias.example.com.", dns.TypeANY), 0, 0, true, responder.Answer},
		{"HTTPS with hints", ask("site.example.com.", dns.TypeHTTPS), 0, 0, false, responder.Answer},
		{"HTTPS of a name without", ask("www.example.com.", dns.TypeHTTPS), 0, 0, true, responder.NoData},
		{"wildcard", ask("x.wild.example.com.", a), 0, 0, true, responder.Answer},
		{"wildcard whose bytes depend on the name", ask("x.wild.example.com.", dns.TypeMX), 0, 0, false,
			responder.Answer},
		{"wildcard, blocked", ask("x.there.wild.example.com.", a), 0, 0, true, responder.NXDomain},
		{"CNAME", ask("alias.example.com.", a), 0, 0, true, responder.Answer},
		{"CNAME, for itself", ask("alias.example.com.", dns.TypeCNAME), 0, 0, true, responder.Answer},
		{"CNAME to itself", ask("self.example.com.", a), 0, 0, true, responder.Answer},
		{"CNAME with capitals", ask("capital.example.com.", a), 0, 0, false, responder.Answer},
		{"CNAME to a suffix", ask("a.deep.alias.example.com.", a), 0, 0, true, responder.Answer},
		{"CNAME to a CNAME", ask("twice.example.com.", a), 0, 0, false, responder.Answer},
		{"CNAME to another zone", ask("abroad.example.com.", a), 0, 0, true, responder.Answer},
		{"CNAME to a foreign name", ask("foreign.example.com.", a), 0, 0, true, responder.Answer},
		{"CNAME to the root", ask("toroot.example.com.", a), 0, 0, false, responder.Answer},
		{"CNAME to rules", ask("torule.example.com.", a), 0, 0, true, responder.Answer},
		{"CNAME to rules, IPv6", ask("torule.example.com.", aaaa), 0, 0, true, responder.Answer},
		{"CNAME to turns", ask("toturns2.example.com.", a), 0, 0, true, responder.Answer},
		{"CNAME to a refusal", ask("torefused.example.com.", a), 0, 0, true, responder.Answer},
		{"CNAME to what waits", ask("towaiting.example.com.", a), 0, 0, true, 0},
		{"CNAME to what is forwarded", ask("toforward.example.com.", a), 0, 0, true, responder.Answer},
		{"CNAME to a CNAME by rules", ask("tocdn.example.com.", a), 0, 0, false, responder.Answer},
		{"CNAME to no data", ask("tosix.example.com.", a), 0, 0, false, responder.NoData},
		{"CNAME to a delegation", ask("tosub.example.com.", a), 0, 0, false, responder.Referral},
		{"CNAME to names in records", ask("tomail.example.com.", dns.TypeMX), 0, 0, false, responder.Answer},
		{"CNAME of a wildcard", ask("x.alias2.example.com.", a), 0, 0, false, responder.Answer},
		{"DNAME", ask("host.tree.example.com.", a), 0, 0, false, responder.Answer},
		{"delegation", ask("host.sub.example.com.", a), 0, 0, false, responder.Referral},
		{"dot in a label", ask(`a\.dot.example.com.`, a), 0, 0, true, responder.Answer},
		{"strange bytes in a label", ask(`sp\032ace\200.example.com.`, a), 0, 0, true, responder.Answer},

		{"no such name", ask("nothing.example.com.", a), 0, 0, true, responder.NXDomain},
		{"no such name, EDNS", ask("nothing.example.com.", a, opt(4096)), 0, 0, true, responder.NXDomain},
		{"no such name below that of the SOA's server", ask("x.ns1.example.com.", a), 0, 0, true, responder.NXDomain},
		{"no such name, two in the SOA", ask("x.hostmaster.mail.example.com.", a), 0, 0, true, responder.NXDomain},
		{"no such name, capitals in the SOA", ask("nothing.example.org.", a), 0, 0, true, responder.NXDomain},
		{"no such type", ask("multi.example.com.", txt), 0, 0, true, responder.NoData},
		{"no such type at the zone's name", ask("example.com.", aaaa), 0, 0, true, responder.NoData},
		{"empty non-terminal", ask("empty.example.com.", a), 0, 0, true, responder.NoData},
		{"longest name", ask(long+"example.com.", a), 0, 0, true, responder.NXDomain},
		{"foreign", ask("www.foreign.test.", a), 0, 0, true, responder.Refused},
		{"foreign, EDNS", ask("www.foreign.test.", a, opt(4096, cookies, "0102030405060708")), 0, 0, true,
			responder.Refused},
		{"the root", ask(".", dns.TypeNS), 0, 0, false, responder.Refused},
		{"SOA fetched", ask("app.fetched.test.", txt), 0, 0, true, responder.NoData},
		{"SOA fetched, EDNS", ask("app.FETCHED.test.", txt, opt(1232)), 0, 0, true, responder.NoData},
		{"SOA fetched, for itself", ask("fetched.test.", dns.TypeSOA), 0, 0, false, responder.Answer},
		{"SOA not fetched", ask("nothing.denied.test.", a), 0, 0, true, responder.NXDomain},
		{"zone forwards", ask("nothing.unknown.test.", a), 0, 0, true, 0},
		{"zone refuses", ask("nothing.fetched.test.", a), 0, 0, true, responder.Refused},

		{"EDNS", ask("www.example.com.", a, opt(1232)), 0, 0, true, responder.Answer},
		{"DO", ask("www.example.com.", a, opt(1232), func(m *dns.Msg) { m.IsEdns0().SetDo() }), 0, 0, true,
			responder.Answer},
		{"size below 512", ask("www.example.com.", a, opt(1)), 0, 0, true, responder.Answer},
		{"too long for 512 bytes", ask("many.example.com.", txt), 0, 0, false, responder.Answer},
		{"not too long with EDNS", ask("many.example.com.", txt, opt(1232)), 0, 0, true, responder.Answer},
		{"unknown options", ask("www.example.com.", a, opt(1232, padding, "0000", 65001, "", keepalive, "")), 0, 0,
			true, responder.Answer},
		{"NSID, not configured", ask("www.example.com.", a, opt(1232, nsid, "")), 0, 0, true, responder.Answer},
		{"client cookie", ask("www.example.com.", a, opt(1232, cookies, "0102030405060708")), 0, 0, true,
			responder.Answer},
		{"bad cookie", ask("www.example.com.", a,
			opt(1232, cookies, "010203040506070801000000695562008877665544332211")), 0, 0, true, responder.Answer},
		{"another's cookie", ask("www.example.com.", a, opt(1232, cookies, "01020304050607080102030405060708")), 0, 0,
			true, responder.Answer},
		{"malformed cookie", ask("www.example.com.", a, opt(1232, cookies, "0102")), 0, 0, false, responder.Error},
		{"second cookie", ask("www.example.com.", a, opt(1232, cookies, "0102030405060708", cookies, "01")), 0, 0, true,
			responder.Answer},
		{"subnet, IPv4", ask("subnet.example.com.", a, opt(1232, subnet, "000118000a0908")), 0, 0, true,
			responder.Answer},
		{"subnet, odd length", ask("subnet.example.com.", a, opt(1232, subnet, "000115000a0908")), 0, 0, true,
			responder.Answer},
		{"subnet, IPv6", ask("subnet.example.com.", aaaa, opt(1232, subnet, "0002300020010db80009")), 0, 0, true,
			responder.Answer},
		{"subnet, cookie, in the other order",
			ask("source.example.com.", a, opt(1232, cookies, "0102030405060708", subnet, "00011800c00002")), 0, 0, true,
			responder.Answer},
		{"subnet of no bits", ask("subnet.example.com.", a, opt(1232, subnet, "00010000")), 2, 0, true,
			responder.Answer},
		{"subnet of no family", ask("subnet.example.com.", a, opt(1232, subnet, "00000000")), 2, 0, true,
			responder.Answer},
		{"subnet, records", ask("multi.example.com.", a, opt(1232, subnet, "00011800c00002")), 0, 0, true,
			responder.Answer},
		{"subnet, no data", ask("subnet.example.com.", txt, opt(1232, subnet, "00011800c00002")), 0, 0, true,
			responder.NoData},
		{"second subnet", ask("subnet.example.com.", a, opt(1232, subnet, "00011800c00002", subnet, "00")), 0, 0, true,
			responder.Answer},
		{"subnet, bits beyond its length", ask("subnet.example.com.", a, opt(1232, subnet, "00011700c00003")), 0, 0,
			false, responder.Error},
		{"subnet with a scope", ask("subnet.example.com.", a, opt(1232, subnet, "00011808c00002")), 0, 0, false,
			responder.Error},
		{"subnet, too few bytes", ask("subnet.example.com.", a, opt(1232, subnet, "00011800c000")), 0, 0, false,
			responder.Error},
		{"subnet, too many bits", ask("subnet.example.com.", a, opt(1232, subnet, "00012100c000020000")), 0, 0, false,
			responder.Error},
		{"subnet, bad family", ask("subnet.example.com.", a, opt(1232, subnet, "00031800c00002")), 0, 0, false,
			responder.Error},
		{"version 1", ask("www.example.com.", a, opt(1232), func(m *dns.Msg) { m.IsEdns0().SetVersion(1) }), 0, 0,
			false, responder.Error},
		{"option cut", change(ask("www.example.com.", a, opt(1232, padding, "0000")), 47, 3), 0, 0, false,
			responder.Error},
		{"additional record", ask("www.example.com.", a, func(m *dns.Msg) {
			m.Extra = append(m.Extra, &dns.TXT{Hdr: dns.RR_Header{Name: ".", Rrtype: txt, Class: dns.ClassINET},
				Txt: []string{"x"}})
		}), 0, 0, false, responder.Answer},
		{"response", change(ask("www.example.com.", a), 2, 0x80), 0, 0, false, 0},
		{"opcode", change(ask("www.example.com.", a), 2, 0x10), 0, 0, false, responder.Error},
		{"two questions", change(ask("www.example.com.", a), 5, 2), 0, 0, false, responder.Error},
		{"answers in a query", change(ask("www.example.com.", a), 7, 1), 0, 0, false, responder.Error},
		{"two additional records", change(ask("www.example.com.", a, opt(1232)), 11, 2), 0, 0, false, responder.Error},
		{"junk behind", append(ask("www.example.com.", a), 0), 0, 0, false, responder.Error},
		{"class CHAOS", ask("version.bind.", txt, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), 0, 0,
			false, responder.Refused},
		{"transfer", ask("example.com.", dns.TypeAXFR), 0, 0, false, responder.Refused},
		{"OPT as a type", ask("example.com.", dns.TypeOPT), 0, 0, false, responder.Error},
		{"compressed question", change(ask("www.example.com.", a), 12, 0xC0, 12), 0, 0, false, responder.Error},
		{"name cut", ask("www.example.com.", a)[:20], 0, 0, false, responder.Error},
		{"type cut", ask("www.example.com.", a)[:31], 0, 0, false, responder.Error},
		{"header cut", ask("www.example.com.", a)[:11], 0, 0, false, 0},
	}
}

func TestFastEqualsFull(t *testing.T) {
	w := newWorld(t)
	for _, row := range rows() {
		t.Run(row.name, func(t *testing.T) {
			r, fast := w.check(t, row.query, clients[row.client], row.view)
			if fast != row.fast {
				t.Errorf("answered by the fast path: %v, want %v\n%s", fast, row.fast, unpack(r.Wire))
			}
			if r.Kind != row.kind {
				t.Errorf("kind %d, want %d\n%s", r.Kind, row.kind, unpack(r.Wire))
			}
		})
	}
}

// Whatever the fast path answers, it answers without allocation.
func TestNoAllocations(t *testing.T) {
	w := newWorld(t)
	for _, row := range rows() {
		if !row.fast {
			continue
		}
		t.Run(row.name, func(t *testing.T) {
			s := w.side(row.view)
			from, now := clients[row.client], now.UnixNano()
			if n := testing.AllocsPerRun(100,
				func() { Answer(&s.view, s.scratch, row.query, from, now, s.out[:]) }); n != 0 {
				t.Errorf("%v allocations, want none", n)
			}
		})
	}
}

// A cookie that this server made is good, and goes on being the client's.
func TestGoodCookie(t *testing.T) {
	w := newWorld(t)
	s := w.side(0)
	r, _ := s.fast(ask("www.example.com.", dns.TypeA, opt(1232, cookies, "0102030405060708")), clients[0])
	made := hex.EncodeToString(r.Wire[len(r.Wire)-24:])
	req := ask("www.example.com.", dns.TypeA, opt(1232, cookies, made))
	r, fast := w.check(t, req, clients[0], 0)
	if !fast || r.Cookie != responder.GoodCookie {
		t.Errorf("fast %v, cookie state %d, want %d", fast, r.Cookie, responder.GoodCookie)
	}
	if got := hex.EncodeToString(r.Wire[len(r.Wire)-24:]); got != made {
		t.Errorf("cookie %s, want %s", got, made)
	}
}

// Both paths of a goroutine share round robins, and what the fast path gives up on turns none.
func TestTurnsAreShared(t *testing.T) {
	w := newWorld(t)
	s := w.side(0)
	fast, slow := ask("turns.example.com.", dns.TypeA), ask("turns.example.com.", dns.TypeANY)
	seen := make(map[string]int)
	for i := range 6 {
		req := fast
		if i%2 == 1 {
			req = slow
		}
		r, ok := s.fast(req, clients[0])
		if ok != (i%2 == 0) {
			t.Fatalf("query %d: fast %v", i, ok)
		}
		m := new(dns.Msg)
		if err := m.Unpack(r.Wire); err != nil {
			t.Fatal(err)
		}
		seen[m.Answer[0].(*dns.A).A.String()]++
	}
	for address, n := range seen {
		if n != 2 {
			t.Errorf("%s came first %d times of 6, want 2 of each of 3", address, n)
		}
	}
}

func TestOutTooSmall(t *testing.T) {
	w := newWorld(t)
	s := w.side(0)
	if _, ok := Answer(&s.view, s.scratch, ask("www.example.com.", dns.TypeA), clients[0], 0,
		make([]byte, minSize-1)); ok {
		t.Error("answered into less than every client takes")
	}
}

// FuzzFastEqualsFull sends anything from anyone to the fast path, and to the full path, which is right.
func FuzzFastEqualsFull(f *testing.F) {
	for _, row := range rows() {
		f.Add(row.query, uint8(row.client), uint8(row.view))
	}
	w := newWorld(f)
	f.Fuzz(func(t *testing.T, req []byte, client, view uint8) {
		w.check(t, req, clients[int(client)%len(clients)], int(view)%len(w.views))
	})
}

func BenchmarkAnswer(b *testing.B) {
	w := newWorld(b)
	for _, x := range []struct {
		name  string
		query []byte
	}{
		{"rules", ask("www.example.com.", dns.TypeA, opt(1232))},
		{"rules, cookie", ask("www.example.com.", dns.TypeA, opt(1232, cookies, "0102030405060708"))},
		{"rules, subnet", ask("subnet.example.com.", dns.TypeA, opt(1232, subnet, "000118000a0908"))},
		{"record", ask("multi.example.com.", dns.TypeA, opt(1232))},
		{"NXDOMAIN", ask("nothing.example.com.", dns.TypeA, opt(1232))},
		{"refused", ask("www.foreign.test.", dns.TypeA, opt(1232))},
	} {
		b.Run(x.name, func(b *testing.B) {
			s := w.side(0)
			now := now.UnixNano()
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := Answer(&s.view, s.scratch, x.query, clients[0], now, s.out[:]); !ok {
					b.Fatal("left to the full path")
				}
			}
		})
	}
}

// The daemon's source of fetched SOA records is a fast one; another one is the full path's.
var _ packedSource = (*relay.Negatives)(nil)

func TestSOAUnpacked(t *testing.T) {
	w := newWorld(t)
	packed := w.views[0].Negative.(*fetched)
	w.views[0].Negative = struct{ responder.NegativeSource }{packed}
	if r, fast := w.check(t, ask("app.fetched.test.", dns.TypeTXT), clients[0], 0); fast || r.Kind != responder.NoData {
		t.Errorf("fast %v, kind %d", fast, r.Kind)
	}
}
