package device

import (
	"net/netip"
	"slices"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/controller/learn"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/packet"
)

// held is what the switch holds, as read back and as changed since: what was done, not what was meant.
type held struct {
	plan.Tables
	rows    int          // planned rows, not counting L2
	foreign []*v1.Entity // entries of our tables that no row of ours can be
	old     map[oldKey]oldRow
	tables  map[plan.SlotTable]*slotTable
	led     map[plan.SlotTable]leading
}

// leading counts the vip rows that lead to a SlotTable.
type leading struct {
	vips  int
	since time.Time // when the last one of them was written, or read back
}

// oldKey is the match of a slot_old row.
type oldKey struct {
	plan.SlotTable
	slot uint16
}

// oldRow is what a Tables does not say of a slot_old row.
type oldRow struct {
	idle  time.Duration
	since time.Time // when the later one of slot and slot_old was written, or read back
}

// slotTable counts rows of slot and slot_old.
type slotTable struct {
	rows  int
	idles map[time.Duration]int // slot_old rows by idle timeout
}

func newHeld() *held {
	return &held{
		Tables: plan.Tables{
			Backend:      make(map[plan.BackendID]plan.Forward),
			Slots:        make(map[plan.SlotTable]plan.Slots),
			VIP:          make(map[plan.VIPKey]plan.ToPool),
			VIPAddress:   make(map[netip.Addr]struct{}),
			ARPGuard:     make(map[netip.Addr]struct{}),
			ARPResponder: make(map[netip.Addr]packet.MAC),

			PinnedStation: make(map[packet.MAC]uint16),
			PinnedL2:      make(map[packet.MAC]uint16),
			PinnedARP:     make(map[netip.Addr]packet.MAC),
		},
		old:    make(map[oldKey]oldRow),
		tables: make(map[plan.SlotTable]*slotTable),
		led:    make(map[plan.SlotTable]leading),
	}
}

// add takes one entry that was read back. L2 rows go to the learner.
func (h *held) add(c *codec, l *learn.Learner, e *v1.TableEntry, now time.Time) {
	if e.GetIsDefaultAction() {
		return
	}
	if row, ok := c.parseRow(e); ok {
		h.apply(plan.Change{Op: plan.Insert, Row: row}, now)
		return
	}
	if t, mac, port, ok := c.parseStation(e); ok {
		l.Adopt(t, mac, port)
		return
	}
	h.foreign = append(h.foreign, onlyKey(p4rt.TableEntity(e)))
}

