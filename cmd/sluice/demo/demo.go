// Package demo shows Sluice at work in one process and proves what it shows: real net/http through
// a router and the switch to three real servers, one of which dies under load and returns, another
// drains. Switch, controller and health daemon run as in production and talk over their sockets; the
// demo watches from outside, through the controller's API, P4Runtime and captures at the switch's
// ports. `sluice demo` runs it.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/packet"
)

// Config says how to run the demo.
type Config struct {
	Out      io.Writer    // progress, for people
	Captures string       // directory, made if need be, for one capture file per port; "": none
	Hold     bool         // keep everything running afterwards, until ctx ends
	Log      *slog.Logger // of switch, controller and health daemon; nil: none
	// Report gets the result: before the hold, or what there is of it when the demo fails midway. It
	// may be nil.
	Report func(Result) error

	tamper tamper        // of tests
	watch  time.Duration // how long to look at each state of things; 0: long enough for people
}

// Result is what the demo found, as its --json prints it.
type Result struct {
	Requests             int     `json:"requests"`
	OK                   int     `json:"ok"`
	FailedOnLiveBackends int     `json:"failed_on_live_backends"`
	SurplusSlotMoves     int     `json:"surplus_slot_moves"`
	DetectionMS          float64 `json:"detection_ms"` // from the death of a server to healthd's verdict
	ReprogramMS          float64 `json:"reprogram_ms"` // from the verdict to the last slot written
	DSRVerified          bool    `json:"dsr_verified"`
}

// limit ends a demo that hangs; one that does not takes less than half of it.
const limit = 50 * time.Second * slowdown

// ErrInterrupted is returned by Run when its context ended before the demo did.
var ErrInterrupted = errors.New("interrupted before the end")

// Run runs the demo. The error says which claims did not hold, or why it could not go on; it is a
// CaptureError when it did not even begin, because captures cannot be written.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.watch == 0 {
		cfg.watch = 3 * time.Second
	}
	if cfg.Report == nil {
		cfg.Report = func(Result) error { return nil }
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	d := &demo{cfg: cfg, screen: newScreen(cfg.Out, stop), events: newEventLog(), names: make(map[packet.MAC]string)}
	err := d.run(running)
	if _, idle := errors.AsType[*CaptureError](err); idle {
		return err
	}
	switch {
	case d.screen.err != nil:
		err = fmt.Errorf("showing what happens: %w", d.screen.err)
	case ctx.Err() != nil && !d.reported:
		err = ErrInterrupted
	}
	if !d.reported { // what there is; a DSR that was not watched to the end is not verified
		d.countRequests()
		err = errors.Join(err, cfg.Report(d.result))
	}
	return err
}

func (d *demo) run(ctx context.Context) (err error) {
	began := time.Now()
	if d.net, err = newNetwork(d.cfg.Captures, d.cfg.tamper); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.net.close()) }()
	d.screen.paragraph("Sluice: the switch balances, the servers answer the client directly.\n" + picture)
	s, err := startSystem(ctx, d.cfg, d.net)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := d.connect(ctx, s); err != nil {
		return err
	}
	defer d.api.Close()
	defer d.p4rt.Close()
	following, stop := context.WithCancel(ctx)
	followed := make(chan struct{})
	go func() { defer close(followed); d.events.follow(following, d.api) }()
	defer func() { stop(); <-followed }()
	d.screen.line("Ready after %.1f s", time.Since(began).Seconds())
	d.screen.note("P4Runtime on %s, controller on %s", s.target, s.api)

	d.load = newLoad(d.net.client, clientAddress.Addr(), vip, d.net.proof, d.net.offDuring)
	loading, stopLoad := context.WithCancel(ctx)
	defer func() { d.load.stop() }() // the one of then
	defer stopLoad()
	playing, cancel := context.WithDeadline(ctx, began.Add(limit))
	defer cancel()
	if err := d.play(playing, loading); err != nil {
		return err
	}
	d.load.stop()
	failed := d.report()
	d.reported = true
	if err := d.cfg.Report(d.result); err != nil {
		return err
	}
	if d.cfg.Hold {
		d.hold(ctx, s)
	}
	return failed
}

