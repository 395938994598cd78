package device

import (
	"context"
	"time"

	"github.com/sluicelb/sluice/p4/packet"
)

// Spoof tells of frames under the MAC of a pinned station that came in by a port which is not its own: the
// station has moved, or somebody wants its traffic. The switch drops and counts them all (drop_spoof), and
// sends up a few.
type Spoof struct {
	MAC    packet.MAC
	Port   uint16 // that they came in by
	Frames uint64 // sent up since the last report of the same MAC and port
}

const (
	spoofInterval = time.Second // between two reports of the same MAC and port
	spoofsKept    = 1024        // a host may use the MACs of all stations

	moveInterval = 10 * time.Second // between two reports of stations that moved
)

type spoofKey struct {
	mac  packet.MAC
	port uint16
}

// spoofs holds back what is reported too often. The zero spoofs is ready.
type spoofs struct {
	seen map[spoofKey]*spoofed
}

type spoofed struct {
	frames uint64
	told   time.Time
}

// add counts a frame; it returns a report when one is due.
func (s *spoofs) add(mac packet.MAC, port uint16, now time.Time) *Spoof {
	key := spoofKey{mac, port}
	one := s.seen[key]
	if one == nil {
		if s.seen == nil || len(s.seen) >= spoofsKept {
			s.seen = make(map[spoofKey]*spoofed)
		}
		one = new(spoofed)
		s.seen[key] = one
	}
	one.frames++
	if !one.told.IsZero() && now.Sub(one.told) < spoofInterval {
		return nil
	}
	out := &Spoof{MAC: mac, Port: port, Frames: one.frames}
	one.frames, one.told = 0, now
	return out
}

// spoofedBy takes a frame that the switch sent up because of its source.
func (r *reconciler) spoofedBy(ctx context.Context, port uint16, frame packet.Ethernet) {
	if !frame.IsValid() {
		return
	}
	if s := r.spoofs.add(frame.Src(), port, time.Now()); s != nil {
		r.cfg.Report(ctx, Report{Switch: r.cfg.Name, Spoof: s})
	}
}

// moves holds back reports of stations that move all the time: two hosts with one MAC, or a loop.
type moves struct {
	told   time.Time
	others uint64
}

// add counts a move; it returns it when a report is due.
func (m *moves) add(moved Moved, now time.Time) *Moved {
	if !m.told.IsZero() && now.Sub(m.told) < moveInterval {
		m.others++
		return nil
	}
	moved.Others = m.others
	m.told, m.others = now, 0
	return &moved
}
