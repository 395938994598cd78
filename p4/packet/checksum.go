package packet

import (
	"encoding/binary"
	"net/netip"
)

// Checksum returns the Internet checksum (RFC 1071) of b, as it stands in a header whose own checksum
// field is zero. Over bytes that hold a right checksum it is 0.
func Checksum(b []byte) uint16 { return ^fold(sum(0, b)) }

// TransportChecksum returns the checksum of a TCP or UDP segment under the pseudo-header of its IPv4
// packet (RFC 9293 section 3.1). Over a segment that holds a right checksum it is 0.
func TransportChecksum(src, dst netip.Addr, protocol uint8, segment []byte) uint16 {
	s, d := src.As4(), dst.As4()
	acc := sum(sum(0, s[:]), d[:])
	return ^fold(sum(acc+uint64(protocol)+uint64(len(segment)), segment))
}

func sum(acc uint64, b []byte) uint64 {
	for len(b) >= 4 {
		acc += uint64(binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		acc += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		acc += uint64(b[0]) << 8
	}
	return acc
}

func fold(acc uint64) uint16 {
	for acc > 0xffff {
		acc = acc>>16 + acc&0xffff
	}
	return uint16(acc)
}
