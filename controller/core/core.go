// Package core decides for the controller, purely: an Input and the time go in, the State changes, and Effects come
// out. It has no goroutine, no clock and no socket, so whatever it decides can be written down as a scenario
// (testdata). The daemon, package controller, gives it what callers, switches, the store and the clock say, one thing
// at a time, and carries the Effects out, in their order. Package plan says which backend a slot has.
//
//	Input ---> decide ---> nothing to be stored ------------------------------------> effects
//	             |                                                                       ^
//	             +--> Save ... candidate: its effects wait ... Saved, or nobody answers --+
//	                                                            refused: as before, and the caller is told
//
// While a decision waits for the store, the core takes Saved and Passed and nothing else.
package core

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
)

const (
	// verdictPatience bounds how long a verdict waits for a store that has stopped answering.
	verdictPatience = 500 * time.Millisecond
	// changePatience is the same for a change of the configuration, which is then refused.
	changePatience = 3 * time.Second
	// saveInterval is how often a store that has stopped answering is tried.
	saveInterval = time.Second
)

// ErrFrozen refuses changes that would be lost with this process.
var ErrFrozen = errors.New("the configuration is frozen")

// Core is what is decided, and what it follows from. For one goroutine.
type Core struct {
	now     time.Time // of the Input under way
	started time.Time
	decided

	meetings meetings
	authors  authors
	doubts   map[plan.BackendKey]doubt // backends that cannot be asked
	present  map[string]bool           // healthds whose coming the log has told, by name
	portIDs  config.PortIDs            // as switches told them last
	down     map[string]downPorts      // by switch
	urgent   urgency
	places   places
	noise    noise
	reports  reports
	served   time.Time // since when some switch keeps up, zero: none does

	frozen    error      // why the store does not have what is decided, or does not take changes
	unsure    bool       // the store may have a change that was refused, as if it had not happened
	saving    bool       // a Save is under way
	newer     bool       // what is decided is newer than what is being saved
	retry     time.Time  // when a store that does not answer is tried again
	candidate *candidate // a decision that waits for the store, nil: none does
	over      bool       // another controller decides
	facts     vipFacts   // what the VIPs that were told last follow from

	free []Effect  // effects of the Input under way that wait for nothing
	out  []Effect  // effects of what is being decided: they wait until the store has it, or is known not to take it
	last []Effect  // the same: those that come after the switches have been told
	tell bool      // the switches have to be told
	take []string  // switches to be taken on, if tell
	save bool      // what is decided is to be stored
	wake time.Time // when Passed is due, zero: never
	ran  time.Time // when the core was last free to do what is due
	owed time.Time // until when a suspicion goes on, since nobody could speak for a part of its time
}

// decided is all that a change of the configuration may alter before the store has taken it: a change that is refused
// has not happened. A copy shares what is replaced and never modified.
type decided struct {
	stored   Stored
	written  *config.Intent           // as it names ports
	intent   *config.Intent           // the same, with the numbers of the ports
	known    map[plan.BackendKey]bool // the intent's backends
	leavers  []plan.Member            // have left the intent, and are checked all the same
	checked  int64                    // revision of the intent that the checks are of
	sequence uint64                   // of the last decision
	steps    uint64                   // counts the times that the plan was asked

	views    map[string]*view // the switches
	waiting  []plan.Wait      // as of the last decision
	underWay underWay
	graces   graces
	ended    map[plan.BackendKey]bool // whose grace has just ended
	givenUp  map[plan.BackendKey]bool // backends that the operator took out while they were down
	floors   map[string]string        // why the graces of a pool do not end, by pool
	falls    map[string]*fall         // since when, of the same pools
	// doubtful are the backends whose verdict another healthd may overrule, and whether one did when the plan was asked
	// last; never modified.
	doubtful map[plan.BackendKey]bool
	// suspicion is set while a switch is suspected, rather than the servers.
	suspicion *suspicion
	patience  patience
	outlook   outlook
	pending   []*change
	drained   map[plan.BackendKey]bool   // told to be
	forced    map[plan.BackendKey]Forced // what drain_limit ended of their drains
	// rechecked is when a pool's checks last changed, by pool.
	rechecked map[string]time.Time
}

func (d decided) clone() decided {
	d.views, d.givenUp = maps.Clone(d.views), maps.Clone(d.givenUp)
	d.drained, d.forced, d.rechecked = maps.Clone(d.drained), maps.Clone(d.forced), maps.Clone(d.rechecked)
	d.pending = slices.Clone(d.pending)
	for i, c := range d.pending {
		d.pending[i] = c.clone()
	}
	return d
}

