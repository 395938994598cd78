package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/ports"
	"github.com/sluicelb/sluice/controller/rows"
)

func TestRates(t *testing.T) {
	start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	a := rows.VIPKey{Address: netip.MustParseAddr("10.0.0.100"), Protocol: 6, Port: 80}
	b := rows.VIPKey{Address: netip.MustParseAddr("10.0.0.101"), Protocol: 6, Port: 80}
	type packets = map[rows.VIPKey]uint64
	r := rates{keep: 15 * time.Second}
	both := []string{"leaf1", "leaf2"}
	for _, step := range []struct {
		name    string
		at      int // seconds after the start
		devices []string
		news    map[string]packets
		want    map[rows.VIPKey]float64
	}{
		{"one count is no rate", 0, both, map[string]packets{"leaf1": {a: 1000}}, nil},
		{"the difference, a second", 5, both, map[string]packets{"leaf1": {a: 1500}, "leaf2": {a: 70}},
			map[rows.VIPKey]float64{a: 100}},
		{"switches add up; a new row begins at 0", 10, both,
			map[string]packets{"leaf1": {a: 1500, b: 50}, "leaf2": {a: 120}}, map[rows.VIPKey]float64{a: 10, b: 10}},
		{"a row began anew", 15, both, map[string]packets{"leaf1": {a: 20, b: 50}, "leaf2": {a: 120}},
			map[rows.VIPKey]float64{a: 4, b: 0}},
		{"a row is gone", 20, both, map[string]packets{"leaf1": {a: 40}, "leaf2": {a: 170}},
			map[rows.VIPKey]float64{a: 14}},
		{"one does not answer: its rate stands", 30, both, map[string]packets{"leaf1": {a: 40}},
			map[rows.VIPKey]float64{a: 10}},
		{"for a while", 35, both, map[string]packets{"leaf1": {a: 40}}, map[rows.VIPKey]float64{a: 10}},
		{"and no longer", 36, both, map[string]packets{"leaf1": {a: 40}}, map[rows.VIPKey]float64{a: 0}},
		{"back, it has a count and no rate", 40, both, map[string]packets{"leaf1": {a: 40}, "leaf2": {a: 99}},
			map[rows.VIPKey]float64{a: 0}},
		{"and a rate again", 50, both, map[string]packets{"leaf1": {a: 40}, "leaf2": {a: 199}},
			map[rows.VIPKey]float64{a: 10}},
		{"one that is let go counts no more", 51, []string{"leaf1"}, map[string]packets{"leaf1": {a: 40}},
			map[rows.VIPKey]float64{a: 0}},
		{"nobody is asked", 60, nil, nil, nil},
	} {
		at := start.Add(time.Duration(step.at) * time.Second)
		news := make(map[string]Sample)
		for _, name := range step.devices {
			p, ok := step.news[name]
			if !ok {
				news[name] = Sample{CountersErr: errors.New("no answer")}
				continue
			}
			c := device.Counters{VIP: make(map[rows.VIPKey]device.Count)}
			for k, n := range p {
				c.VIP[k] = device.Count{Packets: n}
			}
			news[name] = Sample{At: at, Counters: c}
		}
		got := r.take(at, news)
		if len(got) == 0 {
			got = nil
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

// source is a switch that answers as slowly as it is told to, and counts how often it is asked.
type source struct {
	mu    sync.Mutex
	asked int
	took  time.Duration

	backends int // that it has counts of, besides
}

func (s *source) Counters(ctx context.Context) (device.Counters, error) {
	s.mu.Lock()
	s.asked++
	n, took := s.asked, s.took
	s.mu.Unlock()
	select {
	case <-ctx.Done():
		return device.Counters{}, ctx.Err()
	case <-time.After(took):
		c := device.Counters{VIP: map[rows.VIPKey]device.Count{{Port: 80}: {Packets: uint64(n)}}}
		for id := range s.backends {
			if c.Backend == nil {
				c.Backend = make(map[rows.BackendID]device.Count)
			}
			c.Backend[rows.BackendID(id)] = device.Count{}
		}
		return c, nil
	}
}

func (s *source) Ports() ports.View { return ports.View{Err: ports.ErrUntold} }

// However many ask, a switch is asked once at a time, and not again at once; one that leaves takes nothing from the
// others; a switch that does not answer holds nobody up for longer than patience.
func TestNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quick, silent := &source{took: 10 * time.Millisecond}, &source{took: time.Hour}
		sources := map[string]Source{"quick": quick}
		s := New(Config{Sources: func(context.Context) (map[string]Source, error) { return sources, nil }})

		leaves, leave := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		wait.Go(func() {
			if _, err := s.Now(leaves); !errors.Is(err, context.Canceled) {
				t.Errorf("who left: %v", err)
			}
		})
		synctest.Wait()
		for range 20 {
			wait.Go(func() {
				got, err := s.Now(t.Context())
				if err != nil || got.Switches["quick"].Counters.VIP[rows.VIPKey{Port: 80}].Packets != 1 ||
					!errors.Is(got.Switches["quick"].Ports.Err, ports.ErrUntold) {
					t.Errorf("got %+v, %v", got, err)
				}
			})
		}
		synctest.Wait()
		leave()
		wait.Wait()
		if _, err := s.Now(t.Context()); err != nil || quick.asked != 1 {
			t.Errorf("asked %d times, %v, want once", quick.asked, err)
		}
		time.Sleep(2 * fresh)
		sources = map[string]Source{"quick": quick, "silent": silent}
		began := time.Now()
		got, err := s.Now(t.Context())
		if err != nil || got.Switches["quick"].CountersErr != nil ||
			!errors.Is(got.Switches["silent"].CountersErr, context.DeadlineExceeded) {
			t.Errorf("with one that is silent: %+v, %v", got, err)
		}
		if took := time.Since(began); took != patience {
			t.Errorf("that took %v, want %v", took, patience)
		}
		time.Sleep(longest) // the silent one is read on
	})
}

