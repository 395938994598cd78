package core

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/sluicelb/sluice/controller/config"
)

// ports takes the numbers that a switch gives its ports. Where a port that the intent names has another number than
// before, what is pinned there moves with it. A port that the switch does not tell of keeps the number that it had: to
// unpin the station behind it would help nobody.
func (c *Core) ports(in Ports) {
	if c.views[in.Switch] == nil {
		return
	}
	c.noteDown(in)
	c.notePorts(in)
	c.portIDs[in.Switch] = in.IDs
	ids := c.numbered(c.written, c.stored.PortIDs)
	if maps.EqualFunc(ids, c.stored.PortIDs, maps.Equal) {
		return
	}
	before := c.decided
	if err := c.adoptFor("the numbers of ports of "+in.Switch, c.written, c.stored); err != nil {
		c.decided = before
		c.log(slog.LevelError, "ports that have another number stay where they were", "switch", in.Switch, "err", err)
	}
}

// portNotice tells how a port is when that is another state than was told: at once the first time, and then once an
// interval.
type portNotice struct {
	port    Port
	changes int // since it was told of

	down bool // as told
	told time.Time
}

// due is when there is something to tell, zero: never.
func (n *portNotice) due() time.Time {
	if n.port.Down == n.down {
		return time.Time{}
	}
	return n.told.Add(noiseInterval)
}

// notePorts takes how the ports of a switch are that the intent has. To hear nothing of a port is no change of it.
func (c *Core) notePorts(in Ports) {
	n := c.noticesOf(in.Switch)
	for _, p := range in.Fresh {
		if !slices.Contains(c.views[in.Switch].config.Ports, p.ID) {
			continue
		}
		one := n.ports[p.ID]
		if one == nil {
			one = new(portNotice)
			n.ports[p.ID] = one
		}
		if p.Down != one.port.Down {
			one.changes++
		}
		one.port = p
	}
}

// tellPorts tells which ports of a switch are no longer as was told.
func (c *Core) tellPorts(name string, n *notices) {
	for _, id := range slices.Sorted(maps.Keys(n.ports)) {
		one := n.ports[id]
		switch due := one.due(); {
		case due.IsZero():
		case due.After(c.now):
			c.wakeAt(due)
		default:
			e := PortChanged{Switch: name, Port: one.port, Changes: one.changes}
			for _, key := range backends(c.behind(name, map[uint16]bool{id: true})) {
				e.Backends = append(e.Backends, key.String())
			}
			if !one.port.Down {
				e.Port.Reason = ""
			}
			one.down, one.told, one.changes = one.port.Down, c.now, 0
			c.tellAtOnce(e)
		}
	}
}

// numbered returns the numbers of the ports that an intent names: as their switch tells them, or else as they were.
func (c *Core) numbered(intent *config.Intent, before config.PortIDs) config.PortIDs {
	var ids config.PortIDs
	for _, s := range intent.Switches {
		for _, name := range s.Named {
			id := c.portIDs[s.Name][name]
			if id == 0 || id > config.MaxPort {
				id = before[s.Name][name]
			}
			if id == 0 {
				continue
			}
			if ids == nil {
				ids = make(config.PortIDs)
			}
			if ids[s.Name] == nil {
				ids[s.Name] = make(map[string]uint16)
			}
			ids[s.Name][name] = id
		}
	}
	return ids
}

// Unnumbered is a port that the intent names, and that its switch does not tell of.
type Unnumbered struct {
	Switch, Port string
	Kept         uint16 // the number that it had, 0: none was ever told
}

// Unnumbered lists the ports that the intent names and their switch does not tell of, in the intent's order.
func (c *Core) Unnumbered() (list []Unnumbered) {
	c = c.seen()
	for _, s := range c.written.Switches {
		for _, name := range s.Named {
			if id := c.portIDs[s.Name][name]; id == 0 || id > config.MaxPort {
				list = append(list, Unnumbered{s.Name, name, c.stored.PortIDs[s.Name][name]})
			}
		}
	}
	return list
}
