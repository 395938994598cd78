package plan

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/limits"
)

// Check returns what is in st that Step and Settle never make. Whoever reads a State from somewhere calls it first:
// Step relies on it.
func (st State) Check() error {
	var problems []error
	pools := make(map[rows.PoolID]string)
	backends := make(map[rows.BackendID]BackendKey)
	epochs := make(map[uint8]uint32)
	for name, p := range st.Pools {
		bad := func(format string, args ...any) {
			problems = append(problems, fmt.Errorf("pool %s: "+format, append([]any{name}, args...)...))
		}
		if p == nil {
			bad("is not there")
			continue
		}
		if other, ok := pools[p.ID]; ok || p.ID == 0 || p.ID >= st.NextPool {
			bad("id %d: must be 1..%d and nobody else's, is that of %q", p.ID, st.NextPool-1, other)
		}
		pools[p.ID] = name
		if n := len(p.Slots); bits.OnesCount(uint(n)) != 1 || n > maxSlots || len(p.Home) != n {
			bad("slots: must be a power of two up to %d, with as many homes, are %d and %d", maxSlots, n, len(p.Home))
			continue
		}
		members := make(map[rows.BackendID]Member)
		last := rows.BackendID(0)
		for _, m := range p.Members {
			if other, ok := backends[m.ID]; ok || m.ID <= last || m.ID >= st.NextBackend {
				bad("backend %s: id %d: must be %d..%d and nobody else's, is that of %q", m.Name, m.ID, last+1,
					st.NextBackend-1, other)
			}
			if m.Weight < 1 {
				bad("backend %s: weight: must be 1 or more, is %d", m.Name, m.Weight)
			}
			last, members[m.ID], backends[m.ID] = m.ID, m, BackendKey{name, m.Name}
		}
		if len(p.Entered) != 0 && len(p.Entered) != len(p.Slots) {
			bad("slots: there are %d, and %d last epochs: must be as many", len(p.Slots), len(p.Entered))
			continue
		}
		if err := p.check(members, st.NextEpoch, epochs); err != nil {
			bad("%w", err)
		}
	}
	if n := st.Pins.Len(); n > limits.PinSize {
		problems = append(problems, fmt.Errorf("%d pinned flows: at most %d fit", n, limits.PinSize))
	}
	for id := range st.Pins.counts() {
		if _, ok := backends[id]; !ok {
			problems = append(problems, fmt.Errorf("flows are pinned to backend %d, which is no pool's", id))
		}
	}
	return errors.Join(problems...)
}

// check returns the first slot that cannot be.
func (p *Pool) check(members map[rows.BackendID]Member, nextEpoch uint32, epochs map[uint8]uint32) error {
	known := func(id rows.BackendID) bool {
		_, ok := members[id]
		return ok || id == 0
	}
	for i, slot := range p.Slots {
		switch {
		case !known(slot.Backend) || !known(slot.Old) || !known(p.Home[i]):
			return fmt.Errorf("slot %d names a backend that is not the pool's: %+v, home %d", i, slot, p.Home[i])
		case (slot.Old != 0) != (slot.Epoch != 0), slot.Back && slot.Backend == 0,
			slot.Old != 0 && slot.Backend == slot.Old:
			return fmt.Errorf("slot %d is neither settled nor moving: %+v", i, slot)
		case slot.Epoch == 0:
			if slot.Bank != 0 || slot.Back {
				return fmt.Errorf("slot %d has a bank and does not move: %+v", i, slot)
			}
		case slot.Epoch >= nextEpoch || slot.Bank >= banks:
			return fmt.Errorf("slot %d moves in an epoch or a bank that does not exist: %+v", i, slot)
		case epochs[slot.Bank] != 0 && epochs[slot.Bank] != slot.Epoch:
			return fmt.Errorf("slot %d: bank %d is that of epoch %d, not %d", i, slot.Bank, epochs[slot.Bank],
				slot.Epoch)
		default:
			epochs[slot.Bank] = slot.Epoch
		}
	}
	for i, entered := range p.Entered {
		if slot := p.Slots[i]; entered >= nextEpoch || slot.Epoch > entered {
			return fmt.Errorf("slot %d: its last epoch must be %d..%d, is %d", i, slot.Epoch, nextEpoch-1, entered)
		}
	}
	return nil
}
