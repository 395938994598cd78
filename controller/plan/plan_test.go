package plan

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/packet"
)

// pool makes a pool "web" whose backends b1, b2, ... have the weights given.
func pool(slots int, weights ...int) config.Pool {
	p := config.Pool{Name: "web", Slots: slots, DrainIdle: time.Minute, AllDown: config.Drop}
	for i, w := range weights {
		p.Backends = append(p.Backends, backend(i+1, w))
	}
	return p
}

func backend(n, weight int) config.Backend {
	return config.Backend{
		Name:       fmt.Sprintf("b%d", n),
		Address:    netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}),
		MAC:        packet.MAC{2, 0, 0, 0, byte(n >> 8), byte(n)},
		SwitchPort: config.SwitchPorts{All: uint16(n%500 + 1)},
		Weight:     weight,
		Enabled:    true,
	}
}

// hold lets pools wait for a switch.
func hold(pools ...string) map[string]bool {
	held := make(map[string]bool)
	for _, name := range pools {
		held[name] = true
	}
	return held
}

// build returns what switch leaf1 must hold.
func build(in *config.Intent, st State) rows.Tables {
	t := Build(in, st)
	Place(in, st, "leaf1").Put(&t)
	return t
}

// equal makes n equal weights.
func equal(n int) []int { return slices.Repeat([]int{100}, n) }

// intent has a VIP for every pool.
func intent(pools ...config.Pool) *config.Intent {
	in := &config.Intent{VIPMAC: packet.MAC{2, 0x53, 0x4c, 0, 0, 1}, Pools: pools}
	for i, p := range pools {
		in.VIPs = append(in.VIPs, config.VIP{
			Name: "vip-" + p.Name, Address: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), Protocol: config.TCP,
			Port: 80,
			Pool: p.Name, MAC: in.VIPMAC, Enabled: true,
		})
	}
	return in
}

// world calls Step and holds what it returns against the rules.
type world struct {
	t  *testing.T
	in Input
	st State
}

func newWorld(t *testing.T, pools ...config.Pool) *world {
	w := &world{t: t, in: Input{Intent: intent(pools...), Health: make(map[BackendKey]Health),
		Admin: make(map[BackendKey]Admin)}}
	return w
}

func (w *world) step() Progress {
	w.t.Helper()
	was := w.st
	st, progress, err := Step(was, w.in)
	if err != nil {
		w.t.Fatalf("Step: %v", err)
	}
	if err := st.Check(); err != nil {
		w.t.Fatalf("Step made a state that cannot be: %v", err)
	}
	if progress.Surplus != 0 {
		w.t.Errorf("%d surplus moves", progress.Surplus)
	}
	for _, wait := range progress.Waiting {
		if wait.Slots < 1 || wait.Why == 0 {
			w.t.Errorf("slots wait for nothing: %+v", wait)
		}
	}
	w.st = st
	w.flowsStay(was)
	return progress
}

// flowsStay holds that in a pool with a grace no backend lost a slot in which it may have open flows, be it called dead
// or not: it takes the slot's new flows yet, or keeps the others. Only those whose grace is over lose theirs.
func (w *world) flowsStay(was State) {
	w.t.Helper()
	for _, cfg := range w.in.Intent.Pools {
		before, after := was.Pools[cfg.Name], w.st.Pools[cfg.Name]
		if cfg.Grace == 0 || w.in.Stale[cfg.Name] || before == nil || before.Generation != after.Generation {
			continue
		}
		for i, slot := range before.Slots {
			for _, id := range []rows.BackendID{slot.Backend, slot.Old} {
				if is := after.Slots[i]; id != 0 && id != is.Backend && id != is.Old {
					if key, _ := was.Backend(id); !w.in.Over[key] || w.in.Health[key] == Up {
						w.t.Fatalf("slot %d went from %+v to %+v: the flows of %s break", i, slot, is, key)
					}
				}
			}
		}
	}
}

func (w *world) health(backend string, h Health) *world {
	w.in.Health[BackendKey{"web", backend}] = h
	return w
}

func (w *world) admin(backend string, a Admin) *world {
	w.in.Admin[BackendKey{"web", backend}] = a
	return w
}

// pin pins a flow.
func (w *world) pin(flow rows.Flow, to rows.BackendID) {
	w.st, _ = Pin(w.st, map[rows.Flow]rows.BackendID{flow: to})
}

