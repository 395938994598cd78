package zone

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
)

// records parses records in the notation of zone files.
func records(t testing.TB, text string) []dns.RR {
	t.Helper()
	var rrs []dns.RR
	p := dns.NewZoneParser(strings.NewReader("$TTL 300\n"+text), ".", "test")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		rrs = append(rrs, rr)
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	return rrs
}

const soaData = " 3600 SOA ns1.example.com. hostmaster.example.com. 1 7200 3600 1209600 300\n"

// whole is a zone with a SOA and those records.
func whole(t testing.TB, name, text string) config.Zone {
	t.Helper()
	return config.Zone{Name: name, Records: records(t, name+soaData+text)}
}

// partial is a zone of which only the balanced names are here.
func partial(name string, noMatch config.NoMatch) config.Zone {
	return config.Zone{Name: name, SOAFrom: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")},
		NoMatch: noMatch}
}

func build(t testing.TB, zones []config.Zone, balanced ...Balanced) *Zones {
	t.Helper()
	z, err := Build(zones, balanced)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func wireName(t testing.TB, s string) []byte {
	t.Helper()
	name, err := Name(s)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// found is a Result that prints.
type found struct {
	Kind  string
	Zone  string   `json:",omitempty"`
	Data  []string // of RRset, without TTL and class
	Owner string   // what the answer is of: the name from Result.Owner on
	Set   int32
	Wild  bool
	Miss  bool
}

func find(t testing.TB, z *Zones, name string, qtype uint16) found {
	t.Helper()
	wire := wireName(t, name)
	r := z.Lookup(wire, qtype)
	f := found{Kind: r.Kind.String(), Set: r.Set, Wild: r.Wildcard, Miss: r.Miss}
	if r.Zone != nil {
		f.Zone = r.Zone.Name
	}
	if r.RRset != nil {
		for _, rr := range r.RRset.RRs {
			f.Data = append(f.Data, strings.Join(append(strings.Fields(rr.Header().Name),
				strings.Fields(rr.String())[3:]...), " "))
		}
	}
	owner, err := presentation(string(wire[r.Owner:]))
	if err != nil {
		t.Fatal(err)
	}
	f.Owner = owner
	return f
}

// row is a question, in zone example.com. unless it says so, and what is found. Owner is the name unless it says so.
type row struct {
	name  string
	qtype uint16
	want  found
}

func try(t *testing.T, z *Zones, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.name+" "+dns.Type(r.qtype).String(), func(t *testing.T) {
			t.Helper()
			if r.want.Owner == "" {
				r.want.Owner = r.name
			}
			switch r.want.Zone {
			case "":
				r.want.Zone = "example.com."
			case "none":
				r.want.Zone = ""
			}
			switch r.want.Kind {
			case "by rules":
			default:
				if r.want.Set == 0 {
					r.want.Set = -1
				}
			}
			if diff := cmp.Diff(r.want, find(t, z, r.name, r.qtype)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestExactData(t *testing.T) {
	z := build(t, []config.Zone{whole(t, "example.com.", `
www.example.com. A 192.0.2.1
www.example.com. A 192.0.2.2
www.example.com. TXT hello
odd.example.com. TYPE65280 \# 2 0102
pointer.example.com. PTR www.example.com.
`)})
	try(t, z, []row{
		{"www.example.com.", dns.TypeA,
			found{Kind: "positive", Data: []string{"www.example.com. A 192.0.2.1", "www.example.com. A 192.0.2.2"}}},
		{"www.example.com.", dns.TypeTXT, found{Kind: "positive", Data: []string{`www.example.com. TXT "hello"`}}},
		{"odd.example.com.", 65280, found{Kind: "positive", Data: []string{`odd.example.com. TYPE65280 \# 2 0102`}}},
		{"pointer.example.com.", dns.TypePTR,
			found{Kind: "positive", Data: []string{"pointer.example.com. PTR www.example.com."}}},
	})
}

// RFC 2308, section 2.2.
func TestNoDataOfANameWithOtherTypes(t *testing.T) {
	z := build(t, []config.Zone{whole(t, "example.com.", "www.example.com. A 192.0.2.1\n")})
	try(t, z, []row{
		{"www.example.com.", dns.TypeAAAA, found{Kind: "no data"}},
		{"www.example.com.", dns.TypeDS, found{Kind: "no data"}},
		{"example.com.", dns.TypeAAAA, found{Kind: "no data"}},
	})
}

func TestNameThatDoesNotExist(t *testing.T) {
	z := build(t, []config.Zone{whole(t, "example.com.", "www.example.com. A 192.0.2.1\n")})
	try(t, z, []row{
		{"nx.example.com.", dns.TypeA, found{Kind: "no such name", Owner: "example.com.", Miss: true}},
		{"below.www.example.com.", dns.TypeA, found{Kind: "no such name", Owner: "www.example.com.", Miss: true}},
		{"a.b.c.d.e.www.example.com.", dns.TypeA, found{Kind: "no such name", Owner: "www.example.com.", Miss: true}},
		{"a.b.c.d.e.example.com.", dns.TypeA, found{Kind: "no such name", Owner: "example.com.", Miss: true}},
	})
}

func TestNameOutsideAllZones(t *testing.T) {
	z := build(t, []config.Zone{whole(t, "example.com.", "")})
	try(t, z, []row{
		{"www.example.org.", dns.TypeA, found{Kind: "not ours", Zone: "none", Owner: ".", Miss: true}},
		{"com.", dns.TypeNS, found{Kind: "not ours", Zone: "none", Miss: true}},
		{".", dns.TypeNS, found{Kind: "not ours", Zone: "none", Miss: true}},
		{"notexample.com.", dns.TypeA, found{Kind: "not ours", Zone: "none", Owner: "com.", Miss: true}},
		{"example.com.example.org.", dns.TypeA, found{Kind: "not ours", Zone: "none", Owner: ".", Miss: true}},
	})
}

// RFC 8020; RFC 4592, section 2.2.2. Expressions may still match an empty non-terminal.
func TestEmptyNonTerminalExists(t *testing.T) {
	z := build(t, []config.Zone{whole(t, "example.com.", "a.b.c.example.com. A 192.0.2.1\n")})
	try(t, z, []row{
		{"b.c.example.com.", dns.TypeA, found{Kind: "no data", Miss: true}},
		{"c.example.com.", dns.TypeANY, found{Kind: "no data", Miss: true}},
		{"x.c.example.com.", dns.TypeA, found{Kind: "no such name", Owner: "c.example.com.", Miss: true}},
	})
}

// RFC 4592, section 2.2.1: its example, but for the parts that are about DNSSEC.
func TestWildcardExampleOfRFC4592(t *testing.T) {
	z := build(t, []config.Zone{{Name: "example.", Records: records(t, "example."+soaData+`
example. NS ns.example.com.
example. NS ns.example.net.
*.example. TXT "this is a wildcard"
*.example. MX 10 host1.example.
sub.*.example. TXT "this is not a wildcard"
host1.example. A 192.0.2.1
_ssh._tcp.host1.example. SRV 0 0 22 host1.example.
_ssh._tcp.host2.example. SRV 0 0 22 host1.example.
subdel.example. NS ns.example.com.
subdel.example. NS ns.example.net.
`)}})
	ns := []string{"subdel.example. NS ns.example.com.", "subdel.example. NS ns.example.net."}
	try(t, z, []row{
		{"host3.example.", dns.TypeMX, found{Kind: "positive", Zone: "example.", Owner: "example.", Wild: true,
			Data: []string{"*.example. MX 10 host1.example."}}},
		{"host3.example.", dns.TypeA, found{Kind: "no data", Zone: "example.", Owner: "example.", Wild: true}},
		{"foo.bar.example.", dns.TypeTXT, found{Kind: "positive", Zone: "example.", Owner: "example.", Wild: true,
			Data: []string{`*.example. TXT "this is a wildcard"`}}},
		{"host1.example.", dns.TypeMX, found{Kind: "no data", Zone: "example."}},
		{"sub.*.example.", dns.TypeMX, found{Kind: "no data", Zone: "example."}},
		{"_telnet._tcp.host1.example.", dns.TypeSRV,
			found{Kind: "no such name", Zone: "example.", Owner: "_tcp.host1.example.", Miss: true}},
		{"host.subdel.example.", dns.TypeA, found{Kind: "delegation", Zone: "example.", Owner: "subdel.example.",
			Data: ns}},
		{"ghost.*.example.", dns.TypeMX, found{Kind: "no such name", Zone: "example.", Owner: "*.example.",
			Miss: true}},
	})
}

// RFC 4592, section 3.3.1.
func TestClosestEncloserBlocksShallowerWildcard(t *testing.T) {
	z := build(t, []config.Zone{whole(t, "example.com.", `
*.example.com. A 192.0.2.1
host.example.com. TXT x
*.deep.example.com. A 192.0.2.2
`)})
	try(t, z, []row{
		{"any.example.com.", dns.TypeA, found{Kind: "positive", Owner: "example.com.", Wild: true,
			Data: []string{"*.example.com. A 192.0.2.1"}}},
		{"x.host.example.com.", dns.TypeA, found{Kind: "no such name", Owner: "host.example.com.", Miss: true}},
		{"host.example.com.", dns.TypeA, found{Kind: "no data"}},
		{"deep.example.com.", dns.TypeA, found{Kind: "no data", Miss: true}},
		{"x.deep.example.com.", dns.TypeA, found{Kind: "positive", Owner: "deep.example.com.", Wild: true,
			Data: []string{"*.deep.example.com. A 192.0.2.2"}}},
		{"x.y.deep.example.com.", dns.TypeA, found{Kind: "positive", Owner: "deep.example.com.", Wild: true,
			Data: []string{"*.deep.example.com. A 192.0.2.2"}}},
		{"*.example.com.", dns.TypeA, found{Kind: "positive", Data: []string{"*.example.com. A 192.0.2.1"}}},
		{"*.host.example.com.", dns.TypeA, found{Kind: "no such name", Owner: "host.example.com.", Miss: true}},
	})
}

func TestWildcardNoData(t *testing.T) {
	z := build(t, []config.Zone{whole(t, "example.com.",
		"*.example.com. A 192.0.2.1\nx.*.empty.example.com. A 192.0.2.1\n")})
	try(t, z, []row{
		{"any.example.com.", dns.TypeAAAA, found{Kind: "no data", Owner: "example.com.", Wild: true}},
		// The wildcard itself is an empty non-terminal.
		{"any.empty.example.com.", dns.TypeA, found{Kind: "no data", Owner: "empty.example.com.", Wild: true,
			Miss: true}},
	})
}

func TestCNAME(t *testing.T) {
	z := build(t, []config.Zone{whole(t, "example.com.", "alias.example.com. CNAME WWW.example.com.\n")})
	data := []string{"alias.example.com. CNAME WWW.example.com."}
	try(t, z, []row{
		{"alias.example.com.", dns.TypeA, found{Kind: "CNAME", Data: data}},
		{"alias.example.com.", dns.TypeMX, found{Kind: "CNAME", Data: data}},
		{"alias.example.com.", dns.TypeCNAME, found{Kind: "positive", Data: data}},
		// RFC 1034, section 3.6.2: ANY matches the CNAME itself.
		{"alias.example.com.", dns.TypeANY, found{Kind: "positive", Data: data}},
	})
	got := z.Lookup(wireName(t, "alias.example.com."), dns.TypeA).RRset.Target
	if want := "\x03www\x07example\x03com\x00"; string(got) != want {
		t.Errorf("target is %q, want %q", got, want)
	}
}

// RFC 4592, section 4.3.
func TestCNAMEByWildcard(t *testing.T) {
	z := build(t, []config.Zone{whole(t, "example.com.",
		"*.example.com. CNAME www.example.com.\nwww.example.com. A 192.0.2.1\n")})
	data := []string{"*.example.com. CNAME www.example.com."}
	try(t, z, []row{
		{"x.example.com.", dns.TypeA, found{Kind: "CNAME", Owner: "example.com.", Wild: true, Data: data}},
		{"x.example.com.", dns.TypeCNAME, found{Kind: "positive", Owner: "example.com.", Wild: true, Data: data}},
	})
}

// RFC 6672, sections 2.2 to 2.4: a DNAME redirects what is below it, not itself, and nothing below it is found.
func TestDNAME(t *testing.T) {
	z := build(t, []config.Zone{whole(t, "example.com.", `
old.example.com. DNAME new.example.net.
old.example.com. TXT x
www.old.example.com. A 192.0.2.1
*.old.example.com. A 192.0.2.1
`)})
	data := []string{"old.example.com. DNAME new.example.net."}
	try(t, z, []row{
		{"www.old.example.com.", dns.TypeA, found{Kind: "DNAME", Owner: "old.example.com.", Data: data}},
		{"a.b.old.example.com.", dns.TypeDNAME, found{Kind: "DNAME", Owner: "old.example.com.", Data: data}},
		{"old.example.com.", dns.TypeA, found{Kind: "no data"}},
		{"old.example.com.", dns.TypeTXT, found{Kind: "positive", Data: []string{`old.example.com. TXT "x"`}}},
		{"old.example.com.", dns.TypeDNAME, found{Kind: "positive", Data: data}},
	})
	got := z.Lookup(wireName(t, "www.old.example.com."), dns.TypeA).RRset.Target
	if want := "\x03new\x07example\x03net\x00"; string(got) != want {
		t.Errorf("target is %q, want %q", got, want)
	}
}

func TestDNAMEAtTheApex(t *testing.T) {
	z := build(t, []config.Zone{whole(t, "example.com.", "example.com. DNAME example.net.\n")})
	data := []string{"example.com. DNAME example.net."}
	try(t, z, []row{
		{"www.example.com.", dns.TypeA, found{Kind: "DNAME", Owner: "example.com.", Data: data}},
		{"example.com.", dns.TypeA, found{Kind: "no data"}},
	})
}

// RFC 1034, section 4.3.2, step 3b; RFC 2181, section 6.1.
func TestDelegationOccludesWhatIsBelow(t *testing.T) {
	z := build(t, []config.Zone{whole(t, "example.com.", `
sub.example.com. NS ns.sub.example.com.
sub.example.com. TXT x
ns.sub.example.com. A 192.0.2.1
cut.sub.example.com. NS ns.elsewhere.net.
*.example.com. A 192.0.2.9
`)}, Balanced{Name: "www.sub.example.com.", Set: 7})
	want := found{Kind: "delegation", Owner: "sub.example.com.",
		Data: []string{"sub.example.com. NS ns.sub.example.com."}}
	try(t, z, []row{
		{"sub.example.com.", dns.TypeNS, want},
		{"sub.example.com.", dns.TypeTXT, want},
		{"sub.example.com.", dns.TypeANY, want},
		{"ns.sub.example.com.", dns.TypeA, want},
		{"x.cut.sub.example.com.", dns.TypeA, want},
		{"nx.sub.example.com.", dns.TypeA, want},
		{"www.sub.example.com.", dns.TypeA, want},
		{"x.sub.example.com.", dns.TypeDS, want},
	})
}

// RFC 9471: all glue there is, and that of in-domain name servers is not left out.
func TestGlue(t *testing.T) {
	z := build(t, []config.Zone{whole(t, "example.com.", `
sub.example.com. NS ns.other.example.com.
sub.example.com. NS ns1.sub.example.com.
sub.example.com. NS ns2.sub.example.com.
sub.example.com. NS ns.example.net.
ns1.sub.example.com. A 192.0.2.1
ns1.sub.example.com. AAAA 2001:db8::1
ns1.sub.example.com. TXT x
ns2.sub.example.com. A 192.0.2.2
other.example.com. NS ns.other.example.com.
ns.other.example.com. A 192.0.2.3
`)})
	set := z.Lookup(wireName(t, "www.sub.example.com."), dns.TypeA).RRset
	var got []string
	for _, rr := range set.Glue {
		got = append(got, strings.ReplaceAll(rr.String(), "\t", " "))
	}
	want := []string{
		"ns1.sub.example.com. 300 IN A 192.0.2.1",
		"ns1.sub.example.com. 300 IN AAAA 2001:db8::1",
		"ns2.sub.example.com. 300 IN A 192.0.2.2",
		"ns.other.example.com. 300 IN A 192.0.2.3",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("glue (-want +got)\n%s", diff)
	}
	if set.GlueRequired != 3 {
		t.Errorf("%d glue records are required, want 3", set.GlueRequired)
	}
	if set.Tail != nil {
		t.Error("the NS set of a cut has the tail of an answer")
	}
}

// RFC 4035, section 3.1.4.1: DS is the parent's.
func TestDSAtACut(t *testing.T) {
	z := build(t, []config.Zone{whole(t, "example.com.", `
signed.example.com. NS ns.example.net.
signed.example.com. DS 1 13 2 E2D3C916F6DEEAC73294E8268FB5885044A833FC5459588F4A9184CFC41A5766
plain.example.com. NS ns.example.net.
`)})
	try(t, z, []row{
		{"signed.example.com.", dns.TypeDS, found{Kind: "positive", Data: []string{
			"signed.example.com. DS 1 13 2 E2D3C916F6DEEAC73294E8268FB5885044A833FC5459588F4A9184CFC41A5766"}}},
		{"plain.example.com.", dns.TypeDS, found{Kind: "no data"}},
		{"plain.example.com.", dns.TypeDNSKEY,
			found{Kind: "delegation", Data: []string{"plain.example.com. NS ns.example.net."}}},
	})
}

// A zone that is here answers for itself, whatever its parent, which is here too, says of it; but for DS.
func TestChildZoneBeatsItsParent(t *testing.T) {
	parent := whole(t, "example.com.", `
sub.example.com. NS ns.example.net.
sub.example.com. DS 1 13 2 E2D3C916F6DEEAC73294E8268FB5885044A833FC5459588F4A9184CFC41A5766
sub.example.com. TXT parent
www.sub.example.com. A 192.0.2.1
*.example.com. A 192.0.2.9
`)
	child := whole(t, "sub.example.com.",
		"sub.example.com. NS ns.sub.example.com.\nmail.sub.example.com. A 192.0.2.2\n")
	rows := []row{
		{"sub.example.com.", dns.TypeNS, found{Kind: "positive", Zone: "sub.example.com.",
			Data: []string{"sub.example.com. NS ns.sub.example.com."}}},
		{"sub.example.com.", dns.TypeTXT, found{Kind: "no data", Zone: "sub.example.com."}},
		{"www.sub.example.com.", dns.TypeA, found{Kind: "no such name", Zone: "sub.example.com.",
			Owner: "sub.example.com.", Miss: true}},
		{"mail.sub.example.com.", dns.TypeA, found{Kind: "positive", Zone: "sub.example.com.",
			Data: []string{"mail.sub.example.com. A 192.0.2.2"}}},
		{"sub.example.com.", dns.TypeDS, found{Kind: "positive", Data: []string{
			"sub.example.com. DS 1 13 2 E2D3C916F6DEEAC73294E8268FB5885044A833FC5459588F4A9184CFC41A5766"}}},
		{"mail.sub.example.com.", dns.TypeDS, found{Kind: "no data", Zone: "sub.example.com."}},
		{"other.example.com.", dns.TypeA, found{Kind: "positive", Owner: "example.com.", Wild: true,
			Data: []string{"*.example.com. A 192.0.2.9"}}},
	}
	t.Run("child first", func(t *testing.T) { try(t, build(t, []config.Zone{child, parent}), rows) })
	t.Run("parent first", func(t *testing.T) { try(t, build(t, []config.Zone{parent, child}), rows) })
}

func TestChildZoneThatItsParentDoesNotDelegate(t *testing.T) {
	z := build(t, []config.Zone{whole(t, "example.com.", ""), whole(t, "a.b.example.com.", "")})
	try(t, z, []row{
		{"b.example.com.", dns.TypeA, found{Kind: "no data", Miss: true}},
		{"a.b.example.com.", dns.TypeDS, found{Kind: "no data"}},
		{"a.b.example.com.", dns.TypeA, found{Kind: "no data", Zone: "a.b.example.com."}},
	})
}

func TestDSOfAZoneWithoutItsParent(t *testing.T) {
	rows := []row{{"example.com.", dns.TypeDS, found{Kind: "no data"}}}
	zone := whole(t, "example.com.", "")
	t.Run("alone", func(t *testing.T) { try(t, build(t, []config.Zone{zone}), rows) })
	t.Run("parent is partial", func(t *testing.T) {
		try(t, build(t, []config.Zone{zone, partial("com.", config.NoMatchForward)}), rows)
	})
	t.Run("a cut is between", func(t *testing.T) {
		try(t, build(t, []config.Zone{zone, whole(t, ".", "com. NS ns.example.net.\n")}), rows)
	})
}

// Names between a cut and the apex of a zone of ours are below the cut, though they have nodes.
func TestCutAboveAZoneOfOurs(t *testing.T) {
	z := build(t, []config.Zone{
		whole(t, ".", "com. NS ns.example.net.\nold. DNAME new.\n"),
		whole(t, "a.b.example.com.", ""),
		whole(t, "a.b.old.", ""),
	})
	cut := found{Kind: "delegation", Zone: ".", Owner: "com.", Data: []string{"com. NS ns.example.net."}}
	dname := found{Kind: "DNAME", Zone: ".", Owner: "old.", Data: []string{"old. DNAME new."}}
	try(t, z, []row{
		{"example.com.", dns.TypeA, cut},
		{"example.com.", dns.TypeDS, cut},
		{"x.b.example.com.", dns.TypeA, cut},
		{"a.b.example.com.", dns.TypeA, found{Kind: "no data", Zone: "a.b.example.com."}},
		{"b.old.", dns.TypeA, dname},
		{"x.b.old.", dns.TypeA, dname},
		{"x.a.b.old.", dns.TypeA, found{Kind: "no such name", Zone: "a.b.old.", Owner: "a.b.old.", Miss: true}},
	})
}

// RFC 8482, section 4.1: one RRset, the smallest.
func TestANYIsMinimal(t *testing.T) {
	z := build(t, []config.Zone{whole(t, "example.com.", `
www.example.com. TXT "a text that is longer than an address"
www.example.com. AAAA 2001:db8::1
www.example.com. MX 10 mail.example.com.
both.example.com. TXT x
`)}, Balanced{Name: "both.example.com.", Set: 1}, Balanced{Name: "rules.example.com.", Set: 2})
	try(t, z, []row{
		{"www.example.com.", dns.TypeANY, found{Kind: "positive", Data: []string{"www.example.com. AAAA 2001:db8::1"}}},
		{"both.example.com.", dns.TypeANY,
			found{Kind: "positive", Set: 1, Data: []string{`both.example.com. TXT "x"`}}},
		{"rules.example.com.", dns.TypeANY, found{Kind: "by rules", Set: 2}},
	})
}

func TestBalancedNamesAreNodes(t *testing.T) {
	z := build(t, []config.Zone{whole(t, "example.com.", `
*.example.com. A 192.0.2.1
www.example.com. HTTPS 1 . alpn=h2
`)},
		Balanced{Name: "www.example.com.", Set: 0},
		Balanced{Name: "a.b.example.com.", Set: 1},
		Balanced{Name: "alias.example.com.", Set: 2, CNAME: true},
		Balanced{Name: "example.com.", Set: 3},
	)
	try(t, z, []row{
		{"www.example.com.", dns.TypeA, found{Kind: "by rules", Set: 0}},
		{"www.example.com.", dns.TypeAAAA, found{Kind: "by rules", Set: 0}},
		{"a.b.example.com.", dns.TypeMX, found{Kind: "no data", Set: 1}},
		{"b.example.com.", dns.TypeA, found{Kind: "no data", Miss: true}},
		{"x.b.example.com.", dns.TypeA, found{Kind: "no such name", Owner: "b.example.com.", Miss: true}},
		{"x.www.example.com.", dns.TypeA, found{Kind: "no such name", Owner: "www.example.com.", Miss: true}},
		{"alias.example.com.", dns.TypeMX, found{Kind: "by rules", Set: 2}},
		{"alias.example.com.", dns.TypeANY, found{Kind: "by rules", Set: 2}},
		{"example.com.", dns.TypeA, found{Kind: "by rules", Set: 3}},
		{"example.com.", dns.TypeSOA, found{Kind: "positive", Set: 3, Data: []string{
			"example.com. SOA ns1.example.com. hostmaster.example.com. 1 7200 3600 1209600 300"}}},
	})
	// Records beside the rules are for clients whom no rule has.
	beside := build(t, []config.Zone{whole(t, "example.com.",
		"www.example.com. A 192.0.2.1\nalias.example.com. CNAME www.example.com.\n")},
		Balanced{Name: "www.example.com.", Set: 1}, Balanced{Name: "alias.example.com.", Set: 2})
	try(t, beside, []row{
		{"www.example.com.", dns.TypeA,
			found{Kind: "by rules", Set: 1, Data: []string{"www.example.com. A 192.0.2.1"}}},
		{"www.example.com.", dns.TypeAAAA, found{Kind: "by rules", Set: 1}},
		{"alias.example.com.", dns.TypeA,
			found{Kind: "by rules", Set: 2, Data: []string{"alias.example.com. CNAME www.example.com."}}},
		{"alias.example.com.", dns.TypeTXT,
			found{Kind: "CNAME", Set: 2, Data: []string{"alias.example.com. CNAME www.example.com."}}},
	})
	r := z.Lookup(wireName(t, "www.example.com."), dns.TypeHTTPS)
	if r.Kind != Positive || r.Set != 0 {
		t.Errorf("HTTPS of a balanced name: %v of set %d, want positive of set 0", r.Kind, r.Set)
	}
}

func TestBalancedWildcards(t *testing.T) {
	z := build(t, []config.Zone{whole(t, "example.com.", "host.example.com. TXT x\n")},
		Balanced{Name: "*.example.com.", Set: 4},
		Balanced{Name: "*.apps.example.com.", Set: 5, CNAME: true},
	)
	try(t, z, []row{
		{"any.example.com.", dns.TypeA, found{Kind: "by rules", Set: 4, Owner: "example.com.", Wild: true}},
		{"a.b.example.com.", dns.TypeAAAA, found{Kind: "by rules", Set: 4, Owner: "example.com.", Wild: true}},
		{"any.example.com.", dns.TypeMX, found{Kind: "no data", Set: 4, Owner: "example.com.", Wild: true}},
		{"*.example.com.", dns.TypeA, found{Kind: "by rules", Set: 4}},
		{"x.host.example.com.", dns.TypeA, found{Kind: "no such name", Owner: "host.example.com.", Miss: true}},
		{"x.apps.example.com.", dns.TypeMX, found{Kind: "by rules", Set: 5, Owner: "apps.example.com.", Wild: true}},
		{"apps.example.com.", dns.TypeA, found{Kind: "no data", Miss: true}},
	})
}

func TestBalancedNamesOutsideAllZones(t *testing.T) {
	z := build(t, nil, Balanced{Name: "www.example.com.", Set: 0}, Balanced{Name: "*.example.org.", Set: 1},
		Balanced{Name: "a.b.example.org.", Set: 2})
	try(t, z, []row{
		{"www.example.com.", dns.TypeA, found{Kind: "by rules", Zone: "none", Set: 0}},
		{"example.com.", dns.TypeA, found{Kind: "not ours", Zone: "none", Miss: true}},
		{"x.example.com.", dns.TypeA, found{Kind: "not ours", Zone: "none", Owner: "example.com.", Miss: true}},
		{"x.www.example.com.", dns.TypeA, found{Kind: "not ours", Zone: "none", Owner: "www.example.com.", Miss: true}},
		{"x.example.org.", dns.TypeA, found{Kind: "by rules", Zone: "none", Set: 1, Owner: "example.org.", Wild: true}},
		{"x.b.example.org.", dns.TypeA, found{Kind: "not ours", Zone: "none", Owner: "b.example.org.", Miss: true}},
	})
	if got := z.Lookup(wireName(t, "www.example.com."), dns.TypeMX); got.Kind != NoData || got.Set != 0 ||
		got.Zone != nil {
		t.Errorf("MX of a balanced name outside all zones: %+v", got)
	}
}

// Of a partial zone only the names that rules balance are here; NoMatch says what the others are.
func TestPartialZone(t *testing.T) {
	for _, x := range []struct {
		noMatch      config.NoMatch
		none, parent string // a name that nothing covers; an ancestor of a balanced name
	}{
		{config.NoMatchDefault, "not ours", "not ours"},
		{config.NoMatchRefused, "not ours", "not ours"},
		{config.NoMatchForward, "not ours", "not ours"},
		{config.NoMatchNXDomain, "no such name", "no data"},
	} {
		z := build(t, []config.Zone{partial("example.com.", x.noMatch)}, Balanced{Name: "a.b.example.com.", Set: 1},
			Balanced{Name: "*.wild.example.com.", Set: 2})
		try(t, z, []row{
			{"a.b.example.com.", dns.TypeA, found{Kind: "by rules", Set: 1}},
			{"a.b.example.com.", dns.TypeTXT, found{Kind: "no data", Set: 1}},
			{"x.wild.example.com.", dns.TypeA, found{Kind: "by rules", Set: 2, Owner: "wild.example.com.", Wild: true}},
			{"b.example.com.", dns.TypeA, found{Kind: x.parent, Miss: true}},
			{"example.com.", dns.TypeSOA, found{Kind: x.parent, Miss: true}},
			{"nx.example.com.", dns.TypeA, found{Kind: x.none, Owner: "example.com.", Miss: true}},
		})
		if r := z.Lookup(wireName(t, "nx.example.com."), dns.TypeA); r.Zone.NoMatch != x.noMatch || r.Zone.Whole ||
			r.Zone.SOA != nil || r.Zone.Negative != nil {
			t.Errorf("zone is %+v", r.Zone)
		}
	}
}

func TestNoMatchOfAWholeZone(t *testing.T) {
	zone := whole(t, "example.com.", "a.b.example.com. A 192.0.2.1\n")
	zone.NoMatch = config.NoMatchForward
	zone.Forward = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")}
	z := build(t, []config.Zone{zone})
	try(t, z, []row{
		{"nx.example.com.", dns.TypeA, found{Kind: "not ours", Owner: "example.com.", Miss: true}},
		{"b.example.com.", dns.TypeA, found{Kind: "no data", Miss: true}},
	})
	if got := z.Lookup(wireName(t, "nx.example.com."), dns.TypeA).Zone.Forward; !cmp.Equal(got, zone.Forward,
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })) {
		t.Errorf("forwards to %v, want %v", got, zone.Forward)
	}
}

// Miss says when expressions come next: after names, empty non-terminals included, and wildcards have failed.
func TestMiss(t *testing.T) {
	z := build(t, []config.Zone{whole(t, "example.com.", `
a.b.example.com. A 192.0.2.1
*.wild.example.com. A 192.0.2.1
cut.example.com. NS ns.example.net.
old.example.com. DNAME example.net.
`)}, Balanced{Name: "www.example.com.", Set: 1})
	for _, x := range []struct {
		name string
		want bool
	}{
		{"nx.example.com.", true},
		{"b.example.com.", true},
		{"wild.example.com.", true},
		{"elsewhere.net.", true},
		{"a.b.example.com.", false},
		{"example.com.", false},
		{"x.wild.example.com.", false},
		{"cut.example.com.", false},
		{"x.cut.example.com.", false},
		{"x.old.example.com.", false},
		{"www.example.com.", false},
	} {
		if got := z.Lookup(wireName(t, x.name), dns.TypeA).Miss; got != x.want {
			t.Errorf("Miss of %s is %v, want %v", x.name, got, x.want)
		}
	}
}

func TestApex(t *testing.T) {
	z := build(t, []config.Zone{whole(t, "example.com.",
		"example.com. NS ns1.example.com.\nexample.com. MX 10 mail.example.com.\n")})
	try(t, z, []row{
		{"example.com.", dns.TypeNS, found{Kind: "positive", Data: []string{"example.com. NS ns1.example.com."}}},
		{"example.com.", dns.TypeMX, found{Kind: "positive", Data: []string{"example.com. MX 10 mail.example.com."}}},
	})
	zone := z.All()[0]
	if zone.NegativeTTL != 300 || zone.NegativeSOA.Hdr.Ttl != 300 {
		t.Errorf("negative TTL is %d, of the SOA %d, want 300", zone.NegativeTTL, zone.NegativeSOA.Hdr.Ttl)
	}
	if zone.SOA.TTL != 3600 || zone.SOA.RRs[0].Header().Ttl != 3600 {
		t.Errorf("SOA's TTL is %d, want 3600", zone.SOA.TTL)
	}
}

// RFC 2308, section 5.
func TestNegativeTTLIsNotAboveTheSOAs(t *testing.T) {
	z := build(t, []config.Zone{{Name: "example.com.",
		Records: records(t, "example.com. 60 SOA ns. host. 1 2 3 4 300")}})
	if got := z.All()[0].NegativeTTL; got != 60 {
		t.Errorf("negative TTL is %d, want 60", got)
	}
}

func TestRootZone(t *testing.T) {
	z := build(t, []config.Zone{whole(t, ".", ". NS a.root.\ncom. NS ns.com.\nns.com. A 192.0.2.1\n*. TXT wild\n")})
	try(t, z, []row{
		{".", dns.TypeNS, found{Kind: "positive", Zone: ".", Data: []string{". NS a.root."}}},
		{".", dns.TypeDS, found{Kind: "no data", Zone: "."}},
		{"x.com.", dns.TypeA, found{Kind: "delegation", Zone: ".", Owner: "com.", Data: []string{"com. NS ns.com."}}},
		{"x.org.", dns.TypeTXT, found{Kind: "positive", Zone: ".", Owner: ".", Wild: true,
			Data: []string{`*. TXT "wild"`}}},
		{"org.", dns.TypeA, found{Kind: "no data", Zone: ".", Owner: ".", Wild: true}},
	})
}

// The wildcard label is an asterisk alone, and a label may hold any byte.
func TestLabelsOfAnyBytes(t *testing.T) {
	z := build(t, []config.Zone{whole(t, "example.com.", `
\000\255.example.com. A 192.0.2.1
a\.b.example.com. A 192.0.2.2
\065lias.example.com. A 192.0.2.3
*x.star.example.com. A 192.0.2.4
`)})
	try(t, z, []row{
		{`\000\255.example.com.`, dns.TypeA,
			found{Kind: "positive", Data: []string{`\000\255.example.com. A 192.0.2.1`}}},
		{`a\.b.example.com.`, dns.TypeA, found{Kind: "positive", Data: []string{`a\.b.example.com. A 192.0.2.2`}}},
		{`b.example.com.`, dns.TypeA, found{Kind: "no such name", Owner: "example.com.", Miss: true}},
		{`alias.example.com.`, dns.TypeA, found{Kind: "positive", Data: []string{`alias.example.com. A 192.0.2.3`}}},
		{`yx.star.example.com.`, dns.TypeA, found{Kind: "no such name", Owner: "star.example.com.", Miss: true}},
	})
}

func TestNamesOfMaximalLength(t *testing.T) {
	deep := strings.Repeat("a.", 121) + "example.com." // 127 labels less 4: 242 + 13 bytes
	long := strings.Repeat(strings.Repeat("b", 63)+".", 3) + strings.Repeat("c", 49) + ".example.com."
	for _, name := range []string{deep, long} {
		if n := len(wireName(t, name)); n != maxName {
			t.Fatalf("%s has %d bytes, want %d", name, n, maxName)
		}
	}
	empty := build(t, []config.Zone{whole(t, "example.com.", "")})
	wild := build(t, []config.Zone{whole(t, "example.com.", "*.example.com. A 192.0.2.1\n")})
	exact := build(t, []config.Zone{whole(t, "example.com.", "")}, Balanced{Name: deep, Set: 1},
		Balanced{Name: long, Set: 2})
	for _, name := range []string{deep, long} {
		wire := wireName(t, name)
		if got := empty.Lookup(wire, dns.TypeA); got.Kind != NXDomain ||
			int(got.Owner) != maxName-len("\x07example\x03com\x00") {
			t.Errorf("%s: %+v", name, got)
		}
		if got := wild.Lookup(wire, dns.TypeA); got.Kind != Positive || !got.Wildcard {
			t.Errorf("%s, wildcard: %+v", name, got)
		}
		if got := exact.Lookup(wire, dns.TypeA); got.Kind != ByRules {
			t.Errorf("%s, balanced: %+v", name, got)
		}
	}
	// Each ancestor of the deep name is one that exists, and the closest encloser of its own neighbour.
	for name := parent(string(wireName(t, deep))); len(name) > len("\x07example\x03com\x00"); name = parent(name) {
		if got := exact.Lookup([]byte(name), dns.TypeA); got.Kind != NoData || !got.Miss {
			t.Fatalf("%q: %+v", name, got)
		}
		if got := exact.Lookup([]byte("\x01z"+name), dns.TypeA); got.Kind != NXDomain || got.Owner != 2 {
			t.Fatalf("neighbour above %q: %+v", name, got)
		}
	}
}

// Letters compare in lower case: the caller turns them so, and names of the configuration are.
func TestCaseOfConfiguredNames(t *testing.T) {
	z := build(t, []config.Zone{{Name: "Example.COM.",
		Records: records(t, "Example.com."+soaData+"WWW.example.COM. A 192.0.2.1\n")}},
		Balanced{Name: "Bal.example.com.", Set: 1})
	if got := z.Lookup(wireName(t, "wWw.EXAMPLE.com."), dns.TypeA); got.Kind != Positive ||
		got.RRset.RRs[0].Header().Name != "www.example.com." {
		t.Errorf("www: %+v", got)
	}
	if got := z.Lookup(wireName(t, "BAL.example.com."), dns.TypeA); got.Kind != ByRules {
		t.Errorf("bal: %+v", got)
	}
}

// RFC 2181, section 5.2.
func TestTTLOfAnRRsetIsOne(t *testing.T) {
	given := records(t, "example.com."+soaData+"w.example.com. 300 A 192.0.2.1\nw.example.com. 60 A 192.0.2.2\n"+
		"w.example.com. 90 A 192.0.2.3\n")
	z := build(t, []config.Zone{{Name: "example.com.", Records: given}})
	set := z.Lookup(wireName(t, "w.example.com."), dns.TypeA).RRset
	if set.TTL != 60 || set.Count != 3 {
		t.Errorf("TTL is %d of %d records, want 60 of 3", set.TTL, set.Count)
	}
	for _, rr := range set.RRs {
		if rr.Header().Ttl != 60 {
			t.Errorf("TTL is not 60: %v", rr)
		}
	}
	if given[1].Header().Ttl != 300 {
		t.Error("records of the caller were modified")
	}
}

func TestBuildRefuses(t *testing.T) {
	for _, x := range []struct {
		name     string
		zones    []config.Zone
		balanced []Balanced
		want     string
	}{
		{"zone twice", []config.Zone{whole(t, "example.com.", ""), whole(t, "EXAMPLE.com.", "")}, nil,
			"zone EXAMPLE.com.: is there twice"},
		{"record outside", []config.Zone{whole(t, "example.com.", "www.example.org. A 192.0.2.1\n")}, nil,
			"zone example.com.: record of www.example.org.: is outside"},
		{"no SOA", []config.Zone{{Name: "example.com."}}, nil, "zone example.com.: has no SOA"},
		{"balanced twice", nil, []Balanced{{Name: "a.example.com.", Set: 1}, {Name: "A.example.com.", Set: 2}},
			"balanced name A.example.com.: is there twice"},
		{"relative name", nil, []Balanced{{Name: "a"}}, `name "a": dns: domain must be fully qualified`},
		{"long name", nil, []Balanced{{Name: strings.Repeat("abc.", 64)}},
			`name "` + strings.Repeat("abc.", 64) + `": has 257 bytes in wire format, must be 1..255`},
	} {
		t.Run(x.name, func(t *testing.T) {
			_, err := Build(x.zones, x.balanced)
			if err == nil || err.Error() != x.want {
				t.Errorf("error is %v, want %s", err, x.want)
			}
		})
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	z := build(t, []config.Zone{whole(t, "example.com.",
		"www.example.com. A 192.0.2.1\n*.wild.example.com. A 192.0.2.1\ncut.example.com. NS ns.example.net.\n")},
		Balanced{Name: "bal.example.com.", Set: 1})
	dst := make([]byte, 0, 512)
	for _, name := range []string{"www.example.com.", "x.wild.example.com.", "x.cut.example.com.", "bal.example.com.",
		"a.b.c.example.com.", "example.org.", "."} {
		wire := wireName(t, name)
		if n := testing.AllocsPerRun(100, func() { z.Lookup(wire, dns.TypeA) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	wire := wireName(t, "a.b.example.com.")
	if n := testing.AllocsPerRun(100, func() { z.All()[0].AppendNegative(dst, wire) }); n != 0 {
		t.Errorf("AppendNegative: %v allocations", n)
	}
}

func TestLost(t *testing.T) {
	before := build(t, []config.Zone{whole(t, "example.com.",
		"a.example.com. A 192.0.2.1\nx.y.example.com. A 192.0.2.1\n"), partial("example.net.", config.NoMatchRefused)},
		Balanced{Name: "www.example.net."}, Balanced{Name: "a.example.com."})
	for _, tt := range []struct {
		name  string
		after *Zones
		want  []string
	}{
		{"nothing", before, nil},
		{"records for rules", build(t,
			[]config.Zone{whole(t, "example.com.", "x.y.example.com. A 192.0.2.1\nnew.example.com. A 192.0.2.1\n"),
				partial("example.net.", config.NoMatchRefused)},
			Balanced{Name: "www.example.net."}, Balanced{Name: "a.example.com."}), nil},
		{"a zone", build(t, []config.Zone{whole(t, "example.com.",
			"a.example.com. A 192.0.2.1\nx.y.example.com. A 192.0.2.1\n")}),
			[]string{"example.net.", "www.example.net."}},
		{"a name that is above others",
			build(t, []config.Zone{whole(t, "example.com.",
				"b.a.example.com. A 192.0.2.1\nz.x.y.example.com. A 192.0.2.1\n"),
				partial("example.net.", config.NoMatchRefused)},
				Balanced{Name: "www.example.net."}), []string{"a.example.com.", "x.y.example.com."}},
	} {
		lost, all := before.Lost(tt.after)
		slices.Sort(lost)
		if diff := cmp.Diff(tt.want, lost); diff != "" || all != 5 {
			t.Errorf("%s: of %d (-want +got):\n%s", tt.name, all, diff)
		}
	}
}
