package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/gslb/awake"
	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/internal/rpc"
)

// rig is a Watcher in a bubble of fake time, and the controllers that it finds.
type rig struct {
	t       *testing.T
	w       *Watcher
	started time.Time
	frozen  atomic.Int64 // nanoseconds in which the process did not run
	changes atomic.Int32
	log     strings.Builder
	stop    func()

	mu          sync.Mutex // guards all below
	controllers map[string]*controller
	attempts    atomic.Int32
}

// controller is one of them: it speaks when it is told to.
type controller struct {
	refuses error
	feed    *fakeFeed
	vips    []*api.VIP
}

type fakeFeed struct {
	ctx   context.Context
	words chan *api.VIPs // closed: the stream ends
	msg   *api.VIPs
	err   error
}

func (f *fakeFeed) Receive() bool {
	select {
	case m, ok := <-f.words:
		f.msg = m
		return ok
	case <-f.ctx.Done():
		f.err = f.ctx.Err()
		return false
	}
}

func (f *fakeFeed) Msg() *api.VIPs { return f.msg }
func (f *fakeFeed) Err() error     { return f.err }
func (f *fakeFeed) Close() error   { return nil }

// newRig starts a Watcher of dc1, whose controller is at one.
func newRig(t *testing.T) *rig {
	r := &rig{t: t, started: time.Now(), controllers: map[string]*controller{"one": {}, "two": {}}}
	handler := slog.NewTextHandler(&r.log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Duration("at", a.Value.Time().Sub(r.started).Round(time.Second))
		}
		return a
	}})
	clock := awake.New(func() time.Time { return time.Now().Add(time.Duration(r.frozen.Load())) })
	r.w = New(Deps{DataCenters: centers("dc1", "one"), OnChange: func() { r.changes.Add(1) }, Clock: clock,
		Log: slog.New(handler)})
	r.w.open = r.open
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	for _, run := range []func(context.Context) error{clock.Run, r.w.Run} {
		go func() { done <- run(ctx) }()
	}
	r.stop = func() {
		cancel()
		for range cap(done) {
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	}
	return r
}

// centers makes data centers of names and addresses of controllers.
func centers(pairs ...string) (list []config.DataCenter) {
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, config.DataCenter{Name: pairs[i], Region: config.None, Controller: pairs[i+1]})
	}
	return list
}

func (r *rig) open(ctx context.Context, address string) (feed, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempts.Add(1)
	c := r.controllers[address]
	if c.refuses != nil {
		return nil, c.refuses
	}
	c.feed = &fakeFeed{ctx: ctx, words: make(chan *api.VIPs, 1)}
	if c.vips != nil {
		c.feed.words <- &api.VIPs{IntentRevision: 3, Vips: c.vips}
	}
	return c.feed, nil
}

// say makes a controller speak, and remember what it says for those who connect later.
func (r *rig) say(address string, list ...*api.VIP) {
	synctest.Wait()
	r.mu.Lock()
	c := r.controllers[address]
	c.vips = list
	f := c.feed
	r.mu.Unlock()
	f.words <- &api.VIPs{IntentRevision: 3, Vips: list}
	synctest.Wait()
}

// cut ends the stream. Further attempts fail with err, or if that is nil hear of these VIPs, if any, first.
func (r *rig) cut(address string, err error, list ...*api.VIP) {
	r.mu.Lock()
	c := r.controllers[address]
	c.refuses = err
	if list != nil {
		c.vips = list
	}
	f := c.feed
	r.mu.Unlock()
	close(f.words)
	synctest.Wait()
}

func (r *rig) refuse(address string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.controllers[address].refuses = err
}

// pass lets time go by, in which the controllers named speak every second.
func (r *rig) pass(d time.Duration, speaking ...string) {
	for range d / time.Second {
		time.Sleep(time.Second)
		for _, address := range speaking {
			r.say(address, r.controllers[address].vips...)
		}
	}
	synctest.Wait()
}

func (r *rig) want(name string, want VIP) {
	r.t.Helper()
	if diff := cmp.Diff(want, r.w.VIP("dc1", name)); diff != "" {
		r.t.Errorf("%v after the start, VIP %s (-want +got):\n%s", time.Since(r.started), name, diff)
	}
}

func (r *rig) at(d time.Duration) time.Time { return r.started.Add(d) }

