package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/ports"
	"github.com/sluicelb/sluice/controller/telemetry"
	"github.com/sluicelb/sluice/internal/text"
)

// collecting is a Collector at work.
type collecting struct {
	*ports.Collector
	cfg    collected
	cancel context.CancelFunc
}

// collected is the part of a switch's configuration that its Collector goes by.
type collected struct {
	config.GNMI
	device uint64
}

func startCollector(ctx context.Context, wait *sync.WaitGroup, cfg ports.Config) *collecting {
	ctx, cancel := context.WithCancel(ctx)
	c := ports.New(cfg)
	wait.Go(func() { _ = c.Run(ctx) }) // with the error of ctx
	return &collecting{Collector: c, cancel: cancel}
}

// collect has a Collector for each switch of the intent, and no other.
func (l *loop) collect() {
	wanted := make(map[string]collected)
	for _, s := range l.core.Intent().Switches {
		wanted[s.Name] = collected{s.GNMI, s.DeviceID}
	}
	for name, c := range l.collectors {
		if cfg, ok := wanted[name]; !ok || cfg != c.cfg {
			c.cancel()
			delete(l.collectors, name)
		}
	}
	for name, cfg := range wanted {
		if l.collectors[name] != nil || l.gather == nil {
			continue
		}
		var c *collecting
		c = l.gather(ports.Config{
			Target: cfg.Address, DeviceID: cfg.device, Username: cfg.Username, PasswordFile: cfg.PasswordFile,
			Show: func(ctx context.Context, v ports.View) {
				select {
				case l.told <- func() { l.portsChanged(name, c, v) }:
				case <-ctx.Done():
				}
			},
		})
		c.cfg = cfg
		l.collectors[name] = c
	}
}

// portsChanged takes another view of a switch's ports.
func (l *loop) portsChanged(name string, c *collecting, v ports.View) {
	if l.collectors[name] != c {
		return
	}
	in := core.Ports{Switch: name, IDs: make(map[string]uint16)}
	for _, p := range v.Ports {
		in.IDs[p.Name] = p.ID
		if !p.Stale {
			in.Fresh = append(in.Fresh, core.Port{
				ID: p.ID, Name: p.Name, State: p.State, Reason: p.Reason, Down: p.Down(),
			})
		}
	}
	l.put(in)
	l.signs.give()
}

// tellChecks tells healthd what to check.
func (l *loop) tellChecks() {
	l.checks.set(checksOf(l.core.Intent(), l.core.Stored(), l.core.Urgent))
}

// source is a switch for the sampler.
type source struct {
	*running
	collector *collecting // nil: there is none yet
}

var _ telemetry.Source = source{}

// Ports implements telemetry.Source.
func (s source) Ports() ports.View {
	if s.collector == nil {
		return ports.View{Err: ports.ErrUntold}
	}
	return s.collector.View()
}

// viewsOf is what samples know of ports.
func viewsOf(sampled map[string]telemetry.Sample) map[string]ports.View {
	views := make(map[string]ports.View)
	for name, s := range sampled {
		views[name] = s.Ports
	}
	return views
}

// portless are the switches that answer when they are asked for their ports, and have none.
func portless(views map[string]ports.View) map[string]bool {
	none := make(map[string]bool)
	for name, v := range views {
		none[name] = errors.Is(v.Err, ports.ErrNothing)
	}
	return none
}

// addPorts adds how the ports of the switches are, to backends too. The intent has those that are wanted.
func addPorts(m *api.GetStatusResponse, views map[string]ports.View, wanted map[string]map[uint32]bool) {
	for _, sw := range m.Switches {
		v, ok := views[sw.Name]
		if !ok || sw.State == api.SwitchStatus_STATE_DISCONNECTED {
			continue
		}
		sw.PortsWay, sw.PortsNote = v.Way, v.Note
		if v.Err != nil {
			sw.PortsUntold = text.Cut(v.Err.Error())
		}
		behind := sync.OnceValue(func() map[uint32][]*api.BackendStatus { return behindPorts(m.Pools, sw.Name) })
		for _, p := range v.Ports {
			port := portMessage(p)
			port.Configured = wanted[sw.Name][port.Id]
			sw.Ports = append(sw.Ports, port)
			if !p.Down() || p.Stale {
				continue
			}
			for _, b := range behind()[port.Id] {
				b.Ports = append(b.Ports, portLine(sw, port))
			}
		}
	}
}

