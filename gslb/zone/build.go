package zone

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
)

// Build indexes the zones and the names that rules balance. Records of a zone that lie in another one of these, or
// below a zone cut or DNAME of their own, are not found by questions; neither are such balanced names. Errors are those
// of a configuration that package config refuses.
//
// Balanced names outside all zones are found too; those in no zone are not thought to end anywhere, so that their
// ancestors up to the root are names that exist, and block shallower wildcards, but are NotOurs.
func Build(zones []config.Zone, balanced []Balanced) (*Zones, error) {
	b := builder{
		index:  &Zones{nodes: make(map[string]*node)},
		byApex: make(map[string]*source, len(zones)),
	}
	for i := range zones {
		if err := b.addZone(i, &zones[i]); err != nil {
			return nil, fmt.Errorf("zone %s: %w", zones[i].Name, err)
		}
	}
	if _, err := b.ensure("\x00"); err != nil {
		return nil, err
	}
	for _, s := range b.sources {
		if err := b.insert(s); err != nil {
			return nil, fmt.Errorf("zone %s: %w", s.zone.Name, err)
		}
	}
	for _, x := range balanced {
		if err := b.balance(x); err != nil {
			return nil, err
		}
	}
	for name, n := range b.index.nodes {
		b.index.depth = max(b.index.depth, labels(name))
		if isWildcard(name) {
			if above := b.index.nodes[parent(name)]; above.zone == n.zone {
				above.wild = n
			}
		}
	}
	return b.index, nil
}

// builder is an index under construction.
type builder struct {
	index   *Zones
	sources []*source
	byApex  map[string]*source
}

// source is a zone with its records by owner, before it is known which of them questions may find.
type source struct {
	zone   *Zone
	apex   string
	owners []string // in the order of their first records
	sets   map[string][]RRset
}

// addZone takes over the records of a zone, which is the i-th.
func (b *builder) addZone(i int, c *config.Zone) error {
	wire, err := Name(c.Name)
	if err != nil {
		return err
	}
	z := &Zone{
		Index:    i,
		Name:     c.Name,
		Wire:     wire,
		Whole:    len(c.SOAFrom) == 0,
		NoMatch:  c.NoMatch,
		Forward:  slices.Clone(c.Forward),
		nxdomain: c.NoMatch == config.NoMatchNXDomain || c.NoMatch == config.NoMatchDefault && len(c.SOAFrom) == 0,
	}
	s := &source{zone: z, apex: string(wire), sets: make(map[string][]RRset)}
	if b.byApex[s.apex] != nil {
		return errors.New("is there twice")
	}
	for _, rr := range c.Records {
		owner, rr, err := canonical(rr)
		if err != nil {
			return err
		}
		if !below(owner, s.apex) {
			return fmt.Errorf("record of %s: is outside", rr.Header().Name)
		}
		s.add(owner, rr)
	}
	for _, set := range s.sets[s.apex] {
		if set.Type == dns.TypeSOA {
			soa := dns.Copy(set.RRs[0]).(*dns.SOA)
			soa.Hdr.Ttl = min(set.TTL, soa.Minttl)
			z.NegativeSOA, z.NegativeTTL = soa, soa.Hdr.Ttl
			if z.Negative, err = NewNegative(wire, soa); err != nil {
				return err
			}
		}
	}
	if z.Whole && z.NegativeSOA == nil {
		return errors.New("has no SOA")
	}
	b.byApex[s.apex] = s
	b.sources = append(b.sources, s)
	b.index.zones = append(b.index.zones, z)
	return nil
}

// add puts the record, which is the source's own, into its set.
func (s *source) add(owner string, rr dns.RR) {
	h := rr.Header()
	sets, known := s.sets[owner]
	if !known {
		s.owners = append(s.owners, owner)
	}
	i := slices.IndexFunc(sets, func(r RRset) bool { return r.Type == h.Rrtype })
	if i < 0 {
		i = len(sets)
		sets = append(sets, RRset{Type: h.Rrtype, TTL: h.Ttl})
	}
	set := &sets[i]
	if h.Ttl < set.TTL {
		set.TTL = h.Ttl
		for _, r := range set.RRs {
			r.Header().Ttl = h.Ttl
		}
	}
	h.Ttl = set.TTL
	set.RRs = append(set.RRs, rr)
	set.Count++
	s.sets[owner] = sets
}

