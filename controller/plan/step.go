package plan

import (
	"cmp"
	"errors"
	"math"
	"slices"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/limits"
)

const (
	banks    = limits.Banks // sets of moves that can be under way at once
	maxSlots = limits.PoolSlots

	// spare is how many banks gradual moves leave to the dead of pools with a grace: what leaves a dead backend needs
	// an epoch that its slot has not been in, and cannot wait for one without losing new flows.
	spare = 1
)

// Step takes the slots of every pool as near to their shares as can be without breaking a flow whose
// backend is alive. It moves what must move and nothing else:
//
//   - the new flows of a dead backend's slots go elsewhere at once. The open ones stay with it until the
//     controller, which knows time, ends their grace with Settle: it may live, and be called dead. A slot whose
//     open flows could not stay (no epoch fits, or it moves between two that are dead) waits where it is, until
//     one fits or Input.Over says that the grace has ended. A pool without a grace lets them break at once. If
//     the dead one was the new backend of a moving slot, another takes its place in the same move.
//   - slots of a draining, failing, disabled or removed backend, and slots above a backend's share, begin a
//     move: new flows go to the new backend, open ones stay. A moving slot cannot move again before it has
//     settled, for the switch remembers two backends of a slot and no third.
//   - a pinned flow stays where it is, until its backend is dead and has no grace, or is nobody's.
//   - while nobody may take slots they stay where they are: the pool's all_down says whether new flows do.
//   - the open flows of a backend that is called dead no longer have as much time as those of a drain.
//
// All moves that begin in one Step share an epoch and its bank; with no bank left but the spare one they wait. What
// leaves the dead has that one too, and shares an epoch that its slot has not been in. The slots of a backend that
// returns are, as far as that costs no move, the ones that are its own when everybody is up.
//
// st is the zero State, what Step or Settle returned, or has passed Check.
func Step(st State, in Input) (State, Progress, error) {
	s := stepper{in: in, next: st}
	// 0 is nobody's id, and the epoch of mark cells that were never written.
	s.next.NextPool = max(st.NextPool, 1)
	s.next.NextBackend = max(st.NextBackend, 1)
	s.next.NextEpoch = max(st.NextEpoch, 1)

	works := make([]*work, len(in.Intent.Pools))
	for i := range works {
		cfg := &in.Intent.Pools[i]
		w, err := s.begin(cfg, st.Pools[cfg.Name])
		if err != nil {
			return st, Progress{}, err
		}
		works[i] = w
	}
	s.works = works
	for _, w := range works {
		s.rescue(w)
	}
	s.unpin()
	if err := s.move(works); err != nil {
		return st, Progress{}, err
	}
	pools := make(map[string]*Pool, len(works))
	for _, w := range works {
		pools[w.cfg.Name] = s.finish(w)
	}
	s.next.Pools = pools
	slices.SortFunc(s.progress.Moves, compareMoves)
	return s.next, s.progress, nil
}

type stepper struct {
	in       Input
	next     State // with the pools of before, until the end
	progress Progress

	works []*work
	stock bool   // whether banks have been counted
	banks []bank // those that are in use

	stopped Why // what kept slots from moving that could have; 0: nothing
}

// bank is where the flows of one epoch are marked.
type bank struct {
	epoch uint32 // 0: of none
	grace bool   // slots of a dead backend are in it
}

// takeStock finds the banks that moves have taken, when they are needed first.
func (s *stepper) takeStock() {
	if s.stock {
		return
	}
	s.stock = true
	s.banks = make([]bank, cmp.Or(s.in.banks, banks))
	for _, w := range s.works {
		for _, slot := range w.pool.Slots {
			if slot.Epoch != 0 {
				b := &s.banks[slot.Bank]
				b.epoch, b.grace = slot.Epoch, b.grace || !w.lives(slot.Old)
			}
		}
	}
}

// free returns a bank that nobody uses, and leaves so many others to be used yet; below 0: there is none.
func (s *stepper) free(left int) int {
	for i, b := range s.banks {
		switch {
		case b.epoch != 0:
		case left == 0:
			return i
		default:
			left--
		}
	}
	return -1
}

