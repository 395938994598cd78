package responder

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

func TestRecordTypes(t *testing.T) {
	r := newRig(t)
	for _, test := range []struct {
		name  string
		qtype uint16
		want  []string
	}{
		{"a.example.com.", dns.TypeA, []string{"A 192.0.2.10"}},
		{"ns1.example.com.", dns.TypeAAAA, []string{"AAAA 2001:db8::1"}},
		{"multi.example.com.", dns.TypeA, []string{"A 192.0.2.12", "A 192.0.2.13"}},
		{"example.com.", dns.TypeSOA,
			[]string{"SOA ns1.example.com. hostmaster.example.com. 2026010101 7200 3600 1209600 300"}},
		{"example.com.", dns.TypeNS, []string{"NS ns1.example.com.", "NS ns2.example.com."}},
		{"example.com.", dns.TypeMX, []string{"MX 10 mail.example.com.", "MX 20 mail2.example.com."}},
		{"example.com.", dns.TypeTXT, []string{`TXT "v=spf1 -all"`}},
		{"example.com.", dns.TypeCAA, []string{`CAA 0 issue "ca.example.net"`}},
		{"_sip._tcp.example.com.", dns.TypeSRV, []string{"SRV 10 60 5060 mail.example.com."}},
		{"ptr.example.com.", dns.TypePTR, []string{"PTR a.example.com."}},
		{"alias.example.com.", dns.TypeCNAME, []string{"CNAME a.example.com."}},
		{"tree.example.com.", dns.TypeDNAME, []string{"DNAME target.example.com."}},
		{"nohint.example.com.", dns.TypeHTTPS, []string{`HTTPS 1 www.example.com. alpn="h2"`}},
		{"www.example.com.", dns.TypeTXT, []string{`TXT "beside the rules"`}},
	} {
		t.Run(test.name+" "+dns.TypeToString[test.qtype], func(t *testing.T) {
			r := *r
			r.t = t
			want := []string{"NOERROR aa"}
			for _, rr := range test.want {
				want = append(want, "answer "+test.name+" 3600 IN "+rr)
			}
			r.want(r.ask(test.name, test.qtype), want...)
		})
	}
}

func TestRFC3597UnknownTypes(t *testing.T) {
	r := newRig(t)
	r.want(r.ask("unknown.example.com.", 65280), "NOERROR aa",
		`answer unknown.example.com. 3600 CLASS1 TYPE65280 \# 4 0a000001`)
	r.want(r.ask("a.example.com.", 65280), "NOERROR aa", negativeSOA)
	r.want(r.ask("nowhere.example.com.", 65280), "NXDOMAIN aa", negativeSOA)
	r.want(r.ask("www.example.com.", 65280), "NOERROR aa", negativeSOA) // rules answer addresses
}

func TestRFC1034CNAMEIsChased(t *testing.T) {
	r := newRig(t)
	const a = "answer a.example.com. 3600 IN A 192.0.2.10"
	for _, test := range []struct {
		name string
		want []string
	}{
		{"alias", []string{"NOERROR aa", "answer alias.example.com. 3600 IN CNAME a.example.com.", a}},
		{"alias2", []string{"NOERROR aa", "answer alias2.example.com. 3600 IN CNAME alias.example.com.",
			"answer alias.example.com. 3600 IN CNAME a.example.com.", a}},
		// Into another of our zones, into rules, and out of all that is ours.
		{"toother", []string{"NOERROR aa", "answer toother.example.com. 3600 IN CNAME host.example.org.",
			"answer host.example.org. 600 IN A 198.51.100.1"}},
		{"torule", []string{"NOERROR aa", "answer torule.example.com. 3600 IN CNAME www.example.com.",
			"answer www.example.com. 30 IN A 203.0.113.10"}},
		{"toforeign", []string{"NOERROR aa", "answer toforeign.example.com. 3600 IN CNAME host.foreign.test."}},
		// What cannot be said of the target is left to the client.
		{"torefused", []string{"NOERROR aa", "answer torefused.example.com. 3600 IN CNAME refused.example.com."}},
		{"toforward", []string{"NOERROR aa", "answer toforward.example.com. 3600 IN CNAME forwarded.example.com."}},
		// A delegation below: AA is about the first name.
		{"tosub", []string{"NOERROR aa", "answer tosub.example.com. 3600 IN CNAME host.sub.example.com.",
			"authority sub.example.com. 3600 IN NS ns.sub.example.com.",
			"authority sub.example.com. 3600 IN NS ns.other.test.",
			"additional ns.sub.example.com. 3600 IN A 192.0.2.60",
			"additional ns.sub.example.com. 3600 IN AAAA 2001:db8::60"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := *r
			r.t = t
			r.want(r.ask(test.name+".example.com.", dns.TypeA), test.want...)
		})
	}
}

