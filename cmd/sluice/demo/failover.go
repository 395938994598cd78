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

// showMoments prints what happened in order, by the time since.
func (d *demo) showMoments(since time.Time, moments []moment) {
	slices.SortStableFunc(moments, func(a, b moment) int { return a.at.Compare(b.at) })
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
	d.screen.title("Power cut at the whole pool of " + d.fra.name)
	d.screen.note("%s so far, all with the VIP of %s; clients keep an answer for its TTL of %d s",
		count(d.resolver.exchanges.next(), "DNS answer"), d.fra.name, webTTL)
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer func() { stop(); watch.Wait() }()
	vip := newJournal[vipSeen]()
	watch.Go(func() { followVIP(watching, d.fra.api, vip) })
	if _, err := vip.wait(ctx, 0, changeTimeout, "the VIP is active", inState(api.VIPStatus_STATE_ACTIVE)); err != nil {
		return err
	}

	events, notices, asked := d.fra.events.next(), d.selector.notices.next(), d.resolver.exchanges.next()
	first := d.load.await(d.ams.network)
	early := d.load.now()
	d.early = &early
	d.era(time.Now(), d.fra, d.ams)
	died := d.fra.powerOff()
	d.screen.at(0, "%s are dead", list(d.fra.servers))

	moments, err := d.verdicts(ctx, events, api.Health_HEALTH_DOWN, "down")
	if err != nil {
		return err
	}
	lost, err := vip.wait(ctx, 1, changeTimeout, "the VIP has no backend", inState(api.VIPStatus_STATE_NO_BACKEND))
	if err != nil {
		return err
	}
	gone, err := d.noticed(ctx, notices, "down")
	if err != nil {
		return err
	}
	answer, err := d.awaitAnswer(ctx, asked, d.ams, gone.at)
	if err != nil {
		return err
	}
	moved := earliest(gone.at, answer.received)
	noBackend := earliest(lost.at, moved) // who reads it later than gslb, learns that it was so
	moments = append(moments,
		moment{at: noBackend, text: fmt.Sprintf("the controller of %s has no backend left for the VIP", d.fra.name)},
		moment{moved, "gslb, which watches it, calls answer " + gone.answer + " down:", gone.reason})
	if answer.vip != d.ams.vip.Addr() {
		d.era(gone.at, d.ams) // all the same
		d.showMoments(died, moments)
		d.screen.line("DNS does not name %s: it still says %v.", d.ams.name, answer.vip)
		d.check(false, "%s dead: DNS named %s", d.fra.name, d.ams.name)
		d.load.giveUp(d.fra.network)
		return nil
	}
	d.era(moved, d.ams)
	d.result.GSLBFailoverMS = milliseconds(answer.received.Sub(died))
	d.showMoments(died, append(moments, moment{at: answer.received, text: fmt.Sprintf("the first DNS answer names %s: %v", d.ams.name, answer.vip)}))
	page, err := d.clientsMove(ctx, d.fra, d.ams, first)
	if err != nil {
		return err
	}
	d.screen.at(page.at.Sub(died), "the first page from %s: %s sent it", d.ams.name, page.server)
	if err := d.showReason(ctx); err != nil {
		return err
	}
	t := d.load.now().since(early)
	if _, err := d.showShares(ctx, d.ams, d.fra.name+" dead"); err != nil {
		return err
	}
	d.screen.line("%s failed on the dead servers, %d on live ones.", count(t.failedDead, "request"), t.failedLive)
	d.check(d.result.GSLBFailoverMS > 0 && answer.received.Sub(died) < changeTimeout,
		"%s dead: %.0f ms to a VIP without backend, %.1f ms more to the first DNS answer with %s; first page from there after %.0f ms",
		d.fra.name, milliseconds(noBackend.Sub(died)), milliseconds(answer.received.Sub(noBackend)), d.ams.name, milliseconds(page.at.Sub(died)))
	return nil
}

func (d *demo) returnPower(ctx context.Context) error {
	failedOver := d.result.GSLBFailoverMS > 0
	d.screen.title(d.fra.name + " returns")
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
		moved = earliest(back.at, answer.received)
		moments = append(moments, moment{at: answer.received, text: fmt.Sprintf("the first DNS answer names %s: %v", d.fra.name, answer.vip)})
	}
	d.showMoments(began, append(moments, moment{at: moved, text: "gslb calls answer " + back.answer + " up"}))
	d.era(moved, d.fra)
	page, err := d.clientsMove(ctx, nil, d.fra, first)
	if err != nil {
		return err
	}
	d.screen.at(page.at.Sub(began), "the first page from %s: %s sent it", d.fra.name, page.server)
	if failedOver {
		is := d.sessionsAt(d.ams, began)
		d.screen.line("%d of %s at %s went on.", is, count(was, "session"), d.ams.name)
		d.check(is == was && was > 0, "%s back: DNS named it again after %.0f ms; %d of %s at %s unbroken",
			d.fra.name, milliseconds(answer.received.Sub(began)), is, count(was, "session"), d.ams.name)
	}
	return nil
}

// verdicts waits for healthd's verdicts on all servers of fra.
func (d *demo) verdicts(ctx context.Context, from int, health api.Health, word string) ([]moment, error) {
	var moments []moment
	for _, server := range d.fra.servers {
		e, err := d.fra.events.wait(ctx, from, changeTimeout, server+" is called "+word, verdict(server, health))
		if err != nil {
			return nil, err
		}
		moments = append(moments, moment{at: e.GetVerdict().GetDetectedAt().AsTime(), text: "healthd calls " + server + " " + word})
	}
	return moments, nil
}

// noticed waits until gslb says that fra's answer is up or down.
func (d *demo) noticed(ctx context.Context, from int, state string) (notice, error) {
	answer := answerName(d.fra.place)
	return d.selector.notices.wait(ctx, from, changeTimeout, "gslb calls "+answer+" "+state, func(n notice) bool { return n.says(answer, state) })
}

// mostWrong answers that name the other data center, when gslb itself has gone from it, are enough not to
// wait for a right one any longer.
const mostWrong = 10

// awaitAnswer waits for the first DNS answer from a place on that names a data center. When gslb said that it
// was to be named, and is not, that returns an answer that was wrong.
func (d *demo) awaitAnswer(ctx context.Context, from int, s *site, published time.Time) (exchange, error) {
	wrong := 0
	return d.resolver.exchanges.wait(ctx, from, changeTimeout, "DNS names "+s.name, func(e exchange) bool {
		if e.vip != s.vip.Addr() && e.sent.After(published) {
			wrong++
		}
		return e.vip == s.vip.Addr() || wrong == mostWrong
	})
}

// clientsMove waits until clients have heard where to go, and for the first page from there. They give up on what they
// wanted of a dead data center.
func (d *demo) clientsMove(ctx context.Context, dead, to *site, first <-chan arrived) (arrived, error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	for {
		vip, err := d.resolver.lookup(ctx)
		if err == nil && vip == to.vip.Addr() {
			break
		}
		if err := receive(ctx, time.After(askPause)); err != nil {
			return arrived{}, fmt.Errorf("waiting until clients hear of %s: %w", to.name, err)
		}
	}
	if dead != nil {
		d.load.giveUp(dead.network)
	}
	select {
	case page := <-first:
		return page, nil
	case <-ctx.Done():
		return arrived{}, fmt.Errorf("waiting for a page from %s: %w", to.name, ctx.Err())
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
