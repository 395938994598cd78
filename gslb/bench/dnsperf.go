//go:build linux

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
	"strconv"
)

// asked is what dnsperf says of a run.
type asked struct {
	sent, completed, lost int
	qps                   float64
}

// statistics are the lines of dnsperf's output that matter, as versions 2.3 to 2.14 print them.
var statistics = map[string]*regexp.Regexp{
	"Queries sent":       regexp.MustCompile(`(?m)^ *Queries sent: +(\d+)`),
	"Queries completed":  regexp.MustCompile(`(?m)^ *Queries completed: +(\d+)`),
	"Queries lost":       regexp.MustCompile(`(?m)^ *Queries lost: +(\d+)`),
	"Queries per second": regexp.MustCompile(`(?m)^ *Queries per second: +([0-9.]+)`),
}

// parseDnsperf reads dnsperf's output. Queries that were cut off by the end of the run are sent, and neither completed
// nor lost.
func parseDnsperf(out string) (a asked, err error) {
	number := func(key string) float64 {
		found := statistics[key].FindStringSubmatch(out)
		if found == nil {
			if err == nil {
				err = fmt.Errorf("dnsperf does not say %q", key)
			}
			return 0
		}
		n, bad := strconv.ParseFloat(found[1], 64)
		if bad != nil && err == nil {
			err = fmt.Errorf("dnsperf: %s: %w", key, bad)
		}
		return n
	}
	a.sent, a.completed, a.lost = int(number("Queries sent")), int(number("Queries completed")),
		int(number("Queries lost"))
	a.qps = number("Queries per second")
	return a, err
}

const (
	clients       = 16   // sockets: several threads of a server share them out
	clientBuffer  = 4096 // KiB for each
	clientTimeout = 3    // seconds: what is not lost is answered by then, on a busy machine, too
)

// ask has dnsperf ask as fast as it can.
func (b *bench) ask(ctx context.Context, server netip.AddrPort, seconds float64, outstanding int) (asked, error) {
	cmd := exec.CommandContext(ctx, b.dnsperf, "-e", "-d", b.workload.file,
		"-s", server.Addr().String(), "-p", strconv.Itoa(int(server.Port())),
		"-l", strconv.FormatFloat(seconds, 'f', -1, 64), "-q", strconv.Itoa(outstanding),
		"-c", strconv.Itoa(clients), "-b", strconv.Itoa(clientBuffer), "-t", strconv.Itoa(clientTimeout))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return asked{}, fmt.Errorf("dnsperf: %w\n%s", err, out)
	}
	return parseDnsperf(string(out))
}
