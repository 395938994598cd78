package core

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	bounds "github.com/sluicelb/sluice/p4/limits"
)

const flowIntent = `switches:
  - {name: leaf1, address: "127.0.0.1:9559", device_id: 1, ports: [1, 2, 3]}
vip_mac: 02:53:4c:00:00:01
pools:
  - name: web
    slots: 64
    drain_idle: 2s
    checks: [{type: tcp, port: 80}]
    backends:
      - {name: web1, address: 10.0.0.11, mac: "02:00:00:00:00:11", switch_port: 1}
      - {name: web2, address: 10.0.0.12, mac: "02:00:00:00:00:12", switch_port: 2}
      - {name: web3, address: 10.0.0.13, mac: "02:00:00:00:00:13", switch_port: 3}
      - {name: web4, address: 10.0.0.14, mac: "02:00:00:00:00:14", switch_port: 3}
vips:
  - {name: www, address: 10.0.0.100, port: 80, pool: web}
`

// secondLeaf is another switch of flowIntent.
const secondLeaf = `  - {name: leaf2, address: "127.0.0.1:9560", device_id: 1, ports: [1, 2, 3]}
vip_mac`

// flowChanges are what an operator may make of flowIntent who takes nobody for dead.
var flowChanges = []*strings.Replacer{
	strings.NewReplacer("name: web2,", "name: web2, enabled: false,"),
	strings.NewReplacer(`      - {name: web3, address: 10.0.0.13, mac: "02:00:00:00:00:13", switch_port: 3}`+"\n", ""),
	strings.NewReplacer("name: web1,", "name: web1, weight: 300,"),
}

// flowStorm is a storm over flows that are never silent. All servers live all the time; whoever is called down is so
// falsely, and for a time in which the grace, the floor, the other healthd or the suspicion is to help. What
// docs/architecture.md lists as limits does not happen in it: marks that a switch lost, stores that do not have what a
// switch has forgotten, controllers that die before a switch was written to, floors that last.
type flowStorm struct {
	*storm
	flows    map[string][]*testFlow                  // by address of the switch
	reported map[string]map[rows.Flow]rows.BackendID // by the same: what it has seen go to former backends
	opened   rows.Flow                               // the key of the last one

	downUntil    map[plan.BackendKey]time.Time // until when healthd h1 calls them down
	failing      map[plan.BackendKey]bool      // or failing instead
	second       time.Time                     // until when healthd h2 reports, too
	alone        plan.BackendKey               // whom that does not see
	found, other map[plan.BackendKey]Said      // what h1 and h2 find

	cut   map[string]time.Time // until when switches cannot be reached, by name
	hung  map[string]time.Time // until when they do not take what they are told
	quiet time.Time            // until then nothing else is lost or restarted
	dead  time.Time            // until when no controller runs
	past  []Stored             // that there was in the store

	broken  string
	events  []string
	history []held
}

// held is what a switch held from a time on.
type held struct {
	at      time.Time
	address string
	tables  rows.Tables
}

// slotOf is the row of a flow's slot.
func slotOf(have rows.Tables, hash int) (row rows.Slot, ok bool) {
	for _, vip := range have.VIP {
		slots := have.Slots[vip.Table()]
		if at := hash & int(vip.SlotMask); at < len(slots) {
			return slots[at], true
		}
	}
	return row, false
}

// hold makes tables what a switch holds.
func (s *flowStorm) hold(address string, tables rows.Tables) {
	s.held[address] = tables
	s.history = append(s.history, held{s.now, address, tables})
}

// tell writes down what there was of a slot.
func (s *flowStorm) tell(address string, hash int) {
	var last rows.Slot
	for _, h := range s.history {
		if row, ok := slotOf(h.tables, hash); h.address == address && row != last {
			s.t.Logf("slot %d was %+v from %v on (%v)", hash, row, h.at.Sub(stormBegan), ok)
			last = row
		}
	}
}

// testFlow is an open connection.
type testFlow struct {
	key    rows.Flow
	hash   int
	to     rows.Forward
	marks  [bounds.Banks]uint32
	opened time.Time
}

