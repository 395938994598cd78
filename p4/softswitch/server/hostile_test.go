package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sluicelb/sluice/p4/softswitch/engine"
	"github.com/sluicelb/sluice/p4/softswitch/server"
)

// rawCodec sends bytes as they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
func (rawCodec) Unmarshal(mem.BufferSlice, any) error { return nil }
func (rawCodec) Name() string                         { return "proto" }

// A truncated or oversized message is an error to the client that sent it, and nothing else.
func TestBadMessages(t *testing.T) {
	r := newRig(t)
	s := r.configured(kinds(t))
	good, err := proto.Marshal(&v1.WriteRequest{
		DeviceId: device, ElectionId: election(1),
		Updates: []*v1.Update{insert(t, `table_entry:{table_id:$small`+smallKey+counted3+`}`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	conn := r.dial(grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{})))
	call := func(method string, message []byte) codes.Code {
		var out []byte
		return status.Code(conn.Invoke(t.Context(), "/p4.v1.P4Runtime/"+method, message, &out))
	}
	if got := call("Write", make([]byte, server.MaxMessage+1)); got != codes.ResourceExhausted {
		t.Errorf("oversized: %v, want ResourceExhausted", got)
	}
	noise := rand.New(rand.NewPCG(1, 2))
	for n := 1; n < len(good); n++ {
		whole := proto.Unmarshal(good[:n], &v1.WriteRequest{}) == nil // cut between two fields
		if got := call("Write", good[:n]); got == codes.Unavailable || got == codes.OK && !whole {
			t.Errorf("cut after %d bytes: %v", n, got)
		}
		garbage := bytes.Clone(good)
		garbage[noise.IntN(len(garbage))] ^= byte(1 + noise.IntN(255))
		for _, method := range []string{"SetForwardingPipelineConfig", "GetForwardingPipelineConfig", "Capabilities"} {
			if got := call(method, garbage); got == codes.Unavailable {
				t.Errorf("%s with garbage: %v", method, got)
			}
		}
		for _, method := range []string{"StreamChannel", "Read"} {
			rpc, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true},
				"/p4.v1.P4Runtime/"+method)
			if err != nil {
				t.Fatal(err)
			}
			_ = rpc.SendMsg(garbage)
			_ = rpc.CloseSend()
			var out []byte
			for err = nil; err == nil; {
				err = rpc.RecvMsg(&out)
			}
			if status.Code(err) == codes.Unavailable {
				t.Errorf("%s with garbage: %v", method, err)
			}
		}
	}
	// What is not HTTP/2 at all.
	raw, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.Write([]byte("GET / HTTP/1.1\r\nHost: switch\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	_ = raw.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, raw); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection was not closed: %v", err)
	}

	// The primary is primary still, and the one good message does what it says.
	r.mustRead(entry(t, `table_entry:{}`))
	s.arbitrate(arbitration(election(1)))
	s.want(`arbitration:{device_id:1 election_id:{low:1} ` + isPrimary)
	if got := call("Write", good); got != codes.OK {
		t.Errorf("the whole message: %v", got)
	}
}

// A client that sends huge packet-outs and never reads is nobody else's trouble.
func TestFloodOfPacketOuts(t *testing.T) {
	r := newRig(t)
	s := r.configured(kinds(t))
	hostile := r.stream()
	hostile.arbitrate(arbitration(nil)) // else it has 10 s, which a busy machine needs for the flood
	hostile.want(`arbitration:{device_id:1 election_id:{low:1} ` + notPrimary)
	for range 20 {
		hostile.send(&v1.StreamMessageRequest{
			Update: &v1.StreamMessageRequest_Packet{Packet: &v1.PacketOut{Payload: make([]byte, 4<<20)}}})
	}
	r.mustWrite(insert(t, `table_entry:{table_id:$small`+smallKey+counted3+`}`))
	s.arbitrate(arbitration(election(1)))
	s.want(`arbitration:{device_id:1 election_id:{low:1} ` + isPrimary)
	notice := `arbitration:{device_id:1 election_id:{low:1} ` + notPrimary // comes before errors that wait
	want := map[string]int{`error:{canonical_code:7 message:"not primary" packet_out:{}}`: 20, notice: 1}
	got := make(map[string]int)
	for range 21 {
		got[hostile.next()]++
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the flood is told (-want +got):\n%s", diff)
	}
}

