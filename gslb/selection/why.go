package selection

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
)

// Why is how a choice came about. It marshals to JSON for programs; Lines is for people.
type Why struct {
	Name   string `json:"name"` // with its last dot
	Type   string `json:"type"`
	Source string `json:"source"`
	Subnet string `json:"subnet,omitempty"` // client subnet of the query
	// Rules are all rules of the name in file order. At most one decides.
	Rules []WhyRule `json:"rules"`
	// Clauses are those of the rule that were tried, in order.
	Clauses []WhyClause `json:"clauses"`
	// Sticky says what the client sticks to; empty if the rule is not sticky.
	Sticky  string   `json:"sticky,omitempty"`
	Outcome string   `json:"outcome"`
	Policy  string   `json:"policy,omitempty"`
	Answers []string `json:"answers"`           // names
	Servers []string `json:"servers,omitempty"` // that the query is forwarded to
	TTL     uint32   `json:"ttl"`               // seconds
	// Scope is for how many bits of the client subnet this holds. It is absent if that was not looked at.
	Scope *uint8 `json:"scope,omitempty"`
}

// WhyRule is what was thought of a rule.
type WhyRule struct {
	Rule    string `json:"rule"`
	Sources string `json:"source_list"`
	Client  string `json:"client"`           // the address or subnet that the list was searched for
	Prefix  string `json:"prefix,omitempty"` // the longest in the list that has the client; empty for none
	Decides bool   `json:"decides"`
	Reason  string `json:"reason"`
}

// WhyClause is what was thought of a clause.
type WhyClause struct {
	Clause  int         `json:"clause"` // from 1
	Group   string      `json:"group"`
	Balance string      `json:"balance"`
	Count   int         `json:"count"`
	Members []WhyMember `json:"members"`
	Result  string      `json:"result"`
	Picks   []WhyPick   `json:"picks"`
}

// WhyMember is what was thought of a member, before any policy.
type WhyMember struct {
	Answer    string `json:"answer"`
	Weight    uint32 `json:"weight"`
	Health    string `json:"health"`
	Load      *uint8 `json:"load,omitempty"`
	Candidate bool   `json:"candidate"`
	Reason    string `json:"reason"`
}

// WhyPick is how the balance method came to an answer.
type WhyPick struct {
	Answer string `json:"answer"`
	Reason string `json:"reason"`
}

// maxRuleLines is how many rules that did not decide Lines lists.
const maxRuleLines = 20

// Lines is the explanation for people, a line each without its end.
func (w *Why) Lines() []string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	from := w.Source
	if w.Subnet != "" {
		from += ", client subnet " + w.Subnet
	}
	add("%s %s from %s", w.Name, w.Type, from)
	left := 0
	for i, r := range w.Rules {
		if i >= maxRuleLines && !r.Decides {
			left++
			continue
		}
		add("rule %s: %s", r.Rule, r.Reason)
	}
	if left > 0 {
		add("%d more rules do not decide", left)
	}
	if w.Sticky != "" {
		add("sticky: %s", w.Sticky)
	}
	for _, c := range w.Clauses {
		add("clause %d: group %s, %s, count %d", c.Clause, c.Group, c.Balance, c.Count)
		for _, m := range c.Members {
			add("  %s (weight %d): %s", m.Answer, m.Weight, m.Reason)
		}
		add("  %s", c.Result)
		for _, p := range c.Picks {
			add("  picked %s: %s", p.Answer, p.Reason)
		}
	}
	end := "answer: " + w.Outcome
	if len(w.Answers) > 0 {
		end += " of " + strings.Join(w.Answers, ", ")
	}
	if len(w.Servers) > 0 {
		end += " to " + strings.Join(w.Servers, ", ")
	}
	if w.Policy != "" {
		end += ", by policy " + w.Policy
	}
	if w.Outcome != NoRule.String() {
		end += fmt.Sprintf(", TTL %d", w.TTL)
	}
	if w.Scope != nil {
		end += fmt.Sprintf(", scope %d", *w.Scope)
	} else {
		end += ", no client subnet used"
	}
	add("%s", end)
	return lines
}

// String is Lines, each with its end.
func (w *Why) String() string { return strings.Join(w.Lines(), "\n") + "\n" }

