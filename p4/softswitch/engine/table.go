package engine

import (
	"iter"
	"time"
)

// MatchKind is how one key field of a table is matched.
type MatchKind int

// The match kinds of v1model. Valid is a header's validity bit, matched exactly.
const (
	Exact MatchKind = iota
	LPM
	Ternary
	Range
	Valid
)

// Key is one key field of a table.
type Key struct {
	Name string
	Kind MatchKind
	Bits int
}

// Match is the value of one key field: exactly ceil(bits/8) bytes, big endian. Mask belongs to
// Ternary (same length) and Range, where Value is the low and Mask the high end, both included.
// PrefixLen belongs to LPM. Bits outside the mask or the prefix must be zero.
type Match struct {
	Value, Mask []byte
	PrefixLen   int
}

// Call is an action with its parameters, each exactly ceil(bits/8) bytes, big endian.
type Call struct {
	Action string
	Params [][]byte
}

// Action is an action that a table may call.
type Action struct {
	Name   string
	Params []Param
}

// Param is one parameter of an action.
type Param struct {
	Name string
	Bits int
}

// Entry is what is written to a table. Of entries that match, the one with the highest Priority
// wins; it must be zero in tables of exact and LPM keys alone.
type Entry struct {
	Match       []Match
	Priority    int
	Call        Call
	IdleTimeout time.Duration // as given; the engine keeps it, and evicts nothing
	// Since is when the entry is written, on the clock of Runner.Process. Idle time counts from it
	// until the first packet hits.
	Since time.Duration
}

// Table is one match-action table. Methods may be called from any goroutine, while packets run.
type Table struct{}

// Name returns the table's name in the JSON.
func (t *Table) Name() string { return "" }

// Keys returns the key fields in the order of Entry.Match.
func (t *Table) Keys() []Key { return nil }

// Size returns the number of entries that the program asks for.
func (t *Table) Size() int { return 0 }

// Len returns the number of entries, the default entry not counted.
func (t *Table) Len() int { return 0 }

// Actions returns the actions that the table may call.
func (t *Table) Actions() []Action { return nil }

// SupportsTimeout tells whether entries remember when they were last hit.
func (t *Table) SupportsTimeout() bool { return false }

// HasCounter tells whether entries count packets and bytes.
func (t *Table) HasCounter() bool { return false }

// ConstEntries tells whether the program fixed the entries: Insert, Modify and Delete fail with
// ErrConst.
func (t *Table) ConstEntries() bool { return false }

// Insert adds an entry. It fails with ErrExists, ErrFull, ErrConst, or ErrInvalid with the reason.
func (t *Table) Insert(e Entry) error { return nil }

// Modify replaces the action of the entry with the same match and priority, and keeps its counter
// and last hit. It fails with ErrNotFound, ErrConst, or ErrInvalid with the reason.
func (t *Table) Modify(e Entry) error { return nil }

// Delete removes the entry with that match and priority.
func (t *Table) Delete(match []Match, priority int) error { return nil }

// Lookup finds the entry with that match and priority (not the one that a packet would hit).
func (t *Table) Lookup(match []Match, priority int) (*Installed, bool) { return nil, false }

// All walks the entries in no particular order. Entries written meanwhile may or may not be seen.
func (t *Table) All() iter.Seq[*Installed] { return func(func(*Installed) bool) {} }

// SetDefault sets the action that a miss calls.
func (t *Table) SetDefault(c Call) error { return nil }

// ResetDefault restores the default action of the program.
func (t *Table) ResetDefault() {}

// Default returns the action that a miss calls; false when a miss does nothing.
func (t *Table) Default() (Call, bool) { return Call{}, false }

// ConstDefault tells whether the program fixed the default action: SetDefault fails with ErrConst.
func (t *Table) ConstDefault() bool { return false }

// Installed is an entry that is, or was, in a table. After Modify, the old and the new Installed
// share counter and last hit.
type Installed struct{}

// Entry returns the entry as it was written.
func (e *Installed) Entry() Entry { return Entry{} }

// Counter returns the direct counter, zeros when the table has none.
func (e *Installed) Counter() (packets, bytes uint64) { return 0, 0 }

// SetCounter sets the direct counter.
func (e *Installed) SetCounter(packets, bytes uint64) {}

// LastHit returns when a packet last hit the entry, or when it was written, whichever is later, on
// the clock of Runner.Process. It is only kept in tables with SupportsTimeout.
func (e *Installed) LastHit() time.Duration { return 0 }
