package engine

import (
	"bytes"
	"cmp"
	"fmt"
	"iter"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// MatchKind is how one key field of a table is matched.
type MatchKind int

// The match kinds of v1model. Valid is a header's validity bit, matched exactly.
const (
	Exact MatchKind = iota
	LPM
	Ternary
	Range
	Valid
)

func (k MatchKind) String() string {
	return [...]string{"exact", "lpm", "ternary", "range", "valid"}[k]
}

// Key is one key field of a table.
type Key struct {
	Name string
	Kind MatchKind
	Bits int
}

// Match is the value of one key field: exactly ceil(bits/8) bytes, big endian. Mask belongs to
// Ternary (same length) and Range, where Value is the low and Mask the high end, both included.
// PrefixLen belongs to LPM. Bits of Value outside the mask or the prefix must be zero.
type Match struct {
	Value, Mask []byte
	PrefixLen   int
}

// Call is an action with its parameters, each exactly ceil(bits/8) bytes, big endian.
type Call struct {
	Action string
	Params [][]byte
}

// Action is an action that a table may call.
type Action struct {
	Name   string
	Params []Param
}

// Param is one parameter of an action.
type Param struct {
	Name string
	Bits int
}

// Entry is what is written to a table. Of entries that match, the one with the highest Priority
// wins; it must be zero in tables of exact and LPM keys alone.
type Entry struct {
	Match       []Match
	Priority    int
	Call        Call
	IdleTimeout time.Duration // as given; the engine keeps it, and evicts nothing
	// Since is when the entry is written, on the clock of Runner.Process. Idle time counts from it
	// until the first packet hits.
	Since time.Duration
}

// Table is one match-action table. Methods may be called from any goroutine, while packets run.
type Table struct {
	name         string
	keys         []keyPart
	kind         MatchKind // of the table: Exact, LPM, Ternary or Range
	size         int
	actions      []*tableAction
	counter      bool
	timeout      bool
	meter        *directMeter // nil: none
	constEntries bool
	constDefault bool
	initial      *Installed // the program's default entry; nil: none
	missStats    *stats     // of all default entries, one after the other; nil when there is nothing to count or meter
	seed         uint64     // of its hash tables

	// Layout of Installed.words: key, mask (tables that are not exact), high ends (range), arguments.
	words, maskAt, highAt, argAt int

	missed atomic.Pointer[Installed] // the default entry
	count  atomic.Int64
	places atomic.Uint32 // of stats

	// What packets look up, by kind. Written under mu.
	spots  *keySpots                // of the key of an exact table, when it takes one word
	find   func(*Runner) *Installed // of other tables with a key
	exact  *hashTable
	views  atomic.Pointer[[]view]
	ranges atomic.Pointer[[]*Installed] // by priority, highest first

	mu     sync.Mutex // one writer; guards what follows, and Installed.lower
	tuples []*tuple
}

// keyPart is a key field and its place among the key's words.
type keyPart struct {
	Key
	field *field
	word  int
	shift int // of a field of up to 64 bits in its word
	high  int // range: where among the words of the high ends its own begin
	mask  uint64
}

// wordCount returns how many words a part wider than 64 bits takes, 1 for others.
func (k *keyPart) wordCount() int { return (k.Bits + 63) / 64 }
func (k *keyPart) bytes() int     { return (k.Bits + 7) / 8 }

// keyLayout is where the next part of a key goes.
type keyLayout struct {
	used  int // bits of the last word
	highs int
}

// addKey gives a part its place and adds it to the key.
func (t *Table) addKey(at *keyLayout, part keyPart) {
	if part.Kind == Range {
		part.high = at.highs
		at.highs += part.wordCount()
	}
	if t.words > 0 && part.Bits <= 64 && at.used+part.Bits <= 64 {
		part.word, part.shift = t.words-1, at.used
		at.used += part.Bits
	} else {
		part.word = t.words
		t.words += part.wordCount()
		at.used = min(64, part.Bits)
	}
	t.keys = append(t.keys, part)
}

// finishKey lays out the rest of Installed.words, and makes what packets look up.
func (t *Table) finishKey(at keyLayout) {
	t.maskAt, t.highAt = t.words, t.words
	if t.kind != Exact {
		t.highAt += t.words
	}
	t.argAt = t.highAt + at.highs
	switch t.kind {
	case Exact:
		t.exact = newHashTable(max(1, t.words), t.seed)
	case Range:
		t.ranges.Store(new([]*Installed))
	default:
		t.views.Store(new([]view))
	}
}

// Unapplied describes a table that a P4 program declares and no packet meets, so that the compiler left it out of the
// JSON.
type Unapplied struct {
	Name    string
	Keys    []Key
	Actions []Action
	Size    int
	Default *Call // nil: none
	Counter bool
	Timeout bool
	Meter   bool
}

// NewTable makes a table that keeps entries and belongs to no program.
func NewTable(u Unapplied) (*Table, error) {
	t := &Table{name: u.Name, size: u.Size, counter: u.Counter, timeout: u.Timeout, seed: rand.Uint64()}
	t.places.Store(rand.Uint32())
	if u.Meter {
		t.meter = new(directMeter)
	}
	if t.counter || t.meter != nil {
		t.missStats = t.newStats()
	}
	for _, k := range u.Keys {
		switch {
		case k.Bits < 1 || k.Bits > 65535:
			return nil, fmt.Errorf("key %s: width must be 1..65535, is %d", k.Name, k.Bits)
		case k.Kind == LPM && t.kind == LPM:
			return nil, fmt.Errorf("key %s: a second lpm key", k.Name)
		case k.Kind != Valid:
			t.kind = max(t.kind, k.Kind) // exact, lpm, ternary, range: as p4c chooses it
		}
	}
	var layout keyLayout
	for _, k := range u.Keys {
		t.addKey(&layout, keyPart{Key: k, mask: ones(min(64, k.Bits))})
	}
	t.finishKey(layout)
	for i, a := range u.Actions {
		compiled := &action{name: a.Name, id: i}
		for _, p := range a.Params {
			if p.Bits < 1 || p.Bits > 65535 {
				return nil, fmt.Errorf("action %s: parameter %s: width must be 1..65535, is %d", a.Name, p.Name, p.Bits)
			}
			q := &param{name: p.Name, bits: p.Bits, word: compiled.words}
			compiled.words += q.words()
			compiled.params = append(compiled.params, q)
		}
		t.actions = append(t.actions, &tableAction{action: compiled, index: i})
	}
	if u.Default == nil {
		return t, nil
	}
	err := t.SetDefault(*u.Default)
	t.initial = t.missed.Load()
	return t, err
}

// tableAction is an action as one table calls it.
type tableAction struct {
	*action
	index int // among the table's
}

// Installed is an entry that is, or was, in a table. After Modify, the old and the new Installed
// share counter and last hit.
type Installed struct {
	// What packets read comes first, and mostly fits one cache line.
	words  []uint64 // see Table; its array is inline when there is room
	call   *tableAction
	stats  *stats
	inline [6]uint64 // inline[0] is words[0] in any case; as many as make the whole two cache lines

	table    *Table
	lower    *Installed // ternary: same value and mask, next lower priority
	priority int
	idle     time.Duration
	since    time.Duration
}

type stats struct {
	meter *meterCell // nil when the table has no meter
	place uint8      // in Runner.hits

	mu             sync.Mutex // guards what follows
	packets, bytes uint64
	lastHit        int64
}

// hit adds what packets did until now.
func (s *stats) hit(packets, bytes uint64, now int64) {
	s.mu.Lock()
	s.packets += packets
	s.bytes += bytes
	s.lastHit = max(s.lastHit, now)
	s.mu.Unlock()
}

// Entry returns the entry as it was written.
func (e *Installed) Entry() Entry {
	t := e.table
	out := Entry{Priority: e.priority, Call: e.entryCall(), IdleTimeout: e.idle, Since: e.since}
	for i := range t.keys {
		k := &t.keys[i]
		m := Match{Value: k.unpack(e.words)}
		switch k.Kind {
		case LPM:
			m.PrefixLen = k.prefixLen(e.words[t.maskAt:])
		case Ternary:
			m.Mask = k.unpack(e.words[t.maskAt:])
		case Range:
			m.Mask = unpack(e.words[t.highAt+k.high:], k.Bits)
		}
		out.Match = append(out.Match, m)
	}
	return out
}

func (e *Installed) entryCall() Call {
	c := Call{Action: e.call.name}
	args := e.words[e.table.argAt:]
	for _, p := range e.call.params {
		b := make([]byte, (p.bits+7)/8)
		for i := range p.words() {
			end := len(b) - 8*i
			fillBytes(b[max(0, end-8):end], args[p.word+i])
		}
		c.Params = append(c.Params, b)
	}
	return c
}

// fillBytes writes v big endian, the last byte of b being the lowest.
func fillBytes(b []byte, v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte(v)
		v >>= 8
	}
}

