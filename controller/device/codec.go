package device

import (
	"errors"
	"fmt"
	"slices"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/controller/learn"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/p4rt"
)

// codec turns rows into P4Runtime entities and back. All names are resolved once: a pipeline that
// lacks one is an error at the start, never an id 0, which would be a wildcard.
type codec struct {
	info     *p4rt.Info
	tables   []*table // in the order in which they are read back
	byTable  map[*rows.Table]*table
	byID     map[uint32]*table
	stations int // that there is room for
}

// table is a rows.Table with the ids that a pipeline has given to its names, in the same order.
type table struct {
	*rows.Table
	id      uint32
	keys    []uint32
	actions []action
	size    int
}

type action struct {
	*rows.Action
	id     uint32
	params []uint32
}

func newCodec(info *p4rt.Info) (*codec, error) {
	c := &codec{info: info, byTable: make(map[*rows.Table]*table), byID: make(map[uint32]*table)}
	var errs []error
	for _, t := range slices.Concat(rows.Planned, []*rows.Table{rows.Station, rows.L2}) {
		if len(t.Keys) == 0 {
			continue // the multicast group
		}
		to, err := resolve(info, t)
		errs = append(errs, err...)
		c.tables = append(c.tables, to)
		c.byTable[t], c.byID[to.id] = to, to
	}
	for _, t := range []*rows.Table{rows.Station, rows.L2} {
		if t, err := info.Table(t.Name); err == nil && (c.stations == 0 || int(t.Size) < c.stations) {
			c.stations = int(t.Size)
		}
	}
	return c, errors.Join(errs...)
}

// occupancy says how full the tables are that the plan fills.
func (c *codec) occupancy(h *held) (all []Occupancy) {
	for _, t := range c.tables {
		if t.Table != rows.Station && t.Table != rows.L2 {
			all = append(all, Occupancy{t.Name, h.in[t.Table], t.size})
		}
	}
	return all
}

