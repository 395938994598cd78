package plan

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/rows"
)

// The promise: no flow whose backend stays alive is ever sent elsewhere, whatever the order of drains,
// undrains, additions, removals, failures, recoveries, settlements and single writes to the switch.
//
// A small world is taken through every order there is: one pool, one switch with the tables that Diff's
// writes have made of it so far, and one flow that can open at any time, again too. One flow is enough:
// flows share no state but the slots, which do not depend on them. After each event the flow's next
// packet must go where the flow is.
//
//	intent, health, admin --Step--> State --Build--> want --Diff--> one write at a time --> tables
//	                                  ^                                                       |
//	                     Settle, Pin, Unpin <--- time, reports of old flows, idle pins --- SYN, packets
//
// The marks are those of p4/include/balance.p4, but for collisions: each flow has cells of its own.
//
// While the controller cannot reach the switch, nobody is called dead. A controller that starts anew knows what it has
// stored last, or no more than what it had stored at first, and asks the switch (Adopt).
//
// What is not promised: a flow that is silent for the drain time when its slot settles, or when its pin goes; a flow
// that was opened at a backend after it was declared dead and before the switch knew; one that is opened anew while a
// report of its last life is under way, or the row of its pin comes or goes; a slot of a table that shrank. All of them
// end the flow in this model. And the switch is lost only when it holds what it was told.
//
// In a pool with a grace, who is called dead may live. A flow then stays with its backend until the grace ends, but for
// one: a move may be over and another begun before the switch knew, and the flow was opened meanwhile. It ends, too.
type model struct {
	backends int
	slots    int
	grown    int // slots after growing; 0: never grows
	hash     int // of the flow
	allDown  config.AllDown
	grace    bool // who is called dead lives
	banks    int  // of the switch; 0: as many as there are

	fail, drain, remove bool // what happens: fail and recover, drain and undrain, remove and add
	lose                bool // the controller loses the switch and finds it again
	// the controller starts anew, from what it has stored last or from what it had stored first
	restart bool

	first State // of the world, stored

	// Faults, to see that the model notices.
	noHold      bool // gradual moves begin while the switch is behind
	settleAlive bool // slots settle while old flows live that are not pinned
	unpinAlive  bool // a pin goes while its flow lives
	endAlive    bool // a grace ends though the backend lives
	believe     bool // the store is believed, and not the switch
}

// node is a state of the world. Its parts are never modified.
type node struct {
	st       State
	have     rows.Tables
	down     uint8 // by backend, bit by bit
	draining uint8
	absent   uint8
	grown    bool
	away     bool // the switch, with what it has

	flow     rows.BackendID // where the flow is; 0: not open
	marks    [banks]uint32
	reported rows.BackendID // where the switch has said that it is; 0: it has not, or the controller knows
}

const modelFlow rows.Flow = 1

const modelPool = "web"

var modelVIP = rows.VIPKey{Address: netip.AddrFrom4([4]byte{192, 0, 2, 1}), Protocol: config.TCP, Port: 80}

func (m *model) intent(n *node) *config.Intent {
	p := config.Pool{Name: modelPool, Slots: m.slots, AllDown: m.allDown}
	if m.grace {
		p.Grace = time.Second
	}
	if n.grown {
		p.Slots = m.grown
	}
	for i := range m.backends {
		if n.absent>>i&1 == 0 {
			p.Backends = append(p.Backends, backend(i+1, 100))
		}
	}
	in := intent(p)
	in.VIPs[0].Address = modelVIP.Address
	return in
}

func (m *model) input(n *node) Input {
	in := Input{Intent: m.intent(n), Health: make(map[BackendKey]Health), Admin: make(map[BackendKey]Admin)}
	in.banks = m.banks
	for i := range m.backends {
		key := BackendKey{modelPool, fmt.Sprintf("b%d", i+1)}
		if n.down>>i&1 == 1 {
			in.Health[key] = Down
		}
		if n.draining>>i&1 == 1 {
			in.Admin[key] = Drain
		}
	}
	return in
}

// want leaves out who may send from where: it makes no difference to where flows go.
func (m *model) want(n *node) rows.Tables {
	t := build(m.intent(n), n.st)
	t.PinnedStation, t.PinnedL2, t.PinnedARP = nil, nil, nil
	return t
}

