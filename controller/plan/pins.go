package plan

import (
	"iter"
	"maps"

	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/limits"
)

// Pins are flows that stay with a backend whatever their slots say. Its methods may be called on nil, which has none. A
// Pins is never modified.
type Pins struct {
	flows map[rows.Flow]rows.BackendID
	count map[rows.BackendID]int
}

// NewPins pins the flows, which the Pins then owns; nil if there are none.
func NewPins(flows map[rows.Flow]rows.BackendID) *Pins {
	if len(flows) == 0 {
		return nil
	}
	p := &Pins{flows, make(map[rows.BackendID]int)}
	for _, id := range flows {
		p.count[id]++
	}
	return p
}

// Len returns how many there are.
func (p *Pins) Len() int {
	if p == nil {
		return 0
	}
	return len(p.flows)
}

// Equal says whether the same flows are pinned to the same backends.
func (p *Pins) Equal(o *Pins) bool {
	return p == o || p.Len() == o.Len() && (p.Len() == 0 || maps.Equal(p.flows, o.flows))
}

// Of returns how many stay with a backend.
func (p *Pins) Of(id rows.BackendID) int { return p.counts()[id] }

func (p *Pins) counts() map[rows.BackendID]int {
	if p == nil {
		return nil
	}
	return p.count
}

// All returns the flows, each with its backend, in no order.
func (p *Pins) All() iter.Seq2[rows.Flow, rows.BackendID] {
	if p == nil {
		return func(func(rows.Flow, rows.BackendID) bool) {}
	}
	return maps.All(p.flows)
}

// Get returns the backend of a flow, 0: it is not pinned.
func (p *Pins) Get(flow rows.Flow) rows.BackendID {
	if p == nil {
		return 0
	}
	return p.flows[flow]
}

// without returns those that are not to go.
func (p *Pins) without(goes func(rows.Flow, rows.BackendID) bool) *Pins {
	kept := make(map[rows.Flow]rows.BackendID, p.Len())
	for flow, id := range p.All() {
		if !goes(flow, id) {
			kept[flow] = id
		}
	}
	if len(kept) == p.Len() {
		return p
	}
	return NewPins(kept)
}

// Pin pins flows, as far as there is room, and returns how many it did not pin for lack of it. A flow that is pinned
// already stays where it is: its backend said so first. Flows of backends that no pool has are nobody's.
func Pin(st State, flows map[rows.Flow]rows.BackendID) (next State, left int) {
	members := make(map[rows.BackendID]bool)
	for _, p := range st.Pools {
		for _, m := range p.Members {
			members[m.ID] = true
		}
	}
	var all map[rows.Flow]rows.BackendID
	for flow, id := range flows {
		switch {
		case !members[id] || st.Pins.Get(flow) != 0:
		case max(st.Pins.Len(), len(all)) >= limits.PinSize:
			left++
		default:
			if all == nil {
				all = make(map[rows.Flow]rows.BackendID, st.Pins.Len()+len(flows))
				maps.Insert(all, st.Pins.All())
			}
			all[flow] = id
		}
	}
	if all != nil {
		st.Pins = NewPins(all)
	}
	return st, left
}

// Unpin lets go of flows. They have been silent for the pool's drain time on every switch, or their backend is to be
// rid of them: those that live break.
func Unpin(st State, goes func(rows.Flow, rows.BackendID) bool) State {
	st.Pins = st.Pins.without(goes)
	return st
}

// unpin lets go of the flows of backends that are dead and have no grace, and of those that are nobody's.
func (s *stepper) unpin() {
	if s.next.Pins.Len() == 0 {
		return
	}
	stays := make(map[rows.BackendID]bool)
	for _, w := range s.works {
		for i, m := range w.pool.Members {
			stays[m.ID] = w.status[i] != dead || w.keeps(m.ID) || !w.anybody
		}
	}
	for id := range s.next.Pins.counts() {
		if !stays[id] {
			s.next.Pins = s.next.Pins.without(func(_ rows.Flow, id rows.BackendID) bool { return !stays[id] })
			return
		}
	}
}
