package controller

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/internal/metrics"
)

// scrapeTime is how long a scrape waits for the loop and the switches. Prometheus gives up after 10 s by default.
const scrapeTime = 5 * time.Second

// figures is what Prometheus sees of a controller; of one that stands by, only that. All that it says of switches, VIPs
// and backends follows from the status, and from the snapshot that the status is made of, at each scrape.
type figures struct {
	leads  atomic.Pointer[service] // nil: it stands by
	saves  prometheus.Histogram
	failed prometheus.Counter
}

func newFigures() *figures {
	return &figures{
		saves: metrics.Times("sluice_controller_store_save_seconds",
			"How long writes to the store took, those that failed too.", nil),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_controller_store_save_failures_total", Help: "Writes to the store that failed.",
		}),
	}
}

// saved counts a write to the store.
func (f *figures) saved(took time.Duration, err error) {
	f.saves.Observe(took.Seconds())
	if err != nil {
		f.failed.Inc()
	}
}

func figure(name, help string, labels ...string) *metrics.Desc {
	return metrics.NewDesc("sluice_controller_"+name, help, labels...)
}

var (
	leaderFigure   = figure("leader", "1 while this controller leads, 0 while it stands by.")
	revisionFigure = figure("intent_revision", "Revision of the running configuration.")
	appliedFigure  = figure("intent_applied_timestamp_seconds", "When the running configuration was applied.")
	frozenFigure   = figure("store_frozen", "1 while the store does not answer, so that the configuration cannot be "+
		"changed.")
	reportedFigure = figure("health_reported_timestamp_seconds", "When a healthd reported last.")
	healthdFigure  = figure("healthd_connected", "1 while a healthd watches the checks.")
	concernsFigure = figure("concerns", "Things that are not as they should be; sluice status lists them.", "severity")

	stateFigure    = figure("switch_state", "1 for the state that the switch is in.", "switch", "state")
	connectsFigure = figure("switch_connects_total", "Times that the switch was connected and read back.", "switch")
	writtenFigure  = figure("switch_entries_written_total",
		"Table entries written, those of learned stations not counted.", "switch")
	heldFigure    = figure("switch_rows", "Rows of the plan that the switch holds.", "switch")
	refusedFigure = figure("switch_refused_updates", "Updates that the switch refuses now, which are tried again.",
		"switch")
	stationsFigure = figure("switch_stations", "Stations learned.", "switch")
	fullFigure     = figure("switch_stations_full",
		"1 while new stations are not learned, so that frames to them are flooded.", "switch")
	unmeteredFigure = figure("switch_unmetered", "1 while the switch does not meter what it sends up.", "switch")
	droppedFigure   = figure("switch_dropped_packets_total", "Packets that the pipeline dropped, by reason.", "switch",
		"reason")
	mendedFigure = figure("switch_mended_packets_total", "Packets that were forwarded after a change, by reason.",
		"switch", "reason")
	unsentFigure = figure("switch_meter_drops_total",
		"Messages to the controller that a meter held back, by kind and port.", "switch", "kind", "port")
	openingsFigure = figure("switch_openings_total",
		"Packets that opened a flow on a moving slot and were marked, by bank of cells.", "switch", "bank")
	falseFigure = figure("predicted_false_positive_ratio",
		"Of the flows that were open when the moves of a bank began, the share that is taken for new: "+
			"(1-e^(-openings/65536))^4, by what was opened since the moves were first seen by a status, gNMI or "+
			"a scrape.",
		"switch", "bank")

	tableRowsFigure = figure("switch_table_rows", "Rows of the plan and of stations that the table holds.", "switch",
		"table")
	tableSizeFigure = figure("switch_table_size", "Rows that the table has room for, by the P4Info.", "switch", "table")

	toldFigure      = figure("switch_ports_told", "1 while the switch tells how its ports are, by gNMI.", "switch")
	portStaleFigure = figure("switch_port_stale",
		"1 while nothing was heard of the port for some seconds; then nothing else is told of it.", "switch", "port",
		"name")
	portConfiguredFigure = figure("switch_port_configured", "1 where the configuration has the port.", "switch", "port",
		"name")
	portBackendsFigure = figure("switch_port_backends", "Backends that are behind the port, by the configuration.",
		"switch", "port", "name")
	portUpFigure       = figure("switch_port_up", "1 while the port is up.", "switch", "port", "name")
	portReceivedFigure = figure("switch_port_received_packets_total", "Frames received.", "switch", "port", "name")
	portLostFigure     = figure("switch_port_received_dropped_packets_total", "Frames lost before the pipeline.",
		"switch", "port", "name")
	portSentFigure   = figure("switch_port_sent_packets_total", "Frames sent.", "switch", "port", "name")
	portUnsentFigure = figure("switch_port_sent_dropped_packets_total", "Frames that could not be sent.", "switch",
		"port", "name")

	vipStateFigure = figure("vip_state", "1 for the state that the VIP is in.", "vip", "state")
	vipLoadFigure  = figure("vip_load",
		"Load of the VIP as told to gslb: 0 idle to 254 full, 255 no traffic may come.", "vip")
	vipPacketsFigure = figure("vip_packets_total",
		"Packets for the VIP at all switches, since this controller asked each first.", "vip")
	vipBytesFigure = figure("vip_bytes_total",
		"Bytes of frames for the VIP at all switches, since this controller asked each first.", "vip")

	slotsFigure  = figure("pool_slots", "Slots of the pool.", "pool")
	movingFigure = figure("pool_moving_slots",
		"Slots that have moved, and whose old flows are with their former backend.", "pool")
	waitingFigure = figure("pool_waiting_slots", "Slots that should move and cannot yet.", "pool")
	unownedFigure = figure("pool_unowned_slots", "Slots without a backend.", "pool")
	epochsFigure  = figure("pool_epochs", "Sets of moves under way.", "pool")
	floorFigure   = figure("pool_grace_held", "1 while the grace of backends that are down does not end, as so much "+
		"fell at once.", "pool")

	healthFigure    = figure("backend_health", "1 for the verdict on the backend.", "pool", "backend", "health")
	uncheckedFigure = figure("backend_unchecked",
		"1 while the backend cannot be asked, so that its verdict is an old one.", "pool", "backend")
	weightFigure       = figure("backend_weight", "Weight of the backend, 0 where it is disabled.", "pool", "backend")
	backendSlotsFigure = figure("backend_slots", "Slots whose new flows go to the backend.", "pool", "backend")
	backendShareFigure = figure("backend_slot_share", "Share of the pool's slots whose new flows go to the backend.",
		"pool", "backend")
	wantedShareFigure = figure("backend_weight_share",
		"The backend's part of the weights of all that may get new flows.", "pool", "backend")
	movingOutFigure = figure("backend_moving_out_slots",
		"Slots that have moved away and whose old flows the backend serves yet.", "pool", "backend")
	pinnedFigure = figure("backend_pinned_connections",
		"Connections that stay with the backend whatever their slots say.", "pool", "backend")
	drainFigure = figure("backend_draining", "1 while the backend is drained by an operator.", "pool",
		"backend")
	backendPacketsFigure = figure("backend_packets_total",
		"Packets sent to the backend by all switches, since this controller asked each first.", "pool", "backend")
	backendBytesFigure = figure("backend_bytes_total",
		"Bytes of frames sent to the backend by all switches, since this controller asked each first.", "pool",
		"backend")

	// Those of the page by switch.
	switchVIPPacketsFigure = figure("switch_vip_packets_total", "Packets for the VIP that the switch has counted.",
		"switch", "vip")
	switchVIPBytesFigure = figure("switch_vip_bytes_total",
		"Bytes of frames for the VIP that the switch has counted.", "switch", "vip")
	switchBackendPacketsFigure = figure("switch_backend_packets_total",
		"Packets that the switch has sent to the backend.", "switch", "pool", "backend")
	switchBackendBytesFigure = figure("switch_backend_bytes_total",
		"Bytes of frames that the switch has sent to the backend.", "switch", "pool", "backend")

	claimsFigure = figure("arp_claims_total", "ARP messages that the switch reported because somebody "+
		"else claimed a VIP.", "switch", "port", "vip")
	spoofsFigure = figure("spoofed_frames_total", "Frames that the switch reported because their sender passed "+
		"for a station.", "switch", "port", "station")
)

