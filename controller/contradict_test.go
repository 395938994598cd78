package controller

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/telemetry"
	"github.com/sluicelb/sluice/p4/packet"
)

// A mac or switch_port that cannot be right is told, and nothing is said of a server that is merely quiet.
func TestContradictions(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	mac := packet.MAC{2, 0, 0, 0, 0, 0x11}
	at := func(port uint16, ago time.Duration) map[packet.MAC]device.Sighting {
		return map[packet.MAC]device.Sighting{mac: {Port: port, At: now.Add(-ago)}}
	}
	sent := func(n uint64) map[packet.MAC]device.Count { return map[packet.MAC]device.Count{mac: {Packets: n}} }
	old := now.Add(-time.Hour)
	const silent = "12 packets went to its MAC 02:00:00:00:00:11, and nothing has come from there on leaf1 though it " +
		"is up: is mac right?"
	for _, tt := range []struct {
		name    string
		health  api.Health
		packets uint64
		seen    device.Sightings
		sent    map[packet.MAC]device.Count
		want    string
	}{
		{"where it should be", api.Health_HEALTH_UP, 12, device.Sightings{Since: old}, sent(1), ""},
		{"dropped elsewhere", api.Health_HEALTH_UP, 0, device.Sightings{Since: old, Last: at(3, time.Minute)}, sent(1),
			"frames from its MAC 02:00:00:00:00:11 come in by port 3 of leaf1 and are dropped: its switch_port, " +
				"2, is wrong, or a host there pretends"},
		{"dropped elsewhere, long ago", api.Health_HEALTH_UP, 0, device.Sightings{Since: old, Last: at(3, time.Hour)},
			sent(1), ""},
		{"never seen", api.Health_HEALTH_UP, 12, device.Sightings{Since: old}, sent(0), silent},
		{"never seen, and nothing was sent there", api.Health_HEALTH_UP, 0, device.Sightings{Since: old}, sent(0), ""},
		{"never seen, but it is down", api.Health_HEALTH_DOWN, 12, device.Sightings{Since: old}, sent(0), ""},
		{"never seen, but nobody knows that it lives", api.Health_HEALTH_UNSPECIFIED, 12, device.Sightings{Since: old},
			sent(0), ""},
		{"not seen yet", api.Health_HEALTH_UP, 12, device.Sightings{Since: now.Add(-hearTime)}, sent(0), ""},
		{"the configuration has just changed", api.Health_HEALTH_UP, 12, device.Sightings{Since: old}, sent(0), ""},
		{"the switch does not tell who is silent", api.Health_HEALTH_UP, 12, device.Sightings{Since: old}, nil, ""},
		{"the switch was not read", api.Health_HEALTH_UP, 12, device.Sightings{}, sent(0), ""},
	} {
		b := &api.BackendStatus{Pool: "web", Name: "web1", Mac: mac.String(), SwitchPort: 2, Health: tt.health,
			Packets: &api.PacketCount{Packets: tt.packets}}
		m := &api.GetStatusResponse{Time: timestamppb.New(now),
			Pools: []*api.PoolStatus{{Backends: []*api.BackendStatus{b}}}}
		if tt.name == "the configuration has just changed" {
			m.IntentAppliedAt = timestamppb.New(now.Add(-hearTime))
		}
		contradict(m, map[string]device.Sightings{"leaf1": tt.seen},
			map[string]telemetry.Sample{"leaf1": {Counters: device.Counters{Pinned: tt.sent}}})
		got := ""
		for _, line := range b.Contradictions {
			got += line
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
