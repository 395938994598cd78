package netstack

import (
	"net/netip"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluicelb/sluice/p4/packet"
)

// Link is a host's end of an Ethernet wire.
type Link interface {
	// Send puts a frame on the wire, or loses it as wires do. It does not keep the frame, and does
	// not wait for whoever is at the other end.
	Send(frame []byte)
	// Receive names the function that gets every frame from the wire, valid during the call only,
	// one call at a time.
	Receive(func(frame []byte))
}

// nic is an Ethernet interface, below the header that gVisor's ethernet endpoint writes and reads.
// The channel endpoint holds what the stack tells an interface; frames never enter its queue, they
// go to the link at once, in the order the stack wrote them.
type nic struct {
	*channel.Endpoint
	id      tcpip.NICID
	link    Link
	mac     packet.MAC
	network netip.Prefix
	own     map[netip.Addr]bool // the host's addresses
	transit func(frame []byte)  // gets IPv4 packets for others; nil: nobody
	off     atomic.Bool         // nothing leaves or enters any more
}

func newNIC(id tcpip.NICID, i Interface, own map[netip.Addr]bool, transit func([]byte)) *nic {
	return &nic{
		Endpoint: channel.New(0, mtu+header.EthernetMinimumSize, tcpip.LinkAddress(i.MAC[:])),
		id:       id,
		link:     i.Link,
		mac:      i.MAC,
		network:  i.Address.Masked(),
		own:      own,
		transit:  transit,
	}
}

func (n *nic) attach() { n.link.Receive(n.receive) }

func (n *nic) detach() {
	n.off.Store(true)
	n.link.Receive(func([]byte) {})
}

// WritePackets implements stack.LinkWriter.
func (n *nic) WritePackets(packets stack.PacketBufferList) (int, tcpip.Error) {
	for _, p := range packets.AsSlice() {
		view := p.ToView()
		n.send(view.AsSlice())
		view.Release()
	}
	return packets.Len(), nil
}

func (n *nic) send(frame []byte) {
	if !n.off.Load() {
		n.link.Send(frame)
	}
}

// receive is the filter in an interface's hardware, and a host's rule to leave alone what is
// addressed to another (RFC 1122 section 3.2.1.3).
func (n *nic) receive(frame []byte) {
	e := packet.Ethernet(frame)
	if n.off.Load() || !e.IsValid() || e.Dst() != n.mac && !e.Dst().IsGroup() {
		return
	}
	if _, tagged := e.VLAN(); tagged {
		return
	}
	if e.Type() == packet.TypeIPv4 && !e.Dst().IsGroup() {
		p := packet.IPv4(e.Payload())
		if !p.IsValid() {
			return
		}
		if !n.own[p.Dst()] {
			if n.transit != nil {
				n.transit(frame)
			}
			return
		}
	}
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame)})
	defer p.DecRef()
	n.InjectInbound(0, p) // the ethernet endpoint above reads the protocol from the header
}
