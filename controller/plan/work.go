package plan

import (
	"slices"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/rows"
)

type status uint8

const (
	active  status = iota // may get slots
	leaving               // alive, and to be without slots
	failing               // the same, by healthd's word
	dead
)

// work is one pool in the course of a Step.
type work struct {
	cfg    *config.Pool
	was    *Pool // nil: the pool is new
	before []rows.Slot
	pool   Pool
	// regained is before, with what went back to those who have flows there; nil when nothing did.
	regained []rows.Slot

	roster roster
	cloned bool // pool.Slots is the work's own
	copied bool // pool.Entered is

	// By index into pool.Members:
	status []status
	share  []int // 0 unless eligible
	held   []int // slots by their Backend; those of the dead are not counted
	seeds  []uint64

	anybody bool // somebody is eligible
	forward bool // nobody is, and all_down says forward: slots without a backend go to those who would be
	keep    bool // the dead keep their open flows for a grace

	over  []rows.BackendID // of the dead: those whose grace is over
	stuck map[stuck]int    // slots of the dead that wait
}

// stuck is a reason for which slots of a dead backend wait.
type stuck struct {
	member int
	why    Why
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
func (w *work) set(slot int, to rows.Slot) {
	if !w.cloned {
		w.pool.Slots, w.cloned = slices.Clone(w.pool.Slots), true
	}
	w.pool.Slots[slot] = to
}

// entered is the last epoch that a slot has entered.
func (w *work) entered(slot int) uint32 {
	if w.pool.Entered == nil {
		return 0
	}
	return w.pool.Entered[slot]
}

// enter records that a slot enters an epoch, in a copy.
func (w *work) enter(slot int, epoch uint32) {
	switch {
	case w.pool.Entered == nil:
		w.pool.Entered, w.copied = make([]uint32, len(w.pool.Slots)), true
	case !w.copied:
		w.pool.Entered, w.copied = slices.Clone(w.pool.Entered), true
	}
	w.pool.Entered[slot] = epoch
}

// back gives a slot to a backend that has flows there, whatever the shares say: that is no surplus.
func (w *work) back(slot int, to rows.Slot) {
	w.set(slot, to)
	if w.regained == nil {
		w.regained = slices.Clone(w.before)
	}
	w.regained[slot] = to
}

// lives says whether the backend is there and not dead.
func (w *work) lives(id rows.BackendID) bool {
	i := w.roster.at(id)
	return i >= 0 && w.status[i] != dead
}

// keeps says whether the open flows of a backend that is dead stay with it yet.
func (w *work) keeps(id rows.BackendID) bool {
	return w.keep && w.roster.at(id) >= 0 && !slices.Contains(w.over, id)
}

// lacks returns, by member, how many slots each is short of its share; below 0: how many above it.
func (w *work) lacks() []int {
	lacks := make([]int, len(w.share))
	for i := range lacks {
		lacks[i] = w.share[i] - w.held[i]
	}
	return lacks
}

// rescue does what cannot wait: it finds others for the new flows of slots whose backend is dead.
func (s *stepper) rescue(w *work) {
	w.held = make([]int, len(w.pool.Members))
	var orphans []int
	moving := false
	for i, slot := range w.pool.Slots {
		if slot.Epoch == 0 {
			if b := w.roster.at(slot.Backend); b >= 0 && w.status[b] != dead {
				w.held[b]++
			} else {
				orphans = append(orphans, i)
			}
			continue
		}
		moving = true
		if slot.Old != 0 && !w.lives(slot.Old) && !w.keeps(slot.Old) && w.anybody {
			slot = rows.Slot{Backend: slot.Backend}
			w.set(i, slot)
		}
		if own := w.roster.at(slot.Old); slot.Backend == 0 && own >= 0 && (w.status[own] == active || w.forward ||
			!w.anybody && w.status[own] == leaving) {
			slot = rows.Slot{Backend: slot.Old} // nobody has opened a flow elsewhere
			w.back(i, slot)
		}
		if b := w.roster.at(slot.Backend); b >= 0 && w.status[b] != dead {
			w.held[b]++
		} else {
			orphans = append(orphans, i)
		}
	}
	switch {
	case w.anybody:
		s.adopt(w, orphans)
	case w.forward:
		s.adopt(w, slices.DeleteFunc(orphans, func(i int) bool { return w.pool.Slots[i].Backend != 0 }))
	default:
		s.close(w)
	}
	if moving && w.anybody {
		w.turn()
	}
}

// close drops the new flows of a pool in which nobody may take them. The open ones stay where they are, and a slot
// that moves goes on moving.
func (s *stepper) close(w *work) {
	for i, slot := range w.pool.Slots {
		b := w.roster.at(slot.Backend)
		if b < 0 || slot.Epoch != 0 || w.status[b] != dead && w.status[b] != failing {
			continue
		}
		bank := s.leaving(w.entered(i))
		if bank < 0 {
			continue // new flows are lost at the dead one, too
		}
		if w.status[b] != dead {
			w.held[b]--
		}
		w.leave(i, 0, uint8(bank), s.banks[bank].epoch)
	}
}

// leave lets a slot's new flows go to another backend, 0: nobody, and its open ones stay.
func (w *work) leave(slot int, to rows.BackendID, bank uint8, epoch uint32) {
	w.set(slot, rows.Slot{Backend: to, Old: w.pool.Slots[slot].Backend, Bank: bank, Epoch: epoch})
	w.enter(slot, epoch)
}

// adopt finds backends for slots that have none that lives. None is taken from a dead backend whose open flows may not
// break yet: it goes where they can stay, or waits. A slot that waits counts as that of the backend that it waits for.
func (s *stepper) adopt(w *work, orphans []int) {
	if len(orphans) == 0 {
		return
	}
	lacks := w.lacks()
	place := func(slot, member int) {
		id, was := w.pool.Members[member].ID, w.pool.Slots[slot]
		w.held[member]++
		lacks[member]--
		switch former, keeps := was.Old, w.keeps(was.Backend); {
		case former == id || former == 0 && !keeps:
			w.set(slot, rows.Slot{Backend: id})
		case !keeps:
			was.Backend = id // the former one keeps what it has
			w.set(slot, was)
		case former != 0 && !s.in.Stale[w.cfg.Name]:
			w.wait(was.Backend, BothDown)
		case former != 0 && !was.Back:
			was.Backend = id
			w.set(slot, was)
		default:
			if bank := s.leaving(w.entered(slot)); bank >= 0 {
				w.leave(slot, id, uint8(bank), s.banks[bank].epoch)
			} else {
				w.wait(was.Backend, NoEpoch)
			}
		}
	}
	// The other backend of a slot that moves first, if it lives: then everybody keeps the flows that he has, and it has
	// the new ones too, be it for the time of the grace alone. Then the one at home.
	rest := orphans[:0]
	for _, i := range orphans {
		slot := w.pool.Slots[i]
		keeps := w.keeps(slot.Backend)
		if !keeps && !slot.Back || slot.Backend == 0 || !w.lives(slot.Old) {
			rest = append(rest, i)
			continue
		}
		old := w.roster.at(slot.Old)
		if to := flip(slot); keeps {
			w.back(i, to)
		} else {
			w.back(i, rows.Slot{Backend: to.Backend})
		}
		w.held[old]++
		lacks[old]--
	}
	free, left := make([]bool, len(w.pool.Slots)), 0
	for _, i := range rest {
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

// wait lets a slot stay where it is for now.
func (w *work) wait(backend rows.BackendID, why Why) {
	if w.stuck == nil {
		w.stuck = make(map[stuck]int)
	}
	w.stuck[stuck{w.roster.at(backend), why}]++
}

// turn lets slots go back at once to those who had them, as far as the shares want it: that needs no epoch, and
// nobody waits for anybody's flows.
func (w *work) turn() {
	lacks := w.lacks()
	for i, slot := range w.pool.Slots {
		if slot.Epoch == 0 || slot.Backend == 0 {
			continue
		}
		from, to := w.roster.at(slot.Backend), w.roster.at(slot.Old)
		if from < 0 || to < 0 || lacks[from] >= 0 || lacks[to] <= 0 || w.status[from] == dead || w.status[to] == dead {
			continue
		}
		w.set(i, flip(slot))
		w.held[from]--
		lacks[from]++
		w.held[to]++
		lacks[to]--
	}
}

// move begins moves, and says whether there were any.
func (w *work) move(bank uint8, epoch uint32) (moved bool) {
	lacks := w.lacks()
	if len(w.takers(lacks)) == 0 {
		return false
	}
	take := func(slot, member int) bool {
		from := w.roster.at(w.pool.Slots[slot].Backend)
		if lacks[member] <= 0 || w.pool.Slots[slot].Epoch != 0 || lacks[from] >= 0 {
			return false
		}
		w.set(slot, rows.Slot{Backend: w.pool.Members[member].ID, Old: w.pool.Members[from].ID, Bank: bank,
			Epoch: epoch})
		w.enter(slot, epoch)
		w.held[from]--
		lacks[from]++
		w.held[member]++
		lacks[member]--
		moved = true
		return true
	}
	home := func(slot int) int { return w.roster.at(w.pool.Home[slot]) }
	// Whoever lacks slots takes its own first, then those that are not at home anyway.
	for slot := range w.pool.Slots {
		if to := home(slot); to >= 0 {
			take(slot, to)
		}
	}
	n := len(w.pool.Slots)
	deal(n, n, w.takers(lacks), func(slot, member int) bool {
		return home(slot) != w.roster.at(w.pool.Slots[slot].Backend) && take(slot, member)
	})
	deal(n, n, w.takers(lacks), take)
	return moved
}

// forget drops the removed backends that no slot names any more, and no pin.
func (w *work) forget(pins *Pins) {
	removed := func(m Member) bool { return m.Removed }
	if !slices.ContainsFunc(w.pool.Members, removed) {
		return
	}
	named := make(map[rows.BackendID]bool)
	for _, slot := range w.pool.Slots {
		named[slot.Backend], named[slot.Old] = true, true
	}
	w.pool.Members = slices.DeleteFunc(slices.Clone(w.pool.Members),
		func(m Member) bool { return m.Removed && !named[m.ID] && pins.Of(m.ID) == 0 })
}

// distance is the least number of slot moves that lead from these numbers of slots to the shares.
func (w *work) distance(held []int) int {
	n := 0
	for i := range held {
		if w.anybody || w.forward {
			n += max(0, w.share[i]-held[i])
		} else if w.status[i] == dead || w.status[i] == failing {
			n += held[i]
		}
	}
	return n
}

func (w *work) name(id rows.BackendID) string {
	if i := w.roster.at(id); i >= 0 {
		return w.pool.Members[i].Name
	}
	return ""
}

// unchanged reports whether the pool is as it was; slices that are shared are equal.
func (w *work) unchanged() bool {
	a, b := w.was, &w.pool
	return a.Generation == b.Generation && a.Secret == b.Secret && slices.EqualFunc(a.Members, b.Members,
		Member.Equal) &&
		rows.Same(a.Home, b.Home) && rows.Same(a.Slots, b.Slots) && rows.Same(a.Entered, b.Entered)
}
