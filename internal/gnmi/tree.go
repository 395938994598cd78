package gnmi

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
)

// Tree is what a Source tells at one time. It is for the goroutine that reads the source.
type Tree struct {
	schema *Schema
	class  class
	lists  [][]*Entry // by List.index
}

// Entry is an entry of a list, and the values that its leaves have. It is never changed once it is in a state.
type Entry struct {
	list   *List
	class  class
	keys   []string
	values []any // by Leaf.index; nil: there is no such leaf
	count  int   // of values
	// changed says of each value when it appeared, and how often it has changed since.
	changed []version
}

type version struct{ born, changes uint64 }

func newTree(s *Schema, c class) *Tree {
	return &Tree{schema: s, class: c, lists: make([][]*Entry, len(s.lists))}
}

// Entry adds an entry to a list: keys has a value for each key of the list and of those above it. Of two entries with
// the same keys the last one counts.
func (t *Tree) Entry(l *List, keys ...string) *Entry {
	if l.schema != t.schema || len(keys) != len(l.keys) {
		panic(fmt.Sprintf("gnmi: %d keys for a list with %q", len(keys), l.keys))
	}
	e := &Entry{list: l, class: t.class, keys: make([]string, len(keys)), values: make([]any, len(l.leaves))}
	for i, k := range keys {
		e.keys[i] = valid(k)
	}
	t.lists[l.index] = append(t.lists[l.index], e)
	return e
}

// Set gives a leaf of the entry's list its value, of the Go type that Type names for it.
func (e *Entry) Set(l *Leaf, value any) {
	if l.list != e.list || l.class != e.class || !l.kind.takes(value) {
		panic(fmt.Sprintf("gnmi: %T for %s, which is a %v", value, l.Path(), l.kind))
	}
	switch v := value.(type) {
	case string:
		value = valid(v)
	case []string:
		list := make([]string, len(v))
		for i, s := range v {
			list[i] = valid(s)
		}
		value = list
	}
	if e.values[l.index] == nil {
		e.count++
	}
	e.values[l.index] = value
}

