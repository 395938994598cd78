package plan

import "hash/fnv"

// taker is a backend that is to get a number of slots.
type taker struct {
	member int
	seed   uint64
	want   int
}

// deal lets the takers choose slots the way Maglev fills its table (Eisenbud et al., "Maglev: A Fast
// and Reliable Software Network Load Balancer", NSDI 2016, section 3.4). Each walks a permutation of
// all slots of its own, (offset + i*skip) mod m, and in its turn takes the next one that is to be had.
// m is a power of two instead of a prime, so skip is odd: that too visits every slot once. A taker that
// wants more has its turn more often, and everybody has had as many turns as it wants slots.
//
// take takes the slot for the taker if it can; a slot that could not be taken is not offered to the
// same taker again. No more than most slots are dealt.
func deal(m, most int, takers []taker, take func(slot, member int) bool) {
	type walk struct{ next, skip, tried, credit int }
	walks := make([]walk, len(takers))
	rounds := 0
	if most <= 0 {
		return
	}
	for i, t := range takers {
		walks[i] = walk{next: int(t.seed) & (m - 1), skip: int(t.seed>>32)&(m-1) | 1}
		rounds = max(rounds, t.want)
	}
	for range rounds {
		for i, t := range takers {
			w := &walks[i]
			w.credit += t.want
			if w.credit < rounds {
				continue
			}
			w.credit -= rounds
			for taken := false; !taken && w.tried < m; w.tried++ {
				taken = take(w.next, t.member)
				w.next = (w.next + w.skip) & (m - 1)
				if taken {
					most--
				}
			}
			if most <= 0 {
				return
			}
		}
	}
}

// seed is where a backend's permutation comes from: names, so that a pool set up anew looks the same.
func seed(pool, backend string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(pool))
	h.Write([]byte{0})
	h.Write([]byte(backend))
	// FNV leaves the high bits of short names alike; this is the finalizer of SplitMix64.
	x := h.Sum64()
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
