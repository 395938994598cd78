package device

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc/codes"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/rows"
)

func TestHeldTakesEveryChange(t *testing.T) {
	h := newHeld()
	for _, row := range oneOfEach {
		h.apply(rows.Change{Op: rows.Insert, Row: row})
	}
	h.apply(rows.Change{Op: rows.Insert, Row: rows.FloodRow{Ports: rows.Ports([]uint16{1, 2})}})
	if h.rows != len(oneOfEach)+1 {
		t.Errorf("%d rows, want %d", h.rows, len(oneOfEach)+1)
	}
	if s := h.Slots[slots1]; s[7].Old != 2 || s[0].Backend != 1 {
		t.Errorf("slots of pool 1: %+v", s)
	}
	last := rows.Slot{Backend: 1 << 31, Old: 1, Bank: 3, Epoch: 1<<32 - 1}
	if s := h.Slots[rows.SlotTable{Pool: 256, Generation: 255}]; s[65535] != last {
		t.Errorf("the last slot: %+v", s[65535])
	}
	if want := (rows.Pin{Backend: 2, Idle: time.Minute}); h.Pins[1<<64-1] != want || h.moving != 2 {
		t.Errorf("pins %v, %d slots move", h.Pins, h.moving)
	}
	settled := rows.SlotRow{SlotTable: slots1, Number: 7, Slot: rows.Slot{Backend: 1}}
	if h.apply(rows.Change{Op: rows.Modify, Row: settled}); h.moving != 1 {
		t.Errorf("%d slots move after one has settled, want 1", h.moving)
	}
	for _, row := range append(oneOfEach, rows.FloodRow{}) {
		h.apply(rows.Change{Op: rows.Delete, Row: row})
	}
	if diff := cmp.Diff(newHeld(), h, cmp.AllowUnexported(held{}), cmpopts.EquateComparable()); diff != "" {
		t.Errorf("after deleting all (-want +got):\n%s", diff)
	}
}

func TestFailuresBlockWhatDependsOnThem(t *testing.T) {
	backend := rows.BackendRow{ID: 1}
	slot := rows.SlotRow{SlotTable: slots1, Number: 4, Slot: rows.Slot{Backend: 1}}
	moving := rows.SlotRow{SlotTable: slots1, Number: 4, Slot: rows.Slot{Backend: 2, Old: 1, Epoch: 1}}
	pin := rows.PinRow{Flow: 9, Pin: rows.Pin{Backend: 1}}
	vip := rows.VIPRow{ToPool: rows.ToPool{Pool: 1}}
	other := rows.VIPRow{ToPool: rows.ToPool{Pool: 2}}
	ins := func(r rows.Row) rows.Change { return rows.Change{Op: rows.Insert, Row: r} }
	mod := func(r rows.Row) rows.Change { return rows.Change{Op: rows.Modify, Row: r} }
	del := func(r rows.Row) rows.Change { return rows.Change{Op: rows.Delete, Row: r} }
	tests := []struct {
		name    string
		held    []rows.Row
		refused rows.Change
		then    rows.Change
		blocked bool
	}{
		{"slot to a backend that is not there", nil, ins(backend), ins(slot), true},
		{"pin to a backend that is not there", nil, ins(backend), ins(pin), true},
		{"move from a backend that is not there", nil, ins(backend), mod(moving), true},
		{"vip before its slots", nil, ins(slot), ins(vip), true},
		{"vip of slots that are there, one of them as it was", []rows.Row{slot}, mod(moving), ins(vip), false},
		{"vip of another pool", nil, ins(slot), ins(other), false},
		{"vip away", []rows.Row{slot}, del(slot), del(vip), false},
		{"backend gone before a path to it", []rows.Row{slot}, mod(moving), del(backend), true},
		{"backend gone before its old path", []rows.Row{moving}, mod(slot), del(backend), true},
		{"backend gone before a flow that is pinned to it", []rows.Row{pin}, del(pin), del(backend), true},
		{"backend changed", []rows.Row{slot}, mod(slot), mod(backend), false},
		{"backend gone", nil, ins(vip), del(backend), false},
		{"slot gone before a VIP that leads to it", []rows.Row{vip}, mod(other), del(slot), true},
		{"slot of another pool gone", []rows.Row{other}, mod(vip), del(slot), false},
	}
	for _, test := range tests {
		f, held := newFailures(), rows.NewTables()
		for _, row := range test.held {
			held.Put(row)
		}
		begin := func() { f.begin([]rows.Batch{{test.refused}, {test.then}}) }
		begin()
		f.add(test.refused, &held, codes.ResourceExhausted, "full")
		if got := len(f.ready(rows.Batch{test.then}, &held)) == 0; got != test.blocked {
			t.Errorf("%s: blocked %v, want %v", test.name, got, test.blocked)
		}
		f.done(test.refused.Row)
		begin()
		if len(f.ready(rows.Batch{test.then}, &held)) == 0 {
			t.Errorf("%s: still blocked after the other was done", test.name)
		}
		if len(f.rows)+len(f.refused) != 0 {
			t.Errorf("%s: left over: %+v", test.name, f)
		}
	}
}

