package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sluicelb/sluice/controller/api"
)

const (
	rate     = 250 / slowdown / max(1, slowdown/2) // new connections per second; a sample of them takes enough / rate
	holdRate = 20

	// changeLimit is for the longest way of a change: from the death of a data center to DNS.
	changeLimit = 10 * time.Second * slowdown

	killed, drained = "web2", "web3"
)

// demo is one run.
type demo struct {
	cfg      Config
	screen   *screen
	pace     *pace
	world    *world
	fra, ams *site // ams is nil without
	selector *selector
	resolver *resolver
	load     *load

	killed          time.Time
	share           int            // slots of the server that dies, before
	sessionsAtDeath map[string]int // by server
	answersBefore   int            // of the server that dies, of a sample before
	drawn           int            // how often new connections were sampled
	uneven          []string       // where new connections were not shared as the slots were
	early           *tally         // what had become of requests before all of fra died; nil if it did not
	eras            []era          // what DNS had to say when

	result Result
	checks []check
	cut    bool // the script was not played to its end
	told   bool
}

// check is one claim of the demo and whether it holds. One that does not, and is excused, was not measured: the machine
// was too busy to tell, or the script did not get there.
type check struct {
	holds   bool
	text    string
	excused bool
}

// check makes a claim that a machine which is too busy can break.
func (d *demo) check(holds bool, format string, args ...any) {
	d.checks = append(d.checks, check{holds, fmt.Sprintf(format, args...), d.pace.busy() != ""})
}

// judged is n, which the claim is about; nil if the claim could not be judged.
func (c check) judged(n *int) *int {
	if !c.holds && c.excused {
		return nil
	}
	return n
}

// proved says what claims come to: true if all hold, false if one does not, nil if one could not be judged.
func proved(claims []check) *bool {
	result := new(true)
	for _, c := range claims {
		if !c.holds && !c.excused {
			return new(false)
		}
		if !c.holds {
			result = nil
		}
	}
	return result
}

// step is a part of the script.
type step struct {
	shows string // what is not measured when it could not be played
	play  func(d *demo, ctx context.Context) error
}

var (
	baseline  = step{"three servers share the load", (*demo).baseline}
	death     = step{"the death of " + killed, (*demo).kill}
	comeback  = step{"the return of " + killed, (*demo).bringBack}
	draining  = step{"the drain of " + drained, (*demo).drain}
	powerCuts = step{"the power cut at all of " + fra.Name + ", and its return", (*demo).failover}

	wholeScript = []step{baseline, death, comeback, draining, powerCuts}
)

// play runs the script, from the first request to the last change, or until a step cannot be played to its end.
// The load that it starts goes on until loading ends.
func (d *demo) play(ctx, loading context.Context) {
	first := step{"the first request", func(d *demo, ctx context.Context) error {
		d.load.once(ctx) // from which the switch of fra learns where the router is
		for _, s := range d.sites() {
			if err := s.learnRouter(ctx); err != nil {
				return err
			}
		}
		d.load.start(loading, rate)
		return nil
	}}
	script := append([]step{first}, d.cfg.script...)
	for i, step := range script {
		err := d.playStep(ctx, step)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			d.cut = true
			d.screen.note("The demo cannot go on: %v.", err)
			d.check(false, "%s: %v", step.shows, err)
			for _, rest := range script[i+1:] {
				d.checks = append(d.checks, check{text: rest.shows, excused: true})
			}
			return
		}
	}
}

func (d *demo) playStep(ctx context.Context, s step) error {
	ctx, cancel := d.pace.within(ctx, stepLimit)
	defer cancel()
	err := s.play(d, ctx)
	// What was called meanwhile says only that it was cancelled.
	if overdue, ok := errors.AsType[*overdueError](context.Cause(ctx)); ok && err != nil && !errors.Is(err, overdue) {
		err = fmt.Errorf("%w: %w", err, overdue)
	}
	return err
}

// showShares watches new connections to a data center for a while, prints how they are shared, beside the
// slots behind them, and returns the answers by server.
func (d *demo) showShares(ctx context.Context, s *site, when string) (map[string]int, error) {
	fresh, _, err := d.load.draw(ctx, d.cfg.watch)
	if err != nil {
		return nil, err
	}
	table, err := s.slots(ctx)
	if err != nil {
		return nil, err
	}
	share, open := table.share(), d.load.openBefore(time.Now())
	d.drawn++
	for _, text := range uneven(s.servers, share, fresh) {
		d.uneven = append(d.uneven, when+": "+text)
	}
	d.screen.shares(s.servers, fresh, share, open)
	return fresh, nil
}

func (d *demo) baseline(ctx context.Context) error {
	d.screen.title("Three servers share the load")
	d.screen.note("DNS sends everybody to %s: %d new connections per second, and %d sessions that stay open",
		d.fra.Name,
		rate, sessions)
	if err := receive(ctx, time.After(2*sessionPause)); err != nil { // until the sessions are open
		return err
	}
	answers, err := d.showShares(ctx, d.fra, "three servers")
	d.answersBefore = answers[killed]
	return err
}