// step is what the controller does after an event; behind: the switch does not hold yet what was
// decided before. over are the backends whose grace has ended.
func (m *model) step(n *node, behind bool, over ...string) {
	in := m.input(n)
	for _, name := range over {
		in.Over = map[BackendKey]bool{{modelPool, name}: true}
	}
	if (behind || n.away) && !m.noHold {
		in.Hold = hold(modelPool)
	}
	st, progress, err := Step(n.st, in)
	if err == nil {
		err = st.Check()
	}
	if err != nil || progress.Surplus != 0 {
		panic(fmt.Sprintf("%v, %+v", err, progress))
	}
	n.st = st
}

// forward is balance.p4: where a packet of the flow goes, what it leaves in the marks, and whether the switch reports
// it.
func (m *model) forward(have rows.Tables, marks [banks]uint32, syn bool) (to rows.BackendID, _ [banks]uint32,
	report bool,
) {
	vip, ok := have.VIP[modelVIP]
	if !ok {
		return 0, marks, false
	}
	if pin, ok := have.Pins[modelFlow]; ok {
		to = pin.Backend
	} else {
		slots := have.Slots[vip.Table()]
		at := m.hash & int(vip.SlotMask)
		if at >= len(slots) || slots[at] == (rows.Slot{}) {
			return 0, marks, false
		}
		row := slots[at]
		to = row.Backend
		if row.Epoch != 0 {
			marked := marks[row.Bank] == row.Epoch
			switch {
			case syn && row.Back && marked:
				marks[row.Bank] = 0
			case syn && row.Back:
			case syn:
				if row.Backend != 0 {
					marks[row.Bank] = row.Epoch
				}
			case marked == row.Back:
				to, report = row.Old, true
			}
		}
	}
	if _, ok := have.Backend[to]; !ok {
		return 0, marks, false
	}
	return to, marks, report
}

// apply makes one write.
func apply(t rows.Tables, c rows.Change) rows.Tables {
	gone := c.Op == rows.Delete
	switch r := c.Row.(type) {
	case rows.BackendRow:
		t.Backend = with(t.Backend, r.ID, r.Forward, gone)
	case rows.VIPRow:
		t.VIP = with(t.VIP, r.VIPKey, r.ToPool, gone)
	case rows.VIPAddressRow:
		t.VIPAddress = with(t.VIPAddress, r.Address, struct{}{}, gone)
	case rows.ARPGuardRow:
		t.ARPGuard = with(t.ARPGuard, r.Address, struct{}{}, gone)
	case rows.ARPResponderRow:
		t.ARPResponder = with(t.ARPResponder, r.Address, r.MAC, gone)
	case rows.SlotRow:
		if gone {
			r.Slot = rows.Slot{}
		}
		t.Slots = withSlot(t.Slots, r)
	case rows.PinRow:
		t.Pins = with(t.Pins, r.Flow, r.Pin, gone)
	case rows.PinnedStationRow:
		t.PinnedStation = with(t.PinnedStation, r.MAC, r.Port, gone)
	case rows.PinnedL2Row:
		t.PinnedL2 = with(t.PinnedL2, r.MAC, r.Port, gone)
	case rows.PinnedARPRow:
		t.PinnedARP = with(t.PinnedARP, r.Address, r.MAC, gone)
	case rows.FloodRow:
		if t.Flood = r.Ports.List(); gone {
			t.Flood = nil
		}
	}
	return t
}

func with[K comparable, V any](m map[K]V, k K, v V, gone bool) map[K]V {
	m = maps.Clone(m)
	if m == nil {
		m = make(map[K]V)
	}
	if m[k] = v; gone {
		delete(m, k)
	}
	return m
}

func withSlot(tables map[rows.SlotTable][]rows.Slot, r rows.SlotRow) map[rows.SlotTable][]rows.Slot {
	slots := slices.Clone(tables[r.SlotTable])
	if n := int(r.Number); n >= len(slots) {
		slots = append(slots, make([]rows.Slot, n+1-len(slots))...)
	}
	slots[r.Number] = r.Slot
	return with(tables, r.SlotTable, slots, !slices.ContainsFunc(slots, func(s rows.Slot) bool {
		return s != rows.Slot{}
	}))
}

