package selection

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
)

// bytesOf deals out fuzzed bytes, zeroes in the end.
type bytesOf []byte

func (b *bytesOf) next() byte {
	if len(*b) == 0 {
		return 0
	}
	c := (*b)[0]
	*b = (*b)[1:]
	return c
}

func (b *bytesOf) below(n int) int { return int(b.next()) % n }

func (b *bytesOf) addr() netip.Addr {
	var a [16]byte
	for i := range a {
		a[i] = b.next()
	}
	switch b.below(4) {
	case 0:
		return netip.AddrFrom16(a)
	case 1:
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte(a[:4]))
}

func (b *bytesOf) prefix() netip.Prefix {
	a := b.addr()
	return netip.PrefixFrom(a, b.below(a.BitLen()+1)).Masked()
}

// fuzzWorld makes a configuration of what the bytes say, at names and expressions.
func fuzzWorld(t testing.TB, b *bytesOf) *world {
	w := newWorld(t)
	w.vips("a", "b", "c")
	w.vip("v4", "198.51.100.4")
	w.vip("v6", "2001:db8::6:6")
	w.Answers = append(w.Answers, w.Answers[0])
	w.Answers[5].Name = "same"
	w.cname("n")
	w.server("s", "198.51.100.53:53")
	for _, name := range []string{"one", "two"} {
		list := w.sources(name)
		for range b.below(4) {
			if p := b.prefix(); p.IsValid() && !slices.Contains(w.SourceLists[list].Prefixes, p) {
				w.SourceLists[list].Prefixes = append(w.SourceLists[list].Prefixes, p)
			}
		}
	}
	w.domains("names", "www.example.", "*.example.")
	w.domains("expressions", "/^x/", "/y/")
	for i := range 1 + b.below(3) {
		g := config.Group{Name: string(rune('0' + i)), Kind: config.VIP}
		first, many := 0, 6
		switch b.below(6) {
		case 0:
			g.Kind, first, many = config.CNAME, 6, 1
		case 1:
			g.Kind, first, many = config.NameServer, 7, 1
		}
		for range b.below(7) {
			weight := int(b.next()) % 8
			if b.below(8) == 0 {
				weight = 1000
			}
			g.Members = append(g.Members, config.Member{Answer: first + b.below(many), Weight: weight,
				LoadThreshold: int(b.next())})
		}
		w.Groups = append(w.Groups, g)
	}
	narrow := b.below(2) // 0: no rule looks at who asks
	for range 1 + b.below(4) {
		r := config.Rule{
			Sources: b.below(3) * narrow, Domains: b.below(2), ClientSubnet: b.below(2)*narrow == 1,
			Unknown: config.UnknownPolicy(1 + b.below(3)), Prefix4: 1 + b.below(32), Prefix6: 1 + b.below(128),
			Sticky: config.Sticky{By: config.StickyBy(b.below(3))},
		}
		for range b.below(4) {
			r.Clauses = append(r.Clauses, config.Clause{
				Group: b.below(len(w.Groups)), Balance: config.Balance(1 + b.below(7)),
				Count: 1 + b.below(32), AllDown: config.Policy(1 + b.below(5)),
			})
		}
		w.rule(r)
	}
	return w
}

// fuzzCase makes rules, states and a query of what the bytes say, and returns those that are left.
func fuzzCase(t testing.TB, data []byte) (w *world, r *Rules, s *States, q Query, rest bytesOf) {
	b := bytesOf(data)
	w = fuzzWorld(t, &b)
	r = w.compile()
	s = NewStates(&w.Config)
	for i := range s.Answers {
		s.Answers[i] = State{Health(b.below(3)), b.next(), b.below(2) == 0, b.below(5) == 0, b.below(2) == 0}
	}
	for i := range s.RulesSuspended {
		s.RulesSuspended[i] = b.below(5) == 0
	}
	if b.below(10) == 0 {
		s.Answers = s.Answers[:b.below(len(s.Answers))]
	}
	q = Query{
		Name: wire(t, []string{"www.example.", "xy.invalid.", "x.invalid.", "other."}[b.below(4)]),
		Type: []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeMX, dns.TypeCNAME}[b.below(4)], Source: b.addr(),
		Subnet: b.prefix(),
		Stuck:  newAnswerID([]string{"a", "v4", "n", "gone"}[b.below(4)]),
	}
	for range b.below(r.Cursors() + 2) {
		q.Cursors = append(q.Cursors, uint32(b.next())<<24|uint32(b.next()))
	}
	q.Set = r.MatchRegexp(q.Name)
	if q.Set < 0 {
		if names := r.Balanced(); len(names) > 0 {
			q.Set = names[0].Set
		}
	}
	return w, r, s, q, b
}

// seeded is bytes for a case, others for each seed.
func seeded(seed int) (b []byte) {
	for i := range 120 {
		b = binary.LittleEndian.AppendUint64(b, mix(uint64(seed*1000+i)))
	}
	return b
}

