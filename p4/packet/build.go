package packet

import (
	"encoding/binary"
	"net/netip"
)

// AppendEthernet appends an Ethernet header to b.
func AppendEthernet(b []byte, dst, src MAC, etherType uint16) []byte {
	b = append(b, dst[:]...)
	b = append(b, src[:]...)
	return binary.BigEndian.AppendUint16(b, etherType)
}

// AppendIPv4 appends an IPv4 header without options (TTL 64, don't fragment) for a payload of
// payloadLen bytes to b. Both addresses must be IPv4.
func AppendIPv4(b []byte, src, dst netip.Addr, protocol uint8, payloadLen int) []byte {
	start := len(b)
	b = append(b, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(IPv4Len+payloadLen))
	b = append(b, 0, 0, 0x40, 0, 64, protocol, 0, 0)
	s, d := src.As4(), dst.As4()
	b = append(b, s[:]...)
	b = append(b, d[:]...)
	binary.BigEndian.PutUint16(b[start+10:], Checksum(b[start:]))
	return b
}

// ARPFrame is what NewARP builds.
type ARPFrame struct {
	Dst, Src  MAC // of the Ethernet header
	Operation uint16
	SenderMAC MAC
	Sender    netip.Addr
	TargetMAC MAC
	Target    netip.Addr
}

// NewARP builds a frame that holds an ARP packet for IPv4 over Ethernet. Both addresses must be IPv4.
func NewARP(a ARPFrame) []byte {
	b := AppendEthernet(nil, a.Dst, a.Src, TypeARP)
	b = append(b, 0, 1, 0x08, 0x00, 6, 4)
	b = binary.BigEndian.AppendUint16(b, a.Operation)
	s, t := a.Sender.As4(), a.Target.As4()
	b = append(b, a.SenderMAC[:]...)
	b = append(b, s[:]...)
	b = append(b, a.TargetMAC[:]...)
	return append(b, t[:]...)
}

// NewARPRequest builds a broadcast that asks who has target.
func NewARPRequest(senderMAC MAC, sender, target netip.Addr) []byte {
	return NewARP(ARPFrame{
		Dst: Broadcast, Src: senderMAC, Operation: ARPRequest,
		SenderMAC: senderMAC, Sender: sender, Target: target,
	})
}

// NewARPReply builds the answer of sender to target.
func NewARPReply(senderMAC MAC, sender netip.Addr, targetMAC MAC, target netip.Addr) []byte {
	return NewARP(ARPFrame{
		Dst: targetMAC, Src: senderMAC, Operation: ARPReply,
		SenderMAC: senderMAC, Sender: sender, TargetMAC: targetMAC, Target: target,
	})
}

// Segment is what NewTCP builds.
type Segment struct {
	DstMAC, SrcMAC            MAC
	Src, Dst                  netip.AddrPort
	Sequence, Acknowledgement uint32
	Flags                     uint8
	Payload                   []byte
}

// NewTCP builds a frame that holds a TCP segment over IPv4, with right checksums.
func NewTCP(s Segment) []byte {
	b := AppendEthernet(nil, s.DstMAC, s.SrcMAC, TypeIPv4)
	b = AppendIPv4(b, s.Src.Addr(), s.Dst.Addr(), ProtocolTCP, TCPLen+len(s.Payload))
	start := len(b)
	b = binary.BigEndian.AppendUint16(b, s.Src.Port())
	b = binary.BigEndian.AppendUint16(b, s.Dst.Port())
	b = binary.BigEndian.AppendUint32(b, s.Sequence)
	b = binary.BigEndian.AppendUint32(b, s.Acknowledgement)
	b = append(b, TCPLen/4<<4, s.Flags, 0xff, 0xff, 0, 0, 0, 0)
	b = append(b, s.Payload...)
	binary.BigEndian.PutUint16(b[start+16:], TransportChecksum(s.Src.Addr(), s.Dst.Addr(), ProtocolTCP, b[start:]))
	return b
}
