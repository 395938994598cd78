package core

import (
	"log/slog"
	"maps"

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
