package loadreport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// Window is how far a request's time may be from the server's. A captured request is good for no longer.
const Window = 30 * time.Second

const (
	warnEvery   = time.Minute            // at most, of datagrams that are not answered
	retryPause  = 100 * time.Millisecond // after a read that failed
	readsBuffer = 1 << 20                // of the socket, in bytes
)

// Config is what a Server needs.
type Config struct {
	// Listen is the UDP address, as ":9681", "192.0.2.1:9681" or "[::]:9681".
	Listen string
	// Keys are those that may ask: the one in use, and while keys change, the one before or after it.
	Keys []Key
	Log  *slog.Logger     // default: none
	Now  func() time.Time // default time.Now
}

// Server answers requests. It sends nothing to who has no key, and never more than it was sent.
type Server struct {
	cfg    Config
	keys   atomic.Pointer[map[uint32]Key]
	socket *socket

	// Of datagrams that were not answered, those after the last warning.
	warned   time.Time
	unwarned int
}

// Listen opens the socket of a Server; Run answers on it.
func Listen(cfg Config) (*Server, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{cfg: cfg}
	if err := s.SetKeys(cfg.Keys); err != nil {
		return nil, err
	}
	var err error
	if s.socket, err = listen(cfg.Listen); err != nil {
		return nil, fmt.Errorf("opening the load report socket: %w", err)
	}
	return s, nil
}

// SetKeys replaces the keys; with an error, those before stay. Any goroutine may call it.
func (s *Server) SetKeys(list []Key) error {
	keys := make(map[uint32]Key)
	for _, k := range list {
		if len(k.secret) == 0 {
			return errors.New("load reports: a key is empty")
		}
		keys[k.id] = k
	}
	if len(keys) == 0 {
		return errors.New("load reports: no key is given: nobody could ask")
	}
	s.keys.Store(&keys)
	return nil
}

// Addr returns where the server listens.
func (s *Server) Addr() netip.AddrPort { return s.socket.addr() }

// Close closes the socket of a server that may never have run.
func (s *Server) Close() error { return s.socket.conn.Close() }

// Run answers until ctx ends, then closes the socket and returns nil. answer returns the report on an item; it is
// called by this goroutine and must not block.
func (s *Server) Run(ctx context.Context, answer func(Item) Report) error {
	defer s.socket.conn.Close()
	defer context.AfterFunc(ctx, func() { s.socket.conn.SetReadDeadline(time.Unix(1, 0)) })()
	buffer := make([]byte, MaxSize+1)
	for {
		n, from, via, err := s.socket.read(buffer)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("reading load report requests: %w", err)
			}
			s.cfg.Log.Warn("a load report request could not be read", "err", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(retryPause):
			}
			continue
		}
		now := s.cfg.Now()
		reply, err := s.respond(buffer[:n], now, answer)
		if err == nil {
			err = s.socket.write(reply, from, via)
		}
		if err != nil {
			s.refused(from, err, now)
		}
	}
}

// respond returns the reply to a datagram; with an error, nothing is sent.
func (s *Server) respond(datagram []byte, now time.Time, answer func(Item) Report) ([]byte, error) {
	h, err := parseHeader(datagram)
	if err != nil {
		return nil, err
	}
	if h.kind != request {
		return nil, errors.New("not a request")
	}
	key, ok := (*s.keys.Load())[h.key]
	if !ok {
		return nil, fmt.Errorf("there is no key %08x here", h.key)
	}
	body, ok := key.open(datagram)
	if !ok {
		return nil, fmt.Errorf("not authenticated by key %s", key)
	}
	items, err := parseItems(h, body)
	if err != nil {
		return nil, fmt.Errorf("malformed: %w", err)
	}
	if h.millis < now.Add(-Window).UnixMilli() || h.millis > now.Add(Window).UnixMilli() {
		return encodeReply(key, h, now, statusClock, nil), nil
	}
	reports := make([]Report, len(items))
	for i, item := range items {
		if item != (Item{}) { // of a kind that this version does not know
			reports[i] = answer(item)
		}
	}
	return encodeReply(key, h, now, statusOK, reports), nil
}

// refused warns of what gets no answer, but not for each datagram: anybody can send those.
func (s *Server) refused(from netip.AddrPort, err error, now time.Time) {
	s.unwarned++
	if !s.warned.IsZero() && now.Sub(s.warned) < warnEvery {
		return
	}
	s.cfg.Log.Warn("load report requests are not answered", "from", from, "err", err, "count", s.unwarned)
	s.warned, s.unwarned = now, 0
}
