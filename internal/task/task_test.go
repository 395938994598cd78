package task_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/internal/task"
)

// The first that fails ends all, and says who it was.
func TestRun(t *testing.T) {
	broken := errors.New("no room")
	ended := make(chan struct{}, 3)
	waits := func(ctx context.Context) error {
		<-ctx.Done()
		ended <- struct{}{}
		return nil
	}
	err := task.Run(t.Context(), task.Task{Name: "api", Run: waits}, task.Task{Name: "store", Run: func(context.Context) error { return broken }},
		task.Task{Name: "loop", Run: waits})
	if !errors.Is(err, broken) || err.Error() != "store: no room" {
		t.Errorf("got error %v, want store: no room", err)
	}
	if len(ended) != 2 {
		t.Errorf("%d of the others were waited for, want 2", len(ended))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := task.Run(ctx, task.Task{Name: "api", Run: waits}); err != nil {
		t.Errorf("a task that ends with its context: %v", err)
	}
}

type role struct {
	ready, reloaded chan struct{}
}

func (r role) Ready() <-chan struct{}        { return r.ready }
func (r role) Reload()                       { r.reloaded <- struct{}{} }
func (r role) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// systemd hears that a role is ready when it is and no sooner, and that it ends; SIGHUP reaches it meanwhile.
func TestServe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	heard := func() string {
		t.Helper()
		_ = systemd.SetReadDeadline(time.Now().Add(20 * time.Second))
		b := make([]byte, 100)
		n, err := systemd.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	hangup := make(chan os.Signal, 1) // until Serve listens, SIGHUP would end the test
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)

	r := role{make(chan struct{}), make(chan struct{}, 100)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- task.Serve(ctx, r, slog.New(slog.DiscardHandler)) }()

	for reloaded := false; !reloaded; {
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		select {
		case <-r.reloaded:
			reloaded = true
		case <-time.After(10 * time.Millisecond):
		}
	}
	close(r.ready)
	got := []string{heard()}
	cancel()
	got = append(got, heard())
	if diff := cmp.Diff([]string{"READY=1", "STOPPING=1"}, got); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