func (r *rig) wantLog(lines ...string) {
	r.t.Helper()
	want := ""
	for _, line := range lines {
		want += line + "\n"
	}
	if diff := cmp.Diff(want, r.log.String()); diff != "" {
		r.t.Errorf("log (-want +got):\n%s", diff)
	}
}

func active(name string, load uint32) *api.VIP {
	return &api.VIP{Name: name, State: api.VIPStatus_STATE_ACTIVE, Load: load, LiveBackends: 2, TotalBackends: 3}
}

func unprogrammed(name string, live uint32) *api.VIP {
	return &api.VIP{Name: name, State: api.VIPStatus_STATE_UNPROGRAMMED, Reason: "no switch is connected", Load: 255,
		Unseen: live > 0, LiveBackends: live, TotalBackends: 3}
}

func live(load int, since time.Time) VIP {
	return VIP{Heard: true, Live: true, LiveBackends: 2, TotalBackends: 3, Load: load, Since: since}
}

var errRefused = errors.New("connection refused")

func TestWhatIsSaid(t *testing.T) {
	dead := func(reason string) VIP { return VIP{Heard: true, Load: 255, TotalBackends: 3, Reason: reason} }
	for _, test := range []struct {
		name string
		vip  *api.VIP
		want VIP
	}{
		{"active", active("www", 17), VIP{Heard: true, Live: true, Load: 17, LiveBackends: 2, TotalBackends: 3}},
		{"full", active("www", 254), VIP{Heard: true, Live: true, Load: 254, LiveBackends: 2, TotalBackends: 3}},
		{"held by another switch", &api.VIP{Name: "www", State: api.VIPStatus_STATE_DEGRADED,
			Reason: "switch leaf1 does not take its rows", Load: 9, LiveBackends: 3, TotalBackends: 3},
			VIP{Heard: true, Live: true, Load: 9, LiveBackends: 3, TotalBackends: 3}},
		{"held by none", &api.VIP{Name: "www", State: api.VIPStatus_STATE_DEGRADED,
			Reason: "switch leaf1 does not take its rows", Load: 255, TotalBackends: 3},
			dead("switch leaf1 does not take its rows")},
		{"no backend", &api.VIP{Name: "www", State: api.VIPStatus_STATE_NO_BACKEND,
			Reason: "no backend of the pool may receive traffic", Load: 255, TotalBackends: 3},
			dead("no backend of the pool may receive traffic")},
		{"disabled", &api.VIP{Name: "www", State: api.VIPStatus_STATE_DISABLED, Load: 255, TotalBackends: 3},
			dead("disabled by the intent")},
		{"held by none in sight, and nothing said before",
			&api.VIP{Name: "www", State: api.VIPStatus_STATE_DEGRADED, Reason: "switch leaf1 does not take its rows",
				Load: 255, Unseen: true, LiveBackends: 2, TotalBackends: 3},
			VIP{Heard: true, Lost: true, LiveBackends: 2, Load: 255, TotalBackends: 3,
				Reason: "switch leaf1 does not take its rows"}},
		{"no switch, no backend, and nothing said before", unprogrammed("www", 0), dead("no switch is connected")},
		{"no switch, and nothing said before", unprogrammed("www", 2),
			VIP{Heard: true, Lost: true, LiveBackends: 2, Load: 255, TotalBackends: 3,
				Reason: "no switch is connected"}},
		{"a state to come", &api.VIP{Name: "www", State: 99, Load: 1000, TotalBackends: 3}, dead("offline")},
		{"another VIP only", active("alt", 0), VIP{Heard: true, Load: 255, Reason: `the controller has no VIP "www"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				defer r.stop()
				synctest.Wait()
				r.want("www", VIP{Reason: "its controller has not been heard yet"})
				r.say("one", test.vip)
				want := test.want
				want.Since = r.started
				r.want("www", want)
				if got := r.w.Controller("dc1"); got != (Controller{Connected: true, Since: r.started, Revision: 3}) {
					t.Errorf("controller: %+v", got)
				}
			})
		})
	}
}

// What a controller says of itself is cut where it comes in.
func TestReasonsAreCut(t *testing.T) {
	garbage := strings.Repeat("x", 60<<10)
	want := garbage[:256] + "... (61440 bytes)"
	if got := reasonOf(&api.VIP{Reason: garbage}); got != want {
		t.Errorf("a reason of %d bytes", len(got))
	}
	s := new(site)
	if s.lose(errors.New(garbage), time.Now()); s.controller.Error != want {
		t.Errorf("an error of %d bytes", len(s.controller.Error))
	}
	if _, different := s.lose(errors.New(garbage), time.Now()); different {
		t.Error("the same error again is told as another one")
	}
}

func TestEveryChangeIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		changes := func(want int32, what string) {
			t.Helper()
			if got := r.changes.Swap(0); got != want {
				t.Errorf("%s: told of %d changes, want %d", what, got, want)
			}
		}
		r.say("one", active("www", 0))
		changes(1, "the first word")
		r.say("one", active("www", 0))
		changes(0, "the same again")
		r.say("one", active("www", 1))
		changes(1, "another load")
		r.say("one", active("www", 1), active("alt", 0))
		changes(1, "one more")
		r.say("one", active("alt", 0))
		changes(1, "one fewer")
		r.want("www", VIP{Heard: true, Load: 255, Reason: `the controller has no VIP "www"`, Since: r.started})
		r.pass(60*time.Second, "one")
		changes(6, "a minute without news")
		r.cut("one", errRefused)
		changes(1, "a lost controller")
		r.pass(5 * time.Second)
		changes(1, "why it stays away, once")
		r.wantLog(`at=0s level=INFO msg="controller connected" data_center=dc1 controller=one vips=1`,
			`at=1m0s level=WARN msg="no controller: what it said last stands for a while" data_center=dc1 `+
				`controller=one hold=30s err="the controller ended the stream"`)
	})
}

func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		r.say("one", active("www", 5))
		r.pass(10*time.Second, "one")
		r.cut("one", errRefused)
		// Everything that it said stands, but that it is connected.
		r.pass(29 * time.Second)
		r.want("www", live(5, r.started))
		if got, want := r.w.Controller("dc1"),
			(Controller{Since: r.at(10 * time.Second), Error: "connection refused", Revision: 3}); got != want {
			t.Errorf("controller: got %+v, want %+v", got, want)
		}
		r.pass(time.Second)
		lost := live(5, r.at(40*time.Second))
		lost.Lost, lost.Reason = true, "the controller was heard last at 2000-01-01T00:00:10Z: connection refused"
		r.want("www", lost)
		if v := r.w.VIP("dc1", "www"); v.Known() {
			t.Error("it is still known")
		}
		r.pass(time.Hour)
		r.want("www", lost)
		// And back: it is known anew since it is heard again.
		r.refuse("one", nil)
		r.pass(3 * time.Second)
		if v := r.w.VIP("dc1", "www"); !v.Live || !v.Known() || v.Since.Before(r.at(time.Hour+40*time.Second)) {
			t.Errorf("when it is back: %+v", v)
		}
		if n := strings.Count(r.log.String(), "\n"); n != 4 {
			t.Errorf("%d lines for connected, lost, too old, connected:\n%s", n, r.log.String())
		}
		if want := `at=40s level=WARN msg="the controller has been away for too long: what it said last counts no ` +
			`more" data_center=dc1 hold=30s`; !strings.Contains(r.log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, r.log.String())
		}
	})
}

