package controller

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
)

// twoSwitches have the same slots, settled on web1 and web2.
var twoSwitches = strings.Replace(testIntent, "vip_mac:",
	`  - {name: leaf2, address: "127.0.0.1:9560", device_id: 1, ports: [3, 1, 2]}
vip_mac:`, 1)

// wantedOf is what switch leaf1 must hold.
func wantedOf(c *core.Core) rows.Tables {
	t := plan.Build(c.Intent(), c.Stored().Plan)
	plan.Place(c.Intent(), c.Stored().Plan, "leaf1").Put(&t)
	return t
}

// have is what a switch holds whose slots are all the backend's.
func (l limited) have(backend rows.BackendID) (t rows.Tables) {
	l.t.Helper()
	l.in(func() {
		t = wantedOf(l.core)
		for key := range t.Slots {
			t.Slots[key] = slices.Repeat([]rows.Slot{{Backend: backend}}, 64)
		}
	})
	return t
}

// meets returns what is closed when the switch may be written to.
func (l limited) meets(name string, have rows.Tables) <-chan struct{} {
	l.t.Helper()
	released := make(chan struct{})
	l.in(func() { l.meet(l.views[name], name, have, func() { close(released) }) })
	return released
}

// stored is what a switch holds that has what was stored.
func (l limited) stored() (t rows.Tables) {
	l.t.Helper()
	l.in(func() { t = wantedOf(l.core) })
	return t
}

// all says whose all slots are, moving or not; 0: they are of several.
func (l limited) all() rows.BackendID {
	l.t.Helper()
	slots := l.slots()
	for _, s := range slots {
		if s.Backend != slots[0].Backend {
			return 0
		}
	}
	return slots[0].Backend
}

// The first switch with rows has the last word on the slots; memory has it afterwards.
func TestFirstSwitchWithRows(t *testing.T) {
	later := firstMeetings + time.Second
	tests := []struct {
		name string
		meet func(limited)
		want rows.BackendID
	}{
		{"none has rows", func(l limited) { l.meets("leaf1", rows.Tables{}); l.meets("leaf2", rows.Tables{}) }, 0},
		{"the first has", func(l limited) { l.meets("leaf1", l.have(2)); l.meets("leaf2", l.have(1)) }, 2},
		{"the second has", func(l limited) { l.meets("leaf1", rows.Tables{}); l.meets("leaf2", l.have(1)) }, 1},
		{"the second has, later",
			func(l limited) { l.meets("leaf1", rows.Tables{}); time.Sleep(later); l.meets("leaf2", l.have(1)) }, 0},
		{"the first comes late",
			func(l limited) { time.Sleep(time.Hour); l.meets("leaf1", l.have(1)); time.Sleep(others + time.Second) },
			1},
		{"the first is as stored", func(l limited) { l.meets("leaf1", l.stored()); l.meets("leaf2", l.have(1)) }, 0},
		{"the second is as stored", func(l limited) { l.meets("leaf1", l.have(2)); l.meets("leaf2", l.stored()) }, 0},
		{"the second is as stored, and was read for long", func(l limited) {
			l.connect("leaf2")
			l.meets("leaf1", l.have(2))
			time.Sleep(firstMeetings - time.Second)
			l.meets("leaf2", l.stored())
		}, 0},
		{"the second is as stored, too late", func(l limited) {
			l.meets("leaf1", l.have(2))
			time.Sleep(others + time.Second)
			l.meets("leaf2", l.stored())
		}, 2},
		{"the second is let go", func(l limited) {
			l.meets("leaf1", l.have(2))
			l.in(func() {
				if _, err := l.applyFile(parse("test.yaml", testIntent)); err != nil {
					l.t.Error(err)
				}
			})
			time.Sleep(2 * time.Second)
		}, 2},
		{"of a device that was let go", func(l limited) {
			l.in(func() { l.meet(new(view), "leaf1", wantedOf(l.core), func() {}) })
		}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first := newTestLoop(t, &fakeStore{})
				l := newLimited(t, twoSwitches, first.core.Stored())
				// Both are connected, and hold nothing of what is decided yet: nothing moves gradually.
				l.lose("leaf1")
				l.lose("leaf2")
				tt.meet(l)
				if got := l.all(); got != tt.want {
					t.Errorf("the slots are those of %d, want %d", got, tt.want)
				}
			})
		})
	}
}

