// Package ratelimit is response rate limiting: how many like responses a network may be sent in a second, so that
// this server is no use for flooding someone whose address was forged. Callers, package server's UDP loops, ask
// before they send; queries over TCP and queries with a valid cookie prove their address and are not asked about.
// A table is of fixed size, allocates nothing and may be used from all cores at once without locks.
package ratelimit

import (
	"encoding/binary"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/sluicelb/sluice/gslb/config"
)

// Category is the kind of a response. Responses of different categories have different credit.
type Category uint8

const (
	Answer   Category = iota // records or a referral
	NoData                   // the name, but nothing of the type
	NXDomain                 // no such name; at the rate of errors
	Error                    // FORMERR, REFUSED, SERVFAIL and the like: one credit for all names
)

// Decision says what to do with a response.
type Decision uint8

const (
	Pass Decision = iota // send it
	Slip                 // send it truncated and empty: a client that is who it says comes back over TCP
	Drop
)

// Networks that share credit.
const (
	Prefix4 = 24
	Prefix6 = 56
)

const (
	// DefaultBuckets is how many buckets New makes when not told: 2 MiB.
	DefaultBuckets = 1 << 18
	// ways is how many buckets a key may be in: a cache line of them.
	ways = 8
)

// Table remembers who was sent what. Each bucket is one word, so that it changes at once:
//
//	63      44 43                0
//	[   tag   |       full      ]
//
// tag is a part of the key's hash; full is the time in microseconds (modulo 2^44, which is 203 days) at which the
// key's credit is full again. A bucket whose time is past remembers nothing, and is free. So credit grows without
// anyone touching the bucket, and a changed rate holds at once.
type Table struct {
	buckets []atomic.Uint64
	seed    maphash.Seed
	limits  atomic.Pointer[limits]
}

const (
	timeBits = 44
	timeMask = 1<<timeBits - 1
)

// limits is a config.RateLimit in the table's units.
type limits struct {
	responses, errors uint64 // microseconds of credit that a response costs; 0: unlimited
	most              uint64 // credit owed at most, in microseconds: the window, and the second that is allowed
	slip              uint32
	exempt            ranges
}

// second is how much of a bucket's time is credit: as many responses as the rate allows in a second may go at once.
const second = uint64(time.Second / time.Microsecond)

// New returns a table with at least the number of buckets, or DefaultBuckets if that is 0. It limits nothing before
// Set.
func New(buckets int) *Table {
	if buckets == 0 {
		buckets = DefaultBuckets
	}
	n := ways
	for n < buckets {
		n *= 2
	}
	t := &Table{buckets: make([]atomic.Uint64, n), seed: maphash.MakeSeed()}
	t.limits.Store(&limits{})
	return t
}

// Set changes the limits. What clients owe stays.
func (t *Table) Set(c config.RateLimit) {
	cost := func(rate int) uint64 {
		if rate <= 0 {
			return 0
		}
		return max(1, (second+uint64(rate)/2)/uint64(rate))
	}
	l := &limits{
		responses: cost(c.Responses),
		errors:    cost(c.Errors),
		most:      second + uint64(c.Window/time.Microsecond),
		slip:      uint32(c.Slip),
		exempt:    merge(c.Exempt),
	}
	if l.errors == 0 {
		l.errors = l.responses
	}
	if l.responses == 0 {
		l.errors = 0
	}
	t.limits.Store(l)
}

// On reports whether anything is limited. Callers that are told no need not form a key.
func (t *Table) On() bool { return t.limits.Load().responses > 0 }

// Name hashes a name for Allow: in wire format, in any case. That is the name asked for where it exists; for an
// NXDOMAIN the zone's and for an answer from a wildcard the wildcard's, so that whoever invents names gets no credit
// for each.
func (t *Table) Name(wire []byte) uint64 {
	var lower [256]byte
	n := copy(lower[:], wire)
	for i, c := range lower[:n] {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c | 0x20 // never a length, which is at most 63
		}
	}
	return maphash.Bytes(t.seed, lower[:n])
}

// Allow charges client for a response of the category and name and says what to do with it. Responses that are
// not sent are charged too: a flood has to end before its credit grows again, for at most the configured window.
// now is any clock in nanoseconds that does not go back.
func (t *Table) Allow(client netip.Addr, category Category, name uint64, now int64) Decision {
	l := t.limits.Load()
	cost := l.cost(client, category)
	if cost == 0 {
		return Pass
	}
	if category == Error {
		name = 0
	}
	owed := t.charge(t.key(client, category, name), cost, l.most, uint64(now/int64(time.Microsecond)))
	switch {
	case owed <= second || l.exempt.has(client):
		return Pass
	case l.slip > 0 && rand.Uint32N(l.slip) == 0:
		// At random and not in turn: in turn, a client that asks in step with a flood could be dropped always.
		return Slip
	}
	return Drop
}

// cost is the one place that says what a client may have: how many microseconds of credit a response costs, 0 for
// any number of them. Limits of single clients, learned ones among them, would be looked up here.
func (l *limits) cost(_ netip.Addr, category Category) uint64 {
	if category == Error || category == NXDomain {
		return l.errors
	}
	return l.responses
}

func (t *Table) key(client netip.Addr, category Category, name uint64) uint64 {
	var key [17]byte
	if client = client.Unmap(); client.Is4() {
		a := client.As4()
		copy(key[:Prefix4/8], a[:])
		key[7] = 4
	} else {
		a := client.As16()
		copy(key[:Prefix6/8], a[:])
		key[7] = 6
	}
	binary.LittleEndian.PutUint64(key[8:], name)
	key[16] = byte(category)
	return maphash.Bytes(t.seed, key[:])
}

// charge takes cost from the key's credit and returns how much the key owes then, at most most.
func (t *Table) charge(key, cost, most, now uint64) uint64 {
	now &= timeMask
	tag := key &^ timeMask
	first := key % uint64(len(t.buckets)) &^ (ways - 1)
	set := t.buckets[first : first+ways]
	for {
		chosen, old, least := 0, uint64(0), ^uint64(0)
		for i := range set {
			b := set[i].Load()
			owed := owes(b, now, most)
			if b&^timeMask == tag && owed > 0 {
				chosen, old, least = i, b, owed
				break
			}
			if owed < least {
				chosen, old, least = i, b, owed
			}
		}
		if old&^timeMask != tag {
			least = 0 // a free bucket, or of the one in the set that owes least, who is forgiven
		}
		owed := min(least+cost, most)
		if set[chosen].CompareAndSwap(old, tag|(now+owed)&timeMask) {
			return owed
		}
	}
}

// owes is how much a bucket's key owes at now: 0 once its time is past.
func owes(b, now, most uint64) uint64 {
	owed := (b - now) & timeMask
	if owed > most {
		return 0 // past, or of a longer window than there is now
	}
	return owed
}
