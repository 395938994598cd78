package telemetry

import (
	"time"

	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/rows"
)

// Totals are what all switches together have counted since they were asked first. Those of a row grow as long as some
// switch has it: one that is lost, counts from zero again or comes again does not make them fall.
type Totals struct {
	VIP     map[rows.VIPKey]device.Count
	Backend map[rows.BackendID]device.Count
}

// totals adds up. For one goroutine at a time.
type totals struct {
	switches map[string]switchTotal
	sum      Totals
}

// switchTotal is what a switch has told last.
type switchTotal struct {
	source   Source
	at       time.Time
	counters device.Counters
}

// take adds what the switches have counted that there are now. What a switch had counted when it was asked first is
// left out: to whoever watches the sum it would be traffic of just now.
func (t *totals) take(sources map[string]Source, samples map[string]Sample) Totals {
	next := make(map[string]switchTotal)
	vips, backends := adding(t.sum.VIP), adding(t.sum.Backend)
	for name, source := range sources {
		is, known := t.switches[name]
		known = known && is.source == source
		sample := samples[name]
		if sample.CountersErr == nil && (!known || sample.At.After(is.at)) {
			vips.add(known, is.counters.VIP, sample.Counters.VIP)
			backends.add(known, is.counters.Backend, sample.Counters.Backend)
			is = switchTotal{source, sample.At, sample.Counters}
		} else if !known {
			continue
		} else {
			vips.keep(is.counters.VIP)
			backends.keep(is.counters.Backend)
		}
		next[name] = is
	}
	t.switches, t.sum = next, Totals{vips.now, backends.now}
	return t.sum
}

// adder makes the totals of one kind of rows from those of before.
type adder[K comparable] struct{ before, now map[K]device.Count }

func adding[K comparable](before map[K]device.Count) adder[K] {
	return adder[K]{before, make(map[K]device.Count, len(before))}
}

// add adds what a switch has counted of its rows since it told of them before; known says whether it did.
func (a adder[K]) add(known bool, before, now map[K]device.Count) {
	a.keep(now)
	if !known {
		return
	}
	for key, n := range now {
		a.now[key] = a.now[key].Add(since(before[key], n))
	}
}

// keep has the totals of rows go on.
func (a adder[K]) keep(rows map[K]device.Count) {
	for key := range rows {
		if _, there := a.now[key]; !there {
			a.now[key] = a.before[key]
		}
	}
}