// While nobody needs rates no switch is asked, and there are none.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := &source{}
		var wanted atomic.Bool
		var got []map[rows.VIPKey]float64
		s := New(Config{
			Interval: time.Second,
			Sources:  func(context.Context) (map[string]Source, error) { return map[string]Source{"leaf1": one}, nil },
			Wanted:   func(context.Context) (bool, error) { return wanted.Load(), nil },
			Rates: func(_ context.Context, now map[rows.VIPKey]float64) error {
				got = append(got, now)
				return nil
			},
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(1500 * time.Millisecond)
		wanted.Store(true)
		time.Sleep(2 * time.Second)
		wanted.Store(false)
		time.Sleep(time.Second)
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		want := []map[rows.VIPKey]float64{{}, {}, {{Port: 80}: 1}, {}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("rates (-want +got):\n%s", diff)
		}
		if one.asked != 2 {
			t.Errorf("asked %d times, want 2", one.asked)
		}
	})
}

// A switch that takes longer than patience is read on, and its counters are told late; one that takes too long has
// none, and what it told is not told for ever. Another switch under the name of one has nothing of that.
func TestSlowSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &source{took: 3 * patience}
		sources := map[string]Source{"slow": slow}
		s := New(Config{Sources: func(context.Context) (map[string]Source, error) { return sources, nil }})
		for _, step := range []struct {
			name  string
			after time.Duration
			does  func()
			want  string
			asked int
		}{
			{"it takes 3 s", 0, func() {}, "late", 1},
			{"it has not answered yet", patience / 2, func() {}, "late", 1},
			{"it has answered", 2 * patience, func() {}, "1", 2},
			{"and is asked again, once at a time", patience / 2, func() {}, "1", 2},
			{"and again", 10 * patience, func() {}, "2", 3},
			{"it becomes too slow", 10 * patience, func() { slow.took = time.Hour }, "3", 4},
			{"it has taken too long", longest + time.Millisecond, func() {}, "too late", 5},
			{"another one has its name", patience, func() { sources["slow"] = &source{took: 2 * patience} }, "late", 5},
		} {
			time.Sleep(step.after)
			slow.mu.Lock()
			step.does()
			slow.mu.Unlock()
			m, err := s.Now(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			one, is := m.Switches["slow"], ""
			switch {
			case one.CountersErr == nil:
				is = fmt.Sprint(one.Counters.VIP[rows.VIPKey{Port: 80}].Packets)
			case one.CountersErr.Error() == "the switch has not answered within 1s: context deadline exceeded":
				is = "late"
			case one.CountersErr.Error() == "the switch has not answered within 10s: context deadline exceeded":
				is = "too late"
			default:
				is = one.CountersErr.Error()
			}
			slow.mu.Lock()
			if is != step.want || slow.asked != step.asked {
				t.Errorf("%s: got %s, asked %d times, want %s, %d", step.name, is, slow.asked, step.want, step.asked)
			}
			slow.mu.Unlock()
		}
		time.Sleep(longest)
	})
}

// Where switches have much to tell they are asked less often: a fifth of a processor is what that may take.
func TestMuchToTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		large := &source{backends: 100_000}
		s := New(Config{Sources: func(context.Context) (map[string]Source, error) {
			return map[string]Source{"large": large}, nil
		}})
		const pause = 5 * 100_001 * perRow
		for _, step := range []struct {
			after time.Duration
			asked int
		}{{0, 1}, {2 * fresh, 1}, {pause - 2*fresh, 1}, {time.Millisecond, 2}, {pause, 2}, {1, 3}} {
			time.Sleep(step.after)
			if _, err := s.Now(t.Context()); err != nil || large.asked != step.asked {
				t.Errorf("after %v: asked %d times, %v, want %d", step.after, large.asked, err, step.asked)
			}
		}
	})
}
