package selection

import (
	"regexp/syntax"
	"slices"
	"strings"
)

// A text is searched between two marks, so that a literal may want to be at its beginning or end. No name's text has
// these bytes.
const (
	beginMark = 1
	endMark   = 2
	marks     = "\x01"
	markEnd   = "\x02"
)

// literalIndex finds which expressions may match a text, by literal strings that it must contain for that: the
// automaton of Aho and Corasick.
type literalIndex struct {
	states []literalState
	root   [256]int32
	// edges is a hash table of the other states' edges: state and byte, plus 1, and the state they lead to.
	edges []literalEdge
}

type literalState struct {
	fail  int32   // state of the longest proper suffix
	more  int32   // the next state of the suffixes that has exprs; 0: none
	exprs []int32 // that want the literal which ends here
}

type literalEdge struct {
	key uint64
	to  int32
}

func edgeKey(state int32, c byte) uint64 { return uint64(state)<<8 | uint64(c) + 1<<40 }

func (x *literalIndex) edge(state int32, c byte) (to int32, ok bool) {
	key := edgeKey(state, c)
	for i := mix(key); ; i++ {
		switch e := &x.edges[i&uint64(len(x.edges)-1)]; e.key {
		case key:
			return e.to, true
		case 0:
			return 0, false
		}
	}
}

// find appends the expressions that have a literal in text, maybe several times.
func (x *literalIndex) find(dst []int32, text []byte) []int32 {
	if len(x.states) == 0 {
		return dst
	}
	at := int32(0)
	for _, c := range text {
		for {
			if at == 0 {
				at = x.root[c]
				break
			}
			if to, ok := x.edge(at, c); ok {
				at = to
				break
			}
			at = x.states[at].fail
		}
		s := at
		if len(x.states[s].exprs) == 0 {
			s = x.states[s].more
		}
		for ; s != 0; s = x.states[s].more {
			dst = append(dst, x.states[s].exprs...)
		}
	}
	return dst
}

// indexLiterals makes the index of the expressions, and lists those that want no literals.
func indexLiterals(exprs []expression) (always []int32, x literalIndex) {
	wants := make([][]literals, len(exprs))
	shared := make(map[string]int)
	for i := range exprs {
		wants[i] = wantedLiterals(exprs[i].String())
		for _, l := range wants[i] {
			for _, s := range l {
				shared[s]++
			}
		}
	}
	// What few expressions want tells most; then what is long.
	rarity := func(l literals) (n int) {
		for _, s := range l {
			n = max(n, shared[s])
		}
		return n
	}
	byLiteral := make(map[string][]int32)
	for i, w := range wants {
		if len(w) == 0 {
			always = append(always, int32(i))
			continue
		}
		best := slices.MinFunc(w, func(a, b literals) int {
			if c := rarity(a) - rarity(b); c != 0 {
				return c
			}
			return b.shortest() - a.shortest()
		})
		for _, s := range best {
			byLiteral[s] = append(byLiteral[s], int32(i))
		}
	}
	x.build(byLiteral)
	return always, x
}

// build makes the automaton.
func (x *literalIndex) build(byLiteral map[string][]int32) {
	if len(byLiteral) == 0 {
		return
	}
	type place struct {
		from int32
		c    byte
	}
	x.states = make([]literalState, 1)
	from := make([]place, 1) // of each state
	edges := make(map[uint64]int32)
	for literal, exprs := range byLiteral {
		at := int32(0)
		for i := range len(literal) {
			key := edgeKey(at, literal[i])
			to, ok := edges[key]
			if !ok {
				to = int32(len(x.states))
				x.states = append(x.states, literalState{})
				from = append(from, place{at, literal[i]})
				edges[key] = to
			}
			at = to
		}
		x.states[at].exprs = exprs
	}
	size := 1
	for size < 2*len(edges) {
		size *= 2
	}
	x.edges = make([]literalEdge, size)
	children := make([][]int32, len(x.states))
	for key, to := range edges {
		p := from[to]
		children[p.from] = append(children[p.from], to)
		if p.from == 0 {
			x.root[p.c] = to
			continue
		}
		i := mix(key)
		for x.edges[i&uint64(size-1)].key != 0 {
			i++
		}
		x.edges[i&uint64(size-1)] = literalEdge{key, to}
	}
	// A state's suffixes are shorter than it: by breadth they are done before it.
	queue := slices.Clone(children[0])
	for len(queue) > 0 {
		s := queue[0]
		queue = append(queue[1:], children[s]...)
		st := &x.states[s]
		if p := from[s]; p.from != 0 {
			st.fail = x.step(x.states[p.from].fail, p.c)
		}
		if st.more = st.fail; len(x.states[st.fail].exprs) == 0 {
			st.more = x.states[st.fail].more
		}
	}
}

