package selection

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
)

// TestClauses shows what each way through the clauses of a rule comes to.
func TestClauses(t *testing.T) {
	forward := []netip.AddrPort{netip.MustParseAddrPort("198.51.100.53:53")}
	clause := func(group string, policy config.Policy) string { return fmt.Sprintf("%s %d", group, policy) }
	for _, tt := range []struct {
		name    string
		clauses []string // group and policy
		unknown config.UnknownPolicy
		qtype   uint16
		states  string
		want    string
	}{
		{"first clause", []string{"ab", "cd"}, 0, dns.TypeA, "", "addresses a"},
		{"first member down", []string{"ab", "cd"}, 0, dns.TypeA, "a:down", "addresses b"},
		{"first clause down", []string{"ab", "cd"}, 0, dns.TypeA, "a:down b:down", "addresses c"},
		{"first clause suspended", []string{"ab", "cd"}, 0, dns.TypeA, "a:suspended b:suspended", "addresses c"},
		{"above the threshold", []string{"threshold", "cd"}, 0, dns.TypeA, "a:151 b:150", "addresses b"},
		{"all above the threshold", []string{"threshold", "cd"}, 0, dns.TypeA, "a:151 b:255", "addresses c"},
		{"load without a threshold", []string{"ab"}, 0, dns.TypeA, "a:255", "addresses a"},
		{"weight zero", []string{"drained"}, 0, dns.TypeA, "", "addresses b"},
		{"all down, next clause at the end", []string{"ab"}, 0, dns.TypeA, "a:down b:down", "no data"},
		{"all down, no data", []string{clause("ab", config.NoData), "cd"}, 0, dns.TypeA, "a:down b:down",
			"no data (no data)"},
		{"all down, refused", []string{clause("ab", config.Refused)}, 0, dns.TypeA, "a:down b:down",
			"refused (refused)"},
		{"all down, forward", []string{clause("ab", config.Forward)}, 0, dns.TypeA, "a:down b:down",
			"forward [198.51.100.53:53] (forward)"},
		{"all down, all answers", []string{clause("ab", config.AllAnswers)}, 0, dns.TypeA, "a:down b:down",
			"addresses a (all answers)"},
		{"all answers, not suspended ones", []string{clause("ab", config.AllAnswers)}, 0, dns.TypeA,
			"a:suspended b:down", "addresses b (all answers)"},
		{"all answers, above the threshold", []string{clause("threshold", config.AllAnswers)}, 0, dns.TypeA,
			"a:200 b:200", "addresses a (all answers)"},
		{"all answers, none but suspended", []string{clause("ab", config.AllAnswers), "cd"}, 0, dns.TypeA,
			"a:suspended b:suspended", "addresses c"},
		{"all answers, not of weight zero", []string{clause("drained", config.AllAnswers)}, 0, dns.TypeA, "b:down",
			"addresses b (all answers)"},
		{"all answers, all of weight zero", []string{clause("weightless", config.AllAnswers)}, 0, dns.TypeA, "",
			"addresses a (all answers)"},
		{"all of weight zero", []string{"weightless", "cd"}, 0, dns.TypeA, "", "addresses c"},
		{"wait", []string{"ab"}, config.Wait, dns.TypeA, "a:unknown b:unknown", "wait"},
		{"wait for the one that is not down", []string{"ab"}, config.Wait, dns.TypeA, "a:down b:unknown", "wait"},
		{"no waiting while a later clause is up", []string{"ab", "cd"}, config.Wait, dns.TypeA, "a:unknown b:unknown",
			"addresses c"},
		{"no waiting while the last clause is up", []string{"ab", "cd", "cnames"}, config.Wait, dns.TypeA,
			"a:unknown b:down c:down d:unknown", "CNAME n1"},
		{"wait where all later clauses are down", []string{"ab", "cd"}, config.Wait, dns.TypeA,
			"a:unknown b:down c:down d:down", "wait"},
		{"wait while later clauses do not know either", []string{"ab", "cd"}, config.Wait, dns.TypeA,
			"a:down b:down c:down d:unknown", "wait"},
		{"wait where the policy leads to no other clause", []string{clause("ab", config.Refused), "cd"}, config.Wait,
			dns.TypeA, "a:unknown b:down", "wait"},
		{"wait where the policy gives what is not down for sure", []string{clause("ab", config.AllAnswers), "cd"},
			config.Wait, dns.TypeA, "a:down b:unknown", "wait"},
		{"no waiting where the policy gives the only one in any case", []string{clause("d", config.AllAnswers), "ab"},
			config.Wait, dns.TypeA, "d:unknown", "addresses d (all answers)"},
		{"no waiting where the policy gives the same in any case", []string{clause("ab", config.AllAnswers), "cd"},
			config.Wait, dns.TypeA, "a:unknown b:down", "addresses a (all answers)"},
		{"no waiting where the policy of a later clause gives the same in any case",
			[]string{"d", clause("d", config.AllAnswers)}, config.Wait, dns.TypeA, "d:unknown",
			"addresses d (all answers)"},
		{"wait where the policy of a later clause gives another", []string{"d", clause("ab", config.AllAnswers)},
			config.Wait, dns.TypeA, "a:down b:down d:unknown", "wait"},
		{"wait where one of two may be given", []string{clause("ab", config.AllAnswers)}, config.Wait, dns.TypeA,
			"a:unknown b:unknown", "wait"},
		{"wait where either clause may give", []string{"d", clause("v4", config.AllAnswers)}, config.Wait, dns.TypeA,
			"d:unknown v4:unknown", "wait"},
		{"no waiting for a CNAME that is given in any case", []string{clause("name", config.AllAnswers)}, config.Wait,
			dns.TypeMX, "n1:unknown", "CNAME n1 (all answers)"},
		{"no waiting for a name server that is asked in any case", []string{clause("server", config.AllAnswers)},
			config.Wait, dns.TypeA, "s1:unknown", "forward s1 (all answers)"},
		{"wait before the policy of a later clause", []string{"ab", clause("cd", config.Refused), "cnames"},
			config.Wait, dns.TypeA, "a:unknown b:down c:down d:down", "wait"},
		{"no waiting beyond a policy that has nothing to give",
			[]string{"ab", clause("cd", config.AllAnswers), "cnames"}, config.Wait, dns.TypeA,
			"a:unknown b:down c:suspended d:suspended", "CNAME n1"},
		{"no waiting for what cannot be asked", []string{"ab"}, config.Wait, dns.TypeA, "a:unseen b:down", "no data"},
		{"what cannot be asked goes by the policy", []string{clause("ab", config.AllAnswers)}, config.Wait, dns.TypeA,
			"a:unseen b:down", "addresses a (all answers)"},
		{"what cannot be asked, and one that can", []string{"ab"}, config.Wait, dns.TypeA, "a:unseen b:unknown",
			"wait"},
		{"what cannot be asked, as up", []string{"ab"}, config.AsUp, dns.TypeA, "a:unseen b:down", "addresses a"},
		{"no waiting while one is up", []string{"ab", "cd"}, config.Wait, dns.TypeA, "a:unknown", "addresses b"},
		{"no waiting for what is suspended", []string{"ab", "cd"}, config.Wait, dns.TypeA, "a:suspended b:down",
			"addresses c"},
		{"unknown as up", []string{"ab", "cd"}, config.AsUp, dns.TypeA, "a:unknown b:unknown", "addresses a"},
		{"unknown as down", []string{"ab", "cd"}, config.AsDown, dns.TypeA, "a:unknown b:unknown", "addresses c"},
		{"AAAA", []string{"ab"}, 0, dns.TypeAAAA, "", "addresses a"},
		{"AAAA, of those that have one", []string{"only4+b"}, 0, dns.TypeAAAA, "", "addresses b"},
		{"AAAA, none has one", []string{"only4"}, 0, dns.TypeAAAA, "", "no data"},
		{"A, none has one", []string{"only6"}, 0, dns.TypeA, "", "no data"},
		{"AAAA, none has one, not even waiting", []string{"only4"}, config.Wait, dns.TypeAAAA, "v4:unknown", "no data"},
		{"AAAA, policy of a clause without", []string{clause("only4", config.Refused), "cd"}, 0, dns.TypeAAAA, "",
			"addresses c"},
		{"AAAA of the next clause", []string{"only4", "cd"}, 0, dns.TypeAAAA, "", "addresses c"},
		{"MX of VIPs", []string{"ab"}, 0, dns.TypeMX, "a:unknown b:unknown", "no data"},
		{"CNAME", []string{"cnames"}, 0, dns.TypeA, "", "CNAME n1"},
		{"CNAME for MX", []string{"cnames"}, 0, dns.TypeMX, "n1:down", "CNAME n2"},
		{"CNAME after VIPs", []string{"ab", "cnames"}, 0, dns.TypeA, "a:down b:down", "CNAME n1"},
		{"no CNAME for MX beside addresses", []string{"ab", "cnames"}, 0, dns.TypeMX, "a:down", "no data"},
		{"no CNAME for AAAA beside addresses", []string{"only4", "cnames"}, 0, dns.TypeAAAA, "", "no data"},
		{"no CNAME for MX beside a policy", []string{clause("ab", config.Refused), "cnames"}, 0, dns.TypeMX,
			"a:down b:down", "no data"},
		{"CNAME for MX, addresses down", []string{"ab", "cnames"}, 0, dns.TypeMX, "a:down b:down", "CNAME n1"},
		{"CNAME for MX, addresses unknown: as for A", []string{"ab", "cnames"}, config.Wait, dns.TypeMX,
			"a:down b:unknown", "CNAME n1"},
		{"no data for MX, addresses unknown, names down", []string{"ab", "cnames"}, config.Wait, dns.TypeMX,
			"a:down b:unknown n1:down n2:down", "no data"},
		{"wait for MX, addresses unknown, names refused", []string{"ab", clause("cnames", config.Refused)}, config.Wait,
			dns.TypeMX, "a:down b:unknown n1:down n2:down", "wait"},
		{"wait for MX, addresses and names unknown", []string{"ab", "cnames"}, config.Wait, dns.TypeMX,
			"a:down b:unknown n1:down n2:unknown", "wait"},
		{"no CNAME for MX beside addresses, names before them unknown", []string{"cnames", "ab"}, config.Wait,
			dns.TypeMX, "n1:unknown n2:down", "no data"},
		{"name server", []string{"servers"}, 0, dns.TypeA, "", "forward s1"},
		{"name server for MX", []string{"ab", "servers"}, 0, dns.TypeMX, "s1:down", "forward s2"},
		{"empty group", []string{"empty", "cd"}, 0, dns.TypeA, "", "addresses c"},
		{"no clauses", nil, 0, dns.TypeA, "", "no data"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.vips("a", "b", "c", "d")
			w.vip("v4", "198.51.100.4")
			w.vip("v6", "2001:db8::6")
			w.cname("n1")
			w.cname("n2")
			w.server("s1", "198.51.100.1:53")
			w.server("s2", "198.51.100.2:53")
			groups := map[string]int{
				"ab":         w.group("ab", "a", "b"),
				"cd":         w.group("cd", "c", "d"),
				"threshold":  w.group("threshold", "a*1>150", "b*1>150"),
				"drained":    w.group("drained", "a*0", "b"),
				"weightless": w.group("weightless", "a*0", "b*0"),
				"only4":      w.group("only4", "v4"),
				"only6":      w.group("only6", "v6"),
				"only4+b":    w.group("only4+b", "v4", "b"),
				"cnames":     w.group("cnames", "n1", "n2"),
				"servers":    w.group("servers", "s1", "s2"),
				"d":          w.group("d", "d"),
				"v4":         w.group("v4", "v4"),
				"name":       w.group("name", "n1"),
				"server":     w.group("server", "s1"),
				"empty":      w.group("empty"),
			}
			w.Groups[groups["empty"]].Kind = config.VIP
			rule := config.Rule{Unknown: tt.unknown, Forward: forward, Domains: w.domains("d", "www.example.")}
			for _, s := range tt.clauses {
				var c config.Clause
				name, policy, _ := strings.Cut(s, " ")
				fmt.Sscan(policy, &c.AllDown)
				c.Group = groups[name]
				rule.Clauses = append(rule.Clauses, c)
			}
			w.rule(rule)

			q := query(t)
			q.Type = tt.qtype
			var out Choice
			r, s := w.compile(), w.states(strings.Fields(tt.states)...)
			r.Select(s, &q, &out)
			if diff := cmp.Diff(tt.want, w.describe(&out)); diff != "" {
				t.Errorf("choice (-want +got):\n%s", diff)
			}
			if out.TTL != 20 || out.Rule != 0 {
				t.Errorf("TTL %d of rule %d, want 20 of 0", out.TTL, out.Rule)
			}
			if wait := out.MaxWait; (wait == 5*time.Second) != (out.Outcome == Wait) {
				t.Errorf("%s with a wait of %s", out.Outcome, wait)
			}
			explained, why := r.Explain(s, &q)
			if diff := cmp.Diff(out, explained, cmp.Comparer(equalKeys), cmp.Comparer(equalAddrPorts)); diff != "" {
				t.Errorf("Explain says otherwise (-select +explain):\n%s%s", diff, why.String())
			}
		})
	}
}

