package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/store"
	"github.com/sluicelb/sluice/controller/telemetry"
	"github.com/sluicelb/sluice/internal/strict"
	"github.com/sluicelb/sluice/internal/text"
)

// eventsAtOnce is how many events a watcher holds on to while they are sent.
const eventsAtOnce = 64

// service answers the API. What has to do with decisions runs in the loop: by call what may change one, by look what
// only reads.
type service struct {
	loop      *loop
	telemetry *telemetry.Sampler
	stopping  <-chan struct{} // closed when callers are sent away
}

// call runs f in the loop and gives its error a code.
func (s *service) call(ctx context.Context, f func() error) error {
	var err error
	if stopped := s.loop.do(ctx, func() { err = f() }); stopped != nil {
		return connect.NewError(connect.CodeUnavailable,
			fmt.Errorf("nothing was done: the caller has left, or the controller is stopping: %w", stopped))
	}
	if errors.Is(err, core.ErrFrozen) || errors.Is(err, store.ErrConflict) {
		return connect.NewError(connect.CodeUnavailable, err)
	}
	if errors.Is(err, store.ErrRefused) {
		return connect.NewError(connect.CodeFailedPrecondition, err)
	}
	return err
}

// look runs f in the loop, which gives the core nothing to decide, and waits for no store.
func (s *service) look(ctx context.Context, f func() error) error {
	var err error
	if stopped := s.loop.look(ctx, func() { err = f() }); stopped != nil {
		return connect.NewError(connect.CodeUnavailable,
			fmt.Errorf("the caller has left, or the controller is stopping: %w", stopped))
	}
	return err
}

func (s *service) GetIntent(ctx context.Context, _ *api.GetIntentRequest) (*api.GetIntentResponse, error) {
	m := new(api.GetIntentResponse)
	return m, s.look(ctx, func() error {
		i := s.loop.core.Stored().Intent
		m.Yaml, m.Revision, m.AppliedAt = i.YAML, i.Revision, timestamppb.New(i.AppliedAt)
		return nil
	})
}

func (s *service) ApplyIntent(ctx context.Context, r *api.ApplyIntentRequest) (*api.ApplyIntentResponse, error) {
	file := text.Cut(cmp.Or(r.File, "intent"))
	p, err := readFor(ctx, file, r.Yaml)
	if err != nil {
		return nil, err
	}
	m := new(api.ApplyIntentResponse)
	return m, s.call(ctx, func() error {
		if running := s.loop.core.Stored().Intent.Revision; r.IfRevision != 0 && r.IfRevision != running {
			return connect.NewError(connect.CodeAborted, fmt.Errorf("revision %d is running, not %d", running,
				r.IfRevision))
		}
		done, err := s.loop.apply(p)
		m.Revision, m.Changed = done.Revision, done.Changed
		return refusal(err)
	})
}

// reading holds a token while a caller's intent is read: that takes memory and seconds, however many callers there are.
var reading = make(chan struct{}, 1)

// readFor reads the intent of a caller, unless the caller leaves before its turn.
func readFor(ctx context.Context, file, text string) (parsed, error) {
	select {
	case reading <- struct{}{}:
	case <-ctx.Done():
		return parsed{}, ctx.Err()
	}
	defer func() { <-reading }()
	if err := ctx.Err(); err != nil {
		return parsed{}, err
	}
	return parse(file, text), nil
}

// refusal gives the error of a faulty intent one detail for each problem.
func refusal(err error) error {
	problems := problemsOf(err)
	if len(problems) == 0 {
		return err
	}
	refused := connect.NewError(connect.CodeInvalidArgument, err)
	for _, p := range problems {
		d, detailErr := connect.NewErrorDetail(&api.Problem{File: p.File, Line: uint32(p.Line), Path: p.Path,
			Message: p.Message})
		if detailErr == nil {
			refused.AddDetail(d)
		}
	}
	return refused
}

func problemsOf(err error) []*strict.Problem {
	switch e := err.(type) {
	case *strict.Problem:
		return []*strict.Problem{e}
	case interface{ Unwrap() []error }:
		var all []*strict.Problem
		for _, one := range e.Unwrap() {
			all = append(all, problemsOf(one)...)
		}
		return all
	case interface{ Unwrap() error }:
		return problemsOf(e.Unwrap())
	}
	return nil
}

func (s *service) SetBackendAdmin(ctx context.Context, r *api.SetBackendAdminRequest) (*api.SetBackendAdminResponse,
	error) {
	var admin plan.Admin
	switch r.Admin {
	case api.Admin_ADMIN_ACTIVE:
		admin = plan.Active
	case api.Admin_ADMIN_DRAIN:
		admin = plan.Drain
	default:
		return nil, connect.NewError(connect.CodeInvalidArgument,
			fmt.Errorf("admin: must be ADMIN_ACTIVE or ADMIN_DRAIN, is %v", r.Admin))
	}
	var key plan.BackendKey
	err := s.call(ctx, func() (err error) {
		if key, err = s.loop.find(text.Cut(r.Pool), text.Cut(r.Backend)); err != nil {
			return err
		}
		return s.loop.setAdmin(key, admin)
	})
	if err != nil {
		return nil, err
	}
	s.loop.written(ctx)
	var at *moment
	if err := s.look(ctx, func() error { at = s.loop.moment(); return nil }); err != nil {
		return nil, err
	}
	m := &api.SetBackendAdminResponse{Backend: at.backendStatus(key)}
	if m.Backend == nil {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("%v has left the configuration meanwhile", key))
	}
	return m, nil
}

