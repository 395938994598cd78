package server

import (
	"sync"
	"sync/atomic"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/responder"
)

// Transport is how a query came.
type Transport uint8

const (
	UDP Transport = iota
	TCP

	Transports = iota
)

// String is the name of the transport as metrics have it.
func (t Transport) String() string {
	return [Transports]string{"udp", "tcp"}[t]
}

// Event is something that happens to queries and connections and is counted.
type Event uint8

const (
	FastAnswers      Event = iota // queries answered on the fast path
	DroppedResponses              // datagrams that were responses (mitigation)
	DroppedPorts                  // queries from privileged ports (mitigation)
	DroppedMalformed              // messages that not even an error is owed for
	LimitedDropped                // responses not sent because of the rate limit
	LimitedSlipped                // responses sent truncated because of the rate limit
	ValidCookies                  // queries over UDP whose server cookie was ours
	Forwarded                     // queries relayed to another server
	ForwardFailed                 // of these, those answered SERVFAIL because no server had a reply
	Waited                        // queries that waited for a first verdict
	WaitFailed                    // of these, those answered SERVFAIL because none came in time, or too many waited
	TCPAccepted                   // connections accepted
	TCPRefused                    // connections closed at once because of a limit
	TCPEvicted                    // idle connections closed for a new one
	TCPTimedOut                   // connections closed because the client took too long to send a message or to read
	TCPBadFrame                   // connections closed because of a message shorter than a header

	Events = iota
)

// String is the name of the event as metrics have it.
func (e Event) String() string {
	return [Events]string{
		"fast_answers", "dropped_responses", "dropped_privileged_ports", "dropped_malformed", "limited_dropped",
		"limited_slipped", "valid_cookies", "forwarded", "forward_failed", "waited", "wait_failed", "tcp_accepted",
		"tcp_refused", "tcp_evicted", "tcp_timed_out", "tcp_bad_frame",
	}[e]
}

// Rcodes is how many RCODEs are counted apart; the last of them counts all the others, too.
const Rcodes = 25

// Counts is what was counted since the Server was made. It outlives reloads: rules and answers are known by name.
type Counts struct {
	Events    [Events]uint64
	Queries   [Transports]uint64 // messages that came, whatever became of them
	Responses [Transports][Rcodes]uint64
	Kinds     [responder.Kinds]uint64 // responses by kind
	Rules     map[string][]uint64     // responses by rule and clause; rules without any are left out
	Answers   map[string]uint64       // responses by answer, the first of each
	Took      [Transports]Times       // queries that nobody else was asked for
	TookLater Times                   // queries that were forwarded, or waited for a verdict
}

// counters are the counts of one core. The core adds; anyone may read.
type counters struct {
	events    [Events]atomic.Uint64
	queries   [Transports]atomic.Uint64
	responses [Transports][Rcodes]atomic.Uint64
	kinds     [responder.Kinds]atomic.Uint64
	took      [Transports]times
	tookLater times
	choices   *choices // replaced by its core only, with tally.mu held
	_         [64]byte // no other core's counters in the last cache line
}

// choices are counts by index into one configuration.
type choices struct {
	config  *config.Config
	first   []int32 // by rule: its first clause in clauses
	clauses []atomic.Uint64
	answers []atomic.Uint64
}

func newChoices(c *config.Config) *choices {
	ch := &choices{config: c, first: make([]int32, len(c.Rules)), answers: make([]atomic.Uint64, len(c.Answers))}
	n := 0
	for i := range c.Rules {
		ch.first[i] = int32(n)
		n += len(c.Rules[i].Clauses)
	}
	ch.clauses = make([]atomic.Uint64, n)
	return ch
}

func (c *counters) event(e Event) { c.events[e].Add(1) }

// response counts one response that is sent, and by whom it was chosen.
func (c *counters) response(t Transport, k responder.Kind, rcode int, rule, clause, answer int32) {
	c.responses[t][min(rcode, Rcodes-1)].Add(1)
	c.kinds[k].Add(1)
	ch := c.choices
	if rule >= 0 && clause >= 0 {
		ch.clauses[ch.first[rule]+clause].Add(1)
	}
	if answer >= 0 {
		ch.answers[answer].Add(1)
	}
}

// tally merges the counters of all cores.
type tally struct {
	mu    sync.Mutex // guards all below, and counters.choices of all cores
	cores []*counters
	// rules and answers are from configurations that a core has left behind.
	rules   map[string][]uint64
	answers map[string]uint64
}

func newTally() *tally {
	return &tally{rules: make(map[string][]uint64), answers: make(map[string]uint64)}
}

// add makes the counters of one more core.
func (t *tally) add() *counters {
	c := new(counters)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cores = append(t.cores, c)
	return c
}

// follow makes c, by whose core it is called, count by the indices of a configuration.
func (t *tally) follow(c *counters, now *config.Config) {
	if c.choices != nil && c.choices.config == now {
		return
	}
	next := newChoices(now)
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.choices != nil {
		c.choices.addTo(t.rules, t.answers)
	}
	c.choices = next
}

func (ch *choices) addTo(rules map[string][]uint64, answers map[string]uint64) {
	for i := range ch.config.Rules {
		r := &ch.config.Rules[i]
		for j := range r.Clauses {
			n := ch.clauses[int(ch.first[i])+j].Load()
			if n == 0 {
				continue
			}
			have := rules[r.Name]
			for len(have) <= j {
				have = append(have, 0)
			}
			have[j] += n
			rules[r.Name] = have
		}
	}
	for i := range ch.answers {
		if n := ch.answers[i].Load(); n > 0 {
			answers[ch.config.Answers[i].Name] += n
		}
	}
}

func (t *tally) counts() Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	total := Counts{Rules: make(map[string][]uint64, len(t.rules)), Answers: make(map[string]uint64, len(t.answers))}
	for name, n := range t.rules {
		total.Rules[name] = append([]uint64(nil), n...)
	}
	for name, n := range t.answers {
		total.Answers[name] = n
	}
	for _, c := range t.cores {
		for i := range c.events {
			total.Events[i] += c.events[i].Load()
		}
		for i := range c.queries {
			total.Queries[i] += c.queries[i].Load()
			for j := range c.responses[i] {
				total.Responses[i][j] += c.responses[i][j].Load()
			}
		}
		for i := range c.took {
			total.Took[i].add(&c.took[i])
		}
		total.TookLater.add(&c.tookLater)
		for i := range c.kinds {
			total.Kinds[i] += c.kinds[i].Load()
		}
		if c.choices != nil {
			c.choices.addTo(total.Rules, total.Answers)
		}
	}
	return total
}
