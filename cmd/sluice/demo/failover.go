package demo

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluicelb/sluice/controller/api"
)

// moment is something that happened on the way.
type moment struct {
	at     time.Time
	text   string
	reason string // ""; else the text ends in a colon
}

func (m moment) compare(other moment) int { return m.at.Compare(other.at) }

// showMoments prints what happened in order, by the time since.
func (d *demo) showMoments(since time.Time, moments []moment) {
	slices.SortStableFunc(moments, moment.compare)
	for _, m := range moments {
		d.screen.at(m.at.Sub(since), "%s", m.text)
		if m.reason != "" {
			d.screen.note("  %s", m.reason)
		}
	}
}

// failover lets all of fra die, so that clients have to find ams, and brings it back.
func (d *demo) failover(ctx context.Context) error {
	if d.ams == nil {
		return nil
	}
	if err := d.cutPower(ctx); err != nil {
		return err
	}
	return d.returnPower(ctx)
}

func (d *demo) cutPower(ctx context.Context) error {
	d.screen.title("Power cut at the whole pool of " + d.fra.Name)
	d.screen.note("DNS has named %s %d times; clients keep an answer for its TTL of %d s", d.fra.Name, d.named(d.fra),
		webTTL)
	first := d.load.await(d.ams.network)
	early := d.load.now()
	d.early = &early
	b, err := d.blackOut(ctx)
	if err != nil {
		return err
	}
	d.showMoments(b.died, b.moments)
	if !b.failedOver {
		d.screen.line("DNS does not name %s: it still says %v.", d.ams.Name, b.answer.vip)
		d.check(false, "%s dead: DNS named %s", d.fra.Name, d.ams.Name)
		d.load.giveUp(d.fra.network)
		return nil
	}
	took := b.answer.received.Sub(b.died)
	d.result.GSLBFailoverMS = new(milliseconds(took))
	page, err := d.clientsMove(ctx, d.ams, first)
	if err != nil {
		return err
	}
	d.screen.at(page.at.Sub(b.died), "the first page from %s: %s sent it", d.ams.Name, page.server)
	if err := d.showReason(ctx); err != nil {
		return err
	}
	if _, err := d.showShares(ctx, d.ams, d.fra.Name+" dead"); err != nil {
		return err
	}
	t := d.load.now().since(early)
	d.screen.line("%s failed on the dead servers, %d on live ones.", count(t.failedDead, "request"), t.failedLive)
	d.check(took < changeLimit && b.answer.received.After(b.detected),
		"%s dead: %.0f ms to a VIP without backend, %.1f ms more to the first DNS answer with %s; first page from "+
			"there after %.0f ms",
		d.fra.Name, milliseconds(b.noBackend.Sub(b.died)), milliseconds(b.answer.received.Sub(b.noBackend)), d.ams.Name,
		milliseconds(page.at.Sub(b.died)))
	return nil
}

// blackout is the death of all servers of fra and what followed from it.
type blackout struct {
	died       time.Time // the last of the servers
	detected   time.Time // the first of them
	noBackend  time.Time // the controller said so
	answer     exchange  // the first that named ams
	failedOver bool      // there was one; else answer is one that should have
	moments    []moment
}

// blackOut cuts the power and waits until DNS names ams.
func (d *demo) blackOut(ctx context.Context) (b blackout, err error) {
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer func() { stop(); watch.Wait() }()
	vip := newJournal[vipSeen]()
	watch.Go(func() { followVIP(watching, d.fra.api, vip) })
	if _, err := vip.wait(ctx, 0, "the VIP is active", inState(api.VIPStatus_STATE_ACTIVE)); err != nil {
		return b, err
	}
	events, notices, asked := d.fra.events.next(), d.selector.notices.next(), d.resolver.exchanges.next()
	d.era(time.Now(), d.fra, d.ams)
	b.died = d.fra.powerOff()
	d.screen.at(0, "%s are dead", list(d.fra.servers))

	if b.moments, err = d.verdicts(ctx, events, api.Health_HEALTH_DOWN, "down"); err != nil {
		return b, err
	}
	b.detected = slices.MinFunc(b.moments, moment.compare).at
	lost, err := vip.wait(ctx, 0, "the VIP has no backend", inState(api.VIPStatus_STATE_NO_BACKEND))
	if err != nil {
		return b, err
	}
	gone, err := d.noticed(ctx, notices, "down")
	if err != nil {
		return b, err
	}
	if b.answer, err = d.awaitAnswer(ctx, asked, d.ams, gone.at); err != nil {
		return b, err
	}
	moved := gone.at
	if b.failedOver = b.answer.vip == d.ams.vip.Addr(); b.failedOver {
		moved = earliest(moved, b.answer.received)
	}
	d.era(moved, d.ams)
	b.noBackend = earliest(lost.at, moved) // who hears of it later than gslb, learns that it was so
	b.moments = append(b.moments,
		moment{at: b.noBackend, text: fmt.Sprintf("the controller of %s has no backend left for the VIP", d.fra.Name)},
		moment{moved, "gslb, which watches it, calls answer " + gone.answer + " down:", gone.reason})
	if b.failedOver {
		b.moments = append(b.moments, d.firstAnswer(d.ams, b.answer))
	}
	return b, nil
}

