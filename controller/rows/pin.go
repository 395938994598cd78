package rows

import (
	"cmp"
	"fmt"
	"time"
)

// Flow is what tells one flow from another in the switch: two hashes of its addresses, protocol and ports, each keyed
// by the Secret of its pool (p4/include/balance.p4).
type Flow uint64

func (f Flow) String() string { return fmt.Sprintf("%016x", uint64(f)) }

// Pin is the action of a pin row.
type Pin struct {
	Backend BackendID
	Idle    time.Duration // the switch gives notice of a flow that has been silent for so long
}

// PinRow is pin_to(Backend): the flow goes there, whatever its slot says.
type PinRow struct {
	Flow
	Pin
}

var pinTo = &Action{"pin_to", []string{"backend_id"}}

// The flows that a slot leaves behind are pinned before it settles, and a pin goes when nothing depends on it.
var pin = kind(&Table{
	Name: "pin", Keys: []string{"flow"}, Actions: []*Action{pinTo},
	decode: func(e Entry) (Row, bool) {
		r := PinRow{Flow(e.Key[0].Lo), Pin{BackendID(e.Params[0].Lo), e.Idle}}
		return r, r.Backend != 0
	},
	diff: keyed(func(t *Tables) map[Flow]Pin { return t.Pins }, cmp.Compare,
		func(f Flow, p Pin) Row { return PinRow{f, p} }),
}, slotUrgent)

func (PinRow) Kind() *Kind    { return pin }
func (r PinRow) Ref() Ref     { return r.Flow }
func (r PinRow) Needs() []Ref { return []Ref{r.Backend} }

func (r PinRow) Entry() Entry {
	e := entry(pinTo, keys(number(r.Flow)), number(r.Backend))
	e.Idle = r.Idle
	return e
}

func (r PinRow) String() string {
	return fmt.Sprintf("pin flow %s: pin_to(%d), idle after %s", r.Flow, r.Backend, r.Idle)
}

func (r PinRow) Held(t *Tables) (Row, bool) {
	return held(t.Pins, r.Flow, func(p Pin) Row { return PinRow{r.Flow, p} })
}

func (r PinRow) set(t *Tables, gone bool) { set(&t.Pins, r.Flow, r.Pin, gone) }

// Pinned reads the match of an entry of pin: which flow it is of.
func Pinned(e Entry) Flow { return Flow(e.Key[0].Lo) }
