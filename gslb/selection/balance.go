package selection

import (
	"math/bits"

	"github.com/sluicelb/sluice/gslb/config"
)

// bitmap is a set of members of a group.
type bitmap []uint64

func (b bitmap) set(i int)      { b[i>>6] |= 1 << (i & 63) }
func (b bitmap) unset(i int)    { b[i>>6] &^= 1 << (i & 63) }
func (b bitmap) has(i int) bool { return b[i>>6]>>(i&63)&1 != 0 }

// next is the first member at or after i; there must be one.
func (b bitmap) next(i int) int {
	w := i >> 6
	for x := b[w] &^ (1<<(i&63) - 1); ; x = b[w] {
		if x != 0 {
			return w<<6 + bits.TrailingZeros64(x)
		}
		w++
	}
}

// nth is the n-th member, from 0; there must be so many.
func (b bitmap) nth(n int) int {
	w := 0
	for ; ; w++ {
		if c := bits.OnesCount64(b[w]); n >= c {
			n -= c
			continue
		}
		break
	}
	x := b[w]
	for ; n > 0; n-- {
		x &= x - 1
	}
	return w<<6 + bits.TrailingZeros64(x)
}

// pick gives answers of the n members in live, of which there is at least one.
func (d *decision) pick(c *clause, live bitmap, n int, how leniency) {
	p := picker{decision: d, clause: c, live: live, n: n, even: how == evenWeightless}
	p.start()
	for count := d.count(c); d.out.N < count && p.n > 0; {
		p.give(p.next())
	}
	d.out.Stick = d.sticky != config.NotSticky && how == mustLive
	d.out.Alike = d.alike && d.out.N == 1 && d.sticky == config.NotSticky &&
		(n == 1 || c.balance == config.Ordered || c.balance == config.HashDomain)
	d.kindOutcome(c)
}

// count is how many answers the clause gives at most: one, where there can be no more or a client sticks to it.
func (d *decision) count(c *clause) int {
	if c.kind != config.VIP || d.sticky != config.NotSticky {
		return 1
	}
	return c.count
}

// kindOutcome is what it means that a member of the clause is given.
func (d *decision) kindOutcome(c *clause) {
	switch c.kind {
	case config.VIP:
		d.out.Outcome = Addresses
	case config.CNAME:
		d.out.Outcome = CNAME
	case config.NameServer:
		d.out.Outcome = Forward
		d.out.Servers = d.r.config.Answers[d.out.Answers[0]].Servers
	}
}

// picker picks some members of a clause, one after the other.
type picker struct {
	*decision
	*clause
	live bitmap
	n    int    // members in live
	even bool   // all members count alike, their weights are 0
	turn uint32 // where the round robin stands
	at   int    // RoundRobin: among live
	key  uint64 // hashes
}

func (p *picker) start() {
	switch p.balance {
	case config.RoundRobin, config.WeightedRoundRobin, config.LeastLoaded:
		cursor := p.clause.cursor + int32(p.asked)
		if int(cursor) < len(p.q.Cursors) {
			p.turn = p.q.Cursors[cursor]
		}
		p.out.Cursor = cursor
		p.at = int(p.turn % uint32(p.n))
	case config.HashSource:
		p.key = p.sourceKey()
	case config.HashDomain:
		p.key = hashString(p.q.Name)
	case config.HashBoth:
		p.key = mix(p.sourceKey()) + hashString(p.q.Name)
	}
}

// sourceKey is what a source hash sees of the client.
func (p *picker) sourceKey() uint64 {
	return toAddress(p.found.client).cut(p.clientBits()).hash()
}

// next is the member whose turn it is.
func (p *picker) next() int {
	switch p.balance {
	case config.RoundRobin:
		p.at %= p.n
		return p.live.nth(p.at)
	case config.WeightedRoundRobin:
		return p.weighted()
	case config.LeastLoaded:
		return p.leastLoaded()
	case config.HashSource, config.HashDomain, config.HashBoth:
		return p.hashed()
	}
	return p.live.next(0) // Ordered
}

