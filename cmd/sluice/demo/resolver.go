package demo

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	askPause   = 20 * time.Millisecond * slowdown // between two queries of the watch
	dnsTimeout = 5 * time.Second                  // after which an answer is lost
	busyFactor = 6                                // times as long on a machine that is busy
)

// dnsTamper, in tests, gets to falsify what gslb answers.
type dnsTamper func(response *dns.Msg)

// exchange is one DNS query and what came of it.
type exchange struct {
	sent, received time.Time
	vip            netip.Addr // that the answer names
	fault          string     // why the response is wrong, whatever it names
}

// resolver asks gslb, as real DNS over UDP, where the web site is: for clients, as a caching resolver does, so
// that they learn of a change within the TTL; and for the demo in short intervals, without a cache, to see when the
// answer changes.
type resolver struct {
	server    string // gslb
	pace      *pace
	tamper    dnsTamper
	exchanges *journal[exchange]

	mu     sync.Mutex // guards what follows; held during a query for clients
	cached exchange
}

func newResolver(server netip.AddrPort, pace *pace, tamper dnsTamper) *resolver {
	return &resolver{server: server.String(), pace: pace, tamper: tamper, exchanges: newJournal[exchange]()}
}

// watch asks until ctx ends.
func (r *resolver) watch(ctx context.Context) {
	for receive(ctx, time.After(askPause)) == nil {
		r.ask(ctx)
	}
}

// lookup returns where the web site is, from the cache for as long as the TTL. A failure is cached as well.
func (r *resolver) lookup(ctx context.Context) (netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.cached.received) >= webTTL*time.Second {
		e, err := r.ask(ctx)
		if err != nil {
			return netip.Addr{}, err
		}
		r.cached = e
	}
	if r.cached.fault != "" {
		return netip.Addr{}, fmt.Errorf("looking up %s: %s", webName, r.cached.fault)
	}
	return r.cached.vip, nil
}

// ask sends one query, and writes down what comes of it unless ctx ends meanwhile.
func (r *resolver) ask(ctx context.Context) (exchange, error) {
	query := new(dns.Msg)
	query.SetQuestion(webName, dns.TypeA)
	query.SetEdns0(1232, false)
	client := dns.Client{Timeout: dnsTimeout}
	if r.pace.busy() != "" {
		client.Timeout *= busyFactor
	}
	e := exchange{sent: time.Now()}
	response, _, err := client.ExchangeContext(ctx, query, r.server)
	e.received = time.Now()
	if ctx.Err() != nil {
		return e, ctx.Err()
	}
	if err != nil {
		e.fault = "no answer: " + err.Error()
	} else {
		if r.tamper != nil {
			r.tamper(response)
		}
		e.vip, e.fault = answered(query, response)
	}
	r.exchanges.add(e)
	return e, nil
}

// answered returns the address that a response names, or why it is not as all responses must be.
func answered(query, response *dns.Msg) (vip netip.Addr, fault string) {
	switch {
	case response.Rcode != dns.RcodeSuccess:
		return vip, "the RCODE is " + dns.RcodeToString[response.Rcode]
	case !response.Response || !response.Authoritative || response.Truncated:
		return vip, "its flags are wrong: " + strings.Join(strings.Fields(response.MsgHdr.String()), " ")
	case !slices.Equal(response.Question, query.Question):
		return vip, "it answers another question"
	case len(response.Answer) != 1:
		return vip, fmt.Sprintf("it has %s", count(len(response.Answer), "record"))
	}
	a, ok := response.Answer[0].(*dns.A)
	if !ok || a.Hdr.Name != webName || a.Hdr.Ttl != webTTL {
		return vip, fmt.Sprintf("it is %q, not an A record with TTL %d",
			strings.ReplaceAll(response.Answer[0].String(), "\t", " "), webTTL)
	}
	vip, _ = netip.AddrFromSlice(a.A.To4())
	return vip, ""
}

// era is a time in which answers must name one of some VIPs. It goes on until the next.
type era struct {
	from time.Time
	vips []netip.Addr
}

// judge counts the answers that were wrong, and describes the first of them. An answer is right if it was at any
// moment between its query and its arrival.
func judge(exchanges []exchange, eras []era) (wrong int, examples []string) {
	const most = 5
	for _, e := range exchanges {
		fault := e.fault
		if fault == "" && !allowed(e, eras) {
			fault = fmt.Sprintf("it names %v", e.vip)
		}
		if fault == "" {
			continue
		}
		wrong++
		if text := fmt.Sprintf("DNS answer after %.1f s: %s", e.received.Sub(eras[0].from).Seconds(),
			fault); len(examples) < most {
			examples = append(examples, text)
		}
	}
	return wrong, examples
}

func allowed(e exchange, eras []era) bool {
	for i, era := range eras {
		if era.from.After(e.received) {
			break
		}
		if ended := i+1 < len(eras) && eras[i+1].from.Before(e.sent); !ended && slices.Contains(era.vips, e.vip) {
			return true
		}
	}
	return false
}
