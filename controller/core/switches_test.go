package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
)

func TestSettleable(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ref := plan.SlotRef{Pool: 1, Slot: 4, Old: 2}
	connected := func(ages ...time.Duration) *view {
		v := &view{status: Switch{Connected: true}, idle: map[plan.SlotRef]time.Time{}}
		for _, age := range ages {
			v.idle[ref] = now.Add(-age)
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
		{"both", []*view{connected(0), connected(7 * time.Second)}, true},
		{"one has not reported", []*view{connected(0), connected()}, false},
		{"one report is old", []*view{connected(0), connected(8 * time.Second)}, false},
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
		c := New(Stored{Plan: plan.State{Pools: map[string]*plan.Pool{"web": {ID: 1}}}}, now)
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
		if got := len(c.settleable([]plan.SlotRef{ref})) == 1; got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}