// settle ends all moves.
func (w *world) settle() int {
	var refs []SlotRef
	for _, p := range w.st.Pools {
		for i, slot := range p.Slots {
			if slot.Old != 0 {
				refs = append(refs, SlotRef{p.ID, p.Generation, uint16(i), slot.Old})
			}
		}
	}
	st, n := Settle(w.st, refs)
	if n != len(refs) {
		w.t.Errorf("Settle ended %d of %d moves", n, len(refs))
	}
	w.st = st
	return n
}

// slots returns the number of slots by backend, "old" ones under the name with a minus sign.
func (w *world) slots() map[string]int {
	c, _ := w.st.Census("web")
	m := make(map[string]int)
	for _, b := range c.Backends {
		m[b.Name] = b.Slots
		if b.MovingOut > 0 {
			m["-"+b.Name] = b.MovingOut
		}
	}
	if c.Unowned > 0 {
		m[""] = c.Unowned
	}
	return m
}

func (w *world) want(want map[string]int) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.slots()); diff != "" {
		w.t.Errorf("slots (-want +got):\n%s", diff)
	}
}

func wantProgress(t *testing.T, want, got Progress) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
}

func TestFirstTable(t *testing.T) {
	w := newWorld(t, pool(4096, 100, 100, 200))
	wantProgress(t, Progress{Moves: []Move{
		{Pool: "web", To: "b1", Slots: 1024}, {Pool: "web", To: "b2", Slots: 1024},
		{Pool: "web", To: "b3", Slots: 2048},
	}}, w.step())
	w.want(map[string]int{"b1": 1024, "b2": 1024, "b3": 2048})
	p := w.st.Pools["web"]
	for i, slot := range p.Slots {
		if slot != (rows.Slot{Backend: p.Home[i]}) {
			t.Fatalf("slot %d is %+v, its home is %d", i, slot, p.Home[i])
		}
	}
	// A pool set up by the same names has the same table, whatever ids it got.
	other := newWorld(t, config.Pool{Name: "first", Slots: 64, Backends: pool(64, 1).Backends},
		pool(4096, 100, 100, 200))
	other.step()
	q := other.st.Pools["web"]
	for i := range p.Home {
		if q.Home[i]-p.Home[i] != 1 {
			t.Fatalf("slot %d has backend %d, and %d in the other", i, p.Home[i], q.Home[i])
		}
	}
}

func TestTheSameInputTwiceChangesNothing(t *testing.T) {
	w := newWorld(t, pool(4096, 7, 100, 31))
	w.step()
	w.admin("b3", Drain).step()
	was := w.st
	wantProgress(t, Progress{}, w.step())
	if was.Pools["web"] != w.st.Pools["web"] || was.NextEpoch != w.st.NextEpoch {
		t.Error("the state changed")
	}
}

func TestDeathMovesExactlyItsOwnSlotsAndReturnTakesExactlyThemBack(t *testing.T) {
	w := newWorld(t, pool(4096, equal(3)...))
	w.step()
	before := slices.Clone(w.st.Pools["web"].Slots)
	w.want(map[string]int{"b1": 1366, "b2": 1365, "b3": 1365})

	wantProgress(t, Progress{Moves: []Move{
		{Pool: "web", From: "b2", To: "b1", Slots: 682}, {Pool: "web", From: "b2", To: "b3", Slots: 683},
	}}, w.health("b2", Down).step())
	w.want(map[string]int{"b1": 2048, "b2": 0, "b3": 2048})
	for i, slot := range w.st.Pools["web"].Slots {
		if slot.Old != 0 || before[i].Backend != 2 && slot != before[i] {
			t.Fatalf("slot %d went from %+v to %+v", i, before[i], slot)
		}
	}

	wantProgress(t, Progress{Moves: []Move{
		{Pool: "web", From: "b1", To: "b2", Slots: 682, Gradual: true},
		{Pool: "web", From: "b3", To: "b2", Slots: 683, Gradual: true},
	}}, w.health("b2", Up).step())
	w.want(map[string]int{"b1": 1366, "-b1": 682, "b2": 1365, "b3": 1365, "-b3": 683})
	w.settle()
	wantProgress(t, Progress{}, w.step())
	if diff := cmp.Diff(before, w.st.Pools["web"].Slots); diff != "" {
		t.Errorf("the table after the return is another one (-before +after):\n%s", diff)
	}
}

