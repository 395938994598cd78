// Package telemetry asks the switches what they have counted, and keeps that in one immutable Snapshot, with what is
// known of their ports (package ports). Nobody else asks a switch for either; what follows from a Snapshot, and who
// shows it, is left to those who read it.
package telemetry

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/ports"
	"github.com/sluicelb/sluice/controller/rows"
)

const (
	// patience is how long who asks waits for a switch. One that takes longer is read on, and tells what it had told
	// before, for as long as that is not older than old.
	patience = time.Second
	old      = time.Minute
	// longest is how long a switch may take to answer.
	longest = 10 * time.Second
	// fresh is how old a Snapshot may be that answers a request: so switches are not asked more often, however many
	// ask.
	fresh = 100 * time.Millisecond
	// perRow is about what it takes of a processor to read what a row has counted (BenchmarkSampling). A Snapshot of
	// many rows stays fresh for five times as long as reading it took: that leaves most of a processor to decisions.
	perRow = 2 * time.Microsecond
	// keeps is for how many intervals the rates of a switch that does not answer stand.
	keeps = 3
)

// Source is a switch that can be asked. Two that are equal are the same.
type Source interface {
	Counters(context.Context) (device.Counters, error)
	Ports() ports.View // what is known now
}

// Snapshot is what is known of all switches at a time. It is never changed.
type Snapshot struct {
	At       time.Time // when the switches were asked
	Switches map[string]Sample
	Totals   Totals
}

// fresh says whether a Snapshot does for who asks at that time.
func (s *Snapshot) fresh(now time.Time) bool {
	rows := 0
	for _, one := range s.Switches {
		rows += len(one.Counters.VIP) + len(one.Counters.Backend) + len(one.Counters.Pinned)
	}
	return now.Sub(s.At) <= max(fresh, 5*time.Duration(rows)*perRow)
}

// Sample is what one switch has answered.
type Sample struct {
	At       time.Time // when the counters came
	Counters device.Counters
	Ports    ports.View

	CountersErr error // why there are no counters
}

// Config says whom a Sampler asks, and who hears of it.
type Config struct {
	Interval time.Duration
	// Sources are the switches, by name. It may fail only when its context has ended.
	Sources func(context.Context) (map[string]Source, error)
	// Wanted says whether somebody needs Rates. While nobody does, switches are asked on demand alone.
	Wanted func(context.Context) (bool, error)
	// Rates takes the packets a second of each VIP, over all switches, after each interval.
	Rates func(context.Context, map[rows.VIPKey]float64) error
}

// Sampler keeps the Snapshot up to date.
type Sampler struct {
	cfg    Config
	latest atomic.Pointer[Snapshot]
	asking singleflight.Group

	mu       sync.Mutex // guards what follows
	readings map[string]*reading

	adding sync.Mutex // guards totals
	totals totals
}

// reading is what becomes of asking a switch.
type reading struct {
	source Source
	done   chan struct{} // closed when what is under way ends; nil: nothing is
	last   Sample
}

// New makes a Sampler. Run keeps its rates; Now works without.
func New(cfg Config) *Sampler {
	s := &Sampler{cfg: cfg, readings: make(map[string]*reading)}
	s.latest.Store(new(Snapshot))
	return s
}

// Run asks all switches at intervals, until ctx ends.
func (s *Sampler) Run(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.Interval)
	defer tick.Stop()
	r := rates{keep: keeps * s.cfg.Interval}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		wanted, err := s.cfg.Wanted(ctx)
		if err != nil {
			return err
		}
		snapshot := new(Snapshot)
		if wanted {
			if snapshot, err = s.sample(ctx); err != nil {
				return err
			}
		}
		if err := s.cfg.Rates(ctx, r.take(time.Now(), snapshot.Switches)); err != nil {
			return err
		}
	}
}

// Now returns a Snapshot that is not old. Those who ask at the same time share one, and it does not end with any of
// them.
func (s *Sampler) Now(ctx context.Context) (*Snapshot, error) {
	if latest := s.latest.Load(); latest.fresh(time.Now()) {
		return latest, nil
	}
	done := s.asking.DoChan("", func() (any, error) { return s.sample(context.WithoutCancel(ctx)) })
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-done:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*Snapshot), nil
	}
}

func (s *Sampler) sources(ctx context.Context) (map[string]Source, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*patience) // those who ask may all have left
	defer cancel()
	return s.cfg.Sources(ctx)
}

// sample asks all switches at once.
func (s *Sampler) sample(ctx context.Context) (*Snapshot, error) {
	sources, err := s.sources(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	maps.DeleteFunc(s.readings, func(name string, r *reading) bool { return r.source != sources[name] })
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	next := &Snapshot{At: time.Now(), Switches: make(map[string]Sample)}
	var mu sync.Mutex // guards next.Switches
	var wait sync.WaitGroup
	for name, source := range sources {
		wait.Go(func() {
			one := s.ask(ctx, name, source)
			one.Ports = source.Ports()
			mu.Lock()
			defer mu.Unlock()
			next.Switches[name] = one
		})
	}
	wait.Wait()
	s.adding.Lock()
	defer s.adding.Unlock()
	next.Totals = s.totals.take(sources, next.Switches)
	s.latest.Store(next)
	return next, nil
}

// ask asks a switch, unless it has not answered yet to who asked before. When ctx ends first, what it has told before
// stands for a while.
func (s *Sampler) ask(ctx context.Context, name string, source Source) Sample {
	s.mu.Lock()
	r := s.readings[name]
	if r == nil {
		r = &reading{source: source}
		s.readings[name] = r
	}
	done := r.done
	if done == nil {
		done = make(chan struct{})
		r.done = done
		go s.read(r, done) // ends by itself
	}
	s.mu.Unlock()
	late := false
	select {
	case <-done:
	case <-ctx.Done():
		late = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if late && time.Since(r.last.At) > old {
		err := fmt.Errorf("the switch has not answered within %v: %w", patience, ctx.Err())
		return Sample{At: time.Now(), CountersErr: err}
	}
	return r.last
}

func (s *Sampler) read(r *reading, done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	c, err := r.source.Counters(ctx)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("the switch has not answered within %v: %w", longest, ctx.Err())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.last = Sample{At: time.Now(), Counters: c, CountersErr: err}
	r.done = nil
	close(done)
}
