package responder

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/cookie"
)

// headerSize is how long a message is at least.
const headerSize = 12

// request is what a query asks for. Its slices point into the message.
type request struct {
	id     uint16
	opcode int
	rd     bool
	counts [4]int // of the header: questions, answers, authority, additional

	// name, type and class as they were sent; nil unless there is exactly one question and it can be read
	question []byte
	name     []byte // wire format, lower case; its own memory
	owner    string // the same name, as miekg/dns writes it
	qtype    uint16
	class    uint16

	edns    bool // there was an OPT record
	version uint8
	do      bool
	udpSize int // what the client can take over UDP, at least 512

	nsid      bool
	keepalive bool // edns-tcp-keepalive, RFC 7828
	subnet    *subnet
	cookie    []byte // first COOKIE option; nil if there was none

	tsig *dns.TSIG
}

// subnet is an EDNS client subnet option (RFC 7871 section 6).
type subnet struct {
	head   [3]byte // family and source prefix length as they were sent
	addr   []byte  // address bytes as they were sent
	prefix netip.Prefix
}

// read takes a message apart that is at least a header long and no response. It returns the RCODE that the sender
// deserves for how its message is formed; what was read before a fault stays in the request. Only structure is looked
// at: a type, an opcode or an option that nobody knows is no fault (RFC 3597, RFC 6891 section 6.1.2).
func read(msg []byte) (*request, int) {
	q := &request{
		id:      binary.BigEndian.Uint16(msg),
		opcode:  int(msg[2]>>3) & 0xF,
		rd:      msg[2]&1 != 0,
		udpSize: dns.MinMsgSize,
	}
	for i := range q.counts {
		q.counts[i] = int(binary.BigEndian.Uint16(msg[4+2*i:]))
	}
	switch q.opcode {
	case dns.OpcodeQuery, dns.OpcodeNotify, dns.OpcodeUpdate:
	default: // nobody knows what sections such a message has
		return q, dns.RcodeNotImplemented
	}

	off := headerSize
	if q.counts[0] > 1 { // RFC 9619
		return q, dns.RcodeFormatError
	}
	if q.counts[0] == 1 {
		if off = q.readQuestion(msg, off); off < 0 {
			return q, dns.RcodeFormatError
		}
	}
	for range q.counts[1] + q.counts[2] {
		var r rawRecord
		if r, off = record(msg, off); off < 0 || aboutMessage(r.rrtype) {
			return q, dns.RcodeFormatError
		}
	}
	rcode := q.readAdditional(msg, off)
	if rcode == dns.RcodeSuccess && q.opcode == dns.OpcodeQuery && q.counts[0] == 0 && q.cookie == nil {
		// RFC 7873 section 5.4 has the one use of a query that asks for nothing.
		rcode = dns.RcodeFormatError
	}
	return q, rcode
}

// aboutMessage reports whether records of a type are about their message, and so in the additional section and
// nowhere else (RFC 6891 section 6.1.1, RFC 8945 section 5.1).
func aboutMessage(rrtype uint16) bool { return rrtype == dns.TypeOPT || rrtype == dns.TypeTSIG }

// readQuestion reads the question at off and returns the offset behind it, -1 if it cannot be read. Its name is
// not compressed: there is nothing before it that a pointer could mean.
func (q *request) readQuestion(msg []byte, off int) int {
	end := off
	for {
		if end >= len(msg) || msg[end] > 63 {
			return -1
		}
		n := int(msg[end])
		end += 1 + n
		if end-off > maxName {
			return -1
		}
		if n == 0 {
			break
		}
	}
	if end+4 > len(msg) {
		return -1
	}
	q.question = msg[off : end+4]
	q.name = lower(msg[off:end])
	q.owner = presentation(q.name)
	q.qtype = binary.BigEndian.Uint16(msg[end:])
	q.class = binary.BigEndian.Uint16(msg[end+2:])
	return end + 4
}

// readAdditional reads the additional section, which reaches to the end of the message, for what is about the
// message itself: OPT (RFC 6891) and TSIG (RFC 8945).
func (q *request) readAdditional(msg []byte, off int) int {
	var options []byte
	for i := range q.counts[3] {
		r, next := record(msg, off)
		if next < 0 {
			return dns.RcodeFormatError
		}
		switch r.rrtype {
		case dns.TypeOPT:
			if q.edns || !r.root {
				return dns.RcodeFormatError
			}
			q.edns = true
			q.udpSize = max(q.udpSize, int(r.class))
			q.version = uint8(r.ttl >> 16)
			q.do = r.ttl&(1<<15) != 0
			options = r.data
		case dns.TypeTSIG:
			rr, _, err := dns.UnpackRR(msg, off)
			tsig, ok := rr.(*dns.TSIG)
			if err != nil || !ok || i != q.counts[3]-1 || r.class != dns.ClassANY || r.ttl != 0 || !wholeTSIG(r.data) {
				return dns.RcodeFormatError
			}
			q.tsig = tsig
		}
		off = next
	}
	if off != len(msg) {
		return dns.RcodeFormatError
	}
	if q.version != 0 { // what its options look like is not known
		return dns.RcodeBadVers
	}
	return q.readOptions(options)
}