// successors calls yield with every world one event away.
func (m *model) successors(n *node, yield func(event string, next *node)) {
	batches := rows.Diff(n.have, m.want(n))
	event := func(name string, change func(*node)) {
		next := *n
		change(&next)
		m.step(&next, len(batches) > 0)
		for i := range m.backends {
			if next.flow != 0 && next.down>>i&1 == 1 && next.flow == memberID(n.st, i) && !m.grace {
				next.flow = 0 // its backend is dead
			}
		}
		yield(name, &next)
	}
	for i := range m.backends {
		if !m.grace || n.down>>i&1 == 0 || len(batches) > 0 || n.away {
			continue
		}
		next := *n
		id, name := memberID(n.st, i), fmt.Sprintf("b%d", i+1)
		var settled int
		next.st, settled = Settle(n.st, n.st.Pools[modelPool].Kept(id))
		if m.step(&next, settled > 0, name); next.st.Pools[modelPool] == n.st.Pools[modelPool] &&
			next.st.Pins == n.st.Pins {
			continue // it has no open flows that could break
		}
		if next.flow == id && !m.endAlive {
			next.flow = 0 // it was dead indeed
		}
		yield("the grace of "+name+" ends", &next)
	}
	if m.lose && (n.away || len(batches) == 0) {
		event(pick(!n.away, "lose", "find")+" the switch", func(n *node) { n.away = !n.away })
	}
	if m.restart && !n.away {
		for name, stored := range map[string]State{"restart": n.st, "restart with an old store": m.first} {
			next := *n
			next.reported = 0
			// The clock has gone on, and no epoch is given twice.
			stored.NextEpoch = n.st.NextEpoch
			next.st = stored
			m.step(&next, false) // no switch is connected yet
			if !m.believe {
				next.st, _ = Adopt(next.st, stored, m.intent(n), "leaf1", n.have)
			}
			if err := next.st.Check(); err != nil {
				panic(fmt.Sprintf("%s: %v", name, err))
			}
			yield(name, &next)
		}
	}
	for i := range m.backends {
		bit := uint8(1) << i
		name := fmt.Sprintf(" b%d", i+1)
		if m.fail && (!n.away || n.down&bit != 0) {
			event(pick(n.down&bit == 0, "fail", "recover")+name, func(n *node) { n.down ^= bit })
		}
		if m.drain {
			event(pick(n.draining&bit == 0, "drain", "undrain")+name, func(n *node) { n.draining ^= bit })
		}
		// A pool has a backend; and the world stays finite as long as the switch keeps up with removals.
		if m.remove && int(n.absent|bit) != 1<<m.backends-1 && len(n.have.Backend) <= m.backends {
			event(pick(n.absent&bit == 0, "remove", "add")+name, func(n *node) { n.absent ^= bit })
		}
	}
	if m.grown != 0 && !n.grown {
		event("grow", func(n *node) { n.grown = true })
	}
	event("tick", func(*node) {})

	m.time(n, len(batches) > 0, yield)
	if len(batches) > 0 && !n.away {
		for _, c := range batches[0] {
			next := *n
			next.have = apply(n.have, c)
			yield(c.String(), &next)
		}
	}

	next := *n
	next.flow, next.marks, _ = m.forward(n.have, n.marks, true)
	slot, pinned := m.slot(n.st), n.st.Pins.Get(modelFlow)
	for i := range m.backends {
		if n.down>>i&1 == 1 && next.flow == memberID(n.st, i) && !m.grace {
			next.flow = 0 // nobody answers
		}
	}
	others := slot.Old // who has the flows without a mark
	if slot.Back {
		others = slot.Backend
	}
	row := m.row(n.have)
	switch {
	case n.reported != 0 || pinned != n.have.Pins[modelFlow].Backend:
		next.flow = 0
	case pinned != 0:
	case slot.Epoch != 0 && row.Epoch != slot.Epoch && (row.Epoch != 0 || m.grace && row.Backend != others):
		next.flow = 0 // the switch has missed two decisions
	case next.flow != slot.Backend && next.flow != slot.Old:
		next.flow = 0 // declared dead, and the switch does not know yet
	}
	yield("open", &next)
}

