package telemetry

import (
	"context"
	"encoding/json"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

type ports []Interface

func (p ports) Interfaces() []Interface { return p }

var two = ports{
	{ID: 1, Name: "eth1", Status: "UP", Received: 1 << 60, ReceiveDropped: 2, Sent: 3, SendDropped: 4, Dropped: "too long", DroppedAt: time.Unix(0, 12345)},
	{ID: 7, Name: "eth7", Status: "NOT_PRESENT", Reason: "the interface is gone"},
}

// dial serves the source over gRPC and returns a client.
func dial(t *testing.T, s Source) gnmi.GNMIClient {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	Register(g, s)
	go func() { _ = g.Serve(l) }() // ends with Stop
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); g.Stop() })
	return gnmi.NewGNMIClient(conn)
}

func elems(names ...string) (list []*gnmi.PathElem) {
	for _, n := range names {
		e := &gnmi.PathElem{Name: n}
		if n == "interface" {
			e.Key = map[string]string{"name": "*"}
		}
		list = append(list, e)
	}
	return list
}

func TestGet(t *testing.T) {
	client := dial(t, two)
	want := []map[string]any{
		{
			"openconfig-interfaces:name": "eth1", "openconfig-interfaces:oper-status": "UP", "openconfig-p4rt:id": 1.,
			"openconfig-interfaces:counters":        map[string]any{"in-pkts": "1152921504606846976", "in-discards": "2", "out-pkts": "3", "out-discards": "4"},
			"sluice-interfaces:last-discard-reason": "too long", "sluice-interfaces:last-discard": "12345",
		},
		{
			"openconfig-interfaces:name": "eth7", "openconfig-interfaces:oper-status": "NOT_PRESENT", "openconfig-p4rt:id": 7.,
			"openconfig-interfaces:counters":       map[string]any{"in-pkts": "0", "in-discards": "0", "out-pkts": "0", "out-discards": "0"},
			"sluice-interfaces:oper-status-reason": "the interface is gone",
		},
	}
	named := elems("interfaces", "interface", "state")
	named[1].Key["name"] = "eth7"
	for _, tt := range []struct {
		name         string
		prefix, path []*gnmi.PathElem
		want         []map[string]any
	}{
		{"all", nil, nil, want},
		{"the list", nil, elems("interfaces"), want},
		{"any of the list", nil, elems("interfaces", "interface"), want},
		{"the states", nil, elems("interfaces", "interface", "state"), want},
		{"one", nil, named, want[1:]},
		{"a part in the prefix", named[:1], named[1:], want[1:]},
	} {
		m, err := client.Get(t.Context(), &gnmi.GetRequest{
			Prefix: &gnmi.Path{Target: "leaf1", Elem: tt.prefix}, Path: []*gnmi.Path{{Elem: tt.path}}, Encoding: gnmi.Encoding_JSON_IETF,
		})
		if err != nil || len(m.Notification) != 1 || m.Notification[0].Prefix.GetTarget() != "leaf1" {
			t.Fatalf("%s: %v, %v", tt.name, m, err)
		}
		var got []map[string]any
		for _, u := range m.Notification[0].Update {
			var state map[string]any
			if err := json.Unmarshal(u.Val.GetJsonIetfVal(), &state); err != nil {
				t.Fatal(err)
			}
			if name := u.Path.Elem[1].Key["name"]; name != state["openconfig-interfaces:name"] || u.Path.Elem[2].Name != "state" {
				t.Errorf("%s: path %v of %v", tt.name, u.Path, state)
			}
			got = append(got, state)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestGetRefuses(t *testing.T) {
	client := dial(t, two)
	path := func(e ...*gnmi.PathElem) []*gnmi.Path { return []*gnmi.Path{{Elem: e}} }
	for _, tt := range []struct {
		name string
		r    *gnmi.GetRequest
		want string
	}{
		{"protobuf", &gnmi.GetRequest{Encoding: gnmi.Encoding_PROTO},
			"rpc error: code = Unimplemented desc = encoding PROTO: must be JSON or JSON_IETF"},
		{"configuration", &gnmi.GetRequest{Type: gnmi.GetRequest_CONFIG}, "rpc error: code = Unimplemented desc = there is no configuration here, only state"},
		{"another path", &gnmi.GetRequest{Path: path(elems("interfaces", "interface", "config")...)},
			`rpc error: code = NotFound desc = no path element "config" at place 2: there is /interfaces/interface/state`},
		{"a longer path", &gnmi.GetRequest{Path: path(elems("interfaces", "interface", "state", "counters")...)},
			`rpc error: code = NotFound desc = no path element "counters" at place 3: there is /interfaces/interface/state`},
		{"another key", &gnmi.GetRequest{Path: path(&gnmi.PathElem{Name: "interfaces", Key: map[string]string{"id": "1"}})},
			`rpc error: code = InvalidArgument desc = key "id" of "interfaces": only interface has one, name`},
		{"another name", &gnmi.GetRequest{Path: path(&gnmi.PathElem{Name: "interfaces"}, &gnmi.PathElem{Name: "interface", Key: map[string]string{"name": "eth9"}})},
			`rpc error: code = NotFound desc = no interface "eth9"`},
		{"very many paths", &gnmi.GetRequest{Path: make([]*gnmi.Path, 65)}, "rpc error: code = InvalidArgument desc = 65 paths: at most 64"},
	} {
		for i := range tt.r.Path {
			if tt.r.Path[i] == nil {
				tt.r.Path[i] = new(gnmi.Path)
			}
		}
		if _, err := client.Get(t.Context(), tt.r); err == nil || err.Error() != tt.want {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
	}
	if _, err := client.Set(t.Context(), &gnmi.SetRequest{}); err == nil {
		t.Error("Set is taken")
	}
	c, err := client.Capabilities(context.Background(), &gnmi.CapabilityRequest{})
	if err != nil || c.GNMIVersion != "0.10.0" || c.SupportedModels[0].Name != "openconfig-interfaces" || len(c.SupportedEncodings) != 2 {
		t.Errorf("capabilities: %v, %v", c, err)
	}
}
