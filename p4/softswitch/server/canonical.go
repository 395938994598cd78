package server

import (
	"bytes"
	"math/bits"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Section "Bytestrings": a number may come in any length that its value fits, and is returned in the
// shortest. Inside, it has the length of its width.

// maxShown is the longest number that an error repeats, in bytes.
const maxShown = 64

// fixed converts a client's number to exactly ceil(width/8) bytes. what names it in the error.
func fixed(value []byte, width int, what func() string) ([]byte, error) {
	if len(value) == 0 {
		return nil, status.Errorf(codes.OutOfRange, "%s: empty, want a number of %d bits", what(), width)
	}
	short := shortest(value)
	if len(short)*8-bits.LeadingZeros8(short[0]) > width {
		if len(value) > maxShown {
			return nil, status.Errorf(codes.OutOfRange, "%s: a number of %d bytes does not fit %d bits", what(), len(value), width)
		}
		return nil, status.Errorf(codes.OutOfRange, "%s: %#x does not fit %d bits", what(), value, width)
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
