package rpc

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// lobby is where connections are until it is known who calls. Handshakes are under way side by side, so that one that
// says nothing holds up no other; each has its time; and where there is no room for one more, the one that has been
// there longest goes, of the same neighbourhood if that has its share. A caller that means it needs two round trips, so
// who opens connections and says nothing takes room from itself first.
type lobby struct {
	identity *Identity
	within   time.Duration
	share    int // connections of one neighbourhood
	room     int // and of all

	greeted chan greeted
	closed  context.Context // ends when the listener is closed
	close   context.CancelFunc
	work    sync.WaitGroup // of who accepts, and of each handshake

	mu      sync.Mutex // guards waiting
	waiting []*visitor // in the order in which they came
}

type visitor struct {
	net.Conn
	from netip.Prefix
}

type greeted struct {
	conn net.Conn
	who  Caller
	err  error // in accepting
}

func newLobby(i *Identity) *lobby {
	b := &lobby{identity: i, within: handshakeTime, share: 32, room: 256, greeted: make(chan greeted)}
	b.closed, b.close = context.WithCancel(context.Background())
	return b
}

// run accepts until l is closed. refused hears of who was sent away.
func (b *lobby) run(l net.Listener, refused func(from net.Addr, err error)) {
	b.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				if !b.give(greeted{err: err}) || errors.Is(err, net.ErrClosed) {
					return
				}
				continue
			}
			v := b.enter(c)
			b.work.Go(func() {
				secure, who, err := greet(c, b.identity, b.within)
				if gone := b.leave(v); gone && err != nil {
					err = errors.New("too many connections whose caller is not known yet")
				}
				switch {
				case err != nil && b.closed.Err() == nil:
					refused(c.RemoteAddr(), err)
				case err == nil && !b.give(greeted{conn: secure, who: who}):
					secure.Close()
				}
			})
		}
	})
}

// give hands something to accept, unless the listener is closed.
func (b *lobby) give(g greeted) bool {
	select {
	case b.greeted <- g:
		return true
	case <-b.closed.Done():
		return false
	}
}

// accept returns the next connection whose caller is known.
func (b *lobby) accept() (net.Conn, Caller, error) {
	select {
	case g := <-b.greeted:
		return g.conn, g.who, g.err
	case <-b.closed.Done():
		return nil, Caller{}, net.ErrClosed
	}
}

// shut ends what is under way, after the listener was closed, and waits for it.
func (b *lobby) shut() {
	b.close()
	b.mu.Lock()
	for _, v := range b.waiting {
		v.Close()
	}
	b.mu.Unlock()
	b.work.Wait()
}

// enter makes room for a connection.
func (b *lobby) enter(c net.Conn) *visitor {
	v := &visitor{c, neighbourhood(c.RemoteAddr())}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Err() != nil {
		c.Close()
	}
	same := 0
	for _, w := range b.waiting {
		if w.from == v.from {
			same++
		}
	}
	goes := -1
	switch {
	case same >= b.share:
		goes = slices.IndexFunc(b.waiting, func(w *visitor) bool { return w.from == v.from })
	case len(b.waiting) >= b.room:
		goes = 0
	}
	if goes >= 0 {
		b.waiting[goes].Close() // its handshake fails, and its goroutine ends
		b.waiting = slices.Delete(b.waiting, goes, goes+1)
	}
	b.waiting = append(b.waiting, v)
	return v
}

// leave takes a connection out. gone says that it had to go already, for want of room.
func (b *lobby) leave(v *visitor) (gone bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.waiting, v)
	if i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
	}
	return i < 0
}

// neighbourhood is what one caller can have addresses of at will: an IPv4 address, or an IPv6 network of 64 bits.
func neighbourhood(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap()
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	prefix, err := ip.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
