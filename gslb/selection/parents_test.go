package selection

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/sluicelb/sluice/gslb/config"
)

// rulesWith are rules of names by expressions.
func rulesWith(t testing.TB, exprs ...string) *Rules {
	w := newWorld(t)
	w.vips("a")
	var domains []string
	for _, e := range exprs {
		domains = append(domains, "/"+e+"/")
	}
	w.rule(config.Rule{Domains: w.domains("d", domains...), Clauses: []config.Clause{{Group: w.group("g", "a")}}})
	return w.compile()
}

// A name exists when one below it does (RFC 8020).
func TestAboveRegexp(t *testing.T) {
	for _, tt := range []struct {
		name  string
		exprs []string
		above string // names that are above some that match
		not   string
	}{
		{"none", nil, "", "example.com com"},
		{"a label below the zone", []string{`^img[0-9]{1,3}\.example\.com$`}, "example.com com",
			"img1.example.com x.example.com example.org xexample.com example.com.org"},
		{"several labels", []string{`^a\.b\.c\.example\.com$`}, "b.c.example.com c.example.com",
			"a.b.c.example.com x.c.example.com a.c.example.com"},
		{"labels by turns", []string{`^[a-z]+\.(eu|us)\.example\.com$`}, "eu.example.com us.example.com example.com",
			"asia.example.com xx.eu.example.com"},
		{"repeated labels", []string{`^([a-z]+\.)+cdn\.example\.com$`},
			"cdn.example.com a.cdn.example.com a.b.cdn.example.com", "1.cdn.example.com xcdn.example.com"},
		{"any characters", []string{`^img.*\.example\.com$`}, "example.com x.example.com a.b.example.com",
			"x.example.org"},
		{"a label or none", []string{`^(www\.)?shop\.example\.com$`}, "shop.example.com example.com",
			"www.shop.example.com x.example.com"},
		{"not from the beginning", []string{`(^|\.)img\.example\.com$`}, "img.example.com example.com",
			"x.example.com"},
		{"not to the end", []string{`^img`}, "example.com x.example.com anything", ""},
		{"one of its ways not to the end", []string{`^(a$|b)`}, "example.com x.example.com", ""},
		{"a class with a dot", []string{`^a[.x]b\.com$`}, "b.com com", "a.com"},
		{"several expressions", []string{`^a\.one\.com$`, `^b\.two\.com$`}, "one.com two.com", "three.com"},
		{"without a dot", []string{`^localhost$`}, "", "com"},
		{"too large to tell", []string{`^` + strings.Repeat(`(.{1,30}x?)`, 8) + `$`}, "anything at.all", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := rulesWith(t, tt.exprs...)
			for names, want := range map[string]bool{tt.above: true, tt.not: false} {
				for name := range strings.FieldsSeq(names) {
					if got := r.AboveRegexp(wire(t, name+".")); got != want {
						t.Errorf("%s: above: %v, want %v", name, got, want)
					}
				}
			}
		})
	}
}

// Whatever the expression, each ancestor of a name that it matches is above one.
func TestAboveRegexpHasAllAncestors(t *testing.T) {
	pieces := []string{`a`, `b`, `\.`, `.`, `[ab.]`, `(a|b\.)`, `(\.a)*`, `(a\.)+`, `b?`, `(ab|\.b){1,2}`, `.*`}
	random := rand.New(rand.NewPCG(1, 2))
	matched := 0
	for range 300 {
		expr := "^"
		for range 1 + random.IntN(6) {
			expr += pieces[random.IntN(len(pieces))]
		}
		expr += "$"
		r, plain := rulesWith(t, expr), regexp.MustCompilePOSIX(expr)
		for range 300 {
			var labels []string
			for range 1 + random.IntN(5) {
				labels = append(labels, []string{"a", "b", "ab", "ba", "bb", "aab"}[random.IntN(6)])
			}
			if !plain.MatchString(strings.Join(labels, ".")) {
				continue
			}
			matched++
			for i := 1; i < len(labels); i++ {
				if above := strings.Join(labels[i:], "."); !r.AboveRegexp(wire(t, above+".")) {
					t.Fatalf("%s matches %s, and %s is not above it", expr, strings.Join(labels, "."), above)
				}
			}
		}
	}
	if matched < 1000 {
		t.Errorf("only %d names matched", matched)
	}
}
