package device

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluicelb/sluice/internal/text"
)

// portsBytes is for the answer about the 510 ports that a switch may have.
const portsBytes = 1 << 20

// Port is what a switch tells of one of its ports.
type Port struct {
	ID    uint16
	Name  string
	State string // OpenConfig's oper-status in lower case

	Received, ReceiveDropped, Sent, SendDropped uint64

	Reason   string // why it is not up, or why it dropped frames last
	ReasonAt time.Time
}

// ErrUntold is part of the error of Ports where the switch has no way to tell.
var ErrUntold = errors.New("the switch does not tell (gNMI is not implemented)")

// Ports asks the switch how its ports are, by gNMI on the connection of the session. Any goroutine may call it.
func (d *Device) Ports(ctx context.Context) ([]Port, error) {
	client := d.client.Load()
	switch {
	case client == nil:
		return nil, errNoSession
	case d.untold.Load() == client:
		return nil, ErrUntold
	}
	m, err := gnmi.NewGNMIClient(client.Conn()).Get(ctx, &gnmi.GetRequest{
		Path: []*gnmi.Path{{Elem: []*gnmi.PathElem{
			{Name: "interfaces"}, {Name: "interface", Key: map[string]string{"name": "*"}}, {Name: "state"},
		}}},
		Type: gnmi.GetRequest_STATE, Encoding: gnmi.Encoding_JSON_IETF,
	}, grpc.MaxCallRecvMsgSize(portsBytes))
	if status.Code(err) == codes.Unimplemented {
		d.untold.Store(client) // it will not learn it within the session
		return nil, ErrUntold
	}
	if err != nil {
		return nil, fmt.Errorf("asking for the ports: %w", err)
	}
	var ports []Port
	for _, n := range m.GetNotification() {
		for _, u := range n.GetUpdate() {
			p, ok, err := portOf(u)
			if err != nil {
				return nil, fmt.Errorf("asking for the ports: %w", err)
			}
			if ok {
				ports = append(ports, p)
			}
		}
	}
	slices.SortFunc(ports, func(a, b Port) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Name, b.Name)) })
	return ports, nil
}

// portOf reads the state of an interface; false when it is no port of P4Runtime, or the update is about another thing.
func portOf(u *gnmi.Update) (p Port, ok bool, err error) {
	raw := u.GetVal().GetJsonIetfVal()
	if raw == nil {
		raw = u.GetVal().GetJsonVal()
	}
	elems := u.GetPath().GetElem()
	if raw == nil || len(elems) == 0 || elems[len(elems)-1].GetName() != "state" {
		return p, false, nil
	}
	var qualified map[string]json.RawMessage
	if err := json.Unmarshal(raw, &qualified); err != nil {
		return p, false, fmt.Errorf("the state of an interface: %w", err)
	}
	state := make(map[string]json.RawMessage) // without the names of modules
	for name, value := range qualified {
		state[name[strings.LastIndexByte(name, ':')+1:]] = value
	}
	word := func(name string) (s string) {
		_ = json.Unmarshal(state[name], &s) // of another type: as if it were not there
		return text.Cut(s)
	}
	var counters map[string]json.RawMessage
	_ = json.Unmarshal(state["counters"], &counters)
	if json.Unmarshal(state["id"], &p.ID) != nil {
		return p, false, nil
	}
	p.Name, p.State = word("name"), strings.ToLower(word("oper-status"))
	p.Received, p.ReceiveDropped = number64(counters["in-pkts"]), number64(counters["in-discards"])
	p.Sent, p.SendDropped = number64(counters["out-pkts"]), number64(counters["out-discards"])
	if at := number64(state["last-discard"]); at > 0 {
		p.Reason, p.ReasonAt = word("last-discard-reason"), time.Unix(0, int64(at))
	}
	if p.State != "up" {
		p.Reason, p.ReasonAt = word("oper-status-reason"), time.Time{}
	}
	return p, true, nil
}

// number64 reads a 64-bit number, which is text in JSON_IETF; 0 when it is none.
func number64(raw json.RawMessage) uint64 {
	n, err := strconv.ParseUint(strings.Trim(string(raw), `"`), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