// candidate is a decision that waits for the store, with its effects.
type candidate struct {
	must     bool    // if the store does not take it, it has not happened
	before   decided // what was decided before it: all that others see meanwhile
	deadline time.Time
	queued   bool  // it is saved when the save of pins is over that is under way
	refused  error // why the store did not take a change; what it is tried with is as it was before that

	out, last []Effect
	tell      bool
	take      []string
}

// New is a Core that goes on from what is stored, which has passed its check. Its first Input is Begin, or Apply where
// nothing is stored.
func New(stored Stored, now time.Time) *Core {
	// A switch's mark cells keep epochs that this store may not know of: it is new, or older than the switch. Fewer
	// moves begin than seconds pass, so all epochs that were ever used are below the clock.
	stored.Plan.NextEpoch = max(stored.Plan.NextEpoch, uint32(now.Unix()))
	return &Core{
		started: now,
		decided: decided{
			stored:    stored,
			suspicion: goesOn(stored.Suspect, now),
			views:     make(map[string]*view),
			givenUp:   make(map[plan.BackendKey]bool),
			drained:   make(map[plan.BackendKey]bool),
			forced:    make(map[plan.BackendKey]Forced),
			rechecked: make(map[string]time.Time),
		},
		meetings: meetings{stored: stored.Plan},
		authors:  make(authors),
		doubts:   make(map[plan.BackendKey]doubt),
		present:  make(map[string]bool),
		portIDs:  make(config.PortIDs),
		down:     make(map[string]downPorts),
		urgent:   make(urgency),
		noise:    newNoise(),
	}
}

// Step takes an Input that came at a time and returns what is to be done, in that order. While a decision is Waiting
// for the store, only Saved and Passed may come; after a Stop nothing may.
func (c *Core) Step(now time.Time, in Input) []Effect {
	c.now = now
	c.pace()
	before := c.decided
	if c.candidate != nil {
		switch in := in.(type) {
		case Saved:
			c.saving = false
			if c.candidate.queued {
				c.candidate.queued = false
				c.aside(in)
				break
			}
			c.outcome(in.Outcome, in.Err)
		case Passed:
			if now.Before(c.candidate.deadline) {
				return nil
			}
			patience := verdictPatience
			if c.candidate.must {
				patience = changePatience
			}
			// The change is refused, so what was being saved must not be what stays in the store; nor may it be what
			// was saved before a verdict that goes on.
			c.newer = c.candidate.must || c.candidate.queued
			c.outcome(Unknown, fmt.Errorf("writing the store: the store does not answer for %v", patience))
		default:
			panic(fmt.Sprintf("core: %T while a decision waits for the store", in))
		}
		before = c.decided // without what was refused
	} else {
		c.catchUp()
		c.input(in)
	}
	if c.candidate == nil && !c.over {
		c.advance()
		c.commit(false, before)
	}
	c.pace()
	if c.candidate == nil && !c.over && c.intent != nil {
		c.tellVIPs()
	}
	if c.frozen != nil && !c.saving && !c.over && !now.Before(c.retry) {
		c.begin()
	}
	free := c.free
	c.free = nil
	return free
}

// Waiting says whether a decision waits for the store.
func (c *Core) Waiting() bool { return c.candidate != nil }

// Next is when Passed is due at the latest, zero: never.
func (c *Core) Next() time.Time {
	next := c.wake
	if c.candidate != nil {
		next = c.candidate.deadline
	}
	if c.frozen != nil && !c.saving {
		next = earlier(next, c.retry)
	}
	return next
}

// earlier is the earlier of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (c *Core) input(in Input) {
	switch in := in.(type) {
	case Begin:
		if err := c.adopt(in.Intent, c.stored); err != nil {
			c.answer(Answer{Err: err})
		}
	case Apply:
		c.change(func() (Answer, error) { return c.apply(in) })
	case Ports:
		c.ports(in)
	case SetAdmin:
		c.change(func() (Answer, error) { return Answer{}, c.setAdmin(in.Backend, in.Admin) })
	case Report:
		if err := c.report(in); err != nil {
			c.answer(Answer{Err: err})
		}
	case Switch:
		c.status(in)
	case Reported:
		c.reported(in)
	case Silent:
		c.silent(in)
	case Noise:
		c.hear(in)
	case Met:
		c.meet(in)
	case Saved:
		c.saving = false
		c.late(in.Outcome, in.Err)
	case Passed:
	default:
		panic(fmt.Sprintf("core: no such input: %T", in))
	}
}

