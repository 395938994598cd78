package plan

import (
	"slices"

	"github.com/sluicelb/sluice/controller/config"
)

type status uint8

const (
	active  status = iota // may get slots
	leaving               // alive, and to be without slots
	dead
)

// work is one pool in the course of a Step.
type work struct {
	cfg    *config.Pool
	was    *Pool // nil: the pool is new
	before []Slot
	undone []Slot // before, with what was undone; nil when nothing was
	pool   Pool
	roster roster
	cloned bool // pool.Slots is the work's own

	// By index into pool.Members:
	status []status
	share  []int // 0 unless eligible
	held   []int // slots by their Backend; those of the dead are not counted
	seeds  []uint64

	anybody bool // somebody is eligible
}

// divide returns the shares of the members that take part, by member.
func (w *work) divide(takesPart func(member int) bool) []int {
	var by []weighted
	var members []int
	for i, m := range w.pool.Members {
		if takesPart(i) {
			by = append(by, weighted{m.ID, m.Weight})
			members = append(members, i)
		}
	}
	share := make([]int, len(w.pool.Members))
	for k, n := range shares(len(w.pool.Slots), by) {
		share[members[k]] = n
	}
	return share
}

// goHome makes the home table agree with the intent, by as few changes as can be.
func (w *work) goHome() {
	lacks := w.divide(func(i int) bool { return !w.pool.Members[i].Removed })
	home := slices.Clone(w.pool.Home)
	for slot, id := range home {
		if i := w.roster.at(id); i < 0 || w.pool.Members[i].Removed {
			home[slot] = 0
		} else {
			lacks[i]--
		}
	}
	deal(len(home), len(home), w.takers(lacks), func(slot, member int) bool {
		if from := w.roster.at(home[slot]); from >= 0 {
			if lacks[from] >= 0 {
				return false
			}
			lacks[from]++
		}
		home[slot] = w.pool.Members[member].ID
		return true
	})
	if !slices.Equal(home, w.pool.Home) {
		w.pool.Home = home
	}
}

// takers lists the members that lack slots.
func (w *work) takers(lacks []int) []taker {
	var all []taker
	for i, n := range lacks {
		if n > 0 {
			all = append(all, taker{member: i, seed: w.seeds[i], want: n})
		}
	}
	return all
}

// set changes a slot, in a copy.
func (w *work) set(slot int, to Slot) {
	if !w.cloned {
		w.pool.Slots, w.cloned = slices.Clone(w.pool.Slots), true
	}
	w.pool.Slots[slot] = to
}

// undo gives slots back what the switches still have for them, where a part of it lives that they have
// lost; what is dead of it leaves again in rescue. left may be nil.
func (w *work) undo(left *Pool) {
	if left == nil || left.ID != w.pool.ID || left.Generation != w.pool.Generation {
		return
	}
	lives := func(id BackendID) bool {
		i := w.roster.at(id)
		return i >= 0 && w.status[i] != dead
	}
	for i, slot := range left.Slots {
		now := w.pool.Slots[i]
		if lives(slot.Backend) && now.Backend != slot.Backend || lives(slot.Old) && now.Old != slot.Old && now.Backend != slot.Old {
			w.set(i, slot)
		}
	}
	if w.cloned {
		w.undone = slices.Clone(w.pool.Slots)
	}
}

// lacks returns, by member, how many slots each is short of its share; below 0: how many above it.
func (w *work) lacks() []int {
	lacks := make([]int, len(w.share))
	for i := range lacks {
		lacks[i] = w.share[i] - w.held[i]
	}
	return lacks
}

