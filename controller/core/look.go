package core

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/p4/limits"
)

// What follows tells how things are, at any time between two Steps; a Look tells it at any time after it was taken. A
// decision that waits for the store has not happened yet, and perhaps never will: until then everything is told as it
// was before it. Nobody modifies what is returned.

// Look is the core as others may see it now, and as it stays: any number of goroutines may ask it what the methods of
// Core tell that change nothing, and no others. It shares all that is replaced and never modified.
func (c *Core) Look() *Core {
	is := *c.seen()
	is.views = maps.Clone(is.views)
	copies := make(map[*view]*view)
	for name, v := range is.views {
		one := *v
		one.silent, one.overdue = nil, nil
		is.views[name], copies[v] = &one, &one
	}
	is.meetings.met, is.meetings.wait = maps.Clone(is.meetings.met), slices.Clone(is.meetings.wait)
	for name, v := range is.meetings.met {
		is.meetings.met[name] = copies[v] // nil: it has left
	}
	for i, one := range is.meetings.wait {
		if v := copies[one.view]; v != nil {
			is.meetings.wait[i].view = v
		}
	}
	is.graces.ends, is.forced = maps.Clone(is.graces.ends), maps.Clone(is.forced)
	is.rechecked = maps.Clone(is.rechecked)
	is.givenUp, is.falls = maps.Clone(is.givenUp), maps.Clone(is.falls)
	for pool, f := range is.falls {
		one := *f
		is.falls[pool] = &one
	}
	is.underWay, is.pending, is.drained = underWay{}, nil, nil
	is.authors = maps.Clone(is.authors)
	for name, a := range is.authors {
		one := *a
		one.verdicts = maps.Clone(one.verdicts)
		is.authors[name] = &one
	}
	is.doubts, is.portIDs, is.urgent = maps.Clone(is.doubts), maps.Clone(is.portIDs), maps.Clone(is.urgent)
	is.noise = is.noise.clone()
	is.present, is.down, is.places, is.facts = nil, nil, places{}, vipFacts{}
	is.free, is.out, is.last, is.take = nil, nil, nil, nil
	return &is
}

// seen is the core as others may see it. Only methods that change nothing may be called on it.
func (c *Core) seen() *Core {
	if c.candidate == nil {
		return c
	}
	before := *c
	before.decided, before.candidate = c.candidate.before, nil
	return &before
}

// Stored is what is decided. While the store does not answer, it may have an older state.
func (c *Core) Stored() Stored { return c.seen().stored }

// Intent is the running intent, nil before there is one.
func (c *Core) Intent() *config.Intent { return c.seen().intent }

// Sequence is that of the last decision.
func (c *Core) Sequence() uint64 { return c.seen().sequence }

// Asked counts the times that the plan was asked: while it is the same, so is the Health.
func (c *Core) Asked() uint64 { return c.seen().steps }

// Frozen says why the store does not have what is decided; nil: it has it.
func (c *Core) Frozen() error { return c.frozen }

// Waits are the slots that should move and cannot yet.
func (c *Core) Waits() []plan.Wait { return c.seen().waiting }

// Health is what the plan goes by.
func (c *Core) Health() map[plan.BackendKey]plan.Health {
	c = c.seen()
	if c.outlook.of(c.steps, c.suspicion) {
		return c.outlook.health
	}
	return c.judgeAll(c.stored).health
}

// Held says whether some switch is connected, and each that a pool of the intent waits for holds what was decided.
func (c *Core) Held(pool config.Pool) bool { return c.seen().held(pool) }

// Dead says whether a backend is called dead, so that its old flows have a grace.
func (c *Core) Dead(pool config.Pool, key plan.BackendKey) bool {
	c = c.seen()
	return isDown(pool, c.outlook.health[key])
}

// Crowded says that no more connections can be pinned; empty when they can.
func (c *Core) Crowded() string {
	c = c.seen()
	if c.stored.Plan.Pins.Len() < limits.PinSize {
		return ""
	}
	return fmt.Sprintf("no more than %d connections can be pinned: slots go on moving until there is room, for "+
		"their old "+
		"connections would break", limits.PinSize)
}

// Forced is what drain_limit ended of a backend's drain.
func (c *Core) Forced(key plan.BackendKey) Forced { return c.seen().forced[key] }

// Older says that the store was found older than a switch; empty when that was not lately.
func (c *Core) Older(now time.Time) string {
	if now.Sub(c.meetings.at) >= olderTold {
		return ""
	}
	return c.meetings.older
}

// Forgot tells of the switches that have lately lost the marks of moving slots.
func (c *Core) Forgot(now time.Time) (lines []string) {
	c = c.seen()
	for _, s := range c.intent.Switches {
		if v := c.views[s.Name]; v != nil && v.forgot > 0 && now.Sub(v.forgotAt) < olderTold {
			lines = append(lines, fmt.Sprintf("switch %s came back empty while %d slots moved: connections that were "+
				"opened on them since their move began break", s.Name, v.forgot))
		}
	}
	return lines
}
