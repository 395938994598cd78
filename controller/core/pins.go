package core

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/limits"
)

// Flows that a moving slot leaves behind are reported by the switch that they come through, and pinned on all. They are
// no decision: nothing waits until the store has them, and a switch that does not hold the last ones yet lags behind
// nothing. What settles by them does so in a decision that is stored with them.

// pinsStored is how often flows that were pinned or let go are stored at most.
const pinsStored = 2 * time.Second

// reports is what is known of the reports of old flows.
type reports struct {
	lost [limits.Banks]time.Time // when one may have been lost last, by bank
	// unsaved says that other flows are pinned than the store knows, saved when it was told last.
	unsaved bool
	saved   time.Time
}

// reportedSince is from when on every old flow of a bank that sent a packet was reported and pinned: all switches that
// the pool waits for have held what was decided at some time since they were connected, and lost nothing.
func (c *Core) reportedSince(pool config.Pool, bank uint8) time.Time {
	since := c.reports.lost[bank]
	for _, v := range c.views {
		switch {
		case !v.connected() || c.overdue(v, pool):
		case v.holds.IsZero() || v.status.Unpinned > 0:
			return c.now
		default:
			since = latest(since, v.holds)
		}
	}
	return since
}

// latest is the later of two times.
func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// reported pins flows.
func (c *Core) reported(in Reported) {
	if c.views[in.Switch] == nil || c.intent == nil {
		return
	}
	next, left := plan.Pin(c.stored.Plan, in.Flows)
	for bank := range c.reports.lost {
		if left > 0 || in.Lost[bank] {
			c.reports.lost[bank] = c.now
		}
	}
	if n := next.Pins.Len(); n >= limits.PinSize && c.stored.Plan.Pins.Len() < n {
		c.log(slog.LevelWarn, "no more connections can be pinned: slots go on moving until there is room", "pinned", n)
	}
	if next.Pins == c.stored.Plan.Pins {
		return
	}
	c.stored.Plan = next
	c.reports.unsaved, c.tell = true, true
}

// unpin lets go of flows, and says whether there were any.
func (c *Core) unpin(goes func(rows.Flow, rows.BackendID) bool) bool {
	next := plan.Unpin(c.stored.Plan, goes)
	if next.Pins == c.stored.Plan.Pins {
		return false
	}
	c.stored.Plan = next
	c.reports.unsaved, c.tell = true, true
	return true
}

// silent takes a switch's word that pinned flows are silent.
func (c *Core) silent(in Silent) {
	v := c.views[in.Switch]
	if v == nil || c.intent == nil {
		return
	}
	for _, flow := range in.Flows {
		if c.stored.Plan.Pins.Get(flow) != 0 {
			v.silent[flow] = c.now
		}
	}
	c.letGo(in.Flows)
}

// letGo unpins those of some flows that have been silent on every switch at the same time, for a drain time at least:
// on each for two (plan.Build), and by notices that are no further apart than one. Switches that are overdue are not
// asked.
func (c *Core) letGo(flows []rows.Flow) {
	type of struct {
		pool  config.Pool
		asked []*view
	}
	pools := make(map[rows.BackendID]of)
	for _, pool := range c.intent.Pools {
		o := of{pool: pool}
		for _, v := range c.views {
			if (v.connected() || v.away()) && !c.overdue(v, pool) {
				o.asked = append(o.asked, v)
			}
		}
		for _, m := range c.stored.Plan.Pools[pool.Name].Members {
			pools[m.ID] = o
		}
	}
	gone := make(map[rows.Flow]bool)
	for _, flow := range flows {
		o := pools[c.stored.Plan.Pins.Get(flow)]
		gone[flow] = len(o.asked) > 0 && !slices.ContainsFunc(o.asked, func(v *view) bool {
			at, ok := v.silent[flow]
			return !ok || c.now.Sub(at) > o.pool.DrainIdle
		})
	}
	if !c.unpin(func(flow rows.Flow, _ rows.BackendID) bool { return gone[flow] }) {
		return
	}
	for _, v := range c.views {
		maps.DeleteFunc(v.silent, func(flow rows.Flow, _ time.Time) bool { return gone[flow] })
	}
	if c.anyForgotten() {
		c.goOn()
	}
}

// anyForgotten says whether a removed backend has nothing left.
func (c *Core) anyForgotten() bool {
	for _, pool := range c.intent.Pools {
		census, _ := c.stored.Plan.Census(pool.Name)
		if slices.ContainsFunc(census.Backends, func(s plan.Share) bool { return s.Removed && !s.Owns() }) {
			return true
		}
	}
	return false
}

// savePins has the store told of pinned flows, now and then. Nobody waits for that, and what is decided meanwhile is
// saved after it.
func (c *Core) savePins() {
	switch at := c.reports.saved.Add(pinsStored); {
	case !c.reports.unsaved || c.save || c.saving || c.frozen != nil: // another save has them, or has to be over
	case at.After(c.now):
		c.wakeAt(at)
	default:
		c.begin()
	}
}
