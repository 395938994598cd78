package core

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	bounds "github.com/sluicelb/sluice/p4/limits"
)

const stormIntent = `switches:
  - {name: leaf1, address: "127.0.0.1:9559", device_id: 1, ports: [1, 2, 3]}
  - {name: leaf2, address: "127.0.0.1:9560", device_id: 1, ports: [1, 2, 3]}
vip_mac: 02:53:4c:00:00:01
pools:
  - name: web
    slots: 64
    drain_idle: 2s
    drain_limit: 20s
    grace: 3s
    checks: [{type: tcp, port: 80}]
    backends:
      - {name: web1, address: 10.0.0.11, mac: "02:00:00:00:00:11", switch_port: 1}
      - {name: web2, address: 10.0.0.12, mac: "02:00:00:00:00:12", switch_port: 2}
      - {name: web3, address: 10.0.0.13, mac: "02:00:00:00:00:13", switch_port: 3}
  - name: dns
    slots: 64
    drain_idle: 1s
    grace: 0s
    checks: [{type: tcp, port: 53}]
    backends:
      - {name: dns1, address: 10.0.0.21, mac: "02:00:00:00:00:21", switch_port: 1}
      - {name: dns2, address: 10.0.0.22, mac: "02:00:00:00:00:22", switch_port: 2}
vips:
  - {name: www, address: 10.0.0.100, port: 80, pool: web}
  - {name: ns, address: 10.0.0.101, port: 53, pool: dns}
`

// stormChanges are what an operator may make of stormIntent, each or several.
var stormChanges = []*strings.Replacer{
	strings.NewReplacer("name: web2,", "name: web2, enabled: false,"),
	strings.NewReplacer(`      - {name: web3, address: 10.0.0.13, mac: "02:00:00:00:00:13", switch_port: 3}`+"\n", ""),
	strings.NewReplacer("02:53:4c:00:00:01", "02:53:4c:00:00:02"),
	strings.NewReplacer("name: web1,", "name: web1, weight: 300,"),
	strings.NewReplacer("slots: 64\n    drain_idle: 1s", "slots: 128\n    drain_idle: 1s"),
	strings.NewReplacer("type: tcp, port: 80", "type: tcp, port: 81"),
	strings.NewReplacer("grace: 3s", "grace: 0s"),
	strings.NewReplacer("127.0.0.1:9560", "127.0.0.1:9561"),
	strings.NewReplacer(`  - {name: leaf2, address: "127.0.0.1:9560", device_id: 1, ports: [1, 2, 3]}`+"\n", ""),
}

var storms = flag.Uint64("storms", 20, "how many storms blow over the core in TestStorm")

// storm drives a Core by chance, as the daemon would, and holds what follows against what must be true of it.
type storm struct {
	t    *testing.T
	seed uint64
	r    *rand.Rand
	core *Core
	now  time.Time

	has      Stored    // what the store has
	saving   *Stored   // the save that is under way
	ends     time.Time // when that has its outcome
	how      Saved     // and which
	switches map[string]*stormSwitch
	held     map[string]rows.Tables // by address: a switch outlives who is connected to it

	answers int               // to the latest input
	met     uint64            // counts the meetings
	meets   map[uint64]string // switches that wait for a word, by the ID of the meeting
	over    bool              // another controller has the store
	calm    bool              // the store answers
	intents map[string]*config.Intent
	first   string // what the operator applies first
	began   Stored // what log began with
	log     []step
	looks   []looked
}

// looked is what a Look told when it was taken.
type looked struct {
	*Core
	now  time.Time
	said string
}

// look takes a Look now and then, and holds what earlier ones tell against what they told first.
func (s *storm) look() {
	s.t.Helper()
	if len(s.log)%8 != 0 || s.core.Intent() == nil {
		return
	}
	is := looked{s.core.Look(), s.now, tells(s.core, s.now)}
	s.looks = append(s.looks, is)
	for _, l := range s.looks {
		if diff := cmp.Diff(l.said, tells(l.Core, l.now)); diff != "" {
			s.fatalf("a look that was taken at %v (-then +now):\n%s", l.now.Sub(stormBegan), diff)
		}
	}
	if len(s.looks) > 4 {
		s.looks = s.looks[1:]
	}
}

