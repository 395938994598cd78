// Package relay asks other name servers on behalf of clients: for rules whose answer is a name server, for names and
// rules that are forwarded, and for the SOA records of zones of which only some names are ours. A reply is believed
// when it comes from the address and port that was asked, to a port of its own, with the id and the question. Relay
// does not cache replies, except for the SOA records of Negatives, and does not resolve: it follows no referral.
//
// Package server calls it for each query that package responder says is to be forwarded; package gslb runs Negatives.
package relay

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// Defaults of Config.
const (
	DefaultTimeout = time.Second
	DefaultMax     = 1000
	DefaultUDPSize = 1232
)

// Config is how a Relay asks.
type Config struct {
	Timeout time.Duration // for each try; default DefaultTimeout
	Max     int           // calls of Forward under way; default DefaultMax
	UDPSize uint16        // largest UDP reply that is asked for; default DefaultUDPSize
}

// ErrBusy is returned by Forward while Config.Max calls are under way.
var ErrBusy = errors.New("too many forwarded queries are under way")

// Stats counts since the Relay was made.
type Stats struct {
	Forwarded uint64 // calls of Forward
	Shared    uint64 // of these, those that got the reply to an equal query
	Failed    uint64 // of these, those that got none, too
	Busy      uint64 // calls refused by Config.Max; not in Forwarded
	Retried   uint64 // tries beyond the first of a query
	TCP       uint64 // tries repeated over TCP because the reply was truncated
	Mismatch  uint64 // datagrams that were not the reply asked for
}

// Relay forwards queries. It may be used from many goroutines.
type Relay struct {
	config   atomic.Pointer[Config]
	underWay atomic.Int64

	mu      sync.Mutex // guards flights
	flights map[flightKey]*flight

	forwarded, shared, failed, busy, retried, tcp, mismatch atomic.Uint64
}

// New returns a Relay.
func New(c Config) *Relay {
	r := &Relay{flights: make(map[flightKey]*flight)}
	r.Set(c)
	return r
}

// Set changes how queries are forwarded from now on.
func (r *Relay) Set(c Config) {
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Max == 0 {
		c.Max = DefaultMax
	}
	if c.UDPSize == 0 {
		c.UDPSize = DefaultUDPSize
	}
	r.config.Store(&c)
}

// Stats returns the counts.
func (r *Relay) Stats() Stats {
	return Stats{
		Forwarded: r.forwarded.Load(),
		Shared:    r.shared.Load(),
		Failed:    r.failed.Load(),
		Busy:      r.busy.Load(),
		Retried:   r.retried.Load(),
		TCP:       r.tcp.Load(),
		Mismatch:  r.mismatch.Load(),
	}
}

// flightKey is all that makes a difference to what is sent, and to whom.
type flightKey struct {
	name          string
	qtype, qclass uint16
	rd, cd, ad    bool
	edns, do      bool
	subnet        string
	servers       *netip.AddrPort // a configured list, the same for all queries of a rule
	count         int
}

// flight is a query under way. It ends when it has a reply or an error, or nobody waits for it any more: who asked
// first is no more than others who wait.
type flight struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiting int // guarded by Relay.mu
	// Written before done is closed.
	reply *dns.Msg
	err   error
}

// Forward asks the servers in turn until one has a usable reply. A server that says SERVFAIL, REFUSED or NOTIMP counts
// as not usable while another is left. request has one question, which is all that is passed on of it, with the bits
// RD, CD and AD and, if it has an OPT record, an OPT record of our own with its DO bit and client subnet.
//
// The reply has request's id, bits RD and CD, and question to the letter, and the answering server's AA bit, code and
// records. It has an OPT record, with no option but the client subnet, if the server sent one: the caller is to replace
// it by its own. Equal queries under way at the same time share one reply: its records must not be modified.
func (r *Relay) Forward(ctx context.Context, request *dns.Msg, servers []netip.AddrPort) (*dns.Msg, error) {
	c := r.config.Load()
	if r.underWay.Add(1) > int64(c.Max) {
		r.underWay.Add(-1)
		r.busy.Add(1)
		return nil, ErrBusy
	}
	defer r.underWay.Add(-1)
	r.forwarded.Add(1)

	f := r.board(c, request, servers)
	defer r.leave(f)
	select {
	case <-f.done:
	case <-ctx.Done():
		r.failed.Add(1)
		return nil, ctx.Err()
	}
	if f.err != nil {
		r.failed.Add(1)
		return nil, f.err
	}
	reply := *f.reply
	reply.Id = request.Id
	reply.Question = request.Question
	// The owner should have copied these (RFC 1035 section 4.1.1, RFC 4035 section 3.2.2).
	reply.RecursionDesired, reply.CheckingDisabled = request.RecursionDesired, request.CheckingDisabled
	return &reply, nil
}

