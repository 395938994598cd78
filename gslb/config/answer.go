package config

import (
	"net/netip"
	"strings"

	"github.com/sluicelb/sluice/internal/strict"
)

type rawAnswer struct {
	Name          string      `yaml:"name,required"`
	Kind          AnswerKind  `yaml:"kind,required"`
	Owner         *string     `yaml:"owner"`
	DataCenter    *string     `yaml:"data_center"`
	IPv4          *string     `yaml:"ipv4"`
	IPv6          *string     `yaml:"ipv6"`
	Target        *string     `yaml:"target"`
	Servers       []string    `yaml:"servers"`
	Keepalives    []rawInline `yaml:"keepalives"`
	ControllerVIP *string     `yaml:"controller_vip"`
	Suspended     *bool       `yaml:"suspended"`
}

func (p *parser) answersOf(raw []rawAnswer, dataCenters []DataCenter) []Answer {
	p.atMost("answers", len(raw), maxAnswers)
	p.answerNames.what = "an answer"
	all := make([]Answer, len(raw))
	for i, r := range raw {
		path := item("answers", i)
		p.name(&p.answerNames, "answers", i, r.Name)
		a := Answer{
			Name:       r.Name,
			Kind:       r.Kind,
			Owner:      p.reference(&p.ownerNames, path+".owner", r.Owner),
			DataCenter: p.reference(&p.dataCenterNames, path+".data_center", r.DataCenter),
			Suspended:  orFalse(r.Suspended),
		}
		mine := p.says(path, r, &a)
		a.Keepalives = p.keepalivesOf(path+".keepalives", r.Keepalives, mine)
		a.ControllerVIP = p.controllerVIP(path, r, a, dataCenters)
		all[i] = a
	}
	return all
}

// says reads what an answer says, which is also where it is.
func (p *parser) says(path string, r rawAnswer, a *Answer) own {
	switch a.Kind {
	case VIP:
		p.leftOut(path, "of vip answers: they have ipv4 and ipv6", "target", "servers")
		return p.addresses(path, r, a)
	case CNAME:
		p.leftOut(path, "of cname answers: they have target", "ipv4", "ipv6", "servers")
		a.Target = p.domain(path+".target", r.Target, "the name that stands for the one that is asked for")
		return own{none: "a cname answer has no address of its own"}
	case NameServer:
		p.leftOut(path, "of name_server answers: they have servers", "ipv4", "ipv6", "target")
		switch {
		case p.Has(path + ".servers"):
			a.Servers = p.endpoints(path+".servers", r.Servers)
		default:
			p.Add(path+".servers", "is missing: must be the name servers to ask, tried in order")
		}
		if len(r.Servers) > 1 {
			return own{none: "the answer has several servers, of which one is enough"}
		}
		return own{at: a.Servers, none: "the answer has no good server"}
	}
	return own{none: "the answer has no good kind"}
}

func (p *parser) addresses(path string, r rawAnswer, a *Answer) own {
	if r.IPv4 == nil && r.IPv6 == nil && !p.Bad(path+".ipv4") && !p.Bad(path+".ipv6") {
		p.Add(path, "must have ipv4 or ipv6, or both: it is a vip answer")
	}
	var at []netip.AddrPort
	add := func(path string, text *string, is4 bool, example string) netip.Addr {
		if text == nil {
			return netip.Addr{}
		}
		addr, err := netip.ParseAddr(*text)
		if err != nil || addr.Is4() != is4 || addr.Is4In6() {
			p.Add(path, "must be an address such as %s, is %s", example, strict.Quote(*text))
			return netip.Addr{}
		}
		if !isHost(addr) {
			p.Add(path, "must be the address of a host, is %s", strict.Quote(*text))
			return netip.Addr{}
		}
		at = append(at, netip.AddrPortFrom(addr, 0))
		return addr
	}
	a.IPv4 = add(path+".ipv4", r.IPv4, true, "192.0.2.1")
	a.IPv6 = add(path+".ipv6", r.IPv6, false, "2001:db8::1")
	return own{at: at, none: "the answer has no good address"}
}

// controllerVIP reads the name of a VIP at the data center's controller.
func (p *parser) controllerVIP(path string, r rawAnswer, a Answer, dataCenters []DataCenter) string {
	if r.ControllerVIP == nil {
		return ""
	}
	at := path + ".controller_vip"
	switch {
	case strings.TrimSpace(*r.ControllerVIP) == "" || !nameForm.MatchString(*r.ControllerVIP):
		p.Add(at, "must be the name of a VIP at the data center's controller, is %s", strict.Quote(*r.ControllerVIP))
	case r.DataCenter == nil && !p.Bad(path+".data_center"):
		p.Add(at, "must be left out of answers without a data_center, whose controller it is that knows")
	case a.DataCenter != None && dataCenters[a.DataCenter].Controller == "" &&
		!p.Bad(item("data_centers", a.DataCenter)+".controller"):
		p.Add(at, "must be left out while %s has no controller", p.is(item("data_centers", a.DataCenter)))
	}
	return *r.ControllerVIP
}

// reportsLoad says whether there is somebody who knows the answer's load.
func (p *parser) reportsLoad(a Answer) bool {
	for _, k := range a.Keepalives {
		if p.keepalives[k].Kind == LoadReport {
			return true
		}
	}
	return a.ControllerVIP != ""
}
