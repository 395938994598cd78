// Package server is the sockets of `sluice gslb`: DNS over UDP and TCP. It reads queries, drops what no honest
// client sends, has packages fastpath and responder answer, limits what forged addresses could be flooded with, sends,
// and does what they may not because it takes time: forwarding (package relay) and waiting for a first verdict. What to
// answer is theirs; what there is to answer from is published by package gslb, which runs a Server.
//
// UDP runs on one socket and one goroutine per core (udp*.go), each with a worker that no one else uses. TCP is
// answered in a goroutine per connection and query.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluicelb/sluice/gslb/fastpath"
	"github.com/sluicelb/sluice/gslb/ratelimit"
	"github.com/sluicelb/sluice/gslb/relay"
	"github.com/sluicelb/sluice/gslb/responder"
)

// Config is what a Server needs.
type Config struct {
	Listen []netip.AddrPort // UDP and TCP both; port 0: one free port for both
	Cores  int              // UDP sockets for each address; default GOMAXPROCS
	Relay  *relay.Relay     // how queries are forwarded; default: one of its own
	Log    *slog.Logger     // default: discards
}

// Server serves DNS at its addresses.
type Server struct {
	listen  []netip.AddrPort
	nCores  int
	log     *slog.Logger
	relay   *relay.Relay
	limiter *ratelimit.Table
	tally   *tally
	views   *views
	cores   *corePool // for all but the UDP loops
	clients *clients  // of TCP

	udp []*udpSocket
	tcp []*net.TCPListener

	// Answers that take time.
	late     sync.WaitGroup
	lateCtx  context.Context // ends some time after Run's
	lateEnds context.CancelFunc
	waiting  atomic.Int64

	// What answers; tests put others in their place.
	fast    func(*responder.View, *fastpath.Scratch, []byte, netip.AddrPort, int64, []byte) (*responder.Response, bool)
	respond func(*responder.View, *responder.Client, []byte) responder.Response
	failed  func(*responder.View, *responder.Client, []byte, int) responder.Response
	slip    func(*responder.View, *responder.Client, []byte) responder.Response

	mu sync.Mutex // guards publishing
}

// New prepares a Server; Listen opens its sockets and Run serves what Publish has.
func New(c Config) *Server {
	if c.Cores == 0 {
		c.Cores = runtime.GOMAXPROCS(0)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Relay == nil {
		c.Relay = relay.New(relay.Config{})
	}
	t := newTally()
	s := &Server{
		listen:  c.Listen,
		nCores:  c.Cores,
		log:     c.Log,
		relay:   c.Relay,
		limiter: ratelimit.New(0),
		tally:   t,
		views:   newViews(),
		cores:   newCorePool(c.Cores, t),
		clients: newClients(),
		fast:    fastpath.Answer,
		respond: responder.Respond,
		failed:  responder.Fail,
		slip:    responder.Slip,
	}
	s.lateCtx, s.lateEnds = context.WithCancel(context.Background())
	return s
}

// Publish makes all queries from now on be answered from view, and those that wait for a verdict be tried again.
// Without any view queries are dropped. It also sets the limits of view.Config.Server, except for the addresses.
func (s *Server) Publish(view *responder.View) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.views.load(); old == nil || old.Config != view.Config {
		c := &view.Config.Server
		s.limiter.Set(c.RateLimit)
		s.relay.Set(relay.Config{Timeout: c.ForwardTimeout, Max: c.ForwardMax, UDPSize: c.UDPSize})
	}
	s.views.publish(view)
}

// Counts returns what was counted so far.
func (s *Server) Counts() Counts { return s.tally.counts() }

// Connections returns how many TCP connections there are.
func (s *Server) Connections() int { return s.clients.count() }

// Listen opens all sockets, or none. It is apart from Run so that privileges can be dropped in between.
func (s *Server) Listen() error {
	for _, a := range s.listen {
		if err := s.listenAt(a); err != nil {
			s.close()
			return err
		}
	}
	return nil
}

// portTries is how many free UDP ports are tried until one is free for TCP, too.
const portTries = 16

func (s *Server) listenAt(a netip.AddrPort) error {
	for try := 1; ; try++ {
		sockets, err := openUDP(s, a, s.nCores)
		if err != nil {
			return fmt.Errorf("listening on UDP %v: %w", a, err)
		}
		bound := sockets[0].addr()
		l, err := net.ListenTCP(tcpNetwork(bound.Addr()), net.TCPAddrFromAddrPort(bound))
		if err == nil {
			s.udp = append(s.udp, sockets...)
			s.tcp = append(s.tcp, l)
			return nil
		}
		for _, u := range sockets {
			u.close()
		}
		if a.Port() != 0 || try == portTries || !errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("listening on TCP %v: %w", bound, err)
		}
	}
}

// tcpNetwork is the network that listens at an address and no others: "tcp" would take all addresses of one family for
// those of both, and 0.0.0.0 and [::] could not be listened at together.
func tcpNetwork(a netip.Addr) string {
	if a.Is4() {
		return "tcp4"
	}
	return "tcp6"
}

// Addrs returns the addresses that Listen opened, in the order of Config.Listen.
func (s *Server) Addrs() []netip.AddrPort {
	var all []netip.AddrPort
	for _, l := range s.tcp {
		a := l.Addr().(*net.TCPAddr).AddrPort()
		all = append(all, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
	}
	return all
}

// graceTime is how long answers that are under way when Run is to end may take to be sent.
const graceTime = 3 * time.Second

// Run serves until ctx ends: no more queries are read then, those under way are answered if that does not take long,
// and the sockets are closed. It is called once.
func (s *Server) Run(ctx context.Context) error {
	defer s.close()
	g, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, func() { time.AfterFunc(graceTime, s.lateEnds) })()
	for _, u := range s.udp {
		g.Go(func() error { return u.run(ctx) })
	}
	for _, l := range s.tcp {
		g.Go(func() error { return s.accept(ctx, l) })
	}
	err := g.Wait()
	s.late.Wait()
	s.lateEnds()
	return err
}

func (s *Server) close() {
	for _, u := range s.udp {
		u.close()
	}
	for _, l := range s.tcp {
		l.Close()
	}
}
