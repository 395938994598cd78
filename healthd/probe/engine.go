package probe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sluicelb/sluice/healthd/check"
)

// Engine runs checks. One goroutine, Run, owns all state; a probe has a goroutine only while it is under way, so
// that a check that waits costs a queue entry.
type Engine struct {
	log       *slog.Logger
	maxProbes int
	now       func() time.Time

	wants   chan want
	results chan result

	// Owned by Run.
	jobs     map[fmt.Stringer]*job
	queue    queue
	underway int
	stalled  time.Duration        // for how long, in all, this process was not running when it should have been
	said     map[string]time.Time // complaints, to repeat each once a minute at most
	probes   sync.WaitGroup
}

// Config is what an Engine needs to know.
type Config struct {
	// MaxProbes bounds the probes under way. When it is reached verdicts come later, never wrong.
	MaxProbes int              // default DefaultMaxProbes
	Log       *slog.Logger     // default: discards
	Now       func() time.Time // default time.Now; a test makes it jump
}

// want is all there is to check.
type want struct {
	targets []Target
	taken   func()
}

// job is one target.
type job struct {
	Target
	ctx     context.Context
	stop    context.CancelFunc // ends the probes under way
	stopped bool

	due      time.Time
	place    int // in the queue, or nowhere
	started  time.Time
	starts   int
	underway int
	late     int // results in a row that came too late to tell anything

	state  state
	began  runs
	said   [notAsked]string // by the last probe of that outcome
	status Status
}

// runs is when the first of the outcomes that state counts ended.
type runs struct{ passes, fails, alive, deads, unasked time.Time }

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

