// Package watch knows what the controllers of the data centers say of their VIPs: whether they are live, how many
// backends they have left, how loaded they are. It keeps one stream open to each controller, and what it heard last
// stands for a while when the stream is lost. What that means for an answer is gslb's decision, which is told of
// every change and asks VIP; gslb logs what becomes of answers, this package only what becomes of controllers.
package watch

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/gslb/awake"
	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/internal/rpc"
)

const (
	// DefaultHold is how long a controller's last word on a VIP stands after it.
	DefaultHold = 30 * time.Second
	// silence is how long a stream may say nothing before it counts as dead. A controller speaks every second.
	silence = 4 * time.Second
	// repeat is how often OnChange is called when nothing changes.
	repeat = 10 * time.Second
	// Pauses between attempts to reach a controller: doubled from the first to the last, less up to a half at random.
	firstPause = 100 * time.Millisecond
	lastPause  = 2 * time.Second
)

// Deps is what a Watcher needs.
type Deps struct {
	DataCenters []config.DataCenter
	// OnChange is called when what VIP or Controller return has changed, and again at intervals, by several goroutines
	// at once if need be. It must not block.
	OnChange func()
	Security rpc.Security  // for controllers on other hosts
	Hold     time.Duration // default DefaultHold
	Clock    *awake.Clock  // by which a hold goes by; whose Run somebody else runs
	Log      *slog.Logger  // default: none
}

// Controller is the connection to a data center's controller.
type Controller struct {
	Connected bool
	Since     time.Time // of Connected; zero before the first attempt
	Error     string    // why it is not connected
	Revision  int64     // of the intent that was heard of last
}

// VIP is what a controller says of one of its VIPs, or said last.
type VIP struct {
	// Heard is false until the data center's controller has said anything at all. Then all else but Refused and
	// Reason is zero.
	Heard bool
	// Refused says, while nothing was heard, that the controller was tried in vain.
	Refused bool
	// Lost is true when the controller sees nothing of the VIP: the last word that it said of it is older than
	// Deps.Hold, for the controller is away, or has no switch to know the VIP by; or all that it ever said was that
	// it has none. Then what it said last counts for nothing; it is in the other fields.
	Lost bool

	Live                        bool // traffic may come
	LiveBackends, TotalBackends int
	Load                        int       // 0 idle .. 254 full; 255 when it is not live
	Reason                      string    // why it is not live, or why it is not known whether
	Since                       time.Time // of Live, or of Lost
}

// Known says whether Live counts.
func (v VIP) Known() bool { return v.Heard && !v.Lost }

// Watcher watches controllers. Run it once.
type Watcher struct {
	log      *slog.Logger
	hold     time.Duration
	onChange func()
	open     func(context.Context, string) (feed, error)
	clock    *awake.Clock

	mu    sync.Mutex // guards all below, and the sites
	run   func(*link)
	sites map[string]*site // by data center, those that have a controller
}

// feed is a stream of the states of a controller's VIPs.
type feed interface {
	Receive() bool
	Msg() *api.VIPs
	Err() error
	Close() error
}

// New prepares a Watcher; Run starts it.
func New(d Deps) *Watcher {
	w := &Watcher{
		log:      d.Log,
		hold:     cmp.Or(d.Hold, DefaultHold),
		onChange: d.OnChange,
		open:     func(ctx context.Context, address string) (feed, error) { return dial(ctx, address, d.Security) },
		clock:    d.Clock,
		sites:    make(map[string]*site),
	}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	if w.onChange == nil {
		w.onChange = func() {}
	}
	w.set(d.DataCenters)
	return w
}

// Set replaces the data centers. What is known of one that stays is kept, also when its controller moves.
func (w *Watcher) Set(list []config.DataCenter) {
	w.set(list)
	w.onChange()
}

func (w *Watcher) set(list []config.DataCenter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wanted := make(map[string]bool)
	for _, dc := range list {
		if dc.Controller == "" {
			continue
		}
		wanted[dc.Name] = true
		s := w.sites[dc.Name]
		if s == nil {
			s = &site{name: dc.Name, hold: w.hold, clock: w.clock}
			w.sites[dc.Name] = s
		}
		if s.link != nil && s.link.address == dc.Controller {
			continue
		}
		if s.link != nil {
			s.link.cancel()
			if s.controller.Connected {
				w.lost(s, fmt.Errorf("the controller is now at %s", dc.Controller), w.clock.Now())
			}
		}
		s.link = &link{site: s, address: dc.Controller, cancel: func() {}}
		if w.run != nil {
			w.run(s.link)
		}
	}
	for name, s := range w.sites {
		if !wanted[name] {
			s.link.cancel()
			s.stopTimer()
			delete(w.sites, name)
		}
	}
}

// Run watches until ctx ends, then returns nil.
func (w *Watcher) Run(ctx context.Context) error {
	var links sync.WaitGroup
	defer links.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.mu.Lock()
	w.run = func(l *link) {
		ctx, cancel := context.WithCancel(ctx)
		l.cancel = cancel
		links.Go(func() {
			defer cancel()
			w.keepTalking(ctx, l)
		})
	}
	for _, s := range w.sites {
		w.run(s.link)
	}
	w.mu.Unlock()

	again := time.NewTicker(repeat)
	defer again.Stop()
	for {
		select {
		case <-again.C:
			w.onChange()
		case <-ctx.Done():
			w.mu.Lock()
			defer w.mu.Unlock()
			w.run = nil
			for _, s := range w.sites {
				s.stopTimer()
			}
			return nil
		}
	}
}

// VIP returns what the controller of the data center says of the VIP of this name. Any goroutine may call it.
func (w *Watcher) VIP(dataCenter, name string) VIP {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.sites[dataCenter]; s != nil {
		return s.vip(name)
	}
	return VIP{Reason: fmt.Sprintf("no controller of data center %q is watched", dataCenter)}
}

// Controller returns the state of the connection to the data center's controller; zero when it is not watched.
func (w *Watcher) Controller(dataCenter string) Controller {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.sites[dataCenter]; s != nil {
		return s.controller
	}
	return Controller{}
}
