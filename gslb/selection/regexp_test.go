package selection

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/gslb/config"
)

func TestMatchRegexp(t *testing.T) {
	w := newWorld(t)
	w.vips("a", "b", "c")
	ten := w.sources("ten", "10.0.0.0/8")
	for _, r := range []struct {
		sources int
		expr    string
		answer  string
	}{
		{ten, `/^shop[0-9]+\.example$/`, "a"},
		{0, `/\.example$/`, "b"},
		{0, `/^[a-z]+\.invalid$/`, "c"},
		{0, `/^shop[0-9]+\.example$/`, "c"},
	} {
		w.rule(config.Rule{
			Sources: r.sources, Domains: w.domains(r.expr, r.expr),
			Clauses: []config.Clause{{Group: w.group(r.expr+r.answer, r.answer)}},
		})
	}
	r, s := w.compile(), w.states()
	for _, tt := range []struct{ name, source, want string }{
		{"shop1.example.", "10.0.0.1", "rule0"},
		{"shop1.example.", "192.0.2.1", "rule1"},
		{"shop1.example.org.", "10.0.0.1", "none"},
		{"www.example.", "10.0.0.1", "rule1"},
		{"example.", "10.0.0.1", "none"},
		{"abc.invalid.", "10.0.0.1", "rule2"},
		{"ab1.invalid.", "10.0.0.1", "none"},
		{".", "10.0.0.1", "none"},
		{`a\.b.example.`, "10.0.0.1", "rule1"},
		{`x\010shop1.example.`, "10.0.0.1", "rule1"},
	} {
		q := query(t)
		for range 2 { // the second time from the cache
			q.Name = wire(t, tt.name)
			q.Source = mustAddr(tt.source)
			got := "none"
			if q.Set = r.MatchRegexp(q.Name); q.Set >= 0 {
				var out Choice
				if r.Select(s, &q, &out); out.Rule >= 0 {
					got = w.Rules[out.Rule].Name
				}
			}
			if got != tt.want {
				t.Errorf("%s from %s: %s, want %s", tt.name, tt.source, got, tt.want)
			}
		}
	}
}

// TestMatchRegexpForgotten: the set of a name holds after the cache has lost it.
func TestMatchRegexpForgotten(t *testing.T) {
	w := newWorld(t)
	w.vips("a")
	group := w.group("g", "a")
	w.rule(config.Rule{Domains: w.domains("d", `/one/`), Clauses: []config.Clause{{Group: group}}})
	w.rule(config.Rule{Domains: w.domains("e", `/two/`), Clauses: []config.Clause{{Group: group}}})
	r, q := w.compile(), query(t)
	q.Name = wire(t, "onetwo.example.")
	q.Set = r.MatchRegexp(q.Name)
	if int(q.Set) < len(r.sets) {
		t.Fatalf("set %d is one expression's", q.Set)
	}
	for i := range r.matcher.cache {
		r.matcher.cache[i].Store(&matched{name: "\x05other\x00"})
	}
	var out Choice
	if r.Select(w.states(), &q, &out); out.Rule != 0 {
		t.Errorf("rule %d, want 0", out.Rule)
	}
}

// TestMatchRegexpSameRules: expressions of one list are one set.
func TestMatchRegexpSameRules(t *testing.T) {
	w := newWorld(t)
	w.vips("a")
	w.rule(config.Rule{Domains: w.domains("d", `/one/`, `/two/`, `/one/`),
		Clauses: []config.Clause{{Group: w.group("g", "a")}}})
	r := w.compile()
	one, both := r.MatchRegexp(wire(t, "one.")), r.MatchRegexp(wire(t, "onetwo."))
	if one != both || one < 0 {
		t.Errorf("sets %d and %d", one, both)
	}
}