func TestDrainAndUndrain(t *testing.T) {
	w := newWorld(t, pool(64, equal(2)...))
	w.step()
	wantProgress(t, Progress{Moves: []Move{{Pool: "web", From: "b1", To: "b2", Slots: 32, Gradual: true}}},
		w.admin("b1", Drain).step())
	w.want(map[string]int{"b1": 0, "-b1": 32, "b2": 64})
	// The slots that it had go back at once, in the epoch in which they left.
	wantProgress(t, Progress{Moves: []Move{{Pool: "web", From: "b2", To: "b1", Slots: 32, Gradual: true}}},
		w.admin("b1", Active).step())
	w.want(map[string]int{"b1": 32, "b2": 32, "-b2": 32})
	for i, slot := range w.st.Pools["web"].Slots {
		if slot.Old != 0 && slot != (rows.Slot{Backend: 1, Old: 2, Epoch: 1, Back: true}) {
			t.Fatalf("slot %d is %+v", i, slot)
		}
	}
	wantProgress(t, Progress{Moves: []Move{{Pool: "web", From: "b2", To: "b1", Slots: 32, Gradual: true}}},
		w.admin("b2", Drain).step())
	w.want(map[string]int{"b1": 64, "b2": 0, "-b2": 64})
	w.settle()
	wantProgress(t, Progress{}, w.step())
}

func TestDisabledAndRemovedBackendsLeaveInPeace(t *testing.T) {
	w := newWorld(t, pool(64, equal(3)...))
	w.step()
	w.in.Intent.Pools[0].Backends[0].Enabled = false
	w.in.Intent.Pools[0].Backends = slices.Delete(w.in.Intent.Pools[0].Backends, 1, 2)
	w.step()
	w.want(map[string]int{"b1": 0, "-b1": 22, "b2": 0, "-b2": 21, "b3": 64})
	if got := build(w.in.Intent, w.st).Backend[2]; got != (rows.Forward{MAC: backend(2, 1).MAC, Port: 3}) {
		t.Errorf("the removed backend's row is %v while it has flows", got)
	}
	w.settle()
	w.step()
	w.want(map[string]int{"b1": 0, "b3": 64}) // b1 is of the intent still
	if _, ok := build(w.in.Intent, w.st).Backend[2]; ok {
		t.Error("the removed backend has a row and no slot")
	}
	// One of its name later is another.
	w.in.Intent = intent(pool(64, equal(3)...))
	w.step()
	if key, ok := w.st.Backend(4); !ok || key != (BackendKey{"web", "b2"}) {
		t.Errorf("backend 4 is %v, want the new b2", key)
	}
	if key, ok := w.st.Backend(2); ok {
		t.Errorf("id 2 is %v's, want nobody's", key)
	}
}

func TestRemovedBackendThatComesBackInTime(t *testing.T) {
	w := newWorld(t, pool(64, equal(2)...))
	w.step()
	all := w.in.Intent.Pools[0].Backends
	w.in.Intent.Pools[0].Backends = all[:1]
	w.step()
	w.in.Intent.Pools[0].Backends = all
	w.step()
	w.want(map[string]int{"b1": 32, "-b1": 32, "b2": 32})
}

func TestHardFailureDuringAMove(t *testing.T) {
	start := func() *world { // b3 drains, its slots are moving to b1 and b2
		w := newWorld(t, pool(96/3*2, 100, 100, 200))
		w.step()
		w.admin("b3", Drain).step()
		w.want(map[string]int{"b1": 32, "b2": 32, "b3": 0, "-b3": 32})
		return w
	}
	t.Run("of the old backend", func(t *testing.T) {
		w := start()
		wantProgress(t, Progress{}, w.health("b3", Down).step())
		w.want(map[string]int{"b1": 32, "b2": 32, "b3": 0})
	})
	t.Run("of the new backend", func(t *testing.T) {
		w := start()
		before := w.st.Pools["web"].Slots
		wantProgress(t, Progress{Moves: []Move{{Pool: "web", From: "b2", To: "b1", Slots: 32}}},
			w.health("b2", Down).step())
		w.want(map[string]int{"b1": 64, "b2": 0, "b3": 0, "-b3": 32})
		for i, slot := range w.st.Pools["web"].Slots {
			want := before[i]
			want.Backend = 1 // and old backend, bank and epoch as before
			if slot != want {
				t.Fatalf("slot %d went from %+v to %+v, want %+v", i, before[i], slot, want)
			}
		}
	})
	t.Run("of both", func(t *testing.T) {
		w := start()
		w.health("b2", Down).health("b3", Down).step()
		w.want(map[string]int{"b1": 64, "b2": 0, "b3": 0})
	})
	t.Run("of the new backend, when the old one may have slots", func(t *testing.T) {
		w := newWorld(t, pool(64, 100))
		w.step()
		w.in.Intent.Pools[0].Backends = append(w.in.Intent.Pools[0].Backends, backend(2, 100))
		w.step()
		w.want(map[string]int{"b1": 32, "-b1": 32, "b2": 32})
		wantProgress(t, Progress{Moves: []Move{{Pool: "web", From: "b2", To: "b1", Slots: 32}}},
			w.health("b2", Down).step())
		w.want(map[string]int{"b1": 64, "b2": 0})
	})
}

