// Package keepalive decides which answers of gslb are alive. It makes the keepalives of the configuration
// into checks of package check, has the engine of package probe run each of them once, however many answers
// share it, and keeps the verdict and the load of each. What several keepalives of one answer come to, and
// what a query makes of it, is left to package gslb, which calls it.
package keepalive

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/healthd/check"
	"github.com/sluicelb/sluice/healthd/probe"
)

// Update tells of a keepalive whose verdict or load, or what that tells, has changed: its index in what was last Set,
// and what Snapshot says of it. load is 0 to 254, or NoLoad. When Set is called meanwhile the index may be that of
// before: Snapshot always goes with the last Set.
type Update func(index int, up bool, load int, reason string, at time.Time)

// NoLoad is the load of a keepalive that reports none, or is not up.
const NoLoad = -1

// Result is what is known of one keepalive.
type Result struct {
	Health probe.Health // unknown, up or down: what fails is down
	Load   int          // 0 to 254, or NoLoad
	// Unseen is true where Health tells nothing of the answer: it is not known and cannot be asked, for want of a right
	// or of a route, so that no verdict is to come; or a load reporter, which is asked in place of the answer, is
	// silent.
	Unseen bool
	// Blind is since when a load reporter has said that it sees nothing of the answer, Health being what it was before;
	// zero: it does not say so.
	Blind time.Time
	// Reason says why it is down, why it is not known, or why an answer that is up was not asked last time.
	Reason    string
	Since     time.Time // end of the first of the probes in a row that made the verdict
	LastProbe time.Time // end of the last probe that told anything
}

// Deps is what a Manager works with.
type Deps struct {
	Network   check.Network // default check.Kernel
	Loads     Asker         // asks for load reports; without one they cannot be asked
	Log       *slog.Logger  // default: discards
	OnChange  Update        // called by Run, one call at a time; it may call Set and Snapshot
	MaxProbes int           // bounds the probes under way; default probe.DefaultMaxProbes
}

// Manager runs keepalives.
type Manager struct {
	network  check.Network
	loads    Asker
	log      *slog.Logger
	onChange Update
	engine   *probe.Engine
	set      chan struct{} // one token while targets have not been handed over

	mu      sync.Mutex // guards the rest
	slots   map[question]*slot
	order   []*slot // as they were set; one that is shared stands there several times
	targets []probe.Target
}

// slot is one keepalive that runs.
type slot struct {
	name    string
	indices []int                     // in what was set
	heard   atomic.Int32              // the load that was last reported, or NoLoad
	blind   atomic.Pointer[time.Time] // since when who reports it has said that it sees nothing; nil: it said else last
	result  Result
}

// sees notes whether who reports the load of s says that it sees nothing.
func (s *slot) sees(nothing bool) {
	if !nothing {
		s.blind.Store(nil)
		return
	}
	now := time.Now()
	s.blind.CompareAndSwap(nil, &now)
}

// New prepares a manager; Run starts it.
func New(d Deps) *Manager {
	if d.Network == nil {
		d.Network = check.Kernel{}
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.OnChange == nil {
		d.OnChange = func(int, bool, int, string, time.Time) {}
	}
	return &Manager{
		network:  d.Network,
		loads:    d.Loads,
		log:      d.Log,
		onChange: d.OnChange,
		engine:   probe.New(probe.Config{MaxProbes: d.MaxProbes, Log: d.Log}),
		set:      make(chan struct{}, 1),
	}
}

// Set makes want all that is run. It waits for nobody. What asks the same as before keeps its verdict, wherever it
// stands in want, whatever its name, timing and secret; what asks the same as another, and at the same times, runs
// once for both.
func (m *Manager) Set(want []config.Keepalive) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.slots
	m.slots = make(map[question]*slot, len(want))
	m.order = make([]*slot, len(want))
	m.targets = nil
	variants := map[question][]variant{}
	for i, k := range want {
		q, v := questionOf(k), variant{k.Timing, string(k.Key)}
		nth := slices.Index(variants[q], v)
		if nth < 0 {
			nth = len(variants[q])
			variants[q] = append(variants[q], v)
		}
		q.nth = nth
		s := m.slots[q]
		if s == nil {
			if s = before[q]; s == nil {
				s = newSlot(k)
			}
			s.name, s.indices = k.Name, nil
			m.slots[q] = s
			if k.Kind != config.Always {
				m.targets = append(m.targets, m.target(k, q, s))
			}
		}
		s.indices = append(s.indices, i)
		m.order[i] = s
	}
	select {
	case m.set <- struct{}{}:
	default: // the token is there
	}
}

