package plan

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/sluicelb/sluice/p4/packet"
)

// phase is a step of Diff's order. Changes of one phase do not depend on each other.
type phase int

const (
	putBackend phase = iota // backends, pins, flood group
	putSettled              // moves that end, before those that may take over their bank
	putLeaving              // slots of backends that are down: new flows must not wait for the moves of others
	putOld                  // until its slot says move, nobody looks at a slot_old row
	putMoving
	putVIP       // vip, vip_address, arp_guard: all slots are there
	putResponder // traffic comes
	dropResponder
	dropVIP
	dropAddress // vip_address, arp_guard
	dropSlot
	dropOld // no slot says move any more
	dropBackend
	phases
)

// Diff returns the writes that turn have into want: batches in the order in which they must be
// applied, none when the two are equal. Applied one by one, in any order within a batch and broken
// off anywhere, they leave nothing pointing at a row that is missing and was there, and every flow
// with a backend it may have. The same two tables give the same changes in the same order.
func Diff(have, want Tables) []Batch {
	var d differ
	diffMap(&d, putBackend, dropBackend, have.Backend, want.Backend, cmp.Compare,
		func(id BackendID, f Forward) Row { return BackendRow{id, f} })
	diffMap(&d, putBackend, dropBackend, have.PinnedStation, want.PinnedStation, packet.MAC.Compare,
		func(m packet.MAC, port uint16) Row { return PinnedStationRow{m, port} })
	diffMap(&d, putBackend, dropBackend, have.PinnedL2, want.PinnedL2, packet.MAC.Compare,
		func(m packet.MAC, port uint16) Row { return PinnedL2Row{m, port} })
	diffMap(&d, putBackend, dropBackend, have.PinnedARP, want.PinnedARP, netip.Addr.Compare,
		func(a netip.Addr, mac packet.MAC) Row { return PinnedARPRow{a, mac} })
	d.flood(have.Flood, want.Flood)
	d.slots(have.Slots, want.Slots)
	diffMap(&d, putVIP, dropVIP, have.VIP, want.VIP, VIPKey.Compare,
		func(k VIPKey, p ToPool) Row { return VIPRow{k, p} })
	diffMap(&d, putVIP, dropAddress, have.VIPAddress, want.VIPAddress, netip.Addr.Compare,
		func(a netip.Addr, _ struct{}) Row { return VIPAddressRow{a} })
	diffMap(&d, putVIP, dropAddress, have.ARPGuard, want.ARPGuard, netip.Addr.Compare,
		func(a netip.Addr, _ struct{}) Row { return ARPGuardRow{a} })
	diffMap(&d, putResponder, dropResponder, have.ARPResponder, want.ARPResponder, netip.Addr.Compare,
		func(a netip.Addr, mac packet.MAC) Row { return ARPResponderRow{a, mac} })
	return slices.DeleteFunc(d[:], func(b Batch) bool { return len(b) == 0 })
}

// differ collects changes by phase.
type differ [phases]Batch

func (d *differ) add(at phase, op Op, row Row) { d[at] = append(d[at], Change{op, row}) }

func diffMap[K, V comparable](d *differ, put, drop phase, have, want map[K]V, compare func(K, K) int, row func(K, V) Row) {
	var keys []K
	for k, v := range want {
		if h, ok := have[k]; !ok || h != v {
			keys = append(keys, k)
		}
	}
	for k := range have {
		if _, ok := want[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, compare)
	for _, k := range keys {
		h, isHeld := have[k]
		w, isWanted := want[k]
		switch {
		case !isWanted:
			d.add(drop, Delete, row(k, h))
		case isHeld:
			d.add(put, Modify, row(k, w))
		default:
			d.add(put, Insert, row(k, w))
		}
	}
}

func (d *differ) flood(have, want []uint16) {
	switch {
	case want == nil && have != nil:
		d.add(dropBackend, Delete, FloodRow{have})
	case have == nil && want != nil:
		d.add(putBackend, Insert, FloodRow{want})
	case !slices.Equal(have, want):
		d.add(putBackend, Modify, FloodRow{want})
	}
}

func (d *differ) slots(have, want map[SlotTable]Slots) {
	tables := make([]SlotTable, 0, len(want))
	for t := range want {
		tables = append(tables, t)
	}
	for t := range have {
		if _, ok := want[t]; !ok {
			tables = append(tables, t)
		}
	}
	slices.SortFunc(tables, compareSlotTables)
	for _, t := range tables {
		d.slotTable(t, have[t], want[t])
	}
}

func (d *differ) slotTable(t SlotTable, have, want Slots) {
	idle := want.OldIdle
	if have.OldIdle == idle && same(have.Rows, want.Rows) {
		return
	}
	if len(have.Rows) == 0 {
		d[putSettled] = slices.Grow(d[putSettled], len(want.Rows))
	}
	for i := range max(len(have.Rows), len(want.Rows)) {
		var h, w Slot
		if i < len(have.Rows) {
			h = have.Rows[i]
		}
		if i < len(want.Rows) {
			w = want.Rows[i]
		}
		if h == w && (w.Old == 0 || have.OldIdle == idle) {
			continue
		}
		d.slot(t, uint16(i), h, w)
		d.old(t, uint16(i), h.Old, w.Old, have.OldIdle, idle)
	}
}

func (d *differ) slot(t SlotTable, i uint16, h, w Slot) {
	if h.Old != 0 && w.Old != 0 && h.Old != w.Old && h.Epoch != 0 && h.Grace == 0 {
		// While slot_old changes nobody may look at it: the slot's own row stands in.
		bridge := w
		bridge.Old, bridge.Grace = 0, w.Old
		d.add(putLeaving, Modify, slotRow(t, i, bridge))
		h = bridge
	}
	h.Old, w.Old = 0, 0
	row, put := slotRow(t, i, w), putSettled
	switch {
	case w.Grace != 0:
		put = putLeaving
	case w.Epoch != 0:
		put = putMoving
	}
	switch {
	case h == w:
	case w == Slot{}:
		d.add(dropSlot, Delete, slotRow(t, i, h))
	case h == Slot{}:
		d.add(put, Insert, row)
	default:
		d.add(put, Modify, row)
	}
}

func slotRow(t SlotTable, i uint16, s Slot) SlotRow {
	return SlotRow{t, i, s.Backend, s.Epoch, s.Bank, s.Grace, s.Back}
}

func (d *differ) old(t SlotTable, i uint16, h, w BackendID, haveIdle, wantIdle time.Duration) {
	switch {
	case h == w && (w == 0 || haveIdle == wantIdle):
	case w == 0:
		d.add(dropOld, Delete, SlotOldRow{t, i, h, haveIdle})
	case h == 0:
		d.add(putOld, Insert, SlotOldRow{t, i, w, wantIdle})
	default:
		d.add(putOld, Modify, SlotOldRow{t, i, w, wantIdle})
	}
}

func compareSlotTables(a, b SlotTable) int {
	return cmp.Or(cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Generation, b.Generation))
}

// Compare orders keys by address, then protocol, then port.
func (a VIPKey) Compare(b VIPKey) int {
	return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
}
