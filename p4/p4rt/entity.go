package p4rt

import (
	"fmt"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
)

// Cell is one cell of an indirect counter.
type Cell struct {
	Name  string
	Index int64
	Counter
}

// DecodeCell names a cell of an indirect counter.
func (i *Info) DecodeCell(e *v1.CounterEntry) (Cell, error) {
	c, err := i.counters.withID(e.GetCounterId())
	if err != nil {
		return Cell{}, fmt.Errorf("decoding a counter cell: %w", err)
	}
	return Cell{
		Name:    c.Name,
		Index:   e.GetIndex().GetIndex(),
		Counter: Counter{Packets: e.GetData().GetPacketCount(), Bytes: e.GetData().GetByteCount()},
	}, nil
}

// MulticastGroup is the set of ports, each with an instance, that copies of a packet leave by.
type MulticastGroup struct {
	ID       uint32
	Replicas []Replica
}

// Replica is one copy.
type Replica struct {
	Port     uint32
	Instance uint32
}

// Entity makes the message for a group. It names ports by egress_port, which is deprecated, because
// targets older than P4Runtime 1.4 know nothing else.
func (g MulticastGroup) Entity() *v1.Entity {
	e := &v1.MulticastGroupEntry{MulticastGroupId: g.ID}
	for _, r := range g.Replicas {
		e.Replicas = append(e.Replicas, &v1.Replica{
			PortKind: &v1.Replica_EgressPort{EgressPort: r.Port}, //lint:ignore SA1019 see above
			Instance: r.Instance,
		})
	}
	return multicastEntity(e)
}

// DecodeMulticastGroup reads a group, ports in either form.
func DecodeMulticastGroup(e *v1.MulticastGroupEntry) (MulticastGroup, error) {
	g := MulticastGroup{ID: e.GetMulticastGroupId()}
	for k, r := range e.GetReplicas() {
		//lint:ignore SA1019 see MulticastGroup.Entity
		out := Replica{Port: r.GetEgressPort(), Instance: r.GetInstance()}
		if b := r.GetPort(); len(b) > 0 {
			v, err := typed{bits: 32}.decode(b)
			if err != nil {
				return MulticastGroup{}, fmt.Errorf("decoding multicast group %d: replica %d: port: %w", g.ID, k, err)
			}
			out.Port = uint32(v.Uint())
		}
		g.Replicas = append(g.Replicas, out)
	}
	return g, nil
}

func multicastEntity(e *v1.MulticastGroupEntry) *v1.Entity {
	return &v1.Entity{Entity: &v1.Entity_PacketReplicationEngineEntry{
		PacketReplicationEngineEntry: &v1.PacketReplicationEngineEntry{
			Type: &v1.PacketReplicationEngineEntry_MulticastGroupEntry{MulticastGroupEntry: e},
		},
	}}
}

// Query asks for all entries of the table, with what belongs to them: counters, time since the last
// hit. The default entry is not among them.
func (t *Table) Query() *v1.Entity {
	e := &v1.TableEntry{TableId: t.ID}
	if t.Counter != 0 {
		e.CounterData = &v1.CounterData{}
	}
	if t.IdleTimeout {
		e.TimeSinceLastHit = &v1.TableEntry_IdleTimeout{}
	}
	return TableEntity(e)
}

// QueryDefault asks for the default entry of the table.
func (t *Table) QueryDefault() *v1.Entity {
	return TableEntity(&v1.TableEntry{TableId: t.ID, IsDefaultAction: true})
}

// Query asks for all cells of the counter.
func (c *CounterArray) Query() *v1.Entity {
	return &v1.Entity{Entity: &v1.Entity_CounterEntry{CounterEntry: &v1.CounterEntry{CounterId: c.ID}}}
}

// QueryCell asks for one cell of the counter.
func (c *CounterArray) QueryCell(index int64) *v1.Entity {
	e := c.Query()
	e.GetCounterEntry().Index = &v1.Index{Index: index}
	return e
}

// Query asks for all cells of the meter.
func (m *MeterArray) Query() *v1.Entity { return meterEntity(&v1.MeterEntry{MeterId: m.ID}) }

// Cell makes the message for one cell and its rates; nil are the default: everything is green.
func (m *MeterArray) Cell(index int64, rates *v1.MeterConfig) *v1.Entity {
	return meterEntity(&v1.MeterEntry{MeterId: m.ID, Index: &v1.Index{Index: index}, Config: rates})
}

func meterEntity(e *v1.MeterEntry) *v1.Entity {
	return &v1.Entity{Entity: &v1.Entity_MeterEntry{MeterEntry: e}}
}

// QueryMulticastGroups asks for all multicast groups.
func QueryMulticastGroups() *v1.Entity { return multicastEntity(&v1.MulticastGroupEntry{}) }

// TableEntity wraps a table entry.
func TableEntity(e *v1.TableEntry) *v1.Entity {
	return &v1.Entity{Entity: &v1.Entity_TableEntry{TableEntry: e}}
}

// Insert is the update that adds e.
func Insert(e *v1.Entity) *v1.Update { return &v1.Update{Type: v1.Update_INSERT, Entity: e} }

// Modify is the update that changes e.
func Modify(e *v1.Entity) *v1.Update { return &v1.Update{Type: v1.Update_MODIFY, Entity: e} }

// Delete is the update that removes e; only its key counts.
func Delete(e *v1.Entity) *v1.Update { return &v1.Update{Type: v1.Update_DELETE, Entity: e} }
