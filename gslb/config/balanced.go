package config

import (
	"net/netip"

	"github.com/miekg/dns"
)

// use is what rules make of a domain list.
type use struct {
	rule  string         // path of the first rule that uses it
	cname string         // path of the first that may answer with a CNAME; empty: none
	to    map[string]int // targets of those CNAMEs: index of the answer
}

// uses finds out what rules make of each domain list.
func uses(c *Config) map[int]*use {
	all := make(map[int]*use)
	for i, rule := range c.Rules {
		if rule.Domains == None {
			continue
		}
		u := all[rule.Domains]
		if u == nil {
			u = &use{rule: item("rules", i), to: make(map[string]int)}
			all[rule.Domains] = u
		}
		for _, clause := range rule.Clauses {
			if clause.Group == None || c.Groups[clause.Group].Kind != CNAME {
				continue
			}
			if u.cname == "" {
				u.cname = item("rules", i)
			}
			for _, m := range c.Groups[clause.Group].Members {
				u.to[c.Answers[m.Answer].Target] = m.Answer
			}
		}
	}
	return all
}

// balancedNames holds the names that rules balance against the zones.
func (p *parser) balancedNames(c *Config) {
	used := uses(c)
	for i, list := range c.DomainLists {
		u := used[i]
		if u == nil {
			continue // nobody asks for them
		}
		path := item("domain_lists", i)
		for j, d := range list.Domains {
			if d.Name != "" {
				p.balancedName(path+".domains", j, d.Name, u)
			} else if d.Regexp != nil && len(p.zones) == 0 {
				p.Add(path+".expressions", "must be matched against names of a zone, of which there is none")
				break
			}
		}
	}
}

func (p *parser) balancedName(list string, i int, name string, u *use) {
	z := p.zoneOf(name)
	if z == nil {
		p.Add(item(list, i), "must lie in a zone (%s), is %s, which %s balances", p.zoneNames(), name, u.rule)
		return
	}
	if answer, ok := u.to[name]; ok {
		p.Add(item(list, i), "must not be the target of a CNAME that %s answers it with, is that of %s", u.cname,
			p.is(item("answers", answer)))
	}
	if u.cname != "" && name == z.Name {
		p.Add(item(list, i), "must not be the name of a zone, is that of %s, while %s may answer it with a CNAME, "+
			"which must be alone at its name", p.is(z.path), u.cname)
		return
	}
	if z.cuts {
		switch cut, dname := z.above(name); {
		case dname != nil:
			p.Add(item(list, i), "must not lie below a DNAME, %s lies below that of %s", name, p.where(dname.at))
			return
		case cut != nil:
			p.Add(item(list, i), "must not be delegated, %s is at or below the delegation of %s", name, p.where(cut.at))
			return
		}
	}
	n := z.nodes[name]
	if r := n.first(dns.TypeA, dns.TypeAAAA, dns.TypeCNAME); r != nil {
		p.Add(item(list, i), "must have no %s record in its zone, %s has that of %s: %s balances the name",
			dns.Type(r.Header().Rrtype), name, p.where(r.at), u.rule)
	} else if u.cname != "" && len(n.all()) > 0 {
		r := n.records[0]
		p.Add(item(list, i), "must have no records in its zone, %s has the %s of %s: %s may answer with a CNAME, "+
			"which must be alone at its name", name, dns.Type(r.Header().Rrtype), p.where(r.at), u.cname)
	}
}

// isBalanced reports whether a domain list has the name, or a wildcard or an expression, which might match it.
func (p *parser) isBalanced(name string) bool {
	if p.listed == nil {
		p.listed = make(map[string]bool)
		for _, list := range p.domainLists {
			for _, d := range list.Domains {
				if d.Regexp != nil || isWildcard(d.Name) {
					p.listed[""] = true
				}
				p.listed[d.Name] = true
			}
		}
	}
	return p.listed[name] || p.listed[""]
}

// loops refuses queries that this server would send to itself.
func (p *parser) loops(c *Config) {
	check := func(path string, servers []netip.AddrPort) {
		for _, server := range servers {
			for _, own := range c.Server.Listen {
				switch all := own.Addr().IsUnspecified(); {
				case own.Port() == 0 || server.Port() != own.Port():
				case server == own:
					p.Add(path, "must be other servers, %s is one that this server listens on", own)
				case all && server.Addr().IsLoopback() && server.Addr().Is4() == own.Addr().Is4():
					p.Add(path, "must be other servers, %s is one that this server listens on, as it does at %s",
						server, own)
				}
			}
		}
	}
	check("server.forward", c.Server.Forward)
	for i, a := range c.Answers {
		check(item("answers", i)+".servers", a.Servers)
	}
	for i, rule := range c.Rules {
		check(item("rules", i)+".forward", rule.Forward)
	}
	for i, z := range p.zones {
		check(item("zones", i)+".soa_from", z.SOAFrom)
		if p.Has(item("zones", i) + ".forward") {
			check(item("zones", i)+".forward", z.Forward)
		}
	}
}
