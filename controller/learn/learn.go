// Package learn decides where stations live: what the switch tells of source MACs becomes rows of
// the tables station and l2. It is pure; the controller's reconciler of each switch feeds it and
// writes what it asks for. A switch's stations are its own: they are adopted on read-back, never
// planned and never stored. Hosts may send from as many MACs as they like: how many are learned is
// bounded, and shared between the ports.
package learn

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/packet"
)

// Table is one of the two tables that hold a station.
type Table uint8

// Station has the row of a source MAC, which ages; L2 that of the same MAC as a destination, which goes with the other.
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

// Retry is how long the learner waits before it tries again what a switch has refused.
const Retry = 30 * time.Second

// Sight is what a notice of a source MAC means.
type Sight uint8

// Known: nothing is to be done, as the station is there already, or is none. Fresh: it is new. Moved: it was at another
// port. NoRoom: it is not learned.
const (
	Known Sight = iota
	Fresh
	Moved
	NoRoom
)

// Learner knows the stations of one switch and the rows that it holds for them. For one goroutine.
//
//	            Seen                       Aged
//	(unknown) --------> known at port P -----------> (unknown)
//	                      | Seen at Q
//	                      +---------> known at port Q
//
// Half of the switch's table is kept for its ports in equal shares, the other half is for whoever comes
// first: a port that invents MACs leaves room for the router on another.
type Learner struct {
	want    map[packet.MAC]uint16
	rows    [2]map[packet.MAC]uint16 // by Table, as read or written
	pinned  map[packet.MAC]uint16    // not to be learned
	queued  map[packet.MAC]bool      // may differ from want: it is in queues or in refused
	queues  map[int][]packet.MAC     // by port, or gone; the oldest first. They take turns
	served  int                      // whose turn was last
	refused []packet.MAC             // rows of these were not deleted; again from retryAt

	size     int            // rows of each table
	share    int            // of each port of the switch
	at       map[uint16]int // stations by port
	listed   []uint16       // the switch's ports
	reserved int            // what the listed ports have not taken of their shares

	retryAt time.Time // when what was refused may be tried again
	tight   int       // until then, rows that the table turned out to hold; 0: size
	closed  bool      // until then, or until a row is deleted, no more fit
}

// gone is the queue of stations that are no more.
const gone = -1

// New returns a learner for a switch that holds nothing, and has room for size stations.
func New(size int) *Learner {
	return &Learner{
		want:   make(map[packet.MAC]uint16),
		rows:   [2]map[packet.MAC]uint16{make(map[packet.MAC]uint16), make(map[packet.MAC]uint16)},
		queued: make(map[packet.MAC]bool),
		queues: make(map[int][]packet.MAC),
		size:   size,
		at:     make(map[uint16]int),
	}
}

// Limit says for how many stations there is room, and which ports have a share of it.
func (l *Learner) Limit(size int, ports []uint16) {
	if size == l.size && slices.Equal(ports, l.listed) {
		return
	}
	l.size, l.listed = size, slices.Clone(ports)
	l.share = 0
	if len(ports) > 0 {
		l.share = size / 2 / len(ports)
	}
	l.reserved = 0
	for _, port := range l.listed {
		l.reserved += max(0, l.share-l.at[port])
	}
}

// Ignore names the MACs that are not learned: those whose port the plan gives, and those of VIPs, which have none. What
// was learned under one of them is forgotten. One whose port is limits.NoPort is learned as any other.
func (l *Learner) Ignore(pinned map[packet.MAC]uint16) {
	if maps.Equal(l.pinned, pinned) {
		return
	}
	l.pinned = pinned
	for mac := range l.want {
		if !l.learnable(mac) {
			l.Aged(mac)
		}
	}
}

// Adopt takes over a row that was read back. A station row makes its MAC known, whatever the bounds: it is
// there. An l2 row without one is a leftover, as nothing would ever age it.
func (l *Learner) Adopt(t Table, mac packet.MAC, port uint16) {
	l.rows[t][mac] = port
	if t == Station && l.learnable(mac) {
		l.put(mac, port)
	}
	l.enqueue(mac)
}

// Seen takes the switch's notice of a source MAC. from is the port where a station that moved was before.
func (l *Learner) Seen(mac packet.MAC, port uint16, now time.Time) (from uint16, what Sight) {
	if !l.learnable(mac) {
		return 0, Known
	}
	from, known := l.want[mac]
	switch {
	case known && from == port:
		l.enqueue(mac)
		return from, Known
	case !known && !l.room(port, now):
		return 0, NoRoom
	}
	l.put(mac, port)
	l.enqueue(mac)
	if known {
		return from, Moved
	}
	return 0, Fresh
}

// room says whether a port may have one station more.
func (l *Learner) room(port uint16, now time.Time) bool {
	size := l.size
	if now.Before(l.retryAt) {
		if l.closed {
			return false
		}
		if l.tight > 0 {
			size = min(size, l.tight)
		}
	}
	kept := l.reserved
	if l.at[port] < l.share && slices.Contains(l.listed, port) {
		kept = 0
	}
	return len(l.want)+kept < size
}

// put makes a station known at a port.
func (l *Learner) put(mac packet.MAC, port uint16) {
	l.forget(mac)
	l.want[mac] = port
	l.count(port, +1)
}

func (l *Learner) forget(mac packet.MAC) {
	if port, known := l.want[mac]; known {
		delete(l.want, mac)
		l.count(port, -1)
	}
}

