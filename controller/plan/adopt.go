package plan

import (
	"cmp"
	"maps"
	"math"
	"math/bits"
	"slices"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/limits"
)

// What is read back may have been written by anybody. Numbers above these would leave none to give.
const (
	lastBackend = math.MaxUint32 - 1<<20
	lastPool    = math.MaxUint32 - 1<<20
	lastEpoch   = math.MaxUint32 - 1<<20
)

// Adoption says what Adopt has found.
type Adoption struct {
	Slots   int // of the pools that the switch has rows of
	Pins    int // flows that are pinned there
	Astray  int // of these, slots that the switch treats in another way than was stored
	Unknown int // backends that the switch names and the state does not: removed members by now
	// Serving are the backends, sorted, of pools with slots that are astray, that the switch treats as alive, or keeps
	// flows with since nobody is left: a verdict that is as old as the state says nothing of them. Those on all of a
	// pool count together, or none: where one alone is down, its flows may be given to the others.
	Serving []BackendKey
}

// None says whether the switch knows of no flow.
func (a Adoption) None() bool { return a.Slots == 0 && a.Pins == 0 }

// Adopt brings st in line with a switch that forwards already: flows are where its rows say, whatever an older state
// meant. What has to change from there is for Step, which moves slots and breaks no flow.
//
// stored is the state as it was read, of which Step has made st with the intent. Where the switch has the slots as they
// were stored, st follows from what the switch has, and stays. Otherwise a pool takes over the SlotTable that its VIPs
// lead to on the switch, with the id, the generation, the secret and the number of slots, unless it was another pool's:
// one with another secret was not, for it is of another store. A row belongs to the server that it forwards to: the one
// with the MAC that stands in `backend` under its id. The switch's ids stay, so that no slot ever names a row that is
// about to be another server's; who had such an id in st gets a new one. A server that the state does not know becomes
// a removed member: its flows are drained.
//
// A slot without a row, or whose row names no row of `backend`, has no flows: it stays as in st. What a State cannot
// have is settled on the backend of the new flows, as a move that ends by force: one of two epochs in one bank, where
// the younger keeps it. Diff never leaves such rows behind. Pinned flows are those that are pinned there: what was
// stored may have ended since.
//
// on is the name of the switch. The state that is returned passes Check if st does.
func Adopt(st, stored State, intent *config.Intent, on string, have rows.Tables) (State, Adoption) {
	a := adopter{st: st, stored: stored, on: on, have: have}
	a.find(intent)
	if a.found.None() {
		return st, a.found
	}
	a.numberBackends()
	a.numberPools()
	a.compare()
	a.pin()
	if a.found.Astray > 0 || a.renumbered {
		a.takeOver()
		a.finish()
	}
	return a.st, a.found
}

type adopter struct {
	st, stored State  // st is changed: its numbers, and at last its pools
	on         string // the switch
	have       rows.Tables
	pools      []*adopted    // by name
	epochs     [banks]uint32 // who lives in a bank: the youngest epoch that the switch has there
	found      Adoption
	renumbered bool // a row would come to name another server
}

// adopted is one pool in the course of an Adopt.
type adopted struct {
	name string
	pool Pool
	rows []rows.Slot // on the switch; nil: nothing is taken over

	whose map[rows.BackendID]int            // index into pool.Members, by the switch's ids
	keeps []rows.BackendID                  // by member: the id that it has on the switch, 0: none
	moved map[rows.BackendID]rows.BackendID // the members' ids by those of before
}

// find looks for every pool's rows, and for the members that these name.
func (a *adopter) find(intent *config.Intent) {
	type stored struct {
		id     rows.PoolID
		secret rows.Secret
	}
	owner := make(map[stored]string)
	for name, p := range a.stored.Pools {
		owner[stored{p.ID, p.Secret}] = name
	}
	taken := make(map[rows.SlotTable]bool)
	for _, name := range slices.Sorted(maps.Keys(a.st.Pools)) {
		p := &adopted{name: name, pool: *a.st.Pools[name]}
		p.pool.Members = slices.Clone(p.pool.Members)
		a.pools = append(a.pools, p)
		to, ok := a.leads(intent, p, func(to rows.ToPool) bool {
			of, known := owner[stored{to.Pool, to.Secret}]
			return !taken[to.Table()] && to.Pool <= lastPool && (!known || of == name)
		})
		if ok {
			table := to.Table()
			taken[table] = true
			p.rows = make([]rows.Slot, int(to.SlotMask)+1)
			copy(p.rows, a.have.Slots[table])
			p.resize(to)
			a.found.Slots += len(p.rows)
		}
		a.meet(p)
	}
	if a.found.Pins = len(a.have.Pins); len(a.pools) > 0 {
		a.meetPinned()
	}
}

