package core

import (
	"maps"
	"slices"
	"time"

	"github.com/sluicelb/sluice/controller/plan"
)

const (
	changesPending = 1024 // a switch that is connected and never catches up keeps no more
	// latestCause is how long ago the cause of a change may have been detected: one that was detected earlier, and
	// reported by a healthd that was away, does not tell how quick the change was.
	latestCause = time.Minute
)

// cause is why the plan was asked.
type cause struct {
	text     string
	detected time.Time         // by healthd; zero when no verdict was the cause, or long ago
	backends []plan.BackendKey // whose verdicts
}

// change follows one decision until every switch that was connected at the time has it.
type change struct {
	sequence uint64
	cause    cause
	decided  time.Time
	progress plan.Progress
	waiting  map[string]bool // switches that do not have it yet
	switches []string        // those that do
	last     time.Time       // when the last row was written; not before decided
	writes   int
}

func newChange(sequence uint64, why cause, now time.Time, r plan.Progress, views map[string]*view) *change {
	if now.Sub(why.detected) > latestCause {
		why.detected = time.Time{}
	}
	c := &change{sequence: sequence, cause: why, decided: now, last: now, progress: r, waiting: make(map[string]bool)}
	for name, v := range views {
		if v.connected() {
			c.waiting[name] = true
		}
	}
	return c
}

func (c *change) clone() *change {
	other := *c
	other.waiting, other.switches = maps.Clone(c.waiting), slices.Clone(c.switches)
	return &other
}

// take looks at a switch's status. When the change is over, reached tells whether any switch has it: those that lose
// their connection get it after their next read-back, and are not waited for.
func (c *change) take(s Switch) (over, reached bool) {
	if c.waiting[s.Name] {
		switch {
		case !s.Connected:
			delete(c.waiting, s.Name)
		case s.Applied >= c.sequence:
			delete(c.waiting, s.Name)
			c.switches = append(c.switches, s.Name)
			c.writes += s.Writes
			if s.AppliedAt.After(c.last) {
				c.last = s.AppliedAt
			}
		}
	}
	return len(c.waiting) == 0, len(c.switches) > 0
}

// done is what there is to tell of a change that is over.
func (c *change) done() Reprogrammed {
	return Reprogrammed{
		Cause: c.cause.text, Detected: c.cause.detected, Decided: c.decided, Last: c.last, Backends: c.cause.backends,
		Writes: c.writes, Progress: c.progress, Switches: slices.Sorted(slices.Values(c.switches)),
	}
}

// follow waits for switches to have the change, if there are any to wait for.
func (c *Core) follow(one *change) {
	if len(one.waiting) == 0 {
		return
	}
	if len(c.pending) == changesPending {
		c.pending = slices.Delete(c.pending, 0, 1)
	}
	c.pending = append(c.pending, one)
}

// pass compares a switch's status with the changes that wait for it.
func (c *Core) pass(s Switch) {
	c.pending = slices.DeleteFunc(c.pending, func(one *change) bool {
		over, reached := one.take(s)
		if over && reached {
			c.publish(one.done())
		}
		return over
	})
}
