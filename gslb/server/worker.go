package server

import (
	"bytes"
	"net/netip"
	"time"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/fastpath"
	"github.com/sluicelb/sluice/gslb/ratelimit"
	"github.com/sluicelb/sluice/gslb/responder"
)

// maxUDP is the largest UDP response that is ever sent (config allows no larger UDPSize) and so the size of the buffers
// that handle is given. Requests may be longer: they get their FORMERR; a buffer of maxUDP+1 bytes shows that
// one was.
const maxUDP = 4096

// local is where a datagram came in, for its answer to leave from there: its destination address, and the
// interface for link-local ones. The zero value: as the socket is bound.
type local struct {
	addr  netip.Addr
	index int32
}

// worker answers the datagrams of one UDP loop. All of its methods are of the loop's goroutine.
//
//	for {
//		read a batch
//		w.begin()
//		for each { n := w.handle(request, from, at, out); queue out[:n] if n > 0 }
//		write the batch
//		w.end()
//	}
type worker struct {
	*core
	s       *Server
	scratch *fastpath.Scratch
	send    func(wire []byte, to netip.AddrPort, at local)

	view *responder.View // of this batch
	now  int64           // of this batch
	late int             // queries of this batch that are answered by another goroutine
}

// newWorker makes the worker of one loop. send is for answers that come later, from other goroutines, until the
// socket's close is called; it does not keep wire, and an error is nobody's business.
func (s *Server) newWorker(send func(wire []byte, to netip.AddrPort, at local)) *worker {
	c := &core{counts: s.tally.add()}
	return &worker{core: c, s: s, scratch: fastpath.NewScratch(&c.responder), send: send}
}

// begin is called before each batch: it takes the newest view and reads the clock.
func (w *worker) begin() {
	w.now, w.late = time.Now().UnixNano(), 0
	if v := w.s.views.load(); v != w.view {
		w.view = v
		w.s.tally.follow(w.counts, v.Config)
	}
}

// end is called after each batch of n datagrams.
func (w *worker) end(n int) { w.counts.took[UDP].add(n-w.late, time.Now().UnixNano()-w.now) }

// handle answers one datagram into out, which has maxUDP bytes, and returns how many are to be sent back to from; 0:
// none, or none yet. It keeps neither request nor out.
func (w *worker) handle(request []byte, from netip.AddrPort, at local, out []byte) int {
	w.counts.queries[UDP].Add(1)
	if w.view == nil {
		return 0
	}
	if from.Addr().Is4In6() {
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	}
	if dropped, why := mitigate(&w.view.Config.Server.Mitigation, request, from.Port()); dropped {
		w.counts.event(why)
		return 0
	}
	if r, ok := w.s.fast(w.view, w.scratch, request, from, w.now, out); ok {
		w.counts.event(FastAnswers)
		return w.finish(r, request, from, at, out)
	}
	return w.full(request, from, at, out)
}

// full answers what the fast path does not understand.
func (w *worker) full(request []byte, from netip.AddrPort, at local, out []byte) int {
	client := responder.Client{Addr: from, Core: &w.responder, Now: w.now}
	r := w.s.respond(w.view, &client, request)
	return w.finish(&r, request, from, at, out)
}

// finish does with a query what r says.
func (w *worker) finish(r *responder.Response, request []byte, from netip.AddrPort, at local, out []byte) int {
	switch r.Disposition {
	case responder.Reply:
		switch w.s.limit(w.core, from.Addr(), r, w.now) {
		case ratelimit.Pass:
			return copy(out, r.Wire) // onto itself, from the fast path
		case ratelimit.Slip:
			return copy(out, w.s.slipped(w.core, &query{request: request, from: from, view: w.view, now: w.now}))
		}
	case responder.Forward, responder.Wait:
		w.later(*r, request, from, at)
	default:
		w.counts.event(DroppedMalformed)
	}
	return 0
}

// later answers a query from another goroutine.
func (w *worker) later(r responder.Response, request []byte, from netip.AddrPort, at local) {
	w.late++
	q := &query{request: bytes.Clone(request), from: from, view: w.view, now: w.now}
	w.s.later(q, r, func(c *core, r responder.Response) {
		c.counts.tookLater.add(1, time.Now().UnixNano()-q.now)
		if r.Disposition != responder.Reply {
			c.counts.event(DroppedMalformed)
			return
		}
		switch w.s.limit(c, from.Addr(), &r, q.now) {
		case ratelimit.Pass:
			w.send(r.Wire, from, at)
		case ratelimit.Slip:
			w.send(w.s.slipped(c, q), from, at)
		}
	})
}

// limit says whether a response may be sent over UDP, and counts it.
func (s *Server) limit(c *core, to netip.Addr, r *responder.Response, now int64) ratelimit.Decision {
	if r.Cookie == responder.GoodCookie {
		c.counts.event(ValidCookies)
	} else if s.limiter.On() {
		switch v := s.limiter.Allow(to, category(r.Kind), s.limiter.Name(r.Limit), now); v {
		case ratelimit.Drop:
			c.counts.event(LimitedDropped)
			return v
		case ratelimit.Slip:
			c.counts.event(LimitedSlipped)
			return v
		}
	}
	c.counts.response(UDP, r.Kind, r.Rcode, r.Rule, r.Clause, r.Answer)
	return ratelimit.Pass
}

// slipped is the response that sends a client to TCP.
func (s *Server) slipped(c *core, q *query) []byte {
	return s.slip(q.view, &responder.Client{Addr: q.from, Core: &c.responder, Now: q.now}, q.request).Wire
}

// mitigate says whether a datagram is dropped because no honest client sends such.
func mitigate(m *config.Mitigation, request []byte, port uint16) (drop bool, why Event) {
	if len(request) < headerSize || port == 0 {
		return true, DroppedMalformed
	}
	if m.Responses && request[2]&0x80 != 0 {
		return true, DroppedResponses
	}
	if m.PrivilegedPorts && privileged(port) {
		return true, DroppedPorts
	}
	return false, 0
}

// privileged reports whether a resolver does not ask from a port: old ones did from 53.
func privileged(port uint16) bool { return port < 1024 && port != 53 }

const headerSize = 12
