package fastpath

import (
	"bytes"
	"math"
	"time"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/responder"
	"github.com/sluicelb/sluice/gslb/selection"
	"github.com/sluicelb/sluice/gslb/zone"
)

// maxSteps is how many names a response is about: the one that was asked for, and where its CNAME leads.
const maxSteps = 2

// step is one of them.
type step struct {
	name  []byte // wire format, lower case
	at    int    // where in the message the name is
	first bool
}

// resolve adds what there is to say to the question. It returns false where the full path must.
func (s *Scratch) resolve(cursors []uint32) bool {
	if len(s.name) == 1 { // the root is written otherwise than other names
		return false
	}
	first := step{s.name, headerSize, true}
	var has, ok bool
	if s.place, has = s.recent.find(s.name, s.qtype); has {
		s.recall()
		ok = s.byChoice(first, nil, cursors)
	} else {
		ok = s.step(first, cursors)
	}
	if !ok {
		return false
	}
	if s.response.Disposition == responder.Reply {
		s.response.Kind = s.kind()
	}
	return true
}

func (s *Scratch) kind() responder.Kind {
	switch {
	case s.rcode == dns.RcodeNameError:
		return responder.NXDomain
	case s.rcode == dns.RcodeRefused:
		return responder.Refused
	case s.count > 0:
		return responder.Answer
	}
	return responder.NoData
}

// step adds what there is at one name.
func (s *Scratch) step(at step, cursors []uint32) bool {
	found := s.view.Zones.Lookup(at.name, s.qtype)
	if at.first {
		s.response.Limit = at.name[found.Owner:]
	}
	set := int32(config.None)
	switch {
	case found.Kind == zone.ByRules:
		set = found.Set
	case found.Miss && found.Zone != nil: // expressions are of names of our zones
		set = s.view.Rules.MatchRegexp(at.name)
	}
	if set < 0 {
		if found.Kind == zone.NXDomain && s.view.Rules.AboveRegexp(at.name) {
			found.Kind = zone.NoData
		}
		return s.byZone(at, found, cursors)
	}
	if s.qtype == dns.TypeANY {
		return false
	}
	s.choose(set, at.name, cursors)
	if s.choice.Outcome == selection.NoRule {
		return s.byZone(at, found.WithoutRules(), cursors)
	}
	if at.first {
		s.remember(found.Owner)
	}
	return s.byChoice(at, found.Zone, cursors)
}

// choose asks the rules.
func (s *Scratch) choose(set int32, name []byte, cursors []uint32) {
	s.query = selection.Query{Set: set, Name: name, Type: s.qtype, Source: s.from, Subnet: s.prefix, Cursors: cursors}
	s.view.Rules.SelectSticky(s.view.States, &s.query, s.view.Sticky, s.now, &s.choice)
}

// byChoice adds what the rules chose.
func (s *Scratch) byChoice(at step, z *zone.Zone, cursors []uint32) bool {
	c := &s.choice
	s.response.Rule, s.response.Clause, s.response.Answer = c.Rule, c.Clause, config.None
	if c.N > 0 {
		s.response.Answer = c.Answers[0]
	}
	switch c.Outcome {
	case selection.Addresses:
		s.authoritative(at)
		s.take()
		return s.addresses(at)
	case selection.CNAME:
		if !at.first {
			return false
		}
		s.authoritative(at)
		s.take()
		target := s.answers.targets[c.Answers[0]]
		to, ok := s.cname(at.name, c.TTL, target)
		return ok && (s.qtype == dns.TypeCNAME || s.follow(at.name, target, to, cursors))
	case selection.NoData:
		return s.negative(at, z, dns.RcodeSuccess, c.TTL)
	case selection.Refused:
		if at.first {
			s.rcode = dns.RcodeRefused
		}
	case selection.Forward:
		if at.first {
			s.take()
			s.response.Disposition = responder.Forward
			s.response.Forward = c.Servers
		}
	case selection.Wait:
		s.response.Disposition = responder.Wait
		s.response.MaxWait = c.MaxWait
	}
	return true
}

// take has the response depend on the choice.
func (s *Scratch) take() {
	c := &s.choice
	s.turns.cursor[s.turns.n] = c.Cursor
	s.turns.stuck[s.turns.n] = c.Stick && s.view.Sticky != nil
	s.turns.n++
	if c.SubnetUsed {
		s.scope = max(s.scope, c.Scope)
	}
}

