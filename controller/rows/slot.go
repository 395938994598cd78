package rows

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/sluicelb/sluice/p4/limits"
)

// SlotRow is to_backend(Backend), or while the slot moves move(Backend, Old, Bank, Epoch), or with Back
// back(Backend, Old, Bank, Epoch).
type SlotRow struct {
	SlotTable
	Number uint16
	Slot
}

// slotRef is the Ref of a SlotRow.
type slotRef struct {
	SlotTable
	slot uint16
}

func (r slotRef) Whole() Ref { return r.SlotTable }

var (
	toBackend = &Action{"to_backend", []string{"backend_id"}}
	move      = &Action{"move", []string{"backend_id", "old_id", "bank", "epoch"}}
	back      = &Action{"back", []string{"backend_id", "old_id", "bank", "epoch"}}

	slot = &Table{
		Name: "slot", Keys: []string{"pool_id", "generation", "slot"}, Actions: []*Action{toBackend, move, back},
		decode: decodeSlot,
	}

	// New flows of backends that are dead must not wait for the moves of others, nor for pins.
	slotUrgent = kind(slot, backend)
	// Moves that end come before those that may take over their bank, and after the pins of what they leave behind.
	slotSettled = kind(slot, backend, pin)
	slotLeaving = kind(slot, slotSettled)
	slotMoving  = kind(slot, slotLeaving)
)

func init() { slot.diff = diffSlots } // it looks at the kinds

func decodeSlot(e Entry) (Row, bool) {
	r := SlotRow{slotTable(e), uint16(e.Key[2].Lo), Slot{Backend: BackendID(e.Params[0].Lo)}}
	if e.Do == toBackend {
		return r, r.Backend != 0
	}
	p := e.Params
	r.Old, r.Bank, r.Epoch, r.Back = BackendID(p[1].Lo), uint8(p[2].Lo), uint32(p[3].Lo), e.Do == back
	return r, r.Epoch != 0 && r.Old != 0 && (r.Backend != 0 || !r.Back)
}

func slotTable(e Entry) SlotTable { return SlotTable{PoolID(e.Key[0].Lo), uint8(e.Key[1].Lo)} }

func (r SlotRow) Kind() *Kind {
	if r.Epoch != 0 {
		return slotMoving
	}
	return slotSettled
}

// kindOf is the Kind of a row that is written while backends are dead.
func (d differ) kindOf(r SlotRow) *Kind {
	switch {
	case !d.dead[r.Old]:
		return r.Kind()
	case d.taken[r.Bank] == 0 || d.taken[r.Bank] == r.Epoch:
		return slotUrgent
	}
	return slotLeaving
}

// taken returns the epoch that has each bank of a switch, 0 where none has it.
func (t *Tables) taken() (banks [limits.Banks]uint32) {
	for _, slots := range t.Slots {
		for _, s := range slots {
			if s.Epoch != 0 && s.Bank < limits.Banks {
				banks[s.Bank] = max(banks[s.Bank], s.Epoch)
			}
		}
	}
	return banks
}

func (r SlotRow) Ref() Ref { return slotRef{r.SlotTable, r.Number} }

func (r SlotRow) Needs() []Ref { return []Ref{r.Backend, r.Old} }

func (r SlotRow) Entry() Entry {
	key := keys(number(r.Pool), number(r.Generation), number(r.Number))
	switch {
	case r.Back:
		return entry(back, key, number(r.Backend), number(r.Old), number(r.Bank), number(r.Epoch))
	case r.Epoch != 0:
		return entry(move, key, number(r.Backend), number(r.Old), number(r.Bank), number(r.Epoch))
	}
	return entry(toBackend, key, number(r.Backend))
}

func (r SlotRow) String() string {
	at := fmt.Sprintf("slot %s slot %d", r.SlotTable, r.Number)
	if r.Epoch == 0 {
		return fmt.Sprintf("%s: to_backend(%d)", at, r.Backend)
	}
	do := move
	if r.Back {
		do = back
	}
	return fmt.Sprintf("%s: %s(%d, old %d, bank %d, epoch %d)", at, do.Name, r.Backend, r.Old, r.Bank, r.Epoch)
}

func (r SlotRow) Held(t *Tables) (Row, bool) {
	s, ok := t.slot(r.SlotTable, r.Number)
	if !ok || s == (Slot{}) {
		return nil, false
	}
	return SlotRow{r.SlotTable, r.Number, s}, true
}

func (r SlotRow) set(t *Tables, gone bool) {
	if gone {
		r.Slot = Slot{}
	}
	*t.makeSlot(r.SlotTable, r.Number) = r.Slot
}

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

func (d differ) slotTable(t SlotTable, have, want []Slot) {
	if Same(have, want) {
		return
	}
	if len(have) == 0 {
		d.grow(SlotRow{}, len(want))
	}
	for i := range max(len(have), len(want)) {
		var h, w Slot
		if i < len(have) {
			h = have[i]
		}
		if i < len(want) {
			w = want[i]
		}
		switch at := uint16(i); {
		case h == w:
		case w == Slot{}:
			d.drop(SlotRow{t, at, h})
		case h == Slot{}:
			d.putAs(d.kindOf(SlotRow{t, at, w}), Insert, SlotRow{t, at, w})
		default:
			d.putAs(d.kindOf(SlotRow{t, at, w}), Modify, SlotRow{t, at, w})
		}
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