func TestCNAMEByRules(t *testing.T) {
	r := newRig(t)
	const cname = "answer named.example.com. 30 IN CNAME a.example.com."
	r.want(r.ask("named.example.com.", dns.TypeA), "NOERROR aa", cname, "answer a.example.com. 3600 IN A 192.0.2.10")
	r.want(r.ask("named.example.com.", dns.TypeCNAME), "NOERROR aa", cname)
	r.want(r.ask("named.example.com.", dns.TypeMX), "NOERROR aa", cname, negativeSOA)
}

func TestCNAMELoopsAreBounded(t *testing.T) {
	r := newRig(t)
	r.want(r.ask("self.example.com.", dns.TypeA), "NOERROR aa",
		"answer self.example.com. 3600 IN CNAME self.example.com.")
	r.want(r.ask("loop1.example.com.", dns.TypeA), "NOERROR aa",
		"answer loop1.example.com. 3600 IN CNAME loop2.example.com.",
		"answer loop2.example.com. 3600 IN CNAME loop1.example.com.")

	var chain strings.Builder
	chain.WriteString("chain.test. 60 IN SOA a.chain.test. b.chain.test. 1 1 1 1 1\n")
	for i := range 30 {
		fmt.Fprintf(&chain, "c%d.chain.test. 60 IN CNAME c%d.chain.test.\n", i, i+1)
	}
	chain.WriteString("c30.chain.test. 60 IN A 192.0.2.1\n")
	r = newRig(t, withZone(t, "chain.test.", chain.String()))
	if got := r.ask("c0.chain.test.", dns.TypeA).Answer; len(got) != maxHops+1 {
		t.Errorf("%d records of a long chain, want %d", len(got), maxHops+1)
	}
	want := []string{"answer c22.chain.test. 60 IN CNAME c23.chain.test.", "answer c30.chain.test. 60 IN A 192.0.2.1"}
	got := show(r.ask("c22.chain.test.", dns.TypeA))
	if d := cmp.Diff(want, []string{got[1], got[len(got)-1]}); d != "" || len(got) != 10 {
		t.Errorf("chain of %d (-want +got):\n%s", maxHops, d)
	}
}

func TestRFC6672DNAME(t *testing.T) {
	r := newRig(t)
	const dname = "answer tree.example.com. 3600 IN DNAME target.example.com."
	r.want(r.ask("x.tree.example.com.", dns.TypeA), "NOERROR aa", dname,
		"answer x.tree.example.com. 3600 IN CNAME x.target.example.com.",
		"answer x.target.example.com. 3600 IN A 192.0.2.30")
	r.want(r.ask("www.tree.example.com.", dns.TypeA), "NOERROR aa", dname,
		"answer www.tree.example.com. 3600 IN CNAME www.target.example.com.",
		"answer www.target.example.com. 3600 IN CNAME a.example.com.", "answer a.example.com. 3600 IN A 192.0.2.10")
	r.want(r.ask("none.tree.example.com.", dns.TypeA), "NXDOMAIN aa", dname,
		"answer none.tree.example.com. 3600 IN CNAME none.target.example.com.", negativeSOA)
	r.want(r.ask("x.tree.example.com.", dns.TypeCNAME), "NOERROR aa", dname,
		"answer x.tree.example.com. 3600 IN CNAME x.target.example.com.")
	r.want(r.ask("tree.example.com.", dns.TypeA), "NOERROR aa", negativeSOA) // the owner itself is not renamed
	r.want(r.ask("host.far.example.com.", dns.TypeA), "NOERROR aa",
		"answer far.example.com. 3600 IN DNAME example.org.",
		"answer host.far.example.com. 3600 IN CNAME host.example.org.",
		"answer host.example.org. 600 IN A 198.51.100.1")
}

