package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/ports"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/controller/store"
	"github.com/sluicelb/sluice/p4/packet"
)

const (
	// lastSave bounds the save at the end, and the wait for the one before.
	lastSave = 2 * time.Second
	// changesKept is how many changes a status lists.
	changesKept = 32
)

// saver is what the loop needs of the store.
type saver interface {
	Save(context.Context, core.Stored) error
}

// loop gives the core what happens, one thing at a time, and carries out what follows. Its methods run in one
// goroutine, that of run, but for do and look, which send it work, and begin, which comes before run.
type loop struct {
	log      *slog.Logger
	start    func(device.Config, device.Wanted) (*running, error)
	gather   func(ports.Config) *collecting // nil: no ports are looked at
	calls    chan func()                    // what may be decided on: a decision waits for the store, and so do these
	looks    chan func()                    // what only reads: it waits for no store
	told     chan func()                    // what switches report: neither of the others waits behind them
	events   events
	checks   checks
	vips     vips
	figures  *figures
	openings *openings
	signs    signs

	started time.Time
	core    *core.Core
	saves   saves
	fatal   error // ends run

	devices    map[string]*running
	views      map[string]*view
	collectors map[string]*collecting // by switch
	meetings   map[uint64]func()      // let switches that were met first be written to, by ID
	met        uint64                 // counts the meetings

	done     []*api.Reprogrammed // the latest first
	writers  []writer
	reported time.Time               // when a healthd last reported
	rates    map[rows.VIPKey]float64 // packets a second, of VIPs that switches have counted twice
}

// view is what a switch last said of itself.
type view struct{ status device.Status }

func (v *view) connected() bool { return v.status.State != device.Disconnected }

func newLoop(log *slog.Logger, figures *figures, db saver, stored core.Stored) *loop {
	now := time.Now()
	return &loop{
		log:        log,
		events:     events{log: log},
		vips:       newVIPs(),
		calls:      make(chan func(), 64),
		looks:      make(chan func(), 64),
		told:       make(chan func(), 64),
		figures:    figures,
		saves:      saves{db: db, figures: figures},
		openings:   newOpenings(),
		started:    now,
		core:       core.New(stored, now),
		devices:    make(map[string]*running),
		collectors: make(map[string]*collecting),
		views:      make(map[string]*view),
		meetings:   make(map[uint64]func()),
	}
}

// begin takes up the stored intent, and that of the file if the file has changed since it was last read.
func (l *loop) begin(file string, text []byte) error {
	stored := l.core.Stored().Intent
	if stored.Revision > 0 {
		intent, err := config.Parse(stored.File, []byte(stored.YAML))
		if err != nil {
			return fmt.Errorf("the stored intent, revision %d, is not valid for this version: %w", stored.Revision, err)
		}
		if err := l.put(core.Begin{Intent: intent}).Err; err != nil {
			return fmt.Errorf("the stored intent, revision %d: %w", stored.Revision, err)
		}
	}
	if file == "" || core.Fingerprint(string(text)) == stored.Loaded && stored.Revision > 0 {
		return nil
	}
	_, err := l.applyFile(parse(file, string(text)))
	if err != nil && stored.Revision > 0 {
		// The service matters more than the file: what ran goes on.
		l.log.Error("the intent's file is refused, the stored intent stays", "revision", stored.Revision, "err", err)
		return nil
	}
	return err
}

func (l *loop) run(ctx context.Context, reloads <-chan fileRead) error {
	defer l.finish()
	due := time.NewTimer(0)
	defer due.Stop()
	for l.fatal == nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f := <-l.calls:
			f()
		case f := <-l.looks:
			f()
		case f := <-l.told:
			select {
			case call := <-l.calls:
				call()
			case look := <-l.looks:
				look()
			default:
			}
			if l.fatal == nil {
				f()
			}
		case r := <-reloads:
			l.reloaded(r)
		case err := <-l.saves.outcome:
			l.put(l.saves.ended(err))
		case <-due.C:
			l.put(core.Passed{})
		}
		if l.fatal == nil {
			l.tellWriters()
		}
		due.Stop()
		if next := l.core.Next(); !next.IsZero() {
			due.Reset(time.Until(next))
		}
	}
	return l.fatal
}

