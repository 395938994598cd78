package controller

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/controller/telemetry"
	"github.com/sluicelb/sluice/internal/text"
)

func (s *service) GetStatus(ctx context.Context, _ *api.GetStatusRequest) (*api.GetStatusResponse, error) {
	all, err := s.see(ctx)
	return all.status, err
}

// seen is the status, and what it was made of.
type seen struct {
	status  *api.GetStatusResponse
	sampled *telemetry.Snapshot
	devices map[string]*running // by switch
	in      concerned
}

// see asks the loop and the switches.
func (s *service) see(ctx context.Context) (seen, error) {
	var at *moment
	if err := s.look(ctx, func() error { at = s.loop.moment(); return nil }); err != nil {
		return seen{}, err
	}
	sampled, err := s.telemetry.Now(ctx)
	if err != nil {
		return seen{}, connect.NewError(connect.CodeUnavailable, fmt.Errorf("asking the switches: %w", err))
	}
	all := seen{status: at.statusMessage(), sampled: sampled, devices: at.devices, in: at.concerned()}
	all.in.spoofs = at.core.Spoofs()
	m := all.status
	views := viewsOf(sampled.Switches)
	all.in.none = portless(views)
	addPorts(m, views, all.in.ports)
	addCounters(m, sampled.Switches, all.in, s.loop.openings)
	sightings := make(map[string]device.Sightings)
	for _, sw := range m.Switches {
		if d := all.devices[sw.Name]; d != nil && sw.State != api.SwitchStatus_STATE_DISCONNECTED {
			sightings[sw.Name] = d.Sightings()
		}
	}
	contradict(m, sightings, sampled.Switches)
	m.Concerns = concerns(m, all.in)
	return all, nil
}

// moment is what the loop knows at one time. It is never changed: what is told of it is made outside of the loop, which
// has to decide meanwhile.
type moment struct {
	core       *core.Core // a Look
	at         time.Time
	started    time.Time
	reported   time.Time // when a healthd last reported
	watched    bool      // a healthd watches the checks
	rates      map[rows.VIPKey]float64
	done       []*api.Reprogrammed
	views      map[string]device.Status // by switch
	devices    map[string]*running
	collectors map[string]*collecting

	waits func() map[string][]plan.Wait // by pool
}

// moment is of now. It is for the loop's goroutine, which it takes little time of.
func (l *loop) moment() *moment {
	m := &moment{
		core: l.core.Look(), at: time.Now(), started: l.started, reported: l.reported, watched: l.checks.watched(),
		rates: l.rates, done: l.done, views: make(map[string]device.Status),
		devices: maps.Clone(l.devices), collectors: maps.Clone(l.collectors),
	}
	m.waits = sync.OnceValue(func() map[string][]plan.Wait {
		by := make(map[string][]plan.Wait)
		for _, w := range m.core.Waits() {
			by[w.Pool] = append(by[w.Pool], w)
		}
		return by
	})
	for name, v := range l.views {
		m.views[name] = v.status
	}
	return m
}

func (s *service) ListBackends(ctx context.Context, r *api.ListBackendsRequest) (*api.ListBackendsResponse, error) {
	status, err := s.GetStatus(ctx, nil)
	if err != nil {
		return nil, err
	}
	m := new(api.ListBackendsResponse)
	known := false
	var pools []string
	for _, p := range status.Pools {
		pools = append(pools, p.Name)
		if r.Pool == "" || r.Pool == p.Name {
			known = true
			m.Backends = append(m.Backends, p.Backends...)
		}
	}
	if !known && r.Pool != "" {
		return nil, noPool(text.Cut(r.Pool), pools)
	}
	return m, nil
}

// statusMessage is all but the counters.
func (at *moment) statusMessage() *api.GetStatusResponse {
	m := &api.GetStatusResponse{
		Time:            timestamppb.New(at.at),
		StartedAt:       timestamppb.New(at.started),
		IntentRevision:  at.core.Stored().Intent.Revision,
		IntentAppliedAt: timestamppb.New(at.core.Stored().Intent.AppliedAt),
		HealthConnected: at.watched,
	}
	if at.core.Frozen() != nil {
		m.Frozen = at.core.Frozen().Error()
	}
	if !at.reported.IsZero() {
		m.HealthReportedAt = timestamppb.New(at.reported)
	}
	for _, s := range at.core.Intent().Switches {
		m.Switches = append(m.Switches, at.switchStatus(s))
	}
	health := at.core.Health()
	for _, p := range at.core.Intent().Pools {
		m.Pools = append(m.Pools, at.poolStatus(p, health))
	}
	pools := make(map[string]*api.PoolStatus)
	for _, p := range m.Pools {
		pools[p.Name] = p
	}
	for _, v := range at.core.VIPs() {
		pools[v.Config.Pool].Vips = append(pools[v.Config.Pool].Vips, v.Config.Name)
		m.Vips = append(m.Vips, at.vipStatus(v))
	}
	at.addSenders(m)
	m.Reprogrammed = at.done
	return m
}