// However often a controller comes and goes, as long as it comes back in time nothing flaps.
func TestNothingFlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		r.say("one", active("www", 5))
		for range 20 {
			r.cut("one", errRefused)
			for range 25 {
				r.pass(time.Second)
				r.want("www", live(5, r.started))
			}
			r.refuse("one", nil)
			r.pass(3 * time.Second) // the longest pause is 2 s
			r.want("www", live(5, r.started))
			if !r.w.Controller("dc1").Connected {
				t.Fatal("it has not come back")
			}
		}
	})
}

// A stream that is open and silent is dead.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		r.say("one", active("www", 5))
		r.pass(3 * time.Second)
		r.say("one", active("www", 5)) // late, and in time
		r.refuse("one", errRefused)
		r.pass(3 * time.Second)
		if !r.w.Controller("dc1").Connected {
			t.Error("given up after 3 s")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		want := Controller{Since: r.at(7 * time.Second), Error: "the controller has said nothing for 4s", Revision: 3}
		if got := r.w.Controller("dc1"); got != want {
			t.Errorf("after 4 s: got %+v, want %+v", got, want)
		}
		r.want("www", live(5, r.started))
		// The hold counts from the last word, not from when the silence was noticed.
		r.pass(26*time.Second - time.Millisecond)
		time.Sleep(time.Second)
		synctest.Wait()
		if v := r.w.VIP("dc1", "www"); v.Known() {
			t.Errorf("33 s after the last word: %+v", v)
		}
	})
}

