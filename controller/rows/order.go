package rows

import "slices"

// Kind is what rows of a table have in common that are written at the same stage. The kinds are one graph; what does
// not follow from it may happen in any order.
type Kind struct {
	Table *Table
	after []*Kind
	stage int // length of the longest way to a kind that is after no other
}

// kind makes one whose rows are written after those of other kinds, and whose table gives up rows before theirs does.
func kind(t *Table, after ...*Kind) *Kind {
	k := &Kind{Table: t, after: after}
	for _, before := range after {
		k.stage = max(k.stage, before.stage+1)
	}
	t.last = max(t.last, k.stage)
	return k
}

// Kinds are all that a plan has.
var Kinds = []*Kind{
	backend, pinnedStation, pinnedL2, pinnedARP, flood, pin, slotSettled, slotMoving,
	vipAddress, arpGuard, vip, arpResponder,
}

// Planned are the tables whose rows a plan decides, in the order in which they are read back.
var Planned = func() (all []*Table) {
	for _, k := range Kinds {
		if !slices.Contains(all, k.Table) {
			all = append(all, k.Table)
		}
	}
	return all
}()

// stages is the number of stages at which rows are written. They are taken away at as many, the other way round.
var stages = slices.MaxFunc(Kinds, func(a, b *Kind) int { return a.stage - b.stage }).stage + 1
