package zone

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// packNegative is what package dns makes of a negative answer, after the question.
func packNegative(t testing.TB, qname string, soa *dns.SOA, ttl uint32) []byte {
	t.Helper()
	rr := *soa
	rr.Hdr.Ttl = ttl
	m := dns.Msg{
		Compress: true,
		Question: []dns.Question{{Name: qname, Qtype: dns.TypeA, Qclass: dns.ClassINET}},
		Ns:       []dns.RR{&rr},
	}
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire[questionAt+len(wireName(t, qname))+questionEnd:]
}

// checkNegative compares Append with package dns for a SOA in a zone and a name in that.
func checkNegative(t testing.TB, zone, mname, rname, qname string) {
	t.Helper()
	soa := &dns.SOA{
		Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 1},
		Ns:  mname, Mbox: rname, Serial: 0x01020304, Refresh: 2, Retry: 3, Expire: 4, Minttl: 0xfffefdfc,
	}
	n, err := NewNegative(wireName(t, zone), soa)
	if err != nil {
		t.Fatal(err)
	}
	const ttl = 0x0a0b0c0d
	want := packNegative(t, qname, soa, ttl)
	got := n.Append([]byte("before"), wireName(t, qname), ttl)
	if got = got[len("before"):]; !bytes.Equal(got, want) {
		t.Errorf("zone %s, mname %s, rname %s, question %s\n got %x\nwant %x", zone, mname, rname, qname, got, want)
	}
}

func TestNegativeIsAsPacked(t *testing.T) {
	for _, x := range []struct{ name, zone, mname, rname, qname string }{
		{"both in the zone", "example.com.", "ns1.example.com.", "host.example.com.", "www.example.com."},
		{"at the apex", "example.com.", "ns1.example.com.", "host.example.com.", "example.com."},
		{"mname is asked for", "example.com.", "ns1.example.com.", "host.example.com.", "ns1.example.com."},
		{"mname's parent is shared", "example.com.", "a.ns.example.com.", "host.example.com.", "b.ns.example.com."},
		{"below mname", "example.com.", "ns.example.com.", "host.ns.example.com.", "b.ns.example.com."},
		{"rname below mname", "example.com.", "ns.example.com.", "host.ns.example.com.", "www.example.com."},
		{"rname is mname", "example.com.", "ns.example.com.", "ns.example.com.", "www.example.com."},
		{"mname below rname", "example.com.", "ns.host.example.com.", "host.example.com.", "www.example.com."},
		{"mname is the apex", "example.com.", "example.com.", "host.example.com.", "www.example.com."},
		{"elsewhere, same top level", "example.com.", "ns1.provider.com.", "host.provider.com.", "www.example.com."},
		{"elsewhere", "example.com.", "ns1.provider.net.", "host.provider.net.", "www.example.com."},
		{"elsewhere, nothing in common", "example.com.", "ns1.provider.net.", "host.provider.org.", "www.example.com."},
		{"mname is an ancestor", "example.com.", "com.", "com.", "www.example.com."},
		{"names are the root", "example.com.", ".", ".", "www.example.com."},
		{"the zone is the root", ".", "ns1.example.com.", "host.example.com.", "www.example.com."},
		{"the zone is the root, apex", ".", "a.root.", "nstld.root.", "."},
		{"all are the root", ".", ".", ".", "."},
		{"capitals are other strings", "example.com.", "NS1.Example.com.", "host.EXAMPLE.com.", "ns1.example.com."},
		{"capitals shared", "example.com.", "NS1.Example.com.", "host.Example.com.", "ns1.example.com."},
		{"label with the bytes of others", "example.com.", "ns.example.com.", "host.example.com.",
			`x\002ns.example.com.`},
		{"escapes", `a\.b.com.`, `\000.a\.b.com.`, `host\@x.a\.b.com.`, `\000.a\.b.com.`},
		{"long", "example.com.", strings.Repeat("a.", 121) + "example.com.",
			"b." + strings.Repeat("a.", 120) + "example.com.", strings.Repeat("a.", 119) + "example.com."},
	} {
		t.Run(x.name, func(t *testing.T) { checkNegative(t, x.zone, x.mname, x.rname, x.qname) })
	}
}

func TestNegativeIsAsPackedForRandomNames(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	labels := []string{"a", "b", "A", "bb", `\001a`, "ab"}
	random := func(suffix string) string {
		for range r.IntN(4) {
			suffix = labels[r.IntN(len(labels))] + "." + strings.TrimPrefix(suffix, ".")
			if !strings.HasSuffix(suffix, ".") {
				suffix += "."
			}
		}
		return suffix
	}
	for range 20000 {
		zone := strings.ToLower(random("."))
		qname := strings.ToLower(random(zone))
		mname := random([]string{".", zone, qname}[r.IntN(3)])
		rname := random([]string{".", zone, qname, mname}[r.IntN(4)])
		checkNegative(t, zone, mname, rname, qname)
	}
}

// FuzzNegativeTail compares the SOA of negative answers with what package dns packs. The strings are labels, split at
// zero bytes; shape says what each name ends in.
func FuzzNegativeTail(f *testing.F) {
	f.Add("example\x00com", "ns1", "hostmaster", "www", byte(0))
	f.Add("example\x00com", "a\x00ns", "host", "b\x00ns", byte(0))
	f.Add("example\x00com", "ns1\x00provider\x00net", "host\x00provider\x00net", "www", byte(0b0101))
	f.Add("", "x", "x", "x\x00x", byte(0b1010))
	f.Add("a", "\x01a", "\x02aa", "\x01a\x00a", byte(0b1100))
	f.Fuzz(func(t *testing.T, zone, mname, rname, prefix string, shape byte) {
		wire := func(labels, suffix string) string {
			var b strings.Builder
			for l := range strings.SplitSeq(labels, "\x00") {
				if l = l[:min(len(l), 63)]; l != "" {
					b.WriteByte(byte(len(l)))
					b.WriteString(l)
				}
			}
			b.WriteString(suffix)
			return b.String()
		}
		apex := string(lower([]byte(wire(zone, "\x00"))))
		qname := string(lower([]byte(wire(prefix, apex))))
		m := wire(mname, []string{"\x00", apex, qname, apex}[shape&3])
		r := wire(rname, []string{"\x00", apex, qname, m}[shape>>2&3])
		var names [4]string
		for i, n := range []string{apex, m, r, qname} {
			if len(n) > maxName {
				t.Skip("no name is this long")
			}
			s, err := presentation(n)
			if err != nil {
				t.Skip("these bytes are not a name")
			}
			names[i] = s
		}
		checkNegative(t, names[0], names[1], names[2], names[3])
	})
}
