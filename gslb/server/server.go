// Package server is the sockets of `sluice gslb`: DNS over UDP and TCP. It reads queries, drops what no honest
// client sends, has packages fastpath and responder answer, limits what forged addresses could be flooded with, sends, and
// does what they may not because it takes time: forwarding (package relay) and waiting for a first verdict. What to
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
	"syscall"

	"golang.org/x/sync/errgroup"
)

// Config is what a Server needs.
type Config struct {
	Listen []netip.AddrPort // UDP and TCP both; port 0: one free port for both
	Cores  int              // UDP sockets for each address; default GOMAXPROCS
	Log    *slog.Logger     // default: discards
}

// Server serves DNS at its addresses.
type Server struct {
	listen []netip.AddrPort
	cores  int
	log    *slog.Logger
	udp    []*udpSocket
	tcp    []*net.TCPListener
}

// New prepares a Server; Listen opens its sockets and Run serves.
func New(c Config) *Server {
	if c.Cores == 0 {
		c.Cores = runtime.GOMAXPROCS(0)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{listen: c.Listen, cores: c.Cores, log: c.Log}
}

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
		sockets, err := openUDP(s, a, s.cores)
		if err != nil {
			return fmt.Errorf("listening on UDP %v: %w", a, err)
		}
		bound := sockets[0].addr()
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(bound))
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

// Addrs returns the addresses that Listen opened, in the order of Config.Listen.
func (s *Server) Addrs() []netip.AddrPort {
	var all []netip.AddrPort
	for _, l := range s.tcp {
		all = append(all, l.Addr().(*net.TCPAddr).AddrPort())
	}
	return all
}

// Run serves until ctx ends, and closes the sockets.
func (s *Server) Run(ctx context.Context) error {
	defer s.close()
	g, ctx := errgroup.WithContext(ctx)
	for _, u := range s.udp {
		g.Go(func() error { return u.run(ctx) })
	}
	return g.Wait()
}

func (s *Server) close() {
	for _, u := range s.udp {
		u.close()
	}
	for _, l := range s.tcp {
		l.Close()
	}
	s.udp, s.tcp = nil, nil
}
