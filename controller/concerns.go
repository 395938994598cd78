package controller

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/internal/loadreport"
	"github.com/sluicelb/sluice/internal/text"
	"github.com/sluicelb/sluice/p4/limits"
)

// fresh is for how long a single happening, such as a claim or a dropped frame, is worth a look.
const fresh = 5 * time.Minute

// concerned is what concerns need to know beside the status.
type concerned struct {
	older   string                     // says that the store was older than a switch, or nothing
	checked map[string]bool            // pools that have checks
	ports   map[string]map[uint32]bool // of switches, as the intent has them
	none    map[string]bool            // switches that say that they have no ports
	shared  []string                   // names of two healthds each
	keys    map[string]rows.VIPKey     // of VIPs by name
	// ports that the intent names and that nobody knows
	unnumbered []string
	crowded    string   // says that no more connections can be pinned, or nothing
	forgot     []string // which switches have lost the marks of moving slots
	unwritten  []string // which switches wait for a word on what they hold
	spoofs     []core.Spoof
	banks      [limits.Banks]uint32 // the epoch that has a bank of mark cells, 0: none
}

func (at *moment) concerned() concerned {
	c := concerned{
		older: at.core.Older(at.at), checked: make(map[string]bool), ports: at.wantedPorts(),
		shared: at.core.Shared(at.at), keys: make(map[string]rows.VIPKey), forgot: at.core.Forgot(at.at),
		unwritten: at.core.Meetings(),
	}
	c.crowded = at.core.Crowded()
	c.unnumbered, c.banks = at.unnumbered(), at.core.Stored().Plan.Banks()
	for _, v := range at.core.Intent().VIPs {
		c.keys[v.Name] = vipKey(v)
	}
	for _, p := range at.core.Intent().Pools {
		c.checked[p.Name] = len(p.Checks) > 0
	}
	return c
}

// wantedPorts are the ports that the intent has of each switch.
func (at *moment) wantedPorts() map[string]map[uint32]bool {
	wanted := make(map[string]map[uint32]bool)
	for _, s := range at.core.Intent().Switches {
		wanted[s.Name] = make(map[uint32]bool)
		for _, port := range s.Ports {
			wanted[s.Name][uint32(port)] = true
		}
	}
	return wanted
}

// concerns lists what in a status is not as it should be, the worst first: of each kind the first core.Few.
func concerns(m *api.GetStatusResponse, in concerned) []*api.Concern {
	var all []*api.Concern
	add := func(severity api.Concern_Severity, kind string, list []string) {
		for _, line := range list[:min(len(list), core.Few)] {
			all = append(all, &api.Concern{Severity: severity, Text: line})
		}
		if more := len(list) - core.Few; more > 0 {
			all = append(all, &api.Concern{Severity: severity, Text: fmt.Sprintf("and %d more %s", more, kind)})
		}
	}
	const warning, critical = api.Concern_SEVERITY_WARNING, api.Concern_SEVERITY_CRITICAL

	var away, refusing, ports, exposed []string
	connected := 0
	for _, s := range m.Switches {
		switch s.State {
		case api.SwitchStatus_STATE_DISCONNECTED:
			away = append(away, fmt.Sprintf("switch %s is disconnected%s", s.Name, because(s.Error)))
			continue
		case api.SwitchStatus_STATE_DEGRADED:
			line := fmt.Sprintf("switch %s refuses %d updates", s.Name, s.FailedTotal)
			if len(s.Failed) > 0 {
				line += fmt.Sprintf(", the first: %s: %s: %s", s.Failed[0].Update, s.Failed[0].Code,
					s.Failed[0].Message)
			}
			refusing = append(refusing, line)
		}
		connected++
		ports = append(ports, portConcerns(s, in.ports[s.Name], in.none[s.Name], m.Pools, m.Time.AsTime())...)
		if s.StationsFull != "" {
			exposed = append(exposed, fmt.Sprintf("switch %s learns no new stations, frames to them are flooded: %s",
				s.Name, s.StationsFull))
		}
		if s.Unmetered != "" {
			exposed = append(exposed, fmt.Sprintf("switch %s does not meter what it sends up, a host can flood the "+
				"controller: %s", s.Name, s.Unmetered))
		}
	}
	severity := warning
	if connected == 0 {
		severity = critical
	}
	var dead, degraded []string
	for _, v := range m.Vips {
		switch line := fmt.Sprintf("VIP %s", v.Name); {
		case v.State == api.VIPStatus_STATE_DISABLED:
		case v.Unseen: // a switch that may serve it is out of sight
			dead = append(dead, fmt.Sprintf("it is not known whether %s takes traffic%s", line, because(v.Reason)))
		case v.Load == loadreport.Offline:
			dead = append(dead, line+" takes no traffic"+because(v.Reason))
		case v.State != api.VIPStatus_STATE_ACTIVE:
			degraded = append(degraded, line+" is degraded"+because(v.Reason))
		}
	}
	add(critical, "VIPs", dead)
	add(severity, "switches", away)
	add(warning, "VIPs", degraded)
	add(warning, "switches", refusing)
	add(warning, "switches", exposed)

	var held, last, down, unsure, wrong []string
	anyChecked := false
	for _, p := range m.Pools {
		anyChecked = anyChecked || in.checked[p.Name]
		if p.Held != "" {
			held = append(held, fmt.Sprintf("pool %s is held: %s", p.Name, p.Held))
		}
		last = append(last, lastResorts(p)...)
		for _, b := range p.Backends {
			name := fmt.Sprintf("backend %s/%s", b.Pool, b.Name)
			switch {
			case !b.Enabled || b.Admin == api.Admin_ADMIN_DRAIN: // the operator knows
			case b.Health == api.Health_HEALTH_DOWN || b.Health == api.Health_HEALTH_FAILING:
				word := strings.ToLower(strings.TrimPrefix(b.Health.String(), "HEALTH_"))
				down = append(down, fmt.Sprintf("%s is %s%s", name, word, because(b.Reason)))
			}
			switch {
			case b.UncheckedReason != "":
				unsure = append(unsure, fmt.Sprintf("%s is not checked: %s", name, b.UncheckedReason))
			case b.HealthStale:
				unsure = append(unsure, name+" has a verdict that nobody has repeated for a while")
			}
			for _, line := range b.Contradictions {
				wrong = append(wrong, fmt.Sprintf("%s: %s", name, line))
			}
		}
	}
	add(warning, "pools", held)
	add(warning, "switches", awaitedConcerns(m))
	add(warning, "backends", last)
	if m.Frozen != "" {
		add(warning, "", []string{"the configuration is frozen: " + m.Frozen})
	}
	add(warning, "switches", in.unwritten)
	add(warning, "switches", in.forgot)
	if in.crowded != "" {
		add(warning, "", []string{in.crowded})
	}
	if in.older != "" {
		add(warning, "", []string{in.older})
	}
	add(warning, "backends", down)
	if anyChecked && !m.HealthConnected {
		add(warning, "", []string{"no healthd is connected: nobody notices a server that dies"})
	}
	var shared []string
	for _, name := range in.shared {
		shared = append(shared, fmt.Sprintf("two healthds report by the name %s, and each voids what the other says: "+
			"give one of them another with --name", name))
	}
	add(warning, "names", shared)
	add(warning, "backends", unsure)
	add(warning, "backends", wrong)
	add(warning, "ports", in.unnumbered)
	add(warning, "ports", ports)
	add(warning, "spoofed stations", spoofConcerns(m, in.spoofs))
	add(warning, "claims", claimConcerns(m))
	slices.SortStableFunc(all, func(a, b *api.Concern) int { return cmp.Compare(b.Severity, a.Severity) })
	return all
}

