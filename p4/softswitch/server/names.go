package server

import (
	"errors"
	"slices"
	"strconv"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// errNoSuchName says that a string stands for no number yet: no entry can have it.
var errNoSuchName = errors.New("the string is not known")

// names is a translation between the strings that clients use and numbers of the data plane (section "PSA Metadata
// Translation"). Nobody configures it, so it makes itself: the decimal form of a number stands for that number as
// long as nothing else does, and any other string gets the highest number that is free, for as long as the pipeline
// lives. Strings may be of ports: none gets a number whose port drops, or is the CPU's.
type names struct {
	bits    int
	special []uint64 // ports that no name gets

	mu       sync.Mutex // guards what follows
	numberOf map[string]uint64
	nameOf   map[uint64]string
	next     uint64 // no number above is free
}

func newNames(bits int, special []uint64) *names {
	return &names{bits: bits, special: special, numberOf: map[string]uint64{}, nameOf: map[uint64]string{},
		next: ^uint64(0) >> (64 - bits)}
}

// number returns the number of a string, ceil(bits/8) bytes. what names the string in errors.
func (n *names) number(name string, invent bool, what func() string) ([]byte, error) {
	if name == "" {
		return nil, status.Errorf(codes.OutOfRange, "%s: empty, want a string", what())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	number, known := n.numberOf[name]
	if !known {
		own, err := strconv.ParseUint(name, 10, n.bits)
		_, taken := n.nameOf[own]
		decimal := err == nil && !taken && strconv.FormatUint(own, 10) == name
		switch {
		case decimal:
			number = own
		case !invent:
			return nil, errNoSuchName
		default:
			free, ok := n.free()
			if !ok {
				return nil, status.Errorf(codes.ResourceExhausted,
					"%s: %d strings are known, and all other numbers of %d bits are those of special ports", what(),
					len(n.nameOf), n.bits)
			}
			number = free
		}
		if invent {
			n.numberOf[name], n.nameOf[number] = number, name
		}
	}
	out := make([]byte, byteLen(n.bits))
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = byte(number)
		number >>= 8
	}
	return out, nil
}

// free returns the highest number that stands for no string. mu is held.
func (n *names) free() (uint64, bool) {
	for {
		if _, taken := n.nameOf[n.next]; !taken && !n.isSpecial(n.next) {
			return n.next, true
		}
		if n.next == 0 {
			return 0, false
		}
		n.next--
	}
}

// isSpecial reports whether a number is that of a special port, or becomes it where the program cuts it to a port's
// width.
func (n *names) isSpecial(number uint64) bool {
	return n.bits >= portBits && slices.Contains(n.special, number&(1<<portBits-1))
}

// text returns the string of a number.
func (n *names) text(value []byte) string {
	var number uint64
	for _, b := range value {
		number = number<<8 | uint64(b)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if name, ok := n.nameOf[number]; ok {
		return name
	}
	return strconv.FormatUint(number, 10)
}
