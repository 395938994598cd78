package config

import (
	"strings"

	"github.com/miekg/dns"
)

// checkZone checks what the records of a zone are to each other.
func (p *parser) checkZone(z *zone) {
	if z.Name == "" {
		return
	}
	p.checkApex(z)
	for _, n := range z.order {
		if p.occluded(z, n) {
			continue
		}
		p.checkOwner(z, n)
		p.checkAlone(z, n)
		p.checkRRsets(n)
		p.checkServers(z, n)
	}
}

// checkApex looks for what every zone has at its own name.
func (p *parser) checkApex(z *zone) {
	apex := z.nodes[z.Name]
	soas := 0
	for i := range apex.all() {
		r := &apex.records[i]
		if r.Header().Rrtype != dns.TypeSOA {
			continue
		}
		soas++
		if z.soaFrom {
			p.fault(r.at, "must be left out of a zone with soa_from: its SOA is fetched")
		} else if soas > 1 {
			p.fault(r.at, "must be the zone's only SOA, %s is one too", p.where(apex.first(dns.TypeSOA).at))
		}
	}
	if z.soaFrom || z.broken {
		return
	}
	if soas == 0 {
		p.Add(z.path, "must have a SOA record at %s, or soa_from: negative answers carry it", z.Name)
	}
	if apex.first(dns.TypeNS) == nil {
		p.Add(z.path, "must have an NS record at %s, or soa_from", z.Name)
	}
}

// checkOwner refuses records that mean nothing at their name.
func (p *parser) checkOwner(z *zone, n *node) {
	for i := range n.records {
		r := &n.records[i]
		t := r.Header().Rrtype
		if t == dns.TypeSOA && n.name != z.Name && n.first(dns.TypeNS) == nil && p.inner(z, n) == nil {
			p.fault(r.at, "must be at the zone's own name, %s, is a SOA at %s", z.Name, n.name)
		}
		if isWildcard(n.name) && (t == dns.TypeNS || t == dns.TypeDNAME) {
			p.fault(r.at,
				"must not be at a wildcard, is at %s: what %s means there is not defined (RFC 4592 section 4)", n.name,
				dns.Type(t))
		}
	}
}

// checkAlone holds CNAME and DNAME to their rules (RFC 2181 section 10.1, RFC 6672 section 2.4).
func (p *parser) checkAlone(z *zone, n *node) {
	for _, t := range []uint16{dns.TypeCNAME, dns.TypeDNAME} {
		first := n.first(t)
		if first == nil {
			continue
		}
		for i := range n.records {
			if r := &n.records[i]; r != first && r.Header().Rrtype == t {
				p.fault(r.at, "must be the only %s at %s, %s is one too", dns.Type(t), n.name, p.where(first.at))
			}
		}
	}
	cname := n.first(dns.TypeCNAME)
	if cname == nil {
		return
	}
	for i := range n.records {
		if r := &n.records[i]; r.Header().Rrtype != dns.TypeCNAME {
			p.fault(cname.at, "must be alone at %s, is beside %s, %s: a CNAME stands for all that the name has", n.name,
				dns.Type(r.Header().Rrtype), p.where(r.at))
			return
		}
	}
}

// checkRRsets sees to it that the records of one name and type have one TTL, the lowest (RFC 2181 section 5.2), and
// fit into a message.
func (p *parser) checkRRsets(n *node) {
	firsts := make(map[uint16]*record, 4)
	sizes := make(map[uint16]int, 4)
	var odd map[uint16]bool // types whose records have several TTLs; most zones have none
	for i := range n.records {
		r := &n.records[i]
		t := r.Header().Rrtype
		first, ok := firsts[t]
		if !ok {
			firsts[t], first = r, r
		}
		if ttl, other := r.Header().Ttl, first.Header().Ttl; ttl != other {
			if odd == nil {
				odd = make(map[uint16]bool)
			}
			if !odd[t] {
				p.warn(r.at, "has the TTL %d, and %s has %d for %s of %s: all get the lowest (RFC 2181 section 5.2)",
					ttl, p.where(first.at), other, dns.Type(t), n.name)
			}
			odd[t] = true
			first.Header().Ttl = min(ttl, other)
		}
		before := sizes[t]
		sizes[t] += r.size
		if before <= maxRRset && sizes[t] > maxRRset {
			p.fault(r.at, "must fit into one message with the other %s records of %s: they have more than %d bytes "+
				"together", dns.Type(t), n.name, maxRRset)
		}
	}
	for i := range n.records {
		if h := n.records[i].Header(); odd[h.Rrtype] {
			h.Ttl = firsts[h.Rrtype].Header().Ttl
		}
	}
}

