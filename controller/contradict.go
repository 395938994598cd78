package controller

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/telemetry"
	"github.com/sluicelb/sluice/p4/packet"
)

// hearTime is how long a server has to send something after a switch was read back, or after the configuration, and so
// perhaps its MAC, was changed.
const hearTime = 30 * time.Second

// contradict holds what switches have seen against the mac and switch_port of each backend: where one is wrong, a part
// of the new connections goes to nobody, and no check notices, since checks find the server by ARP.
func contradict(m *api.GetStatusResponse, seen map[string]device.Sightings, sampled map[string]telemetry.Sample) {
	now := m.Time.AsTime()
	sent := make(map[packet.MAC]device.Count) // by pinned MAC, over all switches: replies may pass by some
	for _, s := range sampled {
		for mac, n := range s.Counters.Pinned {
			sent[mac] = sent[mac].Add(n)
		}
	}
	for _, p := range m.Pools {
		for _, b := range p.Backends {
			for _, name := range slices.Sorted(maps.Keys(seen)) {
				if line := contradiction(b, name, seen[name], sent, m.IntentAppliedAt.AsTime(), now); line != "" {
					b.Contradictions = append(b.Contradictions, line)
				}
			}
		}
	}
}

// contradiction tells what is wrong; sent counts frames by the MACs of pinned stations, and changed is when the
// configuration changed last.
func contradiction(b *api.BackendStatus, name string, seen device.Sightings, sent map[packet.MAC]device.Count, changed,
	now time.Time,
) string {
	mac, err := packet.ParseMAC(b.Mac)
	if err != nil || seen.Since.IsZero() {
		return ""
	}
	port := cmp.Or(b.SwitchPort, b.SwitchPorts[name])
	if s, ok := seen.Last[mac]; ok && port != 0 && uint32(s.Port) != port && now.Sub(s.At) < fresh {
		return fmt.Sprintf("frames from its MAC %s come in by port %d of %s and are dropped: its switch_port, %d, "+
			"is wrong, or a host there pretends", b.Mac, s.Port, name, port)
	}
	if n, told := sent[mac]; told && n.Packets == 0 && now.Sub(seen.Since) > hearTime && now.Sub(changed) > hearTime &&
		b.Health == api.Health_HEALTH_UP && b.Packets.GetPackets() > 0 {
		return fmt.Sprintf("%d packets went to its MAC %s, and nothing has come from there on %s though it is up: "+
			"is mac right?",
			b.Packets.GetPackets(), b.Mac, name)
	}
	return ""
}