// explainRules writes down what was asked and why no other rule decides. It looks at the configuration alone, and only
// at the rule that was found.
func (d *decision) explainRules() {
	w, c := d.why, d.r.config
	w.Name = string(appendText(nil, d.q.Name)) + "."
	w.Type = dns.Type(d.q.Type).String()
	w.Source = d.q.Source.Unmap().String()
	if d.q.Subnet.IsValid() {
		w.Subnet = d.q.Subnet.String()
	}
	w.Rules, w.Clauses, w.Answers = []WhyRule{}, []WhyClause{}, []string{}

	var rules []int32
	for one, more := d.r.parts(d.q); one >= 0; one, more = more[0], more[1:] {
		rules = append(rules, d.r.sets[one].rules...)
		if len(more) == 0 {
			break
		}
	}
	slices.Sort(rules)
	for _, i := range slices.Compact(rules) {
		client, what := netip.PrefixFrom(d.q.Source.Unmap(), d.q.Source.Unmap().BitLen()), w.Source
		if d.r.rules[i].subnet && d.q.Subnet.IsValid() && d.q.Subnet.Bits() > 0 {
			client, what = d.q.Subnet, "client subnet "+w.Subnet
		}
		list := c.Rules[i].Sources
		x := WhyRule{Rule: c.Rules[i].Name, Sources: c.SourceLists[list].Name, Client: client.String(),
			Decides: i == d.out.Rule}
		prefix, ok := longest(c.SourceLists[list].Prefixes, list == anywhere, client)
		if ok {
			x.Prefix = prefix.String()
		}
		switch {
		case x.Decides:
			x.Reason = fmt.Sprintf("decides: %s in source list %s has %s", prefix, x.Sources, what)
		case d.s.ruleSuspended(i):
			x.Reason = "suspended"
		case !ok:
			x.Reason = fmt.Sprintf("source list %s does not have %s", x.Sources, what)
		case prefix.Bits() < d.found.prefix.Bits():
			x.Reason = fmt.Sprintf("%s in source list %s is shorter than %s", prefix, x.Sources, d.found.prefix)
		default:
			x.Reason = fmt.Sprintf("comes later in the file than %s, for a prefix of the same length",
				c.Rules[d.out.Rule].Name)
		}
		w.Rules = append(w.Rules, x)
	}
}

// longest is the longest of the prefixes that has all of the client.
func longest(prefixes []netip.Prefix, all bool, client netip.Prefix) (best netip.Prefix, ok bool) {
	if all {
		prefixes = everyone
	}
	for _, p := range prefixes {
		if p.Bits() <= client.Bits() && p.Contains(client.Addr()) && (!ok || p.Bits() > best.Bits()) {
			best, ok = p, true
		}
	}
	return best, ok
}

// explainSticky writes down what sticking came to.
func (d *decision) explainSticky() {
	o := d.out
	by := "domain"
	if d.sticky == config.StickyDomainList {
		by = "domain list " + d.r.config.DomainLists[d.r.config.Rules[o.Rule].Domains].Name
	}
	text := fmt.Sprintf("%s by %s for %s", o.StickyKey.Client, by, o.Inactivity)
	switch {
	case d.q.Stuck == 0:
		text += ": no answer yet"
	case o.Stuck:
		text += ": stays with " + d.answerName(o.Answers[0])
	case o.Held:
		text += ": the answer it has is live and has nothing for " + d.why.Type
	default:
		text += ": the answer it had is not live in this rule"
	}
	d.why.Sticky = text
}

// explainClause writes down the state of a clause, and what follows from it. counted is what scan did; waits says that
// an earlier clause awaits verdicts.
func (d *decision) explainClause(i int, c *clause, counted tally, owner ownership, waits bool) {
	g := d.r.config.Rules[d.out.Rule].Clauses[i].Group
	x := WhyClause{
		Clause: i + 1, Group: d.r.config.Groups[g].Name, Balance: balanceText(c.balance), Count: d.count(c),
		Members: []WhyMember{}, Picks: []WhyPick{},
	}
	for k := range c.members {
		m := &c.members[k]
		s := d.state(m)
		y := WhyMember{Answer: d.answerName(m.answer), Weight: m.weight, Health: s.Health.String()}
		if s.HasLoad {
			y.Load = &s.Load
		}
		y.Candidate, y.Reason = d.explainMember(m, s)
		x.Members = append(x.Members, y)
	}
	switch {
	case len(c.members) == 0:
		x.Result = "the group has no members: passed over"
	case counted.able == 0:
		x.Result = "no member has anything for " + d.why.Type + ": passed over"
	case c.kind == config.CNAME && owner == owned:
		x.Result = "a clause before it has data of other types, beside which there is no CNAME: no data"
	case counted.live == 1:
		x.Result = "1 candidate"
	case counted.live > 0:
		x.Result = fmt.Sprintf("%d candidates", counted.live)
	case (waits || d.awaits(c, counted, owner)) && i+1 < len(d.clauses) && !d.ends(c):
		x.Result = "no candidates yet: next clause, and wait for the first verdicts if none has any"
	case waits || d.awaits(c, counted, owner):
		x.Result = fmt.Sprintf("no candidates: wait for the first verdicts, up to %s", d.maxWait)
	default:
		x.Result = "no candidates: policy " + policyText(c.policy)
	}
	d.why.Clauses = append(d.why.Clauses, x)
}

