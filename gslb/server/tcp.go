package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sluicelb/sluice/gslb/config"
)

// Defaults of config.TCPLimits, for views that were made without a file.
const (
	defaultConnections = 1000
	defaultPerClient   = 100
	defaultIdle        = 10 * time.Second
	defaultQuery       = 5 * time.Second
	defaultPipeline    = 64
)

// tcpLimits are the limits of the newest view.
func (s *Server) tcpLimits() config.TCPLimits {
	var l config.TCPLimits
	if v := s.views.load(); v != nil {
		l = v.Config.Server.TCP
	}
	orDefault(&l.Connections, defaultConnections)
	orDefault(&l.PerClient, defaultPerClient)
	orDefault(&l.Idle, defaultIdle)
	orDefault(&l.Query, defaultQuery)
	orDefault(&l.Pipeline, defaultPipeline)
	return l
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// acceptPause is the time between tries when no connection can be accepted, for want of file descriptors.
const acceptPause = 50 * time.Millisecond

// socketBuffer is how much the kernel keeps for a connection in each direction. It would take megabytes of answers for
// a client that does not read.
const socketBuffer = 64 << 10

// accept serves the connections of one listener until ctx ends and all of them have.
func (s *Server) accept(ctx context.Context, l *net.TCPListener) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	short := false
	for {
		c, err := l.AcceptTCP()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accepting on TCP %v: %w", l.Addr(), err)
		case err != nil:
			if !short {
				s.log.Warn("TCP connections cannot be accepted", "address", l.Addr().String(), "error", err)
			}
			short = true
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
			continue
		}
		short = false
		remote := c.RemoteAddr().(*net.TCPAddr).AddrPort()
		client := &conn{s: s, tcp: c, from: netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())}
		if !s.admit(client) {
			client.abort()
			continue
		}
		c.SetReadBuffer(socketBuffer)
		c.SetWriteBuffer(socketBuffer)
		conns.Go(func() {
			defer s.clients.remove(client)
			client.serve(ctx)
		})
	}
}

// admit takes a new connection in, or says that it is one too many.
func (s *Server) admit(c *conn) bool {
	limits := s.tcpLimits()
	if v := s.views.load(); v == nil {
		s.count(TCPRefused)
		return false
	} else if v.Config.Server.Mitigation.PrivilegedPorts && privileged(c.from.Port()) {
		s.count(DroppedPorts)
		return false
	}
	c.touch()
	taken, evicted := s.clients.add(c, limits)
	if !taken {
		s.count(TCPRefused)
		return false
	}
	if evicted != nil {
		evicted.tcp.Close()
		s.count(TCPEvicted)
	}
	s.count(TCPAccepted)
	return true
}

func (s *Server) count(e Event) { s.cores.with(func(c *core) { c.counts.event(e) }) }

// clients are the TCP connections that there are.
type clients struct {
	mu       sync.Mutex // guards all below
	conns    map[*conn]struct{}
	byClient map[netip.Prefix]int
}

func newClients() *clients {
	return &clients{conns: make(map[*conn]struct{}), byClient: make(map[netip.Prefix]int)}
}

// clientOf is whose connections are counted together: an IPv4 address, or the IPv6 network that a host may choose its
// addresses in.
func clientOf(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits) // fits the family
	return p
}

// add takes c in, unless its client has too many connections already. When there are too many of all clients it takes
// the place of the one that has been without a query for longest, as RFC 7766 section 6.2.3 has it, which the caller
// must close; if all have queries under way it is not taken.
func (cs *clients) add(c *conn, l config.TCPLimits) (taken bool, evicted *conn) {
	client := clientOf(c.from.Addr())
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.byClient[client] >= l.PerClient {
		return false, nil
	}
	if len(cs.conns) >= l.Connections {
		for other := range cs.conns {
			if other.busy.Load() == 0 && (evicted == nil || other.last.Load() < evicted.last.Load()) {
				evicted = other
			}
		}
		if evicted == nil {
			return false, nil
		}
		cs.drop(evicted)
	}
	cs.conns[c] = struct{}{}
	cs.byClient[client]++
	return true, evicted
}

func (cs *clients) remove(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.drop(c)
}

// drop takes c out, once.
func (cs *clients) drop(c *conn) {
	if _, there := cs.conns[c]; !there {
		return
	}
	delete(cs.conns, c)
	client := clientOf(c.from.Addr())
	if cs.byClient[client]--; cs.byClient[client] == 0 {
		delete(cs.byClient, client)
	}
}

func (cs *clients) count() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.conns)
}
