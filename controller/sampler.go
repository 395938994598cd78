package controller

import (
	"context"
	"time"

	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/controller/telemetry"
)

// loadInterval is how often the switches are asked for their counters, while a VIP has a capacity.
const loadInterval = 5 * time.Second

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
