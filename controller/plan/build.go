package plan

import (
	"net/netip"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/p4/packet"
)

// Build returns what every switch must hold, but for the flood group, which is the switch's own
// (config.Switch.Ports). st is what Step made of the same intent.
func Build(intent *config.Intent, st State) Tables {
	t := Tables{
		Backend:      make(map[BackendID]Forward),
		Slots:        make(map[SlotTable]Slots, len(st.Pools)),
		VIP:          make(map[VIPKey]ToPool, len(intent.VIPs)),
		VIPAddress:   make(map[netip.Addr]struct{}),
		ARPGuard:     make(map[netip.Addr]struct{}),
		ARPResponder: make(map[netip.Addr]packet.MAC),

		PinnedStation: make(map[packet.MAC]uint16),
		PinnedL2:      make(map[packet.MAC]uint16),
		PinnedARP:     make(map[netip.Addr]packet.MAC),
	}
	t.pins(intent, st)
	for _, cfg := range intent.Pools {
		p := st.Pools[cfg.Name]
		for _, m := range p.Members {
			t.Backend[m.ID] = m.Forward
		}
		t.Slots[SlotTable{p.ID, p.Generation}] = Slots{Rows: p.Slots, OldIdle: cfg.DrainIdle}
	}
	for _, v := range intent.VIPs {
		// The address is nobody else's, be the VIP enabled or not.
		t.VIPAddress[v.Address] = struct{}{}
		t.ARPGuard[v.Address] = struct{}{}
		if !v.Enabled {
			continue
		}
		p := st.Pools[v.Pool]
		t.ARPResponder[v.Address] = v.MAC
		t.VIP[VIPKey{v.Address, v.Protocol, v.Port}] = ToPool{p.ID, p.Generation, uint16(len(p.Slots) - 1)}
	}
	return t
}

// pins gives every station its port that the intent gives one, and every address of one its MAC. A backend of
// several pools is one station; one that left the intent stays where it was, while it serves old flows, unless the
// intent says otherwise.
func (t *Tables) pins(intent *config.Intent, st State) {
	pin := func(m packet.MAC, port uint16) { t.PinnedStation[m], t.PinnedL2[m] = port, port }
	for _, removed := range []bool{true, false} {
		for _, cfg := range intent.Pools {
			for _, m := range st.Pools[cfg.Name].Members {
				if m.Removed == removed {
					pin(m.MAC, m.Port)
				}
			}
		}
	}
	for _, s := range intent.Stations {
		pin(s.MAC, s.SwitchPort)
		for _, a := range s.Addresses {
			t.PinnedARP[a] = s.MAC
		}
	}
	for _, cfg := range intent.Pools {
		for _, b := range cfg.Backends {
			t.PinnedARP[b.Address] = b.MAC
		}
	}
	pin(intent.VIPMAC, Nowhere)
	for _, v := range intent.VIPs {
		pin(v.MAC, Nowhere)
	}
}

// Retire keeps frames from being flooded that are sent to the MAC of a VIP which the intent has no more,
// unless it names a station by it.
func (t *Tables) Retire(m packet.MAC) {
	if _, ok := t.PinnedL2[m]; !ok {
		t.PinnedL2[m] = Nowhere
	}
}
