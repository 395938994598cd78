package device

import (
	"slices"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/controller/learn"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/p4rt"
)

// held is what the switch holds, as read back and as changed since: what was done, not what was meant.
type held struct {
	rows.Tables
	rows    int                 // planned rows, not counting L2
	in      map[*rows.Table]int // the same, by table
	foreign []*v1.Entity        // entries of our tables that no row of ours can be
	old     map[oldKey]oldRow
	tables  map[rows.SlotTable]*slotTable
	led     map[rows.SlotTable]leading
}

// leading counts the vip rows that lead to a SlotTable.
type leading struct {
	vips  int
	since time.Time // when the last one of them was written, or read back
}

// oldKey is the match of a slot_old row.
type oldKey struct {
	rows.SlotTable
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
		Tables: rows.NewTables(),
		in:     make(map[*rows.Table]int),
		old:    make(map[oldKey]oldRow),
		tables: make(map[rows.SlotTable]*slotTable),
		led:    make(map[rows.SlotTable]leading),
	}
}

// add takes one entry that was read back. L2 rows go to the learner.
func (h *held) add(c *codec, l *learn.Learner, e *v1.TableEntry, now time.Time) {
	if e.GetIsDefaultAction() {
		return
	}
	if row, ok := c.parseRow(e); ok {
		h.apply(rows.Change{Op: rows.Insert, Row: row}, now)
		return
	}
	if t, is, ok := c.parseStation(e); ok {
		l.Adopt(t, is.MAC, is.Port)
		return
	}
	h.foreign = append(h.foreign, onlyKey(p4rt.TableEntity(e)))
}

// apply records a change that the switch took.
func (h *held) apply(ch rows.Change, now time.Time) {
	switch ch.Op {
	case rows.Insert:
		h.rows++
		h.in[ch.Row.Kind().Table]++
	case rows.Delete:
		h.rows--
		if t := ch.Row.Kind().Table; h.in[t] > 1 {
			h.in[t]--
		} else {
			delete(h.in, t)
		}
	}
	gone := ch.Op == rows.Delete
	switch r := ch.Row.(type) {
	case rows.SlotRow:
		h.count(r.SlotTable, ch.Op)
		h.put(r, gone)
		key := oldKey{r.SlotTable, r.Slot}
		if old, ok := h.old[key]; ok {
			old.since = now
			h.old[key] = old
		}
		h.tidy(key.SlotTable)
	case rows.SlotOldRow:
		h.count(r.SlotTable, ch.Op)
		h.put(r, gone)
		key := oldKey{r.SlotTable, r.Slot}
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
	case rows.VIPRow:
		if before, ok := h.VIP[r.VIPKey]; ok {
			h.lead(before, -1, now)
		}
		if !gone {
			h.lead(r.ToPool, 1, now)
		}
		h.put(r, gone)
	default:
		h.put(r, gone)
	}
}

func (h *held) put(r rows.Row, gone bool) {
	if gone {
		h.Drop(r)
	} else {
		h.Put(r)
	}
}

// lead counts a vip row more or less that leads to a SlotTable.
func (h *held) lead(to rows.ToPool, n int, now time.Time) {
	key := to.Table()
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

// count counts the rows of a SlotTable.
func (h *held) count(key rows.SlotTable, op rows.Op) {
	t := h.tables[key]
	if t == nil {
		t = &slotTable{idles: make(map[time.Duration]int)}
		h.tables[key] = t
	}
	switch op {
	case rows.Insert:
		t.rows++
	case rows.Delete:
		t.rows--
	}
}

// tidy brings a SlotTable's idle timeout up to date and drops one without rows.
func (h *held) tidy(key rows.SlotTable) {
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
	return plan.SlotRef{Pool: key.Pool, Generation: key.Generation, Slot: key.slot, Old: s.Old},
		s.Epoch != 0 && s.Grace == 0
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
