package controller

import (
	"context"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/internal/loadreport"
)

const (
	// vipsBeat is the longest silence of WatchVIPs.
	vipsBeat = time.Second
	// fullLoad is the load of a VIP that can take no more.
	fullLoad = loadreport.Offline - 1
)

// vips holds the states of the VIPs, and wakes those who wait for the next ones.
type vips struct {
	mu      sync.Mutex // guards all below
	current *vipStates
	next    chan struct{} // closed when current is replaced
}

func newVIPs() vips { return vips{current: newVIPStates(), next: make(chan struct{})} }

func (v *vips) set(s *vipStates) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.current = s
	close(v.next)
	v.next = make(chan struct{})
}

func (v *vips) get() (*vipStates, <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.current, v.next
}

// vipStates is what the VIPs are at one moment, and where they are found. It is never modified once it is set.
type vipStates struct {
	message   *api.VIPs
	keys      []rows.VIPKey // of the message's VIPs
	pools     []string
	byTag     map[string][]int // into the message's VIPs
	byAddress map[netip.Addr][]int
}

func newVIPStates() *vipStates {
	return &vipStates{message: new(api.VIPs), byTag: make(map[string][]int), byAddress: make(map[netip.Addr][]int)}
}

func (s *vipStates) add(v config.VIP, m *api.VIP) {
	i := len(s.message.Vips)
	s.message.Vips = append(s.message.Vips, m)
	s.keys = append(s.keys, vipKey(v))
	s.pools = append(s.pools, v.Pool)
	s.byAddress[v.Address] = append(s.byAddress[v.Address], i)
	for _, tag := range v.Tags {
		s.byTag[tag] = append(s.byTag[tag], i)
	}
}

// loadReport answers one item of a load report. Several VIPs are as loaded as the most loaded of them, and so
// offline when one of them is; else unseen when one of them is; the backends of a pool count once.
func (s *vipStates) loadReport(item loadreport.Item) loadreport.Report {
	found := s.byTag[item.Tag]
	if item.Tag == "" {
		found = s.byAddress[item.Address]
	}
	var r loadreport.Report
	var live, total uint32
	offline := false // one of them, as far as the controller sees it
	seen := make(map[string]bool)
	for _, i := range found {
		k, m := s.keys[i], s.message.Vips[i]
		if item.Protocol != 0 && item.Protocol != uint8(k.Protocol) || item.Port != 0 && item.Port != k.Port {
			continue
		}
		r.Known = true
		r.Load = max(r.Load, uint8(m.Load))
		r.Unseen = r.Unseen || m.Unseen
		offline = offline || m.Load == loadreport.Offline && !m.Unseen
		if !seen[s.pools[i]] {
			seen[s.pools[i]] = true
			live, total = live+m.LiveBackends, total+m.TotalBackends
		}
	}
	r.Unseen = r.Unseen && !offline
	r.Live, r.Total = uint16(min(live, math.MaxUint16)), uint16(min(total, math.MaxUint16))
	return r
}

// tellVIPs publishes the states of the VIPs, if they have changed.
func (l *loop) tellVIPs() {
	states := newVIPStates()
	states.message.IntentRevision = l.core.Stored().Intent.Revision
	for _, v := range l.core.VIPs() {
		states.add(v.Config, l.vipMessage(v))
	}
	if current, _ := l.vips.get(); !proto.Equal(current.message, states.message) {
		l.vips.set(states)
		l.signs.give()
	}
}

func (l *loop) vipMessage(v core.VIP) *api.VIP {
	return &api.VIP{
		Name: v.Config.Name, Address: v.Config.Address.String(), Protocol: v.Config.Protocol.String(),
		Port: uint32(v.Config.Port),
		Tags: v.Config.Tags, State: vipStateMessage(v.State), Reason: v.Reason, Load: vipLoad(v, l.rates),
		Unseen:       v.Unseen,
		LiveBackends: v.Live.Backends, TotalBackends: v.Live.Total, LiveWeight: v.Live.Weight,
		TotalWeight: v.Live.Weights,
	}
}

func vipStateMessage(s core.Serving) api.VIPStatus_State {
	return [...]api.VIPStatus_State{
		api.VIPStatus_STATE_DISABLED, api.VIPStatus_STATE_UNPROGRAMMED, api.VIPStatus_STATE_NO_BACKEND,
		api.VIPStatus_STATE_DEGRADED, api.VIPStatus_STATE_ACTIVE,
	}[s]
}

// vipLoad is the load of a VIP; rates are of those that switches have counted twice, in packets a second.
func vipLoad(v core.VIP, rates map[rows.VIPKey]float64) uint32 {
	if !v.Serving {
		return loadreport.Offline
	}
	rate, known := rates[vipKey(v.Config)]
	return loadOf(v.Config.Capacity, rate, known, int(v.Live.Weight), int(v.Live.Weights))
}

// loadOf is the load of a VIP that takes traffic, 0..254. With a capacity it is the rate, in packets a second,
// relative to what is left of the capacity; without, or while the rate is not known, it is the share of the
// pool's weight that takes no new connections.
func loadOf(capacity int, rate float64, known bool, live, total int) uint32 {
	if live <= 0 || total <= 0 {
		return fullLoad
	}
	share := min(float64(live)/float64(total), 1)
	load := 1 - share
	if capacity > 0 && known {
		load = rate / (float64(capacity) * share)
	}
	return uint32(math.Round(fullLoad * min(load, 1)))
}

// measured says whether a VIP's load follows from what switches count.
func (l *loop) measured() bool {
	return slices.ContainsFunc(l.core.Intent().VIPs, func(v config.VIP) bool { return v.Capacity > 0 })
}

// WatchVIPs sends the latest states. A slow reader holds up nobody and misses states in between.
func (s *service) WatchVIPs(ctx context.Context, _ *api.WatchVIPsRequest,
	stream *connect.ServerStream[api.VIPs],
) error {
	beat := time.NewTimer(vipsBeat)
	defer beat.Stop()
	for {
		current, next := s.loop.vips.get()
		if err := stream.Send(current.message); err != nil {
			return err
		}
		beat.Reset(vipsBeat)
		select {
		case <-ctx.Done():
			return nil
		case <-next:
		case <-beat.C:
		}
	}
}

func vipKey(v config.VIP) rows.VIPKey {
	return rows.VIPKey{Address: v.Address, Protocol: v.Protocol, Port: v.Port}
}