// New prepares an engine without targets; Run starts it.
func New(c Config) *Engine {
	if c.MaxProbes == 0 {
		c.MaxProbes = DefaultMaxProbes
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Engine{
		log:       c.Log,
		maxProbes: c.MaxProbes,
		now:       c.Now,
		wants:     make(chan want),
		results:   make(chan result, 64),
		jobs:      map[fmt.Stringer]*job{},
		said:      map[string]time.Time{},
	}
}

// Replace makes targets all there is to check, and returns once Run has taken them over. Run calls taken then,
// unless it is nil: after the last word on targets that are gone, and before the first probe of a new one.
func (e *Engine) Replace(ctx context.Context, targets []Target, taken func()) error {
	select {
	case e.wants <- want{targets, taken}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run checks until ctx ends, and returns when no probe is left.
func (e *Engine) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer e.probes.Wait()
	defer cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	awake := e.now()
	for {
		e.startDue(ctx)
		e.account(awake)
		wake := e.wakeAt()
		timer.Reset(wake.Sub(e.now()))
		var (
			next *want
			done *result
		)
		select {
		case <-ctx.Done():
			return nil
		case w := <-e.wants:
			next = &w
		case r := <-e.results:
			done = &r
		case <-timer.C:
		}
		awake = e.account(wake)
		switch {
		case next != nil:
			e.apply(ctx, *next)
		case done != nil:
			e.finish(*done)
		}
	}
}

// account adds the time since expected to what was lost, and returns the time it is.
func (e *Engine) account(expected time.Time) time.Time {
	now := e.now()
	if lost := now.Sub(expected); lost > hiccup {
		e.stalled += lost
	}
	return now
}

func (e *Engine) wakeAt() time.Time {
	now := e.now()
	wake := now.Add(time.Hour)
	if len(e.queue) > 0 && e.underway < e.maxProbes {
		wake = e.queue[0].due
	}
	if beat := now.Add(heartbeat); e.underway > 0 && beat.Before(wake) {
		wake = beat
	}
	return wake
}

// apply stops what is not wanted any more, starts what is new, and leaves the rest as it is.
func (e *Engine) apply(ctx context.Context, w want) {
	jobs := make(map[fmt.Stringer]*job, len(w.targets))
	for _, t := range w.targets {
		j := e.jobs[t.Key]
		if j == nil {
			j = &job{place: nowhere}
			j.ctx, j.stop = context.WithCancel(ctx)
			j.due = e.now().Add(rand.N(max(1, t.Schedule.Spread)))
			e.queue.set(j)
		}
		changed := j.Schedule != t.Schedule || j.Urgent != t.Urgent
		j.Target = t
		switch {
		case j.started.IsZero():
			if j.Urgent {
				j.due = e.now()
				e.queue.set(j)
			}
		case changed:
			e.schedule(j)
		}
		jobs[t.Key] = j
		t.Tell(j.status)
	}
	for k, j := range e.jobs {
		if jobs[k] == nil {
			j.stopped = true
			j.stop()
			e.queue.remove(j)
		}
	}
	e.jobs = jobs
	if w.taken != nil {
		w.taken()
	}
}

// schedule sets when j's next probe starts, counted from the start of its last.
func (e *Engine) schedule(j *job) {
	pace := j.Schedule.Interval
	if !j.state.settled() || j.Urgent {
		pace = j.Schedule.Fast
	}
	e.scheduleAfter(j, pace)
}

func (e *Engine) scheduleAfter(j *job, pace time.Duration) {
	when := j.Schedule
	if j.underway >= j.state.missing(when.Rise, when.Fall) {
		e.queue.remove(j) // the probes under way are enough for a verdict
		return
	}
	jitter := when.Jitter
	if j.starts == 1 && when.Spread < when.Fast {
		jitter = when.Interval
	}
	shorter := rand.Float64() * float64(jitter) * float64(pace) / float64(when.Interval)
	j.due = j.started.Add(pace - time.Duration(shorter))
	e.queue.set(j)
}

func (e *Engine) startDue(ctx context.Context) {
	now := e.now()
	for len(e.queue) > 0 && !e.queue[0].due.After(now) {
		j := e.queue[0]
		if e.underway == e.maxProbes {
			if waits := now.Sub(j.due); waits > j.Schedule.Interval {
				e.complain("probes wait for others to end: verdicts come later than configured", "probes", e.underway,
					"late",
					waits)
			}
			return
		}
		e.start(ctx, j, now)
	}
}

func (e *Engine) start(ctx context.Context, j *job, now time.Time) {
	e.underway++
	j.underway++
	j.starts++
	j.started = now
	timeout := j.Schedule.Timeout
	r := result{job: j, timeout: timeout, given: timeout << min(j.late, 3), stalledBefore: e.stalled}
	asked := j.Check
	e.probes.Go(func() {
		r.start = e.now()
		probe, cancel := context.WithTimeout(j.ctx, r.given)
		r.err = asked.Run(probe)
		cancel()
		r.end = e.now()
		select {
		case e.results <- r:
		case <-ctx.Done():
		}
	})
	if j.state.health == Down {
		e.schedule(j)
	} else {
		e.scheduleAfter(j, j.Schedule.Fast) // an answer before that puts it off
	}
}

func (e *Engine) finish(r result) {
	e.underway--
	j := r.job
	if j.stopped {
		return
	}
	j.underway--
	switch {
	case errors.Is(r.err, check.ErrNotAsked):
		e.complain("check tells nothing", "check", j.Key, "error", Line(r.err.Error()))
		j.count(r)
	case e.tooLate(r):
		j.late++
		e.complain("this prober runs late: probes are repeated", "check", j.Key, "error", Line(r.err.Error()))
		j.due = e.now()
		e.queue.set(j)
		return
	default:
		j.late = 0
		j.count(r)
	}
	j.Tell(j.status)
	e.schedule(j)
}

// tooLate tells a server that did not answer from one whose answer was not heard, because this process
// was stopped, paused or short of CPU. A missing answer counts when the server had at least 9/10 of the timeout
// while the process was running. The repetition has twice the time, so that a slow prober ends with a result.
func (e *Engine) tooLate(r result) bool {
	lost := e.stalled - r.stalledBefore
	switch {
	case r.err == nil || lost == 0:
		return false
	case errors.Is(r.err, context.DeadlineExceeded):
		return r.end.Sub(r.start)-lost < r.timeout*9/10
	}
	return lost >= r.given // the server may have given up on us
}

// outcome is what the probe says of the server.
func (r result) outcome() outcome {
	switch {
	case r.err == nil:
		return passed
	case errors.Is(r.err, check.ErrNotAsked):
		return notAsked
	case errors.Is(r.err, check.ErrWrongAnswer):
		return wrong
	}
	return dead
}

// failure says why a probe failed. A text that names the time that a repetition was given names the
// timeout too: the operator configured no other.
func (r result) failure() string {
	if r.given > r.timeout && errors.Is(r.err, context.DeadlineExceeded) {
		return Line(fmt.Sprintf("%v (timeout %v, repeated with more time: this prober was late)", r.err, r.timeout))
	}
	return Line(r.err.Error())
}

// count feeds a result to the state machine.
func (j *job) count(r result) {
	before, o := j.state, r.outcome()
	j.state = before.next(o, j.Schedule.Rise, j.Schedule.Fall)
	if o == notAsked {
		j.status.NotAsked = r.failure()
		if j.state.unasked == 1 {
			j.began.unasked = r.end
		}
		if j.state.unchecked {
			j.status.Unchecked = j.status.NotAsked
		}
		if j.state.unchecked && !before.unchecked {
			j.status.UncheckedSince, j.status.UncheckedAt = j.began.unasked, r.end
		}
		return
	}
	j.began.note(j.state, r.end)
	j.status.Last, j.status.NotAsked = r.end, ""
	if !j.state.unchecked {
		j.status.Unchecked, j.status.UncheckedSince, j.status.UncheckedAt = "", time.Time{}, time.Time{}
	}
	if o != passed {
		j.said[o] = r.failure()
		j.status.Failure = j.said[o]
	}
	switch j.state.health {
	case Failing:
		j.status.Failure = j.said[wrong]
	case Down:
		j.status.Failure = j.said[dead]
	}
	if j.state.health != before.health {
		j.status.Health, j.status.Since, j.status.DetectedAt = j.state.health,
			j.began.of(before.health, j.state.health),
			r.end
	}
}

// note takes the end of the outcome that led to s, which told something.
func (r *runs) note(s state, end time.Time) {
	for _, x := range []struct {
		count int
		began *time.Time
	}{{s.passes, &r.passes}, {s.fails, &r.fails}, {s.alive, &r.alive}, {s.deads, &r.deads}} {
		if x.count == 1 {
			*x.began = end
		}
	}
}

// of is when the run began that turned one verdict into another.
func (r runs) of(before, after Health) time.Time {
	switch {
	case after == Up:
		return r.passes
	case after == Down:
		return r.deads
	case before == Down:
		return r.alive
	}
	return r.fails
}

// complain warns once a minute at most: what it tells of comes by the thousand.
func (e *Engine) complain(what string, args ...any) {
	now := e.now()
	if last, ok := e.said[what]; ok && now.Sub(last) < time.Minute {
		return
	}
	e.said[what] = now
	e.log.Warn(what, args...)
}
