package healthd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/healthd/check"
	"github.com/sluicelb/sluice/healthd/probe"
)

var usual = probe.Schedule{Interval: 2 * time.Second, Fast: 500 * time.Millisecond, Timeout: time.Second, Jitter: 200 * time.Millisecond, Rise: 2, Fall: 3}

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
		w.want(asks("web1", s, probe.Schedule{Interval: 2 * time.Second, Fast: time.Second, Timeout: time.Second, Rise: 2, Fall: 3}))
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
