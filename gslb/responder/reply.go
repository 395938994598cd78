package responder

import (
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/cookie"
)

// reply is a response in the making.
type reply struct {
	v   *View
	c   *Client
	q   *request
	msg dns.Msg // header

	// Records that are sent, or left out, together.
	answer, authority, additional [][]dns.RR
	// optional is how many of additional, counted from its end, may be left out without the client being told (RFC 2181
	// section 9).
	optional int

	scope   uint8
	secrets [][16]byte // of cookies
	story   *Story     // nil unless the response is to be explained
	Response
}

func newReply(v *View, c *Client, q *request) *reply {
	r := &reply{v: v, c: c, q: q}
	r.Disposition = Reply
	r.msg.Id = q.id
	r.msg.Response = true
	r.msg.Opcode = q.opcode
	// Of the flags only RD comes back, and only where it means something. CD is the business of resolvers (RFC 4035
	// section 3.1.6).
	r.msg.RecursionDesired = q.rd && q.opcode == dns.OpcodeQuery
	r.Rule, r.Clause, r.Answer = config.None, config.None, config.None
	if q.cookie != nil {
		r.secrets = cookie.Secrets(v.Config.Server.CookieSecrets, c.seconds())
		switch {
		case len(q.cookie) == cookie.ClientSize:
			r.Cookie = ClientCookie
		case cookie.Check(r.secrets, q.cookie, c.Addr.Addr(), c.seconds()):
			r.Cookie = GoodCookie
		default:
			r.Cookie = BadCookie
		}
	}
	return r
}

// fail makes the response one that says no more than rcode.
func (r *reply) fail(rcode int) Response {
	r.msg.Rcode = rcode
	return r.done()
}

// done packs the response.
func (r *reply) done() Response {
	r.Rcode = r.msg.Rcode
	r.Response.Scope = r.scope
	if r.Kind == 0 {
		r.Kind = r.kind()
	}
	if r.Wire = r.pack(); r.Wire == nil {
		r.Disposition = Drop
	}
	return r.Response
}

func (r *reply) kind() Kind {
	switch {
	case r.msg.Rcode == dns.RcodeNameError:
		return NXDomain
	case r.msg.Rcode == dns.RcodeRefused:
		return Refused
	case r.msg.Rcode != dns.RcodeSuccess:
		return Error
	case len(r.answer) > 0:
		return Answer
	}
	return NoData
}

// limit is how long the response may be.
func (r *reply) limit() int {
	if r.c.TCP {
		return dns.MaxMsgSize
	}
	return max(dns.MinMsgSize, min(r.q.udpSize, int(r.v.Config.Server.UDPSize)))
}

// pack encodes the response into as many bytes as the client can take. What does not fit is left out by whole RRsets,
// those last that matter most. Names are compressed as if the question were in lower case, so that the bytes behind it
// do not depend on how the client wrote it, and the question is then what the client sent.
func (r *reply) pack() []byte {
	r.msg.Compress = true
	if r.q.question != nil {
		r.msg.Question = []dns.Question{{Name: r.q.owner, Qtype: r.q.qtype, Qclass: r.q.class}}
	}
	opt := r.opt()
	for {
		r.msg.Answer = slices.Concat(r.answer...)
		r.msg.Ns = slices.Concat(r.authority...)
		r.msg.Extra = slices.Concat(r.additional...)
		if opt != nil {
			r.msg.Extra = append(r.msg.Extra, opt)
		}
		if r.q.tsig != nil {
			r.msg.Extra = append(r.msg.Extra, r.badKey())
		}
		wire, err := r.msg.Pack()
		if err == nil && len(wire) <= r.limit() {
			copy(wire[headerSize:], r.q.question)
			return wire
		}
		switch {
		case r.optional > 0:
			r.optional--
			r.additional = r.additional[:len(r.additional)-1]
			continue
		case len(r.additional) > 0:
			r.additional = r.additional[:len(r.additional)-1]
		case len(r.authority) > 0:
			r.authority = r.authority[:len(r.authority)-1]
		case len(r.answer) > 0:
			r.answer = r.answer[:len(r.answer)-1]
		case opt != nil && len(opt.Option) > 0: // an NSID of hundreds of bytes
			opt.Option = opt.Option[1:]
			continue
		case r.q.tsig != nil: // of two names that fill a datagram
			r.q.tsig = nil
		default: // header, question and OPT always fit
			return nil
		}
		r.msg.Truncated = true
	}
}

// opt is the OPT record of the response: there is one if the query had one (RFC 6891 section 7).
func (r *reply) opt() *dns.OPT {
	if !r.q.edns {
		return nil
	}
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	opt.SetUDPSize(r.v.Config.Server.UDPSize)
	opt.SetDo(r.q.do) // RFC 3225 section 3
	add := func(code uint16, data []byte) {
		opt.Option = append(opt.Option, &dns.EDNS0_LOCAL{Code: code, Data: data})
	}
	if id := r.v.Config.Server.NSID; r.q.nsid && id != "" {
		add(dns.EDNS0NSID, []byte(id))
	}
	if s := r.q.subnet; s != nil {
		add(dns.EDNS0SUBNET, slices.Concat(s.head[:], []byte{r.scope}, s.addr))
	}
	if r.q.cookie != nil {
		value, _ := cookie.Append(nil, r.secrets, r.q.cookie, r.c.Addr.Addr(), r.c.seconds())
		add(dns.EDNS0COOKIE, value)
	}
	if r.q.keepalive && r.c.TCP {
		idle := min(r.v.Config.Server.TCP.Idle/(100*time.Millisecond), 0xFFFF)
		add(dns.EDNS0TCPKEEPALIVE, []byte{byte(idle >> 8), byte(idle)})
	}
	return opt
}

// badKey is the TSIG record that says that a key is not known (RFC 8945 section 5.2.1), unsigned as such a response is.
func (r *reply) badKey() *dns.TSIG {
	return &dns.TSIG{
		Hdr:        dns.RR_Header{Name: r.q.tsig.Hdr.Name, Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
		Algorithm:  r.q.tsig.Algorithm,
		TimeSigned: r.q.tsig.TimeSigned,
		Fudge:      r.q.tsig.Fudge,
		OrigId:     r.q.id,
		Error:      dns.RcodeBadKey,
	}
}

func (c *Client) seconds() uint32 { return uint32(c.Now / int64(time.Second)) }
