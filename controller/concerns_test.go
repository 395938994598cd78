package controller

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/p4/packet"
)

// Whatever is not as it should be is said, with its weight, and what is as it should be is not.
func TestConcerns(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(-d)) }
	in := concerned{
		checked: map[string]bool{"web": true}, ports: map[string]map[uint32]bool{"leaf1": {1: true, 2: true, 12: true}},
	}
	well := func() *api.GetStatusResponse {
		return &api.GetStatusResponse{
			Time: timestamppb.New(now), HealthConnected: true,
			Switches: []*api.SwitchStatus{
				{Name: "leaf1", State: api.SwitchStatus_STATE_SYNCED, Ports: []*api.PortStatus{
					{Id: 1, State: "up", SentDropped: 9, Reason: "frame is longer than the MTU",
						ReasonAt: ago(time.Hour)},
					{Id: 2, State: "up"}, {Id: 3, State: "down"}, {Id: 12, State: "up"},
				}},
				{Name: "leaf2", State: api.SwitchStatus_STATE_RECONCILING, PortsUntold: "no gNMI"},
			},
			Vips: []*api.VIPStatus{{Name: "www", State: api.VIPStatus_STATE_ACTIVE, Load: 127},
				{Name: "off", State: api.VIPStatus_STATE_DISABLED, Load: 255}},
			Pools: []*api.PoolStatus{{Name: "web", Backends: []*api.BackendStatus{
				{Pool: "web", Name: "web1", Enabled: true, Health: api.Health_HEALTH_UP},
				{Pool: "web", Name: "web2", Enabled: true, Health: api.Health_HEALTH_DOWN,
					Admin: api.Admin_ADMIN_DRAIN},
				{Pool: "web", Name: "web3", Health: api.Health_HEALTH_DOWN},
			}}},
			ArpClaims: []*api.ARPClaim{{VipAddress: "10.0.0.100", Mac: "02:00:00:00:00:12", Last: ago(time.Hour)}},
		}
	}
	for _, tt := range []struct {
		name string
		harm func(m *api.GetStatusResponse)
		want []string
	}{
		{"all is well", func(*api.GetStatusResponse) {}, nil},
		{"a switch of two", func(m *api.GetStatusResponse) {
			m.Switches[1].State, m.Switches[1].Error = api.SwitchStatus_STATE_DISCONNECTED, "connection refused"
		}, []string{"WARNING switch leaf2 is disconnected: connection refused"}},
		{"the only switch", func(m *api.GetStatusResponse) {
			m.Switches = m.Switches[:1]
			m.Switches[0].State = api.SwitchStatus_STATE_DISCONNECTED
		}, []string{"CRITICAL switch leaf1 is disconnected"}},
		{"a dead VIP, after a warning", func(m *api.GetStatusResponse) {
			m.Vips[0].State, m.Vips[0].Load, m.Vips[0].Reason = api.VIPStatus_STATE_NO_BACKEND, 255, "no backend"
			m.Pools[0].Backends[0].Health, m.Pools[0].Backends[0].Reason = api.Health_HEALTH_DOWN, "timeout"
		}, []string{"CRITICAL VIP www takes no traffic: no backend", "WARNING backend web/web1 is down: timeout"}},
		{"a VIP out of sight", func(m *api.GetStatusResponse) {
			m.Switches = m.Switches[:1]
			m.Switches[0].State = api.SwitchStatus_STATE_DISCONNECTED
			v := m.Vips[0]
			v.State, v.Load, v.Unseen, v.Reason = api.VIPStatus_STATE_UNPROGRAMMED, 255, true, "no switch is connected"
		}, []string{"CRITICAL it is not known whether VIP www takes traffic: no switch is connected",
			"CRITICAL switch leaf1 is disconnected"}},
		{"many dead VIPs", func(m *api.GetStatusResponse) {
			m.Vips = nil
			for i := range 4000 {
				m.Vips = append(m.Vips, &api.VIPStatus{Name: fmt.Sprint("v", i),
					State: api.VIPStatus_STATE_UNPROGRAMMED, Load: 255})
			}
		}, []string{
			"CRITICAL VIP v0 takes no traffic", "CRITICAL VIP v1 takes no traffic", "CRITICAL VIP v2 takes no traffic",
			"CRITICAL VIP v3 takes no traffic",
			"CRITICAL VIP v4 takes no traffic", "CRITICAL VIP v5 takes no traffic", "CRITICAL VIP v6 takes no traffic",
			"CRITICAL VIP v7 takes no traffic",
			"CRITICAL and 3992 more VIPs",
		}},
		{"refused rows", func(m *api.GetStatusResponse) {
			m.Switches[0].State, m.Switches[0].FailedTotal = api.SwitchStatus_STATE_DEGRADED, 3
			m.Switches[0].Failed = []*api.FailedUpdate{{Update: "insert vip", Code: "ResourceExhausted",
				Message: "full"}}
			m.Vips[0].State, m.Vips[0].Reason = api.VIPStatus_STATE_DEGRADED,
				"switch leaf1 does not take its rows: arp_guard"
		}, []string{"WARNING VIP www is degraded: switch leaf1 does not take its rows: arp_guard",
			"WARNING switch leaf1 refuses 3 updates, the first: insert vip: ResourceExhausted: full"}},
		{"health that is not what it seems", func(m *api.GetStatusResponse) {
			m.HealthConnected = false
			m.Pools[0].Held = "3 of 4 fell at once"
			b := m.Pools[0].Backends
			b[0].UncheckedReason = "no route to host"
			b[1].HealthStale, b[1].Enabled = true, true
			b[2].Health, b[2].Enabled = api.Health_HEALTH_FAILING, true
			b[2].Contradictions = []string{"its MAC is on port 9"}
		}, []string{
			"WARNING pool web is held: 3 of 4 fell at once", "WARNING backend web/web3 is failing",
			"WARNING no healthd is connected: nobody notices a server that dies",
			"WARNING backend web/web1 is not checked: no route to host",
			"WARNING backend web/web2 has a verdict that nobody has repeated for a while",
			"WARNING backend web/web3: its MAC is on port 9",
		}},
		{"nobody but who should have none", func(m *api.GetStatusResponse) {
			b := m.Pools[0].Backends
			b[0].Admin, b[0].Slots = api.Admin_ADMIN_DRAIN, 64
			m.Pools[0].Backends = append(b, &api.BackendStatus{Pool: "web", Name: "web4", Slots: 9,
				Health: api.Health_HEALTH_UP},
				&api.BackendStatus{Pool: "web", Name: "web5", Enabled: true, Health: api.Health_HEALTH_FAILING,
					Slots: 9})
		}, []string{
			"WARNING backend web/web1 takes new connections though it is drained, disabled or removed: nobody else " +
				"of the pool is up",
			"WARNING backend web/web4 takes new connections though it is drained, disabled or removed: nobody else " +
				"of the pool is up",
			"WARNING backend web/web5 is failing",
		}},
		{"a drain with somebody else", func(m *api.GetStatusResponse) {
			m.Pools[0].Backends = append(m.Pools[0].Backends, &api.BackendStatus{Pool: "web", Name: "web4", Slots: 9,
				Admin: api.Admin_ADMIN_DRAIN, Enabled: true, Health: api.Health_HEALTH_UP})
		}, nil},
		{"no healthd, and no checks",
			func(m *api.GetStatusResponse) { m.HealthConnected = false; m.Pools[0].Name = "unchecked" }, nil},
		{"switches that pools wait for", func(m *api.GetStatusResponse) {
			until := timestamppb.New(now.Add(10 * time.Minute))
			awaited := []*api.AwaitedSwitch{{Switch: "leaf2", Away: true, Until: until},
				{Switch: "leaf3", Until: until}, {Switch: "leaf4"}}
			m.Pools[0].Awaited, m.Pools[0].Moving = awaited, 1
			over := []*api.AwaitedSwitch{{Switch: "leaf2", Away: true, Until: ago(time.Second), Over: true}}
			m.Pools = append(m.Pools,
				&api.PoolStatus{Name: "mail", Awaited: awaited[:1], Waiting: 1},
				&api.PoolStatus{Name: "quiet", Awaited: awaited},
				&api.PoolStatus{Name: "old", Awaited: over})
		}, []string{
			"WARNING pools web, mail: switch leaf2 is disconnected: it is waited for until 2026-11-22 12:10:00 UTC " +
				"at most",
			"WARNING pool web: switch leaf3 does not take what it is told: it is waited for until 2026-11-22 " +
				"12:10:00 UTC at most",
			"WARNING pool web: switch leaf4 does not take what it is told",
			"WARNING pool old: switch leaf2 is disconnected: moves go on without it",
		}},
		{"frozen", func(m *api.GetStatusResponse) { m.Frozen = "no space left" },
			[]string{"WARNING the configuration is frozen: no space left"}},
		{"ports", func(m *api.GetStatusResponse) {
			p := m.Switches[0].Ports
			p[0].ReasonAt = ago(time.Minute)
			p[1].State, p[1].Reason = "not_present", "the interface is gone"
			m.Switches[0].Ports = p[:3]
		}, []string{"WARNING port 1 of leaf1 has dropped frames, the last 1m0s ago: frame is longer than the MTU",
			"WARNING port 2 of leaf1 is not present: the interface is gone",
			"WARNING switch leaf1 does not have ports that the configuration names: 12"}},
		{"a switch without ports, and one that does not tell", func(m *api.GetStatusResponse) {
			m.Switches[0].Ports, m.Switches[0].PortsUntold = nil, "it tells of no interface"
			in.none = map[string]bool{"leaf1": true}
		}, []string{"WARNING switch leaf1 does not have ports that the configuration names: 1, 2, 12"}},
		{"a switch that hosts can flood, and one that they did", func(m *api.GetStatusResponse) {
			m.Switches[0].StationsFull = "all 16384 stations are taken"
			m.Switches[1].Unmetered = "no meters"
		}, []string{"WARNING switch leaf1 learns no new stations, frames to them are flooded: all 16384 stations are " +
			"taken",
			"WARNING switch leaf2 does not meter what it sends up, a host can flood the controller: no meters"}},
		{"a port with backends behind it", func(m *api.GetStatusResponse) {
			m.Switches[0].Ports[1] = &api.PortStatus{Id: 2, Name: "eth2", State: "lower_layer_down"}
			m.Switches[0].Ports[3].State = "" // of openconfig-interfaces nothing but the id
			m.Pools[0].Backends[0].SwitchPort = 2
			m.Pools[0].Backends[1].SwitchPorts = map[string]uint32{"leaf1": 2, "leaf2": 3}
			m.Pools[0].Backends[2].SwitchPorts = map[string]uint32{"leaf1": 3, "leaf2": 2}
		}, []string{"WARNING port 2 of leaf1 is lower layer down; behind it: web/web1, web/web2",
			"WARNING port 12 of leaf1 has no state: its switch does not tell oper-status"}},
		{"stale ports", func(m *api.GetStatusResponse) {
			m.Switches[0].PortsUntold = "Unavailable: restarting"
			for _, p := range m.Switches[0].Ports {
				p.Stale, p.State = true, "down"
			}
		}, []string{"WARNING switch leaf1 has said nothing of some ports for a while, what is known of them may be " +
			"wrong: 1, 2, 12: Unavailable: restarting"}},
		{"spoofed stations", func(m *api.GetStatusResponse) {
			m.Pools[0].Backends[0].Contradictions = []string{"frames from its MAC come in by port 3"}
			mac := func(last byte) packet.MAC { return packet.MAC{2, 0, 0, 0, 0, last} }
			of := func(station string, of packet.MAC, port uint16, last time.Duration) core.Spoof {
				return core.Spoof{
					Switch: "leaf1", Port: 3, MAC: of, Station: station, StationPort: port, Last: now.Add(-last),
				}
			}
			in.spoofs = []core.Spoof{
				of("router1", mac(1), 2, 0), of("the VIPs", packet.MAC{2, 0x53, 0x4c, 0, 0, 1}, 0, time.Minute),
				of("router2", mac(2), 2, time.Hour), of("web/web1", mac(0x11), 2, 0), of("", mac(0x77), 0, 0),
				{Switch: "leaf1", Port: 4, MAC: mac(0x12), Sender: "web/web2",
					Address: netip.MustParseAddr("10.0.0.11"), Station: "web/web1",
					StationPort: 3, StationMAC: mac(0x11), Last: now.Add(-time.Minute)},
				{Switch: "leaf1", Port: 4, MAC: mac(0x99), Address: netip.MustParseAddr("10.0.0.1"), Station: "router1",
					StationPort: 1, StationMAC: mac(1), Last: now.Add(-time.Minute)},
				{Switch: "leaf1", Port: 4, MAC: mac(0x99), Address: netip.MustParseAddr("10.0.0.77"), Last: now},
			}
		}, []string{"WARNING backend web/web1: frames from its MAC come in by port 3",
			"WARNING frames from 02:00:00:00:00:01, the MAC of router1, come in by port 3 of leaf1 and are dropped: " +
				"its switch_port, 2, is wrong, or a host there pretends",
			"WARNING frames from 02:53:4c:00:00:01, the MAC of the VIPs, come in by port 3 of leaf1 and are dropped: " +
				"no host may send under it",
			"WARNING web/web2 (02:00:00:00:00:12) on port 4 of leaf1 says by ARP that it has 10.0.0.11, the address " +
				"of web/web1: dropped; its mac, 02:00:00:00:00:11, is wrong, or a host there pretends",
			"WARNING 02:00:00:00:00:99 on port 4 of leaf1 says by ARP that it has 10.0.0.1, the address of router1: " +
				"dropped; its mac, 02:00:00:00:00:01, is wrong, or a host there pretends"}},
		{"a switch that is not written to yet", func(*api.GetStatusResponse) {
			in.unwritten = []string{"switch leaf2 is empty, and forwards nothing: it waits"}
		}, []string{"WARNING switch leaf2 is empty, and forwards nothing: it waits"}},
		{"claims", func(m *api.GetStatusResponse) {
			m.ArpClaims = []*api.ARPClaim{
				{VipAddress: "10.0.0.100", Mac: "02:00:00:00:00:12", Backend: "web/web2", Switch: "leaf1", Port: 3,
					Last: ago(time.Minute)},
				{VipAddress: "10.0.0.100", Mac: "02:00:00:00:00:99", Switch: "leaf1", Port: 4, Disowned: true,
					Last: ago(0)},
			}
		}, []string{"WARNING backend web/web2 (02:00:00:00:00:12) on port 3 of leaf1 claims VIP 10.0.0.100 by ARP: " +
			"set arp_ignore=1 and arp_announce=2 there",
			"WARNING 02:00:00:00:00:99 on port 4 of leaf1 asks for its neighbours as VIP 10.0.0.100: set " +
				"arp_announce=2 there"}},
	} {
		m := well()
		in.spoofs, in.none, in.unwritten = nil, nil, nil
		tt.harm(m)
		var got []string
		for _, c := range concerns(m, in) {
			got = append(got, strings.TrimPrefix(c.Severity.String(), "SEVERITY_")+" "+c.Text)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
