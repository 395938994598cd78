package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// udpSocket is one of the UDP sockets that share an address (SO_REUSEPORT: the kernel gives each client to one of
// them), and its loop.
//
// The loop reads and writes in batches and blocks in the kernel, not in the poller of the Go runtime: with a wake-up
// for every few queries, that detour would cost more than the answers do.
type udpSocket struct {
	fd    int
	s     *Server
	bound netip.AddrPort
	ended atomic.Bool // the loop is to end

	mu     sync.RWMutex // guards closed, and fd against being used when it is another file's
	closed bool
}

const (
	// bufferSize is how many bytes wait in the kernel each way: enough for what comes while a core is busy elsewhere.
	bufferSize = 4 << 20
	// yieldEvery is how often the loop yields, in nanoseconds. The runtime takes the processor from, and signals the
	// thread of, who has not for 10 ms, again and again, though the loop blocks thousands of times a second.
	yieldEvery = int64(5 * time.Millisecond)
	// pause is how long the loop waits when the kernel is out of memory.
	pause = 10 * time.Millisecond
)

// openUDP opens n sockets that share an address, or on error none.
func openUDP(s *Server, a netip.AddrPort, n int) ([]*udpSocket, error) {
	var all []*udpSocket
	for range n {
		u, err := newUDP(s, a, len(all) > 0)
		if err != nil {
			for _, u := range all {
				u.close()
			}
			return nil, err
		}
		all = append(all, u)
		a = u.bound // the port, if any would do
	}
	return all, nil
}

// newUDP opens a socket. An address must be nobody's, unless it is ours already: else queries that are for another
// server, which has it, would come here, too, and be lost.
func newUDP(s *Server, a netip.AddrPort, ours bool) (u *udpSocket, err error) {
	family := unix.AF_INET
	if a.Addr().Is6() {
		family = unix.AF_INET6
	}
	u = &udpSocket{s: s}
	u.fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := u.bind(a, family == unix.AF_INET6, ours); err != nil {
		u.close()
		return nil, err
	}
	return u, nil
}

func (u *udpSocket) bind(a netip.AddrPort, ipv6, ours bool) error {
	set := func(level, option, value int) error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(u.fd, level, option, value))
	}
	large := func(force, option int) error {
		// Above the system's limit only the privileged may go; others get as much as there is.
		if set(unix.SOL_SOCKET, force, bufferSize) == nil {
			return nil
		}
		return set(unix.SOL_SOCKET, option, bufferSize)
	}
	share := func() error { return set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }
	errs := []error{
		large(unix.SO_RCVBUFFORCE, unix.SO_RCVBUF),
		large(unix.SO_SNDBUFFORCE, unix.SO_SNDBUF),
	}
	// Nobody may tell by forged ICMP messages that answers are to go in smaller fragments.
	level, discover, omit, info := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_OMIT, unix.IP_PKTINFO
	if ipv6 {
		level, discover, omit, info = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_OMIT,
			unix.IPV6_RECVPKTINFO
		errs = append(errs, set(level, unix.IPV6_V6ONLY, 1))
	}
	errs = append(errs, set(level, discover, omit))
	if a.Addr().IsUnspecified() {
		errs = append(errs, set(level, info, 1))
	}
	if ours {
		errs = append(errs, share())
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	to, err := sockaddr(a)
	if err != nil {
		return err
	}
	if err := unix.Bind(u.fd, to); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if !ours { // the next sockets have it, too
		if err := share(); err != nil {
			return err
		}
	}
	name, err := unix.Getsockname(u.fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		a = netip.AddrPortFrom(a.Addr(), uint16(name.Port))
	case *unix.SockaddrInet6:
		a = netip.AddrPortFrom(a.Addr(), uint16(name.Port))
	}
	u.bound = a
	return nil
}

func (u *udpSocket) addr() netip.AddrPort { return u.bound }

func (u *udpSocket) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.closed {
		u.closed = true
		unix.Close(u.fd)
	}
}

// end makes the loop end, also if it waits for queries.
func (u *udpSocket) end() {
	u.ended.Store(true)
	u.mu.RLock()
	defer u.mu.RUnlock()
	if !u.closed {
		// It says ENOTCONN, and wakes whoever reads.
		unix.Shutdown(u.fd, unix.SHUT_RD)
	}
}

// run answers until ctx ends. close, which comes later, ends late answers.
func (u *udpSocket) run(ctx context.Context) error {
	defer context.AfterFunc(ctx, u.end)()
	w := u.s.newWorker(u.send)
	handle, b := w.handle, newBatch(u.fd, u.bound.Addr().IsUnspecified())
	yielded := int64(0)
	for {
		n, err := b.receive()
		if u.ended.Load() {
			return nil
		}
		switch err {
		case 0:
		case unix.EINTR, unix.EAGAIN, unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH:
			continue
		case unix.ENOMEM, unix.ENOBUFS:
			time.Sleep(pause)
			continue
		default:
			return fmt.Errorf("reading UDP %v: %w", u.bound, err)
		}
		w.begin()
		for i := range n {
			b.answer(i, handle)
		}
		b.flush(n)
		w.end(n)
		if w.now-yielded >= yieldEvery {
			runtime.Gosched()
			yielded = w.now
		}
	}
}

// send sends an answer that took time, from where its query was sent to.
func (u *udpSocket) send(wire []byte, to netip.AddrPort, at local) {
	name, err := sockaddr(to)
	if err != nil || len(wire) > maxUDP {
		return
	}
	if name, ok := name.(*unix.SockaddrInet6); ok && to.Addr().IsLinkLocalUnicast() {
		name.ZoneId = uint32(at.index)
	}
	var info []byte
	switch {
	case !at.addr.IsValid():
	case at.addr.Is4():
		info = unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: at.addr.As4()})
	case at.addr.IsLinkLocalUnicast():
		info = unix.PktInfo6(&unix.Inet6Pktinfo{Addr: at.addr.As16(), Ifindex: uint32(at.index)})
	default:
		info = unix.PktInfo6(&unix.Inet6Pktinfo{Addr: at.addr.As16()})
	}
	u.mu.RLock()
	defer u.mu.RUnlock()
	if !u.closed {
		unix.Sendmsg(u.fd, wire, info, name, 0) // nobody's business: see newWorker
	}
}

// sockaddr is an address as the kernel takes it. A zone must be the name or number of an interface.
func sockaddr(a netip.AddrPort) (unix.Sockaddr, error) {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}, nil
	}
	zone, err := zoneIndex(a.Addr().Zone())
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16(), ZoneId: zone}, err
}

// zoneIndex is the interface that the zone of an address names, or is the number of; 0 for none.
func zoneIndex(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	i, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, fmt.Errorf("zone %s: %w", zone, err)
	}
	return uint32(i.Index), nil
}
