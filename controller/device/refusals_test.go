package device

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sluicelb/sluice/controller/rows"
)

// Whatever a switch refuses, no row that it holds leads to one that is not there, and no old path changes under a slot
// that looks at it, after any write; and what it refuses no more is there in the end.
func TestRefusalsLeaveNothingDangling(t *testing.T) {
	for seed := range uint64(2000) {
		rnd := rand.New(rand.NewPCG(seed, 6))
		h, f := newHeld(), newFailures()
		for step := range 8 {
			want := randomTables(rnd)
			for pass := range 4 {
				refuse := rnd.IntN(2) == 0
				if !refuse || rnd.IntN(2) == 0 {
					f.retry()
				}
				if pass == 3 {
					refuse = false
					f.retry()
				}
				if err := writePass(rnd, f, h, want, refuse); err != nil {
					t.Fatalf("seed %d step %d pass %d: %v", seed, step, pass, err)
				}
			}
			for range 3 { // what waited for others
				f.retry()
				if err := writePass(rnd, f, h, want, false); err != nil {
					t.Fatalf("seed %d step %d: %v", seed, step, err)
				}
			}
			if left := rows.Diff(h.Tables, want); len(left) > 0 {
				t.Fatalf("seed %d step %d: not written: %v", seed, step, left)
			}
		}
	}
}

// writePass writes as pass does, a change at a time.
func writePass(rnd *rand.Rand, f *failures, h *held, want rows.Tables, refuse bool) error {
	batches := rows.Diff(h.Tables, want)
	f.begin(batches)
	for _, batch := range batches {
		todo := f.ready(batch, &h.Tables)
		for _, i := range rnd.Perm(len(todo)) {
			ch := todo[i]
			if refuse && rnd.IntN(4) == 0 {
				f.add(ch, &h.Tables, codes.ResourceExhausted, "full")
				continue
			}
			h.apply(ch)
			f.done(ch.Row)
			if err := dangling(h); err != nil {
				return fmt.Errorf("after %v: %w", ch, err)
			}
		}
	}
	return nil
}

// dangling returns an error when a row leads to one that is not there.
func dangling(h *held) error {
	exists := func(id rows.BackendID) bool { _, ok := h.Backend[id]; return ok || id == 0 }
	for table, slots := range h.Slots {
		for i, s := range slots {
			if !exists(s.Backend) || !exists(s.Old) {
				return fmt.Errorf("%v slot %d leads to a backend that is not there: %+v", table, i, s)
			}
		}
	}
	for flow, pin := range h.Pins {
		if !exists(pin.Backend) {
			return fmt.Errorf("flow %v is pinned to a backend that is not there: %+v", flow, pin)
		}
	}
	for key, to := range h.VIP {
		for i := range int(to.SlotMask) + 1 {
			s := rows.Slot{}
			if all := h.Slots[to.Table()]; i < len(all) {
				s = all[i]
			}
			if s == (rows.Slot{}) {
				return fmt.Errorf("vip %v leads to %v, which lacks slot %d", key, to.Table(), i)
			}
		}
	}
	return nil
}

// randomTables is what a plan may want of two VIPs: pools with slots that are settled, moving or left.
func randomTables(rnd *rand.Rand) rows.Tables {
	t := rows.NewTables()
	backend := func(not rows.BackendID) rows.BackendID {
		id := rows.BackendID(1 + rnd.IntN(5))
		if id == not {
			id = id%5 + 1
		}
		t.Backend[id] = rows.Forward{Port: uint16(id)}
		return id
	}
	for pool := range rows.PoolID(2) {
		table := rows.SlotTable{Pool: pool + 1, Generation: uint8(rnd.IntN(2))}
		slots := make([]rows.Slot, 2<<rnd.IntN(2))
		for i := range slots {
			s := rows.Slot{Backend: backend(0)}
			if rnd.IntN(2) == 0 {
				s.Epoch, s.Old = uint32(1+rnd.IntN(3)), backend(s.Backend)
			}
			slots[i] = s
		}
		for range rnd.IntN(4) {
			t.Pins[rows.Flow(rnd.IntN(6))] = rows.Pin{Backend: backend(0), Idle: time.Minute}
		}
		t.Slots[table] = slots
		if rnd.IntN(4) > 0 {
			address := netip.AddrFrom4([4]byte{10, 0, 0, byte(100 + pool)})
			t.VIPAddress[address], t.ARPGuard[address] = struct{}{}, struct{}{}
			t.VIP[rows.VIPKey{Address: address, Protocol: 6, Port: 80}] = rows.ToPool{Pool: table.Pool,
				Generation: table.Generation,
				SlotMask:   uint16(len(slots) - 1)}
		}
	}
	return t
}
