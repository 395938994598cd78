package core

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/controller/tally"
	bounds "github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/packet"
)

var update = flag.Bool("update", false, "write what the core does into the scenarios of testdata; commit only what "+
	"you understand")

// TestScenarios runs the scenarios of testdata. One is a txtar archive: what it shows, then configurations (*.yaml),
// and the file `scenario`. There each line is a command; the lines below it that begin with a tab are what follows:
// what is to be done, and then what of the state has changed. The output is written by `go test ./controller/core -run
// TestScenarios -update`. A line that begins with # is a remark. Commands:
//
//	start [lost]              a controller starts, with what is stored, or with a new store
//	apply NAME                the operator applies NAME.yaml
//	reload NAME               the controller's own file says what NAME.yaml does
//	drain B, undrain B        of the first pool; POOL/B of another
//	report [by=H] [session=S] [full] [ago=D] B=up|down|failing|unasked ...
//	connect SWITCH ...        it is connected and holds what is decided
//	reconnect SWITCH [empty]  it is connected, was read back, and is to be written to
//	reach SWITCH N            it holds what was decided N decisions ago
//	refuse SWITCH [vip]       it refuses what is new to it, or the rows of table vip
//	lose SWITCH ...           the connection is lost
//	flows SWITCH B N          it reports N flows of B in slots that move, others each time
//	lost SWITCH               it may have lost reports of old flows
//	silent SWITCH ... [B]     all pinned flows, or those of a backend, are silent there
//	meet SWITCH stored|empty|BACKEND   it is read back for the first time: it holds what is stored, nothing,
//	                          or all slots lead to one backend
//	claim SWITCH PORT MAC ... hosts behind a port claim the first VIP by ARP
//	spoof SWITCH PORT MAC ... hosts behind a port send under these MACs, which are stations'
//	ports SWITCH [N ...]      its ports N are down, all others are up
//	wait D                    time passes
//	stop D                    the same, and the daemon does not run meanwhile
//	store answers|refuses|silent|conflicts [once]   what becomes of saves from now on, or of one; silent: nothing
//	saved [refuses]           the save that is under way ends after all, as the store answers, or as is said
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("scenarios: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := &scenario{
				world: newWorld(t), files: make(map[string]string), meets: make(map[uint64]string),
				wanted: make(map[string]rows.Tables), held: make(map[string]rows.Tables),
			}
			s.began, s.world.told = s.now, s.tell
			var script *txtar.File
			for i, f := range archive.Files {
				if f.Name == "scenario" {
					script = &archive.Files[i]
				}
				s.files[f.Name] = string(f.Data)
			}
			if script == nil {
				t.Fatalf("%s has no file `scenario`", file)
			}
			want := string(script.Data)
			got := s.run(want)
			if diff := gocmp.Diff(want, got); diff != "" && !*update {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
			if *update {
				script.Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// outcomes are how saves end, by what becomes of them.
var outcomes = map[string]Saved{
	"answers": {}, "refuses": {Refused, errors.New("no room is left")}, "silent": {},
	"conflicts": {TakenOver, errors.New("taken over")},
}

// scenario is a world that is driven by commands and written down.
type scenario struct {
	*world
	files map[string]string
	flow  rows.Flow // the last one
	began time.Time
	out   strings.Builder
	shown map[string]string // the state as it was shown last
	met   uint64
	meets map[uint64]string // switches by the ID of their meeting
	// wanted is what switches were told last, held what they held when they held all of it.
	wanted, held map[string]rows.Tables
}

// holding is what a switch says of itself that holds all that was decided.
func (s *scenario) holding(name string) Switch {
	return Switch{
		Name: name, Connected: true, Connects: max(s.core.views[name].status.Connects, 1), ReadBack: 1,
		Applied: s.core.Sequence(), AppliedAt: s.now, Writes: 1, Lacks: rows.Lacks(s.wanted[name], s.wanted[name]),
	}
}

// read has a switch connected that is not: it is being read back.
func (s *scenario) read(name string) {
	if is := s.core.views[name].status; !is.Connected {
		is.Name, is.Connected, is.Applied, is.Lacks = name, true, 0, nil
		s.put(is)
	}
}

func (s *scenario) run(script string) string {
	for line := range strings.Lines(script) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "\t") {
			continue
		}
		s.out.WriteString(line + "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := s.command(strings.Fields(line)); err != nil {
			s.t.Fatalf("%q: %v", line, err)
		}
		s.show()
	}
	return s.out.String()
}

// say writes a line of what follows, with the time where that has passed since the command before.
func (s *scenario) say(format string, args ...any) {
	fmt.Fprintf(&s.out, "\t%s\n", fmt.Sprintf(format, args...))
}

