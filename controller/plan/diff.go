package plan

import (
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

// Change is one write.
type Change struct {
	Op  Op
	Row Row
}

// Batch is a set of changes that may be applied in any order.
type Batch []Change

// Row is one table entry: BackendRow, SlotRow, SlotOldRow, VIPRow, VIPAddressRow, ARPGuardRow,
// ARPResponderRow or FloodRow. Rows are comparable, but for FloodRow.
type Row interface {
	// Table is the name of the P4 table; "multicast_group" for FloodRow.
	Table() string
}

type (
	BackendRow struct {
		ID BackendID
		Forward
	}
	// SlotRow is to_backend(Backend), or move(Backend, Bank, Epoch) when Epoch is not 0.
	SlotRow struct {
		SlotTable
		Slot    uint16
		Backend BackendID
		Epoch   uint32
		Bank    uint8
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
	FloodRow struct{ Ports []uint16 }
)

func (BackendRow) Table() string      { return "backend" }
func (SlotRow) Table() string         { return "slot" }
func (SlotOldRow) Table() string      { return "slot_old" }
func (VIPRow) Table() string          { return "vip" }
func (VIPAddressRow) Table() string   { return "vip_address" }
func (ARPGuardRow) Table() string     { return "arp_guard" }
func (ARPResponderRow) Table() string { return "arp_responder" }
func (FloodRow) Table() string        { return "multicast_group" }
