package config

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/internal/strict"
)

// parseZone reads a configuration with the zone example.com, whose SOA and NS are on line 3 and whose other records
// begin on line 4, and with other zones after it.
func parseZone(records, more string) (*Config, error) {
	text := "zones:\n- name: example.com\n  records: [{name: \"@\", type: SOA, data: ns.example.net. h 1 2 3 4 5}, " +
		"{name: \"@\", type: NS, data: ns.example.net.}," +
		"\n" + records + "]\n" + more
	return Parse("f", []byte(text))
}

// texts returns the records of the zone with the name but for its SOA and NS, as text.
func texts(c *Config, name string) []string {
	var all []string
	for _, z := range c.Zones {
		if z.Name == name {
			for _, rr := range z.Records {
				if text := strings.ReplaceAll(rr.String(), "\t", " "); !strings.Contains(text, "IN SOA") &&
					!strings.HasPrefix(text, name+" 3600 IN NS") {
					all = append(all, text)
				}
			}
		}
	}
	return all
}

// Every type that operators ask for, and those that nobody has named.
func TestRecordTypes(t *testing.T) {
	for _, tt := range []struct{ name, record, want string }{
		{"A", "{name: www, type: A, data: 192.0.2.1}", "www.example.com. 3600 IN A 192.0.2.1"},
		{"AAAA", "{name: www, type: AAAA, ttl: 0, data: '2001:db8::1'}", "www.example.com. 0 IN AAAA 2001:db8::1"},
		{"MX", "{name: '@', type: MX, data: 10 mail}", "example.com. 3600 IN MX 10 mail.example.com."},
		{"TXT", `{name: txt, type: TXT, data: '"v=DKIM1; k=rsa" two'}`,
			`txt.example.com. 3600 IN TXT "v=DKIM1; k=rsa" "two"`},
		{"SRV", "{name: _sip._tcp, type: SRV, data: 0 5 5060 sip}",
			"_sip._tcp.example.com. 3600 IN SRV 0 5 5060 sip.example.com."},
		{"CAA", `{name: '@', type: CAA, data: '0 issue "ca.example.net"'}`,
			`example.com. 3600 IN CAA 0 issue "ca.example.net"`},
		{"SVCB", "{name: _dns, type: SVCB, data: 1 ns alpn=dot}",
			`_dns.example.com. 3600 IN SVCB 1 ns.example.com. alpn="dot"`},
		{"HTTPS", "{name: www, type: HTTPS, data: 1 . alpn=h2 ipv4hint=192.0.2.1}",
			`www.example.com. 3600 IN HTTPS 1 . alpn="h2" ipv4hint="192.0.2.1"`},
		{"PTR", "{name: '1', type: PTR, data: www}", "1.example.com. 3600 IN PTR www.example.com."},
		{"CNAME", "{name: ftp, type: CNAME, data: WWW.example.net.}",
			"ftp.example.com. 3600 IN CNAME WWW.example.net."},
		{"DNAME", "{name: old, type: DNAME, data: '@'}", "old.example.com. 3600 IN DNAME example.com."},
		{"unknown type", `{name: x, type: TYPE65280, data: '\# 4 C0000201'}`,
			`x.example.com. 3600 CLASS1 TYPE65280 \# 4 C0000201`},
		{"known type in the unknown form", `{name: x, type: TYPE1, data: '\# 4 C0000201'}`,
			"x.example.com. 3600 IN A 192.0.2.1"},
		{"no data in the unknown form", `{name: x, type: TYPE65280, data: '\# 0'}`,
			`x.example.com. 3600 CLASS1 TYPE65280 \# 0 `},
		{"absolute owner", "{name: WWW.Example.COM., type: A, data: 192.0.2.1}",
			"www.example.com. 3600 IN A 192.0.2.1"},
		{"wildcard", "{name: '*', type: A, data: 192.0.2.1}", "*.example.com. 3600 IN A 192.0.2.1"},
		{"escaped owner", `{name: 'a\.b\032c', type: A, data: 192.0.2.1}`, `a\.b\ c.example.com. 3600 IN A 192.0.2.1`},
		{"X25 in quotes", `{name: x, type: X25, data: '"311061700956"'}`, "x.example.com. 3600 IN X25 311061700956"},
		{"NAPTR without quotes", `{name: x, type: NAPTR, data: '100 50 s SIP+D2U "" y'}`,
			`x.example.com. 3600 IN NAPTR 100 50 "s" "SIP+D2U" "" y.example.com.`},
		{"WKS", "{name: x, type: WKS, data: 192.0.2.1 udp domain}",
			`x.example.com. 3600 CLASS1 TYPE11 \# 12 c00002011100000000000004`},
		{"data on several lines", "{name: x, type: TXT, data: \"( a\\nb ; (c\\n)\"}",
			`x.example.com. 3600 IN TXT "a" "b"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parseZone(tt.record, "")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{tt.want}, texts(c, "example.com.")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRecordProblems(t *testing.T) {
	data := func(rrtype, data, why string) string {
		return fmt.Sprintf(
			"f:4: zones[0].records[2].data: must be the data of one %s record as in a zone file, is %s: %s", rrtype,
			strict.Quote(data), why)
	}
	const name = "f:4: zones[0].records[2].name: must be @, a name relative to the zone, or an absolute one with a " +
		"last dot, is "
	for _, tt := range []struct {
		name, records string
		want          []string
	}{
		{"no data", "{name: x, type: A, data: ' '}", []string{data("A", " ", "it is empty")}},
		{"not an address", "{name: x, type: A, data: 192.0.2.256}",
			[]string{data("A", "192.0.2.256", `bad A A: "192.0.2.256"`)}},
		{"too much data", "{name: x, type: A, data: 192.0.2.1 192.0.2.2}",
			[]string{data("A", "192.0.2.1 192.0.2.2", `garbage after rdata: "192.0.2.2"`)}},
		{"a second record", `{name: x, type: A, data: "192.0.2.1\ny A 192.0.2.2"}`,
			[]string{data("A", "192.0.2.1\ny A 192.0.2.2",
				"it goes on after the record: only parentheses continue it on another line")}},
		{"a directive", `{name: x, type: A, data: "192.0.2.1\n$INCLUDE /etc/passwd"}`,
			[]string{data("A", "192.0.2.1\n$INCLUDE /etc/passwd",
				"it goes on after the record: only parentheses continue it on another line")}},
		{"no service", "{name: x, type: WKS, data: 192.0.2.1 99 smtp}",
			[]string{data("WKS", "192.0.2.1 99 smtp",
				`bad WKS data: service must be 0..65535 or the name of one that this machine knows, is "smtp"`)}},
		{"no services", "{name: x, type: WKS, data: 192.0.2.1}",
			[]string{data("WKS", "192.0.2.1", "bad WKS data: must be an IPv4 address, a protocol and services, as "+
				"192.0.2.1 TCP smtp")}},
		{"services of IPv6", "{name: x, type: WKS, data: '2001:db8::1 TCP smtp'}",
			[]string{data("WKS", "2001:db8::1 TCP smtp",
				`bad WKS data: must begin with an IPv4 address, is "2001:db8::1"`)}},
		{"services of no protocol", "{name: x, type: WKS, data: 192.0.2.1 sctp 1}",
			[]string{data("WKS", "192.0.2.1 sctp 1", `bad WKS data: protocol must be TCP, UDP or 0..255, is "sctp"`)}},
		{"no groups of an identifier", "{name: x, type: NID, data: '10 2001:db8::1'}",
			[]string{data("NID", "10 2001:db8::1", `bad NID data: must be a preference and four groups of hexadecimal `+
				`digits, as 10 14:4fff:ff20:ee64, has "2001:db8::1"`)}},
		{"a parameter of another form", `{name: x, type: SVCB, data: '1 . key3="a"'}`,
			[]string{data("SVCB", `1 . key3="a"`, "bad SVCB data: key3, which is port, has a value that is none of "+
				"its: SVCB.Value: bad svcbport: port length is not exactly 2 octets")}},
		{"an X25 with a comment", "{name: x, type: X25, data: '311061700956 ; x'}",
			[]string{data("X25", "311061700956 ; x", "a semicolon outside of quotes begins a comment")}},
		{"a comment", "{name: x, type: TXT, data: v=DKIM1; k=rsa}",
			[]string{data("TXT", "v=DKIM1; k=rsa", "a semicolon outside of quotes begins a comment")}},
		{"only a comment", "{name: x, type: TXT, data: ; k=rsa}",
			[]string{data("TXT", "; k=rsa", "a semicolon outside of quotes begins a comment")}},
		{"none in the unknown form", `{name: x, type: A, data: '\# 0'}`,
			[]string{"f:4: zones[0].records[2]: must have the data of a A record: it has none"}},
		{"not base64", "{name: x, type: DNSKEY, data: '257 3 13 a*b'}",
			[]string{
				"f:4: zones[0].records[2]: must have the data of a DNSKEY record: illegal base64 data at " +
					"input byte 1"}},
		{"unbalanced", "{name: x, type: TXT, data: ( a}",
			[]string{data("TXT", "( a", `bad TXT Txt: "unbalanced brace"`)}},
		{"a missing last dot", "{name: x, type: CNAME, data: www.example.com}",
			[]string{`f:4: zones[0].records[2].data: must end absolute names in a dot, is "www.example.com": names ` +
				`without it are relative to the zone, which makes ...example.com.example.com. of it`}},
		{"a missing last dot of the owner", "{name: www.example.com, type: A, data: 192.0.2.1}",
			[]string{name + `"www.example.com": without a last dot it is relative to the zone, which makes ` +
				`www.example.com.example.com. of it`}},
		{"no owner", "{name: '', type: A, data: 192.0.2.1}", []string{name + `"": it has an empty label`}},
		{"a bad owner", "{name: a b, type: A, data: 192.0.2.1}",
			[]string{
				name + `"a b": labels have letters, digits, "-", "_" and "/"; all else is escaped, as \. or \032`}},
		{"outside", "{name: www.example.org., type: A, data: 192.0.2.1}",
			[]string{"f:4: zones[0].records[2]: must lie in the zone example.com., is www.example.org."}},
		{"unknown type", "{name: x, type: a, data: 192.0.2.1}",
			[]string{
				`f:4: zones[0].records[2].type: must be the type of a record, such as A, MX or TYPE65280, is "a"`}},
		{"unknown number", "{name: x, type: TYPE65536, data: 192.0.2.1}",
			[]string{`f:4: zones[0].records[2].type: must be the type of a record, such as A, MX or TYPE65280, is ` +
				`"TYPE65536"`}},
		{"no type of records", "{name: x, type: ANY, data: 192.0.2.1}",
			[]string{"f:4: zones[0].records[2].type: must not be ANY: no zone can have records of it"}},
		{"signatures", "{name: x, type: NSEC, data: y A}",
			[]string{"f:4: zones[0].records[2].type: must not be NSEC: signed zones are not served, as signatures " +
				"made elsewhere would not cover answers that follow health"}},
		{"TTL", "{name: x, type: A, ttl: 2147483648, data: 192.0.2.1}",
			[]string{"f:4: zones[0].records[2].ttl: must be 0..2147483647, is 2147483648"}},

		{"a second SOA", "{name: '@', type: SOA, data: ns h 1 2 3 4 5}",
			[]string{"f:4: zones[0].records[2]: must be the zone's only SOA, zones[0].records[0] (line 3) is one too"}},
		{"a SOA below", "{name: sub, type: SOA, data: ns h 1 2 3 4 5}",
			[]string{"f:4: zones[0].records[2]: must be at the zone's own name, example.com., is a SOA at " +
				"sub.example.com."}},
		{"a CNAME and more", "{name: x, type: A, data: 192.0.2.1},\n{name: x, type: CNAME, data: y}",
			[]string{"f:5: zones[0].records[3]: must be alone at x.example.com., is beside A, zones[0].records[2] " +
				"(line 4): a CNAME stands for all that the name has"}},
		{"a CNAME for the zone", "{name: '@', type: CNAME, data: y}",
			[]string{"f:4: zones[0].records[2]: must be alone at example.com., is beside SOA, zones[0].records[0] " +
				"(line 3): a CNAME stands for all that the name has"}},
		{"two CNAMEs", "{name: x, type: CNAME, data: y},\n{name: x, type: CNAME, data: z}",
			[]string{"f:5: zones[0].records[3]: must be the only CNAME at x.example.com., zones[0].records[2] (line " +
				"4) is one too"}},
		{"two DNAMEs", "{name: x, type: DNAME, data: y},\n{name: x, type: DNAME, data: z}",
			[]string{"f:5: zones[0].records[3]: must be the only DNAME at x.example.com., zones[0].records[2] (line " +
				"4) is one too"}},
		{"a record twice", "{name: x, type: A, data: 192.0.2.1},\n{name: X, type: A, ttl: 60, data: 192.0.2.1}", nil},
		{"beside a DNAME", "{name: x, type: DNAME, data: y},\n{name: x, type: A, data: 192.0.2.1}", nil},
		{"a delegation", "{name: x, type: NS, data: ns.x},\n{name: x, type: NS, data: ns.y.x},\n" +
			"{name: x, type: DS, data: '1 13 2 00'},\n{name: ns.x, type: A, data: 192.0.2.1}, {name: ns.y.x, type: " +
			"AAAA, data: '2001:db8::1'}", nil},
		{"a server in a delegation", "{name: x, type: NS, data: ns.example.net.},\n{name: '@', type: NS, data: ns.x}",
			nil},
		{"a server without address", "{name: '@', type: NS, data: ns}",
			[]string{"f:4: zones[0].records[2]: must name a server with an address: ns.example.com. lies in this " +
				"zone and has none"}},
		{"a server with an address", "{name: '@', type: NS, data: NS},\n{name: ns, type: AAAA, data: '2001:db8::1'}",
			nil},
		{"a server by a wildcard",
			"{name: '@', type: NS, data: a.ns},\n{name: '*.ns', type: AAAA, data: '2001:db8::1'}", nil},
		{"a server behind a DNAME", "{name: '@', type: NS, data: a.ns},\n{name: ns, type: DNAME, data: example.net.}",
			nil},
		{"a server by its nickname",
			"{name: '@', type: NS, data: ns},\n{name: ns, type: CNAME, data: www.example.net.}",
			[]string{"f:4: zones[0].records[2]: must name a server by its own name: ns.example.com. is a CNAME, " +
				"zones[0].records[3] (line 5) (RFC 2181 section 10.3)"}},
		{"a delegation of everything", "{name: '*', type: NS, data: ns.example.net.}",
			[]string{"f:4: zones[0].records[2]: must not be at a wildcard, is at *.example.com.: what NS means there " +
				"is not defined (RFC 4592 section 4)"}},
		{"a DNAME of everything", "{name: '*', type: DNAME, data: example.net.}",
			[]string{"f:4: zones[0].records[2]: must not be at a wildcard, is at *.example.com.: what DNAME means " +
				"there is not defined (RFC 4592 section 4)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseZone(tt.records, "")
			checkProblems(t, tt.want, err)
		})
	}
}

func checkProblems(t *testing.T, want []string, err error) {
	t.Helper()
	var got []string
	for _, p := range strict.Problems(err) {
		got = append(got, p.Error())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestZoneProblems(t *testing.T) {
	const soa, ns = "{name: '@', type: SOA, data: ns.example.net. h 1 2 3 4 5}",
		"{name: '@', type: NS, data: ns.example.net.}"
	for _, tt := range []struct {
		name, zones string
		want        []string
	}{
		{"nothing", "- {name: example.com}",
			[]string{"f:2: zones[0]: must have a SOA record at example.com., or soa_from: negative answers carry it",
				"f:2: zones[0]: must have an NS record at example.com., or soa_from"}},
		{"bad records may be those that are missing",
			"- {name: example.com, records: [{name: '@', type: SOA, data: ns h}]}",
			[]string{`f:2: zones[0].records[0].data: must be the data of one SOA record as in a zone file, is "ns ` +
				`h": bad SOA zone parameter: "\n"`}},
		{"twice", "- {name: example.com, soa_from: [192.0.2.1]}\n- {name: Example.com., soa_from: [192.0.2.1]}",
			[]string{"f:3: zones[1].name: must be unique, example.com. is zones[0] (line 2) too"}},
		{"bad name", "- {name: '*.example.com', soa_from: [192.0.2.1]}",
			[]string{`f:2: zones[0].name: must be a domain name such as www.example.com, is "*.example.com": "*" may ` +
				`only be the whole first label`}},
		{"the root", "- {name: ., records: [" + soa + ", {name: '@', type: NS, data: ns}, {name: ns, type: A, data: " +
			"192.0.2.1}]}", nil},
		{"an own SOA, and a fetched one", "- {name: example.com, soa_from: [192.0.2.1], records: [" + soa + "]}",
			[]string{"f:2: zones[0].records[0]: must be left out of a zone with soa_from: its SOA is fetched"}},
		{"some records, and a fetched SOA", "- {name: example.com, soa_from: [192.0.2.1], records: [{name: www, " +
			"type: TXT, data: x}]}", nil},
		{"SOA from nobody", "- {name: example.com, soa_from: []}",
			[]string{"f:2: zones[0].soa_from: must have at least one address"}},
		{"no match", "- {name: example.com, soa_from: [192.0.2.1], no_match: drop}",
			[]string{`f:2: zones[0].no_match: must be refused, forward or nxdomain, is "drop"`}},
		{"forward to nobody", "- {name: example.com, soa_from: [192.0.2.1], no_match: forward}",
			[]string{"f:2: zones[0].forward: is missing, as is server.forward: must be the name servers that " +
				"no_match: forward forwards to"}},
		{"forward never", "- {name: example.com, soa_from: [192.0.2.1], forward: [192.0.2.1]}",
			[]string{"f:2: zones[0].forward: must be left out unless no_match is forward"}},
		{"TTL", "- {name: example.com, soa_from: [192.0.2.1], ttl: -1}",
			[]string{"f:2: zones[0].ttl: must be 0..2147483647, is -1"}},
		{"the delegation of another zone",
			"- {name: example.com, records: [" + soa + ", " + ns + ", {name: sub, type: NS, data: ns.sub}, {name: " +
				"ns.sub, type: A, data: 192.0.2.1}]}\n- {name: sub.example.com, soa_from: [192.0.2.1]}", nil},
		{"include", "- {name: example.com, file: include}", []string{"include:2: is not a zone file: failed to open " +
			"`/etc/passwd' as `etc/passwd': it must lie in the directory of the zone file, or below: \"/etc/passwd\""}},
		{"include from above", "- {name: example.com, file: above}",
			[]string{"above:2: is not a zone file: failed to open `sub/../../up' as `../up': it must lie in the " +
				"directory of the zone file, or below: \"sub/../../up\""}},
		{"include of nothing", "- {name: example.com, file: nothing}",
			[]string{"nothing:2: is not a zone file: failed to open `absent': file does not exist: \"absent\""}},
		{"include with problems", "- {name: example.com, file: includes-problems}",
			[]string{"sub/problems:2: must be of class IN, is of CH",
				`sub/problems:3: is not a zone file: bad AAAA AAAA: "192.0.2.1"`}},
		{"behind an entry of several lines", "- {name: example.com, file: bad-behind}",
			[]string{`bad-behind:6: is not a zone file: bad A A: "nonsense"`}},
		{"bad services", "- {name: example.com, file: bad-wks}",
			[]string{`bad-wks:4: is not a zone file: bad WKS data: service must be 0..65535 or the name of one that ` +
				`this machine knows, is "nonsense"`}},
		{"a generated record", "- {name: example.com, file: generate-bad}",
			[]string{`generate-bad:4: is not a zone file: bad AAAA AAAA: "192.0.2.1"`}},
		{"an obsolete form", "- {name: example.com, file: bad-a6}",
			[]string{`bad-a6:3: is not a zone file: data of this type must be as \# 2 c000, a number of bytes and ` +
				`the bytes (RFC 3597 section 5), is "64"`}},
		{"bad address in an include", "- {name: example.com, file: bad-include}",
			[]string{`sub/bad wks:2: is not a zone file: bad NSAP data: must be 0x and an even number of hexadecimal ` +
				`digits, with points anywhere, is "0x4"`}},
		{"file with problems", "- {name: example.com, file: problems}", []string{
			"problems:9: must be of class IN, is of CH",
			"problems:10: must not be of type RRSIG: signed zones are not served, as signatures made elsewhere would " +
				"not cover answers that follow health",
			`problems:16: is not a zone file: bad AAAA AAAA: "192.0.2.1"`}},
		{"no owner", "- {name: example.com, file: owner}",
			[]string{"owner:1: must begin with a name: there is no record before it whose name it could have"}},
		{"cut off", "- {name: example.com, file: cut}",
			[]string{"cut:2: is not a zone file: expecting RR type or class, not this...: \"IN\""}},
		{"no file", "- {name: example.com, file: absent}",
			[]string{"f:2: zones[0].file: must be a file that can be read: file does not exist"}},
		{"no path", "- {name: example.com, file: .}",
			[]string{`f:2: zones[0].file: must be the path of a file, is "."`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := parse("f", []byte("zones:\n"+tt.zones), zoneFiles)
			checkProblems(t, tt.want, err)
		})
	}
}