// awaitedConcerns tells which pools wait for a switch, and which go on without one.
func awaitedConcerns(m *api.GetStatusResponse) (list []string) {
	pools := make(map[string][]string)
	for _, p := range m.Pools {
		for _, a := range p.Awaited {
			if !a.Over && p.Waiting == 0 && p.Moving == 0 {
				continue // nothing waits
			}
			line := awaitedText(a)
			if len(pools[line]) == 0 {
				list = append(list, line)
			}
			pools[line] = append(pools[line], p.Name)
		}
	}
	for i, line := range list {
		word := "pool"
		if len(pools[line]) > 1 {
			word = "pools"
		}
		list[i] = fmt.Sprintf("%s %s: %s", word, text.List(pools[line], core.Few), line)
	}
	return list
}

// lastResorts tells which backends get new connections, though they should not, because the pool has nobody else.
func lastResorts(p *api.PoolStatus) (list []string) {
	for _, b := range p.Backends {
		lives := b.Health != api.Health_HEALTH_DOWN && b.Health != api.Health_HEALTH_FAILING
		switch wanted := b.Enabled && b.Admin != api.Admin_ADMIN_DRAIN; {
		case wanted && lives:
			return nil
		case !wanted && lives && b.Slots > 0:
			list = append(list, fmt.Sprintf("backend %s/%s takes new connections though it is drained, disabled or "+
				"removed: "+
				"nobody else of the pool is up", b.Pool, b.Name))
		}
	}
	return list
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// spoofConcerns tells who passed lately for a station. For the MACs of backends their contradictions do.
func spoofConcerns(m *api.GetStatusResponse, spoofs []core.Spoof) (list []string) {
	contradicted := make(map[string]bool)
	for _, p := range m.Pools {
		for _, b := range p.Backends {
			contradicted[b.Pool+"/"+b.Name] = len(b.Contradictions) > 0
		}
	}
	for _, s := range spoofs {
		if s.Station == "" || m.Time.AsTime().Sub(s.Last) >= fresh {
			continue
		}
		if s.Address.IsValid() {
			list = append(list,
				fmt.Sprintf("%s: dropped; its mac, %v, is wrong, or a host there pretends", s.Pretence(), s.StationMAC))
			continue
		}
		if contradicted[s.Station] {
			continue
		}
		line := fmt.Sprintf("frames from %v, the MAC of %s, come in by port %d of %s and are dropped: ",
			s.MAC, s.Station, s.Port, s.Switch)
		if s.StationPort == 0 {
			line += "no host may send under it"
		} else {
			line += fmt.Sprintf("its switch_port, %d, is wrong, or a host there pretends", s.StationPort)
		}
		list = append(list, line)
	}
	return list
}

// claimConcerns tells who claimed a VIP lately, or uses one as its own address in ARP.
func claimConcerns(m *api.GetStatusResponse) (list []string) {
	for _, c := range m.ArpClaims {
		if m.Time.AsTime().Sub(c.Last.AsTime()) >= fresh {
			continue
		}
		who := cmp.Or(c.Mac, "a host")
		if c.Backend != "" {
			who = fmt.Sprintf("backend %s (%s)", c.Backend, c.Mac)
		}
		does := "claims VIP %s by ARP: set arp_ignore=1 and arp_announce=2 there"
		if c.Disowned {
			does = "asks for its neighbours as VIP %s: set arp_announce=2 there"
		}
		list = append(list, fmt.Sprintf("%s on port %d of %s "+does, who, c.Port, c.Switch, c.VipAddress))
	}
	return list
}