func TestAllDown(t *testing.T) {
	t.Run("drop", func(t *testing.T) {
		w := newWorld(t, pool(64, equal(2)...))
		w.step()
		before := slices.Clone(w.st.Pools["web"].Slots)
		wantProgress(t, Progress{Moves: []Move{{Pool: "web", From: "b1", Slots: 32, Grace: true},
			{Pool: "web", From: "b2", Slots: 32, Grace: true}}},
			w.health("b1", Down).health("b2", Down).step())
		w.want(map[string]int{"b1": 0, "-b1": 32, "b2": 0, "-b2": 32, "": 64}) // open flows stay where they are
		w.health("b1", Up).health("b2", Up).step()
		if diff := cmp.Diff(before, w.st.Pools["web"].Slots); diff != "" {
			t.Errorf("the table after the return is another one (-before +after):\n%s", diff)
		}
	})
	t.Run("forward", func(t *testing.T) {
		p := pool(64, equal(2)...)
		p.AllDown = config.Forward
		w := newWorld(t, p)
		w.step()
		wantProgress(t, Progress{}, w.health("b1", Down).health("b2", Down).step())
		w.want(map[string]int{"b1": 32, "b2": 32})
		w.health("b1", Up).step()
		w.want(map[string]int{"b1": 64, "b2": 0})
	})
	t.Run("nobody but a draining backend is up", func(t *testing.T) {
		w := newWorld(t, pool(64, equal(2)...))
		w.step()
		w.admin("b1", Drain).step()
		wantProgress(t, Progress{Moves: []Move{{Pool: "web", From: "b2", Slots: 32, Grace: true}}},
			w.health("b2", Down).step())
		w.want(map[string]int{"b1": 0, "-b1": 32, "b2": 32, "-b2": 32, "": 32}) // old flows go on
		w.health("b2", Up).step()
		w.want(map[string]int{"b1": 0, "-b1": 32, "b2": 64})
	})
	t.Run("all drain", func(t *testing.T) {
		w := newWorld(t, pool(64, equal(2)...))
		w.step()
		wantProgress(t, Progress{Waiting: []Wait{{"web", "b1", 32, NobodyUp}, {"web", "b2", 32, NobodyUp}}},
			w.admin("b1", Drain).admin("b2", Drain).step())
		w.want(map[string]int{"b1": 32, "b2": 32})
	})
	t.Run("from the start", func(t *testing.T) {
		w := newWorld(t, pool(64, equal(2)...))
		wantProgress(t, Progress{}, w.health("b1", Down).health("b2", Down).step())
		w.want(map[string]int{"b1": 0, "b2": 0, "": 64})
	})
}

func TestHoldLetsOnlyTheDeadGo(t *testing.T) {
	w := newWorld(t, pool(64, 100, 100, 200))
	w.step()
	w.in.Hold = hold("web")
	wantProgress(t, Progress{Moves: []Move{{Pool: "web", From: "b2", To: "b3", Slots: 16}},
		Waiting: []Wait{{"web", "b1", 16, Behind}}},
		w.admin("b1", Drain).health("b2", Down).step())
}

