// Package metrics shows Prometheus what a role counts: the page at /metrics, with what every process of Sluice has
// beside what its Collectors say. What is counted, and under which names, is the role's matter.
package metrics

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sluicelb/sluice/internal/rpc"
)

// path is where Prometheus looks.
const path = "/metrics"

// Listen opens the socket: on the loopback in plain text, where every local user may read, or with TLS anywhere, where
// viewers may.
func Listen(address string, identity *rpc.Identity, log *slog.Logger) (*rpc.Listener, error) {
	l, err := rpc.Listen(address, nil, rpc.Security{Identity: identity}, log)
	if err != nil {
		return nil, fmt.Errorf("opening the socket for Prometheus: %w", err)
	}
	return l, nil
}

// Check says what is wrong with an address for Listen.
func Check(address string, identity *rpc.Identity) error {
	return rpc.Security{Identity: identity}.CheckListen(address)
}

// Serve answers on l until ctx ends, then closes it. What a Collector does not give at a scrape is not there then.
func Serve(ctx context.Context, l *rpc.Listener, role string, all ...prometheus.Collector) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		buildInfo(role), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	registry.MustRegister(all...)
	page := promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
	return rpc.Serve(ctx, l, rpc.Methods{path: {Role: rpc.Viewer}}, rpc.Mount(path, page))
}

// buildInfo says which program runs.
func buildInfo(role string) prometheus.Collector {
	labels := prometheus.Labels{"role": role, "version": "unknown", "revision": "unknown", "goversion": "unknown"}
	if info, ok := debug.ReadBuildInfo(); ok {
		labels["version"], labels["goversion"] = info.Main.Version, info.GoVersion
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				labels["revision"] = s.Value
			}
		}
	}
	one := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sluice_build_info", Help: "1, with what this process was built from as labels.", ConstLabels: labels,
	})
	one.Set(1)
	return one
}

// Times counts how long something takes, in seconds: from 100 us to 1 min, and beyond.
func Times(name, help string, labels prometheus.Labels) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: name, Help: help, ConstLabels: labels, Buckets: Buckets(),
	})
}

// Buckets are the upper bounds of Times, in seconds.
func Buckets() []float64 {
	return []float64{1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
}
