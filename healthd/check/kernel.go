package check

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// Kernel asks through the host's own network stack.
type Kernel struct{}

// Probes are too short for keep-alive probes of TCP; two system calls less for each.
var dialer = net.Dialer{KeepAlive: -1}

// DialContext connects from an address and port that the kernel chooses.
func (Kernel) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return dialer.DialContext(ctx, network, address)
}

// Ping uses a ping socket, which needs no privilege where net.ipv4.ping_group_range allows it, or
// else a raw one, which needs CAP_NET_RAW.
func (Kernel) Ping(ctx context.Context, address netip.Addr) (time.Duration, error) {
	p, err := listenPing(address)
	if err != nil {
		return 0, err
	}
	defer p.conn.Close()
	stop := context.AfterFunc(ctx, func() { p.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	return p.exchange()
}

// Route looks up the route alone: connecting UDP sends nothing.
func (Kernel) Route(to netip.Addr) error {
	conn, err := net.Dial("udp", netip.AddrPortFrom(to, discard).String())
	if err != nil {
		return err
	}
	return conn.Close()
}

const discard = 9 // the port of RFC 863; any would do

// isOurs reports that err came about on this host, before anything left it or because of what was done to its
// sockets here. A route that is a black hole gives EINVAL, one that is prohibited EACCES, a connection that was
// killed on this side ECONNABORTED. Who cannot read whom to trust cannot judge a certificate.
func isOurs(err error) bool {
	if _, ok := errors.AsType[x509.SystemRootsError](err); ok {
		return true
	}
	errno, _ := errors.AsType[syscall.Errno](err)
	switch errno {
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EAGAIN,
		syscall.EADDRNOTAVAIL, syscall.EADDRINUSE, syscall.EAFNOSUPPORT, syscall.EPROTONOSUPPORT,
		syscall.EACCES, syscall.EPERM, syscall.EINVAL, syscall.EMSGSIZE, syscall.ENETDOWN, syscall.ENODEV,
		syscall.ECONNABORTED:
		return true
	}
	return false
}

// mayBeOurs reports an error that this host gives when it has no route, and that a router on the way, or the lack of
// an answer to ARP, gives of the server.
func mayBeOurs(err error) bool {
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTUNREACH)
}
