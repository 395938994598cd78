package selection

import (
	"math"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
)

// reference is Select as one would say it: what is given without waiting, or else what all that is waited for would
// come to, if that is one thing.
func reference(c *config.Config, s *States, q *Query) (outcome Outcome, rule int, answers []int32) {
	outcome, rule, answers = known(c, s, q)
	if outcome != Wait {
		return outcome, rule, answers
	}
	var awaited []int
	for i, st := range s.Answers {
		if st.Health == Unknown && !st.Unseen {
			awaited = append(awaited, i)
		}
	}
	for world := range 1 << len(awaited) {
		verdicts := &States{Answers: slices.Clone(s.Answers), RulesSuspended: s.RulesSuspended}
		for bit, i := range awaited {
			verdicts.Answers[i].Health = []Health{Down, Up}[world>>bit&1]
		}
		o, _, a := known(c, verdicts, q)
		if world > 0 && (o != outcome || !slices.Equal(a, answers)) {
			return Wait, rule, nil
		}
		outcome, answers = o, a
	}
	return outcome, rule, answers
}

// known is what is known to be right, from the configuration, for a query without a subnet at a name that all rules
// have, whose clauses are of VIPs.
func known(c *config.Config, s *States, q *Query) (outcome Outcome, rule int, answers []int32) {
	rule, bits := -1, -1
	for i, r := range c.Rules {
		if s.RulesSuspended[i] {
			continue
		}
		for _, p := range c.SourceLists[r.Sources].Prefixes {
			if p.Contains(q.Source) && p.Bits() > bits {
				rule, bits = i, p.Bits()
			}
		}
	}
	if rule < 0 {
		return NoRule, rule, nil
	}
	r := &c.Rules[rule]
	waited := false
	for i, cl := range r.Clauses {
		var members, live, spare, weightless []config.Member
		for _, m := range c.Groups[cl.Group].Members {
			if !addressOf(c, m, q.Type).IsValid() {
				continue
			}
			members = append(members, m)
			st := s.Answers[m.Answer]
			if st.Suspended {
				continue
			}
			weightless = append(weightless, m)
			if m.Weight == 0 {
				continue
			}
			spare = append(spare, m)
			up := st.Health == Up || st.Health == Unknown && r.Unknown == config.AsUp
			waited = waited || st.Health == Unknown && !st.Unseen && r.Unknown == config.Wait
			if up && (m.LoadThreshold == 0 || !st.HasLoad || int(st.Load) <= m.LoadThreshold) {
				live = append(live, m)
			}
		}
		if len(members) == 0 {
			continue
		}
		cursor := 3 * i
		if q.Type == dns.TypeAAAA {
			cursor++
		}
		for _, r := range c.Rules[:rule] {
			cursor += 3 * len(r.Clauses)
		}
		turn := q.Cursors[cursor]
		if len(live) > 0 {
			return Addresses, rule, referencePicks(c, r, cl, s, q, live, turn)
		}
		if waited {
			if cl.AllDown == config.NextClause || cl.AllDown == config.AllAnswers && len(weightless) == 0 {
				continue
			}
			return Wait, rule, nil
		}
		switch cl.AllDown {
		case config.AllAnswers:
			if len(spare) == 0 {
				for _, m := range weightless {
					m.Weight = 1
					spare = append(spare, m)
				}
			}
			if len(spare) > 0 {
				return Addresses, rule, referencePicks(c, r, cl, s, q, spare, turn)
			}
		case config.NoData:
			return NoData, rule, nil
		case config.Refused:
			return Refused, rule, nil
		case config.Forward:
			return Forward, rule, nil
		}
	}
	if waited {
		return Wait, rule, nil
	}
	return NoData, rule, nil
}

func addressOf(c *config.Config, m config.Member, qtype uint16) netip.Addr {
	switch qtype {
	case dns.TypeA:
		return c.Answers[m.Answer].IPv4
	case dns.TypeAAAA:
		return c.Answers[m.Answer].IPv6
	}
	return netip.Addr{}
}

func referencePicks(c *config.Config, r *config.Rule, cl config.Clause, s *States, q *Query, live []config.Member,
	turn uint32,
) (answers []int32) {
	divisor := uint32(0)
	for _, m := range c.Groups[cl.Group].Members {
		divisor = gcd(divisor, uint32(m.Weight))
	}
	at := 0
	for len(answers) < cl.Count && len(live) > 0 {
		switch cl.Balance {
		case config.Ordered:
			at = 0
		case config.RoundRobin:
			if len(answers) == 0 {
				at = int(turn)
			}
			at %= len(live)
		case config.WeightedRoundRobin:
			var slots []int
			for i, m := range live {
				slots = append(slots, slices.Repeat([]int{i}, m.Weight/int(max(divisor, 1)))...)
			}
			n := uint32(len(slots))
			at = slots[int(turn%n*stride(n)%n)]
		case config.LeastLoaded:
			load := func(m config.Member) float64 {
				if st := s.Answers[m.Answer]; st.HasLoad {
					return float64(st.Load) / float64(m.Weight)
				}
				return math.Inf(1)
			}
			least := math.Inf(1)
			for _, m := range live {
				least = min(least, load(m))
			}
			var ties []int
			for i, m := range live {
				if load(m) == least {
					ties = append(ties, i)
				}
			}
			at = ties[int(turn)%len(ties)]
		default:
			var key uint64
			n := r.Prefix4
			if q.Source.Is6() {
				n = r.Prefix6
			}
			source := toAddress(netip.PrefixFrom(q.Source, n).Masked().Addr()).hash()
			switch cl.Balance {
			case config.HashSource:
				key = source
			case config.HashDomain:
				key = hashString(q.Name)
			case config.HashBoth:
				key = mix(source) + hashString(q.Name)
			}
			first := math.Inf(1)
			for i, m := range live {
				if t := race(draw(key, newAnswerID(c.Answers[m.Answer].Name)), uint32(m.Weight)); t < first {
					at, first = i, t
				}
			}
		}
		picked := live[at]
		answers = append(answers, int32(picked.Answer))
		live = slices.DeleteFunc(live, func(m config.Member) bool {
			return addressOf(c, m, q.Type) == addressOf(c, picked, q.Type)
		})
	}
	return answers
}

