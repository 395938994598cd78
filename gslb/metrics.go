package gslb

import (
	"strconv"

	"github.com/sluicelb/sluice/gslb/server"
	"github.com/sluicelb/sluice/internal/metrics"
)

// figures reads the daemon's counts when Prometheus asks.
type figures struct{ d *Daemon }

func desc(name, help string, labels ...string) *metrics.Desc {
	return metrics.NewDesc("sluice_gslb_"+name, help, labels...)
}

var (
	queriesDesc   = desc("queries_total", "DNS messages received.", "transport")
	responsesDesc = desc("responses_total", "DNS responses sent.", "transport", "rcode")
	eventsDesc    = desc("events_total", "What happened to queries and connections, by event.", "event")
	clauseDesc    = desc("clause_responses_total", "Responses that a clause of a rule chose; clauses count from 1.",
		"rule", "clause", "group")
	ruleDesc   = desc("rule_responses_total", "Responses that a rule chose.", "rule")
	answerDesc = desc("answer_responses_total", "Responses that gave an answer first.", "answer")
	stateDesc  = desc("answer_state", "1 for the state that the answer is in: up, down, unknown or suspended.",
		"answer", "data_center", "state")
	loadDesc = desc("answer_load", "Load of the answer, 0-255.", "answer", "data_center")
	liveDesc = desc("clause_live_answers", "Answers of the clause that may be given now.", "rule", "clause",
		"group")
	controllerDesc = desc("controller_connected", "1 while the data center's controller is watched.", "data_center")
	loadedDesc     = desc("config_loaded_timestamp_seconds", "When the running configuration was loaded.")
	refusedDesc    = desc("config_refused", "1 while the configuration file as it is does not run: it was refused, "+
		"or waits.")
	tookDesc = desc("query_seconds", "How long queries took that nobody else was asked for, from reading to "+
		"sending.", "transport")
	tookLaterDesc = desc("query_later_seconds", "How long queries took that were forwarded, or waited for a first "+
		"verdict.")
	tcpDesc = desc("tcp_connections", "Open TCP connections.")
)

// Show implements metrics.Source.
func (f figures) Show(p *metrics.Page) {
	now, counted := f.d.now.Load(), f.d.server.Counts()
	for t, n := range counted.Queries {
		p.Counter(queriesDesc, n, server.Transport(t).String())
	}
	for t := range counted.Responses {
		for rcode, n := range counted.Responses[t] {
			if n > 0 {
				p.Counter(responsesDesc, n, server.Transport(t).String(), rcodeName(rcode))
			}
		}
	}
	for t, took := range counted.Took {
		p.Histogram(tookDesc, took.Buckets[:], took.Seconds, server.Transport(t).String())
	}
	p.Histogram(tookLaterDesc, counted.TookLater.Buckets[:], counted.TookLater.Seconds)
	for e, n := range counted.Events {
		p.Counter(eventsDesc, n, server.Event(e).String())
	}
	cfg := now.view.Config
	for i := range cfg.Rules {
		status := ruleStatus(now, i, counted)
		p.Counter(ruleDesc, status.Queries, status.Name)
		for j, clause := range status.Clauses {
			p.Counter(clauseDesc, clause.Answered, status.Name, strconv.Itoa(j+1), clause.Group)
			p.Gauge(liveDesc, float64(clause.Live), status.Name, strconv.Itoa(j+1), clause.Group)
		}
	}
	for i := range cfg.Answers {
		a, st := &cfg.Answers[i], now.answers[i]
		center := dataCenterName(cfg, a.DataCenter)
		p.Counter(answerDesc, counted.Answers[a.Name], a.Name)
		for _, name := range []string{"up", "down", "unknown", "suspended"} {
			p.Truth(stateDesc, stateName(st.State) == name, a.Name, center, name)
		}
		if st.HasLoad {
			p.Gauge(loadDesc, float64(st.Load), a.Name, center)
		}
	}
	for i := range cfg.DataCenters {
		if dc := &cfg.DataCenters[i]; dc.Controller != "" {
			p.Truth(controllerDesc, f.d.watches.Controller(dc.Name).Connected, dc.Name)
		}
	}
	p.Gauge(loadedDesc, float64(now.compiled.loadedAt.UnixMilli())/1000)
	p.Truth(refusedDesc, now.notRunning() != "")
	p.Gauge(tcpDesc, float64(f.d.server.Connections()))
}
