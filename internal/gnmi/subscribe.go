package gnmi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// firstWord is how long a caller may take to say what it subscribes to.
	firstWord = 30 * time.Second
	// standstill is how long a client may take for a message. One that reads none holds on to a place, and to the
	// states of the tree that it is told of.
	standstill = time.Minute
	// calm is the time between two looks for changes, where they come without end.
	calm = 10 * time.Millisecond
	// lookInterval is how often the events are looked at of a Source that does not say when they change.
	lookInterval = 100 * time.Millisecond
)

// Subscribe implements gnmi.GNMIServer.
func (s *Server) Subscribe(stream pb.GNMI_SubscribeServer) error {
	return s.subscribe(stream.Context(), stream.Recv, stream.Send, nil)
}

// subscribe serves a stream (section 3.5), however it came here.
//
// It ends with InvalidArgument for what no subscription can be, a second subscription, or a poll of one that is not to
// be polled; with Unimplemented for other encodings; with ResourceExhausted where there is no room; with
// DeadlineExceeded where the client takes nothing for standstill. A path of something that is not there, in the schema
// or now, is no error: the client hears sync_response, and of the path when it is there.
//
// cut makes a send fail that waits for the client, and all that come after it. Where it is nil the end of the call does
// so.
func (s *Server) subscribe(
	ctx context.Context, recv func() (*pb.SubscribeRequest, error), send func(*pb.SubscribeResponse) error, cut func(),
) error {
	leave, err := s.streams.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	var pace pace
	done := make(chan error, 1)
	go func() { done <- s.serve(ctx, recv, pace.timed(send)) }() // ends with the stream
	look := time.NewTicker(s.standstill / 4)
	defer look.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-look.C:
		}
		if !pace.stands(s.standstill) {
			continue
		}
		if cut != nil {
			cut()
			<-done
		}
		return status.Errorf(codes.DeadlineExceeded, "the client has taken nothing for %v", s.standstill)
	}
}

// pace is since when a send waits for the client.
type pace struct{ since atomic.Pointer[time.Time] }

// timed is send, whose time is taken.
func (p *pace) timed(send func(*pb.SubscribeResponse) error) func(*pb.SubscribeResponse) error {
	return func(m *pb.SubscribeResponse) error {
		now := time.Now()
		p.since.Store(&now)
		defer p.since.Store(nil)
		return send(m)
	}
}

// stands says whether the client has taken nothing for so long.
func (p *pace) stands(long time.Duration) bool {
	since := p.since.Load()
	return since != nil && time.Since(*since) >= long
}

