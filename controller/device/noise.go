package device

import (
	"context"
	"time"

	"github.com/sluicelb/sluice/controller/tally"
)

// noiseInterval is the time from one Observation of noise to the next. The first is made at once.
const noiseInterval = time.Second

// noise adds up between two Observations. For one goroutine.
type noise struct {
	claims *tally.Tally[uint16, tally.Claimed]
	moves  *tally.Tally[uint16, tally.Move]
	noRoom *tally.Tally[uint16, uint16]
	spoofs *tally.Tally[uint16, tally.Spoofed]
	loud   bool      // there is something to tell
	told   time.Time // when noise was told last
}

func newNoise() *noise {
	return &noise{
		claims: tally.New(func(c tally.Claimed) uint16 { return c.Port }),
		moves:  tally.New(func(m tally.Move) uint16 { return m.To }),
		noRoom: tally.New(func(port uint16) uint16 { return port }),
		spoofs: tally.New(func(s tally.Spoofed) uint16 { return s.Port }),
	}
}

// due returns when noise is told next; the zero Time for never.
func (n *noise) due() time.Time {
	if !n.loud {
		return time.Time{}
	}
	return n.told.Add(noiseInterval)
}

func (n *noise) take(now time.Time) *tally.Noise {
	n.loud, n.told = false, now
	return &tally.Noise{
		Claims: n.claims.Take(), Moves: n.moves.Take(), NoRoom: n.noRoom.Take(), Spoofs: n.spoofs.Take(),
	}
}

func (r *reconciler) tellNoise(ctx context.Context) {
	if r.noise.loud {
		n := r.noise.take(time.Now())
		n.Full = r.Stations().Full
		r.cfg.Observe(ctx, Observation{Switch: r.cfg.Name, Noise: n})
	}
}
