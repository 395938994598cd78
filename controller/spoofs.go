package controller

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/tally"
	"github.com/sluicelb/sluice/p4/packet"
)

const (
	spoofsKept    = 1024             // MACs and ports
	spoofInterval = 30 * time.Second // between two events about one port of a switch
)

// spoofKey tells apart who sends under the MAC of a station that is pinned to another port.
type spoofKey struct {
	spoofPort
	MAC packet.MAC
}

type spoofPort struct {
	Switch string
	Port   uint16 // that the frames came in by
}

type spoof struct {
	frames      uint64
	first, last time.Time
}

// spoofs counts what switches sent up of such frames. For one goroutine.
type spoofs struct {
	seen map[spoofKey]*spoof
	told map[spoofPort]time.Time
}

func newSpoofs() spoofs {
	return spoofs{seen: make(map[spoofKey]*spoof), told: make(map[spoofPort]time.Time)}
}

// add counts frames and tells whether their port deserves an event now.
func (s *spoofs) add(k spoofKey, frames uint64, now time.Time) bool {
	one := s.seen[k]
	if one == nil {
		if len(s.seen) >= spoofsKept {
			s.forgetOldest()
		}
		one = &spoof{first: now}
		s.seen[k] = one
	}
	one.frames += frames
	one.last = now
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
		return cmp.Or(cmp.Compare(a.Switch, b.Switch), cmp.Compare(a.Port, b.Port), a.MAC.Compare(b.MAC))
	})
	return keys
}

// spoofed takes a switch's word on who sent under whose MAC.
func (l *loop) spoofed(name string, port uint16, s tally.Sender, now time.Time) {
	k := spoofKey{spoofPort{name, port}, s.MAC}
	if l.spoofs.add(k, s.Times, now) {
		l.events.publish(now, stationSpoofed(l.spoofMessage(k)))
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
	station, port := stationOf(l.intent, k.MAC)
	return &api.Spoof{
		Switch: k.Switch, Port: uint32(k.Port), Mac: k.MAC.String(), Station: station, StationPort: uint32(port),
		Frames: one.frames, First: timestamppb.New(one.first), Last: timestamppb.New(one.last),
	}
}

// stationOf says whose MAC the intent pins, and to which port; none for a MAC of VIPs, and for one that the
// intent has no more.
func stationOf(intent *config.Intent, mac packet.MAC) (name string, port uint16) {
	for _, pool := range intent.Pools {
		for _, b := range pool.Backends {
			if b.MAC == mac {
				return plan.BackendKey{Pool: pool.Name, Backend: b.Name}.String(), b.SwitchPort
			}
		}
	}
	for _, s := range intent.Stations {
		if s.MAC == mac {
			return s.Name, s.SwitchPort
		}
	}
	if vipMACs(intent)[mac] {
		return "the VIPs", plan.Nowhere
	}
	return "", plan.Nowhere
}

func stationSpoofed(m *api.Spoof) *api.Event {
	whose := m.Mac
	if m.Station != "" {
		whose = fmt.Sprintf("%s, the MAC of %s", m.Mac, m.Station)
	}
	hint := ""
	if m.StationPort != 0 {
		hint = fmt.Sprintf("; its switch_port is %d, and if it has moved the configuration must say so", m.StationPort)
	}
	return &api.Event{
		Text:   fmt.Sprintf("somebody on port %d of %s sends as %s: dropped%s", m.Port, m.Switch, whose, hint),
		Detail: &api.Event_Spoof{Spoof: m},
	}
}
