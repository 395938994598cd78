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
		p.checkOwner(z, n)
		p.checkAlone(z, n)
		p.checkRRsets(n)
		if z.cuts {
			p.checkAbove(z, n)
		}
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

// checkOwner refuses records that belong into another zone, or that mean nothing at their name.
func (p *parser) checkOwner(z *zone, n *node) {
	inner := p.zoneOf(n.name)
	for i := range n.records {
		r := &n.records[i]
		t := r.Header().Rrtype
		switch {
		case t == dns.TypeSOA && n.name != z.Name:
			p.fault(r.at, "must be at the zone's own name, %s, is a SOA at %s", z.Name, n.name)
		case inner == nil || inner.path == z.path || inner.Name == z.Name:
		case n.name == inner.Name && (t == dns.TypeNS || t == dns.TypeDS):
		case (t == dns.TypeA || t == dns.TypeAAAA) && z.nodes[inner.Name].first(dns.TypeNS) != nil: // glue
		default:
			p.fault(r.at, "must be in the zone that it belongs to, %s, is in %s", p.is(inner.path), z.Name)
		}
		if isWildcard(n.name) && (t == dns.TypeNS || t == dns.TypeDNAME) {
			p.fault(r.at, "must not be at a wildcard, is at %s: what %s means there is not defined (RFC 4592 section 4)", n.name, dns.Type(t))
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
			p.fault(cname.at, "must be alone at %s, is beside %s, %s: a CNAME stands for all that the name has", n.name, dns.Type(r.Header().Rrtype), p.where(r.at))
			return
		}
	}
}

// checkRRsets sees to it that the records of one name and type have one TTL (RFC 2181 section 5.2) and fit into a message.
func (p *parser) checkRRsets(n *node) {
	firsts := make(map[uint16]*record, 4)
	sizes := make(map[uint16]int, 4)
	for i := range n.records {
		r := &n.records[i]
		t := r.Header().Rrtype
		first, ok := firsts[t]
		if !ok {
			firsts[t], first = r, r
		}
		if r.Header().Ttl != first.Header().Ttl {
			p.fault(r.at, "must have the TTL %d, as %s has for %s of %s, has %d", first.Header().Ttl, p.where(first.at), dns.Type(t), n.name, r.Header().Ttl)
		}
		before := sizes[t]
		sizes[t] += r.size
		if before <= maxRRset && sizes[t] > maxRRset {
			p.fault(r.at, "must fit into one message with the other %s records of %s: they have more than %d bytes together", dns.Type(t), n.name, maxRRset)
		}
	}
}

// checkAbove refuses data that nobody would see, behind a delegation or a DNAME.
func (p *parser) checkAbove(z *zone, n *node) {
	cut, dname := z.above(n.name)
	for i := range n.records {
		r := &n.records[i]
		t := r.Header().Rrtype
		address := t == dns.TypeA || t == dns.TypeAAAA
		switch {
		case dname != nil:
			p.fault(r.at, "must not lie below a DNAME, %s lies below that of %s: nobody could ask for it (RFC 6672 section 2.4)", n.name, p.where(dname.at))
			return
		case cut == nil || address: // glue
		case cut.Header().Name != n.name:
			p.fault(r.at, "must be an address, or be left out, is %s: %s lies below the delegation of %s", dns.Type(t), n.name, p.where(cut.at))
		case t != dns.TypeNS && t != dns.TypeDS:
			p.fault(r.at, "must be left out, is %s: all but NS, DS and addresses of %s is for the zone that %s delegates it to", dns.Type(t), n.name, p.where(cut.at))
		}
	}
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

// checkServers sees to it that name servers inside of the zone have addresses, which nobody else could give.
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
			p.fault(at, "must name a server by its own name: %s is a CNAME, %s (RFC 2181 section 10.3)", target, p.where(r.at))
		} else if z.nodes[target].first(dns.TypeA, dns.TypeAAAA) == nil && !z.elsewhere(target, n.name) && !p.isBalanced(target) {
			p.fault(at, "must name a server with an address: %s lies in this zone and has none", target)
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
