package gslb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sluicelb/sluice/gslb/server"
)

// serveMetrics answers Prometheus on l until ctx ends.
func serveMetrics(ctx context.Context, l net.Listener, d *Daemon) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{d}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute}
	closed := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { closed <- s.Close() })
	err := s.Serve(l)
	if !stop() {
		<-closed
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving Prometheus: %w", err)
}

// collector reads the daemon's counts when Prometheus asks.
type collector struct{ d *Daemon }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("sluice_gslb_"+name, help, labels, nil)
}

var (
	queriesDesc    = desc("queries_total", "DNS messages received.", "transport")
	responsesDesc  = desc("responses_total", "DNS responses sent.", "transport", "rcode")
	eventsDesc     = desc("events_total", "What happened to queries and connections, by event.", "event")
	clauseDesc     = desc("clause_responses_total", "Responses that a clause of a rule chose; clauses count from 1.", "rule", "clause", "group")
	ruleDesc       = desc("rule_responses_total", "Responses that a rule chose.", "rule")
	answerDesc     = desc("answer_responses_total", "Responses that gave an answer first.", "answer")
	stateDesc      = desc("answer_state", "1 for the state that the answer is in: up, down, unknown or suspended.", "answer", "data_center", "state")
	loadDesc       = desc("answer_load", "Load of the answer, 0-255.", "answer", "data_center")
	liveDesc       = desc("clause_live_answers", "Answers of the clause that may be given now.", "rule", "clause", "group")
	controllerDesc = desc("controller_connected", "1 while the data center's controller is watched.", "data_center")
	loadedDesc     = desc("config_loaded_timestamp_seconds", "When the running configuration was loaded.")
	refusedDesc    = desc("config_refused", "1 while the configuration file as it is does not run: it was refused, or waits.")
	tcpDesc        = desc("tcp_connections", "Open TCP connections.")
)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		queriesDesc, responsesDesc, eventsDesc, clauseDesc, ruleDesc, answerDesc, stateDesc, loadDesc, liveDesc, controllerDesc,
		loadedDesc, refusedDesc, tcpDesc,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	now, counted := c.d.now.Load(), c.d.server.Counts()
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, x float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, x, labels...)
	}
	for t, n := range counted.Queries {
		counter(queriesDesc, n, server.Transport(t).String())
	}
	for t := range counted.Responses {
		for rcode, n := range counted.Responses[t] {
			if n > 0 {
				counter(responsesDesc, n, server.Transport(t).String(), rcodeName(rcode))
			}
		}
	}
	for e, n := range counted.Events {
		counter(eventsDesc, n, server.Event(e).String())
	}
	cfg := now.view.Config
	for i := range cfg.Rules {
		status := ruleStatus(now, i, counted)
		counter(ruleDesc, status.Queries, status.Name)
		for j, clause := range status.Clauses {
			counter(clauseDesc, clause.Answered, status.Name, strconv.Itoa(j+1), clause.Group)
			gauge(liveDesc, float64(clause.Live), status.Name, strconv.Itoa(j+1), clause.Group)
		}
	}
	for i := range cfg.Answers {
		a, st := &cfg.Answers[i], now.answers[i]
		center := dataCenterName(cfg, a.DataCenter)
		counter(answerDesc, counted.Answers[a.Name], a.Name)
		for _, name := range []string{"up", "down", "unknown", "suspended"} {
			gauge(stateDesc, truth(stateName(st.State) == name), a.Name, center, name)
		}
		if st.HasLoad {
			gauge(loadDesc, float64(st.Load), a.Name, center)
		}
	}
	for i := range cfg.DataCenters {
		if dc := &cfg.DataCenters[i]; dc.Controller != "" {
			gauge(controllerDesc, truth(c.d.watches.Controller(dc.Name).Connected), dc.Name)
		}
	}
	gauge(loadedDesc, float64(now.compiled.loadedAt.UnixMilli())/1000)
	gauge(refusedDesc, truth(now.notRunning() != ""))
	gauge(tcpDesc, float64(c.d.server.Connections()))
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
