package gslb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/miekg/dns"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/control"
	"github.com/sluicelb/sluice/gslb/responder"
	"github.com/sluicelb/sluice/internal/text"
)

// service is what operators call.
type service struct{ d *Daemon }

// order is what an operator tells loop to do.
type order struct {
	selector *control.Selector
	suspend  bool
	done     chan obeyed
}

type obeyed struct {
	response *control.SetSuspendedResponse
	err      error
}

func (s service) SetSuspended(ctx context.Context, r *control.SetSuspendedRequest) (*control.SetSuspendedResponse,
	error) {
	o := &order{r.GetSelector(), r.GetSuspended(), make(chan obeyed, 1)}
	select {
	case s.d.orders <- o:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case did := <-o.done:
		return did.response, did.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// obey suspends or activates: stored first, then published.
func (d *Daemon) obey(o *order) obeyed {
	running := d.now.Load()
	c := running.view.Config
	if o.selector.GetRule() == "" && empty(o.selector) {
		return obeyed{err: connect.NewError(connect.CodeInvalidArgument,
			errors.New("the selector must name an answer, a data center, a region, an owner or a rule"))}
	}
	chosen, err := choose(c, o.selector)
	if err != nil {
		return obeyed{err: err}
	}
	if len(chosen.answers)+len(chosen.rules) == 0 {
		err := fmt.Errorf("no answer has all of %s", selectorText(o.selector))
		return obeyed{err: connect.NewError(connect.CodeNotFound, err)}
	}
	m := &control.SetSuspendedResponse{Selected: uint32(len(chosen.answers) + len(chosen.rules))}
	pick := func(list []string, marked map[string]bool, configured func(i int) bool,
		index func(string) int,
	) (change []string) {
		for _, name := range list {
			if marked[name] != o.suspend {
				change = append(change, name)
			}
			if !o.suspend && configured(index(name)) {
				m.Configured = append(m.Configured, name)
			}
		}
		return change
	}
	answers := pick(chosen.answers, d.suspended.answers,
		func(i int) bool { return c.Answers[i].Suspended },
		func(name string) int {
			return slices.IndexFunc(c.Answers, func(a config.Answer) bool { return a.Name == name })
		})
	rules := pick(chosen.rules, d.suspended.rules,
		func(i int) bool { return c.Rules[i].Suspended },
		func(name string) int {
			return slices.IndexFunc(c.Rules, func(r config.Rule) bool { return r.Name == name })
		})
	m.Changed = append(answers, rules...)
	if len(m.Changed) > 0 {
		next := d.suspended.with(answers, rules, o.suspend)
		if err := next.save(d.stateFile); err != nil {
			return obeyed{err: connect.NewError(connect.CodeInternal, err)}
		}
		d.suspended = next
		d.publish(running.compiled, running.configError)
		message := "rule active"
		if o.suspend {
			message = "rule suspended"
		}
		for _, name := range rules {
			d.log.Info(message, "rule", name)
		}
	}
	return obeyed{response: m}
}

// Reload has the configuration read again, and tells what it came to.
func (s service) Reload(ctx context.Context, _ *control.ReloadRequest) (*control.ReloadResponse, error) {
	told := make(chan error, 1)
	select {
	case s.d.asked <- told:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case err := <-told:
		if err != nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, err)
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c := s.d.view().Config
	return &control.ReloadResponse{
		ConfigFile: s.d.cfg.File, Rules: uint32(len(c.Rules)), Answers: uint32(len(c.Answers)),
		Zones: uint32(len(c.Zones)),
	}, nil
}

// chosen is what a selector chooses, by name, in the order of the configuration.
type chosen struct{ answers, rules []string }

func empty(s *control.Selector) bool {
	return s.GetAnswer()+s.GetDataCenter()+s.GetRegion()+s.GetOwner() == ""
}

// selectorText is what a selector asks of an answer, for people.
func selectorText(s *control.Selector) string {
	var parts []string
	for _, p := range []struct{ kind, name string }{
		{"name", s.GetAnswer()}, {"data center", s.GetDataCenter()}, {"region", s.GetRegion()}, {"owner", s.GetOwner()},
	} {
		if p.name != "" {
			parts = append(parts, fmt.Sprintf("%s %q", p.kind, p.name))
		}
	}
	return strings.Join(parts, ", ")
}

// choose returns the answers that fit all that the selector names, or its rule. A name that the configuration
// does not have is an error that lists those it has.
func choose(c *config.Config, s *control.Selector) (chosen, error) {
	if s.GetRule() != "" {
		if !empty(s) {
			return chosen{}, connect.NewError(connect.CodeInvalidArgument,
				errors.New("a rule is chosen alone, without answer, data center, region and owner"))
		}
		_, err := find("rule", s.GetRule(), c.Rules, func(r config.Rule) string { return r.Name })
		return chosen{rules: []string{s.GetRule()}}, err
	}
	answer, err1 := find("answer", s.GetAnswer(), c.Answers, func(a config.Answer) string { return a.Name })
	center, err2 := find("data center", s.GetDataCenter(), c.DataCenters,
		func(d config.DataCenter) string { return d.Name })
	region, err3 := find("region", s.GetRegion(), c.Regions, func(r config.Region) string { return r.Name })
	owner, err4 := find("owner", s.GetOwner(), c.Owners, func(o config.Owner) string { return o.Name })
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			return chosen{}, err
		}
	}
	var out chosen
	for i, a := range c.Answers {
		fits := (answer == config.None || answer == i) && (center == config.None || center == a.DataCenter) &&
			(owner == config.None || owner == a.Owner) && (region == config.None || region == regionOf(c, &a))
		if fits {
			out.answers = append(out.answers, a.Name)
		}
	}
	return out, nil
}

