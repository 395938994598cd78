package plan

import "github.com/sluicelb/sluice/controller/config"

// Census counts the slots of a pool.
func (st State) Census(pool string) (Census, bool) { panic("not yet") }

// Backend returns the name of the backend with this id.
func (st State) Backend(id BackendID) (BackendKey, bool) { panic("not yet") }

// Step takes the slots of every pool as near to their shares as can be without breaking a flow whose
// backend is alive. It moves what must move and nothing else.
func Step(st State, in Input) (State, Report, error) { panic("not yet") }

// Settle ends the moves of slots whose old path has been silent for the pool's drain time, on every
// switch. It returns the number of moves ended; references to moves that are no more are ignored.
//
// An idle notification counts only when the switch had both rows of the move, slot_old and slot, for
// the whole drain time: before the slot row is there, nothing arrives at slot_old.
func Settle(st State, idle []SlotRef) (State, int) { panic("not yet") }

// Build returns what every switch must hold. st is what Step made of the same intent.
func Build(intent *config.Intent, st State) Tables { panic("not yet") }

// Diff returns the writes that turn have into want: batches in the order in which they must be
// applied. It returns none when the two are equal.
func Diff(have, want Tables) []Batch { panic("not yet") }
