package responder

import (
	"bytes"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/zone"
)

// maxHops is how many CNAMEs and DNAMEs one response follows. The client follows the rest.
const maxHops = 8

// maxName is how long a name in wire format may be (RFC 1035 section 2.3.4).
const maxName = 255

// hop is one name on the way from the one that was asked for to an answer.
type hop struct {
	name  []byte // wire format, lower case
	owner string // the same, as miekg/dns writes it
	first bool
}

// resolve answers a query of class IN: the algorithm of RFC 1034 section 4.3.2, with rules in the place of records
// where a name is balanced.
func (r *reply) resolve() Response {
	at := hop{r.q.name, r.q.owner, true}
	var seen [][]byte
	for {
		next := r.step(at)
		if r.Disposition != Reply {
			return r.Response
		}
		seen = append(seen, at.name)
		if next == nil || len(seen) > maxHops ||
			slices.ContainsFunc(seen, func(n []byte) bool { return bytes.Equal(n, next) }) {
			return r.done()
		}
		at = hop{next, presentation(next), false}
	}
}

// step adds what there is at one name. It returns the name where the answer goes on; nil if it does not. An outcome
// that is about the whole query, such as forwarding, is the first name's alone: for those that follow, the client
// can ask by itself.
func (r *reply) step(at hop) (next []byte) {
	found := r.v.Zones.Lookup(at.name, r.q.qtype)
	if at.first {
		r.Limit = at.name[found.Owner:]
	}
	r.story.step(at, found)
	if set := r.rules(at.name, found); set >= 0 {
		if found.Miss {
			r.story.expression()
		}
		next, ok := r.byRules(at, found.Zone, set)
		if ok {
			return next
		}
		found = found.WithoutRules()
		r.story.noRule(found)
	} else if found.Kind == zone.NXDomain && r.v.Rules.AboveRegexp(at.name) {
		found.Kind = zone.NoData
		r.story.aboveExpression()
	}
	return r.byZone(at, found)
}

// rules is the rule set that answers at a name, -1 where records do. Expressions are tried last, and only against names
// of our zones: one that matches everything makes nobody an authority for everything.
func (r *reply) rules(name []byte, found zone.Result) int32 {
	switch {
	case found.Kind == zone.ByRules:
		return found.Set
	case found.Miss && found.Zone != nil:
		return r.v.Rules.MatchRegexp(name)
	}
	return config.None
}

// byZone adds what static data say.
func (r *reply) byZone(at hop, found zone.Result) (next []byte) {
	if r.fetched(at, found.Zone) {
		return nil
	}
	switch found.Kind {
	case zone.NotOurs:
		r.notOurs(at, found.Zone)
	case zone.Positive:
		r.authoritative(at)
		rrs := records(found.RRset.RRs, at.owner, found.RRset.TTL)
		if t := found.RRset.Type; t == dns.TypeHTTPS || t == dns.TypeSVCB {
			rrs = r.liveHints(at, rrs)
		}
		r.addAnswer(rrs)
	case zone.CNAME:
		r.authoritative(at)
		r.addAnswer(records(found.RRset.RRs, at.owner, found.RRset.TTL))
		return found.RRset.Target
	case zone.DNAME:
		return r.dname(at, found)
	case zone.Delegation:
		// Not our data, hence no AA; after a CNAME of ours there is (RFC 1034 section 6.2.7).
		r.Kind = Referral
		r.authority = append(r.authority, found.RRset.RRs)
		r.glue(found.RRset)
	case zone.NoData:
		r.negative(at, found.Zone, dns.RcodeSuccess, math.MaxUint32)
	case zone.NXDomain:
		r.negative(at, found.Zone, dns.RcodeNameError, math.MaxUint32)
	}
	return nil
}

// fetched answers a question for the SOA of a zone that has none of its own with the one that its negative answers
// carry, and reports whether it did.
func (r *reply) fetched(at hop, z *zone.Zone) bool {
	if z == nil || z.SOA != nil || r.q.qtype != dns.TypeSOA || !bytes.Equal(at.name, z.Wire) {
		return false
	}
	soa := r.soa(z)
	if soa == nil {
		return false
	}
	r.authoritative(at)
	r.addAnswer([]dns.RR{soa})
	return true
}

// authoritative sets AA, which is about the first name (RFC 1035 section 4.1.1).
func (r *reply) authoritative(at hop) {
	if at.first {
		r.msg.Authoritative = true
	}
}

