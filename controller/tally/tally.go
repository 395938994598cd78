// Package tally adds up what hosts make happen again and again, at line rate if they like: claims on VIPs,
// moves of stations, and whatever else a switch reports of single frames. Memory is bounded whatever comes,
// every port has a share of its own, and a sender that is known by name is never displaced by invented
// ones. It is pure; who adds and who is told is the business of its users.
package tally

import (
	"cmp"
	"slices"
	"time"

	"github.com/sluicelb/sluice/p4/packet"
)

// How much is kept apart. What is displaced is no longer told apart, and counts in what remains of it.
const (
	places    = 1024 // senders do not choose their port
	keys      = 8    // of one place
	strangers = 4    // senders of one key whose MAC nobody knows
	known     = 8    // senders of one key whose MAC is somebody's
)

// Count says how often and when.
type Count struct {
	Times       uint64
	First, Last time.Time
}

func (c *Count) add(o Count) {
	if c.Times == 0 || o.First.Before(c.First) {
		c.First = o.First
	}
	if o.Last.After(c.Last) {
		c.Last = o.Last
	}
	c.Times += o.Times
}

// Plus returns both together.
func (c Count) Plus(o Count) Count { c.add(o); return c }

// Once is one happening.
func Once(now time.Time) Count { return Count{1, now, now} }

// Sender is who did it, by the MAC in the frame.
type Sender struct {
	MAC   packet.MAC
	Known bool // it is the MAC of somebody that the intent names
	Count
}

// Entry is all that happened under one key. Senders are some of those who did it, those that are known
// first, then by how often; the count of the entry is of all.
type Entry[K comparable] struct {
	Key K
	Count
	Senders []Sender
}

// Others is what the senders that are not told apart did.
func (e Entry[K]) Others() uint64 {
	n := e.Times
	for _, s := range e.Senders {
		n -= s.Times
	}
	return n
}

// Known says whether any of the senders is.
func (e Entry[K]) Known() bool { return len(e.Senders) > 0 && e.Senders[0].Known }

// Tally counts by key. Keys of one place, such as a port, share its bounds. For one goroutine.
type Tally[P, K comparable] struct {
	place func(K) P
	all   map[P][]*Entry[K]
}

// New returns an empty Tally; place says where a key belongs.
func New[P, K comparable](place func(K) P) *Tally[P, K] {
	return &Tally[P, K]{place: place, all: make(map[P][]*Entry[K])}
}

// Clone returns a copy, to which nothing is added with the original.
func (t *Tally[P, K]) Clone() *Tally[P, K] {
	all := make(map[P][]*Entry[K], len(t.all))
	for at, here := range t.all {
		for _, e := range here {
			one := *e
			one.Senders = slices.Clone(e.Senders)
			all[at] = append(all[at], &one)
		}
	}
	return &Tally[P, K]{place: t.place, all: all}
}

// Add counts what one sender did.
func (t *Tally[P, K]) Add(k K, s Sender) {
	if e := t.entry(k, s.Known); e != nil {
		e.add(s.Count)
		e.addSender(s)
	}
}

// Merge counts what is in e.
func (t *Tally[P, K]) Merge(e Entry[K]) {
	to := t.entry(e.Key, e.Known())
	if to == nil {
		return
	}
	to.add(e.Count)
	for _, s := range e.Senders {
		to.addSender(s)
	}
}

// entry returns the entry of a key, new if need be; nil when there is no room for it.
func (t *Tally[P, K]) entry(k K, isKnown bool) *Entry[K] {
	at := t.place(k)
	here := t.all[at]
	for _, e := range here {
		if e.Key == k {
			return e
		}
	}
	if here == nil && len(t.all) == places && !t.forgetPlace(isKnown) {
		return nil
	}
	e := &Entry[K]{Key: k}
	if len(here) < keys {
		t.all[at] = append(here, e)
		return e
	}
	least := slices.MinFunc(here, func(a, b *Entry[K]) int {
		return worth(a.Known(), a.Count, b.Known(), b.Count)
	})
	if least.Known() && !isKnown {
		return nil
	}
	here[slices.Index(here, least)] = e
	return e
}

// forgetPlace makes room for another place: the one goes where nothing has happened for longest, unless
// somebody known did something there and is not to be displaced.
func (t *Tally[P, K]) forgetPlace(isKnown bool) bool {
	var oldest P
	var best *Entry[K] // what was the last to happen there
	for at, here := range t.all {
		last := slices.MaxFunc(here, func(a, b *Entry[K]) int {
			return worth(a.Known(), Count{Last: a.Last}, b.Known(), Count{Last: b.Last})
		})
		if best == nil || worth(last.Known(), Count{Last: last.Last}, best.Known(), Count{Last: best.Last}) < 0 {
			oldest, best = at, last
		}
	}
	if best.Known() && !isKnown {
		return false
	}
	delete(t.all, oldest)
	return true
}

func (e *Entry[K]) addSender(s Sender) {
	alike := 0 // senders that s competes with
	least := -1
	for i := range e.Senders {
		have := &e.Senders[i]
		if have.MAC == s.MAC {
			have.add(s.Count)
			have.Known = have.Known || s.Known
			e.sort()
			return
		}
		if have.Known == s.Known {
			alike++
			if least < 0 || worth(false, have.Count, false, e.Senders[least].Count) < 0 {
				least = i
			}
		}
	}
	most := strangers
	if s.Known {
		most = known
	}
	if alike < most {
		e.Senders = append(e.Senders, s)
	} else {
		e.Senders[least] = s
	}
	e.sort()
}

func (e *Entry[K]) sort() {
	slices.SortStableFunc(e.Senders, func(a, b Sender) int { return worth(b.Known, b.Count, a.Known, a.Count) })
}

// worth orders what is kept: what is known before what is not, then the more frequent, then the later. So
// a sender that comes back stays, and those invented for one frame each displace each other.
func worth(aKnown bool, a Count, bKnown bool, b Count) int {
	if aKnown != bKnown {
		if aKnown {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(a.Times, b.Times), a.Last.Compare(b.Last))
}

// Entries returns what is counted: what somebody known did first, then by how often.
func (t *Tally[P, K]) Entries() []Entry[K] {
	var out []Entry[K]
	for _, here := range t.all {
		for _, e := range here {
			copied := *e
			copied.Senders = slices.Clone(e.Senders)
			out = append(out, copied)
		}
	}
	slices.SortFunc(out, func(a, b Entry[K]) int { return worth(b.Known(), b.Count, a.Known(), a.Count) })
	return out
}

// Len counts the keys.
func (t *Tally[P, K]) Len() (n int) {
	for _, here := range t.all {
		n += len(here)
	}
	return n
}

// Take returns what is counted, and begins anew.
func (t *Tally[P, K]) Take() []Entry[K] {
	out := t.Entries()
	clear(t.all)
	return out
}

// Sender returns all that a sender did under a key, as far as it is told apart: else what s says.
func (t *Tally[P, K]) Sender(k K, s Sender) Sender {
	for _, e := range t.all[t.place(k)] {
		if e.Key != k {
			continue
		}
		for _, have := range e.Senders {
			if have.MAC == s.MAC {
				return have
			}
		}
	}
	return s
}
