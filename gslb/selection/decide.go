package selection

import (
	"net/netip"

	"github.com/sluicelb/sluice/gslb/config"
)

// Select decides what the rules of q.Set answer. It does not allocate (but for groups of more than 1,024 members).
//
// Of the rules whose source list has the client, and that are not suspended, the one with the longest prefix decides,
// and the first in the file among those with the same. Rules that allow it see the client subnet in place of the source
// address, and are in it only with prefixes that contain it whole; lengths of prefixes are compared as they are, also
// between families. The rule's clauses are tried in order:
//
//   - A clause whose members have nothing for the type asked (VIPs without an address of the family, or for any other
//     type) is passed over, its policy too. A CNAME after one that has live members for other types would say that name
//     has no such data (RFC 1034, section 3.6.2), so the answer is then NoData.
//   - Candidates are members that are up, not suspended, not above their load threshold and of a weight above 0. The
//     balance method picks among them.
//   - Members without a verdict are candidates, or not, as the rule says. Where it says to wait, they are none while
//     there are others, also in later clauses that the clause's policy leads to: waiting is for when nothing that may
//     be given is known to be up. A client does not stick to what it gets in the meantime. Members that cannot be asked
//     are not waited for: they count as down then. And nothing is waited for that changes nothing: where all that the
//     verdicts may be come to the same, that is given at once, as an only member whose clause has AllAnswers.
//   - Without candidates the policy decides. AllAnswers makes candidates of all but suspended members and those of
//     weight 0, and of these as well if all are of weight 0; if still there are none it is as NextClause.
//
// If all clauses were tried in vain, the answer is NoData.
//
// The scope (RFC 7871, section 7.2.1) is the shortest in which nothing decides otherwise: no boundary of a prefix that
// rules of the set compare with client subnets lies inside, and the bits that a source hash or sticky uses are all
// outside. No two scopes of the same set overlap: nested prefixes are deaggregated, the first way that the RFC allows.
// A scope longer than the subnet's own length is given as it is and tells the resolver to send more bits: the choice
// was then made for the whole subnet, and resolvers keep it for queries of that source length only (section 7.3.1).
func (r *Rules) Select(s *States, q *Query, out *Choice) { r.decide(s, q, out, nil) }

// Explain is Select with its reasons.
func (r *Rules) Explain(s *States, q *Query) (Choice, Why) {
	var out Choice
	var why Why
	r.decide(s, q, &out, &why)
	return out, why
}

// decide is Select, and writes down why if why is not nil.
func (r *Rules) decide(s *States, q *Query, out *Choice, why *Why) {
	*out = Choice{Rule: config.None, Clause: config.None, Cursor: config.None}
	d := decision{r: r, s: s, q: q, out: out, why: why, asked: questionOf(q.Type)}
	d.findRule()
	if why != nil {
		d.explainRules()
	}
	if out.Rule >= 0 {
		d.useRule()
	}
	if why != nil {
		d.explainEnd()
	}
}

// decision is one Select under way.
type decision struct {
	r     *Rules
	s     *States
	q     *Query
	out   *Choice
	why   *Why
	asked question

	*rule                        // that decides; nil for none
	unknown config.UnknownPolicy // the rule's, or AsDown to find out what that comes to
	found   found
	alike   bool // all clients get this rule
}

// found is the rule that has the client, and by what.
type found struct {
	prefix netip.Prefix // that decided
	client netip.Addr   // what it was compared with
	bits   int          // of client that are known
	subnet bool         // client is that of the client subnet
}

// findRule finds the rule.
func (d *decision) findRule() {
	q := d.q
	source := q.Source.Unmap()
	if !source.IsValid() {
		source = netip.IPv4Unspecified()
	}
	bySubnet := q.Subnet.IsValid() && q.Subnet.Bits() > 0
	one, more := d.r.parts(q)
	d.alike = true
	for one >= 0 {
		set := &d.r.sets[one]
		d.alike = d.alike && set.alike
		one = -1
		if len(more) > 0 {
			one, more = more[0], more[1:]
		}
		if !bySubnet || set.subnet.sources == nil {
			d.look(&set.all, source, source.BitLen(), false)
			continue
		}
		block := d.look(&set.subnet, q.Subnet.Addr(), q.Subnet.Bits(), true)
		d.out.SubnetUsed = true
		d.out.Scope = max(d.out.Scope, block)
		if set.others.sources != nil {
			d.look(&set.others, source, source.BitLen(), false)
		}
	}
	if d.out.Rule >= 0 {
		d.rule = &d.r.rules[d.out.Rule]
	}
}

