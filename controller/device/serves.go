package device

import (
	"maps"
	"slices"

	"github.com/sluicelb/sluice/controller/plan"
)

// Lack is what a switch does not hold of the rows that a VIP needs. The zero Lack: nothing.
type Lack struct {
	// Row is the first of the VIP's own rows, or of those that all VIPs need, that is not there as wanted.
	Row string
	// Dead: without that row nothing reaches the VIP.
	Dead  bool
	Slots *Astray // of its pool; nil: all lead where they should
}

// Astray counts the slots of a pool whose rows are not as wanted.
type Astray struct {
	Slots int                    // of the pool
	New   map[plan.BackendID]int // slots whose new flows go to this backend and should not; 0: they go nowhere
	Old   int                    // slots whose old flows do not have the backend they should have
}

func (l Lack) equal(o Lack) bool { return l.Row == o.Row && l.Dead == o.Dead && l.Slots.equal(o.Slots) }

func (a *Astray) equal(o *Astray) bool {
	if a == nil || o == nil {
		return a == o
	}
	return a.Slots == o.Slots && a.Old == o.Old && maps.Equal(a.New, o.New)
}

// SameLacks says whether two switches, or one at two times, serve the same VIPs in the same way.
func SameLacks(a, b map[plan.VIPKey]Lack) bool { return maps.EqualFunc(a, b, Lack.equal) }

// lacks says of every wanted VIP what have does not hold of what it needs.
func lacks(have, want plan.Tables) map[plan.VIPKey]Lack {
	out := make(map[plan.VIPKey]Lack, len(want.VIP))
	pools := make(map[plan.SlotTable]*Astray)
	wrong := make(map[plan.BackendID]bool) // what leads to these goes nowhere, or to another server
	for id, to := range want.Backend {
		if held, ok := have.Backend[id]; !ok || held != to {
			wrong[id] = true
		}
	}
	flood := ""
	if !slices.Equal(have.Flood, want.Flood) || (have.Flood == nil) != (want.Flood == nil) {
		flood = plan.FloodRow{}.Table()
	}
	for key, to := range want.VIP {
		var l Lack
		held, isHeld := have.VIP[key]
		mac, answers := have.ARPResponder[key.Address]
		_, owned := have.VIPAddress[key.Address]
		_, guarded := have.ARPGuard[key.Address]
		switch {
		case !isHeld:
			l = Lack{Row: plan.VIPRow{}.Table(), Dead: true}
		case !answers:
			l = Lack{Row: plan.ARPResponderRow{}.Table(), Dead: true}
		case held != to: // it leads to another pool, or to another generation of its slots
			l.Row = plan.VIPRow{}.Table()
			l.Dead = !anySlot(have.Slots[plan.SlotTable{Pool: held.Pool, Generation: held.Generation}])
		case mac != want.ARPResponder[key.Address]:
			l.Row = plan.ARPResponderRow{}.Table()
		case !owned:
			l.Row = plan.VIPAddressRow{}.Table()
		case !guarded:
			l.Row = plan.ARPGuardRow{}.Table()
		default:
			l.Row = flood
		}
		if held == to {
			table := plan.SlotTable{Pool: to.Pool, Generation: to.Generation}
			a, seen := pools[table]
			if !seen {
				a = astray(have.Slots[table].Rows, want.Slots[table].Rows, wrong)
				pools[table] = a
			}
			l.Slots = a
		}
		out[key] = l
	}
	return out
}

func anySlot(s plan.Slots) bool {
	return slices.ContainsFunc(s.Rows, func(r plan.Slot) bool { return r.Backend != 0 })
}

// astray compares the rows of one SlotTable; nil when all lead where they should.
func astray(have, want []plan.Slot, wrong map[plan.BackendID]bool) *Astray {
	if len(wrong) == 0 && slices.Equal(have, want) {
		return nil
	}
	a := Astray{Slots: len(want), New: make(map[plan.BackendID]int)}
	for i, w := range want {
		if w.Backend == 0 && w.Grace == 0 {
			continue // all flows are meant to go nowhere
		}
		var h plan.Slot
		if i < len(have) {
			h = have[i]
		}
		switch {
		case w.Backend != 0 && h.Backend != w.Backend:
			a.New[h.Backend]++
		case wrong[w.Backend]:
			a.New[0]++
		case h != w || wrong[w.Old] || wrong[w.Grace]:
			a.Old++
		}
	}
	if len(a.New) == 0 && a.Old == 0 {
		return nil
	}
	return &a
}
