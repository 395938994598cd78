package server

import (
	"log/slog"
	"sync"
	"sync/atomic"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// How many clients and roles a device has room for.
const (
	maxStreams  = 64 // of one role, and as many that have not arbitrated yet
	maxRoles    = 64
	maxRoleName = 256 // bytes
)

// electionID is 128 bits, compared as one number.
type electionID struct{ high, low uint64 }

func (e electionID) atLeast(o electionID) bool {
	return e.high > o.high || e.high == o.high && e.low >= o.low
}

func (e electionID) message() *v1.Uint128 { return &v1.Uint128{High: e.high, Low: e.low} }

// role is one of the device's roles. It is never forgotten, nor is its highest election id: only a
// restart resets it (section "Client Arbitration Update").
//
//	           id >= highest seen
//	backup ------------------------> primary
//	       <------------------------
//	        a higher id elsewhere, or a lower or no id of its own
//
// When the primary leaves or steps down nobody is primary, whatever ids the backups have.
type role struct {
	streams map[*stream]struct{}
	primary *stream
	elected bool // there has been a primary
	highest electionID
}

// arbiter keeps who is connected and who is primary (section "Client Arbitration and Controller
// Replication").
type arbiter struct {
	device     uint64
	log        *slog.Logger
	newPrimary func()

	mu      sync.Mutex // serialises arbitration, with the notices it queues
	waiting int        // streams that have not arbitrated yet; guarded by mu

	// view guards roles, what is in them, and the id of every stream; they change under mu and view.
	view  sync.RWMutex
	roles map[string]*role

	// primaries are the primaries of all roles, for the data plane.
	primaries atomic.Pointer[[]*stream]
}

func newArbiter(device uint64, log *slog.Logger, newPrimary func()) arbiter {
	return arbiter{device: device, log: log, newPrimary: newPrimary, roles: map[string]*role{"": newRole()}}
}

func newRole() *role { return &role{streams: map[*stream]struct{}{}} }

// check says whether a client with this role and id may write.
func (a *arbiter) check(roleName string, roleID uint64, id *v1.Uint128) error {
	a.view.RLock()
	defer a.view.RUnlock()
	r := a.roles[roleName]
	switch {
	case roleID != 0:
		return status.Error(codes.NotFound, "role_id is not supported: name the role")
	case r == nil:
		return status.Errorf(codes.NotFound, "no role %q", roleName)
	case r.primary == nil:
		return status.Error(codes.PermissionDenied, "not primary: there is no primary")
	case id == nil:
		return status.Error(codes.PermissionDenied, "not primary: no election id")
	case electionID{id.High, id.Low} != r.primary.id:
		return status.Errorf(codes.PermissionDenied, "not primary: election id {%d %d} is not the primary's", id.High,
			id.Low)
	}
	return nil
}

// isPrimary says whether s is primary in its role.
func (a *arbiter) isPrimary(s *stream) bool {
	a.view.RLock()
	defer a.view.RUnlock()
	return s.role != nil && s.role.primary == s
}

// enter counts a stream that has not arbitrated yet.
func (a *arbiter) enter(s *stream) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting >= maxStreams {
		return status.Errorf(codes.ResourceExhausted, "%d clients have opened a stream and sent no arbitration update",
			maxStreams)
	}
	a.waiting++
	return nil
}

// arbitrated says whether s has a role.
func (a *arbiter) arbitrated(s *stream) bool {
	a.view.RLock()
	defer a.view.RUnlock()
	return s.role != nil
}

// update handles an arbitration update of stream s. barrier returns when every write that has begun is
// done. An error ends the stream (section "Rules for Handling MasterArbitrationUpdate Messages").
func (a *arbiter) update(s *stream, m *v1.MasterArbitrationUpdate, barrier func()) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, err := a.accept(s, m)
	if err != nil {
		return err
	}
	former := r.primary
	a.view.Lock()
	if s.role == nil {
		a.roles[m.GetRole().GetName()] = r
		r.streams[s] = struct{}{}
		a.waiting--
		s.role = r
		if m.GetRole() != nil {
			s.given = &v1.Role{Name: m.GetRole().GetName()}
		}
	}
	s.id, s.hasID = electionID{m.GetElectionId().GetHigh(), m.GetElectionId().GetLow()}, m.GetElectionId() != nil
	wins := s.hasID && (!r.elected || s.id.atLeast(r.highest))
	switch {
	case wins:
		r.primary, r.elected, r.highest = s, true, s.id
	case former == s:
		r.primary = nil
	}
	a.publish()
	a.view.Unlock()
	switch {
	case wins:
		// From here on the former primary's writes are refused.
		a.notify(r, s)
		barrier()
		if former != s {
			a.newPrimary()
			a.log.Info("new primary", "client", s.client, "role", m.GetRole().GetName(), "election_high", s.id.high,
				"election_low", s.id.low)
		}
		s.control(a.notice(r, s))
	case former == s:
		a.log.Info("primary stepped down", "client", s.client, "role", m.GetRole().GetName())
		a.notify(r, nil)
	default:
		s.control(a.notice(r, s))
	}
	return nil
}

