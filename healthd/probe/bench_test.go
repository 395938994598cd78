package probe

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicelb/sluice/healthd/check"
)

// countdown cancels when it has been run often enough.
type countdown struct {
	check.Check
	left   *atomic.Int64
	cancel context.CancelFunc
}

func (c countdown) Run(ctx context.Context) error {
	err := c.Check.Run(ctx)
	if c.left.Add(-1) == 0 {
		c.cancel()
	}
	return err
}

type passes struct{}

func (passes) Run(context.Context) error { return nil }

// run has the engine do b.N probes as fast as it can, of many checks that are always due.
func run(b *testing.B, asked check.Check, checks, maxProbes int) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var left atomic.Int64
	left.Store(int64(b.N))
	e := New(Config{MaxProbes: maxProbes})
	var want []Target
	for i := range checks {
		want = append(want, Target{
			Key:      name(fmt.Sprint(i)),
			Schedule: Schedule{Interval: 1, Fast: 1, Spread: 1, Timeout: time.Minute, Rise: 1, Fall: 1},
			Check:    countdown{asked, &left, cancel},
			Tell:     func(Status) {},
		})
	}
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	b.ReportAllocs()
	b.ResetTimer()
	e.Replace(ctx, want, nil)
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "checks/s")
}

// BenchmarkEngine is what a probe costs beside the check itself.
func BenchmarkEngine(b *testing.B) { run(b, passes{}, 5000, DefaultMaxProbes) }

// BenchmarkHTTPChecks is engine and check together, and the server in the same process.
func BenchmarkHTTPChecks(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed at the end
			}
			go func() {
				defer c.Close()
				c.Read(make([]byte, 1024))
				c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"))
				c.Read(make([]byte, 1)) // until the check resets
			}()
		}
	}()
	asked, err := check.NewHTTP(check.Kernel{}, check.HTTPOptions{Address: l.Addr().(*net.TCPAddr).AddrPort(),
		Path: "/healthz"})
	if err != nil {
		b.Fatal(err)
	}
	run(b, asked, 5000, 64)
}
