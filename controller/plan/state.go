package plan

import (
	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/packet"
)

// State is what the plan remembers: who has which slot is a matter of history, not of the intent
// alone. It is stored with the intent. The zero State is the one before the first Step. A State and
// all it points to is never modified once returned: Step and Settle copy what they change.
type State struct {
	NextPool    rows.PoolID
	NextBackend rows.BackendID
	// NextEpoch only grows: the switch's mark cells keep epochs for ever, and one that is used again
	// takes the flows of its first use for new ones.
	NextEpoch uint32
	// Secret is that of pools to come. It is the cluster's, and drawn at random when its store is new.
	Secret rows.Secret
	Pools  map[string]*Pool
	Pins   *Pins // nil: there are none
}

// Pool is the memory of one pool.
type Pool struct {
	ID         rows.PoolID
	Generation uint8 // another one each time the number of slots changes
	Members    []Member
	Home       []rows.BackendID // who has each slot when everybody is up
	Slots      []rows.Slot      // the same length
	// Entered is the last epoch that each slot has entered, 0: none; nil: none has. Flows that were opened in an
	// epoch stay marked for as long as it lives, so a slot enters only epochs that are younger.
	Entered []uint32
	Secret  rows.Secret `json:",omitzero"` // of the hashes of its flows; it stays
}

// Member is a backend of the intent, or one that left it and still serves old flows.
type Member struct {
	ID      rows.BackendID
	Name    string
	MAC     packet.MAC
	Port    uint16            // of every switch; 0: as Ports says
	Ports   map[string]uint16 `json:",omitempty"` // by switch. Nobody changes it
	Address string            // where healthd finds it, be it removed or not; unknown to older stores
	Weight  int
	Removed bool // from the intent
}

// SwitchPort says where the member is.
func (m Member) SwitchPort() config.SwitchPorts { return config.SwitchPorts{All: m.Port, By: m.Ports} }

// Equal says whether two members are the same.
func (m Member) Equal(o Member) bool {
	return m.ID == o.ID && m.Name == o.Name && m.MAC == o.MAC && m.SwitchPort().Equal(o.SwitchPort()) &&
		m.Address == o.Address && m.Weight == o.Weight && m.Removed == o.Removed
}
