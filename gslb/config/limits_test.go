package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// long is a name of 128 characters.
func long(what string, i int) string {
	return fmt.Sprintf("%s-%0*d", what, maxName-1-len(what), i)
}

// Sizes of the system that many configurations come from.
const (
	manyRules, manyVIPs       = 4000, 4000
	manyDomains               = 2000
	manyLists, manyNames      = 2000, 500
	manySources, manyPrefixes = 60, 30
)

// atLimits writes a configuration that has as much of everything as that one takes, at once; every object's name is as
// long as can be.
func atLimits() string {
	var b strings.Builder
	b.WriteString("server: {listen: [127.0.0.1:5300]}\nsource_lists:\n")
	for i := range manySources {
		fmt.Fprintf(&b, "- {name: %s, prefixes: [10.%d.0.1", long("s", i), i)
		for j := 1; j < manyPrefixes; j++ {
			fmt.Fprintf(&b, ", 10.%d.%d.0/24", i, j)
		}
		b.WriteString("]}\n")
	}
	b.WriteString("domain_lists:\n")
	for i := range manyLists {
		fmt.Fprintf(&b, "- name: %s\n  domains:\n", long("d", i))
		for j := range manyNames {
			fmt.Fprintf(&b, "  - www%d.d%d.example\n", j, i)
		}
	}
	b.WriteString("answers:\n")
	for i := range manyVIPs {
		fmt.Fprintf(&b, "- {name: %s, kind: vip, ipv4: 10.1.%d.%d, keepalives: [{kind: icmp}, {kind: tcp, port: 80}, "+
			"{kind: tcp, port: 443}, {kind: http_head}, {kind: http_head, tls: true}]}\n", long("a", i), i/250, i%250+1)
	}
	b.WriteString("groups:\n")
	for i := range manyVIPs {
		fmt.Fprintf(&b, "- {name: %s, members: [{answer: %s}]}\n", long("g", i), long("a", i))
	}
	b.WriteString("rules:\n")
	for i := range manyRules {
		fmt.Fprintf(&b, "- {name: %s, sources: %s, domains: %s, clauses: [{group: %s}, {group: %s, balance: "+
			"ordered}, {group: %s, balance: hash_both}]}\n",
			long("r", i), long("s", i%manySources), long("d", i%manyLists), long("g", i), long("g", (i+1)%manyVIPs),
			long("g", (i+2)%manyVIPs))
	}
	b.WriteString("zones:\n")
	for i := range manyDomains {
		fmt.Fprintf(&b, "- {name: d%d.example, records: [{name: \"@\", type: SOA, data: ns h 1 2 3 4 5}, {name: "+
			"\"@\", type: NS, data: ns.example.}]}\n", i)
	}
	return b.String()
}

func TestParseAtLimits(t *testing.T) {
	c, err := Parse("f", []byte(atLimits()))
	if err != nil {
		t.Fatalf("%.2000s", err.Error())
	}
	for _, tt := range []struct {
		what      string
		got, want int
	}{
		{"rules", len(c.Rules), manyRules},
		{"clauses of the last rule", len(c.Rules[manyRules-1].Clauses), 3},
		{"VIPs", len(c.Answers), manyVIPs},
		{"keepalives", len(c.Keepalives), 5 * manyVIPs},
		{"domains hosted", len(c.Zones), manyDomains},
		{"domain lists", len(c.DomainLists), manyLists},
		{"names of the last domain list", len(c.DomainLists[manyLists-1].Domains), manyNames},
		{"source lists, and anywhere", len(c.SourceLists), manySources + 1},
		{"prefixes of the last source list", len(c.SourceLists[manySources].Prefixes), manyPrefixes},
		{"length of a name", len(c.Rules[0].Name), 128},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %d, want %d", tt.what, tt.got, tt.want)
		}
	}
}

