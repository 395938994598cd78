package config

import (
	"net/netip"
	"time"
)

type rawRule struct {
	Name         string         `yaml:"name,required"`
	Owner        *string        `yaml:"owner"`
	Sources      *string        `yaml:"sources"`
	Domains      *string        `yaml:"domains,required"`
	TTL          *int           `yaml:"ttl"`
	Clauses      []rawClause    `yaml:"clauses,required"`
	AllDown      *Policy        `yaml:"all_down"`
	Unknown      *UnknownPolicy `yaml:"unknown"`
	MaxWait      *time.Duration `yaml:"max_wait"`
	Forward      []string       `yaml:"forward"`
	ClientSubnet *bool          `yaml:"client_subnet"`
	Prefix4      *int           `yaml:"prefix4"`
	Prefix6      *int           `yaml:"prefix6"`
	Sticky       *rawSticky     `yaml:"sticky"`
	Suspended    *bool          `yaml:"suspended"`
}

type rawClause struct {
	Group   *string  `yaml:"group,required"`
	Balance *Balance `yaml:"balance"`
	Count   *int     `yaml:"count"`
	AllDown *Policy  `yaml:"all_down"`
}

type rawSticky struct {
	By         StickyBy       `yaml:"by,required"`
	Inactivity *time.Duration `yaml:"inactivity"`
}

func (p *parser) rulesOf(raw []rawRule, c *Config) []Rule {
	p.atMost("rules", len(raw), maxRules)
	var names index
	all := make([]Rule, len(raw))
	for i, r := range raw {
		path := item("rules", i)
		p.name(&names, "rules", i, r.Name)
		rule := Rule{
			Name:         r.Name,
			Owner:        p.reference(&p.ownerNames, path+".owner", r.Owner),
			Domains:      p.reference(&p.domainNames, path+".domains", r.Domains),
			TTL:          uint32(p.Number(path+".ttl", r.TTL, defaultTTL, 0, maxTTL)),
			ClientSubnet: orFalse(r.ClientSubnet),
			Suspended:    orFalse(r.Suspended),
		}
		if r.Sources != nil && *r.Sources != Anywhere {
			rule.Sources = 1 + p.reference(&p.sourceNames, path+".sources", r.Sources) // Anywhere is before the file's
		}
		rule.Clauses = p.clauses(path, r, c)
		rule.Forward = p.ruleForward(path, r, rule.Clauses)
		rule.Unknown, rule.MaxWait = p.unknown(path, r)
		prefix4, prefix6 := defaultPrefix4, defaultPrefix6
		if rule.ClientSubnet {
			prefix4, prefix6 = subnetPrefix4, subnetPrefix6
		}
		rule.Prefix4 = p.Number(path+".prefix4", r.Prefix4, prefix4, 1, 32)
		rule.Prefix6 = p.Number(path+".prefix6", r.Prefix6, prefix6, 1, 128)
		if r.Sticky != nil {
			rule.Sticky = Sticky{r.Sticky.By, p.Duration(path+".sticky.inactivity", r.Sticky.Inactivity,
				defaultInactivity, minInactivity, maxInactivity)}
		}
		all[i] = rule
	}
	return all
}

func (p *parser) clauses(rule string, r rawRule, c *Config) []Clause {
	p.atLeastOne(rule+".clauses", len(r.Clauses), "clause")
	p.atMost(rule+".clauses", len(r.Clauses), maxClauses)
	last := AllAnswers
	if r.AllDown != nil {
		last = *r.AllDown
	}
	if last == NextClause {
		p.Add(rule+".all_down", "must be %s, is next_clause: after the last clause there is none",
			either(policies[AllAnswers:]))
	}
	all := make([]Clause, len(r.Clauses))
	for i, rc := range r.Clauses {
		path := item(rule+".clauses", i)
		clause := Clause{
			Group:   p.reference(&p.groupNames, path+".group", rc.Group),
			Balance: RoundRobin,
			AllDown: NextClause,
		}
		if rc.Balance != nil {
			clause.Balance = *rc.Balance
		}
		clause.Count = p.Number(path+".count", rc.Count, 1, 1, maxCount)
		if clause.Group != None {
			g := c.Groups[clause.Group]
			p.balanceable(path+".balance", clause.Balance, g, c)
			if (g.Kind == CNAME || g.Kind == NameServer) && clause.Count > 1 {
				p.Add(path+".count", "must be 1, or be left out, for a group of %s answers, is %d: a response has "+
					"one of them", g.Kind, clause.Count)
			}
		}
		isLast := i == len(r.Clauses)-1
		if isLast {
			clause.AllDown = last
		}
		if rc.AllDown != nil {
			clause.AllDown = *rc.AllDown
			if isLast && *rc.AllDown == NextClause {
				p.Add(path+".all_down", "must be %s, is next_clause: there is no next one",
					either(policies[AllAnswers:]))
			}
			if isLast && r.AllDown != nil {
				p.Add(path+".all_down", "must be left out of the last clause while the rule has one, %s",
					p.is(rule+".all_down"))
			}
		}
		all[i] = clause
	}
	return all
}

// ruleForward reads whom queries go to when a policy is forward.
func (p *parser) ruleForward(path string, r rawRule, clauses []Clause) []netip.AddrPort {
	needed := false
	for _, clause := range clauses {
		needed = needed || clause.AllDown == Forward
	}
	switch {
	case p.Has(path + ".forward"):
		if !needed && p.Usable(path+".all_down") == p.Has(path+".all_down") {
			p.Add(path+".forward", "must be left out while no all_down is forward")
		}
		if p.Usable(path + ".forward") {
			return p.endpoints(path+".forward", r.Forward)
		}
	case needed:
		p.Add(path+".forward", "is missing: must be the name servers that all_down: forward forwards to")
	}
	return nil
}

func (p *parser) unknown(path string, r rawRule) (UnknownPolicy, time.Duration) {
	policy := Wait
	if r.Unknown != nil {
		policy = *r.Unknown
	}
	if policy != Wait {
		p.leftOut(path, "unless unknown is wait", "max_wait")
		return policy, 0
	}
	return policy, p.Duration(path+".max_wait", r.MaxWait, defaultMaxWait, minMaxWait, maxMaxWait)
}
