package zone

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
)

// everyType is records of one type, in two sets of two: at a name, and at a wildcard.
var everyType = []struct {
	rrtype string
	data   [2]string
	wild   bool // the tail holds for all names that the wildcard matches
}{
	{"A", [2]string{"192.0.2.1", "192.0.2.2"}, true},
	{"AAAA", [2]string{"2001:db8::1", "2001:db8::2"}, true},
	{"TXT", [2]string{`"www.example.com."`, `"two" "strings"`}, true},
	{"CAA", [2]string{`0 issue "ca.example.net"`, `0 iodef "mailto:a@example.com"`}, true},
	{"SRV", [2]string{"0 0 443 www.example.com.", "1 0 443 www.example.com."}, true},
	{"HTTPS", [2]string{`1 . alpn="h2"`, `2 www.example.com. ipv4hint="192.0.2.1"`}, true},
	{"SVCB", [2]string{`0 www.example.com.`, `1 a.www.example.com. port="53"`}, true},
	{"NAPTR", [2]string{`1 2 "u" "sip" "!x!y!" .`, `1 2 "s" "sip" "" _sip._tcp.example.com.`}, true},
	{"TLSA", [2]string{"3 1 1 0102", "3 1 1 0103"}, true},
	{"DNAME", [2]string{"example.net.", ""}, true},
	{"AFSDB", [2]string{"1 www.example.com.", "2 www.example.com."}, true},
	{"RP", [2]string{"a.example.com. b.example.com.", "c.example.com. ."}, true},
	{"KX", [2]string{"1 www.example.com.", "2 www.example.com."}, true},
	{"TYPE65280", [2]string{`\# 3 010203`, `\# 0`}, true},
	{"MX", [2]string{"10 mx1.www.example.com.", "20 mx2.www.example.com."}, false},
	{"MX", [2]string{"10 mx1.mail.example.net.", "20 mx2.mail.example.net."}, false},
	{"PTR", [2]string{"www.example.com.", "x.example.com."}, false},
	{"CNAME", [2]string{"www.example.com.", ""}, false},
	{"MINFO", [2]string{"a.example.com. b.a.example.com.", ". ."}, false},
}

// packAnswer is what package dns makes of the records as the answer to a question for that name, after the question.
func packAnswer(t testing.TB, qname string, set *RRset) []byte {
	t.Helper()
	m := dns.Msg{Compress: true, Question: []dns.Question{{Name: qname, Qtype: set.Type, Qclass: dns.ClassINET}}}
	for _, rr := range set.RRs {
		rr = dns.Copy(rr)
		rr.Header().Name = qname
		m.Answer = append(m.Answer, rr)
	}
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire[questionAt+len(wireName(t, qname))+questionEnd:]
}

func TestTailIsAsPacked(t *testing.T) {
	for _, x := range everyType {
		t.Run(x.rrtype+" "+x.data[0], func(t *testing.T) {
			rrtype := records(t, "x. "+x.rrtype+" "+x.data[0])[0].Header().Rrtype
			var text strings.Builder
			for _, data := range x.data {
				for _, owner := range []string{"www.example.com.", "*.wild.example.com."} {
					if data != "" {
						fmt.Fprintf(&text, "%s 60 %s %s\n", owner, x.rrtype, data)
					}
				}
			}
			z := build(t, []config.Zone{whole(t, "example.com.", text.String())})
			for _, qname := range []string{"www.example.com.", "a.wild.example.com.",
				"mail.example.net.b.wild.example.com.", "*.wild.example.com."} {
				r := z.Lookup(wireName(t, qname), rrtype)
				if r.Kind != Positive {
					t.Fatalf("%s: %v", qname, r.Kind)
				}
				if strings.Contains(qname, "wild") && !x.wild {
					if r.RRset.Tail != nil {
						t.Errorf("%s: has a tail though its bytes depend on the name", qname)
					}
					continue
				}
				if want := packAnswer(t, qname, r.RRset); !bytes.Equal(r.RRset.Tail, want) {
					t.Errorf("%s:\n got %x\nwant %x", qname, r.RRset.Tail, want)
				}
			}
		})
	}
}

func TestTailsOfTheApex(t *testing.T) {
	for _, name := range []string{"example.com.", "."} {
		z := build(t, []config.Zone{whole(t, name, name+" NS ns1.example.com.\n"+name+" NS ns2.example.com.\n"+name+
			" MX 10 example.com.\n")})
		for _, qtype := range []uint16{dns.TypeSOA, dns.TypeNS, dns.TypeMX} {
			r := z.Lookup(wireName(t, name), qtype)
			if want := packAnswer(t, name, r.RRset); !bytes.Equal(r.RRset.Tail, want) {
				t.Errorf("%s %s:\n got %x\nwant %x", name, dns.Type(qtype), r.RRset.Tail, want)
			}
		}
	}
}

// Pointers reach no further than 16 KiB.
func TestTailOfALargeRRset(t *testing.T) {
	var text strings.Builder
	for i := range 1200 {
		fmt.Fprintf(&text, "www.example.com. MX %d mx.site%d.example.net.\n", i, i/2)
	}
	z := build(t, []config.Zone{whole(t, "example.com.", text.String())})
	r := z.Lookup(wireName(t, "www.example.com."), dns.TypeMX)
	if len(r.RRset.Tail) < 1<<14 {
		t.Fatalf("the tail has %d bytes, want more than 16 KiB", len(r.RRset.Tail))
	}
	if want := packAnswer(t, "www.example.com.", r.RRset); !bytes.Equal(r.RRset.Tail, want) {
		t.Error("the tail is not as package dns packs it")
	}
}

func TestRRsetThatNoMessageHolds(t *testing.T) {
	var text strings.Builder
	for i := range 4200 {
		fmt.Fprintf(&text, "www.example.com. A 10.0.%d.%d\n", i/250, i%250)
	}
	_, err := Build([]config.Zone{whole(t, "example.com.", text.String())}, nil)
	if want := "zone example.com.: records www.example.com. A: are too many for a message"; err == nil ||
		err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}
