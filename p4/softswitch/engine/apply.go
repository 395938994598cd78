package engine

import "slices"

// prepareLookup makes ready how packets find entries.
func (t *Table) prepareLookup(c *compiler) {
	if t.kind == Exact && t.words == 1 {
		t.spots = t.keySpots()
	}
	if len(t.keys) == 0 || t.spots != nil {
		return
	}
	fill := t.fillKey(c)
	find := t.findExact
	switch t.kind {
	case LPM, Ternary:
		find = t.findTuple
	case Range:
		find = t.findRange
	}
	t.find = func(r *Runner) *Installed {
		key := r.key[:t.words]
		fill(r, key)
		return find(r, key)
	}
}

// keySpots returns the key of a table whose key takes one word; nil when a part of it is not just a spot.
func (t *Table) keySpots() *keySpots {
	spots := new(keySpots)
	for i := range t.keys {
		k := &t.keys[i]
		s := k.field.spot()
		if s == nil || k.mask != ones(k.Bits) {
			return nil
		}
		spots.add(*s, k.shift)
	}
	return spots
}

// apply runs a table on a packet, and returns what comes next.
func (n *node) apply(r *Runner) *node {
	t := n.table
	var e *Installed
	switch {
	case t.count.Load() == 0: // nothing to find, whatever the key
	case t.spots != nil:
		key := t.spots.first.get(r)
		if len(t.spots.rest) > 0 {
			key = t.spots.get(r)
		}
		a := t.exact.current.Load()
		for i := mix(key, t.exact.seed); ; i++ { // hashTable.find, for one word
			s := &a.slots[i&a.mask]
			e = s.entry.Load()
			if e == nil || s.mark.Load() == key && e.inline[0] == key && e != tombstone {
				break
			}
		}
	case t.find != nil:
		e = t.find(r)
	}
	if e == nil {
		return n.miss(r)
	}
	if s := e.stats; s != nil {
		r.hit(s)
		if t.meter != nil {
			t.meter.mark(r, s.meter)
		}
	}
	if len(e.call.steps) > 0 {
		r.args = e.words[t.argAt:]
		e.call.do(r)
	}
	return n.next[e.call.index].hit
}

func (n *node) miss(r *Runner) *node {
	t := n.table
	if s := t.missStats; s != nil {
		t.countMiss(r, s)
	}
	e := t.missed.Load()
	if e == nil {
		return n.no
	}
	if len(e.call.steps) > 0 {
		r.args = e.words[t.argAt:]
		e.call.do(r)
	}
	return n.next[e.call.index].miss
}

// countMiss counts a packet for the default entry. A meter without rates leaves the color as it is, as bmv2 does,
// which has no meters of default entries.
func (t *Table) countMiss(r *Runner, s *stats) {
	if t.counter {
		r.hit(s)
	}
	if t.meter != nil {
		if _, configured := s.meter.get(); configured {
			t.meter.mark(r, s.meter)
		}
	}
}

// load reads a part of up to 64 bits, the static mask applied.
func (k *keyPart) load() func(*Runner) uint64 {
	load := k.field.load()
	if mask := k.mask; mask != ones(k.Bits) {
		return func(r *Runner) uint64 { return load(r) & mask }
	}
	return load
}

// fillKey returns what builds a key of any number of words.
func (t *Table) fillKey(c *compiler) func(*Runner, []uint64) {
	var fills []func(*Runner, []uint64)
	for i := range t.keys {
		k := &t.keys[i]
		if k.Bits <= 64 {
			load, word, shift := k.load(), k.word, k.shift
			fills = append(fills, func(r *Runner, key []uint64) { key[word] |= load(r) << shift })
			continue
		}
		buf := c.buffer(k.bytes())
		fills = append(fills, func(r *Runner, key []uint64) {
			k.field.read(r, r.buffers[buf])
			k.pack(key, r.buffers[buf])
		})
	}
	return func(r *Runner, key []uint64) {
		clear(key)
		for _, fill := range fills {
			fill(r, key)
		}
	}
}

func (t *Table) findExact(_ *Runner, key []uint64) *Installed { return t.exact.find(key) }

// findTuple finds the entry of the highest rank: the longest prefix, or the highest priority.
func (t *Table) findTuple(r *Runner, key []uint64) *Installed {
	masked := r.key[t.words : 2*t.words]
	var best *Installed
	views := *t.views.Load()
	for i := range views {
		v := &views[i]
		if best != nil && (t.kind == LPM || best.priority >= v.rank) {
			break
		}
		for w := range masked {
			masked[w] = key[w] & v.mask[w]
		}
		if e := v.hash.find(masked); e != nil && (best == nil || e.priority > best.priority) {
			best = e
		}
	}
	return best
}

// findRange finds the first entry that matches, in order of priority.
func (t *Table) findRange(_ *Runner, key []uint64) *Installed {
entries:
	for _, e := range *t.ranges.Load() {
		mask := e.words[t.maskAt:]
		for w, x := range key {
			// Ranges have no mask, and their low ends stand among the values.
			if (x^e.words[w])&mask[w] != 0 {
				continue entries
			}
		}
		for i := range t.keys {
			k := &t.keys[i]
			if k.Kind != Range {
				continue
			}
			high := e.words[t.highAt+k.high:]
			if k.Bits > 64 {
				n := k.wordCount()
				v := key[k.word : k.word+n]
				if slices.Compare(v, e.words[k.word:k.word+n]) < 0 || slices.Compare(v, high[:n]) > 0 {
					continue entries
				}
				continue
			}
			v, low := key[k.word]>>k.shift&ones(k.Bits), e.words[k.word]>>k.shift&ones(k.Bits)
			if v < low || v > high[0] {
				continue entries
			}
		}
		return e
	}
	return nil
}
