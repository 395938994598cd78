package controller

import (
	"context"
	"math"
	"time"

	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/controller/telemetry"
	"github.com/sluicelb/sluice/internal/loadreport"
)

const (
	// loadInterval is how often the switches are asked for their counters, while a VIP has a capacity.
	loadInterval = 5 * time.Second

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

// sampler asks this controller's switches. While no VIP has a capacity nobody needs their rates.
func (l *loop) sampler(interval time.Duration) *telemetry.Sampler {
	return telemetry.New(telemetry.Config{
		Interval: interval,
		Sources: func(ctx context.Context) (map[string]telemetry.Source, error) {
			sources := make(map[string]telemetry.Source)
			return sources, l.look(ctx, func() {
				for name, d := range l.devices {
					sources[name] = source{d, l.collectors[name]}
				}
			})
		},
		Wanted: func(ctx context.Context) (wanted bool, err error) {
			err = l.look(ctx, func() { wanted = l.measured() })
			return wanted, err
		},
		Rates: func(ctx context.Context, now map[rows.VIPKey]float64) error {
			return l.look(ctx, func() { l.rates = now; l.tellVIPs() })
		},
	})
}
