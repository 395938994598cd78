package controller

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
)

// connect makes the switch hold what is decided, lose makes it unreachable: it forwards on.
func (l limited) connect(name string) {
	l.t.Helper()
	l.in(func() {
		l.status(l.views[name], name, &device.Status{State: device.Synced, Connects: 1, Applied: l.core.Sequence()})
	})
}

func (l limited) lose(name string) {
	l.t.Helper()
	l.in(func() {
		l.status(l.views[name], name, &device.Status{State: device.Disconnected, Connects: 1,
			Applied: l.views[name].status.Applied})
	})
}

func (l limited) verdict(backend string, h api.Health) {
	l.t.Helper()
	l.in(func() {
		if _, err := l.verdicts(&api.ReportVerdictsRequest{Verdicts: detected(backend, h, time.Now())}); err != nil {
			l.t.Error(err)
		}
	})
}

func (l limited) slots() (slots []rows.Slot) {
	l.t.Helper()
	l.in(func() { slots = slices.Clone(l.core.Stored().Plan.Pools["web"].Slots) })
	return slots
}

// oldPaths counts the slots with old flows at another backend.
func oldPaths(slots []rows.Slot) (n int) {
	for _, s := range slots {
		if s.Old != 0 {
			n++
		}
	}
	return n
}

// settled is longer than what the checks say is suspect after a switch is back.
const settled = 10 * time.Second

// What checks say that may go through a switch does not count while that is away, and until it has been back for a
// while: a blip breaks nothing, and moves nothing.
func TestBlipWhileTheSwitchIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, limitIntent, core.Stored{})
		l.connect("leaf1")
		before := l.slots()
		l.lose("leaf1")
		time.Sleep(time.Hour)
		l.verdict("web2", api.Health_HEALTH_DOWN)
		l.verdict("web1", api.Health_HEALTH_DOWN)
		const why = "switch leaf1 is away, and the checks may go through it: what they say does not count yet"
		if m := l.web(); m.Backends[1].Health != api.Health_HEALTH_DOWN || m.Backends[1].Slots != 32 || m.Held != why {
			t.Errorf("web2 is called dead: %v", m)
		}
		l.connect("leaf1")
		l.verdict("web2", api.Health_HEALTH_UP)
		time.Sleep(time.Second)
		l.verdict("web1", api.Health_HEALTH_UP)
		time.Sleep(settled)
		l.connect("leaf1")
		if after, m := l.slots(), l.web(); !slices.Equal(before, after) || m.Waiting != 0 || m.Held != "" {
			t.Errorf("after the blip:\n got %v\nwant %v\n%v", after, before, m)
		}
		// Who is still dead when the switch has been back for a while is dead.
		l.lose("leaf1")
		l.verdict("web2", api.Health_HEALTH_DOWN)
		l.connect("leaf1")
		time.Sleep(settled)
		l.connect("leaf1")
		if m := l.web(); m.Backends[1].Slots != 0 || m.Backends[1].GraceSlots != 32 || m.Held != "" {
			t.Errorf("web2 is dead: %v", m)
		}
	})
}

// A move under way does not end while the switch is away, be it due or not.
func TestNoMoveEndsWhileTheSwitchIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, testIntent, core.Stored{})
		l.connect("leaf1")
		l.admin("web1", plan.Drain)
		l.connect("leaf1")
		before := l.slots()
		if oldPaths(before) != 32 {
			t.Fatalf("%d slots move, want 32", oldPaths(before))
		}
		l.lose("leaf1")
		l.verdict("web2", api.Health_HEALTH_DOWN)
		l.verdict("web2", api.Health_HEALTH_UP)
		if after := l.slots(); !slices.Equal(before, after) {
			t.Errorf("after the blip in a move:\n got %v\nwant %v", after, before)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := oldPaths(l.slots()); n != 32 {
			t.Errorf("while the switch is away %d slots move, want 32", n)
		}
		l.connect("leaf1")
		time.Sleep(2999 * time.Millisecond)
		if n := oldPaths(l.slots()); n != 32 {
			t.Errorf("when it is back, and may have reports, %d slots move, want 32", n)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if n := oldPaths(l.slots()); n != 0 || l.forced() != nil {
			t.Errorf("later %d slots move, want 0: %q", n, l.forced())
		}
	})
}

