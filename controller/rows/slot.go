package rows

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// SlotRow is to_backend(Backend), or move(Backend, Bank, Epoch) when Epoch is not 0, or leave(Backend,
// Grace, Bank, Epoch) when Grace is not 0 either, or with Back back(Backend, Grace, Bank, Epoch).
type SlotRow struct {
	SlotTable
	Slot    uint16
	Backend BackendID
	Epoch   uint32
	Bank    uint8
	Grace   BackendID
	Back    bool
}

// slotRef is the Ref of a SlotRow.
type slotRef struct {
	SlotTable
	slot uint16
}

func (r slotRef) Whole() Ref { return r.SlotTable }

var (
	toBackend = &Action{"to_backend", []string{"backend_id"}}
	move      = &Action{"move", []string{"backend_id", "bank", "epoch"}}
	leave     = &Action{"leave", []string{"backend_id", "old_id", "bank", "epoch"}}
	back      = &Action{"back", []string{"backend_id", "old_id", "bank", "epoch"}}

	slot = &Table{
		Name: "slot", Keys: []string{"pool_id", "generation", "slot"}, Actions: []*Action{toBackend, move, leave, back},
		decode: decodeSlot, diff: diffSlots,
	}

	// Moves that end come before those that may take over their bank.
	slotSettled = kind(slot, backend)
	// New flows of backends that are down must not wait for the moves of others.
	slotLeaving = kind(slot, slotSettled)
	slotMoving  = kind(slot, slotOld)
)

func decodeSlot(e Entry) (Row, bool) {
	r := SlotRow{SlotTable: slotTable(e), Slot: uint16(e.Key[2].Lo), Backend: BackendID(e.Params[0].Lo)}
	switch p := e.Params; e.Do {
	case toBackend:
		return r, r.Backend != 0
	case move:
		r.Bank, r.Epoch = uint8(p[1].Lo), uint32(p[2].Lo)
		return r, r.Backend != 0 && r.Epoch != 0
	default:
		r.Grace, r.Bank, r.Epoch, r.Back = BackendID(p[1].Lo), uint8(p[2].Lo), uint32(p[3].Lo), e.Do == back
		return r, r.Epoch != 0 && (r.Back && r.Backend != 0 || !r.Back && r.Grace != 0)
	}
}

func slotTable(e Entry) SlotTable { return SlotTable{PoolID(e.Key[0].Lo), uint8(e.Key[1].Lo)} }

func (r SlotRow) Kind() *Kind {
	switch {
	case r.Grace != 0:
		return slotLeaving
	case r.Epoch != 0:
		return slotMoving
	}
	return slotSettled
}

func (r SlotRow) Ref() Ref { return slotRef{r.SlotTable, r.Slot} }

// Needs has the old path where the slot has one: without it old flows would go to the new backend.
func (r SlotRow) Needs() []Ref {
	if r.Kind() == slotMoving {
		return []Ref{r.Backend, oldRef{r.SlotTable, r.Slot}}
	}
	return []Ref{r.Backend, r.Grace}
}

func (r SlotRow) Entry() Entry {
	key := keys(number(r.Pool), number(r.Generation), number(r.Slot))
	switch {
	case r.Back:
		return entry(back, key, number(r.Backend), number(r.Grace), number(r.Bank), number(r.Epoch))
	case r.Grace != 0:
		return entry(leave, key, number(r.Backend), number(r.Grace), number(r.Bank), number(r.Epoch))
	case r.Epoch != 0:
		return entry(move, key, number(r.Backend), number(r.Bank), number(r.Epoch))
	}
	return entry(toBackend, key, number(r.Backend))
}

func (r SlotRow) String() string {
	switch at := fmt.Sprintf("slot %s slot %d", r.SlotTable, r.Slot); {
	case r.Epoch == 0:
		return fmt.Sprintf("%s: to_backend(%d)", at, r.Backend)
	case r.Back:
		return fmt.Sprintf("%s: back(%d, old %d, bank %d, epoch %d)", at, r.Backend, r.Grace, r.Bank, r.Epoch)
	case r.Grace != 0:
		return fmt.Sprintf("%s: leave(%d, old %d, bank %d, epoch %d)", at, r.Backend, r.Grace, r.Bank, r.Epoch)
	default:
		return fmt.Sprintf("%s: move(%d, bank %d, epoch %d)", at, r.Backend, r.Bank, r.Epoch)
	}
}

