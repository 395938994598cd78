package config

import (
	"fmt"

	"github.com/sluicelb/sluice/p4/packet"
)

type rawStation struct {
	Name       string `yaml:"name,required"`
	MAC        string `yaml:"mac,required"`
	SwitchPort *int   `yaml:"switch_port,required"`
}

func (p *parser) stations(raw []rawStation) []Station {
	if len(raw) > maxStations {
		p.Add("stations", "must be at most %d, are %d: a switch holds no more", maxStations, len(raw))
	}
	names, macs := make(map[string]string), make(map[packet.MAC]string)
	var all []Station
	for i, r := range raw {
		path := fmt.Sprintf("stations[%d]", i)
		p.name(path+".name", r.Name, names)
		s := Station{
			Name:       r.Name,
			MAC:        p.stationMAC(path+".mac", r.MAC),
			SwitchPort: p.switchPort(path+".switch_port", r.SwitchPort),
		}
		if !s.MAC.IsZero() {
			unique(p, path+".mac", s.MAC, macs, "must be unique, %s is the MAC of %s too", s.MAC)
		}
		all = append(all, s)
	}
	return all
}

// strangers sees to it that no station is a backend or the switch itself: those have their place already.
// vipMACs says where the MACs of the VIPs stand.
func (p *parser) strangers(stations []Station, vipMACs map[packet.MAC]string) {
	for i, s := range stations {
		path := fmt.Sprintf("stations[%d].mac", i)
		if s.MAC.IsZero() || p.Bad(path) {
			continue
		}
		if at, ok := vipMACs[s.MAC]; ok {
			p.Add(path, "must be the station's own, %s is %s (line %d)", s.MAC, at, p.Line(at))
		}
		if at, ok := p.byMAC[s.MAC]; ok {
			p.Add(path, "must not be a backend's, %s is that of %s (line %d): backends keep their port without being named here",
				s.MAC, at.path, p.Line(at.path))
		}
	}
}
