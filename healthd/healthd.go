// Package healthd decides which backends may receive traffic. It asks the controller what to check,
// has the engine of package probe run the checks, and reports a verdict on each backend: at once when it
// changes, and all of them again at intervals, so that a lost message heals. What a verdict does to the slots
// is the controller's business. Its reports carry its name and a word that each start has anew, so that the controller
// knows whose verdicts stand. Without a controller it goes on checking. `sluice healthd` runs it.
package healthd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/healthd/check"
	"github.com/sluicelb/sluice/healthd/probe"
	"github.com/sluicelb/sluice/internal/metrics"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/strict"
	"github.com/sluicelb/sluice/internal/task"
)

// Defaults of Config.
const (
	DefaultReportInterval = 5 * time.Second
	DefaultMaxProbes      = probe.DefaultMaxProbes
)

// Config is what a Daemon needs to know.
type Config struct {
	Controller string       // address, as api.Dial takes it; default rpc.Find(api.RoleName), looked up at each attempt
	Security   rpc.Security // for a controller on another host
	// Name tells this healthd from others that report to the same controller, and stays the same over restarts: its
	// first report after one voids what it said before.
	Name    string        // default the host's name
	Network check.Network // default check.Kernel
	// ReportInterval is the time between full reports, and the longest that a report may take.
	ReportInterval time.Duration // default DefaultReportInterval
	// MaxProbes bounds the probes under way. When it is reached verdicts come later, never wrong.
	MaxProbes int           // default DefaultMaxProbes
	Metrics   *rpc.Listener // for Prometheus, see metrics.Listen; nil: none
	Log       *slog.Logger  // default: discards
}

// Daemon is one health daemon.
type Daemon struct {
	client         *api.Client
	security       rpc.Security
	find           func() string // where the controller is now; nil: where it was said to be
	name, session  string
	network        check.Network
	reportInterval time.Duration
	log            *slog.Logger
	board          *board
	scheduler      *scheduler
	connected      atomic.Bool   // the controller takes reports
	metrics        *rpc.Listener // nil: none
	ready          chan struct{}
	readyOnce      sync.Once
}

// New prepares a daemon; Run starts it.
func New(c Config) (*Daemon, error) {
	var find func() string
	if c.Controller == "" {
		find = func() string { return rpc.Find(api.RoleName) }
		c.Controller = find()
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
	name, err := nameOr(c.Name, os.Hostname)
	if err != nil {
		return nil, err
	}
	client, err := api.Dial(c.Controller, c.Security)
	if err != nil {
		return nil, err
	}
	b := newBoard()
	return &Daemon{
		metrics:        c.Metrics,
		client:         client,
		security:       c.Security,
		find:           find,
		name:           name,
		session:        rand.Text(),
		network:        c.Network,
		reportInterval: c.ReportInterval,
		log:            c.Log,
		board:          b,
		scheduler:      newScheduler(c.Log, b, c.MaxProbes),
		ready:          make(chan struct{}),
	}, nil
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// ValidName returns why a text cannot be the name of a healthd, nil when it can.
func ValidName(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf(`must be 1..63 letters, digits, ".", "_" or "-", the first one a letter or a digit, is %s`,
			strict.Quote(name))
	}
	return nil
}

// nameOr is the name, or else the host's.
func nameOr(name string, hostName func() (string, error)) (string, error) {
	if name != "" {
		if err := ValidName(name); err != nil {
			return "", fmt.Errorf("name: %w", err)
		}
		return name, nil
	}
	name, err := hostName()
	if err != nil {
		return "", fmt.Errorf("name: is not given, and the host's cannot be read: %w", err)
	}
	if err := ValidName(name); err != nil {
		return "", fmt.Errorf("name: is not given, and the host's %w", err)
	}
	return name, nil
}

// Ready is closed once the first set of checks has come from the controller and runs.
func (d *Daemon) Ready() <-chan struct{} { return d.ready }

// Run checks and reports until ctx ends. It survives every loss of the controller.
func (d *Daemon) Run(ctx context.Context) error {
	defer func() { d.client.Close() }() // whichever it is by then
	tasks := []task.Task{{Name: "checks", Run: d.scheduler.Run}, {Name: "reports", Run: d.keepTalking}}
	if d.metrics != nil {
		tasks = append(tasks, task.Task{Name: "metrics", Run: func(ctx context.Context) error {
			return metrics.Serve(ctx, d.metrics, "healthd", d, nil)
		}})
	}
	return task.Run(ctx, tasks...)
}

// Pauses between attempts to reach the controller: doubled from the first to the last, less up to a half at
// random. They are short because a controller that comes back needs the verdicts.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = time.Second
)

func (d *Daemon) keepTalking(ctx context.Context) error {
	pause := firstPause
	lost, refused := false, false
	for {
		connected := false
		d.look()
		err := d.talk(ctx, func() {
			connected = true
			d.connected.Store(true)
			d.log.Info("controller connected", "controller", d.client.Address)
		})
		d.connected.Store(false)
		if ctx.Err() != nil {
			return nil
		}
		// A controller that was away and now refuses needs somebody to do something about it: that is told too.
		before := refused
		_, distrust := errors.AsType[*rpc.RefusedError](err)
		refused = distrust || errors.Is(err, fs.ErrPermission) || connect.CodeOf(err) == connect.CodePermissionDenied
		if connected || !lost || refused && !before {
			d.log.Warn("no controller: the checks go on and the verdicts stand", "controller", d.client.Address,
				"error",
				probe.Line(err.Error()))
			pause = firstPause
		}
		lost = true
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause/2 + mathrand.N(pause/2)):
		}
		pause = min(2*pause, lastPause)
	}
}

// look finds the controller where nobody said where it is: one of another user may have come after this daemon.
func (d *Daemon) look() {
	if d.find == nil || d.find() == d.client.Address {
		return
	}
	client, err := api.Dial(d.find(), d.security)
	if err != nil {
		return // an address of Find is valid: talking to the former one says what is wrong
	}
	d.client.Close()
	d.client = client
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
	refused := "" // what was last said of a set that was too large
	for first := true; stream.Receive(); first = false {
		if first {
			worked()
		}
		backends, targets, err := expand(stream.Msg(), d.network)
		if err != nil {
			if text := err.Error(); text != refused {
				d.log.Error("the controller asks for too many checks: those of before go on", "error", err)
				refused = text
			}
			continue
		}
		refused = ""
		if err := d.scheduler.replace(ctx, set{backends, targets}); err != nil {
			return err
		}
		d.readyOnce.Do(func() { close(d.ready) })
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
	request.Healthd, request.Session = d.name, d.session
	_, err := d.client.ReportVerdicts(ctx, request)
	return err
}