// A switch is not written to before its slots are decided, and is in the end whatever happens.
func TestMeetingsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stored := newTestLoop(t, &fakeStore{}).core.Stored()
		l := newLimited(t, twoSwitches, stored)
		open := func(c <-chan struct{}) bool {
			synctest.Wait()
			select {
			case <-c:
				return false
			default:
				return true
			}
		}
		told := func() (lines []string) {
			l.in(func() { lines = l.moment().concerned().unwritten })
			return lines
		}
		empty := l.meets("leaf1", rows.Tables{})
		if !open(empty) {
			t.Error("leaf1 does not wait for leaf2, though it is empty")
		}
		want := []string{"switch leaf1 is empty, and forwards nothing: it waits until " +
			time.Now().Add(others).UTC().Format(time.DateTime+" MST") + " at most to be written to, for leaf2 may " +
			"know better where open connections are"}
		if diff := cmp.Diff(want, told()); diff != "" {
			t.Errorf("it is not told that leaf1 waits (-want +got):\n%s", diff)
		}
		time.Sleep(others + time.Second)
		if open(empty) {
			t.Error("leaf1 is empty, and waits for ever")
		}
		if got := told(); len(got) > 0 {
			t.Errorf("it is told of leaf1, which does not wait: %q", got)
		}
		l = newLimited(t, twoSwitches, stored)
		if !open(l.meets("leaf1", rows.Tables{})) || open(l.meets("leaf2", rows.Tables{})) {
			t.Error("leaf1 and leaf2 are empty, and wait for nobody else")
		}
		l = newLimited(t, twoSwitches, stored)
		one := l.meets("leaf1", l.have(2))
		again := l.meets("leaf1", l.have(2)) // its session was lost meanwhile
		if !open(one) || !open(again) {
			t.Error("leaf1 does not wait for leaf2")
		}
		time.Sleep(others + time.Second)
		if open(one) || open(again) {
			t.Error("leaf1 waits for ever")
		}
		if open(l.meets("leaf2", l.have(1))) {
			t.Error("leaf2 waits for nobody")
		}
	})
}

// A stored verdict says nothing of a backend that the switch was told lives; one that was given since does, and so does
// one that the switch knows of.
func TestVerdictsOlderThanTheSwitch(t *testing.T) {
	tests := []struct {
		name      string
		stored    plan.Health
		given     api.Health // since the start, on web2; 0: nothing is
		on        rows.BackendID
		want      plan.Health
		wantSlots int
	}{
		{"down", plan.Down, 0, 2, plan.Unknown, 64},
		{"failing", plan.Failing, 0, 2, plan.Unknown, 64},
		{"up", plan.Up, 0, 2, plan.Up, 64},
		{"as the switch has it", plan.Down, 0, 1, plan.Down, 0},
		{"given again", plan.Down, api.Health_HEALTH_DOWN, 2, plan.Down, 0},
		{"taken back", plan.Down, api.Health_HEALTH_UP, 2, plan.Up, 64},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := newTestLoop(t, &fakeStore{}).core.Stored()
				web2 := plan.BackendKey{Pool: "web", Backend: "web2"}
				st.Verdicts = map[plan.BackendKey]core.Verdict{web2: {
					Health: tt.stored, Reason: "stored", DetectedAt: time.Unix(1, 0), Fell: time.Unix(1, 0),
				}}
				l := newLimited(t, testIntent, st)
				l.lose("leaf1")
				if tt.given != 0 {
					l.verdict("web2", tt.given)
				}
				l.meets("leaf1", l.have(tt.on))
				l.in(func() {
					if got := l.core.Stored().Verdicts[web2].Health; got != tt.want ||
						l.slotsOf("web2") != tt.wantSlots {
						t.Errorf("web2 is %s with %d slots, want %s with %d", got.String(), l.slotsOf("web2"),
							tt.want.String(), tt.wantSlots)
					}
				})
			})
		})
	}
}

// A status tells of a store that is older than a switch for an hour.
func TestOlderStoreIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, testIntent, newTestLoop(t, &fakeStore{}).core.Stored())
		told := func() (text string) {
			l.in(func() { text = l.moment().concerned().older })
			return text
		}
		if got := told(); got != "" {
			t.Errorf("before: %s", got)
		}
		l.meets("leaf1", l.have(1))
		const want = "the store is older than switch leaf1, or was not written to it: 32 of 64 slots differ there. " +
			"Open connections stay where the switch has them, and what has to change moves gradually"
		if got := told(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		time.Sleep(olderTold)
		if got := told(); got != "" {
			t.Errorf("after an hour: %s", got)
		}
	})
}

// A switch waits for the loop, and not for one that has ended.
func TestMeetWaitsForTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTestLoop(t, &fakeStore{})
		meet := l.devices["leaf1"].config.Meet
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { meet(ctx, rows.Tables{}); close(done) }()
		time.Sleep(time.Hour)
		select {
		case <-done:
			t.Error("the loop does not run, and the switch does not wait for it")
		default:
		}
		cancel()
		<-done
		if l.met != 0 {
			t.Error("somebody has answered")
		}
		ctx, cancel = context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = l.run(ctx, nil) }()
		meet(t.Context(), rows.Tables{})
		if l.met == 0 {
			t.Error("nobody has answered")
		}
	})
}