func regionOf(c *config.Config, a *config.Answer) int {
	if a.DataCenter == config.None {
		return config.None
	}
	return c.DataCenters[a.DataCenter].Region
}

// find returns the index of a name, config.None for no name.
func find[T any](kind, name string, list []T, nameOf func(T) string) (int, error) {
	if name == "" {
		return config.None, nil
	}
	var have []string
	for i, x := range list {
		if nameOf(x) == name {
			return i, nil
		}
		have = append(have, nameOf(x))
	}
	const most = 20
	there := "there is none"
	if len(have) > 0 {
		slices.Sort(have)
		there = "there are " + strings.Join(have[:min(most, len(have))], ", ")
		if more := len(have) - most; more > 0 {
			there += fmt.Sprintf(" and %d more", more)
		}
	}
	err := fmt.Errorf("no %s %q: %s%s", kind, name, there, text.Meant("; ", name, have))
	return config.None, connect.NewError(connect.CodeNotFound, err)
}

// question is what a client asks.
type question struct {
	name   string // absolute
	qtype  uint16
	client netip.Addr
	subnet netip.Prefix // invalid: none
}

// asked is the question that a request describes.
func asked(name, qtype, from, subnet string) (question, error) {
	fail := func(format string, args ...any) (question, error) {
		return question{}, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf(format, args...))
	}
	q := question{qtype: dns.TypeA, client: netip.MustParseAddr("127.0.0.1")}
	if _, ok := dns.IsDomainName(name); !ok || name == "" {
		return fail("name: must be a domain name, as www.example.com, is %q", name)
	}
	q.name = dns.Fqdn(name)
	if qtype != "" {
		var ok bool
		if q.qtype, ok = typeOf(strings.ToUpper(qtype)); !ok {
			return fail("type: must be a record type, as A, AAAA or HTTPS, is %q", qtype)
		}
	}
	if from != "" {
		a, err := netip.ParseAddr(from)
		if err != nil || a.Zone() != "" {
			return fail("from: must be an IPv4 or IPv6 address, is %q", from)
		}
		q.client = a.Unmap()
	}
	if subnet != "" {
		p, err := netip.ParsePrefix(subnet)
		if err != nil || p != p.Masked() {
			return fail("client subnet: must be a prefix without bits set behind its length, as 192.0.2.0/24, is %q",
				subnet)
		}
		q.subnet = p
	}
	return q, nil
}

// typeOf is the type of a record by its name, or by its number as RFC 3597 section 5 writes it.
func typeOf(name string) (uint16, bool) {
	if t, ok := dns.StringToType[name]; ok {
		return t, true
	}
	number, ok := strings.CutPrefix(name, "TYPE")
	t, err := strconv.ParseUint(number, 10, 16)
	return uint16(t), ok && err == nil && t > 0
}

func (s service) Explain(_ context.Context, r *control.ExplainRequest) (*control.ExplainResponse, error) {
	q, err := asked(r.GetName(), r.GetType(), r.GetFrom(), r.GetClientSubnet())
	if err != nil {
		return nil, err
	}
	story, err := responder.Explain(s.d.view(), q.name, q.qtype, q.client, q.subnet)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	text, err := json.MarshalIndent(story, "", "  ")
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, err)
	}
	return &control.ExplainResponse{Lines: story.Lines(), Json: string(text)}, nil
}

// Query answers over TCP, so that nothing is truncated, with round robins at their start.
func (s service) Query(ctx context.Context, r *control.QueryRequest) (*control.QueryResponse, error) {
	q, err := asked(r.GetName(), r.GetType(), r.GetFrom(), r.GetClientSubnet())
	if err != nil {
		return nil, err
	}
	view := s.d.view()
	alone := *view
	alone.Sticky = nil // a look from outside makes no client stick
	request, err := q.message().Pack()
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	client := &responder.Client{Addr: netip.AddrPortFrom(q.client, 0), TCP: true, Core: new(responder.Core),
		Now: time.Now().UnixNano()}
	response := responder.Respond(&alone, client, request)
	switch response.Disposition {
	case responder.Reply:
		return dnsText(response.Wire)
	case responder.Forward:
		reply, err := s.d.relay.Forward(ctx, q.message(), response.Forward)
		if err != nil {
			return nil, connect.NewError(connect.CodeAborted, err)
		}
		wire, err := reply.Pack()
		if err != nil {
			return nil, connect.NewError(connect.CodeInternal, err)
		}
		return dnsText(wire)
	case responder.Wait:
		return nil, connect.NewError(connect.CodeAborted,
			fmt.Errorf("the query waits up to %v for a first verdict: see `sluice gslb status`", response.MaxWait))
	}
	return nil, connect.NewError(connect.CodeAborted, errors.New("the query gets no response"))
}

func (q question) message() *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(q.name, q.qtype)
	m.RecursionDesired = false
	if q.subnet.IsValid() {
		m.SetEdns0(dns.DefaultMsgSize, false)
		family := uint16(1)
		if q.subnet.Addr().Is6() {
			family = 2
		}
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_SUBNET{
			Code: dns.EDNS0SUBNET, Family: family, SourceNetmask: uint8(q.subnet.Bits()),
			Address: q.subnet.Addr().AsSlice(),
		})
	}
	return m
}

func dnsText(wire []byte) (*control.QueryResponse, error) {
	var m dns.Msg
	if err := m.Unpack(wire); err != nil {
		return nil, connect.NewError(connect.CodeInternal, err)
	}
	return &control.QueryResponse{Message: wire, Text: m.String()}, nil
}

// stamp is t for a message; unset for the zero time.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