// What needs a refused row and waits for it lets others wait, and so on.
func TestFailuresBlockWhatDependsOnWhatWaits(t *testing.T) {
	backend := rows.BackendRow{ID: 3}
	slot := rows.SlotRow{SlotTable: slots1, Number: 4, Slot: rows.Slot{Backend: 3}}
	vip := rows.VIPRow{ToPool: rows.ToPool{Pool: 1}}
	for _, test := range []struct {
		name        string
		waits, then rows.Change
		blocked     bool
	}{
		{"vip before a slot to a backend that is not there", rows.Change{Op: rows.Insert, Row: slot},
			rows.Change{Op: rows.Modify, Row: vip}, true},
		{"vip of slots that are there, one of them as it was", rows.Change{Op: rows.Modify, Row: slot},
			rows.Change{Op: rows.Insert, Row: vip}, false},
	} {
		f, held := newFailures(), rows.NewTables()
		refused := rows.Change{Op: rows.Insert, Row: backend}
		pass := func() int {
			f.begin([]rows.Batch{{refused}, {test.waits}, {test.then}})
			f.ready(rows.Batch{refused}, &held)
			f.ready(rows.Batch{test.waits}, &held)
			return len(f.ready(rows.Batch{test.then}, &held))
		}
		f.begin(nil)
		f.add(refused, &held, codes.ResourceExhausted, "full")
		if got := pass() == 0; got != test.blocked {
			t.Errorf("%s: blocked %v, want %v", test.name, got, test.blocked)
		}
		f.done(backend)
		if pass() == 0 {
			t.Errorf("%s: still blocked after the backend was written", test.name)
		}
	}
}

// What stays for a refused row keeps what it needs itself, and so on.
func TestFailuresKeepAllThatIsInUse(t *testing.T) {
	vip := rows.VIPRow{ToPool: rows.ToPool{Pool: 1}}
	next := rows.VIPRow{ToPool: rows.ToPool{Pool: 1, Generation: 1}}
	slot := rows.SlotRow{SlotTable: slots1, Slot: rows.Slot{Backend: 1}}
	moving := rows.SlotRow{SlotTable: slots1, Number: 1, Slot: rows.Slot{Backend: 2, Old: 3, Epoch: 9}}
	held := rows.NewTables()
	gone := make(map[string]rows.Batch)
	for _, row := range []rows.Row{vip, slot, moving, rows.BackendRow{ID: 1}, rows.BackendRow{ID: 2},
		rows.BackendRow{ID: 3}, rows.BackendRow{ID: 4}} {
		held.Put(row)
		gone[row.Kind().Table.Name] = append(gone[row.Kind().Table.Name], rows.Change{Op: rows.Delete, Row: row})
	}
	f := newFailures()
	change := rows.Change{Op: rows.Modify, Row: next}
	f.begin([]rows.Batch{{change}})
	f.add(change, &held, codes.ResourceExhausted, "full")
	var got []string
	for _, table := range []string{"slot", "backend"} {
		for _, ch := range f.ready(gone[table], &held) {
			got = append(got, ch.String())
		}
	}
	if diff := cmp.Diff([]string{"delete backend 4: forward_to_backend(00:00:00:00:00:00, port 0)"}, got); diff != "" {
		t.Errorf("what goes (-want +got):\n%s", diff)
	}
}

func TestRefusedChangesWaitForTheirTurn(t *testing.T) {
	f, held := newFailures(), rows.NewTables()
	f.begin(nil)
	a := rows.Change{Op: rows.Insert, Row: rows.FloodRow{Ports: rows.Ports([]uint16{1})}}
	b := rows.Change{Op: rows.Insert, Row: rows.FloodRow{Ports: rows.Ports([]uint16{1, 2})}}
	f.add(a, &held, codes.Unknown, "no")
	f.add(a, &held, codes.Unknown, "no")
	if got := f.ready(rows.Batch{a}, &held); len(got) != 0 {
		t.Errorf("tried again at once: %v", got)
	}
	if got := f.ready(rows.Batch{b}, &held); len(got) != 1 {
		t.Error("another content of the row has to wait")
	}
	f.retry()
	if got := f.ready(rows.Batch{a}, &held); len(got) != 1 {
		t.Error("not tried when due")
	}
	want := []Failure{{Change: a.String(), Code: codes.Unknown, Message: "no", Attempts: 2}}
	if diff := cmp.Diff(want, f.some(5)); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	f.begin(nil)
	if len(f.rows) != 0 {
		t.Error("a change nobody wants is kept")
	}
}

func TestOldestVIPsFirst(t *testing.T) {
	row := func(port uint16) rows.Change {
		return rows.Change{Op: rows.Insert, Row: rows.VIPRow{VIPKey: key(port)}}
	}
	batch := rows.Batch{row(1), row(2), row(3)}
	got := oldestFirst(batch, map[rows.VIPKey]int64{key(1): 9, key(2): 4, key(3): 4})
	if diff := cmp.Diff(rows.Batch{row(2), row(3), row(1)}, got, cmpopts.EquateComparable(rows.VIPRow{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if batch[0] != row(1) {
		t.Error("the batch it was given is changed")
	}
}

func key(port uint16) rows.VIPKey {
	return rows.VIPKey{Address: vip1, Protocol: config.TCP, Port: port}
}
