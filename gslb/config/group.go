package config

import (
	"cmp"
	"slices"
)

type rawGroup struct {
	Name    string      `yaml:"name,required"`
	Owner   *string     `yaml:"owner"`
	Members []rawMember `yaml:"members,required"`
}

type rawMember struct {
	Answer        *string `yaml:"answer,required"`
	Order         *int    `yaml:"order"`
	Weight        *int    `yaml:"weight"`
	LoadThreshold *int    `yaml:"load_threshold"`
}

func (p *parser) groupsOf(raw []rawGroup, c *Config) []Group {
	p.atMost("groups", len(raw), maxGroups)
	p.groupNames.what = "a group"
	all := make([]Group, len(raw))
	for i, r := range raw {
		path := item("groups", i)
		p.name(&p.groupNames, "groups", i, r.Name)
		p.atLeastOne(path+".members", len(r.Members), "answer")
		p.atMost(path+".members", len(r.Members), maxMembers)
		g := Group{Name: r.Name, Owner: p.reference(&p.ownerNames, path+".owner", r.Owner)}
		first := None // the member that the kind is of
		seen := make(map[int]int, len(r.Members))
		for j, m := range r.Members {
			at := item(path+".members", j)
			member := Member{
				Answer:        p.reference(&p.answerNames, at+".answer", m.Answer),
				Order:         p.Number(at+".order", m.Order, j+1, 1, maxOrder),
				Weight:        p.Number(at+".weight", m.Weight, defaultWeight, 0, maxWeight),
				LoadThreshold: p.Number(at+".load_threshold", m.LoadThreshold, 0, minThreshold, maxThreshold),
			}
			if member.Answer == None {
				continue
			}
			if before, ok := seen[member.Answer]; ok {
				p.Add(at+".answer", "must be unique in its group, %s is that of %s too", *m.Answer,
					p.is(item(path+".members", before)))
				continue
			}
			seen[member.Answer] = j
			answer := c.Answers[member.Answer]
			if m.LoadThreshold != nil && !p.reportsLoad(answer) {
				p.Add(at+".load_threshold", "must be left out while nobody reports the load of answer %s: it has "+
					"neither a load_report keepalive nor a controller_vip", answer.Name)
			}
			switch {
			case answer.Kind == 0: // has its problem
			case first == None:
				first, g.Kind = j, answer.Kind
			case answer.Kind != g.Kind:
				p.Add(at+".answer", "must be of kind %s as %s, is of kind %s: a group has answers of one kind", g.Kind,
					p.is(item(path+".members", first)), answer.Kind)
				continue
			}
			g.Members = append(g.Members, member)
		}
		slices.SortStableFunc(g.Members, func(a, b Member) int { return cmp.Compare(a.Order, b.Order) })
		all[i] = g
	}
	return all
}

// balanceable refuses a balance method that the clause's group cannot have.
func (p *parser) balanceable(path string, b Balance, g Group, c *Config) {
	switch {
	case b != LeastLoaded || p.Bad(path):
	case g.Kind == NameServer:
		p.Add(path, "must be %s for a group of name_server answers, is least_loaded",
			either(slices.DeleteFunc(slices.Clone(balances[1:]), func(w string) bool {
				return w == LeastLoaded.String()
			})))
	default:
		for _, m := range g.Members {
			if a := c.Answers[m.Answer]; !p.reportsLoad(a) {
				p.Add(path, "must not be least_loaded while nobody reports the load of answer %s of group %s: it has "+
					"neither a load_report keepalive nor a controller_vip", a.Name, g.Name)
				return
			}
		}
	}
}
