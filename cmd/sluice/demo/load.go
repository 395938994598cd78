package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicelb/sluice/bmv2-tests/lab/proof"
	"github.com/sluicelb/sluice/p4/netstack"
)

const (
	sessions     = 48                                // connections that live across the changes
	sessionPause = 250 * time.Millisecond * slowdown // between two requests of a session
	mostInFlight = 250                               // beyond this, new connections wait for old ones to end

	// A SYN lost to a dead server is sent again after 1 s and 3 s. Much longer than that, so that a
	// machine that is busy with other things breaks nothing.
	requestLimit = 12 * time.Second

	tick = 5 * time.Millisecond // in which new connections are opened together

	firstPort, ports = 16384, 49152 // of the client
)

// load sends HTTP requests to the web site: many on a connection of their own, at a steady rate, and some
// on connections that live long. Every request that fails is charged to the server that its
// connection was on, by the evidence of the captures.
type load struct {
	client  *netstack.Host
	pace    *pace
	address netip.Addr                                  // the client's
	where   func(ctx context.Context) (*network, error) // the data center for a new connection

	rate     int           // new connections per second
	stopping chan struct{} // closed: no new requests
	stop     func()        // lets the requests under way end, and waits for them
	running  sync.WaitGroup
	order    []int // of client ports: all of them before any a second time, as if at random

	mu       sync.Mutex // guards what follows
	tally    tally
	ports    map[uint16]bool // of the client, in use
	nextPort int             // into order
	sessions map[*session]bool
	underWay map[*session]context.CancelCauseFunc // requests
	sample   *sample                              // takes in the new connections, if not nil
	awaited  *awaited
}

// awaited is an answer that somebody waits for.
type awaited struct {
	from   *network
	opened time.Time // at the earliest
	answer chan arrived
}

// arrived is an answer that came.
type arrived struct {
	at     time.Time
	server string
}

// tally is what became of requests: issued is counted when a request starts, the others when it ends.
type tally struct {
	issued, ok             int
	failedDead, failedLive int
	cutOff                 int            // by the end of the program
	fresh, kept            map[string]int // answers by server: on new connections, on sessions
	failures               []string       // the first on live servers
}

// claims says what must hold of all requests, when none is under way. served is how many pages each
// server says it sent. early is what had become of requests before all of a data center died, nil if none did: of
// those hardly any may have failed. A machine that is busy may make requests fail, and a script that was cut short has
// few.
func (t tally) claims(served map[string]int, early *tally, cut, busy bool) []check {
	ended := t.ok + t.failedDead + t.failedLive
	sent, unsent := 0, 0 // pages; answers that no server knows of
	for _, n := range served {
		sent += n
	}
	for _, answers := range []map[string]int{t.fresh, t.kept} {
		for server := range answers {
			if _, known := served[server]; !known {
				unsent += answers[server]
			}
		}
	}
	for server, n := range served {
		unsent += max(0, t.fresh[server]+t.kept[server]-n)
	}
	text := fmt.Sprintf("%s sent: %s answered, %s failed on dead servers",
		count(t.issued, "request"), thousands(t.ok), thousands(t.failedDead))
	if early == nil {
		early = &t
	} else {
		text += fmt.Sprintf(", %s of them since all of a data center died", thousands(t.failedDead-early.failedDead))
	}
	if ended != t.issued {
		text += fmt.Sprintf(", %s with any end", thousands(ended))
	}
	return []check{
		{ended == t.issued && t.ok >= leastAnswers && early.failedDead*10 <= early.issued, text, cut || busy},
		{unsent == 0 && t.ok <= sent && sent <= ended, fmt.Sprintf(
			"servers sent %s: all that were answered, no more than asked for", count(sent, "page")), false},
		t.claimOfLive(busy),
	}
}

// claimOfLive is that no request failed on a live server.
func (t tally) claimOfLive(busy bool) check {
	return check{t.failedLive == 0, fmt.Sprintf("%s failed on live servers", count(t.failedLive, "request")), busy}
}

// leastAnswers of a demo that shows anything.
const leastAnswers = 300

// since returns what came to t after before.
func (t tally) since(before tally) tally {
	t.issued -= before.issued
	t.ok -= before.ok
	t.failedDead -= before.failedDead
	t.failedLive -= before.failedLive
	t.cutOff -= before.cutOff
	t.fresh, t.kept = maps.Clone(t.fresh), maps.Clone(t.kept)
	for server, n := range before.fresh {
		t.fresh[server] -= n
	}
	for server, n := range before.kept {
		t.kept[server] -= n
	}
	t.failures = nil
	return t
}

