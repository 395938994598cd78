// Package controller is the daemon that owns the switches: intent, healthd's verdicts and the operator's drains come in
// over the API, package core decides what follows, package store keeps what must survive, and one device.Device for
// each switch brings it there. One goroutine, the loop, gives the core one thing at a time and carries out what it
// wants; everything else sends the loop work. It leaves checking servers to healthd.
//
//	API, file ---> loop: core.Step -> effects: store.Save, device.Set, events ---> device (one per switch) <--> switch
//	                ^                                                              |
//	                +-------------- observed: status, idle, noise -----------------+
package controller

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/ports"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/controller/store"
	"github.com/sluicelb/sluice/internal/gnmi"
	"github.com/sluicelb/sluice/internal/loadreport"
	"github.com/sluicelb/sluice/internal/metrics"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/task"
	"github.com/sluicelb/sluice/p4/p4rt"
)

// Config is what a Controller needs.
type Config struct {
	// File is the intent. It is read at the start and on Reload. It may be empty once the store has
	// an intent: then that one runs.
	File  string
	Store store.Config
	// Listen are the API's addresses: unix:/path, loopback, or https. Default rpc.Socket(api.RoleName) alone.
	Listen []string
	Access *rpc.Access // which users may call the API; nil: root and this process's user
	// Identity is for the API at https addresses, and for switches whose address is one; nil: none.
	Identity *rpc.Identity
	// PlainSwitches allows switches beyond this machine that are spoken to in plain text.
	PlainSwitches bool
	// ElectionHigh is the upper half of the P4Runtime election ids; the lower one is the clock. Where a switch
	// remembers a higher id of a controller that has left, ids go on from that one.
	ElectionHigh uint64
	StationIdle  time.Duration // silence after which a switch forgets a station; default 5m
	// LoadReport is the UDP address at which load reports are answered, to those who have a key of the
	// file LoadReportKeys. Empty: nowhere.
	LoadReport, LoadReportKeys string
	// LoadInterval is how often the switches' counters are read for the load of VIPs that have a capacity;
	// default 5s.
	LoadInterval time.Duration
	Metrics      string             // address for Prometheus: loopback, or https with Identity; empty: none
	Log          *slog.Logger       // default: none
	Session      func(*p4rt.Config) // changes the settings of P4Runtime sessions; may be nil
}

// methods is who may call what at the controller's sockets.
var methods = func() rpc.Methods {
	all := maps.Clone(api.Methods)
	for name, m := range gnmi.Methods {
		m.Owner = rpc.Operator
		all[name] = m
	}
	return all
}()

// Controller is the daemon. Run it once.
type Controller struct {
	cfg    Config
	log    *slog.Logger
	ready  chan struct{}
	reload chan struct{} // capacity 1

	startDevice func(context.Context, *sync.WaitGroup, device.Config, device.Wanted) (*running, error)

	mu          sync.Mutex // guards all below
	listeners   []*rpc.Listener
	metrics     *rpc.Listener      // nil: none
	loadReports *loadreport.Server // nil: none
}

// New prepares a controller; Run starts it.
func New(cfg Config) *Controller {
	if len(cfg.Listen) == 0 {
		cfg.Listen = []string{rpc.Socket(api.RoleName)}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Store.Log == nil {
		cfg.Store.Log = cfg.Log
	}
	cfg.LoadInterval = cmp.Or(cfg.LoadInterval, loadInterval)
	return &Controller{
		cfg:    cfg,
		log:    cfg.Log,
		ready:  make(chan struct{}),
		reload: make(chan struct{}, 1),

		startDevice: startDevice,
	}
}

// Ready is closed when the API answers and the switches are being worked on.
func (c *Controller) Ready() <-chan struct{} { return c.ready }

// Address returns where the API listens first, once Ready is closed. It suits api.Dial.
func (c *Controller) Address() string { return c.Addresses()[0] }

// Addresses returns where the API listens, once Ready is closed, in the order of Config.Listen.
func (c *Controller) Addresses() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, l := range c.listeners {
		all = append(all, l.Address())
	}
	return all
}