// Counter returns the direct counter, zeros when the table has none.
func (e *Installed) Counter() (packets, bytes uint64) {
	s := e.stats
	if s == nil || !e.table.counter {
		return 0, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.packets, s.bytes
}

// SetCounter sets the direct counter, if the table has one.
func (e *Installed) SetCounter(packets, bytes uint64) {
	s := e.stats
	if s == nil || !e.table.counter {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packets, s.bytes = packets, bytes
}

// Rates returns those of the direct meter; false when it has none, or the table has no meter.
func (e *Installed) Rates() (Rates, bool) {
	if e.stats == nil || e.stats.meter == nil {
		return Rates{}, false
	}
	return e.stats.meter.get()
}

// SetRates configures the direct meter, if the table has one, and fills its buckets; nil takes its
// rates away.
func (e *Installed) SetRates(rates *Rates) {
	if e.stats != nil && e.stats.meter != nil {
		e.stats.meter.set(rates)
	}
}

// LastHit returns when a packet last hit the entry, or when it was written, whichever is later, on
// the clock of Runner.Process. In tables without SupportsTimeout it is when it was written.
func (e *Installed) LastHit() time.Duration {
	if !e.table.timeout {
		return e.since
	}
	e.stats.mu.Lock()
	defer e.stats.mu.Unlock()
	return time.Duration(e.stats.lastHit)
}

// Name returns the table's name in the JSON.
func (t *Table) Name() string { return t.name }

// Keys returns the key fields in the order of Entry.Match.
func (t *Table) Keys() []Key {
	keys := make([]Key, len(t.keys))
	for i := range t.keys {
		keys[i] = t.keys[i].Key
	}
	return keys
}

// Size returns the number of entries that the program asks for.
func (t *Table) Size() int { return t.size }

// Len returns the number of entries, the default entry not counted.
func (t *Table) Len() int { return int(t.count.Load()) }

// Actions returns the actions that the table may call.
func (t *Table) Actions() []Action {
	var out []Action
	for _, a := range t.actions {
		act := Action{Name: a.name}
		for _, p := range a.params {
			act.Params = append(act.Params, Param{p.name, p.bits})
		}
		out = append(out, act)
	}
	return out
}

// SupportsTimeout tells whether entries remember when they were last hit.
func (t *Table) SupportsTimeout() bool { return t.timeout }

// HasCounter tells whether entries count packets and bytes.
func (t *Table) HasCounter() bool { return t.counter }

// HasMeter tells whether entries have a meter each.
func (t *Table) HasMeter() bool { return t.meter != nil }

// ConstEntries tells whether the program fixed the entries: Insert, Modify and Delete fail with
// ErrConst. The JSON says so of all tables that it has entries for; see Release.
func (t *Table) ConstEntries() bool { return t.constEntries }

// Release makes the entries of the program those that the table begins with, which may be modified and deleted, and
// gives it room for size entries. The JSON does not tell such tables from those whose entries are const. Call it
// before packets run.
func (t *Table) Release(size int) {
	t.constEntries = false
	t.size = max(t.size, size)
}

// ConstDefault tells whether the program fixed the default action: SetDefault fails with ErrConst.
func (t *Table) ConstDefault() bool { return t.constDefault }

// Insert adds an entry. It fails with ErrExists, ErrFull, ErrConst, or ErrInvalid with the reason.
func (t *Table) Insert(e Entry) error {
	in, err := t.prepare(e)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.locate(in.words, in.priority) != nil {
		return ErrExists
	}
	if t.Len() >= t.size {
		return ErrFull
	}
	t.add(in)
	return nil
}

// Modify replaces the action of the entry with the same match and priority, and keeps its counter
// and last hit. It fails with ErrNotFound, ErrConst, or ErrInvalid with the reason.
func (t *Table) Modify(e Entry) error {
	in, err := t.prepare(e)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.locate(in.words, in.priority)
	if old == nil {
		return ErrNotFound
	}
	if in.stats = old.stats; in.stats != nil {
		in.stats.hit(0, 0, int64(e.Since))
	}
	t.replace(old, in)
	return nil
}

// Delete removes the entry with that match and priority. It fails with ErrNotFound, ErrConst, or
// ErrInvalid with the reason.
func (t *Table) Delete(match []Match, priority int) error {
	if t.constEntries {
		return ErrConst
	}
	var room keyRoom
	words, err := t.pack(room[:], match, priority)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.locate(words, priority)
	if old == nil {
		return ErrNotFound
	}
	t.drop(old)
	return nil
}

// Lookup finds the entry with that match and priority (not the one that a packet would hit).
func (t *Table) Lookup(match []Match, priority int) (*Installed, bool) {
	var room keyRoom
	words, err := t.pack(room[:], match, priority)
	if err != nil {
		return nil, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.locate(words, priority)
	return e, e != nil
}

// All walks the entries, as they are when the walk begins, in no particular order.
func (t *Table) All() iter.Seq[*Installed] {
	return func(yield func(*Installed) bool) {
		for _, e := range t.snapshot() {
			if !yield(e) {
				return
			}
		}
	}
}

func (t *Table) snapshot() []*Installed {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kind == Range {
		return *t.ranges.Load()
	}
	out := make([]*Installed, 0, t.Len())
	collect := func(e *Installed) bool {
		for ; e != nil; e = e.lower {
			out = append(out, e)
		}
		return true
	}
	if t.exact != nil {
		t.exact.each(collect)
	}
	for _, p := range t.tuples {
		p.hash.each(collect)
	}
	return out
}

// SetDefault sets the action that a miss calls.
func (t *Table) SetDefault(c Call) error {
	if t.constDefault {
		return ErrConst
	}
	e, err := t.bind(make([]uint64, t.argAt), c)
	if err != nil {
		return err
	}
	e.stats = t.missStats
	t.missed.Store(e)
	return nil
}

// ResetDefault restores the default action of the program. The counter and the meter stay as they are.
func (t *Table) ResetDefault() { t.missed.Store(t.initial) }

// Miss returns the default entry for what belongs to it besides the action: the counter, and the meter.
func (t *Table) Miss() *Installed {
	if e := t.missed.Load(); e != nil {
		return e
	}
	return &Installed{table: t, stats: t.missStats}
}

// Default returns the action that a miss calls; false when a miss does nothing.
func (t *Table) Default() (Call, bool) {
	e := t.missed.Load()
	if e == nil {
		return Call{}, false
	}
	return e.entryCall(), true
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

// prepare makes an entry ready to be installed.
func (t *Table) prepare(e Entry) (*Installed, error) {
	if t.constEntries {
		return nil, ErrConst
	}
	var room keyRoom
	words, err := t.pack(room[:], e.Match, e.Priority)
	if err != nil {
		return nil, err
	}
	in, err := t.bind(words, e.Call)
	if err != nil {
		return nil, err
	}
	in.priority, in.idle, in.since = e.Priority, e.IdleTimeout, e.Since
	if t.counter || t.timeout || t.meter != nil {
		in.stats = t.newStats()
		in.stats.lastHit = int64(e.Since)
	}
	return in, nil
}

func (t *Table) newStats() *stats {
	s := &stats{place: uint8(t.places.Add(1))}
	if t.meter != nil {
		s.meter = new(meterCell)
	}
	return s
}

// bind makes an Installed of key words and a call.
func (t *Table) bind(words []uint64, c Call) (*Installed, error) {
	i := slices.IndexFunc(t.actions, func(a *tableAction) bool { return a.name == c.Action })
	if i < 0 {
		return nil, invalid("table has no action %q", c.Action)
	}
	a := t.actions[i]
	if len(c.Params) != len(a.params) {
		return nil, invalid("action %s takes %d parameters, has %d", a.name, len(a.params), len(c.Params))
	}
	e := &Installed{call: a, table: t}
	e.words = append(e.inline[:0], words...)
	for k, p := range a.params {
		b := c.Params[k]
		if err := checkBytes("parameter", p.name, b, p.bits); err != nil {
			return nil, err
		}
		for range p.words() {
			from := max(0, len(b)-8)
			e.words = append(e.words, toUint64(b[from:]))
			b = b[:from]
		}
	}
	if len(e.words) > 0 {
		e.inline[0] = e.words[0]
	}
	return e, nil
}

func checkBytes(what, name string, b []byte, bits int) error {
	if n := (bits + 7) / 8; len(b) != n {
		return invalid("%s %s is %d bytes, must be %d", what, name, len(b), n)
	}
	if over := bits % 8; over != 0 && b[0]>>over != 0 {
		return invalid("%s %s does not fit %d bits", what, name, bits)
	}
	return nil
}

// keyRoom is for the words of a match while it is looked for: most fit, and need no memory of their own then.
type keyRoom [6]uint64

// pack checks a match and makes words of it, in room if they fit.
func (t *Table) pack(room []uint64, match []Match, priority int) ([]uint64, error) {
	if len(match) != len(t.keys) {
		return nil, invalid("table has %d keys, match has %d", len(t.keys), len(match))
	}
	if len(t.keys) == 0 {
		return nil, invalid("table has no keys")
	}
	if (t.kind == Exact || t.kind == LPM) && priority != 0 {
		return nil, invalid("priority must be 0 in an %s table, is %d", t.kind, priority)
	}
	words := slices.Grow(room[:0], t.argAt)[:t.argAt]
	clear(words)
	for i := range t.keys {
		k, m := &t.keys[i], &match[i]
		if err := checkBytes("key", k.Name, m.Value, k.Bits); err != nil {
			return nil, err
		}
		k.pack(words, m.Value)
		if t.kind == Exact {
			continue
		}
		mask := words[t.maskAt:]
		switch k.Kind {
		case Exact, Valid:
			k.packPrefix(mask, k.Bits)
		case LPM:
			if m.PrefixLen < 0 || m.PrefixLen > k.Bits {
				return nil, invalid("key %s: prefix length must be 0..%d, is %d", k.Name, k.Bits, m.PrefixLen)
			}
			k.packPrefix(mask, m.PrefixLen)
		case Ternary:
			if err := checkBytes("mask of key", k.Name, m.Mask, k.Bits); err != nil {
				return nil, err
			}
			k.pack(mask, m.Mask)
		case Range:
			if err := checkBytes("high end of key", k.Name, m.Mask, k.Bits); err != nil {
				return nil, err
			}
			if bytes.Compare(m.Value, m.Mask) > 0 {
				return nil, invalid("key %s: range from %#x to %#x is empty", k.Name, m.Value, m.Mask)
			}
			packWords(words[t.highAt+k.high:], m.Mask, k.wordCount())
			continue
		}
		for w := k.word; w < k.word+k.wordCount(); w++ {
			if words[w]&^mask[w]&k.wordMask(w) != 0 {
				return nil, invalid("key %s has bits outside its mask", k.Name)
			}
		}
	}
	return words, nil
}

// wordMask returns the bits that the part takes of a word.
func (k *keyPart) wordMask(w int) uint64 {
	if k.Bits > 64 {
		return ^uint64(0)
	}
	return ones(k.Bits) << k.shift
}

// pack puts a value, or a mask, in its place. The words of a wide part hold it from the top.
func (k *keyPart) pack(words []uint64, b []byte) {
	if k.Bits <= 64 {
		words[k.word] |= toUint64(b) << k.shift
		return
	}
	packWords(words[k.word:], b, k.wordCount())
}

// packWords puts a number in n words, the highest first.
func packWords(words []uint64, b []byte, n int) {
	for i := n - 1; i >= 0; i-- {
		from := max(0, len(b)-8)
		words[i] = toUint64(b[from:])
		b = b[:from]
	}
}

// packPrefix puts a mask of the n highest bits in its place.
func (k *keyPart) packPrefix(words []uint64, n int) {
	if k.Bits <= 64 {
		words[k.word] |= (ones(k.Bits) << k.shift) &^ (ones(k.Bits) >> n << k.shift)
		return
	}
	b := make([]byte, k.bytes())
	for i := range n {
		bit := len(b)*8 - k.Bits + i
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	k.pack(words, b)
}

// prefixLen is the inverse of packPrefix.
func (k *keyPart) prefixLen(words []uint64) int {
	n := 0
	for _, b := range k.unpack(words) {
		n += bits.OnesCount8(b)
	}
	return n
}

func (k *keyPart) unpack(words []uint64) []byte {
	if k.Bits <= 64 {
		b := make([]byte, k.bytes())
		fillBytes(b, words[k.word]>>k.shift&ones(k.Bits))
		return b
	}
	return unpack(words[k.word:], k.Bits)
}

// unpack is the inverse of packWords, for a number of that many bits.
func unpack(words []uint64, bits int) []byte {
	b := make([]byte, (bits+7)/8)
	for i, end := (bits+63)/64-1, len(b); i >= 0; i, end = i-1, end-8 {
		fillBytes(b[max(0, end-8):end], words[i])
	}
	return b
}

// tuple returns the tuple with that mask, nil when there is none.
func (t *Table) tuple(mask []uint64) *tuple {
	for _, p := range t.tuples {
		if slices.Equal(p.mask, mask) {
			return p
		}
	}
	return nil
}

// locate finds the entry with those key words and priority. mu is held.
func (t *Table) locate(words []uint64, priority int) *Installed {
	key := words[:t.words]
	switch t.kind {
	case Exact:
		return t.exact.find(key)
	case Range:
		for _, e := range *t.ranges.Load() {
			if e.priority == priority && slices.Equal(e.words[:t.argAt], words[:t.argAt]) {
				return e
			}
		}
		return nil
	}
	p := t.tuple(words[t.maskAt:t.highAt])
	if p == nil {
		return nil
	}
	e := p.hash.find(key)
	for e != nil && e.priority != priority {
		e = e.lower
	}
	return e
}

// add puts a new entry where packets find it. mu is held.
func (t *Table) add(e *Installed) {
	t.count.Add(1)
	switch t.kind {
	case Exact:
		t.exact.put(e)
		return
	case Range:
		list := slices.Clone(*t.ranges.Load())
		i, _ := slices.BinarySearchFunc(list, e,
			func(a, b *Installed) int { return cmp.Compare(b.priority, a.priority) })
		list = slices.Insert(list, i, e)
		t.ranges.Store(&list)
		return
	}
	mask := e.words[t.maskAt:t.highAt]
	p := t.tuple(mask)
	if p == nil {
		p = &tuple{mask: mask, hash: newHashTable(t.words, t.seed), ranks: make(map[int]int), prefix: e.prefix()}
		t.tuples = append(t.tuples, p)
	}
	p.ranks[e.priority]++
	switch head := p.hash.find(e.words[:t.words]); {
	case head == nil || head.priority < e.priority:
		e.lower = head
		p.hash.put(e)
	default:
		for head.lower != nil && head.lower.priority > e.priority {
			head = head.lower
		}
		e.lower, head.lower = head.lower, e
	}
	t.publish()
}

// prefix returns the prefix length of an entry of an LPM table, 0 for others.
func (e *Installed) prefix() int {
	for i := range e.table.keys {
		if k := &e.table.keys[i]; k.Kind == LPM {
			return k.prefixLen(e.words[e.table.maskAt:])
		}
	}
	return 0
}

// replace puts e in the place of old. mu is held.
func (t *Table) replace(old, e *Installed) {
	switch t.kind {
	case Exact:
		t.exact.put(e)
		return
	case Range:
		list := slices.Clone(*t.ranges.Load())
		list[slices.Index(list, old)] = e
		t.ranges.Store(&list)
		return
	}
	e.lower = old.lower
	p := t.tuple(old.words[t.maskAt:t.highAt])
	if head := p.hash.find(old.words[:t.words]); head != old {
		for head.lower != old {
			head = head.lower
		}
		head.lower = e
		return
	}
	p.hash.put(e)
}

// drop takes an entry out. mu is held.
func (t *Table) drop(e *Installed) {
	t.count.Add(-1)
	key := e.words[:t.words]
	switch t.kind {
	case Exact:
		t.exact.remove(key)
		return
	case Range:
		list := slices.Clone(*t.ranges.Load())
		i := slices.Index(list, e)
		list = slices.Delete(list, i, i+1)
		t.ranges.Store(&list)
		return
	}
	p := t.tuple(e.words[t.maskAt:t.highAt])
	switch head := p.hash.find(key); {
	case head != e:
		for head.lower != e {
			head = head.lower
		}
		head.lower = e.lower
	case e.lower != nil:
		p.hash.put(e.lower)
	default:
		p.hash.remove(key)
	}
	if p.ranks[e.priority]--; p.ranks[e.priority] == 0 {
		delete(p.ranks, e.priority)
	}
	if len(p.ranks) == 0 {
		t.tuples = slices.DeleteFunc(t.tuples, func(x *tuple) bool { return x == p })
	}
	t.publish()
}

// publish gives packets the tuples, in the order that they look in. mu is held.
func (t *Table) publish() {
	views := make([]view, len(t.tuples))
	for i, p := range t.tuples {
		views[i] = view{mask: p.mask, hash: p.hash, rank: p.prefix}
		if t.kind == Ternary {
			first := true
			for rank := range p.ranks {
				if first || rank > views[i].rank {
					views[i].rank, first = rank, false
				}
			}
		}
	}
	slices.SortStableFunc(views, func(a, b view) int { return cmp.Compare(b.rank, a.rank) })
	t.views.Store(&views)
}