// TestSmallWorlds compares Select with the reference in every combination of what a member may be in, methods,
// policies, weights, numbers of answers and cursors, in a rule of two clauses, which may have an answer in common.
func TestSmallWorlds(t *testing.T) {
	ways := []string{"up", "down", "unknown", "unseen", "suspended", "200"}
	names := []string{"a", "b", "c"}
	second := map[config.Policy][]string{config.NextClause: {"d"}, config.AllAnswers: {"d", "a"}, config.Refused: {"d"}}
	var out Choice
	worlds := 0
	for _, members := range [][]string{{"a", "b", "c"}, {"a*5>150", "b*2>150", "c*0>150"}, {"a*0", "b*0", "c*0"}} {
		for _, balance := range []config.Balance{
			config.Ordered, config.RoundRobin, config.WeightedRoundRobin, config.LeastLoaded,
			config.HashSource, config.HashDomain, config.HashBoth,
		} {
			for _, policy := range []config.Policy{config.NextClause, config.AllAnswers, config.Refused} {
				for _, unknown := range []config.UnknownPolicy{config.Wait, config.AsUp, config.AsDown} {
					w := newWorld(t)
					w.SourceLists[0].Prefixes = everyone
					w.vips("a", "b", "d")
					w.vip("c", "198.51.100.1")
					w.rule(config.Rule{Domains: w.domains("d", "www.example."), Unknown: unknown,
						Clauses: []config.Clause{
							{Group: w.group("first", members...), Balance: balance, AllDown: policy},
							{Group: w.group("second", second[policy]...), AllDown: policy},
						}})
					var all []*States
					for i := range 432 {
						all = append(all, w.states("a:"+ways[i%6], "b:"+ways[i/6%6], "c:"+ways[i/36%6],
							"d:"+ways[i/216]))
					}
					q := query(t)
					for count := 1; count <= 2; count++ {
						w.Rules[0].Clauses[0].Count = count
						r := w.compile()
						q.Cursors = make([]uint32, r.Cursors())
						for i, s := range all {
							for turn := range uint32(3) {
								for _, q.Type = range []uint16{dns.TypeA, dns.TypeAAAA} {
									for k := range q.Cursors {
										q.Cursors[k] = turn * 7
									}
									r.Select(s, &q, &out)
									outcome, rule, answers := reference(&w.Config, s, &q)
									if out.Outcome != outcome || int(out.Rule) != rule ||
										!slices.Equal(out.Answers[:out.N], answers) {
										_, why := r.Explain(s, &q)
										t.Fatalf("%v %s, %s, unknown %d, states %d of %v, count %d, turn %d, %s: %s "+
											"%v, want %s %v\n%s",
											members, balanceText(balance), policyText(policy), unknown, i, names, count,
											turn,
											dns.Type(q.Type), out.Outcome, out.Answers[:out.N], outcome, answers,
											why.String())
									}
									worlds++
								}
							}
						}
					}
				}
			}
		}
	}
	t.Logf("%d worlds", worlds)
}

// TestExplainIsSelect: the trace changes nothing, in all states of a rule that uses about everything.
func TestExplainIsSelect(t *testing.T) {
	ways := []string{"up", "down", "unknown", "suspended", "200"}
	w := newWorld(t)
	w.vips("a", "b", "c")
	w.cname("n")
	domains := w.domains("d", "www.example.")
	ten := w.sources("ten", "10.0.0.0/8")
	var clauses []config.Clause
	for i, b := range []config.Balance{config.RoundRobin, config.HashBoth, config.LeastLoaded} {
		clauses = append(clauses, config.Clause{
			Group: w.group([]string{"x", "y", "z"}[i], "a*2>100", "b", "c>100"), Balance: b, Count: 2,
			AllDown: config.NextClause,
		})
	}
	clauses = append(clauses, config.Clause{Group: w.group("names", "n"), AllDown: config.Refused})
	w.rule(config.Rule{Sources: ten, Domains: domains, ClientSubnet: true, Clauses: clauses, Prefix4: 24})
	w.rule(config.Rule{Domains: domains, Clauses: clauses, Unknown: config.AsUp,
		Sticky: config.Sticky{By: config.StickyDomain}})
	r := w.compile()
	for i := range 625 {
		s := w.states("a:"+ways[i%5], "b:"+ways[i/5%5], "c:"+ways[i/25%5], "n:"+ways[i/125])
		for _, subnet := range []string{"", "10.1.2.0/24", "11.0.0.0/8"} {
			for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeMX} {
				q := query(t)
				q.Type = qtype
				q.Stuck = newAnswerID("b")
				if subnet != "" {
					q.Subnet = netip.MustParsePrefix(subnet)
				}
				var selected Choice
				r.Select(s, &q, &selected)
				explained, why := r.Explain(s, &q)
				if diff := cmp.Diff(selected, explained, cmp.Comparer(equalKeys)); diff != "" {
					t.Fatalf("state %d, subnet %s (-select +explain):\n%s%s", i, subnet, diff, why.String())
				}
				if len(why.Lines()) < 3 {
					t.Fatalf("not much of a reason: %s", why.String())
				}
			}
		}
	}
}