func (p *picker) weight(i int) uint32 {
	if p.even {
		return 1
	}
	return p.members[i].weight
}

// weighted gives every member as many turns of a cycle as its weight says, spread over it.
func (p *picker) weighted() int {
	turn, of := p.cycle()
	at := uint32(uint64(turn) * uint64(stride(of)) % uint64(of))
	for i := p.live.next(0); ; i = p.live.next(i + 1) {
		w := p.weight(i) / p.unit()
		if at < w {
			return i
		}
		at -= w
	}
}

// cycle is which turn it is, from 0, of how many.
func (p *picker) cycle() (turn, of uint32) {
	for i, k := p.live.next(0), 1; ; i, k = p.live.next(i+1), k+1 {
		of += p.weight(i)
		if k == p.n {
			break
		}
	}
	of /= p.unit()
	return p.turn % of, of
}

// unit is what all weights are multiples of.
func (p *picker) unit() uint32 {
	if p.even {
		return 1
	}
	return p.divisor
}

// leastLoaded finds the least load for its weight, by turns where several have it. A member whose load nobody reports
// comes after all whose load is known; among such, all are alike.
func (p *picker) leastLoaded() int {
	best, ties := -1, 0
	for i, k := p.live.next(0), 1; ; i, k = p.live.next(i+1), k+1 {
		switch c := p.compareLoad(i, best); {
		case c < 0:
			best, ties = i, 1
		case c == 0:
			ties++
		}
		if k == p.n {
			break
		}
	}
	for n := int(p.turn % uint32(ties)); n > 0; n-- {
		first := best
		for best = p.live.next(best + 1); p.compareLoad(best, first) != 0; {
			best = p.live.next(best + 1)
		}
	}
	return best
}

// compareLoad is below 0 if i is less loaded than best, which may be -1 for none yet.
func (p *picker) compareLoad(i, best int) int {
	if best < 0 {
		return -1
	}
	a, b := p.load(i), p.load(best)
	if a < 0 || b < 0 {
		return min(b, 0) - min(a, 0)
	}
	return a*int(p.weight(best)) - b*int(p.weight(i))
}

// load is -1 if it is not known.
func (p *picker) load(i int) int {
	if s := p.state(&p.members[i]); s.HasLoad {
		return int(s.Load)
	}
	return -1
}

// hashed is the winner of the race for the key.
func (p *picker) hashed() int {
	best, bestLot, bestTime := -1, uint64(0), 0.0
	for i, k := p.live.next(0), 1; ; i, k = p.live.next(i+1), k+1 {
		lot := draw(p.key, p.members[i].id)
		switch {
		case best < 0:
			best, bestLot, bestTime = i, lot, -1
		case p.weight(i) == p.weight(best):
			// The higher lot comes in first, without asking for the times.
			if lot > bestLot {
				best, bestLot, bestTime = i, lot, -1
			}
		default:
			if bestTime < 0 {
				bestTime = race(bestLot, p.weight(best))
			}
			if t := race(lot, p.weight(i)); t < bestTime {
				best, bestLot, bestTime = i, lot, t
			}
		}
		if k == p.n {
			return best
		}
	}
}

// give adds a member to the answers and takes it, and those with the same address, off the candidates.
func (p *picker) give(i int) {
	m := &p.members[i]
	if p.out.N == 0 {
		p.out.StickTo = m.id
	}
	if p.why != nil {
		p.explainPick(i)
	}
	p.out.Answers[p.out.N] = m.answer
	p.out.N++
	p.live.unset(i)
	p.n--
	if p.kind != config.VIP || !p.same[p.asked] {
		return
	}
	for j := range p.members {
		if p.live.has(j) && p.members[j].first[p.asked] == m.first[p.asked] {
			p.live.unset(j)
			p.n--
		}
	}
}
