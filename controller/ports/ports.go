// Package ports keeps a view of one target's ports by gNMI. A Collector subscribes in the best way that the target
// offers, and goes on in the next best where it is refused; it keeps what it was told, and says how old that is. What
// follows from a View is left to the controller, which runs a Collector for each switch.
//
//	target --Capabilities, node-id--> ladder (which way next) --> Subscribe or Get --> table --> View
//	                                     ^                              |
//	                                     +----- refused, silent, lost --+
//
// Which way comes next (ladder), what an update says (leaf) and what is known of the ports (table) are decided without
// I/O. Nothing of a target is trusted: its messages are bounded before they are decoded, its updates a second, its
// interfaces and its texts after that, and times are those of arrival.
package ports

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/p4/p4rt"
)

// Port is an interface that has an id of P4Runtime.
type Port struct {
	ID    uint16 // of P4Runtime
	Name  string
	State string // OpenConfig's oper-status in lower case; empty: it was not told

	Received, ReceiveDropped, Sent, SendDropped uint64 // frames

	Reason   string // why it is not up, or why it dropped frames last
	ReasonAt time.Time

	Heard time.Time // when the target has last said something of it, by the clock of this process
	Stale bool      // nothing was heard of it for so long that the above may be wrong
}

// Down says whether the target says that nothing passes the port. Where it does not know, it does not say so.
func (p Port) Down() bool {
	switch p.State {
	case "down", "lower_layer_down", "not_present", "dormant":
		return true
	}
	return false
}

// View is what is known of a target's ports. Nobody changes it.
type View struct {
	Ports []Port // by id, then name
	Way   string // how the target tells: "gNMI, streamed"; empty while nothing came
	Note  string // what it refused before that, and what is left out; empty: nothing
	Err   error  // why there is no news; nil while there is
}

// stale is how many ports are.
func (v View) stale() (n int) {
	for _, p := range v.Ports {
		if p.Stale {
			n++
		}
	}
	return n
}

// ErrUntold is the error of a target without gNMI.
var ErrUntold = errors.New("it has no gNMI: how its ports are is not known, but for what P4Runtime counts")

// Config is what a Collector needs.
type Config struct {
	Target   string       // address, as package endpoint reads it
	Security rpc.Security // a password is never sent in plain text, whatever that allows
	// DeviceID is that of P4Runtime: a target that tells of other devices alone is the wrong one.
	DeviceID uint64
	// Username goes with every call, and what PasswordFile holds when a connection begins. Empty: none.
	Username, PasswordFile string
	// Show gets each View in which an id, a name or a state has changed: at once, but no sooner than showGap after
	// the one before. One in which other ports are stale than before it gets within seldom. It may be nil.
	Show func(context.Context, View)
}

// Times, and bounds of what a target may say.
const (
	often  = 2 * time.Second  // between samples, and between questions
	seldom = 10 * time.Second // where a target refuses the former
	// patience is how long a target may take to answer, and say nothing before another way is tried.
	patience = 10 * time.Second
	// staleAfter is how many intervals after what was last heard a port is stale.
	staleAfter = 3
	showGap    = 250 * time.Millisecond

	firstPause = 200 * time.Millisecond // between attempts, doubled up to the last
	lastPause  = 10 * time.Second
	// untoldPause is how long a target without gNMI is left alone.
	untoldPause = time.Minute

	maxBytes      = 4 << 20 // of a message
	maxItems      = 1 << 16 // in a message, as package wire counts, and in a JSON document
	maxInterfaces = 4096    // P4Runtime has 510 ports here, and targets have others
	maxRate       = 20_000  // values a second
	maxBurst      = 2 * maxRate
)

// Collector keeps the View of one target.
type Collector struct {
	cfg     Config
	options []p4rt.Option // of the connection
	limit   *rate.Limiter
	changed chan struct{} // capacity 1: there is something to show

	mu     sync.Mutex // guards what follows
	ladder ladder
	table  *table // the latest that is complete
	every  time.Duration
	err    error
	flood  time.Time // when the target last had to wait
}

// New prepares a Collector; Run starts it.
func New(cfg Config) *Collector {
	if cfg.Username != "" {
		cfg.Security.Plaintext, cfg.Security.Danger = false, "a password goes nowhere else in plain text"
	}
	return &Collector{
		cfg: cfg, options: []p4rt.Option{p4rt.WithSecurity(cfg.Security)}, limit: rate.NewLimiter(maxRate, maxBurst),
		changed: make(chan struct{}, 1),
		table:   newTable(), every: often, err: errors.New("no answer yet"),
	}
}

// View returns what is known now. Any goroutine may call it.
func (c *Collector) View() View {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.table.view(time.Now(), c.every, c.err, c.ladder, c.flood)
}

// Run collects until ctx ends, whose error it returns.
func (c *Collector) Run(ctx context.Context) error {
	var shows sync.WaitGroup
	defer shows.Wait()
	shows.Go(func() { c.show(ctx) })
	pause := firstPause
	for {
		began := time.Now()
		next := c.session(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(began) > lastPause {
			pause = firstPause
		}
		wait := pause
		pause = min(2*pause, lastPause)
		if next == leave {
			wait, pause = untoldPause, firstPause
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// show passes views on, so seldom that a port which goes up and down at the rate of its line costs nothing.
func (c *Collector) show(ctx context.Context) {
	if c.cfg.Show == nil {
		return
	}
	look := time.NewTicker(seldom) // nobody says that nothing is said
	defer look.Stop()
	stale := 0
	for {
		changed := false
		select {
		case <-ctx.Done():
			return
		case <-c.changed:
			changed = true
		case <-look.C:
		}
		v := c.View()
		if n := v.stale(); n != stale {
			changed, stale = true, n
		}
		if !changed {
			continue
		}
		c.cfg.Show(ctx, v)
		select {
		case <-ctx.Done():
			return
		case <-time.After(showGap):
		}
	}
}

func (c *Collector) sign() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// step puts the ladder forward.
func (c *Collector) step(told bool, err error) step {
	c.mu.Lock()
	defer c.mu.Unlock()
	var next step
	c.ladder, next = c.ladder.after(told, err)
	switch next {
	case again, anew:
		if c.err = err; !errors.Is(err, ErrNothing) {
			c.err = errors.New(line(err))
		}
	case leave:
		c.err = ErrUntold
	}
	return next
}
