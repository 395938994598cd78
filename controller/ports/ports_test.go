package ports

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/p4/p4rt"
)

// fake is a target that behaves as it is told to.
type fake struct {
	gnmi.UnimplementedGNMIServer
	caps      func() (*gnmi.CapabilityResponse, error)
	get       func(*gnmi.GetRequest) (*gnmi.GetResponse, error)
	subscribe func(*gnmi.SubscriptionList, gnmi.GNMI_SubscribeServer) error

	mu    sync.Mutex
	asked []string // the modes
	who   metadata.MD
}

func (f *fake) Capabilities(ctx context.Context, _ *gnmi.CapabilityRequest) (*gnmi.CapabilityResponse, error) {
	f.mu.Lock()
	f.who, _ = metadata.FromIncomingContext(ctx)
	f.mu.Unlock()
	if f.caps == nil {
		return &gnmi.CapabilityResponse{SupportedEncodings: []gnmi.Encoding{gnmi.Encoding_PROTO}}, nil
	}
	return f.caps()
}

func (f *fake) note(mode string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, mode)
}

func (f *fake) Get(_ context.Context, r *gnmi.GetRequest) (*gnmi.GetResponse, error) {
	if r.Path[0].Elem[0].Name != "components" {
		f.note("GET")
	}
	if f.get == nil {
		return nil, status.Error(codes.Unimplemented, "no Get")
	}
	return f.get(r)
}

func (f *fake) Subscribe(s gnmi.GNMI_SubscribeServer) error {
	r, err := s.Recv()
	if err != nil {
		return err
	}
	f.note(r.GetSubscribe().GetMode().String())
	if f.subscribe == nil {
		return status.Error(codes.Unimplemented, "no Subscribe")
	}
	return f.subscribe(r.GetSubscribe(), s)
}

// rig serves f until the test ends, and has a Collector ask it. It must be called in a bubble.
//
//	Collector --gRPC through memory--> fake
func rig(t *testing.T, f *fake, cfg Config) *Collector {
	t.Helper()
	l := bufconn.Listen(1 << 16)
	g := grpc.NewServer(grpc.MaxSendMsgSize(1 << 30))
	gnmi.RegisterGNMIServer(g, f)
	var all sync.WaitGroup
	all.Go(func() { _ = g.Serve(l) })
	cfg.DeviceID = 1
	cfg.Target = "127.0.0.1:9339"
	c := New(cfg)
	c.options = append(c.options, p4rt.WithDialer(func(ctx context.Context, _ string) (net.Conn,
		error) {
		return l.DialContext(ctx)
	}))
	ctx, stop := context.WithCancel(t.Context())
	all.Go(func() {
		if err := c.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); g.Stop(); all.Wait() })
	return c
}

func tell(s gnmi.GNMI_SubscribeServer, updates ...*gnmi.Update) error {
	return s.Send(&gnmi.SubscribeResponse{
		Response: &gnmi.SubscribeResponse_Update{Update: &gnmi.Notification{Update: updates}}})
}

func sync1(s gnmi.GNMI_SubscribeServer) error {
	return s.Send(&gnmi.SubscribeResponse{Response: &gnmi.SubscribeResponse_SyncResponse{SyncResponse: true}})
}

// honest serves all modes.
func honest(l *gnmi.SubscriptionList, s gnmi.GNMI_SubscribeServer) error {
	for {
		if err := errors.Join(tell(s, eth1()...), sync1(s)); err != nil {
			return err
		}
		switch l.Mode {
		case gnmi.SubscriptionList_ONCE:
			return nil
		case gnmi.SubscriptionList_POLL:
			if _, err := s.Recv(); err != nil {
				return nil
			}
		default:
			select {
			case <-s.Context().Done():
				return nil
			case <-time.After(time.Duration(l.Subscription[2].SampleInterval)):
			}
		}
	}
}

// shown is a View in a line.
func shown(v View) string {
	var ports []string
	for _, p := range v.Ports {
		s := fmt.Sprintf("%d %s %s %d", p.ID, p.Name, p.State, p.Received)
		if p.Stale {
			s += " stale"
		}
		ports = append(ports, s)
	}
	return fmt.Sprintf("%s | %s | %s | %v", strings.Join(ports, ", "), v.Way, v.Note, v.Err)
}

