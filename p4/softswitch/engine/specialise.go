package engine

import (
	"encoding/binary"
	"maps"
	"slices"
)

// Most conditions of a control ask what is known where they stand: which headers the parser took, what metadata nothing
// has set yet, what an action has set. So a control is copied for what is known on each way through it: a condition
// that is decided goes, and what an action sets to a known value is that value. Where copies would be too many, the
// control goes on as the program has it.

// control is a control with its copies.
type control struct {
	general *node
	asked   uint64 // headers whose validity matters
	starts  []start
}

// start is where packets begin of which the parser took just these headers, among those that matter.
type start struct {
	taken uint64
	node  *node
}

// start returns where a packet begins of which the parser took these headers.
func (c *control) start(taken uint64) *node {
	taken &= c.asked
	for i := range c.starts {
		if s := &c.starts[i]; s.taken == taken {
			return s.node
		}
	}
	return c.general
}

// What copying may cost: some milliseconds.
const (
	copyLimit  = 4096    // copies of nodes, and ways out of those of tables: each is looked at for what is known there
	askLimit   = 1 << 20 // nodes times words
	startLimit = 64
	parseLimit = 4096 // states of the parser with what it took before them
)

// facts are words whose value is known.
type facts map[int]uint64

// with returns the facts with one more.
func (k facts) with(word int, value uint64) facts {
	k = maps.Clone(k)
	k[word] = value
	return k
}

// of returns the value of a spot, if it is known.
func (k facts) of(s *spot) (uint64, bool) {
	v, ok := k[int(s.word)]
	return v << s.left >> s.down, ok && !s.inBytes
}

// specialiser copies a control.
type specialiser struct {
	asked  map[*node]map[int]bool // words that a node, or one after it, asks about
	sorted map[*node][]int        // the same in order, of nodes that were copied
	copies map[*node]map[string]*node
	made   int // of what limit bounds, see copyLimit
	limit  int
}

// specialise copies the ingress control, node by node up to a limit, for what is known when it starts.
func (c *compiler) specialise(limit int) {
	if c.nodes*c.words > askLimit {
		return
	}
	in := &c.program.ingress
	s := &specialiser{asked: make(map[*node]map[int]bool), sorted: make(map[*node][]int),
		copies: make(map[*node]map[string]*node), limit: limit}
	asked := s.ask(in.general)
	known := c.unset()
	maps.DeleteFunc(known, func(word int, _ uint64) bool { return !asked[word] })
	var headers []*header
	for _, h := range c.headers {
		if h.bit != 0 && asked[h.valid.word] && !c.parserSets[h.valid.word] {
			headers = append(headers, h)
			in.asked |= h.bit
		}
	}
	takes := slices.Sorted(maps.Keys(c.takes()))
	for _, taken := range slices.Backward(takes) { // with most headers first: most packets have them
		taken &= in.asked
		if slices.ContainsFunc(in.starts, func(s start) bool { return s.taken == taken }) {
			continue
		}
		if len(in.starts) == startLimit {
			break
		}
		known := maps.Clone(known)
		for _, h := range headers {
			known[h.valid.word] = 0
			if taken&h.bit != 0 {
				known[h.valid.word] = 1
			}
		}
		in.starts = append(in.starts, start{taken, s.copy(in.general, known)})
	}
	in.general = s.copy(in.general, known)
}

// unset returns the words of metadata that are 0 when ingress starts.
func (c *compiler) unset() facts {
	known := make(facts)
	if c.parserHides {
		return known
	}
	standard := make(map[int]bool)
	for _, f := range c.program.standard.fields() {
		if f.mask != 0 {
			standard[f.word] = true
		}
	}
	for _, h := range c.headers {
		for _, f := range h.fields {
			if h.metadata && f.word >= 0 && !c.parserSets[f.word] && !standard[f.word] {
				known[f.word] = 0
			}
		}
	}
	return known
}

// takes returns the sets of headers that the parser may take; none when they cannot be told.
func (c *compiler) takes() map[uint64]bool {
	type visit struct {
		state *parseState
		taken uint64
	}
	ends, seen := make(map[uint64]bool), make(map[visit]bool)
	open := []visit{{c.program.start, 0}}
	for len(open) > 0 {
		v := open[len(open)-1]
		open = open[:len(open)-1]
		if seen[v] {
			continue
		}
		if seen[v] = true; len(seen) > parseLimit || c.parserHides {
			return nil
		}
		ends[v.taken] = true // a packet may be too short for what follows
		if v.state == nil {
			continue
		}
		for _, op := range v.state.ops {
			if op.header != nil {
				v.taken |= op.header.bit
				ends[v.taken] = true
			}
		}
		for _, next := range v.state.cases {
			open = append(open, visit{next.next, v.taken})
		}
		for _, next := range v.state.long {
			open = append(open, visit{next.next, v.taken})
		}
		open = append(open, visit{v.state.otherwise, v.taken})
	}
	return ends
}