func TestAppendText(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{".", ""},
		{"www.example.", "www.example"},
		{`a\.b\009\255.c\"x.`, `a\.b\009\255.c\"x`},
	} {
		if diff := cmp.Diff(tt.want, string(appendText(nil, wire(t, tt.name)))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestWantedLiterals(t *testing.T) {
	for _, tt := range []struct {
		expr string
		want string // literals by "|", each of the wants by " "
	}{
		{`^www\.example\.com$`, "<www.example.com>"},
		{`\.example\.com$`, ".example.com>"},
		{`^www`, "<www"},
		{`www`, "www"},
		{`^cust0001-.*\.example\.com$`, "<cust0001- .example.com>"},
		{`^[a-z]+-cust1\.example$`, "< -cust1.example>"},
		{`^(www|ftp)\.example$`, "<www.example>|<ftp.example>"},
		{`^(www|ftp)[0-9]+\.(com|net)$`, "<www|<ftp .com>|.net>"},
		{`^(w*|ftp)\.com$`, "< .com>"},
		{`^(w+x|ftp)\.com$`, "< w|ftp .com>"},
		{`colou?r`, "color|colour"},
		{`a(bc)+d`, "a bc d"},
		{`^$`, "<>"},
		{`$^`, "> <"},
		{`^^a$$`, "<a>"},
		{`[0-9]{4}`, ""},
		{`x[ab]{2}y`, "xaay|xaby|xbay|xbby"},
		{`.*`, ""},
		{`(a|)`, ""},
		{`(a|.)b`, "b"},
		{`()`, ""},
	} {
		t.Run(tt.expr, func(t *testing.T) {
			var got []string
			for _, l := range wantedLiterals(tt.expr) {
				got = append(got, strings.NewReplacer(marks, "<", markEnd, ">").Replace(strings.Join(l, "|")))
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestLiteralsMissNothing compares matching with the index to matching everything, for random expressions and texts.
func TestLiteralsMissNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	atoms := []string{"a", "b", "ab", "ba", "aab", "[ab]", "[a-z]", ".", "^", "$", "(a|b)", "(ab|ba|)", "(^|b)",
		"(a|$)", "a?", "b*", "a+", "(ab)+", "b{2}", "c"}
	const letters = "abc"
	for round := range 300 {
		var exprs []expression
		for i := range 1 + rng.IntN(8) {
			var s strings.Builder
			for range 1 + rng.IntN(5) {
				s.WriteString(atoms[rng.IntN(len(atoms))])
			}
			re, err := regexp.CompilePOSIX(s.String())
			if err != nil {
				continue // "^*"
			}
			exprs = append(exprs, expression{Regexp: re, set: int32(i)})
		}
		m := newMatcher(exprs, len(exprs))
		for range 50 {
			n := rng.IntN(6)
			name := []byte{byte(n)}
			for range n {
				name = append(name, letters[rng.IntN(len(letters))])
			}
			if n > 0 {
				name = append(name, 0)
			}
			var want, got []int32
			for _, e := range exprs {
				if e.MatchString(string(appendText(nil, name))) {
					want = append(want, e.set)
				}
			}
			if found, _ := m.match(name); found != nil {
				got = found.sets
			}
			if !slices.Equal(got, want) {
				t.Fatalf("round %d: %q matches %v, want %v of %v", round, appendText(nil, name), got, want, exprs)
			}
		}
	}
}

// manyExpressions is a matcher of n expressions that differ in one word.
func manyExpressions(n int) *matcher {
	exprs := make([]expression, n)
	for i := range exprs {
		exprs[i] = expression{Regexp: regexp.MustCompilePOSIX(fmt.Sprintf(`^[a-z]+[0-9]*\.customer%04d\.example\.com$`,
			i)), set: int32(i)}
	}
	return newMatcher(exprs, n)
}

// TestFloodOfNames: names that nothing matches, and names that something matches, leave no more behind than the cache
// holds, from several goroutines at a time.
func TestFloodOfNames(t *testing.T) {
	m := manyExpressions(4000)
	used := func() (n int) {
		for i := range m.cache {
			if m.cache[i].Load() != nil {
				n++
			}
		}
		return n
	}
	random := func(i int) []byte {
		return fmt.Appendf(nil, "\x08%08x\x07example\x03com\x00", i)
	}
	for i := range 1000 {
		if found, _ := m.match(random(i)); found != nil {
			t.Fatalf("%q matches %v", found.name, found.sets)
		}
	}
	if n := used(); n > 0 {
		t.Errorf("%d names are kept although no expression can match them", n)
	}
	name := random(-1)
	if allocs := testing.AllocsPerRun(100, func() { m.match(name) }); allocs > 0 {
		t.Errorf("%.0f allocations for a name that nothing matches", allocs)
	}

	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 2 * cacheSize {
				c := i % 4000
				name := fmt.Appendf(nil, "\x07a%06d\x0ccustomer%04d\x07example\x03com\x00", i+g*100000, c)
				for range 2 {
					found, place := m.match(name)
					if found == nil || len(found.sets) != 1 || int(found.sets[0]) != c || place < 0 ||
						place >= cacheSize {
						t.Errorf("%q: %v at %d, want %d", name, found, place, c)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if n := used(); n > cacheSize {
		t.Errorf("%d names are kept, more than %d", n, cacheSize)
	}
	if len(m.always) > 0 {
		t.Errorf("%d expressions are tried for every name", len(m.always))
	}
	// What is above names can be listed, and costs next to nothing.
	if p := parentsOf(m.exprs); p.all || len(p.exprs) > 0 || len(p.names) != 4002 {
		t.Errorf("all names are above one: %v; %d expressions for those above, want none; %d names, want 4,000 and "+
			"two more", p.all, len(p.exprs), len(p.names))
	}
}