// A pool that waits for a switch holds up no other, and its slots say what they wait for.
func TestHoldOfOnePool(t *testing.T) {
	other := pool(64, equal(2)...)
	other.Name = "other"
	w := newWorld(t, pool(64, equal(2)...), other)
	w.step()
	w.in.Hold = hold("web")
	w.in.Admin[BackendKey{"other", "b1"}] = Drain
	wantProgress(t, Progress{
		Moves:   []Move{{Pool: "other", From: "b1", To: "b2", Slots: 32, Gradual: true}},
		Waiting: []Wait{{"web", "b1", 32, Behind}},
	}, w.admin("b1", Drain).step())
}

func TestBanks(t *testing.T) {
	w := newWorld(t, pool(64, equal(8)...))
	w.step()
	for i := range limits.Banks {
		w.admin(fmt.Sprintf("b%d", i+1), Drain).step()
		c, _ := w.st.Census("web")
		if c.Epochs != i+1 {
			t.Fatalf("%d epochs, want %d", c.Epochs, i+1)
		}
	}
	moving := func(bank int) []SlotRef {
		p := w.st.Pools["web"]
		return p.Moving(p.Epochs()[bank]) // banks were taken in turn
	}
	r := w.admin("b5", Drain).step()
	if len(r.Moves) != 0 || !slices.ContainsFunc(r.Waiting,
		func(w Wait) bool { return w.Backend == "b5" && w.Why == EpochsUsed }) {
		t.Errorf("with no bank left: %+v, want no moves, and slots waiting", r)
	}
	// One bank is free again when the last of its slots has settled.
	refs := moving(2)
	w.st, _ = Settle(w.st, refs[1:])
	if r := w.step(); len(r.Moves) != 0 {
		t.Errorf("with one slot of bank 2 moving: %+v", r)
	}
	epoch := w.st.NextEpoch
	w.st, _ = Settle(w.st, refs[:1])
	if r := w.step(); len(r.Moves) == 0 {
		t.Errorf("with bank 2 free: %+v, want moves", r)
	}
	for i, s := range w.st.Pools["web"].Slots {
		if s.Bank == 2 && s.Epoch != epoch {
			t.Errorf("slot %d is in bank 2 with epoch %d, want the new one, %d", i, s.Epoch, epoch)
		}
	}
}

func TestSettleIgnoresWhatIsNoMove(t *testing.T) {
	w := newWorld(t, pool(64, equal(2)...))
	w.step()
	w.admin("b1", Drain).step()
	p := w.st.Pools["web"]
	slot := uint16(slices.IndexFunc(p.Slots, func(s rows.Slot) bool { return s.Old == 1 }))
	settled := uint16(slices.IndexFunc(p.Slots, func(s rows.Slot) bool { return s.Old == 0 }))
	st, n := Settle(w.st, []SlotRef{
		{9, 0, slot, 1}, {p.ID, 1, slot, 1}, {p.ID, 0, 64, 1}, {p.ID, 0, slot, 2}, {p.ID, 0, slot, 0},
		{p.ID, 0, settled, 0},
	})
	if n != 0 || st.Pools["web"] != p {
		t.Errorf("Settle ended %d moves that are none", n)
	}
	st, n = Settle(w.st, []SlotRef{{p.ID, 0, slot, 1}, {p.ID, 0, slot, 1}})
	if n != 1 || st.Pools["web"].Slots[slot] != (rows.Slot{Backend: 2}) || p.Slots[slot].Old != 1 {
		t.Errorf("Settle ended %d moves: slot %+v, was %+v", n, st.Pools["web"].Slots[slot], p.Slots[slot])
	}
}

func TestResize(t *testing.T) {
	w := newWorld(t, pool(64, equal(3)...))
	w.step()
	w.admin("b1", Drain).step()
	before := w.st.Pools["web"].Slots
	w.in.Intent.Pools[0].Slots = 256
	wantProgress(t, Progress{}, w.step())
	p := w.st.Pools["web"]
	if p.Generation != 1 || len(p.Slots) != 256 {
		t.Fatalf("generation %d with %d slots, want 1 and 256", p.Generation, len(p.Slots))
	}
	for i, slot := range p.Slots {
		if slot != before[i%64] {
			t.Fatalf("slot %d is %+v, slot %d of the smaller table was %+v", i, slot, i%64, before[i%64])
		}
	}
	w.in.Intent.Pools[0].Slots = 64
	if r := w.step(); r.Rehashed != 0 {
		t.Errorf("%d slots rehashed on the way back, want none", r.Rehashed)
	}
	if p := w.st.Pools["web"]; p.Generation != 2 || !slices.Equal(p.Slots, before) {
		t.Errorf("generation %d; the table is another one", p.Generation)
	}
	w.in.Intent.Pools[0].Slots = 32
	if r := w.step(); r.Rehashed == 0 {
		t.Error("half the slots went and none was rehashed")
	}
}

