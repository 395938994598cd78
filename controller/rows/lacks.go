package rows

import (
	"maps"
	"slices"
)

// Lack says which rows that a VIP needs a switch does not hold. The zero Lack: it holds all.
type Lack struct {
	// Row is the first of the VIP's own rows, or of those that all VIPs need, that is not there as wanted.
	Row string
	// Dead: without that row nothing reaches the VIP.
	Dead  bool
	Slots *Astray // of its pool; nil: all lead where they should
}

// Astray counts the slots of a pool whose rows are not as wanted.
type Astray struct {
	Slots int               // of the pool
	New   map[BackendID]int // slots whose new flows go to this backend and should not; 0: they go nowhere
	Old   int               // slots whose old flows do not have the backend they should have
}

func (l Lack) equal(o Lack) bool { return l.Row == o.Row && l.Dead == o.Dead && l.Slots.equal(o.Slots) }

func (a *Astray) equal(o *Astray) bool {
	if a == nil || o == nil {
		return a == o
	}
	return a.Slots == o.Slots && a.Old == o.Old && maps.Equal(a.New, o.New)
}

// SameLacks says whether two switches, or one at two times, serve the same VIPs in the same way.
func SameLacks(a, b map[VIPKey]Lack) bool { return maps.EqualFunc(a, b, Lack.equal) }

// Lacks says of every wanted VIP which rows that it needs are not in have.
func Lacks(have, want Tables) map[VIPKey]Lack {
	out := make(map[VIPKey]Lack, len(want.VIP))
	pools := make(map[SlotTable]*Astray)
	wrong := make(map[BackendID]bool) // what leads to these goes nowhere, or to another server
	for id, to := range want.Backend {
		if held, ok := have.Backend[id]; !ok || held != to {
			wrong[id] = true
		}
	}
	flood := ""
	if !slices.Equal(have.Flood, want.Flood) || (have.Flood == nil) != (want.Flood == nil) {
		flood = name(FloodRow{})
	}
	for key, to := range want.VIP {
		var l Lack
		held, isHeld := have.VIP[key]
		mac, answers := have.ARPResponder[key.Address]
		_, owned := have.VIPAddress[key.Address]
		_, guarded := have.ARPGuard[key.Address]
		switch {
		case !isHeld:
			l = Lack{Row: name(VIPRow{}), Dead: true}
		case !answers:
			l = Lack{Row: name(ARPResponderRow{}), Dead: true}
		case held != to: // it leads to another pool, or to another generation of its slots
			l.Row = name(VIPRow{})
			l.Dead = !anySlot(have.Slots[held.Table()])
		case mac != want.ARPResponder[key.Address]:
			l.Row = name(ARPResponderRow{})
		case !owned:
			l.Row = name(VIPAddressRow{})
		case !guarded:
			l.Row = name(ARPGuardRow{})
		default:
			l.Row = flood
		}
		if held == to {
			table := to.Table()
			a, seen := pools[table]
			if !seen {
				a = astray(have.Slots[table], want.Slots[table], wrong)
				pools[table] = a
			}
			l.Slots = a
		}
		out[key] = l
	}
	return out
}

func anySlot(slots []Slot) bool {
	return slices.ContainsFunc(slots, func(r Slot) bool { return r.Backend != 0 })
}

// astray compares the rows of one SlotTable; nil when all lead where they should.
func astray(have, want []Slot, wrong map[BackendID]bool) *Astray {
	if len(wrong) == 0 && slices.Equal(have, want) {
		return nil
	}
	a := Astray{Slots: len(want), New: make(map[BackendID]int)}
	for i, w := range want {
		if w.Backend == 0 && w.Old == 0 {
			continue // all flows are meant to go nowhere
		}
		var h Slot
		if i < len(have) {
			h = have[i]
		}
		switch {
		case w.Backend != 0 && h.Backend != w.Backend:
			a.New[h.Backend]++
		case wrong[w.Backend]:
			a.New[0]++
		case h != w || wrong[w.Old]:
			a.Old++
		}
	}
	if len(a.New) == 0 && a.Old == 0 {
		return nil
	}
	return &a
}

func name(row Row) string { return row.Kind().Table.Name }
