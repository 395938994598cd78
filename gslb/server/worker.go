package server

import (
	"net/netip"
	"time"

	"github.com/sluicelb/sluice/gslb/config"
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
//	for { read a batch; w.begin(); for each { n := w.handle(request, from, at, out); queue out[:n] if n > 0 }; write the batch }
type worker struct {
	*core
	s    *Server
	send func(wire []byte, to netip.AddrPort, at local)

	view *responder.View // of this batch
	now  int64           // of this batch
}

// newWorker makes the worker of one loop. send is for answers that come later, from other goroutines, until the
// socket's close is called; it does not keep wire, and an error is nobody's business.
func (s *Server) newWorker(send func(wire []byte, to netip.AddrPort, at local)) *worker {
	return &worker{core: &core{counts: s.tally.add()}, s: s, send: send}
}

// begin is called before each batch: it takes the newest view and reads the clock.
func (w *worker) begin() {
	w.now = time.Now().UnixNano()
	if v := w.s.views.load(); v != w.view {
		w.view = v
		w.s.tally.follow(w.counts, v.Config)
	}
}

// handle answers one datagram into out, which has maxUDP bytes, and returns how many are to be sent back to from; 0: none, or
// none yet. It keeps neither request nor out.
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
	client := responder.Client{Addr: from, Core: &w.responder, Now: w.now}
	r := w.s.respond(w.view, &client, request)
	switch r.Disposition {
	case responder.Forward, responder.Wait:
		q := &query{view: w.view, now: w.now, request: append([]byte(nil), request...), from: from}
		w.s.later(q, r, func(c *core, r responder.Response) {
			if wire := w.s.limit(c, q, r); len(wire) > 0 {
				w.send(wire, from, at)
			}
		})
		return 0
	}
	return copy(out, w.s.limit(w.core, &query{request: request, from: from, view: w.view, now: w.now}, r))
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

// limit returns what is sent of a response over UDP: all of it, the message that sends the client to TCP, or nothing. It counts
// what is sent.
func (s *Server) limit(c *core, q *query, r responder.Response) []byte {
	if r.Disposition != responder.Reply {
		c.counts.event(DroppedMalformed)
		return nil
	}
	if r.Cookie == responder.GoodCookie {
		c.counts.event(ValidCookies)
	} else if s.limiter.On() {
		switch s.limiter.Allow(q.from.Addr(), category(r.Kind), s.limiter.Name(r.Limit), q.now) {
		case ratelimit.Drop:
			c.counts.event(LimitedDropped)
			return nil
		case ratelimit.Slip:
			c.counts.event(LimitedSlipped)
			client := responder.Client{Addr: q.from, Core: &c.responder, Now: q.now}
			return s.slip(q.view, &client, q.request).Wire
		}
	}
	c.counts.response(UDP, r.Kind, r.Rcode, r.Rule, r.Clause, r.Answer)
	return r.Wire
}
