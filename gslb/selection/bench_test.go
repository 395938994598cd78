package selection

import (
	"fmt"
	"net/netip"
	"regexp"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
)

// largest is the largest site selector that package gslb is held to: 4,000 rules at one name, or each at two names of
// its own, over 4,000 VIPs and 60 source lists of 30 prefixes.
func largest(t testing.TB, oneName bool) *world {
	w := newWorld(t)
	for i := range 60 {
		var prefixes []string
		for j := range 30 {
			prefixes = append(prefixes, fmt.Sprintf("10.%d.%d.0/%d", i, 8*j, 16+j%9))
		}
		list := w.sources(fmt.Sprintf("list%d", i))
		for _, p := range prefixes {
			w.SourceLists[list].Prefixes = append(w.SourceLists[list].Prefixes, netip.MustParsePrefix(p).Masked())
		}
	}
	shared := w.domains("shared", "www.example.")
	for i := range 4000 {
		n := i + 1
		w.vip(fmt.Sprintf("vip%d", i), fmt.Sprintf("192.0.%d.%d", n/256, n%256), fmt.Sprintf("2001:db8::%x", n))
		w.Groups = append(w.Groups, config.Group{Name: fmt.Sprint(i), Kind: config.VIP, Members: []config.Member{
			{Answer: i, Weight: 5, Order: 1}, {Answer: i / 2, Weight: 2, Order: 2},
			{Answer: i / 3, Weight: 1, Order: 3},
		}})
		domains := shared
		if !oneName {
			domains = w.domains(fmt.Sprint(i), fmt.Sprintf("name%d.example.", i), fmt.Sprintf("*.name%d.example.", i))
		}
		list := i % 61
		if i == 3999 {
			list = 0
		}
		w.rule(config.Rule{Sources: list, Domains: domains, Clauses: []config.Clause{
			{Group: i, Balance: config.WeightedRoundRobin}, {Group: i, Balance: config.RoundRobin}, {Group: i},
		}})
	}
	return w
}

// TestNoAllocation: neither methods, clauses, subnets nor thousands of rules make Select allocate.
func TestNoAllocation(t *testing.T) {
	w := newWorld(t)
	w.vips("a", "b", "c", "d")
	w.cname("n")
	w.server("s", "198.51.100.53:53")
	ten := w.sources("ten", "10.0.0.0/8", "2001:db8::/32")
	all := w.group("all", "a*5>150", "b*2", "c", "d*0")
	var domains []int
	add := func(r config.Rule) {
		r.Domains = w.domains("d", fmt.Sprintf("name%d.example.", len(domains)),
			fmt.Sprintf("/^x%d.*[yz]$/", len(domains)))
		domains = append(domains, r.Domains)
		w.rule(r)
		r.Sources, r.ClientSubnet = ten, true
		w.rule(r)
	}
	for b := config.Ordered; b <= config.HashBoth; b++ {
		add(config.Rule{Clauses: []config.Clause{{Group: all, Balance: b, Count: 3, AllDown: config.AllAnswers}}})
		add(config.Rule{Clauses: []config.Clause{{Group: all, Balance: b}},
			Sticky: config.Sticky{By: config.StickyDomain, Inactivity: time.Minute}})
	}
	add(config.Rule{Clauses: []config.Clause{{Group: w.group("n", "n")}}})
	add(config.Rule{Clauses: []config.Clause{{Group: w.group("s", "s")}}})
	r := w.compile()
	table := NewStickyTable(1000)
	states := []*States{w.states(), w.states("a:200", "b:10"), w.states("a:down", "b:down", "c:down", "n:down",
		"s:down")}
	q := query(t)
	q.Cursors = make([]uint32, r.Cursors())
	var out Choice
	for i := range domains {
		names := [][]byte{wire(t, fmt.Sprintf("name%d.example.", i)), wire(t, fmt.Sprintf("x%d.yz.", i))}
		for _, b := range r.Balanced() {
			if b.Name == fmt.Sprintf("name%d.example.", i) {
				q.Set = b.Set
			}
		}
		for k, name := range names {
			q.Name = name
			for _, s := range states {
				for _, q.Subnet = range []netip.Prefix{{}, netip.MustParsePrefix("10.1.2.0/24"),
					netip.MustParsePrefix("2001:db8::/48")} {
					for _, q.Type = range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeMX} {
						if allocs := testing.AllocsPerRun(10, func() {
							if k > 0 {
								q.Set = r.MatchRegexp(name)
							}
							r.Select(s, &q, &out)
							r.SelectSticky(s, &q, table, 0, &out)
							out.Advance(q.Cursors)
						}); allocs > 0 {
							_, why := r.Explain(s, &q)
							t.Fatalf("%.0f allocations\n%s", allocs, why.String())
						}
					}
				}
			}
		}
	}
}