func newLoad(
	client *netstack.Host, pace *pace, address netip.Addr, where func(context.Context) (*network, error),
) *load {
	return &load{
		client: client, pace: pace, address: address, where: where,
		order:    rand.Perm(ports),
		stop:     func() {},
		tally:    tally{fresh: make(map[string]int), kept: make(map[string]int)},
		ports:    make(map[uint16]bool),
		sessions: make(map[*session]bool),
		underWay: make(map[*session]context.CancelCauseFunc),
	}
}

// start begins to send, so many new connections per second. It goes on until stop, or until ctx
// ends. After stop it may be started again.
func (l *load) start(ctx context.Context, rate int) {
	stopping := make(chan struct{})
	l.rate, l.stopping = rate, stopping
	l.stop = sync.OnceFunc(func() {
		close(stopping)
		l.running.Wait()
	})
	l.running.Go(func() { l.newConnections(ctx) })
	for i := range sessions {
		l.running.Go(func() {
			// Spread over the pause, so that they do not knock all at once.
			l.pause(ctx, sessionPause*time.Duration(i)/sessions)
			l.longConnections(ctx)
		})
	}
}

// now returns what became of all requests so far.
func (l *load) now() tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tally
	t.fresh, t.kept = maps.Clone(t.fresh), maps.Clone(t.kept)
	t.failures = slices.Clone(t.failures)
	return t
}

// openBefore returns how many sessions to each server were opened before t and are still open.
func (l *load) openBefore(t time.Time) map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := make(map[string]int)
	for s := range l.sessions {
		if s.opened.Before(t) {
			n[s.server]++
		}
	}
	return n
}

// release makes the sessions on a server end after their next answer; others take their place.
func (l *load) release(server string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.sessions {
		if s.server == server {
			s.last.Store(true)
		}
	}
}

// pause waits, and reports whether the load goes on.
func (l *load) pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-l.stopping:
		return false
	case <-time.After(d):
		return true
	}
}

// newConnections sends requests on connections of their own, at the rate, whether the ones before
// are answered or not. A machine that is late gets fewer: a pause is not made up for.
func (l *load) newConnections(ctx context.Context) {
	slots := make(chan struct{}, mostInFlight)
	due, last := 0.0, time.Now()
	for l.pause(ctx, tick) {
		now := time.Now()
		due += min(now.Sub(last), 4*tick).Seconds() * float64(l.rate)
		for last = now; due >= 1; due-- {
			select {
			case slots <- struct{}{}:
				l.running.Go(func() {
					l.once(ctx)
					<-slots
				})
			default:
			}
		}
	}
}

func (l *load) once(ctx context.Context) {
	counted := l.issue()
	s := &session{load: l}
	err := l.request(ctx, s)
	if counted != nil {
		counted.done(s.server, err == nil)
	}
	s.close(err == nil)
}

// issue counts a request on a connection of its own, before anything of it is sent.
func (l *load) issue() *sample {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tally.issued++
	if l.sample != nil {
		l.sample.add()
	}
	return l.sample
}

// longConnections keeps one session open, and opens another when it ends.
func (l *load) longConnections(ctx context.Context) {
	for l.pause(ctx, sessionPause) {
		l.longConnection(ctx)
	}
}

func (l *load) longConnection(ctx context.Context) {
	s := &session{load: l, keep: true}
	var err error
	for more := true; more; more = err == nil && !s.last.Load() && l.pause(ctx, sessionPause) {
		l.mu.Lock()
		l.tally.issued++
		l.mu.Unlock()
		if err = l.request(ctx, s); err == nil {
			l.mu.Lock()
			l.sessions[s] = true
			l.mu.Unlock()
		}
	}
	l.mu.Lock()
	delete(l.sessions, s)
	l.mu.Unlock()
	s.close(err == nil)
}

// errGivenUp is what a request gets that its client waits for no longer.
var errGivenUp = errors.New("the client gave up")

// request sends one request, on a connection that it opens if the session has none, and counts what becomes of it.
func (l *load) request(ctx context.Context, s *session) error {
	ctx, cancel := l.pace.within(ctx, requestLimit)
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	l.mu.Lock()
	l.underWay[s] = giveUp
	l.mu.Unlock()
	var err error
	if s.conn == nil {
		err = s.open(ctx)
	}
	if err == nil {
		err = s.get(ctx)
	}
	l.done(ctx, s, err)
	return err
}

// giveUp ends the requests to a data center that are under way, as people do who have waited long enough.
func (l *load) giveUp(n *network) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s, giveUp := range l.underWay {
		if s.net == n {
			giveUp(errGivenUp)
		}
	}
}

