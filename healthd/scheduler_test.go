package healthd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/healthd/check"
	"github.com/sluicelb/sluice/healthd/probe"
)

var usual = probe.Schedule{Interval: 2 * time.Second, Fast: 500 * time.Millisecond, Timeout: time.Second,
	Jitter: 200 * time.Millisecond, Rise: 2, Fall: 3}

// server is a fake backend, and the check that asks it. Without a set behaviour it passes at once.
type server struct {
	mu     sync.Mutex
	behave func(ctx context.Context) error
	starts []time.Time
	open   int // probes under way
	most   int // of open
}

func (s *server) Run(ctx context.Context) error {
	s.mu.Lock()
	s.starts = append(s.starts, time.Now())
	s.open++
	s.most = max(s.most, s.open)
	behave := s.behave
	s.mu.Unlock()
	var err error
	if behave != nil {
		err = behave(ctx)
	}
	s.mu.Lock()
	s.open--
	s.mu.Unlock()
	return err
}

func (s *server) set(behave func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behave = behave
}

func (s *server) probes() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.starts...)
}

func refuses(context.Context) error { return errors.New("connection refused") }

func swallows(ctx context.Context) error {
	<-ctx.Done()
	return fmt.Errorf("no answer: %w", ctx.Err())
}

// world is a scheduler that runs until its test ends. Make it inside a synctest bubble.
type world struct {
	*scheduler
	t *testing.T
}

func newWorld(t *testing.T, maxProbes int) world {
	t.Helper()
	s := newScheduler(slog.New(slog.DiscardHandler), newBoard(), maxProbes)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return world{s, t}
}

// asks is one check of backend web/NAME.
func asks(name string, s check.Check, when probe.Schedule) target {
	when.Spread = when.Fast
	return target{question: question{backend: backendKey{"web", name}, kind: "fake"}, schedule: when, check: s}
}

func (w world) want(targets ...target) {
	w.t.Helper()
	var want set
	seen := map[backendKey]bool{}
	for _, t := range targets {
		if !seen[t.question.backend] {
			seen[t.question.backend] = true
			want.backends = append(want.backends, t.question.backend)
		}
	}
	want.targets = targets
	if err := w.replace(w.t.Context(), want); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

// verdict is that of backend web/NAME.
func (w world) verdict(name string) verdict {
	w.board.mu.Lock()
	defer w.board.mu.Unlock()
	return w.board.verdicts[backendKey{"web", name}]
}

// passes lets time pass until backend web/NAME is h, and returns how long that took.
func (w world) passes(name string, h probe.Health, atMost time.Duration) time.Duration {
	w.t.Helper()
	start := time.Now()
	for {
		synctest.Wait()
		if w.verdict(name).health == h {
			return time.Since(start)
		}
		if time.Since(start) > atMost {
			w.t.Fatalf("%s is not %v after %v", name, h, atMost)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestVerdictTellsWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 100)
		s := &server{}
		w.want(asks("web1", s, probe.Schedule{Interval: 2 * time.Second, Fast: time.Second, Timeout: time.Second,
			Rise: 2,
			Fall: 3}))
		w.passes("web1", probe.Up, time.Minute)
		before := len(s.probes())
		s.set(refuses)
		w.passes("web1", probe.Down, time.Minute)
		failed := s.probes()[before:]
		want := verdict{probe.Down, "connection refused", failed[0], failed[2]}
		if got := w.verdict("web1"); got != want {
			t.Errorf("got  %v\nwant %v", got, want)
		}
		s.set(swallows) // another reason is not another verdict
		time.Sleep(10 * time.Second)
		want.reason = "no answer: context deadline exceeded"
		if got := w.verdict("web1"); got != want {
			t.Errorf("later: got  %v\nwant %v", got, want)
		}
	})
}

func TestReplaceKeepsWhatIsUnchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 100)
		one, two, three := &server{}, &server{behave: refuses}, &server{}
		w.want(asks("web1", one, usual), asks("web2", two, usual))
		w.passes("web1", probe.Up, time.Minute)
		w.passes("web2", probe.Down, time.Minute)
		kept, slow := w.verdict("web1"), w.verdict("web2")

		// web1 as it was, web2 with another timing, web3 new.
		w.board.takeNews()
		faster := usual
		faster.Interval, faster.Fast, faster.Rise = time.Second, 100*time.Millisecond, 1
		w.want(asks("web1", one, usual), asks("web2", two, faster), asks("web3", three, usual))
		if got := w.verdict("web1"); got != kept {
			t.Errorf("web1: got %v, want %v", got, kept)
		}
		if got := w.verdict("web2"); got != slow {
			t.Errorf("web2: got %v, want %v", got, slow)
		}
		if got := w.verdict("web3"); got.health != probe.Unknown {
			t.Errorf("web3: got %v before any probe", got)
		}
		if news := w.board.takeNews(); len(news) != 0 {
			t.Errorf("news of unchanged checks: %v", news)
		}
		two.set(nil)
		if took := w.passes("web2", probe.Up, time.Minute); took > time.Second {
			t.Errorf("web2 kept its old timing: up after %v", took)
		}
		w.passes("web3", probe.Up, time.Minute)

		// web1 goes while a probe is under way: it ends, and says nothing.
		one.set(swallows)
		for n := len(one.probes()); len(one.probes()) == n; {
			time.Sleep(time.Millisecond)
		}
		w.want(asks("web3", three, usual))
		if one.open != 0 {
			t.Error("the probe of a check that is gone goes on")
		}
		asked := len(one.probes())
		time.Sleep(time.Minute)
		if n := len(one.probes()); n != asked {
			t.Errorf("a check that is gone has run %d times", n-asked)
		}
		var names []string
		for _, v := range w.board.takeAll() {
			names = append(names, v.Backend)
		}
		if diff := cmp.Diff([]string{"web3"}, names); diff != "" {
			t.Errorf("verdicts (-want +got):\n%s", diff)
		}
	})
}

