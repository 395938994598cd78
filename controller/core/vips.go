package core

import (
	"fmt"
	"maps"
	"slices"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/internal/text"
)

// Serving is the state of a VIP.
type Serving uint8

// The states of a VIP.
const (
	Disabled     Serving = iota // by the intent
	Unprogrammed                // no switch that can be seen has its rows
	NoBackend                   // nobody takes new connections
	Degraded                    // a switch does not have all of its rows
	Active
)

func (s Serving) String() string {
	return [...]string{"disabled", "unprogrammed", "no backend", "degraded", "active"}[s]
}

// VIP is what is known of a VIP at one moment.
type VIP struct {
	Config  config.VIP
	State   Serving
	Reason  string
	Serving bool // traffic may come: some switch serves it as decided, as far as that is known
	Unseen  bool // no switch in sight serves it, and one that is out of sight may
	Live    Live // of its pool
}

// VIPs returns the intent's VIPs, in its order, judged by what switches hold and not by what is wanted.
func (c *Core) VIPs() []VIP {
	c = c.seen()
	health := c.Health()
	dead := c.deadAhead(health)
	live := make(map[string]Live)
	for _, p := range c.intent.Pools {
		live[p.Name] = liveOf(p, c.stored.Plan, health)
	}
	list := make([]VIP, len(c.intent.VIPs))
	for i, v := range c.intent.VIPs {
		list[i] = c.vip(v, live[v.Pool], dead)
	}
	return list
}

// Live is the part of a pool that takes new connections.
type Live struct {
	Owned           bool // some backend does
	Backends, Total uint32
	Weight, Weights uint32
}

// liveOf counts the backends of the intent that own slots and may take new connections.
func liveOf(pool config.Pool, st plan.State, health map[plan.BackendKey]plan.Health) Live {
	census, _ := st.Census(pool.Name)
	var s Live
	owners := make(map[string]bool)
	for _, b := range census.Backends {
		h := health[plan.BackendKey{Pool: pool.Name, Backend: b.Name}]
		takes := b.Slots > 0 && (h != plan.Down && h != plan.Failing || pool.AllDown == config.Forward)
		s.Owned = s.Owned || takes
		owners[b.Name] = !b.Removed && takes
	}
	for _, b := range pool.Backends {
		s.Total++
		s.Weights += uint32(b.Weight)
		if owners[b.Name] {
			s.Backends++
			s.Weight += uint32(b.Weight)
		}
	}
	return s
}

// vip is the one truth about a VIP. dead are the backends that are not up and get new flows from some switch all the
// same.
func (c *Core) vip(v config.VIP, live Live, dead map[rows.BackendID]bool) VIP {
	is := VIP{Config: v, Live: live}
	switch {
	case !v.Enabled:
		return is
	case !c.connected():
		is.State, is.Reason, is.Unseen = Unprogrammed, "no switch is connected", live.Owned
		return is
	case !live.Owned:
		is.State, is.Reason = NoBackend, "no backend of the pool may receive traffic"
		return is
	}
	hidden := false
	var read, worse []string // switches that are being read back, and what is wrong with others
	for _, name := range slices.Sorted(maps.Keys(c.views)) {
		view := c.views[name]
		switch {
		case !view.connected():
			hidden = true // not to be seen is not to be down: it may serve
		case view.status.Lacks == nil:
			hidden = true
			read = append(read, name)
		default:
			wrong, serves := c.service(view, v, dead)
			is.Serving = is.Serving || serves
			if wrong != "" {
				worse = append(worse, wrong)
			}
		}
	}
	is.Unseen = hidden && !is.Serving
	switch {
	case len(worse) == 1:
		is.State, is.Reason = Degraded, worse[0]
	case len(worse) > 1:
		is.State, is.Reason = Degraded, fmt.Sprintf("%s; and %d more", worse[0], len(worse)-1)
	case !is.Serving:
		is.State, is.Reason = Unprogrammed, fmt.Sprintf("switch %s is being read back", text.List(read, 3))
	default:
		is.State = Active
	}
	return is
}

// service says what is wrong with a VIP on a switch that was read back, and whether it serves there. Nothing is wrong
// while rows of a VIP that stands there are being written: it is served as was decided before.
func (c *Core) service(view *view, v config.VIP, dead map[rows.BackendID]bool) (wrong string, serves bool) {
	name := view.config.Name
	lack, told := view.status.Lacks[vipKey(v)]
	refused := view.status.Refuses
	nowhere := lack.Slots != nil && lack.Slots.New[0] > 0
	switch {
	case !told || !refused && (lack.Dead || nowhere):
		return fmt.Sprintf("its rows are not on switch %s yet", name), false
	case !refused:
		return "", true
	case lack.Dead:
		return fmt.Sprintf("switch %s does not take its rows", name), false
	case lack.Slots != nil:
		where, lost := c.astray(lack.Slots, dead)
		return fmt.Sprintf("switch %s does not take its rows: %s", name, where), !lost
	case lack.Row != "":
		return fmt.Sprintf("switch %s does not take its rows: %s", name, lack.Row), true
	}
	return "", true
}