// forward is p4/include/balance.p4: where a packet goes, and the backend that the switch reports it of, 0: it does not.
func forward(have rows.Tables, f *testFlow, syn bool) (to rows.Forward, reported rows.BackendID) {
	if pin, ok := have.Pins[f.key]; ok {
		return have.Backend[pin.Backend], 0
	}
	row, ok := slotOf(have, f.hash)
	if !ok {
		return to, 0
	}
	id := row.Backend
	if row.Epoch != 0 {
		marked := f.marks[row.Bank] == row.Epoch
		switch {
		case syn && row.Back && marked:
			f.marks[row.Bank] = 0
		case syn && row.Back:
		case syn:
			if row.Backend != 0 {
				f.marks[row.Bank] = row.Epoch
			}
		case marked == row.Back:
			id, reported = row.Old, row.Old
		}
	}
	return have.Backend[id], reported
}

// note is a line of what happened.
func (s *flowStorm) note(format string, args ...any) {
	s.events = append(s.events, fmt.Sprintf("%v ", s.now.Sub(stormBegan))+fmt.Sprintf(format, args...))
}

// look sends a packet of each flow.
func (s *flowStorm) look() {
	for _, address := range slices.Sorted(maps.Keys(s.flows)) {
		for _, f := range s.flows[address] {
			to, reported := forward(s.held[address], f, false)
			if reported != 0 {
				s.reported[address][f.key] = reported
			}
			if to.MAC != f.to.MAC && to != (rows.Forward{}) && s.broken == "" {
				row, _ := slotOf(s.held[address], f.hash)
				s.broken = fmt.Sprintf("a flow of slot %d to %v, opened at %v with marks %v, goes to %v: %+v", f.hash,
					f.to, f.opened.Sub(stormBegan), f.marks, to, row)
				s.tell(address, f.hash)
			}
		}
	}
	if s.broken == "" {
		return
	}
	for _, line := range s.events[max(0, len(s.events)-2000):] {
		s.t.Log(line)
	}
	s.fatalf("%s", s.broken)
}

// watch notes what the core has done since the log was n long.
func (s *flowStorm) watch(n int) {
	for _, st := range s.log[min(n, len(s.log)):] {
		for _, e := range st.out {
			switch e := e.(type) {
			case Publish:
				s.note("  event: %s", e.Event.Text())
			case Log:
				s.note("  log: %s %v", e.Text, e.Args)
			case Tell:
				s.note("  tell #%d", e.Sequence)
			case Save:
				s.note("  save, ends in %v: %v", s.ends.Sub(st.now), s.how)
			}
		}
	}
}

func (s *flowStorm) put(in Input) Answer {
	n := len(s.log)
	s.note("%T", in)
	a := s.storm.put(in)
	s.watch(n)
	return a
}

func (s *flowStorm) pass(d time.Duration) {
	n := len(s.log)
	s.storm.wait(d)
	s.watch(n)
}

// report has those who check say what they find.
func (s *flowStorm) report() {
	s.said("h1", s.found, func(key plan.BackendKey) plan.Health {
		if !s.now.Before(s.downUntil[key]) {
			return plan.Up
		}
		if s.failing[key] {
			return plan.Failing
		}
		return plan.Down
	})
	if s.over || s.now.After(s.second) {
		return
	}
	// What another healthd says that stands elsewhere breaks nothing while the first one sees who is up.
	s.said("h2", s.other, func(key plan.BackendKey) plan.Health {
		if key == s.alone || s.second.Sub(s.now) < 30*time.Second && s.r.IntN(50) == 0 {
			return plan.Down
		}
		return plan.Up
	})
}

func (s *flowStorm) said(name string, found map[plan.BackendKey]Said, is func(plan.BackendKey) plan.Health) {
	in := Report{Healthd: name, Session: "1", Full: true}
	for _, key := range backends(s.downUntil) {
		h, said := is(key), found[key]
		if said.Health != h {
			said = Said{Backend: key, Health: h, Since: s.now, Detected: s.now}
			found[key] = said
			s.note("%s finds %v %v", name, key, h)
		}
		in.Verdicts = append(in.Verdicts, said)
	}
	s.put(in)
}