// tells is all that a Core tells.
func tells(c *Core, now time.Time) string {
	var b strings.Builder
	say := func(what string, values ...any) { fmt.Fprintf(&b, "%s: %+v\n", what, values) }
	st := c.Stored()
	say("stored", st.Intent.Revision, st.Admin, st.Verdicts, st.VIPAge, st.Retired, st.PortIDs)
	say("core", c.Sequence(), c.Asked(), c.Frozen(), c.Waits(), c.Health(), c.Older(now), c.Forgot(now), c.Shared(now))
	say("noise", c.Claims(), c.Spoofs())
	say("meetings", c.Meetings())
	say("ports", c.Unnumbered())
	for _, v := range c.VIPs() {
		say("VIP", v)
	}
	for _, p := range c.Intent().Pools {
		census, _ := st.Plan.Census(p.Name)
		say("pool "+p.Name, census, c.Held(p), c.HeldReason(p, census), c.Awaited(p, now))
		for _, share := range census.Backends {
			key := plan.BackendKey{Pool: p.Name, Backend: share.Name}
			say(key.String(), c.Knows(key), c.Urgent(key), c.Forced(key), c.GraceUntil(key),
				c.Unchecked(key, true, now), c.Authorship(key, now), c.Unwritten(p, share.Name, share.ID))
		}
	}
	return b.String()
}

// step is an input and what followed from it.
type step struct {
	now time.Time
	in  Input
	out []Effect
}

type stormSwitch struct {
	address string
	tell    Tell
	is      Switch
	meeting bool // it waits
	fresh   bool // it was told of other pins, and nothing else
}

func (s *storm) fatalf(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("seed %d, %v: %s", s.seed, s.now.Sub(stormBegan), fmt.Sprintf(format, args...))
}

var stormBegan = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// start starts a controller with what the store has.
func (s *storm) start() {
	s.has.Plan.NextEpoch = max(s.has.Plan.NextEpoch, uint32(s.now.Unix())) // as the daemon does
	s.began, s.core, s.over, s.log, s.saving = s.has, New(s.has, s.now), false, nil, nil
	s.switches, s.meets = make(map[string]*stormSwitch), make(map[uint64]string)
	if i := s.has.Intent; i.Revision > 0 {
		s.put(Begin{s.parsed(i.YAML)})
	}
	for s.core.Intent() == nil && !s.over {
		s.put(Apply{File: "storm.yaml", Text: s.first, Intent: s.parsed(s.first)})
		s.wait(5 * time.Second)
	}
}

func (s *storm) parsed(text string) *config.Intent {
	i := s.intents[text]
	if i == nil {
		var err error
		if i, err = config.Parse("storm.yaml", []byte(text)); err != nil {
			s.fatalf("%v", err)
		}
		s.intents[text] = i
	}
	return i
}

// put gives the core an input, and goes on until no decision waits for the store.
func (s *storm) put(in Input) (a Answer) {
	s.t.Helper()
	s.answers = 0
	for {
		if found, ok := s.step(in); ok {
			a = found
		}
		if s.over || !s.core.Waiting() {
			break
		}
		next := s.core.Next()
		if s.ends.After(next) {
			s.now, in = latest(s.now, next), Passed{}
		} else {
			s.now, in = latest(s.now, s.ends), s.saved()
		}
	}
	return a
}

func (s *storm) saved() Saved {
	if s.how.Outcome == Done {
		s.has = *s.saving
	} else if s.how.Outcome == Unknown && s.r.IntN(2) == 0 {
		s.has = *s.saving // it is there, and nobody knows
	}
	s.saving = nil
	return s.how
}