// wholeTSIG reports whether the data of a TSIG record has all its fields (RFC 8945 section 4.2), which package dns
// does not ask for. The algorithm's name is not compressed.
func wholeTSIG(data []byte) bool {
	at := 0
	for at < len(data) && data[at] > 0 && data[at] < 64 {
		at += 1 + int(data[at])
	}
	if at >= len(data) || data[at] != 0 {
		return false
	}
	at += 1 + 6 + 2 // its end, time signed, fudge
	field := func() bool {
		if at+2 > len(data) {
			return false
		}
		at += 2 + int(binary.BigEndian.Uint16(data[at:]))
		return at <= len(data)
	}
	if !field() { // MAC
		return false
	}
	at += 2 + 2 // original id, error
	return field() && at == len(data)
}

// readOptions reads the options of a version 0 OPT record. Of several of a kind the first counts (RFC 7873 section
// 5.2).
func (q *request) readOptions(data []byte) int {
	for len(data) > 0 {
		if len(data) < 4 {
			return dns.RcodeFormatError
		}
		code, n := binary.BigEndian.Uint16(data), int(binary.BigEndian.Uint16(data[2:]))
		if data = data[4:]; n > len(data) {
			return dns.RcodeFormatError
		}
		value := data[:n:n]
		data = data[n:]
		switch code {
		case dns.EDNS0NSID:
			q.nsid = true
		case dns.EDNS0TCPKEEPALIVE:
			q.keepalive = true
		case dns.EDNS0COOKIE:
			if q.cookie != nil {
				break
			}
			if !cookie.WellFormed(value) {
				return dns.RcodeFormatError
			}
			q.cookie = value
		case dns.EDNS0SUBNET:
			if q.subnet != nil {
				break
			}
			s, ok := readSubnet(value)
			if !ok {
				return dns.RcodeFormatError
			}
			q.subnet = s
		}
	}
	return dns.RcodeSuccess
}

// readSubnet reads a client subnet as a query must have it: a family that there is, no more bits than it has, no
// scope, and as many bytes as the bits need, those beyond them zero (RFC 7871 sections 6 and 7.1.2). Family 0 with a
// length of 0 is how some clients say that they want no subnet used.
func readSubnet(value []byte) (*subnet, bool) {
	if len(value) < 4 {
		return nil, false
	}
	family, source, scope := binary.BigEndian.Uint16(value), int(value[2]), value[3]
	s := &subnet{head: [3]byte(value[:3]), addr: value[4:]}
	if scope != 0 || len(s.addr) != (source+7)/8 {
		return nil, false
	}
	var addr netip.Addr
	switch {
	case family == 0 && source == 0:
		return s, true
	case family == 1 && source <= 32:
		var a [4]byte
		copy(a[:], s.addr)
		addr = netip.AddrFrom4(a)
	case family == 2 && source <= 128:
		var a [16]byte
		copy(a[:], s.addr)
		addr = netip.AddrFrom16(a)
	default:
		return nil, false
	}
	s.prefix = netip.PrefixFrom(addr, source)
	return s, s.prefix.Masked() == s.prefix
}

// rawRecord is a resource record whose data nobody has looked at.
type rawRecord struct {
	root   bool // its owner is the root
	rrtype uint16
	class  uint16
	ttl    uint32
	data   []byte
}

// record reads the record at off and returns the offset behind it, -1 if it does not fit its message.
func record(msg []byte, off int) (rawRecord, int) {
	start := off
	if off = skipName(msg, off); off < 0 || off+10 > len(msg) {
		return rawRecord{}, -1
	}
	r := rawRecord{
		root:   msg[start] == 0,
		rrtype: binary.BigEndian.Uint16(msg[off:]),
		class:  binary.BigEndian.Uint16(msg[off+2:]),
		ttl:    binary.BigEndian.Uint32(msg[off+4:]),
	}
	n := int(binary.BigEndian.Uint16(msg[off+8:]))
	if off += 10; off+n > len(msg) {
		return rawRecord{}, -1
	}
	r.data = msg[off : off+n]
	return r, off + n
}

// skipName returns the offset behind the name at off, -1 if there is none. Pointers must point back behind the
// header, as every sender's do; they are not followed.
func skipName(msg []byte, off int) int {
	for start := off; off < len(msg); {
		switch n := int(msg[off]); {
		case n == 0:
			return off + 1
		case n < 0x40:
			if off += 1 + n; off-start > maxName {
				return -1
			}
		case n >= 0xC0 && off+1 < len(msg):
			to := (n&0x3F)<<8 | int(msg[off+1])
			if to < headerSize || to >= start {
				return -1
			}
			return off + 2
		default:
			return -1
		}
	}
	return -1
}

// lower is a copy of a name in wire format in lower case. Length bytes are below 'A'.
func lower(name []byte) []byte {
	out := make([]byte, len(name))
	for i, b := range name {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		out[i] = b
	}
	return out
}

// presentation is a name in wire format as miekg/dns writes it.
func presentation(name []byte) string {
	s, _, err := dns.UnpackDomainName(name, 0)
	if err != nil {
		panic("responder: " + err.Error()) // names are checked where they come in
	}
	return s
}
