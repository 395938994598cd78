package healthd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/sluicelb/sluice/healthd/check"
)

// scheduler runs the checks and keeps the verdicts on the board. One goroutine, Run, owns all state;
// a probe has a goroutine only while it is under way, so that a check that waits costs a queue entry.
//
// When probes start, with a server that died just after a probe it answered:
//
//	pass      fail       fail      fail -> down
//	 |<------->|          |         |
//	 s         s+interval +fast     +fast  ... each fails at the latest timeout after its start
//
// While a server is not known to be down, a probe without an answer counts as a first sign: the next one
// starts after the fast interval and does not wait for the timeout. So a verdict takes no longer
// than interval + fall x fast + timeout, whichever of fast and timeout is longer.
type scheduler struct {
	log       *slog.Logger
	board     *board
	maxProbes int
	now       func() time.Time

	sets    chan set
	results chan result

	// Owned by Run.
	jobs     map[question]*job
	backends map[backendKey]*backend
	queue    queue
	underway int
	stalled  time.Duration        // for how long, in all, this process was not running when it should have been
	said     map[string]time.Time // complaints, to repeat each once a minute at most
	probes   sync.WaitGroup
}

// set is all there is to check.
type set struct {
	backends []backendKey
	targets  []target
}

// job is one check of one backend.
type job struct {
	target
	backend *backend
	ctx     context.Context
	stop    context.CancelFunc // ends the probes under way
	stopped bool

	due      time.Time
	place    int // in the queue, or nowhere
	started  time.Time
	underway int
	late     int // results in a row that came too late to tell anything

	state      state
	firstSign  time.Time // end of the first of the results in a row that speak for another verdict
	since      time.Time // firstSign of the verdict
	detectedAt time.Time
	failure    string // the last one
}

// backend is the sum of its checks: all must pass.
type backend struct {
	key  backendKey
	jobs []*job
}

// result is one probe, from its start.
type result struct {
	job           *job
	timeout       time.Duration // as configured
	given         time.Duration // the timeout, or longer
	stalledBefore time.Duration
	start, end    time.Time
	err           error
}

const (
	// heartbeat bounds how long Run sleeps while probes are under way, so that it notices when the
	// process was not running.
	heartbeat = 20 * time.Millisecond
	// hiccup is how late a wake-up may be without a meaning.
	hiccup = 5 * time.Millisecond
)

func newScheduler(log *slog.Logger, b *board, maxProbes int) *scheduler {
	return &scheduler{
		log:       log,
		board:     b,
		maxProbes: maxProbes,
		now:       time.Now,
		sets:      make(chan set),
		results:   make(chan result, 64),
		jobs:      map[question]*job{},
		backends:  map[backendKey]*backend{},
		said:      map[string]time.Time{},
	}
}

