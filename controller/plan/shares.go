package plan

import (
	"cmp"

	"github.com/sluicelb/sluice/controller/rows"
)

// weighted is somebody who takes part in a division of slots.
type weighted struct {
	id     rows.BackendID
	weight int
}

// shares divides m slots by weight with the method of D'Hondt and Jefferson: slot after slot goes to
// whoever then has the lowest load, (slots+1)/weight, the lower id first. Weights are 1 or more.
//
// It is this method and no other for three reasons. No division of whole slots has a lower peak of
// slots per weight. It is monotone: when a backend leaves or its weight falls nobody else's share
// shrinks, when it returns nobody else's grows; the method of largest remainders does not have this,
// and would move slots between two living backends because a third died. And nobody gets less than
// the whole part of the exact share.
func shares(m int, by []weighted) []int {
	if len(by) == 0 {
		return nil
	}
	sum := 0
	for _, w := range by {
		sum += w.weight
	}
	given := make([]int, len(by))
	left := m
	for i, w := range by {
		given[i] = m * w.weight / sum
		left -= given[i]
	}
	// At most len(by)-1 slots are left.
	for ; left > 0; left-- {
		best := 0
		for i := range by {
			if before(by[i], given[i], by[best], given[best]) < 0 {
				best = i
			}
		}
		given[best]++
	}
	return given
}

// before orders a with its slots and b with its own by who gets the next slot.
func before(a weighted, slotsA int, b weighted, slotsB int) int {
	return cmp.Or(cmp.Compare((slotsA+1)*b.weight, (slotsB+1)*a.weight), cmp.Compare(a.id, b.id))
}
