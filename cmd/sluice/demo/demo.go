// Package demo shows Sluice at work in one process and proves what it shows: two data centers, each
// with a switch in front of real servers, real net/http from a client that asks gslb over DNS where to go. One server
// dies under load and returns, another drains, and at last all of a data center dies. Switches,
// controllers, health daemons and gslb run as in production and talk over their sockets; the demo watches from outside,
// through the controllers' APIs, P4Runtime, DNS and captures at the switches' ports. `sluice demo` runs it.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Config says how to run the demo.
type Config struct {
	Out      io.Writer    // progress, for people
	Captures string       // directory, made if need be, for one capture file per port; "": none
	Hold     bool         // keep everything running afterwards, until ctx ends
	Log      *slog.Logger // of switches, controllers, health daemons and gslb; nil: none
	// Result gets the result: before the hold, or what there is of it when the demo fails midway. It
	// may be nil.
	Result func(Result) error

	tamper tamper        // of tests
	script []step        // of tests; nil: all
	pace   *pace         // of tests; nil: this machine's
	aside  bool          // of tests: hold where no command looks
	places []place       // of tests; nil: all. fra is the first
	watch  time.Duration // how long to look at each state of things; 0: long enough for people
}

// Result is what the demo found, as its --json prints it. What was not measured is nil.
type Result struct {
	// Proved is true if every claim holds, false if one does not, and nil if none was found false and not all could
	// be judged.
	Proved               *bool    `json:"proved"`
	Requests             int      `json:"requests"`
	OK                   int      `json:"ok"` // requests that were answered
	FailedOnLiveBackends *int     `json:"failed_on_live_backends"`
	SurplusSlotMoves     *int     `json:"surplus_slot_moves"`
	DetectionMS          *float64 `json:"detection_ms"` // from the death of a server to healthd's verdict
	ReprogramMS          *float64 `json:"reprogram_ms"` // from the verdict to the last slot written
	DSRVerified          *bool    `json:"dsr_verified"`
	// from the death of a data center's last server to the first DNS answer that names the other
	GSLBFailoverMS   *float64 `json:"gslb_failover_ms"`
	GSLBWrongAnswers *int     `json:"gslb_wrong_answers"`
}

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
	if cfg.Result == nil {
		cfg.Result = func(Result) error { return nil }
	}
	if cfg.script == nil {
		cfg.script = wholeScript
	}
	if cfg.places == nil {
		cfg.places = []place{fra, ams}
	}
	if cfg.pace == nil {
		cfg.pace = newPace()
	}
	running, stop := context.WithCancelCause(ctx)
	d := &demo{cfg: cfg, screen: newScreen(cfg.Out, func() { stop(nil) }), pace: cfg.pace}
	var keeping sync.WaitGroup
	keeping.Go(func() { d.pace.run(running) })
	keeping.Go(func() {
		if receive(running, d.pace.late) == nil {
			d.screen.note("This machine is very busy: %s. It all takes longer, and goes on.", d.pace.busy())
		}
	})
	defer func() { stop(nil); keeping.Wait() }()
	err := d.run(running, stop)
	if _, idle := errors.AsType[*CaptureError](err); idle {
		return err
	}
	switch {
	case d.screen.broken() != nil:
		err = fmt.Errorf("showing what happens: %w", d.screen.broken())
	case ctx.Err() != nil && !d.told:
		err = ErrInterrupted
	}
	if !d.told { // what there is; frames that were not watched to the end prove nothing
		d.countRequests()
		d.judgeAnswers()
		d.result.Proved = proved(append(d.checks, check{excused: true}))
		err = errors.Join(err, cfg.Result(d.result))
	}
	return err
}

