package controller

import (
	"maps"
	"math"
	"sync"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/p4/limits"
)

// openings keeps what each switch had counted in a bank of mark cells when the epoch that has the bank was seen there
// first: what was opened since then decides how many flows are taken for new ones.
type openings struct {
	mu    sync.Mutex                            // guards began
	began map[string]*[limits.Banks]epochOpened // by switch
}

// epochOpened is what was counted when an epoch was seen first; 0 is none.
type epochOpened struct {
	epoch uint32
	count uint64
}

func newOpenings() *openings { return &openings{began: make(map[string]*[limits.Banks]epochOpened)} }

// banks says how the banks of a switch are that counted so many openings; epochs are those that have them now.
func (o *openings) banks(name string, counted [limits.Banks]uint64, epochs [limits.Banks]uint32) []*api.BankStatus {
	o.mu.Lock()
	defer o.mu.Unlock()
	began := o.began[name]
	if began == nil {
		began = new([limits.Banks]epochOpened)
		o.began[name] = began
	}
	var all []*api.BankStatus
	for id, n := range counted {
		b := &began[id]
		if b.epoch != epochs[id] || n < b.count { // or the switch counts from zero again
			*b = epochOpened{epochs[id], n}
		}
		is := &api.BankStatus{Id: uint32(id), Epoch: b.epoch, Openings: n}
		if b.epoch != 0 {
			cell := -math.Expm1(-float64(n-b.count) / limits.BankCells) // that one of its cells is marked
			is.FalsePositives = math.Pow(cell, limits.MarkArrays)
		}
		all = append(all, is)
	}
	return all
}

// keep lets go of all switches but those.
func (o *openings) keep(switches []*api.SwitchStatus) {
	there := make(map[string]bool)
	for _, sw := range switches {
		there[sw.Name] = true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.DeleteFunc(o.began, func(name string, _ *[limits.Banks]epochOpened) bool { return !there[name] })
}
