package healthd

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/sluicelb/sluice/healthd/probe"
)

// scheduler has the engine run the checks of backends, and keeps the verdicts on the board.
type scheduler struct {
	*probe.Engine
	log   *slog.Logger
	board *board
}

// set is all there is to check.
type set struct {
	backends []backendKey
	targets  []target
}

// backend is the sum of its checks: all must pass. It belongs to the engine's goroutine.
type backend struct {
	key    backendKey
	checks []*probe.Status
}

func newScheduler(log *slog.Logger, b *board, maxProbes int) *scheduler {
	return &scheduler{probe.New(probe.Config{Log: log, MaxProbes: maxProbes}), log, b}
}

// replace makes want all there is to check. It returns once the engine has taken it over.
func (s *scheduler) replace(ctx context.Context, want set) error {
	backends := make(map[backendKey]*backend, len(want.backends))
	for _, k := range want.backends {
		backends[k] = &backend{key: k}
	}
	targets := make([]probe.Target, len(want.targets))
	for i, t := range want.targets {
		b, status := backends[t.question.backend], new(probe.Status)
		b.checks = append(b.checks, status)
		targets[i] = probe.Target{Key: t.question, Schedule: t.schedule, Check: t.check, Report: func(now probe.Status) {
			*status = now
			s.judge(b)
		}}
	}
	return s.Engine.Replace(ctx, targets, func() {
		s.board.retain(backends)
		for _, b := range backends {
			s.judge(b)
		}
	})
}

// judge puts the backend's verdict on the board, when there is one.
func (s *scheduler) judge(b *backend) {
	v, ok := b.verdict(time.Now())
	if ok && s.board.set(b.key, v) {
		s.log.Info("backend is "+v.health.String(), "backend", b.key, "reason", v.reason)
	}
}

// verdict is down when a check is down, and up when all are up. Else there is none, and the last one
// stands: a check that was just added takes nobody out of service before it has failed.
func (b *backend) verdict(now time.Time) (verdict, bool) {
	if len(b.checks) == 0 {
		return verdict{health: probe.Up, reason: "no checks", since: now, detectedAt: now}, true
	}
	var (
		failures  []string
		first     *probe.Status // to be down
		last      *probe.Status // to be up
		undecided bool
	)
	for _, c := range b.checks {
		switch c.Health {
		case probe.Down:
			failures = append(failures, c.Failure)
			if first == nil || c.DetectedAt.Before(first.DetectedAt) {
				first = c
			}
		case probe.Up:
			if last == nil || c.DetectedAt.After(last.DetectedAt) {
				last = c
			}
		default:
			undecided = true
		}
	}
	switch {
	case first != nil:
		return verdict{probe.Down, strings.Join(failures, "; "), first.Since, first.DetectedAt}, true
	case undecided:
		return verdict{}, false
	}
	return verdict{probe.Up, "all checks pass", last.Since, last.DetectedAt}, true
}
