package device

import (
	"maps"
	"sync"
	"time"

	"github.com/sluicelb/sluice/p4/packet"
)

// reasonSpoof is the packet_in.reason of a frame that was dropped since its source MAC is pinned to another port.
const reasonSpoof = 2

// Sighting is where a backend's MAC was seen as a source.
type Sighting struct {
	Port   uint16
	At     time.Time // when that was noticed last
	Stands bool      // it is a station there; else a frame of it was dropped there
}

// Sightings is what a switch has seen of the backends' MACs since it was read back.
type Sightings struct {
	Since time.Time // when it was read back; zero: nothing is known
	// Last has the MACs that were seen, aged ones too. A MAC that is pinned is never a station.
	Last map[packet.MAC]Sighting
	// All: who is not in Last has sent nothing. Without it only those are told that are where they should not be.
	All bool
}

// sightings guards Sightings: the session writes it, others read it.
type sightings struct {
	mu  sync.Mutex
	now Sightings
}

// Sightings returns what was seen of the backends' MACs. Any goroutine may call it.
func (d *Device) Sightings() Sightings {
	d.sightings.mu.Lock()
	defer d.sightings.mu.Unlock()
	s := d.sightings.now
	s.Last = maps.Clone(s.Last)
	return s
}

// lookAnew forgets what was seen: the switch was read back.
func (r *reconciler) lookAnew(now time.Time) {
	_, err := r.codec.info.Table("pinned_station")
	r.sightings.mu.Lock()
	defer r.sightings.mu.Unlock()
	r.sightings.now = Sightings{Since: now, Last: make(map[packet.MAC]Sighting), All: err != nil}
}

// look notes which backends' MACs are stations now.
func (r *reconciler) look(now time.Time) {
	wanted := r.get().Tables.Backend
	r.sightings.mu.Lock()
	defer r.sightings.mu.Unlock()
	last := r.sightings.now.Last
	for _, to := range wanted {
		if port, ok := r.learner.Port(to.MAC); ok {
			if s := last[to.MAC]; s.Port != port || !s.Stands {
				last[to.MAC] = Sighting{port, now, true}
			}
		}
	}
	if len(last) > 2*len(wanted) { // of backends that are gone
		macs := make(map[packet.MAC]bool, len(wanted))
		for _, to := range wanted {
			macs[to.MAC] = true
		}
		maps.DeleteFunc(last, func(m packet.MAC, _ Sighting) bool { return !macs[m] })
	}
}

// sighted notes a frame with that source MAC which the switch has dropped for its port.
func (r *reconciler) sighted(mac packet.MAC, port uint16, now time.Time) {
	for _, to := range r.get().Tables.Backend {
		if to.MAC == mac {
			r.sightings.mu.Lock()
			r.sightings.now.Last[mac] = Sighting{port, now, false}
			r.sightings.mu.Unlock()
			return
		}
	}
}
