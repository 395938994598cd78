package core

import (
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/p4/packet"
)

// retiredFor is how long others may go on sending to the MAC of a VIP that has left the intent: as long as
// routers keep what ARP told them, which is four hours where it is longest. Meanwhile the switch does not
// flood what they send.
const retiredFor = 4 * time.Hour

// VIPMACs are the addresses by which the switch itself is known.
func VIPMACs(intent *config.Intent) map[packet.MAC]bool {
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
	macs := VIPMACs(to)
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
	for m := range VIPMACs(from) {
		add(m, now.Add(retiredFor))
	}
	return after
}

// forgetRetired takes the rows away that are there for nobody any more.
func (c *Core) forgetRetired() {
	if len(c.stored.Retired) == 0 {
		return
	}
	left := retired(c.stored.Retired, nil, c.intent, c.now)
	if len(left) < len(c.stored.Retired) {
		c.stored.Retired, c.save = left, true
		c.sequence++
		c.tell = true
	}
	for _, until := range left {
		c.wakeAt(until)
	}
}
