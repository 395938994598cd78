package rows

import (
	"fmt"
	"time"
)

// SlotOldRow is stay(Backend).
type SlotOldRow struct {
	SlotTable
	Slot    uint16
	Backend BackendID
	Idle    time.Duration
}

// oldRef is the Ref of a SlotOldRow.
type oldRef struct {
	SlotTable
	slot uint16
}

var stay = &Action{"stay", []string{"backend_id"}}

// Until its slot says move, nobody looks at a row of slot_old.
var slotOld = kind(&Table{
	Name: "slot_old", Keys: []string{"pool_id", "generation", "slot"}, Actions: []*Action{stay},
	decode: func(e Entry) (Row, bool) {
		r := SlotOldRow{slotTable(e), uint16(e.Key[2].Lo), BackendID(e.Params[0].Lo), e.Idle}
		return r, r.Backend != 0
	},
	diff: func(_, _ *Tables, _ differ) {}, // that of slot has it
}, slotLeaving)

func (SlotOldRow) Kind() *Kind    { return slotOld }
func (r SlotOldRow) Ref() Ref     { return oldRef{r.SlotTable, r.Slot} }
func (r SlotOldRow) Needs() []Ref { return []Ref{r.Backend} }

func (r SlotOldRow) Entry() Entry {
	e := entry(stay, keys(number(r.Pool), number(r.Generation), number(r.Slot)), number(r.Backend))
	e.Idle = r.Idle
	return e
}

func (r SlotOldRow) String() string {
	return fmt.Sprintf("slot_old %s slot %d: stay(%d), idle after %s", r.SlotTable, r.Slot, r.Backend, r.Idle)
}

func (r SlotOldRow) Held(t *Tables) (Row, bool) {
	s, ok := t.slot(r.SlotTable, r.Slot)
	if !ok || s.Old == 0 {
		return nil, false
	}
	return SlotOldRow{r.SlotTable, r.Slot, s.Old, t.Slots[r.SlotTable].OldIdle}, true
}

func (r SlotOldRow) set(t *Tables, gone bool) {
	if gone {
		r.Backend = 0
	}
	t.makeSlot(r.SlotTable, r.Slot).Old = r.Backend
}

// OldPath reads the match of an entry of slot_old: which slot it is of.
func OldPath(e Entry) (SlotTable, uint16) { return slotTable(e), uint16(e.Key[2].Lo) }
