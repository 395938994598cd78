package core

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
)

// view is what is known of one switch.
type view struct {
	config config.Switch
	status Switch
	served uint64                  // counts the changes of what the switch holds of the VIPs
	silent map[rows.Flow]time.Time // pinned flows that it has heard nothing of, and when it said so

	// lost is when it was lost last, zero: never. One that is not met yet may have been lost before anybody was there
	// to see it: it counts as lost when it was taken on, unless it is connected atOnce, and with rows, or nobody was
	// ever served.
	lost   time.Time
	taken  time.Time // when it was taken on
	doubt  bool      // it may have been lost before that, by what somebody saw or may have seen; then lost is not zero
	had    bool      // it may have rows, though nobody has met it yet: somebody before may have written them
	met    time.Time // when it was connected last
	back   time.Time // when it held what was decided again
	holds  time.Time // from when on it has held what was decided at some time since it was connected; zero: it has not
	empty  bool      // it held nothing when it was connected last
	behind bool      // it was lost, and has not held what was decided since

	lag     lag
	overdue map[string]bool // pools whose moves went on without it since it began to lag, and whether they do now

	forgot   int       // slots that moved when it was connected and held nothing: it has lost their marks
	forgotAt time.Time // when that was
}

func (v *view) connected() bool { return v.status.Connected }

// unmet says whether nobody has read yet what it holds.
func (v *view) unmet() bool { return v.status.Connects == 0 }

// meet takes note of what it held when it was read back for the first time. One that forwards and was connected at once
// was never seen not to. One that could not be reached for a while may have been cut off with those who check, though
// the store knew of nobody who was served.
func (v *view) meet() {
	switch {
	case v.doubt || v.lost.After(v.taken) || v.empty: // it was seen to be lost, or shows it
	case v.met.Sub(v.taken) <= atOnce:
		v.lost, v.behind = time.Time{}, false
	default:
		v.lost, v.behind = v.taken, true
	}
}

// came says how it was found when it was connected last.
func (v *view) came() string {
	switch {
	case v.empty:
		return "came empty"
	case v.doubt && !v.lost.After(v.taken):
		return "may have been away before it was taken on"
	}
	return "was away"
}

// away says whether the switch goes on by what it was told before it was lost, or may do so.
func (v *view) away() bool { return !v.connected() && (v.status.Connects > 0 || v.had) }

// status takes what a switch says of itself. One that is not of the intent has nothing to say.
func (c *Core) status(s Switch) {
	v := c.views[s.Name]
	if v == nil {
		return
	}
	before := v.status.Connected
	if s.Connected && !before {
		v.met = c.now
	}
	if s.Connects > v.status.Connects {
		if v.empty = s.ReadBack == 0; v.empty {
			c.forgotten(v)
		}
		if v.unmet() {
			v.meet()
		}
	}
	if s.Connected != before || s.Refuses != v.status.Refuses || !rows.SameLacks(v.status.Lacks, s.Lacks) {
		v.served++
	}
	v.status = s
	if !s.Connected && before {
		v.lost, v.behind = c.now, true
	}
	if v.behind && s.Connected && s.Applied >= c.sequence {
		v.back, v.behind = c.now, false
	}
	switch {
	case !s.Connected:
		clear(v.silent)
		v.holds = time.Time{}
	case v.holds.IsZero() && s.Applied >= c.sequence:
		v.holds = c.now
	}
	c.pace()
	c.pass(s)
	if c.mayGoOn() {
		c.goOn()
	}
}

// forgotten tells that a switch is empty while slots move. It is filled again, but for the marks: only the switch knew
// which flows of these slots were new, and takes them for old ones.
func (c *Core) forgotten(v *view) {
	slots := 0
	for _, pool := range c.intent.Pools {
		census, _ := c.stored.Plan.Census(pool.Name)
		slots += census.Moving
	}
	if slots == 0 {
		return
	}
	v.forgot, v.forgotAt = slots, c.now
	c.log(slog.LevelWarn, "a switch came back empty while slots moved: "+
		"connections that were opened on them since their move began break",
		"switch", v.config.Name, "slots", slots)
}

