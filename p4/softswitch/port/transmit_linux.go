package port

import (
	"errors"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// transmitter sends frames by one interface, up to batchFrames in one system call.
type transmitter struct {
	fd       int
	counters *counters

	mu       sync.Mutex // guards what follows
	waiting  int
	buffers  [batchFrames][]byte
	vectors  [batchFrames]unix.Iovec
	messages [batchFrames]message
	failed   error // the first since the last flush
}

var errTooLong = errors.New("frame is longer than the MTU: turn the hosts' offloads off (ethtool -K IF tx off gro " +
	"off) or raise the MTU")

// message is struct mmsghdr.
type message struct {
	unix.Msghdr
	sent uint32
	_    [unsafe.Sizeof(uintptr(0)) - 4]byte
}

func newTransmitter(index int, c *counters) (*transmitter, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	t := &transmitter{fd: fd, counters: c}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4<<20) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20)
	}
	if err := t.bind(index); err != nil {
		t.close()
		return nil, err
	}
	memory := make([]byte, batchFrames*slotBytes)
	for i := range t.messages {
		t.buffers[i] = memory[i*slotBytes : (i+1)*slotBytes]
		t.vectors[i].Base = &t.buffers[i][0]
		t.messages[i].Iov = &t.vectors[i]
		t.messages[i].SetIovlen(1)
	}
	return t, nil
}

// bind has the socket send by an interface. Protocol 0: it receives nothing.
func (t *transmitter) bind(index int) error {
	if err := unix.Bind(t.fd, &unix.SockaddrLinklayer{Ifindex: index}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	return nil
}

func (t *transmitter) send(frame []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(frame) > slotBytes {
		t.push() // keeps the order
		t.count(1, unix.Send(t.fd, frame, unix.MSG_DONTWAIT))
		return
	}
	copy(t.buffers[t.waiting], frame)
	t.vectors[t.waiting].SetLen(len(frame))
	if t.waiting++; t.waiting == batchFrames {
		t.push()
	}
}

func (t *transmitter) flush() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.push()
	err := t.failed
	t.failed = nil
	return err
}

// push sends what waits. sendmmsg stops at a frame that it cannot send; that one is dropped.
func (t *transmitter) push() {
	for from := 0; from < t.waiting; {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(t.fd),
			uintptr(unsafe.Pointer(&t.messages[from])), uintptr(t.waiting-from), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			t.count(int(n), nil)
			from += int(n)
		case unix.EINTR:
		default:
			t.count(1, errno)
			from++
		}
	}
	t.waiting = 0
}

// count books n frames. A full queue is no reason to tell: it is what a busy wire does.
func (t *transmitter) count(n int, err error) {
	if err == nil {
		t.counters.sent.Add(uint64(n))
		return
	}
	t.counters.sendDropped.Add(uint64(n))
	if t.failed == nil && err != unix.EAGAIN && err != unix.ENOBUFS {
		t.failed = err
		if err == unix.EMSGSIZE {
			t.failed = errTooLong
		}
	}
}

func (t *transmitter) close() {
	if t.fd >= 0 {
		unix.Close(t.fd)
		t.fd = -1
	}
}
