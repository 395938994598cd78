package device

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc/codes"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
)

func TestHeldTakesEveryChange(t *testing.T) {
	h := newHeld()
	now := time.Now()
	for _, row := range rows {
		h.apply(plan.Change{Op: plan.Insert, Row: row}, now)
	}
	h.apply(plan.Change{Op: plan.Insert, Row: plan.FloodRow{Ports: []uint16{1, 2}}}, now)
	if h.rows != len(rows)+1 {
		t.Errorf("%d rows, want %d", h.rows, len(rows)+1)
	}
	if s := h.Slots[slots1]; s.OldIdle != time.Minute || s.Rows[7].Old != 2 || s.Rows[0].Backend != 1 {
		t.Errorf("slots of pool 1: %+v", s)
	}
	if s := h.Slots[plan.SlotTable{Pool: 256, Generation: 255}]; s.Rows[65535] != (plan.Slot{Backend: 1 << 31, Bank: 3, Epoch: 1<<32 - 1}) {
		t.Errorf("the last slot: %+v", s.Rows[65535])
	}
	for _, row := range append(rows, plan.FloodRow{}) {
		h.apply(plan.Change{Op: plan.Delete, Row: row}, now)
	}
	if diff := cmp.Diff(newHeld(), h, cmp.AllowUnexported(held{}), cmpopts.EquateComparable()); diff != "" {
		t.Errorf("after deleting all (-want +got):\n%s", diff)
	}
}

func TestHeldKnowsIdleTimeouts(t *testing.T) {
	h := newHeld()
	row := func(slot uint16, idle time.Duration) plan.SlotOldRow {
		return plan.SlotOldRow{SlotTable: slots1, Slot: slot, Backend: 1, Idle: idle}
	}
	steps := []struct {
		ch   plan.Change
		want time.Duration
	}{
		{plan.Change{Op: plan.Insert, Row: row(1, time.Second)}, time.Second},
		{plan.Change{Op: plan.Insert, Row: row(2, time.Second)}, time.Second},
		{plan.Change{Op: plan.Modify, Row: row(2, time.Minute)}, 0},
		{plan.Change{Op: plan.Modify, Row: row(1, time.Minute)}, time.Minute},
		{plan.Change{Op: plan.Delete, Row: row(1, 0)}, time.Minute},
	}
	for _, s := range steps {
		h.apply(s.ch, time.Now())
		if got := h.Slots[slots1].OldIdle; got != s.want {
			t.Errorf("after %v: %v, want %v", s.ch, got, s.want)
		}
	}
}

// An idle notification counts when both rows of the move have been there for the whole timeout.
func TestIdleRow(t *testing.T) {
	h := newHeld()
	key := oldKey{slots1, 4}
	start := time.Now()
	at := func(d time.Duration) bool { _, ok := h.idleRow(key, start.Add(d)); return ok }
	if at(0) {
		t.Error("a row that is not there is idle")
	}
	h.apply(plan.Change{Op: plan.Insert, Row: plan.SlotOldRow{SlotTable: slots1, Slot: 4, Backend: 9, Idle: time.Second}}, start)
	if at(time.Hour) {
		t.Error("idle before the slot row is there")
	}
	h.apply(plan.Change{Op: plan.Modify, Row: plan.SlotRow{SlotTable: slots1, Slot: 4, Backend: 1, Epoch: 5}}, start.Add(time.Second))
	if at(1900 * time.Millisecond) {
		t.Error("idle 900 ms after the slot row came")
	}
	ref, ok := h.idleRow(key, start.Add(2*time.Second))
	if want := (plan.SlotRef{Pool: 1, Slot: 4, Old: 9}); !ok || ref != want {
		t.Errorf("got %v %v, want %v", ref, ok, want)
	}

	// A VIP that comes to the slots late, or that still leads to another generation, sends its old
	// flows elsewhere meanwhile.
	vip := func(op plan.Op, port uint16, generation uint8) plan.Change {
		return plan.Change{Op: op, Row: plan.VIPRow{VIPKey: plan.VIPKey{Port: port}, ToPool: plan.ToPool{Pool: slots1.Pool, Generation: generation}}}
	}
	h.apply(vip(plan.Insert, 80, slots1.Generation), start.Add(3*time.Second))
	if at(3900*time.Millisecond) || !at(4*time.Second) {
		t.Error("idle counts from 1 s after the VIP came, not before and not later")
	}
	h.apply(vip(plan.Insert, 81, slots1.Generation+1), start)
	if at(time.Hour) {
		t.Error("idle while a VIP leads to another generation")
	}
	h.apply(vip(plan.Modify, 81, slots1.Generation), start.Add(time.Hour))
	if at(time.Hour) || !at(time.Hour+time.Second) {
		t.Error("idle counts from 1 s after the last VIP came, not before and not later")
	}
}

