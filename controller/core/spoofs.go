package core

import (
	"cmp"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/tally"
	"github.com/sluicelb/sluice/p4/packet"
)

const (
	spoofsKept    = 1024             // stations and ports
	spoofInterval = 30 * time.Second // the least time between two events about one port of a switch
)

// spoofKey is a port where somebody passes for a station: by the MAC of the station, or by its address in ARP. There
// the MAC of the sender can be invented, and is no part of the key.
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

// spoofs counts such frames, of those that switches sent up. For one goroutine.
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

// forgetOldest forgets a quarter of all at once, since it has to look at all of them.
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

// Spoof counts the frames by which somebody behind a port passed for a station.
type Spoof struct {
	Switch string
	Port   uint16
	MAC    packet.MAC // of the sender
	// Address is the station's, by ARP under the MAC of the sender; the zero Addr: it is the station's MAC itself.
	Address netip.Addr
	Sender  string // with an Address: the station whose MAC the sender has, empty: nobody's
	// Station is whose MAC or Address it is, empty where it is nobody's any more.
	Station     string
	StationMAC  packet.MAC
	StationPort uint16 // on this switch, 0: the intent gives it none there
	Frames      uint64
	First, Last time.Time
}

// spoofed takes a switch's word on who passed for whom.
func (c *Core) spoofed(name string, what tally.Spoofed, by tally.Sender) {
	k := spoofKey{spoofPort: spoofPort{name, what.Port}, Address: what.Address}
	if !what.Address.IsValid() {
		k.MAC = by.MAC
	}
	if c.noise.spoofs.add(k, by, c.now) {
		c.tellAtOnce(StationSpoofed{c.spoof(k)})
	}
}

// Spoofs lists them, by switch, port and whom they pass for.
func (c *Core) Spoofs() (all []Spoof) {
	c = c.seen()
	for _, k := range c.noise.spoofs.keys() {
		all = append(all, c.spoof(k))
	}
	return all
}

func (c *Core) spoof(k spoofKey) Spoof {
	one := c.noise.spoofs.seen[k]
	s := Spoof{
		Switch: k.Switch, Port: k.Port, MAC: one.mac, Address: k.Address, Frames: one.frames,
		First: one.first, Last: one.last,
	}
	of := stationOf(c.intent, c.stored.Plan, one.mac)
	if k.Address.IsValid() {
		s.Sender = of.Name
		of = stationAt(c.intent, c.stored.Plan, k.Address)
	}
	s.Station, s.StationMAC, s.StationPort = of.Name, of.MAC, of.SwitchPort.On(k.Switch)
	return s
}

// stationOf says whose MAC is pinned, and to which port; no name where nobody has it any more, and no port for a MAC of
// VIPs.
func stationOf(intent *config.Intent, st plan.State, mac packet.MAC) config.Station {
	for s := range stations(intent, st) {
		if s.MAC == mac {
			return s
		}
	}
	if VIPMACs(intent)[mac] {
		return config.Station{Name: "the VIPs", MAC: mac}
	}
	return config.Station{}
}

// stationAt says whose address it is; no name where nobody has it any more.
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