// What several checks say together.
func TestVerdictOfSeveralChecks(t *testing.T) {
	epoch := time.Unix(1_700_000_000, 0)
	at := func(s int) time.Time { return epoch.Add(time.Duration(s) * time.Second) }
	// is a check, of the service unless it says icmp. It has been since t and was detected a second later.
	is := func(h probe.Health, says string, t int) *checkStatus {
		return &checkStatus{Status: probe.Status{Health: h, Failure: says, Since: at(t), DetectedAt: at(t + 1)}}
	}
	icmp := func(c *checkStatus) *checkStatus {
		c.host = true
		return c
	}
	unasked := func(h probe.Health, t int) *checkStatus {
		c := is(h, "what it said before", 0)
		c.Unchecked, c.UncheckedSince, c.UncheckedAt = fmt.Sprint("not asked ", t), at(t), at(t+1)
		return c
	}
	once := func(h probe.Health) *checkStatus { // an accident
		c := is(h, "", 5)
		c.NotAsked = "not asked: too many open files"
		return c
	}
	const up, failing, down, unknown = probe.Up, probe.Failing, probe.Down, probe.Unknown
	long := strings.Repeat("x", 200)
	for _, tt := range []struct {
		name   string
		fallen bool
		checks []*checkStatus
		want   string // health: reason since detected; empty: none
	}{
		{"one up", false, []*checkStatus{is(up, "", 1)}, "up: all checks pass 1 2"},
		{"all up, the last counts", false, []*checkStatus{is(up, "", 3), icmp(is(up, "", 1))},
			"up: all checks pass 3 4"},
		{"up, and an accident", false, []*checkStatus{once(up)}, "up: all checks pass 5 6"},
		{"not decided", false, []*checkStatus{is(up, "", 1), is(unknown, "503", 2)}, ""},
		{"one down, the first counts", false, []*checkStatus{is(up, "", 9), is(down, "a", 5), is(down, "b", 3),
			is(unknown, "c", 1)}, "down: a; b 3 4"},
		{"dead beats failing", false, []*checkStatus{is(failing, "503", 1), is(down, "refused", 2)},
			"down: 503; refused 2 3"},
		{"one failing", false, []*checkStatus{is(up, "", 9), is(failing, "503", 1), is(unknown, "", 2)},
			"failing: 503 1 2"},
		{"silent to pings, and that is all there is", false, []*checkStatus{icmp(is(down, "no echo", 1))},
			"down: no echo 1 2"},
		{"silent to pings, and answers", false, []*checkStatus{icmp(is(down, "no echo", 1)), is(up, "", 2)},
			"failing: no echo 1 2"},
		{"silent to pings, and answers wrongly", false,
			[]*checkStatus{icmp(is(down, "no echo", 1)), is(failing, "503", 2)},
			"failing: no echo; 503 1 2"},
		{"silent to pings, and not decided", false, []*checkStatus{icmp(is(down, "no echo", 1)), is(unknown, "", 2)},
			""},
		{"silent to pings, and cannot be asked", false, []*checkStatus{icmp(is(down, "no echo", 1)), unasked(down, 2)},
			"failing: no echo 1 2"},
		{"silent to pings, and dead", false, []*checkStatus{icmp(is(down, "no echo", 1)), is(down, "refused", 2)},
			"down: no echo; refused 2 3"},
		{"dead, and echoes", false, []*checkStatus{icmp(is(up, "", 1)), is(down, "refused", 2)}, "down: refused 2 3"},

		{"cannot be asked", false, []*checkStatus{unasked(unknown, 4)}, "unchecked: not asked 4 4 5"},
		{"cannot be asked any more", true, []*checkStatus{unasked(up, 4)}, "unchecked: not asked 4 4 5"},
		{"was dead and cannot be asked any more", true, []*checkStatus{unasked(down, 4)}, "unchecked: not asked 4 4 5"},
		{"one of them cannot be asked", false, []*checkStatus{is(up, "", 9), unasked(unknown, 6), unasked(up, 4)},
			"unchecked: not asked 6; not asked 4 4 5"},
		{"one of them cannot be asked, one is not decided", false,
			[]*checkStatus{is(unknown, "", 9), unasked(unknown, 4)},
			"unchecked: not asked 4 4 5"},
		{"one of them cannot be asked, one fails", false, []*checkStatus{is(failing, "503", 9), unasked(down, 4)},
			"failing: 503 9 10"},
		{"one of them cannot be asked, one is dead", false, []*checkStatus{is(down, "refused", 9), unasked(up, 4)},
			"down: refused 9 10"},

		{"has fallen and passes all but what cannot be asked", true, []*checkStatus{is(up, "", 9), unasked(unknown, 4)},
			"up: the other checks pass; not asked 4 9 10"},
		{"has fallen, and one is not decided", true, []*checkStatus{is(up, "", 9), is(unknown, "", 1),
			unasked(unknown, 4)},
			"unchecked: not asked 4 4 5"},
		{"has fallen by what cannot be asked any more", true, []*checkStatus{is(up, "", 9), unasked(failing, 4)},
			"unchecked: not asked 4 4 5"},

		{"too much to say", false, []*checkStatus{is(down, long, 1), is(down, long, 2)},
			"down: " + long + "; " + strings.Repeat("x", 51) + "... 1 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &backend{checks: tt.checks}
			v, ok := b.verdict(at(100), tt.fallen)
			got := ""
			if ok {
				got = fmt.Sprintf("%v: %s %v %v", v.health, v.reason, v.since.Unix()-epoch.Unix(),
					v.detectedAt.Unix()-epoch.Unix())
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// A backend of which one check can never be asked comes back when it has fallen by another.
func TestFallenAndPartlyUnchecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 100)
		http, icmp := &server{}, &server{behave: func(context.Context) error {
			return fmt.Errorf("pinging: %w: no right", check.ErrNotAsked)
		}}
		a, b := asks("web1", http, usual), asks("web1", icmp, usual)
		b.kind = "icmp"
		w.want(a, b)
		told := func(want string) {
			t.Helper()
			time.Sleep(time.Minute)
			synctest.Wait()
			var got []string
			for _, v := range w.board.takeNews() {
				got = append(got, v.Health.String()+" "+v.Reason)
			}
			if diff := cmp.Diff([]string{want}, got); diff != "" {
				t.Errorf("news (-want +got):\n%s", diff)
			}
		}
		told("HEALTH_UNCHECKED pinging: not asked: no right")
		http.set(refuses)
		told("HEALTH_DOWN connection refused")
		http.set(nil)
		told("HEALTH_UP the other checks pass; pinging: not asked: no right")
		w.want(a) // a set without the check
		time.Sleep(time.Minute)
		synctest.Wait()
		if v := w.verdict("web1"); v.health != probe.Up || v.reason != "all checks pass" {
			t.Errorf("got %v", v)
		}
	})
}