// leaving returns the bank for a slot that leaves a dead backend and has entered the epoch `entered` last: that of
// others who do so, or a new one, or any whose epoch is younger. Below 0: there is none.
func (s *stepper) leaving(entered uint32) int {
	s.takeStock()
	best := -1
	for i, b := range s.banks {
		if b.epoch > entered && (best < 0 || b.grace && !s.banks[best].grace ||
			b.grace == s.banks[best].grace && b.epoch > s.banks[best].epoch) {
			best = i
		}
	}
	if best >= 0 && s.banks[best].grace {
		return best
	}
	if i := s.free(0); i >= 0 && s.next.NextEpoch < math.MaxUint32 {
		s.banks[i] = bank{s.next.NextEpoch, true}
		s.next.NextEpoch++
		return i
	}
	if best >= 0 {
		s.banks[best].grace = true
	}
	return best
}

// begin takes over what the intent says of the pool.
func (s *stepper) begin(cfg *config.Pool, was *Pool) (*work, error) {
	w := &work{cfg: cfg, was: was}
	if was == nil {
		w.pool.ID = s.next.NextPool
		if s.next.NextPool++; s.next.NextPool == 0 {
			return nil, errors.New("every pool id has been used")
		}
		w.pool.Home, w.pool.Slots = make([]rows.BackendID, cfg.Slots), make([]rows.Slot, cfg.Slots)
		w.pool.Secret = s.next.Secret
	} else {
		w.pool = *was
	}
	w.before = w.pool.Slots
	if err := s.members(w); err != nil {
		return nil, err
	}
	s.resize(w)
	s.statuses(w)
	if was == nil || was.Generation != w.pool.Generation ||
		!slices.EqualFunc(was.Members, w.pool.Members, Member.Equal) {
		w.goHome()
	}
	return w, nil
}

// members brings the members in line with the intent. They stay in the order of their ids.
func (s *stepper) members(w *work) error {
	members := slices.Clone(w.pool.Members)
	known := make(map[string]int, len(members))
	for i := range members {
		members[i].Removed = true
		known[members[i].Name] = i
	}
	for _, b := range w.cfg.Backends {
		m := Member{
			Name: b.Name, MAC: b.MAC, Port: b.SwitchPort.All, Ports: b.SwitchPort.By,
			Address: b.Address.String(), Weight: b.Weight,
		}
		if i, ok := known[b.Name]; ok {
			m.ID = members[i].ID
			members[i] = m
			continue
		}
		m.ID = s.next.NextBackend
		if s.next.NextBackend++; s.next.NextBackend == 0 {
			return errors.New("every backend id has been used")
		}
		members = append(members, m)
	}
	w.pool.Members = members
	w.roster = newRoster(members)
	w.seeds = make([]uint64, len(members))
	for i, m := range members {
		w.seeds[i] = seed(w.cfg.Name, m.Name)
	}
	return nil
}

// resize makes a new generation when the number of slots has changed. A flow's slot is the low bits
// of its hash, so a table that doubles is written out twice and every flow keeps its backend, moves
// under way included. One that shrinks keeps its first part.
func (s *stepper) resize(w *work) {
	have, want := len(w.pool.Slots), w.cfg.Slots
	if have == want {
		return
	}
	slots, home := make([]rows.Slot, want), make([]rows.BackendID, want)
	for i := range slots {
		slots[i], home[i] = w.pool.Slots[i%have], w.pool.Home[i%have]
	}
	for i := want; i < have; i++ {
		if w.pool.Slots[i] != slots[i%want] {
			s.progress.Rehashed++
		}
	}
	if was := w.pool.Entered; was != nil {
		w.pool.Entered = make([]uint32, want)
		for i := range max(have, want) {
			w.pool.Entered[i%want] = max(w.pool.Entered[i%want], was[i%have])
		}
	}
	w.pool.Slots, w.pool.Home, w.before = slots, home, slots
	w.pool.Generation++
}