func (s *storm) step(in Input) (a Answer, answered bool) {
	s.t.Helper()
	out := s.core.Step(s.now, in)
	s.log = append(s.log, step{s.now, in, out})
	s.look()
	for _, e := range out {
		switch e := e.(type) {
		case Save:
			if s.saving != nil {
				s.fatalf("two saves at a time")
			}
			st := e.Stored
			s.saving = &st
			delays := []time.Duration{0, 0, 0, 0, 50 * time.Millisecond, 700 * time.Millisecond, 4 * time.Second}
			s.ends = s.now.Add(delays[s.r.IntN(len(delays))])
			switch n := s.r.IntN(300); {
			case s.calm || n > 100:
				s.how = Saved{}
			case n == 0:
				s.how = Saved{TakenOver, errors.New("taken over")}
			case n < 50:
				s.how = Saved{Refused, errors.New("no room")}
			default:
				s.how = Saved{Unknown, errors.New("timeout")}
			}
		case Answer:
			a, answered = e, true
			s.answers++
		case TakeOn:
			s.switches[e.Switch.Name] = &stormSwitch{address: e.Switch.Address, tell: e.Tell}
			s.told(e.Tell)
		case LetGo:
			delete(s.switches, e.Switch)
		case Tell:
			sw := s.switches[e.Switch]
			if sw == nil {
				s.fatalf("%s is told, and was not taken on", e.Switch)
			}
			if e.Sequence < sw.tell.Sequence || e.Sequence == sw.tell.Sequence &&
				!samePlanned(e.Tables, sw.tell.Tables) {
				s.fatalf("%s is told #%d after #%d", e.Switch, e.Sequence, sw.tell.Sequence)
			}
			sw.fresh = e.Sequence == sw.tell.Sequence
			sw.tell = e
			s.told(e)
		case Release:
			name, ok := s.meets[e.ID]
			if !ok {
				s.fatalf("meeting %d is released twice", e.ID)
			}
			delete(s.meets, e.ID)
			if sw := s.switches[name]; sw != nil {
				sw.meeting = false
			}
		case Stop:
			s.over = true
		}
	}
	return a, answered
}

// told holds what a switch is told against the store.
func (s *storm) told(e Tell) {
	if s.core.Frozen() != nil {
		return // it cannot have it
	}
	intent := s.parsed(s.has.Intent.YAML)
	want, places := plan.Build(intent, s.has.Plan), plan.Place(intent, s.has.Plan, e.Switch)
	for m := range s.has.Retired {
		places.Retire(m)
	}
	places.Put(&want)
	want.Flood, want.Dead, want.Pins = e.Tables.Flood, e.Tables.Dead, e.Tables.Pins
	if !reflect.DeepEqual(want, e.Tables) {
		s.fatalf("#%d is told to %s, and the store has something else", e.Sequence, e.Switch)
	}
}

// samePlanned says whether two wishes are the same but for pins, which are no decision.
func samePlanned(a, b rows.Tables) bool {
	a.Pins, a.Dead, b.Pins, b.Dead = nil, nil, nil, nil
	return reflect.DeepEqual(a, b)
}

// wait lets time pass.
func (s *storm) wait(d time.Duration) {
	s.t.Helper()
	end := s.now.Add(d)
	for n := 0; !s.over; n++ {
		if n == 1000 {
			s.fatalf("the core never rests: something is due at %v", s.core.Next().Sub(stormBegan))
		}
		next := s.core.Next()
		saves := s.saving != nil && (next.IsZero() || !s.ends.After(next))
		switch {
		case saves && !s.ends.After(end):
			s.now = latest(s.now, s.ends)
			s.put(s.saved())
		case !saves && !next.IsZero() && !next.After(end):
			s.now = latest(s.now, next)
			s.put(Passed{})
		default:
			s.now = latest(s.now, end)
			return
		}
	}
}

// snapshot is all that is decided, but for what switches said of silence.
func snapshot(c *Core) string {
	d := c.decided
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(d.views)) {
		v := *d.views[name]
		v.silent = nil
		fmt.Fprintf(&b, "view %s: %+v\n", name, v)
	}
	for _, p := range d.pending {
		fmt.Fprintf(&b, "pending: %+v\n", *p)
	}
	for _, pool := range slices.Sorted(maps.Keys(d.falls)) {
		fmt.Fprintf(&b, "fall %s: %+v\n", pool, *d.falls[pool])
	}
	if d.suspicion != nil {
		fmt.Fprintf(&b, "suspicion: %+v\n", *d.suspicion)
	}
	d.views, d.pending, d.falls, d.suspicion, d.outlook.suspicion = nil, nil, nil, nil, nil
	v := reflect.ValueOf(d)
	for i := range v.NumField() {
		fmt.Fprintf(&b, "%s: %+v\n", v.Type().Field(i).Name, v.Field(i))
	}
	fmt.Fprintf(&b, "meetings %+v\nauthors %v\ndoubts %v\npresent %v\n", c.meetings, c.authors, c.doubts, c.present)
	return b.String()
}

