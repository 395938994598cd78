package server

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluicelb/sluice/p4/backlog"
)

// elect opens a stream and bids for primacy; barrier stands for the wait for running writes.
func elect(t *testing.T, s *Server, id uint64, barrier func()) (*stream, error) {
	t.Helper()
	st := s.newStream(t.Context())
	if err := s.arbiter.enter(st); err != nil {
		t.Fatal(err)
	}
	return st, s.arbiter.update(st, bid(id).GetArbitration(), barrier)
}

func mustElect(t *testing.T, s *Server, id uint64) *stream {
	t.Helper()
	st, err := elect(t, s, id, func() {})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestElectionIDs(t *testing.T) {
	for _, tt := range []struct {
		a, b electionID
		want bool // a is at least b
	}{
		{electionID{2, 0}, electionID{1, 5}, true},
		{electionID{1, 5}, electionID{2, 0}, false},
		{electionID{1, 5}, electionID{1, 5}, true},
		{electionID{1, 4}, electionID{1, 5}, false},
		{electionID{1, 6}, electionID{1, 5}, true},
		{electionID{0, 1 << 63}, electionID{1, 0}, false},
	} {
		if got := tt.a.atLeast(tt.b); got != tt.want {
			t.Errorf("%v at least %v: %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}

// Not only the primary's id is taken.
func TestElectionIDOfABackup(t *testing.T) {
	s := quietServer()
	backup := mustElect(t, s, 1)
	mustElect(t, s, 2)
	want := "rpc error: code = InvalidArgument desc = election id {0 1} is in use by another client"
	if _, err := elect(t, s, 1, func() {}); err == nil || err.Error() != want {
		t.Errorf("the id of a live backup: %v, want %s", err, want)
	}
	s.arbiter.leave(backup)
	mustElect(t, s, 1)
}

// While a new primary waits for running writes the former one knows already and may not begin others,
// and the new one has not been told.
func TestTakeover(t *testing.T) {
	s, former := filledServer(t, 0)
	<-former.controls
	waited := false
	next := s.newStream(t.Context())
	if err := s.arbiter.enter(next); err != nil {
		t.Fatal(err)
	}
	err := s.arbiter.update(next, bid(2).GetArbitration(), func() {
		waited = true
		if err := writeRule(t, s, v1.Update_INSERT, 1); status.Code(err) != codes.PermissionDenied {
			t.Errorf("a write of the former primary: %v, want PERMISSION_DENIED", err)
		}
		if len(former.controls) != 1 || len(next.controls) != 0 {
			t.Errorf("notices: %d to the former primary, %d to the new one; want 1 and 0", len(former.controls),
				len(next.controls))
		}
	})
	if err != nil || !waited || len(next.controls) != 1 {
		t.Errorf("%v, waited: %v, notices to the new primary: %d; want none, true, 1", err, waited, len(next.controls))
	}
}

// Compiling takes long: who is primary is looked at again behind it.
func TestPrimaryChangesWhileCompiling(t *testing.T) {
	s, _ := filledServer(t, 1)
	before := s.current
	s.state.RLock()
	done := make(chan error)
	go func() {
		_, err := s.SetForwardingPipelineConfig(t.Context(), &v1.SetForwardingPipelineConfigRequest{
			DeviceId: 1, ElectionId: &v1.Uint128{Low: 1}, Config: kindsConfig(t),
			Action: v1.SetForwardingPipelineConfigRequest_VERIFY_AND_COMMIT,
		})
		done <- err
	}()
	for s.state.TryRLock() { // until the new config waits for the lock
		s.state.RUnlock()
		time.Sleep(time.Millisecond)
	}
	mustElect(t, s, 2)
	s.state.RUnlock()
	if err := <-done; status.Code(err) != codes.PermissionDenied {
		t.Errorf("the former primary's config: %v, want PERMISSION_DENIED", err)
	}
	if s.current != before {
		t.Error("the former primary's config is in place")
	}
}

// withDigest gives the running pipeline a list that waits for its acknowledgement.
func withDigest(s *Server) *digest {
	d := &digest{id: 9, name: "learn", known: map[string]struct{}{"k": {}},
		cache: []sentList{{id: 1, keys: []string{"k"}}}}
	s.running.Load().digests.byID[9] = d
	return d
}

func TestOnlyThePrimaryAcknowledges(t *testing.T) {
	s, primary := filledServer(t, 0)
	d := withDigest(s)
	backup := mustElect(t, s, 0)
	ack := &v1.DigestListAck{DigestId: 9, ListId: 1}
	if err := s.digestAck(backup, ack); status.Code(err) != codes.PermissionDenied || len(d.cache) != 1 {
		t.Errorf("a backup's acknowledgement: %v, %d lists left; want PERMISSION_DENIED, 1", err, len(d.cache))
	}
	if err := s.digestAck(primary, ack); err != nil || len(d.cache) != 0 {
		t.Errorf("the primary's acknowledgement: %v, %d lists left; want none", err, len(d.cache))
	}
}

// What the former primary was sent and did not acknowledge is reported to the new one too; the same
// primary that bids again starts nothing anew.
func TestNewPrimaryGetsDigestsAgain(t *testing.T) {
	s, primary := filledServer(t, 0)
	d := withDigest(s)
	if err := s.arbiter.update(primary, bid(1).GetArbitration(), func() {}); err != nil || len(d.known) != 1 {
		t.Errorf("the same primary: %v, %d messages known, want 1", err, len(d.known))
	}
	mustElect(t, s, 2)
	if len(d.cache) != 0 || len(d.known) != 0 {
		t.Errorf("the new primary: %d lists wait for another, %d messages are left out; want none", len(d.cache),
			len(d.known))
	}
}

// clockPlane has a clock, which goes on while this process does not run.
type clockPlane struct {
	stillPlane
	start   time.Time
	stopped *atomic.Int64 // for how long it did not; nil: it always did
}

func (p clockPlane) Now() time.Duration {
	now := time.Since(p.start)
	if p.stopped != nil {
		now += time.Duration(p.stopped.Load())
	}
	return now
}

// nextData waits for what would be sent next.
func (st *stream) nextData() *v1.StreamMessageResponse {
	<-st.data.Waiting()
	return st.data.Next()
}

const smallID = 49306912 // a table that keeps idle timeouts

// writeIdle makes s hold an entry with an idle timeout of a minute.
func writeIdle(t *testing.T, s *Server) {
	t.Helper()
	const countedID = 31883734
	_, err := s.Write(t.Context(), &v1.WriteRequest{DeviceId: 1, ElectionId: &v1.Uint128{Low: 1},
		Updates: []*v1.Update{{
			Type: v1.Update_INSERT,
			Entity: &v1.Entity{Entity: &v1.Entity_TableEntry{TableEntry: &v1.TableEntry{
				TableId: smallID, IdleTimeoutNs: int64(time.Minute),
				Match: []*v1.FieldMatch{
					{FieldId: 1, FieldMatchType: &v1.FieldMatch_Exact_{Exact: &v1.FieldMatch_Exact{Value: []byte{1}}}}},
				Action: &v1.TableAction{Type: &v1.TableAction_Action{Action: &v1.Action{
					ActionId: countedID, Params: []*v1.Action_Param{{ParamId: 1, Value: []byte{3}}},
				}}},
			}}},
		}}})
	if err != nil {
		t.Fatal(err)
	}
}

// A client that reads again hears at once of what went idle meanwhile: a notice for which there was no
// room was not given.
func TestIdleWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, st := filledServer(t, 0)
		s.cfg.Plane = clockPlane{start: time.Now()}
		writeIdle(t, s)
		other := &v1.StreamMessageResponse{Update: &v1.StreamMessageResponse_IdleTimeoutNotification{
			IdleTimeoutNotification: &v1.IdleTimeoutNotification{TableEntry: []*v1.TableEntry{{TableId: smallID}}}}}
		for st.offer(backlog.ClassOf(other), other) {
		}
		go s.runIdle(t.Context())                   // ends with the test
		time.Sleep(70*time.Second + idleInterval/2) // between two scans
		if n := s.Dropped(backlog.Idle); n < 2 {
			t.Errorf("%d notices found no room, want this one too", n)
		}
		for st.data.Next() != nil {
		}
		began := time.Now()
		m := st.nextData()
		if took := time.Since(began); len(m.GetIdleTimeoutNotification().GetTableEntry()) != 1 || took > idleInterval {
			t.Errorf("got %v after %v, want the idle entry within %v", m, took, idleInterval)
		}
		again := st.nextData()
		if took := time.Since(began).Round(time.Second); len(again.GetIdleTimeoutNotification().GetTableEntry()) != 1 ||
			took != time.Minute {
			t.Errorf("the next one came after %v, want another timeout", took)
		}
	})
}

// Time in which the process did not run is nobody's silence: it saw no packet.
func TestIdleAfterAStop(t *testing.T) {
	for _, tt := range []struct {
		name          string
		stopped, want time.Duration // the time until the notice, while the process runs
	}{
		{"not stopped", 0, time.Minute},
		{"late", idleSlack - 2*idleInterval, time.Minute - idleSlack + 2*idleInterval},
		{"stopped for a while", 10 * time.Second, time.Minute + 30*time.Second},
		{"stopped for longer than the timeout", time.Hour, time.Minute + 30*time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, st := filledServer(t, 0)
				plane := clockPlane{start: time.Now(), stopped: new(atomic.Int64)}
				s.cfg.Plane = plane
				began := time.Now()
				writeIdle(t, s)
				go s.runIdle(t.Context()) // ends with the test
				time.Sleep(30*time.Second + idleInterval/2)
				plane.stopped.Store(int64(tt.stopped))
				m := st.nextData()
				if took := time.Since(began); len(m.GetIdleTimeoutNotification().GetTableEntry()) != 1 ||
					took < tt.want || took > tt.want+2*idleInterval {
					t.Errorf("got %v after %v, want the idle entry after %v", m, took, tt.want)
				}
			})
		})
	}
}

