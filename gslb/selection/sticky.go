package selection

import (
	"net/netip"

	"github.com/sluicelb/sluice/gslb/config"
)

// AnswerID names an answer between reloads, restarts and nodes: a hash of its name. It is never 0.
type AnswerID uint64

// StickyKey is who sticks, and for what.
type StickyKey struct {
	Client netip.Prefix // the client's address or subnet, cut to the rule's prefix length
	By     uint64       // hash of the domain, or of the domain list's name
}

// hash spreads keys.
func (k StickyKey) hash() uint64 {
	return mix(toAddress(k.Client.Addr()).hash() ^ k.By + uint64(k.Client.Bits()))
}

// clientBits is how many bits of the client source hashes and sticky look at. What they look at, the scope must have.
func (d *decision) clientBits() int {
	n := d.prefix6
	if d.found.client.Is4() {
		n = d.prefix4
	}
	if d.found.subnet {
		d.out.Scope = max(d.out.Scope, n)
	}
	return int(n)
}

// stick decides for the answer that the client stuck to, in whatever clause that is, and reports whether it did.
func (d *decision) stick() bool {
	out := d.out
	// The rule's prefix lengths are those of an address.
	client, _ := d.found.client.Prefix(min(d.clientBits(), d.found.bits))
	out.Sticky, out.Inactivity = true, d.inactivity
	out.StickyKey = StickyKey{Client: client, By: ^d.list}
	if d.sticky == config.StickyDomain {
		out.StickyKey.By = hashString(d.q.Name)
	}
	if d.q.Stuck == 0 {
		return false
	}
	for i := range d.clauses {
		c := &d.clauses[i]
		for j := range c.members {
			m := &c.members[j]
			if m.id != d.q.Stuck || d.fate(m, mustLive) != candidate {
				continue
			}
			out.Held = true
			if !m.gives[d.asked] {
				continue
			}
			out.Stuck, out.Stick, out.StickTo = true, true, m.id
			out.Clause = int32(i)
			out.Answers[0], out.N = m.answer, 1
			d.kindOutcome(c)
			return true
		}
	}
	return false
}

// SelectSticky is Select for clients that may stick to the answer they had: it looks in the table for it, and keeps
// there what was chosen. A client whose answer has no address of the family asked gets another for that family and
// sticks to the one it had. now is in nanoseconds of the clock that the table knows. table may be nil.
func (r *Rules) SelectSticky(s *States, q *Query, table *StickyTable, now int64, out *Choice) {
	r.Select(s, q, out)
	if !out.Sticky || table == nil {
		return
	}
	if had := table.Get(out.StickyKey, now); had != 0 {
		q.Stuck = had
		r.Select(s, q, out)
		q.Stuck = 0
		if out.Held {
			table.Put(out.StickyKey, had, now+int64(out.Inactivity))
			return
		}
	}
	if out.Stick {
		table.Put(out.StickyKey, out.StickTo, now+int64(out.Inactivity))
	}
}