// Whatever of gNMI a target lacks, the next best is used and said.
func TestWays(t *testing.T) {
	refuse := func(code codes.Code, modes ...gnmi.SubscriptionList_Mode) func(*gnmi.SubscriptionList,
		gnmi.GNMI_SubscribeServer) error {
		return func(l *gnmi.SubscriptionList, s gnmi.GNMI_SubscribeServer) error {
			for _, m := range modes {
				if l.Mode == m {
					return status.Errorf(code, "no %v", m)
				}
			}
			return honest(l, s)
		}
	}
	const stream, poll, once = gnmi.SubscriptionList_STREAM, gnmi.SubscriptionList_POLL, gnmi.SubscriptionList_ONCE
	wait := func(_ *gnmi.SubscriptionList, s gnmi.GNMI_SubscribeServer) error { <-s.Context().Done(); return nil }
	state := func(*gnmi.GetRequest) (*gnmi.GetResponse, error) {
		return &gnmi.GetResponse{Notification: []*gnmi.Notification{{Update: []*gnmi.Update{
			update("interfaces/interface[name=eth1]/state",
				ietf(`{"oper-status":"UP","id":1,"counters":{"in-pkts":"7"}}`))}}}}, nil
	}
	for _, tt := range []struct {
		name  string
		f     *fake
		after time.Duration
		want  string
		asked string
	}{
		{"everything", &fake{subscribe: honest}, time.Second, "1 eth1 up 7 | gNMI, streamed |  | <nil>", "STREAM"},
		{"slow samples alone", &fake{subscribe: func(l *gnmi.SubscriptionList, s gnmi.GNMI_SubscribeServer) error {
			if d := l.Subscription[2].SampleInterval; l.Mode == stream && d < uint64(10*time.Second) {
				return status.Errorf(codes.InvalidArgument, "sample_interval: must be at least 10s")
			}
			return honest(l, s)
		}}, time.Second,
			"1 eth1 up 7 | gNMI, streamed every 10s | streamed is refused: InvalidArgument: sample_interval: must be " +
				"at least 10s | <nil>", "STREAM STREAM"},
		{"no config/id", &fake{subscribe: func(l *gnmi.SubscriptionList, s gnmi.GNMI_SubscribeServer) error {
			if len(l.Subscription) > 3 {
				return status.Errorf(codes.NotFound, "no such path")
			}
			return honest(l, s)
		}}, time.Second,
			"1 eth1 up 7 | gNMI, streamed every 10s | streamed is refused: NotFound: no such path | <nil>",
			"STREAM STREAM"},
		{"no STREAM", &fake{subscribe: refuse(codes.InvalidArgument, stream)}, time.Second,
			"1 eth1 up 7 | gNMI, polled every 2s | streamed every 10s is refused: InvalidArgument: no STREAM | <nil>",
			"STREAM STREAM POLL"},
		{"ONCE alone", &fake{subscribe: refuse(codes.Unimplemented, stream, poll)}, time.Second,
			"1 eth1 up 7 | gNMI, subscribed once, again and again every 2s | polled every 2s is refused: " +
				"Unimplemented: no POLL | <nil>", "STREAM STREAM POLL POLL ONCE"},
		{"ONCE, again", &fake{subscribe: refuse(codes.Unimplemented, stream, poll)}, 5 * time.Second,
			"1 eth1 up 7 | gNMI, subscribed once, again and again every 2s | polled every 2s is refused: " +
				"Unimplemented: no POLL | <nil>", "STREAM STREAM POLL POLL ONCE ONCE ONCE"},
		{"Get alone", &fake{get: state}, 3 * time.Second,
			"1 eth1 up 7 | gNMI, asked by Get every 2s | subscribed once, again and again every 2s is refused: " +
				"Unimplemented: no Subscribe | <nil>", "STREAM STREAM POLL POLL ONCE GET GET"},
		{"no gNMI, as bmv2's", &fake{caps: func() (*gnmi.CapabilityResponse, error) {
			return nil,
				status.Error(codes.Unimplemented, "")
		}}, 30 * time.Second,
			" |  |  | " + ErrUntold.Error(), "STREAM STREAM POLL POLL ONCE GET"},
		{"one that is silent", &fake{subscribe: wait, get: state}, time.Minute,
			"1 eth1 up 7 | gNMI, asked by Get every 2s | subscribed once, again and again every 2s is not " +
				"answered | <nil>", ""},
		{"no interface", &fake{subscribe: func(l *gnmi.SubscriptionList,
			s gnmi.GNMI_SubscribeServer) error {
			return sync1(s)
		}, get: state}, time.Second,
			"1 eth1 up 7 | gNMI, asked by Get every 2s | subscribed once, again and again every 2s tells of no " +
				"interface | <nil>", ""},
		{"no sync_response", &fake{subscribe: func(_ *gnmi.SubscriptionList, s gnmi.GNMI_SubscribeServer) error {
			err := tell(s, eth1()...)
			<-s.Context().Done()
			return err
		}}, 11 * time.Second, "1 eth1 up 7 stale | gNMI, streamed | it does not say when it has told all | <nil>",
			"STREAM"},
		{"a poll is waited for", &fake{subscribe: func(l *gnmi.SubscriptionList, s gnmi.GNMI_SubscribeServer) error {
			if l.Mode != poll {
				return status.Error(codes.Unimplemented, "no")
			}
			if _, err := s.Recv(); err != nil {
				return nil
			}
			return honest(l, s)
		}}, 3 * time.Second,
			"1 eth1 up 7 | gNMI, polled every 2s | streamed every 10s is refused: Unimplemented: no | <nil>",
			"STREAM STREAM POLL"},
		{"no id", &fake{subscribe: func(_ *gnmi.SubscriptionList, s gnmi.GNMI_SubscribeServer) error {
			err := errors.Join(tell(s, eth1()[1:]...), sync1(s))
			<-s.Context().Done()
			return err
		}}, time.Second,
			" | gNMI, streamed |  | it says of none of its 1 interfaces which port of P4Runtime it is " +
				"(openconfig-p4rt)",
			"STREAM"},
		{"another device", &fake{subscribe: honest, get: func(*gnmi.GetRequest) (*gnmi.GetResponse, error) {
			return &gnmi.GetResponse{Notification: []*gnmi.Notification{{Update: []*gnmi.Update{
				update("components/component[name=c]/integrated-circuit/state/node-id", ietf(`"7"`))}}}}, nil
		}}, time.Second, " |  |  | it tells of device 7: must be 1, the device_id", ""},
		{"the device among others", &fake{subscribe: honest, get: func(*gnmi.GetRequest) (*gnmi.GetResponse, error) {
			return &gnmi.GetResponse{Notification: []*gnmi.Notification{{Prefix: at("components"),
				Update: []*gnmi.Update{
					update("",
						ietf(`{"component":[{"name":"a","integrated-circuit":{"config":{"openconfig-p4rt:node-id":"7"}}},
					{"name":"b","integrated-circuit":{"config":{"openconfig-p4rt:node-id":"1"}}}]}`))}}}}, nil
		}}, time.Second, "1 eth1 up 7 | gNMI, streamed |  | <nil>", "STREAM"},
		{"not for everybody", &fake{caps: func() (*gnmi.CapabilityResponse, error) {
			return nil, status.Error(codes.Unauthenticated, "who\x1b are you?")
		}}, time.Second, ` |  |  | Unauthenticated: who\u001b are you?`, ""},
		{"a message that is too large", &fake{subscribe: func(l *gnmi.SubscriptionList,
			s gnmi.GNMI_SubscribeServer) error {
			return tell(s, update("interfaces/interface[name=eth1]/state/oper-status", str(strings.Repeat("x",
				maxBytes))))
		}, get: state}, time.Minute, "1 eth1 up 7 | gNMI, asked by Get every 2s | " +
			"subscribed once, again and again every 2s fails: ResourceExhausted: grpc: received message larger than " +
			"max (4194391 vs. 4194304) | <nil>", ""},
		{"a message of too many items", &fake{subscribe: func(l *gnmi.SubscriptionList,
			s gnmi.GNMI_SubscribeServer) error {
			return tell(s, make([]*gnmi.Update, maxItems)...)
		}, get: state}, time.Minute, "1 eth1 up 7 | gNMI, asked by Get every 2s | " +
			"subscribed once, again and again every 2s fails: Internal: grpc: failed to unmarshal the received " +
			"message: " +
			"too many items in a gnmi.SubscribeResponse: must be at most 65536 | <nil>", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := rig(t, tt.f, Config{})
				time.Sleep(tt.after)
				synctest.Wait()
				if diff := cmp.Diff(tt.want, shown(c.View())); diff != "" {
					t.Errorf("view (-want +got):\n%s", diff)
				}
				tt.f.mu.Lock()
				defer tt.f.mu.Unlock()
				if got := strings.Join(tt.f.asked, " "); tt.asked != "" && got != tt.asked {
					t.Errorf("asked %s, want %s", got, tt.asked)
				}
			})
		})
	}
}