// serve does what a switch does next.
func (s *flowStorm) serve(name string) {
	sw := s.switches[name]
	if sw == nil || s.over || s.now.Before(s.cut[name]) {
		return
	}
	if flows := s.reported[sw.address]; sw.is.Connected && len(flows) > 0 {
		s.reported[sw.address] = make(map[rows.Flow]rows.BackendID)
		if s.put(Reported{Switch: name, Flows: flows}); s.over || s.switches[name] != sw {
			return
		}
	}
	switch {
	case sw.meeting:
	case !sw.is.Connected:
		sw.is.Name, sw.is.Connected, sw.is.Applied, sw.is.Lacks = name, true, 0, nil
		s.put(sw.is)
		held := s.held[sw.address]
		sw.is.ReadBack = len(held.VIP)
		if sw.is.Connects++; sw.is.Connects == 1 {
			s.met++
			s.meets[s.met], sw.meeting = name, true
			s.put(Met{name, s.met, held})
		}
		if s.switches[name] == sw && !s.over {
			s.note("%s is read back, %d", name, sw.is.ReadBack)
			s.put(sw.is)
		}
	case s.now.Before(s.hung[name]):
	case sw.is.Applied < sw.tell.Sequence || sw.fresh:
		if s.r.IntN(3) > 0 {
			s.hold(sw.address, sw.tell.Tables)
			sw.fresh = false
			sw.is.Applied, sw.is.AppliedAt, sw.is.Writes = sw.tell.Sequence, s.now, 1
			sw.is.Lacks = rows.Lacks(sw.tell.Tables, sw.tell.Tables)
			s.note("%s holds #%d", name, sw.tell.Sequence)
			s.look()
			s.put(sw.is)
		}
	default:
		open := make(map[rows.Flow]bool)
		for _, f := range s.flows[sw.address] {
			open[f.key] = true
		}
		var silent []rows.Flow
		for flow := range s.held[sw.address].Pins {
			if !open[flow] {
				silent = append(silent, flow)
			}
		}
		slices.Sort(silent)
		if len(silent) > 0 && s.r.IntN(8) == 0 {
			s.put(Silent{name, silent})
		}
	}
}

func (s *flowStorm) lose(name string, d time.Duration) {
	s.cut[name] = s.now.Add(d)
	if sw := s.switches[name]; sw != nil && sw.is.Connected {
		s.reported[sw.address] = make(map[rows.Flow]rows.BackendID)
		sw.is.Connected = false
		s.put(sw.is)
	}
}

// forget is a switch that restarts: the flows that were opened since moves began end, for the marks are lost.
func (s *flowStorm) forget(address string) {
	vip := rows.ToPool{}
	for _, v := range s.held[address].VIP {
		vip = v
	}
	slots := s.held[address].Slots[vip.Table()]
	s.flows[address] = slices.DeleteFunc(s.flows[address], func(f *testFlow) bool {
		for _, e := range f.marks {
			if e != 0 {
				return true
			}
		}
		return len(slots) == 0
	})
	s.hold(address, rows.NewTables())
}

