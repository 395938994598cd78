package plan

import (
	"slices"

	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/limits"
)

// Census counts a pool's slots.
type Census struct {
	Pool       rows.PoolID
	Generation uint8
	Slots      int
	Moving     int // old flows are still served by the backend they came from
	Unowned    int // no backend takes new flows
	Epochs     int // sets of moves under way
	Backends   []Share
}

// Share counts the slots of one backend.
type Share struct {
	ID        rows.BackendID
	Name      string
	Slots     int  // new flows come here
	MovingIn  int  // of these: with old flows elsewhere
	MovingOut int  // slots that moved away, with old flows still here
	Pinned    int  // flows that stay here whatever their slots say
	Removed   bool // from the intent
}

// Owns says whether flows go to the backend, or may be opened there.
func (s Share) Owns() bool { return s.Slots+s.MovingOut+s.Pinned > 0 }

// Census counts the slots of a pool; false when there is no such pool. The backends are in the order
// of their ids.
func (st State) Census(pool string) (Census, bool) {
	p := st.Pools[pool]
	if p == nil {
		return Census{}, false
	}
	c := Census{Pool: p.ID, Generation: p.Generation, Slots: len(p.Slots)}
	for _, m := range p.Members {
		c.Backends = append(c.Backends, Share{ID: m.ID, Name: m.Name, Pinned: st.Pins.Of(m.ID), Removed: m.Removed})
	}
	roster := newRoster(p.Members)
	epochs := make(map[uint32]struct{})
	for _, slot := range p.Slots {
		b, old := roster.at(slot.Backend), roster.at(slot.Old)
		if b < 0 {
			c.Unowned++
		} else {
			c.Backends[b].Slots++
		}
		if old < 0 {
			continue
		}
		c.Moving++
		if b >= 0 {
			c.Backends[b].MovingIn++
		}
		c.Backends[old].MovingOut++
		epochs[slot.Epoch] = struct{}{}
	}
	c.Epochs = len(epochs)
	return c, true
}

// Leavers returns the members that are removed from the intent and still own slots or serve old flows,
// in the order of their ids, with what they own.
func (st State) Leavers(pool string) (members []Member, shares []Share) {
	p := st.Pools[pool]
	if p == nil || !slices.ContainsFunc(p.Members, func(m Member) bool { return m.Removed }) {
		return nil, nil
	}
	c, _ := st.Census(pool)
	for i, m := range p.Members { // the census has them in the same order
		if s := c.Backends[i]; m.Removed && s.Owns() {
			members, shares = append(members, m), append(shares, s)
		}
	}
	return members, shares
}

// Former returns the members of a pool that serve old flows: those of slots that have gone to others, and those that
// are pinned. They are in the order of their ids.
func (st State) Former(pool string) []Member {
	p := st.Pools[pool]
	if p == nil {
		return nil
	}
	keeps := make(map[rows.BackendID]bool)
	for _, slot := range p.Slots {
		if slot.Old != 0 {
			keeps[slot.Old] = true
		}
	}
	var members []Member
	for _, m := range p.Members {
		if keeps[m.ID] || st.Pins.Of(m.ID) > 0 {
			members = append(members, m)
		}
	}
	return members
}

// Kept returns the moving slots whose old flows stay with old, and whose new flows somebody else takes.
func (p *Pool) Kept(old rows.BackendID) []SlotRef {
	var refs []SlotRef
	for i, slot := range p.Slots {
		if slot.Old == old && old != 0 && slot.Backend != 0 {
			refs = append(refs, SlotRef{p.ID, p.Generation, uint16(i), old})
		}
	}
	return refs
}

// Epochs returns the epochs of the slots that move, ascending.
func (p *Pool) Epochs() []uint32 {
	var epochs []uint32
	for _, slot := range p.Slots {
		if slot.Old != 0 && !slices.Contains(epochs, slot.Epoch) { // at most one for each bank
			epochs = append(epochs, slot.Epoch)
		}
	}
	slices.Sort(epochs)
	return epochs
}

// Banks returns the epoch that has each bank of mark cells, 0 where none has it.
func (st State) Banks() (banks [limits.Banks]uint32) {
	for _, p := range st.Pools {
		for _, slot := range p.Slots {
			if slot.Epoch != 0 {
				banks[slot.Bank] = slot.Epoch
			}
		}
	}
	return banks
}

// Moving returns the slots that move in the epoch.
func (p *Pool) Moving(epoch uint32) []SlotRef {
	var refs []SlotRef
	for i, slot := range p.Slots {
		if slot.Old != 0 && slot.Epoch == epoch {
			refs = append(refs, SlotRef{p.ID, p.Generation, uint16(i), slot.Old})
		}
	}
	return refs
}

// Backend returns the name of the backend with this id.
func (st State) Backend(id rows.BackendID) (BackendKey, bool) {
	for pool, p := range st.Pools {
		for _, m := range p.Members {
			if m.ID == id {
				return BackendKey{pool, m.Name}, true
			}
		}
	}
	return BackendKey{}, false
}