func (d *demo) kill(ctx context.Context) error {
	d.screen.title("Power cut at " + killed)
	d.screen.note("its frames vanish from one moment to the next; it closes nothing")
	victim := d.fra.server(killed)
	before, err := d.fra.slots(ctx)
	if err != nil {
		return err
	}
	d.share = before.share()[killed]
	load, from := d.load.now(), d.fra.events.next()
	d.killed = victim.powerOff()
	d.sessionsAtDeath = d.load.openBefore(d.killed)
	d.screen.at(0, "%s is dead", killed)

	e, err := d.fra.events.wait(ctx, from, killed+" is called down", verdict(killed, api.Health_HEALTH_DOWN))
	if err != nil {
		return err
	}
	detected := e.GetVerdict().GetDetectedAt().AsTime()
	detection := milliseconds(detected.Sub(d.killed))
	d.result.DetectionMS = &detection
	d.screen.at(detected.Sub(d.killed), "healthd calls it down:")
	d.screen.note("  %s", e.GetVerdict().GetReason())
	event, err := d.reprogrammed(ctx, from, leaving(killed))
	if err != nil {
		return err
	}
	after, err := d.fra.slots(ctx)
	if err != nil {
		return err
	}
	reprogram := event.GetReprogramMs()
	d.result.ReprogramMS = &reprogram
	written := event.GetTime().AsTime()
	d.screen.at(written.Sub(d.killed), "the last slot is written (%s)", count(int(event.GetWrites()), "row"))
	moved := before.movesTo(after)
	d.showMoves(moved)
	d.moved("death of "+killed, event, moved, moved.surplusLeaving(killed), d.share)
	if _, err := d.showShares(ctx, d.fra, killed+" dead"); err != nil {
		return err
	}
	left, entered := d.fra.proof.LastRequest(victim.Port)
	if left.IsZero() {
		d.screen.line("No request frame ever left for %s.", killed)
	} else {
		d.screen.line("The last request frame for %s left %s ms after its death.", killed,
			thousands(int(left.Sub(d.killed).Milliseconds())))
	}
	t := d.load.now().since(load)
	d.screen.line("%s failed on the dead server, %d on live ones.", count(t.failedDead, "request"), t.failedLive)
	d.check(detection > 0 && reprogram > 0,
		"%.0f ms from death to detection, %.1f ms more to the last slot written", detection, reprogram)
	d.check(!entered.IsZero() && !entered.After(written),
		"%s got connections, and none that was opened after the last slot was written", killed)
	return nil
}

func (d *demo) bringBack(ctx context.Context) error {
	d.screen.title(killed + " returns")
	before, err := d.fra.slots(ctx)
	if err != nil {
		return err
	}
	from, began := d.fra.events.next(), time.Now()
	if err := d.fra.server(killed).powerOn(); err != nil {
		return err
	}
	d.screen.at(0, "%s has power again, and has forgotten everything", killed)
	e, err := d.fra.events.wait(ctx, from, killed+" is called up", verdict(killed, api.Health_HEALTH_UP))
	if err != nil {
		return err
	}
	d.screen.at(e.GetVerdict().GetDetectedAt().AsTime().Sub(began), "healthd calls it up")
	event, err := d.reprogrammed(ctx, from, arriving(killed))
	if err != nil {
		return err
	}
	after, err := d.fra.slots(ctx)
	if err != nil {
		return err
	}
	d.screen.at(event.GetTime().AsTime().Sub(began), "the last slot is written (%s)",
		count(int(event.GetWrites()), "row"))
	moved := before.movesTo(after)
	d.showMoves(moved)
	d.moved("return of "+killed, event, moved, moved.surplusReturning(killed, d.share), d.share)
	answers, err := d.showShares(ctx, d.fra, killed+" back")
	if err != nil {
		return err
	}
	d.check(d.answersBefore > 0 && d.sessionsAtDeath[killed] > 0 && answers[killed] > 0,
		"%s: %s, %s before its death; %s after", killed, count(d.answersBefore, "answer"),
		count(d.sessionsAtDeath[killed], "session"), count(answers[killed], "answer"))
	// Sessions that were with a live server then must be the same ones still.
	was, is := 0, 0
	open := d.load.openBefore(d.killed)
	for _, s := range d.fra.hosts {
		if s.Name != killed {
			was += d.sessionsAtDeath[s.Name]
			is += min(open[s.Name], d.sessionsAtDeath[s.Name])
		}
	}
	d.screen.line("%d of %s on the other servers lived through both changes.", is, count(was, "session"))
	d.check(is == was && was > 0, "%d of %s on live servers unbroken by death and return", is, count(was, "session"))
	return nil
}