// ask returns the words that n, or a node after it, asks about.
func (s *specialiser) ask(n *node) map[int]bool {
	if n == nil {
		return nil
	}
	if words := s.asked[n]; words != nil {
		return words
	}
	words := make(map[int]bool)
	read := func(spots ...spot) {
		for _, s := range spots {
			if !s.inBytes {
				words[int(s.word)] = true
			}
		}
	}
	steps := func(a *action) {
		for _, s := range a.steps {
			if s.kind == setSpot {
				read(s.from)
			}
		}
	}
	switch n.kind {
	case sameWord, sameValue:
		read(n.a)
	case sameSpot:
		read(n.a, n.b)
	case doAction:
		steps(n.action)
	case applyTable:
		for _, a := range n.table.actions {
			steps(a.action)
		}
	}
	for _, next := range n.after() {
		maps.Copy(words, s.ask(next))
	}
	s.asked[n] = words
	return words
}

// after returns what may come after a node.
func (n *node) after() []*node {
	all := []*node{n.yes, n.no}
	for _, next := range n.next {
		all = append(all, next.hit, next.miss)
	}
	return all
}

// copy returns n as it is where that much is known.
func (s *specialiser) copy(n *node, known facts) *node {
	for n != nil {
		yes, decided := n.decide(known)
		if !decided {
			break
		}
		if yes {
			n = n.yes
		} else {
			n = n.no
		}
	}
	if n == nil {
		return nil
	}
	if s.made >= s.limit {
		return n
	}
	key := s.key(n, known)
	if made := s.copies[n][key]; made != nil {
		return made
	}
	made := new(node)
	*made = *n
	if s.made += 1 + len(n.next); s.copies[n] == nil {
		s.copies[n] = make(map[string]*node)
	}
	s.copies[n][key] = made
	switch n.kind {
	case doAction:
		a := *n.action
		made.action = &a
		a.steps, known = a.specialised(known)
		made.yes = s.copy(n.yes, known)
		made.simplify()
	case applyTable:
		if m := n.table.meter; m != nil {
			known = known.without(m.field.words())
		}
		made.no = s.copy(n.no, known)
		made.next = make([]afterTable, len(n.next))
		for i, a := range n.table.actions {
			_, known := a.specialised(known)
			made.next[i] = afterTable{s.copy(n.next[i].hit, known), s.copy(n.next[i].miss, known)}
		}
	default:
		yes := known
		if n.kind == sameWord {
			yes = known.with(int(n.a.word), n.value)
		}
		made.yes, made.no = s.copy(n.yes, yes), s.copy(n.no, known)
	}
	return made
}

// key tells copies of a node apart: of what is known, what will be asked.
func (s *specialiser) key(n *node, known facts) string {
	words := s.sorted[n]
	if words == nil {
		words = slices.Sorted(maps.Keys(s.asked[n]))
		s.sorted[n] = words
	}
	var key []byte
	for _, word := range words {
		if v, ok := known[word]; ok {
			key = binary.AppendUvarint(binary.AppendUvarint(key, uint64(word)), v)
		}
	}
	return string(key)
}

// decide says how a condition turns out, if that much is enough to know.
func (n *node) decide(known facts) (yes, decided bool) {
	a, knowsA := known.of(&n.a)
	switch n.kind {
	case sameWord, sameValue:
		return a == n.value, knowsA
	case sameSpot:
		b, knowsB := known.of(&n.b)
		return a == b, knowsA && knowsB
	}
	return false, false
}

// without returns the facts without some words.
func (k facts) without(words []int) facts {
	k = maps.Clone(k)
	for _, w := range words {
		delete(k, w)
	}
	return k
}

// specialised returns the steps of an action where that much is known, and what is known after it.
func (a *action) specialised(known facts) ([]step, facts) {
	known = maps.Clone(known)
	jumps := slices.ContainsFunc(a.steps, func(s step) bool { return s.kind == jumpStep })
	var steps []step
	for _, s := range a.steps {
		if s.kind == setSpot && !jumps {
			if v, ok := known.of(&s.from); ok {
				s = step{kind: setValue, to: s.to, value: v}
			}
		}
		steps = append(steps, s)
		switch {
		case s.kind == setValue && !jumps:
			known[int(s.to)] = s.value
		case s.kind == setValue, s.kind == setSpot, s.kind == setArgument:
			delete(known, int(s.to))
		case s.kind == runStep && s.effect != nil:
			for _, w := range s.effect.sets {
				delete(known, w)
			}
		case s.kind == runStep:
			clear(known)
		}
	}
	return steps, known
}
