package controller

import (
	"context"
	"maps"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/internal/loadreport"
)

// vipsBeat is the longest silence of WatchVIPs.
const vipsBeat = time.Second

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

// report answers one item of a load report. Several VIPs are as loaded as the most loaded of them, and so
// offline when one of them is; else unseen when one of them is; the backends of a pool count once.
func (s *vipStates) report(item loadreport.Item) loadreport.Report {
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

// liveShare is what of a pool takes new connections.
type liveShare struct {
	owned           bool // somebody does
	backends, total uint32
	weight, weights uint32
}

// liveShareOf counts the backends of the intent that own slots and may take new connections.
func liveShareOf(pool config.Pool, st plan.State, health map[plan.BackendKey]plan.Health) liveShare {
	census, _ := st.Census(pool.Name)
	var s liveShare
	owners := make(map[string]bool)
	for _, b := range census.Backends {
		h := health[plan.BackendKey{Pool: pool.Name, Backend: b.Name}]
		takes := b.Slots > 0 && (h != plan.Down && h != plan.Failing || pool.AllDown == config.Forward)
		s.owned = s.owned || takes
		owners[b.Name] = !b.Removed && takes
	}
	for _, b := range pool.Backends {
		s.total++
		s.weights += uint32(b.Weight)
		if owners[b.Name] {
			s.backends++
			s.weight += uint32(b.Weight)
		}
	}
	return s
}

// vipFacts is what the states of the VIPs follow from.
type vipFacts struct {
	intent *config.Intent
	pools  map[string]*plan.Pool // never modified
	served map[string]uint64     // by connected switch: counts the changes of what it holds of the VIPs
	dead   map[rows.BackendID]bool
	rated  uint64 // counts the rates that came in
	steps  uint64 // counts the times that the plan was asked
}

func (l *loop) vipFacts() vipFacts {
	served := make(map[string]uint64)
	for name, v := range l.views {
		if v.connected() {
			served[name] = v.served
		}
	}
	return vipFacts{l.intent, l.st.Plan.Pools, served, l.deadAhead(), l.rated, l.steps}
}

func (f vipFacts) equal(g vipFacts) bool {
	return f.intent == g.intent && f.rated == g.rated && f.steps == g.steps && maps.Equal(f.pools, g.pools) && maps.Equal(f.served, g.served) &&
		maps.Equal(f.dead, g.dead)
}

// tellVIPs publishes the states of the VIPs, if they have changed.
func (l *loop) tellVIPs() {
	facts := l.vipFacts()
	if facts.equal(l.vipsOf) {
		return
	}
	shares, health := make(map[string]liveShare), l.health(l.st)
	for _, pool := range l.intent.Pools {
		shares[pool.Name] = liveShareOf(pool, l.st.Plan, health)
	}
	states := newVIPStates()
	states.message.IntentRevision = l.st.Intent.Revision
	for _, v := range l.intent.VIPs {
		states.add(v, l.vipMessage(v, shares[v.Pool], facts.dead))
	}
	l.vipsOf = facts
	if current, _ := l.vips.get(); !proto.Equal(current.message, states.message) {
		l.vips.set(states)
	}
}

func (l *loop) vipMessage(v config.VIP, s liveShare, dead map[rows.BackendID]bool) *api.VIP {
	is := l.vipState(v, s.owned, dead)
	m := &api.VIP{
		Name: v.Name, Address: v.Address.String(), Protocol: v.Protocol.String(), Port: uint32(v.Port), Tags: v.Tags,
		State: is.state, Reason: is.reason, Load: l.vipLoad(v, is, s), Unseen: is.unseen,
		LiveBackends: s.backends, TotalBackends: s.total, LiveWeight: s.weight, TotalWeight: s.weights,
	}
	return m
}

// vipLoad is the load of a VIP in that state.
func (l *loop) vipLoad(v config.VIP, is vipIs, s liveShare) uint32 {
	if !is.serving {
		return loadreport.Offline
	}
	rate, known := l.rates[vipKey(v)]
	return loadOf(v.Capacity, rate, known, int(s.weight), int(s.weights))
}

// measured says whether a VIP's load follows from what switches count.
func (l *loop) measured() bool {
	return slices.ContainsFunc(l.intent.VIPs, func(v config.VIP) bool { return v.Capacity > 0 })
}

// WatchVIPs sends the latest states. A slow reader holds up nobody and misses states in between.
func (s *service) WatchVIPs(ctx context.Context, _ *api.WatchVIPsRequest, stream *connect.ServerStream[api.VIPs]) error {
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
