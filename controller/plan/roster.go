package plan

import (
	"cmp"
	"slices"

	"github.com/sluicelb/sluice/controller/rows"
)

// roster finds members by id.
type roster struct {
	members []Member
	near    []int32 // index by distance from the first id; -1: not there
}

// newRoster indexes members, which are in the order of their ids.
func newRoster(members []Member) roster {
	r := roster{members: members}
	if len(members) == 0 {
		return r
	}
	// Ids are given in sequence, so nearly all are near each other. The rest is searched for.
	const far = 4096
	first := members[0].ID
	span := min(int(members[len(members)-1].ID-first)+1, far)
	r.near = slices.Repeat([]int32{-1}, span)
	for i, m := range members {
		if d := int(m.ID - first); d < span {
			r.near[d] = int32(i)
		}
	}
	return r
}

// at returns the index of the member, -1 when there is none: 0 is nobody's id.
func (r *roster) at(id rows.BackendID) int {
	if id == 0 || len(r.members) == 0 {
		return -1
	}
	if d := id - r.members[0].ID; int(d) < len(r.near) {
		return int(r.near[d])
	}
	if i, ok := slices.BinarySearchFunc(r.members, id,
		func(m Member, id rows.BackendID) int { return cmp.Compare(m.ID, id) }); ok {
		return i
	}
	return -1
}
