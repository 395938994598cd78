package port

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// packetPort is a port on a Linux interface. It receives from a TPACKET_V2 ring, which shows a frame
// as soon as it is there (the blocks of TPACKET_V3 would hold it back for milliseconds when traffic is
// thin), and sends in batches on a second socket, which spares the two a lock in common.
//
// The kernel hands out frames as its offloads left them. Checksums that the sender left to its
// interface are completed, 802.1Q tags that were taken off are put back. Frames longer than the MTU
// (TSO, GRO) are received whole, but can only leave by a port with as large an MTU: turn the hosts'
// offloads off (ethtool -K IF tx off gro off).
//
// One that is renamed is the same interface, and the port has its new name. When the interface is deleted, the sockets
// stay, bound to nothing; when one of the name by which the port was opened is there again they are bound to that one.
type packetPort struct {
	name     string
	ring     *ring
	poll     *poller
	tx       *transmitter
	counters counters
}

// downInterval is how often Run looks whether an interface that is down is still there: the kernel tells a socket that
// its interface went down, and then no more that it was deleted.
const downInterval = 100 * time.Millisecond

// OpenPacket opens a network interface as a port: promiscuous, blind to what the host itself sends by
// it, and for all protocols. The interface should have no address of its own. It needs CAP_NET_RAW,
// and Linux 4.20 or later.
func OpenPacket(name string) (Port, error) {
	iface, err := net.InterfaceByName(name)
	if op, ok := errors.AsType[*net.OpError](err); ok {
		if err = op.Err; !isSystem(err) { // without operation and address
			err = ErrNoInterface
		}
	}
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	p := &packetPort{name: name}
	if err := p.open(iface.Index); err != nil {
		p.Close()
		if errors.Is(err, unix.EPERM) {
			return nil, fmt.Errorf("interface %s: %w: needs root or CAP_NET_RAW", name, err)
		}
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	return p, nil
}

// isSystem says whether the system could not tell, rather than that there is nothing to tell.
func isSystem(err error) bool {
	_, ok := errors.AsType[*os.SyscallError](err)
	return ok
}

func (p *packetPort) open(index int) (err error) {
	if p.ring, err = openRing(index); err != nil {
		return err
	}
	if p.poll, err = newPoller(p.ring.fd); err != nil {
		return err
	}
	p.tx, err = newTransmitter(index, &p.counters)
	return err
}

func (p *packetPort) Send(frame []byte) { p.tx.send(frame) }

func (p *packetPort) Flush() error {
	if err := p.tx.flush(); err != nil {
		return fmt.Errorf("interface %s: sending: %w", p.name, err)
	}
	return nil
}

func (p *packetPort) Run(ctx context.Context, receive func(frames [][]byte)) error {
	if err := p.bind(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, p.poll.interrupt)
	defer stop()
	batch := make([][]byte, 0, batchFrames)
	down := false
	if err := p.look(&down); err != nil {
		return err
	}
	for ctx.Err() == nil { // asked after each look, which may undo what interrupt did
		var dropped int
		batch, dropped = p.ring.take(batch[:0])
		if dropped > 0 {
			p.counters.receiveDropped.Add(uint64(dropped))
		}
		if len(batch) > 0 {
			p.counters.received.Add(uint64(len(batch)))
			receive(batch)
		}
		if p.ring.release() > 0 {
			continue
		}
		err := p.poll.wait()
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, os.ErrClosed) {
			return ErrClosed
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("interface %s: receiving: %w", p.name, err)
		}
		// A pending error means that the interface went down; it may come back, unless it is gone.
		if errno, _ := unix.GetsockoptInt(p.ring.fd, unix.SOL_SOCKET, unix.SO_ERROR); errno == 0 && !down {
			continue
		}
		if err := p.look(&down); err != nil {
			return err
		}
	}
	return nil
}