// statuses decides who may get slots, and how many.
func (s *stepper) statuses(w *work) {
	members := w.pool.Members
	w.status = make([]status, len(members))
	enabled := make(map[string]bool, len(w.cfg.Backends))
	for _, b := range w.cfg.Backends {
		enabled[b.Name] = b.Enabled
	}
	wanted := make([]bool, len(members))
	for i, m := range members {
		key := BackendKey{w.cfg.Name, m.Name}
		health := s.in.Health[key]
		wanted[i] = !m.Removed && enabled[m.Name] && s.in.Admin[key] != Drain
		switch {
		case health == Down || health == Failing && w.cfg.Failing == config.FailingDown:
			w.status[i] = dead
			if s.in.Over[key] {
				w.over = append(w.over, m.ID)
			}
		case !wanted[i]:
			w.status[i] = leaving
		case health == Failing:
			w.status[i] = failing
		default:
			w.status[i] = active
		}
	}
	w.keep = w.cfg.Grace > 0
	w.anybody = slices.Contains(w.status, active)
	w.forward = !w.anybody && w.cfg.AllDown == config.Forward
	w.share = w.divide(func(i int) bool { return w.status[i] == active || w.forward && wanted[i] })
}

// move begins the moves that take the pools to their shares.
func (s *stepper) move(works []*work) error {
	lacking := func(w *work) bool {
		return !s.in.Hold[w.cfg.Name] && w.anybody && slices.ContainsFunc(w.lacks(), func(n int) bool { return n > 0 })
	}
	if !slices.ContainsFunc(works, lacking) {
		return nil
	}
	s.takeStock()
	left := 0
	if slices.ContainsFunc(works, func(w *work) bool { return w.keep }) {
		left = spare
	}
	bank := s.free(left)
	if bank < 0 {
		s.stopped = EpochsUsed
		return nil
	}
	if s.next.NextEpoch == math.MaxUint32 {
		return errors.New("every epoch has been used")
	}
	moved := false
	for _, w := range works {
		if !s.in.Hold[w.cfg.Name] && w.move(uint8(bank), s.next.NextEpoch) {
			moved = true
		}
	}
	if moved {
		s.next.NextEpoch++
	}
	return nil
}

// finish notes what was done and returns the pool as it is now.
func (s *stepper) finish(w *work) *Pool {
	stopped := s.stopped
	if s.in.Hold[w.cfg.Name] {
		stopped = Behind
	}
	s.progress.Waiting = append(s.progress.Waiting, w.waits(stopped)...)
	if w.cloned {
		s.moves(w)
	}
	w.forget(s.next.Pins)
	if w.was != nil && w.unchanged() {
		return w.was
	}
	p := w.pool
	return &p
}

// moves notes the difference between the pool's slots before and after.
func (s *stepper) moves(w *work) {
	type key struct {
		from, to       rows.BackendID
		gradual, grace bool
	}
	counts := make(map[key]int)
	for i, slot := range w.pool.Slots {
		before := w.before[i]
		if before.Backend != slot.Backend {
			stays := slot.Old == before.Backend && before.Backend != 0
			lives := w.lives(before.Backend)
			counts[key{before.Backend, slot.Backend, stays && lives, stays && !lives}]++
		}
	}
	from := w.before
	if w.regained != nil {
		from = w.regained // who goes back to his flows is no surplus
	}
	s.progress.Surplus += w.surplus(from, w.pool.Slots)
	for k, n := range counts {
		s.progress.Moves = append(s.progress.Moves, Move{
			Pool: w.cfg.Name, From: w.name(k.from), To: w.name(k.to), Slots: n, Gradual: k.gradual, Grace: k.grace,
		})
	}
}

// surplus counts the moves from before to after that brought the pool no nearer to its shares.
func (w *work) surplus(before, after []rows.Slot) int {
	n := 0
	was, is := make([]int, len(w.pool.Members)), make([]int, len(w.pool.Members))
	for i, slot := range after {
		if b := w.roster.at(before[i].Backend); b >= 0 {
			was[b]++
		}
		if b := w.roster.at(slot.Backend); b >= 0 {
			is[b]++
		}
		if before[i].Backend != slot.Backend {
			n++
		}
	}
	return n - (w.distance(was) - w.distance(is))
}

// compareMoves orders moves. Two of one kind are not between the same backends.
func compareMoves(a, b Move) int {
	kind := func(m Move) int {
		switch {
		case m.Gradual:
			return 0
		case m.Grace:
			return 1
		}
		return 2
	}
	return cmp.Or(cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To),
		cmp.Compare(kind(a), kind(b)))
}