// event is something that happens, mostly nothing.
func (s *flowStorm) event() {
	keys := backends(s.downUntil)
	one := keys[s.r.IntN(len(keys))]
	names := slices.Sorted(maps.Keys(s.switches))
	name := names[s.r.IntN(len(names))]
	calm := s.now.After(s.quiet)
	free := func() bool {
		for _, until := range s.downUntil {
			if s.now.Before(until.Add(30 * time.Second)) {
				return false
			}
		}
		return true
	}
	switch n := s.r.IntN(100); {
	case n < 8:
		admin := plan.Admin(s.r.IntN(2))
		if s.core.known[one] {
			s.note("admin of %v: %v", one, admin)
			s.put(SetAdmin{one, admin})
		}
	case n < 12:
		text := s.first
		for _, r := range flowChanges {
			if s.r.IntN(3) == 0 {
				text = r.Replace(text)
			}
		}
		if s.anyDown() {
			return // who is removed while he is called down is said to be dead
		}
		s.note("apply")
		s.put(Apply{File: "flows.yaml", Text: text, Intent: s.parsed(text)})
	case n < 14 && calm && free() && !s.resets():
		s.failing[one], s.downUntil[one] = true, s.now.Add(time.Duration(s.r.IntN(60))*time.Second)
		s.note("%v is called failing until %v", one, s.downUntil[one].Sub(stormBegan))
	case n < 16 && calm && free() && !s.resets(): // a short one
		s.mend()
		s.downUntil[one] = s.now.Add(time.Duration(s.r.IntN(4000)) * time.Millisecond)
		s.note("%v is called down until %v", one, s.downUntil[one].Sub(stormBegan))
	case n < 18 && calm && free(): // most at once
		s.mend()
		d := time.Duration(s.r.IntN(25)) * time.Second // within floor_within
		for _, key := range keys {
			s.downUntil[key] = s.now.Add(d)
		}
		s.note("all are called down for %v", d)
		s.quiet = s.now.Add(d + 40*time.Second)
	case n < 20 && calm:
		s.mend()
		d := time.Duration(s.r.IntN(30000)) * time.Millisecond
		if s.two() && s.r.IntN(2) == 0 {
			d /= 10
		} else if s.two() {
			d *= 4
		}
		back := d + time.Duration(s.r.IntN(6500))*time.Millisecond
		s.note("%s is lost for %v", name, d)
		s.quiet = s.now.Add(min(d, 30*time.Second) + 40*time.Second)
		if s.solid() && s.r.IntN(2) == 0 {
			s.note("and restarts")
			s.forget(s.switches[name].address)
		}
		for _, key := range keys {
			// Where another switch is connected, one that is lost is the suspect for a while only.
			if s.r.IntN(3) > 0 && (!s.two() || back < 8*time.Second) {
				s.downUntil[key] = s.now.Add(back)
			}
		}
		s.lose(name, d)
	case (n < 21 || n > 92 && s.two()) && calm && (!s.two() || s.stored() && s.written()):
		s.mend()
		d := time.Duration(s.r.IntN(20000)) * time.Millisecond
		s.note("the controller dies, for %v", d)
		s.dead = s.now.Add(d)
		switch was := s.r.IntN(8); {
		case s.anyEmpty():
		case s.two() && was < 6 && s.solid():
			if s.r.IntN(2) == 0 {
				s.note("its store is lost")
				s.has = Stored{}
			} else if len(s.past) > 0 {
				s.note("its store is restored")
				s.has = s.past[s.r.IntN(len(s.past))]
			}
			if s.r.IntN(2) == 0 {
				s.note("%s restarts with it", name)
				s.forget(s.switches[name].address)
			}
			if s.r.IntN(2) == 0 {
				up := s.dead.Add(time.Duration(s.r.IntN(60000)) * time.Millisecond)
				s.note("%s is cut off until %v", name, up.Sub(stormBegan))
				s.cut[name] = up
			}
			s.quiet = s.dead.Add(70 * time.Second)
		case s.two():
		case was == 0:
			s.note("its store is lost")
			s.has = Stored{}
		case was < 3 && len(s.past) > 0:
			s.note("its store is restored")
			s.has = s.past[s.r.IntN(len(s.past))]
		case was < 5 && s.solid():
			s.note("%s restarts with it", name)
			s.forget(s.switches[name].address)
			up := s.now.Add(time.Duration(s.r.IntN(30000)) * time.Millisecond)
			for _, key := range keys {
				s.downUntil[key] = up.Add(time.Duration(s.r.IntN(6500)) * time.Millisecond)
			}
			s.cut[name] = up
			s.quiet = up.Add(40 * time.Second)
		}
	case n < 21 && s.r.IntN(6) == 0:
		s.hung[name] = s.now.Add(time.Duration(s.r.IntN(100)) * time.Second)
		s.note("%s hangs until %v", name, s.hung[name].Sub(stormBegan))
	case n < 22 && free() && !s.resets():
		s.second, s.alone = s.now.Add(time.Duration(s.r.IntN(120))*time.Second), one
		s.note("another healthd comes, which does not see %v", one)
	case n < 23 && !calm && !s.two():
		d := time.Duration(s.r.IntN(3000)) * time.Millisecond
		s.note("the controller dies, for %v", d)
		s.dead = s.now.Add(d)
	case n < 24:
		d := time.Duration(s.r.IntN(20000)) * time.Millisecond
		s.note("the controller stops for %v", d)
		s.now = s.now.Add(d)
		if s.saving != nil && s.ends.Before(s.now) {
			s.ends = s.now
		}
		if s.r.IntN(2) == 0 {
			s.put(Passed{})
		}
	}
}

// anyDown says whether a server is called down, or may be in a moment.
func (s *flowStorm) anyDown() bool {
	for _, v := range s.core.Stored().Verdicts {
		if v.Health != plan.Up {
			return true
		}
	}
	return s.now.Before(s.second)
}

