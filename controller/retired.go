package controller

import (
	"context"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/packet"
)

// retiredFor is how long others may go on sending to the MAC of a VIP that has left the intent: as long as
// routers keep what ARP told them, which is four hours where it is longest. Meanwhile the switch does not
// flood what they send.
const retiredFor = 4 * time.Hour

// vipMACs are the addresses by which the switch itself is known.
func vipMACs(intent *config.Intent) map[packet.MAC]bool {
	if intent == nil {
		return nil
	}
	macs := map[packet.MAC]bool{intent.VIPMAC: true}
	for _, v := range intent.VIPs {
		macs[v.MAC] = true
	}
	return macs
}

// retired returns the MACs that VIPs had and have no more, and until when they count: those of before, and
// those that the change from one intent to the next adds. It is nil when there is none.
func retired(before map[packet.MAC]time.Time, from, to *config.Intent, now time.Time) map[packet.MAC]time.Time {
	macs := vipMACs(to)
	var after map[packet.MAC]time.Time
	add := func(m packet.MAC, until time.Time) {
		if macs[m] || !now.Before(until) {
			return
		}
		if after == nil {
			after = make(map[packet.MAC]time.Time)
		}
		after[m] = until
	}
	for m, until := range before {
		add(m, until)
	}
	for m := range vipMACs(from) {
		add(m, now.Add(retiredFor))
	}
	return after
}

// tables are what the switches must hold, but for what each has of its own.
func (l *loop) tables() rows.Tables {
	t := plan.Build(l.intent, l.st.Plan)
	for m := range l.st.Retired {
		plan.Retire(&t, m)
	}
	return t
}

// forgetRetired takes the rows away that are there for nobody any more.
func (l *loop) forgetRetired(ctx context.Context, now time.Time) {
	if len(l.st.Retired) == 0 {
		return
	}
	next := l.st
	next.Retired = retired(l.st.Retired, nil, l.intent, now)
	if len(next.Retired) == len(l.st.Retired) {
		return
	}
	if l.frozen != nil {
		l.keep(next)
	} else if err := l.save(ctx, next, nil); err != nil {
		return // another controller decides now
	}
	l.sequence++
	l.tell()
}
