package probe

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicelb/sluice/healthd/check"
)

var usual = Schedule{Interval: 2 * time.Second, Fast: 500 * time.Millisecond, Timeout: time.Second,
	Jitter: 200 * time.Millisecond, Rise: 2, Fall: 3}

// server is a fake server, and the check that asks it. Without a set behaviour it passes at once.
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

func (s *server) underWay() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

func refuses(context.Context) error { return errors.New("connection refused") }

// wrongly is an answer that is not as it should be.
type wrongly string

func (e wrongly) Error() string      { return string(e) }
func (wrongly) Is(target error) bool { return target == check.ErrWrongAnswer }
func sick(context.Context) error     { return wrongly("status 503") }
func unreachable(context.Context) error {
	return fmt.Errorf("%w: network is unreachable", check.ErrNotAsked)
}

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

// world is an engine that runs until its test ends, and what it reports. Make it inside a synctest bubble.
type world struct {
	*Engine
	t *testing.T

	mu     sync.Mutex
	status map[name]Status
}

type name string

func (n name) String() string { return string(n) }

func newWorld(t *testing.T, maxProbes int, options ...func(*Config)) *world {
	t.Helper()
	c := Config{MaxProbes: maxProbes}
	for _, o := range options {
		o(&c)
	}
	w := &world{Engine: New(c), t: t, status: map[name]Status{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w
}

// asks is one check; its first probe is spread over the fast interval unless when says otherwise.
func asks(n name, s check.Check, when Schedule) Target {
	if when.Spread == 0 {
		when.Spread = when.Fast
	}
	return Target{Key: n, Schedule: when, Check: s}
}

func (w *world) want(targets ...Target) {
	w.t.Helper()
	for i := range targets {
		n := targets[i].Key.(name)
		targets[i].Tell = func(s Status) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.status[n] = s
		}
	}
	if err := w.Replace(w.t.Context(), targets, nil); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

// verdict is what was last reported of n.
func (w *world) verdict(n name) Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status[n]
}

// passes lets time pass until n is h, and returns how long that took.
func (w *world) passes(n name, h Health, atMost time.Duration) time.Duration {
	w.t.Helper()
	start := time.Now()
	for {
		synctest.Wait()
		if w.verdict(n).Health == h {
			return time.Since(start)
		}
		if time.Since(start) > atMost {
			w.t.Fatalf("%s is not %v after %v", n, h, atMost)
		}
		time.Sleep(time.Millisecond)
	}
}

// A verdict takes no longer than interval + fall x fast + timeout, however a server dies, at whatever
// moment, and whichever of the three times is the longest.
func TestDetectionTime(t *testing.T) {
	ms := time.Millisecond
	timings := []Schedule{
		usual,
		{Interval: 2000 * ms, Fast: 500 * ms, Timeout: 5000 * ms, Jitter: 200 * ms, Rise: 2, Fall: 3},
		{Interval: 2000 * ms, Fast: 2000 * ms, Timeout: 1000 * ms, Jitter: 0, Rise: 1, Fall: 1},
		{Interval: 1000 * ms, Fast: 100 * ms, Timeout: 3000 * ms, Jitter: 1000 * ms, Rise: 5, Fall: 5},
		{Interval: 100 * ms, Fast: 50 * ms, Timeout: 20 * ms, Jitter: 10 * ms, Rise: 3, Fall: 2},
	}
	deaths := map[string]func(context.Context) error{"refuses": refuses, "swallows": swallows}
	for i, when := range timings {
		for how, dies := range deaths {
			t.Run(fmt.Sprint(i, how), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 100)
					s := &server{}
					latency := min(20*ms, when.Timeout/2)
					s.set(answersAfter(latency))
					w.want(asks("web1", s, when))
					first := time.Duration(when.Rise)*when.Fast + latency + ms
					if took := w.passes("web1", Up, first); took > first {
						t.Errorf("first verdict after %v, want at most %v", took, first)
					}
					for range 50 {
						time.Sleep(rand.N(3 * when.Interval))
						s.set(dies)
						// A probe that the server took before its death still passes.
						bound := latency + when.Interval + time.Duration(when.Fall)*when.Fast + when.Timeout
						if took := w.passes("web1", Down, bound); took > bound {
							t.Errorf("down after %v, want at most %v", took, bound)
						}
						time.Sleep(rand.N(3 * when.Interval))
						s.set(answersAfter(latency))
						bound = when.Interval + time.Duration(when.Rise)*when.Fast + when.Timeout
						if took := w.passes("web1", Up, bound); took > bound {
							t.Errorf("up after %v, want at most %v", took, bound)
						}

						// One that fails is down as soon when it dies, and failing again when it wakes up so.
						time.Sleep(rand.N(3 * when.Interval))
						s.set(sick)
						bound = latency + when.Interval + time.Duration(when.Fall)*when.Fast + when.Timeout
						if took := w.passes("web1", Failing, bound); took > bound {
							t.Errorf("failing after %v, want at most %v", took, bound)
						}
						time.Sleep(rand.N(3 * when.Interval))
						s.set(dies)
						if took := w.passes("web1", Down, bound); took > bound {
							t.Errorf("failing, then down after %v, want at most %v", took, bound)
						}
						time.Sleep(rand.N(3 * when.Interval))
						s.set(sick)
						bound = when.Interval + time.Duration(when.Rise)*when.Fast + when.Timeout
						if took := w.passes("web1", Failing, bound); took > bound {
							t.Errorf("failing again after %v, want at most %v", took, bound)
						}
						s.set(answersAfter(latency))
						w.passes("web1", Up, time.Hour)
					}
				})
			})
		}
	}
}

func TestIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 100)
		s := &server{}
		w.want(asks("web1", s, usual))
		time.Sleep(10 * time.Minute)
		shortest, longest := time.Hour, time.Duration(0)
		starts := s.probes()
		for i := usual.Rise; i < len(starts); i++ {
			gap := starts[i].Sub(starts[i-1])
			shortest, longest = min(shortest, gap), max(longest, gap)
		}
		if low, high := usual.Interval-usual.Jitter, usual.Interval; shortest < low || longest > high ||
			longest-shortest < usual.Jitter/2 {
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
			first  = map[name]bool{}
		)
		var targets []Target
		for i := range 5000 {
			n := name(fmt.Sprint("web", i))
			targets = append(targets, asks(n, &server{behave: func(context.Context) error {
				mu.Lock()
				defer mu.Unlock()
				if !first[n] {
					first[n] = true
					tenths[min(9, time.Since(start)*10/usual.Fast)]++
				}
				return nil
			}}, usual))
		}
		w.want(targets...)
		time.Sleep(usual.Fast)
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

func TestFlappingWithoutRunsChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 100)
		s := &server{}
		w.want(asks("web1", s, usual))
		w.passes("web1", Up, time.Minute)
		var n atomic.Int64
		s.set(func(context.Context) error { // two failures, then a pass
			if n.Add(1)%3 == 0 {
				return nil
			}
			return errors.New("status 503")
		})
		before := w.verdict("web1")
		time.Sleep(10 * time.Minute)
		got := w.verdict("web1")
		got.Failure, got.Last = before.Failure, before.Last // of probes, not of the verdict
		if got != before {
			t.Errorf("got %v, want %v", got, before)
		}
	})
}

// The verdict tells of the kind that it is of, and when it began.
func TestStatusOfAVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 100)
		s := &server{}
		w.want(asks("web1", s, usual))
		w.passes("web1", Up, time.Minute)
		is := func(h Health, failure string, since, detected time.Time) {
			t.Helper()
			got := w.verdict("web1")
			if got.Health != h || got.Failure != failure || !got.Since.Equal(since) || !got.DetectedAt.Equal(detected) {
				t.Errorf("got  %v: %s, since %v, detected at %v\nwant %v: %s, since %v, detected at %v",
					got.Health, got.Failure, got.Since, got.DetectedAt, h, failure, since, detected)
			}
		}
		// answers lets the server give these, one for each probe, and returns when they came.
		answers := func(behaviours ...func(context.Context) error) []time.Time {
			t.Helper()
			before := len(s.probes())
			var n atomic.Int64
			s.set(func(ctx context.Context) error {
				return behaviours[min(int(n.Add(1)), len(behaviours))-1](ctx)
			})
			for n.Load() < int64(len(behaviours)) {
				time.Sleep(time.Millisecond)
			}
			synctest.Wait()
			return s.probes()[before:]
		}
		pass := func(context.Context) error { return nil }
		at := answers(sick, refuses, refuses)
		is(Failing, "status 503", at[0], at[2])
		more := answers(refuses)
		is(Down, "connection refused", at[1], more[0])
		at = answers(sick, pass)
		is(Failing, "status 503", at[0], at[1])
		more = answers(pass)
		is(Up, "status 503", at[1], more[0])
	})
}

