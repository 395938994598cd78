package awake

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Time in which the process did not run is nobody's age, whatever asks first when it goes on.
func TestSince(t *testing.T) {
	const stop = time.Minute
	type step struct {
		sleeps time.Duration
		stops  bool // for stop, before it sleeps
	}
	for _, tt := range []struct {
		name  string
		steps []step
		want  time.Duration // since the start, at most a beat more than it ran
	}{
		{"it ran", []step{{sleeps: time.Hour}}, time.Hour},
		{"stopped, and asked at once", []step{{sleeps: 10 * time.Second}, {stops: true}}, 11 * time.Second},
		{"stopped, and asked later", []step{{sleeps: 10 * time.Second}, {5 * time.Second, true}}, 15 * time.Second},
		{"stopped at once", []step{{stops: true}}, time.Second},
		{"stopped again and again", []step{{time.Second, true}, {time.Second, true}, {time.Second, true}},
			3 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var stopped atomic.Int64 // a time.Duration; Run's goroutine reads it
				c := New(func() time.Time { return time.Now().Add(time.Duration(stopped.Load())) })
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- c.Run(ctx) }()
				synctest.Wait()
				start := c.Now()
				for _, s := range tt.steps {
					if s.stops {
						stopped.Add(int64(stop))
					}
					time.Sleep(s.sleeps)
					synctest.Wait()
				}
				if got := c.Since(start).Round(time.Second); got != tt.want {
					t.Errorf("ran for %v, want %v", got, tt.want)
				}
				// What began when it went on is as old as it is.
				began := c.Now()
				time.Sleep(3 * time.Second)
				if got := c.Since(began); got != 3*time.Second {
					t.Errorf("what began after the gap is %v old, want 3s", got)
				}
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// What begins after a gap and before anybody noted the gap is not older for it.
func TestSinceBeforeTheGapIsNoted(t *testing.T) {
	now := time.Unix(1000, 0)
	c := New(func() time.Time { return now })
	c.noted = now
	now = now.Add(time.Minute)
	began := now
	now = now.Add(time.Millisecond)
	if got := c.Since(began); got < 0 || got > time.Millisecond {
		t.Errorf("it is %v old, want at most 1ms", got)
	}
}

// However often a process is stopped, the clock keeps a few gaps, and what is old has the whole of them.
func TestManyGaps(t *testing.T) {
	const times = 3 * mostGaps
	now := time.Unix(1000, 0)
	c := New(func() time.Time { return now })
	start := now
	c.noted = now
	for range times {
		now = now.Add(time.Minute)
		c.Now()
	}
	if got, want := c.Since(start), times*beat; got != want {
		t.Errorf("ran for %v, want %v", got, want)
	}
	if len(c.gaps) != mostGaps {
		t.Errorf("%d gaps are kept, want %d", len(c.gaps), mostGaps)
	}
}

// Before Run, as when a process is slow to start, there is nothing that anybody has missed.
func TestBeforeRun(t *testing.T) {
	now := time.Unix(1000, 0)
	c := New(func() time.Time { return now })
	start := c.Now()
	now = now.Add(time.Minute)
	if got := c.Since(start); got != time.Minute {
		t.Errorf("ran for %v, want 1m0s", got)
	}
}
