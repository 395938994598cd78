package server

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/responder"
)

// maxWaiting is how many queries may wait for a first verdict. Those beyond it fail at once.
const maxWaiting = 1000

// query is one message and where it came from.
type query struct {
	request []byte
	from    netip.AddrPort
	tcp     bool
	// What it was answered with last.
	view *responder.View
	now  int64
}

// again answers the query from the newest view by a function like Respond.
func (s *Server) again(c *core, q *query,
	how func(*responder.View, *responder.Client, []byte) responder.Response,
) responder.Response {
	q.view, q.now = s.views.load(), time.Now().UnixNano()
	s.tally.follow(c.counts, q.view.Config)
	return how(q.view, &responder.Client{Addr: q.from, TCP: q.tcp, Core: &c.responder, Now: q.now}, q.request)
}

// later does what a response says takes time, in a goroutine that ends with it or with lateCtx. Then it calls done,
// always, with the core that is to count the response.
func (s *Server) later(q *query, r responder.Response, done func(*core, responder.Response)) {
	s.late.Go(func() {
		if r.Disposition == responder.Wait {
			r = s.wait(s.lateCtx, q, r.MaxWait)
		}
		if r.Disposition == responder.Forward {
			r = s.forward(s.lateCtx, q, r)
		}
		s.cores.with(func(c *core) {
			s.tally.follow(c.counts, q.view.Config)
			done(c, r)
		})
	})
}

// fail is the response to a query that came to nothing.
func (s *Server) fail(q *query, e Event) (r responder.Response) {
	s.cores.with(func(c *core) {
		c.counts.event(e)
		r = s.again(c, q, func(v *responder.View, client *responder.Client, request []byte) responder.Response {
			return s.failed(v, client, request, dns.RcodeServerFailure)
		})
	})
	return r
}

// wait answers the query anew for each new view until that can be done without waiting, or for longest.
func (s *Server) wait(ctx context.Context, q *query, longest time.Duration) (r responder.Response) {
	s.count(Waited)
	if s.waiting.Add(1) > maxWaiting {
		s.waiting.Add(-1)
		return s.fail(q, WaitFailed)
	}
	defer s.waiting.Add(-1)
	timer := time.NewTimer(longest)
	defer timer.Stop()
	for {
		// The news is taken before the query is answered: what changes in between is news.
		replaced := s.views.current.Load().replaced
		s.cores.with(func(c *core) { r = s.again(c, q, s.respond) })
		if r.Disposition != responder.Wait {
			return r
		}
		select {
		case <-replaced:
		case <-timer.C:
			return s.fail(q, WaitFailed)
		case <-ctx.Done():
			return s.fail(q, WaitFailed)
		}
	}
}

// forward relays the query to the servers that r names.
func (s *Server) forward(ctx context.Context, q *query, r responder.Response) responder.Response {
	s.count(Forwarded)
	chosen := q.view.Config
	request := new(dns.Msg)
	if err := request.Unpack(q.request); err != nil || len(request.Question) != 1 {
		return s.fail(q, ForwardFailed) // Respond has read it, so this is the rest of it
	}
	reply, err := s.relay.Forward(ctx, request, r.Forward)
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			s.log.Debug("forwarded query failed", "name", request.Question[0].Name, slog.Any("error", err))
		}
		return s.fail(q, ForwardFailed)
	}
	if r.Rule >= 0 {
		limitTTLs(reply, chosen.Rules[r.Rule].TTL)
	}
	relayed, err := s.relayed(q, request, reply)
	if err != nil {
		s.log.Debug("relayed reply cannot be sent", "name", request.Question[0].Name, slog.Any("error", err))
		return s.fail(q, ForwardFailed)
	}
	if q.view.Config == chosen { // else these are indices into what is gone
		relayed.Rule, relayed.Clause, relayed.Answer = r.Rule, r.Clause, r.Answer
	}
	return relayed
}

// limitTTLs lowers the TTLs of a reply to what a rule forwarded for: no longer than the rule says may the client not
// ask, or it would miss that the rule has another answer by now. The records are shared with other queries.
func limitTTLs(reply *dns.Msg, most uint32) {
	for _, section := range []*[]dns.RR{&reply.Answer, &reply.Ns, &reply.Extra} {
		limited := make([]dns.RR, len(*section))
		for i, rr := range *section {
			if h := rr.Header(); h.Ttl > most && h.Rrtype != dns.TypeOPT { // whose TTL is none
				rr = dns.Copy(rr)
				rr.Header().Ttl = most
			}
			limited[i] = rr
		}
		*section = limited
	}
}