// portLine says how a port is that is not up.
func portLine(sw *api.SwitchStatus, p *api.PortStatus) string {
	if p.State == "" {
		return portName(sw, p) + " has no state: its switch does not tell oper-status"
	}
	return fmt.Sprintf("%s is %s%s", portName(sw, p), strings.ReplaceAll(p.State, "_", " "), because(p.Reason))
}

func portName(sw *api.SwitchStatus, p *api.PortStatus) string {
	return fmt.Sprintf("port %d of %s", p.Id, sw.Name)
}

func portMessage(p ports.Port) *api.PortStatus {
	m := &api.PortStatus{
		Id: uint32(p.ID), Name: p.Name, State: p.State, Received: p.Received, ReceivedDropped: p.ReceiveDropped,
		Sent: p.Sent, SentDropped: p.SendDropped, Reason: p.Reason, Heard: timestampOf(p.Heard), Stale: p.Stale,
	}
	if !p.ReasonAt.IsZero() {
		m.ReasonAt = timestamppb.New(p.ReasonAt)
	}
	return m
}

// behindPorts lists the backends behind each port of a switch, of those whose port the intent gives.
func behindPorts(pools []*api.PoolStatus, name string) map[uint32][]*api.BackendStatus {
	behind := make(map[uint32][]*api.BackendStatus)
	for _, p := range pools {
		for _, b := range p.Backends {
			if port := cmp.Or(b.SwitchPort, b.SwitchPorts[name]); port != 0 {
				behind[port] = append(behind[port], b)
			}
		}
	}
	return behind
}

// portConcerns tells which ports of a switch are not up, and who is behind them; which have dropped frames lately, and
// why; and which are not heard of. none: the switch says that it has none at all.
func portConcerns(
	s *api.SwitchStatus, wanted map[uint32]bool, none bool, pools []*api.PoolStatus, now time.Time,
) (list []string) {
	behind := sync.OnceValue(func() map[uint32][]*api.BackendStatus { return behindPorts(pools, s.Name) })
	there := make(map[uint32]bool)
	var stale []uint32
	for _, p := range s.Ports {
		there[p.Id] = true
		switch {
		case !wanted[p.Id]:
		case p.Stale:
			stale = append(stale, p.Id)
		case p.State != "up":
			line := portLine(s, p)
			var names []string
			for _, b := range behind()[p.Id] {
				names = append(names, b.Pool+"/"+b.Name)
			}
			if len(names) > 0 {
				line += "; behind it: " + text.List(names, core.Few)
			}
			list = append(list, line)
		case p.Reason != "" && p.ReasonAt != nil && now.Sub(p.ReasonAt.AsTime()) < fresh:
			ago := now.Sub(p.ReasonAt.AsTime()).Truncate(time.Second)
			list = append(list, fmt.Sprintf("%s has dropped frames, the last %v ago: %s", portName(s, p), ago,
				p.Reason))
		}
	}
	if len(stale) > 0 {
		list = append(list,
			fmt.Sprintf(
				"switch %s has said nothing of some ports for a while, what is known of them may be wrong: %s%s",
				s.Name, numbers(stale), because(s.PortsUntold)))
	}
	if len(s.Ports) == 0 && !none {
		return list // it does not tell
	}
	var missing []uint32
	for id := range wanted {
		if !there[id] {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		list = append(list, fmt.Sprintf("switch %s does not have ports that the configuration names: %s", s.Name,
			numbers(missing)))
	}
	return list
}

// unnumbered tells which ports the intent names though their switch does not tell of them.
func (at *moment) unnumbered() (list []string) {
	for _, p := range at.core.Unnumbered() {
		line := fmt.Sprintf("switch %s does not tell of a port %s, which the configuration names: ", p.Switch, p.Port)
		if p.Kept != 0 {
			line += fmt.Sprintf("it counts as port %d, as before", p.Kept)
		} else {
			line += "nothing is flooded to it, and who is behind it is not pinned there"
		}
		var there []string
		if c := at.collectors[p.Switch]; c != nil {
			for _, port := range c.View().Ports {
				there = append(there, port.Name)
			}
		}
		if len(there) > 0 {
			line += "; there are " + text.List(there, core.Few)
		}
		list = append(list, line)
	}
	return list
}

// numbers lists the first few, in order.
func numbers(ids []uint32) string {
	var names []string
	for _, id := range slices.Sorted(slices.Values(ids)) {
		names = append(names, fmt.Sprint(id))
	}
	return text.List(names, core.Few)
}
