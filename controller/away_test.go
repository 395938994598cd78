package controller

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/store"
)

// connect makes the switch hold what is decided, lose makes it unreachable: it forwards on.
func (l limited) connect(name string) {
	l.t.Helper()
	l.in(func() {
		l.status(l.ctx, l.views[name], name, &device.Status{State: device.Synced, Connects: 1, Applied: l.sequence})
	})
}

func (l limited) lose(name string) {
	l.t.Helper()
	l.in(func() {
		l.status(l.ctx, l.views[name], name, &device.Status{State: device.Disconnected, Connects: 1, Applied: l.views[name].status.Applied})
	})
}

func (l limited) verdict(backend string, h api.Health) {
	l.t.Helper()
	l.in(func() {
		if _, err := l.verdicts(l.ctx, detected(backend, h, time.Now())); err != nil {
			l.t.Error(err)
		}
	})
}

func (l limited) slots() (slots []plan.Slot) {
	l.t.Helper()
	l.in(func() { slots = slices.Clone(l.st.Plan.Pools["web"].Slots) })
	return slots
}

// oldPaths counts the slots with old flows at another backend.
func oldPaths(slots []plan.Slot) (n int) {
	for _, s := range slots {
		if s.Old != 0 {
			n++
		}
	}
	return n
}

// A switch that is away goes on sending to a server that is dead only for a while: its slots stay where
// the switch has them.
func TestBlipWhileTheSwitchIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, limitIntent, store.State{})
		l.connect("leaf1")
		before := l.slots()
		l.lose("leaf1")
		l.verdict("web2", api.Health_HEALTH_DOWN)
		if m := l.web(); m.Backends[1].Slots != 0 || m.Backends[0].Slots != 64 {
			t.Errorf("web2 is dead: %v", m)
		}
		l.verdict("web2", api.Health_HEALTH_UP)
		if after := l.slots(); !slices.Equal(before, after) {
			t.Errorf("after the blip:\n got %v\nwant %v", after, before)
		}
		if m := l.web(); m.Waiting != 0 {
			t.Errorf("%d slots wait: %s", m.Waiting, m.WaitingReason)
		}
		// A move under way comes back as it was too, when its new backend does.
		l.connect("leaf1")
		l.admin("web1", plan.Drain)
		l.connect("leaf1")
		before = l.slots()
		if oldPaths(before) != 32 {
			t.Fatalf("%d slots move, want 32", oldPaths(before))
		}
		l.lose("leaf1")
		l.verdict("web2", api.Health_HEALTH_DOWN)
		l.verdict("web2", api.Health_HEALTH_UP)
		if after := l.slots(); !slices.Equal(before, after) {
			t.Errorf("after the blip in a move:\n got %v\nwant %v", after, before)
		}
		// It does not end while the switch is away, be it due or not.
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := oldPaths(l.slots()); n != 32 {
			t.Errorf("while the switch is away %d slots move, want 32", n)
		}
		l.connect("leaf1")
		if n := oldPaths(l.slots()); n != 0 || len(l.forced()) != 1 {
			t.Errorf("when it is back %d slots move, want 0: %q", n, l.forced())
		}
	})
}

// What begins gradually waits for a switch that is away, and says so.
func TestMovesWaitForASwitchThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		two := strings.Replace(limitIntent, "vip_mac:", "  - {name: leaf2, address: \"127.0.0.1:9560\", device_id: 2, ports: [1, 2, 3]}\nvip_mac:", 1)
		l := newLimited(t, two, store.State{})
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
		l.verdict("web2", api.Health_HEALTH_DOWN) // leaf2 takes that
		l.connect("leaf2")
		l.verdict("web2", api.Health_HEALTH_UP)
		l.connect("leaf2")
		m := l.web()
		if m.Moving != 0 || m.Backends[1].Slots != 0 || m.Waiting != 32 || m.WaitingReason != "switch leaf1 is disconnected" {
			t.Errorf("web2 returns, leaf1 is away: %v", m)
		}
		l.lose("leaf2")
		if m := l.web(); m.WaitingReason != "switches leaf1, leaf2 are disconnected" || m.Backends[1].Slots != 0 {
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
		if m := l.web(); m.WaitingReason != "switch leaf2 is disconnected" || m.Moving != 0 {
			t.Errorf("leaf2 is away: %v", m)
		}
		l.in(func() {
			if _, _, err := l.applyFile(l.ctx, parse("test.yaml", limitIntent)); err != nil {
				t.Error(err)
			}
		})
		l.connect("leaf1")
		if m := l.web(); m.Waiting != 0 || m.Moving != 32 {
			t.Errorf("leaf2 is given up: %v", m)
		}
	})
}

// What no switch has to take is not waited for, nor what a switch had to that the intent gives up.
func TestPendingChanges(t *testing.T) {
	l := newTestLoop(t, &fakeStore{})
	for n := range 10 {
		h := []api.Health{api.Health_HEALTH_DOWN, api.Health_HEALTH_UP}[n%2]
		if _, err := l.verdicts(t.Context(), detected("web2", h, time.Now())); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.pending) != 0 {
		t.Errorf("no switch is connected, %d changes wait", len(l.pending))
	}
	l.status(t.Context(), l.views["leaf1"], "leaf1", &device.Status{State: device.Reconciling, Connects: 1, Applied: l.sequence})
	if _, err := l.verdicts(t.Context(), down("web1")); err != nil || len(l.pending) != 1 {
		t.Errorf("a switch is connected, %d changes wait, want 1: %v", len(l.pending), err)
	}
	for range 2 * changesPending {
		l.follow(newChange(l.sequence, cause{}, time.Now(), plan.Report{}, l.views))
	}
	if len(l.pending) != changesPending {
		t.Errorf("%d changes wait, want %d", len(l.pending), changesPending)
	}
	if _, _, err := l.applyFile(t.Context(), parse("test.yaml", strings.ReplaceAll(testIntent, "leaf1", "leaf2"))); err != nil {
		t.Fatal(err)
	}
	if len(l.pending) != 0 {
		t.Errorf("the switch is given up, %d changes wait", len(l.pending))
	}
}
