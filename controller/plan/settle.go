package plan

import (
	"maps"
	"slices"

	"github.com/sluicelb/sluice/controller/rows"
)

// Settle ends the moves of slots. Every flow of their former backends is pinned, or has been silent for the pool's
// drain time; or the drain limit or a grace is over, and the flows that are left break. It returns the number of moves
// ended; references to moves that have ended are ignored.
func Settle(st State, ended []SlotRef) (State, int) {
	names := make(map[rows.PoolID]string, len(st.Pools))
	for name, p := range st.Pools {
		names[p.ID] = name
	}
	changed := make(map[string]*Pool)
	n := 0
	for _, ref := range ended {
		name := names[ref.Pool]
		p, ours := changed[name]
		if !ours {
			p = st.Pools[name]
		}
		if p == nil || p.Generation != ref.Generation || int(ref.Slot) >= len(p.Slots) || ref.Old == 0 ||
			p.Slots[ref.Slot].Old != ref.Old {
			continue
		}
		if !ours {
			c := *p
			c.Slots = slices.Clone(p.Slots)
			p, changed[name] = &c, &c
		}
		p.Slots[ref.Slot] = rows.Slot{Backend: p.Slots[ref.Slot].Backend}
		n++
	}
	if n > 0 {
		st.Pools = maps.Clone(st.Pools)
		maps.Copy(st.Pools, changed)
	}
	return st, n
}
