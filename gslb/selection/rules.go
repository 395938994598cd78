package selection

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/zone"
)

// Rules is a compiled configuration. It is safe for concurrent use.
type Rules struct {
	config   *config.Config
	rules    []rule // as in the configuration
	sets     []set  // of names, and of single expressions
	balanced []zone.Balanced
	matcher  *matcher
	parents  parents // of the names of expressions
	cursors  int
}

// rule is a rule as a query needs it. Of thousands, few are in a processor's cache: what most queries need is close
// together and behind as few pointers as may be.
type rule struct {
	clauses          []clause
	ttl              uint32
	unknown          config.UnknownPolicy
	subnet           bool
	prefix4, prefix6 uint8
	sticky           config.StickyBy
	single           [1]clause // what clauses is, when there is one
	forward          []netip.AddrPort
	list             uint64 // hash of the domain list's name, for sticky by list
	inactivity       time.Duration
	maxWait          time.Duration
}

// clause is one attempt of a rule.
type clause struct {
	group
	balance config.Balance
	policy  config.Policy
	count   int
	cursor  int32 // the first of the clause's, one for each question
}

// question is a kind of question. Members may have something to say to one and not to another, and a clause has a round
// robin for each: questions for A and AAAA come in pairs, and out of a shared one of two answers A would always get the
// one and AAAA the other.
type question uint8

const (
	forA question = iota
	forAAAA
	forOther
	questions = iota
)

func questionOf(qtype uint16) question {
	switch qtype {
	case dns.TypeA:
		return forA
	case dns.TypeAAAA:
		return forAAAA
	}
	return forOther
}

// group is an answer group.
type group struct {
	members []member
	divisor uint32 // greatest common one of all weights
	// same, by question: members have an address in common, so that giving one of them rules out others.
	same [2]bool
	kind config.AnswerKind
}

// member is an answer in a group.
type member struct {
	id        AnswerID
	answer    int32
	weight    uint32
	threshold uint8           // 0: none
	gives     [questions]bool // by question: whether it has something to say
	first     [2]int32        // by question: the first member with the same address
}

// set is the rules of one name, or of one expression.
type set struct {
	// all has every rule's source list; it is used while there is no client subnet. With one, subnet has those of the
	// rules that look at it, and others those of the rest. sources is nil where there are no such rules.
	all, subnet, others view
	rules               []int32 // in file order
	alike               bool    // all clients get the same rule
}

// view is some rules of a set by their source lists.
type view struct {
	*sources
	single [1]int32  // the one rule that there is; else
	rules  [][]int32 // by position in sources.lists, in file order
}

// of is the rules of a list, by its position.
func (v *view) of(list int32) []int32 {
	if v.rules == nil {
		return v.single[:]
	}
	return v.rules[list]
}

// Compile prepares the rules of a configuration, which must not change any more.
func Compile(c *config.Config) *Rules {
	r := &Rules{config: c, rules: make([]rule, len(c.Rules))}
	groups := make([]group, len(c.Groups))
	for i := range c.Groups {
		groups[i] = newGroup(c, &c.Groups[i])
	}
	for i := range c.Rules {
		rule := &r.rules[i]
		*rule = r.newRule(&c.Rules[i], groups)
		if len(rule.clauses) == 1 {
			rule.single[0] = rule.clauses[0]
			rule.clauses = rule.single[:]
		}
	}
	s := setMaker{Rules: r, sets: make(map[string]int32), tables: make(map[string]*sources)}
	r.nameSets(&s)
	return r
}

func (r *Rules) newRule(c *config.Rule, groups []group) rule {
	out := rule{
		forward: c.Forward,
		ttl:     c.TTL,
		unknown: c.Unknown,
		subnet:  c.ClientSubnet,
		prefix4: uint8(c.Prefix4), prefix6: uint8(c.Prefix6),
		sticky:     c.Sticky.By,
		list:       hashString(r.config.DomainLists[c.Domains].Name),
		inactivity: c.Sticky.Inactivity,
		maxWait:    c.MaxWait,
	}
	for _, cl := range c.Clauses {
		out.clauses = append(out.clauses, clause{
			group:   groups[cl.Group],
			balance: cl.Balance,
			policy:  cl.AllDown,
			count:   min(max(cl.Count, 1), MaxAnswers),
			cursor:  int32(r.cursors),
		})
		r.cursors += questions
	}
	return out
}

func newGroup(c *config.Config, g *config.Group) group {
	out := group{kind: g.Kind, divisor: 1}
	divisor := uint32(0)
	first := make(map[netip.Addr]int32)
	for i, m := range g.Members {
		a := &c.Answers[m.Answer]
		add := member{
			id:        newAnswerID(a.Name),
			answer:    int32(m.Answer),
			weight:    uint32(m.Weight),
			threshold: uint8(m.LoadThreshold),
			gives:     [questions]bool{true, true, true},
		}
		divisor = gcd(divisor, add.weight)
		if a.Kind == config.VIP {
			add.gives[forOther] = false
			for k, ip := range []netip.Addr{a.IPv4, a.IPv6} {
				add.gives[k] = ip.IsValid()
				j, ok := first[ip]
				if !ok {
					j = int32(i)
					first[ip] = j
				}
				add.first[k] = j
				out.same[k] = out.same[k] || ok && ip.IsValid()
			}
		}
		out.members = append(out.members, add)
	}
	if divisor > 0 {
		out.divisor = divisor
	}
	return out
}

