package config

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/sluicelb/sluice/internal/strict"
)

type rawDomainList struct {
	Name        string   `yaml:"name,required"`
	Owner       *string  `yaml:"owner"`
	Domains     []string `yaml:"domains"`
	Expressions []string `yaml:"expressions"`
}

func (p *parser) domainListsOf(raw []rawDomainList) []DomainList {
	p.atMost("domain_lists", len(raw), maxDomainLists)
	p.domainNames.what = "a domain list"
	all := make([]DomainList, len(raw))
	expressions := 0
	for i, r := range raw {
		path := item("domain_lists", i)
		p.name(&p.domainNames, "domain_lists", i, r.Name)
		all[i] = DomainList{Name: r.Name, Owner: p.reference(&p.ownerNames, path+".owner", r.Owner)}
		if n := len(r.Domains) + len(r.Expressions); n == 0 && !p.Bad(path+".domains") && !p.Bad(path+".expressions") {
			p.Add(path, "must have at least one name in domains, or expression in expressions")
		} else if n > maxDomains {
			p.Add(path, "must have at most %d names and expressions, has %d", maxDomains, n)
		}
		all[i].Domains = append(p.names(path+".domains", r.Domains),
			p.expressions(path+".expressions", r.Expressions)...)
		expressions += len(r.Expressions)
	}
	if expressions > maxExpressions {
		p.Add("domain_lists", "must have at most %d expressions together, have %d: a name that no zone and no list "+
			"has is held against each", maxExpressions, expressions)
	}
	return all
}

// names reads names and wildcards. Lists are long: paths are made for problems only.
func (p *parser) names(path string, list []string) []Domain {
	all := make([]Domain, len(list))
	seen := make(map[string]int, len(list))
	for i, text := range list {
		if text == "" && p.Bad(item(path, i)) {
			continue
		}
		name, err := canonical(text)
		if err == nil && strings.Contains(strings.TrimPrefix(name, "*."), "*") {
			err = errStar
		}
		if err != nil {
			p.Add(item(path, i), "must be a domain name such as www.example.com, or a wildcard such as "+
				"*.example.com, is %s: %v", strict.Quote(text), err)
			continue
		}
		if first, ok := seen[name]; ok {
			p.Add(item(path, i), "must be unique, %s is %s too", name, p.is(item(path, first)))
			continue
		}
		seen[name] = i
		all[i].Name = name
	}
	return all
}

func (p *parser) expressions(path string, list []string) []Domain {
	var all []Domain
	seen := make(map[string]string)
	for i, text := range list {
		at := item(path, i)
		if p.Bad(at) {
			continue
		}
		expression, err := compile(text)
		if err != nil {
			p.Add(at, "must be a POSIX extended regular expression, is %s: %v", strict.Quote(text), err)
			continue
		}
		if first, ok := seen[text]; ok {
			p.Add(at, "must be unique, is %s too", p.is(first))
			continue
		}
		seen[text] = at
		all = append(all, Domain{Regexp: expression})
	}
	return all
}

// compile compiles a POSIX extended regular expression of bounded size.
func compile(text string) (*regexp.Regexp, error) {
	switch {
	case text == "":
		return nil, errors.New("it is empty")
	case len(text) > maxExpression:
		return nil, fmt.Errorf("it has %d bytes, may have %d", len(text), maxExpression)
	case strings.ContainsFunc(text, func(r rune) bool { return 'A' <= r && r <= 'Z' }):
		return nil, errors.New("names are matched in lower case, and it has capital letters")
	}
	tree, err := syntax.Parse(text, syntax.POSIX)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, err
	}
	if len(program.Inst) > maxInstructions {
		return nil, fmt.Errorf("it compiles to %d instructions, may have %d: make its repetitions smaller",
			len(program.Inst), maxInstructions)
	}
	return regexp.CompilePOSIX(text)
}