func TestPoolsComeAndGo(t *testing.T) {
	a, b := pool(64, 1), pool(64, 1)
	b.Name = "other"
	w := newWorld(t, a, b)
	w.step()
	w.in.Intent = intent(b)
	w.step()
	w.in.Intent = intent(a, b)
	w.step()
	got := map[string]rows.PoolID{"web": w.st.Pools["web"].ID, "other": w.st.Pools["other"].ID}
	if diff := cmp.Diff(map[string]rows.PoolID{"web": 3, "other": 2}, got); diff != "" {
		t.Errorf("pool ids (-want +got):\n%s", diff)
	}
	wantMembers := []Member{{ID: 3, Name: "b1", MAC: backend(1, 1).MAC, Port: 2, Address: "10.0.0.1", Weight: 1}}
	if diff := cmp.Diff(wantMembers, w.st.Pools["web"].Members); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
}

// drive takes a world through random steps. Weights, drains, verdicts, backends and the number of
// slots change; what must always hold is checked after each.
func drive(t *testing.T, next func(n int) int, steps int) {
	weights := func() int { return [...]int{1, 10, 100, 100, 100, 1000}[next(6)] }
	slots := 1 << (2 + next(7))
	names := 1 + next(12)
	p := pool(slots)
	p.Grace = time.Duration(next(2)) * time.Second
	p.AllDown = [...]config.AllDown{config.Drop, config.Forward}[next(2)]
	p.Failing = [...]config.FailingAs{config.FailingDrain, config.FailingDown}[next(2)]
	w := newWorld(t, p)
	w.in.banks = 1 + next(banks)
	cfg := &w.in.Intent.Pools[0]
	for i := range names {
		cfg.Backends = append(cfg.Backends, backend(i+1, weights()))
	}
	lastEpoch := make(map[int]uint32) // of each slot
	waiting, held := false, false
	for range steps {
		n := 1 + next(names)
		key := BackendKey{"web", fmt.Sprintf("b%d", n)}
		at := slices.IndexFunc(cfg.Backends, func(b config.Backend) bool { return b.Name == key.Backend })
		cfg.Backends = slices.Clone(cfg.Backends)
		event := ""
		w.in.Over = nil
		switch x := next(11); {
		case x < 2:
			w.in.Health[key], event = Down, "death"
			if next(4) == 0 {
				w.in.Health[key], event = Failing, "failing"
			}
		case x < 4:
			w.in.Health[key], event = Up, "return"
		case x < 5:
			w.in.Admin[key], event = Drain, "drain"
		case x < 6:
			w.in.Admin[key], event = Active, "undrain"
		case x < 7 && at >= 0:
			cfg.Backends[at].Weight, event = weights(), "weight"
		case x < 8 && at >= 0:
			cfg.Backends, event = slices.Delete(cfg.Backends, at, at+1), "remove"
		case x < 8:
			cfg.Backends, event = append(cfg.Backends, backend(n, weights())), "add"
		case x < 9:
			var refs []SlotRef
			p := w.st.Pools["web"]
			if p == nil {
				continue
			}
			for i, s := range p.Slots {
				if s.Old != 0 && s.Backend != 0 && next(2) == 0 {
					refs = append(refs, SlotRef{p.ID, p.Generation, uint16(i), s.Old})
				}
			}
			w.st, _ = Settle(w.st, refs)
			event = "settle"
		case x < 10:
			w.in.Over, event = map[BackendKey]bool{key: true}, "the end of a grace"
		default:
			held, event = !held, "hold"
			w.in.Hold = map[string]bool{"web": held}
		}
		was := w.st
		quiet := false // every slot is where it should be, and settled
		if c, ok := was.Census("web"); ok {
			quiet = !waiting && c.Moving == 0
		}
		var copied []rows.Slot
		if p := was.Pools["web"]; p != nil {
			copied = slices.Clone(p.Slots)
		}
		progress := w.step()
		now := w.st.Pools["web"]
		if p := was.Pools["web"]; p != nil && !slices.Equal(copied, p.Slots) {
			t.Fatalf("%s: Step modified the state it was given", event)
		}
		waiting = len(progress.Waiting) > 0
		dead := func(id rows.BackendID) bool {
			key, _ := was.Backend(id)
			return w.in.Health[key] == Down || w.in.Health[key] == Failing
		}
		for i, slot := range now.Slots {
			if copied == nil {
				break
			}
			before := copied[i]
			if before == slot {
				continue
			}
			if slot.Epoch != before.Epoch && slot.Epoch != 0 {
				if slot.Epoch <= lastEpoch[i] {
					t.Fatalf("%s: slot %d enters epoch %d and was in %d", event, i, slot.Epoch, lastEpoch[i])
				}
				former, _ := was.Backend(before.Old)
				if slot.Old == before.Backend && (before.Epoch == 0 || w.in.Over[former]) && dead(before.Backend) {
					lastEpoch[i] = slot.Epoch
					continue
				}
				if dead(before.Backend) && slot.Old == before.Old && slot.Old != 0 && !held {
					lastEpoch[i] = slot.Epoch // it settled where its living flows are, and moves on
					continue
				}
				if slot.Old != before.Backend || before.Old != 0 && !dead(before.Old) || held {
					t.Fatalf("%s: slot %d began to move from %+v to %+v (hold %v)", event, i, before, slot, held)
				}
				lastEpoch[i] = slot.Epoch
				continue
			}
			if before.Epoch == slot.Epoch && before.Back != slot.Back && slot.Backend == before.Old &&
				slot.Old == before.Backend {
				continue // it turns, and everybody keeps the flows that he has
			}
			if before.Backend == 0 && slot == (rows.Slot{Backend: before.Old}) {
				continue // it lives after all
			}
			if key, _ := was.Backend(before.Old); w.in.Over[key] && slot == (rows.Slot{Backend: before.Backend}) {
				continue // its grace is over
			}
			// Everything else is because somebody is dead.
			if !(before.Backend == 0 || dead(before.Backend) || before.Old != 0 && dead(before.Old)) {
				t.Fatalf("%s: slot %d went from %+v to %+v, and nobody is dead", event, i, before, slot)
			}
		}
		shares := exact(w)
		if event == "death" && quiet {
			for _, m := range progress.Moves {
				if m.From != "" && w.in.Health[BackendKey{"web", m.From}] != Down {
					t.Fatalf("%s moved %+v", event, m)
				}
			}
		}
		if len(progress.Waiting) == 0 && shares != nil {
			if diff := cmp.Diff(shares, w.slots(), cmp.FilterPath(func(p cmp.Path) bool {
				k, ok := p.Last().(cmp.MapIndex)
				return ok && (k.Key().String() == "" || k.Key().String()[0] == '-')
			}, cmp.Ignore())); diff != "" {
				t.Fatalf("%s: nothing waits, and the slots are not the shares (-want +got):\n%s", event, diff)
			}
		}
	}
}

