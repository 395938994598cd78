package controller

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/limits"
)

// limitIntent lets connections stay with a backend of web for 10 minutes after it was taken out.
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

// Connections outlive the moves of their slots, pinned to the backend that they have; what drain_limit ends of them is
// told.
func TestDrainLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, limitIntent, core.Stored{})
		l.keepUp()
		l.admin("web1", plan.Drain)
		l.keepUp()
		l.in(func() {
			l.put(core.Reported{Switch: "leaf1", Flows: map[rows.Flow]rows.BackendID{7: 1, 8: 1}})
		})
		time.Sleep(9 * time.Minute)
		l.keepUp()
		m := l.web()
		if b := m.Backends[0]; m.Moving != 0 || b.Pinned != 2 || b.Drained || l.forced() != nil {
			t.Errorf("before the limit: %v, %q", m, l.forced())
		}
		time.Sleep(time.Minute)
		l.keepUp()
		if b := l.web().Backends[0]; b.Pinned != 0 || !b.Drained || b.DrainForced != 0 || b.DrainForcedPinned != 2 {
			t.Errorf("after the limit: %v", b)
		}
	})
}

// Where more connections are open than can be pinned, slots go on moving, as status says, until there is room.
func TestNoRoomForPins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, testIntent, core.Stored{})
		l.keepUp()
		l.admin("web1", plan.Drain)
		l.keepUp()
		flows := make(map[rows.Flow]rows.BackendID)
		for flow := range rows.Flow(limits.PinSize + 1) {
			flows[flow] = 1
		}
		said := func() (said bool) {
			l.in(func() {
				at := l.moment()
				for _, c := range concerns(at.statusMessage(), at.concerned()) {
					said = said || strings.HasPrefix(c.Text, "no more than 65536 connections can be pinned: ")
				}
			})
			return said
		}
		for range 60 { // the one that is left sends a packet now and then
			l.in(func() { l.put(core.Reported{Switch: "leaf1", Flows: flows}) })
			time.Sleep(time.Second)
		}
		if m := l.web(); m.Moving != 32 || m.Backends[0].Pinned != limits.PinSize || !said() {
			t.Errorf("with one too many: %v, status says so: %v", m, said())
		}
		l.in(func() { l.put(core.Silent{Switch: "leaf1", Flows: []rows.Flow{0, 1}}) })
		l.in(func() { l.put(core.Reported{Switch: "leaf1", Flows: map[rows.Flow]rows.BackendID{7: 1, 1: 1}}) })
		time.Sleep(3 * time.Second)
		synctest.Wait()
		l.keepUp()
		if m := l.web(); m.Moving != 0 || said() {
			t.Errorf("with room: %v, status says so: %v", m, said())
		}
	})
}

// With every epoch in use a drain says so, and goes on when the first moves have settled.
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
		const why = "they have moved lately, and their old connections are not pinned yet (8), all 4 epochs are " +
			"in use or " +
			"kept for backends that go down (10)"
		if m.Epochs != 3 || b.Slots == 0 || b.Waiting != b.Slots || b.WaitingReason != why {
			t.Errorf("%d epochs, web6: %v", m.Epochs, b)
		}
		time.Sleep(3 * time.Second) // drain_idle, and the time of a report
		synctest.Wait()             // the switch is told first what has settled
		l.keepUp()
		if b := l.web().Backends[5]; b.Waiting != 0 || b.Slots != 0 {
			t.Errorf("when slots have settled: %v", b)
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