// relayed makes the response to a client of another server's reply. Its OPT record is what this server says to the
// client: all but the scope of the client subnet is from hop to hop (RFC 6891 section 6.1.1).
func (s *Server) relayed(q *query, request, reply *dns.Msg) (responder.Response, error) {
	var r responder.Response
	s.cores.with(func(c *core) {
		r = s.again(c, q, func(v *responder.View, client *responder.Client, request []byte) responder.Response {
			return s.failed(v, client, request, dns.RcodeServerFailure)
		})
	})
	if r.Disposition != responder.Reply {
		return r, nil
	}
	ours := new(dns.Msg)
	if err := ours.Unpack(r.Wire); err != nil {
		return r, err
	}
	opt, theirs := ours.IsEdns0(), reply.IsEdns0()
	var extra []dns.RR
	for _, rr := range reply.Extra {
		switch rr.Header().Rrtype {
		case dns.TypeOPT, dns.TypeTSIG, dns.TypeSIG:
		default:
			extra = append(extra, rr)
		}
	}
	if opt != nil {
		r.Scope = copyScope(opt, theirs)
		extra = append(extra, opt)
	}
	reply.Extra = extra
	reply.Compress = true
	wire, err := reply.Pack()
	if err != nil {
		return r, err
	}
	if len(wire) > maxResponse(q, request) {
		reply.Answer, reply.Ns, reply.Extra = nil, nil, nil
		if opt != nil {
			reply.Extra = []dns.RR{opt}
		}
		reply.Truncated = true
		if wire, err = reply.Pack(); err != nil {
			return r, err
		}
	}
	r.Wire, r.Rcode = wire, reply.Rcode
	r.Kind, r.Limit = kindOf(reply)
	return r, nil
}

// copyScope gives the client subnet in our OPT record the scope that it has in theirs, and returns that.
func copyScope(ours, theirs *dns.OPT) uint8 {
	if theirs == nil {
		return 0
	}
	for _, a := range ours.Option {
		for _, b := range theirs.Option {
			mine, ok := a.(*dns.EDNS0_SUBNET)
			its, ok2 := b.(*dns.EDNS0_SUBNET)
			if ok && ok2 && mine.Family == its.Family && mine.SourceNetmask == its.SourceNetmask &&
				mine.Address.Equal(its.Address) {
				mine.SourceScope = its.SourceScope // else RFC 7871 section 7.3 has the scope ignored
				return its.SourceScope
			}
		}
	}
	return 0
}

// maxResponse is how long the response to a query may be.
func maxResponse(q *query, request *dns.Msg) int {
	if q.tcp {
		return dns.MaxMsgSize
	}
	size := dns.MinMsgSize
	if opt := request.IsEdns0(); opt != nil {
		size = max(size, int(opt.UDPSize()))
	}
	return min(size, int(q.view.Config.Server.UDPSize))
}

// kindOf says what a relayed reply counts as, and for what name: the zone's where it says so, for names that do not
// exist.
func kindOf(reply *dns.Msg) (responder.Kind, []byte) {
	name := reply.Question[0].Name
	kind := responder.Error
	switch {
	case reply.Rcode == dns.RcodeNameError:
		kind, name = responder.NXDomain, "."
		for _, rr := range reply.Ns {
			if rr.Header().Rrtype == dns.TypeSOA {
				name = rr.Header().Name
			}
		}
	case reply.Rcode == dns.RcodeRefused:
		kind = responder.Refused
	case reply.Rcode != dns.RcodeSuccess:
	case len(reply.Answer) > 0:
		kind = responder.Answer
	case isReferral(reply):
		kind = responder.Referral
	default:
		kind = responder.NoData
	}
	wire := make([]byte, 256)
	n, err := dns.PackDomainName(dns.CanonicalName(name), wire, 0, nil, false)
	if err != nil {
		n = 0
	}
	return kind, wire[:n]
}

func isReferral(reply *dns.Msg) bool {
	for _, rr := range reply.Ns {
		if rr.Header().Rrtype == dns.TypeNS {
			return !reply.Authoritative
		}
	}
	return false
}
