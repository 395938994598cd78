package healthd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/healthd/check"
)

var usual = timing{interval: 2 * time.Second, fast: 500 * time.Millisecond, timeout: time.Second, jitter: 200 * time.Millisecond, rise: 2, fall: 3}

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

func answersAfter(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// world is a scheduler that runs until its test ends. Make it inside a synctest bubble.
type world struct {
	*scheduler
	t *testing.T
}

func newWorld(t *testing.T, maxProbes int, options ...func(*scheduler)) world {
	t.Helper()
	s := newScheduler(slog.New(slog.DiscardHandler), newBoard(), maxProbes)
	for _, o := range options {
		o(s)
	}
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
func asks(name string, s check.Check, when timing) target {
	return target{question{backend: backendKey{"web", name}, kind: "fake"}, when, s}
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
func (w world) passes(name string, h health, atMost time.Duration) time.Duration {
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

// A verdict takes no longer than interval + fall x fast + timeout, however a server dies, at whatever
// moment, and whichever of the three times is the longest.
func TestDetectionTime(t *testing.T) {
	ms := time.Millisecond
	timings := []timing{
		usual,
		{interval: 2000 * ms, fast: 500 * ms, timeout: 5000 * ms, jitter: 200 * ms, rise: 2, fall: 3},
		{interval: 2000 * ms, fast: 2000 * ms, timeout: 1000 * ms, jitter: 0, rise: 1, fall: 1},
		{interval: 1000 * ms, fast: 100 * ms, timeout: 3000 * ms, jitter: 1000 * ms, rise: 5, fall: 5},
		{interval: 100 * ms, fast: 50 * ms, timeout: 20 * ms, jitter: 10 * ms, rise: 3, fall: 2},
	}
	deaths := map[string]func(context.Context) error{"refuses": refuses, "swallows": swallows}
	for i, when := range timings {
		for how, dies := range deaths {
			t.Run(fmt.Sprint(i, how), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 100)
					s := &server{}
					latency := min(20*ms, when.timeout/2)
					s.set(answersAfter(latency))
					w.want(asks("web1", s, when))
					first := time.Duration(when.rise)*when.fast + latency + ms
					if took := w.passes("web1", up, first); took > first {
						t.Errorf("first verdict after %v, want at most %v", took, first)
					}
					for range 50 {
						time.Sleep(rand.N(3 * when.interval))
						s.set(dies)
						// A probe that the server took before its death still passes.
						bound := latency + when.interval + time.Duration(when.fall)*when.fast + when.timeout
						if took := w.passes("web1", down, bound); took > bound {
							t.Errorf("down after %v, want at most %v", took, bound)
						}
						time.Sleep(rand.N(3 * when.interval))
						s.set(answersAfter(latency))
						bound = when.interval + time.Duration(when.rise)*when.fast + when.timeout
						if took := w.passes("web1", up, bound); took > bound {
							t.Errorf("up after %v, want at most %v", took, bound)
						}
					}
				})
			})
		}
	}
}

func TestVerdictTellsWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 100)
		s := &server{}
		w.want(asks("web1", s, timing{interval: 2 * time.Second, fast: time.Second, timeout: time.Second, rise: 2, fall: 3}))
		w.passes("web1", up, time.Minute)
		before := len(s.probes())
		s.set(refuses)
		w.passes("web1", down, time.Minute)
		failed := s.probes()[before:]
		want := verdict{down, "connection refused", failed[0], failed[2]}
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

func TestIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 100)
		s := &server{}
		w.want(asks("web1", s, usual))
		time.Sleep(10 * time.Minute)
		shortest, longest := time.Hour, time.Duration(0)
		starts := s.probes()
		for i := usual.rise; i < len(starts); i++ {
			gap := starts[i].Sub(starts[i-1])
			shortest, longest = min(shortest, gap), max(longest, gap)
		}
		if low, high := usual.interval-usual.jitter, usual.interval; shortest < low || longest > high || longest-shortest < usual.jitter/2 {
			t.Errorf("probes come every %v to %v, want %v to %v, and spread", shortest, longest, low, high)
		}
	})
}

// First probes are spread over the fast interval, so that a start does not ask everybody at once.
func TestFirstProbesAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5000)
		start := time.Now()
		var (
			mu     sync.Mutex
			tenths [10]int
			first  = map[string]bool{}
		)
		var targets []target
		for i := range 5000 {
			name := fmt.Sprint("web", i)
			targets = append(targets, asks(name, &server{behave: func(context.Context) error {
				mu.Lock()
				defer mu.Unlock()
				if !first[name] {
					first[name] = true
					tenths[min(9, time.Since(start)*10/usual.fast)]++
				}
				return nil
			}}, usual))
		}
		w.want(targets...)
		time.Sleep(usual.fast)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		for i, n := range tenths {
			if n < 350 || n > 650 {
				t.Errorf("tenth %d of the fast interval has %d of 5000 first probes, want about 500: %v", i, n, tenths)
			}
		}
	})
}

func TestReplaceKeepsWhatIsUnchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 100)
		one, two, three := &server{}, &server{behave: refuses}, &server{}
		w.want(asks("web1", one, usual), asks("web2", two, usual))
		w.passes("web1", up, time.Minute)
		w.passes("web2", down, time.Minute)
		kept, slow := w.verdict("web1"), w.verdict("web2")

		// web1 as it was, web2 with another timing, web3 new.
		w.board.takeNews()
		faster := usual
		faster.interval, faster.fast, faster.rise = time.Second, 100*time.Millisecond, 1
		w.want(asks("web1", one, usual), asks("web2", two, faster), asks("web3", three, usual))
		if got := w.verdict("web1"); got != kept {
			t.Errorf("web1: got %v, want %v", got, kept)
		}
		if got := w.verdict("web2"); got != slow {
			t.Errorf("web2: got %v, want %v", got, slow)
		}
		if got := w.verdict("web3"); got.health != unknown {
			t.Errorf("web3: got %v before any probe", got)
		}
		if news := w.board.takeNews(); len(news) != 0 {
			t.Errorf("news of unchanged checks: %v", news)
		}
		two.set(nil)
		if took := w.passes("web2", up, time.Minute); took > time.Second {
			t.Errorf("web2 kept its old timing: up after %v", took)
		}
		w.passes("web3", up, time.Minute)

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
		if v := w.verdict("web1"); v.health != up {
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

func TestFlappingWithoutRunsChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 100)
		s := &server{}
		w.want(asks("web1", s, usual))
		w.passes("web1", up, time.Minute)
		var n atomic.Int64
		s.set(func(context.Context) error { // two failures, then a pass
			if n.Add(1)%3 == 0 {
				return nil
			}
			return errors.New("status 503")
		})
		before := w.verdict("web1")
		time.Sleep(10 * time.Minute)
		if got := w.verdict("web1"); got != before {
			t.Errorf("got %v, want %v", got, before)
		}
	})
}

func TestWhatWasNotAskedIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 100)
		s, never := &server{}, &server{}
		noDescriptors := func(context.Context) error { return fmt.Errorf("%w: too many open files", check.ErrNotAsked) }
		never.set(noDescriptors)
		w.want(asks("web1", s, usual), asks("web2", never, usual))
		w.passes("web1", up, time.Minute)
		s.set(noDescriptors)
		time.Sleep(time.Minute)
		for name, want := range map[string]health{"web1": up, "web2": unknown} {
			if got := w.verdict(name).health; got != want {
				t.Errorf("%s: got %v, want %v", name, got, want)
			}
		}
		if n := len(never.probes()); n < 100 || n > 150 {
			t.Errorf("%d attempts in a minute, want one per fast interval", n)
		}
	})
}

// The clock jumps while a probe waits, as it does when the process is stopped and goes on, and the probe's
// timeout is over when it does.
func TestLateProberFailsNobody(t *testing.T) {
	var skew atomic.Int64
	stopped := func(d time.Duration, then error) func(context.Context) error {
		return func(context.Context) error {
			skew.Add(int64(d))
			return then
		}
	}
	timeout := fmt.Errorf("no answer: %w", context.DeadlineExceeded)
	for _, tt := range []struct {
		name   string
		behave func(context.Context) error
		want   health
	}{
		{"stopped past the timeout", stopped(3*time.Second, timeout), up},
		{"stopped for so long that the server gave up", stopped(3*time.Second, errors.New("connection reset by peer")), up},
		{"a pause in which the timeout ended", stopped(300*time.Millisecond, timeout), up},
		{"a pause, and refused", stopped(300*time.Millisecond, errors.New("connection refused")), down},
		{"a pause after nearly all of the timeout", func(ctx context.Context) error {
			<-ctx.Done()
			skew.Add(int64(50 * time.Millisecond))
			return ctx.Err()
		}, down},
		{"half of every second lost, and no answer", func(ctx context.Context) error {
			deadline, _ := ctx.Deadline()
			time.Sleep(time.Until(deadline) / 2)
			skew.Add(int64(time.Until(deadline)))
			return timeout
		}, down},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 100, func(s *scheduler) {
					s.now = func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
				})
				s := &server{}
				w.want(asks("web1", s, usual))
				w.passes("web1", up, time.Minute)
				s.set(tt.behave)
				if tt.want == up {
					for range 20 { // one such pause after the other, each with one probe under way
						var calls atomic.Int64
						s.set(func(ctx context.Context) error {
							if calls.Add(1) == 1 {
								return tt.behave(ctx)
							}
							return answersAfter(100 * time.Millisecond)(ctx)
						})
						for calls.Load() < 2 {
							time.Sleep(time.Millisecond)
						}
						if got := w.verdict("web1").health; got != up {
							t.Fatalf("it is %v", got)
						}
					}
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := w.verdict("web1"); got.health != tt.want {
					t.Errorf("got %v: %s, want %v", got.health, got.reason, tt.want)
				}
			})
		})
	}
}

