// Package selection decides what the rules answer: which rule has a client, which of its clauses is live, which of
// that clause's answers are given, for how long and to which part of the network (RFC 7871), and why. It is a pure
// function of the configuration, the states of the answers and the query: no goroutine, clock or socket.
//
// [Compile] turns a configuration into [Rules] once; [Rules.Select] answers queries from it without allocation, in time
// that does not depend on how many rules there are; [Rules.Explain] is the same code with a trace. Packages responder
// and fastpath call Select with the rule set that package zone found for a name, or [Rules.MatchRegexp] where it found
// none; package gslb makes the [States] from what keepalives, controllers and operators say, and calls Explain.
//
// What the rules say is given as indices into the configuration. Encoding, forwarding and waiting are left to the
// callers, as is advancing the positions of round robins ([Choice.Advance]) and keeping what clients stick to
// ([StickyTable], [Rules.SelectSticky]).
package selection

import (
	"net/netip"
	"time"

	"github.com/sluicelb/sluice/gslb/config"
)

// Health is the verdict of all that watches an answer.
type Health uint8

const (
	Unknown Health = iota // no verdict yet
	Up
	Down
)

// String is the verdict as operators read it.
func (h Health) String() string {
	switch h {
	case Up:
		return "up"
	case Down:
		return "down"
	}
	return "unknown"
}

// State is what is known of one answer.
type State struct {
	Health    Health
	Load      uint8 // as reported, higher is busier; means something only with HasLoad
	HasLoad   bool
	Suspended bool // by the configuration, or by an operator: the answer, its data center, region or owner
	Unseen    bool // with Unknown: what watches it cannot ask, so that there is no verdict to wait for
}

// States is a snapshot of all that selection depends on beside the configuration and the query. It is the whole truth:
// what the configuration suspends must be suspended here. It is immutable.
type States struct {
	Answers        []State // by index of config.Answers; one that is missing is unknown
	RulesSuspended []bool  // by index of config.Rules; one that is missing is not suspended
}

// NewStates returns the states before any verdict: all is unknown, and suspended what the configuration suspends.
func NewStates(c *config.Config) *States {
	s := &States{Answers: make([]State, len(c.Answers)), RulesSuspended: make([]bool, len(c.Rules))}
	for i := range c.Answers {
		s.Answers[i].Suspended = c.Answers[i].Suspended
	}
	for i := range c.Rules {
		s.RulesSuspended[i] = c.Rules[i].Suspended
	}
	return s
}

// Query is what is asked, and by whom.
type Query struct {
	// Set is the rule set, from Balanced or MatchRegexp.
	Set int32
	// Name is what was asked for, in wire format and lower case. In a set of MatchRegexp it must be the name that was
	// matched.
	Name []byte
	Type uint16 // of the question: A and AAAA get addresses
	// Source is the address that the query came from.
	Source netip.Addr
	// Subnet is the client subnet that the query names (RFC 7871): masked, with the source prefix length as its bits.
	// It is ignored if invalid or of no bits, as RFC 7871 section 7.1.2 wants, and by rules that do not allow it.
	Subnet netip.Prefix
	// Cursors are where the round robins stand, [Rules.Cursors] many; missing ones are 0. They belong to one goroutine.
	// Select reads them, and Choice.Advance moves them on.
	Cursors []uint32
	// Stuck is the answer that the client stuck to; 0 for none. SelectSticky sets it.
	Stuck AnswerID
}

// Outcome is the kind of what is answered.
type Outcome uint8

const (
	// NoRule: no rule that is not suspended has the client in its source list. The name is to be answered as if it had
	// no rules.
	NoRule    Outcome = iota
	Addresses         // A or AAAA of the VIPs Answers
	CNAME             // the target of Answers[0]
	Forward           // relay the query to Servers
	NoData            // NOERROR without records
	Refused           // REFUSED
	Wait              // ask again when states change, up to MaxWait; then SERVFAIL
)

// String is the outcome as operators read it.
func (o Outcome) String() string {
	switch o {
	case Addresses:
		return "addresses"
	case CNAME:
		return "CNAME"
	case Forward:
		return "forward"
	case NoData:
		return "no data"
	case Refused:
		return "refused"
	case Wait:
		return "wait"
	}
	return "no rule"
}

// MaxAnswers is how many answers one clause may give.
const MaxAnswers = 32

// Choice is what Select decided.
type Choice struct {
	Outcome Outcome
	// Policy is what was done because nothing of the clause was live; 0 where something was.
	Policy config.Policy
	// Rule is the index of the rule in config.Rules, Clause that of the clause within it; config.None where none
	// decided.
	Rule, Clause int32
	// Answers[:N] are indices of config.Answers, the best first: VIPs with different addresses, or one CNAME, or the
	// one name server to Forward to. N is 0 when a policy forwards.
	Answers [MaxAnswers]int32
	N       int
	Servers []netip.AddrPort // Forward: tried in order; shared, nobody may modify it
	TTL     uint32           // of the records, seconds
	MaxWait time.Duration    // Wait
	// SubnetUsed: the client subnet was looked at, and Scope is for how many bits of it the choice holds: every client
	// in there gets the same but for its turn in a round robin. See [Rules.Select]. Else Scope is 0.
	SubnetUsed bool
	Scope      uint8
	// Cursor is the round robin that the choice was made by; config.None for none.
	Cursor int32
	// Alike: there is one answer, and while rules and states stay all who ask for that name and type get this choice,
	// whoever they are and wherever round robins stand.
	Alike bool
	// Sticky: the rule is sticky, StickyKey says by what. Stick: Answers[0] is live, and the client is to stick to
	// it (StickTo) for Inactivity. Stuck: it is the one of Query.Stuck. Held: that one is live, though it may have no
	// answer of the type in question, and must not be forgotten for the other.
	Sticky, Stick, Stuck, Held bool
	StickyKey                  StickyKey
	StickTo                    AnswerID
	Inactivity                 time.Duration
}

// Advance moves the round robin on after the choice was given to a client.
func (c *Choice) Advance(cursors []uint32) {
	if c.Cursor >= 0 && int(c.Cursor) < len(cursors) {
		cursors[c.Cursor]++
	}
}
