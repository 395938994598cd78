package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/controller/store"
)

const (
	// saveTimeout bounds how long a verdict waits for a store that has stopped answering.
	saveTimeout = 500 * time.Millisecond
	// changeTimeout is the same for a change of the configuration, which is then refused.
	changeTimeout = 3 * time.Second
	// saveInterval is how often a store that has stopped answering is tried.
	saveInterval = time.Second
	// lastSave bounds the save at the end, and the wait for the one before.
	lastSave = 2 * time.Second
)

// saver is what the loop needs of the store.
type saver interface {
	Save(context.Context, store.State) error
}

// loop owns the decisions. Its methods run in one goroutine, that of run, but for do, which sends it
// work, and begin, which comes before run.
type loop struct {
	log    *slog.Logger
	db     saver
	start  func(device.Config, device.Wanted) (*running, error)
	inbox  chan func() // calls and verdicts
	news   chan func() // reports of switches: no call waits behind them
	events events
	checks checks
	vips   vips

	started  time.Time
	st       store.State // as decided; as stored too unless frozen
	intent   *config.Intent
	known    map[plan.BackendKey]bool // the intent's backends
	leavers  []plan.Member            // that are checked too, though the intent has them no more
	checked  int64                    // revision of the intent that the checks are of
	frozen   error                    // why the store does not have st
	saving   chan error               // the outcome of a save that nobody waits for, nil while there is none
	newer    bool                     // st is newer than what is being saved
	abandon  context.CancelFunc       // ends the latest save
	fatal    error                    // ends run
	sequence uint64                   // of the last decision

	meetings meetings

	devices map[string]*running
	views   map[string]*view
	waiting []plan.Wait // as of the last decision
	limits  limits
	graces  graces
	over    map[plan.BackendKey]bool // whose grace has just ended
	givenUp map[plan.BackendKey]bool // that the operator no longer wants, since they are down
	floors  map[string]string        // why the graces of a pool do not end, by pool
	falls   map[string]*fall         // since when, of the same pools
	// suspicion is set while a switch is the suspect, and not the servers.
	suspicion *suspicion
	outlook   outlook
	steps     uint64 // counts the times that the plan was asked
	pending   []*change
	done      []*change // reprogrammed, the latest first
	claims    *claims
	notices   *notices
	spoofs    spoofs
	drained   map[plan.BackendKey]bool // told to be
	forced    map[plan.BackendKey]int  // slots of their drains that were ended by force
	writers   []writer
	authors   authors
	reporting map[string]bool           // healthds that were told of, by name
	doubts    map[plan.BackendKey]doubt // backends that cannot be asked
	reported  time.Time                 // when a healthd last reported
	rates     map[rows.VIPKey]float64   // packets a second, of VIPs that switches have counted twice
	rated     uint64                    // counts the rates that came in
	vipsOf    vipFacts                  // what vips follows from
	// rechecked is when a pool's checks last changed, by pool.
	rechecked map[string]time.Time
}

func newLoop(log *slog.Logger, db saver, st store.State) *loop {
	return &loop{
		log:     log,
		db:      db,
		events:  events{log: log},
		vips:    newVIPs(),
		inbox:   make(chan func(), 64),
		news:    make(chan func(), 64),
		started: time.Now(),
		st:      st,
		devices: make(map[string]*running),
		views:   make(map[string]*view),
		claims:  newClaims(),
		notices: newNotices(),
		spoofs:  newSpoofs(),
		drained: make(map[plan.BackendKey]bool),
		forced:  make(map[plan.BackendKey]int),
		givenUp: make(map[plan.BackendKey]bool),

		meetings: meetings{stored: st.Plan},

		authors: make(authors), reporting: make(map[string]bool),
		doubts: make(map[plan.BackendKey]doubt),

		rechecked: make(map[string]time.Time),
	}
}