// look finds the best rule of a view and keeps it if it is better than the one there is. It returns the length of the
// prefix around the client in which it does not change.
func (d *decision) look(v *view, client netip.Addr, bits int, subnet bool) (block uint8) {
	node, block := v.find(client, bits)
	for ; node >= 0; node = v.nodes[node].parent {
		n := &v.nodes[node]
		best := int32(config.None)
		for _, list := range n.lists {
			for _, i := range v.of(list) {
				if best >= 0 && i >= best {
					break
				}
				if !d.s.ruleSuspended(i) {
					best = i
					break
				}
			}
		}
		if best < 0 {
			continue
		}
		if d.out.Rule < 0 || n.prefix.Bits() > d.found.prefix.Bits() || n.prefix.Bits() == d.found.prefix.Bits() &&
			best < d.out.Rule {
			d.out.Rule = best
			d.found = found{n.prefix, client, bits, subnet}
		}
		break
	}
	return block
}

func (s *States) ruleSuspended(i int32) bool {
	return int(i) < len(s.RulesSuspended) && s.RulesSuspended[i]
}

// ownership is what the clauses that were passed over say of the name.
type ownership uint8

const (
	free  ownership = iota // nothing
	maybe                  // it depends on verdicts that are waited for
	owned                  // it has data of other types, or would be answered by a policy
)

// maxLive is the size of groups from which on Select allocates.
const maxLive = 1024

// useRule decides by the rule.
func (d *decision) useRule() {
	d.out.TTL = d.ttl
	d.unknown = d.rule.unknown
	if d.sticky != config.NotSticky && d.stick() {
		return
	}
	may := d.tryClauses()
	if d.out.Outcome != Wait {
		return
	}
	wait, why := *d.out, d.why
	d.why, d.unknown = nil, config.AsDown
	d.forget()
	d.tryClauses()
	same := may.same(d.out)
	if d.why = why; why != nil && same { // what was written down is that it waits
		why.Clauses = why.Clauses[:0]
		d.forget()
		d.tryClauses()
	}
	if !same {
		*d.out = wait
	}
}

// forget has the clauses tried anew.
func (d *decision) forget() {
	d.out.Outcome, d.out.Policy, d.out.Clause, d.out.Cursor = NoRule, 0, config.None, config.None
	d.out.N, d.out.Servers, d.out.Stick, d.out.MaxWait, d.out.Alike = 0, nil, false, 0, false
}

// prospect is what may be given by the verdicts that are waited for, but for the case that all of them are down.
type prospect struct {
	answer int32 // one that may be up; config.None: there is none
	more   bool  // others may be
	noData bool  // the name may turn out to have data of other types
}

// same reports whether what is given if all are down is given in all cases. That is to be asked of each answer that
// may be up for itself: two that are give what one gives, or both.
func (p prospect) same(down *Choice) bool {
	switch {
	case p.more || p.noData && p.answer >= 0:
		return false
	case p.noData:
		return down.Outcome == NoData
	}
	return down.N == 1 && down.Answers[0] == p.answer
}

// tryClauses tries the clauses of the rule. If it comes to Wait, it says what for.
func (d *decision) tryClauses() prospect {
	var space [maxLive / 64]uint64
	owner := free
	may := prospect{answer: config.None}
	waits := int32(config.None) // the first clause that verdicts yet to come may decide for
	for i := range d.clauses {
		c := &d.clauses[i]
		live := bitmap(space[:])
		if len(c.members) > maxLive {
			live = make(bitmap, (len(c.members)+63)/64)
		}
		t := d.scan(c, live, mustLive)
		if d.why != nil {
			d.explainClause(i, c, t, owner, waits >= 0)
		}
		if t.able == 0 {
			if c.kind == config.VIP && owner < owned {
				owner = max(owner, d.owns(c))
			}
			continue
		}
		if c.kind == config.CNAME && owner == owned {
			d.out.Clause = int32(i)
			d.out.Outcome = NoData
			return may
		}
		if t.live > 0 {
			d.out.Clause = int32(i)
			d.pick(c, live, t.live, mustLive)
			d.out.Stick = d.out.Stick && waits < 0
			return may
		}
		if d.awaits(c, t, owner) {
			if waits < 0 {
				waits = int32(i)
			}
			may.noData = may.noData || c.kind == config.CNAME && owner == maybe
			if t.unknown > 0 {
				may.more = may.more || t.unknown > 1 || may.answer >= 0 && may.answer != t.noVerdict
				may.answer = t.noVerdict
			}
		}
		if waits < 0 {
			if d.applyPolicy(i, c, live) {
				return may
			}
		} else if d.ends(c) {
			break
		}
	}
	d.out.Outcome = NoData
	if waits >= 0 && owner < owned {
		d.out.Clause, d.out.Outcome, d.out.MaxWait = waits, Wait, d.maxWait
	}
	return may
}

