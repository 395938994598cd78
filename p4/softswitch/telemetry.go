package softswitch

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/sluicelb/sluice/internal/gnmi"
)

// lowestInterval is the shortest sample interval of gNMI: a sample asks the kernel about each port.
const lowestInterval = 100 * time.Millisecond

// chip is the name of the component that P4Runtime programs.
const chip = "integrated_circuit0"

const openConfig = "OpenConfig working group"

// Telemetry is what the switch tells over gNMI: the ports as OpenConfig's interfaces, and the P4Runtime device as a
// component. What OpenConfig has no leaf for is in yang/sluice-interfaces.yang.
var Telemetry = gnmi.NewSchema(
	gnmi.Model{Name: "openconfig-interfaces", Organization: openConfig, Version: "3.8.1", Origin: "openconfig"},
	gnmi.Model{Name: "openconfig-platform", Organization: openConfig, Version: "0.32.0", Origin: "openconfig"},
	gnmi.Model{Name: "openconfig-p4rt", Organization: openConfig, Version: "1.0.0"},
	gnmi.Model{Name: "sluice-interfaces", Organization: "Sluice", Version: "1.0.0"},
)

// The leaves, by the containers of OpenConfig that they are in.
var (
	listInterfaces = Telemetry.Root().List("openconfig-interfaces:interfaces/interface", "name")
	leafName       = listInterfaces.Event("name", gnmi.String)

	leafConfigName = listInterfaces.Event("config/name", gnmi.String)
	leafConfigID   = listInterfaces.Event("config/openconfig-p4rt:id", gnmi.Uint32)

	leafStateName = listInterfaces.Event("state/name", gnmi.String)
	leafStateID   = listInterfaces.Event("state/openconfig-p4rt:id", gnmi.Uint32)
	leafAdmin     = listInterfaces.Event("state/admin-status", gnmi.Enum)
	leafOper      = listInterfaces.Event("state/oper-status", gnmi.Enum)
	leafReason    = listInterfaces.Event("state/sluice-interfaces:oper-status-reason", gnmi.String)

	leafInPkts        = listInterfaces.Sampled("state/counters/in-pkts", gnmi.Uint64)
	leafInDiscards    = listInterfaces.Sampled("state/counters/in-discards", gnmi.Uint64)
	leafOutPkts       = listInterfaces.Sampled("state/counters/out-pkts", gnmi.Uint64)
	leafOutDiscards   = listInterfaces.Sampled("state/counters/out-discards", gnmi.Uint64)
	leafDiscard       = listInterfaces.Sampled("state/sluice-interfaces:last-discard", gnmi.Uint64)
	leafDiscardReason = listInterfaces.Sampled("state/sluice-interfaces:last-discard-reason", gnmi.String)

	listComponents      = Telemetry.Root().List("openconfig-platform:components/component", "name")
	leafComponent       = listComponents.Event("name", gnmi.String)
	leafComponentConfig = listComponents.Event("config/name", gnmi.String)
	leafComponentState  = listComponents.Event("state/name", gnmi.String)
	leafComponentType   = listComponents.Event("state/type", gnmi.Identity)
	leafConfigNode      = listComponents.Event("integrated-circuit/config/openconfig-p4rt:node-id", gnmi.Uint64)
	leafStateNode       = listComponents.Event("integrated-circuit/state/openconfig-p4rt:node-id", gnmi.Uint64)
)

// telemetry is the switch as the source of Telemetry.
type telemetry struct{ s *Switch }

// Changed implements gnmi.Source: no port tells that it goes down, so they are looked at.
func (telemetry) Changed() <-chan struct{} { return nil }

// Events implements gnmi.Source.
func (t telemetry) Events(_ context.Context, tree *gnmi.Tree) error {
	for a := range t.s.attachedPorts() {
		p, name := a.state(), a.name()
		e := tree.Entry(listInterfaces, name)
		for _, leaf := range []*gnmi.Leaf{leafName, leafConfigName, leafStateName} {
			e.Set(leaf, name)
		}
		e.Set(leafConfigID, uint64(a.id))
		e.Set(leafStateID, uint64(a.id))
		e.Set(leafOper, p.Status.String())
		admin := "UP"
		if p.SetDown {
			admin = "DOWN"
		}
		e.Set(leafAdmin, admin)
		if p.Reason != "" {
			e.Set(leafReason, p.Reason)
		}
	}
	e := tree.Entry(listComponents, chip)
	for _, leaf := range []*gnmi.Leaf{leafComponent, leafComponentConfig, leafComponentState} {
		e.Set(leaf, chip)
	}
	e.Set(leafComponentType, "openconfig-platform-types:INTEGRATED_CIRCUIT")
	e.Set(leafConfigNode, t.s.cfg.DeviceID)
	e.Set(leafStateNode, t.s.cfg.DeviceID)
	return nil
}

// Samples implements gnmi.Source.
func (t telemetry) Samples(_ context.Context, tree *gnmi.Tree) error {
	for a := range t.s.attachedPorts() {
		c, e := a.port.Counters(), tree.Entry(listInterfaces, a.name())
		e.Set(leafInPkts, c.Received)
		e.Set(leafInDiscards, c.ReceiveDropped)
		e.Set(leafOutPkts, c.Sent)
		e.Set(leafOutDiscards, c.SendDropped)
		if f := a.failed.Load(); f != nil {
			e.Set(leafDiscard, uint64(f.at.UnixNano()))
			e.Set(leafDiscardReason, f.text)
		}
	}
	return nil
}

// name is that of the interface, or one made of the port's number.
func (a *attached) name() string { return cmp.Or(a.port.State().Name, fmt.Sprintf("port%d", a.id)) }
