package responder

import (
	"net"
	"slices"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/selection"
)

// liveHints puts the addresses that rules give now into the address hints of SVCB and HTTPS records (RFC 9460 section
// 7.3) whose target is balanced, and takes the hints out where the rules give none: a hint must not lead where the
// address record would not. Hints come only where a record was written with them. The records are then good for
// no longer than the rules' answers.
func (r *reply) liveHints(at hop, rrs []dns.RR) []dns.RR {
	ttl := rrs[0].Header().Ttl
	for i, rr := range rrs {
		copied := dns.Copy(rr)
		if service := svcb(copied); service.Priority > 0 && r.liveService(at, service, &ttl) {
			rrs[i] = copied
		}
	}
	return records(rrs, at.owner, ttl)
}

func svcb(rr dns.RR) *dns.SVCB {
	if https, ok := rr.(*dns.HTTPS); ok {
		return &https.SVCB
	}
	return rr.(*dns.SVCB)
}

// liveService replaces the hints of one record. It reports whether rules had a say in it, and lowers ttl to theirs.
func (r *reply) liveService(at hop, s *dns.SVCB, ttl *uint32) bool {
	target := at.name
	if s.Target != "." {
		target = mustName(s.Target)
	}
	set := r.rules(target, r.v.Zones.Lookup(target, dns.TypeA))
	if set < 0 {
		return false
	}
	cursors := r.c.Core.hintCursors(r.v.Rules)
	live := func(qtype uint16) (hint []net.IP, ruled bool) {
		c := r.choose(set, target, qtype, cursors)
		if c.Outcome == selection.NoRule {
			return nil, false
		}
		*ttl = min(*ttl, c.TTL)
		if c.Outcome == selection.Addresses {
			r.take(c, cursors)
			for _, a := range chosen(r.v.Config, c, qtype) {
				hint = append(hint, a.AsSlice())
			}
		}
		return hint, true
	}
	ruled := false
	var gone []dns.SVCBKey
	s.Value = slices.DeleteFunc(s.Value, func(value dns.SVCBKeyValue) bool {
		var hint []net.IP
		var had bool
		switch value := value.(type) {
		case *dns.SVCBIPv4Hint:
			if hint, had = live(dns.TypeA); had {
				value.Hint = hint
			}
		case *dns.SVCBIPv6Hint:
			if hint, had = live(dns.TypeAAAA); had {
				value.Hint = hint
			}
		}
		ruled = ruled || had
		if had && len(hint) == 0 {
			gone = append(gone, value.Key())
			return true
		}
		return false
	})
	notMandatory(s, gone)
	return ruled
}

// notMandatory takes keys out of what a client must understand: what is mandatory must be there (RFC 9460 section 8).
func notMandatory(s *dns.SVCB, keys []dns.SVCBKey) {
	s.Value = slices.DeleteFunc(s.Value, func(value dns.SVCBKeyValue) bool {
		m, ok := value.(*dns.SVCBMandatory)
		if !ok {
			return false
		}
		m.Code = slices.DeleteFunc(m.Code, func(k dns.SVCBKey) bool { return slices.Contains(keys, k) })
		return len(m.Code) == 0
	})
}
