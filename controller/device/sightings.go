package device

import (
	"maps"
	"sync"
	"time"

	"github.com/sluicelb/sluice/p4/packet"
)

// Sighting is the port where a frame under a backend's MAC was dropped, because the backend belongs to another port.
type Sighting struct {
	Port uint16
	At   time.Time // when that was noticed last
}

// Sightings is what a switch has seen of the backends' MACs since it was read back.
type Sightings struct {
	Since time.Time // when it was read back; zero: nothing is known
	Last  map[packet.MAC]Sighting
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
	r.sightings.mu.Lock()
	defer r.sightings.mu.Unlock()
	r.sightings.now = Sightings{Since: now, Last: make(map[packet.MAC]Sighting)}
}

// sighted notes a frame with that source MAC which the switch has dropped for its port.
func (r *reconciler) sighted(mac packet.MAC, port uint16, now time.Time) {
	for _, to := range r.get().Tables.Backend {
		if to.MAC == mac {
			r.sightings.mu.Lock()
			r.sightings.now.Last[mac] = Sighting{port, now}
			r.sightings.mu.Unlock()
			return
		}
	}
}