func (d *demo) drain(ctx context.Context) error {
	d.screen.title("Drain " + drained)
	d.screen.note("new connections go elsewhere; open ones stay until they end")
	before, err := d.fra.slots(ctx)
	if err != nil {
		return err
	}
	from, began := d.fra.events.next(), time.Now()
	if err := d.fra.setAdmin(ctx, drained, api.Admin_ADMIN_DRAIN); err != nil {
		return err
	}
	event, err := d.reprogrammed(ctx, from, leaving(drained))
	if err != nil {
		return err
	}
	after, err := d.fra.slots(ctx)
	if err != nil {
		return err
	}
	d.screen.at(event.GetTime().AsTime().Sub(began), "the last slot is written (%s)",
		count(int(event.GetWrites()), "row"))
	moved := before.movesTo(after)
	d.showMoves(moved)
	d.moved("drain of "+drained, event, moved, moved.surplusLeaving(drained), before.share()[drained])
	was, opened := d.load.openBefore(began)[drained], d.fra.proof.Opened(d.fra.server(drained).Port)
	load := d.load.now()
	if _, err := d.showShares(ctx, d.fra, drained+" draining"); err != nil {
		return err
	}
	t := d.load.now().since(load)
	is := d.load.openBefore(began)[drained]
	opened = d.fra.proof.Opened(d.fra.server(drained).Port) - opened
	d.screen.line("%d of its %s went on, with %s meanwhile.", is, count(was, "session"),
		count(t.kept[drained], "answer"))
	d.check(opened == 0 && is == was && t.kept[drained] > 0,
		"while draining, %s got %d new connections and kept %d of %s", drained, opened, is, count(was, "session"))

	ended := time.Now()
	d.load.release(drained)
	d.screen.at(0, "its sessions end")
	e, err := d.fra.events.wait(ctx, from, drained+" is drained", func(e *api.Event) bool {
		return e.GetDrainDone().GetBackend() == drained
	})
	if err != nil {
		return err
	}
	settled, err := d.fra.slots(ctx)
	if err != nil {
		return err
	}
	to, old := settled.share()[drained], settled.moving(drained)
	d.screen.at(e.GetTime().AsTime().Sub(ended), "%s is drained: its slots have settled elsewhere", drained)
	d.check(to == 0 && old == 0, "drained, %s has %d slots, and old flows of %d", drained, to, old)
	return nil
}

// showMoves prints who lost slots to whom.
func (d *demo) showMoves(m moves) {
	for _, mv := range m.sorted() {
		d.screen.hang(12, "", "%s  %s → %s", count(m[mv], "slot"), nobody(mv.from), nobody(mv.to))
	}
}

// moved checks that a change moved a server's share and nothing else: by the slots themselves, before
// and after, and by what the controller tells of it, which must agree with them.
func (d *demo) moved(change string, event *api.Reprogrammed, seen moves, surplus, share int) {
	all := max(surplus, int(event.GetSurplusMoves()))
	if before := d.result.SurplusSlotMoves; before != nil {
		all += *before
	}
	d.result.SurplusSlotMoves = &all
	explained := explained(change, event, seen, surplus, share)
	d.check(explained.holds, "%s", explained.text)
}

func explained(change string, event *api.Reprogrammed, seen moves, surplus, share int) check {
	told := make(moves)
	for _, m := range event.GetMoves() {
		told[move{m.GetFrom(), m.GetTo()}] += int(m.GetSlots())
	}
	if !maps.Equal(told, seen) || surplus != int(event.GetSurplusMoves()) {
		return check{text: fmt.Sprintf("%s: %s moved, %d surplus; the controller says %d, %d surplus",
			change, count(seen.all(), "slot"), surplus, told.all(), event.GetSurplusMoves())}
	}
	return check{holds: surplus == 0 && share > 0 && seen.all() == share, text: fmt.Sprintf(
		"%s: %s of %s moved, %d surplus; the controller agrees", change, thousands(seen.all()-surplus),
		count(share, "slot"),
		surplus)}
}

// reprogrammed waits until the controller tells that moves of some kind are in the switch.
func (d *demo) reprogrammed(ctx context.Context, from int, kind func(*api.SlotMoves) bool) (*api.Reprogrammed, error) {
	e, err := d.fra.events.wait(ctx, from, "the switch is reprogrammed", func(e *api.Event) bool {
		return slices.ContainsFunc(e.GetReprogrammed().GetMoves(), kind)
	})
	return e.GetReprogrammed(), err
}

func leaving(server string) func(*api.SlotMoves) bool {
	return func(m *api.SlotMoves) bool { return m.GetFrom() == server }
}

func arriving(server string) func(*api.SlotMoves) bool {
	return func(m *api.SlotMoves) bool { return m.GetTo() == server }
}

func verdict(server string, health api.Health) func(*api.Event) bool {
	return func(e *api.Event) bool {
		return e.GetVerdict().GetBackend() == server && e.GetVerdict().GetHealth() == health
	}
}

func nobody(name string) string {
	if name == "" {
		return "nobody"
	}
	return name
}
