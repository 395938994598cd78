// Package responder is the full path of the name server: the bytes of one query in, the bytes of one response out, or
// what else is to be done with it. It reads and writes every kind of message that Sluice understands, asks package
// zone what is authoritative and package selection which of a rule's answers are given, and is the oracle that package
// fastpath is held to. Sockets, rate limits, forwarding and waiting are package server's, which calls it; nothing in
// it blocks or starts goroutines, and but for [Explain] the time is what its caller says.
//
// Layout, which the fast path shares: the question is the client's bytes; names are compressed against the whole
// message as if it had been lower case; OPT is the last record; its options are in ascending order of their codes.
package responder

import (
	"bytes"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/selection"
	"github.com/sluicelb/sluice/gslb/zone"
)

// View is all that answers depend on beside the query: one immutable snapshot that the daemon replaces as a whole.
type View struct {
	Config *config.Config
	Zones  *zone.Zones
	Rules  *selection.Rules
	States *selection.States
	// Sticky remembers which answer a client had. Views share it. nil: nothing sticks.
	Sticky *selection.StickyTable
	// Negative has the SOA records of zones whose SOA is fetched. nil: of none.
	Negative NegativeSource
}

// NegativeSource hands out SOA records that were fetched from the servers that own a zone (config.Zone.SOAFrom).
type NegativeSource interface {
	// SOA returns the record of the zone with that canonical name, its TTL counted down to now, or nil where none is
	// held whose time has not run out. Nobody changes what it returns.
	SOA(zone string, now time.Time) *dns.SOA
}

// Client is who asks, and when.
type Client struct {
	Addr netip.AddrPort
	TCP  bool
	Core *Core
	Now  int64 // Unix time in nanoseconds
}

// Disposition says what becomes of a query.
type Disposition uint8

const (
	Reply Disposition = iota + 1 // send Response.Wire
	Drop                         // send nothing
	// relay the query to Response.Forward and the reply to the client; Fail with SERVFAIL without one
	Forward
	Wait // ask again when states change, at most for Response.MaxWait; then Fail with SERVFAIL
)

// Kind is the kind of a response, for rate limits and metrics.
type Kind uint8

const (
	Answer Kind = iota + 1
	NoData
	NXDomain
	Referral
	Refused
	Error // any other RCODE

	Kinds = iota + 1 // one more than the last
)

// CookieState says what a query's COOKIE option was worth (RFC 7873).
type CookieState uint8

const (
	NoCookie CookieState = iota
	ClientCookie
	// a client cookie, and a server cookie that none of our secrets made or an old one: answered as if it were alone,
	// with a new one
	BadCookie
	GoodCookie // this client had an answer from us: it did not forge its address
)

// Response is what becomes of one query.
type Response struct {
	Disposition Disposition
	Wire        []byte           // Reply: the message
	Forward     []netip.AddrPort // Forward: servers, to be tried in order
	MaxWait     time.Duration    // Wait

	Kind   Kind
	Rcode  int // with the extended bits
	Cookie CookieState
	// Limit is the name that rate limits count the response under, in wire format and lower case: the name that was
	// asked for where it exists; the wildcard, or the zone, where names could be made up; empty where there is none.
	Limit []byte
	// Rule, Clause and Answer are the indices of the last selection, Clause within its rule and Answer the first of
	// those that were given; None where there was none.
	Rule, Clause, Answer int32
	Scope                uint8 // RFC 7871 scope of the answer
}

// Respond answers the query req. It keeps nothing of req.
func Respond(v *View, c *Client, req []byte) Response {
	r, rcode := start(v, c, req)
	if r == nil {
		return dropped
	}
	return r.respond(rcode)
}

// Fail is the response with rcode and no records to the query req: SERVFAIL for one that was to be forwarded or to
// wait. The disposition is Drop where even Respond would not answer.
func Fail(v *View, c *Client, req []byte, rcode int) Response {
	r, fault := start(v, c, req)
	switch {
	case r == nil:
		return dropped
	case fault != dns.RcodeSuccess:
		rcode = fault
	}
	return r.fail(rcode)
}

// Slip is the response to the query req that says no more than that it is truncated (TC), so that an honest client
// comes back over TCP.
func Slip(v *View, c *Client, req []byte) Response {
	r, rcode := start(v, c, req)
	if r == nil {
		return dropped
	}
	r.msg.Truncated = rcode == dns.RcodeSuccess
	return r.fail(rcode)
}

// dropped is what becomes of messages that must not be answered.
var dropped = Response{Disposition: Drop, Rule: config.None, Clause: config.None, Answer: config.None}

// start reads a query. The reply is nil if there must be none: to what has no header to echo, and to responses, so
// that two servers cannot keep answering each other. rcode is as of read.
func start(v *View, c *Client, req []byte) (r *reply, rcode int) {
	if len(req) < headerSize || req[2]&0x80 != 0 {
		return nil, 0
	}
	q, rcode := read(req)
	return newReply(v, c, q), rcode
}

// respond answers a query that was read with that rcode.
func (r *reply) respond(rcode int) Response {
	q := r.q
	switch {
	case rcode != dns.RcodeSuccess:
		return r.fail(rcode)
	case q.tsig != nil: // no key is known (RFC 8945 section 5.2.1)
		return r.fail(dns.RcodeNotAuth)
	case q.opcode != dns.OpcodeQuery:
		return r.change()
	case q.question == nil:
		return r.onlyCookie()
	case q.class == dns.ClassCHAOS:
		return r.chaos()
	case q.class != dns.ClassINET:
		return r.fail(dns.RcodeRefused)
	}
	switch q.qtype {
	case dns.TypeAXFR, dns.TypeIXFR:
		return r.fail(dns.RcodeRefused)
	// never asked for: RFC 6891 section 6.1.1, RFC 8945 section 4.2, RFC 9824 section 3.4
	case dns.TypeOPT, dns.TypeTSIG, dns.TypeNXNAME:
		return r.fail(dns.RcodeFormatError)
	case dns.TypeTKEY, dns.TypeMAILA, dns.TypeMAILB:
		return r.fail(dns.RcodeNotImplemented)
	}
	return r.resolve()
}

// change refuses NOTIFY (RFC 1996) and UPDATE (RFC 2136 section 3.1): nobody tells this server what is in its zones,
// and for others it is the wrong one to tell.
func (r *reply) change() Response {
	if r.q.question == nil {
		return r.fail(dns.RcodeFormatError)
	}
	z := r.v.Zones.Lookup(r.q.name, dns.TypeSOA).Zone
	if r.q.class == dns.ClassINET && z != nil && bytes.Equal(z.Wire, r.q.name) {
		return r.fail(dns.RcodeRefused)
	}
	return r.fail(dns.RcodeNotAuth)
}

// onlyCookie answers who has no question but wants a server cookie, or to know whether its own is good (RFC 7873
// section 5.4).
func (r *reply) onlyCookie() Response {
	if r.Cookie == BadCookie {
		return r.fail(dns.RcodeBadCookie)
	}
	return r.done()
}
