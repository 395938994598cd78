package server

import (
	"context"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var errNoPipeline = status.Error(codes.FailedPrecondition, "no forwarding pipeline config is set")

// Write implements v1.P4RuntimeServer. Section "Write RPC" gives the checks and their order.
func (s *Server) Write(_ context.Context, req *v1.WriteRequest) (*v1.WriteResponse, error) {
	s.state.Lock()
	defer s.state.Unlock()
	// Under the lock: a new primary waits for the writes that have begun, and no others of the old
	// one may follow.
	if err := s.mayWrite(req); err != nil {
		return nil, err
	}
	if s.current == nil {
		return nil, errNoPipeline
	}
	if req.GetAtomicity() != v1.WriteRequest_CONTINUE_ON_ERROR {
		return nil, unimplemented("batches other than CONTINUE_ON_ERROR")
	}
	errs := make([]error, len(req.GetUpdates()))
	for i, u := range req.GetUpdates() {
		errs[i] = s.update(s.current, u)
	}
	if err := batchError(errs); err != nil {
		return nil, err
	}
	return &v1.WriteResponse{}, nil
}

// mayWrite makes the first two checks.
func (s *Server) mayWrite(req *v1.WriteRequest) error {
	if err := s.checkDevice(req.GetDeviceId()); err != nil {
		return err
	}
	return s.arbiter.check(req.GetRole(), roleNumber(req), req.GetElectionId())
}

// update does one update of a batch.
func (s *Server) update(p *pipeline, u *v1.Update) error {
	switch u.GetType() {
	case v1.Update_INSERT, v1.Update_MODIFY, v1.Update_DELETE:
	default:
		return invalid("update type %v is not one of INSERT, MODIFY, DELETE", u.GetType())
	}
	switch e := u.GetEntity().GetEntity().(type) {
	case nil:
		return invalid("no entity in the update")
	case *v1.Entity_TableEntry:
		return p.updateTable(u.GetType(), e.TableEntry, s.cfg.Plane.Now())
	case *v1.Entity_DirectCounterEntry:
		return p.updateDirectCounter(u.GetType(), e.DirectCounterEntry)
	case *v1.Entity_CounterEntry:
		return p.updateCounter(u.GetType(), e.CounterEntry)
	case *v1.Entity_MeterEntry:
		return p.updateMeter(u.GetType(), e.MeterEntry)
	case *v1.Entity_DirectMeterEntry:
		return p.updateDirectMeter(u.GetType(), e.DirectMeterEntry)
	case *v1.Entity_RegisterEntry:
		return p.updateRegister(u.GetType(), e.RegisterEntry)
	case *v1.Entity_PacketReplicationEngineEntry:
		return p.updateReplication(u.GetType(), e.PacketReplicationEngineEntry)
	case *v1.Entity_DigestEntry:
		return p.digests.update(u.GetType(), e.DigestEntry)
	default:
		return unimplemented(entityName(e))
	}
}

// entityName names the entities that this target has not.
func entityName(e any) string {
	switch e.(type) {
	case *v1.Entity_ActionProfileMember, *v1.Entity_ActionProfileGroup:
		return "action profiles"
	case *v1.Entity_ValueSetEntry:
		return "value sets"
	default:
		return "extern entries"
	}
}
