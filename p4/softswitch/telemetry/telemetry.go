// Package telemetry tells over gNMI how the ports of the embedded switch are: Get of what OpenConfig has under
// /interfaces/interface/state, and nothing else yet. It asks its Source at each call, keeps nothing, and leaves
// subscriptions and configuration unimplemented.
package telemetry

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// version is that of the gNMI specification which this follows.
const version = "0.10.0"

// mostPaths is how many paths one Get may name.
const mostPaths = 64

// Interface is one port of the switch.
type Interface struct {
	ID     uint16 // the port's, as P4Runtime has it
	Name   string
	Status string // OpenConfig's oper-status: UP, DOWN, NOT_PRESENT
	Reason string // why it is not up

	Received, ReceiveDropped, Sent, SendDropped uint64

	Dropped   string    // why frames to send were dropped last, other than that they were too many
	DroppedAt time.Time // zero: they never were
}

// Source is the switch. Interfaces returns its ports by id.
type Source interface {
	Interfaces() []Interface
}

// Register adds the gNMI service to a gRPC server.
func Register(r grpc.ServiceRegistrar, s Source) { gnmi.RegisterGNMIServer(r, &server{source: s}) }

type server struct {
	gnmi.UnimplementedGNMIServer
	source Source
}

var encodings = []gnmi.Encoding{gnmi.Encoding_JSON, gnmi.Encoding_JSON_IETF}

func (s *server) Capabilities(context.Context, *gnmi.CapabilityRequest) (*gnmi.CapabilityResponse, error) {
	return &gnmi.CapabilityResponse{
		SupportedModels: []*gnmi.ModelData{
			{Name: "openconfig-interfaces", Organization: "OpenConfig working group", Version: "3.7.1"},
			{Name: "openconfig-p4rt", Organization: "OpenConfig working group", Version: "1.0.0"},
		},
		SupportedEncodings: encodings,
		GNMIVersion:        version,
	}, nil
}

// Get answers with one update for each interface, /interfaces/interface[name=NAME]/state, whichever of the paths above
// it is asked for.
func (s *server) Get(_ context.Context, r *gnmi.GetRequest) (*gnmi.GetResponse, error) {
	switch {
	case !slices.Contains(encodings, r.GetEncoding()):
		return nil, status.Errorf(codes.Unimplemented, "encoding %v: must be JSON or JSON_IETF", r.GetEncoding())
	case r.GetType() == gnmi.GetRequest_CONFIG:
		return nil, status.Error(codes.Unimplemented, "there is no configuration here, only state")
	case len(r.GetPath()) > mostPaths:
		return nil, status.Errorf(codes.InvalidArgument, "%d paths: at most %d", len(r.GetPath()), mostPaths)
	}
	now := time.Now().UnixNano()
	list := s.source.Interfaces()
	m := new(gnmi.GetResponse)
	for _, path := range r.GetPath() {
		name, err := interfaceOf(append(slices.Clone(r.GetPrefix().GetElem()), path.GetElem()...))
		if err != nil {
			return nil, err
		}
		n := &gnmi.Notification{Timestamp: now}
		if r.GetPrefix().GetTarget() != "" {
			n.Prefix = &gnmi.Path{Target: r.GetPrefix().GetTarget()}
		}
		for _, i := range list {
			if name == "*" || name == i.Name {
				n.Update = append(n.Update, update(i, r.GetEncoding()))
			}
		}
		if len(n.Update) == 0 && name != "*" {
			return nil, status.Errorf(codes.NotFound, "no interface %q", name)
		}
		m.Notification = append(m.Notification, n)
	}
	return m, nil
}

// interfaceOf reads a path: the name of the interface that it chooses, * for all.
func interfaceOf(elems []*gnmi.PathElem) (string, error) {
	name := "*"
	for i, e := range elems {
		if want := []string{"interfaces", "interface", "state"}; i >= len(want) || e.GetName() != want[i] {
			return "", status.Errorf(codes.NotFound,
				"no path element %q at place %d: there is /interfaces/interface/state", e.GetName(), i)
		}
		for key, value := range e.GetKey() {
			if i != 1 || key != "name" {
				return "", status.Errorf(codes.InvalidArgument, "key %q of %q: only interface has one, name", key, e.GetName())
			}
			name = value
		}
	}
	return name, nil
}

func update(i Interface, e gnmi.Encoding) *gnmi.Update {
	text, err := json.Marshal(stateOf(i))
	if err != nil {
		panic(fmt.Sprintf("telemetry: %v", err)) // texts and numbers only
	}
	value := &gnmi.TypedValue{Value: &gnmi.TypedValue_JsonVal{JsonVal: text}}
	if e == gnmi.Encoding_JSON_IETF {
		value.Value = &gnmi.TypedValue_JsonIetfVal{JsonIetfVal: text}
	}
	return &gnmi.Update{
		Path: &gnmi.Path{Elem: []*gnmi.PathElem{
			{Name: "interfaces"}, {Name: "interface", Key: map[string]string{"name": i.Name}}, {Name: "state"},
		}},
		Val: value,
	}
}

// stateOf is the container state, its members named as RFC 7951 asks, 64-bit numbers as text. What OpenConfig has no
// leaf for is in a module of ours.
func stateOf(i Interface) map[string]any {
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	m := map[string]any{
		"openconfig-interfaces:name":        i.Name,
		"openconfig-interfaces:oper-status": i.Status,
		"openconfig-p4rt:id":                i.ID,
		"openconfig-interfaces:counters": map[string]string{
			"in-pkts": number(i.Received), "in-discards": number(i.ReceiveDropped),
			"out-pkts": number(i.Sent), "out-discards": number(i.SendDropped),
		},
	}
	if i.Reason != "" {
		m["sluice-interfaces:oper-status-reason"] = i.Reason
	}
	if !i.DroppedAt.IsZero() {
		m["sluice-interfaces:last-discard-reason"] = i.Dropped
		m["sluice-interfaces:last-discard"] = number(uint64(i.DroppedAt.UnixNano()))
	}
	return m
}