// FuzzSelect: whatever the rules, the states and the query, only candidates are given, each address once, and Explain
// agrees.
func FuzzSelect(f *testing.F) {
	f.Add([]byte{})
	f.Add(slices.Repeat([]byte{1}, 200))
	f.Add(slices.Repeat([]byte{7, 3, 0, 200, 31}, 100))
	for seed := range 20 {
		f.Add(seeded(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		w, r, s, q, _ := fuzzCase(t, data)
		var out Choice
		r.Select(s, &q, &out)
		checkChoice(t, w, s, &q, &out)
		explained, why := r.Explain(s, &q)
		if diff := cmp.Diff(out, explained, cmp.Comparer(equalKeys), cmp.Comparer(equalAddrPorts)); diff != "" {
			t.Fatalf("Explain says otherwise (-select +explain):\n%s%s", diff, why.String())
		}
		r.SelectSticky(s, &q, NewStickyTable(10), 0, &out)
		checkChoice(t, w, s, &q, &out)
		out.Advance(q.Cursors)
	})
}

// What Alike promises holds of anybody else who asks for the same.
func TestAlike(t *testing.T) {
	alike := 0
	for seed := range 3000 {
		w, r, s, q, b := fuzzCase(t, seeded(seed))
		var first, other Choice
		if r.Select(s, &q, &first); !first.Alike {
			continue
		}
		alike++
		if first.N != 1 {
			t.Fatalf("%d answers of which one is given to all: %s", first.N, w.describe(&first))
		}
		for range 8 {
			q.Source, q.Subnet, q.Stuck = b.addr(), b.prefix(), newAnswerID([]string{"a", "b", "v4", "n"}[b.below(4)])
			for i := range q.Cursors {
				q.Cursors[i] = uint32(b.next())
			}
			r.Select(s, &q, &other)
			if diff := cmp.Diff(first, other, cmp.Comparer(equalKeys), cmp.Comparer(equalAddrPorts)); diff != "" {
				t.Fatalf("case %d: %v with subnet %v gets another choice (-first +this):\n%s", seed, q.Source,
					q.Subnet, diff)
			}
		}
	}
	if alike < 40 {
		t.Errorf("%d choices of 3000 are alike: too few to tell", alike)
	}
}

// Of several expressions that have a name, none may look at who asks.
func TestAlikeOfExpressions(t *testing.T) {
	for _, tt := range []struct {
		name    string
		sources [2]string // of the rules of the first expression, and of the second
		want    bool
	}{
		{"everyone", [2]string{config.Anywhere, config.Anywhere}, true},
		{"some by the first", [2]string{"ten", config.Anywhere}, false},
		{"some by the second", [2]string{config.Anywhere, "ten"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.vips("a")
			lists := map[string]int{config.Anywhere: anywhere, "ten": w.sources("ten", "10.0.0.0/8")}
			for i, expr := range []string{"/^x/", "/y$/"} {
				w.rule(config.Rule{
					Sources: lists[tt.sources[i]], Domains: w.domains(expr, expr),
					Clauses: []config.Clause{{Group: w.group(expr, "a")}},
				})
			}
			r, q := w.compile(), query(t)
			q.Name = wire(t, "xy.")
			q.Set = r.MatchRegexp(q.Name)
			var out Choice
			if r.Select(w.states(), &q, &out); out.N != 1 || out.Alike != tt.want {
				t.Errorf("%s, alike %v, want an address, alike %v", w.describe(&out), out.Alike, tt.want)
			}
		})
	}
}

// checkChoice checks what holds of every choice.
func checkChoice(t *testing.T, w *world, s *States, q *Query, out *Choice) {
	if out.Rule < 0 {
		if out.Outcome != NoRule || out.N != 0 {
			t.Fatalf("%s without a rule", w.describe(out))
		}
		return
	}
	if int(out.Rule) < len(s.RulesSuspended) && s.RulesSuspended[out.Rule] {
		t.Fatalf("rule %d is suspended", out.Rule)
	}
	rule := &w.Rules[out.Rule]
	switch out.Outcome {
	case Addresses, CNAME:
		if out.N == 0 {
			t.Fatalf("%s without answers", out.Outcome)
		}
	case Forward:
		if out.N > 1 || out.N == 0 && out.Policy != config.Forward {
			t.Fatalf("%s without a server", w.describe(out))
		}
	default:
		if out.N != 0 {
			t.Fatalf("%s with answers", w.describe(out))
		}
	}
	if out.Clause < 0 {
		return
	}
	clause := rule.Clauses[out.Clause]
	if out.N > clause.Count {
		t.Fatalf("%d answers, the clause has count %d", out.N, clause.Count)
	}
	seen := map[netip.Addr]bool{}
	for _, a := range out.Answers[:out.N] {
		i := slices.IndexFunc(w.Groups[clause.Group].Members, func(m config.Member) bool {
			return m.Answer == int(a) && wanted(s, rule, m, out.Policy)
		})
		if i < 0 {
			t.Fatalf("answer %d is no candidate of clause %d: %s", a, out.Clause, w.describe(out))
		}
		if out.Outcome != Addresses {
			continue
		}
		ip := addressOf(&w.Config, config.Member{Answer: int(a)}, q.Type)
		if !ip.IsValid() || seen[ip] {
			t.Fatalf("answer %d has address %s, which is none or was given before", a, ip)
		}
		seen[ip] = true
	}
	if out.Scope != 0 && !out.SubnetUsed {
		t.Fatalf("scope %d of a subnet that was not used", out.Scope)
	}
}

// wanted reports whether a member may be given under the policy that was applied.
func wanted(s *States, rule *config.Rule, m config.Member, policy config.Policy) bool {
	var st State
	if m.Answer < len(s.Answers) {
		st = s.Answers[m.Answer]
	}
	switch {
	case st.Suspended:
		return false
	case policy == config.AllAnswers:
		return true
	case m.Weight == 0:
		return false
	case st.Health == Unknown && rule.Unknown != config.AsUp:
		return false
	}
	return st.Health != Down && !(st.HasLoad && m.LoadThreshold > 0 && int(st.Load) > m.LoadThreshold)
}
