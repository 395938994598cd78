// Package awake measures time that this process ran in. What was heard last stands for a while, and then counts no
// more; a process that did not run meanwhile, as it or its machine was stopped, heard nobody and so cannot tell who was
// silent. Whoever lets a word lapse measures its age here. gslb and gslb/watch do.
package awake

import (
	"context"
	"sync"
	"time"
)

const (
	// beat is how often Run notes that the process runs. Between two notes that are more than slack apart it did not.
	beat  = time.Second
	slack = 2 * beat
	// mostGaps is how many gaps are told apart. Of more, the oldest are taken together.
	mostGaps = 64
)

// Clock knows when the process ran. Any goroutine may ask it, before Run, too: then all time counts.
type Clock struct {
	now func() time.Time

	mu    sync.Mutex // guards the rest
	noted time.Time  // when the process was last seen to run; zero unless Run runs
	gaps  []gap      // from the oldest on
}

// gap is a time in which the process did not run.
type gap struct{ from, to time.Time }

// New makes a clock that goes by now, or by time.Now if that is nil. Run keeps it.
func New(now func() time.Time) *Clock {
	if now == nil {
		now = time.Now
	}
	return &Clock{now: now}
}

// Run watches for gaps until ctx ends, then returns nil.
func (c *Clock) Run(ctx context.Context) error {
	c.mu.Lock()
	c.noted = c.now()
	c.mu.Unlock()
	beats := time.NewTicker(beat)
	defer beats.Stop()
	for {
		select {
		case <-beats.C:
			c.Now()
		case <-ctx.Done():
			c.mu.Lock()
			c.noted = time.Time{}
			c.mu.Unlock()
			return nil
		}
	}
}

// Now returns the time, by the clock on the wall.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.note()
}

// Since returns for how long the process has run since t, a time that Now or time.Now gave.
func (c *Clock) Since(t time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	ran := c.note().Sub(t)
	for _, g := range c.gaps {
		switch {
		case t.Before(g.from):
			ran -= g.to.Sub(g.from)
		case t.Before(g.to): // it went on, and this was not noted yet
			ran -= g.to.Sub(t)
		}
	}
	return ran
}

// note notes that the process runs, and returns the time. Whatever is first to ask after a gap finds it. c.mu is held.
func (c *Clock) note() time.Time {
	now := c.now()
	if c.noted.IsZero() {
		return now
	}
	if now.Sub(c.noted) > slack {
		c.gaps = append(c.gaps, gap{c.noted.Add(beat), now})
		if len(c.gaps) > mostGaps {
			first, second := c.gaps[0], &c.gaps[1]
			second.from = second.from.Add(-first.to.Sub(first.from))
			c.gaps = c.gaps[1:]
		}
	}
	c.noted = now
	return now
}
