package p4rt_test

import (
	"context"
	"net"
	"sync"
	"testing"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/sluicelb/sluice/p4/p4rt"
)

// fake is a P4Runtime target whose every answer a test decides. It serves over pipes in memory, so it
// can live in a synctest bubble.
type fake struct {
	v1.UnimplementedP4RuntimeServer
	listener *bufconn.Listener
	streams  chan *fakeStream // each one that a client opens

	mu           sync.Mutex // guards what follows
	pipeline     *v1.ForwardingPipelineConfig
	pushes       []*v1.SetForwardingPipelineConfigRequest
	writes       []*v1.WriteRequest
	write        func(*v1.WriteRequest) error
	read         func(*v1.ReadRequest, v1.P4Runtime_ReadServer) error
	capabilities func(ctx context.Context) error
}

// fakeStream is the target's end of a stream.
type fakeStream struct {
	v1.P4Runtime_StreamChannelServer
	requests chan *v1.StreamMessageRequest
	end      chan error // what the handler returns
}

func newFake(t *testing.T) *fake {
	f := &fake{listener: bufconn.Listen(1 << 20), streams: make(chan *fakeStream, 16)}
	server := grpc.NewServer()
	v1.RegisterP4RuntimeServer(server, f)
	served := make(chan error, 1)
	go func() { served <- server.Serve(f.listener) }()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
	return f
}

func (f *fake) dialer() p4rt.Option {
	return p4rt.WithDialer(func(ctx context.Context, _ string) (net.Conn, error) { return f.listener.DialContext(ctx) })
}

func (f *fake) client(t *testing.T, opts ...p4rt.Option) *p4rt.Client {
	t.Helper()
	c, err := p4rt.Dial(t.Context(), "fake", deviceID, append(opts, f.dialer())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// set changes the fake's behaviour.
func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) pushed() []*v1.SetForwardingPipelineConfigRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pushes
}

func (f *fake) Capabilities(ctx context.Context, _ *v1.CapabilitiesRequest) (*v1.CapabilitiesResponse, error) {
	f.mu.Lock()
	hook := f.capabilities
	f.mu.Unlock()
	if hook != nil {
		return nil, hook(ctx)
	}
	return &v1.CapabilitiesResponse{P4RuntimeApiVersion: "1.5.0"}, nil
}

func (f *fake) GetForwardingPipelineConfig(
	_ context.Context, r *v1.GetForwardingPipelineConfigRequest,
) (*v1.GetForwardingPipelineConfigResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &v1.GetForwardingPipelineConfigResponse{Config: f.pipeline}, nil
}

func (f *fake) SetForwardingPipelineConfig(
	_ context.Context, r *v1.SetForwardingPipelineConfigRequest,
) (*v1.SetForwardingPipelineConfigResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pushes = append(f.pushes, r)
	f.pipeline = proto.Clone(r.GetConfig()).(*v1.ForwardingPipelineConfig)
	return &v1.SetForwardingPipelineConfigResponse{}, nil
}

func (f *fake) Write(_ context.Context, r *v1.WriteRequest) (*v1.WriteResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes = append(f.writes, r)
	if f.write != nil {
		if err := f.write(r); err != nil {
			return nil, err
		}
	}
	return &v1.WriteResponse{}, nil
}

func (f *fake) Read(r *v1.ReadRequest, stream v1.P4Runtime_ReadServer) error {
	f.mu.Lock()
	hook := f.read
	f.mu.Unlock()
	return hook(r, stream)
}

func (f *fake) StreamChannel(stream v1.P4Runtime_StreamChannelServer) error {
	s := &fakeStream{
		P4Runtime_StreamChannelServer: stream,
		requests:                      make(chan *v1.StreamMessageRequest, 64),
		end:                           make(chan error, 1),
	}
	var receiving sync.WaitGroup
	receiving.Go(func() {
		defer close(s.requests)
		for {
			m, err := stream.Recv()
			if err != nil {
				return
			}
			s.requests <- m
		}
	})
	f.streams <- s
	select {
	case err := <-s.end:
		return err
	case <-stream.Context().Done():
		receiving.Wait()
		return stream.Context().Err()
	}
}

// accept takes the next stream and its arbitration request.
func (f *fake) accept(t *testing.T) (*fakeStream, *v1.MasterArbitrationUpdate) {
	t.Helper()
	s := <-f.streams
	m := <-s.requests
	if m.GetArbitration() == nil {
		t.Errorf("the first message of a stream is %v, want an arbitration update", m)
	}
	return s, m.GetArbitration()
}

// arbitrate tells the client where it stands.
func (s *fakeStream) arbitrate(t *testing.T, code codes.Code, highest *v1.Uint128) {
	t.Helper()
	s.tell(t, &v1.StreamMessageResponse{Update: &v1.StreamMessageResponse_Arbitration{
		Arbitration: &v1.MasterArbitrationUpdate{
			DeviceId:   deviceID,
			ElectionId: highest,
			Status:     &rpcstatus.Status{Code: int32(code)},
		},
	}})
}

func (s *fakeStream) tell(t *testing.T, m *v1.StreamMessageResponse) {
	t.Helper()
	if err := s.Send(m); err != nil {
		t.Errorf("the stream is gone: %v", err)
	}
}