// What a target is asked for follows from what it says that it can.
func TestOffers(t *testing.T) {
	for _, tt := range []struct {
		name string
		caps *gnmi.CapabilityResponse
		want string
	}{
		{"nothing", nil, "JSON_IETF: oper-status ON_CHANGE, id ON_CHANGE, counters SAMPLE 2s, config/id ON_CHANGE"},
		{"PROTO", &gnmi.CapabilityResponse{SupportedEncodings: []gnmi.Encoding{gnmi.Encoding_JSON,
			gnmi.Encoding_PROTO}},
			"PROTO: oper-status ON_CHANGE, id ON_CHANGE, counters SAMPLE 2s, config/id ON_CHANGE"},
		{"JSON, of Sluice", &gnmi.CapabilityResponse{SupportedEncodings: []gnmi.Encoding{gnmi.Encoding_JSON},
			SupportedModels: []*gnmi.ModelData{{Name: "openconfig-interfaces"}, {Name: "sluice-interfaces"}}},
			"JSON: oper-status-reason ON_CHANGE, oper-status ON_CHANGE, id ON_CHANGE, counters SAMPLE 2s, " +
				"config/id ON_CHANGE, last-discard SAMPLE 2s, last-discard-reason SAMPLE 2s"},
	} {
		a := &asking{way: ways[0], offers: offered(tt.caps)}
		l := a.subscription().GetSubscribe()
		var parts []string
		for _, s := range l.Subscription {
			elems := s.Path.Elem
			if len(elems) < 4 || elems[1].Key["name"] != "*" {
				t.Errorf("%s: path %v", tt.name, s.Path)
			}
			name := elems[len(elems)-1].Name
			if elems[2].Name == "config" {
				name = "config/" + name
			}
			part := fmt.Sprint(name, " ", s.Mode)
			if s.SampleInterval > 0 {
				part += fmt.Sprint(" ", time.Duration(s.SampleInterval))
			}
			parts = append(parts, part)
		}
		if got := fmt.Sprintf("%v: %s", l.Encoding, strings.Join(parts, ", ")); got != tt.want {
			t.Errorf("%s: got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// A target that is lost leaves what it said, as stale; when it is back, what it says then stands alone.
func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		name := "eth1"
		f := &fake{}
		f.caps = func() (*gnmi.CapabilityResponse, error) {
			if away.Load() {
				return nil, status.Error(codes.Unavailable, "starting")
			}
			return new(gnmi.CapabilityResponse), nil
		}
		end := make(chan struct{})
		f.subscribe = func(l *gnmi.SubscriptionList, s gnmi.GNMI_SubscribeServer) error {
			if err := errors.Join(tell(s, update("interfaces/interface[name="+name+"]/state/id", uint(1))),
				sync1(s)); err != nil {
				return err
			}
			<-end
			return status.Error(codes.Unavailable, "restarting")
		}
		var reports []string
		c := rig(t, f, Config{Show: func(_ context.Context, v View) { reports = append(reports, shown(v)) }})
		// Nothing changes, and the target is there when it is asked.
		time.Sleep(time.Minute)
		synctest.Wait()
		if got, want := shown(c.View()), "1 eth1  0 | gNMI, streamed |  | <nil>"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		away.Store(true)
		end <- struct{}{}
		synctest.Wait()
		if got, want := shown(c.View()), "1 eth1  0 |  |  | Unavailable: restarting"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		time.Sleep(7 * time.Second)
		synctest.Wait()
		if got, want := shown(c.View()), "1 eth1  0 stale |  |  | Unavailable: starting"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		name = "eth9"
		away.Store(false)
		time.Sleep(lastPause)
		synctest.Wait()
		if got, want := shown(c.View()), "1 eth9  0 | gNMI, streamed |  | <nil>"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		want := []string{"1 eth1  0 | gNMI, streamed |  | <nil>", "1 eth1  0 stale |  |  | Unavailable: starting",
			"1 eth9  0 | gNMI, streamed |  | <nil>"}
		if diff := cmp.Diff(want, reports); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
		close(end)
	})
}

// A target that no longer answers without closing its connection is noticed.
func TestHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hangs atomic.Bool
		f := &fake{}
		f.subscribe = func(l *gnmi.SubscriptionList, s gnmi.GNMI_SubscribeServer) error {
			err := errors.Join(tell(s, eth1()...), sync1(s))
			<-s.Context().Done()
			return err
		}
		end := make(chan struct{})
		f.caps = func() (*gnmi.CapabilityResponse, error) {
			if hangs.Load() {
				<-end
			}
			return new(gnmi.CapabilityResponse), nil
		}
		c := rig(t, f, Config{})
		time.Sleep(time.Second)
		hangs.Store(true)
		time.Sleep(15 * time.Second)
		synctest.Wait()
		want := "1 eth1 up 7 stale |  |  | DeadlineExceeded: it was silent, and was asked whether it is there: "
		if got := shown(c.View()); !strings.HasPrefix(got, want) {
			t.Errorf("got %s, want %s...", got, want)
		}
		close(end)
	})
}

