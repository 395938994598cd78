package fastpath

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/cookie"
)

// question is what a query asks for. Its slices but name point into the query.
type question struct {
	lower [maxName]byte
	name  []byte // in lower, wire format, lower case
	end   int    // of the question section
	qtype uint16

	edns, do bool
	udpSize  int // what the client can take, as it says

	nsid   bool
	cookie []byte       // first COOKIE option, well-formed; nil: none
	subnet []byte       // first client subnet option, well-formed; nil: none
	prefix netip.Prefix // of subnet
}

// read takes a query apart. It returns false for all that is not an ordinary, well-formed query of class IN.
func (q *question) read(msg []byte) bool {
	// QR 0, opcode QUERY, one question, no answers, no authority, at most one additional record.
	if len(msg) < headerSize || msg[2]&0xF8 != 0 || binary.BigEndian.Uint32(msg[4:]) != 1<<16 ||
		binary.BigEndian.Uint32(msg[8:]) > 1 {
		return false
	}
	at := headerSize
	for {
		if at >= len(msg) {
			return false
		}
		n := int(msg[at])
		q.lower[at-headerSize] = byte(n)
		at++
		if n == 0 {
			break
		}
		end := at + n
		if n > 63 || end-headerSize >= maxName || end > len(msg) {
			return false
		}
		for ; at < end; at++ {
			c := msg[at]
			if c-'A' < 26 {
				c |= 0x20
			}
			q.lower[at-headerSize] = c
		}
	}
	if at+4 > len(msg) {
		return false
	}
	q.name = q.lower[:at-headerSize]
	q.qtype = binary.BigEndian.Uint16(msg[at:])
	if binary.BigEndian.Uint16(msg[at+2:]) != dns.ClassINET || !ordinary(q.qtype) {
		return false
	}
	q.end = at + 4
	q.edns, q.do, q.udpSize, q.nsid, q.cookie, q.subnet, q.prefix = false, false, 0, false, nil, nil, netip.Prefix{}
	if msg[11] == 0 {
		return q.end == len(msg)
	}
	return q.readOPT(msg[q.end:])
}

// ordinary reports whether a type is one that records have, or ANY.
func ordinary(qtype uint16) bool {
	switch qtype {
	case dns.TypeOPT, dns.TypeNXNAME:
		return false
	}
	return qtype < dns.TypeTKEY || qtype >= dns.TypeANY
}

// readOPT reads the one additional record, which must be an OPT record of version 0 and end the message.
func (q *question) readOPT(rr []byte) bool {
	if len(rr) < 11 || rr[0] != 0 || binary.BigEndian.Uint16(rr[1:]) != dns.TypeOPT || rr[6] != 0 ||
		int(binary.BigEndian.Uint16(rr[9:])) != len(rr)-11 {
		return false
	}
	q.edns = true
	q.udpSize = int(binary.BigEndian.Uint16(rr[3:]))
	q.do = rr[7]&0x80 != 0
	for rr = rr[11:]; len(rr) > 0; {
		if len(rr) < 4 {
			return false
		}
		code, n := binary.BigEndian.Uint16(rr), int(binary.BigEndian.Uint16(rr[2:]))
		if rr = rr[4:]; n > len(rr) {
			return false
		}
		value := rr[:n:n]
		rr = rr[n:]
		switch code {
		case dns.EDNS0NSID:
			q.nsid = true
		case dns.EDNS0COOKIE:
			if q.cookie == nil {
				if !cookie.WellFormed(value) {
					return false
				}
				q.cookie = value
			}
		case dns.EDNS0SUBNET:
			if q.subnet == nil && !q.readSubnet(value) {
				return false
			}
		}
	}
	return true
}

// readSubnet reads a client subnet as a query must have it (RFC 7871 sections 6 and 7.1.2).
func (q *question) readSubnet(value []byte) bool {
	if len(value) < 4 || value[3] != 0 {
		return false
	}
	family, source := binary.BigEndian.Uint16(value), int(value[2])
	bits := value[4:]
	if len(bits) != (source+7)/8 {
		return false
	}
	switch {
	case family == 0 && source == 0:
	case family == 1 && source <= 32:
		var a [4]byte
		copy(a[:], bits)
		q.prefix = netip.PrefixFrom(netip.AddrFrom4(a), source)
	case family == 2 && source <= 128:
		var a [16]byte
		copy(a[:], bits)
		q.prefix = netip.PrefixFrom(netip.AddrFrom16(a), source)
	default:
		return false
	}
	q.subnet = value
	// Bits beyond the source prefix length are zero.
	return source%8 == 0 || bits[len(bits)-1]<<(source%8) == 0
}
