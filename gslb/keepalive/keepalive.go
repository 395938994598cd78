// Package keepalive decides which answers of gslb are alive. It makes the keepalives of the configuration
// into checks of package check, has the engine of package probe run each of them once, however many answers
// share it, and keeps the verdict and the load of each. What several keepalives of one answer come to, and
// what a query makes of it, is left to package gslb, which calls it.
package keepalive

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/healthd/check"
	"github.com/sluicelb/sluice/healthd/probe"
)

// Update tells of a keepalive whose verdict or load has changed: its index in what was last Set, and what
// Snapshot says of it. load is 0 to 254, or -1 for none.
type Update func(index int, up bool, load int, reason string, at time.Time)

// NoLoad is the load of a keepalive that reports none.
const NoLoad = -1

// Result is what is known of one keepalive.
type Result struct {
	Health    probe.Health
	Load      int       // 0 to 254, or NoLoad
	Reason    string    // why it is down, or why it is not known
	Since     time.Time // end of the first of the probes in a row that made the verdict
	LastProbe time.Time // end of the last probe that told anything
}

// Deps is what a Manager works with.
type Deps struct {
	Network   check.Network // default check.Kernel
	Loads     Asker         // asks for load reports; without one they cannot be asked
	Log       *slog.Logger  // default: discards
	OnChange  Update        // called by Run, one at a time
	MaxProbes int           // bounds the probes under way; default probe.DefaultMaxProbes
}

// Asker asks one load reporter for the load of one virtual IP, by tag or by address.
type Asker interface {
	Ask(ctx context.Context, to netip.AddrPort, key []byte, tag string, vip netip.AddrPort) (load uint8, err error)
}

// Manager runs keepalives.
type Manager struct{}

// New prepares a manager; Run starts it.
func New(d Deps) *Manager { return &Manager{} }

// Set makes want all that is run. It waits for nobody. What is asked already keeps its verdict, wherever it
// stands in want.
func (m *Manager) Set(want []config.Keepalive) {}

// Snapshot is what is known of each of what was last Set, in its order.
func (m *Manager) Snapshot() []Result { return nil }

// Run asks until ctx ends, and returns when no probe is left.
func (m *Manager) Run(ctx context.Context) error { <-ctx.Done(); return nil }
