package selection

import "sync"

// StickyTable remembers which answer clients had. It is safe for concurrent use, of bounded size, and knows time only
// as it is told. When it is full, who did not ask for longest is forgotten, so that a flood of forged addresses costs
// clients their answers and no more.
type StickyTable struct {
	shards [stickyShards]stickyShard
}

const stickyShards = 64

// stickyShard is the part of a table whose keys' hashes end alike.
type stickyShard struct {
	mu      sync.Mutex
	limit   int
	index   map[StickyKey]int32
	entries []stickyEntry // [0] is the head of the ring: its newer is the oldest, its older the newest
}

// stickyEntry is one client, in a ring by when it was put last.
type stickyEntry struct {
	key          StickyKey
	answer       AnswerID
	until        int64
	older, newer int32
}

// NewStickyTable returns a table that holds some size clients, at about 150 bytes each.
func NewStickyTable(size int) *StickyTable {
	t := new(StickyTable)
	for i := range t.shards {
		t.shards[i] = stickyShard{
			limit:   max(1, (size+stickyShards-1)/stickyShards),
			index:   make(map[StickyKey]int32),
			entries: make([]stickyEntry, 1),
		}
	}
	return t
}

func (t *StickyTable) shard(key StickyKey) *stickyShard {
	return &t.shards[key.hash()%stickyShards]
}

// Get returns the answer of key, 0 if there is none or it was kept until before now.
func (t *StickyTable) Get(key StickyKey, now int64) AnswerID {
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[key]
	if !ok || s.entries[i].until < now {
		return 0
	}
	return s.entries[i].answer
}

// Put keeps the answer of key until some time, which is on the same clock as that of Get, in nanoseconds.
func (t *StickyTable) Put(key StickyKey, answer AnswerID, until int64) {
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[key]
	switch {
	case ok:
		s.unlink(i)
	case len(s.entries) <= s.limit:
		i = int32(len(s.entries))
		s.entries = append(s.entries, stickyEntry{})
	default:
		i = s.entries[0].newer
		s.unlink(i)
		delete(s.index, s.entries[i].key)
	}
	if !ok {
		s.index[key] = i
	}
	last := s.entries[0].older
	s.entries[i] = stickyEntry{key: key, answer: answer, until: until, older: last}
	s.entries[last].newer = i
	s.entries[0].older = i
}

func (s *stickyShard) unlink(i int32) {
	e := &s.entries[i]
	s.entries[e.older].newer = e.newer
	s.entries[e.newer].older = e.older
}

// Len is how many clients the table holds, those included whose time has run out.
func (t *StickyTable) Len() int {
	n := 0
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		n += len(s.index)
		s.mu.Unlock()
	}
	return n
}