func newSlot(k config.Keepalive) *slot {
	s := &slot{result: Result{Load: NoLoad, Reason: "no answer yet"}}
	s.heard.Store(NoLoad)
	if k.Kind == config.Always {
		s.result = Result{Health: probe.Up, Load: NoLoad, Since: time.Now()}
	}
	return s
}

// target is what the engine runs for s.
func (m *Manager) target(k config.Keepalive, q question, s *slot) probe.Target {
	when, tries := schedule(k)
	asked := m.check(k, func(load uint8) { s.heard.Store(int32(load)) }, s.sees)
	if len(tries) > 0 {
		asked = repeated{asked, tries}
	}
	return probe.Target{Key: q, Schedule: when, Check: asked, Tell: func(now probe.Status) { m.take(q, s, now) }}
}

// take puts what the engine says of s where Snapshot finds it, and passes a change on.
func (m *Manager) take(q question, s *slot, now probe.Status) {
	silent := now.Health == probe.Down && q.kind == config.LoadReport
	if now.Health == probe.Failing {
		now.Health = probe.Down
	}
	next := Result{
		Health: now.Health, Load: NoLoad, Unseen: silent || now.Health == probe.Unknown && now.Unchecked != "",
		Reason: reason(now), Since: now.Since, LastProbe: now.Last,
	}
	if since := s.blind.Load(); now.Unchecked != "" && since != nil {
		next.Blind = *since
		if silent {
			next.Reason = now.NotAsked // it was
		}
	}
	if next.Health == probe.Up {
		next.Load = int(s.heard.Load())
	}
	m.mu.Lock()
	before := s.result
	if m.slots[q] != s || before.Health != probe.Unknown && next.Health == probe.Unknown {
		m.mu.Unlock()
		return // it is gone, or the engine has yet to take over what is set
	}
	if before.Health == next.Health && next.Health != probe.Unknown {
		next.Since = before.Since // which is older when what failed has died
	}
	s.result = next
	name, indices := s.name, s.indices
	m.mu.Unlock()
	if next.Health == before.Health && next.Load == before.Load && next.Unseen == before.Unseen &&
		next.Blind.Equal(before.Blind) {
		return
	}
	at := now.Last
	if next.Health != before.Health {
		at = now.DetectedAt
		// Gslb tells what it comes to for answers, with the reason, and is sparing with lines.
		m.log.Debug("keepalive is "+next.Health.String(), "keepalive", cmp.Or(name, q.String()), "reason", next.Reason)
	}
	for _, i := range indices {
		m.onChange(i, next.Health == probe.Up, next.Load, next.Reason, at)
	}
}

func reason(s probe.Status) string {
	switch {
	case s.Health == probe.Down:
		return s.Failure
	case s.NotAsked != "":
		return s.NotAsked
	case s.Health == probe.Up:
		return ""
	case s.Failure != "":
		return "no verdict yet: " + s.Failure
	case s.Last.IsZero():
		return "no answer yet"
	}
	return "no verdict yet"
}

// Snapshot is what is known of each of what was last Set, in its order.
func (m *Manager) Snapshot() []Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Result, len(m.order))
	for i, s := range m.order {
		all[i] = s.result
	}
	return all
}

// Run asks until ctx ends, and returns when no probe is left.
func (m *Manager) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.engine.Run(ctx) })
	g.Go(func() error { // ends with ctx
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-m.set:
			}
			m.mu.Lock()
			targets := m.targets
			m.mu.Unlock()
			if m.engine.Replace(ctx, targets, nil) != nil {
				return nil // ctx has ended
			}
		}
	})
	return g.Wait()
}
