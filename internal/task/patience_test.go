package task

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

type standby struct{ ready chan struct{} }

func (s standby) Ready() <-chan struct{}        { return s.ready }
func (s standby) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// A role that is not ready for long has not failed to start: systemd is asked for more time until it is.
func TestServeAsksForTime(t *testing.T) {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGWINCH) // what listens to signals outlives the bubble
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		var got []string
		tell := func(state string) { got = append(got, time.Since(began).String()+" "+state) }
		done := make(chan error, 1)
		s := standby{make(chan struct{})}
		go func() { done <- serve(ctx, s, tell) }()
		time.Sleep(70 * time.Second)
		close(s.ready)
		time.Sleep(time.Hour)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		want := []string{
			"30s EXTEND_TIMEOUT_USEC=60000000", "1m0s EXTEND_TIMEOUT_USEC=60000000",
			"1m10s READY=1", "1h1m10s STOPPING=1",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}