// listen opens the API's sockets, all or none.
func (c *Controller) listen() (all []*rpc.Listener, err error) {
	for _, address := range c.cfg.Listen {
		l, err := rpc.Listen(address, c.cfg.Access, rpc.Security{Identity: c.cfg.Identity}, c.log)
		if err != nil {
			closeAll(all)
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

func closeAll(all []*rpc.Listener) {
	for _, l := range all {
		l.Close()
	}
}

// LoadReportAddress returns where load reports are answered, once Ready is closed; invalid when nowhere.
func (c *Controller) LoadReportAddress() netip.AddrPort {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loadReports == nil {
		return netip.AddrPort{}
	}
	return c.loadReports.Addr()
}

// Reload reads the intent's file again, and that of the load report keys. A faulty one changes nothing and is
// reported in the log.
func (c *Controller) Reload() {
	select {
	case c.reload <- struct{}{}:
	default:
	}
}

// Run works until ctx ends, then returns nil; the switches keep what they hold. It returns an error when
// it cannot start, or when another controller takes over the store.
func (c *Controller) Run(ctx context.Context) error {
	figures := newFigures()
	if c.cfg.Metrics == "" {
		return c.work(ctx, figures)
	}
	l, err := metrics.Listen(c.cfg.Metrics, c.cfg.Identity, c.log)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.metrics = l
	c.mu.Unlock()
	c.log.Info("metrics are shown", "address", l.Address())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { // while it stands by, too
		return metrics.Serve(ctx, l, "controller", figures, map[string]metrics.Source{"by-switch": bySwitch{figures}})
	})
	g.Go(func() error { return c.work(ctx, figures) })
	return g.Wait()
}

// MetricsAddress returns where metrics are shown, once Ready is closed; nil when nowhere.
func (c *Controller) MetricsAddress() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.metrics == nil {
		return nil
	}
	return c.metrics.Addr()
}

// work is Run, but for what is shown of it.
func (c *Controller) work(ctx context.Context, figures *figures) error {
	var text []byte
	var unread error
	if c.cfg.File != "" {
		text, unread = readIntent(c.cfg.File)
	}
	for _, address := range c.cfg.Listen {
		if err := (rpc.Security{Identity: c.cfg.Identity}).CheckListen(address); err != nil {
			return err
		}
	}
	if c.cfg.Store.Absent() {
		// What cannot be started leaves no store behind.
		if err := c.firstIntent(text, unread); err != nil {
			return err
		}
	}
	standby := &standby{c: c, started: time.Now()}
	cfg := c.cfg.Store
	cfg.StandsBy = standby.because
	db, state, err := store.Open(ctx, cfg)
	standby.end()
	if err != nil && ctx.Err() != nil {
		return nil // it has ended before it began
	}
	if err != nil {
		return err
	}
	defer db.Close()
	saved := db.SavedAt() // what is stored, with its verdicts, is of that time
	// Only who has the store answers.
	listeners, err := c.listen()
	if err != nil {
		return err
	}
	defer closeAll(listeners)
	loads, err := c.listenLoadReports()
	if err != nil {
		return err
	}
	if loads != nil {
		defer loads.Close()
	}
	c.mu.Lock()
	c.listeners, c.loadReports = listeners, loads
	c.mu.Unlock()

	if err := state.Plan.Check(); err != nil {
		return fmt.Errorf("the stored plan is damaged: %w", err)
	}
	if state.Intent.Revision == 0 {
		if err := c.firstIntent(text, unread); err != nil {
			return err
		}
	}
	file := c.cfg.File
	if unread != nil {
		// The service matters more than the file. A reload tries it again.
		c.log.Error("the intent's file cannot be read, the stored intent stays", "revision", state.Intent.Revision,
			"err", unread)
		file = ""
	}
	if state.Plan.Secret.IsZero() {
		state.Plan.Secret = newSecret()
	}
	l := newLoop(c.log, figures, db, state)
	var devices sync.WaitGroup
	defer devices.Wait()
	working, stop := context.WithCancel(ctx)
	defer stop() // ends devices that run already when the start fails
	security := rpc.Security{
		Identity: c.cfg.Identity, Plaintext: c.cfg.PlainSwitches,
		Danger: "for a switch without TLS the controller's --insecure-plaintext allows it",
	}
	l.start = func(cfg device.Config, w device.Wanted) (*running, error) {
		candidate := &candidate{switchName: cfg.Name, target: cfg.Target, high: c.cfg.ElectionHigh, store: db,
			log: c.log}
		cfg.Elect, cfg.StationIdle, cfg.Log, cfg.Session = candidate.elect, c.cfg.StationIdle, c.log, c.cfg.Session
		cfg.Security = security
		return c.startDevice(working, &devices, cfg, w)
	}
	l.gather = func(cfg ports.Config) *collecting {
		cfg.Security = security
		return startCollector(working, &devices, cfg)
	}
	// What the devices observe waits until the loop runs.
	if err := l.begin(file, text); err != nil {
		return err
	}
	revision := l.core.Stored().Intent.Revision
	sampler := l.sampler(c.cfg.LoadInterval)
	figures.leads.Store(&service{loop: l, telemetry: sampler, stopping: ctx.Done()})
	tree := l.gnmiServer(sampler)
	tasks := []task.Task{
		{Name: "decisions", Run: func(ctx context.Context) error {
			defer stop() // no device works without them
			return l.run(ctx, c.reloads(ctx))
		}},
		{Name: "store", Run: func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-db.Lost():
				return store.ErrConflict
			}
		}},
		{Name: "telemetry", Run: sampler.Run},
	}
	for _, listener := range listeners {
		tasks = append(tasks, task.Task{Name: "api", Run: func(ctx context.Context) error {
			service := &service{loop: l, telemetry: sampler, stopping: ctx.Done()}
			services := slices.Concat(api.Services(service, service), tree.Services())
			return rpc.Serve(ctx, listener, methods, services...)
		}})
	}
	if loads != nil {
		tasks = append(tasks, task.Task{Name: "load reports", Run: func(ctx context.Context) error {
			return loads.Run(ctx, l.answerLoadReport)
		}})
		c.log.Info("load reports are answered", "listen", c.LoadReportAddress())
	}
	stored := "never"
	if !saved.IsZero() {
		stored = saved.Format(time.RFC3339)
	}
	c.log.Info("controller started", "listen", strings.Join(c.Addresses(), " "), "revision", revision, "stored_at",
		stored)
	close(c.ready)
	err = task.Run(ctx, tasks...)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil
	}
	return err
}

