package selection

import (
	"hash/maphash"
	"regexp"
	"slices"
	"sync/atomic"
)

// expression is a regular expression with the rules that have it.
type expression struct {
	*regexp.Regexp
	rules []int32
	set   int32 // of rules
}

// matcher finds the expressions that match a name. What no expression can match because it lacks the literal text that
// they want costs one pass over the name and keeps nothing, so that a flood of random names runs on all cores side by
// side. The rest is matched and kept in a cache of fixed size without locks.
type matcher struct {
	exprs  []expression
	always []int32 // expressions that want no literal text
	literalIndex
	seed  maphash.Seed
	cache []atomic.Pointer[matched] // a power of two; nil without expressions
	// set number of cache[0]: sets of several expressions are numbered by their place here
	first int32
}

// matched is what matches a name. It is immutable.
type matched struct {
	name string
	sets []int32 // ascending
}

// cacheSize bounds how many names are kept, some 3 MB with the longest names.
const cacheSize = 8192

func newMatcher(exprs []expression, sets int) *matcher {
	m := &matcher{exprs: exprs, seed: maphash.MakeSeed(), first: int32(sets)}
	if len(exprs) > 0 {
		m.cache = make([]atomic.Pointer[matched], cacheSize)
		m.always, m.literalIndex = indexLiterals(exprs)
	}
	return m
}

// match returns what matches the name, which may be nothing, and its place in the cache, -1 for none.
func (m *matcher) match(name []byte) (found *matched, place int) {
	if m.cache == nil {
		return nil, -1
	}
	hash := maphash.Bytes(m.seed, name)
	place = int(hash % cacheSize)
	for range 2 {
		if found = m.cache[place].Load(); found != nil && found.name == string(name) {
			return found, place
		}
		place ^= 1
	}
	if found = m.search(name); found == nil {
		return nil, -1
	}
	// Of the two places take a free one, else either.
	if m.cache[place].Load() != nil && (m.cache[place^1].Load() == nil || hash>>63 != 0) {
		place ^= 1
	}
	m.cache[place].Store(found)
	return found, place
}

// maxText is no less than the longest text of a name between its marks: 4 bytes for each of 255.
const maxText = 1024

// search tries the expressions that may match. It returns nil, and allocates nothing, if there are none.
func (m *matcher) search(name []byte) *matched {
	var textSpace [maxText]byte
	var exprSpace [32]int32
	text := append(textSpace[:0], beginMark)
	text = appendText(text, name)
	text = append(text, endMark)
	exprs := append(m.find(exprSpace[:0], text), m.always...)
	if len(exprs) == 0 {
		return nil
	}
	slices.Sort(exprs)
	// The expressions take what they are given to the heap.
	plain := string(text[1 : len(text)-1])
	found := &matched{name: string(name)}
	for _, i := range slices.Compact(exprs) {
		if e := &m.exprs[i]; e.MatchString(plain) {
			found.sets = append(found.sets, e.set)
		}
	}
	slices.Sort(found.sets)
	found.sets = slices.Compact(found.sets)
	return found
}

// MatchRegexp returns the rule set of all expressions that match a name, which is in wire format and lower case; -1 if
// none does. It is meant for names that package zone has no node for. The set holds for this name alone; it may be used
// from any goroutine and at any time. Expressions see the name as it is written in zone files, with escapes for bytes
// that have them, without the last dot.
func (r *Rules) MatchRegexp(name []byte) int32 {
	found, place := r.matcher.match(name)
	switch {
	case found == nil || len(found.sets) == 0:
		return -1
	case len(found.sets) == 1:
		return found.sets[0]
	}
	return r.matcher.first + int32(place)
}

// parts are the sets that make up the query's: one or, of several expressions, more. one is -1 if there are none.
func (r *Rules) parts(q *Query) (one int32, more []int32) {
	if int(q.Set) < len(r.sets) {
		return max(q.Set, -1), nil
	}
	// The cache may hold another name there by now.
	var found *matched
	if place := int(q.Set - r.matcher.first); place < len(r.matcher.cache) {
		found = r.matcher.cache[place].Load()
	}
	if found == nil || found.name != string(q.Name) {
		if found, _ = r.matcher.match(q.Name); found == nil {
			return -1, nil
		}
	}
	if len(found.sets) == 0 {
		return -1, nil
	}
	return found.sets[0], found.sets[1:]
}

// appendText appends a name in wire format as zone files have it (RFC 1035, section 5.1), without the last dot.
func appendText(dst, name []byte) []byte {
	start := len(dst)
	for len(name) > 0 && name[0] != 0 {
		n := min(int(name[0]), len(name)-1)
		if len(dst) > start {
			dst = append(dst, '.')
		}
		for _, c := range name[1 : 1+n] {
			switch {
			case c < ' ' || c > '~':
				dst = append(dst, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
			case c == '.' || c == ' ' || c == '\'' || c == '@' || c == ';' || c == '(' || c == ')' || c == '"' ||
				c == '\\':
				dst = append(dst, '\\', c)
			default:
				dst = append(dst, c)
			}
		}
		name = name[1+n:]
	}
	return dst
}