// addresses adds the records of the VIPs that were chosen.
func (s *Scratch) addresses(at step) bool {
	c := &s.choice
	if s.qtype == dns.TypeA {
		if !s.fits(c.N * sizeA) {
			return false
		}
		for _, i := range c.Answers[:c.N] {
			s.a(at.at, c.TTL, s.answers.a[i])
		}
		return true
	}
	if !s.fits(c.N * sizeAAAA) {
		return false
	}
	for _, i := range c.Answers[:c.N] {
		s.aaaa(at.at, c.TTL, s.answers.aaaa[i])
	}
	return true
}

// byZone adds what static data say.
func (s *Scratch) byZone(at step, found zone.Result, cursors []uint32) bool {
	switch found.Kind {
	case zone.NotOurs:
		return s.notOurs(at, found.Zone)
	case zone.Positive:
		s.authoritative(at)
		return s.records(at, found.RRset)
	case zone.CNAME:
		return at.first && s.alias(at, found.RRset, cursors)
	case zone.NoData:
		return s.negative(at, found.Zone, dns.RcodeSuccess, math.MaxUint32)
	case zone.NXDomain:
		return s.negative(at, found.Zone, dns.RcodeNameError, math.MaxUint32)
	}
	return false // Delegation, DNAME
}

// notOurs is for names that nothing here covers: what the zone around them says, else the server.
func (s *Scratch) notOurs(at step, z *zone.Zone) bool {
	if z != nil && s.qtype == dns.TypeSOA && bytes.Equal(at.name, z.Wire) {
		return false
	}
	if !at.first {
		return true
	}
	policy, servers := s.view.Config.Server.NoMatch, s.view.Config.Server.Forward
	if z != nil && z.NoMatch != config.NoMatchDefault {
		policy, servers = z.NoMatch, z.Forward
	}
	if policy == config.NoMatchForward {
		s.response.Disposition = responder.Forward
		s.response.Forward = servers
		return true
	}
	s.rcode = dns.RcodeRefused
	return true
}

// records adds static records.
func (s *Scratch) records(at step, set *zone.RRset) bool {
	if set.Tail == nil || set.Type == dns.TypeHTTPS || set.Type == dns.TypeSVCB || !s.fits(len(set.Tail)) {
		return false
	}
	if at.first {
		s.buf = append(s.buf, set.Tail...)
		s.count += set.Count
		return true
	}
	size := 0
	switch set.Type {
	case dns.TypeA:
		size = sizeA
	case dns.TypeAAAA:
		size = sizeAAAA
	default:
		return false // names in the data may be compressed against others
	}
	for tail := set.Tail; len(tail) > 0; tail = tail[size:] {
		s.buf = append(append(s.buf, 0xC0|byte(at.at>>8), byte(at.at)), tail[2:size]...)
		s.count++
	}
	return true
}

// alias adds a CNAME record and what there is at its target. Where capitals in the target keep package dns from
// compressing it as other names are, the full path answers, and for wildcards.
func (s *Scratch) alias(at step, set *zone.RRset, cursors []uint32) bool {
	s.authoritative(at)
	before := len(s.buf)
	to, ok := s.cname(at.name, set.TTL, set.Target)
	return ok && bytes.Equal(s.buf[before:], set.Tail) && s.follow(at.name, set.Target, to, cursors)
}

// follow adds what there is at the target of the name's CNAME.
func (s *Scratch) follow(name, target []byte, at int, cursors []uint32) bool {
	if bytes.Equal(name, target) {
		return true
	}
	return len(target) > 1 && s.step(step{target, at, false}, cursors)
}

// negative says that there is no such type, or no such name, with the SOA that says for how long (RFC 2308): at
// most that.
func (s *Scratch) negative(at step, z *zone.Zone, rcode byte, most uint32) bool {
	if !at.first {
		return false
	}
	s.aa, s.rcode = true, rcode
	if z == nil {
		return true
	}
	soa, ttl := z.Negative, z.NegativeTTL
	if soa == nil && s.view.Negative != nil {
		source, ok := s.view.Negative.(packedSource)
		if !ok {
			return false
		}
		soa, ttl = source.Packed(z.Name, time.Unix(0, s.now))
	}
	if soa != nil {
		s.buf = soa.Append(s.buf, at.name, min(ttl, most))
		s.authority++
	}
	return s.fits(0)
}

// packedSource is a responder.NegativeSource that has the records packed, too.
type packedSource interface {
	// Packed is SOA, its record ready to be appended. The TTL is at most the record's minimum.
	Packed(zone string, now time.Time) (soa *zone.Negative, ttl uint32)
}

// authoritative sets AA, which is about the first name (RFC 1035 section 4.1.1).
func (s *Scratch) authoritative(at step) {
	if at.first {
		s.aa = true
	}
}