func (l *Learner) count(port uint16, by int) {
	if slices.Contains(l.listed, port) {
		l.reserved += max(0, l.share-l.at[port]-by) - max(0, l.share-l.at[port])
	}
	if l.at[port] += by; l.at[port] == 0 {
		delete(l.at, port)
	}
}

// enqueue remembers that rows of a MAC may have to be written, if they do.
func (l *Learner) enqueue(mac packet.MAC) {
	if !l.queued[mac] && len(l.changes(mac)) > 0 {
		l.queued[mac] = true
		l.wait(mac)
	}
}

// wait puts a MAC behind the others of its port.
func (l *Learner) wait(mac packet.MAC) {
	at := gone
	if port, wanted := l.want[mac]; wanted {
		at = int(port)
	}
	l.queues[at] = append(l.queues[at], mac)
}

// Aged takes the switch's notice that a station has been silent.
func (l *Learner) Aged(mac packet.MAC) {
	l.forget(mac)
	l.enqueue(mac)
}

// changes returns what is to be written of one MAC.
func (l *Learner) changes(mac packet.MAC) []Change {
	var changes []Change
	port, wanted := l.want[mac]
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
		changes = append(changes, c)
	}
	return changes
}

// Changes returns rows to write now, about most of them. Ports take turns, so that a station does not wait behind those
// that another port invents; within a port the oldest comes first. Changes that are told neither to Done nor to Refused
// are returned again.
func (l *Learner) Changes(most int, now time.Time) []Change {
	if len(l.refused) > 0 && !now.Before(l.retryAt) {
		for _, mac := range l.refused {
			l.wait(mac)
		}
		l.refused = nil
	}
	turns := slices.Sorted(maps.Keys(l.queues))
	if i, _ := slices.BinarySearch(turns, l.served+1); i > 0 {
		turns = slices.Concat(turns[i:], turns[:i])
	}
	shut := l.closed && now.Before(l.retryAt)
	var changes []Change
	kept := make(map[int][]packet.MAC)
	for left := true; left && len(changes) < most; {
		left = false
		for _, at := range turns {
			for len(l.queues[at]) > 0 && len(changes) < most {
				mac := l.queues[at][0]
				l.queues[at] = l.queues[at][1:]
				of := l.changes(mac)
				if shut && len(of) == 2 && of[0].Op == Insert {
					l.forget(mac) // it is told again
					of = nil
				}
				if len(of) == 0 {
					delete(l.queued, mac)
					continue
				}
				changes = append(changes, of...)
				kept[at] = append(kept[at], mac)
				l.served, left = at, true
				break
			}
		}
	}
	for at, macs := range kept {
		l.queues[at] = append(macs, l.queues[at]...)
	}
	maps.DeleteFunc(l.queues, func(_ int, macs []packet.MAC) bool { return len(macs) == 0 })
	return changes
}

// Due returns when Changes has something to return; the zero Time for never.
func (l *Learner) Due(now time.Time) time.Time {
	switch {
	case len(l.queues) > 0:
		return now
	case len(l.refused) > 0:
		return l.retryAt
	}
	return time.Time{}
}

// Done records that the switch took a change.
func (l *Learner) Done(c Change) {
	if c.Op == Delete {
		delete(l.rows[c.Table], c.MAC)
		l.closed = false
	} else {
		l.rows[c.Table][c.MAC] = c.Port
		if l.tight > 0 {
			l.tight = max(l.tight, len(l.rows[c.Table]))
		}
	}
}

// Refused records that the switch did not take a change. A station whose rows it does not take is
// forgotten, so that it is told anew when it sends again, and new ones are not tried until a row is
// deleted or Retry is over. A row that it does not delete is left for as long.
func (l *Learner) Refused(c Change, now time.Time) {
	switch c.Op {
	case Insert:
		l.retryAt, l.tight, l.closed = now.Add(Retry), len(l.rows[c.Table]), true
		l.Aged(c.MAC)
	case Modify:
		l.Aged(c.MAC)
	case Delete:
		if l.retryAt.Before(now) {
			l.retryAt = now.Add(Retry)
		}
		for at, macs := range l.queues {
			if i := slices.Index(macs, c.MAC); i >= 0 {
				l.queues[at] = slices.Delete(macs, i, i+1)
				l.refused = append(l.refused, c.MAC)
			}
		}
		maps.DeleteFunc(l.queues, func(_ int, macs []packet.MAC) bool { return len(macs) == 0 })
	}
}

// Len counts the stations.
func (l *Learner) Len() int { return len(l.want) }

// Full says why new stations are not learned; empty when there is room on every port.
func (l *Learner) Full(now time.Time) string {
	size := l.size
	if now.Before(l.retryAt) && l.tight > 0 {
		size = min(size, l.tight)
	}
	switch {
	case now.Before(l.retryAt) && l.closed:
		return fmt.Sprintf("the switch takes no more than %d stations", l.tight)
	case len(l.want) >= size:
		return fmt.Sprintf("all %d stations are taken", size)
	case len(l.want)+l.reserved < size:
		return ""
	}
	// Ports that have had their shares are out of room; name the one with the most stations.
	var worst uint16
	for _, port := range slices.Sorted(maps.Keys(l.at)) {
		if l.at[port] > l.at[worst] {
			worst = port
		}
	}
	return fmt.Sprintf("port %d has %d stations and may have no more, %d of %d are kept for other ports",
		worst, l.at[worst], l.reserved, size)
}

// learnable: a group address is nobody's source, and a pinned station has its place from the plan.
func (l *Learner) learnable(mac packet.MAC) bool {
	port, pinned := l.pinned[mac]
	return !mac.IsGroup() && !mac.IsZero() && (!pinned || port == limits.NoPort)
}