// tellSwitches tells the switches what is wanted of them, those that are to be taken on first of all.
func (c *Core) tellSwitches() {
	alike := plan.Build(c.intent, c.stored.Plan)
	if alike.Dead = c.outlook.dead; !c.outlook.of(c.steps, c.suspicion) {
		alike.Dead = c.dead(c.judgeAll(c.stored).health)
	}
	for _, s := range c.intent.Switches {
		tell := Tell{s.Name, c.sequence, c.own(alike, s), c.stored.VIPAge}
		if slices.Contains(c.take, s.Name) {
			c.out = append(c.out, TakeOn{s, tell})
		} else {
			c.out = append(c.out, tell)
		}
	}
	c.tell, c.take = false, nil
}

// own adds to what all switches must hold alike what is a switch's own.
func (c *Core) own(alike rows.Tables, s config.Switch) rows.Tables {
	c.places.on(s.Name, c.intent, c.stored).Put(&alike)
	alike.Flood = slices.Sorted(slices.Values(s.Ports))
	return alike
}

// syncSwitches takes on the switches of the intent, and lets go of others: their tables stay as they are. served says
// whether there were slots before: else nobody has an open connection. began: the intent is that of before the start.
func (c *Core) syncSwitches(served, began bool) {
	wanted := make(map[string]config.Switch)
	for _, s := range c.intent.Switches {
		wanted[s.Name] = s
	}
	// A switch keeps its rows under another address or name; or another has taken its name, which nobody can tell.
	type place struct {
		address string
		device  uint64
	}
	was, there := make(map[string]*view), make(map[place]*view)
	for _, name := range slices.Sorted(maps.Keys(c.views)) {
		v := c.views[name]
		if s, ok := wanted[name]; !ok || s.Address != v.config.Address || s.DeviceID != v.config.DeviceID {
			was[name], there[place{v.config.Address, v.config.DeviceID}] = v, v
			delete(c.views, name)
			c.out = append(c.out, LetGo{name})
			c.pass(Switch{Name: name}) // nobody waits for it
		}
	}
	for _, s := range c.intent.Switches {
		if c.views[s.Name] == nil {
			v := &view{config: s, taken: c.now, had: began, silent: make(map[rows.Flow]time.Time)}
			if served {
				v.lost, v.behind = c.now, true
			}
			if began && c.suspicion != nil { // it may be this one that the controller before suspected
				v.lost, v.doubt = c.suspicion.since, true
			}
			for _, old := range []*view{was[s.Name], there[place{s.Address, s.DeviceID}]} {
				if old == nil {
					continue
				}
				v.had = v.had || old.had || !old.unmet()
				if c.suspicion != nil && (old.doubt || old.lost.After(old.taken)) {
					v.lost, v.doubt = old.lost, true
				}
			}
			c.views[s.Name] = v
			c.take = append(c.take, s.Name)
		}
	}
}

// tellDrained announces drains that are complete, in the switches too.
func (c *Core) tellDrained() {
	held := make(map[string]bool)
	for _, pool := range c.intent.Pools {
		held[pool.Name] = c.held(pool)
	}
	for _, key := range backends(c.stored.Admin) {
		if c.stored.Admin[key] != plan.Drain || c.drained[key] || !held[key.Pool] {
			continue
		}
		if share, ok := c.share(key); !ok || share.Owns() {
			continue
		}
		c.drained[key] = true
		c.publish(DrainDone{key, c.forced[key], c.without()})
	}
}

// backends are the keys of a map, in order.
func backends[V any](m map[plan.BackendKey]V) []plan.BackendKey {
	return slices.SortedFunc(maps.Keys(m), func(a, b plan.BackendKey) int {
		return cmp.Or(cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Backend, b.Backend))
	})
}
