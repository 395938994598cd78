package server

import (
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluicelb/sluice/p4/softswitch/engine"
)

func checkCounterData(d *v1.CounterData) error {
	if d.GetPacketCount() < 0 || d.GetByteCount() < 0 {
		return invalid("counter_data: %d packets, %d bytes: want 0 or more", d.GetPacketCount(), d.GetByteCount())
	}
	return nil
}

func counterData(packets, bytes uint64) *v1.CounterData {
	return &v1.CounterData{PacketCount: int64(packets), ByteCount: int64(bytes)}
}

// setCounter writes a direct counter; one that is not given stays as it is.
func setCounter(e *engine.Installed, d *v1.CounterData) {
	if d != nil {
		e.SetCounter(uint64(d.GetPacketCount()), uint64(d.GetByteCount()))
	}
}

// directResource is something that each entry of some tables has.
type directResource struct {
	name string
	of   func(*table) bool // whether the table's entries have it
}

var directCounters = directResource{"direct counter", func(t *table) bool { return t.counter }}

// directTable returns the table of an entry for a direct resource.
func (p *pipeline) directTable(d directResource, e *v1.TableEntry) (*table, error) {
	t, err := p.table(e.GetTableId())
	switch {
	case err != nil:
		return nil, err
	case !d.of(t):
		return nil, invalid("table %s has no %s", t.name, d.name)
	case e.GetIsDefaultAction() && (len(e.GetMatch()) > 0 || e.GetPriority() != 0):
		return nil, invalid("table %s: the default entry has no match and no priority", t.name)
	}
	return t, nil
}

// directEntry finds the entry whose direct resource an update changes.
func (p *pipeline) directEntry(d directResource, kind v1.Update_Type, e *v1.TableEntry) (
	*table, *engine.Installed, error,
) {
	if kind != v1.Update_MODIFY {
		return nil, nil, invalid("a %s takes MODIFY only, not %v", d.name, kind)
	}
	t, err := p.directTable(d, e)
	if err != nil {
		return nil, nil, err
	}
	if e.GetIsDefaultAction() {
		return t, t.engine.Miss(), nil
	}
	k, err := t.key(e.GetMatch(), e.GetPriority(), false)
	if err != nil {
		return nil, nil, err
	}
	installed, ok := t.engine.Lookup(k.match, k.priority)
	if !ok {
		return nil, nil, engineError(t, engine.ErrNotFound)
	}
	return t, installed, nil
}

// updateDirectCounter is section "DirectCounterEntry".
func (p *pipeline) updateDirectCounter(kind v1.Update_Type, e *v1.DirectCounterEntry) error {
	if err := checkCounterData(e.GetData()); err != nil {
		return err
	}
	_, installed, err := p.directEntry(directCounters, kind, e.GetTableEntry())
	if err == nil {
		setCounter(installed, e.GetData())
	}
	return err
}

func (p *pipeline) readDirectCounters(shot *snapshot, ask *v1.DirectCounterEntry) (result, error) {
	entity := func(key *v1.TableEntry, of *engine.Installed) *v1.Entity {
		e := &v1.DirectCounterEntry{TableEntry: key, Data: counterData(of.Counter())}
		return &v1.Entity{Entity: &v1.Entity_DirectCounterEntry{DirectCounterEntry: e}}
	}
	return p.readDirect(directCounters, shot, ask.GetTableEntry(), entity)
}

// readDirect selects direct resources: one entry's, the default entry's, a table's (no match), or all (table id 0).
// entity makes the answer for an entry, whose key it is given.
func (p *pipeline) readDirect(
	d directResource, shot *snapshot, ask *v1.TableEntry, entity func(*v1.TableEntry, *engine.Installed) *v1.Entity,
) (result, error) {
	tables := p.tables
	if ask.GetTableId() != 0 {
		t, err := p.directTable(d, ask)
		if err != nil {
			return nil, err
		}
		if ask.GetIsDefaultAction() {
			return single(entity(&v1.TableEntry{TableId: t.id, IsDefaultAction: true}, t.engine.Miss())), nil
		}
		tables = []*table{t}
	} else if len(ask.GetMatch()) > 0 || ask.GetIsDefaultAction() {
		return nil, invalid("table_id 0 means all tables and takes no other filter")
	}
	selected := make([]selection, len(tables))
	for i, t := range tables {
		if !d.of(t) {
			continue
		}
		var err error
		key := &v1.TableEntry{Match: ask.GetMatch(), Priority: ask.GetPriority()}
		if selected[i], err = t.selectRows(shot, key); err != nil {
			return nil, err
		}
		if t.oneEntry(key) && len(selected[i].rows) == 0 {
			return nil, engineError(t, engine.ErrNotFound)
		}
	}
	return func(yield func(*v1.Entity) bool) {
		for i, t := range tables {
			for r := range selected[i].all {
				full := t.encode(r)
				if !yield(entity(&v1.TableEntry{TableId: t.id, Match: full.Match, Priority: full.Priority}, r.entry)) {
					return
				}
			}
		}
	}, nil
}

// checkIndex checks an index into an array.
func checkIndex(what, name string, index *v1.Index, size int) error {
	switch i := index.GetIndex(); {
	case i < 0:
		return invalid("%s %s: index %d is negative", what, name, i)
	case i >= int64(size):
		return status.Errorf(codes.OutOfRange, "%s %s: index is %d, want 0 to %d", what, name, i, size-1)
	}
	return nil
}

// span returns the cells that an index selects: one, or all when it is not set.
func span(index *v1.Index, size int) (from, to int) {
	if index == nil {
		return 0, size
	}
	return int(index.GetIndex()), int(index.GetIndex()) + 1
}

// updateCounter is section "CounterEntry".
func (p *pipeline) updateCounter(kind v1.Update_Type, e *v1.CounterEntry) error {
	if kind != v1.Update_MODIFY {
		return invalid("a counter takes MODIFY only, not %v", kind)
	}
	c := p.counterBy[e.GetCounterId()]
	if c == nil {
		return invalid("counter_id %d is not in the P4Info", e.GetCounterId())
	}
	if err := checkIndex("counter", c.name, e.GetIndex(), c.engine.Size()); err != nil {
		return err
	}
	if err := checkCounterData(e.GetData()); err != nil || e.GetData() == nil {
		return err
	}
	from, to := span(e.GetIndex(), c.engine.Size())
	for i := from; i < to; i++ {
		c.engine.Write(i, uint64(e.GetData().GetPacketCount()), uint64(e.GetData().GetByteCount()))
	}
	return nil
}

func (p *pipeline) readCounters(ask *v1.CounterEntry) (result, error) {
	counters := p.counters
	if id := ask.GetCounterId(); id != 0 {
		c := p.counterBy[id]
		if c == nil {
			return nil, invalid("counter_id %d is not in the P4Info", id)
		}
		if err := checkIndex("counter", c.name, ask.GetIndex(), c.engine.Size()); err != nil {
			return nil, err
		}
		counters = []*counter{c}
	} else if ask.GetIndex() != nil {
		return nil, invalid("counter_id 0 means all counters and takes no index")
	}
	return func(yield func(*v1.Entity) bool) {
		for _, c := range counters {
			from, to := span(ask.GetIndex(), c.engine.Size())
			for i := from; i < to; i++ {
				e := &v1.CounterEntry{CounterId: c.id, Index: &v1.Index{Index: int64(i)},
					Data: counterData(c.engine.Read(i))}
				if !yield(&v1.Entity{Entity: &v1.Entity_CounterEntry{CounterEntry: e}}) {
					return
				}
			}
		}
	}, nil
}