// connect opens the demo's own eyes: the API, and the switch as any client may read it.
func (d *demo) connect(ctx context.Context, s *system) (err error) {
	for _, s := range d.net.servers {
		d.names[s.mac] = s.name
	}
	if d.api, err = api.Dial(s.api); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	d.p4rt, err = p4rt.Dial(ctx, s.target, device)
	return err
}

// countRequests puts what became of the requests into the result.
func (d *demo) countRequests() tally {
	if d.load == nil {
		return tally{}
	}
	t := d.load.now()
	d.result.Requests, d.result.OK, d.result.FailedOnLiveBackends = t.issued-t.cutOff, t.ok, t.failedLive
	return t
}

// served counts the pages that servers have sent, as they say.
func (d *demo) served() map[string]int {
	n := make(map[string]int)
	for _, s := range d.net.servers {
		n[s.name] = int(s.served.Load())
	}
	return n
}

// report prints what holds and what does not, and returns an error that names the latter.
func (d *demo) report() error {
	t := d.countRequests()
	frames, broken := d.net.proof.verdict()
	d.result.DSRVerified = len(broken) == 0

	requests := append(t.claims(d.served()), check{len(d.uneven) == 0,
		"new connections were shared as the slots, and slots evenly, at each step"})
	times := check{d.result.DetectionMS > 0 && d.result.ReprogramMS > 0, fmt.Sprintf(
		"%.0f ms from death to detection, %.1f ms more to the last slot written", d.result.DetectionMS, d.result.ReprogramMS)}
	dsr := []check{
		{d.result.DSRVerified, fmt.Sprintf(
			"%s reached one server each, changed in the destination MAC alone; %s came straight back "+
				"by the router's port alone, changed in nothing (%s flooded before the switch knew the router)",
			count(frames.RequestsOut, "request frame"), count(frames.RepliesOut, "reply frame"), copies(frames.Flooded))},
		{frames.ARPAnswers > 0 && frames.ARPClaims == 0, fmt.Sprintf(
			"ARP for the VIP: the switch answered %s, others %d times", often(frames.ARPAnswers), frames.ARPClaims)},
	}
	d.checks = append(append(requests, d.checks...), append([]check{times}, dsr...)...)

	d.screen.title("What was claimed, and what holds")
	var failed []string
	for _, c := range d.checks {
		d.screen.claim(c.holds, "%s", c.text)
		if !c.holds {
			failed = append(failed, c.text)
		}
	}
	for _, text := range slices.Concat(d.uneven, broken, t.failures) {
		d.screen.note("  %s", text)
	}
	if len(failed) > 0 {
		if t.stall > 300*time.Millisecond {
			d.screen.note("  The demo itself stood still for up to %.1f s: this machine is very busy.", t.stall.Seconds())
		}
		return fmt.Errorf("%d of %d claims do not hold:\n  %s", len(failed), len(d.checks), strings.Join(failed, "\n  "))
	}
	return nil
}

// hold keeps everything running, under a light load, until ctx ends.
func (d *demo) hold(ctx context.Context, s *system) {
	d.load.start(ctx, holdRate)
	controllerFlag, targetFlag := s.flags()
	d.screen.title("Everything stays up; Ctrl-C ends it")
	for _, command := range []string{
		"sluice status" + controllerFlag,
		"sluice backend list" + controllerFlag,
		"sluice backend undrain " + drained + controllerFlag,
		"sluice table dump vip" + targetFlag,
	} {
		d.screen.line("%s", command)
	}
	<-ctx.Done()
}

func copies(n int) string {
	if n == 1 {
		return "1 copy"
	}
	return thousands(n) + " copies"
}

func often(n int) string {
	if n == 1 {
		return "once"
	}
	return thousands(n) + " times"
}
