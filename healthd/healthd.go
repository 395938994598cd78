// Package healthd decides which backends may receive traffic. It asks the controller what to check,
// has the engine of package probe run the checks, and reports a verdict on each backend: at once when it
// changes, and all of them again at intervals, so that a lost message heals. What a verdict does to the slots
// is the controller's business. Without a controller it goes on checking. `sluice healthd` runs it.
package healthd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/healthd/check"
	"github.com/sluicelb/sluice/healthd/probe"
	"github.com/sluicelb/sluice/internal/rpc"
)

// Defaults of Config.
const (
	DefaultReportInterval = 5 * time.Second
	DefaultMaxProbes      = probe.DefaultMaxProbes
)

// Config is what a Daemon needs to know.
type Config struct {
	Controller string        // address, as api.Dial takes it; default rpc.Find(api.RoleName)
	Network    check.Network // default check.Kernel
	// ReportInterval is the time between full reports, and the longest that a report may take.
	ReportInterval time.Duration // default DefaultReportInterval
	// MaxProbes bounds the probes under way. When it is reached verdicts come later, never wrong.
	MaxProbes int          // default DefaultMaxProbes
	Log       *slog.Logger // default: discards
}

// Daemon is one health daemon.
type Daemon struct {
	client         *api.Client
	network        check.Network
	reportInterval time.Duration
	log            *slog.Logger
	board          *board
	scheduler      *scheduler
	ready          chan struct{}
	readyOnce      sync.Once
}

// New prepares a daemon; Run starts it.
func New(c Config) (*Daemon, error) {
	if c.Controller == "" {
		c.Controller = rpc.Find(api.RoleName)
	}
	if c.Network == nil {
		c.Network = check.Kernel{}
	}
	if c.ReportInterval == 0 {
		c.ReportInterval = DefaultReportInterval
	}
	if c.MaxProbes == 0 {
		c.MaxProbes = DefaultMaxProbes
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	client, err := api.Dial(c.Controller)
	if err != nil {
		return nil, err
	}
	b := newBoard()
	return &Daemon{
		client:         client,
		network:        c.Network,
		reportInterval: c.ReportInterval,
		log:            c.Log,
		board:          b,
		scheduler:      newScheduler(c.Log, b, c.MaxProbes),
		ready:          make(chan struct{}),
	}, nil
}

// Ready is closed once the first set of checks has come from the controller and runs.
func (d *Daemon) Ready() <-chan struct{} { return d.ready }

// Run checks and reports until ctx ends. It survives every loss of the controller.
func (d *Daemon) Run(ctx context.Context) error {
	defer d.client.Close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.scheduler.Run(ctx) })
	g.Go(func() error { return d.keepTalking(ctx) })
	return g.Wait()
}

// Pauses between attempts to reach the controller: doubled from the first to the last, less up to a half at
// random. They are short because a controller that comes back needs the verdicts.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = time.Second
)

func (d *Daemon) keepTalking(ctx context.Context) error {
	pause := firstPause
	lost := false
	for {
		connected := false
		err := d.talk(ctx, func() {
			connected = true
			d.log.Info("controller connected", "controller", d.client.Address)
		})
		if ctx.Err() != nil {
			return nil
		}
		if connected || !lost {
			d.log.Warn("no controller: the checks go on and the verdicts stand", "controller", d.client.Address, "error", err)
			pause = firstPause
		}
		lost = true
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
		pause = min(2*pause, lastPause)
	}
}

// talk watches and reports until either fails. It calls connected once both have worked.
func (d *Daemon) talk(ctx context.Context, connected func()) error {
	var works atomic.Int32
	worked := func() {
		if works.Add(1) == 2 {
			connected()
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.watch(ctx, worked) })
	g.Go(func() error { return d.report(ctx, worked) })
	return g.Wait()
}

func (d *Daemon) watch(ctx context.Context, worked func()) error {
	stream, err := d.client.WatchChecks(ctx, &api.WatchChecksRequest{})
	if err != nil {
		return fmt.Errorf("watching the checks: %w", err)
	}
	defer stream.Close()
	for first := true; stream.Receive(); first = false {
		backends, targets := expand(stream.Msg(), d.network)
		if err := d.scheduler.replace(ctx, set{backends, targets}); err != nil {
			return err
		}
		d.readyOnce.Do(func() { close(d.ready) })
		if first {
			worked()
		}
	}
	if err := stream.Err(); err != nil {
		return fmt.Errorf("watching the checks: %w", err)
	}
	return errors.New("watching the checks: the controller ended the stream")
}

// report sends all verdicts first, because the controller may have missed any, then every change.
func (d *Daemon) report(ctx context.Context, worked func()) error {
	ticker := time.NewTicker(d.reportInterval)
	defer ticker.Stop()
	request := &api.ReportVerdictsRequest{Verdicts: d.board.takeAll(), Full: true}
	for first := true; ; first = false {
		if err := d.send(ctx, request); err != nil {
			return fmt.Errorf("reporting verdicts: %w", err)
		}
		if first {
			worked()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.board.changed:
			request = &api.ReportVerdictsRequest{Verdicts: d.board.takeNews()}
		case <-ticker.C:
			request = &api.ReportVerdictsRequest{Verdicts: d.board.takeAll(), Full: true}
		}
	}
}

func (d *Daemon) send(ctx context.Context, request *api.ReportVerdictsRequest) error {
	if len(request.Verdicts) == 0 && !request.Full {
		return nil // a full report took the news
	}
	ctx, cancel := context.WithTimeout(ctx, d.reportInterval)
	defer cancel()
	_, err := d.client.ReportVerdicts(ctx, request)
	return err
}
