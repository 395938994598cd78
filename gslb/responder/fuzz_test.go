package responder

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/selection"
)

// hostile are packets of the kinds that break parsers: lengths that lead out, pointers that loop, options without end,
// counts that lie.
func hostile(t testing.TB) [][]byte {
	plain := pack(t, query("www.example.com.", dns.TypeA))
	full := pack(t, query("wWw.example.com.", dns.TypeAAAA, edns(option(dns.EDNS0NSID), ecs("198.18.64.0/24"),
		option(dns.EDNS0COOKIE, clientCookie...), option(100, 1, 2))))
	header := plain[:12]
	seeds := [][]byte{
		nil, {0}, header, plain, full, full[:len(full)-1], plain[:17], append(bytes.Clone(plain), 0xFF),
		slices.Concat(header, []byte{0xC0, 12, 0, 1, 0, 1}),           // loops
		slices.Concat(header, []byte{0xC0, 14, 0xC0, 12, 0, 1, 0, 1}), // in two
		slices.Concat(header, bytes.Repeat([]byte{0xC0, 12}, 100)),    // in many
		// length bytes
		slices.Concat(header, []byte{255}, make([]byte, 300)),
		slices.Concat(header, bytes.Repeat([]byte{63, 63}, 200)),                                          //
		slices.Concat(header, bytes.Repeat([]byte{0}, 5)),                                                 // the root
		slices.Concat(plain[:4], bytes.Repeat([]byte{255}, 8), plain[12:]),                                // counts
		slices.Concat(plain[:4], bytes.Repeat([]byte{0}, 8), plain[12:]),                                  //
		slices.Concat(plain[:10], []byte{0, 1}, plain[12:], []byte{0, 0, 41, 2, 0, 0, 0, 0, 0, 255, 255}), // OPT
		slices.Concat(plain[:10], []byte{0, 1}, plain[12:], []byte{0, 0, 41, 2, 0, 0, 0, 0, 0, 0, 4, 0, 8, 255, 255}),
		pack(t, query("www.example.com.", dns.TypeA, edns(slices.Repeat([]dns.EDNS0{option(100)}, 30)...))),
		pack(t, query("www.example.com.", dns.TypeA, func(m *dns.Msg) { m.Question = slices.Repeat(m.Question, 10) })),
		pack(t, query("www.example.com.", dns.TypeA, func(m *dns.Msg) {
			m.Ns = parse(t, "example.com. 0 IN SOA a. b. 1 0 0 0 0")
		})),
	}
	for _, name := range []string{"x.wild.example.com.", "x.tree.example.com.", "thrice.tree.example.com.",
		"loop1.example.com.", "many.example.com.", "wide.example.com.", "web.example.com.", "turns.example.com.",
		"waiting.example.com.", "web1.expression.example.com.", "foreign.test.", "www.fetched.test.", "version.bind.",
		"tomany.example.com."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeANY, dns.TypeHTTPS, dns.TypeTXT, dns.TypeAXFR} {
			seeds = append(seeds, pack(t, query(name, qtype, edns(ecs("2001:db8::/56")))),
				pack(t, query(name, qtype, class(dns.ClassCHAOS))))
		}
	}
	return seeds
}

// giant are packets as long as they get.
func giant(t testing.TB) [][]byte {
	return [][]byte{
		pack(t, query("www.example.com.", dns.TypeA, edns(option(65001, make([]byte, 60000)...)))),
		pack(t, query("www.example.com.", dns.TypeA, edns(slices.Repeat([]dns.EDNS0{option(100)}, 15000)...))),
		pack(t, query("www.example.com.", dns.TypeA, func(m *dns.Msg) {
			m.Question = slices.Repeat(m.Question, 3000)
		})),
		append(pack(t, query("www.example.com.", dns.TypeA)), make([]byte, 65000)...),
	}
}

