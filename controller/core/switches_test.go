package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
)

// A pinned flow is let go when every switch that is asked has heard nothing of it, at the same time.
func TestLetGo(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const flow = rows.Flow(7)
	connected := func(ages ...time.Duration) *view {
		v := &view{status: Switch{Connected: true}, silent: make(map[rows.Flow]time.Time)}
		for _, age := range ages {
			v.silent[flow] = now.Add(-age)
		}
		return v
	}
	behind := func(ago time.Duration, v *view) *view {
		v.status.Applied, v.lag = 1, lag{now.Add(-ago), 2}
		return v
	}
	away := func() *view { return &view{status: Switch{Connects: 1}} }
	tests := []struct {
		name  string
		views []*view
		want  bool
	}{
		{"no switch", nil, false},
		{"the only switch", []*view{connected(0)}, true},
		{"both", []*view{connected(0), connected(time.Second)}, true},
		{"one has not reported", []*view{connected(0), connected()}, false},
		{"one said so before", []*view{connected(0), connected(time.Second + 1)}, false},
		{"one was never connected", []*view{connected(0), {}}, true},
		{"one is away", []*view{connected(0), behind(time.Minute, away())}, false},
		{"one is away for longer than drain_limit", []*view{connected(0), behind(time.Hour, away())}, true},
		{"one is behind", []*view{connected(0), behind(time.Minute, connected())}, false},
		{"one is behind, and says so", []*view{connected(0), behind(time.Minute, connected(0))}, true},
		{"one hangs", []*view{connected(0), behind(time.Hour, connected())}, true},
		{"the only one hangs", []*view{behind(time.Hour, connected(0))}, true},
		{"the only one hangs, and does not say so", []*view{behind(time.Hour, connected())}, false},
		{"the only one is away", []*view{behind(time.Hour, away())}, false},
		{"none is connected", []*view{{}, {}}, false},
	}
	for _, test := range tests {
		c := New(Stored{Plan: plan.State{
			Pools: map[string]*plan.Pool{"web": {ID: 1, Members: []plan.Member{{ID: 2, Name: "web1"}}}},
			Pins:  plan.NewPins(map[rows.Flow]rows.BackendID{flow: 2}),
		}}, now)
		c.now, c.sequence = now, 2
		c.intent = &config.Intent{Pools: []config.Pool{{Name: "web", DrainIdle: time.Second, DrainLimit: time.Hour}}}
		for i, v := range test.views {
			if v.status.Connected && v.status.Applied == 0 {
				v.status.Applied = 2
			}
			c.views[fmt.Sprint(i)] = v
		}
		c.now = now.Add(-time.Hour)
		c.pace() // another switch has kept up for as long
		c.now = now
		if !c.anyKeepsUp() {
			c.served = time.Time{}
		}
		c.letGo([]rows.Flow{flow})
		if got := c.stored.Plan.Pins.Len() == 0; got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

// A switch that is met first may have been away, with the checks that go through it, before anybody was there to see.
func TestFirstMeeting(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	reading, read := Switch{Connected: true}, Switch{Connected: true, Connects: 1, ReadBack: 1}
	empty, lost := Switch{Connected: true, Connects: 1}, Switch{}
	type at struct {
		seconds int
		is      Switch
	}
	for _, tt := range []struct {
		name     string
		anything bool // was stored
		hears    []at
		want     string // what makes the checks suspect, a second after the last
	}{
		{"nobody yet", true, nil, "switch leaf1 is not met yet"},
		{"nobody yet, and nothing was stored", false, nil, ""},
		{"it is being read back", true, []at{{1, reading}}, "switch leaf1 is not met yet"},
		{"it is being read back for long", true, []at{{1, reading}, {40, reading}}, "switch leaf1 is not met yet"},
		{"with rows, at once", true, []at{{1, reading}, {2, read}}, ""},
		{"with many rows, at once", true, []at{{1, reading}, {30, read}}, ""},
		{"with rows, after a while", true, []at{{6, reading}, {7, read}}, "switch leaf1 was away"},
		{"with rows, after a while, and nothing was stored", false, []at{{6, reading}, {7, read}},
			"switch leaf1 was away"},
		{"with rows, at once, and nothing was stored", false, []at{{1, reading}, {2, read}}, ""},
		{"empty", true, []at{{1, reading}, {2, empty}}, "switch leaf1 came empty"},
		{"empty, and nothing was stored", false, []at{{1, reading}, {2, empty}}, ""},
		{"lost while it was read back", true, []at{{1, reading}, {2, lost}, {3, reading}, {4, read}},
			"switch leaf1 was away"},
	} {
		w := newWorld(t)
		w.now = began
		if tt.anything {
			w.start()
			w.apply(testIntent)
		}
		w.start()
		if !tt.anything {
			w.apply(testIntent)
		}
		for _, hears := range tt.hears {
			w.wait(began.Add(time.Duration(hears.seconds) * time.Second).Sub(w.now))
			is := hears.is
			is.Name = "leaf1"
			if is.Connects > 0 {
				is.Applied = w.core.Sequence()
			}
			w.put(is)
		}
		w.wait(time.Second)
		got := ""
		if s := w.core.suspicion; s != nil {
			got = s.text
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
