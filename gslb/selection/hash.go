package selection

import (
	"math"
	"math/bits"
)

// Hashes are the same in every process and every version: nodes that share a configuration give a client the same
// answers, before and after a restart.

// hashString is 64-bit FNV-1a, mixed.
func hashString[T string | []byte](s T) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 0x100000001b3
	}
	return mix(h)
}

// mix makes every bit of h matter to every bit of the result, one to one (the finalizer of SplitMix64).
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

func (a address) hash() uint64 {
	return mix(mix(a.hi+0x9e3779b97f4a7c15) ^ a.lo)
}

// newAnswerID hashes the name of an answer.
func newAnswerID(name string) AnswerID {
	return AnswerID(max(hashString(name), 1))
}

// draw is the lot of an answer for a key.
func draw(key uint64, id AnswerID) uint64 {
	hi, lo := bits.Mul64(mix(key^uint64(id)), 0x9e3779b97f4a7c15)
	return mix(hi ^ lo)
}

// race is how long it takes a lot of some weight to come in: exponentially distributed with the weight as its rate, so
// that the first of some lots is each with a chance of its share in their weights. Whoever joins or leaves changes
// nothing between the others: this is weighted rendezvous hashing.
func race(lot uint64, weight uint32) float64 {
	return -math.Log((float64(lot>>11)+0.5)/(1<<53)) / float64(weight)
}