// change asks for one, and holds the answer against what has come of it.
func (s *storm) change(in Input, happened func(Stored) bool) {
	s.t.Helper()
	for range 3 { // nothing is left to be done at this moment
		s.put(Passed{})
	}
	if s.over || s.saving != nil && s.core.Frozen() == nil {
		return
	}
	began, before, had := s.now, snapshot(s.core), s.core.Stored()
	a := s.put(in)
	if s.answers != 1 {
		s.fatalf("%T has %d answers", in, s.answers)
	}
	if s.over {
		if a.Err == nil && !happened(s.has) {
			s.fatalf("%T is done, and is not stored", in)
		}
		return
	}
	switch is := s.core.Stored(); {
	case a.Err == nil && s.core.Frozen() == nil && !happened(s.has):
		s.fatalf("%T is done, and is not stored", in)
	case a.Err == nil && !happened(is):
		s.fatalf("%T is done, and has not happened", in)
	case a.Err != nil && (is.Intent != had.Intent || !maps.Equal(is.Admin, had.Admin)):
		s.fatalf("%T: %v, and yet it has happened", in, a.Err)
	case a.Err != nil && s.now.Equal(began):
		if after := snapshot(s.core); after != before {
			s.fatalf("%T: %v, and it left something:\n%s", in, a.Err, firstDifference(before, after))
		}
	}
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return "-" + x[i] + "\n+" + y[i]
		}
	}
	return ""
}

func (s *storm) anySwitch() (string, *stormSwitch) {
	names := slices.Sorted(maps.Keys(s.switches))
	if len(names) == 0 {
		return "", nil
	}
	name := names[s.r.IntN(len(names))]
	return name, s.switches[name]
}

func (s *storm) act() {
	s.t.Helper()
	pick := func(list ...string) string { return list[s.r.IntN(len(list))] }
	backend := func() plan.BackendKey {
		if s.r.IntN(3) == 0 {
			return plan.BackendKey{Pool: "dns", Backend: pick("dns1", "dns2")}
		}
		return plan.BackendKey{Pool: "web", Backend: pick("web1", "web2", "web3")}
	}
	switch n := s.r.IntN(20); {
	case n < 2:
		text := stormIntent
		for _, r := range stormChanges {
			if s.r.IntN(5) == 0 {
				text = r.Replace(text)
			}
		}
		in := Apply{File: "storm.yaml", Text: text, Intent: s.parsed(text), Loaded: s.r.IntN(2) == 0}
		s.change(in, func(st Stored) bool { return st.Intent.YAML == text })
	case n < 5:
		key, admin := backend(), plan.Admin(s.r.IntN(2))
		if !s.core.known[key] {
			return
		}
		s.change(SetAdmin{key, admin}, func(st Stored) bool { return st.Admin[key] == admin })
	case n < 10:
		in := Report{Healthd: pick("h1", "h2"), Session: pick("1", "1", "1", "2"), Full: s.r.IntN(2) == 0}
		for range 1 + s.r.IntN(3) {
			detected := s.now.Add(-time.Duration(s.r.IntN(2000)) * time.Millisecond)
			said := Said{Backend: backend(), Health: plan.Health(s.r.IntN(4)), Detected: detected, Since: detected}
			in.Verdicts = append(in.Verdicts, said)
		}
		s.put(in)
	default:
		name, sw := s.anySwitch()
		switch {
		case sw == nil || sw.meeting:
		case !sw.is.Connected:
			sw.is.Name, sw.is.Connected, sw.is.Applied, sw.is.Lacks = name, true, 0, nil
			s.put(sw.is)
			if s.switches[name] != sw || s.over {
				return
			}
			if s.r.IntN(4) == 0 {
				s.held[sw.address] = rows.NewTables() // it has been restarted
			}
			held := s.held[sw.address]
			sw.is.ReadBack = len(held.VIP)
			if sw.is.Connects++; sw.is.Connects == 1 {
				s.met++
				s.meets[s.met], sw.meeting = name, true
				s.put(Met{name, s.met, held})
			}
		case n < 12:
			sw.is.Connected = false
			s.put(sw.is)
		case n < 17:
			sw.is.Applied, sw.is.AppliedAt, sw.is.Writes = sw.tell.Sequence, s.now, 1
			sw.is.Refuses = s.r.IntN(6) == 0
			held := s.held[sw.address]
			if !sw.is.Refuses {
				held = sw.tell.Tables
				s.held[sw.address] = held
			}
			sw.is.Lacks = rows.Lacks(held, sw.tell.Tables)
			s.put(sw.is)
		default:
			p := s.core.Stored().Plan
			flows := make(map[rows.Flow]rows.BackendID)
			for _, pool := range p.Pools {
				for _, slot := range pool.Slots {
					if slot.Old != 0 && s.r.IntN(8) == 0 {
						flows[rows.Flow(s.r.IntN(200))] = slot.Old
					}
				}
			}
			switch s.r.IntN(3) {
			case 0:
				var silent []rows.Flow
				for flow := range rows.Flow(200) {
					if p.Pins.Get(flow) != 0 && s.r.IntN(2) == 0 {
						silent = append(silent, flow)
					}
				}
				s.put(Silent{name, silent})
			case 1:
				s.put(Reported{Switch: name, Flows: flows})
			default:
				s.put(Reported{Switch: name, Flows: flows, Lost: [bounds.Banks]bool{s.r.IntN(2) == 0, true}})
			}
		}
	}
}

