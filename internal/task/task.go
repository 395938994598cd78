// Package task runs what lives as long as a process: the tasks of a role, which end together, and the role itself,
// which gets the signals of the operator and tells systemd when it is ready. What tasks do is their own.
package task

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"
)

// Task is one of the things that a role does at the same time.
type Task struct {
	Name string // in its errors
	Run  func(context.Context) error
}

// Run runs tasks until ctx ends, or one of them does with an error: then it ends the others, waits for them, and
// returns that error after the task's name.
func Run(ctx context.Context, tasks ...Task) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, t := range tasks {
		g.Go(func() error {
			if err := t.Run(ctx); err != nil {
				return fmt.Errorf("%s: %w", t.Name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// Role is the work of a process.
type Role interface {
	Run(context.Context) error
	// Ready is closed when the role does what others count on it for.
	Ready() <-chan struct{}
}

// patience is how much longer systemd waits for a role that is not ready yet, and half of it how often that is asked
// for. A controller that stands by is not ready for days, and a healthd not before there is a controller: neither has
// failed to start.
const patience = time.Minute

// Serve runs a role as the work of this process. SIGHUP has it read its files again, if it can. Where systemd started
// the process (sd_notify(3), Type=notify) it hears that the role needs more time, when it is ready, and last of all
// that it ends, however it does.
func Serve(ctx context.Context, role Role, log *slog.Logger) error {
	return serve(ctx, role, func(state string) {
		if _, err := daemon.SdNotify(false, state); err != nil {
			log.Warn("systemd could not be told", "state", state, "err", err)
		}
	})
}

func serve(ctx context.Context, role Role, tell func(state string)) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	reload := func() {}
	if r, ok := role.(interface{ Reload() }); ok {
		reload = r.Reload
	}
	ctx, end := context.WithCancel(ctx)
	var telling sync.WaitGroup
	telling.Go(func() {
		defer tell(daemon.SdNotifyStopping)
		late := time.NewTicker(patience / 2)
		defer late.Stop()
		ready := role.Ready()
		for {
			select {
			case <-hangup:
				reload()
			case <-late.C:
				tell(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", patience.Microseconds()))
			case <-ready:
				ready = nil
				late.Stop()
				tell(daemon.SdNotifyReady)
			case <-ctx.Done():
				return
			}
		}
	})
	defer telling.Wait()
	defer end()
	return role.Run(ctx)
}

// Sleep waits for d, or until ctx ends, whose error it then returns.
func Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