func (s *scenario) command(words []string) error {
	name, args := words[0], words[1:]
	switch name {
	case "start":
		if len(args) > 0 {
			s.stored = Stored{}
		}
		s.start()
	case "apply", "reload":
		text, ok := s.files[args[0]+".yaml"]
		if !ok {
			return errors.New("there is no such file")
		}
		s.put(Apply{File: args[0], Text: text, Intent: s.parse(args[0], text), Loaded: name == "reload"})
	case "drain":
		s.put(SetAdmin{s.backend(args[0]), plan.Drain})
	case "undrain":
		s.put(SetAdmin{s.backend(args[0]), plan.Active})
	case "report":
		return s.report(args)
	case "connect":
		for _, name := range args {
			s.read(name)
			s.held[name] = s.wanted[name]
			s.put(s.holding(name))
		}
	case "reach":
		is := s.holding(args[0])
		ago, err := strconv.ParseUint(args[1], 10, 64)
		if err != nil {
			return err
		}
		is.Applied -= ago
		s.put(is)
	case "refuse":
		is := s.holding(args[0])
		have := s.held[args[0]] // what was decided is not taken
		if len(args) > 1 && args[1] == "vip" {
			have = s.wanted[args[0]]
			have.VIP = nil
		}
		is.Refuses, is.Lacks = true, rows.Lacks(have, s.wanted[args[0]])
		s.put(is)
	case "reconnect":
		s.read(args[0])
		was := s.core.views[args[0]].status
		was.Name, was.Connected, was.Connects, was.ReadBack, was.Applied = args[0], true, was.Connects+1, 1, 0
		if len(args) > 1 && args[1] == "empty" {
			was.ReadBack = 0
			s.held[args[0]] = rows.Tables{}
		}
		was.Lacks = rows.Lacks(s.held[args[0]], s.wanted[args[0]])
		s.put(was)
	case "lose":
		for _, name := range args {
			was := s.core.views[name].status
			was.Name, was.Connected = name, false
			s.put(was)
		}
	case "flows":
		n, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		in := Reported{Switch: args[0], Flows: make(map[rows.Flow]rows.BackendID)}
		for range n {
			s.flow++
			in.Flows[s.flow] = s.id(args[1])
		}
		s.put(in)
	case "lost":
		s.put(Reported{Switch: args[0], Lost: [bounds.Banks]bool{true, true, true, true}})
	case "silent":
		s.silent(args)
	case "meet":
		return s.meet(args[0], args[1])
	case "claim", "spoof":
		return s.noise(name, args)
	case "ports":
		in := Ports{Switch: args[0]}
		down := make(map[uint16]bool)
		for _, arg := range args[1:] {
			n, err := strconv.ParseUint(arg, 10, 16)
			if err != nil {
				return err
			}
			down[uint16(n)] = true
		}
		ids := append(slices.Sorted(maps.Keys(down)), s.core.views[args[0]].config.Ports...)
		slices.Sort(ids)
		for _, id := range slices.Compact(ids) {
			p := Port{ID: id, Name: fmt.Sprint("eth", id), State: "up"}
			if down[id] {
				p.State, p.Down = "down", true
			}
			in.Fresh = append(in.Fresh, p)
		}
		s.put(in)
	case "wait":
		d, err := time.ParseDuration(args[0])
		if err != nil {
			return err
		}
		s.wait(d)
	case "stop":
		d, err := time.ParseDuration(args[0])
		if err != nil {
			return err
		}
		s.now = s.now.Add(d)
		s.put(Passed{})
	case "store":
		saved, ok := outcomes[args[0]]
		if !ok {
			return errors.New("there is no such store")
		}
		s.store, s.nobody, s.once = saved, args[0] == "silent", len(args) > 1
	case "saved":
		if len(args) > 0 {
			s.put(outcomes[args[0]])
		} else {
			s.put(s.outcome())
		}
	default:
		return errors.New("there is no such command")
	}
	return nil
}

func (s *scenario) noise(what string, args []string) error {
	n, err := strconv.ParseUint(args[1], 10, 16)
	if err != nil {
		return err
	}
	port := uint16(n)
	claims := tally.New(func(k tally.Claimed) uint16 { return k.Port })
	spoofs := tally.New(func(k tally.Spoofed) uint16 { return k.Port })
	for _, arg := range args[2:] {
		mac, err := packet.ParseMAC(arg)
		if err != nil {
			return err
		}
		by := tally.Sender{MAC: mac, Known: s.core.ownerOf(mac) != "", Count: tally.Once(s.now)}
		if what == "claim" {
			claims.Add(tally.Claimed{VIP: s.core.Intent().VIPs[0].Address, Port: port}, by)
		} else {
			spoofs.Add(tally.Spoofed{Port: port}, by)
		}
	}
	s.put(Noise{args[0], tally.Noise{Claims: claims.Take(), Spoofs: spoofs.Take()}})
	return nil
}