// TestLargest: at the limits everything is found, each client by its own list.
func TestLargest(t *testing.T) {
	w := largest(t, true)
	r, s := w.compile(), w.states()
	var out Choice
	for i := range 60 {
		q := query(t)
		q.Source = netip.AddrFrom4([4]byte{10, byte(i), 7, 1})
		if r.Select(s, &q, &out); int(out.Rule) != i+1 {
			t.Errorf("%s has rule %d, want %d", q.Source, out.Rule, i+1)
		}
	}
	w = largest(t, false)
	r = w.compile()
	if n := len(r.Balanced()); n != 8000 {
		t.Errorf("%d names, want 8000", n)
	}
	for _, b := range r.Balanced() {
		q := query(t)
		q.Set, q.Source = b.Set, mustAddr("10.3.7.1")
		r.Select(s, &q, &out)
		if out.Rule >= 0 && out.Outcome != Addresses {
			t.Errorf("%s: %s", b.Name, out.Outcome)
		}
	}
}

// TestListsOfFiveHundred: 2,000 domain lists of 500 names are as many names, and sets no more than lists.
func TestListsOfFiveHundred(t *testing.T) {
	if testing.Short() {
		t.Skip("a million names")
	}
	w := newWorld(t)
	w.vips("a")
	group := w.group("g", "a")
	for i := range 2000 {
		l := config.DomainList{Name: fmt.Sprint(i), Domains: make([]config.Domain, 500)}
		for j := range l.Domains {
			l.Domains[j].Name = fmt.Sprintf("name%d.list%d.example.", j, i)
		}
		w.DomainLists = append(w.DomainLists, l)
		w.rule(config.Rule{Domains: i, Clauses: []config.Clause{{Group: group}}})
		w.rule(config.Rule{Domains: i, Clauses: []config.Clause{{Group: group}}})
	}
	r := w.compile()
	if names, sets := len(r.Balanced()), len(r.sets); names != 1_000_000 || sets != 2000 {
		t.Errorf("%d names in %d sets, want 1000000 in 2000", names, sets)
	}
}

// TestNameInManyLists: a name of 4,000 lists costs no more than its 4,000 rules.
func TestNameInManyLists(t *testing.T) {
	w := newWorld(t)
	w.vips("a")
	group := w.group("g", "a")
	for i := range 4000 {
		w.rule(config.Rule{Domains: w.domains(fmt.Sprint(i), "www.example.", "www.example."),
			Clauses: []config.Clause{{Group: group}}})
	}
	w.rule(config.Rule{Domains: 17, Clauses: []config.Clause{{Group: group}}})
	r := w.compile()
	if len(r.sets) != 1 || len(r.sets[0].rules) != 4001 {
		t.Fatalf("%d sets", len(r.sets))
	}
	q := query(t)
	var out Choice
	s := w.states("rule0:suspended")
	if r.Select(s, &q, &out); out.Rule != 1 {
		t.Errorf("rule %d, want 1", out.Rule)
	}
}