// addSenders adds who claims VIPs, and who passes for whom.
func (at *moment) addSenders(m *api.GetStatusResponse) {
	for _, c := range at.core.Claims() {
		m.ArpClaims = append(m.ArpClaims, claimMessage(c))
	}
	for _, s := range at.core.Spoofs() {
		m.Spoofs = append(m.Spoofs, spoofMessage(s))
	}
}

func (at *moment) switchStatus(s config.Switch) *api.SwitchStatus {
	m := &api.SwitchStatus{Name: s.Name, Address: s.Address, DeviceId: s.DeviceID,
		State: api.SwitchStatus_STATE_DISCONNECTED}
	st, known := at.views[s.Name]
	d := at.devices[s.Name]
	if !known || d == nil {
		return m
	}
	m.State = stateMessage(st.State)
	if st.State == device.Synced && st.Applied < at.core.Sequence() {
		m.State = api.SwitchStatus_STATE_RECONCILING // it holds an earlier decision, not the last one
	}
	if !st.Since.IsZero() {
		m.Since = timestamppb.New(st.Since)
	}
	if st.State == device.Disconnected {
		err := st.Err
		if now := d.SessionError(); now != nil {
			err = now
		}
		if err != nil {
			m.Error = text.Cut(err.Error())
		}
	}
	m.Connects, m.RowsReadBack, m.EntriesWrittenConnect = st.Connects, uint64(st.ReadBack), uint64(st.WrittenConnect)
	m.EntriesWritten, m.RowsHeld, m.Stations = st.Written, uint64(st.Held), uint64(d.Stations().Known)
	m.StationsFull = d.Stations().Full
	m.FailedTotal, m.Unmetered = uint64(st.FailedTotal), st.Unmetered
	if st.State != device.Disconnected {
		for _, t := range st.Tables {
			m.Tables = append(m.Tables, &api.TableStatus{Name: t.Table, Rows: uint64(t.Rows), Size: uint64(t.Size)})
		}
		for _, t := range []*rows.Table{rows.Station, rows.L2} { // a station has a row in each
			m.Tables = append(m.Tables, &api.TableStatus{Name: t.Name, Rows: m.Stations, Size: uint64(d.Room())})
		}
	}
	for _, f := range st.Failed {
		m.Failed = append(m.Failed, &api.FailedUpdate{Update: f.Change, Code: f.Code.String(), Message: f.Message,
			Attempts: uint32(f.Attempts)})
	}
	return m
}

func (at *moment) vipStatus(v core.VIP) *api.VIPStatus {
	return &api.VIPStatus{
		Name: v.Config.Name, Address: v.Config.Address.String(), Protocol: v.Config.Protocol.String(),
		Port: uint32(v.Config.Port),
		Pool: v.Config.Pool, Mac: v.Config.MAC.String(), State: vipStateMessage(v.State), Reason: v.Reason,
		Load: vipLoad(v, at.rates), Unseen: v.Unseen,
	}
}

