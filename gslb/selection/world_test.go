package selection

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/zone"
)

// world is a configuration in the making. Things are known by their names.
type world struct {
	config.Config
	t testing.TB
}

func newWorld(t testing.TB) *world {
	w := &world{t: t}
	w.sources(config.Anywhere)
	return w
}

func (w *world) vip(name string, addrs ...string) {
	a := config.Answer{Name: name, Kind: config.VIP, DataCenter: config.None, Owner: config.None}
	for _, s := range addrs {
		if ip := netip.MustParseAddr(s); ip.Is4() {
			a.IPv4 = ip
		} else {
			a.IPv6 = ip
		}
	}
	w.Answers = append(w.Answers, a)
}

// vips adds VIPs with addresses of both families.
func (w *world) vips(names ...string) {
	for _, name := range names {
		n := len(w.Answers) + 1
		w.vip(name, fmt.Sprintf("192.0.%d.%d", n/256, n%256), fmt.Sprintf("2001:db8::%x", n))
	}
}

func (w *world) cname(name string) {
	w.Answers = append(w.Answers, config.Answer{Name: name, Kind: config.CNAME, Target: name + ".example."})
}

func (w *world) server(name, addr string) {
	w.Answers = append(w.Answers, config.Answer{
		Name: name, Kind: config.NameServer, Servers: []netip.AddrPort{netip.MustParseAddrPort(addr)},
	})
}

func (w *world) sources(name string, prefixes ...string) int {
	l := config.SourceList{Name: name}
	for _, p := range prefixes {
		l.Prefixes = append(l.Prefixes, netip.MustParsePrefix(p))
	}
	w.SourceLists = append(w.SourceLists, l)
	return len(w.SourceLists) - 1
}

// domains adds a list of names ("www.example.", "*.example.") and expressions ("/^www/").
func (w *world) domains(name string, domains ...string) int {
	l := config.DomainList{Name: name}
	for _, s := range domains {
		if len(s) > 1 && s[0] == '/' {
			l.Domains = append(l.Domains, config.Domain{Regexp: regexp.MustCompilePOSIX(s[1 : len(s)-1])})
		} else {
			l.Domains = append(l.Domains, config.Domain{Name: s})
		}
	}
	w.DomainLists = append(w.DomainLists, l)
	return len(w.DomainLists) - 1
}

// group adds a group of members such as "a", "a*5" (weight) and "a*5>150" (load threshold).
func (w *world) group(name string, members ...string) int {
	g := config.Group{Name: name}
	for i, s := range members {
		m := config.Member{Order: i + 1, Weight: 1}
		var threshold string
		s, threshold, _ = strings.Cut(s, ">")
		if threshold != "" {
			fmt.Sscan(threshold, &m.LoadThreshold)
		}
		var weight string
		s, weight, _ = strings.Cut(s, "*")
		if weight != "" {
			fmt.Sscan(weight, &m.Weight)
		}
		m.Answer = w.answer(s)
		g.Kind = w.Answers[m.Answer].Kind
		g.Members = append(g.Members, m)
	}
	w.Groups = append(w.Groups, g)
	return len(w.Groups) - 1
}

func (w *world) answer(name string) int {
	i := slices.IndexFunc(w.Answers, func(a config.Answer) bool { return a.Name == name })
	if i < 0 {
		w.t.Fatalf("no answer %q", name)
	}
	return i
}

// rule adds a rule, with what most rules have.
func (w *world) rule(r config.Rule) int {
	if r.Name == "" {
		r.Name = fmt.Sprintf("rule%d", len(w.Rules))
	}
	r.Prefix4, r.Prefix6 = cmp.Or(r.Prefix4, 32), cmp.Or(r.Prefix6, 128)
	r.TTL = cmp.Or(r.TTL, 20)
	r.Unknown = cmp.Or(r.Unknown, config.Wait)
	r.MaxWait = cmp.Or(r.MaxWait, 5*time.Second)
	for i := range r.Clauses {
		c := &r.Clauses[i]
		c.Balance = cmp.Or(c.Balance, config.Ordered)
		c.Count = cmp.Or(c.Count, 1)
		c.AllDown = cmp.Or(c.AllDown, config.NextClause)
	}
	w.Rules = append(w.Rules, r)
	return len(w.Rules) - 1
}

func (w *world) compile() *Rules { return Compile(&w.Config) }

// states makes states of words such as "a:down", "b:200" (up, with that load), "c:unknown", "c:unseen",
// "d:suspended", "e:up" and, of rules, "rule1:suspended". Answers that are not named are up.
func (w *world) states(words ...string) *States {
	s := NewStates(&w.Config)
	for i := range s.Answers {
		s.Answers[i].Health = Up
	}
	for _, word := range words {
		name, what, _ := strings.Cut(word, ":")
		if i := slices.IndexFunc(w.Rules, func(r config.Rule) bool { return r.Name == name }); i >= 0 {
			s.RulesSuspended[i] = true
			continue
		}
		a := &s.Answers[w.answer(name)]
		switch what {
		case "up":
		case "down":
			a.Health = Down
		case "unknown":
			a.Health = Unknown
		case "unseen":
			a.Health, a.Unseen = Unknown, true
		case "suspended":
			a.Suspended = true
		default:
			if _, err := fmt.Sscan(what, &a.Load); err != nil {
				w.t.Fatalf("state %q: %v", word, err)
			}
			a.HasLoad = true
		}
	}
	return s
}

func wire(t testing.TB, name string) []byte {
	b, err := zone.Name(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// query asks for www.example. A from 192.0.2.1 by the first set.
func query(t testing.TB) Query {
	return Query{Name: wire(t, "www.example."), Type: dns.TypeA, Source: netip.MustParseAddr("192.0.2.1")}
}

// describe is a choice in a line: outcome, names of answers, and what else is not as usual.
func (w *world) describe(c *Choice) string {
	words := []string{c.Outcome.String()}
	for _, a := range c.Answers[:c.N] {
		words = append(words, w.Answers[a].Name)
	}
	if c.N == 0 && len(c.Servers) > 0 {
		words = append(words, fmt.Sprint(c.Servers))
	}
	if c.Policy != 0 {
		words = append(words, "("+policyText(c.Policy)+")")
	}
	return strings.Join(words, " ")
}
