package rows

import (
	"fmt"
	"net/netip"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/packet"
)

// PoolID, BackendID name pools and backends in the switch. 0 is nobody. An id is given once and never
// again to another.
type (
	PoolID    uint32
	BackendID uint32
)

// Tables is the content of one switch's tables, as wanted or as read back. station and l2 are not
// here: the switch's own traffic decides what they hold. Whoever has a Tables must not change the
// slot slices in it: they are shared.
type Tables struct {
	Backend      map[BackendID]Forward
	Pins         map[Flow]Pin
	Slots        map[SlotTable][]Slot // by slot number
	VIP          map[VIPKey]ToPool
	VIPAddress   map[netip.Addr]struct{}
	ARPGuard     map[netip.Addr]struct{}
	ARPResponder map[netip.Addr]packet.MAC
	// Ports of stations that never move, by MAC: frames from one on another port are dropped, and frames
	// to it go there. They are Nowhere for the MAC of a VIP: nobody sends by it, and what is sent to it
	// and no service takes is dropped. One whose port the intent does not give for this switch is learned as any other:
	// it is not in PinnedStation, and Anywhere in PinnedL2.
	PinnedStation map[packet.MAC]uint16
	PinnedL2      map[packet.MAC]uint16
	// PinnedARP has the one MAC by which ARP may answer for each address of a station that the intent gives.
	PinnedARP map[netip.Addr]packet.MAC
	Flood     []uint16 // ports of the flood group, ascending; nil: no group

	// Dead are no rows: they are the backends whose new flows others must get before anything else is moved.
	Dead map[BackendID]bool
}

// NewTables returns Tables without rows.
func NewTables() Tables {
	return Tables{
		Backend: make(map[BackendID]Forward), Pins: make(map[Flow]Pin), Slots: make(map[SlotTable][]Slot),
		VIP:        make(map[VIPKey]ToPool),
		VIPAddress: make(map[netip.Addr]struct{}), ARPGuard: make(map[netip.Addr]struct{}),
		ARPResponder:  make(map[netip.Addr]packet.MAC),
		PinnedStation: make(map[packet.MAC]uint16), PinnedL2: make(map[packet.MAC]uint16),
		PinnedARP: make(map[netip.Addr]packet.MAC),
	}
}

// Ports that are none.
const (
	Nowhere  uint16 = 0             // of a station that has no port
	Anywhere uint16 = limits.NoPort // of a station whose port the switch learns
)

// Forward is the action of a backend row.
type Forward struct {
	MAC  packet.MAC
	Port uint16 // or Anywhere
}

// SlotTable names one generation of a pool's slots.
type SlotTable struct {
	Pool       PoolID
	Generation uint8
}

// VIPKey is the match of a vip row.
type VIPKey struct {
	Address  netip.Addr
	Protocol config.Protocol
	Port     uint16
}

// ToPool is the action of a vip row.
type ToPool struct {
	Pool       PoolID
	Generation uint8
	SlotMask   uint16
	Secret     Secret
}

// Secret is what a flow's hash depends on besides the flow, so that nobody outside knows which slot and which marks are
// whose (p4/include/balance.p4). Another secret is another slot for nearly every flow.
type Secret [2]uint64

// IsZero says whether there is none.
func (s Secret) IsZero() bool { return s == Secret{} }

// Table is where the pool's slots are.
func (p ToPool) Table() SlotTable { return SlotTable{p.Pool, p.Generation} }

func (t SlotTable) String() string { return fmt.Sprintf("pool %d generation %d", t.Pool, t.Generation) }

// Slot is one bucket of a pool, and at the same time its row in the switch.
//
//	Epoch == 0: settled: slot says to_backend(Backend). There is no row while Backend is 0: packets are dropped
//	Epoch != 0: moving: slot says move(Backend, Old, Bank, Epoch). New flows go to Backend, and are dropped while that
//	            is 0; the others stay with Old, and the switch reports them, to be pinned
//	Back:       slot says back(Backend, Old, Bank, Epoch): it has gone back to Backend in the epoch in which it had
//	            left it. Marked flows are those of Old.
//
// A slot has an Old exactly when it has an Epoch.
type Slot struct {
	Backend, Old BackendID
	Epoch        uint32
	Bank         uint8
	Back         bool
}

// slot returns a slot; false when the SlotTable has none of that number.
func (t *Tables) slot(of SlotTable, i uint16) (Slot, bool) {
	if rows := t.Slots[of]; int(i) < len(rows) {
		return rows[i], true
	}
	return Slot{}, false
}

// makeSlot returns the place of a slot, which is there afterwards.
func (t *Tables) makeSlot(of SlotTable, i uint16) *Slot {
	slots := t.Slots[of]
	if n := int(i) + 1; n > len(slots) {
		slots = append(slots, make([]Slot, n-len(slots))...)
		if t.Slots == nil {
			t.Slots = make(map[SlotTable][]Slot)
		}
		t.Slots[of] = slots
	}
	return &slots[i]
}
