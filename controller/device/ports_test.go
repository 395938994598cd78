package device

import (
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluicelb/sluice/p4/p4rt"
)

// Targets say the same in several ways, and some things not at all.
func TestPortOf(t *testing.T) {
	path := func(names ...string) *gnmi.Path {
		p := new(gnmi.Path)
		for _, n := range names {
			p.Elem = append(p.Elem, &gnmi.PathElem{Name: n})
		}
		return p
	}
	state := path("interfaces", "interface", "state")
	ietf := func(s string) *gnmi.TypedValue {
		return &gnmi.TypedValue{Value: &gnmi.TypedValue_JsonIetfVal{JsonIetfVal: []byte(s)}}
	}
	for _, tt := range []struct {
		name string
		u    *gnmi.Update
		want Port
		ok   bool
	}{
		{"qualified", &gnmi.Update{Path: state, Val: ietf(`{"openconfig-interfaces:name":"eth1","openconfig-interfaces:oper-status":"UP","openconfig-p4rt:id":3,
			"openconfig-interfaces:counters":{"in-pkts":"18446744073709551615","in-discards":"1","out-pkts":"2","out-discards":"x"},
			"sluice-interfaces:last-discard":"5","sluice-interfaces:last-discard-reason":"too long"}`)},
			Port{ID: 3, Name: "eth1", State: "up", Received: 1<<64 - 1, ReceiveDropped: 1, Sent: 2, Reason: "too long", ReasonAt: time.Unix(0, 5)}, true},
		{"plain JSON, down", &gnmi.Update{Path: state, Val: &gnmi.TypedValue{Value: &gnmi.TypedValue_JsonVal{JsonVal: []byte(
			`{"name":"eth1","oper-status":"LOWER_LAYER_DOWN","id":4,"counters":{"in-pkts":7},"oper-status-reason":"no carrier","last-discard":"5"}`)}}},
			Port{ID: 4, Name: "eth1", State: "lower_layer_down", Received: 7, Reason: "no carrier"}, true},
		{"no port of P4Runtime", &gnmi.Update{Path: state, Val: ietf(`{"name":"mgmt0","oper-status":"UP"}`)}, Port{Name: ""}, false},
		{"something else", &gnmi.Update{Path: path("interfaces", "interface", "config"), Val: ietf(`{"id":1}`)}, Port{}, false},
		{"no JSON", &gnmi.Update{Path: state, Val: &gnmi.TypedValue{Value: &gnmi.TypedValue_StringVal{StringVal: "up"}}}, Port{}, false},
		{"another type", &gnmi.Update{Path: state, Val: ietf(`{"name":7,"oper-status":null,"id":5,"counters":[]}`)}, Port{ID: 5}, true},
	} {
		got, ok, err := portOf(tt.u)
		if diff := cmp.Diff(tt.want, got); diff != "" || ok != tt.ok || err != nil {
			t.Errorf("%s: %v, %v (-want +got):\n%s", tt.name, ok, err, diff)
		}
	}
	if _, _, err := portOf(&gnmi.Update{Path: state, Val: ietf(`{`)}); err == nil {
		t.Error("half a document is taken")
	}
}

// A target without gNMI is asked once a session.
func TestPortsOfATargetThatDoesNotTell(t *testing.T) {
	d, err := New(Config{Log: slog.New(slog.DiscardHandler)}, Wanted{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Ports(t.Context()); !errors.Is(err, errNoSession) {
		t.Errorf("without a session: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	g := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		if method, _ := grpc.MethodFromServerStream(s); method == gnmi.GNMI_Get_FullMethodName {
			asked++
		}
		return status.Error(codes.Unimplemented, "unknown service")
	}))
	go func() { _ = g.Serve(l) }() // ends with Stop
	defer g.Stop()
	client, err := p4rt.Dial(t.Context(), l.Addr().String(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	d.client.Store(client)
	for range 3 {
		if _, err := d.Ports(t.Context()); !errors.Is(err, ErrUntold) {
			t.Errorf("got %v, want %v", err, ErrUntold)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times, want once", asked)
	}
}
