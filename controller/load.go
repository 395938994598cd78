package controller

import (
	"context"
	"math"
	"time"

	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/internal/loadreport"
)

const (
	// loadInterval is how often the switches are asked for their counters, while a VIP has a capacity.
	loadInterval = 5 * time.Second
	// loadKeeps is how many intervals the rate of a switch stands that does not answer.
	loadKeeps = 3

	fullLoad = loadreport.Offline - 1
)

// loadOf is the load of a VIP that takes traffic, 0..254. With a capacity it is the rate, in packets a second,
// relative to what is left of the capacity; without, or while the rate is not known, it is the share of the
// pool's weight that takes no new connections.
func loadOf(capacity int, rate float64, known bool, live, total int) uint32 {
	if live <= 0 || total <= 0 {
		return fullLoad
	}
	share := min(float64(live)/float64(total), 1)
	load := 1 - share
	if capacity > 0 && known {
		load = rate / (float64(capacity) * share)
	}
	return uint32(math.Round(fullLoad * min(load, 1)))
}

// counted are the packets that a switch had counted for each VIP at a time.
type counted struct {
	at      time.Time
	packets map[rows.VIPKey]uint64
}

// rates turns what switches count into packets a second. For one goroutine.
type rates struct {
	keep     time.Duration // for so long the rates of a switch stand that does not answer
	switches map[string]switchRates
}

type switchRates struct {
	last counted
	rate map[rows.VIPKey]float64 // nil before the second count
}

// take adds what the switches that answered have counted, and returns the rates of all. devices are the
// switches that there are now. A VIP of which no switch has a rate yet is left out.
func (r *rates) take(now time.Time, devices map[string]*running, news map[string]counted) map[rows.VIPKey]float64 {
	next := make(map[string]switchRates)
	sum := make(map[rows.VIPKey]float64)
	for name := range devices {
		s := r.switches[name]
		if c, ok := news[name]; ok {
			s = switchRates{c, rateOf(s.last, c)}
		} else if now.Sub(s.last.at) > r.keep {
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

// rateOf is what was counted between two times, a second. A row that counts less than before, or that was not
// there, began at zero in between.
func rateOf(before, now counted) map[rows.VIPKey]float64 {
	elapsed := now.at.Sub(before.at).Seconds()
	if before.packets == nil || elapsed <= 0 {
		return nil
	}
	rate := make(map[rows.VIPKey]float64, len(now.packets))
	for k, n := range now.packets {
		if was := before.packets[k]; was <= n {
			n -= was
		}
		rate[k] = float64(n) / elapsed
	}
	return rate
}

// sampleRates asks the switches for the VIPs' counters at intervals and gives the loop the rates, until ctx
// ends. While no VIP has a capacity nobody is asked.
func (l *loop) sampleRates(ctx context.Context, interval time.Duration) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	r := rates{keep: loadKeeps * interval}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		var devices map[string]*running
		if err := l.do(ctx, func() { devices = l.counting() }); err != nil {
			return err
		}
		news := make(map[string]counted)
		for name, c := range readCounters(ctx, devices) {
			packets := make(map[rows.VIPKey]uint64, len(c.VIP))
			for k, n := range c.VIP {
				packets[k] = n.Packets
			}
			news[name] = counted{c.at, packets}
		}
		now := r.take(time.Now(), devices, news)
		if err := l.do(ctx, func() { l.rates, l.rated = now, l.rated+1 }); err != nil {
			return err
		}
	}
}
