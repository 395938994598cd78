package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/zone"
)

// How Negatives keeps SOA records.
const (
	// maxLife bounds how long a record is kept, whatever its TTL.
	maxLife = 24 * time.Hour
	// firstPause and lastPause are the times between tries that fail, doubled from one to the other, less up to a half
	// at random.
	firstPause = time.Second
	lastPause  = 30 * time.Second
	// maxFetches is how many records are asked for at the same time.
	maxFetches = 32
)

// Negatives keeps the SOA records for negative answers about zones that others own, of which only some names are ours.
// A record is asked for again when a quarter of its TTL is left, and is gone when nothing is. While there is none,
// negative answers have none: RFC 2308 section 2.2 knows such answers (NODATA of type 3, NXDOMAIN of type 4), and
// section 5 keeps resolvers from caching them. SERVFAIL in their place would turn a true answer into a fault of all
// types of a name.
type Negatives struct {
	ask   Asker
	log   *slog.Logger
	slots chan struct{}

	mu      sync.Mutex // guards the writing of zones
	zones   atomic.Pointer[map[string]*negative]
	changed chan struct{} // holds one: zones differ from what Run runs
}

// Asker sends a query to the servers in turn. *Relay is one.
type Asker interface {
	Forward(ctx context.Context, request *dns.Msg, servers []netip.AddrPort) (*dns.Msg, error)
}

// negative is one zone's record.
type negative struct {
	zone    string
	servers []netip.AddrPort
	record  atomic.Pointer[fetched]
}

// fetched is a record as it came. It is not modified.
type fetched struct {
	soa     *dns.SOA
	packed  *zone.Negative // the same
	expires time.Time
}

// NewNegatives returns an empty set of zones, which Set fills and Run keeps.
func NewNegatives(ask Asker, log *slog.Logger) *Negatives {
	n := &Negatives{ask: ask, log: log, slots: make(chan struct{}, maxFetches), changed: make(chan struct{}, 1)}
	n.zones.Store(&map[string]*negative{})
	return n
}

// Set says for which zones records are kept: those with SOAFrom. What is known of a zone whose servers are the same
// stays.
func (n *Negatives) Set(zones []config.Zone) {
	n.mu.Lock()
	defer n.mu.Unlock()
	have := *n.zones.Load()
	want := make(map[string]*negative)
	for _, z := range zones {
		if len(z.SOAFrom) == 0 {
			continue
		}
		if old := have[z.Name]; old != nil && slices.Equal(old.servers, z.SOAFrom) {
			want[z.Name] = old
		} else {
			want[z.Name] = &negative{zone: z.Name, servers: slices.Clone(z.SOAFrom)}
		}
	}
	n.zones.Store(&want)
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

// SOA returns the record of a zone (its canonical name) for a negative answer at now. Its TTL is what is left of its
// own, at most its minimum field (RFC 2308 section 5). It is nil if there is no record that is still good. The caller
// owns it.
func (n *Negatives) SOA(zone string, now time.Time) *dns.SOA {
	have, ttl := n.held(zone, now)
	if have == nil {
		return nil
	}
	soa := *have.soa
	soa.Hdr.Ttl = ttl
	return &soa
}

// Packed returns the same as SOA without allocation: the record ready to be appended, and its TTL.
func (n *Negatives) Packed(name string, now time.Time) (soa *zone.Negative, ttl uint32) {
	have, ttl := n.held(name, now)
	if have == nil {
		return nil, 0
	}
	return have.packed, ttl
}

// held returns the record of a zone and the TTL that it has now; nil if there is none that is still good.
func (n *Negatives) held(zone string, now time.Time) (have *fetched, ttl uint32) {
	entry := (*n.zones.Load())[zone]
	if entry == nil {
		return nil, 0
	}
	if have = entry.record.Load(); have == nil {
		return nil, 0
	}
	left := have.expires.Sub(now)
	if left < time.Second {
		return nil, 0
	}
	return have, min(uint32(left/time.Second), have.soa.Minttl)
}

// Run keeps the records until ctx ends.
func (n *Negatives) Run(ctx context.Context) error {
	var keepers sync.WaitGroup
	defer keepers.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := make(map[*negative]context.CancelFunc)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.changed:
		}
		want := *n.zones.Load()
		for entry, cancel := range stop {
			if want[entry.zone] != entry {
				cancel()
				delete(stop, entry)
			}
		}
		for _, entry := range want {
			if stop[entry] != nil {
				continue
			}
			ctx, cancel := context.WithCancel(ctx)
			stop[entry] = cancel
			keepers.Go(func() { n.keep(ctx, entry) })
		}
	}
}

// keep fetches one zone's record again and again until ctx ends.
func (n *Negatives) keep(ctx context.Context, entry *negative) {
	pause, fails := firstPause, false
	for {
		got, err := n.fetch(ctx, entry)
		if ctx.Err() != nil {
			return
		}
		var next time.Duration
		switch {
		case err == nil:
			life := min(time.Duration(got.soa.Hdr.Ttl)*time.Second, maxLife)
			got.expires = time.Now().Add(life)
			first := entry.record.Swap(got) == nil
			if first || fails {
				n.log.Info("SOA fetched", "zone", entry.zone, "serial", got.soa.Serial, "ttl", got.soa.Hdr.Ttl)
			}
			pause, fails = firstPause, false
			next = max(life*3/4, firstPause)
		default:
			if !fails {
				n.log.Warn("SOA not fetched: negative answers go without it once its TTL has passed", "zone",
					entry.zone, "error", err)
			}
			fails = true
			next = pause/2 + rand.N(pause/2)
			pause = min(2*pause, lastPause)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(next):
		}
	}
}

// fetch asks for a record. When it expires is left to the caller.
func (n *Negatives) fetch(ctx context.Context, entry *negative) (*fetched, error) {
	select {
	case n.slots <- struct{}{}:
		defer func() { <-n.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	query := new(dns.Msg).SetQuestion(entry.zone, dns.TypeSOA)
	query.RecursionDesired = false
	reply, err := n.ask.Forward(ctx, query, entry.servers)
	if err != nil {
		return nil, err
	}
	soa, err := soaOf(reply, entry.zone)
	if err != nil {
		return nil, fmt.Errorf("asking for the SOA of %s: %w", entry.zone, err)
	}
	name, err := zone.Name(entry.zone)
	if err != nil {
		return nil, err
	}
	packed, err := zone.NewNegative(name, soa)
	if err != nil {
		return nil, fmt.Errorf("asking for the SOA of %s: %w", entry.zone, err)
	}
	return &fetched{soa: soa, packed: packed}, nil
}

// soaOf takes the zone's SOA record from the reply of a server that is authoritative for it.
func soaOf(reply *dns.Msg, zone string) (*dns.SOA, error) {
	if reply.Rcode != dns.RcodeSuccess {
		return nil, fmt.Errorf("the server says %s", dns.RcodeToString[reply.Rcode])
	}
	if !reply.Authoritative {
		return nil, errors.New("the server is not authoritative for the zone")
	}
	for _, rr := range reply.Answer {
		if soa, ok := rr.(*dns.SOA); ok && strings.EqualFold(soa.Hdr.Name, zone) {
			copied := *soa
			copied.Hdr.Name = zone
			return &copied, nil
		}
	}
	return nil, errors.New("the reply has no such record")
}