// leads returns where the VIPs of a pool lead on the switch: to the table that is stored, by the secret that is stored,
// if any of them does.
func (a *adopter) leads(intent *config.Intent, p *adopted, mine func(rows.ToPool) bool) (to rows.ToPool, ok bool) {
	stored := a.stored.Pools[p.name]
	for _, v := range intent.VIPs {
		held, there := a.have.VIP[rows.VIPKey{Address: v.Address, Protocol: v.Protocol, Port: v.Port}]
		t := held.Table()
		n := int(held.SlotMask) + 1
		if v.Pool != p.name || !there || len(a.have.Slots[t]) == 0 || !mine(held) ||
			bits.OnesCount(uint(n)) != 1 || n > maxSlots {
			continue
		}
		if !ok || stored.is(held) {
			to, ok = held, true
		}
	}
	return to, ok
}

// is says whether a VIP with that row leads to the pool, and has every flow in the slot that the pool has it in.
func (p *Pool) is(to rows.ToPool) bool {
	return p != nil && p.ID == to.Pool && p.Generation == to.Generation && p.Secret == to.Secret
}

// resize gives the pool the switch's number of slots: a flow's slot is the low bits of its hash.
func (p *adopted) resize(to rows.ToPool) {
	p.pool.ID, p.pool.Generation, p.pool.Secret = to.Pool, to.Generation, to.Secret
	if have, want := len(p.pool.Slots), len(p.rows); have != want {
		slots, home := make([]rows.Slot, want), make([]rows.BackendID, want)
		for i := range want {
			slots[i], home[i] = p.pool.Slots[i%have], p.pool.Home[i%have]
		}
		p.pool.Slots, p.pool.Home = slots, home
	}
}

// meet finds out who the backends are that a pool's rows name.
func (a *adopter) meet(p *adopted) {
	named := make(map[rows.BackendID]bool)
	for _, row := range p.rows {
		named[row.Backend], named[row.Old] = true, true
	}
	p.whose = make(map[rows.BackendID]int)
	p.keeps = make([]rows.BackendID, len(p.pool.Members))
	for _, id := range slices.Sorted(maps.Keys(named)) {
		a.name(p, id)
	}
}

// name finds out who a backend is that is a pool's on the switch.
func (a *adopter) name(p *adopted, id rows.BackendID) {
	to, there := a.have.Backend[id]
	if id == 0 || id > lastBackend || !there {
		return
	}
	was, known := a.knew(p.name, id, to)
	i := p.member(was.Name, to)
	if i < 0 {
		if !known {
			was = Member{Name: to.MAC.String(), MAC: to.MAC, Weight: 1} // names of the intent have no colon in them
			if to.Port != rows.Anywhere {
				was.Ports = map[string]uint16{a.on: to.Port}
			}
			a.found.Unknown++
		}
		was.ID, was.Removed = 0, true
		i = len(p.pool.Members)
		p.pool.Members, p.keeps = append(p.pool.Members, was), append(p.keeps, 0)
	}
	p.whose[id] = i
	if p.keeps[i] == 0 || p.pool.Members[i].ID == id {
		p.keeps[i] = id
	}
}

// meetPinned finds out who the backends are that pins name and no slot does: they are those of the pool that had them
// by that id, or has them by that MAC, or of any that is taken over.
func (a *adopter) meetPinned() {
	named := make(map[rows.BackendID]bool)
	for _, pin := range a.have.Pins {
		named[pin.Backend] = true
	}
	for _, id := range slices.Sorted(maps.Keys(named)) {
		to := a.have.Backend[id]
		rank := func(p *adopted) int {
			_, met := p.whose[id]
			_, knew := a.knew(p.name, id, to)
			switch {
			case met:
				return 0
			case knew:
				return 1
			case p.member("", to) >= 0:
				return 2
			case p.rows != nil:
				return 3
			}
			return 4
		}
		best := a.pools[0]
		for _, p := range a.pools {
			if rank(p) < rank(best) {
				best = p
			}
		}
		if rank(best) == 0 {
			continue
		}
		if a.name(best, id); len(best.pool.Members) > len(a.st.Pools[best.name].Members) {
			a.renumbered = true // the state has to have it
		}
	}
}

