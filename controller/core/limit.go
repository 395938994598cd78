package core

import (
	"time"

	"github.com/sluicelb/sluice/controller/plan"
)

// limits knows for how long slots have moved, by pool. The plan knows no time, and what is not stored counts anew after
// a restart of the controller: a move may then last for up to another drain_limit. What it points to is replaced and
// never modified.
type limits map[string]*lasting

// lasting is for how long the slots of a pool have moved.
type lasting struct {
	pool *plan.Pool
	// since is, by slot, from when the connected switches held its move; zero: it does not move, or they do not hold
	// that yet. Nil: none moves. A slot that turns begins anew: the flows that were opened since it began are the open
	// ones now, and have the whole time.
	since []time.Time
	first time.Time // the earliest of them; zero: there is none
	held  bool      // by the connected switches
}

// look brings l in line with st: moves that are new to it begin now, if held says so of their pool.
func (l limits) look(st plan.State, held map[string]bool, now time.Time) limits {
	next := make(limits, len(st.Pools))
	for name, p := range st.Pools {
		was := l[name]
		if was == nil {
			was = &lasting{pool: &plan.Pool{}}
		}
		if was.pool == p && (was.held || !held[name]) {
			next[name] = was
			continue
		}
		is := &lasting{pool: p, held: held[name]}
		for i, slot := range p.Slots {
			if slot.Old == 0 {
				continue
			}
			if is.since == nil {
				is.since = make([]time.Time, len(p.Slots))
			}
			if n := len(was.since); n > 0 { // a pool that got more slots has each of them twice
				before := was.pool.Slots[i%n]
				if before.Epoch == slot.Epoch && before.Old == slot.Old && before.Back == slot.Back {
					is.since[i] = was.since[i%n]
				}
			}
			if is.since[i].IsZero() && is.held {
				is.since[i] = now
			}
			is.first = earlier(is.first, is.since[i])
		}
		next[name] = is
	}
	return next
}

// due are the slots that have moved for a time.
func (l *lasting) due(limit time.Duration, now time.Time) (refs []plan.SlotRef) {
	if l.first.IsZero() || l.first.Add(limit).After(now) {
		return nil
	}
	for i, since := range l.since {
		if !since.IsZero() && !since.Add(limit).After(now) {
			refs = append(refs, plan.SlotRef{Pool: l.pool.ID, Generation: l.pool.Generation, Slot: uint16(i),
				Old: l.pool.Slots[i].Old})
		}
	}
	return refs
}

// limit ends by force the moves that have lasted for their pool's drain_limit, and the graces that are over.
func (c *Core) limit() {
	c.limits = c.limits.look(c.stored.Plan, c.caughtUpPools(), c.now)
	var due []plan.SlotRef
	for _, pool := range c.intent.Pools {
		// what is due waits: the switch's return leads here again, and so does the end of the wait
		if !c.waits(pool, (*view).away) {
			due = append(due, c.limits[pool.Name].due(pool.DrainLimit, c.now)...)
		}
	}
	if len(due) > 0 {
		c.settle(due, AfterLimit)
		c.limits = c.limits.look(c.stored.Plan, c.caughtUpPools(), c.now)
	}
	for _, pool := range c.intent.Pools {
		if first := c.limits[pool.Name].first; !first.IsZero() {
			if at := first.Add(pool.DrainLimit); at.After(c.now) {
				c.wakeAt(at)
			}
		}
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