// time is what comes of packets and of silence.
func (m *model) time(n *node, behind bool, yield func(event string, next *node)) {
	if _, _, report := m.forward(n.have, n.marks, false); report && n.flow != 0 && !n.away && n.reported == 0 {
		next := *n
		next.reported = n.flow
		yield("a packet is reported", &next)
	}
	if n.reported != 0 && !n.away {
		next := *n
		next.st, _ = Pin(n.st, map[rows.Flow]rows.BackendID{modelFlow: n.reported})
		next.reported = 0
		m.step(&next, behind)
		yield("the report is heard", &next)
	}
	// A slot settles a drain time after the switch holds what was decided, and as long after each report that was lost.
	// Who is dead has a grace instead.
	for i, slot := range n.st.Pools[modelPool].Slots {
		dead := false
		for i := range m.backends {
			dead = dead || n.down>>i&1 == 1 && slot.Old == memberID(n.st, i)
		}
		if slot.Old == 0 || behind || n.away || n.reported != 0 || dead {
			continue
		}
		next := *n
		p := n.st.Pools[modelPool]
		next.st, _ = Settle(n.st, []SlotRef{{p.ID, p.Generation, uint16(i), slot.Old}})
		if _, _, report := m.forward(n.have, n.marks, false); report && m.hash&(len(p.Slots)-1) == i && !m.settleAlive {
			next.flow = 0 // silent for the drain time, or it would be pinned
		}
		yield(fmt.Sprintf("settle slot %d", i), &next)
	}
	if n.have.Pins[modelFlow].Backend != 0 && n.st.Pins.Len() > 0 && !n.away {
		next := *n
		next.st = Unpin(n.st, func(rows.Flow, rows.BackendID) bool { return true })
		if !m.unpinAlive {
			next.flow = 0
		}
		m.step(&next, behind)
		yield("the pin idles", &next)
	}
}

// row is the flow's slot, as the switch has it.
func (m *model) row(have rows.Tables) rows.Slot {
	vip := have.VIP[modelVIP]
	slots := have.Slots[vip.Table()]
	if at := m.hash & int(vip.SlotMask); at < len(slots) {
		return slots[at]
	}
	return rows.Slot{}
}

// slot is the flow's, as decided.
func (m *model) slot(st State) rows.Slot {
	p := st.Pools[modelPool]
	return p.Slots[m.hash&(len(p.Slots)-1)]
}

func memberID(st State, i int) rows.BackendID {
	name := fmt.Sprintf("b%d", i+1)
	for _, m := range st.Pools[modelPool].Members {
		if m.Name == name {
			return m.ID
		}
	}
	return 0
}

func pick(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

// key identifies a world up to what makes no difference to its future: ids and epochs count only by
// their order, generations by their distance, and marks of epochs that are over not at all.
func (m *model) key(n *node) [16]byte {
	p := n.st.Pools[modelPool]
	ids := []rows.BackendID{0}
	epochs := []uint32{0}
	note := func(s rows.Slot) {
		ids = append(ids, s.Backend, s.Old)
		epochs = append(epochs, s.Epoch)
	}
	for _, s := range p.Slots {
		note(s)
	}
	for _, t := range n.have.Slots {
		for _, s := range t {
			note(s)
		}
	}
	for _, member := range p.Members {
		ids = append(ids, member.ID)
	}
	for id := range n.have.Backend {
		ids = append(ids, id)
	}
	ids = append(ids, n.flow, n.reported, n.st.Pins.Get(modelFlow), n.have.Pins[modelFlow].Backend)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	slices.Sort(epochs)
	epochs = slices.Compact(epochs)

	b := make([]byte, 0, 256)
	id := func(x rows.BackendID) { b = append(b, byte(slices.Index(ids, x))) }
	slots := func(slots []rows.Slot) {
		b = append(b, byte(len(slots)))
		for _, s := range slots {
			id(s.Backend)
			id(s.Old)
			b = append(b, byte(slices.Index(epochs, s.Epoch)), s.Bank)
			b = append(b, pick(s.Back, "-", "+")...)
		}
	}
	b = append(b, n.down, n.draining, n.absent, byte(len(p.Members)))
	if n.grown {
		b = append(b, 1)
	}
	for _, member := range p.Members {
		id(member.ID)
		b = append(b, member.Name...)
		b = append(b, pick(member.Removed, "-", "+")...)
	}
	for _, x := range p.Home {
		id(x)
	}
	for _, e := range p.Entered { // counts only beside the epochs that live
		at, _ := slices.BinarySearch(epochs, e+1)
		b = append(b, byte(at))
	}
	slots(p.Slots)
	b = append(b, pick(n.away, "-", "+")...)
	tables := slices.SortedFunc(maps.Keys(n.have.Slots), rows.SlotTable.Compare)
	for _, key := range tables {
		b = append(b, p.Generation-key.Generation)
		slots(n.have.Slots[key])
	}
	held := slices.Sorted(maps.Keys(n.have.Backend))
	b = append(b, byte(len(held)))
	for _, x := range held {
		id(x)
	}
	if vip, ok := n.have.VIP[modelVIP]; ok {
		b = append(b, p.Generation-vip.Generation, byte(vip.SlotMask))
	}
	b = append(b, byte(len(n.have.VIPAddress)+len(n.have.ARPGuard)<<1+len(n.have.ARPResponder)<<2))
	for _, x := range []rows.BackendID{n.flow, n.reported, n.st.Pins.Get(modelFlow), n.have.Pins[modelFlow].Backend} {
		id(x)
	}
	for _, mark := range n.marks {
		b = append(b, byte(max(slices.Index(epochs, mark), 0)))
	}
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16])
}

