package p4rt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sluicelb/sluice/p4/backlog"
)

const (
	defaultKeepAlive  = 5 * time.Second
	defaultMinBackoff = 200 * time.Millisecond
	defaultMaxBackoff = 10 * time.Second

	// answerTimeout bounds the wait for a connection, and for the first arbitration answer on it.
	answerTimeout = 5 * time.Second
)

// ErrElectionIDInUse is part of the error when another live client has the session's election id.
var ErrElectionIDInUse = errors.New("the election id is in use by another live client")

// Config is what a Session needs.
type Config struct {
	Target   string // as Dial takes it
	DeviceID uint64

	// Election is this client's rank. With nil, and no Elect, the session stays a standby and is never
	// primary, even where a target (bmv2) says so.
	Election *ElectionID

	// Elect makes the rank in Election's place, for clients that take over with care. The session comes
	// without an id, which changes nothing on the target, and asks Elect when it has heard how things
	// are, and again at each news while it is not primary; never twice at once. An id that Elect returns
	// is sent to the target. An error keeps the session a standby until the next news, and shows in
	// Status. Elect may take its time: its context ends when there is newer news or the connection is
	// lost, and what it returns then does not count.
	Elect func(context.Context, Rivals) (ElectionID, error)

	// Pipeline is pushed, which clears all tables, when the target runs nothing or something else: its
	// cookie or its P4Info differ. It must carry a cookie. With nil the target's own is used.
	Pipeline *v1.ForwardingPipelineConfig

	Log        *slog.Logger  // nil: no logs
	KeepAlive  time.Duration // how often an idle target is asked whether it lives; 0: 5 s
	MinBackoff time.Duration // the first wait before a reconnect is up to this; 0: 200 ms
	MaxBackoff time.Duration // and every later one up to twice as much, until this; 0: 10 s
	Options    []Option      // for Dial
}

// State is where a session is:
//
//	             connection, arbitration answer
//	Disconnected ------------------------------> Backup <----------+
//	     ^                                          | "you are     | "another
//	     |  connection lost, keepalive unanswered,  v  primary"    |  is primary"
//	     +--------- callback failed ------------ Primary ----------+
type State uint8

// The states of a session.
const (
	Disconnected State = iota
	Backup
	Active // primary: the callback runs
)

func (s State) String() string {
	return [...]string{"disconnected", "backup", "primary"}[s]
}

// Status is what a session last knew.
type Status struct {
	State   State
	Since   time.Time   // when State began
	Err     error       // why the session is not primary; nil when it is, or has not tried yet
	Highest *ElectionID // the highest election id that the target has told, nil before it did
}

// Rivals is what a target has told of the other clients of its device.
type Rivals struct {
	Primary bool        // one of them is primary
	Highest *ElectionID // the primary's id, or else the highest that the target remembers; nil: none
}

// Session keeps one device's connection and, where it has an election id, tries to be its primary.
type Session struct {
	cfg Config
	log *slog.Logger

	mu     sync.Mutex // guards status
	status Status
}

// NewSession prepares a session; Run starts it.
func NewSession(cfg Config) *Session {
	if cfg.KeepAlive == 0 {
		cfg.KeepAlive = defaultKeepAlive
	}
	if cfg.MinBackoff == 0 {
		cfg.MinBackoff = defaultMinBackoff
	}
	if cfg.MaxBackoff == 0 {
		cfg.MaxBackoff = defaultMaxBackoff
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Session{
		cfg:    cfg,
		log:    log.With("target", cfg.Target, "device", cfg.DeviceID),
		status: Status{Since: time.Now()},
	}
}

// Status returns where the session is.
func (s *Session) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *Session) setStatus(state State, err error, highest *ElectionID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.State != state {
		s.status.State, s.status.Since = state, time.Now()
	}
	s.status.Err = err
	if highest != nil {
		s.status.Highest = highest
	}
}

