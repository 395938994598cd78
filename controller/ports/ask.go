package ports

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sluicelb/sluice/internal/task"
	"github.com/sluicelb/sluice/p4/p4rt"
)

// offers is what a target says that it can.
type offers struct {
	encodings []gnmi.Encoding
	sluice    bool // it has the module sluice-interfaces
}

// encoding is the first of those that the target offers. One that does not say has JSON_IETF.
func (o offers) encoding(wanted ...gnmi.Encoding) gnmi.Encoding {
	for _, e := range wanted {
		if slices.Contains(o.encodings, e) {
			return e
		}
	}
	return gnmi.Encoding_JSON_IETF
}

func offered(m *gnmi.CapabilityResponse) offers {
	return offers{encodings: m.GetSupportedEncodings(), sluice: slices.ContainsFunc(m.GetSupportedModels(),
		func(d *gnmi.ModelData) bool { return d.GetName() == "sluice-interfaces" })}
}

// session asks on one connection, in one way after the other, until that is lost.
func (c *Collector) session(ctx context.Context) step {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ctx, err := c.identified(ctx)
	if err != nil {
		return c.missed(err)
	}
	conn, err := p4rt.Connect(c.cfg.Target, maxBytes, maxItems, c.options...)
	if err != nil {
		return c.missed(err)
	}
	defer conn.Close()
	client := gnmi.NewGNMIClient(conn)
	m, err := capabilities(ctx, client)
	if status.Code(err) != codes.Unimplemented && err != nil {
		if r := conn.Refused(); r != nil {
			err = r
		}
		return c.missed(err)
	}
	if err := c.device(ctx, client); err != nil {
		return c.missed(err)
	}
	for {
		a := &asking{Collector: c, client: client, offers: offered(m), way: c.ladder.way()}
		err := a.run(ctx)
		if next := c.step(a.told, err); next != onward {
			return next
		}
	}
}

// missed is for a target that could not be asked: that says nothing of the ways to ask it.
func (c *Collector) missed(err error) step {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = errors.New(line(err))
	return again
}

// identified adds who asks, as OpenConfig's targets take it
// (https://github.com/openconfig/reference/blob/master/rpc/gnmi/gnmi-authentication.md).
func (c *Collector) identified(ctx context.Context) (context.Context, error) {
	if c.cfg.Username == "" {
		return ctx, nil
	}
	f, err := os.Open(c.cfg.PasswordFile)
	if err != nil {
		return ctx, fmt.Errorf("reading the password: %w", err)
	}
	defer f.Close()
	const most = 1024
	password, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return ctx, fmt.Errorf("reading the password: %w", err)
	}
	p := strings.TrimRight(string(password), "\r\n")
	unprintable := func(r rune) bool { return r < ' ' || r > '~' }
	if p == "" || len(p) > most || strings.ContainsFunc(p, unprintable) {
		return ctx, fmt.Errorf("reading the password: %s: must be one line of 1..%d printable ASCII characters",
			c.cfg.PasswordFile, most)
	}
	return metadata.AppendToOutgoingContext(ctx, "username", c.cfg.Username, "password", p), nil
}

func capabilities(ctx context.Context, client gnmi.GNMIClient) (*gnmi.CapabilityResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return client.Capabilities(ctx, new(gnmi.CapabilityRequest))
}

// device makes sure that the target tells of the right device, where it tells of devices at all.
func (c *Collector) device(ctx context.Context, client gnmi.GNMIClient) error {
	ctx, cancel := context.WithTimeout(ctx, patience/5)
	defer cancel()
	m, err := client.Get(ctx, &gnmi.GetRequest{
		Path: []*gnmi.Path{path("components", "component", "integrated-circuit")}, Encoding: gnmi.Encoding_JSON_IETF,
	})
	if err != nil {
		return nil // it does not tell
	}
	nodes, right := 0, false
	var one uint64
	for _, n := range m.GetNotification() {
		for _, u := range n.GetUpdate() {
			_ = read(n.GetPrefix(), u, func(p place, v any) { // what cannot be read tells nothing
				is, ok := number(v)
				if p.list == components && strings.HasSuffix(p.leaf, "/node-id") && ok {
					nodes, one, right = nodes+1, is, right || is == c.cfg.DeviceID
				}
			})
		}
	}
	if nodes > 0 && !right {
		return fmt.Errorf("it tells of device %d: must be %d, the device_id", one, c.cfg.DeviceID)
	}
	return nil
}

