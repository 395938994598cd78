package plan

import (
	"testing"

	"github.com/sluicelb/sluice/controller/rows"
)

// A move that brings no pool nearer to its shares is surplus.
func TestSurplus(t *testing.T) {
	w := &work{
		pool:    Pool{Members: []Member{{ID: 1, Name: "b1", Weight: 1}, {ID: 2, Name: "b2", Weight: 1}}},
		status:  []status{active, active},
		share:   []int{2, 2},
		anybody: true,
	}
	w.roster = newRoster(w.pool.Members)
	slots := func(ids ...rows.BackendID) (s []rows.Slot) {
		for _, id := range ids {
			s = append(s, rows.Slot{Backend: id})
		}
		return s
	}
	tests := []struct {
		name          string
		before, after []rows.Slot
		want          int
	}{
		{"nothing", slots(1, 1, 2, 2), slots(1, 1, 2, 2), 0},
		{"what is needed", slots(1, 1, 1, 1), slots(1, 1, 2, 2), 0},
		{"the first table", slots(0, 0, 0, 0), slots(1, 2, 1, 2), 0},
		{"a needless swap", slots(1, 1, 2, 2), slots(2, 1, 1, 2), 2},
		{"needed, and a swap", slots(1, 1, 1, 2), slots(2, 2, 1, 1), 2},
		{"away from the share", slots(1, 1, 2, 2), slots(1, 2, 2, 2), 2},
	}
	for _, tt := range tests {
		if got := w.surplus(tt.before, tt.after); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// A slot whose backend dies goes to the old one, which has flows there, or else to the one at home.
func TestRescuePrefersOldThenHome(t *testing.T) {
	orphans := func(slot func(i int) rows.Slot) []rows.Slot {
		w := &work{
			pool:    Pool{Members: []Member{{ID: 1, Name: "b1"}, {ID: 2, Name: "b2"}, {ID: 3, Name: "b3"}}},
			status:  []status{active, active, dead},
			share:   []int{32, 32, 0},
			seeds:   []uint64{seed("web", "b1"), seed("web", "b2"), seed("web", "b3")},
			anybody: true,
		}
		w.roster = newRoster(w.pool.Members)
		for i := range 64 {
			w.pool.Slots = append(w.pool.Slots, slot(i))
			w.pool.Home = append(w.pool.Home, rows.BackendID(1+i%2))
		}
		new(stepper).rescue(w)
		return w.pool.Slots
	}
	for i, got := range orphans(func(int) rows.Slot { return rows.Slot{Backend: 3} }) {
		if want := (rows.Slot{Backend: rows.BackendID(1 + i%2)}); got != want {
			t.Errorf("settled slot %d: %+v, want it at home, %+v", i, got, want)
		}
	}
	old := func(i int) rows.BackendID { return rows.BackendID(2 - i%2) }
	for i, got := range orphans(func(i int) rows.Slot { return rows.Slot{Backend: 3, Old: old(i), Epoch: 1} }) {
		if want := (rows.Slot{Backend: old(i)}); got != want {
			t.Errorf("moving slot %d: %+v, want it settled where its old flows are, %+v", i, got, want)
		}
	}
}