// change does what a caller asks for, or nothing.
func (c *Core) change(f func() (Answer, error)) {
	before := c.decided.clone()
	answer, err := f()
	if err == nil && c.frozen != nil && (c.save || c.unsure) { // what is confirmed must be stored, too
		err = fmt.Errorf("%w: %w", ErrFrozen, c.frozen)
	}
	if err != nil {
		c.decided = before
		c.out, c.last, c.tell, c.take, c.save = nil, nil, false, nil, false
		c.answer(Answer{Err: err})
		return
	}
	c.answer(answer)
	c.commit(true, before)
}

// commit lets out what was decided: at once, or, if it is to be stored, when the store has it.
func (c *Core) commit(must bool, before decided) {
	switch {
	case !c.save:
	case c.frozen != nil:
		c.newer = true // nothing waits for the store here
	default:
		patience := verdictPatience
		if must {
			patience = changePatience
		}
		c.candidate = &candidate{
			must: must, before: before, deadline: c.now.Add(patience),
			out: c.out, last: c.last, tell: c.tell, take: c.take,
		}
		c.out, c.last, c.tell, c.take, c.save = nil, nil, false, nil, false
		if c.candidate.queued = c.saving; !c.saving {
			c.begin()
		}
		return
	}
	c.save = false
	c.release()
}

// begin saves what is decided.
func (c *Core) begin() {
	c.saving, c.newer = true, false
	c.reports.unsaved, c.reports.saved = false, c.now
	c.free = append(c.free, Save{c.stored})
}

// outcome is what became of the candidate.
func (c *Core) outcome(o Outcome, err error) {
	one := c.candidate
	c.candidate = nil
	switch {
	case o == TakenOver:
		c.decided = one.before // as it is seen until the end
		if one.must {
			c.answer(Answer{Err: err})
		}
		c.stop(err)
		return
	case one.refused != nil:
		c.freeze(err)
		c.answer(Answer{Err: one.refused})
		c.release()
		return
	case o != Done && one.must:
		c.decided = one.before
		switch o {
		case Unknown:
			// It may be there all the same. The state as it was is stored again as soon as the store answers.
			c.freeze(err)
			c.unsure = true
			err = fmt.Errorf("%w: %w", ErrFrozen, err)
		case Refused:
			// It may be the change, or the store, that is too large: the state as it was is tried, and tells.
			c.candidate = &candidate{must: true, before: one.before, deadline: one.deadline, refused: err}
			c.begin()
			return
		}
		c.answer(Answer{Err: err})
		c.release()
		return
	}
	c.freeze(err)
	c.out, c.last, c.tell, c.take = append(c.out, one.out...), one.last, one.tell, one.take
	c.release()
}

// aside is what became of a save of pins while a decision waits for its turn, which has them, too.
func (c *Core) aside(in Saved) {
	if in.Outcome == TakenOver {
		c.outcome(in.Outcome, in.Err)
		return
	}
	c.begin()
}

// late is what became of a save that nobody waits for.
func (c *Core) late(o Outcome, err error) {
	switch {
	case o == TakenOver:
		c.stop(err)
	case err != nil:
		c.freeze(err) // and tried again
	case c.newer:
		c.begin()
	default:
		c.freeze(nil)
	}
}

func (c *Core) stop(err error) {
	c.over = true
	c.last = append(c.last, Stop{err})
	c.release()
}

// freeze notes why the store does not have what is decided; nil: it has it.
func (c *Core) freeze(err error) {
	if (err == nil) != (c.frozen == nil) {
		c.publish(StoreChanged{err})
	}
	c.frozen, c.retry = err, c.now.Add(saveInterval)
	c.unsure = c.unsure && err != nil
}

// release lets out the effects of what is decided, before anything that becomes due is decided in turn.
func (c *Core) release() {
	if c.tell {
		c.setChecks()
		c.tellSwitches()
	}
	c.free = append(append(c.free, c.out...), c.last...)
	c.out, c.last = nil, nil
}

// advance does what is due.
func (c *Core) advance() {
	c.catchUp()
	c.wake = time.Time{}
	if c.intent == nil {
		return // nothing was ever applied
	}
	c.decideMeetings()
	c.forgetRetired()
	c.tellAuthors()
	c.tellNoise()
	c.hasten()
	c.await()
	c.limit()
	c.noteSuspicion()
	c.savePins()
	c.tellDrained()
	if c.timed() {
		c.wakeAt(c.now.Add(beat))
	}
}

// wakeAt has Passed come then; zero: no matter when.
func (c *Core) wakeAt(t time.Time) { c.wake = earlier(c.wake, t) }

func (c *Core) publish(e Event) { c.out = append(c.out, Publish{e}) }

func (c *Core) answer(a Answer) { c.last = append(c.last, a) }

func (c *Core) log(level slog.Level, text string, args ...any) {
	c.out = append(c.out, Log{level, text, args})
}
