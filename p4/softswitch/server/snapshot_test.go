package server

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"

	"github.com/sluicelb/sluice/p4/softswitch/engine"
)

// stillPlane moves no packets.
type stillPlane struct{}

func (stillPlane) Commit(*engine.Program) {}
func (stillPlane) Inject([]byte)          {}
func (stillPlane) Now() time.Duration     { return 0 }

func kindsConfig(t *testing.T) *v1.ForwardingPipelineConfig {
	t.Helper()
	program, err := os.ReadFile("testdata/kinds.json")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/kinds.p4info.txt")
	if err != nil {
		t.Fatal(err)
	}
	info := &configv1.P4Info{}
	if err := prototext.Unmarshal(text, info); err != nil {
		t.Fatal(err)
	}
	return &v1.ForwardingPipelineConfig{P4Info: info, P4DeviceConfig: program}
}

// filledServer has a primary with election id 1, a pipeline, and some entries in table rules, one for
// each priority. All are noted with metadata "m".
func filledServer(t *testing.T, entries int) (*Server, *stream) {
	t.Helper()
	s := quietServer()
	s.cfg.Plane = stillPlane{}
	st := s.newStream(t.Context())
	if err := s.arbiter.enter(st); err != nil {
		t.Fatal(err)
	}
	if err := s.arbiter.update(st, bid(1).GetArbitration(), s.barrier); err != nil {
		t.Fatal(err)
	}
	_, err := s.SetForwardingPipelineConfig(t.Context(), &v1.SetForwardingPipelineConfigRequest{
		DeviceId: 1, ElectionId: &v1.Uint128{Low: 1}, Config: kindsConfig(t),
		Action: v1.SetForwardingPipelineConfigRequest_VERIFY_AND_COMMIT,
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range entries {
		if err := writeRule(t, s, v1.Update_INSERT, i+1); err != nil {
			t.Fatal(err)
		}
	}
	return s, st
}

const rulesID, dropID = 39855334, 18759588 // of testdata/kinds.p4info.txt

func writeRule(t *testing.T, s *Server, kind v1.Update_Type, priority int) error {
	_, err := s.Write(t.Context(), &v1.WriteRequest{DeviceId: 1, ElectionId: &v1.Uint128{Low: 1},
		Updates: []*v1.Update{{
			Type: kind,
			Entity: &v1.Entity{Entity: &v1.Entity_TableEntry{TableEntry: &v1.TableEntry{
				TableId: rulesID, Priority: int32(priority), Metadata: []byte("m"),
				Action: &v1.TableAction{Type: &v1.TableAction_Action{Action: &v1.Action{ActionId: dropID}}},
			}}},
		}}})
	return err
}

func wildcards(n int) *v1.ReadRequest {
	req := &v1.ReadRequest{DeviceId: 1}
	for range n {
		req.Entities = append(req.Entities, &v1.Entity{Entity: &v1.Entity_TableEntry{TableEntry: &v1.TableEntry{}}})
	}
	return req
}

// reading is the stream of a Read; send is called with each message.
type reading struct {
	grpc.ServerStream
	ctx  context.Context
	send func(*v1.ReadResponse) error
}

func (r *reading) Context() context.Context      { return r.ctx }
func (r *reading) Send(m *v1.ReadResponse) error { return r.send(m) }

func TestReadIsBounded(t *testing.T) {
	s, _ := filledServer(t, 3)
	err := s.Read(wildcards(maxReads+1), &reading{ctx: t.Context(), send: func(*v1.ReadResponse) error {
		t.Error("a message was sent")
		return nil
	}})
	if want := "rpc error: code = ResourceExhausted desc = a Read of 1025 entities, want 1024 at most"; err == nil ||
		err.Error() != want {
		t.Errorf("Read returned %v, want %s", err, want)
	}
	got := 0
	err = s.Read(wildcards(maxReads), &reading{ctx: t.Context(), send: func(m *v1.ReadResponse) error {
		for _, e := range m.GetEntities() {
			if e.GetTableEntry().GetTableId() == rulesID {
				got++
			}
		}
		return nil
	}})
	if err != nil || got != 3*maxReads {
		t.Errorf("%d entries, %v; want %d", got, err, 3*maxReads)
	}
}

// However many requests of a Read want a table, it is taken once.
func TestSnapshotIsShared(t *testing.T) {
	s, _ := filledServer(t, 8)
	p := s.current
	rules := p.tableBy[rulesID]
	shot := &snapshot{tables: map[*table][]row{}}
	var first *row
	for _, ask := range []*v1.TableEntry{{}, {TableId: rulesID}, {TableId: rulesID, Priority: 3},
		{TableId: rulesID, Metadata: []byte("other")}} {
		got, err := rules.selectRows(shot, ask)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = &got.rows[0]
		}
		if len(got.rows) != 8 || &got.rows[0] != first {
			t.Errorf("%v took %d rows of its own", ask, len(got.rows))
		}
	}
	p.groups[7] = &v1.MulticastGroupEntry{MulticastGroupId: 7}
	if a, b := shot.multicastGroups(p), shot.multicastGroups(p); len(a) != 1 || &a[0] != &b[0] {
		t.Errorf("groups were taken twice: %v, %v", a, b)
	}
}

// A client that goes away in the middle ends its Read, also where nothing is left to send.
func TestReadStopsWithItsContext(t *testing.T) {
	s, _ := filledServer(t, 3)
	ctx, cancel := context.WithCancel(t.Context())
	messages := 0
	err := s.Read(wildcards(maxReads), &reading{ctx: ctx, send: func(*v1.ReadResponse) error {
		messages++
		cancel()
		return nil
	}})
	if status.Code(err) != codes.Canceled || messages != 1 {
		t.Errorf("after %d messages: %v; want CANCELED after 1", messages, err)
	}
	err = s.Read(wildcards(1), &reading{ctx: ctx, send: func(*v1.ReadResponse) error { t.Error("sent"); return nil }})
	if status.Code(err) != codes.Canceled {
		t.Errorf("without a client: %v, want CANCELED", err)
	}
}

// While a message is being sent, writes go on, and the Read does not see them.
func TestNoLockWhileSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := filledServer(t, 3)
		held, sending := make(chan struct{}), make(chan struct{}, 100)
		rules := 0
		ended := make(chan error, 1)
		go func() {
			ended <- s.Read(wildcards(maxReads), &reading{ctx: t.Context(), send: func(m *v1.ReadResponse) error {
				for _, e := range m.GetEntities() {
					if e.GetTableEntry().GetTableId() == rulesID {
						rules++
					}
				}
				sending <- struct{}{}
				<-held
				return nil
			}})
		}()
		<-sending
		for i := range 3 {
			if err := writeRule(t, s, v1.Update_DELETE, i+1); err != nil {
				t.Error(err)
			}
		}
		close(held)
		if err := <-ended; err != nil || rules != 3*maxReads {
			t.Errorf("%d entries, %v; want %d as before the writes", rules, err, 3*maxReads)
		}
	})
}
