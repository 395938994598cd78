package gnmi

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/gnmi/proto/gnmi_ext"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sluicelb/sluice/internal/rpc"
)

// byGRPC serves as the embedded switch does, byConnect as the controller. They return an address.
func byGRPC(t *testing.T, s *Server) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	s.Register(g)
	go func() { _ = g.Serve(l) }() // ends with Stop
	t.Cleanup(g.Stop)
	return l.Addr().String()
}

func byConnect(t *testing.T, s *Server) string {
	l, err := rpc.Listen("127.0.0.1:0", nil, rpc.Security{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- rpc.Serve(ctx, l, Methods, s.Services()...) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Address()
}

func dial(t *testing.T, address string) pb.GNMIClient {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return pb.NewGNMIClient(conn)
}

// A client of gRPC sees no difference between the two ways of serving.
func TestServing(t *testing.T) {
	for name, by := range map[string]func(*testing.T, *Server) string{"gRPC": byGRPC, "Connect": byConnect} {
		t.Run(name, func(t *testing.T) {
			client := dial(t, by(t, serve(newHouse("a"))))
			c, err := client.Capabilities(t.Context(), &pb.CapabilityRequest{})
			if err != nil || c.GNMIVersion != "0.10.0" {
				t.Errorf("Capabilities: %v, %v", c, err)
			}
			m, err := client.Get(t.Context(), &pb.GetRequest{Path: []*pb.Path{at("/lamps/hour")}})
			if err != nil || cmp.Diff([]string{"/lamps/hour = 1"}, show(m.Notification[0])) != "" {
				t.Errorf("Get: %v, %v", m, err)
			}
			for what, err := range map[string]error{
				"Unimplemented desc = gNMI is read-only here: lamps have switches": func() error {
					_, err := client.Set(t.Context(), &pb.SetRequest{})
					return err
				}(),
				"NotFound desc = path /lamps/lamp[name=z]: there is nothing now": func() error {
					_, err := client.Get(t.Context(), &pb.GetRequest{Path: []*pb.Path{at("/lamps/lamp[name=z]")}})
					return err
				}(),
				"InvalidArgument desc = the first request of a stream must be a subscription: there is " +
					"none to poll": func() error {
					stream, err := client.Subscribe(t.Context())
					if err == nil {
						_ = stream.Send(poll)
						_, err = stream.Recv()
					}
					return err
				}(),
			} {
				if err == nil || err.Error() != "rpc error: code = "+what {
					t.Errorf("got %v, want %s", err, what)
				}
			}
			// All polls together are longer than a request may be.
			const polls = 100
			long := &pb.SubscribeRequest{Request: poll.Request,
				Extension: []*gnmi_ext.Extension{{Ext: &gnmi_ext.Extension_RegisteredExt{
					RegisteredExt: &gnmi_ext.RegisteredExtension{Msg: make([]byte, 1000)}}}}}
			stream, err := client.Subscribe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_ = stream.Send(list(&pb.SubscriptionList{Mode: pb.SubscriptionList_POLL,
				Subscription: []*pb.Subscription{{Path: at("/none")}}}))
			for i := range polls {
				if m, err := stream.Recv(); err != nil || !m.GetSyncResponse() {
					t.Fatalf("poll %d: %v, %v", i, m, err)
				}
				if err := stream.Send(long); err != nil {
					t.Fatal(err)
				}
			}
			_ = stream.CloseSend()
		})
	}
}

// What may be asked for is bounded before it is decoded, and a browser's page cannot ask.
func TestBounds(t *testing.T) {
	address := byConnect(t, serve(newHouse("a")))
	client := dial(t, address)
	for path, want := range map[string]string{
		strings.Repeat("/a", 3000): "rpc error: code = InvalidArgument desc = unmarshal message: too many items in a " +
			"gnmi.GetRequest: must be at most 2048",
		"/" + strings.Repeat("a", 70<<10): "rpc error: code = ResourceExhausted desc = message is larger than " +
			"configured max 65536 - " +
			"unable to determine message size: http: request body too large",
	} {
		if _, err := client.Get(t.Context(), &pb.GetRequest{Path: []*pb.Path{at(path)}}); err == nil ||
			err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+address+pb.GNMI_Get_FullMethodName,
		strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "http://evil.example")
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("a page of others: %s", resp.Status)
	}
}

// A client that stops reading costs the same, however much changes: nothing is kept for it.
func TestStandingReader(t *testing.T) {
	for name, by := range map[string]func(*testing.T, *Server) string{"gRPC": byGRPC, "Connect": byConnect} {
		t.Run(name, func(t *testing.T) {
			h := newHouse("a")
			s := serve(h)
			stream, err := dial(t, by(t, s)).Subscribe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_ = stream.Send(list(&pb.SubscriptionList{Subscription: []*pb.Subscription{
				{Path: at("/lamps"), Mode: pb.SubscriptionMode_ON_CHANGE},
				{Path: at("/lamps"), Mode: pb.SubscriptionMode_SAMPLE},
			}}))
			for { // until all is known
				m, err := stream.Recv()
				if err != nil {
					t.Fatal(err)
				}
				if m.GetSyncResponse() {
					break
				}
			}
			// The reading ends here. Each change makes a lamp with a long name come and another one go.
			changes := func(from, to int) {
				for i := from; i < to; i++ {
					h.change(func() {
						clear(h.lamps)
						h.lamps[strings.Repeat("x", 4096)+string(rune('a'+i%26))] = i%2 == 0
					})
					if _, err := s.trees[event].state(t.Context(), 0); err != nil {
						t.Fatal(err)
					}
				}
			}
			changes(0, 2000) // what the connection itself holds is full by then
			before := heap()
			changes(2000, 12000) // of 80 MB, were they kept
			if grown := int64(heap()) - int64(before); grown > 8<<20 {
				t.Errorf("%d KiB more after 10,000 changes", grown>>10)
			}
			h.change(func() { clear(h.lamps); h.lamps["last"] = true })
			deadline := time.AfterFunc(20*time.Second, func() { t.Error("the last change does not come") })
			defer deadline.Stop()
			for {
				m, err := stream.Recv()
				if err != nil {
					t.Fatal(err)
				}
				for _, u := range m.GetUpdate().GetUpdate() {
					if u.Path.Elem[1].Key["name"] == "last" {
						return
					}
				}
			}
		})
	}
}

// A client that reads nothing at all loses its place, so that it holds on neither to that nor to what it was to be
// told; one that has nothing to read does not.
func TestReaderThatStands(t *testing.T) {
	for name, by := range map[string]func(*testing.T, *Server) string{"gRPC": byGRPC, "Connect": byConnect} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse()
			for i := range 1000 {
				h.lamps[fmt.Sprintf("%04000d", i)] = true // more than a stream and a connection hold
			}
			s := serve(h)
			s.standstill = 200 * time.Millisecond
			client := dial(t, by(t, s))
			open := func(path string) pb.GNMI_SubscribeClient {
				stream, err := client.Subscribe(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				_ = stream.Send(list(&pb.SubscriptionList{Subscription: []*pb.Subscription{
					{Path: at(path), Mode: pb.SubscriptionMode_ON_CHANGE},
				}}))
				return stream
			}
			quiet := open("/none")
			if _, err := quiet.Recv(); err != nil { // sync_response
				t.Fatal(err)
			}
			stands := open("/lamps")
			if _, err := stands.Header(); err != nil { // it is being sent
				t.Fatal(err)
			}
			deadline := time.Now().Add(20 * time.Second)
			for len(s.streams.others) > 1 {
				if time.Now().After(deadline) {
					t.Fatalf("%d subscriptions are under way, want that of who has nothing to read",
						len(s.streams.others))
				}
				time.Sleep(time.Millisecond)
			}
			for {
				if _, err := stands.Recv(); err != nil {
					break // what came before
				}
			}
			if len(s.streams.others) != 1 {
				t.Error("who has nothing to read has lost its place")
			}
		})
	}
}

// heap is what is in use once what is not was collected.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
