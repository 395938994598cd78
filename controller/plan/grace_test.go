package plan

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/rows"
)

// graceful is a pool whose dead keep their open flows for a while.
func graceful(slots int, weights ...int) config.Pool {
	p := pool(slots, weights...)
	p.Grace = 6 * time.Second
	return p
}

// endGrace is what the controller does when the time of a dead backend's flows is over.
func (w *world) endGrace(backend string) int {
	w.t.Helper()
	p := w.st.Pools["web"]
	i := slices.IndexFunc(p.Members, func(m Member) bool { return m.Name == backend })
	var n int
	w.st, n = Settle(w.st, p.Kept(p.Members[i].ID))
	w.step()
	return n
}

func TestGrace(t *testing.T) {
	w := newWorld(t, graceful(64, 100, 100, 200))
	w.step()
	before := slices.Clone(w.st.Pools["web"].Slots)
	wantProgress(t, Progress{Moves: []Move{{Pool: "web", From: "b2", To: "b1", Slots: 5, Grace: true},
		{Pool: "web", From: "b2", To: "b3", Slots: 11, Grace: true}}}, w.health("b2", Down).step())
	w.want(map[string]int{"b1": 21, "b2": 0, "-b2": 16, "b3": 43})
	for i, slot := range w.st.Pools["web"].Slots {
		if was := before[i]; was.Backend != 2 && slot != was || was.Backend == 2 && slot.Old != 2 {
			t.Errorf("slot %d went from %+v to %+v", i, was, slot)
		}
	}
	t.Run("the verdict is taken back", func(t *testing.T) {
		w := *w
		w.t = t
		w.in.Health = map[BackendKey]Health{{"web", "b2"}: Up}
		wantProgress(t, Progress{Moves: []Move{{Pool: "web", From: "b1", To: "b2", Slots: 5, Gradual: true},
			{Pool: "web", From: "b3", To: "b2", Slots: 11, Gradual: true}}}, w.step())
		w.want(map[string]int{"b1": 16, "-b1": 5, "b2": 16, "b3": 32, "-b3": 11})
		for i, slot := range w.st.Pools["web"].Slots {
			if slot.Backend != before[i].Backend || slot.Back != (slot.Epoch != 0) {
				t.Errorf("slot %d is %+v, want it where it was, and what was opened meanwhile where that is", i, slot)
			}
		}
		w.settle()
		w.step()
		if diff := cmp.Diff(before, w.st.Pools["web"].Slots); diff != "" {
			t.Errorf("in the end the table is another one (-before +after):\n%s", diff)
		}
	})
	t.Run("it ends", func(t *testing.T) {
		w := *w
		w.t = t
		if n := w.endGrace("b2"); n != 16 {
			t.Errorf("%d slots settled, want 16", n)
		}
		w.want(map[string]int{"b1": 21, "b2": 0, "b3": 43})
	})
}

// The servers fall one after the other, as when healthd loses its own network: nobody's open flows are handed on.
func TestGraceOfACascade(t *testing.T) {
	for _, policy := range []config.AllDown{config.Drop, config.Forward} {
		t.Run(string(policy), func(t *testing.T) {
			p := graceful(64, equal(8)...)
			p.AllDown = policy
			w := newWorld(t, p)
			w.step()
			before := slices.Clone(w.st.Pools["web"].Slots)
			keeps := func(after string) {
				t.Helper()
				for i, slot := range w.st.Pools["web"].Slots {
					if home := before[i].Backend; slot.Backend != home && slot.Old != home {
						t.Errorf("after %s: slot %d is %+v, its open flows were with %d", after, i, slot, home)
					}
				}
			}
			for i := 1; i <= 8; i++ {
				name := fmt.Sprintf("b%d", i)
				w.health(name, Down).step()
				keeps("the fall of " + name)
			}
			for _, name := range []string{"b5", "b2", "b8", "b1", "b3", "b4", "b6", "b7"} {
				w.health(name, Up).step()
				keeps("the return of " + name)
			}
		})
	}
}