func TestFailuresBlockWhatDependsOnThem(t *testing.T) {
	backend := plan.BackendRow{ID: 1}
	slot := plan.SlotRow{SlotTable: slots1, Slot: 4, Backend: 1}
	moving := plan.SlotRow{SlotTable: slots1, Slot: 4, Backend: 2, Epoch: 1}
	old := plan.SlotOldRow{SlotTable: slots1, Slot: 4, Backend: 1}
	vip := plan.VIPRow{ToPool: plan.ToPool{Pool: 1}}
	other := plan.VIPRow{ToPool: plan.ToPool{Pool: 2}}
	ins := func(r plan.Row) plan.Change { return plan.Change{Op: plan.Insert, Row: r} }
	mod := func(r plan.Row) plan.Change { return plan.Change{Op: plan.Modify, Row: r} }
	del := func(r plan.Row) plan.Change { return plan.Change{Op: plan.Delete, Row: r} }
	tests := []struct {
		name    string
		refused plan.Change
		then    plan.Change
		blocked bool
	}{
		{"slot to a backend that is not there", ins(backend), ins(slot), true},
		{"old path to a backend that is not there", ins(backend), ins(old), true},
		{"slot to another backend", ins(backend), mod(moving), false},
		{"move without its old path", ins(old), mod(moving), true},
		{"old path gone before the slot has settled", mod(slot), del(old), true},
		{"vip before its slots", ins(slot), ins(vip), true},
		{"vip of another pool", ins(slot), ins(other), false},
		{"vip away", del(slot), del(vip), false},
		{"backend gone before a path to it", mod(slot), del(backend), true},
		{"backend changed", mod(slot), mod(backend), false},
		{"backend gone", ins(vip), del(backend), false},
	}
	for _, test := range tests {
		f := newFailures()
		f.add(test.refused, codes.ResourceExhausted, "full")
		if got := len(f.ready(plan.Batch{test.then})) == 0; got != test.blocked {
			t.Errorf("%s: blocked %v, want %v", test.name, got, test.blocked)
		}
		f.done(test.refused.Row)
		if len(f.ready(plan.Batch{test.then})) == 0 {
			t.Errorf("%s: still blocked after the other was done", test.name)
		}
		if len(f.rows)+len(f.slots)+f.paths != 0 {
			t.Errorf("%s: left over: %+v", test.name, f)
		}
	}
}

func TestRefusedChangesWaitForTheirTurn(t *testing.T) {
	f := newFailures()
	a := plan.Change{Op: plan.Insert, Row: plan.FloodRow{Ports: []uint16{1}}}
	b := plan.Change{Op: plan.Insert, Row: plan.FloodRow{Ports: []uint16{1, 2}}}
	f.add(a, codes.Unknown, "no")
	f.add(a, codes.Unknown, "no")
	if got := f.ready(plan.Batch{a}); len(got) != 0 {
		t.Errorf("tried again at once: %v", got)
	}
	if got := f.ready(plan.Batch{b}); len(got) != 1 {
		t.Error("another content of the row has to wait")
	}
	f.retry()
	if got := f.ready(plan.Batch{a}); len(got) != 1 {
		t.Error("not tried when due")
	}
	want := []Failure{{Change: a.String(), Code: codes.Unknown, Message: "no", Attempts: 2}}
	if diff := cmp.Diff(want, f.report(5)); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	f.keep(nil)
	if len(f.rows) != 0 {
		t.Error("a change nobody wants is kept")
	}
}

func TestOldestVIPsFirst(t *testing.T) {
	row := func(port uint16) plan.Change {
		return plan.Change{Op: plan.Insert, Row: plan.VIPRow{VIPKey: key(port)}}
	}
	batch := plan.Batch{row(1), row(2), row(3)}
	got := oldestFirst(batch, map[plan.VIPKey]int64{key(1): 9, key(2): 4, key(3): 4})
	if diff := cmp.Diff(plan.Batch{row(2), row(3), row(1)}, got, cmpopts.EquateComparable(plan.VIPRow{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if batch[0] != row(1) {
		t.Error("the batch it was given is changed")
	}
}

func key(port uint16) plan.VIPKey {
	return plan.VIPKey{Address: vip1, Protocol: config.TCP, Port: port}
}