// resolve finds the ids of a table.
func resolve(info *p4rt.Info, t *rows.Table) (*table, []error) {
	to := &table{Table: t}
	is, err := info.Table(t.Name)
	if err != nil {
		return to, []error{err}
	}
	var errs []error
	to.id, to.size = is.ID, int(is.Size)
	if len(is.Keys) != len(t.Keys) {
		errs = append(errs, fmt.Errorf("table %s has %d keys, must have %d", t.Name, len(is.Keys), len(t.Keys)))
	}
	for _, key := range t.Keys {
		k, err := is.Key(key)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if k.Kind != p4rt.Exact {
			errs = append(errs, fmt.Errorf("table %s: key %s is %v, must be exact", t.Name, key, k.Kind))
		}
		to.keys = append(to.keys, k.ID)
	}
	for _, do := range t.Actions {
		a := action{Action: do}
		is, err := info.Action(do.Name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		a.id = is.ID
		for _, param := range do.Params {
			id := uint32(0)
			for _, p := range is.Params {
				if p.Name == param {
					id = p.ID
				}
			}
			if id == 0 {
				errs = append(errs, fmt.Errorf("action %s has no parameter %s", do.Name, param))
			}
			a.params = append(a.params, id)
		}
		if len(is.Params) != len(do.Params) {
			errs = append(errs, fmt.Errorf("action %s has %d parameters, must have %d", do.Name, len(is.Params),
				len(do.Params)))
		}
		to.actions = append(to.actions, a)
	}
	return to, errs
}

// query asks for all entries of a table.
func (t *table) query() *v1.Entity { return p4rt.TableEntity(&v1.TableEntry{TableId: t.id}) }

// row makes the entity of a planned row.
func (c *codec) row(row rows.Row) *v1.Entity {
	if group, ok := row.(rows.FloodRow); ok {
		g := p4rt.MulticastGroup{ID: limits.FloodGroup}
		for _, port := range group.Ports.List() {
			g.Replicas = append(g.Replicas, p4rt.Replica{Port: uint32(port), Instance: 1})
		}
		return g.Entity()
	}
	return c.byTable[row.Kind().Table].entity(row.Entry())
}

// change makes the update of a planned change.
func (c *codec) change(ch rows.Change) *v1.Update {
	e := c.row(ch.Row)
	switch ch.Op {
	case rows.Insert:
		return p4rt.Insert(e)
	case rows.Modify:
		return p4rt.Modify(e)
	}
	return p4rt.Delete(onlyKey(e))
}

// learned makes the update of a learned change. Only the source's row ages.
func (c *codec) learned(ch learn.Change, idle time.Duration) *v1.Update {
	t := rows.L2
	if ch.Table == learn.Station {
		t = rows.Station
	}
	row := rows.Learned{MAC: ch.MAC, Port: ch.Port}.Entry(t)
	if t == rows.Station {
		row.Idle = idle
	}
	e := c.byTable[t].entity(row)
	switch ch.Op {
	case learn.Insert:
		return p4rt.Insert(e)
	case learn.Modify:
		return p4rt.Modify(e)
	}
	return p4rt.Delete(onlyKey(e))
}

// onlyKey strips what a DELETE does not look at (section "Table Entry").
func onlyKey(e *v1.Entity) *v1.Entity {
	if t := e.GetTableEntry(); t != nil {
		return p4rt.TableEntity(&v1.TableEntry{TableId: t.TableId, Match: t.Match, Priority: t.Priority})
	}
	return e
}

func (t *table) entity(e rows.Entry) *v1.Entity {
	match := make([]*v1.FieldMatch, len(t.keys))
	for i, id := range t.keys {
		match[i] = &v1.FieldMatch{
			FieldId:        id,
			FieldMatchType: &v1.FieldMatch_Exact_{Exact: &v1.FieldMatch_Exact{Value: e.Key[i].AppendBytes(nil)}},
		}
	}
	entry := &v1.TableEntry{TableId: t.id, Match: match, IdleTimeoutNs: e.Idle.Nanoseconds()}
	for _, a := range t.actions {
		if a.Action == e.Do {
			params := make([]*v1.Action_Param, len(a.params))
			for i, id := range a.params {
				params[i] = &v1.Action_Param{ParamId: id, Value: e.Params[i].AppendBytes(nil)}
			}
			do := &v1.Action{ActionId: a.id, Params: params}
			entry.Action = &v1.TableAction{Type: &v1.TableAction_Action{Action: do}}
		}
	}
	return p4rt.TableEntity(entry)
}

// parseRow reads a planned row; false when e cannot be one.
func (c *codec) parseRow(e *v1.TableEntry) (rows.Row, bool) {
	t := c.byID[e.GetTableId()]
	if t == nil || t.learned() {
		return nil, false
	}
	entry, ok := t.parse(e)
	if !ok {
		return nil, false
	}
	return t.Row(entry)
}

// parseStation reads an entry of the L2 switch; false when e is none.
func (c *codec) parseStation(e *v1.TableEntry) (of learn.Table, is rows.Learned, ok bool) {
	t := c.byID[e.GetTableId()]
	if t == nil || !t.learned() {
		return 0, is, false
	}
	entry, ok := t.parse(e)
	if of = learn.L2; t.Table == rows.Station {
		of = learn.Station
	}
	return of, rows.ReadLearned(entry), ok
}

func (t *table) learned() bool { return t.Table == rows.Station || t.Table == rows.L2 }

// parse reads an entry; false when it lacks something or has an action that no row of ours has.
func (t *table) parse(e *v1.TableEntry) (entry rows.Entry, ok bool) {
	if entry, ok = t.parseKey(e); !ok {
		return entry, false
	}
	entry.Idle = time.Duration(e.GetIdleTimeoutNs())
	do := e.GetAction().GetAction()
	for _, a := range t.actions {
		if a.id != do.GetActionId() || len(a.params) != len(do.GetParams()) {
			continue
		}
		entry.Do = a.Action
		for i, id := range a.params {
			found := false
			for _, p := range do.GetParams() {
				if p.GetParamId() == id {
					entry.Params[i], found = value(p.GetValue())
				}
			}
			if !found {
				return entry, false
			}
		}
		return entry, true
	}
	return entry, false
}

// parseKey reads an entry's match alone.
func (t *table) parseKey(e *v1.TableEntry) (entry rows.Entry, ok bool) {
	return t.key(len(e.GetMatch()), func(id uint32) []byte {
		for _, m := range e.GetMatch() {
			if m.GetFieldId() == id {
				return m.GetExact().GetValue()
			}
		}
		return nil
	})
}

// key reads the key of an entry with so many match fields, all of which must be exact.
func (t *table) key(matches int, exact func(id uint32) []byte) (entry rows.Entry, ok bool) {
	if matches != len(t.keys) {
		return entry, false
	}
	for i, id := range t.keys {
		if entry.Key[i], ok = value(exact(id)); !ok {
			return entry, false
		}
	}
	return entry, true
}

// value reads a bytestring of any length. No field of ours is wider than 64 bits.
func value(b []byte) (rows.Value, bool) {
	v, ok := rows.ParseValue(b)
	return v, ok && v.Hi == 0
}