// step follows a byte from a state whose failures are known.
func (x *literalIndex) step(at int32, c byte) int32 {
	for at != 0 {
		if to, ok := x.edge(at, c); ok {
			return to
		}
		at = x.states[at].fail
	}
	return x.root[c]
}

// literals are strings of which a text must contain at least one to match.
type literals []string

const (
	maxLiterals = 16 // that an expression is written out to
	maxClass    = 4  // that a character class is
)

func (l literals) shortest() int {
	return len(slices.MinFunc(l, func(a, b string) int { return len(a) - len(b) }))
}

// wantedLiterals returns what an expression wants of a text between its marks: each of the results has to be met. None:
// nothing is known.
func wantedLiterals(expr string) []literals {
	re, err := syntax.Parse(expr, syntax.POSIX)
	if err != nil {
		if re, err = syntax.Parse(expr, syntax.Perl); err != nil {
			return nil
		}
	}
	exact, wants := analyse(re.Simplify())
	return appendWant(wants, exact)
}

// appendWant adds strings of which a text must contain one. That says nothing if one is empty.
func appendWant(wants []literals, l literals) []literals {
	if len(l) == 0 || l.shortest() == 0 {
		return wants
	}
	return append(wants, l)
}

// analyse returns all the strings that an expression matches, if they are few; else nil and what it wants.
func analyse(re *syntax.Regexp) (exact literals, wants []literals) {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return literals{""}, nil
	case syntax.OpBeginLine, syntax.OpBeginText:
		return literals{marks}, nil
	case syntax.OpEndLine, syntax.OpEndText:
		return literals{markEnd}, nil
	case syntax.OpLiteral:
		s := string(re.Rune)
		if re.Flags&syntax.FoldCase != 0 {
			s = strings.ToLower(s)
		}
		return literals{s}, nil
	case syntax.OpCharClass:
		return class(re.Rune), nil
	case syntax.OpCapture:
		return analyse(re.Sub[0])
	case syntax.OpQuest:
		if exact, _ = analyse(re.Sub[0]); exact != nil {
			return append(literals{""}, exact...), nil
		}
	case syntax.OpPlus:
		exact, wants = analyse(re.Sub[0])
		return nil, appendWant(wants, exact)
	case syntax.OpConcat:
		return concat(re.Sub)
	case syntax.OpAlternate:
		return alternate(re.Sub)
	}
	return nil, nil
}

// class writes out a character class of few characters.
func class(ranges []rune) (l literals) {
	for i := 0; i < len(ranges); i += 2 {
		for c := ranges[i]; c <= ranges[i+1]; c++ {
			if len(l) == maxClass {
				return nil
			}
			l = append(l, string(c))
		}
	}
	return l
}

func concat(subs []*syntax.Regexp) (exact literals, wants []literals) {
	run, whole := literals{""}, true
	for _, sub := range subs {
		e, w := analyse(sub)
		if longer := joined(run, e); longer != nil {
			run = longer
			continue
		}
		wants = appendWant(wants, run)
		wants = append(wants, w...)
		if run, whole = e, false; run == nil {
			run = literals{""}
		}
	}
	if whole {
		return run, nil
	}
	return nil, appendWant(wants, run)
}

// joined is every string of a followed by every one of b, nil if these are too many.
func joined(a, b literals) (l literals) {
	if len(a)*len(b) > maxLiterals {
		return nil
	}
	for _, x := range a {
		for _, y := range b {
			switch {
			case strings.HasSuffix(x, markEnd) && strings.HasPrefix(y, marks):
				return nil // "$^" matches the empty text, whose marks are the other way round
			case strings.HasSuffix(x, marks) && strings.HasPrefix(y, marks), strings.HasSuffix(x, markEnd) &&
				strings.HasPrefix(y, markEnd):
				y = y[1:] // "^^" is as good as "^"
			}
			l = append(l, x+y)
		}
	}
	return l
}

func alternate(subs []*syntax.Regexp) (exact literals, wants []literals) {
	var any literals
	whole := true
	for _, sub := range subs {
		e, w := analyse(sub)
		if e == nil {
			whole = false
			if len(w) == 0 {
				return nil, nil
			}
			e = slices.MaxFunc(w, func(a, b literals) int { return a.shortest() - b.shortest() })
		}
		any = append(any, e...)
	}
	if whole && len(any) <= maxLiterals {
		return any, nil
	}
	return nil, appendWant(nil, any)
}
