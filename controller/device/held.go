package device

import (
	"slices"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/controller/learn"
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
	rowsOf  map[rows.SlotTable]int
	moving  int // slots
}

func newHeld() *held {
	return &held{Tables: rows.NewTables(), in: make(map[*rows.Table]int), rowsOf: make(map[rows.SlotTable]int)}
}

// add takes one entry that was read back. L2 rows go to the learner.
func (h *held) add(c *codec, l *learn.Learner, e *v1.TableEntry) {
	if e.GetIsDefaultAction() {
		return
	}
	if row, ok := c.parseRow(e); ok {
		h.apply(rows.Change{Op: rows.Insert, Row: row})
		return
	}
	if t, is, ok := c.parseStation(e); ok {
		l.Adopt(t, is.MAC, is.Port)
		return
	}
	h.foreign = append(h.foreign, onlyKey(p4rt.TableEntity(e)))
}

// apply records a change that the switch took.
func (h *held) apply(ch rows.Change) {
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
	r, isSlot := ch.Row.(rows.SlotRow)
	if isSlot {
		if was, ok := r.Held(&h.Tables); ok && was.(rows.SlotRow).Epoch != 0 {
			h.moving--
		}
		if ch.Op != rows.Delete && r.Epoch != 0 {
			h.moving++
		}
	}
	if ch.Op == rows.Delete {
		h.Drop(ch.Row)
	} else {
		h.Put(ch.Row)
	}
	if !isSlot {
		return
	}
	switch ch.Op {
	case rows.Insert:
		h.rowsOf[r.SlotTable]++
	case rows.Delete:
		if h.rowsOf[r.SlotTable]--; h.rowsOf[r.SlotTable] == 0 {
			delete(h.rowsOf, r.SlotTable)
			delete(h.Slots, r.SlotTable)
		}
	}
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