// result is what a search found.
type result struct {
	states, transitions, depth int
	closed                     bool   // every reachable state was seen
	broken                     string // how a flow was broken
}

// search explores breadth first, up to a number of states.
func (m *model) search(most int) result {
	type step struct {
		parent int
		event  string
	}
	start := &node{}
	m.step(start, false)
	m.first = start.st
	for _, batch := range rows.Diff(rows.Tables{}, m.want(start)) {
		for _, c := range batch {
			start.have = apply(start.have, c)
		}
	}
	seen := map[[16]byte]struct{}{m.key(start): {}}
	steps := []step{{parent: -1}}
	type entry struct {
		*node
		step, depth int
	}
	queue := []entry{{start, 0, 0}}
	var r result
	for len(queue) > 0 && r.broken == "" {
		e := queue[0]
		queue = queue[1:]
		if len(seen) >= most {
			break
		}
		r.depth = e.depth
		m.successors(e.node, func(event string, next *node) {
			r.transitions++
			k := m.key(next)
			if _, ok := seen[k]; ok || r.broken != "" {
				return
			}
			seen[k] = struct{}{}
			steps = append(steps, step{e.step, event})
			queue = append(queue, entry{next, len(steps) - 1, e.depth + 1})
			if next.flow == 0 {
				return
			}
			if to, _, _ := m.forward(next.have, next.marks, false); to != next.flow {
				var path []string
				for at := len(steps) - 1; steps[at].parent >= 0; at = steps[at].parent {
					path = append(path, steps[at].event)
				}
				slices.Reverse(path)
				r.broken = fmt.Sprintf("the flow of backend %d goes to %d after\n  %s", next.flow, to,
					strings.Join(path, "\n  "))
			}
		})
	}
	r.states, r.closed = len(seen), len(queue) == 0
	return r
}

func (m model) String() string {
	var events []string
	for event, on := range map[string]bool{"fail": m.fail, "drain": m.drain, "remove": m.remove, "grow": m.grown > 0,
		"lose": m.lose, "restart": m.restart} {
		if on {
			events = append(events, event)
		}
	}
	slices.Sort(events)
	name := fmt.Sprintf("%d backends, %d slots, hash %d: %s", m.backends, m.slots, m.hash, strings.Join(events, ", "))
	if m.grace {
		name += ", with a grace"
	}
	if m.banks != 0 {
		name += fmt.Sprintf(", %d banks", m.banks)
	}
	if m.allDown != "" {
		name += ", all_down " + string(m.allDown)
	}
	return name
}

// explore makes the search go on, in the worlds that are not explored whole.
var explore = flag.Int("states", 20_000, "of each larger world of TestNoFlowOfALiveBackendIsBroken; 0: all")

