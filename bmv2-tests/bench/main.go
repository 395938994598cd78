// Command bench measures the data plane and its programming, beside bmv2 in the same run where that
// is installed, and prints one table for each. It judges nothing.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"text/tabwriter"
	"time"
)

func main() {
	duration := flag.Duration("time", 3*time.Second, "how long each throughput measurement runs")
	rounds := flag.Int("rounds", 3, "how often each is repeated; the median is printed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *duration, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, duration time.Duration, rounds int) error {
	fmt.Printf("%s, %d cores, %s/%s; 60-byte frames; medians of %d\n", runtime.Version(), runtime.NumCPU(),
		runtime.GOOS, runtime.GOARCH, rounds)
	for _, part := range []func(context.Context, time.Duration, int) error{inProcess, overVeth, slotUpdates} {
		fmt.Println()
		if err := part(ctx, duration, rounds); err != nil {
			return err
		}
	}
	return nil
}

// table prints rows under a title, aligned.
func table(title string, rows ...[]string) {
	fmt.Println(title)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	for _, row := range rows {
		for _, cell := range row {
			fmt.Fprintf(w, "%s\t", cell)
		}
		fmt.Fprintln(w)
	}
	w.Flush()
}
