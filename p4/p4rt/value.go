package p4rt

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sluicelb/sluice/p4/packet"
)

// Value is one P4 value in the canonical form of section "Bytestrings": big endian, the shortest
// string that fits, one zero byte for zero. The zero Value is no value.
type Value struct {
	bytes  string
	bits   int32 // width in the P4 program; 0: not known
	format Format
	signed bool // int<W>, in two's complement: the shortest string may begin with a zero byte
}

// UintValue returns the value of x, its width unknown.
func UintValue(x uint64) Value {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], x)
	return Value{bytes: canonical(b[:])}
}

// AddrValue returns the value of an address: 32 bits, or 128 for IPv6.
func AddrValue(a netip.Addr) Value {
	format := IPv6
	if a = a.Unmap(); a.Is4() {
		format = IPv4
	}
	b := a.AsSlice()
	return Value{bytes: canonical(b), bits: int32(8 * len(b)), format: format}
}

// MACValue returns the 48 bit value of a MAC.
func MACValue(mac packet.MAC) Value {
	return Value{bytes: canonical(mac[:]), bits: 48, format: MAC}
}

// BytesValue returns the value that big-endian b holds, leading zeros allowed, its width unknown.
// It keeps a copy of b.
func BytesValue(b []byte) Value { return Value{bytes: canonical(b)} }

// TextValue returns a value of a type that the P4 program translates to SDN strings.
func TextValue(s string) Value { return Value{bytes: s, format: Text} }

// canonical is the shortest form of b: "" only when b is empty.
func canonical(b []byte) string {
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	return string(b)
}

// IsZero reports whether v is no value at all (not whether it is the number 0).
func (v Value) IsZero() bool { return v.bytes == "" && v.bits == 0 && v.format == Decimal }

// Equal reports whether both are the same number; width and format do not count.
func (v Value) Equal(w Value) bool { return v.bytes == w.bytes }

// Compare orders values as numbers, strings as strings: -1, 0 or 1.
func (v Value) Compare(w Value) int {
	if v.format == Text && w.format == Text {
		return cmp.Compare(v.bytes, w.bytes)
	}
	return cmp.Or(cmp.Compare(len(v.bytes), len(w.bytes)), cmp.Compare(v.bytes, w.bytes))
}

// Bytes returns the canonical form, as P4Runtime messages carry it.
func (v Value) Bytes() []byte { return []byte(v.bytes) }

// Bits returns the width that the P4 program gives the value, 0 when that is not known.
func (v Value) Bits() int { return int(v.bits) }

// Format returns how v prints.
func (v Value) Format() Format { return v.format }

// Uint returns the number. It panics when the number needs more than 64 bits: who asks knows the
// width of the field, and decoding has checked that the value fits it.
func (v Value) Uint() uint64 {
	if len(v.bytes) > 8 {
		panic(fmt.Sprintf("p4rt: value 0x%x does not fit 64 bits", v.bytes))
	}
	var x uint64
	for i := range len(v.bytes) {
		x = x<<8 | uint64(v.bytes[i])
	}
	return x
}

// Addr returns the address that a value of 32 or 128 bits holds, else the zero Addr. Where the width
// is not known, values up to four bytes are IPv4.
func (v Value) Addr() netip.Addr {
	switch {
	case v.bytes == "":
		return netip.Addr{}
	case v.bits == 32 || v.bits == 0 && len(v.bytes) <= 4:
		var a [4]byte
		v.fill(a[:])
		return netip.AddrFrom4(a)
	case v.bits == 128 || v.bits == 0 && len(v.bytes) <= 16:
		var a [16]byte
		v.fill(a[:])
		return netip.AddrFrom16(a)
	}
	return netip.Addr{}
}

// MAC returns the low 48 bits as a MAC.
func (v Value) MAC() packet.MAC {
	var mac packet.MAC
	v.fill(mac[:])
	return mac
}

// fill writes the number into all of dst, big endian; higher bytes that do not fit are left out.
func (v Value) fill(dst []byte) {
	s := v.bytes
	if len(s) > len(dst) {
		s = s[len(s)-len(dst):]
	}
	clear(dst)
	copy(dst[len(dst)-len(s):], s)
}