func (s *scenario) backend(name string) plan.BackendKey {
	if pool, backend, ok := strings.Cut(name, "/"); ok {
		return plan.BackendKey{Pool: pool, Backend: backend}
	}
	return plan.BackendKey{Pool: s.core.Intent().Pools[0].Name, Backend: name}
}

func (s *scenario) report(args []string) error {
	words := map[string]plan.Health{"up": plan.Up, "down": plan.Down, "failing": plan.Failing, "unasked": plan.Unknown}
	in := Report{Healthd: Unnamed, Session: "1"}
	detected := s.now
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "by":
			in.Healthd = value
		case "session":
			in.Session = value
		case "full":
			in.Full = true
		case "ago":
			ago, err := time.ParseDuration(value)
			if err != nil {
				return err
			}
			detected = s.now.Add(-ago)
		default:
			reason := ""
			if value == "unasked" {
				reason = "there is no way to it"
			}
			health, ok := words[value]
			if !ok {
				return fmt.Errorf("%s: no such verdict", arg)
			}
			in.Verdicts = append(in.Verdicts, Said{Backend: s.backend(key), Health: health, Since: detected,
				Detected: detected, Reason: reason})
		}
	}
	s.put(in)
	return nil
}

// id is the number of a backend of the first pool.
func (s *scenario) id(name string) rows.BackendID {
	key := s.backend(name)
	for _, m := range s.core.Stored().Plan.Pools[key.Pool].Members {
		if m.Name == key.Backend {
			return m.ID
		}
	}
	return 0
}

func (s *scenario) silent(args []string) {
	of := rows.BackendID(0)
	if last := args[len(args)-1]; s.core.views[last] == nil {
		of, args = s.id(last), args[:len(args)-1]
	}
	var flows []rows.Flow
	for flow, id := range s.core.Stored().Plan.Pins.All() {
		if of == 0 || id == of {
			flows = append(flows, flow)
		}
	}
	for _, name := range args {
		s.put(Silent{name, flows})
	}
}

func (s *scenario) meet(name, holds string) error {
	var have rows.Tables
	switch holds {
	case "empty":
	case "stored":
		have = s.core.tables()
	default:
		have = s.core.tables()
		for key, slots := range have.Slots {
			id := rows.BackendID(0)
			for _, p := range s.core.Stored().Plan.Pools {
				for _, m := range p.Members {
					if m.Name == holds {
						id = m.ID
					}
				}
			}
			if id == 0 {
				return errors.New("there is no such backend")
			}
			have.Slots[key] = slices.Repeat([]rows.Slot{{Backend: id}}, len(slots))
		}
	}
	s.read(name)
	s.met++
	s.meets[s.met] = name
	s.put(Met{name, s.met, have})
	return nil
}

// tell writes down what is to be done.
func (s *scenario) tell(e Effect) {
	switch e := e.(type) {
	case Tell:
		s.wanted[e.Switch] = e.Tables
	case TakeOn:
		s.wanted[e.Switch.Name] = e.Tell.Tables
	case Serve:
		return // the VIPs are shown with the state
	}
	s.say("%s  %s", s.now.Sub(s.began).Round(time.Millisecond), s.effect(e))
}

func (s *scenario) effect(e Effect) string {
	switch e := e.(type) {
	case Save:
		return "save"
	case TakeOn:
		return fmt.Sprintf("take on %s, tell it #%d", e.Switch.Name, e.Tell.Sequence)
	case LetGo:
		return "let go of " + e.Switch
	case Tell:
		return fmt.Sprintf("tell %s #%d", e.Switch, e.Sequence)
	case Release:
		return s.meets[e.ID] + " may be written to"
	case Watch:
		return "tell healthd what to check"
	case Publish:
		return "event: " + e.Event.Text()
	case Log:
		line := fmt.Sprintf("log %v: %s", e.Level, e.Text)
		for pair := range slices.Chunk(e.Args, 2) {
			line += fmt.Sprintf("; %v %v", pair[0], pair[1])
		}
		return line
	case Answer:
		if e.Err != nil {
			return "answer: " + e.Err.Error()
		}
		if e.Revision == 0 {
			return "answer: done"
		}
		return fmt.Sprintf("answer: revision %d runs, which is new: %v", e.Revision, e.Changed)
	case Stop:
		return "stop: " + e.Err.Error()
	}
	return fmt.Sprintf("%#v", e)
}