// run starts all and shows it. stop ends ctx.
func (d *demo) run(ctx context.Context, stop context.CancelCauseFunc) (err error) {
	began := time.Now()
	if d.world, err = newWorld(d.cfg.Captures, d.cfg.tamper, d.cfg.places...); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.world.close()) }()
	d.screen.introduce()
	directory, err := os.MkdirTemp("", "sluice-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(directory)) }()
	ready := d.pace.after(readyLimit, stop)
	defer func() {
		if busy := d.pace.busy(); err != nil && d.resolver == nil && busy != "" {
			err = fmt.Errorf("this machine is too busy to start: %s: %w", busy, err)
		}
	}()
	standard := d.cfg.Hold && !d.cfg.aside
	sites, err := d.startSites(ctx, directory, standard)
	defer func() {
		for _, s := range sites {
			err = errors.Join(err, s.close())
		}
	}()
	if err != nil {
		return err
	}
	d.selector, err = startSelector(ctx, sites, directory, standard, d.cfg.Log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.selector.close()) }()
	ready()
	d.screen.line("Ready after %.1f s", time.Since(began).Seconds())
	for _, s := range sites {
		d.screen.note("%s: P4Runtime on %s, controller on %s", s.Name, s.system.target, s.system.api)
	}
	d.screen.note("gslb: DNS on %v", d.selector.dns)
	return d.show(ctx)
}

// startSites starts all data centers at once. Those that it returns have to be closed even if there is an error.
func (d *demo) startSites(ctx context.Context, directory string, standard bool) (sites []*site, err error) {
	started := make([]*site, len(d.world.networks))
	var starting errgroup.Group
	for i, n := range d.world.networks {
		starting.Go(func() (err error) {
			started[i], err = startSite(ctx, n, directory, standard && i == 0, d.cfg.Log)
			return err
		})
	}
	err = starting.Wait()
	for _, s := range started {
		if s != nil {
			sites = append(sites, s)
		}
	}
	if err == nil {
		d.fra = sites[0]
		if len(sites) > 1 {
			d.ams = sites[1]
		}
	}
	return sites, err
}

// show plays the script under load, and says what holds.
func (d *demo) show(ctx context.Context) error {
	d.resolver = newResolver(d.selector.dns, d.pace, d.cfg.tamper.dns)
	d.era(time.Now(), d.fra)
	watching, stopWatch := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { d.resolver.watch(watching) })
	defer func() { stopWatch(); watch.Wait() }()

	d.load = newLoad(d.world.lab.Client.Host, d.pace, client.Address.Addr(), d.where)
	loading, stopLoad := context.WithCancel(ctx)
	defer func() { d.load.stop() }() // the one of then
	defer stopLoad()
	d.play(ctx, loading)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	d.load.giveUpLost()
	d.load.stop()
	stopWatch()
	watch.Wait()
	failed := d.judge()
	d.told = true
	if err := d.cfg.Result(d.result); err != nil {
		return err
	}
	if d.cfg.Hold {
		d.hold(ctx)
	}
	return failed
}

// where asks DNS for the data center of a new connection.
func (d *demo) where(ctx context.Context) (*network, error) {
	vip, err := d.resolver.lookup(ctx)
	if err != nil {
		return nil, err
	}
	if n := d.world.at(vip); n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("DNS sends us to %v, which is no VIP", vip)
}

// judgeAnswers puts into the result how many DNS answers were wrong.
func (d *demo) judgeAnswers() (all int, examples []string) {
	if d.resolver == nil {
		return 0, nil
	}
	exchanges := d.resolver.exchanges.all()
	if len(exchanges) == 0 {
		return 0, nil
	}
	wrong, examples := judge(exchanges, d.eras)
	d.result.GSLBWrongAnswers = &wrong
	return len(exchanges), examples
}

// countRequests puts what became of the requests into the result.
func (d *demo) countRequests() tally {
	if d.load == nil {
		return tally{}
	}
	t := d.load.now()
	d.result.Requests, d.result.OK = t.issued-t.cutOff, t.ok
	if t.ok+t.failedDead+t.failedLive > 0 {
		d.result.FailedOnLiveBackends = &t.failedLive
	}
	return t
}

// served counts the pages that servers have sent, as they say.
func (d *demo) served() map[string]int {
	n := make(map[string]int)
	for _, s := range d.sites() {
		for _, h := range s.hosts {
			n[h.Name] = int(h.served.Load())
		}
	}
	return n
}

