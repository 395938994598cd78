package gslb

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/control"
	"github.com/sluicelb/sluice/gslb/selection"
	"github.com/sluicelb/sluice/gslb/server"
)

// mostDomains is how many names of a rule a status lists.
const mostDomains = 100

func (s service) GetStatus(_ context.Context, r *control.GetStatusRequest) (*control.GetStatusResponse, error) {
	d, now := s.d, s.d.now.Load()
	c := now.view.Config
	only, err := choose(c, r.GetSelector())
	if err != nil {
		return nil, err
	}
	counted := d.server.Counts()
	m := &control.GetStatusResponse{
		Time: stamp(time.Now()), StartedAt: stamp(d.started),
		ConfigFile: d.cfg.File, ConfigLoadedAt: stamp(now.compiled.loadedAt), ConfigError: now.notRunning(),
		Responses: responses(counted), Dropped: dropped(counted),
	}
	for _, a := range d.Addrs() {
		m.Listeners = append(m.Listeners, a.String())
	}
	chosen := make([]bool, len(c.Answers))
	for i := range c.Answers {
		if chosen[i] = slices.Contains(only.answers, c.Answers[i].Name); chosen[i] {
			m.Answers = append(m.Answers, answerStatus(c, i, now.answers[i], counted.Answers[c.Answers[i].Name]))
		}
	}
	for i := range c.DataCenters {
		m.DataCenters = append(m.DataCenters, s.dataCenterStatus(c, i, now.answers))
	}
	for i := range c.Rules {
		if leads(c, &c.Rules[i], chosen) {
			m.Rules = append(m.Rules, ruleStatus(now, i, counted))
		}
	}
	for i := range c.Zones {
		m.Zones = append(m.Zones, s.zoneStatus(&c.Zones[i]))
	}
	return m, nil
}

// leads reports whether a rule may give one of the answers.
func leads(c *config.Config, r *config.Rule, chosen []bool) bool {
	return slices.ContainsFunc(r.Clauses, func(cl config.Clause) bool {
		return slices.ContainsFunc(c.Groups[cl.Group].Members, func(m config.Member) bool { return chosen[m.Answer] })
	})
}

func nameOf[T any](list []T, index int, name func(T) string) string {
	if index == config.None {
		return ""
	}
	return name(list[index])
}

func ownerName(c *config.Config, index int) string {
	return nameOf(c.Owners, index, func(o config.Owner) string { return o.Name })
}

func dataCenterName(c *config.Config, index int) string {
	return nameOf(c.DataCenters, index, func(d config.DataCenter) string { return d.Name })
}

func regionName(c *config.Config, index int) string {
	return nameOf(c.Regions, index, func(r config.Region) string { return r.Name })
}

func answerStatus(c *config.Config, i int, st answerState, picked uint64) *control.AnswerStatus {
	a := &c.Answers[i]
	m := &control.AnswerStatus{
		Name: a.Name, Kind: a.Kind.String(), Owner: ownerName(c, a.Owner),
		DataCenter: dataCenterName(c, a.DataCenter), Region: regionName(c, regionOf(c, a)),
		State: stateOf(st.State), Reason: st.reason, Since: stamp(st.since), HasLoad: st.HasLoad, Load: uint32(st.Load),
		Picked: picked,
	}
	for _, ip := range []string{a.IPv4.String(), a.IPv6.String(), a.Target} {
		if ip != "" && ip != "invalid IP" {
			m.Values = append(m.Values, ip)
		}
	}
	for _, server := range a.Servers {
		m.Values = append(m.Values, server.String())
	}
	for _, p := range st.probes {
		reason := p.reason
		if p.unseen && reason == "" {
			reason = "no word from the controller"
		}
		m.Probes = append(m.Probes, &control.ProbeStatus{Probe: p.text, State: healthState(p.health), Reason: reason,
			Since: stamp(p.since)})
	}
	return m
}

func stateOf(s selection.State) control.State {
	if s.Suspended {
		return control.State_STATE_SUSPENDED
	}
	return healthState(s.Health)
}

func healthState(h selection.Health) control.State {
	switch h {
	case selection.Up:
		return control.State_STATE_UP
	case selection.Down:
		return control.State_STATE_DOWN
	}
	return control.State_STATE_UNKNOWN
}

