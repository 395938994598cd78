package plan

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/sluicelb/sluice/p4/packet"
)

// Op is what a Change does to its row. Delete looks at the row's match alone.
type Op uint8

const (
	Insert Op = iota + 1
	Modify
	Delete
)

func (op Op) String() string {
	switch op {
	case Insert:
		return "insert"
	case Modify:
		return "modify"
	case Delete:
		return "delete"
	}
	return fmt.Sprintf("op %d", uint8(op))
}

// Change is one write.
type Change struct {
	Op  Op
	Row Row
}

func (c Change) String() string { return fmt.Sprintf("%s %s", c.Op, c.Row) }

// Batch is a set of changes that may be applied in any order.
type Batch []Change

// Row is one table entry: BackendRow, SlotRow, SlotOldRow, VIPRow, VIPAddressRow, ARPGuardRow,
// ARPResponderRow, PinnedStationRow, PinnedL2Row, PinnedARPRow or FloodRow. Rows are comparable, but for FloodRow.
type Row interface {
	// Table is the name of the P4 table; "multicast_group" for FloodRow.
	Table() string
	fmt.Stringer
}

type (
	BackendRow struct {
		ID BackendID
		Forward
	}
	// SlotRow is to_backend(Backend), or move(Backend, Bank, Epoch) when Epoch is not 0, or leave(Backend,
	// Grace, Bank, Epoch) when Grace is not 0 either, or with Back back(Backend, Grace, Bank, Epoch).
	SlotRow struct {
		SlotTable
		Slot    uint16
		Backend BackendID
		Epoch   uint32
		Bank    uint8
		Grace   BackendID
		Back    bool
	}
	// SlotOldRow is stay(Backend).
	SlotOldRow struct {
		SlotTable
		Slot    uint16
		Backend BackendID
		Idle    time.Duration
	}
	VIPRow struct {
		VIPKey
		ToPool
	}
	VIPAddressRow   struct{ Address netip.Addr }
	ARPGuardRow     struct{ Address netip.Addr }
	ARPResponderRow struct {
		Address netip.Addr
		MAC     packet.MAC
	}
	// PinnedStationRow is pinned(Port), by source MAC; Port may be Nowhere.
	PinnedStationRow struct {
		MAC  packet.MAC
		Port uint16
	}
	// PinnedL2Row is forward(Port), by destination MAC, or discard when Port is Nowhere.
	PinnedL2Row struct {
		MAC  packet.MAC
		Port uint16
	}
	// PinnedARPRow is owned(MAC), by sender address.
	PinnedARPRow struct {
		Address netip.Addr
		MAC     packet.MAC
	}
	FloodRow struct{ Ports []uint16 }
)

func (BackendRow) Table() string       { return "backend" }
func (SlotRow) Table() string          { return "slot" }
func (SlotOldRow) Table() string       { return "slot_old" }
func (VIPRow) Table() string           { return "vip" }
func (VIPAddressRow) Table() string    { return "vip_address" }
func (ARPGuardRow) Table() string      { return "arp_guard" }
func (ARPResponderRow) Table() string  { return "arp_responder" }
func (PinnedStationRow) Table() string { return "pinned_station" }
func (PinnedL2Row) Table() string      { return "pinned_l2" }
func (PinnedARPRow) Table() string     { return "pinned_arp" }
func (FloodRow) Table() string         { return "multicast_group" }

func (r BackendRow) String() string {
	return fmt.Sprintf("backend %d: forward_to_backend(%s, port %d)", r.ID, r.MAC, r.Forward.Port)
}

func (r SlotRow) String() string {
	if r.Epoch == 0 {
		return fmt.Sprintf("slot %s slot %d: to_backend(%d)", r.SlotTable, r.Slot, r.Backend)
	}
	if r.Back {
		return fmt.Sprintf("slot %s slot %d: back(%d, old %d, bank %d, epoch %d)",
			r.SlotTable, r.Slot, r.Backend, r.Grace, r.Bank, r.Epoch)
	}
	if r.Grace != 0 {
		return fmt.Sprintf("slot %s slot %d: leave(%d, old %d, bank %d, epoch %d)",
			r.SlotTable, r.Slot, r.Backend, r.Grace, r.Bank, r.Epoch)
	}
	return fmt.Sprintf("slot %s slot %d: move(%d, bank %d, epoch %d)", r.SlotTable, r.Slot, r.Backend, r.Bank, r.Epoch)
}

func (r SlotOldRow) String() string {
	return fmt.Sprintf("slot_old %s slot %d: stay(%d), idle after %s", r.SlotTable, r.Slot, r.Backend, r.Idle)
}

func (r VIPRow) String() string {
	return fmt.Sprintf("vip %s %s port %d: to_pool(%d, generation %d, mask 0x%x)", r.Address, r.Protocol, r.Port, r.Pool, r.Generation, r.SlotMask)
}

func (r VIPAddressRow) String() string { return fmt.Sprintf("vip_address %s: refuse()", r.Address) }
func (r ARPGuardRow) String() string   { return fmt.Sprintf("arp_guard %s: claim()", r.Address) }

func (r ARPResponderRow) String() string {
	return fmt.Sprintf("arp_responder %s: answer(%s)", r.Address, r.MAC)
}

func (r PinnedStationRow) String() string {
	if r.Port == Nowhere {
		return fmt.Sprintf("pinned_station %s: pinned(no port)", r.MAC)
	}
	return fmt.Sprintf("pinned_station %s: pinned(port %d)", r.MAC, r.Port)
}

func (r PinnedL2Row) String() string {
	if r.Port == Nowhere {
		return fmt.Sprintf("pinned_l2 %s: discard()", r.MAC)
	}
	return fmt.Sprintf("pinned_l2 %s: forward(port %d)", r.MAC, r.Port)
}

func (r PinnedARPRow) String() string {
	return fmt.Sprintf("pinned_arp %s: owned(%s)", r.Address, r.MAC)
}

func (r FloodRow) String() string { return fmt.Sprintf("multicast_group: ports %v", r.Ports) }

func (t SlotTable) String() string { return fmt.Sprintf("pool %d generation %d", t.Pool, t.Generation) }
