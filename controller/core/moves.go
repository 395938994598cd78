package core

import (
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
)

// step lets the plan decide on next, makes that the state and has the switches told. always tells them even if no slot
// changed. What an error leaves is as it was.
func (c *Core) step(next Stored, why cause, always bool) error {
	c.steps++
	judgement := c.judgeAll(next)
	decided, progress, err := plan.Step(next.Plan, plan.Input{
		Intent: c.intent,
		Health: judgement.health,
		Admin:  next.Admin,
		Hold:   c.holding(),
		Over:   c.ended,
		Stale:  c.fallenLong(judgement.fallen),
	})
	if err != nil {
		return fmt.Errorf("planning: %w", err)
	}
	same := samePools(c.stored.Plan, decided)
	if !same {
		c.forgetSilence(c.stored.Plan, decided)
	}
	c.save = c.save || always || !same || !sameNumbers(c.stored.Plan, decided)
	c.doubtful = judgement.doubtful
	next.Plan = decided
	if always || !same {
		next.Verdicts = judged(c.intent, next)
	}
	c.stored = next
	c.waiting = progress.Waiting
	if len(progress.Moves) > 0 {
		c.publish(SlotsMoved{why.text, progress})
	}
	if progress.Rehashed > 0 {
		c.log(slog.LevelWarn, "open connections broke: a pool got fewer slots", "slots", progress.Rehashed)
	}
	if same && !always {
		return nil
	}
	c.sequence++
	c.tell = true
	if len(progress.Moves) > 0 || always {
		c.follow(newChange(c.sequence, why, c.now, progress, c.views))
	}
	return nil
}

// samePools says whether two states have the same slots: states share what did not change.
func samePools(a, b plan.State) bool {
	if len(a.Pools) != len(b.Pools) {
		return false
	}
	for name, pool := range a.Pools {
		if b.Pools[name] != pool {
			return false
		}
	}
	return true
}

// sameNumbers says whether two states have given the same numbers.
func sameNumbers(a, b plan.State) bool {
	return a.NextPool == b.NextPool && a.NextBackend == b.NextBackend && a.NextEpoch == b.NextEpoch
}

// forgetSilence forgets what switches said of slots that have changed: it was said of an earlier move, and the same
// backend may have got new flows since. If the change is refused after all, the switches say it again.
func (c *Core) forgetSilence(before, after plan.State) {
	type pair struct{ was, is *plan.Pool }
	pools := make(map[rows.PoolID]pair, len(after.Pools))
	for name, p := range after.Pools {
		pools[p.ID] = pair{before.Pools[name], p}
	}
	for _, v := range c.views {
		maps.DeleteFunc(v.idle, func(ref plan.SlotRef, _ time.Time) bool {
			p := pools[ref.Pool]
			if p.is == nil || p.was == nil || p.is.Generation != ref.Generation || p.was.Generation != ref.Generation {
				return true
			}
			i := int(ref.Slot)
			return i >= len(p.is.Slots) || i >= len(p.was.Slots) || p.is.Slots[i] != p.was.Slots[i]
		})
	}
}

// goOn lets slots move that had to wait.
func (c *Core) goOn() {
	c.replan(cause{text: "slots that had to wait"})
}

// replan asks the plan again, though nothing is new but what had to wait.
func (c *Core) replan(why cause) {
	if err := c.step(c.stored, why, false); err != nil {
		c.log(slog.LevelError, "planning again", "cause", why.text, "err", err)
	}
}

// Ending is why a move ends.
type Ending uint8

// The ends of a move.
const (
	Silence    Ending = iota // the old flows are gone
	AfterLimit               // it has lasted for drain_limit
	AfterGrace               // the old backend is down, and its grace is over
)

// settle ends the moves of slots: their old flows are gone everywhere, or break.
func (c *Core) settle(ended []plan.SlotRef, why Ending) {
	if len(ended) == 0 {
		return
	}
	before := c.stored.Plan
	after, n := plan.Settle(before, ended)
	for _, v := range c.views {
		for _, ref := range ended {
			delete(v.idle, ref)
		}
	}
	if n == 0 {
		return
	}
	c.stored.Plan, c.save = after, true
	if why == AfterLimit {
		c.countForced(ended)
	}
	for _, pool := range c.intent.Pools {
		if before.Pools[pool.Name] == after.Pools[pool.Name] {
			continue
		}
		was, _ := before.Census(pool.Name)
		is, _ := after.Census(pool.Name)
		c.publish(SlotsSettled{pool, was.Moving - is.Moving, is.Moving, why})
	}
	c.sequence++
	c.tell = true
	// What waited may move now; and a slot may have settled on a backend that has died with nobody to take over.
	c.goOn()
}

// countForced remembers of drains how many of their slots drain_limit ended.
func (c *Core) countForced(ended []plan.SlotRef) {
	c.forced = maps.Clone(c.forced) // as it was before, others see it until this is stored
	for _, ref := range ended {
		if key, ok := c.stored.Plan.Backend(ref.Old); ok && c.stored.Admin[key] == plan.Drain {
			c.forced[key]++
		}
	}
}

// share counts a backend's slots.
func (c *Core) share(key plan.BackendKey) (plan.Share, bool) {
	census, _ := c.stored.Plan.Census(key.Pool)
	for _, s := range census.Backends {
		if s.Name == key.Backend && !s.Removed {
			return s, true
		}
	}
	return plan.Share{}, false
}
