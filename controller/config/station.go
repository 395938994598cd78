package config

import (
	"fmt"
	"net/netip"

	"github.com/sluicelb/sluice/internal/strict"
	"github.com/sluicelb/sluice/p4/packet"
)

type rawStation struct {
	Name       string              `yaml:"name,required"`
	MAC        string              `yaml:"mac,required"`
	SwitchPort strict.Each[string] `yaml:"switch_port,required"`
	Addresses  []string            `yaml:"addresses"`
}

func (p *parser) stations(raw []rawStation) []Station {
	if len(raw) > maxStations {
		p.Add("stations", "must be at most %d, are %d: a switch holds no more", maxStations, len(raw))
	}
	given := 0
	for _, r := range raw {
		given += len(r.Addresses)
	}
	if given > maxStations {
		p.Add("stations", "must have at most %d addresses together, have %d: a switch holds no more", maxStations,
			given)
		return nil
	}
	names, macs := make(map[string]string), make(map[packet.MAC]string)
	addresses := make(map[netip.Addr]string)
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
		for j, text := range r.Addresses {
			at := fmt.Sprintf("%s.addresses[%d]", path, j)
			address := p.host(at, text)
			if address.IsValid() {
				unique(p, at, address, addresses, "must be unique, %s is that of %s too", address)
			}
			s.Addresses = append(s.Addresses, address)
		}
		all = append(all, s)
	}
	return all
}

// strangers sees to it that no station is a backend or the switch itself: those have their place already.
// vipMACs and vips say where the MACs and addresses of the VIPs stand.
func (p *parser) strangers(stations []Station, vipMACs map[packet.MAC]string, vips map[netip.Addr]string) {
	for i, s := range stations {
		for j, a := range s.Addresses {
			p.ownAddress(fmt.Sprintf("stations[%d].addresses[%d]", i, j), a, vips)
		}
		path := fmt.Sprintf("stations[%d].mac", i)
		if s.MAC.IsZero() || p.Bad(path) {
			continue
		}
		if at, ok := vipMACs[s.MAC]; ok {
			p.Add(path, "must be the station's own, %s is %s (line %d)", s.MAC, at, p.Line(at))
		}
		if at, ok := p.byMAC[s.MAC]; ok {
			p.Add(path, "must not be a backend's, %s is that of %s (line %d): backends keep their port without being "+
				"named here",
				s.MAC, at.path, p.Line(at.path))
		}
	}
}

// ownAddress sees to it that the address of a station is no backend's and no VIP's.
func (p *parser) ownAddress(path string, a netip.Addr, vips map[netip.Addr]string) {
	if !a.IsValid() || p.Bad(path) {
		return
	}
	if at, ok := vips[a]; ok {
		p.Add(path, "must be the station's own, %s is %s (line %d)", a, at, p.Line(at))
	}
	if at, ok := p.byAddress[a]; ok {
		p.Add(path, "must not be a backend's, %s is that of %s (line %d)", a, at.path, p.Line(at.path))
	}
}
