package zone

import (
	"encoding/binary"
	"fmt"

	"github.com/miekg/dns"
)

// Where things are in a message with one question.
const (
	questionAt  = 12 // the header's length
	questionEnd = 4  // type and class, after the name
)

// Negative is the SOA of a zone, ready to be the authority section of a negative answer. Its names are compressed
// against the question, so that its bytes depend on the name asked for.
type Negative struct {
	zone         int // length of the zone's name
	mname, rname soaName
	// rname's suffix from rnameAt on is mname's from mnameAt on: the longest that they have in common.
	rnameAt, mnameAt int
	numbers          [20]byte // serial, refresh, retry, expire, minimum
}

// soaName is a name in a SOA.
type soaName struct {
	wire   []byte        // as written: compression minds the case of letters
	starts [maxName]bool // where labels start
	// where its longest suffix begins that is one of the zone's name; len(wire)-1 when that is the root
	shared int
	inZone bool // that suffix is the whole zone, so that more of it may be in a name asked for
}

// NewNegative prepares the SOA of the zone of that name (lower-case wire format). Names in it are as package
// dns unpacks them.
func NewNegative(zone []byte, soa *dns.SOA) (*Negative, error) {
	n := &Negative{zone: len(zone)}
	for _, x := range []struct {
		to   *soaName
		name string
	}{{&n.mname, soa.Ns}, {&n.rname, soa.Mbox}} {
		if err := x.to.set(x.name, zone); err != nil {
			return nil, fmt.Errorf("SOA: %w", err)
		}
	}
	n.rnameAt, n.mnameAt = len(n.rname.wire)-1, len(n.mname.wire)-1
	if at, ok := n.mname.longest(n.rname.wire, 1); ok {
		n.rnameAt, n.mnameAt = at, at+len(n.mname.wire)-len(n.rname.wire)
	}
	for i, v := range []uint32{soa.Serial, soa.Refresh, soa.Retry, soa.Expire, soa.Minttl} {
		binary.BigEndian.PutUint32(n.numbers[4*i:], v)
	}
	return n, nil
}

func (s *soaName) set(name string, zone []byte) (err error) {
	if s.wire, err = pack(name); err != nil {
		return err
	}
	for i := 0; s.wire[i] != 0; i += 1 + int(s.wire[i]) {
		s.starts[i] = true
	}
	s.shared = len(s.wire) - 1
	s.inZone = len(zone) == 1
	if at, ok := s.longest(zone, 1); ok {
		s.shared = len(s.wire) - (len(zone) - at)
		s.inZone = at == 0
	}
	return nil
}

// longest finds the longest suffix of name that is one of s too and has more bytes than that. It returns where in name
// it begins.
func (s *soaName) longest(name []byte, than int) (at int, ok bool) {
	for len(name)-at > than {
		if from := len(s.wire) - (len(name) - at); from >= 0 && s.starts[from] &&
			string(s.wire[from:]) == string(name[at:]) {
			return at, true
		}
		at += 1 + int(name[at])
	}
	return 0, false
}

// split says how much of s is written, when the question for name went before, and where in the message the rest is;
// 0 when nothing of it is.
func (s *soaName) split(name []byte, zone int) (keep, pointer int) {
	keep = s.shared
	if s.inZone {
		if at, ok := s.longest(name, zone); ok {
			keep = len(s.wire) - (len(name) - at)
		}
	}
	if keep == len(s.wire)-1 {
		return keep, 0
	}
	return keep, questionAt + len(name) - (len(s.wire) - keep)
}

// Append appends the SOA with that TTL as the first record after a question for name, which is at or below the zone's
// name, in lower-case wire format. The bytes are those that package dns packs with Compress for a question in lower
// case.
func (n *Negative) Append(dst, name []byte, ttl uint32) []byte {
	start := len(dst)
	if n.zone == 1 {
		dst = append(dst, 0)
	} else {
		dst = appendPointer(dst, questionAt+len(name)-n.zone)
	}
	dst = append(dst, 0, byte(dns.TypeSOA), 0, byte(dns.ClassINET))
	dst = binary.BigEndian.AppendUint32(dst, ttl)
	dst = append(dst, 0, 0) // length, see below
	data := len(dst)

	keep, pointer := n.mname.split(name, n.zone)
	mname := questionAt + len(name) + questionEnd + data - start
	dst = appendName(dst, n.mname.wire[:keep], pointer)
	keep, pointer = n.rname.split(name, n.zone)
	if n.rnameAt < keep {
		// What is longer than anything that rname and the question have in common is none of the question's in mname
		// either, hence written there.
		keep, pointer = n.rnameAt, mname+n.mnameAt
	}
	dst = appendName(dst, n.rname.wire[:keep], pointer)
	dst = append(dst, n.numbers[:]...)
	binary.BigEndian.PutUint16(dst[data-2:], uint16(len(dst)-data))
	return dst
}

// appendName appends labels, and what they end in: the name at pointer, or the root for 0.
func appendName(dst, labels []byte, pointer int) []byte {
	dst = append(dst, labels...)
	if pointer == 0 {
		return append(dst, 0)
	}
	return appendPointer(dst, pointer)
}

func appendPointer(dst []byte, to int) []byte {
	return binary.BigEndian.AppendUint16(dst, 0xC000|uint16(to))
}
