// Package tree is what a controller tells over gNMI: its schema, and how a status fills it. sluice.yang, in this
// directory, says what there is and what it means. It is pure: who asks the switches and the core is the caller,
// package controller.
package tree

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/internal/gnmi"
)

// Schema is of the module sluice, whose tree has an origin of its own.
var Schema = gnmi.NewSchema(gnmi.Model{Name: "sluice", Organization: "Sluice", Version: "1.0.0", Origin: "sluice"})

// Events fills in what changes by decisions and by what others say: all that a status has without the counters.
func Events(m *api.GetStatusResponse, t *gnmi.Tree) { fill(m, t, false) }

// Standby fills in all that there is of a controller that does not lead: since when it runs, and why it stands by.
func Standby(started time.Time, why string, t *gnmi.Tree) {
	e := t.Entry(Schema.Root())
	e.Set(leader, false)
	e.Set(standsBy, why)
	e.Set(startedAt, uint64(started.UnixNano()))
}

// Counted is what one switch has counted of VIPs and backends. They are told by switch, so that one that is lost does
// not make a sum fall.
type Counted struct {
	VIPs     map[string]*api.PacketCount // by name
	Backends map[Backend]*api.PacketCount
}

// Backend names one.
type Backend struct{ Pool, Name string }

// Samples fills in what changes all the time. m has the switches, with their tallies; counted has what each switch that
// answered has counted.
func Samples(m *api.GetStatusResponse, counted map[string]Counted, t *gnmi.Tree) {
	fill(m, t, true)
	for name, c := range counted {
		for vip, n := range c.VIPs {
			servedVIPs.fill(t, true, count{vip, n}, name, vip)
		}
		for b, n := range c.Backends {
			servedBackends.fill(t, true, backendCount{b, n}, name, b.Pool, b.Name)
		}
	}
}

func fill(m *api.GetStatusResponse, t *gnmi.Tree, sampled bool) {
	all.fill(t, sampled, m)
	for _, s := range m.Switches {
		switches.fill(t, sampled, s, s.Name)
		for _, p := range s.Ports {
			ports.fill(t, sampled, p, s.Name, strconv.FormatUint(uint64(p.Id), 10))
		}
		for _, table := range s.Tables {
			tables.fill(t, sampled, table, s.Name, table.Name)
		}
		for _, b := range s.Banks {
			banks.fill(t, sampled, b, s.Name, strconv.FormatUint(uint64(b.Id), 10))
		}
		for _, d := range s.MeterDrops {
			meterDrops.fill(t, sampled, d, s.Name, d.Kind, strconv.FormatUint(uint64(d.Port), 10))
		}
		for name, n := range s.Tallies {
			tallies.fill(t, sampled, count{name, n}, s.Name, name)
		}
		for name, n := range s.Mended {
			tallies.fill(t, sampled, count{name, n}, s.Name, name)
		}
	}
	for key, c := range claimed(m.ArpClaims) {
		claims.fill(t, sampled, c, key.on, key.of, strconv.FormatUint(uint64(key.port), 10))
	}
	for key, s := range spoofed(m.Spoofs) {
		spoofs.fill(t, sampled, s, key.on, key.of, strconv.FormatUint(uint64(key.port), 10))
	}
	for _, v := range m.Vips {
		vips.fill(t, sampled, v, v.Name)
	}
	for _, p := range m.Pools {
		pools.fill(t, sampled, p, p.Name)
		there := make(map[string]bool)
		for _, b := range p.Backends {
			if there[b.Name] {
				continue // one that left the configuration, and whose name another one has
			}
			there[b.Name] = true
			backends.fill(t, sampled, b, p.Name, b.Name)
			for on, port := range b.SwitchPorts {
				switchPorts.fill(t, sampled, portOn{on, port}, p.Name, b.Name, on)
			}
		}
	}
}

// place is where on a switch somebody passes for a VIP, by its address, or a station.
type place struct {
	on, of string
	port   uint32
}

// claim is what was claimed of a VIP at a place. Senders' MACs, which can be invented, are left out; backends are those
// of the configuration that are among them.
type claim struct {
	place
	claims, disowned uint64
	last             *timestamppb.Timestamp
	backends         []string
}