// begin takes up the stored intent, and the file's if that has changed since it was last read.
func (l *loop) begin(file string, text []byte) error {
	stored := l.st.Intent
	if stored.Revision > 0 {
		intent, err := config.Parse(stored.File, []byte(stored.YAML))
		if err != nil {
			return fmt.Errorf("the stored intent, revision %d, is not valid for this version: %w", stored.Revision, err)
		}
		if err := l.adopt(context.Background(), intent, l.st, nil); err != nil {
			return fmt.Errorf("the stored intent, revision %d: %w", stored.Revision, err)
		}
	}
	if file == "" || store.Fingerprint(string(text)) == stored.Loaded && stored.Revision > 0 {
		return nil
	}
	_, _, err := l.applyFile(context.Background(), parse(file, string(text)))
	if err != nil && stored.Revision > 0 {
		// The service matters more than the file: what ran goes on.
		l.log.Error("the intent's file is refused, the stored intent stays", "revision", stored.Revision, "err", err)
		return nil
	}
	return err
}

func (l *loop) run(ctx context.Context, reloads <-chan fileRead) error {
	defer l.finish(ctx)
	retry := time.NewTicker(saveInterval)
	defer retry.Stop()
	limit := time.NewTimer(0) // the first look at the moves that were stored
	defer limit.Stop()
	for l.fatal == nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f := <-l.inbox:
			f()
		case f := <-l.news:
			select {
			case call := <-l.inbox:
				call()
			default:
			}
			if l.fatal == nil {
				f()
			}
		case r := <-reloads:
			l.reloaded(ctx, r)
		case now := <-retry.C:
			l.tellDue(now)
			l.tellAuthors(now)
			l.decideMeetings(ctx, time.Now())
			if l.frozen != nil && l.saving == nil {
				l.newer, l.saving = false, l.begun(ctx, l.st)
			}
			l.forgetRetired(ctx, time.Now())
		case err := <-l.saving:
			l.saving = nil
			l.saved(ctx, err)
		case <-limit.C:
		}
		if l.fatal == nil {
			l.limit(ctx, limit)
			l.tellVIPs()
			l.tellWriters()
		}
	}
	return l.fatal
}