// awaits reports whether a clause without candidates may get some by the first verdicts.
func (d *decision) awaits(c *clause, t tally, owner ownership) bool {
	return t.unknown > 0 && d.unknown == config.Wait || c.kind == config.CNAME && owner == maybe
}

// ends reports whether the policy of a clause without candidates leads to no other clause.
func (d *decision) ends(c *clause) bool {
	switch c.policy {
	case config.NextClause:
		return false
	case config.AllAnswers:
		for i := range c.members {
			if m := &c.members[i]; m.gives[d.asked] && d.fate(m, evenWeightless) == candidate {
				return true
			}
		}
		return false
	}
	return true
}

// applyPolicy does what is to be done when nothing of a clause is live, and reports whether that ends the matter.
func (d *decision) applyPolicy(i int, c *clause, live bitmap) bool {
	switch c.policy {
	case config.AllAnswers:
		how := evenDown
		t := d.scan(c, live, how)
		if t.live == 0 {
			how = evenWeightless
			t = d.scan(c, live, how)
		}
		if t.live == 0 {
			if d.why != nil {
				d.explainSpare()
			}
			return false
		}
		d.out.Policy, d.out.Clause = c.policy, int32(i)
		d.pick(c, live, t.live, how)
		return true
	case config.NoData:
		d.out.Outcome = NoData
	case config.Refused:
		d.out.Outcome = Refused
	case config.Forward:
		d.out.Outcome = Forward
		d.out.Servers = d.forward
	default:
		return false
	}
	d.out.Policy, d.out.Clause = c.policy, int32(i)
	return true
}

// owns is what a clause says of the name although its members have nothing for the type in question.
func (d *decision) owns(c *clause) ownership {
	if len(c.members) == 0 {
		return free
	}
	if c.policy != config.NextClause {
		return owned
	}
	owner := free
	for i := range c.members {
		switch d.fate(&c.members[i], mustLive) {
		case candidate:
			return owned
		case noVerdict:
			if d.unknown == config.Wait {
				owner = maybe
			}
		}
	}
	return owner
}

// tally is what scan counted.
type tally struct {
	able      int // members with something to say to the question
	live      int
	unknown   int
	noVerdict int32 // the answer of one of these
}

// scan marks the members that are candidates for the question.
func (d *decision) scan(c *clause, live bitmap, how leniency) tally {
	var t tally
	clear(live[:(len(c.members)+63)/64])
	for i := range c.members {
		m := &c.members[i]
		if !m.gives[d.asked] {
			continue
		}
		t.able++
		switch d.fate(m, how) {
		case candidate:
			live.set(i)
			t.live++
		case noVerdict:
			t.unknown, t.noVerdict = t.unknown+1, m.answer
		}
	}
	return t
}

// leniency is what members may be candidates in spite of.
type leniency uint8

const (
	mustLive       leniency = iota
	evenDown                // whatever their health and load
	evenWeightless          // and their weight
)

// fate is why a member is a candidate, or not.
type fate uint8

const (
	candidate fate = iota
	suspended
	weightless
	down
	noVerdict
	unseen // and waited for in vain
	overThreshold
)

// fate judges a member, whatever the question.
func (d *decision) fate(m *member, how leniency) fate {
	s := d.state(m)
	switch {
	case s.Suspended:
		return suspended
	case m.weight == 0 && how < evenWeightless:
		return weightless
	case how >= evenDown:
		return candidate
	case s.Health == Down:
		return down
	case s.Health != Up && d.unknown != config.AsUp:
		if s.Unseen {
			return unseen
		}
		return noVerdict
	case s.HasLoad && m.threshold > 0 && s.Load > m.threshold:
		return overThreshold
	}
	return candidate
}

func (d *decision) state(m *member) State {
	if int(m.answer) < len(d.s.Answers) {
		return d.s.Answers[m.answer]
	}
	return State{}
}
