//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// plan is how much is measured.
type plan struct {
	runs    int
	seconds float64 // of a run for the CPU time; those for loss and latency take half of it
	rate    int     // queries per second, for latency
	pin     bool
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == stockCommand {
		fail(serveStock(os.Args[2], os.Args[3]))
	}
	p := plan{runs: 5, rate: 20_000}
	flag.IntVar(&p.runs, "runs", 5, "how often each server is measured; medians are printed")
	flag.Float64Var(&p.seconds, "seconds", 5, "how long each run at saturation takes; those for loss and latency "+
		"take half of it")
	flag.IntVar(&p.rate, "rate", 20_000, "queries per second for the latency")
	flag.BoolVar(&p.pin, "pin", false, "bind the server to a processor for each of its threads, and who asks to the "+
		"others, where some are left")
	quick := flag.Bool("quick", false, "one run of a second: a look, not a measurement")
	only := flag.String("only", "",
		"measure only the servers whose names contain one of these words, separated by commas")
	coredns := flag.String("coredns", "", "`FILE`: CoreDNS; default: from PATH, else built from the Go proxy and "+
		"kept in the user's cache")
	asJSON := flag.Bool("json", false, "print JSON in place of tables")
	flag.Parse()
	if flag.NArg() > 0 || p.runs < 1 || p.seconds < 0.1 || p.rate < 100 || p.rate > 50_000 {
		flag.Usage()
		os.Exit(2)
	}
	if *quick {
		p.runs, p.seconds = 1, 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := run(ctx, p, words(*only), sources{coredns: *coredns, build: !*quick}, os.Stderr)
	switch {
	case err != nil:
	case *asJSON:
		err = r.writeJSON(os.Stdout)
	default:
		err = r.write(os.Stdout)
	}
	fail(err)
}

// fail ends the process where there is an error.
func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

// run measures all there is, and tells progress as it goes.
func run(ctx context.Context, p plan, only []string, from sources, progress io.Writer) (*findings, error) {
	dnsperf, err := exec.LookPath("dnsperf")
	if err != nil {
		return nil, errors.New("dnsperf asks the queries and is not installed (Debian package dnsperf)")
	}
	dir, err := os.MkdirTemp("", "sluice-bench-dns")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	vips, err := listenVIPs()
	if err != nil {
		return nil, err
	}
	defer vips.Close()
	w, err := newWorkload(dir)
	if err != nil {
		return nil, err
	}
	from.dir, from.workload, from.vips, from.progress = dir, w, vips.port, progress
	entrants, err := from.entrants(ctx, only)
	if err != nil {
		return nil, err
	}
	if len(entrants) == 0 {
		return nil, fmt.Errorf("no server has a name with %s in it", strings.Join(only, " or "))
	}
	b := &bench{plan: p, dir: dir, workload: w, dnsperf: dnsperf}
	fmt.Fprintf(progress, "%d runs of each of %d servers, about %v in all\n", p.runs, ready(entrants),
		p.estimate(entrants).Round(time.Second))
	for n := range p.runs {
		for _, e := range entrants {
			if e.skipped != "" {
				continue
			}
			s, err := b.measure(ctx, e)
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
			if err != nil {
				// What answers wrongly, or not at all, is not measured.
				e.skipped, e.samples = err.Error(), nil
				fmt.Fprintf(progress, "%s: %v\n", e.title(), err)
				continue
			}
			e.samples = append(e.samples, s)
			fmt.Fprintf(progress, "%d/%d %-40s %v\n", n+1, p.runs, e.title(), s)
		}
	}
	return newFindings(p, entrants), nil
}

func ready(entrants []*entrant) (n int) {
	for _, e := range entrants {
		if e.skipped == "" {
			n++
		}
	}
	return n
}

// estimate is how long it takes, starts and checks included.
func (p plan) estimate(entrants []*entrant) (total time.Duration) {
	for _, e := range entrants {
		if e.skipped != "" {
			continue
		}
		run := p.seconds + 1.5
		if e.full {
			run += p.seconds
		}
		if e.probes {
			run += settling.Seconds()
		}
		total += time.Duration(run * float64(p.runs) * float64(time.Second))
	}
	return total
}
