package telemetry

import (
	"time"

	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/rows"
)

// rates turns what switches count into packets a second. For one goroutine.
type rates struct {
	keep     time.Duration // how long the rates of a switch that does not answer stand
	switches map[string]switchRates
}

type switchRates struct {
	last Sample
	rate map[rows.VIPKey]float64 // nil before the second count
}

// take adds what the switches have counted that there are now, and returns the rates of all. A VIP of which no switch
// has a rate yet is left out.
func (r *rates) take(now time.Time, samples map[string]Sample) map[rows.VIPKey]float64 {
	next := make(map[string]switchRates)
	sum := make(map[rows.VIPKey]float64)
	for name, sample := range samples {
		s := r.switches[name]
		switch {
		case sample.CountersErr == nil && !s.last.At.IsZero() && sample.At.Equal(s.last.At):
			// It has told nothing since then: its rate stands.
		case sample.CountersErr == nil:
			s = switchRates{sample, rateOf(s.last, sample)}
		case now.Sub(s.last.At) > r.keep:
			continue
		}
		next[name] = s
		for k, rate := range s.rate {
			sum[k] += rate
		}
	}
	r.switches = next
	return sum
}

// rateOf is what was counted between two times, a second. A row that was not there began at zero in between.
func rateOf(before, now Sample) map[rows.VIPKey]float64 {
	elapsed := now.At.Sub(before.At).Seconds()
	if before.At.IsZero() || elapsed <= 0 {
		return nil
	}
	rate := make(map[rows.VIPKey]float64, len(now.Counters.VIP))
	for k, n := range now.Counters.VIP {
		rate[k] = float64(since(before.Counters.VIP[k], n).Packets) / elapsed
	}
	return rate
}

// since is what a row has counted since then. One that has counted less than before began at zero in between.
func since(was, is device.Count) device.Count {
	if is.Packets < was.Packets || is.Bytes < was.Bytes {
		return is
	}
	return device.Count{Packets: is.Packets - was.Packets, Bytes: is.Bytes - was.Bytes}
}