// giveUpLost ends the requests under way on connections that a server accepted which has died since: no answer can
// come.
func (l *load) giveUpLost() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s, giveUp := range l.underWay {
		if s.net == nil {
			continue
		}
		if flow := s.net.proof.On(s.local); flow.Answered != 0 && s.net.deadDuring(flow.Answered, flow.Opened,
			time.Now()) {
			giveUp(errGivenUp)
		}
	}
}

// await returns a channel that gets the next answer from a data center on a connection that is opened from now on.
// Whoever waited before waits no more.
func (l *load) await(n *network) <-chan arrived {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.awaited = &awaited{n, time.Now(), make(chan arrived, 1)}
	return l.awaited.answer
}

// done counts what became of a request.
func (l *load) done(ctx context.Context, s *session, err error) {
	if err == nil {
		l.answered(s)
		return
	}
	cutOff := errors.Is(context.Cause(ctx), context.Canceled)
	var flow proof.Flow
	dead := false
	if s.net != nil {
		flow = s.net.proof.On(s.local)
		dead = s.net.deadDuring(flow.Server(), flow.Opened, time.Now())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.underWay, s)
	switch {
	case cutOff:
		l.tally.cutOff++
	case dead:
		l.tally.failedDead++
	default:
		l.tally.failedLive++
		if len(l.tally.failures) < 5 {
			l.tally.failures = append(l.tally.failures, s.failure(flow, err))
		}
	}
}

func (l *load) answered(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.underWay, s)
	l.tally.ok++
	if s.keep {
		l.tally.kept[s.server]++
	} else {
		l.tally.fresh[s.server]++
	}
	if a := l.awaited; a != nil && a.from == s.net && s.opened.After(a.opened) {
		a.answer <- arrived{time.Now(), s.server}
		l.awaited = nil
	}
}

// takePort returns a port of the client that no connection uses.
func (l *load) takePort() uint16 {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		port := uint16(firstPort + l.order[l.nextPort%ports])
		if l.nextPort++; !l.ports[port] {
			l.ports[port] = true
			return port
		}
	}
}

// session is one connection to the web site.
type session struct {
	load *load
	keep bool

	net    *network // nil until it is known; set under load.mu
	local  netip.AddrPort
	opened time.Time
	conn   net.Conn // nil when it could not be opened
	http   *http.Client
	server string      // who answered; "" before
	last   atomic.Bool // the next request is the last
}

// errReopened is what a session's client gets when its connection is gone: net/http would quietly
// open another, and a broken connection would go unseen.
var errReopened = errors.New("the connection is gone")

// open finds out where the web site is and connects to it.
func (s *session) open(ctx context.Context) error {
	n, err := s.load.where(ctx)
	if err != nil {
		return err
	}
	s.local, s.opened = netip.AddrPortFrom(s.load.address, s.load.takePort()), time.Now()
	n.proof.Open(s.local, s.opened)
	s.load.mu.Lock()
	s.net = n
	s.load.mu.Unlock()
	if s.conn, err = s.load.client.DialFrom(ctx, s.local, n.vip); err != nil {
		return err
	}
	var used atomic.Bool
	s.http = &http.Client{Transport: &http.Transport{
		DisableKeepAlives:  !s.keep,
		DisableCompression: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			if used.Swap(true) {
				return nil, errReopened
			}
			return s.conn, nil
		},
	}}
	return nil
}

// get sends one request and checks the answer: the whole page, of one and the same server.
func (s *session) get(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+strings.TrimSuffix(webName, ".")+"/", nil)
	if err != nil {
		return err
	}
	response, err := s.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	server, _, _ := strings.Cut(string(body), "\n")
	if response.StatusCode != http.StatusOK || string(body) != page(server) {
		return fmt.Errorf("status %d, %d bytes: not the page of a server", response.StatusCode, len(body))
	}
	if s.server != "" && s.server != server {
		return fmt.Errorf("%s answered on a connection to %s", server, s.server)
	}
	if s.server == "" { // from then on others may read it
		s.server = server
	}
	return nil
}

func (s *session) failure(f proof.Flow, err error) string {
	if s.net == nil {
		return err.Error()
	}
	return fmt.Sprintf("%v to %s, to port %d, accepted by port %d: %v", s.local, s.net.Name, f.To, f.Answered, err)
}

func (s *session) close(answered bool) {
	if s.http != nil {
		s.http.CloseIdleConnections()
		s.conn.Close()
	}
	if s.net == nil {
		return
	}
	s.net.proof.Finish(s.local, answered)
	s.load.mu.Lock()
	defer s.load.mu.Unlock()
	delete(s.load.ports, s.local.Port())
}

// page is what a server answers: its name, and enough to fill more than one segment.
func page(server string) string {
	return server + "\n" + strings.Repeat("0123456789abcdef", 128)
}