// What servers say is cut to a line.
func TestFailureIsOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 100)
		garbage := "\x1b[31m" + strings.Repeat("x", 60_000)
		said := func(err error) *server {
			return &server{behave: func(context.Context) error { return err }}
		}
		w.want(asks("web1", said(wrongly(garbage)), usual),
			asks("web2", said(fmt.Errorf("%w: %s", check.ErrNotAsked, garbage)), usual))
		w.passes("web1", Failing, time.Minute)
		if got, want := w.verdict("web1").Failure, `\x1b[31m`+strings.Repeat("x", 245)+"..."; got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		if got, want := w.verdict("web2").NotAsked, `not asked: \x1b[31m`+strings.Repeat("x", 234)+"..."; got != want {
			t.Errorf("got  %q\nwant %q", got, want)
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
		w.passes("web1", Up, time.Minute)
		s.set(noDescriptors)
		time.Sleep(time.Minute)
		for n, want := range map[name]Health{"web1": Up, "web2": Unknown} {
			got := w.verdict(n)
			if because := "not asked: too many open files"; got.Health != want || got.Unchecked != because ||
				got.NotAsked != because {
				t.Errorf("%s: got %+v; want %v, unchecked because %s", n, got, want, because)
			}
		}
		if n := len(never.probes()); n < 100 || n > 150 {
			t.Errorf("%d attempts in a minute, want one per fast interval", n)
		}
		// next is when the next n probes came.
		next := func(n int, behave func(context.Context) error) []time.Time {
			before := len(s.probes())
			s.set(behave)
			for len(s.probes()) < before+n {
				time.Sleep(time.Millisecond)
			}
			synctest.Wait()
			return s.probes()[before:]
		}
		next(3, nil)
		next(1, unreachable) // an accident
		if got := w.verdict("web1"); got.Health != Up || got.Unchecked != "" ||
			got.NotAsked != "not asked: network is unreachable" {
			t.Errorf("not asked once: %+v", got)
		}
		next(1, nil)
		if got := w.verdict("web1"); got.Health != Up || got.Unchecked != "" || got.NotAsked != "" {
			t.Errorf("asked again: %+v", got)
		}
		at := next(usual.Fall, unreachable)
		because := "not asked: network is unreachable"
		if got := w.verdict("web1"); got.Health != Up || got.Unchecked != because || !got.UncheckedSince.Equal(at[0]) ||
			!got.UncheckedAt.Equal(at[usual.Fall-1]) {
			t.Errorf("not asked %d times: %+v, want unchecked since %v, from %v on", usual.Fall, got, at[0],
				at[usual.Fall-1])
		}
		next(1, refuses) // it may be dead: what was up long ago is not called so again
		if got := w.verdict("web1"); got.Health != Up || got.Unchecked != because || got.NotAsked != "" {
			t.Errorf("asked again, and refused: %+v", got)
		}
		next(1, nil)
		if got := w.verdict("web1"); got.Health != Up || got.Unchecked != "" {
			t.Errorf("asked again: %+v", got)
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
		want   Health
	}{
		{"stopped past the timeout", stopped(3*time.Second, timeout), Up},
		{"stopped for so long that the server gave up", stopped(3*time.Second, errors.New("connection reset by peer")),
			Up},
		{"a pause in which the timeout ended", stopped(300*time.Millisecond, timeout), Up},
		{"a pause, and refused", stopped(300*time.Millisecond, errors.New("connection refused")), Down},
		{"a pause after nearly all of the timeout", func(ctx context.Context) error {
			<-ctx.Done()
			skew.Add(int64(50 * time.Millisecond))
			return ctx.Err()
		}, Down},
		{"half of every second lost, and no answer", func(ctx context.Context) error {
			deadline, _ := ctx.Deadline()
			time.Sleep(time.Until(deadline) / 2)
			skew.Add(int64(time.Until(deadline)))
			return timeout
		}, Down},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 100, func(c *Config) {
					c.Now = func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
				})
				s := &server{}
				w.want(asks("web1", s, usual))
				w.passes("web1", Up, time.Minute)
				s.set(tt.behave)
				if tt.want == Up {
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
						if got := w.verdict("web1").Health; got != Up {
							t.Fatalf("it is %v", got)
						}
					}
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := w.verdict("web1"); got.Health != tt.want {
					t.Errorf("got %v: %s, want %v", got.Health, got.Failure, tt.want)
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
		{"late for long", 5,
			"pinging: no answer within 8s (timeout 1s, repeated with more time: this prober was late)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var skew, calls atomic.Int64
				w := newWorld(t, 100, func(c *Config) {
					c.Now = func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
				})
				s := &server{}
				w.want(asks("web1", s, Schedule{Interval: 2 * time.Second, Fast: 2 * time.Second, Timeout: time.Second,
					Rise: 1,
					Fall: 1}))
				w.passes("web1", Up, time.Minute)
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
				w.passes("web1", Down, time.Minute)
				if got := w.verdict("web1").Failure; got != tt.want {
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
		var targets []Target
		for i := range 40 {
			targets = append(targets, asks(name(fmt.Sprint("dead", i)), dead, usual))
		}
		w.want(append(targets, asks("web1", &server{}, usual))...)
		w.passes("web1", Up, time.Minute) // in its turn
		for i := range 40 {
			w.passes(name(fmt.Sprint("dead", i)), Down, time.Minute)
		}
		if dead.most != 10 {
			t.Errorf("%d probes at a time, want 10", dead.most)
		}
	})
}

// A server that answers within its timeout but not within the fast interval is Up, and is not asked
// all the time for it.
func TestSlowServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10)
		s := &server{behave: answersAfter(800 * time.Millisecond)}
		w.want(asks("web1", s, usual))
		w.passes("web1", Up, time.Minute)
		asked := len(s.probes())
		time.Sleep(time.Minute)
		if got := w.verdict("web1").Health; got != Up {
			t.Errorf("got %v", got)
		}
		if n := len(s.probes()) - asked; n > 60 {
			t.Errorf("asked %d times in a minute at an interval of %v", n, usual.Interval)
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
		w.passes("web1", Down, time.Minute)
		asked := len(s.probes())
		time.Sleep(time.Minute)
		if n := len(s.probes()) - asked; n > 35 {
			t.Errorf("asked %d times in a minute at an interval of %v", n, usual.Interval)
		}
	})
}