// explainMember says why a member is a candidate, or not.
func (d *decision) explainMember(m *member, s State) (is bool, reason string) {
	if !m.gives[d.asked] {
		switch d.asked {
		case forA:
			return false, "no IPv4 address"
		case forAAAA:
			return false, "no IPv6 address"
		}
		return false, "only A and AAAA"
	}
	switch d.fate(m, mustLive) {
	case suspended:
		return false, "suspended"
	case weightless:
		return false, "weight 0"
	case down:
		return false, "down"
	case noVerdict:
		switch {
		case d.unknown == config.Wait:
			return false, "no verdict yet"
		case d.rule.unknown == config.Wait:
			return false, "no verdict yet, and none would change what is given"
		}
		return false, "no verdict yet, counts as down"
	case unseen:
		return false, "cannot be asked, counts as down"
	case overThreshold:
		return false, fmt.Sprintf("load %d > %d", s.Load, m.threshold)
	}
	if s.Health != Up {
		return true, "candidate: no verdict yet, counts as up"
	}
	return true, "candidate"
}

// explainSpare writes down that a policy of all answers had none to give.
func (d *decision) explainSpare() {
	x := &d.why.Clauses[len(d.why.Clauses)-1]
	x.Result += ", but all are suspended: next clause"
}

// explainPick writes down how it came to the member, which is still among the candidates.
func (p *picker) explainPick(i int) {
	m := &p.members[i]
	x := &p.why.Clauses[len(p.why.Clauses)-1]
	var reason string
	switch p.balance {
	case config.RoundRobin:
		reason = fmt.Sprintf("position %d of %d, cursor %d", p.at+1, p.n, p.turn)
	case config.WeightedRoundRobin:
		turn, of := p.cycle()
		reason = fmt.Sprintf("turn %d of %d, cursor %d", turn+1, of, p.turn)
	case config.LeastLoaded:
		ties := 0
		for j, k := p.live.next(0), 1; ; j, k = p.live.next(j+1), k+1 {
			if p.compareLoad(i, j) == 0 {
				ties++
			}
			if k == p.n {
				break
			}
		}
		if load := p.load(i); load < 0 {
			reason = "no candidate has a load"
		} else {
			reason = fmt.Sprintf("load %d / weight %d is the least", load, p.weight(i))
		}
		if ties > 1 {
			reason += fmt.Sprintf(" of %d alike, cursor %d", ties, p.turn)
		}
	case config.HashSource:
		reason = "hash of " + p.hashedClient()
	case config.HashDomain:
		reason = "hash of " + p.why.Name
	case config.HashBoth:
		reason = fmt.Sprintf("hash of %s and %s", p.hashedClient(), p.why.Name)
	default:
		reason = fmt.Sprintf("first of %d in order", p.n)
	}
	x.Picks = append(x.Picks, WhyPick{Answer: p.answerName(m.answer), Reason: reason})
}

// hashedClient is what a source hash sees.
func (p *picker) hashedClient() string {
	client, _ := p.found.client.Prefix(p.clientBits())
	return client.String()
}

// explainEnd writes down what was decided.
func (d *decision) explainEnd() {
	w, o := d.why, d.out
	if o.Sticky {
		d.explainSticky()
	}
	w.Outcome, w.TTL = o.Outcome.String(), o.TTL
	if o.Policy != 0 {
		w.Policy = policyText(o.Policy)
	}
	for _, a := range o.Answers[:o.N] {
		w.Answers = append(w.Answers, d.answerName(a))
	}
	for _, s := range o.Servers {
		w.Servers = append(w.Servers, s.String())
	}
	if o.SubnetUsed {
		scope := o.Scope
		w.Scope = &scope
	}
}

func (d *decision) answerName(i int32) string { return d.r.config.Answers[i].Name }

func balanceText(b config.Balance) string {
	switch b {
	case config.Ordered:
		return "ordered"
	case config.RoundRobin:
		return "round robin"
	case config.WeightedRoundRobin:
		return "weighted round robin"
	case config.LeastLoaded:
		return "least loaded"
	case config.HashSource:
		return "hash by source"
	case config.HashDomain:
		return "hash by domain"
	case config.HashBoth:
		return "hash by source and domain"
	}
	return fmt.Sprintf("balance %d", b)
}

func policyText(p config.Policy) string {
	switch p {
	case config.NextClause:
		return "next clause"
	case config.AllAnswers:
		return "all answers"
	case config.NoData:
		return "no data"
	case config.Refused:
		return "refused"
	case config.Forward:
		return "forward"
	}
	return fmt.Sprintf("policy %d", p)
}
