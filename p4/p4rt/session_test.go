package p4rt_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/backlog"
	"github.com/sluicelb/sluice/p4/p4rt"
)

// Tests of the session run on fake time against the fake target; sections are of the specification.

var (
	ours   = &p4rt.ElectionID{High: 1, Low: 5}
	ourID  = &v1.Uint128{High: 1, Low: 5}
	higher = &v1.Uint128{High: 2, Low: 0} // the high half decides
)

// harness runs one session against a fake target.
type harness struct {
	*fake
	*p4rt.Session
	turns chan turn  // each call of the callback
	ended chan error // what Run returned
	stop  context.CancelFunc
}

// turn is one call of the callback, which runs until the test sends what it shall return, or its
// context ends.
type turn struct {
	ctx    context.Context
	p      *p4rt.Primary
	finish chan error
}

func start(t *testing.T, change func(*p4rt.Config)) *harness {
	h := &harness{fake: newFake(t), turns: make(chan turn, 16), ended: make(chan error, 1)}
	cfg := p4rt.Config{
		Target: "fake", DeviceID: deviceID, Election: ours, Pipeline: pipeline(),
		Options: []p4rt.Option{h.dialer()},
	}
	if change != nil {
		change(&cfg)
	}
	h.Session = p4rt.NewSession(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	t.Cleanup(cancel)
	go func() {
		h.ended <- h.Run(ctx, func(ctx context.Context, p *p4rt.Primary) error {
			turn := turn{ctx, p, make(chan error)}
			h.turns <- turn
			select {
			case err := <-turn.finish:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	return h
}

// primary brings a fresh connection to the point where the callback runs.
func (h *harness) primary(t *testing.T) (*fakeStream, turn) {
	t.Helper()
	s, m := h.accept(t)
	want := &v1.MasterArbitrationUpdate{DeviceId: deviceID, ElectionId: ourID}
	if diff := cmp.Diff(want, m, protocmp.Transform()); diff != "" {
		t.Errorf("arbitration request (-want +got):\n%s", diff)
	}
	s.arbitrate(t, codes.OK, ourID)
	return s, <-h.turns
}

func (h *harness) wantStatus(t *testing.T, state p4rt.State, reason string) {
	t.Helper()
	synctest.Wait()
	st := h.Status()
	if st.State != state || reason == "" && st.Err != nil || reason != "" &&
		(st.Err == nil || !strings.Contains(st.Err.Error(), reason)) {
		t.Errorf("status is %v (%v), want %v (%s)", st.State, st.Err, state, reason)
	}
}

func TestPipelineIsPushedWhenItDiffers(t *testing.T) {
	otherCookie := pipeline()
	otherCookie.Cookie.Cookie++
	noCookie := pipeline()
	noCookie.Cookie = nil
	otherInfo := pipeline()
	otherInfo.P4Info.Tables[0].Size++
	tests := []struct {
		name string
		runs *v1.ForwardingPipelineConfig
		push bool
	}{
		{"nothing runs", nil, true},
		{"the same runs", pipeline(), false},
		{"another cookie", otherCookie, true},
		{"no cookie", noCookie, true},
		{"another P4Info under the same cookie", otherInfo, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := start(t, nil)
				h.set(func() { h.pipeline = tt.runs })
				_, turn := h.primary(t)
				pushes := h.pushed()
				if got := len(pushes) == 1; got != tt.push {
					t.Errorf("%d pushes, want a push: %v", len(pushes), tt.push)
				}
				if tt.push {
					want := &v1.SetForwardingPipelineConfigRequest{
						DeviceId: deviceID, ElectionId: ourID, Config: pipeline(),
						Action: v1.SetForwardingPipelineConfigRequest_VERIFY_AND_COMMIT,
					}
					if diff := cmp.Diff(want, pushes[0], protocmp.Transform()); diff != "" {
						t.Errorf("push (-want +got):\n%s", diff)
					}
				}
				turn.finish <- nil
				if err := <-h.ended; err != nil {
					t.Errorf("Run returned %v after the callback was finished", err)
				}
			})
		})
	}
}

func TestPipelineOfTheTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, func(c *p4rt.Config) { c.Pipeline = nil })
		s, _ := h.accept(t)
		s.arbitrate(t, codes.OK, ourID)
		h.wantStatus(t, p4rt.Disconnected, "the target runs no pipeline, and none is given to push")
		h.set(func() { h.pipeline = pipeline() })
		_, turn := h.primary(t)
		if _, err := turn.p.Info().Table("vip"); err != nil {
			t.Error(err)
		}
		if n := len(h.pushed()); n != 0 {
			t.Errorf("%d pushes", n)
		}
	})
}

