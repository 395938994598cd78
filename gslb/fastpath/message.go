package fastpath

import (
	"encoding/binary"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/cookie"
)

// message is a response in the making.
type message struct {
	buf       []byte
	limit     int // of buf without the OPT record
	size      int // UDP size that the server advertises
	rcode     byte
	aa        bool
	count     uint16 // of answers
	authority uint16
	scope     uint8             // RFC 7871
	newCookie [cookie.Size]byte // for the COOKIE option
}

// Sizes of the OPT record.
const (
	optSize    = 11 // without options
	optionSize = 4  // before an option's value
)

// begin starts with room for the header, and the question. It returns false if out is too small.
func (m *message) begin(q *question, msg, out []byte, udpSize int) bool {
	m.limit = max(minSize, min(q.udpSize, udpSize))
	if m.limit > len(out) {
		return false
	}
	if q.edns {
		m.limit -= optSize
		if q.subnet != nil {
			m.limit -= optionSize + len(q.subnet)
		}
		if q.cookie != nil {
			m.limit -= optionSize + cookie.Size
		}
	}
	m.size = udpSize
	m.rcode, m.aa, m.count, m.authority, m.scope = dns.RcodeSuccess, false, 0, 0, 0
	m.buf = append(out[:0], msg[:q.end]...)
	return true
}

// fits reports whether n more bytes do not make the message too long.
func (m *message) fits(n int) bool { return len(m.buf)+n <= m.limit }

// owner begins a record whose owner's name is at that place in the message.
func (m *message) owner(at int, rrtype uint16, ttl uint32) {
	m.buf = append(m.buf, 0xC0|byte(at>>8), byte(at), byte(rrtype>>8), byte(rrtype), 0, dns.ClassINET)
	m.buf = binary.BigEndian.AppendUint32(m.buf, ttl)
}

func (m *message) a(at int, ttl uint32, addr [4]byte) {
	m.owner(at, dns.TypeA, ttl)
	m.buf = append(append(m.buf, 0, 4), addr[:]...)
	m.count++
}

func (m *message) aaaa(at int, ttl uint32, addr [16]byte) {
	m.owner(at, dns.TypeAAAA, ttl)
	m.buf = append(append(m.buf, 0, 16), addr[:]...)
	m.count++
}

// Sizes of address records with a compressed owner.
const (
	sizeA    = 16
	sizeAAAA = 28
)

// cname adds a CNAME record for the question's name, and returns where in the message the target's name is. It is
// compressed against the question's, after which it is the first name.
func (m *message) cname(name []byte, ttl uint32, target []byte) (at int, ok bool) {
	keep, pointer := compress(target, name)
	if !m.fits(12 + keep + 2) {
		return 0, false
	}
	m.owner(headerSize, dns.TypeCNAME, ttl)
	at = len(m.buf) + 2
	if keep == 0 {
		at = pointer
	}
	if pointer == 0 {
		m.buf = append(m.buf, 0, byte(keep+1))
		m.buf = append(m.buf, target...)
	} else {
		m.buf = append(m.buf, 0, byte(keep+2))
		m.buf = append(m.buf, target[:keep]...)
		m.buf = append(m.buf, 0xC0|byte(pointer>>8), byte(pointer))
	}
	m.count++
	return at, true
}

// compress says how many bytes of target are written behind a question for name, and where in the message the rest of
// it is; pointer is 0 if that is the root. Both are in lower case.
func compress(target, name []byte) (keep, pointer int) {
	for keep < len(target)-1 {
		suffix := target[keep:]
		at := 0
		for len(name)-at > len(suffix) {
			at += 1 + int(name[at])
		}
		if string(name[at:]) == string(suffix) {
			return keep, headerSize + at
		}
		keep += 1 + int(target[keep])
	}
	return keep, 0
}

// end completes the message: OPT, as RFC 6891 has it, with its options by ascending codes, and the header.
func (m *message) end(q *question) []byte {
	if q.edns {
		m.buf = append(m.buf, 0, 0, byte(dns.TypeOPT), byte(m.size>>8), byte(m.size), 0, 0, 0, 0, 0, 0)
		opt := len(m.buf) - optSize
		if q.do {
			m.buf[opt+7] = 0x80 // RFC 3225 section 3
		}
		if q.subnet != nil {
			m.buf = append(m.buf, 0, dns.EDNS0SUBNET, 0, byte(len(q.subnet)), q.subnet[0], q.subnet[1], q.subnet[2],
				m.scope)
			m.buf = append(m.buf, q.subnet[4:]...)
		}
		if q.cookie != nil {
			m.buf = append(m.buf, 0, dns.EDNS0COOKIE, 0, cookie.Size)
			m.buf = append(m.buf, m.newCookie[:]...)
		}
		m.buf[opt+10] = byte(len(m.buf) - opt - optSize) // at most 52
	}
	h := m.buf[:headerSize]
	h[2] = 0x80 | h[2]&1
	if m.aa {
		h[2] |= 4
	}
	h[3] = m.rcode
	binary.BigEndian.PutUint16(h[6:], m.count)
	binary.BigEndian.PutUint16(h[8:], m.authority)
	return m.buf
}
