package core

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
)

const testIntent = `switches:
  - {name: leaf1, address: "127.0.0.1:9559", device_id: 1, ports: [3, 1, 2]}
vip_mac: 02:53:4c:00:00:01
pools:
  - name: web
    slots: 64
    drain_idle: 1s
    checks: [{type: tcp, port: 80}]
    backends:
      - {name: web1, address: 10.0.0.11, mac: "02:00:00:00:00:11", switch_port: 1}
      - {name: web2, address: 10.0.0.12, mac: "02:00:00:00:00:12", switch_port: 2}
vips:
  - {name: www, address: 10.0.0.100, port: 80, pool: web}
`

// world is a Core, the clock and the store: all that a test needs to drive it.
type world struct {
	t    testing.TB
	core *Core
	now  time.Time
	// store is how saves end. With `nobody` they do not: the outcome comes by itself.
	store  Saved
	nobody bool
	once   bool   // the next save ends so, and those after it well
	stored Stored // what the store has

	saving Stored // what the latest save is of
	told   func(Effect)
}

func newWorld(t testing.TB) *world {
	return &world{t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), told: func(Effect) {}}
}

// start starts a controller with what the store has.
func (w *world) start() {
	w.t.Helper()
	w.core = New(w.stored, w.now)
	if i := w.stored.Intent; i.Revision > 0 {
		w.put(Begin{w.parse(i.File, i.YAML)})
	}
}

func (w *world) parse(file, text string) *config.Intent {
	w.t.Helper()
	intent, err := config.Parse(file, []byte(text))
	if err != nil {
		w.t.Fatal(err)
	}
	return intent
}

// put gives the core an input. A store that answers does so at once.
func (w *world) put(in Input) (answer Answer) {
	w.t.Helper()
	inputs := []Input{in}
	for len(inputs) > 0 {
		in, inputs = inputs[0], inputs[1:]
		for _, e := range w.core.Step(w.now, in) {
			w.told(e)
			switch e := e.(type) {
			case Save:
				w.saving = e.Stored
				if !w.nobody {
					inputs = append(inputs, w.outcome())
				}
			case Answer:
				answer = e
			}
		}
	}
	return answer
}

// outcome ends the save that is under way as the store does.
func (w *world) outcome() Saved {
	is := w.store
	if is.Outcome == Done {
		w.stored = w.saving
	}
	if w.once {
		w.store, w.once = Saved{}, false
	}
	return is
}

// wait lets time pass.
func (w *world) wait(d time.Duration) {
	w.t.Helper()
	end := w.now.Add(d)
	for range 10000 {
		next := w.core.Next()
		if next.IsZero() || next.After(end) {
			w.now = end
			return
		}
		if next.After(w.now) {
			w.now = next
		}
		w.put(Passed{})
	}
	w.t.Fatalf("the core never rests: %v is due at %v", w.core.Next(), w.now)
}

func (w *world) apply(text string) {
	w.t.Helper()
	if a := w.put(Apply{File: "test.yaml", Text: text, Intent: w.parse("test.yaml", text),
		Loaded: true}); a.Err != nil {
		w.t.Fatal(a.Err)
	}
}

func (w *world) verdict(backend string, h plan.Health) {
	w.t.Helper()
	key := plan.BackendKey{Pool: "web", Backend: backend}
	if a := w.put(Report{Healthd: Unnamed,
		Verdicts: []Said{{Backend: key, Health: h, Detected: w.now}}}); a.Err != nil {
		w.t.Fatal(a.Err)
	}
}

// tables are what the first switch must hold.
func (c *Core) tables() rows.Tables {
	return c.own(plan.Build(c.intent, c.stored.Plan), c.intent.Switches[0])
}

// connect makes a switch hold what is decided.
func (w *world) connect(name string) {
	w.t.Helper()
	w.put(Switch{Name: name, Connected: true, Connects: 1, ReadBack: 1, Applied: w.core.Sequence()})
}

// A switch may keep epochs of a store that was lost, or those that were given since a backup was made.
func TestEpochsAreNotBelowTheClock(t *testing.T) {
	clock := uint32(newWorld(t).now.Unix())
	for _, tt := range []struct {
		name         string
		stored, want uint32
	}{
		{"a new store", 0, clock},
		{"a backup", 7, clock},
		{"more moves than seconds", math.MaxInt32, math.MaxInt32},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.stored.Plan.NextEpoch = tt.stored
			w.start()
			if got := w.core.Stored().Plan.NextEpoch; got != tt.want {
				t.Errorf("the next epoch is %d, want %d", got, tt.want)
			}
		})
	}
}

// What is put in while a decision waits for the store is a fault of the caller's.
func TestNothingElseWhileWaiting(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.apply(testIntent)
	w.nobody = true
	w.put(SetAdmin{plan.BackendKey{Pool: "web", Backend: "web1"}, plan.Drain})
	if !w.core.Waiting() {
		t.Fatal("the drain does not wait for the store")
	}
	defer func() {
		if got, want := recover(), "core: core.Silent while a decision waits for the store"; got != want {
			t.Errorf("panic: got %v, want %s", got, want)
		}
	}()
	w.put(Silent{Switch: "leaf1"})
}

// What is refused leaves nothing behind: neither of what is decided, nor of what follows later.
func TestRefusedChangeLeavesNothing(t *testing.T) {
	key := plan.BackendKey{Pool: "web", Backend: "web2"}
	for _, tt := range []struct {
		name  string
		saved Saved
		want  string
	}{
		{"refused", Saved{Refused, errors.New("no room")}, "no room"},
		{"silent", Saved{Unknown, errors.New("timeout")}, "the configuration is frozen: timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.start()
			w.apply(testIntent)
			w.connect("leaf1")
			w.put(SetAdmin{key, plan.Drain})
			w.verdict("web1", plan.Up)
			before := w.core.decided.clone()
			var told []Effect
			w.told = func(e Effect) { told = append(told, e) }
			w.store = tt.saved
			text := testIntent + "  - {name: more, address: 10.0.0.101, port: 80, pool: web}\n"
			a := w.put(Apply{File: "test.yaml", Text: text, Intent: w.parse("test.yaml", text)})
			if a.Err == nil || a.Err.Error() != tt.want {
				t.Errorf("answer: got %v, want %s", a.Err, tt.want)
			}
			after := w.core.decided
			if after.intent != before.intent || after.sequence != before.sequence ||
				after.stored.Intent != before.stored.Intent ||
				!samePools(after.stored.Plan, before.stored.Plan) || len(after.pending) != len(before.pending) ||
				len(after.views) != len(before.views) {
				t.Errorf("something of the change is left:\n got %+v\nwant %+v", after, before)
			}
			if slices.ContainsFunc(told, func(e Effect) bool { _, is := e.(Tell); return is }) {
				t.Errorf("a switch was told of it: %v", told)
			}
		})
	}
}
