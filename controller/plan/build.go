package plan

import (
	"net/netip"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/packet"
)

// Build returns what every switch must hold, but for the flood group, which is the switch's own
// (config.Switch.Ports). st is what Step made of the same intent.
func Build(intent *config.Intent, st State) rows.Tables {
	t := rows.NewTables()
	pins(&t, intent, st)
	for _, cfg := range intent.Pools {
		p := st.Pools[cfg.Name]
		for _, m := range p.Members {
			t.Backend[m.ID] = m.Forward
		}
		t.Slots[rows.SlotTable{Pool: p.ID, Generation: p.Generation}] = rows.Slots{Rows: p.Slots, OldIdle: cfg.DrainIdle}
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
		t.VIP[rows.VIPKey{Address: v.Address, Protocol: v.Protocol, Port: v.Port}] = rows.ToPool{
			Pool: p.ID, Generation: p.Generation, SlotMask: uint16(len(p.Slots) - 1)}
	}
	return t
}

// pins gives every station its port that the intent gives one, and every address of one its MAC. A backend of
// several pools is one station; one that left the intent stays where it was and keeps its address, while it serves old
// flows and is checked, unless the intent says otherwise.
func pins(t *rows.Tables, intent *config.Intent, st State) {
	pin := func(m packet.MAC, port uint16) { t.PinnedStation[m], t.PinnedL2[m] = port, port }
	for _, removed := range []bool{true, false} {
		for _, cfg := range intent.Pools {
			for _, m := range st.Pools[cfg.Name].Members {
				if m.Removed != removed {
					continue
				}
				pin(m.MAC, m.Port)
				if a, err := netip.ParseAddr(m.Address); removed && err == nil {
					t.PinnedARP[a] = m.MAC
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
	pin(intent.VIPMAC, rows.Nowhere)
	for _, v := range intent.VIPs {
		pin(v.MAC, rows.Nowhere)
		delete(t.PinnedARP, v.Address) // that of one who left: arp_guard has it
	}
}

// Retire keeps frames from being flooded that are sent to the MAC of a VIP which the intent has no more,
// unless it names a station by it.
func Retire(t *rows.Tables, m packet.MAC) {
	if _, ok := t.PinnedL2[m]; !ok {
		t.PinnedL2[m] = rows.Nowhere
	}
}
