package server

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchSize is how many datagrams are read, and written, at a time.
const batchSize = 32

// Buffers are not a power of two apart, lest the first lines of all of them, the only ones that are used as a rule,
// compete for a few places in the cache.
const (
	inSize  = maxUDP + 1 // what is longer shows
	outSize = maxUDP
	stride  = maxUDP + 3*64
)

// batch is the memory of one loop: what the kernel is handed, made once.
//
// The i-th datagram read is in[i], with its sender, data and control message in slot i. Answers are gathered in out
// without gaps; each has the sender of its query for its destination and, where the socket is bound to all addresses,
// the query's control message, so that it leaves from the address that was asked.
type batch struct {
	fd      uintptr
	control bool
	in, out [batchSize]mmsghdr
	queued  int // of out
	slots   [batchSize]slot
	inData  [batchSize * stride]byte
	outData [batchSize * stride]byte
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	unix.Msghdr
	n uint32 // bytes read or written
}

// slot is what goes with one datagram.
type slot struct {
	name    unix.RawSockaddrInet6 // or RawSockaddrInet4
	in, out unix.Iovec
	control control
}

// control is a control message that says where a datagram came in, or is to leave from.
type control struct {
	unix.Cmsghdr
	info unix.Inet6Pktinfo // or Inet4Pktinfo
}

const controlSize = int(unsafe.Sizeof(control{}))

func newBatch(fd int, control bool) *batch {
	b := &batch{fd: uintptr(fd), control: control}
	for i := range batchSize {
		s := &b.slots[i]
		s.in.Base = &b.inData[i*stride]
		s.in.SetLen(inSize)
		s.out.Base = &b.outData[i*stride]
		in, out := &b.in[i], &b.out[i]
		in.Iov, out.Iov = &s.in, &s.out
		in.SetIovlen(1)
		out.SetIovlen(1)
		in.Name = (*byte)(unsafe.Pointer(&s.name))
		if control {
			in.Control = (*byte)(unsafe.Pointer(&s.control))
		}
		b.reset(i)
	}
	return b
}

// reset makes slot i ready for the next datagram: the kernel has written lengths over those it was told.
func (b *batch) reset(i int) {
	b.in[i].Namelen = unix.SizeofSockaddrInet6
	if b.control {
		b.in[i].SetControllen(controlSize)
	}
}

// receive waits for a datagram and reads what else has come by then.
func (b *batch) receive() (n int, err syscall.Errno) {
	got, _, err := syscall.Syscall6(unix.SYS_RECVMMSG, b.fd, uintptr(unsafe.Pointer(&b.in)), batchSize,
		unix.MSG_WAITFORONE, 0, 0)
	return int(got), err
}

// answer has handle answer datagram i, and queues what it answers.
func (b *batch) answer(i int, handle func(request []byte, from netip.AddrPort, at local, out []byte) int) {
	in, s := &b.in[i], &b.slots[i]
	from, at := s.sender(), local{}
	link := from.Addr().IsLinkLocalUnicast() && !from.Addr().Is4()
	if link {
		at.index = int32(s.name.Scope_id)
	}
	if b.control && in.Controllen > 0 {
		at.addr = s.destination(link)
	}
	o := b.queued
	request, out := b.inData[i*stride:][:in.n], b.outData[o*stride:][:outSize:outSize]
	if n := handle(request, from, at, out); n > 0 {
		b.slots[o].out.SetLen(n)
		msg := &b.out[o]
		msg.Name, msg.Namelen = in.Name, in.Namelen
		if b.control {
			msg.Control, msg.Controllen = in.Control, in.Controllen
		}
		b.queued++
	}
}

// sender is where the datagram came from, without the zone of link-local addresses.
func (s *slot) sender() netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&s.name.Port))[:])
	if s.name.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&s.name)).Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(s.name.Addr), port)
}

// destination is the address that the datagram was sent to. It changes the control message into one of an answer: that
// leaves by whatever interface leads to the client, unless it stays on the link.
func (s *slot) destination(link bool) netip.Addr {
	if s.control.Level == unix.IPPROTO_IP {
		info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&s.control.info))
		info.Ifindex = 0
		return netip.AddrFrom4(info.Spec_dst)
	}
	info := &s.control.info
	if !link {
		info.Ifindex = 0
	}
	return netip.AddrFrom16(info.Addr)
}

// flush sends what is queued, and makes the slots ready for the next batch. A datagram that the kernel refuses does not
// keep the others from being sent.
func (b *batch) flush(received int) {
	for sent := 0; sent < b.queued; {
		switch n, err := b.write(sent); err {
		case 0:
			sent += n
		case unix.EINTR:
		default:
			sent++ // the error is about the first
		}
	}
	b.queued = 0
	for i := range received {
		b.reset(i)
	}
}

// write sends from the first-th datagram on, and returns how many it did. It waits for room only if there is none.
func (b *batch) write(first int) (n int, err syscall.Errno) {
	msgs, count := &b.out[first], uintptr(b.queued-first)
	sent, _, err := syscall.RawSyscall6(unix.SYS_SENDMMSG, b.fd, uintptr(unsafe.Pointer(msgs)), count,
		unix.MSG_DONTWAIT, 0, 0)
	if err == unix.EAGAIN {
		sent, _, err = syscall.Syscall6(unix.SYS_SENDMMSG, b.fd, uintptr(unsafe.Pointer(msgs)), count, 0, 0, 0)
	}
	return int(sent), err
}
