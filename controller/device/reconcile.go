package device

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"

	"github.com/sluicelb/sluice/controller/learn"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/internal/text"
	"github.com/sluicelb/sluice/p4/backlog"
	"github.com/sluicelb/sluice/p4/p4rt"
)

const (
	// chunk is how many updates go out before newer wishes and the switch's messages get a look.
	chunk = 2048

	// A look at the messages of the switch takes some weight of them: a message, or an entry of one, weighs 1.
	weightOfLook = 1024
	weightInPass = 256 // between two chunks

	minRetry = 500 * time.Millisecond
	maxRetry = time.Minute
)

// target is what a reconciler needs of the session: *p4rt.Primary.
type target interface {
	Read(ctx context.Context, entities ...*v1.Entity) iter.Seq2[*v1.Entity, error]
	Write(ctx context.Context, updates []*v1.Update) error
	Waiting() <-chan struct{}
	Next() *v1.StreamMessageResponse
	AckDigest(*v1.DigestList) error
	Dropped(backlog.Kind) uint64
}

// reconciler is one session's time with the switch. For one goroutine.
type reconciler struct {
	*Device
	target   target
	status   *Status
	held     *held
	learner  *learn.Learner
	failures *failures
	acks     []ack // to be sent once their stations are written
	noise    *noise
	leavers  leavers
	retries  int  // passes in a row with failures
	stale    bool // the switch holds something else than held says
	first    bool // the first pass after a read-back

	stationsAt time.Time // when stations were written last
	complained time.Time // when a message was last complained of
	complaints int       // since then
}

func newReconciler(d *Device, t target, s *Status) *reconciler {
	return &reconciler{Device: d, target: t, status: s, failures: newFailures(), noise: newNoise()}
}

// run returns when ctx ends, or with an error when only a new session can help.
func (r *reconciler) run(ctx context.Context) error {
	r.status.Err = nil
	r.status.Applied, r.status.Lacks = 0, nil // it may have lost everything
	r.setState(Reconciling)
	r.tellStatus(ctx)
	if err := r.configureDigests(ctx); err != nil {
		return err
	}
	if err := r.configureMeters(ctx); err != nil {
		return err
	}
	if err := r.readBack(ctx); err != nil {
		return err
	}
	if err := r.meet(ctx); err != nil {
		return err
	}
	r.status.Lacks = rows.Lacks(r.held.Tables, r.get().Tables)
	r.tellStatus(ctx)
	retry := time.NewTimer(0)
	retry.Stop()
	defer retry.Stop()
	for {
		if err := r.converge(ctx); err != nil {
			return err
		}
		if r.stale || len(r.failures.rows) > 0 || len(r.held.foreign) > 0 {
			retry.Reset(backoff(r.retries))
			r.retries++
		} else {
			retry.Stop()
			r.retries = 0
		}
		again, err := r.wait(ctx, retry.C)
		if err != nil {
			return err
		}
		if again && r.stale {
			if err := r.readBack(ctx); err != nil {
				return err
			}
		}
	}
}

// meet tells what was read back when the switch is connected first: nothing is written before whoever decides knows.
func (r *reconciler) meet(ctx context.Context) error {
	if r.met || r.cfg.Meet == nil {
		return nil
	}
	r.cfg.Meet(ctx, r.held.Tables)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.met = true
	return nil
}

// wait handles the switch's messages until a pass is due; retried says that failures are the reason. What
// is wanted goes before whatever the switch says.
func (r *reconciler) wait(ctx context.Context, retry <-chan time.Time) (retried bool, err error) {
	later := time.NewTimer(0)
	defer later.Stop()
	for {
		select {
		case <-r.changed:
			return false, nil
		default:
		}
		due, err := r.chores(ctx)
		if err != nil {
			return false, err
		}
		if later.Stop(); !due.IsZero() {
			later.Reset(time.Until(due))
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-r.changed:
			return false, nil
		case <-retry:
			r.failures.retry()
			return true, nil
		case <-r.target.Waiting():
			r.take(ctx, weightOfLook)
		case <-later.C:
		}
	}
}