// replace makes want all there is to check. It returns once Run has taken it over.
func (s *scheduler) replace(ctx context.Context, want set) error {
	select {
	case s.sets <- want:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run checks until ctx ends, and returns when no probe is left.
func (s *scheduler) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer s.probes.Wait()
	defer cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	awake := s.now()
	for {
		s.startDue(ctx)
		s.account(awake)
		wake := s.wakeAt()
		timer.Reset(wake.Sub(s.now()))
		var (
			want *set
			done *result
		)
		select {
		case <-ctx.Done():
			return nil
		case w := <-s.sets:
			want = &w
		case r := <-s.results:
			done = &r
		case <-timer.C:
		}
		awake = s.account(wake)
		switch {
		case want != nil:
			s.apply(ctx, *want)
		case done != nil:
			s.finish(*done)
		}
	}
}

// account adds the time since expected to what was lost, and returns the time it is.
func (s *scheduler) account(expected time.Time) time.Time {
	now := s.now()
	if lost := now.Sub(expected); lost > hiccup {
		s.stalled += lost
	}
	return now
}

func (s *scheduler) wakeAt() time.Time {
	now := s.now()
	wake := now.Add(time.Hour)
	if len(s.queue) > 0 && s.underway < s.maxProbes {
		wake = s.queue[0].due
	}
	if beat := now.Add(heartbeat); s.underway > 0 && beat.Before(wake) {
		wake = beat
	}
	return wake
}

// apply stops what is not wanted any more, starts what is new, and leaves the rest as it is.
func (s *scheduler) apply(ctx context.Context, want set) {
	s.backends = make(map[backendKey]*backend, len(want.backends))
	for _, k := range want.backends {
		s.backends[k] = &backend{key: k}
	}
	jobs := make(map[question]*job, len(want.targets))
	for _, t := range want.targets {
		j := s.jobs[t.question]
		switch {
		case j == nil:
			j = &job{target: t, place: nowhere}
			j.ctx, j.stop = context.WithCancel(ctx)
			j.due = s.now().Add(rand.N(t.fast)) // spread, however many come at once
			s.queue.set(j)
		case j.timing != t.timing:
			j.target = t
			if !j.started.IsZero() {
				s.schedule(j)
			}
		}
		j.backend = s.backends[t.question.backend]
		j.backend.jobs = append(j.backend.jobs, j)
		jobs[t.question] = j
	}
	for q, j := range s.jobs {
		if jobs[q] == nil {
			j.stopped = true
			j.stop()
			s.queue.remove(j)
		}
	}
	s.jobs = jobs
	s.board.retain(s.backends)
	for _, b := range s.backends {
		s.judge(b)
	}
}

// schedule sets when j's next probe starts, counted from the start of its last.
func (s *scheduler) schedule(j *job) {
	pace := j.interval
	if !j.state.settled() {
		pace = j.fast
	}
	s.scheduleAfter(j, pace)
}

func (s *scheduler) scheduleAfter(j *job, pace time.Duration) {
	if j.underway >= j.state.missing(j.rise, j.fall) {
		s.queue.remove(j) // the probes under way are enough for a verdict
		return
	}
	shorter := rand.Float64() * float64(j.jitter) * float64(pace) / float64(j.interval)
	j.due = j.started.Add(pace - time.Duration(shorter))
	s.queue.set(j)
}

func (s *scheduler) startDue(ctx context.Context) {
	now := s.now()
	for len(s.queue) > 0 && !s.queue[0].due.After(now) {
		j := s.queue[0]
		if s.underway == s.maxProbes {
			if waits := now.Sub(j.due); waits > j.interval {
				s.complain("probes wait for others to end: verdicts come later than configured", "probes", s.underway, "late", waits)
			}
			return
		}
		s.start(ctx, j, now)
	}
}

func (s *scheduler) start(ctx context.Context, j *job, now time.Time) {
	s.underway++
	j.underway++
	j.started = now
	r := result{job: j, timeout: j.timeout, given: j.timeout << min(j.late, 3), stalledBefore: s.stalled}
	asked := j.check
	s.probes.Go(func() {
		r.start = s.now()
		probe, cancel := context.WithTimeout(j.ctx, r.given)
		r.err = asked.Run(probe)
		cancel()
		r.end = s.now()
		select {
		case s.results <- r:
		case <-ctx.Done():
		}
	})
	if j.state.health == down {
		s.schedule(j)
	} else {
		s.scheduleAfter(j, j.fast) // an answer before that puts it off
	}
}

func (s *scheduler) finish(r result) {
	s.underway--
	j := r.job
	if j.stopped {
		return
	}
	j.underway--
	switch {
	case errors.Is(r.err, check.ErrNotAsked):
		s.complain("check cannot be run", "backend", j.backend.key, "error", r.err)
	case s.tooLate(r):
		j.late++
		s.complain("healthd runs late: probes are repeated", "backend", j.backend.key, "error", r.err)
		j.due = s.now()
		s.queue.set(j)
		return
	default:
		j.late = 0
		s.count(j, r)
	}
	s.schedule(j)
}

// tooLate tells a server that did not answer from one whose answer was not heard, because this process
// was stopped, paused or short of CPU. A missing answer counts when the server had at least 9/10 of the timeout
// while healthd was running. The repetition has twice the time, so that a slow healthd ends with a result.
func (s *scheduler) tooLate(r result) bool {
	lost := s.stalled - r.stalledBefore
	switch {
	case r.err == nil || lost == 0:
		return false
	case errors.Is(r.err, context.DeadlineExceeded):
		return r.end.Sub(r.start)-lost < r.timeout*9/10
	}
	return lost >= r.given // the server may have given up on us
}

// failure says why a probe failed. A text that names the time that a repetition was given names the
// timeout too: the operator configured no other.
func (r result) failure() string {
	if r.given > r.timeout && errors.Is(r.err, context.DeadlineExceeded) {
		return fmt.Sprintf("%v (timeout %v, repeated with more time: this prober was late)", r.err, r.timeout)
	}
	return r.err.Error()
}

// count feeds a result to the state machine.
func (s *scheduler) count(j *job, r result) {
	before, passed := j.state, r.err == nil
	j.state = before.next(passed, j.rise, j.fall)
	if !passed {
		j.failure = r.failure()
	}
	if (passed && before.passes == 0) || (!passed && before.fails == 0) {
		j.firstSign = r.end
	}
	if j.state.health != before.health {
		j.since, j.detectedAt = j.firstSign, r.end
	}
	s.judge(j.backend)
}

// judge puts the backend's verdict on the board, when there is one.
func (s *scheduler) judge(b *backend) {
	v, ok := b.verdict(s.now())
	if ok && s.board.set(b.key, v) {
		s.log.Info("backend is "+v.health.String(), "backend", b.key, "reason", v.reason)
	}
}

// verdict is down when a check is down, and up when all are up. Else there is none, and the last one
// stands: a check that was just added takes nobody out of service before it has failed.
func (b *backend) verdict(now time.Time) (verdict, bool) {
	if len(b.jobs) == 0 {
		return verdict{health: up, reason: "no checks", since: now, detectedAt: now}, true
	}
	var (
		failures  []string
		first     *job // to be down
		last      *job // to be up
		undecided bool
	)
	for _, j := range b.jobs {
		switch j.state.health {
		case down:
			failures = append(failures, j.failure)
			if first == nil || j.detectedAt.Before(first.detectedAt) {
				first = j
			}
		case up:
			if last == nil || j.detectedAt.After(last.detectedAt) {
				last = j
			}
		default:
			undecided = true
		}
	}
	switch {
	case first != nil:
		return verdict{down, strings.Join(failures, "; "), first.since, first.detectedAt}, true
	case undecided:
		return verdict{}, false
	}
	return verdict{up, "all checks pass", last.since, last.detectedAt}, true
}

// complain warns once a minute at most: what it tells of comes by the thousand.
func (s *scheduler) complain(what string, args ...any) {
	now := s.now()
	if last, ok := s.said[what]; ok && now.Sub(last) < time.Minute {
		return
	}
	s.said[what] = now
	s.log.Warn(what, args...)
}
