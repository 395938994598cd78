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

	"github.com/sluicelb/sluice/p4/softswitch/netstack"
)

const (
	sessions     = 48                                // connections that live across the changes
	sessionPause = 250 * time.Millisecond * slowdown // between two requests of a session
	mostInFlight = 250                               // beyond this, new connections wait for old ones to end

	// A SYN lost to a dead server is sent again after 1 s and 3 s. Much longer than that, so that a
	// machine that is busy with other things breaks nothing.
	requestTimeout = 12 * time.Second

	firstPort, ports = 16384, 49152 // of the client
)

// load sends HTTP requests to the VIP: many on a connection of their own, at a steady rate, and some
// on connections that live long. Every request that fails is charged to the server that its
// connection was on, by the evidence of the captures.
type load struct {
	client  *netstack.Host
	address netip.Addr // the client's
	vip     netip.AddrPort
	proof   *proof
	dead    func(port uint16, from, to time.Time) bool // was the server without power at any time between?

	timeout  time.Duration // of a request
	rate     int           // new connections per second
	stopping chan struct{} // closed: no new requests
	stop     func()        // lets the requests under way end, and waits for them
	running  sync.WaitGroup
	port     atomic.Uint32
	order    []int // of client ports: all of them before any a second time, as if at random

	mu       sync.Mutex // guards what follows
	tally    tally
	sessions map[*session]bool
	sample   *sample // takes in the new connections, if not nil
}

// tally is what became of requests: issued is counted when a request starts, the others when it ends.
type tally struct {
	issued, ok             int
	failedDead, failedLive int
	cutOff                 int            // by the end of the program
	fresh, kept            map[string]int // answers by server: on new connections, on sessions
	failures               []string       // the first on live servers
	stall                  time.Duration  // the longest that the machine kept the load from running
}

// claims says what must hold of all requests, when none is under way. served is how many pages each
// server says it sent.
func (t tally) claims(served map[string]int) []check {
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
	text := fmt.Sprintf("%s sent: %s answered, %s failed on %s when it was dead",
		count(t.issued, "request"), thousands(t.ok), thousands(t.failedDead), killed)
	if ended != t.issued {
		text += fmt.Sprintf(", %s with any end", thousands(ended))
	}
	return []check{
		{ended == t.issued && t.ok >= leastAnswers && t.failedDead*10 <= t.issued, text},
		{unsent == 0 && t.ok <= sent && sent <= ended, fmt.Sprintf(
			"servers sent %s: all that were answered, no more than asked for", count(sent, "page"))},
		{t.failedLive == 0, fmt.Sprintf("%s failed on live servers", count(t.failedLive, "request"))},
	}
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

func newLoad(client *netstack.Host, address netip.Addr, vip netip.AddrPort, proof *proof, dead func(uint16, time.Time, time.Time) bool) *load {
	return &load{
		client: client, address: address, vip: vip, proof: proof, dead: dead,
		timeout:  requestTimeout,
		order:    rand.Perm(ports),
		stop:     func() {},
		tally:    tally{fresh: make(map[string]int), kept: make(map[string]int)},
		sessions: make(map[*session]bool),
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
// are answered or not.
func (l *load) newConnections(ctx context.Context) {
	slots := make(chan struct{}, mostInFlight)
	due, last := 0.0, time.Now()
	for l.pause(ctx, 5*time.Millisecond) {
		now := time.Now()
		l.mu.Lock()
		l.tally.stall = max(l.tally.stall, now.Sub(last))
		l.mu.Unlock()
		due = min(due+now.Sub(last).Seconds()*float64(l.rate), 50) // a pause is not made up for by a burst
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
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	counted := l.issue()
	s, err := l.connect(ctx, false)
	if err == nil {
		err = s.get(ctx)
	}
	l.done(ctx, s, err)
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
	s, err := l.tryLong(ctx, nil)
	for err == nil && !s.last.Load() && l.pause(ctx, sessionPause) {
		s, err = l.tryLong(ctx, s)
	}
	l.mu.Lock()
	delete(l.sessions, s)
	l.mu.Unlock()
	s.close(err == nil)
}

// tryLong sends one request on a session, opening it first when there is none.
func (l *load) tryLong(ctx context.Context, s *session) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	l.mu.Lock()
	l.tally.issued++
	l.mu.Unlock()
	var err error
	fresh := s == nil
	if fresh {
		s, err = l.connect(ctx, true)
	}
	if err == nil {
		err = s.get(ctx)
	}
	if err == nil && fresh {
		l.mu.Lock()
		l.sessions[s] = true
		l.mu.Unlock()
	}
	l.done(ctx, s, err)
	return s, err
}

// done counts what became of a request.
func (l *load) done(ctx context.Context, s *session, err error) {
	if err != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.tally.cutOff++
		return
	}
	var flow flow
	dead := false
	if err != nil {
		flow = l.proof.on(s.local)
		dead = flow.server() != 0 && l.dead(flow.server(), flow.opened, time.Now())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil && s.keep:
		l.tally.ok++
		l.tally.kept[s.server]++
	case err == nil:
		l.tally.ok++
		l.tally.fresh[s.server]++
	case dead:
		l.tally.failedDead++
	default:
		l.tally.failedLive++
		if len(l.tally.failures) < 5 {
			l.tally.failures = append(l.tally.failures, fmt.Sprintf("%v, to port %d, accepted by port %d: %v", s.local, flow.to, flow.answered, err))
		}
	}
}

// session is one connection to the VIP.
type session struct {
	load   *load
	local  netip.AddrPort
	opened time.Time
	keep   bool
	conn   net.Conn // nil when it could not be opened
	http   *http.Client
	server string      // who answered; "" before
	last   atomic.Bool // the next request is the last
}

// errReopened is what a session's client gets when its connection is gone: net/http would quietly
// open another, and a broken connection would go unseen.
var errReopened = errors.New("the connection is gone")

// connect opens a connection. It returns a session in any case, for the account.
func (l *load) connect(ctx context.Context, keep bool) (*session, error) {
	s := &session{load: l, opened: time.Now(), keep: keep}
	for open := false; !open; open = l.proof.open(s.local, s.opened) {
		n := l.order[l.port.Add(1)%ports]
		s.local = netip.AddrPortFrom(l.address, uint16(firstPort+n))
	}
	var err error
	if s.conn, err = l.client.DialFrom(ctx, s.local, l.vip); err != nil {
		return s, err
	}
	var used atomic.Bool
	s.http = &http.Client{Transport: &http.Transport{
		DisableKeepAlives:  !keep,
		DisableCompression: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			if used.Swap(true) {
				return nil, errReopened
			}
			return s.conn, nil
		},
	}}
	return s, nil
}

// get sends one request and checks the answer: the whole page, of one and the same server.
func (s *session) get(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.load.vip.String()+"/", nil)
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

func (s *session) close(answered bool) {
	if s.http != nil {
		s.http.CloseIdleConnections()
		s.conn.Close()
	}
	s.load.proof.finish(s.local, answered)
}

// page is what a server answers: its name, and enough to fill more than one segment.
func page(server string) string {
	return server + "\n" + strings.Repeat("0123456789abcdef", 128)
}