func (s service) dataCenterStatus(c *config.Config, i int, answers []answerState) *control.DataCenterStatus {
	dc := &c.DataCenters[i]
	m := &control.DataCenterStatus{Name: dc.Name, Region: regionName(c, dc.Region), Controller: dc.Controller}
	for j := range c.Answers {
		if c.Answers[j].DataCenter != i {
			continue
		}
		m.Answers++
		if st := answers[j]; st.Health == selection.Up && !st.Suspended {
			m.AnswersUp++
		}
	}
	if dc.Controller != "" {
		link := s.d.watches.Controller(dc.Name)
		m.Connected, m.Since, m.Error = link.Connected, stamp(link.Since), link.Error
	}
	return m
}

func ruleStatus(now *published, i int, counted server.Counts) *control.RuleStatus {
	c := now.view.Config
	r := &c.Rules[i]
	list := &c.DomainLists[r.Domains]
	m := &control.RuleStatus{
		Name: r.Name, Owner: ownerName(c, r.Owner), Sources: c.SourceLists[r.Sources].Name, DomainList: list.Name,
		DomainsTotal: uint32(len(list.Domains)), Ttl: r.TTL, Suspended: now.view.States.RulesSuspended[i],
	}
	clauses := counted.Rules[r.Name]
	for _, d := range list.Domains[:min(mostDomains, len(list.Domains))] {
		m.Domains = append(m.Domains, domainText(d))
	}
	for j := range r.Clauses {
		cl := &r.Clauses[j]
		g := &c.Groups[cl.Group]
		status := &control.ClauseStatus{
			Group: g.Name, Balance: cl.Balance.String(), Answers: uint32(len(g.Members)),
		}
		if j < len(clauses) {
			status.Answered = clauses[j]
			m.Queries += clauses[j]
		}
		for _, member := range g.Members {
			status.Members = append(status.Members, c.Answers[member.Answer].Name)
			if live(now.answers[member.Answer].State, member) {
				status.Live++
			}
		}
		m.Clauses = append(m.Clauses, status)
	}
	return m
}

// live reports whether a member of a group may be given now, as far as its state goes.
func live(st selection.State, m config.Member) bool {
	return st.Health == selection.Up && !st.Suspended && (m.LoadThreshold == 0 || !st.HasLoad ||
		int(st.Load) <= m.LoadThreshold)
}

func domainText(d config.Domain) string {
	if d.Regexp != nil {
		return "regex " + d.Regexp.String()
	}
	return strings.TrimSuffix(d.Name, ".")
}

func (s service) zoneStatus(z *config.Zone) *control.ZoneStatus {
	m := &control.ZoneStatus{Name: z.Name, Records: uint32(len(z.Records)), Whole: len(z.SOAFrom) == 0}
	if m.Whole {
		if len(z.Records) > 0 {
			m.Soa = soaText(z.Records[0])
		}
		return m
	}
	if soa := s.d.negatives.SOA(z.Name, time.Now()); soa != nil {
		m.Soa = soaText(soa)
	} else {
		m.Error = "no SOA could be had from its servers: negative answers go without"
	}
	return m
}

func soaText(r dns.RR) string { return strings.Join(strings.Fields(r.String())[4:], " ") }

// responses are by transport and RCODE, those that there were.
func responses(c server.Counts) []*control.Count {
	var list []*control.Count
	for t := range c.Responses {
		for rcode, n := range c.Responses[t] {
			if n > 0 {
				list = append(list, &control.Count{Name: server.Transport(t).String() + " " + rcodeName(rcode),
					Count: n})
			}
		}
	}
	return list
}

// rcodeName is the name of an RCODE as the server counts them.
func rcodeName(rcode int) string {
	if rcode == dns.RcodeBadVers { // package dns calls it BADSIG, as TSIG records do
		return "BADVERS"
	}
	if name, ok := dns.RcodeToString[rcode]; ok {
		return name
	}
	return fmt.Sprintf("RCODE%d", rcode)
}

// dropped is what was not answered, or not at once, and why.
func dropped(c server.Counts) []*control.Count {
	var list []*control.Count
	for _, e := range []server.Event{
		server.DroppedResponses, server.DroppedPorts, server.DroppedMalformed, server.LimitedDropped,
		server.LimitedSlipped,
		server.ForwardFailed, server.WaitFailed, server.TCPRefused,
	} {
		if n := c.Events[e]; n > 0 {
			list = append(list, &control.Count{Name: e.String(), Count: n})
		}
	}
	return list
}
