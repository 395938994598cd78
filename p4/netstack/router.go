package netstack

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluicelb/sluice/p4/packet"
)

// Interface is one leg of a router.
type Interface struct {
	Link    Link
	MAC     packet.MAC
	Address netip.Prefix // IPv4
}

// NewRouter starts a host that forwards IPv4 between the networks of its interfaces. What it cannot
// forward it drops without an ICMP error.
func NewRouter(name string, interfaces ...Interface) (*Host, error) {
	h := newHost(name)
	if err := h.configureRouter(interfaces); err != nil {
		h.Close()
		return nil, fmt.Errorf("starting router %s: %w", name, err)
	}
	return h, nil
}

func (h *Host) configureRouter(interfaces []Interface) error {
	own := make(map[netip.Addr]bool)
	for _, i := range interfaces {
		own[i.Address.Addr()] = true
	}
	for _, i := range interfaces {
		if err := h.addEthernet(i, own, h.forward); err != nil {
			return err
		}
	}
	for _, n := range h.nics {
		n.attach() // only now: forward reads h.nics
	}
	return nil
}

// forward sends on a frame whose IPv4 packet is for another host. gVisor knows the neighbours and
// does the ARP; its own forwarding is not used because it reads a packet's TTL from a buffer that it
// may have released (DeepCopyForForwarding).
func (h *Host) forward(frame []byte) {
	const ttl, checksum = 8, 10 // offsets in the IPv4 header
	p := packet.IPv4(frame[packet.EthernetLen:])
	out := slices.IndexFunc(h.nics, func(n *nic) bool { return n.network.Contains(p.Dst()) })
	if out < 0 || p.TTL() <= 1 {
		return
	}
	frame = slices.Clone(frame) // the neighbour's MAC may take a while
	p = frame[packet.EthernetLen:]
	p[ttl]--
	// One off the TTL is 0x0100 on the checksum, carried around (RFC 1141).
	sum := uint32(p.Checksum()) + 0x0100
	binary.BigEndian.PutUint16(p[checksum:], uint16(sum+sum>>16))
	n := h.nics[out]
	// An address that does not resolve is a packet lost; a frame that waits is sent by the callback.
	_ = h.stack.GetLinkAddress(n.id, address(p.Dst()), tcpip.Address{}, ipv4.ProtocolNumber,
		func(r stack.LinkResolutionResult) {
			if r.Err != nil {
				return
			}
			e := packet.Ethernet(frame)
			e.SetDst(packet.MAC([]byte(r.LinkAddress)))
			e.SetSrc(n.mac)
			n.send(frame)
		})
}
