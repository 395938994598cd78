package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/controller/store"
)

// fakeStore is a store that can fail. Saves go on beside the loop.
type fakeStore struct {
	mu    sync.Mutex // guards what follows
	saved []core.Stored
	err   error
}

func (f *fakeStore) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fakeStore) Save(_ context.Context, st core.Stored) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.saved = append(f.saved, st)
	}
	return f.err
}

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

// newTestLoop returns a loop whose devices never connect to anything, at work on testIntent.
func newTestLoop(t testing.TB, db saver) *loop {
	t.Helper()
	l := newLoop(slog.New(slog.DiscardHandler), newFigures(), db, core.Stored{})
	l.start = startNothing
	if err := l.begin("test.yaml", []byte(testIntent)); err != nil {
		t.Fatal(err)
	}
	return l
}

// startNothing makes a device that does not run.
func startNothing(cfg device.Config, w device.Wanted) (*running, error) {
	d, err := device.New(cfg, w)
	return &running{Device: d, config: cfg, cancel: func() {}}, err
}

func down(backend string) []*api.Verdict {
	return []*api.Verdict{{Pool: "web", Backend: backend, Health: api.Health_HEALTH_DOWN}}
}

func (l *loop) slotsOf(backend string) int {
	census, _ := l.core.Stored().Plan.Census("web")
	for _, s := range census.Backends {
		if s.Name == backend && !s.Removed {
			return s.Slots
		}
	}
	return 0
}

// Without the store verdicts go on, the configuration is frozen, and all is stored when it is back.
func TestStoreStopsAnswering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := &fakeStore{}
		l := newTestLoop(t, db)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = l.run(ctx, nil) }()
		s := &service{loop: l}
		do := func(f func()) {
			t.Helper()
			if err := l.do(ctx, f); err != nil {
				t.Fatal(err)
			}
		}

		db.fail(fmt.Errorf("writing the store: %w", store.ErrUnavailable))
		if _, err := s.ReportVerdicts(ctx, &api.ReportVerdictsRequest{Verdicts: down("web2")}); err != nil {
			t.Errorf("a verdict without the store: %v", err)
		}
		do(func() {
			if n := l.slotsOf("web2"); n != 0 {
				t.Errorf("web2 is down and has %d slots", n)
			}
			if l.moment().statusMessage().Frozen == "" {
				t.Error("the status does not say frozen")
			}
		})
		_, err := s.SetBackendAdmin(ctx, &api.SetBackendAdminRequest{Backend: "web1", Admin: api.Admin_ADMIN_DRAIN})
		want := "unavailable: the configuration is frozen: writing the store: the store does not answer"
		if err == nil || err.Error() != want {
			t.Errorf("a drain: got %v, want %s", err, want)
		}
		_, err = s.ApplyIntent(ctx, &api.ApplyIntentRequest{Yaml: testIntent + "# more\n"})
		if connect.CodeOf(err) != connect.CodeUnavailable {
			t.Errorf("an intent: got %v, want it refused", err)
		}
		time.Sleep(5 * time.Second) // in vain
		db.fail(nil)
		time.Sleep(saveInterval)
		synctest.Wait()
		do(func() {
			if l.core.Frozen() != nil {
				t.Errorf("still frozen: %v", l.core.Frozen())
			}
			last := db.saved[len(db.saved)-1]
			if diff := cmp.Diff(l.core.Stored(), last, cmpopts.EquateComparable(rows.VIPKey{})); diff != "" {
				t.Errorf("stored (-decided +stored):\n%s", diff)
			}
			if v := last.Verdicts[plan.BackendKey{Pool: "web", Backend: "web2"}]; v.Health != plan.Down {
				t.Errorf("the verdict is not stored: %+v", v)
			}
			if last.Intent.Revision != 1 || len(last.Admin) != 0 {
				t.Error("what was refused is stored")
			}
		})
		var told []bool
		for _, e := range l.events.past() {
			if s := e.GetStore(); s != nil {
				told = append(told, s.Frozen)
			}
		}
		if diff := cmp.Diff([]bool{true, false}, told); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// A controller that was replaced stops deciding.
func TestTakenOver(t *testing.T) {
	db := &fakeStore{}
	l := newTestLoop(t, db)
	db.fail(store.ErrConflict)
	l.calls <- func() { _, _ = l.verdicts(&api.ReportVerdictsRequest{Verdicts: down("web1")}) }
	if err := l.run(t.Context(), nil); !errors.Is(err, store.ErrConflict) {
		t.Errorf("got %v, want %v", err, store.ErrConflict)
	}
	if n := l.slotsOf("web1"); n != 32 {
		t.Errorf("the verdict took effect: web1 has %d slots, want 32", n)
	}
}

