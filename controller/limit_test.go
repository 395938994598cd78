package controller

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/plan"
)

// limitIntent lets the slots of web move for 10 minutes.
var limitIntent = strings.Replace(testIntent, "drain_idle: 1s", "drain_idle: 1s\n    drain_limit: 10m", 1)

// limited is a loop at work whose only switch does nothing by itself: keepUp makes it hold what is decided.
type limited struct {
	*loop
	t   *testing.T
	ctx context.Context
}

func newLimited(t *testing.T, intent string, st core.Stored) limited {
	l := newLoop(slog.New(slog.DiscardHandler), newFigures(), &fakeStore{}, st)
	l.start = startNothing
	if err := l.begin("test.yaml", []byte(intent)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { _ = l.run(ctx, nil); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return limited{l, t, ctx}
}

func (l limited) in(f func()) {
	l.t.Helper()
	if err := l.do(l.ctx, f); err != nil {
		l.t.Fatal(err)
	}
}

func (l limited) keepUp() {
	l.t.Helper()
	l.in(func() {
		l.status(l.views["leaf1"], "leaf1", &device.Status{State: device.Synced, Applied: l.core.Sequence()})
	})
}

func (l limited) admin(backend string, a plan.Admin) {
	l.t.Helper()
	l.in(func() {
		if err := l.setAdmin(plan.BackendKey{Pool: "web", Backend: backend}, a); err != nil {
			l.t.Error(err)
		}
	})
}

// web is the status of the pool.
func (l limited) web() (m *api.PoolStatus) {
	l.t.Helper()
	l.in(func() { m = l.moment().poolStatus(l.core.Intent().Pools[0], l.core.Health()) })
	return m
}

func (l limited) forced() (texts []string) {
	for _, e := range l.events.past() {
		if e.GetSlotsSettled().GetForced() {
			texts = append(texts, e.Text)
		}
	}
	return texts
}

// Connections that never end hold up nothing for ever: when a move has lasted for drain_limit it is
// ended, and what waited for it begins.
func TestDrainLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, limitIntent, core.Stored{})
		l.keepUp()
		l.admin("web1", plan.Drain) // epoch 1: 32 slots
		l.keepUp()
		time.Sleep(time.Minute)
		l.admin("web1", plan.Active) // they go back, in the epoch in which they left, and have all the time for it
		l.keepUp()
		time.Sleep(time.Minute)
		l.admin("web2", plan.Drain) // epoch 2: the 32 slots that were web2's always
		l.keepUp()

		if m := l.web(); m.Epochs != 2 || m.Moving != 64 || m.Waiting != 0 {
			t.Errorf("%d epochs, %d slots move, %d wait: %q", m.Epochs, m.Moving, m.Waiting, m.WaitingReason)
		}
		time.Sleep(9*time.Minute - time.Second)
		if got := l.forced(); got != nil {
			t.Errorf("before the limit: %q", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		want := []string{"web: 32 slots are settled by force, they moved for longer than drain_limit, 10m0s: " +
			"connections that were still open " +
			"there go to the new backend and break; 32 slots still have old connections"}
		if diff := cmp.Diff(want, l.forced()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		// Nothing more moves before the switch has settled them too.
		l.admin("web2", plan.Active)
		if m := l.web(); m.Moving != 32 || m.Waiting != 0 || m.Backends[1].Slots != 32 {
			t.Errorf("after the limit, and undrained: %v", m)
		}
		l.admin("web2", plan.Drain)
		l.keepUp()
		if m := l.web(); m.Moving != 32 || m.Waiting != 0 || m.Backends[1].Slots != 0 {
			t.Errorf("in the end: %v", m)
		}
		// A drain that begins again has all the time, too.
		time.Sleep(10*time.Minute - time.Second)
		synctest.Wait()
		if got := l.forced(); len(got) != 1 {
			t.Errorf("before the limit of the second: %q", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		l.keepUp()
		if m := l.web(); m.Moving != 0 || !m.Backends[1].Drained || len(l.forced()) != 2 {
			t.Errorf("when all is over: %v", m)
		}
	})
}

// The time counts from when the switches have the moves, and anew after a restart.
func TestDrainLimitBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, limitIntent, core.Stored{})
		l.keepUp()
		l.admin("web1", plan.Drain)
		time.Sleep(time.Hour)
		if m := l.web(); m.Moving != 32 {
			t.Errorf("the switch lacks the moves, and %d slots move, want 32", m.Moving)
		}
		l.keepUp()
		time.Sleep(9 * time.Minute)
		var st core.Stored
		l.in(func() { st = l.core.Stored() })

		l = newLimited(t, limitIntent, st)
		time.Sleep(time.Hour)
		if m := l.web(); m.Moving != 32 {
			t.Errorf("no switch is connected, and %d slots move, want 32", m.Moving)
		}
		l.keepUp()
		time.Sleep(9 * time.Minute)
		if m := l.web(); m.Moving != 32 {
			t.Errorf("9 minutes after the restart %d slots move, want 32", m.Moving)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if m := l.web(); m.Moving != 0 || len(l.forced()) != 1 {
			t.Errorf("10 minutes after the restart: %v, %q", m, l.forced())
		}
	})
}

// With every epoch in use a drain says so.
func TestWaitingForAnEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var more strings.Builder
		for n := 3; n <= 6; n++ {
			fmt.Fprintf(&more,
				"      - {name: web%d, address: 10.0.0.1%d, mac: \"02:00:00:00:00:1%d\", switch_port: 3}\n", n, n, n)
		}
		l := newLimited(t, strings.Replace(limitIntent, "vips:", more.String()+"vips:", 1), core.Stored{})
		l.keepUp()
		for _, b := range []string{"web2", "web3", "web4", "web5"} {
			l.admin(b, plan.Drain)
			l.keepUp()
		}
		l.admin("web6", plan.Drain)
		l.keepUp()
		m := l.web()
		b := m.Backends[5]
		const why = "their old connections are still open (8), all 4 epochs are in use or kept for backends that go " +
			"down (10)"
		if m.Epochs != 3 || b.Slots == 0 || b.Waiting != b.Slots || b.WaitingReason != why {
			t.Errorf("%d epochs, web6: %v", m.Epochs, b)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait() // the switch is told first what the limit ends
		l.keepUp()
		if b := l.web().Backends[5]; b.Waiting != 0 || b.Slots != 0 {
			t.Errorf("after the limit: %v", b)
		}
	})
}

func TestVIPWithoutSwitch(t *testing.T) {
	l := newTestLoop(t, &fakeStore{})
	v := l.moment().statusMessage().Vips[0]
	if v.State != api.VIPStatus_STATE_UNPROGRAMMED || v.Reason != "no switch is connected" {
		t.Errorf("got %v: %s", v.State, v.Reason)
	}
	l.switchIs(t, "leaf1", device.Synced)
	if v := l.moment().statusMessage().Vips[0]; v.State != api.VIPStatus_STATE_ACTIVE {
		t.Errorf("with the switch: %v: %s", v.State, v.Reason)
	}
}

// What the core promises, as these tests count on it.
const (
	whatToDo = "open connections stay where they are, for it may be the checks that fail and not the servers; " +
		"disable or remove those that are really dead"
	firstMeetings = time.Minute     // for so long the first switch that has rows has the last word
	others        = 5 * time.Second // for so long it waits for those that do not answer
	olderTold     = time.Hour
	longest       = 2 * time.Minute // of a suspicion
	retiredFor    = 4 * time.Hour
	saveInterval  = time.Second
	lapse         = 30 * time.Second // of a healthd that is silent
)
