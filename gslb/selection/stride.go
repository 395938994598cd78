package selection

import "sync/atomic"

// strides remembers results of stride, each with its argument in the upper half.
var strides [4096]atomic.Uint64

// stride is a step through the turns 0 to w-1, over and over, that meets each once a cycle, and spreads any run of
// neighbours evenly over the cycle. The golden section of w would do that best; the result is the next number to it
// that has no common divisor with w, and whose ratio to it is as badly approximated by fractions (its continued
// fraction has small terms).
func stride(w uint32) uint32 {
	at := &strides[w%uint32(len(strides))]
	if known := at.Load(); known>>32 == uint64(w) {
		return uint32(known)
	}
	s := findStride(w)
	at.Store(uint64(w)<<32 | uint64(s))
	return s
}

func findStride(w uint32) uint32 {
	if w < 3 {
		return 1
	}
	golden := uint32(float64(w)*0.6180339887498949 + 0.5)
	// Terms of up to 5 are enough for any w (Zaremba's conjecture), if not close to the golden section.
	for limit := uint32(5); ; limit++ {
		for off := range w - golden {
			if largestTerm(golden+off, w) <= limit {
				return golden + off
			}
			if off < golden && largestTerm(golden-off, w) <= limit {
				return golden - off
			}
		}
	}
}

// largestTerm is the largest term of the continued fraction of a/b, a < b. It is larger than any that can be if these
// have a common divisor. The last term, which is never 1, counts one less: [..., n] is [..., n-1, 1].
func largestTerm(a, b uint32) uint32 {
	largest := uint32(0)
	for a != 0 {
		q := b / a
		a, b = b-q*a, a
		if a == 0 {
			q--
		}
		largest = max(largest, q)
	}
	if b != 1 {
		return 1<<32 - 1
	}
	return largest
}
