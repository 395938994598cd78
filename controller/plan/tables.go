package plan

import (
	"net/netip"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/p4/packet"
)

// Tables is the content of one switch's tables, as wanted or as read back. station and l2 are not
// here: the switch's own traffic decides what they hold. Whoever has a Tables must not change the
// slot slices in it: they are shared.
type Tables struct {
	Backend      map[BackendID]Forward
	Slots        map[SlotTable]Slots
	VIP          map[VIPKey]ToPool
	VIPAddress   map[netip.Addr]struct{}
	ARPGuard     map[netip.Addr]struct{}
	ARPResponder map[netip.Addr]packet.MAC
	// Ports of stations that never move, by MAC: frames from one on another port are dropped, and frames
	// to it go there. They are Nowhere for the MAC of a VIP: nobody sends by it, and what is sent to it
	// and no service takes is dropped.
	PinnedStation map[packet.MAC]uint16
	PinnedL2      map[packet.MAC]uint16
	// PinnedARP has the one MAC by which ARP may answer for each address of a station that the intent gives.
	PinnedARP map[netip.Addr]packet.MAC
	Flood     []uint16 // ports of the flood group, ascending; nil: no group
}

// Nowhere is the port of who has none.
const Nowhere uint16 = 0

// Forward is the action of a backend row.
type Forward struct {
	MAC  packet.MAC
	Port uint16
}

// SlotTable names one generation of a pool's slots.
type SlotTable struct {
	Pool       PoolID
	Generation uint8
}

// Slots holds the slot and slot_old rows of one SlotTable, by slot number.
type Slots struct {
	Rows    []Slot
	OldIdle time.Duration // idle timeout of the slot_old rows; 0 in what is read back: they differ
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
}
