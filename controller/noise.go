package controller

import (
	"fmt"
	"strings"
	"time"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/tally"
	"github.com/sluicelb/sluice/p4/packet"
)

const (
	// noticeInterval is the least time between two events, and lines of the log, of one kind of noise on
	// one switch.
	noticeInterval = 10 * time.Second
	// namedInNotice is how many more are named in one.
	namedInNotice = 3
)

// noticeKey is a kind of noise on a switch.
type noticeKey struct{ kind, name string }

// notices decide when something that hosts repeat at will is told: at once the first time, and then
// together with all that came since, once an interval.
type notices struct{ of map[noticeKey]teller }

// teller returns what is due to be told, if anything is.
type teller interface {
	tell(now time.Time) (h happening, due bool)
}

func newNotices() *notices { return &notices{make(map[noticeKey]teller)} }

// notice gathers one kind of noise on one switch.
type notice[K comparable] struct {
	pending *tally.Tally[struct{}, K]
	told    time.Time
	event   func([]tally.Entry[K]) happening
}

func (n *notice[K]) tell(now time.Time) (h happening, due bool) {
	if n.pending.Len() == 0 || !n.told.IsZero() && now.Sub(n.told) < noticeInterval {
		return happening{}, false
	}
	n.told = now
	return n.event(n.pending.Take()), true
}

// gather adds entries to those that are to be told under key, and makes event out of them when it is time.
func gather[K comparable](n *notices, key noticeKey, entries []tally.Entry[K], event func([]tally.Entry[K]) happening) {
	if len(entries) == 0 {
		return
	}
	one, ok := n.of[key].(*notice[K])
	if !ok {
		one = &notice[K]{pending: tally.New(func(K) struct{} { return struct{}{} }), event: event}
		n.of[key] = one
	}
	for _, e := range entries {
		one.pending.Merge(e)
	}
}

// noise takes what hosts made happen on a switch. What somebody known did is told apart from what strangers
// did, who could hide it among theirs.
func (l *loop) noise(name string, n *device.Noise, now time.Time) {
	for _, e := range n.Claims {
		l.claims.Merge(onSwitch(name, e))
	}
	claims, strange := split(n.Claims)
	event := func(list []tally.Entry[device.Claimed]) happening { return l.claimsTold(name, list) }
	gather(l.notices, noticeKey{"claims of backends", name}, claims, event)
	gather(l.notices, noticeKey{"claims", name}, strange, event)

	moves, strangeMoves := split(n.Moves)
	moved := func(list []tally.Entry[device.Move]) happening { return l.movesTold(name, list) }
	gather(l.notices, noticeKey{"moves of backends", name}, moves, moved)
	gather(l.notices, noticeKey{"moves", name}, strangeMoves, moved)

	gather(l.notices, noticeKey{"stations", name}, n.NoRoom, func(list []tally.Entry[uint16]) happening {
		return l.noRoomTold(name, list)
	})
	for _, e := range n.Spoofs {
		for _, s := range e.Senders {
			l.spoofed(name, e.Key, s, now)
		}
	}
	l.tellDue(now)
}

// tellDue tells the noise whose time has come.
func (l *loop) tellDue(now time.Time) {
	for key, one := range l.notices.of {
		if l.views[key.name] == nil {
			delete(l.notices.of, key) // the switch is no longer of the intent
		} else if h, due := one.tell(now); due {
			l.events.tell(now, h)
		}
	}
}

// split parts what known senders did from the rest.
func split[K comparable](entries []tally.Entry[K]) (known, strange []tally.Entry[K]) {
	for _, e := range entries {
		k, s := tally.Entry[K]{Key: e.Key}, tally.Entry[K]{Key: e.Key, Count: e.Count}
		for _, sender := range e.Senders {
			if !sender.Known {
				s.Senders = append(s.Senders, sender)
				continue
			}
			k.Senders = append(k.Senders, sender)
			k.Count = k.Plus(sender.Count)
			s.Times -= sender.Times
		}
		if k.Times > 0 {
			known = append(known, k)
		}
		if s.Times > 0 {
			strange = append(strange, s)
		}
	}
	return known, strange
}

// first returns what a notice is about before all, and says what else there was: a core.Few of it by name, and
// how often it happened in all.
func first[K comparable](list []tally.Entry[K], name func(K, tally.Sender) string) (top tally.Entry[K], by tally.Sender,
	also string) {
	top = list[0]
	var names []string
	times, alone := uint64(0), true
	for i, e := range list {
		times += e.Times
		alone = alone && e.Others() == 0
		for k, s := range e.Senders {
			if i == 0 && k == 0 {
				by = s
				continue
			}
			alone = false
			if len(names) < namedInNotice {
				names = append(names, name(e.Key, s))
			}
		}
	}
	if alone {
		return top, by, ""
	}
	if len(names) > 0 {
		also = "also " + strings.Join(names, ", ") + "; "
	}
	return top, by, also + fmt.Sprintf("%d times in all since the last such notice", times)
}

// whose is a MAC, and the backend that has it.
func (l *loop) whose(mac packet.MAC) string {
	if backend := l.ownerOf(mac); backend != "" {
		return fmt.Sprintf("%v (%s)", mac, backend)
	}
	return mac.String()
}

func (l *loop) claimsTold(name string, list []tally.Entry[device.Claimed]) happening {
	top, by, also := first(list, func(c device.Claimed, s tally.Sender) string {
		if c.Disowned {
			return fmt.Sprintf("%s asks as %v on port %d", l.whose(s.MAC), c.VIP, c.Port)
		}
		return fmt.Sprintf("%s claims %v on port %d", l.whose(s.MAC), c.VIP, c.Port)
	})
	key := claimKey{claimPlace{name, top.Key.Port}, top.Key.VIP, top.Key.Disowned}
	m := claimMessage(key, l.claims.Sender(key, by), l.ownerOf(by.MAC))
	m.Also = also
	return arpClaim(m)
}

func (l *loop) movesTold(name string, list []tally.Entry[device.Move]) happening {
	top, by, also := first(list, func(m device.Move, s tally.Sender) string {
		return fmt.Sprintf("%s moved from port %d to port %d", l.whose(s.MAC), m.From, m.To)
	})
	return stationMoved(&api.StationMoved{
		Switch: name, Mac: by.MAC.String(), FromPort: uint32(top.Key.From), ToPort: uint32(top.Key.To),
		Backend: l.ownerOf(by.MAC), Times: by.Times, Also: also,
	})
}

func (l *loop) noRoomTold(name string, list []tally.Entry[uint16]) happening {
	top, by, also := first(list, func(port uint16, s tally.Sender) string {
		return fmt.Sprintf("%s on port %d", l.whose(s.MAC), port)
	})
	m := &api.StationsFull{Switch: name, Port: uint32(top.Key), Mac: by.MAC.String(), Also: also}
	if d := l.devices[name]; d != nil {
		m.Reason = d.Stations().Full
	}
	return stationsFull(m)
}