// pin takes over which flows are pinned, while the members are where whose has them.
func (a *adopter) pin() {
	ids := make(map[rows.BackendID]rows.BackendID)
	for _, p := range a.pools {
		for id, i := range p.whose {
			ids[id] = p.pool.Members[i].ID
		}
	}
	flows := make(map[rows.Flow]rows.BackendID, len(a.have.Pins))
	for flow, pin := range a.have.Pins {
		if id := ids[pin.Backend]; id != 0 && len(flows) < limits.PinSize {
			flows[flow] = id
		}
	}
	a.st.Pins = NewPins(flows)
}

// member returns the index of the member that a row of `backend` forwards to, below 0: there is none. stored is the
// name of the one that was stored with that id and MAC: the intent may have given it another MAC meanwhile.
func (p *adopted) member(stored string, to rows.Forward) int {
	members := p.pool.Members
	if i := slices.IndexFunc(members, func(m Member) bool { return m.Name == stored }); i >= 0 {
		return i
	}
	for _, removed := range []bool{false, true} {
		if i := slices.IndexFunc(members,
			func(m Member) bool { return m.MAC == to.MAC && m.Removed == removed }); i >= 0 {
			return i
		}
	}
	return -1
}

// knew returns the member of a pool that was stored with that id and MAC.
func (a *adopter) knew(pool string, id rows.BackendID, to rows.Forward) (Member, bool) {
	if p := a.stored.Pools[pool]; p != nil {
		for _, m := range p.Members {
			if m.ID == id && m.MAC == to.MAC {
				return m, true
			}
		}
	}
	return Member{}, false
}

// numberBackends gives members the ids that they have on the switch, and others to those who had them in the state.
func (a *adopter) numberBackends() {
	a.st.NextBackend = max(a.st.NextBackend, 1)
	for id := range a.have.Backend {
		if id <= lastBackend {
			a.st.NextBackend = max(a.st.NextBackend, id+1)
		}
	}
	taken := make(map[rows.BackendID]bool)
	for _, p := range a.pools {
		for i, id := range p.keeps {
			if taken[id] {
				p.keeps[i] = 0 // two pools that name one row: the second gets its own
			}
			taken[p.keeps[i]] = true
		}
	}
	for _, p := range a.pools {
		p.moved = make(map[rows.BackendID]rows.BackendID)
		for i := range p.pool.Members {
			m := &p.pool.Members[i]
			was := m.ID
			to, there := a.have.Backend[was]
			stored, _ := a.knew(p.name, was, to)
			switch {
			case p.keeps[i] != 0:
				m.ID = p.keeps[i]
				a.renumbered = a.renumbered || m.ID != was
			case was == 0 || taken[was] || there && to.MAC != m.MAC && stored.Name != m.Name:
				m.ID = a.st.NextBackend
				a.st.NextBackend++
			}
			if was != 0 {
				p.moved[was] = m.ID
			}
		}
	}
}

// numberPools gives other ids to pools whose id belongs to another pool on the switch.
func (a *adopter) numberPools() {
	a.st.NextPool = max(a.st.NextPool, 1)
	for t := range a.have.Slots {
		if t.Pool <= lastPool {
			a.st.NextPool = max(a.st.NextPool, t.Pool+1)
		}
	}
	taken := make(map[rows.PoolID]bool)
	for _, p := range a.pools {
		if p.rows != nil {
			taken[p.pool.ID] = true
		}
	}
	for _, p := range a.pools {
		if p.rows == nil && taken[p.pool.ID] {
			p.pool.ID = a.st.NextPool
			a.st.NextPool++
		}
	}
}