func equalKeys(a, b StickyKey) bool           { return a == b }
func equalAddrPorts(a, b netip.AddrPort) bool { return a == b }

// TestRules shows which rule decides.
func TestRules(t *testing.T) {
	for _, tt := range []struct {
		name           string
		rules          string // source lists; "+" where the rule looks at client subnets
		source, subnet string
		states         string
		want           string // rule and scope
	}{
		{"anywhere", "anywhere", "192.0.2.1", "", "", "rule0"},
		{"anywhere, IPv6", "anywhere", "2001:db8::1", "", "", "rule0"},
		{"anywhere, IPv4 in IPv6", "ten", "::ffff:10.1.2.3", "", "", "rule0"},
		{"not in the list", "ten", "192.0.2.1", "", "", "none"},
		{"longest prefix", "anywhere ten tenone", "10.1.0.1", "", "", "rule2"},
		{"longest prefix has not the client", "anywhere ten tenone", "10.2.0.1", "", "", "rule1"},
		{"file order", "ten ten anywhere", "10.2.0.1", "", "", "rule0"},
		{"file order among lists with the same prefix", "six ten alsoten", "10.2.0.1", "", "", "rule1"},
		{"suspended", "ten ten anywhere", "10.2.0.1", "", "rule0:suspended", "rule1"},
		{"suspended, shorter prefix", "anywhere ten tenone", "10.1.0.1", "", "rule2:suspended rule1:suspended",
			"rule0"},
		{"suspended, shorter prefix of another list", "ten tenone", "10.1.0.1", "", "rule1:suspended", "rule0"},
		{"all suspended", "anywhere", "10.1.0.1", "", "rule0:suspended", "none"},
		{"IPv6 list", "anywhere six", "2001:db8:1::1", "", "", "rule1"},
		{"IPv6 list, IPv4 client", "six", "10.0.0.1", "", "", "none"},
		{"subnet not allowed", "anywhere ten", "192.0.2.1", "10.1.2.0/24", "", "rule0"},
		{"subnet allowed", "anywhere+ ten+", "192.0.2.1", "10.1.2.0/24", "", "rule1 scope 8"},
		{"no subnet", "anywhere+ ten+", "10.1.2.3", "", "", "rule1"},
		{"subnet of no bits is no subnet", "anywhere+ ten+", "10.1.2.3", "0.0.0.0/0", "", "rule1"},
		{"subnet nobody has", "anywhere+ ten+", "10.1.2.3", "11.0.0.0/24", "", "rule0 scope 8"},
		{"subnet with anywhere alone", "anywhere+", "10.1.2.3", "11.0.0.0/24", "", "rule0 scope 0"},
		{"hole", "anywhere+ ten+ tenone+", "192.0.2.1", "10.2.0.0/24", "", "rule1 scope 15"},
		{"inner prefix", "anywhere+ ten+ tenone+", "192.0.2.1", "10.1.9.0/24", "", "rule2 scope 16"},
		{"subnet shorter than the prefix", "anywhere+ ten+ tenone+", "192.0.2.1", "10.0.0.0/8", "", "rule1 scope 16"},
		{"subnet shorter than any prefix", "anywhere+ ten+", "192.0.2.1", "8.0.0.0/6", "", "rule0 scope 7"},
		{"subnet shorter than the prefix around its first address", "anywhere+ zeroes+", "192.0.2.1", "10.0.0.0/8", "",
			"rule0 scope 24"},
		{"the source's prefix is longer", "ten tenone+", "10.9.9.9", "10.1.0.0/24", "", "rule1 scope 16"},
		{"the subnet's prefix is shorter", "tenone ten+", "10.1.9.9", "10.2.0.0/24", "", "rule0 scope 8"},
		{"the same length, file order", "ten alsoten+", "10.1.9.9", "10.2.0.0/24", "", "rule0 scope 8"},
		{"no rule has the subnet", "ten+", "10.1.9.9", "11.0.0.0/24", "", "none scope 8"},
		{"IPv6 subnet over IPv4", "anywhere+ six+", "10.1.9.9", "2001:db8:8::/48", "", "rule1 scope 32"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			lists := map[string]int{
				"anywhere": 0,
				"ten":      w.sources("ten", "10.0.0.0/8"),
				"alsoten":  w.sources("alsoten", "172.16.0.0/12", "10.0.0.0/8"),
				"tenone":   w.sources("tenone", "10.1.0.0/16"),
				"zeroes":   w.sources("zeroes", "10.0.0.0/24"),
				"six":      w.sources("six", "2001:db8::/32"),
			}
			w.vips("a")
			group, domains := w.group("g", "a"), w.domains("d", "www.example.")
			for list := range strings.FieldsSeq(tt.rules) {
				list, subnet := strings.CutSuffix(list, "+")
				w.rule(config.Rule{
					Sources: lists[list], Domains: domains, ClientSubnet: subnet,
					Clauses: []config.Clause{{Group: group}},
				})
			}
			q := query(t)
			q.Source = netip.MustParseAddr(tt.source)
			if tt.subnet != "" {
				q.Subnet = netip.MustParsePrefix(tt.subnet)
			}
			var out Choice
			r, s := w.compile(), w.states(strings.Fields(tt.states)...)
			r.Select(s, &q, &out)
			got := "none"
			if out.Rule >= 0 {
				got = w.Rules[out.Rule].Name
			}
			if out.SubnetUsed {
				got += fmt.Sprintf(" scope %d", out.Scope)
			} else if out.Scope != 0 {
				t.Errorf("scope %d without a subnet", out.Scope)
			}
			if got != tt.want {
				_, why := r.Explain(s, &q)
				t.Errorf("%s, want %s\n%s", got, tt.want, why.String())
			}
			if (out.Outcome == NoRule) != (out.Rule < 0) {
				t.Errorf("%s with rule %d", out.Outcome, out.Rule)
			}
		})
	}
}

