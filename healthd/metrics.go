package healthd

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicelb/sluice/healthd/check"
	"github.com/sluicelb/sluice/healthd/probe"
	"github.com/sluicelb/sluice/internal/metrics"
)

// figures is what Prometheus sees of a healthd.
type figures struct {
	took    *prometheus.HistogramVec // of probes, by kind
	results *prometheus.CounterVec   // of probes, by kind and result
}

func newFigures() figures {
	return figures{
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sluice_healthd_probe_seconds", Help: "How long probes took, timeouts too.",
			Buckets: metrics.Buckets(),
		}, []string{"kind"}),
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_healthd_probes_total",
			Help: "Probes, by kind of check and result: pass, no_answer, wrong_answer, " +
				"or not_asked where the fault is on this side.",
		}, []string{"kind", "result"}),
	}
}

// watched is a check whose probes are counted.
type watched struct {
	check.Check
	took    prometheus.Observer
	results *prometheus.CounterVec
	kind    string
}

func (f figures) watch(kind string, c check.Check) check.Check {
	return watched{c, f.took.WithLabelValues(kind), f.results, kind}
}

func (w watched) Run(ctx context.Context) error {
	start := time.Now()
	err := w.Check.Run(ctx)
	w.took.Observe(time.Since(start).Seconds())
	result := "no_answer"
	switch {
	case err == nil:
		result = "pass"
	case errors.Is(err, check.ErrNotAsked):
		result = "not_asked"
	case errors.Is(err, check.ErrWrongAnswer):
		result = "wrong_answer"
	}
	w.results.WithLabelValues(w.kind, result).Inc()
	return err
}

func figure(name, help string, labels ...string) *metrics.Desc {
	return metrics.NewDesc("sluice_healthd_"+name, help, labels...)
}

var (
	connectedFigure = figure("controller_connected", "1 while the controller takes reports.")
	verdictFigure   = figure("verdict", "1 for the verdict on the backend.", "pool", "backend", "health")
)

// Show implements metrics.Source.
func (d *Daemon) Show(p *metrics.Page) {
	p.Collect(d.scheduler.figures.took, d.scheduler.figures.results)
	p.Truth(connectedFigure, d.connected.Load())
	for key, v := range d.board.all() {
		for _, h := range []probe.Health{probe.Up, probe.Failing, probe.Down, probe.Unchecked} {
			p.Truth(verdictFigure, v.health == h, key.pool, key.name, h.String())
		}
	}
}
