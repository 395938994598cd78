package controller

import (
	"cmp"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/tally"
	"github.com/sluicelb/sluice/p4/packet"
)

const (
	spoofsKept    = 1024             // stations and ports
	spoofInterval = 30 * time.Second // between two events about one port of a switch
)

// spoofKey is a port that somebody passes for a station on: by its MAC, or by ARP for its address under another, which
// can be invented and does not tell one key from another.
type spoofKey struct {
	spoofPort
	MAC     packet.MAC // the zero MAC with an address
	Address netip.Addr // the zero Addr with a MAC
}

type spoofPort struct {
	Switch string
	Port   uint16 // that the frames came in by
}

type spoof struct {
	frames      uint64
	first, last time.Time
	mac         packet.MAC // of the sender, one that the intent names before all others
	known       bool
}

// spoofs counts what switches sent up of such frames. For one goroutine.
type spoofs struct {
	seen map[spoofKey]*spoof
	told map[spoofPort]time.Time
}

func newSpoofs() spoofs {
	return spoofs{seen: make(map[spoofKey]*spoof), told: make(map[spoofPort]time.Time)}
}

// add counts frames of a sender and tells whether their port deserves an event now.
func (s *spoofs) add(k spoofKey, by tally.Sender, now time.Time) bool {
	one := s.seen[k]
	if one == nil {
		if len(s.seen) >= spoofsKept {
			s.forgetOldest()
		}
		one = &spoof{first: now}
		s.seen[k] = one
	}
	one.frames += by.Times
	one.last = now
	if by.Known || !one.known {
		one.mac, one.known = by.MAC, by.Known
	}
	if told, ok := s.told[k.spoofPort]; ok && now.Sub(told) < spoofInterval {
		return false
	}
	s.told[k.spoofPort] = now
	return true
}

// forgetOldest makes room, for a quarter at once: it looks at all.
func (s *spoofs) forgetOldest() {
	keys := s.keys()
	slices.SortStableFunc(keys, func(a, b spoofKey) int { return s.seen[a].last.Compare(s.seen[b].last) })
	for _, k := range keys[:len(keys)/4] {
		delete(s.seen, k)
	}
}

// keys returns what is counted, in the order of a status.
func (s *spoofs) keys() []spoofKey {
	keys := make([]spoofKey, 0, len(s.seen))
	for k := range s.seen {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b spoofKey) int {
		return cmp.Or(cmp.Compare(a.Switch, b.Switch), cmp.Compare(a.Port, b.Port), a.MAC.Compare(b.MAC),
			a.Address.Compare(b.Address))
	})
	return keys
}

// spoofed takes a switch's word on who passed for whom.
func (l *loop) spoofed(name string, what device.Spoofed, s tally.Sender, now time.Time) {
	k := spoofKey{spoofPort: spoofPort{name, what.Port}, Address: what.Address}
	if !what.Address.IsValid() {
		k.MAC = s.MAC
	}
	if l.spoofs.add(k, s, now) {
		l.events.tell(now, stationSpoofed(l.spoofMessage(k)))
	}
}

func (l *loop) spoofMessages() []*api.Spoof {
	var all []*api.Spoof
	for _, k := range l.spoofs.keys() {
		all = append(all, l.spoofMessage(k))
	}
	return all
}

func (l *loop) spoofMessage(k spoofKey) *api.Spoof {
	one := l.spoofs.seen[k]
	m := &api.Spoof{
		Switch: k.Switch, Port: uint32(k.Port), Mac: one.mac.String(),
		Frames: one.frames, First: timestamppb.New(one.first), Last: timestamppb.New(one.last),
	}
	of := stationOf(l.core.Intent(), l.core.Stored().Plan, one.mac)
	if k.Address.IsValid() {
		m.Address, m.Sender = k.Address.String(), of.Name
		if of = stationAt(l.core.Intent(), l.core.Stored().Plan, k.Address); of.Name != "" {
			m.StationMac = of.MAC.String()
		}
	}
	m.Station, m.StationPort = of.Name, uint32(of.SwitchPort.On(k.Switch))
	return m
}