func (d *demo) sites() []*site {
	if d.ams == nil {
		return []*site{d.fra}
	}
	return []*site{d.fra, d.ams}
}

// judge prints what holds, what does not and what could not be judged, and returns an error that names the last two.
func (d *demo) judge() error {
	t := d.countRequests()
	busy := d.pace.busy()
	claims := append(t.claims(d.served(), d.early, d.cut, busy != ""), check{
		holds:   d.drawn > 0 && len(d.uneven) == 0,
		text:    "new connections were shared as the slots, and slots evenly, at each step",
		excused: d.drawn == 0 || busy != "",
	})
	claims = append(claims, d.checks...)
	asked, details := d.judgeAnswers()
	wrong := 0
	if asked > 0 {
		wrong = *d.result.GSLBWrongAnswers
	}
	named := check{
		holds: asked > 0 && wrong == 0,
		text: fmt.Sprintf("%s, %d wrong: each named the data center that it had to, with TTL %d and AA",
			count(asked, "DNS answer"), wrong, webTTL),
		excused: busy != "",
	}
	claims = append(claims, named)
	d.result.GSLBWrongAnswers = named.judged(d.result.GSLBWrongAnswers)
	d.result.FailedOnLiveBackends = t.claimOfLive(busy != "").judged(d.result.FailedOnLiveBackends)
	var frames []check
	for _, s := range d.sites() {
		dsr, broken := s.claims(d.cut, busy != "")
		frames = append(frames, dsr...)
		details = append(details, broken...)
	}
	claims = append(claims, frames...)
	d.result.DSRVerified, d.result.Proved = proved(frames), proved(claims)

	d.screen.title("What was claimed, and what holds")
	var failed, open []string
	for _, c := range claims {
		d.screen.claim(c)
		switch {
		case c.holds:
		case c.excused:
			open = append(open, c.text)
		default:
			failed = append(failed, c.text)
		}
	}
	for _, text := range slices.Concat(d.uneven, details, t.failures) {
		d.screen.note("  %s", text)
	}
	if busy != "" && len(failed)+len(open) > 0 {
		d.screen.note("  This machine is too busy: %s.", busy)
	}
	switch {
	case len(failed) > 0:
		return fmt.Errorf("%d of %d claims do not hold:\n  %s", len(failed), len(claims), strings.Join(failed, "\n  "))
	case len(open) > 0:
		return fmt.Errorf("this machine is too busy: %s; %d of %d claims could not be measured:\n  %s",
			busy, len(open), len(claims), strings.Join(open, "\n  "))
	}
	return nil
}

// hold keeps everything running, under a light load, until ctx ends.
func (d *demo) hold(ctx context.Context) {
	d.pace.forEver()
	state := "all is well in both data centers, but for " + drained + ", which is drained: clients are sent to fra"
	if d.cut {
		state = "the demo did not get to its end, so ask how things are; every server has power"
		for _, s := range d.sites() {
			if err := s.powerOn(); err != nil {
				state = "the demo did not get to its end, and a server has no power: " + err.Error()
			}
		}
	}
	d.load.start(ctx, holdRate)
	controllerFlag, targetFlag := d.fra.system.flags()
	name, socketFlag := strings.TrimSuffix(webName, "."), " --socket "+d.selector.socket
	commands := []string{
		"sluice status" + controllerFlag,
		"sluice backend list" + controllerFlag,
		"sluice backend undrain " + drained + controllerFlag,
		"sluice table dump vip" + targetFlag,
	}
	if d.ams != nil {
		commands = append(commands,
			"sluice status --controller "+d.ams.system.api,
			"sluice table dump vip --target "+d.ams.system.target)
	}
	d.screen.title("Everything stays up; Ctrl-C ends it")
	d.screen.note("%s", state)
	for _, command := range append(commands,
		"sluice gslb status"+socketFlag,
		"sluice gslb explain "+name+socketFlag,
		"sluice gslb query "+name+socketFlag,
		fmt.Sprintf("dig @%v -p %d %s", d.selector.dns.Addr(), d.selector.dns.Port(), name),
	) {
		d.screen.command(command)
	}
	<-ctx.Done()
}
