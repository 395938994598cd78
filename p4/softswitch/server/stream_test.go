package server

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sluicelb/sluice/p4/backlog"
)

// pipe is a StreamChannel without gRPC: requests is closed when the client has no more to say.
type pipe struct {
	grpc.ServerStream
	ctx      context.Context
	requests chan *v1.StreamMessageRequest
	answers  chan *v1.StreamMessageResponse
}

func newPipe(ctx context.Context, requests ...*v1.StreamMessageRequest) *pipe {
	p := &pipe{ctx: ctx, requests: make(chan *v1.StreamMessageRequest, len(requests)+1),
		answers: make(chan *v1.StreamMessageResponse)}
	for _, m := range requests {
		p.requests <- m
	}
	return p
}

func (p *pipe) Context() context.Context { return p.ctx }

func (p *pipe) Send(m *v1.StreamMessageResponse) error {
	select {
	case p.answers <- m:
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

func (p *pipe) Recv() (*v1.StreamMessageRequest, error) {
	select {
	case m, ok := <-p.requests:
		if !ok {
			return nil, io.EOF
		}
		return m, nil
	case <-p.ctx.Done():
		return nil, p.ctx.Err()
	}
}

func quietServer() *Server { return New(Config{DeviceID: 1, Log: slog.New(slog.DiscardHandler)}) }

func rejected(payload int) *v1.StreamMessageRequest {
	return &v1.StreamMessageRequest{
		Update: &v1.StreamMessageRequest_Packet{Packet: &v1.PacketOut{Payload: make([]byte, payload)}}}
}

func bid(id uint64) *v1.StreamMessageRequest {
	return &v1.StreamMessageRequest{Update: &v1.StreamMessageRequest_Arbitration{
		Arbitration: &v1.MasterArbitrationUpdate{DeviceId: 1, ElectionId: &v1.Uint128{Low: id}},
	}}
}

// Whatever a client sends, and however little it reads, what waits for it is bounded in bytes.
func TestQueuedBytesAreBounded(t *testing.T) {
	noise := (&v1.DigestListAck{}).ProtoReflect()
	noise.SetUnknown(append([]byte{0xfa, 0x01, 0x80, 0x80, 0x04}, make([]byte, 1<<16)...)) // field 31 of 65536 bytes
	for _, tt := range []struct {
		name    string
		request *v1.StreamMessageRequest
		most    int // bytes of one answer
	}{
		{"huge packet-outs", rejected(1 << 20), 100},
		{"packet-outs a byte too long", rejected(65535 + 18 + 1), 100},
		{"packet-outs of the longest frame", rejected(65000), 66000},
		{"digest acknowledgements with unknown fields",
			&v1.StreamMessageRequest{
				Update: &v1.StreamMessageRequest_DigestAck{DigestAck: noise.Interface().(*v1.DigestListAck)}}, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := quietServer()
			st := s.newStream(t.Context())
			rpc := newPipe(t.Context())
			rpc.requests = make(chan *v1.StreamMessageRequest)
			go func() {
				for range 2048 {
					rpc.requests <- tt.request
				}
				close(rpc.requests)
			}()
			if err := s.receive(st, rpc); err != nil {
				t.Fatal(err)
			}
			if n := st.data.Used().Error; n == 0 || n > backlog.DefaultRooms.Error {
				t.Errorf("%d bytes are queued, want 1 to %d", n, backlog.DefaultRooms.Error)
			}
			kept := uint64(0)
			for m := st.data.Next(); m != nil; m = st.data.Next() {
				if n := proto.Size(m); n > tt.most {
					t.Fatalf("one answer has %d bytes, want %d at most", n, tt.most)
				}
				kept++
			}
			if n := s.Dropped(backlog.Error); n == 0 || n+kept != 2048 {
				t.Errorf("%d messages were kept and %d counted as dropped of 2048", kept, n)
			}
			if used := st.data.Used(); used != (backlog.Rooms{}) {
				t.Errorf("%+v is counted as queued after all was taken", used)
			}
		})
	}
}

// What was sent no longer counts: a client that reads again gets messages again.
func TestSentBytesMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := quietServer()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		st, rpc := s.newStream(ctx), newPipe(ctx)
		m := &v1.StreamMessageResponse{
			Update: &v1.StreamMessageResponse_Packet{Packet: &v1.PacketIn{Payload: make([]byte, 60_000)}}}
		go st.write(rpc)
		for range 3 {
			n := 0
			for st.offer("", m) {
				n++
			}
			if n < 30 || !st.data.Full(backlog.Packet, "", 60_000) {
				t.Errorf("%d messages fit, and more; want 30 at least, and no more", n)
			}
			for range n {
				<-rpc.answers
			}
			synctest.Wait()
			if n := st.data.Used(); n != (backlog.Rooms{}) {
				t.Errorf("%+v is counted as queued after all was sent", n)
			}
		}
	})
}

