package config

import (
	"errors"
	"net/netip"
	"strings"

	"github.com/sluicelb/sluice/internal/rpc/endpoint"
	"github.com/sluicelb/sluice/internal/strict"
)

type rawRegion struct {
	Name string `yaml:"name,required"`
}

type rawDataCenter struct {
	Name       string  `yaml:"name,required"`
	Region     *string `yaml:"region"`
	Controller *string `yaml:"controller"`
}

type rawOwner struct {
	Name string `yaml:"name,required"`
}

type rawSourceList struct {
	Name     string   `yaml:"name,required"`
	Owner    *string  `yaml:"owner"`
	Prefixes []string `yaml:"prefixes,required"`
}

func (p *parser) regions(raw []rawRegion) []Region {
	p.atMost("regions", len(raw), maxRegions)
	p.regionNames.what = "a region"
	all := make([]Region, len(raw))
	for i, r := range raw {
		p.name(&p.regionNames, "regions", i, r.Name)
		all[i] = Region(r)
	}
	return all
}

func (p *parser) ownersOf(raw []rawOwner) []Owner {
	p.atMost("owners", len(raw), maxOwners)
	p.ownerNames.what = "an owner"
	all := make([]Owner, len(raw))
	for i, r := range raw {
		p.name(&p.ownerNames, "owners", i, r.Name)
		all[i] = Owner(r)
	}
	return all
}

func (p *parser) dataCentersOf(raw []rawDataCenter) []DataCenter {
	p.atMost("data_centers", len(raw), maxDataCenters)
	p.dataCenterNames.what = "a data center"
	all := make([]DataCenter, len(raw))
	for i, r := range raw {
		path := item("data_centers", i)
		p.name(&p.dataCenterNames, "data_centers", i, r.Name)
		all[i] = DataCenter{
			Name:       r.Name,
			Region:     p.reference(&p.regionNames, path+".region", r.Region),
			Controller: p.controller(path+".controller", r.Controller),
		}
	}
	return all
}

// controller reads the address of a controller's API, in the forms that api.Dial takes.
func (p *parser) controller(path string, text *string) string {
	if text == nil {
		return ""
	}
	e, err := endpoint.Parse(*text)
	switch {
	case strings.HasPrefix(*text, "unix:"):
		if err == nil && !e.Absolute() {
			err = errors.New("must be an absolute path")
		}
		if err != nil {
			p.Add(path, "must be unix: and the absolute path of a socket of at most %d bytes, is %s: %v",
				endpoint.MaxPath, strict.Quote(*text), err)
		}
	case err != nil || e.Port() == 0 || e.Host() == "":
		p.Add(path, "must be https://host:port, or unix:/path such as unix:/run/sluice/controller.sock, or host:port "+
			"of the loopback, is %s", strict.Quote(*text))
		return ""
	case !e.TLS && !e.Local():
		p.Add(path, "must be https://host:port, a loopback address or a unix socket, is %s: plain text stays on this "+
			"machine", strict.Quote(*text))
		return ""
	}
	return *text
}

// sourceListsOf reads the source lists, and puts the one that every client is in before them.
func (p *parser) sourceListsOf(raw []rawSourceList) []SourceList {
	p.atMost("source_lists", len(raw), maxSourceLists)
	p.sourceNames.what, p.sourceNames.names = "a source list", []string{Anywhere}
	all := make([]SourceList, len(raw)+1)
	all[0] = SourceList{Name: Anywhere, Owner: None, Prefixes: []netip.Prefix{
		netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}}
	for i, r := range raw {
		path := item("source_lists", i)
		if r.Name == Anywhere {
			p.Add(path+".name", "must not be %s: that is the list that every client is in, and is always there",
				Anywhere)
		} else {
			p.name(&p.sourceNames, "source_lists", i, r.Name)
		}
		p.atLeastOne(path+".prefixes", len(r.Prefixes), "prefix")
		p.atMost(path+".prefixes", len(r.Prefixes), maxPrefixes)
		all[i+1] = SourceList{
			Name:     r.Name,
			Owner:    p.reference(&p.ownerNames, path+".owner", r.Owner),
			Prefixes: p.prefixes(path+".prefixes", r.Prefixes),
		}
	}
	return all
}

// prefixes reads addresses and prefixes of either family.
func (p *parser) prefixes(path string, list []string) []netip.Prefix {
	var all []netip.Prefix
	seen := make(map[netip.Prefix]int, len(list))
	for i, text := range list {
		at := item(path, i)
		if p.Bad(at) {
			continue
		}
		prefix, err := netip.ParsePrefix(text)
		if addr, notAddr := netip.ParseAddr(text); notAddr == nil && addr.Zone() == "" {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		switch first, twice := seen[prefix.Masked()]; {
		case err != nil:
			p.Add(at, "must be an address or a prefix, such as 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32, is %s",
				strict.Quote(text))
		case prefix.Addr().Is4In6():
			p.Add(at, "must be written as IPv4, is %s", strict.Quote(text))
		case prefix != prefix.Masked():
			p.Add(at, "must have no bits behind its length, as in %s, is %s", prefix.Masked(), prefix)
		case twice:
			p.Add(at, "must be unique, %s is %s too", prefix, p.is(item(path, first)))
		default:
			seen[prefix] = i
			all = append(all, prefix)
		}
	}
	return all
}