// parseRow reads a planned row; false when e cannot be one.
func (c *codec) parseRow(e *v1.TableEntry) (plan.Row, bool) {
	switch e.GetTableId() {
	case c.backend.id:
		k, ok := c.backend.key(e)
		a, ok2 := c.forwardToBackend.of(e)
		return plan.BackendRow{ID: plan.BackendID(k[0]), Forward: plan.Forward{MAC: toMAC(a[0]), Port: uint16(a[1])}}, ok && ok2
	case c.slot.id:
		k, ok := c.slot.key(e)
		r := plan.SlotRow{SlotTable: toSlotTable(k), Slot: uint16(k[2])}
		if a, ok := c.toBackend.of(e); ok {
			r.Backend = plan.BackendID(a[0])
		} else if a, ok := c.move.of(e); ok && a[2] != 0 {
			r.Backend, r.Bank, r.Epoch = plan.BackendID(a[0]), uint8(a[1]), uint32(a[2])
		} else if a, ok := c.leave.of(e); ok && a[1] != 0 && a[3] != 0 {
			r.Backend, r.Grace, r.Bank, r.Epoch = plan.BackendID(a[0]), plan.BackendID(a[1]), uint8(a[2]), uint32(a[3])
		} else if a, ok := c.back.of(e); ok && a[0] != 0 && a[3] != 0 {
			r.Backend, r.Grace, r.Bank, r.Epoch, r.Back = plan.BackendID(a[0]), plan.BackendID(a[1]), uint8(a[2]), uint32(a[3]), true
		}
		return r, ok && (r.Backend != 0 || r.Grace != 0)
	case c.slotOld.id:
		k, ok := c.slotOld.key(e)
		a, ok2 := c.stay.of(e)
		return plan.SlotOldRow{SlotTable: toSlotTable(k), Slot: uint16(k[2]), Backend: plan.BackendID(a[0]),
			Idle: time.Duration(e.GetIdleTimeoutNs())}, ok && ok2 && a[0] != 0
	case c.vip.id:
		k, ok := c.vip.key(e)
		a, ok2 := c.toPool.of(e)
		return plan.VIPRow{VIPKey: toVIPKey(k), ToPool: plan.ToPool{
			Pool: plan.PoolID(a[0]), Generation: uint8(a[1]), SlotMask: uint16(a[2])}}, ok && ok2
	case c.vipAddress.id:
		k, ok := c.vipAddress.key(e)
		_, ok2 := c.refuse.of(e)
		return plan.VIPAddressRow{Address: toAddr(k[0])}, ok && ok2
	case c.arpGuard.id:
		k, ok := c.arpGuard.key(e)
		_, ok2 := c.claim.of(e)
		return plan.ARPGuardRow{Address: toAddr(k[0])}, ok && ok2
	case c.arpResponder.id:
		k, ok := c.arpResponder.key(e)
		a, ok2 := c.answer.of(e)
		return plan.ARPResponderRow{Address: toAddr(k[0]), MAC: toMAC(a[0])}, ok && ok2
	case c.pinnedStation.id:
		k, ok := c.pinnedStation.key(e)
		a, ok2 := c.pinned.of(e)
		ok2 = ok2 && a[0] != uint64(plan.Nowhere)
		r := plan.PinnedStationRow{MAC: toMAC(k[0]), Port: uint16(a[0])}
		if r.Port == limits.NoPort {
			r.Port = plan.Nowhere
		}
		return r, ok && ok2
	case c.pinnedL2.id:
		k, ok := c.pinnedL2.key(e)
		r := plan.PinnedL2Row{MAC: toMAC(k[0]), Port: plan.Nowhere}
		_, ok2 := c.discard.of(e)
		if a, ok := c.forward.of(e); ok && a[0] != uint64(plan.Nowhere) {
			r.Port, ok2 = uint16(a[0]), true
		}
		return r, ok && ok2
	case c.pinnedARP.id:
		k, ok := c.pinnedARP.key(e)
		a, ok2 := c.owned.of(e)
		return plan.PinnedARPRow{Address: toAddr(k[0]), MAC: toMAC(a[0])}, ok && ok2
	}
	return nil, false
}

func (c *codec) parseStation(e *v1.TableEntry) (t learn.Table, mac packet.MAC, port uint16, ok bool) {
	switch e.GetTableId() {
	case c.station.id:
		k, ok := c.station.key(e)
		a, ok2 := c.known.of(e)
		return learn.Station, toMAC(k[0]), uint16(a[0]), ok && ok2
	case c.l2.id:
		k, ok := c.l2.key(e)
		a, ok2 := c.forward.of(e)
		return learn.L2, toMAC(k[0]), uint16(a[0]), ok && ok2
	}
	return 0, mac, 0, false
}

func toSlotTable(k [3]uint64) plan.SlotTable {
	return plan.SlotTable{Pool: plan.PoolID(k[0]), Generation: uint8(k[1])}
}

// apply records a change that the switch took.
func (h *held) apply(ch plan.Change, now time.Time) {
	switch ch.Op {
	case plan.Insert:
		h.rows++
	case plan.Delete:
		h.rows--
	}
	gone := ch.Op == plan.Delete
	switch r := ch.Row.(type) {
	case plan.BackendRow:
		set(h.Backend, r.ID, r.Forward, gone)
	case plan.SlotRow:
		key := oldKey{r.SlotTable, r.Slot}
		if gone {
			r = plan.SlotRow{}
		}
		s := h.slot(key, ch.Op)
		*s = plan.Slot{Backend: r.Backend, Old: s.Old, Grace: r.Grace, Epoch: r.Epoch, Bank: r.Bank, Back: r.Back}
		if old, ok := h.old[key]; ok {
			old.since = now
			h.old[key] = old
		}
		h.tidy(key.SlotTable)
	case plan.SlotOldRow:
		key := oldKey{r.SlotTable, r.Slot}
		if gone {
			r.Backend = 0
		}
		h.slot(key, ch.Op).Old = r.Backend
		idles := h.tables[key.SlotTable].idles
		if before, ok := h.old[key]; ok {
			if idles[before.idle]--; idles[before.idle] == 0 {
				delete(idles, before.idle)
			}
		}
		set(h.old, key, oldRow{r.Idle, now}, gone)
		if !gone {
			idles[r.Idle]++
		}
		h.tidy(key.SlotTable)
	case plan.VIPRow:
		if before, ok := h.VIP[r.VIPKey]; ok {
			h.lead(before, -1, now)
		}
		if !gone {
			h.lead(r.ToPool, 1, now)
		}
		set(h.VIP, r.VIPKey, r.ToPool, gone)
	case plan.VIPAddressRow:
		set(h.VIPAddress, r.Address, struct{}{}, gone)
	case plan.ARPGuardRow:
		set(h.ARPGuard, r.Address, struct{}{}, gone)
	case plan.ARPResponderRow:
		set(h.ARPResponder, r.Address, r.MAC, gone)
	case plan.PinnedStationRow:
		set(h.PinnedStation, r.MAC, r.Port, gone)
	case plan.PinnedL2Row:
		set(h.PinnedL2, r.MAC, r.Port, gone)
	case plan.PinnedARPRow:
		set(h.PinnedARP, r.Address, r.MAC, gone)
	case plan.FloodRow:
		h.Flood = slices.Clone(r.Ports)
		if gone {
			h.Flood = nil
		}
	}
}