// valid makes s what can be sent.
func valid(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

// state is a tree at one time, immutable. What did not change since the state before is the same Entry.
type state struct {
	at       time.Time
	revision uint64     // counts the states that differ from those before
	lists    [][]*Entry // by List.index, sorted by keys
	values   int        // how many there are
}

// follow makes t the state after before. It is before.revision when nothing has changed.
func (t *Tree) follow(before *state, at time.Time) *state {
	next := &state{at: at, revision: before.revision + 1, lists: t.lists}
	changed := false
	for i, entries := range t.lists {
		slices.SortStableFunc(entries, compareKeys)
		entries = last(entries)
		old := before.list(i)
		changed = changed || len(old) != len(entries)
		for n, e := range entries {
			for len(old) > 0 && compareKeys(old[0], e) < 0 {
				old = old[1:]
			}
			var was *Entry
			if len(old) > 0 && compareKeys(old[0], e) == 0 {
				was = old[0]
			}
			if entries[n] = e.follow(was, next.revision); entries[n] != was {
				changed = true
			}
		}
		next.lists[i] = entries
		for _, e := range entries {
			next.values += e.count
		}
	}
	if !changed {
		next.revision = before.revision
	}
	return next
}

// last keeps the last of entries with the same keys.
func last(sorted []*Entry) []*Entry {
	kept := sorted[:0]
	for i, e := range sorted {
		if i+1 == len(sorted) || compareKeys(e, sorted[i+1]) != 0 {
			kept = append(kept, e)
		}
	}
	return kept
}

// follow returns was where e says the same, else e with its versions, which shares with was what is the same. was may
// be nil.
func (e *Entry) follow(was *Entry, revision uint64) *Entry {
	same := was != nil
	if same {
		e.keys = was.keys
	}
	e.changed = make([]version, len(e.values))
	for i, v := range e.values {
		switch {
		case was == nil || was.values[i] == nil:
			e.changed[i].born = revision
			same = same && v == nil
		case equal(was.values[i], v):
			e.values[i], e.changed[i] = was.values[i], was.changed[i]
		default:
			e.changed[i] = version{was.changed[i].born, was.changed[i].changes + 1}
			same = false
		}
	}
	if same {
		return was
	}
	return e
}

func equal(a, b any) bool {
	list, ok := a.([]string)
	if !ok {
		return a == b
	}
	other, ok := b.([]string)
	return ok && slices.Equal(list, other)
}

func compareKeys(a, b *Entry) int { return slices.Compare(a.keys, b.keys) }

func (s *state) list(i int) []*Entry {
	if s.lists == nil {
		return nil
	}
	return s.lists[i]
}

// narrow is the part of a state that a query may ask for: who remembers that holds on to no more.
func (q *query) narrow(s *state) *state {
	part := &state{at: s.at, revision: s.revision, lists: make([][]*Entry, len(q.lists))}
	for list, picks := range q.lists {
		if len(picks) > 0 {
			part.lists[list] = s.list(list)
		}
	}
	return part
}

// item is a leaf of an entry, which has a value for it.
type item struct {
	leaf       *Leaf
	entry      *Entry
	pick       *pick  // why it was chosen
	duplicates uint32 // values that were there since the last one that was sent, and were not sent
}

func (i item) value() any { return i.entry.values[i.leaf.index] }

// all yields the leaves of a state that a query asks for.
func (q *query) all(s *state, c class) iter.Seq[item] {
	return func(yield func(item) bool) {
		for list, picks := range q.lists {
			for _, e := range s.list(list) {
				for _, p := range picks {
					if p.leaf.class == c && e.values[p.leaf.index] != nil && p.matches(e.keys) &&
						!yield(item{leaf: p.leaf, entry: e, pick: p}) {
						return
					}
				}
			}
		}
	}
}

// since yields what has changed of that from one state to another. gone are the leaves that are no more, with the entry
// that they were in.
func (q *query) since(before, now *state, c class) (changed, gone iter.Seq[item]) {
	changed = func(yield func(item) bool) {
		for list, picks := range q.lists {
			for was, is := range pairs(before.list(list), now.list(list)) {
				if is == nil {
					continue
				}
				for _, p := range picks {
					i := p.leaf.index
					if p.leaf.class != c || is.values[i] == nil || !p.matches(is.keys) {
						continue
					}
					next := item{leaf: p.leaf, entry: is, pick: p}
					if was != nil && was.values[i] != nil && was.changed[i].born == is.changed[i].born {
						if was.changed[i] == is.changed[i] {
							continue
						}
						next.duplicates = uint32(is.changed[i].changes - was.changed[i].changes - 1)
					}
					if !yield(next) {
						return
					}
				}
			}
		}
	}
	gone = func(yield func(item) bool) {
		for list, picks := range q.lists {
			for was, is := range pairs(before.list(list), now.list(list)) {
				if was == nil {
					continue
				}
				for _, p := range picks {
					i := p.leaf.index
					if p.leaf.class == c && was.values[i] != nil && (is == nil || is.values[i] == nil) &&
						p.matches(was.keys) && !yield(item{leaf: p.leaf, entry: was, pick: p}) {
						return
					}
				}
			}
		}
	}
	return changed, gone
}

// pairs walks two sorted lists at once, and yields what is not the same in both: the entries of a key, nil where there
// is none.
func pairs(before, now []*Entry) iter.Seq2[*Entry, *Entry] {
	return func(yield func(was, is *Entry) bool) {
		for len(before) > 0 || len(now) > 0 {
			var was, is *Entry
			order := 0
			switch {
			case len(before) == 0:
				order = 1
			case len(now) == 0:
				order = -1
			case before[0] != now[0]:
				order = compareKeys(before[0], now[0])
			}
			if order <= 0 {
				was, before = before[0], before[1:]
			}
			if order >= 0 {
				is, now = now[0], now[1:]
			}
			if was != is && !yield(was, is) {
				return
			}
		}
	}
}