// astray tells where flows of slots go whose rows a switch refuses; lost says that new ones go to nobody who is up.
func (c *Core) astray(a *rows.Astray, dead map[rows.BackendID]bool) (where string, lost bool) {
	var parts []string
	for _, id := range slices.Sorted(maps.Keys(a.New)) {
		to := "nowhere"
		switch key, known := c.stored.Plan.Backend(id); {
		case dead[id] && known:
			to = fmt.Sprintf("to %v, which is not up", key)
		case known:
			to = fmt.Sprintf("to %v", key)
		case id != 0:
			to = "to a backend that was removed"
		}
		lost = lost || dead[id]
		parts = append(parts, fmt.Sprintf("new flows of %d of %d slots go %s", a.New[id], a.Slots, to))
	}
	if a.Old > 0 {
		parts = append(parts, fmt.Sprintf("open flows of %d of %d slots may break", a.Old, a.Slots))
	}
	return text.List(parts, 3), lost
}

// deadAhead returns the backends that are not up and get new flows because a switch refuses rows. 0 stands for nobody.
func (c *Core) deadAhead(health map[plan.BackendKey]plan.Health) map[rows.BackendID]bool {
	dead := make(map[rows.BackendID]bool)
	seen := make(map[*rows.Astray]bool)
	for _, view := range c.views {
		if !view.status.Refuses {
			continue
		}
		for _, lack := range view.status.Lacks {
			if lack.Slots == nil || seen[lack.Slots] {
				continue
			}
			seen[lack.Slots] = true
			for id := range lack.Slots.New {
				key, known := c.stored.Plan.Backend(id)
				if is := health[key]; !known || is != plan.Up && is != plan.Unknown {
					dead[id] = true
				}
			}
		}
	}
	return dead
}

// Unwritten says, in a line for each switch, why it does not hold yet what was decided on a backend.
func (c *Core) Unwritten(pool config.Pool, backend string, id rows.BackendID) (lines []string) {
	c = c.seen()
	if !c.connected() {
		return []string{"no switch is connected"}
	}
	for _, name := range slices.Sorted(maps.Keys(c.views)) {
		v := c.views[name]
		switch {
		case !v.connected(): // what waits for it says so
			if c.overdue(v, pool) && c.stored.Admin[plan.BackendKey{Pool: pool.Name, Backend: backend}] == plan.Drain {
				lines = append(lines, fmt.Sprintf("switch %s is disconnected and may still send connections there",
					name))
			}
		case v.status.Applied < c.sequence:
			lines = append(lines, fmt.Sprintf("being written to switch %s", name))
		case v.status.Refuses:
			if a := c.astrayOf(pool, v); a != nil && a.New[id] > 0 {
				lines = append(lines,
					fmt.Sprintf("switch %s does not take it: new flows of %d slots still come here", name, a.New[id]))
			}
		}
	}
	return lines
}

// astrayOf returns the slots of a pool whose rows a switch does not hold as wanted; nil: none.
func (c *Core) astrayOf(pool config.Pool, v *view) *rows.Astray {
	for _, vip := range c.intent.VIPs {
		if vip.Pool == pool.Name {
			if a := v.status.Lacks[vipKey(vip)].Slots; a != nil {
				return a
			}
		}
	}
	return nil
}

// vipFacts is what VIPs follow from: while it is the same, so are they.
type vipFacts struct {
	intent *config.Intent
	pools  map[string]*plan.Pool // never modified
	served map[string]uint64     // by connected switch: counts the changes of what it holds of the VIPs
	steps  uint64                // counts the times that the plan was asked
	dead   map[rows.BackendID]bool
}

func (f vipFacts) equal(g vipFacts) bool {
	return f.intent == g.intent && f.steps == g.steps && maps.Equal(f.pools, g.pools) &&
		maps.Equal(f.served, g.served) &&
		maps.Equal(f.dead, g.dead)
}

// tellVIPs has the VIPs told when they may have changed.
func (c *Core) tellVIPs() {
	served := make(map[string]uint64)
	refused := false
	for name, v := range c.views {
		if v.connected() {
			served[name] = v.served
			refused = refused || v.status.Refuses
		}
	}
	facts := vipFacts{intent: c.intent, pools: c.stored.Plan.Pools, served: served, steps: c.steps}
	if refused {
		facts.dead = c.deadAhead(c.Health())
	}
	if !facts.equal(c.facts) {
		c.facts = facts
		c.free = append(c.free, Serve{})
	}
}