// TestPicks shows what each balance method gives for a row of cursors.
func TestPicks(t *testing.T) {
	for _, tt := range []struct {
		name    string
		balance config.Balance
		count   int
		members string
		states  string
		want    string // of cursors 0, 1, ...
	}{
		{"ordered", config.Ordered, 1, "a b c", "", "a|a|a"},
		{"ordered, several", config.Ordered, 2, "a b c", "a:down", "bc|bc"},
		{"ordered, more than there are", config.Ordered, 5, "a b c", "b:down", "ac|ac"},
		{"round robin", config.RoundRobin, 1, "a b c", "", "a|b|c|a"},
		{"round robin, one down", config.RoundRobin, 1, "a b c", "b:down", "a|c|a|c"},
		{"round robin knows no weights but zero", config.RoundRobin, 1, "a*9 b*0 c", "", "a|c|a|c"},
		{"round robin, several", config.RoundRobin, 2, "a b c", "", "ab|bc|ca|ab"},
		{"round robin, all", config.RoundRobin, 3, "a b c", "", "abc|bca|cab"},
		{"weighted", config.WeightedRoundRobin, 1, "a*2 b*1", "", "a|b|a|a|b|a"},
		{"weighted, one", config.WeightedRoundRobin, 1, "a*7", "", "a|a"},
		{"weighted, zero", config.WeightedRoundRobin, 1, "a*0 b*7", "", "b|b"},
		{"weighted, alike", config.WeightedRoundRobin, 1, "a*500 b*500", "", "a|b|a|b"},
		{"weighted, several", config.WeightedRoundRobin, 3, "a*2 b*1 c*1", "", "abc|cba|bac|acb"},
		{"least loaded", config.LeastLoaded, 1, "a b c", "a:20 b:10 c:30", "b|b|b"},
		{"least loaded, weight divides", config.LeastLoaded, 1, "a*3 b*1 c*1", "a:29 b:10 c:30", "a|a"},
		{"least loaded, ties by turns", config.LeastLoaded, 1, "a b*2 c d", "a:10 b:20 c:10 d:11", "a|b|c|a"},
		{"least loaded, several", config.LeastLoaded, 2, "a b c", "a:20 b:10 c:30", "ba|ba"},
		{"least loaded, without a load comes last", config.LeastLoaded, 3, "a b c", "b:200 c:100", "cba|cba"},
		{"least loaded, no loads", config.LeastLoaded, 1, "a*5 b*1", "", "a|b|a"},
		{"least loaded, no load is busier than none", config.LeastLoaded, 1, "a b", "a:0 b:1", "a|a"},
		{"least loaded, above the threshold", config.LeastLoaded, 1, "a*100>50 b", "a:60 b:200", "b|b"},
		{"same address once", config.Ordered, 3, "a a2 b", "", "ab"},
		{"same address once, by turns", config.RoundRobin, 3, "a a2 b", "", "ab|a2b|ba"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.vips("a", "b", "c", "d")
			w.Answers = append(w.Answers, w.Answers[0])
			w.Answers[4].Name = "a2"
			w.rule(config.Rule{Domains: w.domains("d", "www.example."), Clauses: []config.Clause{{
				Group: w.group("g", strings.Fields(tt.members)...), Balance: tt.balance, Count: tt.count,
			}}})
			r, s := w.compile(), w.states(strings.Fields(tt.states)...)
			for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
				q := query(t)
				q.Type = qtype
				q.Cursors = make([]uint32, r.Cursors())
				var got []string
				var out Choice
				for range strings.Count(tt.want, "|") + 1 {
					r.Select(s, &q, &out)
					names := ""
					for _, a := range out.Answers[:out.N] {
						names += w.Answers[a].Name
					}
					got = append(got, names)
					out.Advance(q.Cursors)
				}
				if diff := cmp.Diff(tt.want, strings.Join(got, "|")); diff != "" {
					t.Errorf("%s (-want +got):\n%s", dns.Type(qtype), diff)
				}
			}
		})
	}
}

// TestPairsOfQuestions: with a shared cursor, clients that ask for A and AAAA at a time would get each family from one
// answer for ever.
func TestPairsOfQuestions(t *testing.T) {
	w := newWorld(t)
	w.vips("a", "b")
	w.rule(config.Rule{Domains: w.domains("d", "www.example."), Clauses: []config.Clause{{
		Group: w.group("g", "a", "b"), Balance: config.RoundRobin,
	}}})
	r, s := w.compile(), w.states()
	q := query(t)
	q.Cursors = make([]uint32, r.Cursors())
	var out Choice
	got := map[string]int{}
	for i := range 100 {
		q.Type = []uint16{dns.TypeA, dns.TypeAAAA}[i%2]
		r.Select(s, &q, &out)
		out.Advance(q.Cursors)
		got[dns.Type(q.Type).String()+" "+w.Answers[out.Answers[0]].Name]++
	}
	if diff := cmp.Diff(map[string]int{"A a": 25, "A b": 25, "AAAA a": 25, "AAAA b": 25}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