// Who is polled and no longer has an interface no longer shows it.
func TestPolledInterfaceGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gone atomic.Bool
		f := &fake{get: func(*gnmi.GetRequest) (*gnmi.GetResponse, error) {
			u := []*gnmi.Update{update("interfaces/interface[name=eth2]/state", ietf(`{"id":2}`))}
			if !gone.Load() {
				u = append(u, update("interfaces/interface[name=eth1]/state", ietf(`{"id":1}`)))
			}
			return &gnmi.GetResponse{Notification: []*gnmi.Notification{{Update: u}}}, nil
		}}
		c := rig(t, f, Config{})
		time.Sleep(3 * time.Second)
		gone.Store(true)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got, want := shown(c.View()), "2 eth2  0 | gNMI, asked by Get every 2s |"; !strings.HasPrefix(got, want) {
			t.Errorf("got %s, want %s...", got, want)
		}
	})
}

// A target that tells as quickly as it can is slowed down, and said to; one whose port flaps at that rate is reported
// on a few times a second.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent, reports atomic.Int64
		f := &fake{subscribe: func(l *gnmi.SubscriptionList, s gnmi.GNMI_SubscribeServer) error {
			if err := errors.Join(tell(s, eth1()...), sync1(s)); err != nil {
				return err
			}
			for {
				for _, state := range []string{"DOWN", "UP"} {
					if err := tell(s, update("interfaces/interface[name=eth1]/state/oper-status",
						str(state))); err != nil {
						return err
					}
					sent.Add(1)
				}
			}
		}}
		c := rig(t, f, Config{Show: func(context.Context, View) { reports.Add(1) }})
		time.Sleep(3 * time.Second)
		// A message costs what it has, and one for itself; some are on their way.
		if n, most := sent.Load(), int64(maxBurst+3*maxRate)/2+10_000; n > most {
			t.Errorf("%d messages in 3 s, want at most %d", n, most)
		}
		if n := reports.Load(); n < 3 || n > 13 {
			t.Errorf("%d reports in 3 s, want one each 250 ms", n)
		}
		if got, want := c.View().Note,
			"it tells more than 20000 values a second: what it tells comes late"; got != want {
			t.Errorf("note %q, want %q", got, want)
		}
	})
}

