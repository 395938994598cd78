package healthd

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/sluicelb/sluice/healthd/probe"
)

// scheduler has the engine run the checks of backends, and keeps the verdicts on the board.
type scheduler struct {
	*probe.Engine
	log     *slog.Logger
	board   *board
	figures figures
}

// set is all there is to check.
type set struct {
	backends []backendKey
	targets  []target
}

// backend is the sum of its checks: all must pass. It belongs to the engine's goroutine.
type backend struct {
	key    backendKey
	checks []*checkStatus
}

// checkStatus is what is known of one check of a backend.
type checkStatus struct {
	probe.Status
	host bool // it asks the host, and not the service
}

func newScheduler(log *slog.Logger, b *board, maxProbes int) *scheduler {
	return &scheduler{probe.New(probe.Config{Log: log, MaxProbes: maxProbes}), log, b, newFigures()}
}

// replace makes want all there is to check. It returns once the engine has taken it over.
func (s *scheduler) replace(ctx context.Context, want set) error {
	backends := make(map[backendKey]*backend, len(want.backends))
	for _, k := range want.backends {
		backends[k] = &backend{key: k}
	}
	taken := false // belongs to the engine's goroutine
	targets := make([]probe.Target, len(want.targets))
	for i, t := range want.targets {
		b, c := backends[t.question.backend], &checkStatus{host: t.question.kind == "icmp"}
		b.checks = append(b.checks, c)
		asked := s.figures.watch(t.question.kind, t.check)
		targets[i] = probe.Target{Key: t.question, Schedule: t.schedule, Urgent: t.urgent, Check: asked,
			Tell: func(now probe.Status) {
				c.Status = now
				if taken { // until then some checks have not told what they know
					s.judge(b)
				}
			}}
	}
	return s.Engine.Replace(ctx, targets, func() {
		taken = true
		s.board.retain(backends)
		for _, b := range backends {
			s.judge(b)
		}
	})
}

// judge puts the backend's verdict on the board, when there is one.
func (s *scheduler) judge(b *backend) {
	v, ok := b.verdict(time.Now(), s.board.hasFallen(b.key))
	if ok && s.board.set(b.key, v) {
		s.log.Info("backend is "+v.health.String(), "backend", b.key, "reason", v.reason)
	}
}

// verdict is the worst that a check says; what cannot be asked is worse than what passes, and better than what fails.
// There is none while a check has not decided and no other says anything worse, and the last one stands: a check that
// was just added takes nobody out of service before it has failed.
//
//	down       a check of the service has no answer; or a ping, when it is all there is
//	failing    a check has an answer, and not as it should be; or the host does not answer to a ping, which tells
//	           nothing of the service where other checks ask that
//	unchecked  a check cannot be asked now, whatever it said before
//	up         all checks pass
//
// Who hears that a backend is unchecked leaves it as it is. So that is no word for a backend that has fallen and now
// passes all that can be asked: it is up, for the same reason.
func (b *backend) verdict(now time.Time, fallen bool) (verdict, bool) {
	if len(b.checks) == 0 {
		return verdict{health: probe.Up, reason: "no checks", since: now, detectedAt: now}, true
	}
	var say [probe.Unchecked + 1]int
	for _, c := range b.checks {
		say[b.health(c)]++
	}
	switch {
	case say[probe.Down] > 0:
		return b.failed(probe.Down), true
	case say[probe.Failing] > 0:
		return b.failed(probe.Failing), true
	case say[probe.Unchecked] > 0:
		v := b.unchecked()
		if fallen && say[probe.Up] > 0 && say[probe.Unknown] == 0 && !slices.ContainsFunc(b.checks,
			(*checkStatus).fell) {
			v.health, v.reason = probe.Up, probe.Line("the other checks pass; "+v.reason)
			v.since, v.detectedAt = b.passed()
		}
		return v, true
	case say[probe.Unknown] > 0:
		return verdict{}, false
	}
	since, detectedAt := b.passed()
	return verdict{probe.Up, "all checks pass", since, detectedAt}, true
}

// health is what c says of the backend. A host that does not answer to a ping says nothing until the checks of the
// service have spoken.
func (b *backend) health(c *checkStatus) probe.Health {
	switch {
	case c.Unchecked != "":
		return probe.Unchecked
	case !c.host || c.Health != probe.Down:
		return c.Health
	}
	h := probe.Down
	for _, other := range b.checks {
		switch {
		case other.host:
		case other.Health == probe.Unknown && other.Unchecked == "":
			return probe.Unknown
		default:
			h = probe.Failing
		}
	}
	return h
}

// fell reports that c failed when it was last asked.
func (c *checkStatus) fell() bool { return c.Health == probe.Down || c.Health == probe.Failing }

// failed is the verdict of the first check that says h. Its reason names all that fail.
func (b *backend) failed(h probe.Health) verdict {
	v := verdict{health: h}
	var failures []string
	for _, c := range b.checks {
		if c.Unchecked != "" || !c.fell() {
			continue
		}
		failures = append(failures, c.Failure)
		if b.health(c) == h && (v.detectedAt.IsZero() || c.DetectedAt.Before(v.detectedAt)) {
			v.since, v.detectedAt = c.Since, c.DetectedAt
		}
	}
	v.reason = probe.Line(strings.Join(failures, "; "))
	return v
}

// unchecked is the verdict of the first check that cannot be asked. Its reason names all of them.
func (b *backend) unchecked() verdict {
	v := verdict{health: probe.Unchecked}
	var reasons []string
	for _, c := range b.checks {
		if c.Unchecked == "" {
			continue
		}
		reasons = append(reasons, c.Unchecked)
		if v.detectedAt.IsZero() || c.UncheckedAt.Before(v.detectedAt) {
			v.since, v.detectedAt = c.UncheckedSince, c.UncheckedAt
		}
	}
	v.reason = probe.Line(strings.Join(reasons, "; "))
	return v
}

// passed is when the last of the checks that are up became so.
func (b *backend) passed() (since, detectedAt time.Time) {
	for _, c := range b.checks {
		if c.Health == probe.Up && c.DetectedAt.After(detectedAt) {
			since, detectedAt = c.Since, c.DetectedAt
		}
	}
	return since, detectedAt
}