// path is one of OpenConfig's, of every entry of a list.
func path(list, item string, names ...string) *gnmi.Path {
	p := &gnmi.Path{Elem: []*gnmi.PathElem{{Name: list}, {Name: item, Key: map[string]string{"name": "*"}}}}
	for _, name := range names {
		p.Elem = append(p.Elem, &gnmi.PathElem{Name: name})
	}
	return p
}

// asking is one way to ask, under way.
type asking struct {
	*Collector
	client gnmi.GNMIClient
	offers offers
	way    way
	table  *table // what is told in this way
	told   bool   // it is complete, and shown
}

// run asks until the target, or ctx, ends it.
func (a *asking) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.table = newTable()
	switch a.way.mode {
	case once, get:
		ask := a.once
		if a.way.mode == get {
			ask = a.get
		}
		for {
			began := time.Now()
			if err := a.round(ctx, ask); err != nil {
				return err
			}
			if err := a.complete(began.Add(-a.way.every), true); err != nil {
				return err
			}
			if err := task.Sleep(ctx, a.way.every); err != nil {
				return err
			}
		}
	}
	return a.subscribed(ctx)
}

// round is one question and its answer.
func (a *asking) round(ctx context.Context, ask func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := ask(bounded)
	if err != nil && errors.Is(bounded.Err(), context.DeadlineExceeded) && ctx.Err() == nil {
		return errSilent
	}
	return err
}