// A new primary hears of idle entries at once, not when the timeout has passed another time.
func TestNewPrimaryGetsIdleAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, former := filledServer(t, 0)
		s.cfg.Plane = clockPlane{start: time.Now()}
		writeIdle(t, s)
		go s.runIdle(t.Context()) // ends with the test
		if m := former.nextData(); len(m.GetIdleTimeoutNotification().GetTableEntry()) != 1 {
			t.Errorf("the former primary got %v, want one idle entry", m)
		}
		next := mustElect(t, s, 2)
		began := time.Now()
		m := next.nextData()
		if took := time.Since(began); len(m.GetIdleTimeoutNotification().GetTableEntry()) != 1 ||
			took > 2*idleInterval {
			t.Errorf("the new primary got %v after %v, want one idle entry within %v", m, took, 2*idleInterval)
		}
	})
}

// Notes go with their entries.
func TestNotesDoNotLeak(t *testing.T) {
	s, _ := filledServer(t, 5)
	notes := s.current.tableBy[rulesID].notes
	for i := range 5 {
		if err := writeRule(t, s, v1.Update_MODIFY, i+1); err != nil {
			t.Fatal(err)
		}
	}
	if len(notes) != 5 {
		t.Errorf("%d notes of 5 entries that were modified", len(notes))
	}
	for i := range 5 {
		if err := writeRule(t, s, v1.Update_DELETE, i+1); err != nil {
			t.Fatal(err)
		}
	}
	if len(notes) != 0 {
		t.Errorf("%d notes of entries that are gone", len(notes))
	}
}

// The newest notice says how things are; when the queue is full an older one goes.
func TestNewestNoticeSurvives(t *testing.T) {
	s := quietServer()
	st := s.newStream(t.Context())
	const n = controlQueue + 10
	for i := range n {
		st.control(&v1.StreamMessageResponse{Update: &v1.StreamMessageResponse_Arbitration{
			Arbitration: &v1.MasterArbitrationUpdate{DeviceId: uint64(i)},
		}})
	}
	close(st.controls)
	var first, last *v1.StreamMessageResponse
	for m := range st.controls {
		if last = m; first == nil {
			first = m
		}
	}
	if first.GetArbitration().GetDeviceId() != 10 || last.GetArbitration().GetDeviceId() != n-1 {
		t.Errorf("notices %d to %d are left, want 10 to %d", first.GetArbitration().GetDeviceId(),
			last.GetArbitration().GetDeviceId(), n-1)
	}
}