// look finds out whether the interface is down, and fails when it is gone. While it is down, wait lasts no longer than
// until the next look.
func (p *packetPort) look(down *bool) error {
	name := p.ring.bound()
	if name == "" {
		return fmt.Errorf("interface %s: %w", p.name, ErrGone)
	}
	flags, err := p.ring.interfaceFlags(name)
	if *down = err != nil || flags&unix.IFF_UP == 0; *down {
		p.poll.wakeAt(time.Now().Add(downInterval))
	} else {
		p.poll.reset()
	}
	return nil
}

// bind binds the sockets to the interface that has the port's name now, unless they are bound to one.
func (p *packetPort) bind() error {
	if p.ring.bound() != "" {
		return nil
	}
	index, err := p.ring.interfaceIndex(p.name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", p.name, ErrGone)
	}
	if err := errors.Join(p.ring.bind(index), p.tx.bind(index)); err != nil {
		if errors.Is(err, unix.ENODEV) {
			err = ErrGone // between the two looks
		}
		return fmt.Errorf("interface %s: %w", p.name, err)
	}
	return nil
}

func (p *packetPort) State() State {
	s := State{Name: cmp.Or(p.ring.bound(), p.name)}
	flags, err := p.ring.interfaceFlags(s.Name)
	switch {
	case err != nil:
		s.Status, s.Reason = NotPresent, "the interface is gone"
	case flags&unix.IFF_UP == 0:
		s.Status, s.SetDown, s.Reason = Down, true, "the interface is set down"
	case flags&unix.IFF_RUNNING == 0:
		s.Status, s.Reason = Down, "the interface has no carrier"
	}
	return s
}

func (p *packetPort) Counters() Counters {
	// Reading the kernel's count resets it.
	if p.ring != nil {
		if stats, err := unix.GetsockoptTpacketStats(p.ring.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			p.counters.receiveDropped.Add(uint64(stats.Drops))
		}
	}
	return p.counters.snapshot()
}

func (p *packetPort) Close() error {
	if p.poll != nil {
		p.poll.close()
	}
	if p.tx != nil {
		p.tx.close()
	}
	if p.ring != nil {
		p.ring.close()
	}
	return nil
}

// poller waits until a ring has frames, by the runtime's poller. A socket that the runtime watches
// wakes a thread for every packet, also while its reader is busy; so the socket sits in an epoll set of
// its own, armed for one event whenever the reader runs dry, and the runtime watches that set.
type poller struct {
	socket int
	set    *os.File
	conn   interface {
		Read(func(fd uintptr) bool) error
	}
	events [1]unix.EpollEvent
	once   sync.Once
}

func newPoller(socket int) (*poller, error) {
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(set, true); err != nil {
		unix.Close(set)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &poller{socket: socket, set: os.NewFile(uintptr(set), "epoll")}
	if p.conn, err = p.set.SyscallConn(); err != nil {
		p.close()
		return nil, err
	}
	event := unix.EpollEvent{Events: unix.EPOLLONESHOT, Fd: int32(socket)}
	if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, socket, &event); err != nil {
		p.close()
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return p, nil
}

func (p *poller) wait() error {
	armed := false
	var failed error
	err := p.conn.Read(func(set uintptr) bool {
		if !armed {
			armed = true
			event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(p.socket)}
			if err := unix.EpollCtl(int(set), unix.EPOLL_CTL_MOD, p.socket, &event); err != nil {
				failed = os.NewSyscallError("epoll_ctl", err)
				return true
			}
		}
		n, err := unix.EpollWait(int(set), p.events[:], 0)
		if err != nil && err != unix.EINTR {
			failed = os.NewSyscallError("epoll_wait", err)
			return true
		}
		return n > 0
	})
	return errors.Join(err, failed)
}

// wakeAt makes waits that last until then, and all later ones, return os.ErrDeadlineExceeded. interrupt does so at
// once, and reset takes either back.
func (p *poller) wakeAt(t time.Time) { p.set.SetReadDeadline(t) }
func (p *poller) interrupt()         { p.wakeAt(time.Unix(1, 0)) }
func (p *poller) reset()             { p.wakeAt(time.Time{}) }

func (p *poller) close() { p.once.Do(func() { p.set.Close() }) }