// idlePlane moves no packets.
type idlePlane struct{}

func (idlePlane) Commit(*engine.Program) {}
func (idlePlane) Inject([]byte)          {}
func (idlePlane) Now() time.Duration     { return 0 }

// fakeStream is a StreamChannel without gRPC.
type fakeStream struct {
	grpc.ServerStream
	ctx      context.Context
	requests chan *v1.StreamMessageRequest
	answers  chan *v1.StreamMessageResponse
}

func (s *fakeStream) Context() context.Context { return s.ctx }
func (s *fakeStream) Send(m *v1.StreamMessageResponse) error {
	s.answers <- m
	return nil
}

func (s *fakeStream) Recv() (*v1.StreamMessageRequest, error) {
	select {
	case m := <-s.requests:
		return m, nil
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

// Whatever a WriteRequest holds, Write returns a status, with one detail for every update or none.
func FuzzWrite(f *testing.F) {
	for _, seed := range []string{
		`table_entry:{table_id:$small` + smallKey + counted3 + ` idle_timeout_ns:1 counter_data:{packet_count:1}}`,
		`table_entry:{table_id:$rules priority:5` + ruleB + ` match:{field_id:3 range:{low:"\x01" high:"\x02"}} ` +
			`match:{field_id:2 optional:{value:"\x02"}}` + drop + `}`,
		`table_entry:{table_id:$prefixes` + prefixKey + ` match:{field_id:1 lpm:{value:"\x0a\x00\x00\x00" ` +
			`prefix_len:8}}` + drop + `}`,
		`table_entry:{table_id:$keyless is_default_action:true` + drop + `}`,
		`direct_counter_entry:{table_entry:{table_id:$small` + smallKey + `} data:{}}`,
		`counter_entry:{counter_id:$cells index:{index:2} data:{}}`,
		`register_entry:{register_id:$words index:{} data:{bitstring:"\x01"}}`,
		`packet_replication_engine_entry:{multicast_group_entry:{multicast_group_id:1 replicas:{port:"\x01"}}}`,
		`digest_entry:{digest_id:1 config:{}}`,
	} {
		req := &v1.WriteRequest{Updates: []*v1.Update{insert(f, seed), modify(f, seed), remove(f, seed)}}
		b, err := proto.Marshal(req)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	srv := server.New(server.Config{DeviceID: device, Plane: idlePlane{}, Log: slog.New(slog.DiscardHandler)})
	stream := &fakeStream{ctx: f.Context(), requests: make(chan *v1.StreamMessageRequest, 1),
		answers: make(chan *v1.StreamMessageResponse, 1)}
	go func() { _ = srv.StreamChannel(stream) }() // ends with the test's context
	stream.requests <- &v1.StreamMessageRequest{
		Update: &v1.StreamMessageRequest_Arbitration{Arbitration: arbitration(election(1))}}
	<-stream.answers
	_, err := srv.SetForwardingPipelineConfig(f.Context(), &v1.SetForwardingPipelineConfigRequest{
		DeviceId: device, ElectionId: election(1), Action: commit, Config: kinds(f),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		req := &v1.WriteRequest{}
		if proto.Unmarshal(b, req) != nil {
			return
		}
		req.DeviceId, req.Role, req.ElectionId = device, "", election(1)
		_, err := srv.Write(t.Context(), req)
		if n := len(details(err)); n != 0 && (n != len(req.Updates) || status.Code(err) != codes.Unknown) {
			t.Errorf("%v with %d details for %d updates", err, n, len(req.Updates))
		}
		for _, u := range req.Updates {
			rpc := &collector{ctx: t.Context()}
			if u.GetEntity() != nil {
				_ = srv.Read(&v1.ReadRequest{DeviceId: device, Entities: []*v1.Entity{u.Entity}}, rpc)
			}
		}
	})
}

// collector is the stream of a Read without gRPC.
type collector struct {
	grpc.ServerStream
	ctx context.Context
}

func (c *collector) Context() context.Context    { return c.ctx }
func (c *collector) Send(*v1.ReadResponse) error { return nil }