// again gives another Core what the first one got, and more of Passed, of which nothing must follow.
func (s *storm) again() {
	s.t.Helper()
	c := New(s.began, s.log[0].now)
	last := s.log[0].now
	for i, was := range s.log {
		for range 2 {
			if between := was.now.Sub(last); between > 0 && i > 0 {
				at := last.Add(time.Duration(s.r.Int64N(int64(between))))
				if out := c.Step(at, Passed{}); len(out) > 0 {
					s.fatalf("the wake at %v came too late: %T was due at %v", was.now.Sub(stormBegan), out[0],
						at.Sub(stormBegan))
				}
				last = at
			}
		}
		last = was.now
		if out := c.Step(was.now, was.in); !reflect.DeepEqual(was.out, out) {
			s.fatalf("the same inputs have other effects at %v:\n got %+v\nwant %+v", was.now.Sub(stormBegan), out,
				was.out)
		}
	}
}

// Whatever comes, and however saves end: nothing is told to a switch before the store has it or is known not to take
// it; a change is answered once, and is there or has left nothing; who is met is released; nothing is due that Next
// does not say; and the same inputs have the same effects. In the end a restart finds what was decided.
func TestStorm(t *testing.T) {
	intents := make(map[string]*config.Intent)
	for seed := range uint64(*storms) {
		s := &storm{
			t: t, seed: seed, r: rand.New(rand.NewPCG(seed, 0)), now: stormBegan,
			held: make(map[string]rows.Tables), intents: intents, first: stormIntent,
		}
		s.start()
		for range 300 {
			s.act()
			if s.over || s.r.IntN(60) == 0 {
				s.again()
				s.start()
			}
			s.wait(time.Duration(s.r.IntN(1500)) * time.Millisecond)
		}
		s.calm = true
		for range 2 { // a save that is under way may find another controller yet
			if s.over {
				s.start()
			}
			s.wait(2 * firstMeetings)
		}
		is := s.core.Stored()
		if s.core.Frozen() != nil || s.has.Intent != is.Intent || !samePools(s.has.Plan, is.Plan) ||
			!maps.Equal(s.has.Admin, is.Admin) {
			s.fatalf("in the end a restart would find something else (%v)", s.core.Frozen())
		}
		for _, name := range s.meets {
			if sw := s.switches[name]; sw != nil && sw.meeting {
				s.fatalf("%s is never released", name)
			}
		}
		s.again()
	}
}