// occluded warns of data that nobody gets to see, as they lie behind a delegation, a DNAME or the beginning of
// another zone. Zones that other servers take are full of such. It reports whether all data of the name are so, and
// glue there is none: then they need not make sense either.
func (p *parser) occluded(z *zone, n *node) bool {
	var cut, dname *record
	if z.cuts {
		cut, dname = z.above(n.name)
	}
	inner := p.inner(z, n)
	if cut == nil && dname == nil && inner == nil {
		return false
	}
	hidden := 0
	for i := range n.records {
		r := &n.records[i]
		t := r.Header().Rrtype
		address := t == dns.TypeA || t == dns.TypeAAAA
		atCut := cut != nil && cut.Header().Name == n.name || inner != nil && inner.Name == n.name
		switch {
		case dname != nil:
			p.warn(r.at, "is never given: %s lies below the DNAME of %s (RFC 6672 section 2.4)", n.name,
				p.where(dname.at))
		case atCut && (t == dns.TypeNS || t == dns.TypeDS), cut != nil && address: // glue
			continue
		case cut != nil && atCut:
			p.warn(r.at, "is never given: all but NS, DS and addresses of %s is for the zone that %s delegates it "+
				"to, this is %s",
				n.name, p.where(cut.at), dns.Type(t))
		case cut != nil:
			p.warn(r.at, "is never given: %s lies below the delegation of %s, and this is no address but %s",
				n.name, p.where(cut.at), dns.Type(t))
		default:
			p.warn(r.at, "is never given: %s belongs to the zone %s", n.name, p.is(inner.path))
		}
		hidden++
	}
	return hidden == len(n.records)
}

// inner is another zone of the configuration that the name, of a record in this one, is at or below; nil for none.
func (p *parser) inner(z *zone, n *node) *zone {
	if inner := p.zoneOf(n.name); inner != nil && inner.path != z.path && inner.Name != z.Name {
		return inner
	}
	return nil
}

// above finds the delegation that a name is at or below, and the DNAME that it is below.
func (z *zone) above(name string) (cut, dname *record) {
	for at := name; at != z.Name && at != ""; at = parent(at) {
		n := z.nodes[at]
		if r := n.first(dns.TypeNS); r != nil {
			cut = r
		}
		if r := n.first(dns.TypeDNAME); r != nil && at != name {
			dname = r
		}
	}
	if r := z.nodes[z.Name].first(dns.TypeDNAME); r != nil && name != z.Name {
		dname = r
	}
	return cut, dname
}

// checkServers sees to it that name servers inside of the zone have addresses, which nobody else could give. Other
// servers take delegations without, and those work by their other servers, if by any.
func (p *parser) checkServers(z *zone, n *node) {
	if z.soaFrom || z.broken {
		return
	}
	for i := range n.records {
		ns, ok := n.records[i].RR.(*dns.NS)
		if !ok {
			continue
		}
		target, err := normal(ns.Ns)
		if err != nil || !within(target, z.Name) || p.zoneOf(target) != z {
			continue
		}
		at := n.records[i].at
		if r := z.nodes[target].first(dns.TypeCNAME); r != nil {
			p.fault(at, "must name a server by its own name: %s is a CNAME, %s (RFC 2181 section 10.3)", target,
				p.where(r.at))
		} else if z.nodes[target].first(dns.TypeA, dns.TypeAAAA) == nil && !z.elsewhere(target, n.name) &&
			!p.isBalanced(target) {
			if n.name != z.Name {
				p.warn(at, "names a server that nobody finds: %s lies in this zone and has no address", target)
			} else {
				p.fault(at, "must name a server with an address: %s lies in this zone and has none", target)
			}
		}
	}
}

// elsewhere reports whether a name server at name, which has no address in the zone, may get one all the same: from a
// wildcard, a DNAME, or another zone that the name is delegated to. One that serves that very delegation, of
// owner, cannot.
func (z *zone) elsewhere(name, owner string) bool {
	if cut, dname := z.above(name); dname != nil {
		return true
	} else if cut != nil {
		return cut.Header().Name != owner
	}
	for at := parent(name); at != "" && within(at, z.Name); at = parent(at) {
		if z.nodes["*."+strings.TrimPrefix(at, ".")] != nil {
			return true
		}
	}
	return false
}

// all returns the records of a node that may not be there.
func (n *node) all() []record {
	if n == nil {
		return nil
	}
	return n.records
}