// A set that is taken over changes no verdict on the way, whatever each of its checks would say alone.
func TestReplaceJudgesTheWholeSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 100)
		noRight := func(context.Context) error { return fmt.Errorf("pinging: %w: no right", check.ErrNotAsked) }
		var targets []target
		for _, b := range []struct {
			name       string
			icmp, http func(context.Context) error
		}{{"web1", refuses, refuses}, {"web2", noRight, refuses}, {"web3", noRight, nil}} {
			icmp, http := asks(b.name, &server{behave: b.icmp}, usual), asks(b.name, &server{behave: b.http}, usual)
			icmp.kind = "icmp"
			targets = append(targets, icmp, http)
		}
		w.want(targets...)
		says := func() string {
			time.Sleep(time.Minute)
			synctest.Wait()
			return fmt.Sprint(w.verdict("web1").health, w.verdict("web2").health, w.verdict("web3").health)
		}
		if got, want := says(), "down down unchecked"; got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		w.board.takeNews()
		for range 3 {
			w.want(targets...)
			if news := w.board.takeNews(); len(news) != 0 {
				t.Errorf("news of the same set: %v", news)
			}
		}
		if got, want := says(), "down down unchecked"; got != want {
			t.Errorf("later: got %s, want %s", got, want)
		}
	})
}

func TestAllChecksMustPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 100)
		http, icmp := &server{}, &server{}
		a, b := asks("web1", http, usual), asks("web1", icmp, usual)
		b.kind = "other"
		says := func(want string) {
			t.Helper()
			time.Sleep(time.Minute)
			synctest.Wait()
			v := w.verdict("web1")
			if got := v.health.String() + ": " + v.reason; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		w.want(a)
		says("up: all checks pass")
		icmp.set(refuses)
		w.want(a, b) // takes nobody out before it has failed
		if v := w.verdict("web1"); v.health != probe.Up {
			t.Errorf("a check that was just added: %v", v)
		}
		says("down: connection refused")
		http.set(func(context.Context) error { return errors.New("status 503") })
		says("down: status 503; connection refused")
		icmp.set(nil)
		says("down: status 503")
		http.set(nil)
		says("up: all checks pass")
		if err := w.replace(t.Context(), set{backends: []backendKey{{"web", "web1"}, {"web", "web2"}}}); err != nil {
			t.Fatal(err)
		}
		says("up: no checks")
	})
}