// No flow of a server that lives is ever sent to another, whatever is said of it for a while.
func TestFlowStorm(t *testing.T) {
	intents := make(map[string]*config.Intent)
	for seed := range uint64(*storms) {
		s := &flowStorm{
			storm: &storm{
				t: t, seed: seed, r: rand.New(rand.NewPCG(seed, 1)), now: stormBegan,
				held: make(map[string]rows.Tables), intents: intents,
			},
			downUntil: make(map[plan.BackendKey]time.Time), found: make(map[plan.BackendKey]Said),
			failing: make(map[plan.BackendKey]bool), hung: make(map[string]time.Time),
			other: make(map[plan.BackendKey]Said),
			flows: make(map[string][]*testFlow), reported: map[string]map[rows.Flow]rows.BackendID{
				"127.0.0.1:9559": {}, "127.0.0.1:9560": {},
			}, cut: make(map[string]time.Time),
		}
		s.calm = seed%2 == 0
		for i := range 4 {
			s.downUntil[plan.BackendKey{Pool: "web", Backend: fmt.Sprint("web", i+1)}] = time.Time{}
		}
		s.first = flowIntent
		if seed%8 == 3 {
			s.first = strings.Replace(s.first, "drain_limit", "all_down: forward\n    drain_limit", 1)
		}
		if seed%4 == 2 {
			s.first = strings.Replace(s.first, "vip_mac", secondLeaf, 1)
		}
		if seed%8 == 4 {
			s.first = strings.Replace(s.first, "drain_idle: 2s", "drain_idle: 2s\n    grace: 0s", 1)
		}
		s.start()
		s.quiet = s.now.Add(10 * time.Second)
		for range 1500 {
			if s.over {
				s.dead, s.over = s.now.Add(time.Second), false
			}
			if !s.dead.IsZero() {
				if s.now = s.now.Add(200 * time.Millisecond); s.now.Before(s.dead) {
					s.look()
					continue
				}
				s.dead = time.Time{}
				for address := range s.reported {
					s.reported[address] = make(map[rows.Flow]rows.BackendID)
				}
				s.note("the controller starts")
				s.start()
			}
			s.pass(time.Duration(s.r.IntN(300)) * time.Millisecond)
			if s.over {
				continue
			}
			for _, name := range slices.Sorted(maps.Keys(s.switches)) {
				s.serve(name)
			}
			if s.over {
				continue
			}
			if s.r.IntN(3) == 0 {
				s.report()
			}
			if s.over {
				continue
			}
			for _, name := range slices.Sorted(maps.Keys(s.switches)) {
				sw := s.switches[name]
				s.opened++
				f := &testFlow{key: s.opened, hash: s.r.IntN(64), opened: s.now}
				if f.to, _ = forward(s.held[sw.address], f, true); f.to != (rows.Forward{}) {
					s.flows[sw.address] = append(s.flows[sw.address], f)
				}
				if n := len(s.flows[sw.address]); n > 40 {
					i := s.r.IntN(n)
					s.flows[sw.address] = slices.Delete(s.flows[sw.address], i, i+1)
				}
			}
			s.look()
			if s.r.IntN(100) == 0 && s.has.Intent.Revision > 0 {
				s.past = append(s.past, s.has)
			}
			if s.dead.IsZero() {
				s.event()
			}
			s.look()
		}
	}
}

// solid says whether the store and all switches have what is decided: else nobody remembers what a switch that restarts
// has forgotten.
func (s *flowStorm) solid() bool {
	for _, sw := range s.switches {
		if !sw.is.Connected {
			return false
		}
	}
	return s.stored() && s.written()
}

func (s *flowStorm) stored() bool { return s.calm && s.core.Frozen() == nil && s.saving == nil }

// written says whether the switches that are connected hold what was decided.
func (s *flowStorm) written() bool {
	for _, sw := range s.switches {
		if sw.is.Connected && sw.is.Applied < sw.tell.Sequence {
			return false
		}
	}
	return true
}

// anyEmpty says whether a switch has no rows: then only the store knows where flows are.
func (s *flowStorm) anyEmpty() bool {
	for _, sw := range s.switches {
		if len(s.held[sw.address].VIP) == 0 {
			return true
		}
	}
	return false
}

// resets says whether the pool has no grace: who is called down while no switch is suspected loses his flows at once.
func (s *flowStorm) resets() bool { return strings.Contains(s.first, "grace: 0s") }

func (s *flowStorm) two() bool { return strings.Contains(s.first, "leaf2") }

// mend ends what servers are called failing for: they would be called down instead.
func (s *flowStorm) mend() {
	for key := range s.failing {
		s.downUntil[key] = s.now
	}
	clear(s.failing)
}