// Run connects, and connects again whenever the connection is lost, until ctx ends, whose error it
// then returns.
//
// Whenever the session becomes primary, and the target runs the pipeline, Run calls f; never two at
// once. The context of f ends when the connection or primacy is lost, with the reason as its cause; f
// must return then. What f returns while its context lives counts: nil ends Run, which returns nil; an
// error is logged and leads to a new connection, after a pause.
func (s *Session) Run(ctx context.Context, f func(ctx context.Context, p *Primary) error) error {
	if p := s.cfg.Pipeline; p != nil && p.GetCookie() == nil {
		return errors.New("the pipeline has no cookie, so whether a target runs it cannot be told")
	}
	var info *Info
	if s.cfg.Pipeline != nil {
		var err error
		if info, err = NewInfo(s.cfg.Pipeline.GetP4Info()); err != nil {
			return err
		}
	}
	var logged string
	for attempt := 0; ; attempt++ {
		began := time.Now()
		finished, err := s.connect(ctx, info, f)
		if finished {
			return nil
		}
		if ctx.Err() != nil {
			s.setStatus(Disconnected, ctx.Err(), nil)
			return ctx.Err()
		}
		if time.Since(began) > s.cfg.MaxBackoff {
			attempt = 0 // it worked for a while
		}
		wasUp := s.Status().State != Disconnected
		s.setStatus(Disconnected, err, nil)
		wait := s.backoff(attempt)
		level := slog.LevelDebug // a failure that repeats is no transition
		if wasUp || err.Error() != logged {
			level, logged = slog.LevelWarn, err.Error()
		}
		s.log.Log(ctx, level, "no connection to the target", "err", err, "retry_in", wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// backoff is exponential with full jitter, so that clients which lost a target together do not come
// back together.
func (s *Session) backoff(attempt int) time.Duration {
	limit := s.cfg.MinBackoff
	for range attempt {
		if limit *= 2; limit >= s.cfg.MaxBackoff {
			limit = s.cfg.MaxBackoff
			break
		}
	}
	return rand.N(limit) + 1
}

// link is one connection's stream.
type link struct {
	mu     sync.Mutex // guards sending
	stream v1.P4Runtime_StreamChannelClient

	rank     sync.Mutex  // guards what follows; never held while sending, which may wait for the target
	bid      *ElectionID // what this client came with last; nil: no id
	answered bool        // the target has answered that
}

// arbitrate asks the target to rank this client by id.
func (l *link) arbitrate(deviceID uint64, id *ElectionID) error {
	l.rank.Lock()
	l.bid, l.answered = id, false
	l.rank.Unlock()
	return l.send(&v1.StreamMessageRequest{Update: &v1.StreamMessageRequest_Arbitration{
		Arbitration: &v1.MasterArbitrationUpdate{DeviceId: deviceID, ElectionId: id.message()},
	}})
}

func (l *link) send(m *v1.StreamMessageRequest) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stream.Send(m)
}

// arbitration is one answer of the target.
type arbitration struct {
	primary  bool
	bid      *ElectionID // by which
	rival    bool        // another client is primary
	highest  *ElectionID
	err      error            // why not primary
	messages *backlog.Backlog // of this time as primary
}

// connect holds one connection until it is lost, or f is finished.
func (s *Session) connect(
	ctx context.Context, info *Info, f func(context.Context, *Primary) error,
) (finished bool, err error) {
	dialCtx, dialed := context.WithTimeout(ctx, answerTimeout)
	client, err := Dial(dialCtx, s.cfg.Target, s.cfg.DeviceID, s.cfg.Options...)
	dialed()
	if err != nil {
		return false, err
	}
	defer client.Close()

	var background sync.WaitGroup
	defer background.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	stream, err := client.rpc.StreamChannel(ctx)
	if err != nil {
		return false, fmt.Errorf("opening the stream: %w", err)
	}
	l := &link{stream: stream}
	first := s.cfg.Election
	if s.cfg.Elect != nil {
		first = nil
	}
	_ = l.arbitrate(s.cfg.DeviceID, first) // an error shows, with its reason, in receive
	answers := make(chan arbitration)
	lost := make(chan error, 1)
	background.Go(func() { lost <- s.receive(ctx, l, answers) })
	background.Go(func() { s.keepAlive(ctx, client, cancel) })

	var running *term
	stop := func(cause error) {
		if running != nil {
			running.cancel(cause)
			<-running.done
			running = nil
		}
	}
	var asked *question
	drop := func() {
		if asked != nil {
			asked.cancel()
			<-asked.reply // Elect has returned
			asked = nil
		}
	}
	defer drop()
	logged := "" // why Elect wants no primacy, as it was told last
	late := time.NewTimer(answerTimeout)
	defer late.Stop()
	for {
		var done chan outcome
		if running != nil {
			done = running.done
		}
		var reply chan election
		if asked != nil {
			reply = asked.reply
		}
		select {
		case a := <-answers:
			late.Stop()
			drop()
			if !a.primary {
				s.setStatus(Backup, a.err, a.highest)
				if s.cfg.Elect == nil {
					level := slog.LevelInfo
					if s.cfg.Election != nil {
						level = slog.LevelWarn // somebody outranks a client that means to be primary
					}
					s.log.Log(ctx, level, "not primary", "reason", a.err)
				} else if running != nil {
					s.log.Warn("not primary any more", "reason", a.err)
				}
				stop(a.err)
				if s.cfg.Elect != nil {
					asked = s.ask(ctx, Rivals{a.rival, a.highest})
				}
				continue
			}
			logged = ""
			if running != nil {
				continue
			}
			s.setStatus(Active, nil, a.highest)
			s.log.Info("primary", "election", a.bid)
			running = s.begin(ctx, client, l, info, a, f)
		case e := <-reply:
			asked = nil
			if e.err == nil {
				_ = l.arbitrate(s.cfg.DeviceID, &e.id) // an error shows in receive
				late.Reset(answerTimeout)
				continue
			}
			s.setStatus(Backup, fmt.Errorf("%w: %w", ErrNotPrimary, e.err), nil)
			if text := e.err.Error(); text != logged {
				s.log.Warn("not primary", "reason", e.err)
				logged = text
			}
		case o := <-done:
			running = nil
			if o.lost != nil {
				return false, o.lost
			}
			return o.err == nil, o.err
		case err := <-lost:
			stop(err)
			return false, err
		case <-late.C:
			return false, fmt.Errorf("no answer to the arbitration request within %v", answerTimeout)
		}
	}
}

// question is one call of Elect.
type question struct {
	cancel context.CancelFunc
	reply  chan election // capacity 1
}

type election struct {
	id  ElectionID
	err error
}

func (s *Session) ask(ctx context.Context, seen Rivals) *question {
	ctx, cancel := context.WithCancel(ctx)
	q := &question{cancel: cancel, reply: make(chan election, 1)}
	go func() { // ends when Elect does; connect waits for that
		defer cancel()
		id, err := s.cfg.Elect(ctx, seen)
		q.reply <- election{id, err}
	}()
	return q
}

// receive reads the stream until it ends, and says why it did.
func (s *Session) receive(ctx context.Context, l *link, answers chan<- arbitration) error {
	var messages *backlog.Backlog // nil while not primary
	for {
		m, err := l.stream.Recv()
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return s.streamError(err, l)
		}
		update, ok := m.GetUpdate().(*v1.StreamMessageResponse_Arbitration)
		if !ok {
			// What finds no room is dropped: blocking would hide the loss of primacy behind it, and the
			// target repeats what matters (unacknowledged digests, idle entries).
			if messages != nil {
				messages.Offer(backlog.ClassOf(m), m)
			}
			continue
		}
		a, current := s.judge(l, update.Arbitration)
		if !current {
			continue
		}
		switch {
		case !a.primary:
			messages = nil
		case messages == nil:
			messages = backlog.New(backlog.DefaultRooms, nil)
		}
		a.messages = messages
		select {
		case answers <- a:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// judge reads an arbitration answer (section "Client Arbitration Notifications"). One that the target
// gave before it had the id that this client sent last is not current.
func (s *Session) judge(l *link, m *v1.MasterArbitrationUpdate) (a arbitration, current bool) {
	l.rank.Lock()
	defer l.rank.Unlock()
	a.bid = l.bid
	if e := m.GetElectionId(); e != nil {
		a.highest = &ElectionID{High: e.GetHigh(), Low: e.GetLow()}
	}
	code := codes.Code(m.GetStatus().GetCode())
	if s.cfg.Elect != nil && l.bid != nil {
		// From the id on the highest is no lower.
		if a.highest != nil && a.highest.Compare(*l.bid) < 0 || a.highest == nil && code != codes.OK {
			return a, false
		}
	}
	l.answered = true
	a.rival = code == codes.AlreadyExists
	switch {
	case l.bid == nil && s.cfg.Elect == nil:
		a.err = fmt.Errorf("%w: a standby", ErrNotPrimary)
	case l.bid == nil:
		a.err = fmt.Errorf("%w: has not asked to be", ErrNotPrimary)
	case code == codes.OK:
		a.primary = true
	case code == codes.AlreadyExists:
		a.err = fmt.Errorf("%w: election id %v is primary, this client's is %v", ErrNotPrimary, a.highest, l.bid)
	case code == codes.NotFound:
		a.err = fmt.Errorf("%w: nobody is until a client comes with election id %v or above, this client's is %v",
			ErrNotPrimary, a.highest, l.bid)
	default:
		a.err = fmt.Errorf("%w: %v: %s", ErrNotPrimary, code, m.GetStatus().GetMessage())
	}
	return a, true
}

// streamError says why a stream ended (section "Rules for Handling MasterArbitrationUpdate Messages").
func (s *Session) streamError(err error, l *link) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the target ended the stream")
	}
	l.rank.Lock()
	defer l.rank.Unlock()
	if !l.answered {
		switch status.Code(err) {
		case codes.NotFound:
			return fmt.Errorf("the target has no device %d: %w", s.cfg.DeviceID, err)
		case codes.InvalidArgument:
			if l.bid == nil {
				return fmt.Errorf("the target refuses a client without an election id; it may take only one: %w", err)
			}
			return fmt.Errorf("%w: %v: %w", ErrElectionIDInUse, l.bid, err)
		case codes.ResourceExhausted:
			return fmt.Errorf("the target has too many clients: %w", err)
		}
	}
	return fmt.Errorf("the stream broke: %w", err)
}

// keepAlive ends the connection when the target stops answering.
func (s *Session) keepAlive(ctx context.Context, c *Client, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(s.cfg.KeepAlive)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		callCtx, called := context.WithTimeout(ctx, s.cfg.KeepAlive)
		err := c.alive(callCtx)
		called()
		if err != nil && ctx.Err() == nil {
			cancel(fmt.Errorf("the target stopped answering: %w", err))
			return
		}
	}
}

// term is one time as primary.
type term struct {
	cancel context.CancelCauseFunc
	done   chan outcome // of f, once
}

// outcome is how a term ended. What f returned after its context ended does not count.
type outcome struct {
	err  error // what f returned
	lost error // why its context had ended by then, nil when it had not
}

func (s *Session) begin(ctx context.Context, client *Client, l *link, info *Info, a arbitration,
	f func(context.Context, *Primary) error) *term {
	ctx, cancel := context.WithCancelCause(ctx)
	t := &term{cancel: cancel, done: make(chan outcome, 1)}
	primary := *client
	primary.election = a.bid.message()
	p := &Primary{Client: &primary, ctx: ctx, link: l, messages: a.messages}
	go func() { // ends when f does; connect waits for done
		defer cancel(nil)
		err := s.preparePipeline(ctx, p, info)
		if err == nil {
			err = f(ctx, p)
		}
		t.done <- outcome{err: err, lost: context.Cause(ctx)}
	}()
	return t
}

// preparePipeline makes sure that the target runs the session's pipeline, if it has one.
func (s *Session) preparePipeline(ctx context.Context, p *Primary, info *Info) error {
	have, err := p.Pipeline(ctx)
	if err != nil {
		return err
	}
	want := s.cfg.Pipeline
	if want == nil {
		if have == nil {
			return errors.New("the target runs no pipeline, and none is given to push")
		}
		p.info, err = NewInfo(have.GetP4Info())
		return err
	}
	p.info = info
	if have != nil && proto.Equal(have.GetCookie(), want.GetCookie()) && proto.Equal(have.GetP4Info(),
		want.GetP4Info()) {
		return nil
	}
	if err := p.setPipeline(ctx, want); err != nil {
		return err
	}
	s.log.Info("pipeline pushed", "cookie", fmt.Sprintf("%#x", want.GetCookie().GetCookie()), "replaced", have != nil)
	return nil
}
