package packet

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// Ethernet is a view of a frame without its check sequence.
type Ethernet []byte

// EthernetLen is the length of an Ethernet header without tags.
const EthernetLen = 14

// IsValid reports whether the header is all there, its tag included when it announces one.
func (e Ethernet) IsValid() bool { return len(e) >= EthernetLen && len(e) >= e.headerLen() }

// IsTag reports whether an EtherType announces a VLAN tag: 802.1Q, 802.1ad, or what older equipment
// stacks tags with.
func IsTag(etherType uint16) bool {
	switch etherType {
	case TypeVLAN, 0x88a8, 0x9100, 0x9200, 0x9300:
		return true
	}
	return false
}

// Dst returns the destination address.
func (e Ethernet) Dst() MAC { return MAC(e[0:6]) }

// Src returns the source address.
func (e Ethernet) Src() MAC { return MAC(e[6:12]) }

// Type returns the EtherType of the payload, behind a tag if there is one.
func (e Ethernet) Type() uint16 { return binary.BigEndian.Uint16(e[e.headerLen()-2:]) }

// VLAN returns the identifier in the tag, and whether there is a tag.
func (e Ethernet) VLAN() (id uint16, tagged bool) {
	if e.headerLen() == EthernetLen {
		return 0, false
	}
	return binary.BigEndian.Uint16(e[14:]) & 0x0fff, true
}

// Payload returns the bytes behind the header and its tag; a short frame's padding is among them.
func (e Ethernet) Payload() []byte { return e[e.headerLen():] }

func (e Ethernet) headerLen() int {
	if IsTag(binary.BigEndian.Uint16(e[12:])) {
		return EthernetLen + 4
	}
	return EthernetLen
}

// SetDst overwrites the destination address.
func (e Ethernet) SetDst(m MAC) { copy(e[0:6], m[:]) }

// SetSrc overwrites the source address.
func (e Ethernet) SetSrc(m MAC) { copy(e[6:12], m[:]) }

// ARP operations (RFC 826).
const (
	ARPRequest = 1
	ARPReply   = 2
)

// ARP is a view of an ARP packet for IPv4 and addresses of 6 bytes (RFC 826).
type ARP []byte

// ARPLen is the length of an ARP packet for IPv4 over Ethernet.
const ARPLen = 28

// IsValid reports whether this is a whole ARP packet for IPv4 and addresses of 6 bytes. It may have any
// hardware type: hosts differ in which of them they take on Ethernet.
func (a ARP) IsValid() bool {
	return len(a) >= ARPLen && binary.BigEndian.Uint16(a[2:]) == TypeIPv4 && a[4] == 6 && a[5] == 4
}

// FindARP returns the ARP packet in a frame wherever the switch looks for one: behind a tag, and in
// 802.3 frames, behind LLC and SNAP (RFC 1042, IEEE 802.1H). false: there is none.
func FindARP(frame []byte) (ARP, bool) {
	e := Ethernet(frame)
	if !e.IsValid() {
		return nil, false
	}
	etherType, payload := e.Type(), e.Payload()
	if etherType <= lengthLast {
		if len(payload) < snapLen || !bytes.HasPrefix(payload, snapRFC1042) && !bytes.HasPrefix(payload, snapTunnel) {
			return nil, false
		}
		etherType, payload = binary.BigEndian.Uint16(payload[6:]), payload[snapLen:]
	}
	a := ARP(payload)
	return a, etherType == TypeARP && a.IsValid()
}

// An EtherType field of lengthLast at most is the length of an 802.3 frame, which begins with LLC.
const (
	lengthLast = 0x05ff
	snapLen    = 8 // LLC, OUI and EtherType
)

var (
	snapRFC1042 = []byte{0xaa, 0xaa, 0x03, 0, 0, 0}
	snapTunnel  = []byte{0xaa, 0xaa, 0x03, 0, 0, 0xf8}
)

// Operation returns ARPRequest, ARPReply or another operation.
func (a ARP) Operation() uint16 { return binary.BigEndian.Uint16(a[6:]) }

// SenderMAC returns the sender's hardware address.
func (a ARP) SenderMAC() MAC { return MAC(a[8:14]) }

// Sender returns the sender's protocol address.
func (a ARP) Sender() netip.Addr { return netip.AddrFrom4([4]byte(a[14:18])) }

// TargetMAC returns the target's hardware address.
func (a ARP) TargetMAC() MAC { return MAC(a[18:24]) }

// Target returns the target's protocol address.
func (a ARP) Target() netip.Addr { return netip.AddrFrom4([4]byte(a[24:28])) }

// IPv4 is a view of an IPv4 packet (RFC 791).
type IPv4 []byte

// IPv4Len is the length of an IPv4 header without options.
const IPv4Len = 20

// IsValid reports whether the header is all there and its lengths fit each other and the bytes.
func (p IPv4) IsValid() bool {
	return len(p) >= IPv4Len && p[0]>>4 == 4 && p.HeaderLen() >= IPv4Len &&
		p.TotalLen() >= p.HeaderLen() && len(p) >= p.TotalLen()
}

// HeaderLen returns the length of the header with its options.
func (p IPv4) HeaderLen() int { return int(p[0]&0x0f) * 4 }

// TotalLen returns the length of header and payload, without padding of the frame.
func (p IPv4) TotalLen() int { return int(binary.BigEndian.Uint16(p[2:])) }

// TTL returns the time to live.
func (p IPv4) TTL() uint8 { return p[8] }

// FragmentOffset returns the offset of this fragment in units of 8 bytes.
func (p IPv4) FragmentOffset() uint16 { return binary.BigEndian.Uint16(p[6:]) & 0x1fff }

// Protocol returns the protocol of the payload.
func (p IPv4) Protocol() uint8 { return p[9] }

// Checksum returns the checksum of the header.
func (p IPv4) Checksum() uint16 { return binary.BigEndian.Uint16(p[10:]) }

// Src returns the source address.
func (p IPv4) Src() netip.Addr { return netip.AddrFrom4([4]byte(p[12:16])) }

// Dst returns the destination address.
func (p IPv4) Dst() netip.Addr { return netip.AddrFrom4([4]byte(p[16:20])) }

// Payload returns the bytes behind the options, without padding of the frame.
func (p IPv4) Payload() []byte { return p[p.HeaderLen():p.TotalLen()] }

// TCP flags (RFC 9293 section 3.1).
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
)

// TCP is a view of a TCP segment (RFC 9293).
type TCP []byte

// TCPLen is the length of a TCP header without options.
const TCPLen = 20

// IsValid reports whether the header is all there.
func (t TCP) IsValid() bool {
	return len(t) >= TCPLen && t.headerLen() >= TCPLen && len(t) >= t.headerLen()
}

// SrcPort returns the source port.
func (t TCP) SrcPort() uint16 { return binary.BigEndian.Uint16(t) }

// DstPort returns the destination port.
func (t TCP) DstPort() uint16 { return binary.BigEndian.Uint16(t[2:]) }

// Sequence returns the sequence number.
func (t TCP) Sequence() uint32 { return binary.BigEndian.Uint32(t[4:]) }

// Acknowledgement returns the acknowledgement number.
func (t TCP) Acknowledgement() uint32 { return binary.BigEndian.Uint32(t[8:]) }

// Flags returns the low eight flags, FIN lowest.
func (t TCP) Flags() uint8 { return t[13] }

// Payload returns the bytes behind the options.
func (t TCP) Payload() []byte { return t[t.headerLen():] }

func (t TCP) headerLen() int { return int(t[12]>>4) * 4 }
