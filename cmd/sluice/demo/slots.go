package demo

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/packet"
)

// slotTable is a pool's slots as the switch has them: for each slot the server that gets new flows,
// and, while the slot moves, the one that keeps the old flows.
type slotTable struct {
	to, old []string // "" is nobody
}

// moves counts slots by the servers that they went between.
type moves map[move]int

type move struct{ from, to string }

// knows reports whether the switch has learned that a station is at a port.
func knows(ctx context.Context, c *p4rt.Client, mac packet.MAC, port uint16) (bool, error) {
	info, err := p4rt.NewInfo(p4.P4Info())
	if err != nil {
		return false, err
	}
	table, err := info.Table("l2")
	if err != nil {
		return false, err
	}
	query := p4rt.TableEntity(&v1.TableEntry{TableId: table.ID})
	for e, err := range (p4rt.Inspector{Client: c, Info: info}).Entries(ctx, query) {
		if err != nil {
			return false, fmt.Errorf("reading the stations from the switch: %w", err)
		}
		if e.Field("mac").MAC() == mac && e.Param("port").Uint() == uint64(port) {
			return true, nil
		}
	}
	return false, nil
}

// readSlots reads the slots back from the switch over P4Runtime, as any client may. names has the
// servers by their MACs: what counts is where frames go, not what ids mean to the controller.
func readSlots(ctx context.Context, c *p4rt.Client, size int, names map[packet.MAC]string) (slotTable, error) {
	t, err := readSlotRows(ctx, c, size, names)
	if err != nil {
		return slotTable{}, fmt.Errorf("reading the slots from the switch: %w", err)
	}
	return t, nil
}

func readSlotRows(ctx context.Context, c *p4rt.Client, size int, names map[packet.MAC]string) (slotTable, error) {
	info, err := p4rt.NewInfo(p4.P4Info())
	if err != nil {
		return slotTable{}, err
	}
	backends := make(map[uint64]string)
	t := slotTable{to: make([]string, size), old: make([]string, size)}
	owner := func(e p4rt.Entry, param string, owners []string) error {
		slot := e.Field("slot").Uint()
		if slot >= uint64(size) {
			return fmt.Errorf("%v: the pool has %d slots", e, size)
		}
		id := e.Param(param).Uint()
		name, ok := backends[id]
		if !ok && id != 0 {
			return fmt.Errorf("%v: no such backend", e)
		}
		owners[slot] = name
		return nil
	}
	for _, step := range []struct {
		table string
		row   func(p4rt.Entry) error
	}{
		{"backend", func(e p4rt.Entry) error {
			name, ok := names[e.Param("mac").MAC()]
			if !ok {
				return fmt.Errorf("%v: no server has this MAC", e)
			}
			backends[e.Field("backend_id").Uint()] = name
			return nil
		}},
		{"slot", func(e p4rt.Entry) error {
			if err := owner(e, "backend_id", t.to); err != nil || e.Action == "to_backend" {
				return err
			}
			return owner(e, "old_id", t.old)
		}},
	} {
		table, err := info.Table(step.table)
		if err != nil {
			return slotTable{}, err
		}
		query := &v1.TableEntry{TableId: table.ID} // no counters: only who is where
		for e, err := range (p4rt.Inspector{Client: c, Info: info}).Entries(ctx, p4rt.TableEntity(query)) {
			if err != nil {
				return slotTable{}, err
			}
			if err := step.row(e); err != nil {
				return slotTable{}, err
			}
		}
	}
	return t, nil
}

// share returns how many slots each server has.
func (t slotTable) share() map[string]int {
	n := make(map[string]int)
	for _, name := range t.to {
		n[name]++
	}
	return n
}

// moving counts the slots whose old flows are still served where they were opened; with a name, by
// that server.
func (t slotTable) moving(name string) int {
	n := 0
	for _, old := range t.old {
		if old != "" && (name == "" || old == name) {
			n++
		}
	}
	return n
}

// movesTo says what changed hands between t and after.
func (t slotTable) movesTo(after slotTable) moves {
	m := make(moves)
	for slot, from := range t.to {
		if to := after.to[slot]; to != from {
			m[move{from, to}]++
		}
	}
	return m
}

// all counts the moves.
func (m moves) all() int {
	n := 0
	for _, count := range m {
		n += count
	}
	return n
}

// sorted returns the moves in a fixed order.
func (m moves) sorted() []move {
	return slices.SortedFunc(maps.Keys(m), func(a, b move) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	})
}

// surplusLeaving counts the moves that the loss of a server's slots does not explain.
func (m moves) surplusLeaving(server string) int {
	surplus := 0
	for mv, count := range m {
		if mv.from != server || mv.to == server {
			surplus += count
		}
	}
	return surplus
}

// surplusReturning counts the moves that a server's return to its share does not explain.
func (m moves) surplusReturning(server string, share int) int {
	surplus, taken := 0, 0
	for mv, count := range m {
		if mv.to == server {
			taken += count
		} else {
			surplus += count
		}
	}
	return surplus + max(0, taken-share)
}
