package controller

import (
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
)

// verdicts takes healthd's word. What it says again changes nothing, and what it said before something
// newer does not count: a healthd that was stopped for a while goes on with what it thought then.
func (l *loop) verdicts(ctx context.Context, list []*api.Verdict) (unknown []string, err error) {
	now := time.Now()
	l.reported = now
	next := l.st
	next.Verdicts = maps.Clone(l.st.Verdicts)
	why := cause{}
	for _, m := range list {
		key := plan.BackendKey{Pool: m.Pool, Backend: m.Backend}
		if !l.knows(key) {
			unknown = append(unknown, key.String())
			continue
		}
		v, before := verdictOf(m, now), next.Verdicts[key]
		if outdated(v, before, now) && !before.DetectedAt.Before(l.rechecked[key.Pool]) {
			l.log.Debug("a verdict is older than the one that stands", "backend", key,
				"health", healthWord(v.Health), "detected_at", v.DetectedAt, "stands", before.DetectedAt)
			continue
		}
		next.Verdicts[key] = v
		if v.Health == before.Health {
			continue
		}
		l.events.publish(now, verdictChanged(key, v))
		why.backends = append(why.backends, key)
		if why.detected.IsZero() || v.DetectedAt.Before(why.detected) {
			why.detected = v.DetectedAt
		}
	}
	if len(why.backends) == 0 {
		l.st = next // times and reasons are stored with the next change
		return unknown, nil
	}
	word := "verdict on "
	if len(why.backends) > 1 {
		word = "verdicts on "
	}
	why.text = word + joinKeys(why.backends)
	return unknown, l.step(ctx, next, why, false, nil)
}

// verdictOf reads a verdict that came in now. Nothing is known from the future: the clock of another
// machine may be ahead.
func verdictOf(m *api.Verdict, now time.Time) store.Verdict {
	v := store.Verdict{Health: plan.Up, Reason: m.Reason, Since: timeOf(m.Since, now), DetectedAt: timeOf(m.DetectedAt, now)}
	if m.Health == api.Health_HEALTH_DOWN {
		v.Health = plan.Down
	}
	return v
}

// outdated says whether before was detected later than v. A live healthd repeats its verdicts with their
// times, so an equal time counts. A time that is still to come is from before the clock was set back.
func outdated(v, before store.Verdict, now time.Time) bool {
	return before.Health != plan.Unknown && v.DetectedAt.Before(before.DetectedAt) && !before.DetectedAt.After(now)
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
