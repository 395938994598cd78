package softswitch_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "github.com/openconfig/gnmi/proto/gnmi"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/sluicelb/sluice/internal/gnmi"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/rpc/cert"
	"github.com/sluicelb/sluice/internal/rpc/rpctest"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/softswitch"
	"github.com/sluicelb/sluice/p4/softswitch/server"
)

// serve runs a switch at l until the test ends.
func serve(t *testing.T, l net.Listener) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- softswitch.New(softswitch.Config{DeviceID: 1, Log: slog.New(slog.DiscardHandler)}).RunAndServe(ctx, l)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// overTLS runs a switch at an https address and returns it.
func overTLS(t *testing.T, i *rpc.Identity) string {
	t.Helper()
	l, err := rpc.Listen("https://127.0.0.1:0", nil, rpc.Security{Identity: i}, nil)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l)
	return l.Address()
}

// foreign connects as a client of gRPC's own TLS, as other people's controllers do.
func foreign(t *testing.T, address string, c *tls.Config) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(strings.TrimPrefix(address, "https://"),
		grpc.WithTransportCredentials(credentials.NewTLS(c)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Over a network a caller may do with a switch what the roles of its certificate allow: each procedure as each role. A
// refusal says which role the caller has and which it needs.
func TestSwitchRolesOverTLS(t *testing.T) {
	lab := rpctest.NewLab(t, "lab")
	address := overTLS(t, lab.Server(t, "sw1"))
	callers := make(map[rpc.Role]*grpc.ClientConn)
	for _, role := range rpc.Known() {
		files := lab.Issue(t, cert.Request{Name: "as-" + string(role), Roles: []string{string(role)}})
		callers[role] = foreign(t, address, rpctest.Config(t, files))
	}
	calls := map[string]rpc.Role{"/p4.v1.P4Runtime/NoSuch": rpc.Controller}
	for _, methods := range []rpc.Methods{server.Methods, gnmi.Methods} {
		for procedure, method := range methods {
			calls[procedure] = method.Role
		}
	}
	var got []string
	for _, procedure := range slices.Sorted(maps.Keys(calls)) {
		line := procedure + ":"
		for _, role := range rpc.Known() {
			// A stream is refused as a call is, before anything of it is read.
			err := callers[role].Invoke(t.Context(), procedure, &emptypb.Empty{}, &emptypb.Empty{})
			got := status.Convert(err)
			if got.Code() != codes.PermissionDenied {
				line += " " + string(role)
				continue
			}
			want := fmt.Sprintf(`the certificate of "as-%s" has the role %[1]s and this needs %s`, role,
				calls[procedure])
			if got.Message() != want {
				t.Errorf("%s as %s: %s, want %s", procedure, role, got.Message(), want)
			}
		}
		got = append(got, line)
	}
	want := []string{
		"/gnmi.gNMI/Capabilities: operator viewer controller",
		"/gnmi.gNMI/Get: operator viewer controller",
		"/gnmi.gNMI/Set: operator viewer controller",
		"/gnmi.gNMI/Subscribe: operator viewer controller",
		"/p4.v1.P4Runtime/Capabilities: operator viewer controller",
		"/p4.v1.P4Runtime/GetForwardingPipelineConfig: operator viewer controller",
		"/p4.v1.P4Runtime/NoSuch: controller",
		"/p4.v1.P4Runtime/Read: operator viewer controller",
		"/p4.v1.P4Runtime/SetForwardingPipelineConfig: controller",
		"/p4.v1.P4Runtime/StreamChannel: controller",
		"/p4.v1.P4Runtime/Write: controller",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("who may call what (-want +got):\n%s", diff)
	}
}

// Who is not let in hears why from Dial, which a session shows in its status.
func TestDialOverTLS(t *testing.T) {
	lab, other := rpctest.NewLab(t, "lab"), rpctest.NewLab(t, "other")
	address := overTLS(t, lab.Server(t, "sw1"))
	elsewhere := overTLS(t, rpctest.Identity(t,
		lab.Issue(t, cert.Request{Name: "sw2", Hosts: []string{"sw2.example"}})))
	ctl := lab.Caller(t, "ctl", rpc.Controller)
	nobody := rpctest.Identity(t, rpc.Files{CA: cert.Authority(lab.Dir).Cert})
	foreigner := other.Issue(t, cert.Request{Name: "spy", Roles: []string{"controller"}})
	foreigner.CA = cert.Authority(lab.Dir).Cert
	for _, test := range []struct {
		name, address string
		sec           rpc.Security
		want          string
	}{
		{"a controller", address, rpc.Security{Identity: ctl}, ""},
		{"no identity", address, rpc.Security{}, "needs --tls-ca, and --tls-cert with --tls-key: without them nobody " +
			"is known there"},
		{"no certificate", address, rpc.Security{Identity: nobody},
			address + " asks for a certificate, and this process has none: --tls-cert and --tls-key name one"},
		{"another authority's certificate", address, rpc.Security{Identity: rpctest.Identity(t, foreigner)},
			address + " refuses the certificate " + foreigner.Cert + `, of "spy": its authority, "other", is not ` +
				`among those that the server trusts`},
		{"a switch of another authority", address, rpc.Security{Identity: other.Caller(t, "ctl", rpc.Controller)},
			address + ` is not trusted: its certificate is of the authority "lab", which is not in ` +
				other.Dir + "/ca.crt"},
		{"a switch of another name", elsewhere, rpc.Security{Identity: ctl},
			elsewhere + ` is not trusted: its certificate is for ["sw2.example"] and not for "127.0.0.1"`},
		{"no TLS", strings.TrimPrefix(address, "https://"), rpc.Security{},
			strings.TrimPrefix(address, "https://") + " speaks TLS: the address must begin with https://"},
		{"plain text beyond this machine", "192.0.2.1:9559", rpc.Security{Identity: ctl, Danger: "so says who may"},
			`address "192.0.2.1:9559": plain text stays on this machine: must be https://host:port, a unix socket or ` +
				`a loopback address; so says who may`},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		c, err := p4rt.Dial(ctx, test.address, 1, p4rt.WithSecurity(test.sec))
		cancel()
		if err == nil {
			c.Close()
		}
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v\nwant %s", test.name, err, test.want)
		}
	}
}

// A switch's certificate is replaced under a controller's stream: it goes on, and the next client sees the new one.
func TestSwitchCertificateIsReplaced(t *testing.T) {
	lab := rpctest.NewLab(t, "lab")
	files := lab.Issue(t, cert.Request{Name: "sw1", Hosts: []string{"127.0.0.1"}})
	address := overTLS(t, rpctest.Identity(t, files))
	ctl := rpctest.Config(t, lab.Issue(t, cert.Request{Name: "ctl", Roles: []string{"controller"}}))
	stream, err := v1.NewP4RuntimeClient(foreign(t, address, ctl)).StreamChannel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	claim := func(low uint64) {
		t.Helper()
		if err := stream.Send(&v1.StreamMessageRequest{Update: &v1.StreamMessageRequest_Arbitration{
			Arbitration: &v1.MasterArbitrationUpdate{DeviceId: 1, ElectionId: &v1.Uint128{Low: low}},
		}}); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		m, err := stream.Recv()
		if err != nil || m.GetArbitration().GetElectionId().GetLow() != low {
			t.Fatalf("primary %d: %v, %v", low, m, err)
		}
	}
	claim(1)
	renewed := lab.Issue(t, cert.Request{Name: "sw1-renewed", Hosts: []string{"127.0.0.1"}})
	for to, from := range map[string]string{files.Cert: renewed.Cert, files.Key: renewed.Key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	c, err := tls.Dial("tcp", strings.TrimPrefix(address, "https://"), ctl)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := cert.Name(c.ConnectionState().PeerCertificates[0]); got != "sw1-renewed" {
		t.Errorf("a new client sees %s", got)
	}
	claim(2)
}

// However many subscriptions those have who may only look, a controller that comes then hears how the ports are.
func TestViewersLeaveRoomForTheController(t *testing.T) {
	lab := rpctest.NewLab(t, "lab")
	address := overTLS(t, lab.Server(t, "sw1"))
	as := func(role rpc.Role) pb.GNMIClient {
		files := lab.Issue(t, cert.Request{Name: "as-" + string(role), Roles: []string{string(role)}})
		return pb.NewGNMIClient(foreign(t, address, rpctest.Config(t, files)))
	}
	subscribe := func(client pb.GNMIClient) error {
		stream, err := client.Subscribe(t.Context())
		if err != nil {
			return err
		}
		_ = stream.Send(&pb.SubscribeRequest{Request: &pb.SubscribeRequest_Subscribe{Subscribe: &pb.SubscriptionList{
			Subscription: []*pb.Subscription{{Path: &pb.Path{Elem: []*pb.PathElem{{Name: "interfaces"}}}}},
		}}})
		_, err = stream.Recv() // sync_response: there are no ports
		return err
	}
	viewer := as(rpc.Viewer)
	for n := range 64 {
		if err := subscribe(viewer); err != nil {
			t.Fatalf("the viewer's subscription %d: %v", n+1, err)
		}
	}
	const full = "rpc error: code = ResourceExhausted desc = 64 subscriptions are under way: must be at most 64"
	if err := subscribe(viewer); err == nil || err.Error() != full {
		t.Errorf("one more of a viewer: %v, want %s", err, full)
	}
	if err := subscribe(as(rpc.Controller)); err != nil {
		t.Errorf("the controller's: %v", err)
	}
}
