package core

import (
	"fmt"
	"github.com/sluicelb/sluice/controller/plan"
	"log/slog"
	"maps"
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

// samePools says whether two states have the same slots and pins: states share what did not change.
func samePools(a, b plan.State) bool {
	if len(a.Pools) != len(b.Pools) || a.Pins != b.Pins {
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
	Pinned     Ending = iota // the old flows are pinned, or gone
	AfterLimit               // the old backend was taken out, and drain_limit is over
	AfterGrace               // the old backend is down, and its grace is over
)

// settle ends the moves of slots: their old flows are pinned everywhere, or break.
func (c *Core) settle(ended []plan.SlotRef, why Ending) {
	if len(ended) == 0 {
		return
	}
	before := c.stored.Plan
	after, n := plan.Settle(before, ended)
	if n == 0 {
		return
	}
	c.stored.Plan, c.save = after, true
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

// Forced is what drain_limit ended of a drain.
type Forced struct {
	Slots  int // that still moved
	Pinned int // connections
}

// countForced remembers what drain_limit ends of a drain.
func (c *Core) countForced(key plan.BackendKey, slots, pinned int) {
	if c.stored.Admin[key] != plan.Drain {
		return
	}
	c.forced = maps.Clone(c.forced) // as it was before, others see it until this is stored
	f := c.forced[key]
	c.forced[key] = Forced{f.Slots + slots, f.Pinned + pinned}
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
