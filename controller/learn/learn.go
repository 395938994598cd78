// Package learn decides where stations live: what the switch reports of source MACs becomes rows of
// the tables station and l2. It is pure; the controller's reconciler of each switch feeds it and
// writes what it asks for. A switch's stations are its own: they are adopted on read-back, never
// planned and never stored.
package learn

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/sluicelb/sluice/p4/packet"
)

// Table is one of the two tables that hold a station.
type Table uint8

// The source's row, which ages, and the destination's, which does not: it goes with the other.
const (
	Station Table = iota
	L2
)

func (t Table) String() string {
	if t == Station {
		return "station"
	}
	return "l2"
}

// Op is what to do with a row.
type Op uint8

// The three ways to change a row.
const (
	Insert Op = iota
	Modify
	Delete
)

func (o Op) String() string { return [...]string{"insert", "modify", "delete"}[o] }

// Change is one row to write. Port means nothing when it is deleted.
type Change struct {
	Op    Op
	Table Table
	MAC   packet.MAC
	Port  uint16
}

func (c Change) String() string {
	if c.Op == Delete {
		return fmt.Sprintf("%v %v %v", c.Op, c.Table, c.MAC)
	}
	return fmt.Sprintf("%v %v %v port %d", c.Op, c.Table, c.MAC, c.Port)
}

// Learner knows the stations of one switch and the rows that it holds for them. For one goroutine.
//
//	            Seen                       Aged
//	(unknown) --------> known at port P -----------> (unknown)
//	                      | Seen at Q
//	                      +---------> known at port Q
type Learner struct {
	want    map[packet.MAC]uint16
	rows    [2]map[packet.MAC]uint16 // by Table, as read or written
	changed map[packet.MAC]bool      // may differ from want
	ours    map[packet.MAC]bool      // MACs that are no station's
}

// New returns a learner for a switch that holds nothing.
func New() *Learner {
	return &Learner{
		want:    make(map[packet.MAC]uint16),
		rows:    [2]map[packet.MAC]uint16{make(map[packet.MAC]uint16), make(map[packet.MAC]uint16)},
		changed: make(map[packet.MAC]bool),
	}
}

// Ignore names the MACs of VIPs: nobody else may be learned by these.
func (l *Learner) Ignore(macs map[packet.MAC]bool) {
	if maps.Equal(l.ours, macs) {
		return
	}
	l.ours = macs
	for mac := range l.want {
		if macs[mac] {
			l.Aged(mac)
		}
	}
}

// Adopt takes over a row that was read back. A station row makes its MAC known; an l2 row without
// one is a leftover, as nothing would ever age it.
func (l *Learner) Adopt(t Table, mac packet.MAC, port uint16) {
	l.rows[t][mac] = port
	if t == Station && l.learnable(mac) {
		l.want[mac] = port
	}
	l.changed[mac] = true
}

// Seen takes the switch's report of a source MAC. from is the port where it was known before.
func (l *Learner) Seen(mac packet.MAC, port uint16) (from uint16, moved bool) {
	if !l.learnable(mac) {
		return 0, false
	}
	from, known := l.want[mac]
	l.want[mac] = port
	l.changed[mac] = true
	return from, known && from != port
}

// Aged takes the switch's report that a station has been silent.
func (l *Learner) Aged(mac packet.MAC) {
	delete(l.want, mac)
	l.changed[mac] = true
}

// Changes returns the rows to write now, by MAC. Those that Done is not told of come again.
func (l *Learner) Changes() []Change {
	var changes []Change
	for mac := range l.changed {
		port, wanted := l.want[mac]
		settled := true
		for _, t := range []Table{Station, L2} {
			at, held := l.rows[t][mac]
			c := Change{Table: t, MAC: mac, Port: port}
			switch {
			case wanted && !held:
				c.Op = Insert
			case wanted && at != port:
				c.Op = Modify
			case !wanted && held:
				c.Op, c.Port = Delete, 0
			default:
				continue
			}
			settled = false
			changes = append(changes, c)
		}
		if settled {
			delete(l.changed, mac)
		}
	}
	slices.SortFunc(changes, func(a, b Change) int {
		return cmp.Or(a.MAC.Compare(b.MAC), cmp.Compare(a.Table, b.Table))
	})
	return changes
}

// Done records that the switch took a change.
func (l *Learner) Done(c Change) {
	if c.Op == Delete {
		delete(l.rows[c.Table], c.MAC)
	} else {
		l.rows[c.Table][c.MAC] = c.Port
	}
}

// GiveUp forgets a station whose rows the switch does not take, so that it is reported anew when it
// sends again. What was written of it is deleted by the next Changes.
func (l *Learner) GiveUp(mac packet.MAC) { l.Aged(mac) }

// Port returns where a station is; false when it is not known.
func (l *Learner) Port(mac packet.MAC) (uint16, bool) {
	port, ok := l.want[mac]
	return port, ok
}

// Len counts the stations.
func (l *Learner) Len() int { return len(l.want) }

// learnable: a group address is nobody's source, and a VIP's MAC is the switch itself.
func (l *Learner) learnable(mac packet.MAC) bool {
	return !mac.IsGroup() && !mac.IsZero() && !l.ours[mac]
}
