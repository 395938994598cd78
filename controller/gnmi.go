package controller

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/ports"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/controller/telemetry"
	"github.com/sluicelb/sluice/controller/tree"
	"github.com/sluicelb/sluice/internal/gnmi"
)

// lowestInterval is the shortest sample interval of gNMI: a sample asks all switches.
const lowestInterval = time.Second

// gnmiServer serves what a status tells, beside the API.
func (l *loop) gnmiServer(sampler *telemetry.Sampler) *gnmi.Server {
	return gnmi.New(gnmi.Config{
		Schema: tree.Schema, Source: watched{l, sampler}, Lowest: lowestInterval,
		ReadOnly: "the configuration is applied by `sluice config apply`, and backends are drained by `sluice " +
			"backend drain`",
	})
}

// watched is the controller as the source of tree.Schema.
type watched struct {
	loop    *loop
	sampler *telemetry.Sampler
}

// Changed implements gnmi.Source.
func (w watched) Changed() <-chan struct{} { return w.loop.signs.next() }

// Events implements gnmi.Source. The switches are not asked: what is known of their ports is.
func (w watched) Events(ctx context.Context, t *gnmi.Tree) error {
	at, err := w.look(ctx)
	if err != nil {
		return err
	}
	views := make(map[string]ports.View)
	for name, c := range at.collectors {
		views[name] = c.View()
	}
	m := at.statusMessage()
	addPorts(m, views, at.wantedPorts())
	tree.Events(m, t)
	return nil
}

// Samples implements gnmi.Source.
func (w watched) Samples(ctx context.Context, t *gnmi.Tree) error {
	at, err := w.look(ctx)
	if err != nil {
		return err
	}
	sampled, err := w.sampler.Now(ctx)
	if err != nil {
		return status.Errorf(codes.Unavailable, "asking the switches: %v", err)
	}
	m, in := at.sampledMessage(), at.concerned()
	addPorts(m, viewsOf(sampled.Switches), in.ports)
	addCounters(m, sampled.Switches, in, w.loop.openings)
	all := make(map[string]tree.Counted)
	for _, sw := range m.Switches {
		if c, ok := countedBy(sw, sampled.Switches); ok {
			all[sw.Name] = countedNames(c, m, in.keys)
		}
	}
	tree.Samples(m, all, t)
	return nil
}

// countedNames is what a switch has counted of the VIPs and backends of m. keys are the VIPs' by name.
func countedNames(c device.Counters, m *api.GetStatusResponse, keys map[string]rows.VIPKey) tree.Counted {
	named := tree.Counted{
		VIPs: make(map[string]*api.PacketCount), Backends: make(map[tree.Backend]*api.PacketCount),
	}
	for name, key := range keys {
		if n, there := c.VIP[key]; there {
			named.VIPs[name] = countMessage(n)
		}
	}
	for _, p := range m.Pools {
		for b := range byName(p) {
			if n, there := c.Backend[rows.BackendID(b.Id)]; there {
				named.Backends[tree.Backend{Pool: p.Name, Name: b.Name}] = countMessage(n)
			}
		}
	}
	return named
}

func (w watched) look(ctx context.Context) (at *moment, err error) {
	if err := w.loop.look(ctx, func() { at = w.loop.moment() }); err != nil {
		return nil, status.Errorf(codes.Unavailable, "the caller has left, or the controller is stopping: %v", err)
	}
	return at, nil
}

// sampledMessage is the part of a status that changes all the time, with the backends that counters belong to.
func (at *moment) sampledMessage() *api.GetStatusResponse {
	m := new(api.GetStatusResponse)
	if !at.reported.IsZero() {
		m.HealthReportedAt = timestamppb.New(at.reported)
	}
	for _, s := range at.core.Intent().Switches {
		m.Switches = append(m.Switches, at.switchStatus(s))
	}
	planned := at.core.Stored().Plan
	for _, p := range at.core.Intent().Pools {
		pool := &api.PoolStatus{Name: p.Name}
		add := func(b plan.Member) {
			pool.Backends = append(pool.Backends, &api.BackendStatus{Name: b.Name, Id: uint32(b.ID)})
		}
		if has := planned.Pools[p.Name]; has != nil {
			for _, b := range has.Members {
				if !b.Removed {
					add(b)
				}
			}
		}
		leavers, _ := planned.Leavers(p.Name)
		for _, b := range leavers {
			add(b)
		}
		m.Pools = append(m.Pools, pool)
	}
	at.addSenders(m)
	return m
}

// signs wakes those who wait for something of a status to have changed, other than what is counted.
type signs struct {
	mu   sync.Mutex    // guards wait
	wait chan struct{} // nil: nobody waits
}

// next is closed when something may have changed since the call.
func (s *signs) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wait == nil {
		s.wait = make(chan struct{})
	}
	return s.wait
}

func (s *signs) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wait != nil {
		close(s.wait)
		s.wait = nil
	}
}
