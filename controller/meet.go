package controller

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
)

// Flows are where a switch's rows say. The store may be older than these: restored from a backup, or not written while
// its disk was full. So the first switch that is connected and forwards already has the last word on the slots, and the
// plan goes on from there; the others are brought in line with it. But where a switch has the slots as they are stored,
// the store is not older: a switch that has them otherwise was away while they moved, and waits until the others have been
// looked at. After that, and once a switch that came empty has been served from the store for a while, memory is newer
// than what any other switch holds.

// meetings is what the loop remembers of the switches that it met.
type meetings struct {
	stored plan.State       // as it was read
	first  time.Time        // when a switch was met first
	met    map[string]*view // who has been looked at
	astray []meeting        // those that have the slots otherwise than what was stored, and wait
	over   bool             // the slots are the loop's
	older  string           // that the store and a switch disagreed, empty: they did not
	at     time.Time        // when that was found
}

// meeting is a switch that waits for a word on what it holds.
type meeting struct {
	name    string
	view    *view
	have    rows.Tables
	release func() // it may be written to
}

const (
	// firstMeetings is how long after the first switch others may have the last word if that one was empty.
	firstMeetings = time.Minute
	// others is how long after the first switch one is waited for that does not answer.
	others = 5 * time.Second
	// olderTold is for how long a status says that the store was older than a switch.
	olderTold = time.Hour
)

// told returns what a status says of it.
func (m *meetings) told(now time.Time) string {
	if now.Sub(m.at) >= olderTold {
		return ""
	}
	return m.older
}

// meet takes up what a switch holds that is connected for the first time, and releases it when its slots are decided.
func (l *loop) meet(ctx context.Context, v *view, name string, have rows.Tables, release func()) {
	now := time.Now()
	m := &l.meetings
	if m.first.IsZero() {
		m.first, m.met = now, make(map[string]*view)
	}
	if l.views[name] != v || m.over || now.Sub(m.first) > firstMeetings {
		release()
		return
	}
	m.met[name] = v
	next, found := plan.Adopt(l.st.Plan, m.stored, l.intent, have)
	switch {
	case found.Slots == 0:
		release()
	case found.Astray > 0:
		m.astray = append(m.astray, meeting{name, v, have, release})
	default:
		l.takeUp(ctx, name, next, found)
		release()
	}
	l.decideMeetings(ctx, now)
}

// decideMeetings ends the wait of switches that have other slots than what was stored: when nobody else is to be
// looked at, the first of them has the last word.
func (l *loop) decideMeetings(ctx context.Context, now time.Time) {
	m := &l.meetings
	if len(m.astray) == 0 || !m.over && l.expected(now) {
		return
	}
	for _, one := range m.astray {
		if !m.over && l.views[one.name] == one.view {
			next, found := plan.Adopt(l.st.Plan, m.stored, l.intent, one.have)
			l.takeUp(ctx, one.name, next, found)
		}
		one.release()
	}
	m.astray = nil
}

// expected says whether a switch is yet to be looked at: one that is connected is being read, and one that is not may
// take a moment.
func (l *loop) expected(now time.Time) bool {
	m := &l.meetings
	for name, v := range l.views {
		wait := others
		if v.connected() {
			wait = firstMeetings
		}
		if m.met[name] != v && now.Sub(m.first) < wait {
			return true
		}
	}
	return false
}

// takeUp makes taken, which follows from what a switch holds, the plan.
func (l *loop) takeUp(ctx context.Context, name string, taken plan.State, found plan.Adoption) {
	now := time.Now()
	m := &l.meetings
	if err := taken.Check(); err != nil {
		l.log.Error("what the switch holds is not taken over: the slots are those of the store", "switch", name, "err", err)
		return
	}
	m.over, m.stored = true, plan.State{}
	if samePools(l.st.Plan, taken) {
		l.st.Plan = taken // what the switch has of numbers is not given again
		return
	}
	if found.Astray > 0 {
		ev := slotsAdopted(name, found)
		m.older, m.at = ev.Text, now
		l.events.publish(now, ev)
	}
	next := l.st
	next.Plan = taken
	next.Verdicts = maps.Clone(next.Verdicts)
	for _, key := range found.Alive {
		// Whoever wrote these rows knew better. A verdict that was given since then counts.
		if h := next.Verdicts[key].Health; (h == plan.Down || h == plan.Failing) && !l.authors.heard(key) {
			delete(next.Verdicts, key)
		}
	}
	if err := l.step(ctx, next, cause{text: fmt.Sprintf("what switch %s holds", name)}, true, nil); err != nil {
		l.log.Error("planning from what a switch holds", "switch", name, "err", err)
	}
}

// slotsAdopted says what it means that a switch and the store disagree.
func slotsAdopted(name string, found plan.Adoption) *api.Event {
	text := fmt.Sprintf("the store is older than switch %s, or was not written to it: %d of %d slots are otherwise there. "+
		"Open connections stay where the switch has them, and what has to change moves gradually", name, found.Astray, found.Slots)
	if found.Unknown > 0 {
		text += fmt.Sprintf("; %d backends are drained that the store does not know", found.Unknown)
	}
	return &api.Event{Text: text, Detail: &api.Event_SlotsAdopted{SlotsAdopted: &api.SlotsAdopted{
		Switch: name, Slots: uint32(found.Astray), SlotsTotal: uint32(found.Slots), Unknown: uint32(found.Unknown),
	}}}
}