// do runs f in the loop and waits for it. Where ctx ends before the loop has taken f up, f does not run; once it
// has, what f does is what happened, and do waits for that.
func (l *loop) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	var taken atomic.Bool // by the loop, or back by the caller
	run := func() {
		if !taken.Swap(true) {
			defer close(done)
			f()
		}
	}
	select {
	case l.inbox <- run:
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

func (l *loop) reloaded(ctx context.Context, r fileRead) {
	err := r.err
	changed := false
	if err == nil {
		_, changed, err = l.applyFile(ctx, r.parsed)
	}
	if err != nil {
		l.log.Error("the intent's file is refused, the running intent stays", "file", r.file, "err", err)
		return
	}
	l.log.Info("the intent's file was read", "file", r.file, "changed", changed)
}

// applyFile applies the controller's own --config file.
func (l *loop) applyFile(ctx context.Context, p parsed) (int64, bool, error) {
	return l.apply(ctx, p, func(st *store.State) { st.Intent.Loaded = store.Fingerprint(p.text) })
}

// parsed is the text of an intent and what it says.
type parsed struct {
	file, text string
	intent     *config.Intent
	err        error
}

// parse reads an intent. It is not for the loop: a long text with many faults takes seconds.
func parse(file, text string) parsed {
	intent, err := config.Parse(file, []byte(text))
	return parsed{file, text, intent, err}
}

// apply makes p the running intent, unless something is wrong with it. also may change more of the
// state in the same transaction.
func (l *loop) apply(ctx context.Context, p parsed, also func(*store.State)) (revision int64, changed bool, err error) {
	next := l.st
	if also != nil {
		also(&next)
	}
	if next.Intent.Revision > 0 && p.text == next.Intent.YAML {
		if next.Intent != l.st.Intent {
			if err := l.save(ctx, next, errFrozen); err != nil {
				return 0, false, err
			}
		}
		return next.Intent.Revision, false, nil
	}
	if p.err != nil {
		return 0, false, p.err
	}
	intent := p.intent
	next.Intent.YAML, next.Intent.File, next.Intent.AppliedAt = p.text, p.file, time.Now()
	next.Intent.Revision++
	next.Retired = retired(l.st.Retired, l.intent, intent, next.Intent.AppliedAt)
	next.VIPAge = vipAges(intent, l.st.VIPAge, next.Intent.Revision)
	next.Admin = prune(intent, l.st.Admin)
	next.Verdicts = judged(intent, l.st)
	if err := l.adopt(ctx, intent, next, errFrozen); err != nil {
		return 0, false, err
	}
	l.events.publish(time.Now(), intentApplied(next.Intent.Revision))
	return next.Intent.Revision, true, nil
}

// adopt makes intent, which goes with next, the running one.
func (l *loop) adopt(ctx context.Context, intent *config.Intent, next store.State, unlessFrozen error) error {
	before, known := l.intent, l.known
	l.intent, l.known = intent, backendsOf(intent)
	cause := cause{text: fmt.Sprintf("intent revision %d", next.Intent.Revision)}
	if err := l.step(ctx, next, cause, true, unlessFrozen); err != nil {
		l.intent, l.known = before, known
		return err
	}
	l.recheck(before, time.Now())
	l.giveUp(before)
	for key := range l.drained {
		if _, ok := l.st.Admin[key]; !ok {
			delete(l.drained, key)
		}
	}
	maps.DeleteFunc(l.forced, func(key plan.BackendKey, _ int) bool { return l.st.Admin[key] != plan.Drain })
	if err := l.syncDevices(); err != nil {
		return err
	}
	if len(l.waiting) > 0 && !hold(l.views, l.sequence) {
		l.goOn(ctx) // a switch that others waited for is gone
	}
	return nil
}

// errFrozen refuses changes that would be lost with this process.
var errFrozen = errors.New("the configuration is frozen")

// save stores next and makes it the current state. With unlessFrozen, a store that does not answer, or refuses,
// refuses the change; without, the change is made in memory and stored later. A save is the daemon's own:
// it goes on when the caller leaves, and when the loop no longer waits for it.
func (l *loop) save(ctx context.Context, next store.State, unlessFrozen error) error {
	if unlessFrozen != nil && l.frozen != nil {
		return fmt.Errorf("%w: %w", unlessFrozen, l.frozen)
	}
	done, patience := l.begun(ctx, next), saveTimeout
	if unlessFrozen != nil {
		patience = changeTimeout
	}
	var err error
	select {
	case err = <-done:
	case <-time.After(patience):
		// A change that is refused for it must not be what is stored in the end.
		l.saving, l.newer = done, unlessFrozen != nil
		err = fmt.Errorf("writing the store: %w for %v", store.ErrUnavailable, patience)
	}
	switch {
	case errors.Is(err, store.ErrConflict):
		l.fatal = err
		return err
	case err != nil && unlessFrozen != nil:
		if errors.Is(err, store.ErrRefused) {
			return err
		}
		// It may be there all the same. The state as it was is stored again as soon as the store answers.
		l.setFrozen(err)
		return fmt.Errorf("%w: %w", unlessFrozen, err)
	}
	l.st = next
	l.setFrozen(err)
	return nil
}

// begun starts a save. The store bounds what it takes.
func (l *loop) begun(ctx context.Context, st store.State) chan error {
	ctx, l.abandon = context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- l.db.Save(ctx, st) }()
	return done
}

// saved takes the outcome of a save that nobody waited for.
func (l *loop) saved(ctx context.Context, err error) {
	switch {
	case errors.Is(err, store.ErrConflict):
		l.fatal = err
	case err != nil:
		l.setFrozen(err) // the timer tries again
	case l.newer:
		l.newer, l.saving = false, l.begun(ctx, l.st)
	default:
		l.setFrozen(nil)
	}
}

// keep makes next the current state while the store cannot have it: nothing waits for that here.
func (l *loop) keep(next store.State) { l.st, l.newer = next, true }