func (at *moment) poolStatus(p config.Pool, health map[plan.BackendKey]plan.Health) *api.PoolStatus {
	census, _ := at.core.Stored().Plan.Census(p.Name)
	m := &api.PoolStatus{
		Name: p.Name, Id: uint32(census.Pool), Generation: uint32(census.Generation), Slots: uint32(census.Slots),
		Moving: uint32(census.Moving), Unowned: uint32(census.Unowned), Epochs: uint32(census.Epochs),
	}
	for _, a := range at.core.Awaited(p, at.at) {
		is := &api.AwaitedSwitch{Switch: a.Switch, Away: a.Away, Until: timestampOf(a.Until), Over: a.Over}
		m.Awaited = append(m.Awaited, is)
	}
	m.Waiting, m.WaitingReason = waits(at.waits()[p.Name], m.Awaited)
	m.Held = at.core.HeldReason(p, census)
	waiting := make(map[string][]plan.Wait) // by backend
	for _, w := range at.waits()[p.Name] {
		waiting[w.Backend] = append(waiting[w.Backend], w)
	}
	shares := make(map[string]plan.Share)
	for _, s := range census.Backends {
		if !s.Removed {
			shares[s.Name] = s
		}
	}
	for _, b := range p.Backends {
		key := plan.BackendKey{Pool: p.Name, Backend: b.Name}
		share, verdict := shares[b.Name], at.core.Stored().Verdicts[key]
		bm := &api.BackendStatus{
			Pool: p.Name, Name: b.Name, Id: uint32(share.ID), Address: b.Address.String(), Mac: b.MAC.String(),
			SwitchPort: uint32(b.SwitchPort.All), SwitchPorts: portsMessage(b.SwitchPort),
			Weight: uint32(b.Weight), Enabled: b.Enabled,
			Admin: adminMessage(at.core.Stored().Admin[key]), Health: healthMessage(verdict.Health),
			Reason: verdict.Reason,
			Slots:  uint32(share.Slots), MovingIn: uint32(share.MovingIn), MovingOut: uint32(share.MovingOut),
			Pinned: uint32(share.Pinned),
		}
		bm.Waiting, bm.WaitingReason = waits(waiting[b.Name], m.Awaited)
		if verdict.Health != plan.Unknown {
			bm.Since = timestamppb.New(verdict.Since)
		} else if health[key] == plan.Down {
			bm.Reason = "waits for its first verdict"
		}
		if len(p.Checks) > 0 {
			at.authorship(bm, key, verdict)
			bm.UncheckedReason = at.core.Unchecked(key, at.watched, at.at)
		}
		if bm.GraceUntil = timestampOf(at.core.GraceUntil(key)); at.core.Dead(p, key) {
			bm.GraceSlots = uint32(share.MovingOut)
		}
		bm.Drained = bm.Admin == api.Admin_ADMIN_DRAIN && !share.Owns() && at.core.Held(p)
		bm.Unwritten, bm.DrainIdle = at.core.Unwritten(p, b.Name, share.ID), durationpb.New(p.DrainIdle)
		forced := at.core.Forced(key)
		bm.DrainForced, bm.DrainForcedPinned = uint32(forced.Slots), uint32(forced.Pinned)
		m.Backends = append(m.Backends, bm)
	}
	m.Backends = append(m.Backends, at.leaverStatus(p, waiting, m.Awaited)...)
	return m
}

// portsMessage is the ports by switch, where these are given so.
func portsMessage(ports config.SwitchPorts) map[string]uint32 {
	if len(ports.By) == 0 {
		return nil
	}
	m := make(map[string]uint32, len(ports.By))
	for name, port := range ports.By {
		m[name] = uint32(port)
	}
	return m
}

// authorship adds who gave a verdict, whether it is still repeated, and who disagrees.
func (at *moment) authorship(m *api.BackendStatus, key plan.BackendKey, v core.Verdict) {
	is := at.core.Authorship(key, at.at)
	m.Healthd, m.Reported, m.HealthStale = v.Author, timestampOf(is.Heard), is.Stale
	if is.Differ != "" {
		what := "new connections go elsewhere and open ones stay"
		if is.Counts {
			what = "it counts as up, since most of the pool fell"
		}
		m.Contradictions = append(m.Contradictions, fmt.Sprintf("healthd %s calls it %v and healthd %s up: %s; is "+
			"there a way to it from both hosts?", v.Author, v.Health, is.Differ, what))
	}
}

// leaverStatus lists the backends that are removed from the intent and own slots yet.
func (at *moment) leaverStatus(
	p config.Pool, waiting map[string][]plan.Wait, awaited []*api.AwaitedSwitch,
) (list []*api.BackendStatus) {
	members, shares := at.core.Stored().Plan.Leavers(p.Name)
	for i, b := range members {
		share, verdict := shares[i], at.core.Stored().Verdicts[plan.BackendKey{Pool: p.Name, Backend: b.Name}]
		bm := &api.BackendStatus{
			Pool: p.Name, Name: b.Name, Id: uint32(b.ID), Address: b.Address, Mac: b.MAC.String(),
			SwitchPort: uint32(b.Port), SwitchPorts: portsMessage(b.SwitchPort()),
			Weight: uint32(b.Weight), Admin: adminMessage(plan.Active),
			Health: healthMessage(verdict.Health),
			Reason: fmt.Sprintf("removed, %d slots and %d pinned connections left", share.Slots+share.MovingOut,
				share.Pinned),
			Slots: uint32(share.Slots), MovingIn: uint32(share.MovingIn), MovingOut: uint32(share.MovingOut),
			Pinned: uint32(share.Pinned),
		}
		if verdict.Health != plan.Unknown {
			bm.Since = timestamppb.New(verdict.Since)
		}
		if verdict.Reason != "" {
			bm.Reason += "; " + verdict.Reason
		}
		bm.Waiting, bm.WaitingReason = waits(waiting[b.Name], awaited)
		list = append(list, bm)
	}
	return list
}