func (s *Server) serve(
	ctx context.Context, recv func() (*pb.SubscribeRequest, error), send func(*pb.SubscribeResponse) error,
) (err error) {
	done := make(chan struct{})
	defer close(done)
	requests := receive(recv, done)
	var first request
	select {
	case first = <-requests:
	case <-time.After(firstWord):
		return status.Errorf(codes.DeadlineExceeded, "no request came within %v", firstWord)
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
	if first.err != nil {
		return ended(first.err)
	}
	list := first.GetSubscribe()
	if list == nil {
		return status.Error(codes.InvalidArgument, "the first request of a stream must be a subscription: "+
			"there is none to poll")
	}
	sub := &subscription{server: s, list: list, send: send}
	if sub.parts, err = s.parts(list); err != nil {
		return err
	}
	switch list.GetMode() {
	case pb.SubscriptionList_ONCE:
		return sub.sync(ctx)
	case pb.SubscriptionList_POLL:
		return sub.poll(ctx, requests)
	default:
		return sub.stream(ctx, requests)
	}
}

// request is what came from the client.
type request struct {
	*pb.SubscribeRequest
	err error
}

// receive hands on what the client sends, one after the other. Its goroutine ends when the stream does, or is done
// with.
func receive(recv func() (*pb.SubscribeRequest, error), done <-chan struct{}) <-chan request {
	requests := make(chan request)
	go func() {
		for {
			r, err := recv()
			select {
			case requests <- request{r, err}:
			case <-done:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return requests
}

// ended is what a stream returns when the client sends no more.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return unavailable(err)
}

// part is what a client wants of one class of leaves, of one path.
type part struct {
	*query
	class class
	// interval is how often it is looked at, unless it is told of changes.
	interval  time.Duration
	onlyNew   bool          // sends only what has changed
	heartbeat time.Duration // how often it sends all the same; 0: never

	sent      *state // the last one that was sent, or that updates_only left out
	look      time.Time
	beat      time.Time
	following bool // it is told of changes
}

// parts reads a list of subscriptions (sections 3.5.1.2 and 3.5.1.3).
func (s *Server) parts(list *pb.SubscriptionList) ([]*part, error) {
	if err := checkEncoding(list.GetEncoding()); err != nil {
		return nil, err
	}
	if _, known := pb.SubscriptionList_Mode_name[int32(list.GetMode())]; !known {
		return nil, status.Errorf(codes.InvalidArgument, "mode %v: must be STREAM, ONCE or POLL", list.GetMode())
	}
	if n := len(list.GetSubscription()); n == 0 || n > mostPaths {
		return nil, status.Errorf(codes.InvalidArgument, "%d subscriptions: must be 1..%d; the path / is all there is",
			n, mostPaths)
	}
	wanted, err := s.models(list.GetUseModels())
	if err != nil {
		return nil, err
	}
	var all []*part
	for _, sub := range list.GetSubscription() {
		q, err := s.cfg.Schema.query(list.GetPrefix(), sub.GetPath(), wanted)
		if err != nil {
			return nil, err
		}
		parts := []*part{event: {query: q, class: event}, sampled: {query: q, class: sampled}}
		if list.GetMode() == pb.SubscriptionList_STREAM {
			if err := s.schedule(parts, sub); err != nil {
				return nil, invalid(q.path, "%v", err)
			}
		}
		for _, p := range parts {
			if q.asks(p.class) {
				all = append(all, p)
			}
		}
	}
	return all, nil
}

// schedule says when the parts of a subscription are sent (section 3.5.1.5.2). What is sampled has no changes that
// somebody tells of: ON_CHANGE looks at it as often as it can be.
func (s *Server) schedule(parts []*part, sub *pb.Subscription) error {
	events, samples := parts[event], parts[sampled]
	heartbeat, err := s.interval("heartbeat_interval", sub.GetHeartbeatInterval())
	if err != nil {
		return err
	}
	switch sub.GetMode() {
	case pb.SubscriptionMode_SAMPLE:
		interval, err := s.interval("sample_interval", sub.GetSampleInterval())
		if err != nil {
			return err
		}
		for _, p := range parts {
			p.interval, p.onlyNew = cmp.Or(interval, s.cfg.Lowest), sub.GetSuppressRedundant()
			if p.onlyNew {
				p.heartbeat = heartbeat
			}
		}
	case pb.SubscriptionMode_ON_CHANGE:
		events.following, samples.interval = true, s.cfg.Lowest
		for _, p := range parts {
			p.onlyNew, p.heartbeat = true, heartbeat
		}
	case pb.SubscriptionMode_TARGET_DEFINED:
		if n := sub.GetSampleInterval(); n != 0 {
			return errors.New("sample_interval with TARGET_DEFINED: must be 0, as the target chooses it; " +
				"SAMPLE has one")
		}
		events.following, events.onlyNew, events.heartbeat = true, true, heartbeat
		samples.interval = targetDefined
	default:
		return errors.New("mode " + sub.GetMode().String() + ": must be TARGET_DEFINED, ON_CHANGE or SAMPLE")
	}
	return nil
}

// interval reads one of a request, in nanoseconds.
func (s *Server) interval(name string, ns uint64) (time.Duration, error) {
	if ns > math.MaxInt64 || ns > 0 && time.Duration(ns) < s.cfg.Lowest {
		lowest := s.cfg.Lowest
		return 0, fmt.Errorf("%s of %d ns: must be %d (%v) at least, or 0", name, ns, lowest.Nanoseconds(), lowest)
	}
	return time.Duration(ns), nil
}

// subscription is a stream under way.
type subscription struct {
	server *Server
	list   *pb.SubscriptionList
	parts  []*part
	send   func(*pb.SubscribeResponse) error
}

// sync sends all that there is, unless only updates are wanted, and that this was it.
func (u *subscription) sync(ctx context.Context) error {
	for _, p := range u.parts {
		now, err := u.server.trees[p.class].get(ctx)
		if err != nil {
			return unavailable(err)
		}
		p.sent = p.narrow(now)
		if !u.list.GetUpdatesOnly() {
			if err := u.update(p.sent.at, p.all(p.sent, p.class)); err != nil {
				return err
			}
		}
	}
	return u.send(&pb.SubscribeResponse{Response: &pb.SubscribeResponse_SyncResponse{SyncResponse: true}})
}

// poll serves a subscription that is asked for again and again (section 3.5.1.5.3). Only the first answer may be left
// out.
func (u *subscription) poll(ctx context.Context, requests <-chan request) error {
	for {
		if err := u.sync(ctx); err != nil {
			return err
		}
		u.list.UpdatesOnly = false
		select {
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case r := <-requests:
			switch {
			case r.err != nil:
				return ended(r.err)
			case r.GetPoll() == nil:
				return second(r)
			}
		}
	}
}

// second is the error for a request that a stream which has its subscription cannot have (section 3.5.1.1).
func second(r request) error {
	if r.GetPoll() != nil {
		return status.Error(codes.InvalidArgument, "poll: the mode of the subscription must be POLL")
	}
	return status.Error(codes.InvalidArgument, "a stream has one subscription: another one needs a stream of its own")
}

// stream sends what is due until the client leaves.
func (u *subscription) stream(ctx context.Context, requests <-chan request) error {
	var changed <-chan struct{}
	if slices.ContainsFunc(u.parts, func(p *part) bool { return p.following }) {
		defer u.server.follow()()
		_, changed = u.server.trees[event].current()
	}
	began := time.Now()
	for _, p := range u.parts {
		if p.interval > 0 {
			p.look = began.Add(p.interval)
		}
		if p.heartbeat > 0 {
			p.beat = began.Add(p.heartbeat)
		}
	}
	if err := u.sync(ctx); err != nil {
		return err
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(time.Until(u.due()))
		select {
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case r := <-requests:
			switch {
			case r.err == nil:
				return second(r)
			case !errors.Is(r.err, io.EOF):
				return unavailable(r.err)
			}
			requests = nil // the client has no more to say, and listens
			continue
		case <-changed:
			_, changed = u.server.trees[event].current()
		case <-timer.C:
		}
		for _, p := range u.parts {
			if err := u.advance(ctx, p, time.Now()); err != nil {
				return err
			}
		}
	}
}

// due is when the next part is.
func (u *subscription) due() time.Time {
	next := time.Now().Add(time.Hour)
	for _, p := range u.parts {
		for _, at := range []time.Time{p.look, p.beat} {
			if !at.IsZero() && at.Before(next) {
				next = at
			}
		}
	}
	return next
}

// advance sends what of a part is due.
func (u *subscription) advance(ctx context.Context, p *part, now time.Time) error {
	missed, looks := skip(&p.look, p.interval, now)
	_, beats := skip(&p.beat, p.heartbeat, now)
	if !looks && !beats && !p.following {
		return nil
	}
	is, _ := u.server.trees[p.class].current()
	if !p.following || beats {
		var err error
		if is, err = u.server.trees[p.class].get(ctx); err != nil {
			return unavailable(err)
		}
	}
	before := p.sent
	is = p.narrow(is)
	if p.sent = is; before.revision == is.revision && !looks && !beats {
		return nil
	}
	changed, gone := p.since(before, is, p.class)
	if err := u.delete(is.at, gone); err != nil {
		return err
	}
	switch {
	case beats, !p.onlyNew:
		changed = missing(p.all(is, p.class), missed)
	case !p.following:
		// How often others have looked meanwhile says nothing of this client.
		changed = missing(changed, missed)
	}
	return u.update(is.at, changed)
}

// skip says whether what is due at *next is due now, moves that on by whole intervals, and counts those that nobody had
// time for.
func skip(next *time.Time, interval time.Duration, now time.Time) (missed uint32, due bool) {
	if next.IsZero() || now.Before(*next) {
		return 0, false
	}
	late := now.Sub(*next) / interval
	*next = next.Add((late + 1) * interval)
	return uint32(min(late, math.MaxUint32)), true
}

// missing yields items with that many values before them that were not sent.
func missing(items iter.Seq[item], n uint32) iter.Seq[item] {
	return func(yield func(item) bool) {
		for i := range items {
			i.duplicates = n
			if !yield(i) {
				return
			}
		}
	}
}

// update sends leaves, each as an update of its own (section 3.5), in as few notifications as there may be.
func (u *subscription) update(at time.Time, items iter.Seq[item]) error {
	return u.notify(at, items, func(n *pb.Notification, path *pb.Path, i item) {
		val := i.typed(u.list.GetEncoding())
		n.Update = append(n.Update, &pb.Update{Path: path, Val: val, Duplicates: i.duplicates})
	})
}

// delete says that leaves are no more.
func (u *subscription) delete(at time.Time, items iter.Seq[item]) error {
	return u.notify(at, items, func(n *pb.Notification, path *pb.Path, _ item) { n.Delete = append(n.Delete, path) })
}

// notify sends items in notifications of one entry and prefix each, which keeps them short.
func (u *subscription) notify(at time.Time, items iter.Seq[item], add func(*pb.Notification, *pb.Path, item)) error {
	var n *pb.Notification
	var last item
	flush := func() error {
		if n == nil {
			return nil
		}
		m := &pb.SubscribeResponse{Response: &pb.SubscribeResponse_Update{Update: n}}
		n = nil
		return u.send(m)
	}
	for i := range items {
		q := i.pick.query
		from := q.prefix
		if i.entry != last.entry || !slices.EqualFunc(i.leaf.elems[:from], last.leaf.elems[:from], sameName) {
			if err := flush(); err != nil {
				return err
			}
		}
		if last = i; n == nil {
			prefix := responsePrefix(u.list.GetPrefix().GetTarget(), q.origin, i.leaf.elements(i.entry.keys, 0, from))
			n = &pb.Notification{Timestamp: at.UnixNano(), Prefix: prefix}
		}
		add(n, &pb.Path{Elem: i.leaf.elements(i.entry.keys, from, len(i.leaf.elems))}, i)
	}
	return flush()
}

func sameName(a, b elem) bool { return a.name == b.name }

// watch is who looks for changes of the events: one goroutine, while somebody follows them.
type watch struct {
	mu    sync.Mutex // guards what follows
	users int
	stop  func() // ends it, and waits for it
}

// follow has somebody look for changes of the events until leave is called.
func (s *Server) follow() (leave func()) {
	w := &s.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.users++; w.users == 1 {
		ctx, cancel := context.WithCancel(context.Background())
		var work sync.WaitGroup
		work.Go(func() { s.lookOut(ctx) })
		w.stop = func() {
			cancel()
			work.Wait()
		}
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.users--; w.users == 0 {
			w.stop()
		}
	}
}

// lookOut reads the events whenever they may have changed, until ctx ends. A source that cannot tell is asked again.
func (s *Server) lookOut(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		changed := s.cfg.Source.Changed()
		began := time.Now()
		_, err := s.trees[event].state(ctx, 0)
		pause := max(calm, 4*time.Since(began)) // a large tree takes a fifth of a processor at most
		if changed == nil || err != nil {
			pause = max(pause, lookInterval)
		}
		timer.Reset(pause)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if changed == nil || err != nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}
