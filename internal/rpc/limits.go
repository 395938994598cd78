package rpc

import (
	"fmt"
	"time"
)

// kind is what a caller is to the socket. Callers of one kind share room, so that those who have no business here
// cannot shut out those who have.
type kind uint8

const (
	owner    kind = iota // root, and the process's own user
	member               // somebody with a role
	stranger             // is told that it has none
	tcp                  // cannot be told apart
	kinds
)

// limits bound the connections that are open at a time. What is too many is closed and told of. A listener that stops
// accepting when it is full, as that of x/net/netutil, would let one caller have all the room.
type limits struct {
	perUser [kinds]int
	all     [kinds]int // of a kind
}

var defaultLimits = limits{
	perUser: [kinds]int{owner: 256, member: 64, stranger: 4, tcp: 256},
	all:     [kinds]int{owner: 512, member: 512, stranger: 32, tcp: 256},
}

// key is a caller in the count of connections.
type key struct {
	kind kind
	uid  uint32
	name string // of a certificate
}

func (a *Access) kind(c Caller) kind {
	switch {
	case c.TCP:
		return tcp
	case c.master():
		return owner
	case len(a.roles(c)) > 0:
		return member
	}
	return stranger
}

// enter counts a connection until leave is called. full says why there is no room for it, "" when there is.
func (l *Listener) enter(c Caller) (leave func(), full string) {
	k := key{l.access.kind(c), c.UID, c.Name}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.held[k] >= l.limits.perUser[k.kind]:
		return nil, fmt.Sprintf("%d of this caller are open", l.held[k])
	case l.kinds[k.kind] >= l.limits.all[k.kind]:
		return nil, fmt.Sprintf("%d of callers like this are open", l.kinds[k.kind])
	}
	l.held[k]++
	l.kinds[k.kind]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.kinds[k.kind]--
		if l.held[k]--; l.held[k] == 0 {
			delete(l.held, k)
		}
	}, ""
}

// refusals are logged this often at most.
const refusalInterval = time.Minute

func (l *Listener) refused(caller string, why any) {
	l.mu.Lock()
	now := time.Now()
	tell := l.told.IsZero() || now.Sub(l.told) >= refusalInterval
	if tell {
		l.told = now
	}
	l.mu.Unlock()
	if tell {
		l.log.Warn("connections are refused", "socket", l.Address(), "caller", caller, "reason", why)
	}
}
