package gslb

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/selection"
)

// verdict is what one probe says: a keepalive, or the data center's controller on a VIP.
type verdict struct {
	health selection.Health
	load   int // 0-255; -1: none
	reason string
	since  time.Time
	// unseen: who gives the verdict sees nothing of the answer. Of a keepalive, it cannot be asked; of a controller, on
	// its stream or in its load reports, it is away, or has no switch to see the VIP by, for longer than its last word
	// stands. health is what that counts as.
	unseen bool
}

// answerState is what all that is known of an answer comes to.
type answerState struct {
	selection.State
	of     identity  // what it is the state of
	reason string    // of the state; when it is up, what has no say
	since  time.Time // of the health or the suspension
	probes []probeState
}

// identity is what an answer gives. One whose identity stays the same is the same answer, whatever is asked to know
// its state.
type identity struct {
	kind       config.AnswerKind
	ipv4, ipv6 netip.Addr
	target     string
	servers    string
}

func identityOf(a *config.Answer) identity {
	is := identity{kind: a.Kind, ipv4: a.IPv4, ipv6: a.IPv6, target: a.Target}
	if len(a.Servers) > 0 {
		is.servers = fmt.Sprint(a.Servers)
	}
	return is
}

// probeState is one of the things that must pass for an answer to be up.
type probeState struct {
	text string
	name string // before its reason, which says who was asked; empty where that is enough
	asks bool   // it is a keepalive that asks: where it cannot, no verdict is to come
	of   bool   // its verdict is of the answer: not that of one that is always up
	verdict
}

// observed is all that was observed: by index of config.Keepalives, and by data center and VIP.
type observed struct {
	keepalive  func(index int) verdict
	controller func(dataCenter int, vip string) verdict
}

// compose decides the state of every answer. It is pure: before is what it returned last, by answer name. It tells
// since when a state has been so, and stands for an answer that other things are asked about now, until those have a
// verdict.
func compose(c *config.Config, o observed, s suspended, before map[string]answerState, now time.Time) []answerState {
	all := make([]answerState, len(c.Answers))
	for i := range c.Answers {
		a := &c.Answers[i]
		st := judge(probes(c, a, o))
		st.of = identityOf(a)
		old, known := before[a.Name]
		if known && old.of == st.of && st.Health == selection.Unknown && !st.Unseen {
			st.stand(old)
		}
		if a.Suspended || s.answers[a.Name] {
			st.Suspended, st.reason = true, suspendedReason(a.Suspended)
		}
		if known && old.Health == st.Health && old.Suspended == st.Suspended {
			st.since = old.since
		} else if st.since.IsZero() || st.Suspended || known && st.since.Before(old.since) {
			st.since = now
		}
		all[i] = st
	}
	return all
}

// stand has what was known before stand for what is not known yet.
func (st *answerState) stand(old answerState) {
	if old.Health == selection.Unknown {
		return
	}
	st.Health, st.reason = old.Health, old.reason
	if old.Suspended {
		st.reason = ""
	}
	if !st.HasLoad {
		st.HasLoad, st.Load = old.HasLoad, old.Load
	}
}

func suspendedReason(configured bool) string {
	if configured {
		return "suspended by the configuration"
	}
	return "suspended by an operator"
}

// probes lists what must pass for an answer.
func probes(c *config.Config, a *config.Answer, o observed) []probeState {
	var list []probeState
	for _, k := range a.Keepalives {
		asks := c.Keepalives[k].Kind != config.Always
		list = append(list, probeState{keepaliveText(&c.Keepalives[k]), c.Keepalives[k].Name, asks, asks,
			o.keepalive(k)})
	}
	if a.ControllerVIP != "" && a.DataCenter != config.None {
		text := fmt.Sprintf("VIP %s at the controller of %s", a.ControllerVIP, c.DataCenters[a.DataCenter].Name)
		list = append(list, probeState{
			text, text, false, true,
			o.controller(a.DataCenter, a.ControllerVIP),
		})
	}
	return list
}

// judge: all must pass. One that failed decides, whatever the others do not know yet. Who sees nothing of the answer
// has no say where a keepalive or the controller does see it: not to see it is not to see it down. Where nothing else
// vouches for the answer, it is as that counts.
func judge(list []probeState) answerState {
	st := answerState{State: selection.State{Health: selection.Up}, probes: list}
	vouched := slices.ContainsFunc(list, func(p probeState) bool { return p.of && !p.unseen })
	decide := func(h selection.Health, p probeState, reason string) {
		st.Health, st.reason, st.Unseen = h, reason, p.unseen && p.asks && h == selection.Unknown
		if p.name != "" {
			st.reason = p.name + ": " + reason
		}
		st.since = p.since
	}
	ignored := ""
	for _, p := range list {
		if p.unseen && vouched {
			if ignored == "" && p.verdict.reason != "" {
				ignored = fmt.Sprintf("without a say: %s: %s", p.text, p.verdict.reason)
			}
			continue
		}
		switch {
		case p.health == selection.Down && st.Health != selection.Down:
			decide(selection.Down, p, p.verdict.reason)
		case p.health == selection.Unknown && st.Health == selection.Up:
			p.name = p.text
			decide(selection.Unknown, p, cmp.Or(p.verdict.reason, "no verdict yet"))
		}
		if st.Health == selection.Up && p.since.After(st.since) {
			st.since = p.since
		}
		if p.load >= 0 && !p.unseen {
			st.HasLoad, st.Load = true, max(st.Load, uint8(min(p.load, 255)))
		}
	}
	if st.Health == selection.Up {
		st.reason = ignored
	}
	return st
}

// keepaliveText names a keepalive for people.
func keepaliveText(k *config.Keepalive) string {
	words := []string{keepaliveKind(k)}
	if k.Kind != config.Always {
		words = append(words, target(k.Address, k.Kind == config.ICMP))
	}
	switch k.Kind {
	case config.HTTPHead:
		words = append(words, k.Path)
	case config.NameServerQuery:
		words = append(words, k.QueryName)
	case config.SNMP:
		words = append(words, k.OID)
	case config.LoadReport:
		if k.Tag != "" {
			words = append(words, "tag "+k.Tag)
		} else {
			words = append(words, "VIP "+k.VIP.String())
		}
	}
	text := strings.Join(words, " ")
	if k.Name != "" {
		text = k.Name + " (" + text + ")"
	}
	return text
}

func keepaliveKind(k *config.Keepalive) string {
	switch k.Kind {
	case config.ICMP:
		return "icmp"
	case config.TCP:
		return "tcp"
	case config.HTTPHead:
		if k.TLS {
			return "https head"
		}
		return "http head"
	case config.NameServerQuery:
		return "name server"
	case config.SNMP:
		return "snmp"
	case config.LoadReport:
		return "load report"
	case config.Always:
		return "none"
	}
	return "keepalive " + strconv.Itoa(int(k.Kind))
}

func target(a netip.AddrPort, withoutPort bool) string {
	if withoutPort {
		return a.Addr().String()
	}
	return a.String()
}