func TestQueueOrder(t *testing.T) {
	var q queue
	epoch := time.Unix(0, 0)
	var all []*job
	for i := range 200 {
		j := &job{place: nowhere, due: epoch.Add(rand.N(time.Hour))}
		j.Key = name(fmt.Sprint(i))
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
			late = append(late, j.Key.String())
		}
		last = j.due
	}
	if late != nil {
		t.Errorf("out of order: %s", strings.Join(late, " "))
	}
}

// What stays is told what is known of it when it is taken over, then nothing of what is gone is told any more, and its
// probes end.
func TestReplace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 100)
		var (
			mu   sync.Mutex // guards told
			told []string
		)
		tell := func(what ...any) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprint(what...))
		}
		take := func() []string {
			mu.Lock()
			defer mu.Unlock()
			all := told
			told = nil
			return all
		}
		target := func(n name, s check.Check) Target {
			a := asks(n, s, usual)
			a.Tell = func(s Status) { tell(n, " ", s.Health) }
			return a
		}
		replace := func(targets ...Target) string {
			t.Helper()
			if err := w.Replace(t.Context(), targets, func() { tell("taken") }); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return strings.Join(take(), ", ")
		}
		stays, goes := &server{}, &server{behave: swallows}
		if got, want := replace(target("stays", stays),
			target("goes", goes)), "stays unknown, goes unknown, taken"; got != want {
			t.Errorf("told %s, want %s", got, want)
		}
		time.Sleep(time.Minute)
		for len(goes.probes()) == 0 || goes.underWay() == 0 {
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		take()
		if got, want := replace(target("new", &server{}),
			target("stays", stays)), "new unknown, stays up, taken"; got != want {
			t.Errorf("told %s, want %s", got, want)
		}
		if n := goes.underWay(); n != 0 {
			t.Errorf("%d probes of what is gone go on", n)
		}
		asked := len(goes.probes())
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(goes.probes()); n != asked {
			t.Errorf("what is gone was asked %d times", n-asked)
		}
		if told := take(); slices.ContainsFunc(told, func(s string) bool { return strings.HasPrefix(s, "goes") }) {
			t.Errorf("told of what is gone: %v", told)
		}
	})
}