// chores does what is due besides what is wanted, a bounded part of it, and returns when there is more to
// do; the zero Time for not before something happens.
func (r *reconciler) chores(ctx context.Context) (next time.Time, err error) {
	now := time.Now()
	if due := r.stationsDue(now); !due.IsZero() && !due.After(now) {
		if err := r.writeStations(ctx); err != nil {
			return next, err
		}
		now = time.Now()
	}
	if s := (Stations{Known: r.learner.Len(), Full: r.learner.Full(now)}); s != r.Stations() {
		r.stations.Store(&s)
	}
	if due := r.noise.due(); !due.IsZero() && !due.After(now) {
		r.tellNoise(ctx)
	}
	moving := r.held.moving > 0
	if due := r.leavers.due(moving); !due.IsZero() && !due.After(now) {
		r.reportLeft(ctx)
	}
	for _, due := range []time.Time{r.stationsDue(now), r.noise.due(), r.leavers.due(moving)} {
		if next.IsZero() || !due.IsZero() && due.Before(next) {
			next = due
		}
	}
	return next, nil
}

// readBack learns from the switch what it holds.
func (r *reconciler) readBack(ctx context.Context) error {
	want := r.get()
	h, l := newHeld(), learn.New(r.codec.stations)
	limit(l, r.codec, want)
	var queries []*v1.Entity
	for _, t := range r.codec.tables {
		queries = append(queries, t.query())
	}
	queries = append(queries, p4rt.QueryMulticastGroups())
	now := time.Now()
	// One table at a time: a target may answer a read with a single message, and that of all tables is very large.
	for _, query := range queries {
		for e, err := range r.target.Read(ctx, query) {
			if err != nil {
				return fmt.Errorf("reading the switch back: %w", err)
			}
			if t := e.GetTableEntry(); t != nil {
				h.add(r.codec, l, t)
			} else if g := e.GetPacketReplicationEngineEntry().GetMulticastGroupEntry(); g != nil {
				if err := h.addGroup(g); err != nil {
					return fmt.Errorf("reading the switch back: %w", err)
				}
			}
		}
	}
	r.held, r.learner, r.stale, r.first = h, l, false, true
	r.failures = newFailures()
	r.lookAnew(now)
	r.status.Connects++
	r.status.ReadBack = h.rows
	r.status.WrittenConnect = 0
	return nil
}

// limit tells the learner of what is wanted: nobody is learned by the MAC of a VIP, the ports share the
// room, and some of that is for the backends.
func limit(l *learn.Learner, c *codec, want Wanted) {
	l.Ignore(want.Tables.PinnedL2)
	l.Limit(c.stations, want.Tables.Flood)
}

// converge writes until the switch holds what is wanted, but for what it refuses.
func (r *reconciler) converge(ctx context.Context) error {
	writes := 0
	began := time.Now()
	last := began
	for {
		select {
		case <-r.changed:
		default:
		}
		want := r.get()
		limit(r.learner, r.codec, want)
		n, newer, err := r.pass(ctx, want)
		if n > 0 {
			writes += n
			last = time.Now()
		}
		r.status.Written += uint64(n)
		if r.first {
			r.status.WrittenConnect += n
		}
		if err != nil {
			return err
		}
		if _, err := r.chores(ctx); err != nil {
			return err
		}
		if newer {
			continue
		}
		r.first = false
		r.status.Applied, r.status.AppliedAt, r.status.Writes = want.Sequence, last, writes
		r.status.Lacks = rows.Lacks(r.held.Tables, want.Tables)
		r.status.Unpinned = r.failures.unpinned()
		if writes > 0 {
			r.times.reconcile.Observe(time.Since(began).Seconds())
		}
		if len(r.failures.rows) > 0 || len(r.held.foreign) > 0 {
			r.setState(Degraded)
		} else if !r.stale {
			r.setState(Synced)
		}
		r.tellStatus(ctx)
		return nil
	}
}

