package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sluicelb/sluice/controller/rows"
)

func TestCheckRefusesWhatStepNeverMakes(t *testing.T) {
	w := newWorld(t, pool(4, equal(2)...))
	w.step()
	w.admin("b1", Drain).step()
	moving := slices.IndexFunc(w.st.Pools["web"].Slots, func(s rows.Slot) bool { return s.Old != 0 })
	settled := slices.IndexFunc(w.st.Pools["web"].Slots, func(s rows.Slot) bool { return s.Old == 0 })
	tests := []struct {
		name   string
		change func(*State, *Pool)
		want   string
	}{
		{"nothing", func(*State, *Pool) {}, "<nil>"},
		{"pool id 0", func(_ *State, p *Pool) { p.ID = 0 },
			`pool web: id 0: must be 1..1 and nobody else's, is that of ""`},
		{"pool id to come", func(_ *State, p *Pool) { p.ID = 2 },
			`pool web: id 2: must be 1..1 and nobody else's, is that of ""`},
		{"no pool", func(s *State, _ *Pool) { s.Pools["web"] = nil }, `pool web: is not there`},
		{"slots and homes", func(_ *State, p *Pool) { p.Home = p.Home[:3] },
			`pool web: slots: must be a power of two up to 65536, with as many homes, are 4 and 3`},
		{"three slots", func(_ *State, p *Pool) { p.Home, p.Slots = p.Home[:3], p.Slots[:3] },
			`pool web: slots: must be a power of two up to 65536, with as many homes, are 3 and 3`},
		{"no slots", func(_ *State, p *Pool) { p.Home, p.Slots = nil, nil },
			`pool web: slots: must be a power of two up to 65536, with as many homes, are 0 and 0`},
		{"backend id twice", func(_ *State, p *Pool) { p.Members[1].ID = 1 },
			`pool web: backend b2: id 1: must be 2..2 and nobody else's, is that of "web/b1"`},
		{"weight", func(_ *State, p *Pool) { p.Members[1].Weight = 0 },
			`pool web: backend b2: weight: must be 1 or more, is 0`},
		{"unknown backend", func(_ *State, p *Pool) { p.Slots[settled].Backend = 9 },
			fmt.Sprintf("pool web: slot %d names a backend that is not the pool's: {Backend:9 Old:0 Epoch:0 "+
				"Bank:0 Back:false}, home 2", settled)},
		{"no epoch", func(_ *State, p *Pool) { p.Slots[moving].Epoch = 0 },
			fmt.Sprintf("pool web: slot %d is neither settled nor moving: {Backend:2 Old:1 Epoch:0 Bank:0 "+
				"Back:false}", moving)},
		{"from itself", func(_ *State, p *Pool) { p.Slots[moving].Old = 2 },
			fmt.Sprintf("pool web: slot %d is neither settled nor moving: {Backend:2 Old:2 Epoch:1 Bank:0 "+
				"Back:false}", moving)},
		{"epoch to come", func(_ *State, p *Pool) { p.Slots[moving].Epoch = 2 },
			fmt.Sprintf("pool web: slot %d moves in an epoch or a bank that does not exist: {Backend:2 Old:1 "+
				"Epoch:2 Bank:0 Back:false}", moving)},
		{"bank that is not", func(_ *State, p *Pool) { p.Slots[moving].Bank = 4 },
			fmt.Sprintf("pool web: slot %d moves in an epoch or a bank that does not exist: {Backend:2 Old:1 "+
				"Epoch:1 Bank:4 Back:false}", moving)},
		{"bank of a settled slot", func(_ *State, p *Pool) { p.Slots[settled].Bank = 1 },
			fmt.Sprintf("pool web: slot %d has a bank and does not move: {Backend:2 Old:0 Epoch:0 Bank:1 "+
				"Back:false}", settled)},
		{"pins of nobody", func(s *State, _ *Pool) {
			s.Pins = NewPins(map[rows.Flow]rows.BackendID{1: 1, 2: 9})
		}, "flows are pinned to backend 9, which is no pool's"},
		{"epoch not entered", func(_ *State, p *Pool) { p.Entered = make([]uint32, len(p.Slots)) },
			fmt.Sprintf("pool web: slot %d: its last epoch must be 1..1, is 0", moving)},
		{"last epochs of some", func(_ *State, p *Pool) { p.Entered = p.Entered[:1] },
			"pool web: slots: there are 4, and 1 last epochs: must be as many"},
		{"two epochs in a bank", func(s *State, p *Pool) {
			s.NextEpoch = 9
			p.Slots[settled] = rows.Slot{Backend: 1, Old: 2, Epoch: 7}
		}, fmt.Sprintf("pool web: slot %d: bank 0 is that of epoch", max(moving, settled))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			st := w.st
			p := *st.Pools["web"]
			p.Members, p.Home, p.Slots = slices.Clone(p.Members), slices.Clone(p.Home), slices.Clone(p.Slots)
			st.Pools = maps.Clone(st.Pools)
			st.Pools["web"] = &p
			tt.change(&st, &p)
			if got := fmt.Sprint(st.Check()); !strings.HasPrefix(got, tt.want) {
				t.Errorf("Check() = %s\nwant %s", got, tt.want)
			}
		})
	}
}