// A chain that comes by one DNAME several times has its record once.
func TestRFC2181NoRecordTwice(t *testing.T) {
	r := newRig(t)
	m := r.ask("thrice.tree.example.com.", dns.TypeA)
	noDuplicates(t, m)
	r.want(m, "NOERROR aa", "answer tree.example.com. 3600 IN DNAME target.example.com.",
		"answer thrice.tree.example.com. 3600 IN CNAME thrice.target.example.com.",
		"answer thrice.target.example.com. 3600 IN CNAME twice.tree.example.com.",
		"answer twice.tree.example.com. 3600 IN CNAME twice.target.example.com.",
		"answer twice.target.example.com. 3600 IN CNAME x.tree.example.com.",
		"answer x.tree.example.com. 3600 IN CNAME x.target.example.com.",
		"answer x.target.example.com. 3600 IN A 192.0.2.30")
}

func TestRFC6672YXDomainWhenTheNameGetsTooLong(t *testing.T) {
	r := newRig(t)
	label := strings.Repeat("d", 60)
	m := r.ask(label+"."+label+".long.example.com.", dns.TypeA)
	if m.Rcode != dns.RcodeYXDomain || !m.Authoritative || len(m.Answer) != 1 ||
		m.Answer[0].Header().Rrtype != dns.TypeDNAME {
		t.Errorf("got %v, want YXDOMAIN with the DNAME", show(m))
	}
}

func TestReferralsHaveGlueAndNoAA(t *testing.T) {
	r := newRig(t)
	want := []string{"NOERROR",
		"authority sub.example.com. 3600 IN NS ns.sub.example.com.",
		"authority sub.example.com. 3600 IN NS ns.other.test.",
		"additional ns.sub.example.com. 3600 IN A 192.0.2.60",
		"additional ns.sub.example.com. 3600 IN AAAA 2001:db8::60"}
	for _, name := range []string{"sub.example.com.", "host.sub.example.com.", "ns.sub.example.com."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeNS, dns.TypeSOA, dns.TypeANY} {
			r.want(r.ask(name, qtype), want...)
		}
	}
	r.want(r.ask("sub.example.com.", dns.TypeDS), "NOERROR aa", negativeSOA) // DS is the parent's
}

// 24 name servers with two addresses each do not fit a datagram, and none can be reached without them.
func TestRFC9471ReferralWithoutAllGlueIsTruncated(t *testing.T) {
	r := newRig(t)
	m := r.ask("wide.example.com.", dns.TypeA, edns())
	if !m.Truncated || len(m.Ns) != 24 || len(m.Extra) < 2 || m.Authoritative {
		t.Errorf("over UDP: TC %v, %d name servers, %d additional; want TC, 24, and some", m.Truncated, len(m.Ns),
			len(m.Extra))
	}
	r.tcp = true
	if m := r.ask("wide.example.com.", dns.TypeA, edns()); m.Truncated || len(m.Ns) != 24 || len(m.Extra) != 49 {
		t.Errorf("over TCP: TC %v, %d name servers, %d additional; want all 24 and 48, and OPT", m.Truncated, len(m.Ns),
			len(m.Extra))
	}
}