// zoneFiles are files for tests.
func zoneFiles(name string, _ access, _ string) ([]byte, error) {
	text, ok := map[string]string{
		"include": "@ IN SOA ns.example.net. h 1 2 3 4 5\n$INCLUDE /etc/passwd\n",
		"problems": `; a comment
@ IN SOA ns.example.net. h (
1
2 ; in two lines
3 4 5 )

@ NS ns.example.net.
www.example.org. A 192.0.2.1
x CH TXT x
x RRSIG A 13 2 60 20300101000000 20200101000000 1 example.com. AAAA
; another
x 60 A 192.0.2.1
x 61 A 192.0.2.2

y 3000000000 A 192.0.2.1
y AAAA 192.0.2.1
`,
		"above":             "@ IN SOA ns.example.net. h 1 2 3 4 5\n$INCLUDE sub/../../up\n",
		"nothing":           "@ IN SOA ns.example.net. h 1 2 3 4 5\n$INCLUDE absent\n",
		"includes-problems": "@ IN SOA ns.example.net. h 1 2 3 4 5\n@ NS ns.example.net.\n$INCLUDE sub/problems\n",
		"sub/problems":      "x A 192.0.2.1\nx CH TXT x\ny AAAA 192.0.2.1\n",
		"includes": "$TTL 60\n@ IN SOA ns.example.net. h 1 2 3 4 5\n@ NS ns.example.net.\n" +
			"$INCLUDE sub/one below\nlast A 192.0.2.9\n",
		"sub/one": "a A 192.0.2.1\n$INCLUDE two\nb A ( 192.0.2.2\n)\n$TTL 90\n$GENERATE 1-2 g$ A 192.0.2.1$",
		"sub/two": "c 30 A 192.0.2.3",
		"generate": "@ SOA ns.example.net. h 1 2 3 4 5\n@ NS ns.example.net.\n$GENERATE 1-2 a$ A 192.0.2.$\n" +
			"x 30 A 192.0.2.9\n$generate 1-1 b$ IN 60 A 192.0.2.$\n$GENERATE 1-1 c$ IN A 192.0.2.$\n$TTL 1h30m\n" +
			"$GENERATE 1-1 d$ A 192.0.2.$\n$TTL 90;seconds\ny 30 A 192.0.2.9\n$GENERATE 1-1 e$ A 192.0.2.$\n" +
			"$ttl ( ; in parentheses\n 91 )\ny2 30 A 192.0.2.9\n$GENERATE 1-1 f$ A 192.0.2.$\n",
		"obsolete": "@ 60 SOA ns.example.net. h 1 2 3 4 5\n@ NS ns.example.net.\nx WKS \\# 5 c000020106\n" +
			"x A6 \\# 1 80\nx TYPE22 \\# 1 47\nx SINK \\# 1 00\nx NXT y A\n" +
			"x SIG A 1 3 60 20300101000000 20200101000000 1 example.com. AAAA\n",
		"spellings": `@ 60 SOA ns.example.net. h 1 2 3 4 5
@ NS ns.example.net.
x X25 "311061700956" ; quoted
	CLASS1 60 X25 ( ; in parentheses
  "3110617" )
a\ b 60 IN x25 311061700956
g GPOS "-32.6882" 116.8652 "10.0"
n NAPTR 100 50 s SIP+D2U "" _sip._udp
n NAPTR 100 51 "s" SIP\;D2U !a\ \"b! r
n NAPTR 100 52 "s" "SIP+D2U" "" s
w WKS 192.0.2.1 TCP ( smtp ; mail
  23 ) ; and telnet
w WKS 192.0.2.2 17 domain
w WKS 192.0.2.3 1
w WKS \# 5 c000020406
s NSAP 0x47.0005.80.005a00.0000.0001.e133.ffffff000161.00
x25 TXT X25 "WKS" 1
`,
		"others": `@ 60 SOA ns.example.net. h 1 2 3 4 5
@ NS ns.example.net.
d DNSKEY 257 3 ECDSAP256SHA256 AAAA ; by its mnemonic
d CDNSKEY ( 257 3 ed25519 AA
  AA )
d KEY 256 3 13 AAAA
g NID 10 14:4fff:ff20:ee64
g L64 10 2001:0DB8:1:1000
i IPSECKEY 10 1 2 192.0.2.38 AAAA ; a key
i IPSECKEY 10 3 2 gw ( AAAA
  AAAA )
i IPSECKEY 10 0 0 . ; none
l LOC 42 21 N 71 06 W 10m
l LOC 42 N 71 6 1.5 W 10m
c CSYNC ( 66 3 ; types
  A ; and
  NS )
s SVCB 1 . alpn="h2" key7="/dns-query{?dns}" key65000="a \"b"
s HTTPS 2 x KEY1=\002h3 key3=\001\187 key2
s SVCB 3 . ( key4="\192\000\002\001"
  port=53 )
last A 192.0.2.9
`,
		"generate-forms": `@ 60 SOA ns.example.net. h 1 2 3 4 5
@ NS ns.example.net.
before A 192.0.2.9
$GENERATE 8-9 a${0,3,o}.${-8,2}-${-9,0,x} A 192.0.2.$
$GENERATE 0-4/3 ( n${16,3,n}.N${171,0,N}.x${250,3,X} ; all
  A 192.0.2.1 )
$GENERATE 1-1 s\$.h\.$.$$\032 A 192.0.2.1
$GENERATE 1-1 $$INCLUDE A 192.0.2.1
$GENERATE 1-1 w$ WKS 192.0.2.$ TCP 1$
	TXT "of before"
`,
		"generate-bad": `@ 60 SOA ns.example.net. h 1 2 3 4 5
@ NS ns.example.net.
$GENERATE 1-9 a$ AAAA ( ; no
  192.0.2.$ )
`,
		"generate-quoted": `@ 60 SOA ns.example.net. h 1 2 3 4 5
@ NS ns.example.net.
$GENERATE 1-2 m$ MX "10 h$" ; two words
$GENERATE 1-1 t$ 30 TXT "\"a $ b\" c\;d"
$GENERATE 1-1 u$ TXT "a"
`,
		"parentheses": `@ 60 SOA ns.example.net. h(1 2 3 4 5)
@ NS ns.example.net.
a A(192.0.2.1)
m MX(10)x ; (
m MX 20(y
  )
(b A 192.0.2.2)
t TXT "(" \( a\(b "c(d)"
n IN ( NAPTR 100 50 "s" "SIP+D2U" "" n
  )
n ( 60 (NAPTR) 100 51 s
  SIP+D2U "" n ) ; and
w ( WKS(192.0.2.1 TCP) 25 )
x X25("311061700956")
`,
		"bad-behind": "@ IN SOA ns.example.net. h 1 2 3 4 5\n@ NS ns.example.net.\nx X25 ( \n1\n)\ny A nonsense\n",
		"includes-quoted": "$TTL 60\n@ IN SOA ns.example.net. h 1 2 3 4 5\n@ NS ns.example.net.\n" +
			"$include \"sub/o n(e\" below ; quoted\n$INCLUDE sub\\047o\\ n\\(e\n" +
			"$INCLUDE \"sub/last\"\n",
		"sub/o n(e": "a A 192.0.2.1\n",
		"sub/last":  "b A 192.0.2.2\n$INCLUDE \"o n(e\" more\n",
		"bad-wks": "@ IN SOA ns.example.net. h 1 2 3 4 5\n@ NS ns.example.net.\nx WKS 192.0.2.1 TCP (\n" +
			"nonsense )\ny A 192.0.2.1\n",
		"bad-a6":      "@ IN SOA ns.example.net. h 1 2 3 4 5\n@ NS ns.example.net.\nx A6 64 ::1 a\n",
		"bad-include": "@ IN SOA ns.example.net. h 1 2 3 4 5\n@ NS ns.example.net.\n$INCLUDE \"sub/bad wks\"\n",
		"sub/bad wks": "a A 192.0.2.1\nx NSAP 0x4\n",

		"stars": "@ 60 SOA ns.example.net. h 1 2 3 4 5\n@ NS ns.example.net.\nsub.* A 192.0.2.1\na*b A 192.0.2.2\n" +
			"*.* A 192.0.2.3\nx!y A 192.0.2.4\n",
		"owner": " IN SOA ns.example.net. h 1 2 3 4 5\n",
		"cut":   "@ IN SOA ns.example.net. h 1 2 3 4 5\nwww 60 IN",
		"good": "$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\n@ NS NS\nns A 192.0.2.53\n$ORIGIN sub.example.com.\n" +
			"www 1h A 192.0.2.1\n\tAAAA 2001:db8::1\n" +
			"$GENERATE 1-2 n$ 60 A 192.0.2.1$\nx!y TYPE65280 \\# 1 00",
	}[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return []byte(text), nil
}

// What a zone file includes lies in its directory or below, whatever links say: a problem in it tells what it holds.
func TestIncludeOfLinks(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{
		os.WriteFile(outside, []byte("the secret\n"), 0o600), os.Mkdir(in("sub"), 0o700),
		os.WriteFile(in("sub/real"), []byte("a A 192.0.2.1\n"), 0o600),
		os.Symlink("sub/real", in("inside")), os.Symlink("../sub/real", in("sub/up")),
		os.Symlink(in("sub/real"), in("absolute")),
		os.Symlink(outside, in("outside")), os.Symlink(filepath.Dir(outside), in("dir")),
		os.Symlink("gone", in("dangling")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	const leads = "a link on the way leads out of the directory of the zone file, or is absolute"
	for _, tt := range []struct{ include, want string }{
		{"inside", ""},
		{"sub/up", ""},
		{in("inside"), ""},
		{"absolute", leads},
		{"outside", leads},
		{in("outside"), leads},
		{"dir/secret", leads},
		{"dangling", "no such file or directory"},
	} {
		if err := os.WriteFile(in("zone"),
			[]byte("@ SOA ns.example.net. h 1 2 3 4 5\n@ NS ns.example.net.\n$INCLUDE "+tt.include+"\n"),
			0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Parse(in("f"), []byte("zones: [{name: example.com, file: zone}]"))
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.include, err)
		case tt.want == "" && len(c.Zones[0].Records) != 3:
			t.Errorf("%s: records %v", tt.include, c.Zones[0].Records)
		case tt.want != "" && (err == nil ||
			!strings.Contains(err.Error(), "zone:3: is not a zone file: failed to open `"+tt.include+"'") ||
			!strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: got %v, want %s", tt.include, err, tt.want)
		}
	}
}

func TestZoneFile(t *testing.T) {
	c, files, err := parse("f",
		[]byte("zones: [{name: example.com, file: good, ttl: 5, records: [{name: extra, type: A, data: 192.0.2.9}]}]"),
		zoneFiles)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"example.com. 60 IN NS ns.example.com.", "extra.example.com. 5 IN A 192.0.2.9",
		"ns.example.com. 60 IN A 192.0.2.53",
		"n1.sub.example.com. 60 IN A 192.0.2.11", "n2.sub.example.com. 60 IN A 192.0.2.12",
		"www.sub.example.com. 3600 IN A 192.0.2.1", "www.sub.example.com. 60 IN AAAA 2001:db8::1",
		`x!y.sub.example.com. 60 CLASS1 TYPE65280 \# 1 00`}
	slices.Sort(want)
	if diff := cmp.Diff(want, texts(c, "example.com.")); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if soa := c.Zones[0].Records[0].String(); !strings.Contains(soa, "SOA\tns.example.com. h.example.com. 1 2 3 4 5") {
		t.Errorf("the first record is %s, want the SOA", soa)
	}
	if !slices.Equal(files, []string{"f", "good"}) {
		t.Errorf("files %q", files)
	}
}

// Zone files of all kinds, as other servers take them.
func TestZoneFileRecords(t *testing.T) {
	for _, tt := range []struct {
		file, zone string
		want       []string
		files      []string
	}{
		{"includes", "example.com", []string{"a.below.example.com. 60 IN A 192.0.2.1",
			"b.below.example.com. 60 IN A 192.0.2.2", "c.below.example.com. 30 IN A 192.0.2.3",
			"example.com. 60 IN NS ns.example.net.",
			"g1.below.example.com. 90 IN A 192.0.2.11", "g2.below.example.com. 90 IN A 192.0.2.12",
			"last.example.com. 60 IN A 192.0.2.9"}, []string{"sub/one", "sub/two"}},
		{"generate", "example.com",
			[]string{"a1.example.com. 3600 IN A 192.0.2.1", "a2.example.com. 3600 IN A 192.0.2.2",
				"b1.example.com. 60 IN A 192.0.2.1", "c1.example.com. 30 IN A 192.0.2.1",
				"d1.example.com. 5400 IN A 192.0.2.1", "e1.example.com. 90 IN A 192.0.2.1",
				"f1.example.com. 91 IN A 192.0.2.1",
				"x.example.com. 30 IN A 192.0.2.9", "y.example.com. 30 IN A 192.0.2.9",
				"y2.example.com. 30 IN A 192.0.2.9"}, nil},
		{"obsolete", "example.com", []string{"example.com. 60 IN NS ns.example.net.",
			`x.example.com. 60 CLASS1 TYPE11 \# 5 c000020106`, `x.example.com. 60 CLASS1 TYPE22 \# 1 47`,
			"x.example.com. 60 IN SIG A 1 3 60 20300101000000 20200101000000 1 example.com. AAAA",
			"x.example.com. 60 IN NXT y.example.com. A", `x.example.com. 60 CLASS1 TYPE38 \# 1 80`,
			`x.example.com. 60 CLASS1 TYPE40 \# 1 00`}, nil},
		{"spellings", "example.com", []string{`a\ b.example.com. 60 IN X25 311061700956`,
			"example.com. 60 IN NS ns.example.net.", "g.example.com. 60 IN GPOS -32.6882 116.8652 10.0",
			`n.example.com. 60 IN NAPTR 100 50 "s" "SIP+D2U" "" _sip._udp.example.com.`,
			`n.example.com. 60 IN NAPTR 100 51 "s" "SIP\;D2U" "!a\ \"b!" r.example.com.`,
			`n.example.com. 60 IN NAPTR 100 52 "s" "SIP+D2U" "" s.example.com.`,
			`s.example.com. 60 CLASS1 TYPE22 \# 20 47000580005a0000000001e133ffffff00016100`,
			`w.example.com. 60 CLASS1 TYPE11 \# 9 c00002010600000140`,
			`w.example.com. 60 CLASS1 TYPE11 \# 12 c00002021100000000000004`,
			`w.example.com. 60 CLASS1 TYPE11 \# 5 c000020301`, `w.example.com. 60 CLASS1 TYPE11 \# 5 c000020406`,
			"x.example.com. 60 IN X25 311061700956", "x.example.com. 60 IN X25 3110617",
			`x25.example.com. 60 IN TXT "X25" "WKS" "1"`}, nil},
		{"others", "example.com", []string{"c.example.com. 60 IN CSYNC 66 3 A NS",
			"d.example.com. 60 IN KEY 256 3 13 AAAA",
			"d.example.com. 60 IN DNSKEY 257 3 13 AAAA", "d.example.com. 60 IN CDNSKEY 257 3 15 AAAA",
			"example.com. 60 IN NS ns.example.net.",
			"g.example.com. 60 IN NID 10 0014:4fff:ff20:ee64", "g.example.com. 60 IN L64 10 2001:0DB8:0001:1000",
			"i.example.com. 60 IN IPSECKEY 10 1 2 192.0.2.38 AAAA",
			"i.example.com. 60 IN IPSECKEY 10 3 2 gw.example.com. AAAAAAAA", "i.example.com. 60 IN IPSECKEY 10 0 0 . ",
			"l.example.com. 60 IN LOC 42 21 0.000 N 71 06 0.000 W 10m 1m 10000m 10m",
			"l.example.com. 60 IN LOC 42 00 0.000 N 71 06 1.500 W 10m 1m 10000m 10m",
			"last.example.com. 60 IN A 192.0.2.9",
			`s.example.com. 60 IN SVCB 1 . alpn="h2" dohpath="/dns-query{?dns}" key65000="a\ \"b"`,
			`s.example.com. 60 IN SVCB 3 . ipv4hint="192.0.2.1" port="53"`,
			`s.example.com. 60 IN HTTPS 2 x.example.com. alpn="h3" port="443" no-default-alpn=""`}, nil},
		{"generate-forms", "example.com", []string{`$include.example.com. 60 IN A 192.0.2.1`,
			"a010.00-ffffffff.example.com. 60 IN A 192.0.2.8", "a011.01-0.example.com. 60 IN A 192.0.2.9",
			"before.example.com. 60 IN A 192.0.2.9", `before.example.com. 60 IN TXT "of before"`,
			"example.com. 60 IN NS ns.example.net.",
			"n0.1.nb.a.x0fa.example.com. 60 IN A 192.0.2.1", "n3.1.ne.a.x0fd.example.com. 60 IN A 192.0.2.1",
			`s$.h\.1.$\ .example.com. 60 IN A 192.0.2.1`,
			`w1.example.com. 60 CLASS1 TYPE11 \# 7 c0000201060010`}, nil},
		{"generate-quoted", "example.com", []string{"example.com. 60 IN NS ns.example.net.",
			"m1.example.com. 60 IN MX 10 h1.example.com.", "m2.example.com. 60 IN MX 10 h2.example.com.",
			`t1.example.com. 30 IN TXT "a 1 b" "c;d"`, `u1.example.com. 60 IN TXT "a"`}, nil},
		{"parentheses", "example.com", []string{"a.example.com. 60 IN A 192.0.2.1", "b.example.com. 60 IN A 192.0.2.2",
			"example.com. 60 IN NS ns.example.net.", "m.example.com. 60 IN MX 10 x.example.com.",
			"m.example.com. 60 IN MX 20 y.example.com.",
			`n.example.com. 60 IN NAPTR 100 50 "s" "SIP+D2U" "" n.example.com.`,
			`n.example.com. 60 IN NAPTR 100 51 "s" "SIP+D2U" "" n.example.com.`,
			`t.example.com. 60 IN TXT "(" "(" "a(b" "c(d)"`, `w.example.com. 60 CLASS1 TYPE11 \# 9 c00002010600000040`,
			"x.example.com. 60 IN X25 311061700956"}, nil},
		{"includes-quoted", "example.com", []string{"a.below.example.com. 60 IN A 192.0.2.1",
			"a.example.com. 60 IN A 192.0.2.1", "a.more.example.com. 60 IN A 192.0.2.1",
			"b.example.com. 60 IN A 192.0.2.2",
			"example.com. 60 IN NS ns.example.net."}, []string{"sub/o n(e", "sub/last"}},
		{"stars", "example.com", []string{"*.*.example.com. 60 IN A 192.0.2.3", "a*b.example.com. 60 IN A 192.0.2.2",
			"example.com. 60 IN NS ns.example.net.", "sub.*.example.com. 60 IN A 192.0.2.1",
			"x!y.example.com. 60 IN A 192.0.2.4"}, nil},
		{"stars", "b.*.example.com", []string{"*.*.b.*.example.com. 60 IN A 192.0.2.3",
			"a*b.b.*.example.com. 60 IN A 192.0.2.2", "b.*.example.com. 60 IN NS ns.example.net.",
			"sub.*.b.*.example.com. 60 IN A 192.0.2.1", "x!y.b.*.example.com. 60 IN A 192.0.2.4"}, nil},
	} {
		c, files, err := parse("f", []byte("zones: [{name: "+tt.zone+", file: "+tt.file+"}]"), zoneFiles)
		if err != nil {
			t.Errorf("%s: %v", tt.file, err)
			continue
		}
		if diff := cmp.Diff(tt.want, texts(c, tt.zone+".")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.file, diff)
		}
		if want := append([]string{"f", tt.file}, tt.files...); !slices.Equal(files, want) {
			t.Errorf("%s: files %q, want %q", tt.file, files, want)
		}
		if len(c.Warnings) > 0 {
			t.Errorf("%s: warnings %v", tt.file, c.Warnings)
		}
	}
}

// The configuration takes the names that zone files take.
func TestRecordNames(t *testing.T) {
	for name, want := range map[string]string{"sub.*": "sub.*.example.com.", "a*b": "a*b.example.com.",
		"*.*": "*.*.example.com.", "x!y": "x!y.example.com.", "X+Y": "x+y.example.com."} {
		c, err := parseZone(fmt.Sprintf("{name: %q, type: A, data: 192.0.2.1}", name), "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff([]string{want + " 3600 IN A 192.0.2.1"}, texts(c, "example.com.")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// What other servers take, and nobody gets to see or to be sure of, is taken with a warning.
func TestZoneWarnings(t *testing.T) {
	const sub = "{name: sub, type: NS, data: ns.example.net.},\n"
	for _, tt := range []struct {
		name, records, more string
		want                []string
	}{
		{"two TTLs", "{name: x, type: A, data: 192.0.2.1},\n{name: x, type: A, ttl: 60, data: 192.0.2.2}, {name: x, " +
			"type: A, ttl: 70, data: 192.0.2.3}", "",
			[]string{"f:5: zones[0].records[3]: has the TTL 60, and zones[0].records[2] (line 4) has 3600 for A of " +
				"x.example.com.: all get the lowest (RFC 2181 section 5.2)"}},
		{"below a DNAME", "{name: x, type: DNAME, data: y},\n{name: a.b.x, type: A, data: 192.0.2.1}", "",
			[]string{"f:5: zones[0].records[3]: is never given: a.b.x.example.com. lies below the DNAME of " +
				"zones[0].records[2] (line 4) (RFC 6672 section 2.4)"}},
		{"below the zone's DNAME", "{name: '@', type: DNAME, data: example.net.},\n{name: a, type: A, data: 192.0.2.1}",
			"",
			[]string{"f:5: zones[0].records[3]: is never given: a.example.com. lies below the DNAME of " +
				"zones[0].records[2] (line 4) (RFC 6672 section 2.4)"}},
		{"at a delegation", sub + "{name: sub, type: MX, data: 10 y}, {name: sub, type: SOA, data: a b 1 2 3 4 5}, " +
			"{name: sub, type: DS, data: '1 13 2 00'}", "", []string{
			"f:5: zones[0].records[3]: is never given: all but NS, DS and addresses of sub.example.com. is for the " +
				"zone that zones[0].records[2] (line 4) delegates it to, this is MX",
			"f:5: zones[0].records[4]: is never given: all but NS, DS and addresses of sub.example.com. is for the " +
				"zone that zones[0].records[2] (line 4) delegates it to, this is SOA"}},
		{"below a delegation", sub + "{name: y.sub, type: TXT, data: y}, {name: z.sub, type: A, data: 192.0.2.1}", "",
			[]string{"f:5: zones[0].records[3]: is never given: y.sub.example.com. lies below the delegation of " +
				"zones[0].records[2] (line 4), and this is no address but TXT"}},
		{"nonsense below a delegation", sub + "{name: '*.sub', type: NS, data: nowhere.sub},\n" +
			"{name: y.sub, type: CNAME, data: y}, {name: y.sub, type: CNAME, data: z}", "", []string{
			"f:5: zones[0].records[3]: is never given: *.sub.example.com. lies below the delegation of " +
				"zones[0].records[2] (line 4), and this is no address but NS",
			"f:6: zones[0].records[4]: is never given: y.sub.example.com. lies below the delegation of " +
				"zones[0].records[2] (line 4), and this is no address but CNAME",
			"f:6: zones[0].records[5]: is never given: y.sub.example.com. lies below the delegation of " +
				"zones[0].records[2] (line 4), and this is no address but CNAME"}},
		{"a delegation without glue", "{name: x, type: NS, data: ns.x},\n{name: y, type: NS, data: x}", "",
			[]string{"f:4: zones[0].records[2]: names a server that nobody finds: ns.x.example.com. lies in this " +
				"zone and has no address"}},
		{"in another zone", "{name: www.sub, type: TXT, data: x}, {name: sub, type: A, data: 192.0.2.1}",
			"- {name: sub.example.com, soa_from: [192.0.2.1]}", []string{
				"f:4: zones[0].records[2]: is never given: www.sub.example.com. belongs to the zone zones[1] (line 5)",
				"f:4: zones[0].records[3]: is never given: sub.example.com. belongs to the zone zones[1] (line 5)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parseZone(tt.records, tt.more)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range c.Warnings {
				got = append(got, w.Error())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}

	c, _, err := parse("f", []byte("zones: [{name: example.com, file: ttls}]"),
		func(string, access, string) ([]byte, error) {
			return []byte("@ 60 SOA ns.example.net. h 1 2 3 4 5\n@ NS ns.example.net.\nx 70 A 192.0.2.1\n" +
				"x 60 A 192.0.2.2\nx 80 A 192.0.2.3\ny 3000000000 A 192.0.2.1\n" +
				"ns.example.net. A 192.0.2.1\n"), nil
		})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"example.com. 60 IN NS ns.example.net.", "x.example.com. 60 IN A 192.0.2.1",
		"x.example.com. 60 IN A 192.0.2.2", "x.example.com. 60 IN A 192.0.2.3", "y.example.com. 0 IN A 192.0.2.1"}
	if diff := cmp.Diff(want, texts(c, "example.com.")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var told []string
	for _, w := range c.Warnings {
		told = append(told, w.Error())
	}
	if diff := cmp.Diff([]string{
		"ttls:6: has the TTL 3000000000, above 2147483647, which counts as 0 (RFC 2181 section 8)",
		"ttls:7: is never given: ns.example.net. lies outside of the zone example.com.",
		"ttls:4: has the TTL 60, and ttls (line 3) has 70 for A of x.example.com.: all get the lowest " +
			"(RFC 2181 section 5.2)",
	}, told); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// However many there are, the first are told.
	var many strings.Builder
	for i := range strict.MaxProblems + 7 {
		fmt.Fprintf(&many, "{name: x%d.sub, type: TXT, data: x},", i)
	}
	if c, err = parseZone(sub+many.String(), ""); err != nil {
		t.Fatal(err)
	}
	if n := len(c.Warnings); n != strict.MaxProblems+1 || strict.Count(c.Warnings) != strict.MaxProblems+7 {
		t.Errorf("%d warnings for %d", n, strict.Count(c.Warnings))
	}
}

// An RRset that no message can carry is refused.
func TestRRsetSize(t *testing.T) {
	records := func(n int) string {
		var b strings.Builder
		for i := range n {
			// 15 + 10 + 1 + 236 bytes
			fmt.Fprintf(&b, "{name: x, type: TXT, data: %s%04d},", strings.Repeat("x", 232), i)
		}
		return b.String()
	}
	if _, err := parseZone(records(maxRRset/262), ""); err != nil {
		t.Error(err)
	}
	_, err := parseZone(records(maxRRset/262+1), "")
	checkProblems(t, []string{"f:4: zones[0].records[246]: must fit into one message with the other TXT records of " +
		"x.example.com.: they have more than 64000 bytes together"}, err)
}

// Names that rules balance, against what their zone has.
func TestBalancedNames(t *testing.T) {
	const kinds = "answers: [{name: vip, kind: vip, ipv4: 192.0.2.1}, {name: cname, kind: cname, target: " +
		"www.example.net}, {name: server, kind: name_server, servers: [192.0.2.1]}]\n" +
		"groups: [{name: vip, members: [{answer: vip}]}, {name: cname, members: [{answer: cname}]}, {name: server, " +
		"members: [{answer: server}]}]\n"
	for _, tt := range []struct{ name, domain, clauses, record, want string }{
		{"nothing there", "x", "{group: vip}", "", ""},
		{"other types", "x", "{group: vip}", "{name: x, type: HTTPS, data: 1 .}, {name: x, type: MX, data: 10 y}", ""},
		{"the zone's name", "@", "{group: vip}", "", ""},
		{"an address", "x", "{group: vip}", "{name: x, type: A, data: 192.0.2.1}", "must have no A record in its " +
			"zone, x.example.com. has that of zones[0].records[2] (line 4): rules[0] balances the name"},
		{"an address of the other family", "x", "{group: vip}", "{name: x, type: AAAA, data: '2001:db8::1'}",
			"must have no AAAA record in its zone, x.example.com. has that of zones[0].records[2] (line 4): rules[0] " +
				"balances the name"},
		{"a CNAME", "x", "{group: vip}", "{name: x, type: CNAME, data: y}", "must have no CNAME record in its zone, " +
			"x.example.com. has that of zones[0].records[2] (line 4): rules[0] balances the name"},
		{"a wildcard's address", "'*.x", "{group: vip}", "{name: '*.x', type: A, data: 192.0.2.1}",
			"must have no A record in its zone, *.x.example.com. has that of zones[0].records[2] (line 4): rules[0] " +
				"balances the name"},
		{"a wildcard beside its parent", "'*.x", "{group: vip}", "{name: x, type: A, data: 192.0.2.1}", ""},
		{"by CNAME, nothing there", "x", "{group: cname}", "", ""},
		{"by CNAME, something there", "x", "{group: vip}, {group: cname}", "{name: x, type: MX, data: 10 y}",
			"must have no records in its zone, x.example.com. has the MX of zones[0].records[2] (line 4): rules[0] " +
				"may answer with a CNAME, which must be alone at its name"},
		{"by CNAME, the zone's name", "@", "{group: cname}", "", "must not be the name of a zone, is that of " +
			"zones[0] (line 2), while rules[0] may answer it with a CNAME, which must be alone at its name"},
		{"by name server, something there", "x", "{group: server}", "{name: x, type: MX, data: 10 y}", ""},
		{"by name server, the zone's name", "@", "{group: server}", "", ""},
		{"by name server, an address there", "x", "{group: server}", "{name: x, type: A, data: 192.0.2.1}",
			"must have no A record in its zone, x.example.com. has that of zones[0].records[2] (line 4): rules[0] " +
				"balances the name"},
		{"delegated", "x", "{group: vip}", "{name: x, type: NS, data: ns.example.net.}",
			"must not be delegated, x.example.com. is at or below the delegation of zones[0].records[2] (line 4)"},
		{"below a delegation", "a.b.x", "{group: vip}", "{name: x, type: NS, data: ns.example.net.}",
			"must not be delegated, a.b.x.example.com. is at or below the delegation of zones[0].records[2] (line 4)"},
		{"below a DNAME", "'*.x", "{group: vip}", "{name: x, type: DNAME, data: y}",
			"must not lie below a DNAME, *.x.example.com. lies below that of zones[0].records[2] (line 4)"},
		{"beside a DNAME", "x", "{group: vip}", "{name: x, type: DNAME, data: y}", ""},
		{"a name server's address", "ns", "{group: vip}", "{name: '@', type: NS, data: ns}", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			domain := tt.domain + ".example.com"
			if tt.domain == "@" {
				domain = "example.com"
			}
			if strings.HasPrefix(domain, "'") {
				domain += "'"
			}
			_, err := parseZone(tt.record,
				kinds+"domain_lists: [{name: d, domains: ["+domain+"]}]\nrules: [{name: r, domains: d, clauses: ["+
					tt.clauses+"]}]\n")
			var want []string
			if tt.want != "" {
				want = []string{fmt.Sprintf("f:%d: domain_lists[0].domains[0]: %s", 7, tt.want)}
			}
			checkProblems(t, want, err)
		})
	}
}

// Names in their canonical form, by way of the fast path and of the wire, are the same.
func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{"", ".", "a", "WWW.Example.com.", "*.a", `a\.b`, `\097`, "a..b",
		strings.Repeat("a.", 127), strings.Repeat("a", 64)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := canonical(text)
		if err != nil {
			return
		}
		want, err := normal(text)
		if err != nil || got != want {
			t.Errorf("canonical(%q) = %q; by the wire %q, %v", text, got, want, err)
		}
		if again, err := normal(got); err != nil || again != got {
			t.Errorf("the canonical %q has the canonical form %q, %v", got, again, err)
		}
		for at, n := got, 0; at != ""; at, n = parent(at), n+1 {
			if !within(got, at) || n > 128 {
				t.Fatalf("%q does not lie in %q", got, at)
			}
		}
	})
}
