package port

import (
	"encoding/binary"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sluicelb/sluice/p4/packet"
)

// A ring of 8 MiB: 4,096 frames of up to about 1,970 bytes. Longer ones come by the socket's queue.
const (
	slotBytes   = 2048
	slots       = 4096
	blockBytes  = 64 << 10
	batchFrames = 64
)

// vnetHeader is the length of struct virtio_net_hdr, which stands before every frame.
const vnetHeader = 10

const headerNeedsChecksum = 1 // VIRTIO_NET_HDR_F_NEEDS_CSUM

// ring is the receiving socket of an interface and the memory that the kernel fills.
type ring struct {
	fd     int
	memory []byte
	next   int // the slot that the kernel fills next, as far as is known
	taken  int // slots before next that are not given back yet
	large  []byte
	oob    []byte
}

func openRing(index int) (*ring, error) {
	// Protocol 0: nothing arrives before bind, when all is set.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	r := &ring{fd: fd}
	if err := r.attach(index); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// attach sets the socket up and binds it to an interface.
func (r *ring) attach(index int) (err error) {
	fd := r.fd
	for _, option := range []struct{ name, value int }{
		{unix.PACKET_VERSION, unix.TPACKET_V2},
		{unix.PACKET_VNET_HDR, 1},        // says which checksums are not there yet
		{unix.PACKET_AUXDATA, 1},         // has the tag of a frame that did not fit its slot
		{unix.PACKET_COPY_THRESH, 1},     // queues such a frame whole
		{unix.PACKET_IGNORE_OUTGOING, 1}, // a switch does not hear itself
	} {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, option.name, option.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	// For the frames that do not fit. Without CAP_NET_ADMIN the system's limit holds.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20)
	}
	request := unix.TpacketReq{
		Block_size: blockBytes, Block_nr: slots * slotBytes / blockBytes,
		Frame_size: slotBytes, Frame_nr: slots,
	}
	if err := unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &request); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	r.memory, err = unix.Mmap(fd, 0, slots*slotBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	return r.bind(index)
}

// bind has the socket receive what comes in by an interface.
func (r *ring) bind(index int) error {
	fd := r.fd
	promiscuous := unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC}
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &promiscuous); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: index}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	return nil
}

// bound returns the name that the interface has now which the socket receives by; "" when it was deleted: then the
// socket has let go of it.
func (r *ring) bound() string {
	address, err := unix.Getsockname(r.fd)
	link, ok := address.(*unix.SockaddrLinklayer)
	if err != nil || !ok || link.Ifindex <= 0 {
		return ""
	}
	request, err := unix.NewIfreq("")
	if err != nil {
		return ""
	}
	request.SetUint32(uint32(link.Ifindex))
	if err := unix.IoctlIfreq(r.fd, unix.SIOCGIFNAME, request); err != nil {
		return ""
	}
	return request.Name()
}

// interfaceIndex and interfaceFlags look for an interface where the socket is, in whatever network namespace the caller
// runs.
func (r *ring) interfaceIndex(name string) (int, error) {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(r.fd, unix.SIOCGIFINDEX, request); err != nil {
		return 0, err
	}
	return int(request.Uint32()), nil
}

func (r *ring) interfaceFlags(name string) (uint16, error) {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(r.fd, unix.SIOCGIFFLAGS, request); err != nil {
		return 0, err
	}
	return request.Uint16(), nil
}

func (r *ring) header(slot int) *unix.Tpacket2Hdr {
	return (*unix.Tpacket2Hdr)(unsafe.Pointer(&r.memory[slot*slotBytes]))
}

// take appends the frames that have arrived to batch, at most batchFrames, and says how many were lost
// because they were cut. They lie in the ring until release.
func (r *ring) take(batch [][]byte) ([][]byte, int) {
	dropped := 0
	for r.taken < batchFrames {
		slot := r.next
		h := r.header(slot)
		status := atomic.LoadUint32(&h.Status)
		if status&unix.TP_STATUS_USER == 0 {
			break
		}
		r.next = (slot + 1) % slots
		r.taken++
		if status&unix.TP_STATUS_COPY != 0 {
			if frame := r.takeLarge(); frame != nil {
				// There is one buffer for long frames: it ends the batch.
				return append(batch, frame), dropped
			}
			dropped++
			continue
		}
		if h.Snaplen < h.Len {
			dropped++
			continue
		}
		start := slot*slotBytes + int(h.Mac)
		batch = append(batch, restore(r.memory[start-vnetHeader:start+int(h.Snaplen)], status, h.Vlan_tci, h.Vlan_tpid))
	}
	return batch, dropped
}

// takeLarge reads a frame that did not fit its slot from the socket's queue; nil when it is not there.
func (r *ring) takeLarge() []byte {
	if r.large == nil {
		r.large = make([]byte, vnetHeader+MaxFrame)
		r.oob = make([]byte, unix.CmsgSpace(int(unsafe.Sizeof(unix.TpacketAuxdata{}))))
	}
	n, oobn, flags, _, err := unix.Recvmsg(r.fd, r.large, r.oob, unix.MSG_DONTWAIT)
	if err != nil || flags&unix.MSG_TRUNC != 0 || n < vnetHeader+packet.EthernetLen {
		return nil
	}
	var aux unix.TpacketAuxdata
	messages, err := unix.ParseSocketControlMessage(r.oob[:oobn])
	if err == nil && len(messages) == 1 && len(messages[0].Data) >= int(unsafe.Sizeof(aux)) {
		aux = *(*unix.TpacketAuxdata)(unsafe.Pointer(&messages[0].Data[0]))
	}
	return restore(r.large[:n], aux.Status, aux.Vlan_tci, aux.Vlan_tpid)
}

// restore undoes the offloads of a frame behind its vnet header, and returns it without the header: the
// checksum that the sender left open (NEEDS_CSUM), and the tag that the kernel keeps beside the frame.
func restore(b []byte, status uint32, tci, tpid uint16) []byte {
	frame := b[vnetHeader:]
	if b[0]&headerNeedsChecksum != 0 {
		start := int(binary.NativeEndian.Uint16(b[6:]))
		field := start + int(binary.NativeEndian.Uint16(b[8:]))
		if start <= field && field+2 <= len(frame) {
			// The field holds the sum of the pseudo-header.
			binary.BigEndian.PutUint16(frame[field:], packet.Checksum(frame[start:]))
		}
	}
	if status&unix.TP_STATUS_VLAN_VALID != 0 && len(frame) >= packet.EthernetLen {
		if status&unix.TP_STATUS_VLAN_TPID_VALID == 0 {
			tpid = packet.TypeVLAN
		}
		frame = b[vnetHeader-4:]
		copy(frame, frame[4:4+12])
		binary.BigEndian.PutUint16(frame[12:], tpid)
		binary.BigEndian.PutUint16(frame[14:], tci)
	}
	return frame
}

// release gives the slots of the last take back to the kernel, and returns their number.
func (r *ring) release() int {
	n := r.taken
	for ; r.taken > 0; r.taken-- {
		atomic.StoreUint32(&r.header((r.next-r.taken+slots)%slots).Status, unix.TP_STATUS_KERNEL)
	}
	return n
}

func (r *ring) close() {
	if r.memory != nil {
		_ = unix.Munmap(r.memory)
		r.memory = nil
	}
	if r.fd >= 0 {
		unix.Close(r.fd)
		r.fd = -1
	}
}

// bigEndian returns v as a number whose bytes in memory are v in network order.
func bigEndian(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}
