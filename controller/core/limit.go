package core

import (
	"time"

	"github.com/sluicelb/sluice/controller/plan"
)

// limits knows since when moves last. The plan knows no time, and what is not stored counts anew after
// a restart of the controller: a move may then last for up to another drain_limit.
type limits struct {
	since  map[uint32]time.Time    // by epoch, from when the connected switches held its moves
	epochs map[*plan.Pool][]uint32 // that are alive there; pools are never modified
}

// look brings l in line with st. Epochs that are new to it begin now, unless the switches lack them.
func (l *limits) look(st plan.State, held bool, now time.Time) {
	epochs := make(map[*plan.Pool][]uint32, len(st.Pools))
	since := make(map[uint32]time.Time)
	for _, p := range st.Pools {
		alive, ok := l.epochs[p]
		if !ok {
			alive = p.Epochs()
		}
		epochs[p] = alive
		for _, e := range alive {
			if at, ok := l.since[e]; ok {
				since[e] = at
			} else if held {
				since[e] = now
			}
		}
	}
	l.since, l.epochs = since, epochs
}

// limit ends by force the moves that have lasted for their pool's drain_limit, and the graces that are over.
func (c *Core) limit() {
	c.limits.look(c.stored.Plan, c.held(), c.now)
	var due []plan.SlotRef
	gone := len(away(c.views)) > 0 // what is due waits: its return ends up here
	for _, pool := range c.intent.Pools {
		p := c.stored.Plan.Pools[pool.Name]
		for _, epoch := range c.limits.epochs[p] {
			since, ok := c.limits.since[epoch]
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
		c.limits.look(c.stored.Plan, c.held(), c.now)
	}
	c.grace()
}

// held says whether switches are connected, and all of them hold what was decided.
func (c *Core) held() bool { return c.connected() && !hold(c.views, c.sequence) }

// connected says whether any switch is.
func (c *Core) connected() bool {
	for _, v := range c.views {
		if v.connected() {
			return true
		}
	}
	return false
}