// claimed adds up claims.
func claimed(list []*api.ARPClaim) map[place]claim {
	all := make(map[place]claim)
	for _, c := range list {
		key := place{c.Switch, c.VipAddress, c.Port}
		is := all[key]
		is.place, is.last = key, later(is.last, c.Last)
		if c.Disowned {
			is.disowned += c.Count
		} else {
			is.claims += c.Count
		}
		if c.Backend != "" && !slices.Contains(is.backends, c.Backend) {
			is.backends = append(is.backends, c.Backend)
		}
		all[key] = is
	}
	return all
}

// spoof is who passed for a station at a place.
type spoof struct {
	place
	frames uint64
	last   *timestamppb.Timestamp
}

// spoofed adds up spoofs.
func spoofed(list []*api.Spoof) map[place]spoof {
	all := make(map[place]spoof)
	for _, s := range list {
		key := place{s.Switch, s.Station, s.Port}
		all[key] = spoof{key, all[key].frames + s.Frames, later(all[key].last, s.Last)}
	}
	return all
}

func later(a, b *timestamppb.Timestamp) *timestamppb.Timestamp {
	if a == nil || b.AsTime().After(a.AsTime()) {
		return b
	}
	return a
}

// portOn is a port of a switch.
type portOn struct {
	on   string
	port uint32
}

// count is one of a switch's, by its name.
type count struct {
	name  string
	count *api.PacketCount
}

type backendCount struct {
	Backend
	count *api.PacketCount
}

// node is a list of the schema, or its root, whose entries are made from messages.
type node[M any] struct {
	list   *gnmi.List
	fields [2][]field[M] // events, samples
}

// field is a leaf, and what it is in a message; nil is nothing.
type field[M any] struct {
	leaf *gnmi.Leaf
	of   func(M) any
}

func (n *node[M]) event(path string, kind gnmi.Type, of func(M) any) *gnmi.Leaf {
	leaf := n.list.Event(path, kind)
	n.fields[0] = append(n.fields[0], field[M]{leaf, of})
	return leaf
}

func (n *node[M]) sampled(path string, kind gnmi.Type, of func(M) any) {
	n.fields[1] = append(n.fields[1], field[M]{n.list.Sampled(path, kind), of})
}

func (n *node[M]) fill(t *gnmi.Tree, sampled bool, m M, keys ...string) {
	fields := n.fields[0]
	if sampled {
		fields = n.fields[1]
	}
	if len(fields) == 0 {
		return
	}
	e := t.Entry(n.list, keys...)
	for _, f := range fields {
		if v := f.of(m); v != nil {
			e.Set(f.leaf, v)
		}
	}
}

