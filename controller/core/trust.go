package core

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
)

// A verdict may be wrong. These keep one that is taken back in time from breaking a connection:
//
//	grace    the open flows of a backend that is down stay with it for a while (plan moves the new ones at once)
//	floor    while so much has fallen at once that the checks are suspect, no grace ends
//	dissent  while another healthd finds the backend up, its grace does not end; below the floor it counts as up
//	suspect  while a switch is lost that the checks may go through, and until it has been back for the time of a
//	         few checks, what they say of servers does not count, and no grace ends
//
// All of it follows from the verdicts, their times and the times of the switches.

// suspicion is the time in which a switch is the suspect and not the servers.
type suspicion struct {
	since, until time.Time // until is zero while it has no end: no switch can be reached
	text         string
	seen         bool // a switch was seen to be lost or empty; else one is not met yet, and nothing is known of it
}

// covers says whether what came in at a time is not to be trusted yet.
func (s *suspicion) covers(at time.Time) bool { return s != nil && !at.Before(s.since) }

const (
	// atOnce is how long a switch may take to be met that was not away when it was taken on.
	atOnce = 5 * time.Second
	// upToDate is how long a switch that is connected again may take to hold what was decided: twice what the largest
	// configuration takes.
	upToDate = time.Minute
	// longest is how long verdicts are put off at most once a switch is connected again: one that is lost again and
	// again must not keep the dead in service.
	longest = 2 * time.Minute
)

// suspect says whether the switches make the checks suspect at a time. settling is how long one has to be back. A
// switch that is away while others are connected is suspected for that time alone: it may never come back.
func suspect(views map[string]*view, settling time.Duration, now time.Time) *suspicion {
	connected := slices.ContainsFunc(slices.Collect(maps.Values(views)), (*view).connected)
	var s suspicion
	endless := false
	for _, name := range slices.Sorted(maps.Keys(views)) {
		v := views[name]
		if v.lost.IsZero() {
			continue
		}
		end, open := v.lost.Add(settling), !connected
		text := fmt.Sprintf("switch %s is away", name)
		switch {
		case v.unmet():
			text = fmt.Sprintf("switch %s is not met yet", name)
			if v.connected() { // it is being read back
				end = v.met.Add(upToDate + settling)
			}
		case !v.behind:
			text = fmt.Sprintf("switch %s %s", name, v.came())
			end, open = v.back.Add(settling), false
		case v.connected():
			text = fmt.Sprintf("switch %s %s, and does not hold all rows yet", name, v.came())
			end = v.met.Add(upToDate + settling)
		}
		if !open && !end.After(now) {
			continue
		}
		s.seen = s.seen || !v.unmet()
		if s.since.IsZero() || v.lost.Before(s.since) {
			s.since = v.lost
		}
		if endless = endless || open; open || s.text == "" {
			s.text = text
		}
		if end.After(s.until) {
			s.until = end
		}
	}
	if s.since.IsZero() {
		return nil
	}
	if endless {
		s.until = time.Time{}
	}
	return &s
}

// settlingTime is how long after a switch is back the slowest checks may still say what it was like without: a check
// that had begun, those in a row that make a verdict, and its way here.
func settlingTime(intent *config.Intent) time.Duration {
	const way = time.Second
	d := time.Duration(0)
	for _, pool := range intent.Pools {
		for _, c := range pool.Checks {
			d = max(d, c.Interval+c.Timeout+time.Duration(max(c.Rise, c.Fall))*max(c.FastInterval, c.Timeout)+way)
		}
	}
	return d
}

// fallen are those of some backends that are down, by when they fell.
type fallen struct {
	of int
	at []time.Time // ascending
}

func fallenOf(
	pool config.Pool, names []string, health map[plan.BackendKey]plan.Health, verdicts map[plan.BackendKey]Verdict,
) fallen {
	var f fallen
	if len(pool.Checks) == 0 {
		return f
	}
	for _, name := range names {
		f.of++
		key := plan.BackendKey{Pool: pool.Name, Backend: name}
		if isDown(pool, health[key]) {
			f.at = append(f.at, verdicts[key].Fell)
		}
	}
	slices.SortFunc(f.at, time.Time.Compare)
	return f
}

func (f *fallen) add(o fallen) {
	f.of += o.of
	f.at = append(f.at, o.at...)
	slices.SortFunc(f.at, time.Time.Compare)
}

// isDown says whether a pool takes a verdict for one on a backend that does not answer.
func isDown(pool config.Pool, h plan.Health) bool {
	return h == plan.Down || h == plan.Failing && pool.Failing == config.FailingDown
}

