package core

import (
	"time"

	"github.com/sluicelb/sluice/controller/plan"
)

// limits knows since when moves last. The plan knows no time, and what is not stored counts anew after
// a restart of the controller: a move may then last for up to another drain_limit.
type limits struct {
	since  map[moves]time.Time     // from when the connected switches held them
	epochs map[*plan.Pool][]uint32 // that are alive there; pools are never modified
}

// moves are those of a pool that have begun together.
type moves struct {
	pool  string
	epoch uint32
}

// look brings l in line with st. Moves that are new to it begin now, unless the switches lack them: held says of which
// pools they do not.
func (l *limits) look(st plan.State, held map[string]bool, now time.Time) {
	epochs := make(map[*plan.Pool][]uint32, len(st.Pools))
	since := make(map[moves]time.Time)
	for name, p := range st.Pools {
		alive, ok := l.epochs[p]
		if !ok {
			alive = p.Epochs()
		}
		epochs[p] = alive
		for _, e := range alive {
			m := moves{name, e}
			if at, ok := l.since[m]; ok {
				since[m] = at
			} else if held[name] {
				since[m] = now
			}
		}
	}
	l.since, l.epochs = since, epochs
}

// limit ends by force the moves that have lasted for their pool's drain_limit, and the graces that are over.
func (c *Core) limit() {
	c.limits.look(c.stored.Plan, c.caughtUpPools(), c.now)
	var due []plan.SlotRef
	for _, pool := range c.intent.Pools {
		p := c.stored.Plan.Pools[pool.Name]
		gone := c.waits(pool, (*view).away) // what is due waits: its return ends up here, and so does the end of the wait
		for _, epoch := range c.limits.epochs[p] {
			since, ok := c.limits.since[moves{pool.Name, epoch}]
			if !ok {
				continue
			}
			if at := since.Add(pool.DrainLimit); at.After(c.now) {
				c.wakeAt(at)
			} else if !gone {
				due = append(due, p.Moving(epoch)...)
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