func (d *demo) returnPower(ctx context.Context) error {
	failedOver := d.result.GSLBFailoverMS != nil
	d.screen.title(d.fra.Name + " returns")
	events, notices, asked := d.fra.events.next(), d.selector.notices.next(), d.resolver.exchanges.next()
	first := d.load.await(d.fra.network)
	began := time.Now()
	was := d.sessionsAt(d.ams, began)
	d.era(began, d.fra, d.ams)
	if err := d.fra.powerOn(); err != nil {
		return err
	}
	d.screen.at(0, "%s have power again", list(d.fra.servers))
	moments, err := d.verdicts(ctx, events, api.Health_HEALTH_UP, "up")
	if err != nil {
		return err
	}
	back, err := d.noticed(ctx, notices, "up")
	if err != nil {
		return err
	}
	answer, err := d.awaitAnswer(ctx, asked, d.fra, back.at)
	if err != nil {
		return err
	}
	moved := back.at
	if failedOver {
		moved = earliest(moved, answer.received)
	}
	d.era(moved, d.fra)
	moments = append(moments, moment{at: moved, text: "gslb calls answer " + back.answer + " up"})
	if failedOver {
		moments = append(moments, d.firstAnswer(d.fra, answer))
	}
	d.showMoments(began, moments)
	page, err := d.clientsMove(ctx, d.fra, first)
	if err != nil {
		return err
	}
	d.screen.at(page.at.Sub(began), "the first page from %s: %s sent it", d.fra.Name, page.server)
	if failedOver {
		is := d.sessionsAt(d.ams, began)
		d.screen.line("%d of %s at %s went on.", is, count(was, "session"), d.ams.Name)
		d.check(is == was && was > 0, "%s back: DNS named it again after %.0f ms; %d of %s at %s unbroken",
			d.fra.Name, milliseconds(answer.received.Sub(began)), is, count(was, "session"), d.ams.Name)
	}
	return nil
}

func (d *demo) firstAnswer(s *site, e exchange) moment {
	return moment{at: e.received, text: fmt.Sprintf("the first DNS answer names %s: %v", s.Name, e.vip)}
}

// named counts the DNS answers that named a data center.
func (d *demo) named(s *site) int {
	n := 0
	for _, e := range d.resolver.exchanges.all() {
		if e.vip == s.vip.Addr() {
			n++
		}
	}
	return n
}

// verdicts waits for healthd's verdicts on all servers of fra.
func (d *demo) verdicts(ctx context.Context, from int, health api.Health, word string) ([]moment, error) {
	var moments []moment
	for _, server := range d.fra.servers {
		e, err := d.fra.events.wait(ctx, from, server+" is called "+word, verdict(server, health))
		if err != nil {
			return nil, err
		}
		moments = append(moments,
			moment{at: e.GetVerdict().GetDetectedAt().AsTime(), text: "healthd calls " + server + " " + word})
	}
	return moments, nil
}

// noticed waits until gslb says that fra's answer is up or down.
func (d *demo) noticed(ctx context.Context, from int, state string) (notice, error) {
	answer := answerName(d.fra.place)
	return d.selector.notices.wait(ctx, from, "gslb calls "+answer+" "+state,
		func(n notice) bool { return n.says(answer, state) })
}

// mostWrong answers that name the other data center, when gslb itself has gone from it, are enough not to
// wait for a right one any longer.
const mostWrong = 10

// awaitAnswer waits for the first DNS answer from a place on that names a data center. When gslb said that it
// was to be named, and is not, that returns an answer that was wrong.
func (d *demo) awaitAnswer(ctx context.Context, from int, s *site, published time.Time) (exchange, error) {
	wrong := 0
	return d.resolver.exchanges.wait(ctx, from, "DNS names "+s.Name, func(e exchange) bool {
		if e.vip != s.vip.Addr() && e.sent.After(published) {
			wrong++
		}
		return e.vip == s.vip.Addr() || wrong == mostWrong
	})
}

// clientsMove waits until clients have heard where to go, and for the first page from there. They give up on what they
// wanted of a data center that is dead.
func (d *demo) clientsMove(ctx context.Context, to *site, first <-chan arrived) (arrived, error) {
	for {
		vip, err := d.resolver.lookup(ctx)
		if err == nil && vip == to.vip.Addr() {
			break
		}
		if err := receive(ctx, time.After(askPause)); err != nil {
			return arrived{}, fmt.Errorf("waiting until clients hear of %s: %w", to.Name, err)
		}
	}
	if to == d.ams {
		d.load.giveUp(d.fra.network)
	}
	select {
	case page := <-first:
		return page, nil
	case <-ctx.Done():
		return arrived{}, fmt.Errorf("waiting for a page from %s: %w", to.Name, context.Cause(ctx))
	}
}

// showReason prints what gslb says about its answer.
func (d *demo) showReason(ctx context.Context) error {
	reason, err := d.selector.explain(ctx)
	if err != nil {
		return err
	}
	d.screen.line("`sluice gslb explain %s` says:", strings.TrimSuffix(webName, "."))
	for _, line := range reason {
		d.screen.note("  %s", line)
	}
	return nil
}

// era says what DNS answers must name from a time on.
func (d *demo) era(from time.Time, sites ...*site) {
	var vips []netip.Addr
	for _, s := range sites {
		vips = append(vips, s.vip.Addr())
	}
	d.eras = append(d.eras, era{from, vips})
}

// sessionsAt counts the sessions with a data center that were opened before t and are open.
func (d *demo) sessionsAt(s *site, t time.Time) int {
	open, n := d.load.openBefore(t), 0
	for _, server := range s.servers {
		n += open[server]
	}
	return n
}

func inState(state api.VIPStatus_State) func(vipSeen) bool {
	return func(v vipSeen) bool { return v.state == state }
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// list is "web1, web2 and web3".
func list(names []string) string {
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}