func TestNoFlowOfALiveBackendIsBroken(t *testing.T) {
	const some = -1 // as many as -states says
	tests := []struct {
		model
		most int // states; 0: all that can be reached; some: see -states
	}{
		{model{backends: 2, slots: 1, fail: true, drain: true}, 0},
		{model{backends: 2, slots: 2, fail: true, drain: true}, some},
		{model{backends: 2, slots: 2, hash: 1, fail: true, drain: true, allDown: config.Forward}, some},
		{model{backends: 3, slots: 1, fail: true, drain: true}, some},
		{model{backends: 2, slots: 1, fail: true, drain: true, remove: true}, some},
		{model{backends: 2, slots: 1, fail: true, drain: true, lose: true}, 0},
		{model{backends: 3, slots: 2, hash: 1, fail: true, drain: true, lose: true}, some},
		{model{backends: 2, slots: 1, fail: true, drain: true, grace: true}, 0},
		{model{backends: 2, slots: 1, fail: true, drain: true, grace: true, allDown: config.Forward}, 0},
		{model{backends: 3, slots: 1, fail: true, drain: true, grace: true}, some},
		{model{backends: 2, slots: 2, hash: 1, fail: true, drain: true, grace: true}, some},
		{model{backends: 2, slots: 1, fail: true, drain: true, lose: true, grace: true}, 0},
		{model{backends: 3, slots: 2, fail: true, drain: true, remove: true, grace: true}, some},
		{model{backends: 2, slots: 1, fail: true, drain: true, restart: true}, 0},
		{model{backends: 2, slots: 1, fail: true, drain: true, restart: true, grace: true}, some},
		{model{backends: 2, slots: 2, fail: true, drain: true, restart: true, grace: true}, some},
		{model{backends: 3, slots: 2, hash: 1, drain: true, remove: true, restart: true}, some},
		{model{backends: 3, slots: 1, fail: true, drain: true, restart: true, grace: true}, some},
		{model{backends: 2, slots: 1, grown: 2, hash: 1, drain: true, restart: true}, some},
		{model{backends: 2, slots: 1, fail: true, drain: true, grace: true, banks: 1}, 0},
		{model{backends: 2, slots: 2, fail: true, grace: true, banks: 1}, some},
		{model{backends: 2, slots: 2, fail: true, drain: true, grace: true, banks: 2}, some},
		{model{backends: 3, slots: 2, hash: 1, fail: true, drain: true, grace: true, banks: 2}, some},
		{model{backends: 2, slots: 1, grown: 2, drain: true}, some},
		{model{backends: 2, slots: 1, grown: 2, hash: 1, fail: true, drain: true}, some},
		{model{backends: 3, slots: 2, fail: true, drain: true, remove: true}, some},
		{model{backends: 3, slots: 4, hash: 2, fail: true, drain: true, remove: true}, some},
	}
	for _, tt := range tests {
		t.Run(tt.model.String(), func(t *testing.T) {
			most := tt.most
			if most == some {
				most = *explore
			}
			if most == 0 {
				most = math.MaxInt
			}
			r := tt.search(most)
			t.Logf("%d states and %d transitions up to depth %d; all: %v", r.states, r.transitions, r.depth, r.closed)
			if r.broken != "" {
				t.Error(r.broken)
			}
			if tt.most == 0 && !r.closed {
				t.Error("not every state was reached")
			}
		})
	}
}

// The model sees what it is there for.
func TestModelNoticesFaults(t *testing.T) {
	for name, m := range map[string]model{
		"gradual moves begin while the switch is behind": {backends: 2, slots: 1, fail: true, drain: true,
			noHold: true},
		"slots settle while their old flows live": {backends: 2, slots: 1, fail: true, drain: true, settleAlive: true},
		"a pin goes while its flow lives":         {backends: 2, slots: 1, fail: true, drain: true, unpinAlive: true},
		"a store is believed that is older":       {backends: 2, slots: 1, drain: true, restart: true, believe: true},
		"a grace ends though the backend lives":   {backends: 2, slots: 1, fail: true, grace: true, endAlive: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := m.search(20000)
			if r.broken == "" {
				t.Fatalf("no flow breaks in %d states", r.states)
			}
			t.Log(r.broken)
		})
	}
}