// compare reads the rows, and counts those that are not as stored.
func (a *adopter) compare() {
	a.st.NextEpoch = max(a.st.NextEpoch, 1)
	serving := make(map[BackendKey]bool)
	for _, p := range a.pools {
		names := make(map[rows.BackendID]string)
		for _, m := range p.pool.Members {
			names[m.ID] = m.Name
		}
		stored, astray := a.storedSlots(p), a.found.Astray
		for i, row := range p.rows {
			slot := p.held(row)
			p.rows[i] = slot
			if slot.Epoch != 0 {
				a.epochs[slot.Bank] = max(a.epochs[slot.Bank], slot.Epoch)
				a.st.NextEpoch = max(a.st.NextEpoch, slot.Epoch+1)
			}
			var was rows.Slot
			if stored != nil {
				was = stored[i]
			}
			if slot == was || slot == (rows.Slot{}) {
				continue
			}
			a.found.Astray++
		}
		if a.found.Astray == astray {
			continue
		}
		for _, slot := range p.rows {
			serving[BackendKey{p.name, names[slot.Backend]}] = true
			serving[BackendKey{p.name, names[slot.Old]}] = true // the switch does not know whether it is alive
		}
	}
	maps.DeleteFunc(serving, func(k BackendKey, _ bool) bool { return k.Backend == "" })
	a.found.Serving = slices.SortedFunc(maps.Keys(serving), func(x, y BackendKey) int {
		return cmp.Or(cmp.Compare(x.Pool, y.Pool), cmp.Compare(x.Backend, y.Backend))
	})
}

// storedSlots returns the slots of a pool as they were stored, by the members' ids of now; nil where the switch has
// another table than that, or other flows in its slots.
func (a *adopter) storedSlots(p *adopted) []rows.Slot {
	was := a.stored.Pools[p.name]
	to := rows.ToPool{Pool: p.pool.ID, Generation: p.pool.Generation, Secret: p.pool.Secret}
	if !was.is(to) || len(was.Slots) != len(p.rows) {
		return nil
	}
	ids := make(map[rows.BackendID]rows.BackendID)
	for _, m := range was.Members {
		if i := slices.IndexFunc(p.pool.Members, func(is Member) bool { return is.Name == m.Name }); i >= 0 {
			ids[m.ID] = p.pool.Members[i].ID
		}
	}
	slots := slices.Clone(was.Slots)
	for i := range slots {
		rename(&slots[i], ids)
	}
	return slots
}

// rename replaces ids.
func rename(s *rows.Slot, ids map[rows.BackendID]rows.BackendID) {
	s.Backend, s.Old = ids[s.Backend], ids[s.Old]
}

// takeOver makes the rows the pools' slots. It finds the slots of before with the ids of before.
func (a *adopter) takeOver() {
	for _, p := range a.pools {
		p.pool.Home, p.pool.Slots = slices.Clone(p.pool.Home), slices.Clone(p.pool.Slots)
		for i := range p.pool.Slots {
			slot := &p.pool.Slots[i]
			p.pool.Home[i] = p.moved[p.pool.Home[i]]
			rename(slot, p.moved)
			if p.rows != nil && p.rows[i] != (rows.Slot{}) {
				*slot = p.rows[i]
			}
			if e := a.epochs[slot.Bank]; slot.Epoch != 0 && e != 0 && e != slot.Epoch {
				*slot = rows.Slot{Backend: cmp.Or(slot.Backend, slot.Old)}
			}
		}
	}
}

// held makes a slot of a State of rows that were read back, the zero Slot when packets go nowhere by them.
func (p *adopted) held(row rows.Slot) rows.Slot {
	id := func(on rows.BackendID) rows.BackendID {
		if i, ok := p.whose[on]; ok {
			return p.pool.Members[i].ID
		}
		return 0
	}
	slot := rows.Slot{Backend: id(row.Backend), Old: id(row.Old), Epoch: row.Epoch, Bank: row.Bank, Back: row.Back}
	switch {
	case slot.Backend == 0 && row.Backend != 0: // its row in `backend` is gone
		slot = rows.Slot{Backend: slot.Old}
	case slot.Old == 0, slot.Old == slot.Backend, slot.Epoch > lastEpoch, slot.Bank >= banks:
		slot = rows.Slot{Backend: cmp.Or(slot.Backend, slot.Old)}
	}
	return slot
}

// finish makes the pools those of the state.
func (a *adopter) finish() {
	pools := make(map[string]*Pool, len(a.pools))
	for _, p := range a.pools {
		slices.SortFunc(p.pool.Members, func(x, y Member) int { return cmp.Compare(x.ID, y.ID) })
		// Nobody knows which epochs these slots have been in: they enter none that lives.
		p.pool.Entered = slices.Repeat([]uint32{a.st.NextEpoch - 1}, len(p.pool.Slots))
		pools[p.name] = &p.pool
	}
	a.st.Pools = pools
}
