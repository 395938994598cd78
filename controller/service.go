package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/config/strict"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/store"
)

// service answers the API. What touches decisions runs in the loop.
type service struct{ loop *loop }

// call runs f in the loop and gives its error a code.
func (s *service) call(ctx context.Context, f func() error) error {
	var err error
	if stopped := s.loop.do(ctx, func() { err = f() }); stopped != nil {
		return connect.NewError(connect.CodeUnavailable,
			fmt.Errorf("nothing was done: the caller has left, or the controller is stopping: %w", stopped))
	}
	if errors.Is(err, errFrozen) || errors.Is(err, store.ErrConflict) {
		return connect.NewError(connect.CodeUnavailable, err)
	}
	if errors.Is(err, store.ErrRefused) {
		return connect.NewError(connect.CodeFailedPrecondition, err)
	}
	return err
}

func (s *service) GetIntent(ctx context.Context, _ *api.GetIntentRequest) (*api.GetIntentResponse, error) {
	m := new(api.GetIntentResponse)
	return m, s.call(ctx, func() error {
		i := s.loop.st.Intent
		m.Yaml, m.Revision, m.AppliedAt = i.YAML, i.Revision, timestamppb.New(i.AppliedAt)
		return nil
	})
}

func (s *service) ApplyIntent(ctx context.Context, r *api.ApplyIntentRequest) (*api.ApplyIntentResponse, error) {
	file := r.File
	if file == "" {
		file = "intent"
	}
	if len(file) > maxFileName {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("file: must have at most %d bytes, has %d", maxFileName, len(file)))
	}
	p, err := readFor(ctx, file, r.Yaml)
	if err != nil {
		return nil, err
	}
	m := new(api.ApplyIntentResponse)
	return m, s.call(ctx, func() error {
		if running := s.loop.st.Intent.Revision; r.IfRevision != 0 && r.IfRevision != running {
			return connect.NewError(connect.CodeAborted, fmt.Errorf("revision %d is running, not %d", running, r.IfRevision))
		}
		var err error
		m.Revision, m.Changed, err = s.loop.apply(ctx, p, nil)
		return refusal(err)
	})
}

// maxFileName is how long the name of a file may be, which stands in each of its problems.
const maxFileName = 4096

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
		d, detailErr := connect.NewErrorDetail(&api.Problem{File: p.File, Line: uint32(p.Line), Path: p.Path, Message: p.Message})
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

func (s *service) SetBackendAdmin(ctx context.Context, r *api.SetBackendAdminRequest) (*api.SetBackendAdminResponse, error) {
	var admin plan.Admin
	switch r.Admin {
	case api.Admin_ADMIN_ACTIVE:
		admin = plan.Active
	case api.Admin_ADMIN_DRAIN:
		admin = plan.Drain
	default:
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("admin: must be ADMIN_ACTIVE or ADMIN_DRAIN, is %v", r.Admin))
	}
	m := new(api.SetBackendAdminResponse)
	return m, s.call(ctx, func() error {
		key, err := s.loop.find(r.Pool, r.Backend)
		if err != nil {
			return err
		}
		if err := s.loop.setAdmin(ctx, key, admin); err != nil {
			return err
		}
		m.Backend = s.loop.backendStatus(key)
		return nil
	})
}

// find names a backend of the intent; the pool may be left out where there is no doubt.
func (l *loop) find(pool, backend string) (plan.BackendKey, error) {
	var found []plan.BackendKey
	for _, p := range l.intent.Pools {
		for _, b := range p.Backends {
			if b.Name == backend && (pool == "" || pool == p.Name) {
				found = append(found, plan.BackendKey{Pool: p.Name, Backend: b.Name})
			}
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return plan.BackendKey{}, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("backend %q is in several pools, name one of: %s", backend, joinKeys(found)))
	case pool != "":
		return plan.BackendKey{}, connect.NewError(connect.CodeNotFound, fmt.Errorf("no backend %q in pool %q", backend, pool))
	}
	return plan.BackendKey{}, connect.NewError(connect.CodeNotFound, fmt.Errorf("no backend %q in any pool", backend))
}

func (l *loop) setAdmin(ctx context.Context, key plan.BackendKey, admin plan.Admin) error {
	if l.st.Admin[key] == admin {
		return nil
	}
	next := l.st
	next.Admin = maps.Clone(l.st.Admin)
	text := fmt.Sprintf("drain of %v", key)
	next.Admin[key] = admin
	if admin == plan.Active {
		text = fmt.Sprintf("end of the drain of %v", key)
		delete(next.Admin, key)
	}
	delete(l.drained, key)
	ev := adminChanged(key, admin)
	if err := l.step(ctx, next, cause{text: text}, false, errFrozen); err != nil {
		return err
	}
	l.events.publish(time.Now(), ev)
	l.tellDrained()
	return nil
}

func (s *service) WatchEvents(ctx context.Context, r *api.WatchEventsRequest, stream *connect.ServerStream[api.Event]) error {
	past, next, stop := s.loop.events.watch(int(r.Recent))
	defer stop()
	// The headers go out at once: the watcher knows that it misses nothing from now on.
	if err := stream.Send(nil); err != nil {
		return err
	}
	for _, ev := range past {
		if err := stream.Send(ev); err != nil {
			return err
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev, ok := <-next:
			if !ok {
				return connect.NewError(connect.CodeResourceExhausted, errors.New("events come faster than they are read"))
			}
			if err := stream.Send(ev); err != nil {
				return err
			}
		}
	}
}

func (s *service) WatchChecks(ctx context.Context, _ *api.WatchChecksRequest, stream *connect.ServerStream[api.Checks]) error {
	defer s.loop.checks.watch()()
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

func (s *service) ReportVerdicts(ctx context.Context, r *api.ReportVerdictsRequest) (*api.ReportVerdictsResponse, error) {
	if n := len(r.Verdicts); n > api.MaxVerdicts {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("verdicts: must be at most %d, are %d", api.MaxVerdicts, n))
	}
	for i, v := range r.Verdicts {
		if v.Health < api.Health_HEALTH_UP || v.Health > api.Health_HEALTH_UNCHECKED {
			return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("verdicts[%d].health: must be HEALTH_UP, "+
				"HEALTH_DOWN, HEALTH_FAILING or HEALTH_UNCHECKED, is %v", i, v.Health))
		}
	}
	m := new(api.ReportVerdictsResponse)
	return m, s.call(ctx, func() error {
		var err error
		m.Unknown, err = s.loop.verdicts(ctx, r)
		return err
	})
}