// most is how many fell within a time, at most.
func (f fallen) most(within time.Duration) int {
	most, first := 0, 0
	for i, at := range f.at {
		for at.Sub(f.at[first]) > within {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// below says whether more fell at once than the floor allows.
func (f fallen) below(floor config.Floor) (n int, below bool) {
	n = f.most(floor.Within)
	return n, n*100 > floor.Percent*f.of
}

const whatToDo = "open connections stay where they are, for it may be the checks that fail and not the servers; " +
	"disable or remove those that are really dead"

// floors says of pools why the grace of their backends does not end. One without a grace is held only when nobody is
// left. What counts is how many fell of those that are enabled, and how many with those that were taken out while they
// lived and have open flows yet: either may show that it is the checks that fail.
func floors(
	intent *config.Intent, health map[plan.BackendKey]plan.Health, verdicts map[plan.BackendKey]Verdict,
	takenOut map[string][]string,
) map[string]string {
	held := make(map[string]string)
	pools := make([][2]fallen, len(intent.Pools))
	var all [2]fallen
	for i, pool := range intent.Pools {
		var names []string
		for _, b := range pool.Backends {
			if b.Enabled {
				names = append(names, b.Name)
			}
		}
		pools[i][0] = fallenOf(pool, names, health, verdicts)
		pools[i][1] = fallenOf(pool, append(names, takenOut[pool.Name]...), health, verdicts)
		for k := range all {
			all[k].add(pools[i][k])
		}
	}
	for i, pool := range intent.Pools {
		if len(pools[i][1].at) == 0 {
			continue
		}
		for k, f := range pools[i] {
			n, below := f.below(pool.Floor)
			inAll, allBelow := all[k].below(intent.Floor)
			switch {
			case held[pool.Name] != "":
			case f.of > 0 && len(f.at) == f.of:
				held[pool.Name] = fmt.Sprintf("none of the %d backends is up: %s", f.of, whatToDo)
			case pool.Grace == 0: // the open connections broke at once
			case below:
				held[pool.Name] = fmt.Sprintf("%d of %d backends fell within %v, more than %d %%: %s",
					n, f.of, pool.Floor.Within, pool.Floor.Percent, whatToDo)
			case allBelow:
				held[pool.Name] = fmt.Sprintf("%d of %d backends of all pools fell within %v, more than %d %%: %s",
					inAll, all[k].of, intent.Floor.Within, intent.Floor.Percent, whatToDo)
			}
		}
	}
	return held
}

// takenOut are, by pool, the backends that have open flows yet and that the operator no longer wants, but for those
// that he said were dead.
func (c *Core) takenOut(st plan.State) map[string][]string {
	out := make(map[string][]string)
	for _, pool := range c.intent.Pools {
		p := st.Pools[pool.Name]
		if p == nil || !slices.ContainsFunc(p.Members, func(m plan.Member) bool { return !wanted(pool, m.Name) }) {
			continue
		}
		census, _ := st.Census(pool.Name)
		for _, s := range census.Backends {
			key := plan.BackendKey{Pool: pool.Name, Backend: s.Name}
			if s.Owns() && !wanted(pool, s.Name) && !c.givenUp[key] {
				out[pool.Name] = append(out[pool.Name], s.Name)
			}
		}
	}
	return out
}

// judgement is what follows from the verdicts, and from who gave them when.
type judgement struct {
	health map[plan.BackendKey]plan.Health // what the plan goes by
	// floors are why the graces of a pool do not end, by pool. Who counts as up all the same has fallen, too: what took
	// them may have taken those that nobody finds up.
	floors map[string]string
	// fallen are the same without those who count as up: their slots are not between two that are down.
	fallen map[string]string
	// doubtful are the backends that are not up in pools below their floor, or of which nobody is up: the checks may be
	// what fails. true are those that count as up all the same, for another healthd finds them up.
	doubtful map[plan.BackendKey]bool
}

// judgeAll finds what the plan goes by: verdicts that came in while a switch is the suspect do not count yet, but for
// those on backends that nobody is sent to; where nobody of a pool is up, all_down says whether those that fell last
// count as up.
func (c *Core) judgeAll(st Stored) judgement {
	j := judgement{health: c.unsuspected(st), doubtful: make(map[plan.BackendKey]bool)}
	takenOut := c.takenOut(st.Plan)
	j.floors = floors(c.intent, j.health, st.Verdicts, takenOut)
	for _, pool := range c.intent.Pools {
		bad, anyUp := notUp(pool, st, j.health)
		if anyUp && j.floors[pool.Name] == "" {
			continue
		}
		for _, key := range bad {
			who, _ := c.dissent(st, key)
			if j.doubtful[key] = who != ""; who != "" {
				j.health[key] = plan.Up
			}
		}
	}
	for _, pool := range c.intent.Pools {
		if pool.AllDown != config.Forward {
			continue
		}
		if bad, anyUp := notUp(pool, st, j.health); !anyUp {
			for _, key := range lastFallen(bad, st.Verdicts, pool.Floor.Within) {
				j.health[key] = plan.Up
			}
		}
	}
	j.fallen = floors(c.intent, j.health, st.Verdicts, takenOut)
	return j
}

// notUp are the backends of a pool that are not up. anyUp: another one is, that the operator wants.
func notUp(pool config.Pool, st Stored, health map[plan.BackendKey]plan.Health) (bad []plan.BackendKey, anyUp bool) {
	for _, b := range pool.Backends {
		key := plan.BackendKey{Pool: pool.Name, Backend: b.Name}
		if h := health[key]; h == plan.Down || h == plan.Failing {
			bad = append(bad, key)
		} else if b.Enabled && st.Admin[key] != plan.Drain {
			anyUp = true
		}
	}
	return bad, anyUp
}

// lastFallen are those of keys that fell last, each within a time after the one before it. Who fell earlier was not
// part of what took the others.
func lastFallen(
	keys []plan.BackendKey, verdicts map[plan.BackendKey]Verdict, within time.Duration,
) (last []plan.BackendKey) {
	keys = slices.SortedFunc(slices.Values(keys), func(a, b plan.BackendKey) int {
		return verdicts[b].Fell.Compare(verdicts[a].Fell)
	})
	for i, key := range keys {
		if fell := verdicts[key].Fell; fell.IsZero() || i > 0 && verdicts[keys[i-1]].Fell.Sub(fell) > within {
			break
		}
		last = append(last, key)
	}
	return last
}

// dissent is who finds a backend up, though the verdict that stands in st says otherwise, and until when that counts.
func (c *Core) dissent(st Stored, key plan.BackendKey) (name string, until time.Time) {
	return c.authors.dissent(key, st.Verdicts[key], c.rechecked[key.Pool], c.now)
}

// doubt asks the plan again when a backend that is doubtful counts otherwise by now: a healthd that finds it up was
// heard of, or is gone.
func (c *Core) doubt() {
	changed := false
	for key, believed := range c.doubtful {
		who, until := c.dissent(c.stored, key)
		changed = changed || believed != (who != "")
		if who != "" {
			c.wakeAt(until.Add(1))
		}
	}
	if changed {
		c.replan(cause{text: "healthds that differ"})
	}
}

// unsuspected is the health by all verdicts but those that do not count because a switch is the suspect.
func (c *Core) unsuspected(st Stored) map[plan.BackendKey]plan.Health {
	health := effectiveHealth(c.intent, st)
	if c.suspicion == nil {
		return health
	}
	for _, pool := range c.intent.Pools {
		census, _ := st.Plan.Census(pool.Name)
		for _, s := range census.Backends {
			key := plan.BackendKey{Pool: pool.Name, Backend: s.Name}
			v, h := st.Verdicts[key], health[key]
			bad := h == plan.Down || h == plan.Failing
			if bad && h == v.Health && c.suspicion.covers(v.Fell) && s.Owns() {
				health[key] = plan.Up
			}
		}
	}
	return health
}

// graces knows the backends that are down and keep open flows, in slots that are others' by now or that wait to be. The
// plan knows no time, and what is not stored counts anew after a restart of the controller.
type graces struct {
	// former are, by pool, the backends that keep open flows of slots that are others' by now, or that are pinned.
	former map[pinned][]plan.Member
	// ends says when the grace of each is over, counted from when the connected switches held that it is down; zero:
	// it does not end. When the pool is above its floor again, what is left of the fall has the floor's time to return.
	ends map[plan.BackendKey]time.Time
}

// pinned is what members with old flows follow from; neither is ever modified.
type pinned struct {
	*plan.Pool
	*plan.Pins
}

// look brings g in line with st and the slots that wait. held says of which pools the connected switches hold it,
// floors which pools are below theirs, disputed which backends another healthd finds up, and givenUp those for which
// neither counts.
func (g *graces) look(intent *config.Intent, st plan.State, waiting []plan.Wait, health map[plan.BackendKey]plan.Health,
	floors map[string]string, disputed func(plan.BackendKey) bool, givenUp map[plan.BackendKey]bool,
	held map[string]bool, now time.Time,
) {
	former := make(map[pinned][]plan.Member, len(st.Pools))
	ends := make(map[plan.BackendKey]time.Time)
	for _, pool := range intent.Pools {
		p := pinned{st.Pools[pool.Name], st.Pins}
		members, ok := g.former[p]
		if !ok {
			members = st.Former(pool.Name)
		}
		former[p] = members
		var names []string
		for _, m := range members {
			names = append(names, m.Name)
		}
		for _, wait := range waiting {
			if wait.Pool == pool.Name && wait.Why.Lifted() {
				names = append(names, wait.Backend)
			}
		}
		for _, name := range names {
			key := plan.BackendKey{Pool: pool.Name, Backend: name}
			if !isDown(pool, health[key]) {
				continue
			}
			switch end, ok := g.ends[key]; {
			case (floors[pool.Name] != "" || disputed(key)) && !givenUp[key]:
				ends[key] = time.Time{}
			case ok && end.IsZero():
				ends[key] = now.Add(max(pool.Grace, pool.Floor.Within))
				if givenUp[key] {
					ends[key] = now.Add(pool.Grace)
				}
			case ok:
				ends[key] = end
			case held[pool.Name]:
				ends[key] = now.Add(pool.Grace)
			}
		}
	}
	g.former, g.ends = former, ends
}

// patience is how long a suspicion may still go on.
type patience struct {
	until time.Time // zero: no switch was connected since it began
	lost  time.Time // since when no switch is connected; zero: one is
}

// count says whether it is over, as of now. It counts from when a switch was connected, and anew where none was for as
// long as it lasts: that was an outage, and not one of many losses.
func (p *patience) count(connected bool, now time.Time) (over bool) {
	switch {
	case !connected && p.lost.IsZero():
		p.lost = now
	case connected && (p.until.IsZero() || !p.lost.IsZero() && now.Sub(p.lost) >= longest):
		p.until = now.Add(longest)
	}
	if connected {
		p.lost = time.Time{}
	}
	return connected && now.After(p.until)
}

// putOff gives it more time.
func (p *patience) putOff(d time.Duration) {
	if !p.until.IsZero() {
		p.until = p.until.Add(d)
	}
	if !p.lost.IsZero() {
		p.lost = p.lost.Add(d)
	}
}

// suspectSwitches finds out anew whether a switch is the suspect. When that is over, the plan is asked what it was not
// told.
func (c *Core) suspectSwitches() {
	s := suspect(c.views, settlingTime(c.intent), c.now)
	before := c.suspicion
	if s == nil && before != nil && c.now.Before(c.owed) {
		put := *before
		put.until, s = c.owed, &put
	}
	if s == nil {
		c.patience = patience{}
	} else {
		c.wakeAt(s.until)
		if before != nil && before.since.Before(s.since) {
			s.since = before.since // it was lost again
		}
		s.seen = s.seen || before != nil && before.seen
		switch {
		case c.patience.count(c.connected(), c.now):
			s = nil // until the switches have been there for a while
		case c.connected():
			c.wakeAt(c.patience.until.Add(1))
		}
	}
	was, is := before != nil && before.seen, s != nil && s.seen
	switch {
	case is && !was:
		c.log(slog.LevelWarn, "what the checks say of servers does not count for now: they may go through the switch",
			"reason", s.text)
	case was && !is:
		c.log(slog.LevelInfo, "what the checks say of servers counts again")
	}
	c.suspicion = s
	if before != nil && s == nil {
		c.replan(cause{text: "verdicts that had to wait"})
	}
}

// goesOn is the suspicion that the controller before this one had since then; nil: it had none. What it did not count
// does not count for this one either, until the switches have been here for a while.
func goesOn(since, now time.Time) *suspicion {
	if since.IsZero() {
		return nil
	}
	if !since.Before(now) { // the clock was set back
		since = now.Add(-1)
	}
	return &suspicion{since: since, text: "a switch was away when the controller before this one ended"}
}

// noteSuspicion stores since when a switch is the suspect: a controller that starts in front of a switch that forwards
// has no reason of its own to suspect it, and would believe at once what checks found, or find yet, without it. While
// nobody has met a switch there is something to remember only where a verdict does not count for that.
func (c *Core) noteSuspicion() {
	var since time.Time
	if s := c.suspicion; s != nil {
		if s.seen || !c.stored.Suspect.IsZero() {
			since = s.since
		}
		for _, v := range c.stored.Verdicts {
			if (v.Health == plan.Down || v.Health == plan.Failing) && s.covers(v.Fell) {
				since = s.since
			}
		}
	}
	if !since.Equal(c.stored.Suspect) {
		c.stored.Suspect, c.save = since, true
	}
}

const (
	// tooLate is by how much what is due may be late. When it is later the daemon was held up, by its store or because
	// it did not run, and with it whoever would have spoken.
	tooLate = 500 * time.Millisecond
	// beat is how often the core is woken while somebody's time to speak runs out: so it knows that it was held up,
	// also where that ends just before what is due.
	beat = time.Second
)

// catchUp gives back the time in which nobody could speak: healthds, to take a verdict back, and switches.
func (c *Core) catchUp() {
	late, d := !c.wake.IsZero() && c.now.Sub(c.wake) > tooLate, c.now.Sub(c.ran)
	c.ran = c.now
	if !late {
		return
	}
	c.wake = c.now
	for key, end := range c.graces.ends {
		if !end.IsZero() {
			c.graces.ends[key] = end.Add(d)
		}
	}
	for _, f := range c.falls {
		f.since = f.since.Add(d)
	}
	for _, one := range c.authors {
		one.last = one.last.Add(d)
	}
	for _, v := range c.views {
		if !v.lag.since.IsZero() {
			v.lag.since, v.met = v.lag.since.Add(d), v.met.Add(d)
		}
	}
	if !c.served.IsZero() {
		c.served = c.served.Add(d)
	}
	for bank := range c.reports.lost {
		c.reports.lost[bank] = c.now
	}
	for key, at := range c.underWay.left {
		c.underWay.left[key] = at.Add(d)
	}
	if !c.meetings.first.IsZero() {
		c.meetings.first = c.meetings.first.Add(d)
	}
	if c.suspicion != nil {
		c.owed = c.now.Add(settlingTime(c.intent))
		c.patience.putOff(d)
	}
}

// timed says whether somebody's time to speak runs out.
func (c *Core) timed() bool {
	for _, end := range c.graces.ends {
		if !end.IsZero() {
			return true
		}
	}
	for _, f := range c.falls {
		if !f.over {
			return true
		}
	}
	if len(c.underWay.since) > 0 || len(c.underWay.left) > 0 {
		return true
	}
	return c.suspicion != nil && !c.suspicion.until.IsZero() || c.meetings.open(c.now) || c.awaits() ||
		len(c.present) > 0
}

// grace ends those graces that are over.
func (c *Core) grace() {
	health := c.healthNow()
	c.stale()
	held := c.caughtUpPools()
	disputed := func(key plan.BackendKey) bool {
		who, until := c.dissent(c.stored, key)
		if who != "" {
			c.wakeAt(until.Add(1)) // it may be silent by then
		}
		return who != ""
	}
	maps.DeleteFunc(c.givenUp, func(key plan.BackendKey, _ bool) bool {
		h := c.stored.Verdicts[key].Health
		return h != plan.Down && h != plan.Failing
	})
	c.graces.look(c.intent, c.stored.Plan, c.waiting, health, c.floors, disputed, c.givenUp, held, c.now)
	if c.suspicion != nil {
		return // a status of the switches ends up here
	}
	over := make(map[plan.BackendKey]bool)
	for key, end := range c.graces.ends {
		switch {
		case end.IsZero() || !held[key.Pool]:
		case end.After(c.now):
			c.wakeAt(end)
		default:
			over[key] = true
		}
	}
	var due []plan.SlotRef
	pins := false // to go
	for _, pool := range c.intent.Pools {
		p := c.stored.Plan.Pools[pool.Name]
		for _, m := range c.graces.former[pinned{p, c.stored.Plan.Pins}] {
			if over[plan.BackendKey{Pool: pool.Name, Backend: m.Name}] {
				due = append(due, p.Kept(m.ID)...)
				pins = pins || c.stored.Plan.Pins.Of(m.ID) > 0 && c.anyActive(pool, health)
			}
		}
	}
	waits := pins || slices.ContainsFunc(c.waiting, func(w plan.Wait) bool {
		return w.Why.Lifted() && over[plan.BackendKey{Pool: w.Pool, Backend: w.Backend}]
	})
	c.ended = over
	switch {
	case len(due) > 0:
		c.settle(due, AfterGrace) // and asks the plan again
		c.wakeAt(c.now)           // what is left of them
	case waits:
		c.replan(cause{text: "slots whose open connections have had their grace"})
	}
	c.ended = nil
}

// anyActive says whether a backend of the pool may get new flows.
func (c *Core) anyActive(pool config.Pool, health map[plan.BackendKey]plan.Health) bool {
	return slices.ContainsFunc(pool.Backends, func(b config.Backend) bool {
		key := plan.BackendKey{Pool: pool.Name, Backend: b.Name}
		h := health[key]
		return b.Enabled && c.stored.Admin[key] != plan.Drain && h != plan.Down && h != plan.Failing
	})
}

// outlook is what health says, and what it was made of.
type outlook struct {
	steps     uint64
	suspicion *suspicion
	health    map[plan.BackendKey]plan.Health
	dead      map[rows.BackendID]bool
}

func (o outlook) of(steps uint64, s *suspicion) bool {
	return o.health != nil && o.steps == steps && o.suspicion == s
}

// healthNow is health of the current state. It is found anew, and which pools are below their floor, when the plan
// was asked since: it is, for everything that it goes by.
func (c *Core) healthNow() map[plan.BackendKey]plan.Health {
	if c.outlook.of(c.steps, c.suspicion) {
		return c.outlook.health
	}
	is := c.judgeAll(c.stored)
	c.outlook = outlook{c.steps, c.suspicion, is.health, c.dead(is.health)}
	for _, pool := range c.intent.Pools {
		if was, why := c.floors[pool.Name], is.floors[pool.Name]; (was == "") != (why == "") {
			c.publish(PoolHeld{pool.Name, why})
		}
	}
	c.floors = is.floors
	falls := make(map[string]*fall, len(is.fallen))
	for pool := range is.fallen {
		if falls[pool] = c.falls[pool]; falls[pool] == nil {
			falls[pool] = &fall{since: c.now}
		}
	}
	c.falls = falls
	return c.outlook.health
}

// fall is the time that a pool is below its floor.
type fall struct {
	since time.Time
	over  bool // it is no longer fresh, and the plan knows
}

// fallenLong are the pools that have been below their floor for as long as that counts: a slot between two backends
// that are both called dead stays as it is in case they live. It must not for ever, in case they do not.
func (c *Core) fallenLong(fallen map[string]string) map[string]bool {
	stale := make(map[string]bool)
	for _, pool := range c.intent.Pools {
		if f := c.falls[pool.Name]; fallen[pool.Name] != "" && f != nil && c.now.Sub(f.since) >= pool.Floor.Within {
			stale[pool.Name] = true
		}
	}
	return stale
}

// stale asks the plan again when a fall is no longer fresh.
func (c *Core) stale() {
	over := false
	for _, pool := range c.intent.Pools {
		f := c.falls[pool.Name]
		if f == nil || f.over {
			continue
		}
		if end := f.since.Add(pool.Floor.Within); end.After(c.now) {
			c.wakeAt(end)
		} else {
			f.over, over = true, true
		}
	}
	if over {
		c.replan(cause{text: "slots between two backends that are down for long"})
	}
}

// GraceUntil is when the open flows of a backend that is down lose it; zero while that is not known: they are held,
// nobody else may take its slots, or a switch does not hold yet that it is down.
func (c *Core) GraceUntil(key plan.BackendKey) time.Time {
	c = c.seen()
	if end := c.graces.ends[key]; c.suspicion == nil && end.After(c.now) {
		return end
	}
	return time.Time{}
}

// HeldReason says why the grace of a pool's backends does not end, empty when it does.
func (c *Core) HeldReason(pool config.Pool, census plan.Census) string {
	c = c.seen()
	var reasons []string
	if census.Unowned > 0 && census.Moving > 0 && c.floors[pool.Name] == "" {
		reasons = append(reasons, "no other backend may take slots of those that are down or failing: "+
			"their open connections stay where they are")
	}
	if text := c.floors[pool.Name]; text != "" {
		reasons = append(reasons, text)
	}
	fell := func(b config.Backend) bool {
		h := c.stored.Verdicts[plan.BackendKey{Pool: pool.Name, Backend: b.Name}].Health
		return h == plan.Down || h == plan.Failing
	}
	if c.suspicion != nil && len(pool.Checks) > 0 && slices.ContainsFunc(pool.Backends, fell) {
		reasons = append(reasons,
			c.suspicion.text+", and the checks may go through it: what they say does not count yet")
	}
	return strings.Join(reasons, "; ")
}