// find names a backend of the intent; the pool may be left out where there is no doubt.
func (l *loop) find(pool, backend string) (plan.BackendKey, error) {
	var found []plan.BackendKey
	var pools, backends []string // those that there are
	for _, p := range l.core.Intent().Pools {
		pools = append(pools, p.Name)
		for _, b := range p.Backends {
			if pool == "" || pool == p.Name {
				backends = append(backends, b.Name)
			}
			if b.Name == backend && (pool == "" || pool == p.Name) {
				found = append(found, plan.BackendKey{Pool: p.Name, Backend: b.Name})
			}
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		var names []string
		for _, key := range found {
			names = append(names, key.String())
		}
		slices.Sort(names)
		return plan.BackendKey{}, connect.NewError(connect.CodeInvalidArgument,
			fmt.Errorf("backend %q is in several pools, name one of: %s", backend, text.List(names, core.Few)))
	case pool != "" && !slices.Contains(pools, pool):
		return plan.BackendKey{}, noPool(pool, pools)
	}
	where := "any pool"
	if pool != "" {
		where = fmt.Sprintf("pool %q", pool)
	}
	err := fmt.Errorf("no backend %q in %s%s", backend, where, text.Meant("; ", backend, backends))
	return plan.BackendKey{}, connect.NewError(connect.CodeNotFound, err)
}

// noPool is the error for a pool that is not there.
func noPool(pool string, there []string) error {
	return connect.NewError(connect.CodeNotFound, fmt.Errorf("no pool %q%s", pool, text.Meant("; ", pool, there)))
}

func (l *loop) setAdmin(key plan.BackendKey, admin plan.Admin) error {
	return l.put(core.SetAdmin{Backend: key, Admin: admin}).Err
}

func (s *service) WatchEvents(ctx context.Context, r *api.WatchEventsRequest,
	stream *connect.ServerStream[api.Event],
) error {
	read := s.loop.events.before(int(r.Recent))
	// The headers go out at once: the watcher knows that it misses nothing from now on.
	if err := stream.Send(nil); err != nil {
		return err
	}
	for {
		list, more, missed := s.loop.events.after(read, eventsAtOnce)
		if missed {
			return connect.NewError(connect.CodeResourceExhausted, errors.New("events come faster than they are read"))
		}
		for _, ev := range list {
			if err := stream.Send(ev); err != nil {
				return err
			}
			read = ev.Sequence
		}
		if len(list) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-more:
		}
	}
}

func (s *service) WatchChecks(ctx context.Context, _ *api.WatchChecksRequest,
	stream *connect.ServerStream[api.Checks],
) error {
	defer s.loop.checks.watch(func(watched bool) {
		s.loop.signs.give()
		select {
		case <-s.stopping: // it has not left
		default:
			s.loop.publish(healthdChanged{watched})
		}
	})()
	for {
		current, next := s.loop.checks.get()
		if err := stream.Send(current); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-next:
		}
	}
}

func (s *service) ReportVerdicts(ctx context.Context, r *api.ReportVerdictsRequest) (*api.ReportVerdictsResponse,
	error) {
	if n := len(r.Verdicts); n > api.MaxVerdicts {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("verdicts: must be at most %d, are %d",
			api.MaxVerdicts, n))
	}
	for i, v := range r.Verdicts {
		if v.Health < api.Health_HEALTH_UP || v.Health > api.Health_HEALTH_UNCHECKED {
			return nil, connect.NewError(connect.CodeInvalidArgument,
				fmt.Errorf("verdicts[%d].health: must be HEALTH_UP, "+
					"HEALTH_DOWN, HEALTH_FAILING or HEALTH_UNCHECKED, is %v", i, v.Health))
		}
	}
	m := new(api.ReportVerdictsResponse)
	return m, s.call(ctx, func() error {
		var err error
		m.Unknown, err = s.loop.verdicts(r)
		return err
	})
}

// verdicts takes a healthd's word, and returns which backends of it are not checked.
func (l *loop) verdicts(r *api.ReportVerdictsRequest) (unknown []string, err error) {
	l.reported = time.Now()
	in := core.Report{Healthd: cmp.Or(text.Cut(r.Healthd), core.Unnamed), Session: text.Cut(r.Session), Full: r.Full}
	for _, m := range r.Verdicts {
		key := plan.BackendKey{Pool: m.Pool, Backend: m.Backend}
		if !l.core.Knows(key) {
			unknown = append(unknown, text.Cut(key.String()))
			continue
		}
		in.Verdicts = append(in.Verdicts, core.Said{
			Backend: key, Health: healthOf(m.Health), Reason: text.Cut(m.Reason), Since: timeOf(m.Since),
			Detected: timeOf(m.DetectedAt),
		})
	}
	return unknown, l.put(in).Err
}

// healthOf is what a healthd says; Unknown: it cannot ask.
func healthOf(h api.Health) plan.Health {
	switch h {
	case api.Health_HEALTH_UNCHECKED:
		return plan.Unknown
	case api.Health_HEALTH_DOWN:
		return plan.Down
	case api.Health_HEALTH_FAILING:
		return plan.Failing
	}
	return plan.Up
}

// timeOf is zero for a time that is missing or not valid.
func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil || t.CheckValid() != nil {
		return time.Time{}
	}
	return t.AsTime()
}
