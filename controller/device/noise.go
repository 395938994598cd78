package device

import (
	"context"
	"net/netip"
	"time"

	"github.com/sluicelb/sluice/controller/tally"
)

// noiseInterval is the time from one report of noise to the next. The first is made at once.
const noiseInterval = time.Second

// Noise is what hosts make happen, at line rate if they like, added up since the last report. Whoever is in
// Wanted.Named is a known sender.
type Noise struct {
	Claims []tally.Entry[Claimed]
	Moves  []tally.Entry[Move]
	NoRoom []tally.Entry[uint16] // stations that were not learned, by port
	// Spoofs are frames of somebody who passes for a pinned station: the station has changed, or somebody wants its
	// traffic. The switch drops and counts them all (drop_spoof, drop_arp_spoof), and sends up a few.
	Spoofs []tally.Entry[Spoofed]
}

// Spoofed is what frames that came in by a port pretend: to be from a station's MAC, which is the sender's and
// has another port, or, by ARP, from its address, which has another MAC than the sender's.
type Spoofed struct {
	Port    uint16
	Address netip.Addr // of the station; the zero Addr when the MAC is its own
}

// Claimed is what ARP replies or gratuitous ARP from a port claim: somebody's VIP.
type Claimed struct {
	VIP  netip.Addr
	Port uint16
	// Disowned: it was a request of somebody who uses the VIP as its own address, and went on without that.
	Disowned bool
}

// Move is how stations move: they show at another port.
type Move struct{ From, To uint16 }

// noise adds up between two reports. For one goroutine.
type noise struct {
	claims *tally.Tally[uint16, Claimed]
	moves  *tally.Tally[uint16, Move]
	noRoom *tally.Tally[uint16, uint16]
	spoofs *tally.Tally[uint16, Spoofed]
	loud   bool      // there is something to report
	told   time.Time // the last report
}

func newNoise() *noise {
	return &noise{
		claims: tally.New(func(c Claimed) uint16 { return c.Port }),
		moves:  tally.New(func(m Move) uint16 { return m.To }),
		noRoom: tally.New(func(port uint16) uint16 { return port }),
		spoofs: tally.New(func(s Spoofed) uint16 { return s.Port }),
	}
}

// due returns when the next report is; the zero Time for never.
func (n *noise) due() time.Time {
	if !n.loud {
		return time.Time{}
	}
	return n.told.Add(noiseInterval)
}

func (n *noise) take(now time.Time) *Noise {
	n.loud, n.told = false, now
	return &Noise{Claims: n.claims.Take(), Moves: n.moves.Take(), NoRoom: n.noRoom.Take(), Spoofs: n.spoofs.Take()}
}

func (r *reconciler) reportNoise(ctx context.Context) {
	if r.noise.loud {
		r.cfg.Report(ctx, Report{Switch: r.cfg.Name, Noise: r.noise.take(time.Now())})
	}
}