// finish stores what is not stored yet: a verdict that was overtaken must not stand after a restart.
func (l *loop) finish(ctx context.Context) {
	if l.fatal != nil {
		return
	}
	end := time.After(lastSave)
	last := l.saving == nil // otherwise that one is of an older state
	for {
		if last {
			l.saving = l.begun(ctx, l.st)
		}
		var err error
		select {
		case err = <-l.saving:
		case <-end:
			l.abandon()
			<-l.saving
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

func (l *loop) setFrozen(err error) {
	if (err == nil) != (l.frozen == nil) {
		l.events.publish(time.Now(), storeChanged(err))
	}
	l.frozen = err
}

// step lets the plan decide on next, stores it and tells the devices. always tells them even if no
// slot changed.
func (l *loop) step(ctx context.Context, next store.State, why cause, always bool, unlessFrozen error) error {
	now := time.Now()
	l.steps++
	health := l.health(next)
	decided, report, err := plan.Step(next.Plan, plan.Input{
		Intent: l.intent,
		Health: health,
		Admin:  next.Admin,
		Hold:   hold(l.views, l.sequence),
		Over:   l.over,
		Stale:  l.fallenLong(floors(l.intent, health, next.Verdicts), now),
	})
	if err != nil {
		return fmt.Errorf("planning: %w", err)
	}
	same := samePools(l.st.Plan, decided)
	next.Plan = decided
	if always || !same {
		next.Verdicts = judged(l.intent, next)
	}
	if l.frozen != nil && unlessFrozen == nil {
		l.keep(next)
	} else if err := l.save(ctx, next, unlessFrozen); err != nil {
		return err
	}
	l.setChecks()
	l.waiting = report.Waiting
	if len(report.Moves) > 0 {
		l.events.publish(now, slotsMoved(why, report))
	}
	if report.Rehashed > 0 {
		l.log.Warn("open connections broke: a pool got fewer slots", "slots", report.Rehashed)
	}
	if same && !always {
		return nil
	}
	l.sequence++
	if len(report.Moves) > 0 || always {
		l.follow(newChange(l.sequence, why, now, report, l.views))
	}
	l.tell()
	return nil
}

// tell gives the devices what is wanted now.
func (l *loop) tell() {
	tables := l.tables()
	for name, d := range l.devices {
		d.Set(l.wanted(tables, name))
	}
	l.tellDrained()
}

func (l *loop) wanted(tables rows.Tables, name string) device.Wanted {
	for _, s := range l.intent.Switches {
		if s.Name == name {
			tables.Flood = slices.Sorted(slices.Values(s.Ports))
		}
	}
	return device.Wanted{Sequence: l.sequence, Tables: tables, Named: backendMACs(l.intent), Age: l.st.VIPAge}
}

// syncDevices starts a device for every switch of the intent, and lets go of the others: their tables
// stay as they are.
func (l *loop) syncDevices() error {
	wanted := make(map[string]config.Switch)
	for _, s := range l.intent.Switches {
		wanted[s.Name] = s
	}
	for name, d := range l.devices {
		if s, ok := wanted[name]; !ok || s.Address != d.config.Target || s.DeviceID != d.config.DeviceID {
			d.cancel()
			delete(l.devices, name)
			delete(l.views, name)
			l.pass(name, &device.Status{}) // nobody waits for it
		}
	}
	tables := l.tables()
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if l.devices[name] != nil {
			continue
		}
		v := &view{idle: make(map[plan.SlotRef]time.Time)}
		d, err := l.start(device.Config{
			Name:     name,
			Target:   wanted[name].Address,
			DeviceID: wanted[name].DeviceID,
			Report: func(ctx context.Context, r device.Report) {
				select {
				case l.news <- func() { l.report(ctx, v, r) }:
				case <-ctx.Done():
				}
			},
			Meet: func(ctx context.Context, have rows.Tables) {
				done := make(chan struct{})
				select {
				case l.news <- func() { l.meet(ctx, v, name, have, func() { close(done) }) }:
				case <-ctx.Done():
					return
				}
				select {
				case <-done:
				case <-ctx.Done():
				}
			},
		}, l.wanted(tables, name))
		if err != nil {
			return fmt.Errorf("switch %s: %w", name, err)
		}
		l.devices[name], l.views[name] = d, v
	}
	return nil
}
