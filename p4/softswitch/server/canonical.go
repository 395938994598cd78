package server

import (
	"bytes"
	"fmt"
	"math/bits"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Section "Bytestrings": a number may come in any length that its value fits, and is returned in the
// shortest. Inside, it has the length of its width.

// maxShown is the longest number that an error repeats, in bytes.
const maxShown = 64

// shown is a client's number for an error.
func shown(value []byte) string {
	if len(value) > maxShown {
		return fmt.Sprintf("a number of %d bytes", len(value))
	}
	return fmt.Sprintf("%#x", value)
}

// fixed converts a client's number to exactly ceil(width/8) bytes. what names it in the error.
func fixed(value []byte, width int, what func() string) ([]byte, error) {
	if len(value) == 0 {
		return nil, status.Errorf(codes.OutOfRange, "%s: empty, want a number of %d bits", what(), width)
	}
	short := shortest(value)
	if len(short)*8-bits.LeadingZeros8(short[0]) > width {
		return nil, status.Errorf(codes.OutOfRange, "%s: %s does not fit %d bits", what(), shown(value), width)
	}
	n := byteLen(width)
	if len(value) == n {
		return value, nil
	}
	out := make([]byte, n)
	copy(out[n-len(short):], short)
	return out, nil
}

// shortest cuts leading zero bytes, all but the last byte.
func shortest(value []byte) []byte {
	for len(value) > 1 && value[0] == 0 {
		value = value[1:]
	}
	return value
}

func byteLen(width int) int { return (width + 7) / 8 }

func isZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// isOnes reports whether b is the highest number of its width.
func isOnes(b []byte, width int) bool { return bytes.Equal(b, ones(width)) }

// ones returns the highest number of a width.
func ones(width int) []byte { return prefixMask(width, width) }

// prefixMask returns the mask of the upper n bits of a number.
func prefixMask(n, width int) []byte {
	mask := make([]byte, byteLen(width))
	pad := len(mask)*8 - width
	for i := pad; i < pad+n; i++ {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return mask
}

// outside reports whether value has bits that mask has not.
func outside(value, mask []byte) bool {
	for i := range value {
		if value[i]&^mask[i] != 0 {
			return true
		}
	}
	return false
}

// fixedSigned is fixed for int<W>: two's complement, whose upper bytes and bits may be copies of the sign.
func fixedSigned(value []byte, width int, what func() string) ([]byte, error) {
	if len(value) == 0 {
		return nil, status.Errorf(codes.OutOfRange, "%s: empty, want a number of int<%d>", what(), width)
	}
	short := withoutSigns(value)
	magnitude := short[0] // of a negative number, the bits that differ from the sign
	negative := magnitude >= 0x80
	if negative {
		magnitude = ^magnitude
	}
	if len(short)*8-bits.LeadingZeros8(magnitude)+1 > width {
		return nil, status.Errorf(codes.OutOfRange, "%s: %s does not fit int<%d>", what(), shown(value), width)
	}
	out := make([]byte, byteLen(width))
	if negative {
		copy(out, ones(width))
	}
	copy(out[len(out)-len(short):], short)
	if over := width % 8; over != 0 {
		out[0] &= 1<<over - 1
	}
	return out, nil
}

// shortestSigned converts a number of exactly ceil(width/8) bytes, its upper bits zero, to the shortest form of int<W>.
func shortestSigned(value []byte, width int) []byte {
	if over := width % 8; over != 0 && value[0]>>(over-1) != 0 {
		value = append([]byte(nil), value...)
		value[0] |= 0xff << over
	}
	return withoutSigns(value)
}

// withoutSigns cuts leading bytes that only repeat the sign.
func withoutSigns(value []byte) []byte {
	for len(value) > 1 && (value[0] == 0 && value[1] < 0x80 || value[0] == 0xff && value[1] >= 0x80) {
		value = value[1:]
	}
	return value
}
