package controller

import (
	"context"
	"slices"
	"time"

	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/packet"
)

// report takes news of a switch. v is the view that belonged to the device when it was started: what
// comes from a device that has been let go is out of date.
func (l *loop) report(ctx context.Context, v *view, r device.Report) {
	if l.views[r.Switch] != v {
		return
	}
	now := time.Now()
	switch {
	case r.Status != nil:
		l.status(ctx, v, r.Switch, r.Status)
	case r.Noise != nil:
		l.noise(r.Switch, r.Noise, now)
	default:
		for _, ref := range r.Idle {
			v.idle[ref] = now
		}
		l.settle(ctx, settleable(r.Idle, l.views, now, l.idleMaxAge()), now, silent)
	}
}

func (l *loop) status(ctx context.Context, v *view, name string, s *device.Status) {
	before := v.status.State
	if s.State != before || !device.SameLacks(v.status.Lacks, s.Lacks) {
		v.served++
	}
	if s.Connects > v.status.Connects && s.ReadBack == 0 {
		l.forgotten(v, name)
	}
	v.status = *s
	switch {
	case s.State == device.Disconnected && before != device.Disconnected:
		v.lost, v.behind = time.Now(), true
	case s.State != device.Disconnected && before == device.Disconnected:
		v.met = time.Now()
	}
	if v.behind && v.connected() && s.Applied >= l.sequence {
		v.back, v.behind = time.Now(), false
	}
	if s.State != before {
		l.events.publish(time.Now(), switchChanged(name, s))
	}
	if s.State == device.Disconnected {
		clear(v.idle)
	}
	l.pass(name, s)
	if len(l.waiting) > 0 && !hold(l.views, l.sequence) {
		l.goOn(ctx)
	}
	l.tellDrained()
}

// forgotten tells that a switch is empty while slots move. It is filled again, but for the marks: only the switch knew
// which flows of these slots were new, and takes them for old ones.
func (l *loop) forgotten(v *view, name string) {
	slots := 0
	for _, pool := range l.intent.Pools {
		census, _ := l.st.Plan.Census(pool.Name)
		slots += census.Moving
	}
	if slots == 0 {
		return
	}
	v.forgot, v.forgotAt = slots, time.Now()
	l.log.Warn("a switch came back empty while slots moved: connections that were opened on them since their move began break",
		"switch", name, "slots", slots)
}

// follow waits for switches to have the change, if there are any to wait for.
func (l *loop) follow(c *change) {
	if len(c.waiting) == 0 {
		return
	}
	if len(l.pending) == changesPending {
		l.pending = slices.Delete(l.pending, 0, 1)
	}
	l.pending = append(l.pending, c)
}

// pass holds a switch's status against the changes that are waited for.
func (l *loop) pass(name string, s *device.Status) {
	kept := l.pending[:0]
	for _, c := range l.pending {
		over, reached := c.take(name, s)
		if !over {
			kept = append(kept, c)
			continue
		}
		if reached {
			l.reprogrammed(c)
		}
	}
	clear(l.pending[len(kept):])
	l.pending = kept
}

func (l *loop) reprogrammed(c *change) {
	l.done = append([]*change{c}, l.done[:min(len(l.done), changesKept-1)]...)
	l.events.publish(time.Now(), reprogrammed(c.message()))
}

// goOn lets slots move that had to wait.
func (l *loop) goOn(ctx context.Context) {
	l.replan(ctx, cause{text: "slots that had to wait"})
}

// replan asks the plan again, though nothing is new but what had to wait.
func (l *loop) replan(ctx context.Context, why cause) {
	if err := l.step(ctx, l.st, why, false, nil); err != nil {
		l.log.Error("planning again", "cause", why.text, "err", err)
	}
}

// ending is why a move ends.
type ending uint8

const (
	silent     ending = iota // the old flows are gone
	afterLimit               // it has lasted for drain_limit
	afterGrace               // the old backend is down, and has had its time
)

// settle ends the moves of slots: their old flows are gone everywhere, or break.
func (l *loop) settle(ctx context.Context, ended []plan.SlotRef, now time.Time, why ending) {
	if len(ended) == 0 {
		return
	}
	before := l.st.Plan
	next := l.st
	var n int
	next.Plan, n = plan.Settle(l.st.Plan, ended)
	for _, v := range l.views {
		for _, ref := range ended {
			delete(v.idle, ref)
		}
	}
	if n == 0 {
		return
	}
	if l.frozen != nil {
		l.keep(next)
	} else if err := l.save(ctx, next, nil); err != nil {
		return // fatal: another controller decides now
	}
	l.setChecks()
	if why == afterLimit {
		l.countForced(ended)
	}
	for _, pool := range l.intent.Pools {
		if before.Pools[pool.Name] == next.Plan.Pools[pool.Name] {
			continue
		}
		was, _ := before.Census(pool.Name)
		is, _ := next.Plan.Census(pool.Name)
		n := was.Moving - is.Moving
		if why == afterLimit {
			l.log.Warn("open connections were handed to another backend: slots moved for longer than drain_limit",
				"pool", pool.Name, "slots", n, "drain_limit", pool.DrainLimit)
		}
		l.events.publish(now, slotsSettled(pool, n, is.Moving, why))
	}
	l.sequence++
	l.tell()
	// What waited may move now; and a slot may have settled on a backend that has died with nobody to take over.
	l.goOn(ctx)
}

// countForced remembers of drains how many of their slots drain_limit ended.
func (l *loop) countForced(ended []plan.SlotRef) {
	for _, ref := range ended {
		if key, ok := l.st.Plan.Backend(ref.Old); ok && l.st.Admin[key] == plan.Drain {
			l.forced[key]++
		}
	}
}

// idleMaxAge says for how long a switch's report that a slot is silent counts, by pool: a switch reports
// again after another drain time.
func (l *loop) idleMaxAge() func(rows.PoolID) time.Duration {
	ages := make(map[rows.PoolID]time.Duration)
	for _, pool := range l.intent.Pools {
		if p := l.st.Plan.Pools[pool.Name]; p != nil {
			ages[p.ID] = 2*pool.DrainIdle + 5*time.Second
		}
	}
	return func(id rows.PoolID) time.Duration { return ages[id] }
}

// tellDrained announces drains that are complete, in the switches too.
func (l *loop) tellDrained() {
	if !l.held() {
		return
	}
	for key, admin := range l.st.Admin {
		if admin != plan.Drain || l.drained[key] {
			continue
		}
		if share, ok := l.share(key); !ok || share.Slots > 0 || share.MovingOut > 0 {
			continue
		}
		l.drained[key] = true
		l.events.publish(time.Now(), drainDone(key, l.forced[key]))
	}
}

// share counts a backend's slots.
func (l *loop) share(key plan.BackendKey) (plan.Share, bool) {
	census, _ := l.st.Plan.Census(key.Pool)
	for _, s := range census.Backends {
		if s.Name == key.Backend && !s.Removed {
			return s, true
		}
	}
	return plan.Share{}, false
}

// ownerOf names the backend with this MAC: the server that has the ARP problem.
func (l *loop) ownerOf(mac packet.MAC) string {
	for _, pool := range l.intent.Pools {
		for _, b := range pool.Backends {
			if b.MAC == mac {
				return plan.BackendKey{Pool: pool.Name, Backend: b.Name}.String()
			}
		}
	}
	return ""
}
