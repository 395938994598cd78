// Package plan decides, purely, what every switch must hold: intent, health and the operator's drains
// in, table entries out. It knows nothing of time, P4Runtime or storage; the controller calls it from
// its loop and keeps the State between calls.
//
// Step moves slots between backends, Settle ends moves whose old flows are gone, Build turns the
// result into table rows, and Diff into the writes that lead there from what a switch has.
package plan

import (
	"cmp"

	"github.com/sluicelb/sluice/controller/config"
)

// PoolID, BackendID name pools and backends in the switch. 0 is nobody. An id is given once and never
// again to another.
type (
	PoolID    uint32
	BackendID uint32
)

// BackendKey names a backend to people and to healthd.
type BackendKey struct{ Pool, Backend string }

func (k BackendKey) String() string { return k.Pool + "/" + k.Backend }

// Health is healthd's verdict on a backend. Without one it counts as up.
type Health uint8

const (
	Unknown Health = iota
	Up
	Down    // nothing answers: new flows go elsewhere at once, open ones have the pool's grace
	Failing // it answers, wrongly: its slots move as in a drain, unless the pool says otherwise
)

// Admin is the operator's say on a backend.
type Admin uint8

const (
	Active Admin = iota
	Drain        // new flows go elsewhere, open ones stay
)

// Input is all that Step looks at besides the State.
type Input struct {
	Intent *config.Intent
	Health map[BackendKey]Health
	Admin  map[BackendKey]Admin
	// Hold is set while a switch does not yet hold what an earlier Step decided, or may not. Dead
	// backends lose their slots as ever, but no gradual move begins: a slot must not move on from
	// a place that the switch has never heard of. Call Step again when the writes are done.
	Hold bool
	// Over are the dead backends whose grace is over: open flows of theirs may break.
	Over map[BackendKey]bool
	// Stale are the pools that fell below their floor long ago: as no grace ends there, a slot between two backends
	// which are both called dead does not wait for one.
	Stale map[string]bool

	banks int // of the switch; 0: limits.Banks
}

// Slot is one bucket of a pool, and at the same time its rows in the switch.
//
//	Backend == 0, Grace == 0: no row in slot; packets are dropped
//	Epoch == 0:               settled: slot says to_backend(Backend)
//	Epoch != 0, Grace == 0:   moving: slot says move(Backend, Bank, Epoch)
//	Old != 0:                 slot_old says stay(Old)
//	Grace != 0:               slot says leave(Backend, Grace, Bank, Epoch): Grace is down, and keeps its open
//	                          flows for now. New ones go to Backend, and are dropped while that is 0.
//	Back:                     slot says back(Backend, Grace, Bank, Epoch): it has gone back to Backend in the
//	                          epoch in which it had left it. Marked flows are those of Old or Grace.
//
// In a State a slot has Old or Grace, and never both, exactly when it has an Epoch, and Old never without
// Backend; what is read back from a switch may be any mixture.
type Slot struct {
	Backend, Old, Grace BackendID
	Epoch               uint32
	Bank                uint8
	Back                bool
}

// former is the backend that keeps the slot's other flows; 0: nobody.
func (s Slot) former() BackendID { return cmp.Or(s.Old, s.Grace) }

// flip lets new flows go to the former backend, and leaves everybody's flows where they are: a mark means the same as
// before. alive says whether the backend that had the new flows is.
func (s Slot) flip(alive bool) Slot {
	to := Slot{Backend: s.former(), Epoch: s.Epoch, Bank: s.Bank, Back: !s.Back}
	if alive {
		to.Old = s.Backend
	} else {
		to.Grace = s.Backend
	}
	return to
}

// Report says what a Step did.
type Report struct {
	Moves []Move
	// Surplus counts the moves that brought no pool nearer to its shares. It is 0; it is computed
	// from the slots before and after.
	Surplus int
	// Waiting lists the slots that should move and cannot yet, in the order of the intent's pools.
	Waiting []Wait
	// Rehashed counts the slots of pools whose table shrank that lost their backend by it: open
	// flows there break.
	Rehashed int
}

// Move is a number of slots that went from one backend to another.
type Move struct {
	Pool     string
	From, To string // empty: nobody
	Slots    int
	Gradual  bool // open flows stay with From until they end
	Grace    bool // From is down: open flows stay with it for the pool's grace
}

// SlotRef names a moving slot by the backend that keeps its old flows.
type SlotRef struct {
	Pool       PoolID
	Generation uint8
	Slot       uint16
	Old        BackendID
}
