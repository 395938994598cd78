package device

import (
	"context"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicelb/sluice/internal/metrics"
)

// times is how long the work on a switch takes.
type times struct{ reconcile, write prometheus.Histogram }

func newTimes(name string) times {
	of := prometheus.Labels{"switch": name}
	return times{
		metrics.Times("sluice_controller_reconcile_seconds",
			"How long passes took that wrote something, until the switch held all that was wanted, failures apart.",
			of),
		metrics.Times("sluice_controller_write_seconds", "How long P4Runtime Write requests took.", of),
	}
}

// Describe implements prometheus.Collector: a Device counts how long its work takes.
func (d *Device) Describe(ch chan<- *prometheus.Desc) {
	d.times.reconcile.Describe(ch)
	d.times.write.Describe(ch)
}

// Collect implements prometheus.Collector.
func (d *Device) Collect(ch chan<- prometheus.Metric) {
	d.times.reconcile.Collect(ch)
	d.times.write.Collect(ch)
}

// timed is a target whose writes are timed.
type timed struct {
	target
	write prometheus.Histogram
}

func (t timed) Write(ctx context.Context, updates []*v1.Update) error {
	start := time.Now()
	defer func() { t.write.Observe(time.Since(start).Seconds()) }()
	return t.target.Write(ctx, updates)
}
