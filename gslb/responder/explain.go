package responder

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/selection"
	"github.com/sluicelb/sluice/gslb/zone"
)

// Story is how an answer comes about: what the zones say about each name on the way, and what the rules chose there.
type Story struct {
	Steps   []Step `json:"steps"`
	Outcome string `json:"outcome"` // the RCODE; or "forward", "wait"
	// Records are those of the response, as zone files have them.
	Answer     []string `json:"answer,omitempty"`
	Authority  []string `json:"authority,omitempty"`
	Additional []string `json:"additional,omitempty"`
	Forward    []string `json:"forward,omitempty"`  // servers, in the order they are tried
	MaxWait    string   `json:"max_wait,omitempty"` // how long the query would wait
	Scope      uint8    `json:"scope"`              // RFC 7871

	now int64
}

// Step is one name on the way from the name that was asked for to the answer.
type Step struct {
	Name string `json:"name"`
	Zone string `json:"zone,omitempty"` // empty outside all zones
	Data string `json:"data"`           // what there is at the name, in words
	// Why are the selections of the rules that balance the name, or the names in hints of its records. There are
	// several where the question is for several types.
	Why []selection.Why `json:"why,omitempty"`
}

// Explain tells how a query of class IN over TCP would be answered at this moment: one from client, and for the client
// subnet unless that is invalid. Round robins are taken to be at their start, and nothing is changed. The name is in
// presentation form.
func Explain(v *View, name string, qtype uint16, client netip.Addr, subnet netip.Prefix) (*Story, error) {
	query := new(dns.Msg)
	query.SetQuestion(dns.Fqdn(name), qtype)
	if subnet.IsValid() {
		query.SetEdns0(dns.MaxMsgSize, false)
		opt := query.IsEdns0()
		opt.Option = append(opt.Option, &dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: subnetOption(subnet)})
	}
	wire, err := query.Pack()
	if err != nil {
		return nil, fmt.Errorf("name %q: %w", name, err)
	}
	now := time.Now().UnixNano()
	r, rcode := start(v, &Client{Addr: netip.AddrPortFrom(client, 0), TCP: true, Core: new(Core), Now: now}, wire)
	r.story = &Story{now: now}
	r.story.end(r.respond(rcode), r)
	return r.story, nil
}

// subnetOption is the value of the option that names a subnet.
func subnetOption(p netip.Prefix) []byte {
	p = p.Masked()
	family := byte(1)
	if p.Addr().Is6() {
		family = 2
	}
	return append([]byte{0, family, byte(p.Bits()), 0}, p.Addr().AsSlice()[:(p.Bits()+7)/8]...)
}

// step tells what the zones say about a name. Like the others it does nothing to a story that nobody wants to hear.
func (s *Story) step(at hop, found zone.Result) {
	if s == nil {
		return
	}
	step := Step{Name: at.owner, Data: found.Kind.String()}
	if found.Zone != nil {
		step.Zone = found.Zone.Name
	}
	if found.Owner > 0 {
		above := presentation(at.name[found.Owner:])
		switch {
		case found.Wildcard:
			step.Data += ", by the wildcard of " + above
		case found.Miss:
			step.Data += ", its closest encloser is " + above
		default:
			step.Data += " at " + above
		}
	}
	s.Steps = append(s.Steps, step)
}

// expression tells that the rules of regular expressions have the name.
func (s *Story) expression() {
	if s != nil {
		s.Steps[len(s.Steps)-1].Data += "; rules by regular expression"
	}
}

// aboveExpression tells that the name exists because of others.
func (s *Story) aboveExpression() {
	if s != nil {
		s.Steps[len(s.Steps)-1].Data += "; but names below it may have rules by regular expression: no data"
	}
}

// noRule tells what is left of the name for a client that no rule has.
func (s *Story) noRule(found zone.Result) {
	if s != nil {
		s.Steps[len(s.Steps)-1].Data += "; no rule has this client, who gets: " + found.Kind.String()
	}
}

// choose is reply.choose with the reasons.
func (s *Story) choose(v *View, q *selection.Query) *selection.Choice {
	choice, why := v.Rules.Explain(v.States, q)
	if choice.Sticky && v.Sticky != nil {
		if q.Stuck = v.Sticky.Get(choice.StickyKey, s.now); q.Stuck != 0 {
			choice, why = v.Rules.Explain(v.States, q)
		}
	}
	last := &s.Steps[len(s.Steps)-1]
	last.Why = append(last.Why, why)
	return &choice
}

// end tells what the response is.
func (s *Story) end(resp Response, r *reply) {
	s.Scope = resp.Scope
	switch resp.Disposition {
	case Forward:
		s.Outcome = "forward"
		for _, server := range resp.Forward {
			s.Forward = append(s.Forward, server.String())
		}
	case Wait:
		s.Outcome, s.MaxWait = "wait", resp.MaxWait.String()
	default:
		s.Outcome = dns.RcodeToString[resp.Rcode]
		s.Answer = lines(r.msg.Answer)
		s.Authority = lines(r.msg.Ns)
		for _, rr := range r.msg.Extra {
			if rr.Header().Rrtype != dns.TypeOPT {
				s.Additional = append(s.Additional, rr.String())
			}
		}
	}
}

func lines(rrs []dns.RR) []string {
	var out []string
	for _, rr := range rrs {
		out = append(out, rr.String())
	}
	return out
}

// Lines is the story for people.
func (s *Story) Lines() []string {
	var out []string
	for _, step := range s.Steps {
		line := step.Name + ": " + step.Data
		if step.Zone != "" {
			line += " (zone " + step.Zone + ")"
		}
		out = append(out, line)
		for i := range step.Why {
			for _, l := range step.Why[i].Lines() {
				out = append(out, "  "+l)
			}
		}
	}
	out = append(out, "outcome: "+s.Outcome)
	for _, server := range s.Forward {
		out = append(out, "  to "+server)
	}
	if s.MaxWait != "" {
		out = append(out, "  for at most "+s.MaxWait)
	}
	for _, section := range []struct {
		name string
		rrs  []string
	}{{"answer", s.Answer}, {"authority", s.Authority}, {"additional", s.Additional}} {
		for _, rr := range section.rrs {
			out = append(out, section.name+": "+rr)
		}
	}
	return append(out, fmt.Sprintf("client subnet scope: /%d", s.Scope))
}
