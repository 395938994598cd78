// Package rows describes the tables of the pipeline, one file each: how a row is found, what must stand before
// it, how it is written, read back and said. It knows which changes turn one content of a switch into another;
// what a switch should hold is the plan's business, and P4Runtime that of who writes.
package rows

import (
	"fmt"
	"time"
)

// Row is one wanted table entry: a BackendRow, a SlotRow and so on. Rows are comparable.
type Row interface {
	// Kind is the table of the row, and when it is written.
	Kind() *Kind
	// Ref tells the row from all others, whatever their table.
	Ref() Ref
	// Needs are the rows without which this one would do harm: it is not written while one of them is refused, and
	// none of them goes while it stands.
	Needs() []Ref
	// Held returns the row of t with the same Ref.
	Held(t *Tables) (Row, bool)
	// Entry is what stands in the switch.
	Entry() Entry
	fmt.Stringer

	set(t *Tables, gone bool)
}

// Ref names a row, or all rows of a SlotTable. It is comparable.
type Ref any

// Part is a Ref of what is part of something that others need as a whole.
type Part interface{ Whole() Ref }

// Table is a table of the pipeline. All its match fields are exact.
type Table struct {
	Name    string
	Keys    []string  // names of the match fields, in the order of Entry.Key
	Actions []*Action // that a row may have

	decode func(Entry) (Row, bool)
	diff   func(have, want *Tables, d differ)
	last   int // the latest stage at which its rows are written
}

// Action is an action of the pipeline.
type Action struct {
	Name   string
	Params []string // names, in the order of Entry.Params
}

// Entry is a row as the switch has it.
type Entry struct {
	Key    [maxKeys]Value
	Do     *Action
	Params [maxParams]Value
	Idle   time.Duration // the switch gives notice of a row that nothing has hit for so long; 0: never
}

const maxKeys, maxParams = 3, 5

// Row reads an entry of the table; false when it cannot be one of ours.
func (t *Table) Row(e Entry) (Row, bool) { return t.decode(e) }

// Put writes a row into t, over one of the same Ref.
func (t *Tables) Put(r Row) { r.set(t, false) }

// Drop takes the row with r's Ref out of t.
func (t *Tables) Drop(r Row) { r.set(t, true) }

func keys(values ...Value) (key [maxKeys]Value) {
	copy(key[:], values)
	return key
}

func entry(do *Action, key [maxKeys]Value, params ...Value) Entry {
	e := Entry{Key: key, Do: do}
	copy(e.Params[:], params)
	return e
}

func set[K comparable, V any](m *map[K]V, k K, v V, gone bool) {
	switch {
	case gone:
		delete(*m, k)
	case *m == nil:
		*m = map[K]V{k: v}
	default:
		(*m)[k] = v
	}
}

func held[K comparable, V any](m map[K]V, k K, row func(V) Row) (Row, bool) {
	v, ok := m[k]
	if !ok {
		return nil, false
	}
	return row(v), true
}
