package check

import (
	"context"
	"errors"
	"fmt"
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
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, local(err, address)
	}
	return conn, nil
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
	took, err := p.exchange()
	if err != nil {
		return 0, local(err, netip.AddrPortFrom(address, 7).String())
	}
	return took, nil
}

// local marks as ErrNotAsked the errors that the kernel gives before it sends anything.
func local(err error, address string) error {
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return err
	}
	switch errno {
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL,
		syscall.EACCES, syscall.EPERM, syscall.ENETDOWN:
		return fmt.Errorf("%w: %w", ErrNotAsked, errno)
	case syscall.ENETUNREACH:
		// Said by this host, which has no route, or by a router on the way, which answers for
		// the server. Connecting UDP sends nothing and looks up the route alone.
		conn, routeErr := net.Dial("udp", address)
		if routeErr != nil {
			return fmt.Errorf("%w: %w", ErrNotAsked, errno)
		}
		conn.Close()
	}
	return err
}