// A process that was stopped for longer than the hold has nobody lost for it, whatever it notices first when it goes
// on.
func TestFrozen(t *testing.T) {
	freeze := func(r *rig) { r.frozen.Add(int64(time.Minute)) }
	for _, test := range []struct {
		name string
		do   func(r *rig)
	}{
		{"a word", func(r *rig) { r.say("one", active("www", 5)) }},
		{"that it goes on", func(r *rig) { r.pass(time.Second) }},
		{"the loss of the stream", func(r *rig) { r.cut("one", errRefused) }},
		{"the loss of a stream that was lost before", func(r *rig) {
			r.cut("one", errRefused)
			r.pass(10 * time.Second)
			freeze(r)
			r.pass(15 * time.Second)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				defer r.stop()
				r.say("one", active("www", 5))
				r.pass(10*time.Second, "one")
				freeze(r)
				test.do(r)
				r.want("www", live(5, r.started))
				// The hold ends all the same.
				if r.w.Controller("dc1").Connected {
					r.cut("one", errRefused)
				}
				r.refuse("one", errRefused)
				r.pass(32 * time.Second)
				if v := r.w.VIP("dc1", "www"); v.Known() {
					t.Errorf("32 s after the stream: %+v", v)
				}
			})
		})
	}
	t.Run("a controller without its switches", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			defer r.stop()
			r.say("one", active("www", 5))
			r.say("one", unprogrammed("www", 2))
			r.pass(10*time.Second, "one")
			freeze(r)
			r.say("one", unprogrammed("www", 2))
			r.pass(18*time.Second, "one")
			r.want("www", live(5, r.started))
			r.pass(4*time.Second, "one")
			if v := r.w.VIP("dc1", "www"); v.Live {
				t.Errorf("32 s without a switch: %+v", v)
			}
		})
	})
}

// A controller without its switches, as just after a restart, takes nobody away that the switches go on serving.
func TestControllerWithoutSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		r.say("one", active("www", 5), active("alt", 7))
		r.cut("one", nil, unprogrammed("www", 2), unprogrammed("alt", 0))
		r.pass(time.Second)
		r.pass(20*time.Second, "one")
		r.want("www", live(5, r.started))
		if v := r.w.VIP("dc1", "alt"); v.Live || v.Reason != "no switch is connected" {
			t.Errorf("a VIP without a live backend: %+v", v)
		}
		r.say("one", active("www", 6), active("alt", 7))
		r.want("www", live(6, r.started))

		// It does not come back, so it ends; the time before does not count.
		r.say("one", unprogrammed("www", 2))
		r.pass(29*time.Second, "one")
		r.want("www", live(6, r.started))
		r.pass(time.Second, "one")
		gone := VIP{Heard: true, Lost: true, LiveBackends: 2, TotalBackends: 3, Load: 255,
			Reason: "no switch is connected", Since: time.Now()}
		r.want("www", gone)
		r.pass(time.Minute, "one")
		r.want("www", gone)
		r.say("one", active("www", 1))
		r.want("www", live(1, time.Now()))
	})
}

// A controller that was stopped for longer than its word stands, and goes on, has lost its switches meanwhile: until it
// has them back it sees nothing, and takes nobody away.
func TestStoppedController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		r.say("one", active("www", 5), &api.VIP{Name: "off", State: api.VIPStatus_STATE_DISABLED, Load: 255,
			LiveBackends: 2, TotalBackends: 3})
		r.cut("one", errRefused, unprogrammed("www", 2), unprogrammed("off", 2))
		r.pass(time.Minute)
		known := func(when string, want bool) {
			t.Helper()
			if v := r.w.VIP("dc1", "www"); v.Known() != want {
				t.Errorf("%s: %+v", when, v)
			}
		}
		known("a minute after its last word", false)
		r.refuse("one", nil)
		r.pass(2 * time.Second)
		for range 3 {
			r.say("one", unprogrammed("www", 2), unprogrammed("off", 2))
			known("it is back, without its switches", false)
			r.pass(time.Second)
		}
		since := r.w.VIP("dc1", "www").Since
		r.say("one", unprogrammed("www", 2))
		if v := r.w.VIP("dc1", "www"); !v.Since.Equal(since) {
			t.Errorf("lost since %v, and then since %v", since, v.Since)
		}
		r.say("one", active("www", 5))
		r.want("www", live(5, time.Now()))
	})
}