// put gives the core an input, carries out what follows and returns the answer, zero where there is none and the core
// goes on. While a decision waits for the store, so does put, which answers those who only look; the core bounds that.
func (l *loop) put(in core.Input) (answer core.Answer) {
	defer l.signs.give()
	var failed error
	answered := false
	for {
		for _, e := range l.core.Step(time.Now(), in) {
			if a, ok := e.(core.Answer); ok {
				answer, answered = a, true
			} else if err := l.carryOut(e); err != nil {
				failed = err
			}
		}
		if l.fatal != nil || !l.core.Waiting() {
			break
		}
		in = l.outcome()
	}
	switch {
	case answer.Err != nil:
	case failed != nil:
		answer.Err = failed
	case !answered:
		answer.Err = l.fatal
	}
	return answer
}

// outcome waits until the store answers, or the core's patience ends. Who only looks is answered meanwhile: the core
// tells all as it was before the decision.
func (l *loop) outcome() core.Input {
	patience := time.NewTimer(time.Until(l.core.Next()))
	defer patience.Stop()
	for {
		select {
		case err := <-l.saves.outcome:
			return l.saves.ended(err)
		case <-patience.C:
			select { // after a stop of the daemon both may be due: what the store says is what happened
			case err := <-l.saves.outcome:
				return l.saves.ended(err)
			default:
				return core.Passed{}
			}
		case f := <-l.looks:
			f()
		}
	}
}

// carryOut does what the core wants done.
func (l *loop) carryOut(e core.Effect) error {
	switch e := e.(type) {
	case core.Save:
		l.saves.begin(e.Stored)
	case core.TakeOn:
		return l.takeOn(e)
	case core.LetGo:
		if d := l.devices[e.Switch]; d != nil {
			d.cancel()
		}
		delete(l.devices, e.Switch)
		delete(l.views, e.Switch)
	case core.Tell:
		if d := l.devices[e.Switch]; d != nil {
			d.Set(l.wanted(e))
		}
	case core.Release:
		l.meetings[e.ID]()
		delete(l.meetings, e.ID)
	case core.Watch:
		l.collect()
		l.tellChecks()
	case core.Serve:
		l.tellVIPs()
	case core.Publish:
		if r, ok := e.Event.(core.Reprogrammed); ok {
			l.done = append([]*api.Reprogrammed{reprogrammed(r)}, l.done[:min(len(l.done), changesKept-1)]...)
		}
		l.publish(e.Event)
	case core.Log:
		l.log.Log(context.Background(), e.Level, e.Text, e.Args...)
	case core.Stop:
		l.fatal = e.Err
	default:
		panic(fmt.Sprintf("no such effect: %T", e))
	}
	return nil
}

// publish tells an event to those who watch, and to the log. Any goroutine may call it.
func (l *loop) publish(e core.Event) { l.events.publish(time.Now(), message(e), e.Lines()...) }

// finish stores what is not stored yet: a verdict that was overtaken must not stand after a restart.
func (l *loop) finish() {
	if l.fatal != nil {
		return
	}
	end := time.After(lastSave)
	last := l.saves.outcome == nil // otherwise the save under way is of an older state
	for {
		if last {
			l.saves.begin(l.core.Stored())
		}
		var err error
		select {
		case err = <-l.saves.outcome:
		case <-end:
			l.saves.abandon()
			<-l.saves.outcome
			err = fmt.Errorf("%w for %v", store.ErrUnavailable, lastSave)
			last = true
		}
		if !last && !errors.Is(err, store.ErrConflict) {
			last = true
			continue
		}
		if err != nil {
			l.log.Error("the last state is not stored: a restart goes on from an older one", "err", err)
		}
		return
	}
}

// do runs f in the loop and waits for it. Where ctx ends before the loop has taken f up, f does not run; once it
// has, what f does is what happened, and do waits for that.
func (l *loop) do(ctx context.Context, f func()) error { return send(ctx, l.calls, f) }

// look is do for an f that gives the core no input: it also runs while a decision waits for a store that is silent.
func (l *loop) look(ctx context.Context, f func()) error { return send(ctx, l.looks, f) }

func send(ctx context.Context, to chan<- func(), f func()) error {
	done := make(chan struct{})
	var taken atomic.Bool // by the loop, or back by the caller
	run := func() {
		if !taken.Swap(true) {
			defer close(done)
			f()
		}
	}
	select {
	case to <- run:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		if !taken.Swap(true) {
			return ctx.Err()
		}
		<-done
		return nil
	}
}

