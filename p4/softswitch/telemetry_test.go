package softswitch

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sluicelb/sluice/internal/gnmi/yangtest"
)

// What the switch adds to OpenConfig is in its YANG module, which is valid, and all of that is served.
func TestSwitchYANG(t *testing.T) {
	want := yangtest.Leaves(t, "sluice-interfaces", "testdata/openconfig-interfaces.yang",
		"yang/sluice-interfaces.yang")
	if diff := cmp.Diff(want, yangtest.Served(Telemetry, "sluice-interfaces")); diff != "" || len(want) == 0 {
		t.Errorf("(-module +served):\n%s", diff)
	}
}

// dialGNMI serves a switch and returns a client.
func dialGNMI(t *testing.T, s *Switch) pb.GNMIClient {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.RunAndServe(ctx, l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return pb.NewGNMIClient(conn)
}

// elem is a path of elements without keys.
func elem(names ...string) *pb.Path {
	p := new(pb.Path)
	for _, n := range names {
		p.Elem = append(p.Elem, &pb.PathElem{Name: n})
	}
	return p
}

// What the switch tells has the names and forms of OpenConfig, here in JSON_IETF.
func TestInterfaces(t *testing.T) {
	s := New(Config{DeviceID: 7, Log: slog.New(slog.DiscardHandler)})
	attach(t, s, 1)
	down := attach(t, s, 3)
	down.SetUp(false)
	attach(t, s, 4)
	s.ports[4].Load().failed.Store(&failure{"cable bitten through", time.Unix(0, 12345)})
	client := dialGNMI(t, s)
	get := func(path ...string) (got []string) {
		m, err := client.Get(t.Context(),
			&pb.GetRequest{Path: []*pb.Path{elem(path...)}, Encoding: pb.Encoding_JSON_IETF})
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range m.Notification[0].Update {
			got = append(got, string(u.Val.GetJsonIetfVal()))
		}
		return got
	}
	const counters = `"openconfig-interfaces:counters":{"in-discards":"0","in-pkts":"0","out-discards":"0","out-pkts":"0"}`
	state := func(id int, counters, status, more string) string {
		return fmt.Sprintf(`{"openconfig-interfaces:admin-status":"UP",%s,"openconfig-interfaces:name":"port%d",`+
			`"openconfig-interfaces:oper-status":"%s","openconfig-p4rt:id":%d%s}`, counters, id, status, id, more)
	}
	want := []string{
		state(1, counters, "UP", ""),
		state(3, counters, "DOWN", `,"sluice-interfaces:oper-status-reason":"the wire is pulled out"`),
		state(4, counters, "UP",
			`,"sluice-interfaces:last-discard":"12345","sluice-interfaces:last-discard-reason":"cable bitten through"`),
	}
	if diff := cmp.Diff(want, get("interfaces", "interface", "state")); diff != "" {
		t.Errorf("states of interfaces (-want +got):\n%s", diff)
	}
	want = []string{
		`{"openconfig-interfaces:name":"port1","openconfig-p4rt:id":1}`,
		`{"openconfig-interfaces:name":"port3","openconfig-p4rt:id":3}`,
		`{"openconfig-interfaces:name":"port4","openconfig-p4rt:id":4}`,
	}
	if diff := cmp.Diff(want, get("interfaces", "interface", "config")); diff != "" {
		t.Errorf("configuration of interfaces (-want +got):\n%s", diff)
	}
	want = []string{`{"openconfig-platform:component":[{"config":{"name":"integrated_circuit0"},"integrated-circuit":` +
		`{"config":{"openconfig-p4rt:node-id":"7"},"state":{"openconfig-p4rt:node-id":"7"}},"name":"integrated_circuit0",` +
		`"state":{"name":"integrated_circuit0","type":"openconfig-platform-types:INTEGRATED_CIRCUIT"}}]}`}
	if diff := cmp.Diff(want, get("components")); diff != "" {
		t.Errorf("the device (-want +got):\n%s", diff)
	}
}

// A port that goes down is told of at once, with the reason, and so is one that comes.
func TestPortGoesDown(t *testing.T) {
	s := New(Config{DeviceID: 1, Log: slog.New(slog.DiscardHandler)})
	one := attach(t, s, 1)
	stream, err := dialGNMI(t, s).Subscribe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&pb.SubscribeRequest{Request: &pb.SubscribeRequest_Subscribe{Subscribe: &pb.SubscriptionList{
		Encoding: pb.Encoding_PROTO,
		Subscription: []*pb.Subscription{
			{Path: elem("interfaces", "interface", "state", "oper-status"), Mode: pb.SubscriptionMode_ON_CHANGE},
			{Path: elem("interfaces", "interface", "state", "oper-status-reason"), Mode: pb.SubscriptionMode_ON_CHANGE},
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	want := func(name string, want ...string) {
		t.Helper()
		var got []string
		for len(got) < len(want) {
			m, err := stream.Recv()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if m.GetSyncResponse() {
				got = append(got, "synced")
			}
			port := func(p *pb.Path) string { return p.Elem[1].Key["name"] + " " + p.Elem[3].Name }
			for _, u := range m.GetUpdate().GetUpdate() {
				got = append(got, port(u.Path)+" "+u.Val.GetStringVal())
			}
			for _, p := range m.GetUpdate().GetDelete() {
				got = append(got, port(p)+" is gone")
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", name, diff)
		}
	}
	want("at first", "port1 oper-status UP", "synced")
	one.SetUp(false)
	want("pulled out", "port1 oper-status DOWN", "port1 oper-status-reason the wire is pulled out")
	one.SetUp(true)
	want("plugged in", "port1 oper-status UP", "port1 oper-status-reason is gone")
	attach(t, s, 2)
	want("another one", "port2 oper-status UP")
}