// left counts the slots that left a backend with a grace and at once, and lists those that wait.
func left(r Progress, from string) (grace, hard int, waits []Wait) {
	for _, m := range r.Moves {
		switch {
		case m.From != from:
		case m.Grace:
			grace += m.Slots
		default:
			hard += m.Slots
		}
	}
	for _, wait := range r.Waiting {
		if wait.Backend == from {
			waits = append(waits, wait)
		}
	}
	return grace, hard, waits
}

// Gradual moves leave a bank to the dead of pools with a grace, so that a death finds an epoch that its slots have not
// been in, be they settled in the youngest.
func TestGraceWhenAllBanksAreTaken(t *testing.T) {
	w := newWorld(t, graceful(256, equal(12)...))
	w.step()
	for i := range banks - spare {
		w.admin(fmt.Sprintf("b%d", i+1), Drain).step()
	}
	r := w.admin("b4", Drain).step()
	waits := slices.Contains(r.Waiting, Wait{"web", "b4", 22, EpochsUsed})
	if c, _ := w.st.Census("web"); c.Epochs != banks-spare || len(r.Moves) != 0 || !waits {
		t.Errorf("with one bank left: %d epochs, %+v", c.Epochs, r)
	}
	p := w.st.Pools["web"]
	w.st, _ = Settle(w.st, p.Moving(w.st.NextEpoch - 1)[1:]) // where nobody had a flow
	b5 := w.slots()["b5"]
	grace, hard, stay := left(w.health("b5", Down).step(), "b5")
	if c, _ := w.st.Census("web"); c.Epochs != banks || b5 != 29 || grace != b5 || hard != 0 || stay != nil {
		t.Errorf("%d of %d slots left in peace, %d at once, %+v wait, in %d epochs", grace, b5, hard, stay, c.Epochs)
	}
}

// Other pools' moves, and a false verdict that was taken back, have all banks, and no slot of b5 may enter any of their
// epochs: the slots wait with it.
func TestGraceWithoutAnEpoch(t *testing.T) {
	other := pool(64, equal(8)...) // without a grace: it leaves a bank all the same
	other.Name = "other"
	w := newWorld(t, graceful(256, equal(8)...), other)
	w.step()
	for i := range banks {
		w.in.Admin[BackendKey{"other", fmt.Sprintf("b%d", i+1)}] = Drain
		w.step()
	}
	w.health("b5", Down).step()
	w.health("b5", Up).step()
	w.st, _ = Settle(w.st, w.st.Pools["web"].Moving(w.st.NextEpoch - 1)[1:]) // one flow, opened meanwhile, lives on
	w.step()
	before := w.st
	grace, hard, waits := left(w.health("b5", Down).step(), "b5")
	if grace != 1 || hard != 0 || !slices.Equal(waits, []Wait{{"web", "b5", 31, NoEpoch}}) {
		t.Errorf("%d slots left in peace, %d at once, %+v wait", grace, hard, waits)
	}
	tests := []struct {
		name        string
		happens     func(w *world)
		grace, hard int
	}{
		{"an epoch becomes free", func(w *world) {
			p := w.st.Pools["other"]
			w.st, _ = Settle(w.st, p.Moving(p.Epochs()[0]))
		}, 31, 0},
		{"its grace ends", func(w *world) { w.in.Over = map[BackendKey]bool{{"web", "b5"}: true} }, 0, 31},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := *w
			w.t = t
			tt.happens(&w)
			if grace, hard, waits := left(w.step(), "b5"); grace != tt.grace || hard != tt.hard || waits != nil {
				t.Errorf("%d slots left in peace, %d at once, %+v wait", grace, hard, waits)
			}
		})
	}
	t.Run("nothing", func(t *testing.T) {
		w := *w
		w.t = t
		was := w.st.Pools["web"]
		r := w.step()
		if _, _, again := left(r, "b5"); w.st.Pools["web"] != was || len(r.Moves) > 0 || !slices.Equal(waits, again) {
			t.Errorf("%+v moved, %+v wait, want the same again", r.Moves, again)
		}
	})
	t.Run("the verdict is taken back", func(t *testing.T) {
		w := *w
		w.t = t
		w.in.Health = nil
		w.step()
		if diff := cmp.Diff(before.Pools["web"].Slots, w.st.Pools["web"].Slots); diff != "" {
			t.Errorf("the table is another one (-before +after):\n%s", diff)
		}
	})
}

