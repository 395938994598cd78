package fastpath

import (
	"hash/maphash"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/responder"
	"github.com/sluicelb/sluice/gslb/selection"
)

// recent remembers which addresses the rules chose for the names that were asked for last, where everybody gets the
// same (selection.Choice.Alike). What zone and selection look at for one name of thousands is in a dozen places, of
// which the kernel leaves few in the processor's cache; an entry is in one. It is of one view, and empty when that
// changes.
type recent struct {
	view    *responder.View
	age     uint32 // of the view: entries of others are void
	seed    maphash.Seed
	entries []remembered // nil before the first; a name may be in either of two that are next to each other
}

// remembered is a choice of one address.
type remembered struct {
	age, ttl                     uint32
	rule, clause, answer, cursor int32
	qtype                        uint16
	owner                        uint8 // zone.Result.Owner
	length                       uint8 // of the name
	name                         [maxRemembered]byte
}

const (
	maxRecent     = 1 << 12 // entries
	maxRemembered = 100     // bytes of a name: longer ones are rare, and an entry has 128 bytes
)

// follow makes it that of a view.
func (r *recent) follow(v *responder.View) {
	if r.view == v {
		return
	}
	r.view = v
	if r.age++; r.age == 0 { // entries may be of that age, and never had ones are
		clear(r.entries)
		r.age = 1
	}
}

// find returns the entry that has a question, or else the one to keep it in; nil if it cannot be kept.
func (r *recent) find(name []byte, qtype uint16) (e *remembered, has bool) {
	if len(name) > maxRemembered || qtype != dns.TypeA && qtype != dns.TypeAAAA {
		return nil, false
	}
	if r.entries == nil {
		r.seed, r.entries = maphash.MakeSeed(), make([]remembered, maxRecent)
	}
	at := (maphash.Bytes(r.seed, name) + 2*uint64(qtype)) & (maxRecent - 2)
	a, b := &r.entries[at], &r.entries[at+1]
	switch {
	case r.has(a, name, qtype):
		return a, true
	case r.has(b, name, qtype):
		return b, true
	case b.age != r.age:
		return b, false
	}
	return a, false
}

func (r *recent) has(e *remembered, name []byte, qtype uint16) bool {
	return e.age == r.age && e.qtype == qtype && string(e.name[:e.length]) == string(name)
}

// recall has the choice at the query's place be that of the query.
func (s *Scratch) recall() {
	e := s.place
	s.response.Limit = s.name[e.owner:]
	s.choice = selection.Choice{
		Outcome: selection.Addresses, Rule: e.rule, Clause: e.clause, N: 1, TTL: e.ttl, Cursor: e.cursor, Alike: true,
	}
	s.choice.Answers[0] = e.answer
}

// remember keeps the choice for the query's name, if everybody gets it.
func (s *Scratch) remember(owner uint8) {
	c, e := &s.choice, s.place
	if e == nil || !c.Alike || c.Outcome != selection.Addresses {
		return
	}
	e.age, e.ttl, e.qtype = s.recent.age, c.TTL, s.qtype
	e.rule, e.clause, e.answer, e.cursor = c.Rule, c.Clause, c.Answers[0], c.Cursor
	e.owner, e.length = owner, uint8(copy(e.name[:], s.name))
}