// lead counts a vip row more or less that leads to a SlotTable.
func (h *held) lead(to plan.ToPool, n int, now time.Time) {
	key := plan.SlotTable{Pool: to.Pool, Generation: to.Generation}
	l := h.led[key]
	l.vips += n
	if n > 0 {
		l.since = now
	}
	set(h.led, key, l, l.vips == 0)
}

func set[K comparable, V any](m map[K]V, k K, v V, gone bool) {
	if gone {
		delete(m, k)
	} else {
		m[k] = v
	}
}

// slot returns the place of a slot, which is there afterwards, and counts the row that op changes.
func (h *held) slot(key oldKey, op plan.Op) *plan.Slot {
	t := h.tables[key.SlotTable]
	if t == nil {
		t = &slotTable{idles: make(map[time.Duration]int)}
		h.tables[key.SlotTable] = t
	}
	switch op {
	case plan.Insert:
		t.rows++
	case plan.Delete:
		t.rows--
	}
	slots := h.Slots[key.SlotTable]
	if n := int(key.slot) + 1; n > len(slots.Rows) {
		slots.Rows = append(slots.Rows, make([]plan.Slot, n-len(slots.Rows))...)
		h.Slots[key.SlotTable] = slots
	}
	return &slots.Rows[key.slot]
}

// tidy brings a SlotTable's idle timeout up to date and drops one without rows.
func (h *held) tidy(key plan.SlotTable) {
	t := h.tables[key]
	if t.rows == 0 {
		delete(h.tables, key)
		delete(h.Slots, key)
		return
	}
	slots := h.Slots[key]
	slots.OldIdle = 0 // they differ, unless
	if len(t.idles) == 1 {
		for idle := range t.idles {
			slots.OldIdle = idle
		}
	}
	h.Slots[key] = slots
}

// idleRow returns the moving slot of an idle notification, provided that packets could have arrived at
// slot_old for the whole timeout: both of the slot's rows were there, and no VIP led elsewhere.
func (h *held) idleRow(key oldKey, now time.Time) (plan.SlotRef, bool) {
	old, ok := h.old[key]
	if !ok || now.Sub(old.since) < old.idle {
		return plan.SlotRef{}, false
	}
	for table, l := range h.led {
		if table.Pool == key.Pool && (table != key.SlotTable || now.Sub(l.since) < old.idle) {
			return plan.SlotRef{}, false
		}
	}
	s := h.Slots[key.SlotTable].Rows[key.slot]
	return plan.SlotRef{Pool: key.Pool, Generation: key.Generation, Slot: key.slot, Old: s.Old}, s.Epoch != 0 && s.Grace == 0
}

// addGroup takes a multicast group that was read back.
func (h *held) addGroup(e *v1.MulticastGroupEntry) error {
	g, err := p4rt.DecodeMulticastGroup(e)
	if err != nil || g.ID != limits.FloodGroup {
		return err
	}
	h.rows++
	h.Flood = []uint16{} // there, but of nobody
	for _, r := range g.Replicas {
		if r.Instance != 1 || r.Port > 0xffff {
			h.Flood = []uint16{}
			return nil // not as this controller writes it: will be modified
		}
		h.Flood = append(h.Flood, uint16(r.Port))
	}
	slices.Sort(h.Flood)
	return nil
}