// What waits for a client that reads slowly is sent by its worth, not by its age.
func TestWorthIsSentFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := quietServer()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		st, rpc := s.newStream(ctx), newPipe(ctx)
		packet := &v1.StreamMessageResponse{Update: &v1.StreamMessageResponse_Packet{Packet: &v1.PacketIn{}}}
		for st.offer("", packet) {
		}
		for _, m := range []*v1.StreamMessageResponse{
			{Update: &v1.StreamMessageResponse_Digest{Digest: &v1.DigestList{}}},
			{Update: &v1.StreamMessageResponse_IdleTimeoutNotification{}},
		} {
			if !st.offer("", m) {
				t.Errorf("%v has no room beside packet-ins", m)
			}
		}
		go st.write(rpc)
		var got []backlog.Kind
		for range 3 {
			got = append(got, backlog.KindOf(<-rpc.answers))
		}
		if diff := cmp.Diff([]backlog.Kind{backlog.Idle, backlog.Digest, backlog.Packet}, got); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
	})
}

// A stream that never arbitrates ends; one that does lasts.
func TestArbitrationTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := quietServer()
		ctx, cancel := context.WithCancel(t.Context())
		open := func(requests ...*v1.StreamMessageRequest) (*pipe, chan error) {
			rpc, ended := newPipe(ctx, requests...), make(chan error, 1)
			go func() { ended <- s.StreamChannel(rpc) }()
			return rpc, ended
		}
		silent, late := open()
		good, lasts := open(bid(1))
		<-good.answers
		began := time.Now()
		err := <-late
		if took := time.Since(began); status.Code(err) != codes.DeadlineExceeded || took != arbitrationTimeout {
			t.Errorf("ended after %v: %v; want DEADLINE_EXCEEDED after %v", took, err, arbitrationTimeout)
		}
		silent.requests <- bid(2) // comes too late to count
		time.Sleep(time.Hour)
		select {
		case err := <-lasts:
			t.Errorf("the primary's stream ended: %v", err)
		default:
		}
		if all := s.arbiter.primary(); len(all) != 1 || all[0].id.low != 1 {
			t.Error("the late client became primary")
		}
		cancel()
		<-lasts
	})
}

// Streams that have not arbitrated are counted, and make room when they have, or are gone.
func TestTooManySilentStreams(t *testing.T) {
	s := quietServer()
	var all []*stream
	for range maxStreams {
		st := s.newStream(t.Context())
		if err := s.arbiter.enter(st); err != nil {
			t.Fatal(err)
		}
		all = append(all, st)
	}
	want := `rpc error: code = ResourceExhausted desc = 64 clients have opened a stream and sent no arbitration update`
	refused := func() {
		t.Helper()
		if err := s.StreamChannel(newPipe(t.Context())); err == nil || err.Error() != want {
			t.Errorf("one more: %v, want %s", err, want)
		}
	}
	refused()
	enter := func() {
		t.Helper()
		if err := s.arbiter.enter(s.newStream(t.Context())); err != nil {
			t.Error(err)
		}
	}
	if err := s.arbiter.update(all[0], bid(1).GetArbitration(), s.barrier); err != nil {
		t.Fatal(err)
	}
	enter()
	refused()
	s.arbiter.leave(all[1])
	enter()
	refused()
	s.arbiter.leave(all[0]) // was not counted any more
	refused()
}