// A short spread is for quick first verdicts; the second probes even out over the interval.
func TestShortSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 4000
		w := newWorld(t, n)
		when := Schedule{Interval: 40 * time.Second, Fast: 40 * time.Second, Timeout: 20 * time.Second,
			Spread: 2 * time.Second, Rise: 1, Fall: 1}
		s := &server{}
		var targets []Target
		for i := range n {
			targets = append(targets, asks(name(fmt.Sprint("web", i)), s, when))
		}
		start := time.Now()
		w.want(targets...)
		time.Sleep(when.Spread)
		synctest.Wait()
		if asked := len(s.probes()); asked < n {
			t.Errorf("%d of %d were asked within %v", asked, n, when.Spread)
		}
		time.Sleep(10 * time.Minute)
		var tenths [10]int
		for _, at := range s.probes() {
			if since := at.Sub(start); since >= 10*when.Interval && since < 11*when.Interval {
				tenths[(since-10*when.Interval)*10/when.Interval]++
			}
		}
		for i, got := range tenths {
			if got < n/10*7/10 || got > n/10*13/10 {
				t.Errorf("tenth %d of an interval has %d of %d probes, want about %d: %v", i, got, n, n/10, tenths)
			}
		}
	})
}

// An urgent check is asked at once and at its fast interval, whatever its verdict, and its verdict is its own. Who says
// so over and over has it asked no more often.
func TestUrgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 100)
		var s server
		target := asks("web1", &s, usual)
		w.want(target)
		time.Sleep(time.Minute)
		synctest.Wait()
		since := func(from time.Time) (n int) {
			for _, at := range s.probes() {
				if at.After(from) {
					n++
				}
			}
			return n
		}
		time.Sleep(usual.Fast + time.Millisecond - time.Since(s.probes()[len(s.probes())-1]))
		at := time.Now()
		target.Urgent = true
		w.want(target)
		synctest.Wait()
		if n := since(at.Add(-1)); n != 1 {
			t.Errorf("asked %d times at once, want once", n)
		}
		time.Sleep(10 * time.Second)
		if n := since(at); n < 19 || n > 23 {
			t.Errorf("asked %d times in 10 s, want at the fast interval, 500ms less jitter", n)
		}
		if v := w.verdict("web1"); v.Health != Up {
			t.Errorf("a server that answers is %v", v.Health)
		}
		at = time.Now()
		for range 1000 {
			target.Urgent = !target.Urgent
			w.want(target)
			time.Sleep(10 * time.Millisecond)
		}
		if n := since(at); n > 23 {
			t.Errorf("asked %d times in 10 s of coming and going, want at most at the fast interval", n)
		}
		target.Urgent = false
		w.want(target)
		at = time.Now()
		time.Sleep(10 * time.Second)
		if n := since(at); n > 7 {
			t.Errorf("asked %d times in 10 s, want at the interval of 2s", n)
		}
		// A new one does not wait for its turn.
		var other server
		next := asks("web2", &other, usual)
		next.Schedule.Spread = time.Hour
		next.Urgent = true
		w.want(target, next)
		synctest.Wait()
		if n := len(other.probes()); n != 1 {
			t.Errorf("a new one was asked %d times, want at once", n)
		}
	})
}