// Names have as many characters as DNS allows (RFC 1035 section 2.3.4), and no more.
func TestLongestNames(t *testing.T) {
	label := strings.Repeat("a", 63)
	longest := strings.Join([]string{label, label, label, label[:53], "example"}, ".") // 253
	file := func(domain, object string) string {
		return fmt.Sprintf("domain_lists: [{name: %s, domains: [%s]}]\n"+
			"answers: [{name: a, kind: vip, ipv4: 192.0.2.1}]\n"+
			"groups: [{name: g, members: [{answer: a}]}]\nrules: [{name: r, domains: %s, clauses: [{group: g}]}]\n"+
			"zones: [{name: example, soa_from: [192.0.2.53]}]\n", object, domain, object)
	}
	for _, tt := range []struct{ name, domain, object, want string }{
		{"128 characters", strings.Repeat("a", 60) + "." + strings.Repeat("b", 59) + ".example", long("d", 1), "<nil>"},
		{"253 characters", longest, "d", "<nil>"},
		{"253 characters and the dot", longest + ".", "d", "<nil>"},
		{"254 characters", "a" + longest, "d", "f:1: domain_lists[0].domains[0]: must be a domain name such as " +
			"www.example.com, or a wildcard such as *.example.com, is \"a" + longest[:59] +
			"\"...: a name may have at most 255 bytes on the wire, that is 253 characters"},
		{"a label of 64", "a" + label + ".example", "d", "f:1: domain_lists[0].domains[0]: must be a domain name " +
			"such as www.example.com, or a wildcard such as *.example.com, is \"" + label[:60] +
			"\"...: a label may have at most 63 bytes"},
		{"an object's of 129", "www.example", "a" + long("d", 1), "f:1: domain_lists[0].name: must be 1..128 " +
			"letters, digits, \".\", \"_\" or \"-\", the first one a letter or a digit, is \"ad-" +
			strings.Repeat("0", 57) + "\"..."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("f", []byte(file(tt.domain, tt.object)))
			if diff := cmp.Diff(tt.want, fmt.Sprint(err)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// One more than the most of anything is refused, with what the most is.
func TestParseRefusesOneMore(t *testing.T) {
	// With room for n: the list in brackets, whose elements are made of what follows.
	list := func(n int, element func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(element(i) + ",")
		}
		return "[" + b.String() + "]"
	}
	name := func(i int) string { return fmt.Sprintf("{name: n%d}", i) }
	address := func(i int) string { return fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255) }
	const group = "answers: [{name: a, kind: vip, ipv4: 192.0.2.1}]\ngroups: [{name: g, members: [{answer: a}]}]\n" +
		"zones: [{name: example, soa_from: [192.0.2.53]}]\ndomain_lists: [{name: d, domains: [www.example]}]\n"
	for _, tt := range []struct {
		name string
		most int
		file func(n int) string
		want string
	}{
		{"regions", maxRegions, func(n int) string { return "regions: " + list(n, name) },
			"regions: must be at most 1000, are 1001"},
		{"owners", maxOwners, func(n int) string { return "owners: " + list(n, name) },
			"owners: must be at most 10000, are 10001"},
		{"data centers", maxDataCenters, func(n int) string { return "data_centers: " + list(n, name) },
			"data_centers: must be at most 1000, are 1001"},
		{"source lists", maxSourceLists, func(n int) string {
			return "source_lists: " + list(n,
				func(i int) string { return fmt.Sprintf("{name: n%d, prefixes: [10.0.0.0/8]}", i) })
		}, "source_lists: must be at most 2000, are 2001"},
		{"prefixes", maxPrefixes,
			func(n int) string { return "source_lists: [{name: s, prefixes: " + list(n, address) + "}]" },
			"source_lists[0].prefixes: must be at most 20000, are 20001"},
		{"domain lists", maxDomainLists, func(n int) string {
			return "domain_lists: " + list(n, func(i int) string { return fmt.Sprintf("{name: n%d, domains: [a]}", i) })
		}, "domain_lists: must be at most 10000, are 10001"},
		{"names of a domain list", maxDomains, func(n int) string {
			return "domain_lists: [{name: d, domains: " + list(n, func(i int) string { return fmt.Sprintf("a%d", i) }) +
				"}]"
		}, "domain_lists[0]: must have at most 2000 names and expressions, has 2001"},
		{"expressions", maxExpressions, func(n int) string {
			return "domain_lists: [{name: d, expressions: " + list(n,
				func(i int) string { return fmt.Sprintf("a%d", i) }) + "}]"
		}, "domain_lists: must have at most 1000 expressions together, have 1001: a name that no zone and no list " +
			"has is held against each"},
		{"keepalives", maxKeepalives, func(n int) string {
			return "keepalives: " + list(n, func(i int) string { return fmt.Sprintf("{name: n%d, kind: none}", i) })
		}, "keepalives: must be at most 20000, are 20001"},
		{"answers", maxAnswers, func(n int) string {
			return "answers: " + list(n,
				func(i int) string { return fmt.Sprintf("{name: n%d, kind: vip, ipv4: 192.0.2.1}", i) })
		}, "answers: must be at most 20000, are 20001"},
		{"keepalives of an answer", maxProbes, func(n int) string {
			return "answers: [{name: a, kind: vip, ipv4: 192.0.2.1, keepalives: " + list(n,
				func(i int) string { return fmt.Sprintf("{kind: tcp, port: %d}", i+1) }) + "}]"
		}, "answers[0].keepalives: must be at most 32, are 33"},
		{"name servers", maxServers, func(n int) string {
			return "answers: [{name: a, kind: name_server, servers: " + list(n,
				func(i int) string { return fmt.Sprintf("192.0.2.%d", i+1) }) + "}]"
		}, "answers[0].servers: must be at most 16, are 17"},
		{"groups", maxGroups, func(n int) string {
			return "answers: [{name: a, kind: vip, ipv4: 192.0.2.1}]\ngroups: " + list(n,
				func(i int) string { return fmt.Sprintf("{name: n%d, members: [{answer: a}]}", i) })
		}, "groups: must be at most 20000, are 20001"},
		{"members", maxMembers, func(n int) string {
			return "answers: " + list(n,
				func(i int) string { return fmt.Sprintf("{name: n%d, kind: vip, ipv4: 192.0.2.1}", i) }) +
				"\ngroups: [{name: g, members: " + list(n,
				func(i int) string { return fmt.Sprintf("{answer: n%d}", i) }) + "}]"
		}, "groups[0].members: must be at most 1000, are 1001"},
		{"rules", maxRules, func(n int) string {
			return group + "rules: " + list(n,
				func(i int) string { return fmt.Sprintf("{name: n%d, domains: d, clauses: [{group: g}]}", i) })
		}, "rules: must be at most 20000, are 20001"},
		{"clauses", maxClauses, func(n int) string {
			return group + "rules: [{name: r, domains: d, clauses: " + list(n,
				func(int) string { return "{group: g}" }) + "}]"
		}, "rules[0].clauses: must be at most 32, are 33"},
		{"zones", maxZones, func(n int) string {
			return "zones: " + list(n,
				func(i int) string { return fmt.Sprintf("{name: n%d, soa_from: [192.0.2.53]}", i) })
		}, "zones: must be at most 10000, are 10001"},
		{"listeners", maxListen, func(n int) string { return "server: {listen: " + list(n, address) + "}" },
			"server.listen: must be at most 64, are 65"},
		{"cookie secrets", maxSecrets, func(n int) string {
			return "server: {cookie_secrets: " + list(n, func(i int) string { return fmt.Sprintf("%032x", i) }) + "}"
		}, "server.cookie_secrets: must be at most 16, are 17"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Parse("f", []byte(tt.file(tt.most))); err != nil {
				t.Errorf("%d: %v", tt.most, err)
			}
			_, err := Parse("f", []byte(tt.file(tt.most+1)))
			_, message, _ := strings.Cut(strings.TrimPrefix(fmt.Sprint(err), "f:"), ": ") // without the line
			if diff := cmp.Diff(tt.want, message); diff != "" {
				t.Errorf("one more (-want +got):\n%s", diff)
			}
		})
	}
}

func TestZoneRecordsLimit(t *testing.T) {
	zone := func(n int) reader { // of n records
		return func(string, access, string) ([]byte, error) {
			var b strings.Builder
			b.WriteString("@ SOA ns.example.net. h 1 2 3 4 5\n@ NS ns.example.net.\n")
			for i := 2; i < n; {
				last := min(n-1, i+65535)
				fmt.Fprintf(&b, "$GENERATE %d-%d $ 60 A 192.0.2.1\n", i, last)
				i = last + 1
			}
			return []byte(b.String()), nil
		}
	}
	c, _, err := parse("f", []byte("zones: [{name: example, file: z}]"), zone(maxRecords))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(c.Zones[0].Records); got != maxRecords {
		t.Errorf("%d records, want %d", got, maxRecords)
	}
	_, _, err = parse("f", []byte("zones: [{name: example, file: z}]"), zone(maxRecords+1))
	if want := "f:1: zones[0]: must have at most 250000 records, has more"; fmt.Sprint(err) != want {
		t.Errorf("one more: %v, want %s", err, want)
	}
}