// board waits for a flight with others, or starts one.
func (r *Relay) board(c *Config, request *dns.Msg, servers []netip.AddrPort) *flight {
	key := keyOf(request, servers)
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.flights[key]; f != nil && f.waiting > 0 {
		r.shared.Add(1)
		f.waiting++
		return f
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &flight{done: make(chan struct{}), cancel: cancel, waiting: 1}
	r.flights[key] = f
	request = request.Copy() // it may outlive the call
	go func() {
		f.reply, f.err = r.ask(ctx, c, request, servers)
		r.mu.Lock()
		if r.flights[key] == f {
			delete(r.flights, key)
		}
		r.mu.Unlock()
		close(f.done)
	}()
	return f
}

// leave waits for a flight no more. The last to leave ends it.
func (r *Relay) leave(f *flight) {
	r.mu.Lock()
	f.waiting--
	last := f.waiting == 0
	r.mu.Unlock()
	if last {
		f.cancel()
		<-f.done
	}
}

func keyOf(request *dns.Msg, servers []netip.AddrPort) flightKey {
	q := request.Question[0]
	k := flightKey{
		name: strings.ToLower(q.Name), qtype: q.Qtype, qclass: q.Qclass,
		rd: request.RecursionDesired, cd: request.CheckingDisabled, ad: request.AuthenticatedData,
		count: len(servers),
	}
	if len(servers) > 0 {
		k.servers = &servers[0]
	}
	if opt := request.IsEdns0(); opt != nil {
		k.edns, k.do = true, opt.Do()
		if s := subnetOf(opt); s != nil {
			k.subnet = s.String()
		}
	}
	return k
}

func subnetOf(opt *dns.OPT) *dns.EDNS0_SUBNET {
	for _, o := range opt.Option {
		if s, ok := o.(*dns.EDNS0_SUBNET); ok {
			return s
		}
	}
	return nil
}

// ask tries the servers in turn; a single one twice, because a datagram may get lost.
func (r *Relay) ask(ctx context.Context, c *Config, request *dns.Msg, servers []netip.AddrPort) (*dns.Msg, error) {
	if len(servers) == 0 {
		return nil, errors.New("forwarding: there is no server to ask")
	}
	tries := servers
	if len(tries) == 1 {
		tries = []netip.AddrPort{servers[0], servers[0]}
	}
	var unusable *dns.Msg
	var errs []error
	for i, server := range tries {
		if i > 0 {
			r.retried.Add(1)
		}
		reply, err := r.try(ctx, c, request, server)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("forwarding to %v: %w", server, err))
			continue
		}
		switch reply.Rcode {
		case dns.RcodeServerFailure, dns.RcodeRefused, dns.RcodeNotImplemented:
			if unusable == nil {
				unusable = reply
			}
			continue
		}
		return reply, nil
	}
	if unusable != nil {
		return unusable, nil
	}
	return nil, errors.Join(errs...)
}

// try asks one server: over UDP, over TCP if that reply is truncated, and again without EDNS if the server seems not to
// know it (RFC 6891 section 6.2.2).
func (r *Relay) try(ctx context.Context, c *Config, request *dns.Msg, server netip.AddrPort) (*dns.Msg, error) {
	query := newQuery(request, c.UDPSize)
	reply, err := r.exchange(ctx, c, query, server)
	if err != nil {
		return nil, err
	}
	if query.IsEdns0() != nil && reply.IsEdns0() == nil &&
		(reply.Rcode == dns.RcodeFormatError || reply.Rcode == dns.RcodeNotImplemented) {
		query.Id = dns.Id()
		query.Extra = nil
		if reply, err = r.exchange(ctx, c, query, server); err != nil {
			return nil, err
		}
	}
	switch reply.Rcode {
	case dns.RcodeBadVers, dns.RcodeBadCookie: // about our OPT record, not the client's
		return nil, fmt.Errorf("the server does not take our OPT record (RCODE %d)", reply.Rcode)
	}
	stripOPT(reply)
	for _, section := range []*[]dns.RR{&reply.Answer, &reply.Ns, &reply.Extra} {
		*section = dns.Dedup(*section, nil) // no record stands in a response twice (RFC 2181 section 5)
	}
	return reply, nil
}

func newQuery(request *dns.Msg, size uint16) *dns.Msg {
	q := &dns.Msg{
		MsgHdr: dns.MsgHdr{
			Id:                dns.Id(),
			RecursionDesired:  request.RecursionDesired,
			CheckingDisabled:  request.CheckingDisabled,
			AuthenticatedData: request.AuthenticatedData,
		},
		Question: request.Question[:1:1],
	}
	if theirs := request.IsEdns0(); theirs != nil {
		q.SetEdns0(size, theirs.Do())
		if s := subnetOf(theirs); s != nil {
			ours := q.IsEdns0()
			ours.Option = append(ours.Option, &dns.EDNS0_SUBNET{
				Code: dns.EDNS0SUBNET, Family: s.Family, SourceNetmask: s.SourceNetmask, Address: s.Address,
			})
		}
	}
	return q
}

// stripOPT removes what an OPT record says from hop to hop, which is everything but the client subnet.
func stripOPT(reply *dns.Msg) {
	opt := reply.IsEdns0()
	if opt == nil {
		return
	}
	s := subnetOf(opt)
	opt.Option = nil
	if s != nil {
		opt.Option = []dns.EDNS0{s}
	}
}
