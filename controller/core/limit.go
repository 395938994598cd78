package core

import (
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
)

// A slot that moves is settled when every flow that it leaves behind is pinned, or counts as gone:
//
//	all connected switches hold the move, and have been connected and reported all old flows since
//	                                  |
//	                                  | drain_idle: who is silent for longer counts as gone
//	                                  | reportTime: what was reported last is on its way
//	                                  v
//	it settles; the pins are written before that
//
// What begins the time anew: a switch is connected again, the slot turns, a report was held back or did not fit, the
// daemon did not run. While the old backend is called dead the slot has a grace instead (trust.go), and while a switch
// is away the pool waits for it (await.go).

// reportTime is how long a report may take from the packet to the core: the switch's list of digests, the stream, and
// the device's room for it.
const reportTime = 2 * time.Second

// underWay knows for how long moves have lasted. The plan knows no time, and what is not stored counts anew after a
// restart of the controller.
type underWay struct {
	since map[move]time.Time // from when the connected switches held it
	pools map[string]*poolMoves
	last  uint64 // counts the looks that found other slots
	// left is since when the switches hold that no new flows go to a backend that was taken out, for those that have
	// old ones.
	left map[plan.BackendKey]time.Time
}

// poolMoves are the moves of a pool. Neither is ever modified.
type poolMoves struct {
	of    *plan.Pool
	began []uint64 // the look that found each slot as it is
	moves map[move][]plan.SlotRef
}

// move is what slots have in common that began to move, or turned, together.
type move struct {
	began uint64
	bank  uint8
	old   rows.BackendID
}

// movesOf finds the moves of a pool. What is as it was before has begun when it had.
func movesOf(p *plan.Pool, before *poolMoves, look uint64) *poolMoves {
	is := &poolMoves{p, make([]uint64, len(p.Slots)), make(map[move][]plan.SlotRef)}
	same := before != nil && before.of.ID == p.ID && before.of.Generation == p.Generation
	for i, slot := range p.Slots {
		if is.began[i] = look; same && slot == before.of.Slots[i] {
			is.began[i] = before.began[i]
		}
		if slot.Old != 0 {
			m := move{is.began[i], slot.Bank, slot.Old}
			is.moves[m] = append(is.moves[m], plan.SlotRef{Pool: p.ID, Generation: p.Generation, Slot: uint16(i),
				Old: slot.Old})
		}
	}
	return is
}

// look brings u in line with st. Moves that are new to it begin now, if the connected switches hold them: held says for
// which pools they do, dead which old backends have a grace instead.
func (u *underWay) look(st plan.State, held map[string]bool, dead map[rows.BackendID]bool, now time.Time) {
	pools := make(map[string]*poolMoves, len(st.Pools))
	since := make(map[move]time.Time)
	next := u.last + 1
	for name, p := range st.Pools {
		of := u.pools[name]
		if of == nil || of.of != p {
			of, u.last = movesOf(p, of, next), next
		}
		pools[name] = of
		for m := range of.moves {
			if at, ok := u.since[m]; ok && !dead[m.old] {
				since[m] = at
			} else if held[name] && !dead[m.old] {
				since[m] = now
			}
		}
	}
	u.since, u.pools = since, pools
}

// limit ends the moves whose old flows are pinned, those of backends that were taken out and have lasted for their
// pool's drain_limit, and the graces that are over.
func (c *Core) limit() {
	c.suspectSwitches()
	c.doubt()
	c.underWay.look(c.stored.Plan, c.caughtUpPools(), c.deadNow(), c.now)
	var due []plan.SlotRef
	for _, pool := range c.intent.Pools {
		// what is due waits: the switch's return leads here again, and so does the end of the wait
		gone := c.waits(pool, (*view).away)
		for m, refs := range c.underWay.pools[pool.Name].moves {
			since, ok := c.underWay.since[m]
			if !ok {
				continue
			}
			if at := latest(since, c.reportedSince(pool, m.bank)).Add(pool.DrainIdle + reportTime); at.After(c.now) {
				c.wakeAt(at)
			} else if !gone {
				due = append(due, refs...)
			}
		}
	}
	if len(due) > 0 {
		c.settle(due, Pinned)
		// What moves now is new, and what is left is due at the time that was found, at the earliest.
		c.underWay.look(c.stored.Plan, c.caughtUpPools(), c.deadNow(), c.now)
	}
	c.rid()
	c.grace()
}

// deadNow are the backends that are called dead, of the current state.
func (c *Core) deadNow() map[rows.BackendID]bool {
	c.healthNow()
	return c.outlook.dead
}

// dead are the backends that are called dead.
func (c *Core) dead(health map[plan.BackendKey]plan.Health) map[rows.BackendID]bool {
	dead := make(map[rows.BackendID]bool)
	for _, pool := range c.intent.Pools {
		for _, m := range c.stored.Plan.Pools[pool.Name].Members {
			if isDown(pool, health[plan.BackendKey{Pool: pool.Name, Backend: m.Name}]) {
				dead[m.ID] = true
			}
		}
	}
	return dead
}

// rid ends the open flows of backends that were taken out longer ago than their pool's drain_limit.
func (c *Core) rid() {
	left := make(map[plan.BackendKey]time.Time)
	over := make(map[rows.BackendID]bool)
	var due []plan.SlotRef
	for _, pool := range c.intent.Pools {
		if pool.DrainLimit == 0 {
			continue
		}
		held, gone := c.caughtUp(pool), c.waits(pool, (*view).away)
		for _, s := range c.oldFlowsOf(pool) {
			key := plan.BackendKey{Pool: pool.Name, Backend: s.Name}
			at, ok := c.underWay.left[key]
			switch {
			case !ok && !held:
				continue
			case !ok:
				at = c.now
			}
			left[key] = at
			if end := at.Add(pool.DrainLimit); end.After(c.now) {
				c.wakeAt(end)
			} else if kept := c.stored.Plan.Pools[pool.Name].Kept(s.ID); !gone && len(kept)+s.Pinned > 0 {
				over[s.ID] = true
				due = append(due, kept...)
				c.countForced(key, len(kept), s.Pinned)
			}
		}
	}
	c.underWay.left = left
	if len(over) == 0 {
		return
	}
	c.unpin(func(_ rows.Flow, id rows.BackendID) bool { return over[id] })
	c.settle(due, AfterLimit)
	c.goOn()
}

// oldFlowsOf are the backends of a pool that the operator has taken out, and that have old flows and get no new ones.
func (c *Core) oldFlowsOf(pool config.Pool) (all []plan.Share) {
	census, _ := c.stored.Plan.Census(pool.Name)
	for _, s := range census.Backends {
		out := s.Removed || !wanted(pool, s.Name) ||
			c.stored.Admin[plan.BackendKey{Pool: pool.Name, Backend: s.Name}] == plan.Drain
		if out && s.Slots == 0 && s.Owns() {
			all = append(all, s)
		}
	}
	return all
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
