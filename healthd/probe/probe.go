// Package probe asks again and again, and turns single outcomes into verdicts: it schedules checks of package
// check, bounds how many are under way, tells a server that did not answer from a prober that came late, and
// runs each check's rise/fall state machine. It cuts what servers say down to a line. What is asked is the
// business of package check; what a verdict does is left to those who want it: healthd, for backends, and
// gslb/keepalive, for answers.
package probe

import (
	"fmt"
	"time"

	"github.com/sluicelb/sluice/healthd/check"
)

// DefaultMaxProbes is how many probes are under way at most, unless said otherwise.
const DefaultMaxProbes = 4096

// Schedule is when a check is asked and how many outcomes make a verdict. Interval, Timeout, Rise and Fall are
// above 0.
//
//	pass      fail       fail      fail -> down
//	 |<------->|          |         |
//	 s         s+Interval +Fast     +Fast  ... each fails at the latest Timeout after its start
//
// While a check is not known to be down, a probe without an answer counts as a first sign: the next one
// starts after Fast and does not wait for the timeout. So a verdict takes no longer than
// Interval + Fall x Fast + Timeout, whichever of Fast and Timeout is longer, and with a Fall of 1 no longer than
// Interval + Timeout. From the start of the first probe that fails it is (Fall-1) x Fast + Timeout. That holds for a
// server that is failing and dies as for one that was up.
type Schedule struct {
	Interval time.Duration
	Fast     time.Duration // interval while a verdict is in the making
	Timeout  time.Duration
	Jitter   time.Duration // by which an interval is shortened at random, never lengthened
	// Spread is the time after the start in which the first probe comes, at random, so that not all are
	// asked at once. If it is shorter than Fast, the pause before the second probe is a random part of the
	// interval: a start with quick verdicts is no burst that returns with each interval.
	Spread time.Duration
	Rise   int
	Fall   int
}

// Target is one check that is wanted.
type Target struct {
	// Key names what is asked of whom. It is comparable, and no two targets have equal ones. A check whose
	// key stays the same keeps its state when anything else of its target changes.
	Key      fmt.Stringer
	Schedule Schedule
	// Urgent has the check asked at its fast interval, whatever its verdict, beginning at once; but not sooner than
	// that interval after its last probe, so that who says so over and over causes no more.
	Urgent bool
	Check  check.Check
	// Tell is told what is known of the check when the engine takes the target over, and after each probe. It
	// is called by Engine.Run, one call at a time, and must not wait for the engine.
	Tell func(Status)
}

// Status is what is known of one check.
type Status struct {
	Health     Health    // up to Down
	Failure    string    // what the last probe that failed said; while Failing or Down, the last one of that kind
	Since      time.Time // end of the first of the probes in a row that made the verdict
	DetectedAt time.Time // end of the last of them
	Last       time.Time // end of the last probe that told anything
	NotAsked   string    // why the last probe told nothing, see check.ErrNotAsked; empty when it did
	// Unchecked says why the check cannot be asked, while that is so: Health is what it was. Empty when it can.
	Unchecked      string
	UncheckedSince time.Time // end of the first probe that told nothing
	UncheckedAt    time.Time // end of the probe with which they were enough to say so
}
