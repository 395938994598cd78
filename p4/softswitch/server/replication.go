package server

import (
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluicelb/sluice/p4/softswitch/engine"
)

// v1model's ports have 9 bits, and the highest is where dropped packets go.
const (
	portBits = 9
	dropPort = 511
)

// updateReplication is section "PacketReplicationEngineEntry". state is locked.
func (p *pipeline) updateReplication(kind v1.Update_Type, e *v1.PacketReplicationEngineEntry) error {
	if e.GetCloneSessionEntry() != nil {
		return unimplemented("clone sessions")
	}
	group := e.GetMulticastGroupEntry()
	if group == nil {
		return invalid("packet_replication_engine_entry: want a multicast_group_entry")
	}
	id := group.GetMulticastGroupId()
	if id == 0 || id > 0xffff {
		return invalid("multicast_group_id is %d, want 1 to 65535", id)
	}
	_, exists := p.groups[id]
	switch {
	case kind == v1.Update_INSERT && exists:
		return status.Errorf(codes.AlreadyExists, "multicast group %d exists", id)
	case kind != v1.Update_INSERT && !exists:
		return status.Errorf(codes.NotFound, "no multicast group %d", id)
	case kind == v1.Update_DELETE:
		delete(p.groups, id)
		p.program.SetMulticastGroup(uint16(id), nil)
		return nil
	}
	replicas := make([]engine.Replica, 0, len(group.GetReplicas()))
	stored := &v1.MulticastGroupEntry{MulticastGroupId: id, Metadata: group.GetMetadata()}
	seen := map[engine.Replica]bool{}
	for _, r := range group.GetReplicas() {
		replica, canonical, err := decodeReplica(r)
		if err != nil {
			return err
		}
		if seen[replica] {
			return invalid("multicast group %d: port %d, instance %d is there twice", id, replica.Port,
				replica.Instance)
		}
		seen[replica] = true
		replicas, stored.Replicas = append(replicas, replica), append(stored.Replicas, canonical)
	}
	p.groups[id] = stored
	p.program.SetMulticastGroup(uint16(id), replicas)
	return nil
}

// decodeReplica converts a replica, and returns what a Read of it answers.
func decodeReplica(r *v1.Replica) (engine.Replica, *v1.Replica, error) {
	if len(r.GetBackupReplicas()) > 0 {
		return engine.Replica{}, nil, unimplemented("backup replicas")
	}
	if r.GetInstance() > 0xffff {
		return engine.Replica{}, nil, invalid("replica: instance is %d, want 0 to 65535", r.GetInstance())
	}
	var port uint32
	out := &v1.Replica{Instance: r.GetInstance()}
	if number, ok := egressPort(r); ok {
		port = number
		setEgressPort(out, port)
	} else {
		b, err := fixed(r.GetPort(), portBits, func() string { return "replica: port" })
		if err != nil {
			return engine.Replica{}, nil, err
		}
		port = uint32(b[0])<<8 | uint32(b[1])
		out.PortKind = &v1.Replica_Port{Port: shortest(b)}
	}
	if port >= dropPort {
		return engine.Replica{}, nil, invalid("replica: port is %d, want 0 to %d", port, dropPort-1)
	}
	return engine.Replica{Port: uint16(port), Instance: uint16(r.GetInstance())}, out, nil
}

func (p *pipeline) readReplication(shot *snapshot, ask *v1.PacketReplicationEngineEntry) (result, error) {
	if ask.GetCloneSessionEntry() != nil { // there are none
		return func(func(*v1.Entity) bool) {}, nil
	}
	group := ask.GetMulticastGroupEntry()
	var selected []*v1.MulticastGroupEntry
	if id := group.GetMulticastGroupId(); id == 0 {
		selected = shot.multicastGroups(p)
	} else if one := p.groups[id]; one != nil {
		selected = append(selected, one)
	}
	return func(yield func(*v1.Entity) bool) {
		for _, g := range selected {
			e := &v1.PacketReplicationEngineEntry{Type: &v1.PacketReplicationEngineEntry_MulticastGroupEntry{
				MulticastGroupEntry: g}}
			if !yield(&v1.Entity{Entity: &v1.Entity_PacketReplicationEngineEntry{PacketReplicationEngineEntry: e}}) {
				return
			}
		}
	}, nil
}