func TestPipelineNeedsCookie(t *testing.T) {
	config := pipeline()
	config.Cookie = nil
	err := p4rt.NewSession(p4rt.Config{Pipeline: config}).Run(t.Context(), nil)
	if want := "the pipeline has no cookie, so whether a target runs it cannot be told"; err == nil ||
		err.Error() != want {
		t.Errorf("Run returned %v, want %s", err, want)
	}
}

// Section "Client Arbitration Notifications": a client that lost primacy stays connected, as backup.
func TestPrimacyComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, nil)
		s, first := h.primary(t)
		h.wantStatus(t, p4rt.Active, "")

		s.arbitrate(t, codes.AlreadyExists, higher)
		<-first.ctx.Done()
		cause := context.Cause(first.ctx)
		if !errors.Is(cause, p4rt.ErrNotPrimary) ||
			!strings.Contains(cause.Error(), "election id 2:0 is primary, this client's is 1:5") {
			t.Errorf("cause is %v", cause)
		}
		h.wantStatus(t, p4rt.Backup, "election id 2:0 is primary")
		if err := first.p.PacketOut(nil, u("egress_port", 1)); !errors.Is(err, p4rt.ErrNotPrimary) {
			t.Errorf("packet-out by the former primary: %v", err)
		}

		s.arbitrate(t, codes.NotFound, higher)
		h.wantStatus(t, p4rt.Backup,
			"nobody is until a client comes with election id 2:0 or above, this client's is 1:5")
		time.Sleep(time.Hour)
		if len(h.streams) > 0 || len(h.turns) > 0 {
			t.Fatal("the backup opened another stream, or called back")
		}

		s.arbitrate(t, codes.OK, ourID)
		second := <-h.turns
		h.wantStatus(t, p4rt.Active, "")
		s.arbitrate(t, codes.OK, ourID) // told again: nothing changes
		synctest.Wait()
		if second.ctx.Err() != nil || len(h.turns) > 0 {
			t.Error("repeated news of primacy disturbed the callback")
		}
		// Lost and won again in one go: others may have written, so the callback starts again.
		s.arbitrate(t, codes.AlreadyExists, higher)
		s.arbitrate(t, codes.OK, ourID)
		third := <-h.turns
		if second.ctx.Err() == nil || third.ctx.Err() != nil {
			t.Error("the second turn lives on, or the third does not")
		}
	})
}

func TestBackupFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, nil)
		s, _ := h.accept(t)
		s.arbitrate(t, codes.AlreadyExists, higher)
		h.wantStatus(t, p4rt.Backup, "election id 2:0 is primary, this client's is 1:5")
		if diff := cmp.Diff(&p4rt.ElectionID{High: 2}, h.Status().Highest); diff != "" {
			t.Errorf("highest election id (-want +got):\n%s", diff)
		}
		h.stop()
		if err := <-h.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
}

// Section "Unset Election ID": unset is not 0, and never primary, whatever bmv2 says.
func TestStandby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, func(c *p4rt.Config) { c.Election = nil })
		s, m := h.accept(t)
		if m.ElectionId != nil {
			t.Errorf("election id is %v, want unset", m.ElectionId)
		}
		s.arbitrate(t, codes.OK, &v1.Uint128{})
		h.wantStatus(t, p4rt.Backup, "a standby")
		if len(h.turns) > 0 || len(h.pushed()) > 0 {
			t.Error("the standby acts as primary")
		}
	})
}

func TestZeroElectionIDCanBePrimary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, func(c *p4rt.Config) { c.Election = &p4rt.ElectionID{} })
		s, m := h.accept(t)
		if m.ElectionId == nil {
			t.Error("election id is unset, want 0")
		}
		s.arbitrate(t, codes.OK, &v1.Uint128{})
		<-h.turns
	})
}

// Section "Rules for Handling MasterArbitrationUpdate Messages".
func TestRefusedStream(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want string
		is   error
	}{
		{"election id in use", status.Error(codes.InvalidArgument, "exists"),
			"the election id is in use by another live client: 1:5: rpc error: code = InvalidArgument desc = exists",
			p4rt.ErrElectionIDInUse},
		{"no such device", status.Error(codes.NotFound, "which?"), "the target has no device 1: ", nil},
		{"too many clients", status.Error(codes.ResourceExhausted, "16"), "the target has too many clients: ", nil},
		{"precondition", status.Error(codes.FailedPrecondition, "x"),
			"the stream broke: rpc error: code = FailedPrecondition", nil},
		{"ended without a reason", nil, "the target ended the stream", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := start(t, nil)
				s, _ := h.accept(t)
				s.end <- tt.err
				h.wantStatus(t, p4rt.Disconnected, tt.want)
				if err := h.Status().Err; tt.is != nil && !errors.Is(err, tt.is) || errors.Is(err, p4rt.ErrNotPrimary) {
					t.Errorf("error is %#v", err)
				}
				h.primary(t) // it comes back
			})
		})
	}
}

func TestStandbyRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, func(c *p4rt.Config) { c.Election = nil })
		s, _ := h.accept(t)
		s.end <- status.Error(codes.InvalidArgument, "Election id already exists")
		h.wantStatus(t, p4rt.Disconnected, "the target refuses a client without an election id; it may take only one")
	})
}

// A queued packet-out that reaches a restarted target is a fault seen in the wild.
func TestNoPacketOutSurvivesReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, nil)
		s, first := h.primary(t)
		if err := first.p.PacketOut([]byte("one"), u("egress_port", 3)); err != nil {
			t.Fatal(err)
		}
		want := &v1.PacketOut{Payload: []byte("one"), Metadata: []*v1.PacketMetadata{{MetadataId: 1, Value: []byte{3}}}}
		if diff := cmp.Diff(want, (<-s.requests).GetPacket(), protocmp.Transform()); diff != "" {
			t.Errorf("packet-out (-want +got):\n%s", diff)
		}
		s.end <- status.Error(codes.Unavailable, "reset")
		<-first.ctx.Done()
		if cause := context.Cause(first.ctx); !strings.Contains(cause.Error(), "reset") {
			t.Errorf("cause is %v", cause)
		}
		if err := first.p.PacketOut([]byte("two"), u("egress_port", 3)); err == nil {
			t.Error("a packet-out was taken after the connection was lost")
		}
		s, second := h.primary(t)
		if err := first.p.PacketOut([]byte("three"), u("egress_port", 3)); err == nil {
			t.Error("a packet-out of the lost connection was taken on the new one")
		}
		if err := second.p.PacketOut([]byte("four"), u("egress_port", 3)); err != nil {
			t.Error(err)
		}
		if got := string((<-s.requests).GetPacket().GetPayload()); got != "four" {
			t.Errorf("the new connection's first packet-out is %q, want four", got)
		}
		if len(h.pushed()) != 1 {
			t.Errorf("%d pushes, want none for the reconnect", len(h.pushed())-1)
		}
	})
}

// A client whose connection is lost must not reach the target again by a new one.
func TestClientNeverReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		var conn net.Conn
		dials := 0
		c, err := p4rt.Dial(t.Context(), "fake", deviceID,
			p4rt.WithDialer(func(ctx context.Context, _ string) (net.Conn, error) {
				dials++
				var err error
				conn, err = f.listener.DialContext(ctx)
				return conn, err
			}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conn.Close()
		synctest.Wait()
		if err := c.Write(t.Context(), []*v1.Update{{}}); status.Code(err) != codes.Unavailable {
			t.Errorf("write over a lost connection: %v", err)
		}
		time.Sleep(time.Hour)
		if err := c.Write(t.Context(), []*v1.Update{{}}); status.Code(err) != codes.Unavailable ||
			!strings.Contains(err.Error(), "the connection is lost") {
			t.Errorf("write over a lost connection: %v", err)
		}
		if dials != 1 {
			t.Errorf("%d dials", dials)
		}
	})
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials []time.Time
		s := p4rt.NewSession(p4rt.Config{
			Target: "fake", DeviceID: deviceID, Election: ours, Pipeline: pipeline(),
			MinBackoff: 100 * time.Millisecond, MaxBackoff: time.Second,
			Options: []p4rt.Option{p4rt.WithDialer(func(context.Context, string) (net.Conn, error) {
				dials = append(dials, time.Now())
				return nil, errors.New("connection refused")
			})},
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		err := s.Run(ctx, nil)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run returned %v", err)
		}
		var longest, sum time.Duration
		for i := 1; i < len(dials); i++ {
			gap := dials[i].Sub(dials[i-1])
			limit := time.Second
			if i <= 4 {
				limit = min(limit, 100*time.Millisecond<<(i-1))
			}
			if gap > limit+time.Millisecond {
				t.Errorf("wait %d is %v, want at most %v", i, gap, limit)
			}
			longest, sum = max(longest, gap), sum+gap
		}
		// Full jitter: uniform in (0, 1 s], mostly; 1,200 waits on average.
		if mean := sum / time.Duration(len(dials)-1); mean < 400*time.Millisecond || mean > 600*time.Millisecond ||
			longest < 900*time.Millisecond {
			t.Errorf("mean wait is %v, longest %v over %d dials", mean, longest, len(dials))
		}
	})
}

func TestHungTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, func(c *p4rt.Config) { c.KeepAlive = 2 * time.Second })
		_, first := h.primary(t)
		time.Sleep(time.Hour)
		if first.ctx.Err() != nil {
			t.Fatal("an idle session does not last")
		}
		hung := time.Now()
		h.set(func() {
			h.capabilities = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		})
		<-first.ctx.Done()
		if took := time.Since(hung); took > 4*time.Second {
			t.Errorf("a target that stops answering is noticed after %v, want 4s", took)
		}
		if cause := context.Cause(first.ctx); !strings.Contains(cause.Error(), "the target stopped answering") {
			t.Errorf("cause is %v", cause)
		}
		h.set(func() { h.capabilities = nil })
		h.primary(t)
	})
}

// A callback that gives up in good order when the target freezes has not finished: the session comes
// back, whichever of the two it notices first.
func TestFrozenTargetIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		frozen := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		f.set(func() {
			f.read = func(_ *v1.ReadRequest, rpc v1.P4Runtime_ReadServer) error { return frozen(rpc.Context()) }
		})
		s := p4rt.NewSession(p4rt.Config{Target: "fake", DeviceID: deviceID, Election: ours, Pipeline: pipeline(),
			KeepAlive: 2 * time.Second, Options: []p4rt.Option{f.dialer()}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- s.Run(ctx, func(ctx context.Context, p *p4rt.Primary) error {
				f.set(func() { f.capabilities = frozen })
				for range p.Read(ctx, &v1.Entity{}) {
				}
				if ctx.Err() == nil {
					t.Error("Read ended before its context")
				}
				return nil
			})
		}()
		for range 20 {
			select {
			case stream := <-f.streams:
				stream.arbitrate(t, codes.OK, ourID)
				<-stream.Context().Done()
				f.set(func() { f.capabilities = nil })
			case err := <-ended:
				t.Fatalf("Run ended for good and returned %v", err)
			}
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v, want what ended its context", err)
		}
	})
}

func TestUnansweredArbitration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, nil)
		h.accept(t)
		time.Sleep(5 * time.Second)
		h.wantStatus(t, p4rt.Disconnected, "no answer to the arbitration request within 5s")
		h.primary(t)
	})
}

func TestFailedCallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, nil)
		_, first := h.primary(t)
		first.finish <- errors.New("no idea")
		h.wantStatus(t, p4rt.Disconnected, "no idea")
		_, second := h.primary(t)
		second.finish <- nil
		if err := <-h.ended; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
}

// The callback must have returned before anything else happens.
func TestNeverTwoCallbacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		s := p4rt.NewSession(p4rt.Config{Target: "fake", DeviceID: deviceID, Election: ours, Pipeline: pipeline(),
			Options: []p4rt.Option{f.dialer()}})
		running := 0
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- s.Run(ctx, func(ctx context.Context, p *p4rt.Primary) error {
				if running++; running > 1 {
					t.Error("two callbacks at once")
				}
				<-ctx.Done()
				time.Sleep(time.Minute) // slow to clean up
				running--
				return nil
			})
		}()
		for range 3 {
			stream, _ := f.accept(t)
			stream.arbitrate(t, codes.OK, ourID)
			stream.arbitrate(t, codes.AlreadyExists, higher)
			stream.arbitrate(t, codes.OK, ourID)
			time.Sleep(time.Hour)
			stream.end <- nil
		}
		cancel()
		<-ended
		if running != 0 {
			t.Error("Run returned before its callback")
		}
	})
}

func TestStreamMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, nil)
		s, turn := h.primary(t)
		info, err := p4rt.NewInfo(p4.P4Info())
		if err != nil {
			t.Fatal(err)
		}
		learn, err := info.Digest("learn_t")
		if err != nil {
			t.Fatal(err)
		}
		s.tell(t, &v1.StreamMessageResponse{Update: &v1.StreamMessageResponse_Digest{Digest: &v1.DigestList{
			DigestId: learn.ID, ListId: 77, Timestamp: 1,
			Data: []*v1.P4Data{{Data: &v1.P4Data_Struct{Struct: &v1.P4StructLike{Members: []*v1.P4Data{
				{Data: &v1.P4Data_Bitstring{Bitstring: []byte{2, 0, 0, 0, 0, 0x11}}},
				{Data: &v1.P4Data_Bitstring{Bitstring: []byte{0, 3}}},
			}}}}},
		}}})
		list := next(turn.p).GetDigest()
		got, err := turn.p.Info().DecodeDigests(list)
		if err != nil {
			t.Fatal(err)
		}
		want := p4rt.DigestList{Digest: "learn_t", Time: time.Unix(0, 1),
			Messages: [][]p4rt.Field{{field("mac", someMAC), u("port", 3)}}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("digests (-want +got):\n%s", diff)
		}
		if err := turn.p.AckDigest(list); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&v1.DigestListAck{DigestId: learn.ID, ListId: 77}, (<-s.requests).GetDigestAck(),
			protocmp.Transform()); diff != "" {
			t.Errorf("acknowledgement (-want +got):\n%s", diff)
		}
	})
}

// next waits for a message.
func next(p *p4rt.Primary) *v1.StreamMessageResponse {
	<-p.Waiting()
	return p.Next()
}

// left counts the messages that wait, and takes them.
func left(p *p4rt.Primary) (n int) {
	for p.Next() != nil {
		n++
	}
	return n
}

// Messages that nobody takes must not hide the loss of primacy behind them, nor each other.
func TestFloodOfMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, nil)
		s, turn := h.primary(t)
		for i := range 10000 {
			s.tell(t, &v1.StreamMessageResponse{Update: &v1.StreamMessageResponse_Packet{
				Packet: &v1.PacketIn{Payload: fmt.Append(nil, i)}}})
		}
		s.tell(t, &v1.StreamMessageResponse{
			Update: &v1.StreamMessageResponse_Digest{Digest: &v1.DigestList{ListId: 5}}})
		s.tell(t, &v1.StreamMessageResponse{Update: &v1.StreamMessageResponse_IdleTimeoutNotification{
			IdleTimeoutNotification: &v1.IdleTimeoutNotification{Timestamp: 6}}})
		s.arbitrate(t, codes.AlreadyExists, higher)
		<-turn.ctx.Done()
		if got := next(turn.p).GetIdleTimeoutNotification().GetTimestamp(); got != 6 {
			t.Errorf("the idle notification is not first: it is of %d, want 6", got)
		}
		if got := next(turn.p).GetDigest().GetListId(); got != 5 {
			t.Errorf("the digests are not next: list %d, want 5", got)
		}
		if got := string(next(turn.p).GetPacket().GetPayload()); got != "0" {
			t.Errorf("first packet is %q, want the oldest", got)
		}
		kept := uint64(left(turn.p) + 1)
		if dropped := turn.p.Dropped(backlog.Packet); kept < 1000 || dropped < 1000 || kept+dropped != 10000 {
			t.Errorf("%d packets were kept and %d counted as dropped, want 10000 together, and 1000 of each", kept,
				dropped)
		}
	})
}

// What came for a former time as primary is not for the next one: others may have written in between.
func TestMessagesOfAFormerTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, nil)
		packet := func(payload string) *v1.StreamMessageResponse {
			return &v1.StreamMessageResponse{Update: &v1.StreamMessageResponse_Packet{
				Packet: &v1.PacketIn{Payload: []byte(payload)}}}
		}
		s, first := h.primary(t)
		s.tell(t, packet("first"))
		s.arbitrate(t, codes.AlreadyExists, higher)
		<-first.ctx.Done()
		s.tell(t, packet("between"))
		s.arbitrate(t, codes.OK, ourID)
		second := <-h.turns
		synctest.Wait()
		if n := left(second.p); n != 0 {
			t.Errorf("the second turn begins with %d messages, want none", n)
		}
		s.tell(t, packet("second"))
		if got := string(next(second.p).GetPacket().GetPayload()); got != "second" {
			t.Errorf("the second turn's first message is %q", got)
		}
		synctest.Wait()
		if got, more := string(next(first.p).GetPacket().GetPayload()), left(first.p); got != "first" || more != 0 {
			t.Errorf("the first turn got %q and %d more, want first alone", got, more)
		}
	})
}

func TestWriteCarriesElectionID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, nil)
		_, turn := h.primary(t)
		if err := turn.p.Write(turn.ctx, []*v1.Update{{}}); err != nil {
			t.Fatal(err)
		}
		h.set(func() {
			if diff := cmp.Diff(ourID, h.writes[0].ElectionId, protocmp.Transform()); diff != "" {
				t.Errorf("election id (-want +got):\n%s", diff)
			}
		})
	})
}