// has reports whether the zone has records of that type there.
func (s *source) has(owner string, rrtype uint16) bool {
	return slices.ContainsFunc(s.sets[owner], func(r RRset) bool { return r.Type == rrtype })
}

// isCut reports whether the name, which is in the zone, is a zone cut in it (RFC 1034, section 4.2.1).
func (s *source) isCut(name string) bool {
	return name != s.apex && s.has(name, dns.TypeNS)
}

// cover is the topmost ancestor of the name that is a zone cut or has a DNAME; empty when there is none. The name is
// in the zone.
func (s *source) cover(name string) string {
	top := ""
	for name != s.apex {
		name = parent(name)
		if s.isCut(name) || s.has(name, dns.TypeDNAME) {
			top = name
		}
	}
	return top
}

// of is the zone that a name is in; nil when it is in none.
func (b *builder) of(name string) *source {
	for {
		if s := b.byApex[name]; s != nil {
			return s
		}
		if len(name) == 1 {
			return nil
		}
		name = parent(name)
	}
}

// insert makes nodes of the names of a zone.
func (b *builder) insert(s *source) error {
	if _, err := b.ensure(s.apex); err != nil {
		return err
	}
	for _, owner := range s.owners {
		if b.of(owner) != s || s.cover(owner) != "" {
			continue
		}
		n, err := b.ensure(owner)
		if err != nil {
			return err
		}
		if err := s.fill(n, owner, s.isCut(owner)); err != nil {
			return err
		}
	}
	if len(s.apex) == 1 {
		return nil
	}
	above := b.of(parent(s.apex))
	if above == nil || !above.zone.Whole || above.cover(s.apex) != "" {
		return nil
	}
	n := &node{zone: above.zone, set: -1, length: uint8(len(s.apex))}
	b.index.nodes[s.apex].parentSide = n
	return above.fill(n, s.apex, true)
}

// fill gives the node the records that the zone has for it: at a cut those that this side of it owns.
func (s *source) fill(n *node, owner string, cut bool) error {
	fewest := 0
	for _, set := range s.sets[owner] {
		delegation := cut && set.Type == dns.TypeNS
		if cut && !delegation && set.Type != dns.TypeDS {
			continue
		}
		if delegation {
			s.glue(&set, owner)
		} else if err := set.pack(owner); err != nil {
			return err
		}
		if err := set.target(); err != nil {
			return err
		}
		n.rrsets = append(n.rrsets, set)
	}
	slices.SortFunc(n.rrsets, func(a, b RRset) int { return cmp.Compare(a.Type, b.Type) })
	for i := range n.rrsets {
		set := &n.rrsets[i]
		switch {
		case set.Type == dns.TypeCNAME:
			n.cname = set
		case set.Type == dns.TypeDNAME:
			n.dname = set
		case set.Type == dns.TypeNS && cut:
			n.ns = set
		}
		if size := set.size(); n.any == nil || size < fewest {
			n.any, fewest = set, size
		}
	}
	if owner == s.apex {
		for i := range n.rrsets {
			if n.rrsets[i].Type == dns.TypeSOA {
				s.zone.SOA = &n.rrsets[i]
			}
		}
	}
	return nil
}

// balance adds a name that rules balance.
func (b *builder) balance(x Balanced) error {
	wire, err := Name(x.Name)
	if err != nil {
		return err
	}
	name := string(wire)
	if s := b.of(name); s != nil && s.cover(name) != "" {
		return nil
	}
	n, err := b.ensure(name)
	if err != nil {
		return err
	}
	if n.set >= 0 {
		return fmt.Errorf("balanced name %s: is there twice", x.Name)
	}
	n.set, n.every = x.Set, x.CNAME
	return nil
}

// ensure makes nodes of a name and of its ancestors, unless they are.
func (b *builder) ensure(name string) (*node, error) {
	if n := b.index.nodes[name]; n != nil {
		return n, nil
	}
	if len(name) > 1 {
		if _, err := b.ensure(parent(name)); err != nil {
			return nil, err
		}
	}
	n := &node{set: -1, length: uint8(len(name))}
	b.index.nodes[name] = n
	s := b.of(name)
	if s == nil {
		return n, nil
	}
	n.zone = s.zone
	if cover := s.cover(name); cover != "" {
		// A cover is not itself covered, and has a node already: it is an ancestor.
		n.cover = b.index.nodes[cover]
	}
	return n, nil
}
