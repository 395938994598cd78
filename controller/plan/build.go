package plan

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/packet"
)

// Build returns the rows that are the same on all switches. What differs by switch is from Place, and the flood group
// (config.Switch.Ports). st is what Step made of the same intent.
func Build(intent *config.Intent, st State) rows.Tables {
	t := rows.NewTables()
	addresses(&t, intent, st)
	for _, cfg := range intent.Pools {
		p := st.Pools[cfg.Name]
		t.Slots[rows.SlotTable{Pool: p.ID, Generation: p.Generation}] = p.Slots
	}
	t.Pins = st.pins(intent)
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
			Pool: p.ID, Generation: p.Generation, SlotMask: uint16(len(p.Slots) - 1), Secret: p.Secret}
	}
	return t
}

// addresses gives every address of a station its MAC. A backend that left the intent keeps its own while it serves old
// flows and is checked, unless the intent says otherwise.
func addresses(t *rows.Tables, intent *config.Intent, st State) {
	for _, cfg := range intent.Pools {
		for _, m := range st.Pools[cfg.Name].Members {
			if a, err := netip.ParseAddr(m.Address); m.Removed && err == nil {
				t.PinnedARP[a] = m.MAC
			}
		}
	}
	for _, s := range intent.Stations {
		for _, a := range s.Addresses {
			t.PinnedARP[a] = s.MAC
		}
	}
	for _, cfg := range intent.Pools {
		for _, b := range cfg.Backends {
			t.PinnedARP[b.Address] = b.MAC
		}
	}
	for _, v := range intent.VIPs {
		delete(t.PinnedARP, v.Address) // that of one who left: arp_guard has it
	}
}

// Places are the rows of a switch that follow from where stations are there.
type Places struct {
	Backend           map[rows.BackendID]rows.Forward
	PinnedStation, L2 map[packet.MAC]uint16
}

// Put puts the rows into t. They are shared, and t must not be modified.
func (p Places) Put(t *rows.Tables) {
	t.Backend, t.PinnedStation, t.PinnedL2 = p.Backend, p.PinnedStation, p.L2
}

// Place gives every station its port on a switch that the intent gives one there. A backend of several pools is one
// station; one that left the intent stays where it was while it serves old flows, unless the intent says otherwise. A
// station without a port there is learned as any other, but a frame for its MAC is never balanced.
func Place(intent *config.Intent, st State, on string) Places {
	p := Places{
		Backend:       make(map[rows.BackendID]rows.Forward),
		PinnedStation: make(map[packet.MAC]uint16), L2: make(map[packet.MAC]uint16),
	}
	pin := func(m packet.MAC, port uint16) {
		p.L2[m] = port
		if port == rows.Anywhere {
			delete(p.PinnedStation, m)
		} else {
			p.PinnedStation[m] = port
		}
	}
	port := func(ports config.SwitchPorts) uint16 { return cmp.Or(ports.On(on), rows.Anywhere) }
	for _, removed := range []bool{true, false} {
		for _, cfg := range intent.Pools {
			for _, m := range st.Pools[cfg.Name].Members {
				if m.Removed == removed {
					at := port(m.SwitchPort())
					pin(m.MAC, at)
					p.Backend[m.ID] = rows.Forward{MAC: m.MAC, Port: at}
				}
			}
		}
	}
	for _, s := range intent.Stations {
		pin(s.MAC, port(s.SwitchPort))
	}
	pin(intent.VIPMAC, rows.Nowhere)
	for _, v := range intent.VIPs {
		pin(v.MAC, rows.Nowhere)
	}
	return p
}

// SamePlaces says whether stations have the same port on every switch, so that Place returns the same for all.
func SamePlaces(intent *config.Intent, st State) bool {
	for _, s := range intent.Stations {
		if s.SwitchPort.All == 0 {
			return false
		}
	}
	for _, cfg := range intent.Pools {
		for _, m := range st.Pools[cfg.Name].Members {
			if m.Port == 0 {
				return false
			}
		}
	}
	return true
}

// Retire keeps frames for a MAC that a removed VIP had from being flooded, unless it is the MAC of a station.
func (p Places) Retire(m packet.MAC) {
	if _, ok := p.L2[m]; !ok {
		p.L2[m] = rows.Nowhere
	}
}

// pins are the rows of pinned flows. One that is silent for twice the drain time of its pool on a switch has been so
// for the drain time on all of them when they say it within that time of each other (core).
func (st State) pins(intent *config.Intent) map[rows.Flow]rows.Pin {
	idle := make(map[rows.BackendID]time.Duration)
	for _, cfg := range intent.Pools {
		for _, m := range st.Pools[cfg.Name].Members {
			idle[m.ID] = 2 * cfg.DrainIdle
		}
	}
	pins := make(map[rows.Flow]rows.Pin, st.Pins.Len())
	for flow, id := range st.Pins.All() {
		if d, ok := idle[id]; ok {
			pins[flow] = rows.Pin{Backend: id, Idle: d}
		}
	}
	return pins
}
