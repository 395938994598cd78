package responder

import (
	"net/netip"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/selection"
	"github.com/sluicelb/sluice/gslb/zone"
)

// choose asks the rules. Round robins stay where they are.
func (r *reply) choose(set int32, name []byte, qtype uint16, cursors []uint32) *selection.Choice {
	q := &selection.Query{
		Set:     set,
		Name:    name,
		Type:    qtype,
		Source:  r.c.Addr.Addr().Unmap(),
		Cursors: cursors,
	}
	if r.q.subnet != nil {
		q.Subnet = r.q.subnet.prefix
	}
	if r.story != nil {
		return r.story.choose(r.v, q)
	}
	choice := new(selection.Choice)
	r.v.Rules.SelectSticky(r.v.States, q, r.v.Sticky, r.c.Now, choice)
	return choice
}

// take has the response depend on the choice.
func (r *reply) take(c *selection.Choice, cursors []uint32) {
	c.Advance(cursors)
	r.note(c)
	if c.SubnetUsed {
		r.scope = max(r.scope, c.Scope)
	}
}

// note keeps who decided, for metrics.
func (r *reply) note(c *selection.Choice) {
	r.Rule, r.Clause, r.Answer = c.Rule, c.Clause, config.None
	if c.N > 0 {
		r.Answer = c.Answers[0]
	}
}

// byRules adds what the rules of the set say at a name. ok is false if no rule has the client. A negative answer's
// scope is 0 (RFC 7871 section 7.4).
func (r *reply) byRules(at hop, z *zone.Zone, set int32) (next []byte, ok bool) {
	cursors := r.c.Core.Cursors(r.v.Rules)
	c, qtype := r.chooseType(set, at.name, cursors)
	if c.Outcome == selection.NoRule {
		return nil, false
	}
	r.note(c)
	switch c.Outcome {
	case selection.Addresses:
		r.authoritative(at)
		r.take(c, cursors)
		r.addAnswer(addresses(r.v.Config, c, at.owner, qtype))
	case selection.CNAME:
		r.authoritative(at)
		r.take(c, cursors)
		target := r.v.Config.Answers[c.Answers[0]].Target
		r.addAnswer([]dns.RR{&dns.CNAME{Hdr: header(at.owner, dns.TypeCNAME, c.TTL), Target: target}})
		if r.q.qtype != dns.TypeCNAME && r.q.qtype != dns.TypeANY {
			next = mustName(target)
		}
	case selection.NoData:
		// What is down may be up again: the rule's TTL is for how long nobody must know.
		r.negative(at, z, dns.RcodeSuccess, c.TTL)
	case selection.Refused:
		if at.first {
			r.msg.Rcode = dns.RcodeRefused
		}
	case selection.Forward:
		if at.first {
			r.take(c, cursors)
			r.forward(c.Servers)
		}
	case selection.Wait:
		r.Disposition = Wait
		r.MaxWait = c.MaxWait
	}
	return next, true
}

// chooseType also says which type of addresses the choice is for: for ANY, one that there is (RFC 8482 section 4.1).
func (r *reply) chooseType(set int32, name []byte, cursors []uint32) (*selection.Choice, uint16) {
	if r.q.qtype != dns.TypeANY {
		return r.choose(set, name, r.q.qtype, cursors), r.q.qtype
	}
	c := r.choose(set, name, dns.TypeA, cursors)
	if c.Outcome != selection.NoData {
		return c, dns.TypeA
	}
	return r.choose(set, name, dns.TypeAAAA, cursors), dns.TypeAAAA
}

// addresses are the A or AAAA records of the VIPs that were chosen.
func addresses(cfg *config.Config, c *selection.Choice, owner string, qtype uint16) []dns.RR {
	var rrs []dns.RR
	for _, a := range chosen(cfg, c, qtype) {
		if qtype == dns.TypeA {
			rrs = append(rrs, &dns.A{Hdr: header(owner, qtype, c.TTL), A: a.AsSlice()})
		} else {
			rrs = append(rrs, &dns.AAAA{Hdr: header(owner, qtype, c.TTL), AAAA: a.AsSlice()})
		}
	}
	return rrs
}

// chosen are the addresses of a choice for A or AAAA.
func chosen(cfg *config.Config, c *selection.Choice, qtype uint16) []netip.Addr {
	var all []netip.Addr
	for _, i := range c.Answers[:c.N] {
		if qtype == dns.TypeA {
			all = append(all, cfg.Answers[i].IPv4)
		} else {
			all = append(all, cfg.Answers[i].IPv6)
		}
	}
	return all
}

func header(owner string, rrtype uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}

// mustName is a name of the configuration in wire format.
func mustName(s string) []byte {
	name, err := zone.Name(s)
	if err != nil {
		panic("responder: " + err.Error()) // package config lets no such name through
	}
	return name
}