// pass writes one difference. newer says that it was cut short because something else is wanted.
func (r *reconciler) pass(ctx context.Context, want Wanted) (writes int, newer bool, err error) {
	if writes, err = r.removeForeign(ctx); err != nil {
		return writes, false, err
	}
	batches := rows.Diff(r.held.Tables, want.Tables)
	r.failures.begin(batches)
	for _, batch := range batches {
		todo := r.failures.ready(batch, &r.held.Tables)
		if hasVIPs(todo) {
			todo = oldestFirst(todo, want.Age)
		}
		for part := range slices.Chunk(todo, chunk) {
			n, err := r.write(ctx, part)
			writes += n
			if err != nil {
				return writes, false, err
			}
			r.take(ctx, weightInPass)
			if len(r.changed) > 0 {
				return writes, true, nil
			}
		}
	}
	return writes, false, nil
}

// write sends changes that do not depend on each other, and records which were done.
func (r *reconciler) write(ctx context.Context, changes rows.Batch) (done int, err error) {
	updates := make([]*v1.Update, len(changes))
	for i, ch := range changes {
		updates[i] = r.codec.change(ch)
	}
	refused, err := r.refused(r.target.Write(ctx, updates))
	if err != nil {
		return 0, fmt.Errorf("writing %d updates: %w", len(updates), err)
	}
	for i, ch := range changes {
		e, bad := refused[i]
		if !bad {
			r.held.apply(ch)
			r.failures.done(ch.Row)
			done++
			continue
		}
		if e.Code == codes.AlreadyExists || e.Code == codes.NotFound {
			r.stale = true // somebody else was here
		}
		if e.Code == codes.NotFound && ch.Op == rows.Delete {
			r.held.apply(ch)
			continue
		}
		r.failures.add(ch, &r.held.Tables, e.Code, e.Message)
	}
	return done, nil
}

// refused sorts out what a Write returned: refused updates by index, or an error of the whole call.
func (r *reconciler) refused(err error) (map[int]p4rt.UpdateError, error) {
	batch, ok := errors.AsType[*p4rt.BatchError](err)
	if !ok {
		return nil, err
	}
	refused := make(map[int]p4rt.UpdateError, len(batch.Failed))
	for _, e := range batch.Failed {
		refused[e.Index] = e
	}
	return refused, nil
}

// removeForeign deletes entries that stand where only rows of the plan may.
func (r *reconciler) removeForeign(ctx context.Context) (done int, err error) {
	if len(r.held.foreign) == 0 {
		return 0, nil
	}
	updates := make([]*v1.Update, len(r.held.foreign))
	for i, e := range r.held.foreign {
		updates[i] = p4rt.Delete(e)
	}
	refused, err := r.refused(r.target.Write(ctx, updates))
	if err != nil {
		return 0, fmt.Errorf("removing foreign entries: %w", err)
	}
	var left []*v1.Entity
	for i, e := range r.held.foreign {
		if bad, ok := refused[i]; ok && bad.Code != codes.NotFound {
			left = append(left, e)
		} else {
			done++
		}
	}
	r.held.foreign = left
	return done, nil
}

func (r *reconciler) setState(s State) {
	if r.status.State != s {
		r.status.State, r.status.Since = s, time.Now()
	}
}

// tellStatus tells the controller. It gets a copy.
func (r *reconciler) tellStatus(ctx context.Context) {
	s := *r.status
	if r.held != nil {
		s.Held, s.Tables = r.held.rows, r.codec.occupancy(r.held)
		s.Failed, s.FailedTotal = r.failures.some(10), len(r.failures.rows)
		for _, e := range r.held.foreign[:min(len(r.held.foreign), 3)] {
			s.Failed = append(s.Failed, Failure{Change: text.Cut("delete foreign " + e.String()), Code: codes.Unknown})
		}
		s.FailedTotal += len(r.held.foreign)
	}
	r.cfg.Observe(ctx, Observation{Switch: r.cfg.Name, Status: &s})
}

// backoff is exponential with full jitter above half.
func backoff(n int) time.Duration {
	limit := min(minRetry<<min(n, 10), maxRetry)
	return limit/2 + rand.N(limit/2)
}
