//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

// findings is all that was found. Figures of servers are medians; losses are sums.
type findings struct {
	Go         string   `json:"go"`
	Kernel     string   `json:"kernel"`
	Model      string   `json:"processor"`
	Processors int      `json:"processors"`
	Pinned     bool     `json:"pinned"`
	Runs       int      `json:"runs"`
	Seconds    float64  `json:"seconds"`
	Rate       int      `json:"rate"`
	Servers    []result `json:"servers"`
	Aims       []aim    `json:"aims"`
}

// result is one server.
type result struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Setup   string `json:"setup,omitempty"`
	Threads int    `json:"threads"`
	Skipped string `json:"skipped,omitempty"`
	sample
	Ratio   float64  `json:"ratio_to_gdnsd,omitempty"` // of CPU per query, with as many threads
	Samples []sample `json:"samples"`

	title string
	full  bool
}

// aim is something that Sluice wants to be.
type aim struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Met   bool    `json:"met"`
}

func newFindings(p plan, entrants []*entrant) *findings {
	r := &findings{
		Go: runtime.Version(), Kernel: kernel(), Model: model(), Processors: runtime.NumCPU(),
		Pinned: p.pin && runtime.NumCPU() > 1, Runs: p.runs, Seconds: p.seconds, Rate: p.rate,
	}
	for _, e := range entrants {
		r.Servers = append(r.Servers, result{
			Name: e.name, Version: e.version, Setup: e.setup, Threads: e.threads, Skipped: e.skipped,
			sample: summary(e.samples), Samples: e.samples, title: e.title(), full: e.full,
		})
	}
	for i := range r.Servers {
		s := &r.Servers[i]
		if g := r.find("gdnsd", "", s.Threads); g != nil && s.Skipped == "" {
			s.Ratio = s.CPU / g.CPU
		}
	}
	r.judge()
	return r
}

// find is the server, if it was measured.
func (r *findings) find(name, setup string, threads int) *result {
	for i := range r.Servers {
		if s := &r.Servers[i]; s.Name == name && s.Setup == setup && s.Threads == threads && len(s.Samples) > 0 {
			return s
		}
	}
	return nil
}

// summary is the medians of samples, and the sums of what was lost.
func summary(all []sample) (m sample) {
	if len(all) == 0 {
		return m
	}
	of := func(field func(sample) float64) float64 {
		var values []float64
		for _, s := range all {
			values = append(values, field(s))
		}
		return median(values)
	}
	m = sample{
		CPU:  of(func(s sample) float64 { return s.CPU }),
		User: of(func(s sample) float64 { return s.User }),
		QPS:  of(func(s sample) float64 { return s.QPS }),
		P50:  of(func(s sample) float64 { return s.P50 }),
		P99:  of(func(s sample) float64 { return s.P99 }),
	}
	for _, s := range all {
		m.Sent += s.Sent
		m.Lost += s.Lost
		m.Late += s.Late
	}
	return m
}

// median is of at least one value.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// judge holds Sluice to its aims, as far as what they need was measured.
func (r *findings) judge() {
	ours := r.find("sluice gslb", "", 1)
	if ours == nil {
		return
	}
	if gdnsd := r.find("gdnsd", "", 1); gdnsd != nil {
		x := ours.CPU / gdnsd.CPU
		r.Aims = append(r.Aims, aim{"CPU per query at most 1.2 x gdnsd's", x, x <= 1.2})
	}
	if stock := r.find("miekg/dns", stockSetup, 1); stock != nil {
		x := stock.CPU / ours.CPU
		r.Aims = append(r.Aims, aim{"stock miekg/dns takes at least 1.8 x as much", x, x >= 1.8})
	}
	r.Aims = append(r.Aims, aim{"queries lost with 400 outstanding: 0", float64(ours.Lost), ours.Lost == 0})
	one, many := r.find("sluice gslb", oneRule, 1), r.find("sluice gslb", manyRules, 1)
	if one != nil && many != nil {
		x := many.CPU / one.CPU
		r.Aims = append(r.Aims, aim{"4,000 rules as fast as one (within 10 %)", x, x <= 1.1})
	}
	// Threads that share processors with each other and with dnsperf are dearer for everybody.
	if two := r.find("sluice gslb", "", 2); two != nil && ours.Ratio > 0 && two.Ratio > 0 {
		x := two.Ratio / ours.Ratio
		r.Aims = append(r.Aims, aim{"2 threads add no more CPU than gdnsd's (within 10 %)", x, x <= 1.1})
	}
}

func (r *findings) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func (r *findings) write(w io.Writer) error {
	fmt.Fprintf(w, "%s, %s, %d x %s\n", r.Go, r.Kernel, r.Processors, r.Model)
	fmt.Fprintf(w, "1,000 names, 9 %% NXDOMAIN, EDNS, UDP on the loopback; medians of %d runs of %g s\n", r.Runs,
		r.Seconds)
	fmt.Fprintf(w, "p50, p99 at %d queries/s; lost with 400 outstanding at once\n", r.Rate)
	if r.Pinned {
		fmt.Fprintf(w, "One processor for the server, the others for dnsperf; with more threads than that leaves, "+
			"all share all.\n")
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "CPU us/query\tof it user\tx gdnsd\tqps\tp50 us\tp99 us\tlost/run\t server\n")
	for _, s := range r.Servers {
		if s.Skipped != "" {
			continue
		}
		ratio, p50, p99, lost := "", "", "", ""
		if s.Ratio > 0 {
			ratio = fmt.Sprintf("%.2f", s.Ratio)
		}
		if s.full {
			p50, p99, lost = fmt.Sprintf("%.0f", s.P50), fmt.Sprintf("%.0f", s.P99),
				fmt.Sprintf("%.0f", float64(s.Lost)/float64(len(s.Samples)))
		}
		fmt.Fprintf(t, "%.2f\t%.2f\t%s\t%.0f\t%s\t%s\t%s\t %s\n", s.CPU, s.User, ratio, s.QPS, p50, p99, lost, s.title)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range r.Servers {
		if s.Skipped != "" {
			fmt.Fprintf(w, "not measured: %s: %s\n", s.title, s.Skipped)
		}
	}
	fmt.Fprintln(w)
	for _, a := range r.Aims {
		verdict := "met"
		if !a.Met {
			verdict = "missed"
		}
		fmt.Fprintf(w, "%-52s %8.4g  %s\n", a.What, a.Value, verdict)
	}
	return nil
}

// kernel is the kernel's release.
func kernel() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "Linux"
	}
	return "Linux " + strings.TrimSpace(string(release))
}

var modelName = regexp.MustCompile(`(?m)^model name\s*: (.*)$`)

// model is the processor's, as far as the kernel tells.
func model() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if found := modelName.FindSubmatch(info); err == nil && found != nil {
		return string(found[1])
	}
	return runtime.GOARCH
}