// The reason of a verdict names the timeout as it was configured, even when the last probe had longer.
func TestReasonNamesTheTimeout(t *testing.T) {
	for _, tt := range []struct {
		name string
		late int // probes that come too late to tell anything, before the server is silent
		want string
	}{
		{"in time", 0, "pinging: no answer within 1s"},
		{"late once", 1, "pinging: no answer within 2s (timeout 1s, repeated with more time: this prober was late)"},
		{"late for long", 5, "pinging: no answer within 8s (timeout 1s, repeated with more time: this prober was late)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var skew, calls atomic.Int64
				w := newWorld(t, 100, func(s *scheduler) {
					s.now = func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
				})
				s := &server{}
				w.want(asks("web1", s, timing{interval: 2 * time.Second, fast: 2 * time.Second, timeout: time.Second, rise: 1, fall: 1}))
				w.passes("web1", up, time.Minute)
				s.set(func(ctx context.Context) error {
					deadline, _ := ctx.Deadline()
					silent := fmt.Errorf("pinging: %w", noAnswerWithin{time.Until(deadline)})
					if calls.Add(1) <= int64(tt.late) {
						skew.Add(int64(10 * time.Second)) // stopped past the timeout
						return silent
					}
					<-ctx.Done()
					return silent
				})
				w.passes("web1", down, time.Minute)
				if got := w.verdict("web1").reason; got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// noAnswerWithin is what the checks return when the time they were given is over.
type noAnswerWithin struct{ given time.Duration }

func (e noAnswerWithin) Error() string { return fmt.Sprintf("no answer within %v", e.given) }
func (e noAnswerWithin) Unwrap() error { return context.DeadlineExceeded }

func TestBoundOnProbesUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10)
		dead := &server{behave: swallows}
		var targets []target
		for i := range 40 {
			targets = append(targets, asks(fmt.Sprint("dead", i), dead, usual))
		}
		w.want(append(targets, asks("web1", &server{}, usual))...)
		w.passes("web1", up, time.Minute) // in its turn
		for i := range 40 {
			w.passes(fmt.Sprint("dead", i), down, time.Minute)
		}
		if dead.most != 10 {
			t.Errorf("%d probes at a time, want 10", dead.most)
		}
	})
}

// A server that answers within its timeout but not within the fast interval is up, and is not asked
// all the time for it.
func TestSlowServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10)
		s := &server{behave: answersAfter(800 * time.Millisecond)}
		w.want(asks("web1", s, usual))
		w.passes("web1", up, time.Minute)
		asked := len(s.probes())
		time.Sleep(time.Minute)
		if got := w.verdict("web1").health; got != up {
			t.Errorf("got %v", got)
		}
		if n := len(s.probes()) - asked; n > 60 {
			t.Errorf("asked %d times in a minute at an interval of %v", n, usual.interval)
		}
		if s.most > 2 {
			t.Errorf("asked %d times at once", s.most)
		}
	})
}

// No more than one probe per interval goes to a server that is known to be down.
func TestDeadServerIsAskedAtItsInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10)
		s := &server{behave: swallows}
		w.want(asks("web1", s, usual))
		w.passes("web1", down, time.Minute)
		asked := len(s.probes())
		time.Sleep(time.Minute)
		if n := len(s.probes()) - asked; n > 35 {
			t.Errorf("asked %d times in a minute at an interval of %v", n, usual.interval)
		}
	})
}

func TestQueueOrder(t *testing.T) {
	var q queue
	epoch := time.Unix(0, 0)
	var all []*job
	for i := range 200 {
		j := &job{place: nowhere, due: epoch.Add(rand.N(time.Hour))}
		j.backend = &backend{key: backendKey{name: fmt.Sprint(i)}}
		all = append(all, j)
		q.set(j)
	}
	for _, j := range all {
		switch rand.IntN(3) {
		case 0:
			q.remove(j)
			q.remove(j) // gone is gone
		case 1:
			j.due = epoch.Add(rand.N(time.Hour))
			q.set(j)
		}
	}
	last := epoch
	var late []string
	for len(q) > 0 {
		j := q[0]
		q.remove(j)
		if j.due.Before(last) {
			late = append(late, j.backend.key.String())
		}
		last = j.due
	}
	if late != nil {
		t.Errorf("out of order: %s", strings.Join(late, " "))
	}
}
