// Package fastpath answers the queries that make up nearly all traffic straight from bytes to bytes, without
// allocation: questions of class IN for addresses by rules and for static records, negative answers and refusals, with
// or without EDNS, client subnet and cookie. What it does not understand it leaves to package responder, with which it
// agrees to the byte: both ask packages zone and selection the same, and only reading and writing differ. Package
// server's UDP loops call it; sockets, rate limits, forwarding and waiting are theirs.
package fastpath

import (
	"net/netip"
	"time"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/cookie"
	"github.com/sluicelb/sluice/gslb/responder"
	"github.com/sluicelb/sluice/gslb/selection"
)

const (
	headerSize = 12
	maxName    = 255 // of a name in wire format (RFC 1035 section 2.3.4)
	minSize    = 512 // what every client can take over UDP (RFC 1035 section 2.3.4)
)

// Scratch is what one goroutine keeps between queries. It must not be used from two at a time.
type Scratch struct {
	core *responder.Core

	// The query under way.
	view *responder.View
	from netip.Addr
	now  int64
	question
	message

	recent recent
	place  *remembered // in recent, of the query; nil: none

	answers  answers
	turns    turns
	query    selection.Query
	choice   selection.Choice
	response responder.Response
}

// NewScratch returns a Scratch whose round robins are those of core: the full path of the same goroutine goes on
// where the fast one stopped.
func NewScratch(core *responder.Core) *Scratch { return &Scratch{core: core} }

// Answer is responder.Respond for a query over UDP that came from that address at that Unix time in nanoseconds. The
// response is the same, its Wire in out, which should have room for the view's UDPSize. It is good until the next call,
// and as long as out is. ok is false for a query that the full path must answer; nothing has happened then that it
// could notice.
func Answer(v *responder.View, s *Scratch, req []byte, from netip.AddrPort, now int64,
	out []byte,
) (r *responder.Response, ok bool) {
	if !s.question.read(req) || s.nsid && v.Config.Server.NSID != "" {
		return nil, false
	}
	s.view, s.from, s.now = v, from.Addr().Unmap(), now
	r = &s.response
	*r = responder.Response{Disposition: responder.Reply, Rule: config.None, Clause: config.None, Answer: config.None}
	if !s.message.begin(&s.question, req, out, int(v.Config.Server.UDPSize)) {
		return nil, false
	}
	s.answers.follow(v.Config)
	s.recent.follow(v)
	s.turns.n = 0
	cursors := s.core.Cursors(v.Rules)
	if !s.resolve(cursors) {
		s.turns.stay(cursors)
		return nil, false
	}
	s.turns.advance(cursors)
	if s.cookie != nil {
		s.checkCookie()
	}
	if r.Disposition == responder.Reply {
		r.Wire = s.message.end(&s.question)
		r.Rcode = int(s.rcode)
		r.Scope = s.scope
	}
	return r, true
}

// checkCookie says what the query's cookie was worth and makes the one of the response (RFC 7873 section 5.2).
func (s *Scratch) checkCookie() {
	seconds := uint32(s.now / int64(time.Second))
	secrets := cookie.Secrets(s.view.Config.Server.CookieSecrets, seconds)
	_, valid := cookie.Append(s.newCookie[:0], secrets, s.cookie, s.from, seconds)
	switch {
	case valid:
		s.response.Cookie = responder.GoodCookie
	case len(s.cookie) == cookie.ClientSize:
		s.response.Cookie = responder.ClientCookie
	default:
		s.response.Cookie = responder.BadCookie
	}
}

// turns are the round robins that the choices of a response were made by: one for each name that rules balance.
type turns struct {
	cursor [maxSteps]int32
	stuck  [maxSteps]bool // the client was made to stick to the choice
	n      int
}

// advance moves them on, the response being given.
func (t *turns) advance(cursors []uint32) {
	for _, c := range t.cursor[:t.n] {
		if c >= 0 {
			cursors[c]++
		}
	}
}

// stay leaves them where they are for the full path to choose the same. But where the client sticks by now, the
// full path will find it stuck and leave them too.
func (t *turns) stay(cursors []uint32) {
	for i, c := range t.cursor[:t.n] {
		if t.stuck[i] && c >= 0 {
			cursors[c]++
		}
	}
}
