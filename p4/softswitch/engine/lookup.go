package engine

import (
	"math/bits"
	"sync/atomic"
)

// hashTable is open addressing over entry pointers. One writer at a time, under the table's lock;
// readers take no lock. Every slot is one atomic pointer, and a deleted entry leaves a tombstone, so
// a reader that probes meanwhile finds what was there before or what is there after. When half of
// the slots are used, tombstones counted, the writer builds another array and swaps it in.
//
// A slot has a mark beside its entry, the key itself or a hash of it, so that a reader meets few entries that are not
// the one it looks for. The mark of a slot is written before its entry, and an entry is only taken for found by its own
// key.
type hashTable struct {
	current atomic.Pointer[hashArray]
	seed    uint64
	words   int // of a key
	used    int // slots whose entry is not nil
	live    int
}

type hashArray struct {
	mask  uint64
	slots []hashSlot
}

type hashSlot struct {
	mark  atomic.Uint64
	entry atomic.Pointer[Installed]
}

// tombstone fills the slot of a deleted entry. It matches no key: readers compare it last.
var tombstone = new(Installed)

const smallest = 16

func newHashTable(words int, seed uint64) *hashTable {
	h := &hashTable{words: words, seed: seed | 1}
	h.current.Store(newHashArray(smallest))
	return h
}

func newHashArray(n int) *hashArray {
	return &hashArray{mask: uint64(n - 1), slots: make([]hashSlot, n)}
}

// mix is one step of a keyed hash: whoever writes entries does not know the seed, and cannot aim
// keys at one slot.
func mix(word, seed uint64) uint64 {
	hi, lo := bits.Mul64(word^seed, 0x9e3779b97f4a7c15^seed<<1)
	return hi ^ lo
}

// place returns where the slots of a key begin, and their mark.
func (h *hashTable) place(key []uint64) (at, mark uint64) {
	if len(key) == 1 {
		return mix(key[0], h.seed), key[0]
	}
	sum := h.seed
	for _, w := range key {
		sum = mix(w^sum>>29, sum|1)
	}
	return sum, sum
}

// find returns the entry with that key, nil when there is none. Packets that look for a key of one word do so in
// node.apply.
func (h *hashTable) find(key []uint64) *Installed {
	a := h.current.Load()
	i, mark := h.place(key)
	for ; ; i++ {
		s := &a.slots[i&a.mask]
		e := s.entry.Load()
		if e == nil || s.mark.Load() == mark && e != tombstone && equalWords(e.words[:len(key)], key) {
			return e
		}
	}
}

func equalWords(a, b []uint64) bool {
	for i, x := range a {
		if x != b[i] {
			return false
		}
	}
	return true
}

// put adds an entry, or replaces the one with the same key.
func (h *hashTable) put(e *Installed) {
	a := h.current.Load()
	if (h.used+1)*2 > len(a.slots) {
		a = h.grow()
	}
	key := e.words[:h.words]
	i, mark := h.place(key)
	var free *hashSlot
	for ; ; i++ {
		s := &a.slots[i&a.mask]
		switch old := s.entry.Load(); {
		case old == nil:
			if free == nil {
				free = s
				h.used++
			}
			free.mark.Store(mark)
			free.entry.Store(e)
			h.live++
			return
		case old == tombstone:
			if free == nil {
				free = s
			}
		case equalWords(old.words[:h.words], key):
			s.entry.Store(e)
			return
		}
	}
}

// remove deletes the entry with that key, which must be there.
func (h *hashTable) remove(key []uint64) {
	a := h.current.Load()
	for i, _ := h.place(key); ; i++ {
		s := &a.slots[i&a.mask]
		if old := s.entry.Load(); old != tombstone && equalWords(old.words[:h.words], key) {
			s.entry.Store(tombstone)
			h.live--
			return
		}
	}
}

func (h *hashTable) grow() *hashArray {
	n := smallest
	for n < (h.live+1)*3 {
		n *= 2
	}
	old, a := h.current.Load(), newHashArray(n)
	for i := range old.slots {
		e := old.slots[i].entry.Load()
		if e == nil || e == tombstone {
			continue
		}
		k, mark := h.place(e.words[:h.words])
		for a.slots[k&a.mask].entry.Load() != nil {
			k++
		}
		s := &a.slots[k&a.mask]
		s.mark.Store(mark)
		s.entry.Store(e)
	}
	h.used = h.live
	h.current.Store(a)
	return a
}

// each calls yield for every entry, until it returns false.
func (h *hashTable) each(yield func(*Installed) bool) bool {
	a := h.current.Load()
	for i := range a.slots {
		if e := a.slots[i].entry.Load(); e != nil && e != tombstone && !yield(e) {
			return false
		}
	}
	return true
}

// tuple holds the entries with one mask: an LPM table has one for each prefix length, a ternary
// table one for each mask. Only the writer sees it; packets see views.
type tuple struct {
	mask   []uint64
	hash   *hashTable
	prefix int         // LPM
	ranks  map[int]int // ternary: how many entries there are of each priority
}

// view is what packets see of a tuple: views are sorted by rank, the longest prefix or the highest
// priority first.
type view struct {
	mask []uint64
	hash *hashTable
	rank int
}