// Addresses of name servers that are elsewhere in the zone help, but the client can ask for them (RFC 9471 section
// 3.2).
func TestRFC9471SiblingGlueIsLeftOutWithoutTC(t *testing.T) {
	var file strings.Builder
	file.WriteString("sib.test. 60 IN SOA a. b. 1 1 1 1 1\nchild.sib.test. 60 IN NS ns.child.sib.test.\n" +
		"ns.child.sib.test. 60 IN A 192.0.2.1\n")
	for i := range 12 {
		fmt.Fprintf(&file, "child.sib.test. 60 IN NS s%d.sib.test.\ns%d.sib.test. 60 IN A 192.0.2.%d\n"+
			"s%d.sib.test. 60 IN AAAA 2001:db8::%d\n", i, i, 10+i, i, 10+i)
	}
	r := newRig(t, withZone(t, "sib.test.", file.String()))
	m := r.ask("www.child.sib.test.", dns.TypeA) // 512 bytes
	if m.Truncated || len(m.Ns) != 13 || len(m.Extra) == 0 || len(m.Extra) >= 25 ||
		m.Extra[0].Header().Name != "ns.child.sib.test." {
		t.Errorf("TC %v, %d name servers, %d additional: %v", m.Truncated, len(m.Ns), len(m.Extra), m)
	}
	r.tcp = true
	if m := r.ask("www.child.sib.test.", dns.TypeA); len(m.Extra) != 25 {
		t.Errorf("over TCP: %d additional, want all 25", len(m.Extra))
	}
}

func TestRFC8482ANYIsMinimal(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"example.com.", "a.example.com.", "multi.example.com.", "www.example.com.",
		"four.example.com.", "turns.example.com.", "x.wild.example.com.", "named.example.com."} {
		m := r.ask(name, dns.TypeANY)
		types := map[uint16]bool{}
		for _, rr := range m.Answer {
			types[rr.Header().Rrtype] = true
		}
		if len(types) != 1 || m.Rcode != dns.RcodeSuccess || len(m.Ns)+len(m.Extra) > 0 {
			t.Errorf("%s: %v, want one RRset", name, show(m))
		}
	}
	r.want(r.ask("www.example.com.", dns.TypeANY), "NOERROR aa",
		`answer www.example.com. 3600 IN TXT "beside the rules"`)
	// the second time
	r.want(r.ask("turns.example.com.", dns.TypeANY), "NOERROR aa", "answer turns.example.com. 30 IN A 203.0.113.20")
	r.want(r.ask("nowhere.example.com.", dns.TypeANY), "NXDOMAIN aa", negativeSOA)
	r.want(r.ask("ent.example.com.", dns.TypeANY), "NOERROR aa", negativeSOA)
}

func TestQuestionComesBackByteIdentical(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"wWw.ExAmPlE.cOm.", "A.EXAMPLE.COM.", "NoWhErE.example.COM.", "X.wild.EXAMPLE.com.",
		"x.TREE.example.com.", "ALIAS.example.com.", "Foreign.Test."} {
		m := r.ask(name, dns.TypeA) // check compares the bytes
		if m.Question[0].Name != name {
			t.Errorf("question %q, want %q", m.Question[0].Name, name)
		}
	}
	// The records of the name asked for have it as it was asked: they point to the question.
	if got := r.ask("wWw.ExAmPlE.cOm.", dns.TypeA).Answer[0].Header().Name; got != "wWw.ExAmPlE.cOm." {
		t.Errorf("owner %q", got)
	}
}

