package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicelb/sluice/internal/strict"
	"github.com/sluicelb/sluice/p4/packet"
)

type rawVIP struct {
	Name        string   `yaml:"name,required"`
	Address     string   `yaml:"address,required"`
	Protocol    *string  `yaml:"protocol"`
	Port        string   `yaml:"port,required"`
	Pool        string   `yaml:"pool,required"`
	MAC         string   `yaml:"mac"`
	Persistence *string  `yaml:"persistence"`
	Enabled     *bool    `yaml:"enabled"`
	Tags        []string `yaml:"tags"`
	Capacity    *int     `yaml:"capacity"`
}

const (
	maxTags     = 16
	maxCapacity = 1_000_000_000
)

func (p *parser) vips(raw []rawVIP, vipMAC packet.MAC) []VIP {
	if len(raw) > maxVIPs {
		p.Add("vips", "must be at most %d, are %d: a switch holds no more", maxVIPs, len(raw))
	}
	type service struct {
		address  netip.Addr
		protocol Protocol
		port     uint16
	}
	names, services := make(map[string]string), make(map[service]string)
	owner := make(map[netip.Addr]int) // the first VIP of each address
	all := make([]VIP, len(raw))
	for i, r := range raw {
		path := fmt.Sprintf("vips[%d]", i)
		p.name(path+".name", r.Name, names)
		v := VIP{
			Name:     r.Name,
			Address:  p.host(path+".address", r.Address),
			Protocol: p.protocol(path+".protocol", r.Protocol),
			Port:     p.servicePort(path+".port", r.Port),
			Pool:     r.Pool,
			MAC:      vipMAC,
			Enabled:  orTrue(r.Enabled),
			Tags:     p.tags(path+".tags", r.Tags),
			Capacity: p.Number(path+".capacity", r.Capacity, 0, 1, maxCapacity),
		}
		if p.Has(path + ".mac") {
			v.MAC = p.stationMAC(path+".mac", r.MAC)
		}
		p.persistence(path+".persistence", r.Persistence)
		if v.Address.IsValid() && v.Protocol != 0 && v.Port != 0 {
			unique(p, path+".address", service{v.Address, v.Protocol, v.Port}, services,
				"must be unique together with protocol and port, %s %s %d is %s too", v.Address, v.Protocol, v.Port)
		}
		if v.Address.IsValid() && !v.MAC.IsZero() {
			if first, ok := owner[v.Address]; !ok {
				owner[v.Address] = i
			} else if all[first].MAC != v.MAC {
				at := path + ".mac"
				if !p.Has(at) {
					at = path + ".address"
				}
				p.Add(at, "must have the MAC that vips[%d] (line %d) has for %s, %s, has %s: an address has one MAC",
					first, p.Line(fmt.Sprintf("vips[%d]", first)), v.Address, all[first].MAC, v.MAC)
			}
		}
		if p.Usable(path + ".pool") {
			p.vipsByPool[v.Pool] = append(p.vipsByPool[v.Pool], i)
		}
		all[i] = v
	}
	return all
}

func (p *parser) protocol(path string, text *string) Protocol {
	switch {
	case text == nil && p.Bad(path):
		return 0
	case text == nil || *text == "tcp":
		return TCP
	case slices.Contains([]string{"udp", "sctp", "icmp", "quic", "any"}, *text):
		p.Add(path, "must be tcp, is %s, which is not supported yet", *text)
	default:
		p.Add(path, "must be tcp, is %s", strict.Quote(*text))
	}
	return 0
}

// String returns the protocol's name as it is written in the file.
func (p Protocol) String() string {
	if p == TCP {
		return "tcp"
	}
	return strconv.Itoa(int(p))
}

// tags reads the names under which load reports ask for the VIP.
func (p *parser) tags(path string, tags []string) []string {
	if len(tags) > maxTags {
		p.Add(path, "must be at most %d, are %d", maxTags, len(tags))
	}
	for i, tag := range tags {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case !p.Usable(at):
		case !nameForm.MatchString(tag):
			p.Add(at, nameRule, strict.Quote(tag))
		case slices.Contains(tags[:i], tag):
			p.Add(at, "must be unique, %s is in the list before", tag)
		}
	}
	return tags
}

func (p *parser) servicePort(path, text string) uint16 {
	if !p.Usable(path) {
		return 0
	}
	if text == "any" {
		p.Add(path, "must be 1..65535, is any, which is not supported yet")
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || !isPort(text) {
		p.Add(path, "must be 1..65535, is %s", strict.Quote(text))
		return 0
	}
	return uint16(n)
}

// persistence refuses all but none; what it takes to keep more than that is not in what a switch sees.
func (p *parser) persistence(path string, text *string) {
	if text == nil || *text == "none" {
		return
	}
	if strings.HasPrefix(*text, "source") {
		p.Add(path, "must be none, is %s: persistence by source address is not supported yet", strict.Quote(*text))
		return
	}
	p.Add(path, "must be none, is %s: under Direct Server Return the balancer never sees a reply and reads no "+
		"request beyond addresses and ports, so it cannot know cookies, URLs, headers or TLS sessions",
		strict.Quote(*text))
}