// The password is read when a connection begins, goes with each call, and is not in any message.
func TestPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	for _, tt := range []struct{ name, content, want string }{
		{"one line", "s3cret\n", "admin s3cret <nil>"},
		{"empty", "\n", "  reading the password: FILE: must be one line of 1..1024 printable ASCII characters"},
		{"two lines", "s3cret\nx\n",
			"  reading the password: FILE: must be one line of 1..1024 printable ASCII characters"},
		{"too long", strings.Repeat("s3cret", 200),
			"  reading the password: FILE: must be one line of 1..1024 printable ASCII characters"},
		{"none", "", "  reading the password: open FILE: no such file or directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_ = os.Remove(file)
			if tt.content != "" {
				if err := os.WriteFile(file, []byte(tt.content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Test(t, func(t *testing.T) {
				f := &fake{subscribe: honest}
				c := rig(t, f, Config{Username: "admin", PasswordFile: file})
				time.Sleep(time.Second)
				synctest.Wait()
				f.mu.Lock()
				defer f.mu.Unlock()
				got := fmt.Sprintf("%s %s %v", strings.Join(f.who["username"], ","), strings.Join(f.who["password"],
					","), c.View().Err)
				if got = strings.ReplaceAll(got, file, "FILE"); got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// A password goes nowhere in plain text, whatever else may.
func TestPasswordStaysSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := New(Config{Target: "192.0.2.1:9339", Security: rpc.Security{Plaintext: true}, Username: "admin",
		PasswordFile: file})
	c.session(t.Context())
	want := `address "192.0.2.1:9339": plain text stays on this machine: must be https://host:port, a unix socket or ` +
		`a loopback address; ` +
		"a password goes nowhere else in plain text"
	if got := fmt.Sprint(c.View().Err); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A target that drops each connection after it told is not asked as fast as it can drop.
func TestDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{subscribe: func(l *gnmi.SubscriptionList, s gnmi.GNMI_SubscribeServer) error {
			return errors.Join(tell(s, eth1()...), sync1(s), io.ErrUnexpectedEOF)
		}}
		rig(t, f, Config{})
		time.Sleep(time.Minute)
		f.mu.Lock()
		defer f.mu.Unlock()
		if n := len(f.asked); n < 8 || n > 14 {
			t.Errorf("asked %d times in a minute, want a pause of 10 s in the end", n)
		}
	})
}
