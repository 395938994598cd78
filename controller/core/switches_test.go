package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
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
	maxAge := func(rows.PoolID) time.Duration { return 10 * time.Second }
	tests := []struct {
		name  string
		views []*view
		want  bool
	}{
		{"no switch", nil, false},
		{"the only switch", []*view{connected(0)}, true},
		{"both", []*view{connected(0), connected(9 * time.Second)}, true},
		{"one has not reported", []*view{connected(0), connected()}, false},
		{"one report is old", []*view{connected(0), connected(11 * time.Second)}, false},
		{"one was never connected", []*view{connected(0), {}}, true},
		{"one is away", []*view{connected(0), {status: Switch{Connects: 1}}}, false},
		{"none is connected", []*view{{}, {}}, false},
	}
	for _, test := range tests {
		views := make(map[string]*view)
		for i, v := range test.views {
			views[fmt.Sprint(i)] = v
		}
		if got := len(settleable([]plan.SlotRef{ref}, views, now, maxAge)) == 1; got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}