func (a *asking) get(ctx context.Context) error {
	m, err := a.client.Get(ctx, &gnmi.GetRequest{
		Path: []*gnmi.Path{path("interfaces", "interface", "state")}, Type: gnmi.GetRequest_STATE,
		Encoding: a.offers.encoding(gnmi.Encoding_JSON_IETF, gnmi.Encoding_JSON, gnmi.Encoding_PROTO),
	})
	if err != nil {
		return err
	}
	for _, n := range m.GetNotification() {
		if err := a.take(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// once is a subscription that ends when all was told.
func (a *asking) once(ctx context.Context) error {
	s, err := a.subscribe(ctx)
	if err != nil {
		return err
	}
	for {
		m, err := receive(s)
		switch {
		case errors.Is(err, errGone):
			return nil
		case err != nil:
			return err
		case m.GetSyncResponse():
			return nil
		}
		if err := a.take(ctx, m.GetUpdate()); err != nil {
			return err
		}
	}
}

// subscription is the request for all that is read.
func (a *asking) subscription() *gnmi.SubscribeRequest {
	modes := map[mode]gnmi.SubscriptionList_Mode{
		stream: gnmi.SubscriptionList_STREAM, poll: gnmi.SubscriptionList_POLL, once: gnmi.SubscriptionList_ONCE,
	}
	list := &gnmi.SubscriptionList{
		Prefix: new(gnmi.Path), Mode: modes[a.way.mode],
		Encoding: a.offers.encoding(gnmi.Encoding_PROTO, gnmi.Encoding_JSON_IETF, gnmi.Encoding_JSON),
	}
	add := func(mode gnmi.SubscriptionMode, names ...string) {
		s := &gnmi.Subscription{Path: path("interfaces", "interface", names...)}
		if a.way.mode == stream {
			if s.Mode = mode; mode == gnmi.SubscriptionMode_SAMPLE {
				s.SampleInterval = uint64(a.way.every)
			}
		}
		list.Subscription = append(list.Subscription, s)
	}
	const change, sample = gnmi.SubscriptionMode_ON_CHANGE, gnmi.SubscriptionMode_SAMPLE
	if a.way.wide && a.offers.sluice { // a reason comes before what it is for, so that they are told together
		add(change, "state", "oper-status-reason")
	}
	add(change, "state", "oper-status")
	add(change, "state", "id")
	add(sample, "state", "counters")
	if a.way.wide {
		add(change, "config", "id")
	}
	if a.way.wide && a.offers.sluice {
		add(sample, "state", "last-discard")
		add(sample, "state", "last-discard-reason")
	}
	return &gnmi.SubscribeRequest{Request: &gnmi.SubscribeRequest_Subscribe{Subscribe: list}}
}

func (a *asking) subscribe(ctx context.Context) (gnmi.GNMI_SubscribeClient, error) {
	s, err := a.client.Subscribe(ctx)
	if err != nil {
		return nil, err
	}
	return s, sent(s, a.subscription())
}

// sent sends a request. Where the target has ended the call, why shows when something is received.
func sent(s gnmi.GNMI_SubscribeClient, r *gnmi.SubscribeRequest) error {
	if err := s.Send(r); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func receive(s gnmi.GNMI_SubscribeClient) (*gnmi.SubscribeResponse, error) {
	m, err := s.Recv()
	if errors.Is(err, io.EOF) {
		return nil, errGone
	}
	return m, err
}

// subscribed is a subscription that goes on: a stream, or one that is polled.
func (a *asking) subscribed(ctx context.Context) error {
	s, err := a.subscribe(ctx)
	if err != nil {
		return err
	}
	type message struct {
		*gnmi.SubscribeResponse
		err error
	}
	messages := make(chan message)
	go func() { // ends with ctx
		for {
			m, err := receive(s)
			select {
			case messages <- message{m, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	// A target that is polled may wait for the first poll before it tells anything, or not.
	quiet := a.quiet()
	ask := time.NewTimer(a.way.every)
	if a.way.mode != poll {
		ask.Stop()
	}
	deadline := time.NewTimer(patience)
	defer ask.Stop()
	defer deadline.Stop()
	rounds := [2]time.Time{time.Now(), time.Now()} // when the last two began
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m := <-messages:
			if m.err != nil {
				return m.err
			}
			if n := m.GetUpdate(); n != nil {
				if err := a.take(ctx, n); err != nil {
					return err
				}
			}
			if m.GetSyncResponse() {
				if err := a.complete(rounds[0], a.way.mode == poll); err != nil {
					return err
				}
			}
			if a.told {
				deadline.Reset(quiet)
			}
		case <-ask.C:
			rounds[0], rounds[1] = rounds[1], time.Now()
			request := &gnmi.SubscribeRequest{Request: &gnmi.SubscribeRequest_Poll{Poll: new(gnmi.Poll)}}
			if err := sent(s, request); err != nil {
				return err
			}
			ask.Reset(a.way.every)
		case <-deadline.C:
			switch {
			case !a.told && a.table.heard.IsZero(), a.way.mode == poll && a.told:
				return errSilent
			case !a.told:
				a.table.unsure = true
				if err := a.complete(time.Time{}, false); err != nil {
					return err
				}
			default:
				if _, err := capabilities(ctx, a.client); err != nil && status.Code(err) != codes.Unimplemented {
					return fmt.Errorf("it was silent, and was asked whether it is there: %w", err)
				}
				a.alive()
			}
			deadline.Reset(quiet)
		}
	}
}

// quiet is how long nothing may come before the target is asked whether it is there.
func (a *asking) quiet() time.Duration {
	if a.way.mode == poll {
		return patience
	}
	return staleAfter * a.way.every / 2
}

// alive notes that the target is there, though it has nothing to say.
func (a *asking) alive() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.table.heard = time.Now()
}

// take takes what a target tells, as quickly as it may tell it: one that tells more waits, as its messages are not
// read.
func (a *asking) take(ctx context.Context, n *gnmi.Notification) error {
	a.mu.Lock()
	values, signs := a.table.apply(n, time.Now())
	told := a.told
	a.mu.Unlock()
	if signs && told {
		a.sign()
	}
	cost := min(values+1, maxBurst) // a message without any costs, too
	if a.limit.Tokens() < float64(cost) {
		a.mu.Lock()
		a.flood = time.Now()
		a.mu.Unlock()
	}
	return a.limit.WaitN(ctx, cost)
}

// complete shows what was told, once the target has told all. Where that comes again and again, what it has not told
// since then is gone.
func (a *asking) complete(since time.Time, swept bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.told && len(a.table.entries) == 0 {
		return ErrNothing
	}
	changed := swept && a.table.sweep(since)
	if !a.told {
		changed = !a.table.same(a.Collector.table)
		a.Collector.table, a.every, a.err, a.told = a.table, a.way.every, nil, true
	}
	if changed {
		a.sign()
	}
	return nil
}
