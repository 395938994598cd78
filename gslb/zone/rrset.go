package zone

import (
	"fmt"

	"github.com/miekg/dns"
)

// canonical copies a record as package dns would unpack it, so that equal names are equal strings, with the
// owner in lower case. It returns the owner in wire format too.
func canonical(rr dns.RR) (owner string, same dns.RR, err error) {
	h := rr.Header()
	wire, err := Name(h.Name)
	if err != nil {
		return "", nil, err
	}
	buf := make([]byte, dns.Len(rr)+1)
	end, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return "", nil, fmt.Errorf("record %s %s: %w", h.Name, dns.Type(h.Rrtype), err)
	}
	copy(buf, wire)
	same, _, err = dns.UnpackRR(buf[:end], 0)
	if err != nil {
		return "", nil, fmt.Errorf("record %s %s: %w", h.Name, dns.Type(h.Rrtype), err)
	}
	return string(wire), same, nil
}

// size is how many bytes the records have, uncompressed.
func (r *RRset) size() int {
	n := 0
	for _, rr := range r.RRs {
		n += dns.Len(rr)
	}
	return n
}

// target notes where a CNAME or DNAME leads.
func (r *RRset) target() error {
	var to string
	switch rr := r.RRs[0].(type) {
	case *dns.CNAME:
		to = rr.Target
	case *dns.DNAME:
		to = rr.Target
	default:
		return nil
	}
	var err error
	r.Target, err = Name(to)
	return err
}

// pack makes the tail of the set, whose owner that is.
func (r *RRset) pack(owner string) error {
	if isWildcard(owner) && compresses(r.Type) {
		return nil
	}
	m := dns.Msg{
		Compress: true,
		Question: []dns.Question{{Name: r.RRs[0].Header().Name, Qtype: r.Type, Qclass: dns.ClassINET}},
		Answer:   r.RRs,
	}
	wire, err := m.Pack()
	if err != nil {
		return fmt.Errorf("records %s %s: %w", r.RRs[0].Header().Name, dns.Type(r.Type), err)
	}
	if len(wire) > dns.MaxMsgSize {
		return fmt.Errorf("records %s %s: are too many for a message", r.RRs[0].Header().Name, dns.Type(r.Type))
	}
	tail := wire[questionAt+len(owner)+questionEnd:]
	r.Tail = append(make([]byte, 0, len(tail)), tail...)
	return nil
}

// compresses reports whether package dns compresses names in the data of records of that type: those of
// RFC 1035 (RFC 3597, section 4).
func compresses(rrtype uint16) bool {
	switch rrtype {
	case dns.TypeCNAME, dns.TypeMB, dns.TypeMD, dns.TypeMF, dns.TypeMG, dns.TypeMINFO, dns.TypeMR, dns.TypeMX,
		dns.TypeNS, dns.TypePTR, dns.TypeSOA:
		return true
	}
	return false
}

// glue gathers the addresses that the zone has for the name servers of a cut.
func (s *source) glue(set *RRset, cut string) {
	var siblings []dns.RR
	seen := make(map[string]bool)
	for _, rr := range set.RRs {
		ns, ok := rr.(*dns.NS)
		if !ok {
			continue
		}
		wire, err := Name(ns.Ns)
		if err != nil || seen[string(wire)] || !below(string(wire), s.apex) {
			continue
		}
		seen[string(wire)] = true
		for _, addresses := range s.sets[string(wire)] {
			if addresses.Type != dns.TypeA && addresses.Type != dns.TypeAAAA {
				continue
			}
			if below(string(wire), cut) {
				set.Glue = append(set.Glue, addresses.RRs...)
			} else {
				siblings = append(siblings, addresses.RRs...)
			}
		}
	}
	set.GlueRequired = len(set.Glue)
	set.Glue = append(set.Glue, siblings...)
}