// The values of the enumerations that are shown.
var (
	switchStateNames = metrics.StatesOf("STATE_", api.SwitchStatus_State_name)
	vipStateNames    = metrics.StatesOf("STATE_", api.VIPStatus_State_name)
	healthNames      = metrics.StatesOf("HEALTH_", api.Health_name)
)

// Show implements metrics.Source. What there is grows with the VIPs and backends, and with the switches, but not with
// one for each of the other.
func (f *figures) Show(page *metrics.Page) {
	e := exposition{page}
	e.Collect(f.saves, f.failed)
	e.Truth(leaderFigure, f.leads.Load() != nil)
	all, ok := f.see()
	if !ok {
		return
	}
	for _, d := range all.devices {
		e.Collect(d)
	}
	m := all.status
	e.daemon(m)
	for _, p := range m.Pools {
		e.pool(p)
	}
	for _, v := range m.Vips {
		e.vip(v)
	}
	for _, sw := range m.Switches {
		e.device(sw, m.Pools)
		if _, ok := countedBy(sw, all.sampled.Switches); ok {
			e.counted(sw)
		}
	}
	e.totals(all)
	e.noise(m)
}

// see is the status at a scrape; false: it stands by, is ending, or busy for longer than Prometheus waits.
func (f *figures) see() (seen, bool) {
	s := f.leads.Load()
	if s == nil {
		return seen{}, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	all, err := s.see(ctx)
	return all, err == nil
}

// bySwitch is the page of what each switch has counted of each VIP and backend, which is much where there are many
// switches: who wants it asks for it.
type bySwitch struct{ *figures }

// Show implements metrics.Source.
func (f bySwitch) Show(page *metrics.Page) {
	all, ok := f.see()
	if !ok {
		return
	}
	for _, sw := range all.status.Switches {
		c, ok := countedBy(sw, all.sampled.Switches)
		if !ok {
			continue
		}
		for _, v := range all.status.Vips {
			if n, there := c.VIP[all.in.keys[v.Name]]; there {
				page.Counter(switchVIPPacketsFigure, n.Packets, sw.Name, v.Name)
				page.Counter(switchVIPBytesFigure, n.Bytes, sw.Name, v.Name)
			}
		}
		for _, p := range all.status.Pools {
			for b := range byName(p) {
				if n, there := c.Backend[rows.BackendID(b.Id)]; there {
					page.Counter(switchBackendPacketsFigure, n.Packets, sw.Name, p.Name, b.Name)
					page.Counter(switchBackendBytesFigure, n.Bytes, sw.Name, p.Name, b.Name)
				}
			}
		}
	}
}

// exposition writes the metrics of a controller.
type exposition struct{ *metrics.Page }

func (e exposition) daemon(m *api.GetStatusResponse) {
	e.Gauge(revisionFigure, float64(m.IntentRevision))
	e.Gauge(appliedFigure, float64(m.IntentAppliedAt.AsTime().UnixMilli())/1000)
	e.Truth(frozenFigure, m.Frozen != "")
	e.Truth(healthdFigure, m.HealthConnected)
	if m.HealthReportedAt != nil {
		e.Gauge(reportedFigure, float64(m.HealthReportedAt.AsTime().UnixMilli())/1000)
	}
	number := make(map[api.Concern_Severity]int)
	for _, c := range m.Concerns {
		number[c.Severity]++
	}
	e.Gauge(concernsFigure, float64(number[api.Concern_SEVERITY_WARNING]), "warning")
	e.Gauge(concernsFigure, float64(number[api.Concern_SEVERITY_CRITICAL]), "critical")
}

func (e exposition) pool(p *api.PoolStatus) {
	e.Gauge(slotsFigure, float64(p.Slots), p.Name)
	e.Gauge(movingFigure, float64(p.Moving), p.Name)
	e.Gauge(waitingFigure, float64(p.Waiting), p.Name)
	e.Gauge(unownedFigure, float64(p.Unowned), p.Name)
	e.Gauge(epochsFigure, float64(p.Epochs), p.Name)
	e.Truth(floorFigure, p.Held != "", p.Name)
	var sum float64
	gets := func(b *api.BackendStatus) bool {
		return b.Enabled && b.Admin != api.Admin_ADMIN_DRAIN && b.Health != api.Health_HEALTH_DOWN &&
			b.Health != api.Health_HEALTH_FAILING
	}
	for _, b := range p.Backends {
		if gets(b) {
			sum += float64(b.Weight)
		}
	}
	for b := range byName(p) {
		of := []string{p.Name, b.Name}
		e.States(healthFigure, healthNames, int32(b.Health), of...)
		e.Truth(uncheckedFigure, b.UncheckedReason != "", of...)
		weight := 0.
		if b.Enabled {
			weight = float64(b.Weight)
		}
		e.Gauge(weightFigure, weight, of...)
		e.Gauge(backendSlotsFigure, float64(b.Slots), of...)
		if p.Slots > 0 {
			e.Gauge(backendShareFigure, float64(b.Slots)/float64(p.Slots), of...)
		}
		share := 0.
		if gets(b) && sum > 0 {
			share = weight / sum
		}
		e.Gauge(wantedShareFigure, share, of...)
		e.Gauge(movingOutFigure, float64(b.MovingOut), of...)
		e.Gauge(pinnedFigure, float64(b.Pinned), of...)
		e.Truth(drainFigure, b.Admin == api.Admin_ADMIN_DRAIN, of...)
	}
}

func (e exposition) vip(v *api.VIPStatus) {
	e.States(vipStateFigure, vipStateNames, int32(v.State), v.Name)
	if !v.Unseen {
		e.Gauge(vipLoadFigure, float64(v.Load), v.Name)
	}
}

func (e exposition) device(sw *api.SwitchStatus, pools []*api.PoolStatus) {
	e.States(stateFigure, switchStateNames, int32(sw.State), sw.Name)
	e.Counter(connectsFigure, sw.Connects, sw.Name)
	e.Counter(writtenFigure, sw.EntriesWritten, sw.Name)
	if sw.State == api.SwitchStatus_STATE_DISCONNECTED {
		return // the rest is of before
	}
	e.Gauge(heldFigure, float64(sw.RowsHeld), sw.Name)
	e.Gauge(refusedFigure, float64(sw.FailedTotal), sw.Name)
	e.Gauge(stationsFigure, float64(sw.Stations), sw.Name)
	e.Truth(fullFigure, sw.StationsFull != "", sw.Name)
	e.Truth(unmeteredFigure, sw.Unmetered != "", sw.Name)
	for _, t := range sw.Tables {
		e.Gauge(tableRowsFigure, float64(t.Rows), sw.Name, t.Name)
		e.Gauge(tableSizeFigure, float64(t.Size), sw.Name, t.Name)
	}
	e.Truth(toldFigure, sw.PortsUntold == "", sw.Name)
	behind := behindPorts(pools, sw.Name)
	for _, p := range sw.Ports {
		of := []string{sw.Name, strconv.FormatUint(uint64(p.Id), 10), p.Name}
		e.Truth(portConfiguredFigure, p.Configured, of...)
		e.Gauge(portBackendsFigure, float64(len(behind[p.Id])), of...)
		e.Truth(portStaleFigure, p.Stale, of...)
		if p.Stale {
			continue // the rest is of before
		}
		e.Truth(portUpFigure, p.State == "up", of...)
		e.Counter(portReceivedFigure, p.Received, of...)
		e.Counter(portLostFigure, p.ReceivedDropped, of...)
		e.Counter(portSentFigure, p.Sent, of...)
		e.Counter(portUnsentFigure, p.SentDropped, of...)
	}
}

// totals tells what all switches together have counted, of what some that tells has a row of. Only what the
// configuration names is told by name.
func (e exposition) totals(all seen) {
	var told []device.Counters
	for _, sw := range all.status.Switches {
		if c, ok := countedBy(sw, all.sampled.Switches); ok {
			told = append(told, c)
		}
	}
	for _, v := range all.status.Vips {
		key := all.in.keys[v.Name]
		if slices.ContainsFunc(told, func(c device.Counters) bool { return has(c.VIP, key) }) {
			n := all.sampled.Totals.VIP[key]
			e.Counter(vipPacketsFigure, n.Packets, v.Name)
			e.Counter(vipBytesFigure, n.Bytes, v.Name)
		}
	}
	for _, p := range all.status.Pools {
		for b := range byName(p) {
			id := rows.BackendID(b.Id)
			if slices.ContainsFunc(told, func(c device.Counters) bool { return has(c.Backend, id) }) {
				n := all.sampled.Totals.Backend[id]
				e.Counter(backendPacketsFigure, n.Packets, p.Name, b.Name)
				e.Counter(backendBytesFigure, n.Bytes, p.Name, b.Name)
			}
		}
	}
}

func has[K comparable](counted map[K]device.Count, key K) bool {
	_, there := counted[key]
	return there
}

// counted tells what a switch has counted, but for VIPs and backends.
func (e exposition) counted(sw *api.SwitchStatus) {
	name := sw.Name
	for _, d := range sw.MeterDrops {
		e.Counter(unsentFigure, d.Packets, name, d.Kind, strconv.FormatUint(uint64(d.Port), 10))
	}
	for _, b := range sw.Banks {
		id := strconv.FormatUint(uint64(b.Id), 10)
		e.Counter(openingsFigure, b.Openings, name, id)
		if b.Epoch != 0 {
			e.Gauge(falseFigure, b.FalsePositives, name, id)
		}
	}
	for reason, n := range sw.Tallies {
		e.Counter(droppedFigure, n.Packets, name, strings.TrimPrefix(reason, "drop_"))
	}
	for reason, n := range sw.Mended {
		e.Counter(mendedFigure, n.Packets, name, reason)
	}
}

// noise adds up who claims and who passes for whom: MACs, which can be invented, are left out.
func (e exposition) noise(m *api.GetStatusResponse) {
	type key struct{ sw, port, of string }
	claims, spoofs := make(map[key]uint64), make(map[key]uint64)
	for _, c := range m.ArpClaims {
		if !c.Disowned {
			claims[key{c.Switch, strconv.FormatUint(uint64(c.Port), 10), c.VipAddress}] += c.Count
		}
	}
	for _, s := range m.Spoofs {
		spoofs[key{s.Switch, strconv.FormatUint(uint64(s.Port), 10), s.Station}] += s.Frames
	}
	for k, n := range claims {
		e.Counter(claimsFigure, n, k.sw, k.port, k.of)
	}
	for k, n := range spoofs {
		e.Counter(spoofsFigure, n, k.sw, k.port, k.of)
	}
}
