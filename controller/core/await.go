package core

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/sluicelb/sluice/controller/config"
)

// Moves wait for a switch that lacks what was decided: one that is away goes on by what it was told before, and one
// that is connected may be slow, or hang. The wait has a bound, so that no switch holds up the drains of others for
// ever:
//
//	holds all ---> lags ---> a pool's drain_limit passes, while another switch keeps up ---> overdue for that pool
//	    ^           |                                                                            |
//	    +-----------+-------------------- it holds all that was decided again -------------------+
//
// Moves of a pool that a switch is overdue for begin and end by the word of the others. When it is back, the slots that
// have settled meanwhile go to their backend there at once; those that still move wait for its word again.

// lag is since when a switch has lacked what was decided; the zero lag: it lacks nothing.
type lag struct {
	since  time.Time
	target uint64 // the sequence with which it has come nearer
}

// lags says whether the switch lacks what was decided by sequence, or may lack it: of one that is away nothing is
// known.
func (v *view) lags(sequence uint64) bool {
	return v.away() || v.connected() && v.status.Applied < sequence
}

// pace finds out anew since when switches lag, and whether some switch keeps up. A connected switch that holds more
// than when its lag began has come nearer, and lags from then on: it is slow, and does not hang.
func (c *Core) pace() {
	for _, v := range c.views {
		switch {
		case !v.lags(c.sequence):
			v.lag = lag{}
		case v.lag.since.IsZero(), v.connected() && v.status.Applied >= v.lag.target:
			v.lag = lag{c.now, max(c.sequence, v.status.Applied+1)}
		}
	}
	switch keepsUp := c.anyKeepsUp(); {
	case !keepsUp:
		c.served = time.Time{}
	case c.served.IsZero():
		c.served = c.now
	}
}

// anyKeepsUp says whether a connected switch holds what was decided, or lacks it for no longer than it may take to
// write.
func (c *Core) anyKeepsUp() bool {
	for _, v := range c.views {
		if v.connected() && (!v.lags(c.sequence) || v.lag.since.IsZero() || c.now.Sub(v.lag.since) < upToDate) {
			return true
		}
	}
	return false
}

// awaitedUntil is when moves of a pool go on without a switch that lags: a drain_limit after it began to lag, and as
// long after another one could be served. Zero: there is no end, for nobody could. What is written to a switch that is
// well takes less than upToDate; one that is back has that time, too.
func (c *Core) awaitedUntil(v *view, pool config.Pool) time.Time {
	if c.served.IsZero() {
		return time.Time{}
	}
	from := v.lag.since
	if from.IsZero() {
		from = c.now // it has just begun
	}
	if c.served.After(from) {
		from = c.served
	}
	until := from.Add(max(cmp.Or(pool.DrainLimit, config.DefaultPatience), upToDate))
	if back := v.met.Add(upToDate); v.connected() && back.After(until) {
		return back
	}
	return until
}

// overdue says whether moves of a pool go on without a switch, which lags.
func (c *Core) overdue(v *view, pool config.Pool) bool {
	if !v.lags(c.sequence) {
		return false
	}
	until := c.awaitedUntil(v, pool)
	return !until.IsZero() && !c.now.Before(until)
}

// awaits says whether the wait of a pool for a switch runs out.
func (c *Core) awaits() bool {
	for _, v := range c.views {
		for _, pool := range c.intent.Pools {
			if v.lags(c.sequence) && !c.awaitedUntil(v, pool).IsZero() && !c.overdue(v, pool) {
				return true
			}
		}
	}
	return false
}

// waits says whether a pool waits for any switch of those that are meant.
func (c *Core) waits(pool config.Pool, meant func(*view) bool) bool {
	for _, v := range c.views {
		if v.lags(c.sequence) && meant(v) && !c.overdue(v, pool) {
			return true
		}
	}
	return false
}

// anyOf means every switch.
func anyOf(*view) bool { return true }

// held says whether switches are connected, and all that the pool waits for hold what was decided.
func (c *Core) held(pool config.Pool) bool { return c.connected() && !c.waits(pool, anyOf) }

// caughtUp is the same of the switches that are connected.
func (c *Core) caughtUp(pool config.Pool) bool {
	return c.connected() && !c.waits(pool, (*view).connected)
}

// caughtUpPools are the pools for which that is so.
func (c *Core) caughtUpPools() map[string]bool {
	held := make(map[string]bool, len(c.intent.Pools))
	for _, pool := range c.intent.Pools {
		held[pool.Name] = c.caughtUp(pool)
	}
	return held
}

// without are the switches that lack what was decided. What has happened all the same has not waited for them.
func (c *Core) without() (names []string) {
	for _, name := range slices.Sorted(maps.Keys(c.views)) {
		if c.views[name].lags(c.sequence) {
			names = append(names, name)
		}
	}
	return names
}

// holding are the pools whose gradual moves wait for a switch.
func (c *Core) holding() map[string]bool {
	hold := make(map[string]bool)
	for _, pool := range c.intent.Pools {
		if c.waits(pool, anyOf) {
			hold[pool.Name] = true
		}
	}
	return hold
}

// mayGoOn says whether slots wait that no switch holds up.
func (c *Core) mayGoOn() bool {
	if len(c.waiting) == 0 {
		return false
	}
	hold := c.holding()
	for _, w := range c.waiting {
		if !hold[w.Pool] {
			return true
		}
	}
	return false
}

// await lets moves go on whose wait for a switch has reached its bound.
func (c *Core) await() {
	reached := false
	for _, name := range slices.Sorted(maps.Keys(c.views)) {
		v := c.views[name]
		if !v.lags(c.sequence) {
			if len(v.overdue) > 0 {
				c.publish(SwitchInLine{name})
				v.overdue = nil
			}
			continue
		}
		overdue := make(map[string]bool)
		var told []config.Pool
		for _, pool := range c.intent.Pools {
			before, known := v.overdue[pool.Name]
			is := c.overdue(v, pool)
			if is || known {
				overdue[pool.Name] = is
			}
			if is && !known {
				told = append(told, pool)
			}
			if !is {
				c.wakeAt(c.awaitedUntil(v, pool))
			}
			reached = reached || is && !before
		}
		v.overdue = overdue
		if len(told) > 0 {
			c.publish(SwitchOverdue{name, v.away(), c.now.Sub(v.lag.since), told})
		}
	}
	if !reached {
		return
	}
	if c.mayGoOn() {
		c.goOn()
	}
}

// Awaited is a switch that lags.
type Awaited struct {
	Switch string
	Away   bool // false: it is connected, and does not hold what was decided
	// Until is when the moves of the pool go on without it; zero: never, for no other switch keeps up.
	Until time.Time
	Over  bool // the moves go on without it already
}

// Awaited lists the switches that lag, by name, and for how long a pool of the intent waits for each. A connected one
// is in it only when it has lagged for longer than writing should take.
func (c *Core) Awaited(pool config.Pool, now time.Time) []Awaited {
	c = c.seen()
	var all []Awaited
	for _, name := range slices.Sorted(maps.Keys(c.views)) {
		v := c.views[name]
		if !v.lags(c.sequence) || v.connected() && now.Sub(v.lag.since) < upToDate {
			continue
		}
		until := c.awaitedUntil(v, pool)
		all = append(all, Awaited{name, v.away(), until, !until.IsZero() && !now.Before(until)})
	}
	return all
}