// said is a text, unless nothing was said.
func said(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// numbered is a port, unless there is none.
func numbered(port uint32) any {
	if port == 0 {
		return nil
	}
	return uint64(port)
}

// rounded is a share with the digits that the module gives it.
func rounded(share float64) any { return math.Round(share*1e12) / 1e12 }

// lines are texts, unless there are none.
func lines(list []string) any {
	if len(list) == 0 {
		return nil
	}
	return list
}

// when is a time in nanoseconds since the epoch, unless there is none.
func when(t *timestamppb.Timestamp) any {
	if t == nil {
		return nil
	}
	return uint64(t.AsTime().UnixNano())
}

// word is the name of an enumeration's value, without what all of them begin with.
func word(v interface{ String() string }, prefix string) string {
	return strings.TrimPrefix(v.String(), prefix)
}

// The nodes of the schema.
var (
	all            = &node[*api.GetStatusResponse]{list: Schema.Root()}
	switches       = &node[*api.SwitchStatus]{list: Schema.Root().List("sluice:sluice/switches/switch", "name")}
	ports          = &node[*api.PortStatus]{list: switches.list.List("ports/port", "id")}
	tables         = &node[*api.TableStatus]{list: switches.list.List("tables/table", "name")}
	banks          = &node[*api.BankStatus]{list: switches.list.List("banks/bank", "id")}
	meterDrops     = &node[*api.MeterDrops]{list: switches.list.List("meter-drops/meter-drop", "kind", "port")}
	claims         = &node[claim]{list: switches.list.List("claims/claim", "vip-address", "port")}
	spoofs         = &node[spoof]{list: switches.list.List("spoofs/spoof", "station", "port")}
	tallies        = &node[count]{list: switches.list.List("tallies/tally", "name")}
	servedVIPs     = &node[count]{list: switches.list.List("vips/vip", "name")}
	servedBackends = &node[backendCount]{list: switches.list.List("backends/backend", "pool", "name")}
	vips           = &node[*api.VIPStatus]{list: Schema.Root().List("sluice:sluice/vips/vip", "name")}
	pools          = &node[*api.PoolStatus]{list: Schema.Root().List("sluice:sluice/pools/pool", "name")}
	backends       = &node[*api.BackendStatus]{list: pools.list.List("backends/backend", "name")}
	switchPorts    = &node[portOn]{list: backends.list.List("switch-ports/switch-port", "switch")}
)

// leader, standsBy and startedAt are the leaves that a controller has which stands by.
var leader, standsBy, startedAt *gnmi.Leaf

func init() {
	leader = all.event("sluice:sluice/controller/leader", gnmi.Bool,
		func(*api.GetStatusResponse) any { return true })
	standsBy = Schema.Root().Event("sluice:sluice/controller/stands-by", gnmi.String)
	startedAt = all.event("sluice:sluice/controller/started", gnmi.Uint64,
		func(m *api.GetStatusResponse) any { return when(m.StartedAt) })
	all.event("sluice:sluice/controller/intent-revision", gnmi.Uint64,
		func(m *api.GetStatusResponse) any { return uint64(m.IntentRevision) })
	all.event("sluice:sluice/controller/intent-applied", gnmi.Uint64,
		func(m *api.GetStatusResponse) any { return when(m.IntentAppliedAt) })
	all.event("sluice:sluice/controller/frozen", gnmi.String,
		func(m *api.GetStatusResponse) any { return said(m.Frozen) })
	all.event("sluice:sluice/controller/health-connected", gnmi.Bool,
		func(m *api.GetStatusResponse) any { return m.HealthConnected })
	all.sampled("sluice:sluice/controller/health-reported", gnmi.Uint64,
		func(m *api.GetStatusResponse) any { return when(m.HealthReportedAt) })

	switches.event("name", gnmi.String, func(m *api.SwitchStatus) any { return m.Name })
	switches.event("address", gnmi.String, func(m *api.SwitchStatus) any { return m.Address })
	switches.event("device-id", gnmi.Uint64, func(m *api.SwitchStatus) any { return m.DeviceId })
	switches.event("state", gnmi.Enum, func(m *api.SwitchStatus) any { return word(m.State, "STATE_") })
	switches.event("since", gnmi.Uint64, func(m *api.SwitchStatus) any { return when(m.Since) })
	switches.event("connects", gnmi.Uint64, func(m *api.SwitchStatus) any { return m.Connects })
	switches.event("rows-read-back", gnmi.Uint64, func(m *api.SwitchStatus) any { return m.RowsReadBack })
	switches.event("rows-failed", gnmi.Uint64, func(m *api.SwitchStatus) any { return m.FailedTotal })
	switches.event("unmetered", gnmi.String, func(m *api.SwitchStatus) any { return said(m.Unmetered) })
	switches.sampled("error", gnmi.String, func(m *api.SwitchStatus) any { return said(m.Error) })
	switches.sampled("rows-held", gnmi.Uint64, func(m *api.SwitchStatus) any { return m.RowsHeld })
	switches.sampled("entries-written", gnmi.Uint64, func(m *api.SwitchStatus) any { return m.EntriesWritten })
	switches.sampled("stations", gnmi.Uint64, func(m *api.SwitchStatus) any { return m.Stations })
	switches.sampled("stations-full", gnmi.String, func(m *api.SwitchStatus) any { return said(m.StationsFull) })
	switches.sampled("ports-untold", gnmi.String, func(m *api.SwitchStatus) any { return said(m.PortsUntold) })

	switches.sampled("ports-way", gnmi.String, func(m *api.SwitchStatus) any { return said(m.PortsWay) })
	switches.sampled("ports-note", gnmi.String, func(m *api.SwitchStatus) any { return said(m.PortsNote) })

	ports.event("id", gnmi.Uint16, func(m *api.PortStatus) any { return uint64(m.Id) })
	ports.event("name", gnmi.String, func(m *api.PortStatus) any { return m.Name })
	ports.event("state", gnmi.String, func(m *api.PortStatus) any { return said(m.State) })
	ports.event("stale", gnmi.Bool, func(m *api.PortStatus) any { return m.Stale })
	ports.event("configured", gnmi.Bool, func(m *api.PortStatus) any { return m.Configured })
	ports.sampled("heard", gnmi.Uint64, func(m *api.PortStatus) any { return when(m.Heard) })
	ports.sampled("reason", gnmi.String, func(m *api.PortStatus) any { return said(m.Reason) })
	ports.sampled("in-pkts", gnmi.Uint64, func(m *api.PortStatus) any { return m.Received })
	ports.sampled("in-discards", gnmi.Uint64, func(m *api.PortStatus) any { return m.ReceivedDropped })
	ports.sampled("out-pkts", gnmi.Uint64, func(m *api.PortStatus) any { return m.Sent })
	ports.sampled("out-discards", gnmi.Uint64, func(m *api.PortStatus) any { return m.SentDropped })

	tables.sampled("name", gnmi.String, func(m *api.TableStatus) any { return m.Name })
	tables.sampled("rows", gnmi.Uint64, func(m *api.TableStatus) any { return m.Rows })
	tables.sampled("size", gnmi.Uint64, func(m *api.TableStatus) any { return m.Size })

	banks.sampled("id", gnmi.Uint8, func(m *api.BankStatus) any { return uint64(m.Id) })
	banks.sampled("epoch", gnmi.Uint32, func(m *api.BankStatus) any { return uint64(m.Epoch) })
	banks.sampled("openings", gnmi.Uint64, func(m *api.BankStatus) any { return m.Openings })
	banks.sampled("false-positives", gnmi.Decimal, func(m *api.BankStatus) any { return rounded(m.FalsePositives) })

	meterDrops.sampled("kind", gnmi.String, func(m *api.MeterDrops) any { return m.Kind })
	meterDrops.sampled("port", gnmi.Uint16, func(m *api.MeterDrops) any { return uint64(m.Port) })
	meterDrops.sampled("packets", gnmi.Uint64, func(m *api.MeterDrops) any { return m.Packets })

	claims.sampled("vip-address", gnmi.String, func(m claim) any { return m.of })
	claims.sampled("port", gnmi.Uint16, func(m claim) any { return uint64(m.port) })
	claims.sampled("claims", gnmi.Uint64, func(m claim) any { return m.claims })
	claims.sampled("disowned", gnmi.Uint64, func(m claim) any { return m.disowned })
	claims.sampled("last", gnmi.Uint64, func(m claim) any { return when(m.last) })
	claims.sampled("backends", gnmi.Strings, func(m claim) any { return lines(m.backends) })

	spoofs.sampled("station", gnmi.String, func(m spoof) any { return m.of })
	spoofs.sampled("port", gnmi.Uint16, func(m spoof) any { return uint64(m.port) })
	spoofs.sampled("frames", gnmi.Uint64, func(m spoof) any { return m.frames })
	spoofs.sampled("last", gnmi.Uint64, func(m spoof) any { return when(m.last) })

	tallies.sampled("name", gnmi.String, func(m count) any { return m.name })
	tallies.sampled("packets", gnmi.Uint64, func(m count) any { return m.count.GetPackets() })
	tallies.sampled("bytes", gnmi.Uint64, func(m count) any { return m.count.GetBytes() })

	servedVIPs.sampled("name", gnmi.String, func(m count) any { return m.name })
	servedVIPs.sampled("packets", gnmi.Uint64, func(m count) any { return m.count.GetPackets() })
	servedVIPs.sampled("bytes", gnmi.Uint64, func(m count) any { return m.count.GetBytes() })

	servedBackends.sampled("pool", gnmi.String, func(m backendCount) any { return m.Pool })
	servedBackends.sampled("name", gnmi.String, func(m backendCount) any { return m.Name })
	servedBackends.sampled("packets", gnmi.Uint64, func(m backendCount) any { return m.count.GetPackets() })
	servedBackends.sampled("bytes", gnmi.Uint64, func(m backendCount) any { return m.count.GetBytes() })

	vips.event("name", gnmi.String, func(m *api.VIPStatus) any { return m.Name })
	vips.event("address", gnmi.String, func(m *api.VIPStatus) any { return m.Address })
	vips.event("protocol", gnmi.String, func(m *api.VIPStatus) any { return m.Protocol })
	vips.event("port", gnmi.Uint16, func(m *api.VIPStatus) any { return uint64(m.Port) })
	vips.event("mac", gnmi.String, func(m *api.VIPStatus) any { return m.Mac })
	vips.event("pool", gnmi.String, func(m *api.VIPStatus) any { return m.Pool })
	vips.event("state", gnmi.Enum, func(m *api.VIPStatus) any { return word(m.State, "STATE_") })
	vips.event("reason", gnmi.String, func(m *api.VIPStatus) any { return said(m.Reason) })
	vips.event("load", gnmi.Uint8, func(m *api.VIPStatus) any { return uint64(m.Load) })
	vips.event("unseen", gnmi.Bool, func(m *api.VIPStatus) any { return m.Unseen })

	pools.event("name", gnmi.String, func(m *api.PoolStatus) any { return m.Name })
	pools.event("id", gnmi.Uint32, func(m *api.PoolStatus) any { return uint64(m.Id) })
	pools.event("generation", gnmi.Uint32, func(m *api.PoolStatus) any { return uint64(m.Generation) })
	pools.event("slots", gnmi.Uint32, func(m *api.PoolStatus) any { return uint64(m.Slots) })
	pools.event("moving", gnmi.Uint32, func(m *api.PoolStatus) any { return uint64(m.Moving) })
	pools.event("unowned", gnmi.Uint32, func(m *api.PoolStatus) any { return uint64(m.Unowned) })
	pools.event("epochs", gnmi.Uint32, func(m *api.PoolStatus) any { return uint64(m.Epochs) })
	pools.event("waiting", gnmi.Uint32, func(m *api.PoolStatus) any { return uint64(m.Waiting) })
	pools.event("waiting-reason", gnmi.String, func(m *api.PoolStatus) any { return said(m.WaitingReason) })
	pools.event("held", gnmi.String, func(m *api.PoolStatus) any { return said(m.Held) })

	backends.event("name", gnmi.String, func(m *api.BackendStatus) any { return m.Name })
	backends.event("id", gnmi.Uint32, func(m *api.BackendStatus) any { return uint64(m.Id) })
	backends.event("address", gnmi.String, func(m *api.BackendStatus) any { return m.Address })
	backends.event("mac", gnmi.String, func(m *api.BackendStatus) any { return m.Mac })
	backends.event("switch-port", gnmi.Uint16, func(m *api.BackendStatus) any { return numbered(m.SwitchPort) })
	backends.event("weight", gnmi.Uint32, func(m *api.BackendStatus) any { return uint64(m.Weight) })
	backends.event("enabled", gnmi.Bool, func(m *api.BackendStatus) any { return m.Enabled })
	backends.event("admin", gnmi.Enum, func(m *api.BackendStatus) any { return word(m.Admin, "ADMIN_") })
	backends.event("health", gnmi.Enum, func(m *api.BackendStatus) any { return word(m.Health, "HEALTH_") })
	backends.event("reason", gnmi.String, func(m *api.BackendStatus) any { return said(m.Reason) })
	backends.event("since", gnmi.Uint64, func(m *api.BackendStatus) any { return when(m.Since) })
	backends.event("healthd", gnmi.String, func(m *api.BackendStatus) any { return said(m.Healthd) })
	backends.event("health-stale", gnmi.Bool, func(m *api.BackendStatus) any { return m.HealthStale })
	backends.event("unchecked-reason", gnmi.String, func(m *api.BackendStatus) any { return said(m.UncheckedReason) })
	backends.event("slots", gnmi.Uint32, func(m *api.BackendStatus) any { return uint64(m.Slots) })
	backends.event("moving-in", gnmi.Uint32, func(m *api.BackendStatus) any { return uint64(m.MovingIn) })
	backends.event("moving-out", gnmi.Uint32, func(m *api.BackendStatus) any { return uint64(m.MovingOut) })
	backends.event("pinned", gnmi.Uint32, func(m *api.BackendStatus) any { return uint64(m.Pinned) })
	backends.event("grace-slots", gnmi.Uint32, func(m *api.BackendStatus) any { return uint64(m.GraceSlots) })
	backends.event("waiting", gnmi.Uint32, func(m *api.BackendStatus) any { return uint64(m.Waiting) })
	backends.event("waiting-reason", gnmi.String, func(m *api.BackendStatus) any { return said(m.WaitingReason) })
	backends.event("drained", gnmi.Bool, func(m *api.BackendStatus) any { return m.Drained })
	backends.event("drain-forced", gnmi.Uint32, func(m *api.BackendStatus) any { return uint64(m.DrainForced) })
	backends.event("drain-forced-pinned", gnmi.Uint32,
		func(m *api.BackendStatus) any { return uint64(m.DrainForcedPinned) })
	backends.event("ports-not-up", gnmi.Strings, func(m *api.BackendStatus) any { return lines(m.Ports) })
	backends.event("unwritten", gnmi.Strings, func(m *api.BackendStatus) any { return lines(m.Unwritten) })

	switchPorts.event("switch", gnmi.String, func(m portOn) any { return m.on })
	switchPorts.event("port", gnmi.Uint16, func(m portOn) any { return uint64(m.port) })
}
