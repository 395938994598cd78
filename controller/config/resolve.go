package config

import (
	"maps"
	"slices"
)

// PortIDs are the numbers of ports by the names that their switch has for them, by switch.
type PortIDs map[string]map[string]uint16

// MaxPort is the highest number of a port that an intent may give.
const MaxPort = maxPort

// Resolve returns the intent with the numbers of the ports that it names, as far as ids has them; that is the intent
// itself where it names none. A station is not pinned where its port has no number yet: the switch learns where it is.
func (i *Intent) Resolve(ids PortIDs) *Intent {
	if !slices.ContainsFunc(i.Switches, func(s Switch) bool { return len(s.Named) > 0 }) {
		return i // who names a port names one of those
	}
	r := *i
	r.Switches, r.Stations, r.Pools = slices.Clone(i.Switches), slices.Clone(i.Stations), slices.Clone(i.Pools)
	for k, s := range r.Switches {
		ports := slices.Clone(s.Ports)
		for _, name := range s.Named {
			if id := ids[s.Name][name]; id != 0 {
				ports = append(ports, id)
			}
		}
		slices.Sort(ports)
		r.Switches[k].Ports = slices.Compact(ports)
	}
	for k, s := range r.Stations {
		r.Stations[k].SwitchPort = s.SwitchPort.resolve(i.Switches, ids)
	}
	for k, p := range r.Pools {
		r.Pools[k].Backends = slices.Clone(p.Backends)
		for n, b := range p.Backends {
			r.Pools[k].Backends[n].SwitchPort = b.SwitchPort.resolve(i.Switches, ids)
		}
	}
	return &r
}

func (s SwitchPorts) resolve(switches []Switch, ids PortIDs) SwitchPorts {
	by := maps.Clone(s.By)
	for _, on := range switches {
		id := ids[on.Name][s.name(on.Name)]
		if id == 0 {
			continue
		}
		if by == nil {
			by = make(map[string]uint16)
		}
		by[on.Name] = id
	}
	return SwitchPorts{All: s.All, By: by}
}
