// Package metrics shows Prometheus what a role counts: the page at /metrics, with what every process of Sluice has
// beside what its Source says. What is counted, and under which names, is the role's matter.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

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

// Source is what has something to show.
type Source interface {
	// Show adds all that there is. What is not added at a scrape is not there then.
	Show(*Page)
}

const (
	// readers is how many scrapes may be under way of a page; more are refused with status 503.
	readers = 8
	// readTime is how long a reader may take for a page: who stands still holds on to it. Prometheus gives up after
	// 10 s by default.
	readTime = 30 * time.Second
)

// Serve answers on l until ctx ends, then closes it. s is shown at /metrics, with what every process has, and others at
// /metrics/NAME.
func Serve(ctx context.Context, l *rpc.Listener, role string, s Source, others map[string]Source) error {
	process := prometheus.NewRegistry()
	process.MustRegister(
		buildInfo(role), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	methods := rpc.Methods{path: {Role: rpc.Viewer}}
	services := []rpc.Service{rpc.Mount(path, handler(readTime, process, &shared{source: s}))}
	for name, other := range others {
		at := path + "/" + name
		methods[at] = rpc.Method{Role: rpc.Viewer}
		services = append(services, rpc.Mount(at, handler(readTime, &shared{source: other})))
	}
	return rpc.Serve(ctx, l, methods, services...)
}

// handler shows all that some gatherers have, whose families must be different ones. A reader has that time for it.
func handler(within time.Duration, all ...prometheus.Gatherer) http.Handler {
	gatherer := prometheus.GathererFunc(func() (families []*dto.MetricFamily, err error) {
		for _, g := range all {
			more, failed := g.Gather()
			families, err = append(families, more...), errors.Join(err, failed)
		}
		return families, err
	})
	page := promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: readers,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(within)); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		page.ServeHTTP(w, r)
	})
}

// shared asks a Source once at a time: those who have waited for it share what it said after they came. CoalesceGather
// of promhttp has them share what is of before, for as long as the slowest of them reads.
type shared struct {
	source  Source
	waiting atomic.Int32

	mu    sync.Mutex // guards what follows
	began time.Time
	page  []*dto.MetricFamily // nil where nobody waits for it
	err   error
}

// Gather implements prometheus.Gatherer.
func (s *shared) Gather() ([]*dto.MetricFamily, error) {
	asked := time.Now()
	s.waiting.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.waiting.Add(-1) == 0
	if !s.began.After(asked) {
		s.began = time.Now()
		s.page, s.err = Gather(s.source)
	}
	page, err := s.page, s.err
	if last {
		s.page, s.err, s.began = nil, nil, time.Time{}
	}
	return page, err
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
