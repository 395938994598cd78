package config

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

type rawZone struct {
	Name    *string     `yaml:"name,required"`
	TTL     *int        `yaml:"ttl"`
	Records []rawRecord `yaml:"records"`
	File    *string     `yaml:"file"`
	SOAFrom []string    `yaml:"soa_from"`
	NoMatch *NoMatch    `yaml:"no_match"`
	Forward []string    `yaml:"forward"`
}

// zone is a zone that is being read.
type zone struct {
	Zone
	path    string
	soaFrom bool // said to be so, even if wrongly
	broken  bool // has records that could not be read: what is missing may be among them
	ttl     uint32
	nodes   map[string]*node
	order   []*node             // as they came
	seen    map[string]struct{} // the records, as they are on the wire
	cuts    bool                // has delegations or DNAMEs, so that what is above a name matters
}

// node is what a zone has at one name.
type node struct {
	name    string
	records []record
}

type record struct {
	dns.RR
	at   place
	size int // on the wire
}

func (n *node) first(types ...uint16) *record {
	if n == nil {
		return nil
	}
	for i := range n.records {
		if slices.Contains(types, n.records[i].Header().Rrtype) {
			return &n.records[i]
		}
	}
	return nil
}

// zonesOf reads the zones. Those with longer names, which are below others or beside them, come first.
func (p *parser) zonesOf(raw []rawZone, server Server) []Zone {
	p.atMost("zones", len(raw), maxZones)
	for i, r := range raw {
		path := item("zones", i)
		z := &zone{path: path, soaFrom: p.Has(path + ".soa_from"), nodes: make(map[string]*node),
			seen: make(map[string]struct{})}
		z.ttl = uint32(p.Number(path+".ttl", r.TTL, defaultRecordTTL, 0, maxRecordTTL))
		p.zones = append(p.zones, z)
		p.zoneName(z, r)
		p.zoneNoMatch(z, r, server)
		if z.soaFrom && !p.Bad(path+".soa_from") {
			z.SOAFrom = p.endpoints(path+".soa_from", r.SOAFrom)
		}
	}
	for i, z := range p.zones { // all names are known: records have their zone
		p.records(z, raw[i])
	}
	all := make([]Zone, len(p.zones))
	for i, z := range p.zones {
		p.checkZone(z)
		z.collect()
		all[i] = z.Zone
	}
	slices.SortStableFunc(all,
		func(a, b Zone) int { return cmp.Or(len(b.Name)-len(a.Name), cmp.Compare(a.Name, b.Name)) })
	return all
}

func (p *parser) zoneName(z *zone, r rawZone) {
	path := z.path + ".name"
	z.Name = p.domain(path, r.Name, "the zone's name")
	if z.Name == "" {
		z.broken = true
		return
	}
	if first, ok := p.zoneAt[z.Name]; ok {
		p.Add(path, "must be unique, %s is %s too", z.Name, p.is(first.path))
		z.broken = true
		return
	}
	p.zoneAt[z.Name] = z
}

func (p *parser) zoneNoMatch(z *zone, r rawZone, server Server) {
	if r.NoMatch != nil {
		z.NoMatch = *r.NoMatch
	}
	path := z.path + ".forward"
	switch {
	case z.NoMatch != NoMatchForward:
		if p.Has(path) && !p.Bad(z.path+".no_match") {
			p.Add(path, "must be left out unless no_match is forward")
		}
	case p.Has(path):
		if !p.Bad(path) {
			z.Forward = p.endpoints(path, r.Forward)
		}
	case p.Has("server.forward"):
		z.Forward = server.Forward
	default:
		p.Add(path, "is missing, as is server.forward: must be the name servers that no_match: forward forwards to")
	}
}

// zoneOf returns the zone that a canonical name is in; nil if there is none.
func (p *parser) zoneOf(name string) *zone {
	for ; name != ""; name = parent(name) {
		if z, ok := p.zoneAt[name]; ok {
			return z
		}
	}
	return nil
}

// zoneNames are the zones' names for a message.
func (p *parser) zoneNames() string {
	var names []string
	for _, z := range p.zones {
		if z.Name != "" {
			names = append(names, z.Name)
		}
	}
	return few(names)
}

// collect puts the zone's records in order: the SOA, then by name and type.
func (z *zone) collect() {
	z.Records = make([]dns.RR, 0, len(z.seen))
	soa := z.nodes[z.Name].first(dns.TypeSOA)
	if soa != nil {
		z.Records = append(z.Records, soa.RR)
	}
	slices.SortFunc(z.order, func(a, b *node) int { return cmp.Compare(a.name, b.name) })
	for _, n := range z.order {
		slices.SortStableFunc(n.records,
			func(a, b record) int { return cmp.Compare(a.Header().Rrtype, b.Header().Rrtype) })
		for _, r := range n.records {
			if r.Header().Rrtype != dns.TypeSOA {
				z.Records = append(z.Records, r.RR)
			}
		}
	}
	z.seen = nil
}

// recordType reads the mnemonic of a type, or TYPE and its number (RFC 3597 section 5).
func recordType(text string) (uint16, bool) {
	if t, ok := dns.StringToType[text]; ok {
		return t, true
	}
	digits, ok := strings.CutPrefix(text, "TYPE")
	number, err := strconv.ParseUint(digits, 10, 16)
	return uint16(number), ok && err == nil && digits == strconv.FormatUint(number, 10)
}

// isMeta reports whether a type is none of data (RFC 6895 section 3.1).
func isMeta(t uint16) bool { return t == 0 || t == dns.TypeOPT || t >= 128 && t <= 255 }