// rescue does what cannot wait: it ends the moves whose old backend is dead, and finds another for
// the slots whose backend is.
func (w *work) rescue() {
	w.held = make([]int, len(w.pool.Members))
	var orphans []int
	for i, slot := range w.pool.Slots {
		if old := w.roster.at(slot.Old); old >= 0 && w.status[old] == dead {
			slot = Slot{Backend: slot.Backend}
			w.set(i, slot)
		}
		if b := w.roster.at(slot.Backend); b >= 0 && w.status[b] != dead {
			w.held[b]++
		} else {
			orphans = append(orphans, i)
		}
	}
	if !w.anybody {
		for _, i := range orphans {
			// Old flows keep their backend; new ones are lost, be it here or at the dead one.
			if slot := w.pool.Slots[i]; slot.Old == 0 && slot.Backend != 0 {
				w.set(i, Slot{})
			}
		}
		return
	}
	if len(orphans) == 0 {
		return
	}
	lacks := w.lacks()
	place := func(slot, member int) {
		id := w.pool.Members[member].ID
		to := w.pool.Slots[slot]
		if to.Old == 0 || to.Old == id {
			to = Slot{}
		}
		to.Backend = id
		w.set(slot, to)
		w.held[member]++
		lacks[member]--
	}
	// The old backend of a broken-off move first: it has flows there. Then the one at home.
	free, left := make([]bool, len(w.pool.Slots)), 0
	for _, i := range orphans {
		if old := w.roster.at(w.pool.Slots[i].Old); old >= 0 && lacks[old] > 0 {
			place(i, old)
		} else if home := w.roster.at(w.pool.Home[i]); home >= 0 && lacks[home] > 0 {
			place(i, home)
		} else {
			free[i] = true
			left++
		}
	}
	deal(len(w.pool.Slots), left, w.takers(lacks), func(slot, member int) bool {
		if !free[slot] {
			return false
		}
		free[slot] = false
		place(slot, member)
		return true
	})
}

// move begins at most room moves and returns the room that is left.
func (w *work) move(room int, bank uint8, epoch uint32) int {
	lacks := w.lacks()
	if room <= 0 || len(w.takers(lacks)) == 0 {
		return room
	}
	take := func(slot, member int) bool {
		from := w.roster.at(w.pool.Slots[slot].Backend)
		if room <= 0 || lacks[member] <= 0 || w.pool.Slots[slot].Old != 0 || lacks[from] >= 0 {
			return false
		}
		w.set(slot, Slot{Backend: w.pool.Members[member].ID, Old: w.pool.Members[from].ID, Bank: bank, Epoch: epoch})
		w.held[from]--
		lacks[from]++
		w.held[member]++
		lacks[member]--
		room--
		return true
	}
	home := func(slot int) int { return w.roster.at(w.pool.Home[slot]) }
	// Whoever lacks slots takes its own first, then those that are not at home anyway.
	for slot := range w.pool.Slots {
		if to := home(slot); to >= 0 {
			take(slot, to)
		}
	}
	deal(len(w.pool.Slots), room, w.takers(lacks), func(slot, member int) bool {
		return home(slot) != w.roster.at(w.pool.Slots[slot].Backend) && take(slot, member)
	})
	deal(len(w.pool.Slots), room, w.takers(lacks), take)
	return room
}

// forget drops the removed backends that no slot names any more.
func (w *work) forget() {
	removed := func(m Member) bool { return m.Removed }
	if !slices.ContainsFunc(w.pool.Members, removed) {
		return
	}
	named := make(map[BackendID]bool)
	for _, slot := range w.pool.Slots {
		named[slot.Backend], named[slot.Old] = true, true
	}
	w.pool.Members = slices.DeleteFunc(slices.Clone(w.pool.Members), func(m Member) bool { return m.Removed && !named[m.ID] })
}

// distance is the least number of slot moves that lead from these numbers of slots to the shares.
func (w *work) distance(held []int) int {
	n := 0
	for i := range held {
		if w.anybody {
			n += max(0, w.share[i]-held[i])
		} else if w.status[i] == dead {
			n += held[i]
		}
	}
	return n
}

func (w *work) name(id BackendID) string {
	if i := w.roster.at(id); i >= 0 {
		return w.pool.Members[i].Name
	}
	return ""
}

// unchanged reports whether the pool is as it was; slices that are shared are equal.
func (w *work) unchanged() bool {
	a, b := w.was, &w.pool
	return a.Generation == b.Generation && slices.Equal(a.Members, b.Members) &&
		same(a.Home, b.Home) && same(a.Slots, b.Slots)
}

// same reports whether two slices are one.
func same[E any](a, b []E) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
