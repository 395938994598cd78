// Package device keeps one switch in line with the plan: it owns the P4Runtime session, reads the
// switch back on every connect, writes the difference and nothing else, and remembers what was really
// done. It also runs the switch's L2 learning and passes on what the switch tells. It decides
// nothing about slots; the controller's loop sets what is wanted and gets Observations.
package device

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/controller/tally"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/packet"
)

// Wanted is what the switch must hold.
type Wanted struct {
	Sequence uint64 // of the decision; grows
	Tables   rows.Tables
	Named    map[packet.MAC]bool // MACs of backends: what these send is told by name
	// Age ranks VIPs, the oldest lowest: where a table cannot hold them all, the newest are left out.
	Age map[rows.VIPKey]int64
}

// State of a switch, as the controller sees it.
//
//	Disconnected --primary--> Reconciling --the switch holds the plan--> Synced
//	     ^                       |    ^                                    |
//	     |                       v    +--------- wanted changes -----------+
//	     +--connection lost-- Degraded: updates were refused; retried
type State uint8

// The states of a switch.
const (
	Disconnected State = iota
	Reconciling
	Synced
	Degraded
)

func (s State) String() string {
	return [...]string{"disconnected", "reconciling", "synced", "degraded"}[s]
}

// Status is what a Device knows of its switch.
type Status struct {
	State          State
	Since          time.Time
	Err            error       // why it is disconnected
	Connects       uint64      // read-backs that were complete
	ReadBack       int         // planned rows found by the last one
	WrittenConnect int         // entries written by the first pass after it
	Written        uint64      // entries written since the start; L2 rows are not counted
	Held           int         // planned rows that it holds now
	Tables         []Occupancy // the same by table, in the order in which they are read back; stations are not counted
	Failed         []Failure   // the first few changes that it refuses
	FailedTotal    int
	Unmetered      string // why it does not meter what it sends up; empty: it does
	// Lacks says of every wanted VIP which of its rows the switch does not hold: it refuses them, while it is Degraded,
	// or else they are not written yet. Nil until it was read back. Nobody changes it.
	Lacks map[rows.VIPKey]rows.Lack

	Applied   uint64    // the sequence of what it holds, apart from failures
	AppliedAt time.Time // when the last row of it was written
	Writes    int       // how many that took
	Unpinned  int       // flows whose pins it refuses
}

// Occupancy says how full a table is.
type Occupancy struct {
	Table      string
	Rows, Size int // Size is how many the P4Info has room for
}

// Observation is what was seen of a switch, one thing at a time.
type Observation struct {
	Switch string
	Status *Status
	Silent []rows.Flow  // pinned flows that nothing was heard of for the time of their row
	Left   *Left        // flows of former backends of moving slots
	Noise  *tally.Noise // at most once an interval; who is in Wanted.Named is a known sender
}

// Config is what a Device needs.
type Config struct {
	Name        string
	Target      string // as p4rt.Dial takes it
	DeviceID    uint64
	StationIdle time.Duration // silence after which a station is forgotten; default 5m
	Log         *slog.Logger
	Observe     func(context.Context, Observation) // may block, not for long; returns when the context ends
	Session     func(*p4rt.Config)                 // changes the session's settings; may be nil

	Security rpc.Security // for a target that is not on this machine

	// Meet gets what the switch held when it was connected first, before anything is written to it, and may change what
	// is wanted (Set) before it returns. After that the Tables belong to the Device again. It returns when the context
	// ends. May be nil.
	Meet func(context.Context, rows.Tables)

	Elect func(context.Context, p4rt.Rivals) (p4rt.ElectionID, error) // makes the election ids
}

// Device is one switch.
type Device struct {
	cfg     Config
	codec   *codec
	session *p4rt.Session
	changed chan struct{}               // capacity 1: wanted is new
	client  atomic.Pointer[p4rt.Client] // of the session, for counters; nil while there is none

	stations atomic.Pointer[Stations] // as of the last look at them; nil: there was none

	sightings sightings
	times     times
	met       bool // Meet has returned; for Run's goroutine

	mu     sync.Mutex // guards wanted
	wanted Wanted
}

// New prepares a device that wants w; Run starts it.
func New(cfg Config, w Wanted) (*Device, error) {
	cfg.StationIdle = cmp.Or(cfg.StationIdle, 5*time.Minute)
	info, err := p4rt.NewInfo(p4.P4Info())
	if err != nil {
		return nil, fmt.Errorf("the pipeline's P4Info: %w", err)
	}
	codec, err := newCodec(info)
	if err != nil {
		return nil, fmt.Errorf("the pipeline lacks something: %w", err)
	}
	session := p4rt.Config{
		Target:   cfg.Target,
		DeviceID: cfg.DeviceID,
		Elect:    cfg.Elect,
		Pipeline: &v1.ForwardingPipelineConfig{
			P4Info:         p4.P4Info(),
			P4DeviceConfig: p4.DeviceConfig(),
			Cookie:         &v1.ForwardingPipelineConfig_Cookie{Cookie: p4.Cookie()},
		},
		Log:     cfg.Log,
		Options: []p4rt.Option{p4rt.WithSecurity(cfg.Security)},
	}
	if cfg.Session != nil {
		cfg.Session(&session)
	}
	return &Device{
		cfg:     cfg,
		codec:   codec,
		session: p4rt.NewSession(session),
		changed: make(chan struct{}, 1),
		times:   newTimes(cfg.Name),
		wanted:  w,
	}, nil
}

// Set replaces what is wanted. It never blocks; a pass under way is cut short.
func (d *Device) Set(w Wanted) {
	d.mu.Lock()
	d.wanted = w
	d.mu.Unlock()
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

func (d *Device) get() Wanted {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.wanted
}

// Run keeps the switch in line until ctx ends, whose error it then returns.
func (d *Device) Run(ctx context.Context) error {
	status := Status{Since: time.Now()}
	return d.session.Run(ctx, func(session context.Context, p *p4rt.Primary) error {
		r := newReconciler(d, timed{p, d.times.write}, &status)
		d.client.Store(p.Client)
		err := r.run(session)
		d.client.Store(nil)
		r.tellNoise(ctx)
		if cause := context.Cause(session); cause != nil {
			err = cause
		}
		r.setState(Disconnected)
		status.Err = err
		r.tellStatus(ctx)
		return err
	})
}

// SessionError says why there is no session, nil while there is one.
func (d *Device) SessionError() error { return d.session.Status().Err }

// Stations is what a Device knows of the stations of its switch.
type Stations struct {
	Known int
	Full  string // why new ones are not learned, so that frames to them are flooded; empty while there is room
}

// Stations returns what is known of the stations, as of the last session if there is none.
func (d *Device) Stations() Stations {
	if s := d.stations.Load(); s != nil {
		return *s
	}
	return Stations{}
}

// Room returns how many stations the tables have room for.
func (d *Device) Room() int { return d.codec.stations }

func sortFailures(f []Failure) {
	slices.SortFunc(f, func(a, b Failure) int { return cmp.Compare(a.Change, b.Change) })
}