func (l *loop) reloaded(r fileRead) {
	err := r.err
	var done core.Answer
	if err == nil {
		done, err = l.applyFile(r.parsed)
	}
	if err != nil {
		l.log.Error("the intent's file is refused, the running intent stays", "file", r.file, "err", err)
		return
	}
	l.log.Info("the intent's file was read", "file", r.file, "changed", done.Changed)
}

// applyFile applies the controller's own --config file.
func (l *loop) applyFile(p parsed) (core.Answer, error) {
	p.loaded = true
	return l.apply(p)
}

// apply makes p the running intent, unless something is wrong with it.
func (l *loop) apply(p parsed) (core.Answer, error) {
	done := l.put(core.Apply{File: p.file, Text: p.text, Intent: p.intent, Err: p.err, Loaded: p.loaded})
	return done, done.Err
}

// parsed is the text of an intent and what it says.
type parsed struct {
	file, text string
	intent     *config.Intent
	err        error
	loaded     bool // from the controller's own file
}

// parse reads an intent. It is not for the loop: a long text with many faults takes seconds.
func parse(file, text string) parsed {
	intent, err := config.Parse(file, []byte(text))
	return parsed{file: file, text: text, intent: intent, err: err}
}

// takeOn starts a device for a switch.
func (l *loop) takeOn(e core.TakeOn) error {
	v, name := new(view), e.Switch.Name
	d, err := l.start(device.Config{
		Name:     name,
		Target:   e.Switch.Address,
		DeviceID: e.Switch.DeviceID,
		Observe: func(ctx context.Context, r device.Observation) {
			select {
			case l.told <- func() { l.observe(v, r) }:
			case <-ctx.Done():
			}
		},
		Meet: func(ctx context.Context, have rows.Tables) {
			done := make(chan struct{})
			select {
			case l.told <- func() { l.meet(v, name, have, func() { close(done) }) }:
			case <-ctx.Done():
				return
			}
			select {
			case <-done:
			case <-ctx.Done():
			}
		},
	}, l.wanted(e.Tell))
	if err != nil {
		return fmt.Errorf("switch %s: %w", name, err)
	}
	l.devices[name], l.views[name] = d, v
	return nil
}

func (l *loop) wanted(t core.Tell) device.Wanted {
	return device.Wanted{Sequence: t.Sequence, Tables: t.Tables, Named: backendMACs(l.core.Intent()), Age: t.Age}
}

// backendMACs are the addresses whose owners can be named.
func backendMACs(intent *config.Intent) map[packet.MAC]bool {
	macs := make(map[packet.MAC]bool)
	for _, pool := range intent.Pools {
		for _, b := range pool.Backends {
			macs[b.MAC] = true
		}
	}
	return macs
}

// meet asks the core about what a switch held when it was connected first. release is called when it may be written to.
func (l *loop) meet(v *view, name string, have rows.Tables, release func()) {
	if l.views[name] != v { // what comes from a device that has been let go is out of date
		release()
		return
	}
	l.met++
	l.meetings[l.met] = release
	l.put(core.Met{Switch: name, ID: l.met, Have: have})
}

// observe takes what was seen of a switch. v is the view that belonged to the device when it was started.
func (l *loop) observe(v *view, r device.Observation) {
	if l.views[r.Switch] != v {
		return
	}
	switch {
	case r.Status != nil:
		l.status(v, r.Switch, r.Status)
	case r.Noise != nil:
		l.put(core.Noise{Switch: r.Switch, Noise: *r.Noise})
	case r.Left != nil:
		l.put(core.Reported{Switch: r.Switch, Flows: r.Left.Flows, Lost: r.Left.Lost})
	default:
		l.put(core.Silent{Switch: r.Switch, Flows: r.Silent})
	}
}

func (l *loop) status(v *view, name string, s *device.Status) {
	before := v.status.State
	v.status = *s
	if s.State != before {
		l.publish(switchChanged{name, s})
	}
	l.put(core.Switch{
		Name: name, Connected: v.connected(), Connects: s.Connects, ReadBack: s.ReadBack,
		Applied: s.Applied, AppliedAt: s.AppliedAt, Writes: s.Writes, Refuses: s.State == device.Degraded,
		Lacks: s.Lacks, Unpinned: s.Unpinned,
	})
}
