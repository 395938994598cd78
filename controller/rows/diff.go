package rows

import (
	"fmt"
	"slices"

	"github.com/sluicelb/sluice/p4/limits"
)

// Op is what a Change does to its row. Delete looks at the row's match alone.
type Op uint8

const (
	Insert Op = iota + 1
	Modify
	Delete
)

func (op Op) String() string {
	switch op {
	case Insert:
		return "insert"
	case Modify:
		return "modify"
	case Delete:
		return "delete"
	}
	return fmt.Sprintf("op %d", uint8(op))
}

// Change is one write.
type Change struct {
	Op  Op
	Row Row
}

func (c Change) String() string { return fmt.Sprintf("%s %s", c.Op, c.Row) }

// Batch is a set of changes that may be applied in any order.
type Batch []Change

// Diff returns the writes that turn have into want: batches in the order in which they must be
// applied, none when the two are equal. Applied one by one, in any order within a batch and broken
// off anywhere, they leave nothing pointing at a row that is missing and was there, and every flow
// with a backend it may have. The same two tables give the same changes in the same order.
func Diff(have, want Tables) []Batch {
	d := differ{stages: make([]Batch, 2*stages), dead: want.Dead}
	if len(d.dead) > 0 {
		d.taken = have.taken()
	}
	for _, t := range Planned {
		t.diff(&have, &want, d)
	}
	return slices.DeleteFunc(d.stages, func(b Batch) bool { return len(b) == 0 })
}

// differ collects changes by stage: those that write rows, and then those that take rows away, the other way round.
type differ struct {
	stages []Batch
	dead   map[BackendID]bool
	taken  [limits.Banks]uint32 // where backends are dead: who has each bank before the changes
}

func (d differ) put(op Op, row Row) { d.putAs(row.Kind(), op, row) }

func (d differ) putAs(k *Kind, op Op, row Row) {
	at := &d.stages[k.stage]
	*at = append(*at, Change{op, row})
}

func (d differ) drop(row Row) {
	at := &d.stages[len(d.stages)-1-row.Kind().Table.last]
	*at = append(*at, Change{Delete, row})
}

// grow makes room for n rows that are written like this one.
func (d differ) grow(row Row, n int) {
	at := &d.stages[row.Kind().stage]
	*at = slices.Grow(*at, n)
}

// keyed returns the difference of a table whose rows are in a map.
func keyed[K, V comparable](of func(*Tables) map[K]V, compare func(K, K) int, row func(K, V) Row) func(have,
	want *Tables, d differ,
) {
	return func(have, want *Tables, d differ) {
		h, w := of(have), of(want)
		var keys []K
		for k, v := range w {
			if is, ok := h[k]; !ok || is != v {
				keys = append(keys, k)
			}
		}
		for k := range h {
			if _, ok := w[k]; !ok {
				keys = append(keys, k)
			}
		}
		slices.SortFunc(keys, compare)
		for _, k := range keys {
			is, isHeld := h[k]
			v, isWanted := w[k]
			switch {
			case !isWanted:
				d.drop(row(k, is))
			case isHeld:
				d.put(Modify, row(k, v))
			default:
				d.put(Insert, row(k, v))
			}
		}
	}
}