func BenchmarkSelect(b *testing.B) {
	run := func(name string, r *Rules, s *States, q Query) {
		b.Run(name, func(b *testing.B) {
			q.Cursors = make([]uint32, r.Cursors())
			var out Choice
			b.ReportAllocs()
			for b.Loop() {
				r.Select(s, &q, &out)
				out.Advance(q.Cursors)
			}
		})
	}
	for balance := config.Ordered; balance <= config.HashBoth; balance++ {
		for _, members := range [][]string{{"a*5", "b*2", "c*1"}, {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j",
			"k*2", "l", "m", "n", "o", "p"}} {
			w, r := balanced(b, balance, members...)
			run(fmt.Sprintf("%s/%d", balanceText(balance), len(members)), r, w.states("a:3"), query(b))
		}
	}
	w, r := balanced(b, config.WeightedRoundRobin, "a*1000", "b*999", "c*998")
	run("weighted round robin/huge", r, w.states(), query(b))

	q := query(b)
	q.Source = mustAddr("10.3.7.1")
	w = largest(b, true)
	run("rules/4000 at one name", w.compile(), w.states(), q)
	w.Rules = w.Rules[4:5]
	run("rules/1", w.compile(), w.states(), q)
	w = largest(b, true)
	for i := range w.Rules {
		w.Rules[i].ClientSubnet = true
	}
	q.Subnet = netip.MustParsePrefix("10.3.7.0/24")
	run("rules/4000 with a client subnet", w.compile(), w.states(), q)
}

func BenchmarkSelectSticky(b *testing.B) {
	w, _ := balanced(b, config.RoundRobin, "a", "b", "c")
	w.Rules[0].Sticky = config.Sticky{By: config.StickyDomain, Inactivity: time.Minute}
	r, s, q := w.compile(), w.states(), query(b)
	table := NewStickyTable(100000)
	var out Choice
	b.ReportAllocs()
	for b.Loop() {
		r.SelectSticky(s, &q, table, 0, &out)
	}
}

func BenchmarkMatchRegexp(b *testing.B) {
	for _, n := range []int{1, 4000} {
		m := manyExpressions(n)
		for _, bb := range []struct {
			name   string
			random bool
			format string
		}{
			{"kept", false, "\x09w%08d\x0ccustomer0000\x07example\x03com\x00"},
			{"random, no literal", true, "\x09w%08d\x07example\x03com\x00"},
			{"random, match", true, "\x09w%08d\x0ccustomer0000\x07example\x03com\x00"},
		} {
			b.Run(fmt.Sprintf("%d/%s", n, bb.name), func(b *testing.B) {
				name := fmt.Appendf(nil, bb.format, 0)
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if i++; bb.random {
						for k, x := 0, i; k < 8; k, x = k+1, x/10 {
							name[9-k] = '0' + byte(x%10)
						}
					}
					m.match(name)
				}
			})
		}
	}
}

// Expressions without a literal part are tried one by one on each name that is not kept.
func BenchmarkMatchRegexpWithoutLiterals(b *testing.B) {
	for _, n := range []int{1, 50, 500} {
		exprs := make([]expression, n)
		for i := range exprs {
			exprs[i] = expression{Regexp: regexp.MustCompilePOSIX(fmt.Sprintf(`^[a-f]+[0-9]{%d}\.`, 1+i%9)),
				set: int32(i)}
		}
		m := newMatcher(exprs, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			name := []byte("\x09w00000000\x07example\x03com\x00")
			i := 0
			for b.Loop() {
				i++
				for k, x := 0, i; k < 8; k, x = k+1, x/10 {
					name[9-k] = '0' + byte(x%10)
				}
				m.match(name)
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, oneName := range []bool{true, false} {
		w := largest(b, oneName)
		b.Run(fmt.Sprintf("one name %t", oneName), func(b *testing.B) {
			for b.Loop() {
				w.compile()
			}
		})
	}
}