// A slot that moves between two backends which are both called dead waits: the switch remembers no third.
func TestBothDown(t *testing.T) {
	start := func(t *testing.T) *world { // b2 took slots of b1
		w := newWorld(t, graceful(64, equal(4)...))
		w.step()
		w.health("b1", Down).step()
		wantProgress(t, Progress{
			Moves: []Move{{Pool: "web", From: "b2", To: "b3", Slots: 8, Grace: true},
				{Pool: "web", From: "b2", To: "b4", Slots: 8, Grace: true}},
			Waiting: []Wait{{"web", "b2", 6, BothDown}},
		}, w.health("b2", Down).step())
		w.want(map[string]int{"-b1": 16, "b1": 0, "-b2": 16, "b2": 6, "b3": 29, "b4": 29})
		return w
	}
	t.Run("the grace of the old one ends", func(t *testing.T) {
		w := start(t)
		if n := w.endGrace("b1"); n != 16 {
			t.Errorf("%d slots settled, want 16", n)
		}
		w.want(map[string]int{"b1": 0, "-b2": 22, "b2": 0, "b3": 32, "b4": 32}) // b2 keeps what it has
	})
	t.Run("the grace of the new one ends", func(t *testing.T) {
		w := start(t)
		w.in.Over = map[BackendKey]bool{{"web", "b2"}: true}
		if n := w.endGrace("b2"); n != 16 {
			t.Errorf("%d slots settled, want 16", n)
		}
		w.want(map[string]int{"b1": 0, "-b1": 16, "b2": 0, "b3": 32, "b4": 32}) // and so does b1
	})
	t.Run("no grace ends for long", func(t *testing.T) {
		w := start(t)
		w.in.Stale = map[string]bool{"web": true}
		wantProgress(t, Progress{
			Moves: []Move{{Pool: "web", From: "b2", To: "b3", Slots: 3}, {Pool: "web", From: "b2", To: "b4", Slots: 3}},
		}, w.step())
	})
}

func TestFailing(t *testing.T) {
	t.Run("drains", func(t *testing.T) {
		w := newWorld(t, pool(64, equal(2)...))
		w.step()
		wantProgress(t, Progress{Moves: []Move{{Pool: "web", From: "b2", To: "b1", Slots: 32, Gradual: true}}},
			w.health("b2", Failing).step())
		w.want(map[string]int{"b1": 64, "b2": 0, "-b2": 32})
	})
	t.Run("counts as down where the pool says so", func(t *testing.T) {
		p := pool(64, equal(2)...)
		p.Failing = config.FailingDown
		w := newWorld(t, p)
		w.step()
		wantProgress(t, Progress{Moves: []Move{{Pool: "web", From: "b2", To: "b1", Slots: 32}}},
			w.health("b2", Failing).step())
	})
	t.Run("all of them", func(t *testing.T) {
		w := newWorld(t, pool(64, equal(2)...))
		w.step()
		before := slices.Clone(w.st.Pools["web"].Slots)
		w.health("b1", Failing).health("b2", Failing).step()
		w.want(map[string]int{"b1": 0, "-b1": 32, "b2": 0, "-b2": 32, "": 64}) // all_down drops new flows
		w.health("b1", Up).health("b2", Up).step()
		if diff := cmp.Diff(before, w.st.Pools["web"].Slots); diff != "" {
			t.Errorf("the table after the return is another one (-before +after):\n%s", diff)
		}
	})
}

// A drain is under way, and every server is called down, one after the other, and up again: flows stay with the
// backend that they were opened at, the drained one's and the taker's.
func TestCascadeInADrain(t *testing.T) {
	w := newWorld(t, graceful(64, equal(3)...))
	w.step()
	w.admin("b1", Drain).step()
	before := slices.Clone(w.st.Pools["web"].Slots)
	for _, name := range []string{"b1", "b2", "b3"} {
		w.health(name, Down).step()
		for i, slot := range w.st.Pools["web"].Slots {
			was := before[i]
			for _, id := range []rows.BackendID{was.Backend, was.Old} {
				if id != 0 && slot.Backend != id && slot.Old != id {
					t.Fatalf("after the fall of %s: slot %d is %+v, was %+v: the flows of %d break", name, i, slot, was,
						id)
				}
			}
		}
	}
}
