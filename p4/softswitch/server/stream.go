package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sluicelb/sluice/p4/backlog"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

// controlQueue is how many arbitration updates wait for a client that reads slowly: when it is full the
// oldest goes, the newest says how things are.
const controlQueue = 64

// arbitrationTimeout is how long a stream may be open without an arbitration update.
const arbitrationTimeout = 10 * time.Second

// stream is one client's StreamChannel.
type stream struct {
	client string
	log    *slog.Logger

	// Guarded by the arbiter. role is nil before the first arbitration update; left is set when the
	// call has ended.
	role  *role
	left  bool
	given *v1.Role
	id    electionID
	hasID bool

	controls chan *v1.StreamMessageResponse
	data     *backlog.Backlog // all else
	dropped  *drops           // of all streams
	slow     sync.Once        // logs the first drop of this one
}

// drops counts the messages that clients read too slowly for, by kind.
type drops [backlog.Packet + 1]atomic.Uint64

func (s *Server) newStream(ctx context.Context) *stream {
	st := &stream{
		log:      s.cfg.Log,
		dropped:  &s.dropped,
		controls: make(chan *v1.StreamMessageResponse, controlQueue),
	}
	st.data = backlog.New(backlog.DefaultRooms, st.drop)
	if p, ok := peer.FromContext(ctx); ok {
		st.client = p.Addr.String()
	}
	return st
}

// StreamChannel implements v1.P4RuntimeServer.
func (s *Server) StreamChannel(rpc v1.P4Runtime_StreamChannelServer) error {
	st := s.newStream(rpc.Context())
	if err := s.arbiter.enter(st); err != nil {
		return err
	}
	defer s.arbiter.leave(st)
	// The writer may be held up by a client that does not read, the reader by one that does not send.
	// Both end with the call, which ends when this function returns, and so cannot be waited for here.
	go st.write(rpc)
	ended := make(chan error, 1)
	go func() { ended <- s.receive(st, rpc) }()
	late := time.NewTimer(arbitrationTimeout)
	defer late.Stop()
	select {
	case err := <-ended:
		return err
	case <-late.C:
	}
	if !s.arbiter.arbitrated(st) {
		return status.Errorf(codes.DeadlineExceeded, "no arbitration update within %v", arbitrationTimeout)
	}
	return <-ended
}

// receive handles what a client sends, until the stream ends.
func (s *Server) receive(st *stream, rpc v1.P4Runtime_StreamChannelServer) error {
	for {
		m, err := rpc.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch u := m.GetUpdate().(type) {
		case *v1.StreamMessageRequest_Arbitration:
			if err := s.arbiter.update(st, u.Arbitration, s.barrier); err != nil {
				return err
			}
		case *v1.StreamMessageRequest_Packet:
			if err := s.packetOut(st, u.Packet); err != nil {
				st.fail(err, &v1.StreamError{
					Details: &v1.StreamError_PacketOut{PacketOut: &v1.PacketOutError{PacketOut: echo(u.Packet)}}})
			}
		case *v1.StreamMessageRequest_DigestAck:
			if err := s.digestAck(st, u.DigestAck); err != nil {
				ack := &v1.DigestListAck{DigestId: u.DigestAck.GetDigestId(), ListId: u.DigestAck.GetListId()}
				st.fail(err, &v1.StreamError{
					Details: &v1.StreamError_DigestListAck{DigestListAck: &v1.DigestListAckError{DigestListAck: ack}}})
			}
		default:
			st.fail(unimplemented("such stream message"),
				&v1.StreamError{Details: &v1.StreamError_Other{Other: &v1.StreamOtherError{}}})
		}
	}
}

// echo is what the answer to a refused packet-out repeats of it: all, or nothing when that is longer
// than a frame can be.
func echo(m *v1.PacketOut) *v1.PacketOut {
	if proto.Size(m) > port.MaxFrame {
		return nil
	}
	return m
}

// barrier returns when every write that had begun is done.
func (s *Server) barrier() {
	s.state.Lock()
	defer s.state.Unlock()
}

// requirePrimary is for what only the primary may send on its stream.
func (s *Server) requirePrimary(st *stream) error {
	if !s.arbiter.isPrimary(st) {
		return status.Error(codes.PermissionDenied, "not primary")
	}
	return nil
}

func (st *stream) write(rpc v1.P4Runtime_StreamChannelServer) {
	for {
		var m *v1.StreamMessageResponse
		select {
		case m = <-st.controls:
		default:
			select {
			case m = <-st.controls:
			case <-st.data.Waiting():
				m = st.data.Next()
			case <-rpc.Context().Done():
				return
			}
		}
		if m != nil && rpc.Send(m) != nil {
			return // the call has ended
		}
	}
}

// control queues an arbitration notice. Only the arbiter calls it, one call at a time.
func (st *stream) control(m *v1.StreamMessageResponse) {
	for {
		select {
		case st.controls <- m:
			return
		default:
		}
		select {
		case <-st.controls:
		default:
		}
	}
}

// offer queues a message behind those of its kind and those worth more, and reports whether there was
// room. It never waits.
func (st *stream) offer(class string, m *v1.StreamMessageResponse) bool {
	return st.data.Offer(class, m)
}

func (st *stream) drop(kind backlog.Kind) {
	st.dropped[kind].Add(1)
	st.slow.Do(func() {
		st.log.Warn("client reads its stream too slowly: messages are dropped", "client", st.client, "first", kind)
	})
}

// fail reports an error of a stream message (section "Stream Error Reporting").
func (st *stream) fail(err error, e *v1.StreamError) {
	s := status.Convert(err)
	e.CanonicalCode, e.Message = int32(s.Code()), s.Message()
	st.offer("", &v1.StreamMessageResponse{Update: &v1.StreamMessageResponse_Error{Error: e}})
}