// What healthd repeats is stored with the next change and decides nothing.
func TestRepeatedVerdicts(t *testing.T) {
	db := &fakeStore{}
	l := newTestLoop(t, db)
	for range 3 {
		if _, err := l.verdicts(&api.ReportVerdictsRequest{Verdicts: down("web1")}); err != nil {
			t.Fatal(err)
		}
	}
	if len(db.saved) != 2 { // the intent, the first verdict
		t.Errorf("saved %d times, want 2", len(db.saved))
	}
	if l.core.Sequence() != 2 {
		t.Errorf("decided %d times, want 2", l.core.Sequence())
	}
}

// past returns all events that are remembered.
func (e *events) past() []*api.Event {
	list, _, _ := e.after(0, eventsKept)
	return list
}

// A call does not wait behind the reports of switches, however many there are, and these do not wait
// behind calls for ever.
func TestCallsDoNotWaitBehindReports(t *testing.T) {
	db := &fakeStore{}
	l := newTestLoop(t, db)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var order []string
	for range cap(l.told) {
		l.told <- func() { order = append(order, "report") }
	}
	const calls = 20
	for i := range calls {
		l.calls <- func() {
			order = append(order, "call")
			if i == calls-1 {
				cancel()
			}
		}
	}
	if err := l.run(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	reports, taken := 0, 0
	for _, what := range order {
		if what == "call" {
			taken++
		} else if reports++; reports > taken && taken < calls {
			t.Fatalf("a call waited behind more than one report: %v", order)
		}
	}
}

// A watcher that reads slowly misses what hosts can repeat, and nothing else.
func TestSlowWatcher(t *testing.T) {
	var e events
	at := e.before(0)
	verdict := func() *api.Event { return &api.Event{Detail: &api.Event_Verdict{}} }
	claim := func() *api.Event { return &api.Event{Detail: &api.Event_ArpClaim{}} }
	const n = 4000
	for range n {
		e.publish(time.Now(), verdict())
		for range 3 {
			e.publish(time.Now(), claim())
		}
	}
	var got []uint64
	for {
		list, _, missed := e.after(at, 7)
		if missed {
			t.Fatal("cut off")
		}
		if len(list) == 0 {
			break
		}
		for _, ev := range list {
			got = append(got, ev.Sequence)
			at = ev.Sequence
		}
	}
	verdicts := 0
	for _, s := range got {
		if s%4 == 1 {
			verdicts++
		}
	}
	if verdicts != n || len(got) != n+noiseKept {
		t.Errorf("got %d events, %d of them verdicts; want %d verdicts and the last %d claims", len(got), verdicts, n,
			noiseKept)
	}
	if !slices.IsSorted(got) {
		t.Error("events are out of order")
	}
	if list, _, _ := e.after(e.before(3), 100); len(list) != 3 || list[2].Sequence != e.sequence {
		t.Errorf("the last 3: %v", list)
	}
	_, more, _ := e.after(at, 7)
	select {
	case <-more:
		t.Error("more is told when there is nothing")
	default:
	}
	e.publish(time.Now(), verdict())
	<-more
}

// One that is so far behind that something else was forgotten is told so. What is remembered is bounded.
func TestWatcherTooFarBehind(t *testing.T) {
	var e events
	long := func(bytes int) *api.Event {
		return &api.Event{Detail: &api.Event_SlotsMoved{SlotsMoved: &api.SlotsMoved{Cause: strings.Repeat("x", bytes)}}}
	}
	for range eventsKept {
		e.publish(time.Now(), &api.Event{Detail: &api.Event_Verdict{}})
	}
	if _, _, missed := e.after(0, 1); missed {
		t.Errorf("cut off after %d events", eventsKept)
	}
	e.publish(time.Now(), &api.Event{Detail: &api.Event_Verdict{}})
	if _, _, missed := e.after(0, 1); !missed {
		t.Error("nobody is told that an event was missed")
	}
	if _, _, missed := e.after(1, 1); missed {
		t.Error("cut off though nothing after the event was forgotten")
	}
	for range 10 {
		e.publish(time.Now(), long(eventBytes/4))
	}
	if len(e.kept) != 3 || e.bytes > eventBytes {
		t.Errorf("%d events of %d bytes are remembered, want 3 of at most %d", len(e.kept), e.bytes, eventBytes)
	}
	e.publish(time.Now(), long(2*eventBytes))
	if len(e.kept) != 1 {
		t.Errorf("%d events are remembered beside one that is too long", len(e.kept))
	}
}

// A daemon that was stopped finds both that the store has answered and that its patience is over: what is stored has
// happened.
func TestStoppedWhileTheStoreAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTestLoop(t, &fakeStore{})
		web1 := plan.BackendKey{Pool: "web", Backend: "web1"}
		l.core.Step(time.Now(), core.SetAdmin{Backend: web1, Admin: plan.Drain})
		time.Sleep(time.Minute)
		for range 100 {
			l.saves.outcome = make(chan error, 1)
			l.saves.outcome <- nil
			if diff := cmp.Diff(core.Input(core.Saved{Outcome: core.Done}), l.outcome()); diff != "" {
				t.Fatalf("what the core is told (-want +got):\n%s", diff)
			}
		}
	})
}