// What begins gradually waits for a switch that is away, and says so.
func TestMovesWaitForASwitchThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		two := strings.Replace(limitIntent, "vip_mac:",
			"  - {name: leaf2, address: \"127.0.0.1:9560\", device_id: 2, ports: [1, 2, 3]}\nvip_mac:", 1)
		l := newLimited(t, strings.Replace(two, "drain_idle", "grace: 0s\n    drain_idle", 1), core.Stored{})
		l.connect("leaf1")
		l.admin("web2", plan.Drain) // leaf2, which was never there, holds up nothing
		l.connect("leaf1")
		if n := oldPaths(l.slots()); n != 32 {
			t.Errorf("%d slots move, want 32", n)
		}
		l.admin("web2", plan.Active)
		l.connect("leaf1")
		time.Sleep(11 * time.Minute)
		l.connect("leaf1")
		l.connect("leaf2")

		l.lose("leaf1")
		l.verdict("web2", api.Health_HEALTH_DOWN)
		if m := l.web(); m.Backends[1].Slots != 32 {
			t.Errorf("web2 falls as leaf1 does: %v", m)
		}
		time.Sleep(settled) // leaf1 stays away: the servers are the suspects again
		l.connect("leaf2")
		time.Sleep(settled)
		l.connect("leaf2")
		l.verdict("web2", api.Health_HEALTH_UP)
		l.connect("leaf2")
		m := l.web()
		if m.Moving != 0 || m.Backends[1].Slots != 0 || m.Waiting != 32 ||
			m.WaitingReason != "switch leaf1 is disconnected: it is waited for until 2000-01-01 00:21:00 UTC at most" {
			t.Errorf("web2 returns, leaf1 is away: %v", m)
		}
		l.lose("leaf2")
		if m := l.web(); m.WaitingReason != "switch leaf1 is disconnected, switch leaf2 is disconnected" ||
			m.Backends[1].Slots != 0 {
			t.Errorf("both are away: %v", m)
		}
		l.connect("leaf2")
		l.connect("leaf1")
		if n := oldPaths(l.slots()); n != 32 {
			t.Errorf("both are back and %d slots move, want 32", n)
		}
		// Nobody waits for a switch that the intent gives up.
		l.connect("leaf2")
		l.connect("leaf1")
		time.Sleep(11 * time.Minute)
		l.connect("leaf2")
		l.connect("leaf1")
		l.lose("leaf2")
		l.admin("web2", plan.Drain)
		if m := l.web(); m.WaitingReason != "switch leaf2 is disconnected: it is waited for until 2000-01-01 "+
			"00:32:20 UTC at most" || m.Moving != 0 {
			t.Errorf("leaf2 is away: %v", m)
		}
		l.in(func() {
			if _, err := l.applyFile(parse("test.yaml",
				strings.Replace(limitIntent, "drain_idle", "grace: 0s\n    drain_idle", 1))); err != nil {
				t.Error(err)
			}
		})
		l.connect("leaf1")
		if m := l.web(); m.Waiting != 0 || m.Moving != 32 {
			t.Errorf("leaf2 is given up: %v", m)
		}
	})
}

// A switch that was started anew while slots moved knows no more which of their flows are new. Nobody can mend that,
// and the operator is told.
func TestMarksAreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		l := newLimited(t, wide(3), core.Stored{})
		empty := func(connects uint64) {
			t.Helper()
			l.lose("leaf1")
			l.in(func() {
				l.log = slog.New(slog.NewTextHandler(&log, nil))
				l.status(l.views["leaf1"], "leaf1", &device.Status{State: device.Reconciling, Connects: connects})
			})
			l.connect("leaf1")
		}
		told := func(when string, want []string) {
			t.Helper()
			l.in(func() {
				if got := l.moment().concerned().forgot; !slices.Equal(got, want) {
					t.Errorf("%s: got %v, want %v", when, got, want)
				}
			})
		}
		l.connect("leaf1")
		empty(2)
		told("nothing moves", nil)
		time.Sleep(settled)
		l.verdict("web2", api.Health_HEALTH_DOWN)
		empty(3)
		line := "switch leaf1 came back empty while 21 slots moved: connections that were opened on them since their " +
			"move began break"
		told("web2's open flows have their grace", []string{line})
		l.in(func() { // the loop's goroutine writes it
			if !strings.Contains(log.String(), "a switch came back empty while slots moved") {
				t.Errorf("the log says nothing of it: %s", log.String())
			}
		})
		time.Sleep(olderTold)
		told("later", nil)
	})
}
