package core

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/internal/text"
)

// Flows are where a switch's rows say. The store may be older than these: restored from a backup, or not written while
// its disk was full. So the first switch that is connected and forwards already has the last word on the slots, and the
// plan goes on from there; the others are brought in line with it. But where a switch has the slots as they are stored,
// the store is not older: a switch that has them otherwise was away while they moved, and waits until the others have
// been looked at. One that holds nothing waits, too: only the others know to which servers flows through it were going.
// After that, and once a switch that came empty has been served from the store for a while, memory is newer than what
// any other switch holds.

// meetings is what is remembered of the switches that it met.
type meetings struct {
	stored plan.State       // as it was read
	first  time.Time        // when a switch was met first
	met    map[string]*view // who has been looked at
	wait   []meeting        // those that do not have the slots as they were stored
	told   bool             // the log has told of the wait
	over   bool             // the slots are the memory's
	older  string           // that the store and a switch disagreed, empty: they did not
	at     time.Time        // when that was found
}

// meeting is a switch that waits for a word on what it holds.
type meeting struct {
	view  *view
	have  rows.Tables
	empty bool   // of slots
	id    uint64 // to be released by
}

const (
	// firstMeetings is how long after the first switch others may have the last word if that one was empty.
	firstMeetings = time.Minute
	// others is how long after the first switch one is waited for that does not answer: as long as one attempt to
	// connect takes, in which the first packet has been repeated twice (p4rt's answerTimeout). One that could be
	// reached and has lost a packet is connected by then. In less, it would not be told from one that is out of reach;
	// in more, one that is stays what keeps an empty switch dark, and how long it will be nobody knows.
	others = 5 * time.Second
	// waitTold is how long a switch waits before the log tells of it: most of them wait for others that are being read.
	waitTold = time.Second
	// olderTold is for how long a status says that the store was older than a switch.
	olderTold = time.Hour
)

// meet takes up what a switch holds that is connected for the first time, and releases it when its slots are decided.
func (c *Core) meet(in Met) {
	m := &c.meetings
	if m.first.IsZero() {
		m.first, m.met = c.now, make(map[string]*view)
	}
	v := c.views[in.Switch]
	if v == nil || !m.open(c.now) {
		c.last = append(c.last, Release{in.ID})
		return
	}
	m.met[in.Switch] = v
	next, found := plan.Adopt(c.stored.Plan, m.stored, c.intent, in.Switch, in.Have)
	if found.None() || found.Astray > 0 {
		m.wait = append(m.wait, meeting{v, in.Have, found.None(), in.ID})
	} else {
		c.takeUp(in.Switch, next, found)
		c.last = append(c.last, Release{in.ID})
	}
	c.decideMeetings()
}

// decideMeetings ends the wait of switches that do not have the slots as they were stored: when nobody else is to be
// looked at, the first of them that has any has the last word.
func (c *Core) decideMeetings() {
	m := &c.meetings
	if len(m.wait) == 0 {
		return
	}
	if expected := c.expected(); !m.over && len(expected) > 0 {
		for _, until := range expected {
			c.wakeAt(until)
		}
		c.tellWaits(expected)
		return
	}
	for _, one := range m.wait {
		if name := one.view.config.Name; !m.over && c.views[name] == one.view {
			if next, found := plan.Adopt(c.stored.Plan, m.stored, c.intent, name, one.have); !found.None() {
				c.takeUp(name, next, found)
			}
		}
		c.last = append(c.last, Release{one.id})
	}
	m.wait = nil
}

// expected are the switches that are yet to be looked at, and until when they are waited for: one that is connected is
// being read, and one that is not may take a moment.
func (c *Core) expected() map[string]time.Time {
	m := &c.meetings
	expected := make(map[string]time.Time)
	for name, v := range c.views {
		until := m.first.Add(others)
		if v.connected() {
			until = m.first.Add(firstMeetings)
		}
		if m.met[name] != v && c.now.Before(until) {
			expected[name] = until
		}
	}
	return expected
}

// tellWaits logs once that switches wait for others for longer than it takes to read these.
func (c *Core) tellWaits(expected map[string]time.Time) {
	m := &c.meetings
	if m.told {
		return
	}
	if at := m.first.Add(waitTold); c.now.Before(at) {
		c.wakeAt(at)
		return
	}
	m.told = true
	var waits []string
	for _, one := range m.wait {
		waits = append(waits, one.view.config.Name)
	}
	slices.Sort(waits)
	c.log(slog.LevelWarn, "switches are not written to yet: others may know better where open connections are",
		"waiting", text.List(slices.Compact(waits), Few),
		"for", text.List(slices.Sorted(maps.Keys(expected)), Few))
}

// Meetings tells of the switches that are not written to yet, as others are yet to be looked at.
func (c *Core) Meetings() (lines []string) {
	c = c.seen()
	m := &c.meetings
	var names []string
	var until time.Time
	for name, at := range c.expected() {
		names = append(names, name)
		if at.After(until) {
			until = at
		}
	}
	slices.Sort(names)
	for _, one := range m.wait {
		name := one.view.config.Name
		if c.views[name] != one.view || len(names) == 0 {
			continue
		}
		is := "has other slots than the store"
		if one.empty {
			is = "is empty, and forwards nothing"
		}
		lines = append(lines, fmt.Sprintf("switch %s %s: it waits until %s at most to be written to, for %s may know "+
			"better where open connections are", name, is, until.UTC().Format(time.DateTime+" MST"),
			text.List(names, Few)))
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// open says whether a switch that was not met yet may have the last word on the slots.
func (m *meetings) open(now time.Time) bool {
	return !m.over && !m.first.IsZero() && now.Sub(m.first) <= firstMeetings
}

// takeUp makes taken, which follows from what a switch holds, the plan.
func (c *Core) takeUp(name string, taken plan.State, found plan.Adoption) {
	m := &c.meetings
	if err := taken.Check(); err != nil {
		c.log(slog.LevelError, "what the switch holds is not taken over: the slots are those of the store",
			"switch", name, "err", err)
		return
	}
	m.over, m.stored = true, plan.State{}
	if samePools(c.stored.Plan, taken) {
		c.stored.Plan = taken // what the switch has of numbers is not given again
		return
	}
	if found.Astray > 0 {
		ev := SlotsAdopted{name, found}
		m.older, m.at = ev.Text(), c.now
		c.publish(ev)
		// What does not know the slots does not know either who has served by them, and who was lost a moment ago.
		for _, v := range c.views {
			v.had, v.doubt = true, v.doubt || v.unmet()
			if v.lost.IsZero() && (v.unmet() || v.empty) {
				v.lost, v.behind = v.taken, true
			}
		}
		c.pace()
	}
	next := c.stored
	next.Plan = taken
	next.Verdicts = maps.Clone(next.Verdicts)
	for _, key := range found.Serving {
		// Whoever wrote these rows knew better. A verdict that was given since then counts.
		if h := next.Verdicts[key].Health; (h == plan.Down || h == plan.Failing) && !c.authors.heard(key) {
			delete(next.Verdicts, key)
		}
	}
	if err := c.step(next, cause{text: fmt.Sprintf("what switch %s holds", name)}, true); err != nil {
		c.log(slog.LevelError, "planning from what a switch holds", "switch", name, "err", err)
	}
}
