package core

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/internal/text"
)

// calm is for how long a backend is asked often after its port came up again. A port that goes up and down all the time
// changes nothing meanwhile, and so causes no message.
const calm = 10 * time.Second

// downPorts are the ports of a switch that are down, by the word of the gNMI server that the intent named then.
type downPorts struct {
	by     config.GNMI
	device uint64
	ports  map[uint16]bool
}

// urgency says which backends are urgent, and until when if nothing says so again.
type urgency map[plan.BackendKey]time.Time

// take takes which backends are cut off, and returns whether others are urgent than before.
func (u urgency) take(now time.Time, off map[plan.BackendKey]bool) (changed bool) {
	for key := range off {
		_, before := u[key]
		u[key] = now.Add(calm)
		changed = changed || !before
	}
	for key, until := range u {
		if !now.Before(until) {
			delete(u, key)
			changed = true
		}
	}
	return changed
}

// hasten has healthd ask those backends at once that may be gone, as their port is down.
func (c *Core) hasten() {
	maps.DeleteFunc(c.down, func(name string, _ downPorts) bool { return c.views[name] == nil })
	off := c.cutOff()
	changed := c.urgent.take(c.now, off)
	for _, until := range c.urgent {
		c.wakeAt(until)
	}
	if !changed {
		return
	}
	c.free = append(c.free, Watch{})
	if len(off) == 0 {
		return
	}
	var names []string
	for _, key := range backends(off) {
		names = append(names, key.String())
	}
	args := []any{"backends", text.List(names, Few)}
	c.free = append(c.free, Log{slog.LevelInfo, "healthd asks those at once whose port is down", args})
}

// cutOff lists the backends that are behind a port which is down.
func (c *Core) cutOff() map[plan.BackendKey]bool {
	off := make(map[plan.BackendKey]bool)
	for _, s := range c.intent.Switches {
		down, ok := c.down[s.Name]
		if !ok || down.by != s.GNMI || down.device != s.DeviceID || len(down.ports) == 0 {
			continue
		}
		maps.Copy(off, c.behind(s.Name, down.ports))
	}
	return off
}

// behind lists the backends behind ports of a switch, those too that are removed and own slots yet.
func (c *Core) behind(name string, ports map[uint16]bool) map[plan.BackendKey]bool {
	all := make(map[plan.BackendKey]bool)
	for _, pool := range c.intent.Pools {
		for _, b := range pool.Backends {
			if ports[b.SwitchPort.On(name)] {
				all[plan.BackendKey{Pool: pool.Name, Backend: b.Name}] = true
			}
		}
		leavers, _ := c.stored.Plan.Leavers(pool.Name)
		for _, b := range leavers {
			if ports[b.SwitchPort().On(name)] {
				all[plan.BackendKey{Pool: pool.Name, Backend: b.Name}] = true
			}
		}
	}
	return all
}

// noteDown takes which ports of a switch are down.
func (c *Core) noteDown(in Ports) {
	i := slices.IndexFunc(c.intent.Switches, func(s config.Switch) bool { return s.Name == in.Switch })
	if i < 0 {
		return
	}
	down := make(map[uint16]bool)
	for _, p := range in.Fresh {
		if p.Down {
			down[p.ID] = true
		}
	}
	c.down[in.Switch] = downPorts{c.intent.Switches[i].GNMI, c.intent.Switches[i].DeviceID, down}
}

// Urgent says whether healthd is to ask a backend at once, as its port is or was down.
func (c *Core) Urgent(key plan.BackendKey) bool {
	_, is := c.urgent[key]
	return is
}