// waits counts waiting slots, and says what they wait for: "a", or "a (31), b (7)". awaited are the switches that lag.
func waits(list []plan.Wait, awaited []*api.AwaitedSwitch) (slots uint32, reason string) {
	counts := make(map[plan.Why]int)
	for _, w := range list {
		counts[w.Why] += w.Slots
		slots += uint32(w.Slots)
	}
	var reasons []string
	for _, why := range slices.Sorted(maps.Keys(counts)) {
		reason := why.String()
		if why == plan.Behind {
			var who []string
			for _, a := range awaited {
				if !a.Over {
					who = append(who, awaitedText(a))
				}
			}
			reason = cmp.Or(text.List(who, core.Few), reason)
		}
		if len(counts) > 1 {
			reason += fmt.Sprintf(" (%d)", counts[why])
		}
		reasons = append(reasons, reason)
	}
	return slots, strings.Join(reasons, ", ")
}

// awaitedText says for how long moves of a pool wait for a switch.
func awaitedText(a *api.AwaitedSwitch) string {
	is := fmt.Sprintf("switch %s does not take what it is told", a.Switch)
	if a.Away {
		is = fmt.Sprintf("switch %s is disconnected", a.Switch)
	}
	switch {
	case a.Over:
		return is + ": moves go on without it"
	case a.Until == nil:
		return is
	}
	return fmt.Sprintf("%s: it is waited for until %s at most", is, a.Until.AsTime().Format(time.DateTime+" MST"))
}

// backendStatus is the status of one backend of the intent, without counters.
func (at *moment) backendStatus(key plan.BackendKey) *api.BackendStatus {
	for _, p := range at.core.Intent().Pools {
		if p.Name != key.Pool {
			continue
		}
		for _, b := range at.poolStatus(p, at.core.Health()).Backends {
			if b.Name == key.Backend {
				return b
			}
		}
	}
	return nil
}

// byName yields the backends of a pool by name: of one that left the configuration and one that has its name, the
// latter, which comes first.
func byName(p *api.PoolStatus) iter.Seq[*api.BackendStatus] {
	return func(yield func(*api.BackendStatus) bool) {
		there := make(map[string]bool, len(p.Backends))
		for _, b := range p.Backends {
			if !there[b.Name] && !yield(b) {
				return
			}
			there[b.Name] = true
		}
	}
}

// countedBy returns what a switch has counted; false where it does not tell. A sample may be of just before it was
// lost.
func countedBy(sw *api.SwitchStatus, sampled map[string]telemetry.Sample) (device.Counters, bool) {
	sample, ok := sampled[sw.Name]
	lost := sw.State == api.SwitchStatus_STATE_DISCONNECTED
	return sample.Counters, ok && sample.CountersErr == nil && !lost
}

// addCounters adds what switches have counted to m.
func addCounters(m *api.GetStatusResponse, sampled map[string]telemetry.Sample, in concerned, opened *openings) {
	opened.keep(m.Switches)
	vips, backends := make(map[rows.VIPKey]device.Count), make(map[uint32]device.Count)
	told := false
	for _, sw := range m.Switches {
		c, ok := countedBy(sw, sampled)
		if !ok {
			continue
		}
		told = true
		for k, n := range c.VIP {
			vips[k] = vips[k].Add(n)
		}
		for id, n := range c.Backend {
			backends[uint32(id)] = backends[uint32(id)].Add(n)
		}
		sw.Tallies, sw.Mended = make(map[string]*api.PacketCount), make(map[string]*api.PacketCount)
		for name, n := range c.Tally {
			if device.Mended[name] {
				sw.Mended[name] = countMessage(n)
			} else {
				sw.Tallies[name] = countMessage(n)
			}
		}
		sw.Banks = opened.banks(sw.Name, c.Openings, in.banks)
		for _, kind := range slices.Sorted(maps.Keys(c.Unsent)) {
			for _, port := range slices.Sorted(maps.Keys(c.Unsent[kind])) {
				drops := &api.MeterDrops{Kind: kind, Port: uint32(port), Packets: c.Unsent[kind][port]}
				sw.MeterDrops = append(sw.MeterDrops, drops)
			}
		}
	}
	if !told {
		return
	}
	for _, v := range m.Vips {
		v.Packets = countMessage(vips[in.keys[v.Name]])
	}
	for _, p := range m.Pools {
		for _, b := range p.Backends {
			b.Packets = countMessage(backends[b.Id])
		}
	}
}

func countMessage(c device.Count) *api.PacketCount {
	return &api.PacketCount{Packets: c.Packets, Bytes: c.Bytes}
}
