package controller

import (
	"cmp"
	"context"
	"maps"
	"reflect"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/store"
	"github.com/sluicelb/sluice/internal/text"
)

// verdicts takes a healthd's word. What it says again changes nothing, and what it said before something newer does
// not count: a healthd that was stopped for a while goes on with what it thought then.
func (l *loop) verdicts(ctx context.Context, r *api.ReportVerdictsRequest) (unknown []string, err error) {
	now := time.Now()
	l.reported = now
	name := cmp.Or(text.Cut(r.Healthd), unnamed)
	shared := len(l.authors.shared(now))
	by := l.authors.hear(name, text.Cut(r.Session), now)
	if len(l.authors.shared(now)) > shared {
		l.log.Warn("two healthds report by one name: give one of them another with --name", "healthd", name)
	}
	next := l.st
	next.Verdicts = maps.Clone(l.st.Verdicts)
	changed := cause{}
	for _, m := range r.Verdicts {
		key := plan.BackendKey{Pool: m.Pool, Backend: m.Backend}
		if !l.knows(key) {
			unknown = append(unknown, text.Cut(key.String()))
			continue
		}
		if m.Health == api.Health_HEALTH_UNCHECKED {
			l.doubts[key] = doubt{name, text.Cut(m.Reason)}
			by.verdicts[key] = store.Verdict{} // what others say counts from their next report on
			continue
		}
		if l.doubts[key].author == name {
			delete(l.doubts, key)
		}
		v := verdictOf(m, now)
		v.Author, v.Session = name, text.Cut(r.Session)
		if old, ok := by.verdicts[key]; !ok || !outdated(v, old, now) || old.DetectedAt.Before(l.rechecked[key.Pool]) {
			by.verdicts[key] = v
		}
		l.judge(next.Verdicts, key, v, now, &changed)
	}
	if r.Full { // what others said who are gone lapses
		for key, v := range by.verdicts {
			if v.Health != plan.Unknown {
				l.judge(next.Verdicts, key, v, now, &changed)
			}
		}
	}
	if len(changed.backends) == 0 {
		// Times and reasons are stored with the next change.
		if l.frozen != nil {
			l.keep(next)
		} else {
			l.st = next
		}
		return unknown, nil
	}
	word := "verdict on "
	if len(changed.backends) > 1 {
		word = "verdicts on "
	}
	changed.text = word + joinKeys(changed.backends)
	return unknown, l.step(ctx, next, changed, false, nil)
}

// tellAuthors logs which healthds have come and left.
func (l *loop) tellAuthors(now time.Time) {
	came, left := l.authors.changed(l.reporting, now)
	for _, name := range came {
		l.reporting[name] = true
		l.log.Info("a healthd reports", "healthd", name)
	}
	for _, name := range left {
		delete(l.reporting, name)
		l.log.Warn("a healthd is silent: where others report, what it said counts no more", "healthd", name, "for", lapse)
	}
}

// judge finds the verdict that stands after v has been said, and adds to changed what is new.
func (l *loop) judge(verdicts map[plan.BackendKey]store.Verdict, key plan.BackendKey, v store.Verdict, now time.Time, changed *cause) {
	before := verdicts[key]
	is := l.authors.standing(key, before, l.rechecked[key.Pool], l.started, now)
	if v.DetectedAt.Before(is.DetectedAt) {
		l.log.Debug("a verdict is older than the one that stands", "backend", key, "healthd", v.Author,
			"health", healthWord(v.Health), "detected_at", v.DetectedAt, "stands", is.DetectedAt)
	}
	is.Fell = before.Fell
	if bad := is.Health == plan.Down || is.Health == plan.Failing; bad && before.Health != plan.Down && before.Health != plan.Failing {
		is.Fell = now
	}
	if is.Heard.IsZero() {
		is.Heard = now
	}
	verdicts[key] = is
	if is.Health == before.Health {
		return
	}
	l.events.publish(now, verdictChanged(key, is))
	changed.backends = append(changed.backends, key)
	if changed.detected.IsZero() || is.DetectedAt.Before(changed.detected) {
		changed.detected = is.DetectedAt
	}
}

// verdictOf reads a verdict that came in now. Nothing is known from the future: the clock of another
// machine may be ahead.
func verdictOf(m *api.Verdict, now time.Time) store.Verdict {
	v := store.Verdict{Health: plan.Up, Reason: text.Cut(m.Reason), Since: timeOf(m.Since, now), DetectedAt: timeOf(m.DetectedAt, now)}
	switch m.Health {
	case api.Health_HEALTH_DOWN:
		v.Health = plan.Down
	case api.Health_HEALTH_FAILING:
		v.Health = plan.Failing
	}
	return v
}

// outdated says whether before was detected later than v. A live healthd repeats its verdicts with their
// times, so an equal time counts. A time that is still to come is from before the clock was set back.
func outdated(v, before store.Verdict, now time.Time) bool {
	return v.DetectedAt.Before(before.DetectedAt) && !before.DetectedAt.After(now)
}

// timeOf is t, unless that is missing or after now.
func timeOf(t *timestamppb.Timestamp, now time.Time) time.Time {
	if t == nil || t.CheckValid() != nil || t.AsTime().After(now) {
		return now
	}
	return t.AsTime()
}

// recheck notes which pools have got other checks: what those say may have been detected before what the
// former checks said last.
func (l *loop) recheck(before *config.Intent, now time.Time) {
	if before == nil {
		return
	}
	checks := make(map[string][]config.Check)
	for _, p := range before.Pools {
		checks[p.Name] = p.Checks
	}
	for _, p := range l.intent.Pools {
		if was, ok := checks[p.Name]; ok && !reflect.DeepEqual(was, p.Checks) {
			l.rechecked[p.Name] = now
		}
	}
	maps.DeleteFunc(l.rechecked, func(pool string, _ time.Time) bool {
		return !slices.ContainsFunc(l.intent.Pools, func(p config.Pool) bool { return p.Name == pool })
	})
}

// knows says whether a backend is checked.
func (l *loop) knows(key plan.BackendKey) bool {
	if l.known[key] {
		return true
	}
	p := l.st.Plan.Pools[key.Pool]
	return p != nil && slices.ContainsFunc(l.leavers, func(m plan.Member) bool {
		return m.Name == key.Backend && slices.Contains(p.Members, m)
	})
}

func backendsOf(intent *config.Intent) map[plan.BackendKey]bool {
	known := make(map[plan.BackendKey]bool)
	for _, p := range intent.Pools {
		for _, b := range p.Backends {
			known[plan.BackendKey{Pool: p.Name, Backend: b.Name}] = true
		}
	}
	return known
}
