// Package plan decides, purely, what every switch must hold: intent, health and the operator's drains
// in, table entries out. It knows nothing of time, P4Runtime or storage; the controller calls it from
// its loop and keeps the State between calls.
//
// Step moves slots between backends, Settle ends moves whose old flows are gone, and Build turns the result into
// table rows.
package plan

import (
	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/rows"
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
	Failing // it answers, but wrongly: its slots move as in a drain, unless the pool says otherwise
)

func (h Health) String() string { return [...]string{"not judged", "up", "down", "failing"}[h] }

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
	// Hold are the pools that wait for a switch which lacks, or may lack, what an earlier Step decided. Dead backends
	// lose their slots all the same, but no gradual move begins there: a slot must not move on from a place that the
	// switch has never heard of. Call Step again when the writes are done.
	Hold map[string]bool
	// Over are the dead backends whose grace is over: open flows of theirs may break.
	Over map[BackendKey]bool
	// Stale are the pools that fell below their floor long ago. No grace ends there, so a slot between two backends
	// that are both called dead does not wait for the end of one.
	Stale map[string]bool

	banks int // of the switch; 0: limits.Banks
}

// flip lets new flows go to the former backend, and leaves everybody's flows where they are: a mark means the same as
// before.
func flip(s rows.Slot) rows.Slot {
	return rows.Slot{Backend: s.Old, Old: s.Backend, Epoch: s.Epoch, Bank: s.Bank, Back: !s.Back}
}

// Progress says what a Step did.
type Progress struct {
	Moves []Move
	// Surplus counts the moves that brought no pool nearer to its shares, by the slots before and after. It should be
	// 0.
	Surplus int
	// Waiting lists the slots that should move and cannot yet, in the order of the intent's pools.
	Waiting []Wait
	// Rehashed counts the slots that lost their backend because the table of their pool shrank: open flows there break.
	Rehashed int
}

// Move is a number of slots that went from one backend to another.
type Move struct {
	Pool     string
	From, To string // empty: nobody
	Slots    int
	Gradual  bool // open flows stay with From until they end: they will be pinned
	Grace    bool // From is down: open flows stay with it for the pool's grace
}

// SlotRef names a moving slot by the backend that keeps its old flows.
type SlotRef struct {
	Pool       rows.PoolID
	Generation uint8
	Slot       uint16
	Old        rows.BackendID
}