// accept checks an update and returns the role it is for, which may be new.
func (a *arbiter) accept(s *stream, m *v1.MasterArbitrationUpdate) (*role, error) {
	name := m.GetRole().GetName()
	r := a.roles[name]
	if r == nil {
		r = newRole()
	}
	switch {
	case s.left:
		return nil, status.Error(codes.Canceled, "the stream has ended")
	case len(name) > maxRoleName:
		return nil, invalid("role.name has %d bytes, want %d at most", len(name), maxRoleName)
	case s.role == nil && m.GetDeviceId() != a.device:
		return nil, status.Errorf(codes.NotFound, "no device %d here, only %d", m.GetDeviceId(), a.device)
	case m.GetDeviceId() != a.device:
		return nil, status.Errorf(codes.FailedPrecondition, "this stream is for device %d, not %d", a.device,
			m.GetDeviceId())
	case s.role != nil && s.role != r:
		return nil, status.Errorf(codes.FailedPrecondition, "this stream is for role %q, not %q", s.given.GetName(),
			name)
	case arbitratedRoleNumber(m.GetRole()) != 0:
		return nil, invalid("role.id is not supported: name the role")
	case m.GetRole().GetConfig() != nil:
		return nil, invalid("role.config: no scheme is agreed upon; leave it unset for full access")
	}
	if id := m.GetElectionId(); id != nil {
		for other := range r.streams {
			if other != s && other.hasID && other.id == (electionID{id.High, id.Low}) {
				return nil, invalid("election id {%d %d} is in use by another client", id.High, id.Low)
			}
		}
	}
	if s.role == nil {
		if len(r.streams) >= maxStreams {
			return nil, status.Errorf(codes.ResourceExhausted, "role %q has %d clients already", name, maxStreams)
		}
		if a.roles[name] == nil && len(a.roles) >= maxRoles {
			return nil, status.Errorf(codes.ResourceExhausted, "there are %d roles already", maxRoles)
		}
	}
	return r, nil
}

// leave forgets a stream that has ended.
func (a *arbiter) leave(s *stream) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.left = true
	r := s.role
	if r == nil {
		a.waiting--
		return
	}
	a.view.Lock()
	delete(r.streams, s)
	lost := r.primary == s
	if lost {
		r.primary = nil
	}
	a.publish()
	a.view.Unlock()
	if lost {
		a.log.Info("primary left", "client", s.client, "role", s.given.GetName())
		a.notify(r, nil)
	}
}

// publish makes the primaries visible to the data plane. view is locked.
func (a *arbiter) publish() {
	var all []*stream
	for _, r := range a.roles {
		if r.primary != nil {
			all = append(all, r.primary)
		}
	}
	a.primaries.Store(&all)
}

// primary returns the primaries of all roles: a role without config has full access, so each gets
// every packet-in and notification.
func (a *arbiter) primary() []*stream {
	if all := a.primaries.Load(); all != nil {
		return *all
	}
	return nil
}

// notify tells all clients of a role but one how things are.
func (a *arbiter) notify(r *role, but *stream) {
	for s := range r.streams {
		if s != but {
			s.control(a.notice(r, s))
		}
	}
}

// notice is section "Client Arbitration Notifications".
func (a *arbiter) notice(r *role, to *stream) *v1.StreamMessageResponse {
	m := &v1.MasterArbitrationUpdate{DeviceId: a.device, Role: to.given, Status: &rpcstatus.Status{}}
	if r.elected {
		m.ElectionId = r.highest.message()
	}
	switch {
	case r.primary == to:
		m.Status.Message = "you are primary"
	case r.primary != nil:
		m.Status.Code, m.Status.Message = int32(codes.AlreadyExists), "another client is primary"
	default:
		m.Status.Code, m.Status.Message = int32(codes.NotFound), "there is no primary"
	}
	return &v1.StreamMessageResponse{Update: &v1.StreamMessageResponse_Arbitration{Arbitration: m}}
}
