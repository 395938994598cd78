package zone

import "github.com/miekg/dns"

// node is a name that exists: it has records or rules, or is above one that has (an empty non-terminal), or is the apex
// of a zone.
type node struct {
	// What most questions need comes first: names are many, and few are in a processor's cache.

	zone *Zone // nil outside all zones
	// cover is the zone cut or DNAME in the same zone that the name is below. Of names that are occluded, only those
	// above the apex of another zone have nodes.
	cover  *node
	ns     *RRset // of a zone cut, which the apex is not
	rrsets []RRset
	cname  *RRset
	set    int32 // -1: none
	every  bool  // rules answer every type
	length uint8 // of the name

	// parentSide, at the apex of a zone, is the same name in the zone above, where that is whole: DS is there
	// (RFC 4035, section 3.1.4.1).
	parentSide *node
	wild       *node // the wildcard right below
	dname      *RRset
	any        *RRset // what ANY gets (RFC 8482, section 4.1): the one with the fewest bytes
}

// has reports whether the name has data or rules, or is the apex of a zone.
func (n *node) has() bool {
	return len(n.rrsets) > 0 || n.set >= 0 || n.zone != nil && len(n.zone.Wire) == int(n.length)
}

// Lookup finds what there is of qtype at name, which is in lower-case wire format. It does not allocate.
func (z *Zones) Lookup(name []byte, qtype uint16) Result {
	n := z.nodes[string(name)]
	if n != nil && n.cover == nil {
		if qtype == dns.TypeDS && n.parentSide != nil {
			r := n.parentSide.answer(qtype)
			r.Miss = false
			return r
		}
		if n.ns != nil && qtype != dns.TypeDS {
			return Result{Kind: Delegation, Set: -1, Zone: n.zone, RRset: n.ns}
		}
		return n.answer(qtype)
	}
	if n == nil {
		n = z.encloser(name)
	}
	if n.cover != nil {
		n = n.cover
	}
	owner := uint8(len(name) - int(n.length))
	switch {
	case n.ns != nil:
		return Result{Kind: Delegation, Owner: owner, Set: -1, Zone: n.zone, RRset: n.ns}
	case n.dname != nil:
		return Result{Kind: DNAME, Owner: owner, Set: -1, Zone: n.zone, RRset: n.dname}
	case n.wild != nil:
		r := n.wild.answer(qtype)
		r.Wildcard, r.Owner = true, owner
		return r
	}
	r := Result{Kind: NotOurs, Miss: true, Owner: owner, Set: -1, Zone: n.zone}
	if n.zone != nil && n.zone.nxdomain {
		r.Kind = NXDomain
	}
	return r
}

// answer is what the node's own data says of the type, the name being its own or matched by wildcard.
func (n *node) answer(qtype uint16) Result {
	r := Result{Kind: NoData, Set: n.set, Zone: n.zone, RRset: n.records(qtype)}
	switch {
	case n.set >= 0 && (n.every || qtype == dns.TypeA || qtype == dns.TypeAAAA || qtype == dns.TypeANY &&
		r.RRset == nil):
		r.Kind = ByRules
	case r.RRset != nil && r.RRset == n.cname && qtype != dns.TypeCNAME && qtype != dns.TypeANY:
		r.Kind = CNAME
	case r.RRset != nil:
		r.Kind = Positive
	case n.set < 0 && len(n.rrsets) == 0:
		r.Miss = true
		if n.zone == nil || !n.zone.Whole && !n.zone.nxdomain {
			r.Kind = NotOurs // who knows what its owner has there
		}
	}
	return r
}

// records is the RRset that answers a question for the type, or the CNAME that stands for it; nil if there is none.
func (n *node) records(qtype uint16) *RRset {
	if qtype == dns.TypeANY {
		return n.any
	}
	for i := range n.rrsets {
		if n.rrsets[i].Type == qtype {
			return &n.rrsets[i]
		}
	}
	return n.cname
}

// encloser finds the closest encloser of a name that has no node: its longest ancestor that has one. All ancestors of
// a node are nodes, so that their number of labels can be searched for by halves: a name of 127 labels costs little
// more than one of three.
func (z *Zones) encloser(name []byte) *node {
	var starts [maxLabels + 1]uint8 // of the name's suffixes, longest first
	count := 0
	for at := 0; name[at] != 0; at += 1 + int(name[at]) {
		starts[count] = uint8(at)
		count++
	}
	starts[count] = uint8(len(name) - 1)

	// starts[low:high] may be the first that is a node; what is at high, the root in the end, is one.
	low, high := max(1, count-z.depth), count
	try := low
	var found *node
	for low < high {
		if n := z.nodes[string(name[starts[try]:])]; n != nil {
			found, high = n, try
		} else {
			low = try + 1
		}
		try = (low + high) / 2
	}
	if found == nil {
		found = z.nodes[string(name[starts[high]:])]
	}
	return found
}

// Lost returns the names that have data or rules in z and not in next, as package dns writes them, in no order, and
// how many names have in z.
func (z *Zones) Lost(next *Zones) (lost []string, all int) {
	for name, n := range z.nodes {
		if !n.has() {
			continue
		}
		all++
		if other := next.nodes[name]; other == nil || !other.has() {
			text, _, err := dns.UnpackDomainName([]byte(name), 0)
			if err != nil {
				panic("zone: " + err.Error()) // Name made it
			}
			lost = append(lost, text)
		}
	}
	return lost, all
}
