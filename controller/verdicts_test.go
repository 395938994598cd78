package controller

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/plan"
)

func detected(backend string, h api.Health, at time.Time) []*api.Verdict {
	return []*api.Verdict{{Pool: "web", Backend: backend, Health: h, Since: timestamppb.New(at),
		DetectedAt: timestamppb.New(at)}}
}

// The verdict that was detected last stands, in whatever order they come.
func TestOutdatedVerdicts(t *testing.T) {
	const up, down = api.Health_HEALTH_UP, api.Health_HEALTH_DOWN
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l := newTestLoop(t, &fakeStore{})
		l.log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		start := time.Now()
		at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
		key := plan.BackendKey{Pool: "web", Backend: "web2"}
		time.Sleep(time.Minute)
		future := time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)
		steps := []struct {
			name    string
			health  api.Health
			at      time.Time
			want    plan.Health
			wantAt  time.Time
			ignored bool
		}{
			{"the first", up, at(10), plan.Up, at(10), false},
			{"another healthd calls it down", down, at(20), plan.Down, at(20), false},
			{"the stopped one goes on", up, at(10), plan.Down, at(20), true},
			{"one from long ago", up, time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), plan.Down, at(20), true},
			{"repeated", down, at(20), plan.Down, at(20), false},
			{"at the same time", up, at(20), plan.Up, at(20), false},
			{"from the future: now", down, future, plan.Down, at(60), false},
			{"the future again", down, future, plan.Down, at(60), false},
		}
		for _, s := range steps {
			log.Reset()
			if _, err := l.verdicts(&api.ReportVerdictsRequest{Verdicts: detected("web2", s.health,
				s.at)}); err != nil {
				t.Fatal(err)
			}
			v := l.core.Stored().Verdicts[key]
			if v.Health != s.want || !v.DetectedAt.Equal(s.wantAt) {
				t.Errorf("%s: %s at %v, want %s at %v", s.name, v.Health.String(), v.DetectedAt, s.want.String(),
					s.wantAt)
			}
			if v.Since.After(time.Now()) {
				t.Errorf("%s: since %v, which is to come", s.name, v.Since)
			}
			if told := strings.Contains(log.String(),
				"a verdict is older than the one that stands"); told != s.ignored {
				t.Errorf("%s: log %q", s.name, log.String())
			}
		}
		// Nobody waits for a time that the clock, set back, still has before it.
		v := l.core.Stored().Verdicts[key]
		v.DetectedAt = at(3600)
		l.core.Stored().Verdicts[key] = v
		if _, err := l.verdicts(&api.ReportVerdictsRequest{Verdicts: detected("web2", up, at(60))}); err != nil ||
			l.core.Stored().Verdicts[key].Health != plan.Up {
			t.Errorf("after the clock was set back: %v, %+v", err, l.core.Stored().Verdicts[key])
		}
	})
}

// What another set of checks says counts, though it was detected before what the former set said.
func TestVerdictsOfOtherChecks(t *testing.T) {
	l := newTestLoop(t, &fakeStore{})
	now := time.Now()
	say := func(h api.Health, ago time.Duration) plan.Health {
		t.Helper()
		if _, err := l.verdicts(&api.ReportVerdictsRequest{Verdicts: detected("web2", h, now.Add(-ago))}); err != nil {
			t.Fatal(err)
		}
		return l.core.Stored().Verdicts[plan.BackendKey{Pool: "web", Backend: "web2"}].Health
	}
	say(api.Health_HEALTH_DOWN, time.Second)
	if say(api.Health_HEALTH_UP, time.Minute) != plan.Down {
		t.Error("the older verdict counts")
	}
	text := strings.Replace(testIntent, "port: 80}]", "port: 81}]", 1)
	if _, err := l.applyFile(parse("test.yaml", text)); err != nil {
		t.Fatal(err)
	}
	if say(api.Health_HEALTH_UP, time.Minute) != plan.Up {
		t.Error("the verdict of the new checks does not count")
	}
}

// A healthd that takes its word back, as it can no longer ask, leaves the word to those who can.
func TestWithdrawnVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, wide(4), core.Stored{})
		l.connect("leaf1")
		say := func(by string, h api.Health, at time.Time) {
			l.in(func() {
				m := &api.Verdict{Pool: "web", Backend: "web2", Health: h, Since: timestamppb.New(at),
					DetectedAt: timestamppb.New(at)}
				if _, err := l.verdicts(&api.ReportVerdictsRequest{Healthd: by, Session: "1", Full: true,
					Verdicts: []*api.Verdict{m}}); err != nil {
					t.Error(err)
				}
			})
		}
		start := time.Now()
		say("a", api.Health_HEALTH_UP, start)
		time.Sleep(time.Second)
		down := time.Now()
		say("b", api.Health_HEALTH_DOWN, down)
		for range 20 {
			time.Sleep(5 * time.Second)
			say("b", api.Health_HEALTH_UNCHECKED, time.Now())
			say("a", api.Health_HEALTH_UP, start)
		}
		if v := l.core.Stored().Verdicts[plan.BackendKey{Pool: "web", Backend: "web2"}]; v.Health != plan.Up ||
			v.Author != "a" {
			t.Errorf("%s by %q, want up by a", v.Health.String(), v.Author)
		}
		if b := l.web().Backends[1]; b.UncheckedReason != "" {
			t.Errorf("a checks it, and it is said to be unchecked: %s", b.UncheckedReason)
		}
	})
}

// What was said of a backend that left the intent is not said of the next one that has its name.
func TestVerdictOfANamesake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, wide(4), core.Stored{})
		l.connect("leaf1")
		say := func(health map[string]api.Health) {
			l.in(func() {
				r := &api.ReportVerdictsRequest{Healthd: "a", Session: "1", Full: true}
				for name, h := range health {
					r.Verdicts = append(r.Verdicts, detected(name, h, time.Now())...)
				}
				if _, err := l.verdicts(r); err != nil {
					t.Error(err)
				}
			})
		}
		const up, down = api.Health_HEALTH_UP, api.Health_HEALTH_DOWN
		say(map[string]api.Health{"web1": up, "web2": up, "web3": up, "web4": down})
		l.keepUp()
		time.Sleep(time.Minute) // the grace is over
		l.keepUp()
		for _, n := range []int{3, 4} {
			l.in(func() {
				if _, err := l.apply(parse("test.yaml", wide(n))); err != nil {
					t.Error(err)
				}
			})
			l.keepUp()
		}
		say(map[string]api.Health{"web1": up, "web2": up, "web3": up})
		if v := l.core.Stored().Verdicts[plan.BackendKey{Pool: "web", Backend: "web4"}]; v.Health != plan.Unknown {
			t.Errorf("%s, %q, before anybody asked it", v.Health.String(), v.Reason)
		}
	})
}
