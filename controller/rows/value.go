package rows

import (
	"encoding/binary"
	"net/netip"

	"github.com/sluicelb/sluice/p4/packet"
)

// Value is the value of a match field or a parameter, wide enough for an IPv6 address.
type Value struct{ Hi, Lo uint64 }

func number[T ~uint8 | ~uint16 | ~uint32 | ~uint64](x T) Value { return Value{Lo: uint64(x)} }

func mac(m packet.MAC) Value {
	var b [8]byte
	copy(b[2:], m[:])
	return Value{Lo: binary.BigEndian.Uint64(b[:])}
}

// MAC reads a MAC address.
func (v Value) MAC() packet.MAC {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], v.Lo)
	return packet.MAC(b[2:])
}

// address is an IPv4 address in the low 32 bits.
func address(a netip.Addr) Value {
	b := a.As4()
	return Value{Lo: uint64(binary.BigEndian.Uint32(b[:]))}
}

func (v Value) addr() netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(v.Lo))
	return netip.AddrFrom4(b)
}

// AppendBytes appends the value in the canonical form of P4Runtime (section "Bytestrings"): no byte more than it takes.
func (v Value) AppendBytes(b []byte) []byte {
	var all [16]byte
	binary.BigEndian.PutUint64(all[:], v.Hi)
	binary.BigEndian.PutUint64(all[8:], v.Lo)
	i := 0
	for i < len(all)-1 && all[i] == 0 {
		i++
	}
	return append(b, all[i:]...)
}

// ParseValue reads a bytestring of any length; false when its value does not fit.
func ParseValue(b []byte) (Value, bool) {
	for len(b) > 16 && b[0] == 0 {
		b = b[1:]
	}
	if len(b) == 0 || len(b) > 16 {
		return Value{}, false
	}
	var all [16]byte
	copy(all[16-len(b):], b)
	return Value{binary.BigEndian.Uint64(all[:]), binary.BigEndian.Uint64(all[8:])}, true
}