// stationOf says whose MAC is pinned, and to which port; no name for one that is no more, and no port for a MAC of
// VIPs.
func stationOf(intent *config.Intent, st plan.State, mac packet.MAC) config.Station {
	for s := range stations(intent, st) {
		if s.MAC == mac {
			return s
		}
	}
	if core.VIPMACs(intent)[mac] {
		return config.Station{Name: "the VIPs", MAC: mac}
	}
	return config.Station{}
}

// stationAt says whose address it is; no name for one that is no more.
func stationAt(intent *config.Intent, st plan.State, address netip.Addr) config.Station {
	for s := range stations(intent, st) {
		if slices.Contains(s.Addresses, address) {
			return s
		}
	}
	return config.Station{}
}

// stations yields all that are pinned: backends by pool/backend, the others by name, and backends that left the intent
// and serve old flows.
func stations(intent *config.Intent, st plan.State) iter.Seq[config.Station] {
	return func(yield func(config.Station) bool) {
		for _, pool := range intent.Pools {
			for _, b := range pool.Backends {
				s := config.Station{Name: plan.BackendKey{Pool: pool.Name, Backend: b.Name}.String(), MAC: b.MAC,
					SwitchPort: b.SwitchPort, Addresses: []netip.Addr{b.Address}}
				if !yield(s) {
					return
				}
			}
		}
		for _, s := range intent.Stations {
			if !yield(s) {
				return
			}
		}
		for _, pool := range intent.Pools {
			p := st.Pools[pool.Name]
			if p == nil {
				continue
			}
			for _, m := range p.Members {
				if !m.Removed {
					continue
				}
				s := config.Station{Name: fmt.Sprintf("%s (removed)",
					plan.BackendKey{Pool: pool.Name, Backend: m.Name}),
					MAC: m.MAC, SwitchPort: m.SwitchPort()}
				if a, err := netip.ParseAddr(m.Address); err == nil {
					s.Addresses = []netip.Addr{a}
				}
				if !yield(s) {
					return
				}
			}
		}
	}
}

func stationSpoofed(m *api.Spoof) happening {
	line := warn("somebody sends under the MAC of a pinned station", "mac", m.Mac, "station", m.Station,
		"station_port", m.StationPort, "switch", m.Switch, "port", m.Port)
	if m.Address != "" {
		line = warn("somebody says by ARP that he has the address of a station", "mac", m.Mac, "sender", m.Sender,
			"address", m.Address, "station", m.Station, "station_mac", m.StationMac, "switch", m.Switch, "port", m.Port)
	}
	return happening{
		&api.Event{Text: fmt.Sprintf("%s: dropped%s", pretence(m), hint(m)), Detail: &api.Event_Spoof{Spoof: m}},
		line,
	}
}

// pretence says who passes for whom.
func pretence(m *api.Spoof) string {
	if m.Address != "" {
		whose := m.Address
		if m.Station != "" {
			whose += ", the address of " + m.Station
		}
		who := m.Mac
		if m.Sender != "" {
			who = fmt.Sprintf("%s (%s)", m.Sender, m.Mac)
		}
		return fmt.Sprintf("%s on port %d of %s says by ARP that it has %s", who, m.Port, m.Switch, whose)
	}
	whose := m.Mac
	if m.Station != "" {
		whose += ", the MAC of " + m.Station
	}
	return fmt.Sprintf("somebody on port %d of %s sends as %s", m.Port, m.Switch, whose)
}

// hint says what to do if nobody pretends.
func hint(m *api.Spoof) string {
	switch {
	case m.Station == "":
		return ""
	case m.Address != "":
		return fmt.Sprintf("; its mac is %s, and if that has changed the configuration must say so", m.StationMac)
	case m.StationPort == 0:
		return ""
	}
	return fmt.Sprintf("; its switch_port is %d, and if it has moved the configuration must say so", m.StationPort)
}