// Labels may have any bytes (RFC 2181 section 11), and packages on the way write some of them as escapes.
func TestQuestionWithAnyByteComesBackByteIdentical(t *testing.T) {
	r := newRig(t)
	for b := range 256 {
		for _, base := range []string{"\x04wild\x07example\x03com\x00", "\x07foreign\x04test\x00",
			"\x04tree\x07example\x03com\x00", "\x08balanced\x07EXAMPLE\x03com\x00", "\x07example\x03com\x00"} {
			for _, label := range [][]byte{{byte(b)}, {'x', byte(b), 'y'}, {byte(b), byte(b)},
				{byte(b), '0', '4', '6'}} {
				wire := slices.Concat([]byte{0, byte(b), 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}, []byte{byte(len(label))}, label,
					[]byte(base), []byte{0, 1, 0, 1})
				m := r.send(wire)
				if len(m.Question) != 1 {
					t.Fatalf("byte %d in %q: no question", b, base)
				}
				if strings.HasPrefix(base, "\x04wild") && label[0] != '*' {
					if len(m.Answer) != 1 || m.Answer[0].Header().Name != m.Question[0].Name {
						t.Errorf("byte %d: %v, want the wildcard's record at the name", b, m)
					}
				}
			}
		}
	}
}

func TestLongestName(t *testing.T) {
	r := newRig(t)
	label := strings.Repeat("l", 60) + "."
	name := strings.Repeat(label, 3) + strings.Repeat("m", 53) + ".wild.example.com."
	wire := pack(t, query(name, dns.TypeA))
	if n := questionEnd(wire) - 4 - 12; n != 255 {
		t.Fatalf("name of %d bytes, the test wants 255", n)
	}
	r.want(r.send(wire), "NOERROR aa", "answer "+name+" 3600 IN A 192.0.2.40")
	labels := strings.Repeat("a.", 118) + "wild.example.com." // 127 labels less what the zone takes
	r.want(r.ask(labels, dns.TypeA), "NOERROR aa", "answer "+labels+" 3600 IN A 192.0.2.40")
}

func TestTruncationDropsWholeRRsets(t *testing.T) {
	r := newRig(t)
	m := r.ask("many.example.com.", dns.TypeTXT) // 800 bytes, without EDNS
	r.want(m, "NOERROR aa tc")
	if m.IsEdns0() != nil {
		t.Error("OPT without being asked")
	}
	if m := r.ask("many.example.com.", dns.TypeTXT, edns()); m.Truncated || len(m.Answer) != 8 || m.IsEdns0() == nil {
		t.Errorf("with EDNS: TC %v and %d records, want all 8 and OPT", m.Truncated, len(m.Answer))
	}
	m = r.ask("toomany.example.com.", dns.TypeTXT, edns()) // 2,000 bytes: beyond our own limit
	r.want(m, "NOERROR aa tc")
	if m.IsEdns0() == nil {
		t.Error("OPT is gone")
	}
	m = r.ask("tomany.example.com.", dns.TypeTXT, edns()) // the CNAME fits, the RRset behind it does not
	r.want(m, "NOERROR aa tc", "answer tomany.example.com. 3600 IN CNAME toomany.example.com.")
	r.tcp = true
	if m := r.ask("toomany.example.com.", dns.TypeTXT); m.Truncated || len(m.Answer) != 20 {
		t.Errorf("over TCP: TC %v and %d records, want all 20", m.Truncated, len(m.Answer))
	}
}

func TestUDPSizeIsTheLesserOfBoth(t *testing.T) {
	r := newRig(t)
	for _, test := range []struct {
		size    uint16
		records int
	}{{0, 0}, {100, 0}, {511, 0}, {512, 0}, {900, 8}, {1232, 8}, {4096, 8}, {65535, 8}} {
		m := r.ask("many.example.com.", dns.TypeTXT, edns(), func(m *dns.Msg) { m.IsEdns0().SetUDPSize(test.size) })
		if len(m.Answer) != test.records || m.Truncated != (test.records == 0) {
			t.Errorf("size %d: %d records, TC %v; want %d", test.size, len(m.Answer), m.Truncated, test.records)
		}
		if got := m.IsEdns0().UDPSize(); got != 1232 {
			t.Errorf("OPT says %d, want 1232", got)
		}
	}
}