func (r SlotRow) Held(t *Tables) (Row, bool) {
	s, ok := t.slot(r.SlotTable, r.Slot)
	if s.Old = 0; !ok || s == (Slot{}) {
		return nil, false
	}
	return slotRow(r.SlotTable, r.Slot, s), true
}

func (r SlotRow) set(t *Tables, gone bool) {
	if gone {
		r = SlotRow{SlotTable: r.SlotTable, Slot: r.Slot}
	}
	s := t.makeSlot(r.SlotTable, r.Slot)
	*s = Slot{Backend: r.Backend, Old: s.Old, Grace: r.Grace, Epoch: r.Epoch, Bank: r.Bank, Back: r.Back}
}

// slotRow is the row that a Slot has in the table slot; the zero SlotRow: it has none.
func slotRow(t SlotTable, i uint16, s Slot) SlotRow {
	return SlotRow{t, i, s.Backend, s.Epoch, s.Bank, s.Grace, s.Back}
}

// diffSlots is the difference of slot and slot_old, whose rows a Slot has together.
func diffSlots(have, want *Tables, d differ) {
	tables := make([]SlotTable, 0, len(want.Slots))
	for t := range want.Slots {
		tables = append(tables, t)
	}
	for t := range have.Slots {
		if _, ok := want.Slots[t]; !ok {
			tables = append(tables, t)
		}
	}
	slices.SortFunc(tables, SlotTable.Compare)
	for _, t := range tables {
		d.slotTable(t, have.Slots[t], want.Slots[t])
	}
}

func (d differ) slotTable(t SlotTable, have, want Slots) {
	idle := want.OldIdle
	if have.OldIdle == idle && Same(have.Rows, want.Rows) {
		return
	}
	if len(have.Rows) == 0 {
		d.grow(SlotRow{}, len(want.Rows))
	}
	for i := range max(len(have.Rows), len(want.Rows)) {
		var h, w Slot
		if i < len(have.Rows) {
			h = have.Rows[i]
		}
		if i < len(want.Rows) {
			w = want.Rows[i]
		}
		if h == w && (w.Old == 0 || have.OldIdle == idle) {
			continue
		}
		d.slot(t, uint16(i), h, w)
		d.old(t, uint16(i), h.Old, w.Old, have.OldIdle, idle)
	}
}

func (d differ) slot(t SlotTable, i uint16, h, w Slot) {
	if h.Old != 0 && w.Old != 0 && h.Old != w.Old && h.Epoch != 0 && h.Grace == 0 {
		// While slot_old changes nobody may look at it: the slot's own row stands in.
		bridge := w
		bridge.Old, bridge.Grace = 0, w.Old
		d.put(Modify, slotRow(t, i, bridge))
		h = bridge
	}
	h.Old, w.Old = 0, 0
	switch {
	case h == w:
	case w == Slot{}:
		d.drop(slotRow(t, i, h))
	case h == Slot{}:
		d.put(Insert, slotRow(t, i, w))
	default:
		d.put(Modify, slotRow(t, i, w))
	}
}

func (d differ) old(t SlotTable, i uint16, h, w BackendID, haveIdle, wantIdle time.Duration) {
	switch {
	case h == w && (w == 0 || haveIdle == wantIdle):
	case w == 0:
		d.drop(SlotOldRow{t, i, h, haveIdle})
	case h == 0:
		d.put(Insert, SlotOldRow{t, i, w, wantIdle})
	default:
		d.put(Modify, SlotOldRow{t, i, w, wantIdle})
	}
}

// Same says whether two slices are one: the same elements in the same place.
func Same[E any](a, b []E) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// Compare orders by pool, then generation.
func (t SlotTable) Compare(o SlotTable) int {
	return cmp.Or(cmp.Compare(t.Pool, o.Pool), cmp.Compare(t.Generation, o.Generation))
}
