package rpc

import (
	"errors"
	"net"
	"strconv"
)

// Caller is the process at the other end of a connection: by its credentials when it connected, or by the certificate
// that it has shown.
type Caller struct {
	TCP bool // nobody tells who it is, and the rest is zero
	TLS bool // by its certificate: Name and Roles say who it is, and the rest is zero

	Name  string // the certificate's
	Roles []Role // in the certificate, known or not

	UID, GID uint32
	Groups   []uint32
	Err      error // why it is not known
}

// callerOf returns who is at the other end of c.
func callerOf(c net.Conn) Caller {
	switch c := c.(type) {
	case *net.UnixConn:
		return peerOf(c)
	case *net.TCPConn:
		return Caller{TCP: true}
	}
	return Caller{Err: errors.New("it is neither on a unix socket nor on TCP")}
}

// Addr is the remote address of the connections that a Listener accepts: who calls, and for TCP from where.
type Addr struct {
	net.Addr
	Caller Caller
}

func (a Addr) String() string {
	switch {
	case a.Caller.TLS:
		return a.Caller.name() + " at " + a.Addr.String()
	case a.Caller.TCP:
		return a.Addr.String()
	case a.Caller.Err != nil:
		return "unknown user"
	}
	return "uid " + strconv.FormatUint(uint64(a.Caller.UID), 10)
}

// CallerAt returns who calls from a remote address of a Listener's connection.
func CallerAt(a net.Addr) Caller {
	if a, ok := a.(Addr); ok {
		return a.Caller
	}
	return Caller{Err: errors.New("the connection does not come from a socket of this package")}
}