// String prints v by its format.
func (v Value) String() string {
	switch {
	case v.format == Hidden:
		return "hidden"
	case v.format == Text:
		return strconv.Quote(v.bytes)
	case v.bytes == "":
		return ""
	case v.signed:
		return v.integer().String()
	case v.format == MAC && len(v.bytes) <= 6:
		return v.MAC().String()
	case v.format == IPv4 && len(v.bytes) <= 4:
		var a [4]byte
		v.fill(a[:])
		return netip.AddrFrom4(a).String()
	case v.format == IPv6 && len(v.bytes) <= 16:
		var a [16]byte
		v.fill(a[:])
		return netip.AddrFrom16(a).String()
	case v.format == Decimal && len(v.bytes) <= 8:
		return strconv.FormatUint(v.Uint(), 10)
	}
	// As many digits as the width has, so that masks line up.
	digits := hex.EncodeToString([]byte(v.bytes))
	if n := int(v.bits+3) / 4; n > 0 {
		digits = strings.TrimLeft(digits, "0")
		digits = strings.Repeat("0", max(0, n-len(digits))) + digits
	}
	return "0x" + digits
}

// typed is what P4Info says about the type of a match field, parameter or metadata.
type typed struct {
	bits   int32
	format Format
	text   bool // translated to SDN strings, or the name of a member: any bytes are valid, and none are canonical
	signed bool // int<W>
}

// Bits returns the width of the values, 0 where they are strings.
func (t typed) Bits() int { return int(t.bits) }

// Format returns how the values print.
func (t typed) Format() Format { return t.format }

func (t typed) String() string {
	if t.text {
		return "a string"
	}
	if t.signed {
		return fmt.Sprintf("int<%d>", t.bits)
	}
	return fmt.Sprintf("bit<%d>", t.bits)
}

// decode makes a Value of received bytes. Receivers take any length whose value fits (section
// "Bytestrings").
func (t typed) decode(b []byte) (Value, error) {
	if t.text {
		return TextValue(string(b)), nil
	}
	if len(b) == 0 {
		return Value{}, fmt.Errorf("no bytes, must be %v", t)
	}
	v := Value{bytes: canonical(b), bits: t.bits, format: t.format}
	if t.signed {
		v.bytes, v.signed = withoutSigns(b), true
	}
	return v, t.fits(v)
}

// withoutSigns is the shortest form of b in two's complement.
func withoutSigns(b []byte) string {
	for len(b) > 1 && (b[0] == 0 && b[1] < 0x80 || b[0] == 0xff && b[1] >= 0x80) {
		b = b[1:]
	}
	return string(b)
}

// encode checks v and returns its bytes.
func (t typed) encode(v Value) ([]byte, error) {
	switch {
	case v.bytes == "" && v.format != Text:
		return nil, fmt.Errorf("no value, must be %v", t)
	case t.text && v.format != Text:
		return nil, fmt.Errorf("%v is a number, must be a string", v)
	case !t.text && v.format == Text:
		return nil, fmt.Errorf("%v is a string, must be %v", v, t)
	case t.text:
		return []byte(v.bytes), nil
	}
	return []byte(v.bytes), t.fits(v)
}

func (t typed) fits(v Value) error {
	if t.bits == 0 {
		return nil
	}
	n := int32(v.bitLen())
	if v.signed {
		x := v.integer()
		if x.Sign() < 0 {
			x.Not(x)
		}
		n = int32(x.BitLen()) + 1
	}
	if n > t.bits {
		return fmt.Errorf("%v needs %d bits, must fit %v", Value{bytes: v.bytes, signed: v.signed}, n, t)
	}
	return nil
}

func (v Value) bitLen() int {
	if v.bytes == "" {
		return 0
	}
	n := 8 * (len(v.bytes) - 1)
	for b := v.bytes[0]; b != 0; b >>= 1 {
		n++
	}
	return n
}

// integer returns the number of a signed value.
func (v Value) integer() *big.Int {
	x := v.big()
	if v.bytes != "" && v.bytes[0] >= 0x80 {
		x.Sub(x, new(big.Int).Lsh(big.NewInt(1), uint(8*len(v.bytes))))
	}
	return x
}

func (v Value) big() *big.Int { return new(big.Int).SetBytes([]byte(v.bytes)) }

// number makes a Value of this type from x.
func (t typed) number(x *big.Int) Value {
	b := x.Bytes()
	if len(b) == 0 {
		b = []byte{0}
	}
	return Value{bytes: string(b), bits: t.bits, format: t.format}
}

// ones returns the value of this type with n high bits set.
func (t typed) ones(n int32) Value {
	x := new(big.Int).Lsh(big.NewInt(1), uint(n))
	x.Sub(x, big.NewInt(1))
	return t.number(x.Lsh(x, uint(t.bits-n)))
}

// and returns v & mask, of this type.
func (t typed) and(v, mask Value) Value {
	return t.number(new(big.Int).And(v.big(), mask.big()))
}