func gcd(a, b uint32) uint32 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// nameSets forms the sets of all names and expressions.
func (r *Rules) nameSets(s *setMaker) {
	ofList := make([][]int32, len(r.config.DomainLists)) // rules
	for i := range r.config.Rules {
		list := r.config.Rules[i].Domains
		ofList[list] = append(ofList[list], int32(i))
	}
	// There may be a million names, so that each is kept with a number for the lists that have it.
	var names []string
	byName := make(map[string]int32)
	byExpr := make(map[string]*expression)
	combined := newListSets()
	for list, rules := range ofList {
		if len(rules) == 0 {
			continue
		}
		for _, d := range r.config.DomainLists[list].Domains {
			if d.Regexp == nil {
				before, ok := byName[d.Name]
				if !ok {
					names = append(names, d.Name)
				}
				byName[d.Name] = combined.with(before, int32(list))
				continue
			}
			e := byExpr[d.Regexp.String()]
			if e == nil {
				e = &expression{Regexp: d.Regexp}
				byExpr[d.Regexp.String()] = e
			}
			e.rules = append(e.rules, rules...)
		}
	}

	r.balanced = make([]zone.Balanced, len(names))
	made := make(map[int32]zone.Balanced)
	for i, name := range names {
		n := byName[name]
		b, ok := made[n]
		if !ok {
			var rules []int32
			for at := n; at > 0; at = combined.all[at].set {
				rules = append(rules, ofList[combined.all[at].list]...)
			}
			slices.Sort(rules)
			b = zone.Balanced{Set: s.set(rules), CNAME: r.answersEveryType(rules)}
			made[n] = b
		}
		b.Name = name
		r.balanced[i] = b
	}

	var exprs []expression
	for _, text := range slices.Sorted(maps.Keys(byExpr)) {
		e := byExpr[text]
		slices.Sort(e.rules)
		e.rules = slices.Compact(e.rules)
		e.set = s.set(e.rules)
		exprs = append(exprs, *e)
	}
	r.matcher = newMatcher(exprs, len(r.sets))
	r.parents = parentsOf(exprs)
}

// listSets numbers the sets of domain lists that names are in. 0 is the empty one.
type listSets struct {
	all    []listAdded // what each was made of
	number map[listAdded]int32
}

// listAdded is a set with one more list.
type listAdded struct{ set, list int32 }

func newListSets() *listSets {
	return &listSets{all: make([]listAdded, 1), number: make(map[listAdded]int32)}
}

// with is the set with a list, which comes after all that are in it, or is the last of them.
func (l *listSets) with(set, list int32) int32 {
	if set > 0 && l.all[set].list == list {
		return set
	}
	key := listAdded{set, list}
	n, ok := l.number[key]
	if !ok {
		n = int32(len(l.all))
		l.all = append(l.all, key)
		l.number[key] = n
	}
	return n
}

// answersEveryType reports whether one of the rules may say CNAME or ask a name server.
func (r *Rules) answersEveryType(rules []int32) bool {
	return slices.ContainsFunc(rules, func(i int32) bool {
		return slices.ContainsFunc(r.rules[i].clauses, func(c clause) bool { return c.kind != config.VIP })
	})
}

// setMaker makes each set, and each table of sources, once.
type setMaker struct {
	*Rules
	sets   map[string]int32 // by rules
	tables map[string]*sources
}

func (s *setMaker) set(rules []int32) int32 {
	key := listKey(rules)
	if i, ok := s.sets[key]; ok {
		return i
	}
	var subnet, others []int32
	for _, i := range rules {
		if s.rules[i].subnet {
			subnet = append(subnet, i)
		} else {
			others = append(others, i)
		}
	}
	picky := func(i int32) bool { return s.rules[i].subnet || s.config.Rules[i].Sources != anywhere }
	made := set{rules: rules, all: s.view(rules), alike: !slices.ContainsFunc(rules, picky)}
	switch {
	case len(others) == 0:
		made.subnet = made.all
	case len(subnet) > 0:
		made.subnet, made.others = s.view(subnet), s.view(others)
	}
	i := int32(len(s.Rules.sets))
	s.sets[key] = i
	s.Rules.sets = append(s.Rules.sets, made)
	return i
}

func (s *setMaker) view(rules []int32) view {
	byList := make(map[int32][]int32)
	for _, i := range rules {
		list := int32(s.config.Rules[i].Sources)
		byList[list] = append(byList[list], i)
	}
	lists := slices.Sorted(maps.Keys(byList))
	key := listKey(lists)
	t := s.tables[key]
	if t == nil {
		t = newSources(s.config, lists)
		s.tables[key] = t
	}
	v := view{sources: t}
	if len(rules) == 1 {
		v.single[0] = rules[0]
		return v
	}
	for _, list := range lists {
		v.rules = append(v.rules, byList[list])
	}
	return v
}

// listKey is a list as a key of a map.
func listKey(list []int32) string {
	key := make([]byte, 0, 4*len(list))
	for _, i := range list {
		key = binary.LittleEndian.AppendUint32(key, uint32(i))
	}
	return string(key)
}

// Balanced returns the names that the rules balance, each once, with their rule sets.
func (r *Rules) Balanced() []zone.Balanced { return r.balanced }

// Cursors is how many round robins there are: the length of Query.Cursors.
func (r *Rules) Cursors() int { return r.cursors }