// show writes down what of the state is other than it was shown last.
func (s *scenario) show() {
	is := make(map[string]string)
	if s.core.Waiting() { // nobody may see what it would be: nothing is other than before
		s.say("a decision waits for the store")
	}
	if s.core.Intent() != nil {
		is = s.state()
	}
	for _, key := range slices.Sorted(maps.Keys(is)) {
		if is[key] != s.shown[key] {
			s.say("%s: %s", key, cmp.Or(is[key], "-"))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s.shown)) {
		if _, ok := is[key]; !ok {
			s.say("%s: -", key)
		}
	}
	s.shown = is
}

// state is all that is decided, in lines by what they are about.
func (s *scenario) state() map[string]string {
	c := s.core.seen()
	is := make(map[string]string)
	for _, pool := range c.Intent().Pools {
		p := c.Stored().Plan.Pools[pool.Name]
		name := func(id rows.BackendID) string {
			for _, m := range p.Members {
				if m.ID == id {
					return m.Name
				}
			}
			return "nobody"
		}
		counts := make(map[string]int)
		for _, slot := range p.Slots {
			what := name(slot.Backend)
			if key := (plan.BackendKey{Pool: pool.Name, Backend: name(slot.Old)}); slot.Old != 0 && c.Dead(pool, key) {
				what += " (grace: " + key.Backend + ")"
			} else if slot.Old != 0 {
				what += " (open flows: " + key.Backend + ")"
			}
			counts[what]++
		}
		var parts []string
		for _, what := range slices.Sorted(maps.Keys(counts)) {
			parts = append(parts, fmt.Sprintf("%d %s", counts[what], what))
		}
		is[pool.Name] = strings.Join(parts, ", ")
		census, _ := c.Stored().Plan.Census(pool.Name)
		if held := c.HeldReason(pool, census); held != "" {
			is[pool.Name+" held"] = held
		}
		for _, share := range census.Backends {
			if share.Pinned > 0 {
				is[pool.Name+" pinned to "+share.Name] = fmt.Sprint(share.Pinned)
			}
		}
		for _, b := range pool.Backends {
			key := plan.BackendKey{Pool: pool.Name, Backend: b.Name}
			var word []string
			if v, ok := c.Stored().Verdicts[key]; ok {
				word = append(word, v.Health.String())
				if v.Author != Unnamed {
					word = append(word, "by "+v.Author)
				}
				if c.Authorship(key, s.now).Stale {
					word = append(word, "which nobody repeats")
				}
			}
			if c.Stored().Admin[key] == plan.Drain {
				word = append(word, "drained")
			}
			if d, ok := c.doubts[key]; ok && c.Unchecked(key, true, s.now) != "" {
				word = append(word, "not checked by "+d.author)
			}
			if c.Urgent(key) {
				word = append(word, "urgent")
			}
			if until := c.GraceUntil(key); !until.IsZero() {
				word = append(word, "grace until "+until.Sub(s.began).Round(time.Millisecond).String())
			}
			if len(word) > 0 {
				is[key.String()] = strings.Join(word, ", ")
			}
		}
	}
	for _, v := range c.VIPs() {
		word := v.State.String()
		if v.Reason != "" {
			word += ": " + v.Reason
		}
		if !v.Serving {
			word += " (no traffic)"
		}
		if v.Unseen {
			word += " (out of sight)"
		}
		is["VIP "+v.Config.Name] = word
	}
	var waits []string
	for _, w := range c.Waits() {
		waits = append(waits, fmt.Sprintf("%d of %s/%s: %v", w.Slots, w.Pool, w.Backend, w.Why))
	}
	if len(waits) > 0 {
		is["waiting"] = strings.Join(waits, "; ")
	}
	for name, v := range c.views {
		is[name] = "not met"
		switch {
		case v.connected() && v.status.Applied < c.Sequence():
			is[name] = fmt.Sprintf("connected, holds #%d", v.status.Applied)
		case v.connected():
			is[name] = "connected, holds all"
		case v.away():
			is[name] = "away"
		}
		var without []string
		for _, pool := range slices.Sorted(maps.Keys(v.overdue)) {
			if v.overdue[pool] {
				without = append(without, pool)
			}
		}
		if len(without) > 0 {
			is[name] += "; moves go on without it: " + strings.Join(without, ", ")
		}
	}
	if lines := c.Meetings(); len(lines) > 0 {
		is["meetings"] = strings.Join(lines, "; ")
	}
	if c.suspicion != nil {
		is["suspect"] = c.suspicion.text
	}
	if c.Frozen() != nil {
		is["frozen"] = c.Frozen().Error()
	}
	if retired := c.Stored().Retired; len(retired) > 0 {
		var list []string
		for m, until := range retired {
			list = append(list, fmt.Sprintf("%v until %v", m, until.Sub(s.began)))
		}
		slices.Sort(list)
		is["retired"] = strings.Join(list, ", ")
	}
	return is
}
