package core

import (
	"time"

	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
)

// limits knows for how long moves have lasted. The plan knows no time, and what is not stored counts anew after a
// restart of the controller: a move may then last for up to another drain_limit.
type limits struct {
	since map[move]time.Time                     // from when the connected switches held it
	moves map[*plan.Pool]map[move][]plan.SlotRef // that are under way there; pools are never modified
}

// move is what slots have in common whose open flows have been with the same backend for the same time. One that turns
// keeps its epoch, and the flows that were opened since it began are the open ones now: it has the whole time for them.
type move struct {
	epoch uint32
	old   rows.BackendID
	back  bool // it has turned an odd number of times
}

func movesOf(p *plan.Pool) map[move][]plan.SlotRef {
	moves := make(map[move][]plan.SlotRef)
	for _, epoch := range p.Epochs() {
		for _, ref := range p.Moving(epoch) {
			m := move{epoch, ref.Old, p.Slots[ref.Slot].Back}
			moves[m] = append(moves[m], ref)
		}
	}
	return moves
}

// look brings l in line with st. Moves that are new to it begin now, if the connected switches hold them: held says for
// which pools they do.
func (l *limits) look(st plan.State, held map[string]bool, now time.Time) {
	moves := make(map[*plan.Pool]map[move][]plan.SlotRef, len(st.Pools))
	since := make(map[move]time.Time)
	for name, p := range st.Pools {
		of, ok := l.moves[p]
		if !ok {
			of = movesOf(p)
		}
		moves[p] = of
		for m := range of {
			if at, ok := l.since[m]; ok {
				since[m] = at
			} else if held[name] {
				since[m] = now
			}
		}
	}
	l.since, l.moves = since, moves
}

// limit ends by force the moves that have lasted for their pool's drain_limit, and the graces that are over.
func (c *Core) limit() {
	c.limits.look(c.stored.Plan, c.caughtUpPools(), c.now)
	var due []plan.SlotRef
	for _, pool := range c.intent.Pools {
		p := c.stored.Plan.Pools[pool.Name]
		// what is due waits: the switch's return leads here again, and so does the end of the wait
		gone := c.waits(pool, (*view).away)
		for m, refs := range c.limits.moves[p] {
			since, ok := c.limits.since[m]
			if !ok {
				continue
			}
			if at := since.Add(pool.DrainLimit); at.After(c.now) {
				c.wakeAt(at)
			} else if !gone {
				due = append(due, refs...)
			}
		}
	}
	if len(due) > 0 {
		c.settle(due, AfterLimit)
		// What moves now is new, and what is left is due at the time that was found, at the earliest.
		c.limits.look(c.stored.Plan, c.caughtUpPools(), c.now)
	}
	c.grace()
}

// connected says whether any switch is.
func (c *Core) connected() bool {
	for _, v := range c.views {
		if v.connected() {
			return true
		}
	}
	return false
}