// respondHolds sends a packet and checks what holds for every one: it is dropped only if it is no query; its response
// can be read, fits, and has its id and its question.
func respondHolds(t *testing.T, r *rig, wire []byte) {
	before := bytes.Clone(wire)
	resp := r.respond(wire)
	if !bytes.Equal(before, wire) {
		t.Fatal("the query was written to")
	}
	if drop := len(wire) < 12 || wire[2]&0x80 != 0; drop != (resp.Disposition == Drop) {
		t.Fatalf("disposition %d, drop %v", resp.Disposition, drop)
	}
	switch resp.Disposition {
	case Drop, Wait:
		return
	case Forward:
		if len(resp.Forward) == 0 {
			t.Fatal("forwarded to nobody")
		}
		return
	}
	m := new(dns.Msg)
	if err := m.Unpack(resp.Wire); err != nil {
		t.Fatalf("the response cannot be read: %v\n%x", err, resp.Wire)
	}
	if whole, err := m.Pack(); err != nil {
		t.Fatalf("the response cannot be packed again: %v\n%x", err, whole)
	}
	if !bytes.Equal(resp.Wire[:2], wire[:2]) || !m.Response || m.Opcode != int(wire[2]>>3)&0xF {
		t.Fatalf("id, QR or opcode: %x to %x", resp.Wire[:4], wire[:4])
	}
	if resp.Rcode != m.Rcode || resp.Kind == 0 || resp.Kind >= Kinds {
		t.Fatalf("RCODE %d, in the message %d; kind %d", resp.Rcode, m.Rcode, resp.Kind)
	}
	for i, section := range []int{len(m.Question), len(m.Answer), len(m.Ns), len(m.Extra)} {
		if n := int(binary.BigEndian.Uint16(resp.Wire[4+2*i:])); n != section {
			t.Fatalf("section %d: count %d, has %d", i, n, section)
		}
	}
	q := new(dns.Msg)
	err := q.Unpack(wire)
	limit := 512
	if opt := q.IsEdns0(); err == nil && opt != nil {
		limit = max(limit, min(int(opt.UDPSize()), 1232))
	}
	if err != nil {
		limit = 1232
	}
	if r.tcp {
		limit = dns.MaxMsgSize
	}
	if len(resp.Wire) > limit {
		t.Fatalf("%d bytes, the limit is %d", len(resp.Wire), limit)
	}
	if len(m.Question) == 1 {
		if end := questionEnd(resp.Wire); end > len(wire) || !bytes.Equal(resp.Wire[12:end], wire[12:end]) {
			t.Fatalf("question of %x, the query is %x", resp.Wire, wire)
		}
	} else if err == nil && len(q.Question) == 1 && q.Opcode == dns.OpcodeQuery && m.Rcode != dns.RcodeFormatError {
		t.Fatalf("no question: %v to %v", m, q)
	}
	noDuplicates(t, m)
	for _, rr := range m.Answer {
		if rr.Header().Class == dns.ClassINET && !m.Authoritative {
			t.Fatalf("an answer without AA: %v", m)
		}
	}
}

// noDuplicates checks that no record stands in a section twice (RFC 2181 section 5).
func noDuplicates(t testing.TB, m *dns.Msg) {
	t.Helper()
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for i, rr := range section {
			if slices.ContainsFunc(section[:i], func(other dns.RR) bool { return dns.IsDuplicate(rr, other) }) {
				t.Fatalf("%v is there twice:\n%v", rr, m)
			}
		}
	}
}

func FuzzRespond(f *testing.F) {
	for _, seed := range hostile(f) {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	r := newRig(f)
	r.view.Sticky = selection.NewStickyTable(1000)
	f.Fuzz(func(t *testing.T, wire []byte, tcp bool) {
		if len(wire) > dns.MaxMsgSize {
			return
		}
		r := *r
		r.t, r.tcp, r.core = t, tcp, Core{}
		respondHolds(t, &r, wire)
		for _, resp := range []Response{
			Fail(r.view, &Client{Addr: r.client, TCP: tcp, Core: &r.core, Now: r.now.UnixNano()}, wire,
				dns.RcodeServerFailure),
			Slip(r.view, &Client{Addr: r.client, TCP: tcp, Core: &r.core, Now: r.now.UnixNano()}, wire),
		} {
			m := new(dns.Msg)
			if resp.Disposition == Drop {
				continue
			}
			if err := m.Unpack(resp.Wire); err != nil || len(m.Answer)+len(m.Ns) > 0 {
				t.Fatalf("%v: %v", err, m)
			}
		}
	})
}

// Bytes of good queries, changed at random, reach deeper than random ones.
func TestHostilePackets(t *testing.T) {
	r := newRig(t)
	r.view.Sticky = selection.NewStickyTable(1000)
	random := rand.New(rand.NewPCG(1, 2))
	for _, wire := range giant(t) {
		for _, r.tcp = range []bool{false, true} {
			respondHolds(t, r, wire)
		}
	}
	seeds := hostile(t)
	for range 20000 {
		wire := bytes.Clone(seeds[random.IntN(len(seeds))])
		for range random.IntN(6) {
			if len(wire) == 0 {
				break
			}
			switch at := random.IntN(len(wire)); random.IntN(5) {
			case 0:
				wire = wire[:at]
			case 1:
				wire = slices.Insert(wire, at, byte(random.IntN(256)))
			default:
				wire[at] = byte(random.IntN(256))
			}
		}
		if len(wire) > 2 && random.IntN(4) > 0 {
			wire[2] &^= 0xF8 // a query
		}
		r.tcp = random.IntN(2) == 0
		r.client = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(random.IntN(4)), 0, 1}), 4242)
		respondHolds(t, r, wire)
	}
}