// notOurs is for names that nothing here covers: what the zone around them says, else the server.
func (r *reply) notOurs(at hop, z *zone.Zone) {
	if !at.first {
		return
	}
	policy, servers := r.v.Config.Server.NoMatch, r.v.Config.Server.Forward
	if z != nil && z.NoMatch != config.NoMatchDefault {
		policy, servers = z.NoMatch, z.Forward
	}
	if policy == config.NoMatchForward {
		r.forward(servers)
		return
	}
	r.msg.Rcode = dns.RcodeRefused
}

// addAnswer adds an RRset to the answer, once: several names of a chain may lie below the same DNAME, and no record
// stands in a response twice (RFC 2181 section 5).
func (r *reply) addAnswer(rrs []dns.RR) {
	if !slices.ContainsFunc(r.answer, func(set []dns.RR) bool { return sameRRset(set[0], rrs[0]) }) {
		r.answer = append(r.answer, rrs)
	}
}

// dname adds the DNAME at an ancestor of the name, and the CNAME that follows from it (RFC 6672 section 3).
func (r *reply) dname(at hop, found zone.Result) (next []byte) {
	r.authoritative(at)
	r.addAnswer(found.RRset.RRs)
	if int(found.Owner)+len(found.RRset.Target) > maxName {
		r.msg.Rcode = dns.RcodeYXDomain
		return nil
	}
	next = slices.Concat(at.name[:found.Owner], found.RRset.Target)
	r.addAnswer([]dns.RR{&dns.CNAME{
		Hdr:    dns.RR_Header{Name: at.owner, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: found.RRset.TTL},
		Target: presentation(next),
	}})
	if r.q.qtype == dns.TypeCNAME || r.q.qtype == dns.TypeANY {
		return nil
	}
	return next
}

// glue adds the addresses of a delegation's name servers, by RRsets. Without the required ones the client may
// not get any further, so that TC is set when they do not fit (RFC 9471 section 3).
func (r *reply) glue(delegation *zone.RRset) {
	for i, rr := range delegation.Glue {
		n := len(r.additional)
		if i > 0 && i != delegation.GlueRequired && sameRRset(r.additional[n-1][0], rr) {
			r.additional[n-1] = append(r.additional[n-1], rr)
			continue
		}
		r.additional = append(r.additional, []dns.RR{rr})
		if i >= delegation.GlueRequired {
			r.optional++
		}
	}
}

func sameRRset(a, b dns.RR) bool {
	return a.Header().Rrtype == b.Header().Rrtype && a.Header().Name == b.Header().Name
}

// negative says that there is no such type, or no such name, with the SOA that says for how long (RFC 2308). It
// goes without where the SOA is another server's and has not been fetched: such an answer is not cached. It is not to
// be cached for longer than most either.
func (r *reply) negative(at hop, z *zone.Zone, rcode int, most uint32) {
	r.authoritative(at)
	r.msg.Rcode = rcode
	r.Kind = NoData
	if rcode == dns.RcodeNameError {
		r.Kind = NXDomain
	}
	if z == nil {
		return
	}
	if soa := r.soa(z); soa != nil {
		r.authority = append(r.authority, records([]dns.RR{soa}, soa.Hdr.Name, min(soa.Hdr.Ttl, most)))
	}
}

// soa is the SOA of a zone as negative answers have it; nil where it is not known.
func (r *reply) soa(z *zone.Zone) *dns.SOA {
	switch {
	case z.NegativeSOA != nil:
		return z.NegativeSOA
	case r.v.Negative == nil:
		return nil
	}
	soa := r.v.Negative.SOA(z.Name, time.Unix(0, r.c.Now))
	if soa == nil || soa.Hdr.Ttl <= soa.Minttl {
		return soa
	}
	lesser := *soa
	lesser.Hdr.Ttl = soa.Minttl
	return &lesser
}

// forward makes the query one that is relayed.
func (r *reply) forward(servers []netip.AddrPort) {
	r.Disposition = Forward
	r.Forward = servers
}

// records are rrs with that owner and TTL. It copies those that have others, because they are shared.
func records(rrs []dns.RR, owner string, ttl uint32) []dns.RR {
	out := make([]dns.RR, len(rrs))
	for i, rr := range rrs {
		if h := rr.Header(); h.Name != owner || h.Ttl != ttl {
			rr = dns.Copy(rr)
			rr.Header().Name, rr.Header().Ttl = owner, ttl
		}
		out[i] = rr
	}
	return out
}