// firstIntent says what is wrong with the intent of a store that has none.
func (c *Controller) firstIntent(text []byte, unread error) error {
	switch {
	case c.cfg.File == "":
		return errors.New("no intent: the store is new and no --config file was given")
	case unread != nil:
		return fmt.Errorf("reading the intent: %w", unread)
	}
	return parse(c.cfg.File, string(text)).err
}

// reloads turns requests to reload into the file's new content.
func (c *Controller) reloads(ctx context.Context) <-chan fileRead {
	out := make(chan fileRead)
	go func() { // ends with ctx
		for {
			select {
			case <-ctx.Done():
				return
			case <-c.reload:
			}
			c.reloadLoadReportKeys()
			r := fileRead{file: c.cfg.File, err: errors.New("no --config file was given")}
			if c.cfg.File != "" {
				var text []byte
				if text, r.err = readIntent(c.cfg.File); r.err == nil {
					r.parsed = parse(c.cfg.File, string(text))
				}
			}
			select {
			case <-ctx.Done():
				return
			case out <- r:
			}
		}
	}()
	return out
}

// readIntent reads a file, but no more of it than an intent may have.
func readIntent(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, config.MaxBytes+1)) // with one byte more it is refused
}

type fileRead struct {
	file   string
	parsed parsed
	err    error // in reading
}

// running is a device at work.
type running struct {
	*device.Device
	config device.Config
	cancel context.CancelFunc
}

func startDevice(ctx context.Context, wait *sync.WaitGroup, cfg device.Config, w device.Wanted) (*running, error) {
	d, err := device.New(cfg, w)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	wait.Go(func() {
		defer cancel()
		if err := d.Run(ctx); ctx.Err() == nil {
			cfg.Log.Error("switch given up", "switch", cfg.Name, "err", err)
		}
	})
	return &running{d, cfg, cancel}, nil
}

// newSecret draws the secret of a new cluster.
func newSecret() rows.Secret {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return rows.Secret{binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])}
}
