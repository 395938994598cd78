package core

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/tally"
	"github.com/sluicelb/sluice/p4/packet"
)

const (
	// noiseInterval is the least time between two events, and lines of the log, of one kind of noise on one switch.
	noiseInterval = 10 * time.Second
	// othersNamed is how many more than the first one of them names.
	othersNamed = 3
)

// noise is what hosts made happen, at line rate if they like: what a status shows of it, and what is to be told. It
// needs no decision and no store.
type noise struct {
	claims  *claims
	spoofs  spoofs
	notices map[string]*notices // by switch
}

// clone is the part of it that others are told of.
func (n noise) clone() noise {
	seen := make(map[spoofKey]*spoof, len(n.spoofs.seen))
	for k, s := range n.spoofs.seen {
		one := *s
		seen[k] = &one
	}
	return noise{claims: n.claims.Clone(), spoofs: spoofs{seen: seen}}
}

func newNoise() noise {
	return noise{newClaims(), newSpoofs(), make(map[string]*notices)}
}

// notice gathers one kind of noise on one switch until it is told: at once the first time, and then together with all
// that came since, once an interval.
type notice[K comparable] struct {
	pending *tally.Tally[struct{}, K]
	told    time.Time
}

func newNotice[K comparable]() notice[K] {
	return notice[K]{pending: tally.New(func(K) struct{} { return struct{}{} })}
}

func (n *notice[K]) add(entries []tally.Entry[K]) {
	for _, e := range entries {
		n.pending.Merge(e)
	}
}

// due is when there is something to tell, zero: never.
func (n *notice[K]) due() time.Time {
	if n.pending.Len() == 0 {
		return time.Time{}
	}
	return n.told.Add(noiseInterval)
}

// notices are those of a switch, and of its ports, which can go up and down all the time as well. What somebody known
// did is told apart from what strangers did, who could hide it among theirs.
type notices struct {
	claims, strangeClaims notice[tally.Claimed]
	moves, strangeMoves   notice[tally.Move]
	noRoom                notice[uint16]
	full                  string // why stations are not learned, as it was heard last
	ports                 map[uint16]*portNotice
}

func newNotices() *notices {
	return &notices{
		newNotice[tally.Claimed](), newNotice[tally.Claimed](), newNotice[tally.Move](), newNotice[tally.Move](),
		newNotice[uint16](), "", make(map[uint16]*portNotice),
	}
}

// noticesOf are the notices of a switch of the intent.
func (c *Core) noticesOf(name string) *notices {
	n := c.noise.notices[name]
	if n == nil {
		n = newNotices()
		c.noise.notices[name] = n
	}
	return n
}

// hear takes what hosts made happen on a switch. One that is not of the intent has nothing to say.
func (c *Core) hear(in Noise) {
	if c.views[in.Switch] == nil {
		return
	}
	for _, e := range in.Claims {
		c.noise.claims.Merge(onSwitch(in.Switch, e))
	}
	n := c.noticesOf(in.Switch)
	known, strange := split(in.Claims)
	n.claims.add(known)
	n.strangeClaims.add(strange)
	knownMoves, strangeMoves := split(in.Moves)
	n.moves.add(knownMoves)
	n.strangeMoves.add(strangeMoves)
	n.noRoom.add(in.NoRoom)
	if len(in.NoRoom) > 0 {
		n.full = in.Full
	}
	for _, e := range in.Spoofs {
		for _, s := range e.Senders {
			c.spoofed(in.Switch, e.Key, s)
		}
	}
}

// tellNoise tells what is due of the switches' noise, and forgets switches that have left the intent.
func (c *Core) tellNoise() {
	for _, name := range slices.Sorted(maps.Keys(c.noise.notices)) {
		n := c.noise.notices[name]
		if c.views[name] == nil {
			delete(c.noise.notices, name)
			continue
		}
		claimed := func(list []tally.Entry[tally.Claimed]) Event { return c.claimed(name, list) }
		moved := func(list []tally.Entry[tally.Move]) Event { return c.moved(name, list) }
		tellDue(c, &n.claims, claimed)
		tellDue(c, &n.strangeClaims, claimed)
		tellDue(c, &n.moves, moved)
		tellDue(c, &n.strangeMoves, moved)
		c.tellPorts(name, n)
		tellDue(c, &n.noRoom, func(list []tally.Entry[uint16]) Event { return c.noRoom(name, n.full, list) })
	}
}

// tellDue tells a notice whose time has come, as the event that event makes of it.
func tellDue[K comparable](c *Core, n *notice[K], event func([]tally.Entry[K]) Event) {
	due := n.due()
	switch {
	case due.IsZero():
	case due.After(c.now):
		c.wakeAt(due)
	default:
		n.told = c.now
		c.tellAtOnce(event(n.pending.Take()))
	}
}

// tellAtOnce tells what follows from no decision, and so waits for no store.
func (c *Core) tellAtOnce(e Event) { c.free = append(c.free, Publish{e}) }

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

// first returns what a notice is about before all, and says what else there was: some of it by name, and how often it
// happened in all.
func first[K comparable](
	list []tally.Entry[K], name func(K, tally.Sender) string,
) (top tally.Entry[K], by tally.Sender, also string) {
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
			if len(names) < othersNamed {
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

func (c *Core) claimed(name string, list []tally.Entry[tally.Claimed]) Event {
	top, by, also := first(list, func(k tally.Claimed, s tally.Sender) string {
		if k.Disowned {
			return fmt.Sprintf("%s asks as %v on port %d", c.whose(s.MAC), k.VIP, k.Port)
		}
		return fmt.Sprintf("%s claims %v on port %d", c.whose(s.MAC), k.VIP, k.Port)
	})
	key := claimKey{claimPlace{name, top.Key.Port}, top.Key.VIP, top.Key.Disowned}
	return VIPClaimed{c.claim(key, c.noise.claims.Sender(key, by)), also}
}

func (c *Core) moved(name string, list []tally.Entry[tally.Move]) Event {
	top, by, also := first(list, func(m tally.Move, s tally.Sender) string {
		return fmt.Sprintf("%s moved from port %d to port %d", c.whose(s.MAC), m.From, m.To)
	})
	return StationMoved{name, by.MAC, c.ownerOf(by.MAC), top.Key.From, top.Key.To, by.Times, also}
}

func (c *Core) noRoom(name, full string, list []tally.Entry[uint16]) Event {
	top, by, also := first(list, func(port uint16, s tally.Sender) string {
		return fmt.Sprintf("%s on port %d", c.whose(s.MAC), port)
	})
	return StationsFull{name, top.Key, by.MAC, full, also}
}

// ownerOf names the backend of the intent with this MAC; empty: nobody has it.
func (c *Core) ownerOf(mac packet.MAC) string {
	for _, pool := range c.intent.Pools {
		for _, b := range pool.Backends {
			if b.MAC == mac {
				return plan.BackendKey{Pool: pool.Name, Backend: b.Name}.String()
			}
		}
	}
	return ""
}

// whose is a MAC, and the backend that has it.
func (c *Core) whose(mac packet.MAC) string {
	if backend := c.ownerOf(mac); backend != "" {
		return fmt.Sprintf("%v (%s)", mac, backend)
	}
	return mac.String()
}
