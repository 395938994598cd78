package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
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
	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/controller/store"
)

// fakeStore is a store that can fail. Saves go on beside the loop.
type fakeStore struct {
	mu    sync.Mutex // guards what follows
	saved []store.State
	err   error
}

func (f *fakeStore) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fakeStore) Save(_ context.Context, st store.State) error {
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
func newTestLoop(t *testing.T, db saver) *loop {
	t.Helper()
	l := newLoop(slog.New(slog.DiscardHandler), db, store.State{})
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
	s, _ := l.share(plan.BackendKey{Pool: "web", Backend: backend})
	return s.Slots
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
			if l.statusMessage().Frozen == "" {
				t.Error("the status does not say frozen")
			}
		})
		_, err := s.SetBackendAdmin(ctx, &api.SetBackendAdminRequest{Backend: "web1", Admin: api.Admin_ADMIN_DRAIN})
		if want := "unavailable: the configuration is frozen: writing the store: the store does not answer"; err == nil || err.Error() != want {
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
			if l.frozen != nil {
				t.Errorf("still frozen: %v", l.frozen)
			}
			last := db.saved[len(db.saved)-1]
			if diff := cmp.Diff(l.st, last, cmpopts.EquateComparable(rows.VIPKey{})); diff != "" {
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
	l.inbox <- func() { _, _ = l.verdicts(t.Context(), &api.ReportVerdictsRequest{Verdicts: down("web1")}) }
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
		if _, err := l.verdicts(t.Context(), &api.ReportVerdictsRequest{Verdicts: down("web1")}); err != nil {
			t.Fatal(err)
		}
	}
	if len(db.saved) != 2 { // the intent, the first verdict
		t.Errorf("saved %d times, want 2", len(db.saved))
	}
	if l.sequence != 2 {
		t.Errorf("decided %d times, want 2", l.sequence)
	}
}

// A change is reported when every switch that was connected has it; one that is lost meanwhile does
// not hold up the report.
func TestReportOfAChange(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	status := func(s device.State, applied uint64, ms, writes int) *device.Status {
		return &device.Status{State: s, Applied: applied, AppliedAt: at(ms), Writes: writes}
	}
	views := map[string]*view{}
	for _, name := range []string{"a", "b", "c"} {
		views[name] = &view{status: device.Status{State: device.Synced, Applied: 6}}
	}
	views["gone"] = &view{}
	why := cause{text: "verdict on web/web1", detected: at(-10), backends: []plan.BackendKey{{Pool: "web", Backend: "web1"}}}
	c := newChange(7, why, at(0), plan.Report{Moves: []plan.Move{{Pool: "web", From: "web1", To: "web2", Slots: 5}}}, views)
	steps := []struct {
		name string
		s    *device.Status
		over bool
	}{
		{"a", status(device.Synced, 6, 1, 9), false},
		{"a", status(device.Synced, 7, 5, 5), false},
		{"gone", status(device.Synced, 7, 50, 50), false},
		{"b", status(device.Degraded, 8, 7, 6), false},
		{"c", status(device.Disconnected, 6, 0, 0), true},
	}
	for _, s := range steps {
		if over, _ := c.take(s.name, s.s); over != s.over {
			t.Errorf("%s: over %v, want %v", s.name, over, s.over)
		}
	}
	got := reprogrammed(c.message()).Text
	if want := "verdict on web/web1: 11 entries written to a, b, the last one 17.0 ms after detection"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if m := c.message(); m.ReprogramMs != 17 || m.WriteMs != 7 || m.Moves[0].Slots != 5 {
		t.Errorf("message: %v", m)
	}
}

func TestSettleable(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ref := plan.SlotRef{Pool: 1, Slot: 4, Old: 2}
	connected := func(ages ...time.Duration) *view {
		v := &view{status: device.Status{State: device.Synced}, idle: map[plan.SlotRef]time.Time{}}
		for _, age := range ages {
			v.idle[ref] = now.Add(-age)
		}
		return v
	}
	maxAge := func(rows.PoolID) time.Duration { return 10 * time.Second }
	tests := []struct {
		name  string
		views []*view
		want  bool
	}{
		{"no switch", nil, false},
		{"the only switch", []*view{connected(0)}, true},
		{"both", []*view{connected(0), connected(9 * time.Second)}, true},
		{"one has not reported", []*view{connected(0), connected()}, false},
		{"one report is old", []*view{connected(0), connected(11 * time.Second)}, false},
		{"one was never connected", []*view{connected(0), {}}, true},
		{"one is away", []*view{connected(0), {status: device.Status{Connects: 1}}}, false},
		{"none is connected", []*view{{}, {}}, false},
	}
	for _, test := range tests {
		views := make(map[string]*view)
		for i, v := range test.views {
			views[fmt.Sprint(i)] = v
		}
		if got := len(settleable([]plan.SlotRef{ref}, views, now, maxAge)) == 1; got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

func TestVIPAges(t *testing.T) {
	vip := func(port uint16) config.VIP {
		return config.VIP{Address: netip.MustParseAddr("10.0.0.1"), Protocol: config.TCP, Port: port}
	}
	before := map[rows.VIPKey]int64{vipKey(vip(1)): 3, vipKey(vip(2)): 4}
	got := vipAges(&config.Intent{VIPs: []config.VIP{vip(1), vip(9)}}, before, 7)
	want := map[rows.VIPKey]int64{vipKey(vip(1)): 3, vipKey(vip(9)): 7}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(rows.VIPKey{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
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
	for range cap(l.news) {
		l.news <- func() { order = append(order, "report") }
	}
	const calls = 20
	for i := range calls {
		l.inbox <- func() {
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
		t.Errorf("got %d events, %d of them verdicts; want %d verdicts and the last %d claims", len(got), verdicts, n, noiseKept)
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