// exact returns the shares of the active members by the definition; nil when nobody is active.
func exact(w *world) map[string]int {
	m := make(map[string]int)
	var by []weighted
	var names []string
	p := w.st.Pools["web"]
	for _, b := range p.Members {
		key := BackendKey{"web", b.Name}
		m[b.Name] = 0
		if !b.Removed && w.in.Health[key] != Down && w.in.Health[key] != Failing && w.in.Admin[key] != Drain {
			by = append(by, weighted{b.ID, b.Weight})
			names = append(names, b.Name)
		}
	}
	if len(by) == 0 {
		return nil
	}
	given := make([]int, len(by))
	for range p.Slots {
		best := 0
		for i := range by {
			if before(by[i], given[i], by[best], given[best]) < 0 {
				best = i
			}
		}
		given[best]++
	}
	for i, n := range given {
		m[names[i]] = n
	}
	return m
}

func TestRandomSequences(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		drive(t, r.IntN, 60)
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
}

func FuzzStep(f *testing.F) {
	f.Add([]byte("a drain, a death and a return"))
	f.Fuzz(func(t *testing.T, data []byte) {
		next := func(n int) int {
			if len(data) < 2 {
				return 0
			}
			x := binary.BigEndian.Uint16(data)
			data = data[2:]
			return int(x) % n
		}
		drive(t, next, min(len(data)/6, 60))
	})
}