// What a controller without its switches said last stands for the hold, whatever it was.
func TestLastWordStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		r.say("one", &api.VIP{Name: "www", State: api.VIPStatus_STATE_DISABLED, Load: 255, LiveBackends: 2,
			TotalBackends: 3})
		dead := r.w.VIP("dc1", "www")
		r.say("one", unprogrammed("www", 2))
		r.want("www", dead)
		r.pass(29*time.Second, "one")
		r.want("www", dead)
		r.pass(time.Second, "one")
		if v := r.w.VIP("dc1", "www"); v.Known() {
			t.Errorf("30 s without a switch: %+v", v)
		}
	})
}

func TestReconnectsWithPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		r.say("one", active("www", 5))
		r.cut("one", errRefused)
		before := r.attempts.Load()
		r.pass(time.Minute)
		// Pauses of 50-100 ms, 100-200 ms, .. 1-2 s.
		if n := r.attempts.Load() - before; n < 30 || n > 70 {
			t.Errorf("%d attempts in a minute", n)
		}
		if n := strings.Count(r.log.String(), "no controller"); n != 1 {
			t.Errorf("%d lines for one loss:\n%s", n, r.log.String())
		}
	})
}

func TestNeverHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		r.refuse("one", errRefused)
		r.refuse("two", errRefused)
		synctest.Wait()
		r.w.Set(centers("dc1", "two"))
		r.pass(time.Hour)
		r.want("www", VIP{Refused: true, Reason: "its controller has not been heard yet: connection refused"})
		r.wantLog(`at=0s level=WARN msg="no controller: nothing is known of its VIPs" data_center=dc1 controller=one ` +
			`err="connection refused"`)
		if got, want := r.w.VIP("dc2", "www"),
			(VIP{Reason: `no controller of data center "dc2" is watched`}); got != want {
			t.Errorf("a data center without one: got %+v, want %+v", got, want)
		}
		if got := r.w.Controller("dc2"); got != (Controller{}) {
			t.Errorf("its controller: %+v", got)
		}
	})
}

func TestSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		r.say("one", active("www", 5))
		attempts := r.attempts.Load()
		r.changes.Store(0)
		r.w.Set(centers("dc1", "one", "dc2", "", "dc3", "two"))
		r.say("two", active("alt", 9))
		if got, want := r.w.VIP("dc3", "alt"), live(9, r.started); got != want {
			t.Errorf("a new data center: got %+v, want %+v", got, want)
		}
		if changes, n := r.changes.Load(), r.attempts.Load()-attempts; n != 1 || changes != 2 {
			t.Errorf("%d attempts, %d changes; want one of each, and one change for the call", n, changes)
		}

		// The controller moves: what the one before said stands, and what it says late is not heard.
		r.refuse("two", errRefused)
		old := r.controllers["one"].feed
		r.w.Set(centers("dc1", "two"))
		old.words <- &api.VIPs{Vips: []*api.VIP{active("www", 200)}}
		r.pass(29 * time.Second)
		r.want("www", live(5, r.started))
		if got := r.w.VIP("dc3", "alt"); got.Heard {
			t.Errorf("a data center that is gone: %+v", got)
		}
		r.refuse("two", nil)
		r.pass(2 * time.Second)
		r.want("www", VIP{Heard: true, Load: 255, Reason: `the controller has no VIP "www"`,
			Since: r.w.sites["dc1"].named})
		r.say("two", active("www", 8))
		r.want("www", live(8, time.Now()))

		r.w.Set(nil)
		r.pass(time.Hour)
		r.want("www", VIP{Reason: `no controller of data center "dc1" is watched`})
	})
}

func TestDialRefusesNetworks(t *testing.T) {
	_, err := dial(t.Context(), "192.0.2.1:9680", rpc.Security{})
	want := `address "192.0.2.1:9680": plain text stays on this machine: must be https://host:port, a unix socket or ` +
		`a loopback address`
	if fmt.Sprint(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
