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

	"github.com/coreos/go-systemd/v22/daemon"
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
	err := task.Run(t.Context(), task.Task{Name: "api", Run: waits},
		task.Task{Name: "store", Run: func(context.Context) error { return broken }},
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

// systemd is the socket that it hears notices at.
type systemd struct {
	t *testing.T
	*net.UnixConn
}

func newSystemd(t *testing.T) systemd {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return systemd{t, c}
}

// hears returns the next notice.
func (s systemd) hears() string {
	s.t.Helper()
	_ = s.SetReadDeadline(time.Now().Add(20 * time.Second))
	b := make([]byte, 100)
	n, err := s.Read(b)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b[:n])
}

// heard returns what has come by now.
func (s systemd) heard() []string {
	s.t.Helper()
	const mark = "MARK=1"
	if _, err := daemon.SdNotify(false, mark); err != nil {
		s.t.Fatal(err)
	}
	var all []string
	for {
		notice := s.hears()
		if notice == mark {
			return all
		}
		all = append(all, notice)
	}
}

type role struct {
	ready, reloaded chan struct{}
	run             func(context.Context) error
}

func (r role) Ready() <-chan struct{}        { return r.ready }
func (r role) Reload()                       { r.reloaded <- struct{}{} }
func (r role) Run(ctx context.Context) error { return r.run(ctx) }

func untilTold(ctx context.Context) error { <-ctx.Done(); return nil }

// systemd hears that a role is ready when it is and no sooner, and that it ends; SIGHUP reaches it meanwhile.
func TestServe(t *testing.T) {
	systemd := newSystemd(t)
	hangup := make(chan os.Signal, 1) // until Serve listens, SIGHUP would end the test
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)

	r := role{make(chan struct{}), make(chan struct{}, 100), untilTold}
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
	got := []string{systemd.hears()}
	cancel()
	got = append(got, systemd.hears())
	if diff := cmp.Diff([]string{"READY=1", "STOPPING=1"}, got); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// However a role ends, systemd has heard so, as the last thing, by the time that Serve returns and the process exits.
func TestServeSaysThatItEnds(t *testing.T) {
	systemd := newSystemd(t)
	broken := errors.New("no room")
	for _, test := range []struct {
		name string
		run  func(context.Context) error
		want error
	}{
		{"told to end", untilTold, nil},
		{"fails", func(context.Context) error { return broken }, broken},
	} {
		for range 20 { // what is left to chance goes well often enough
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			r := role{make(chan struct{}), nil, test.run}
			if err := task.Serve(ctx, r, slog.New(slog.DiscardHandler)); !errors.Is(err, test.want) {
				t.Fatalf("%s: %v, want %v", test.name, err, test.want)
			}
			if diff := cmp.Diff([]string{"STOPPING=1"}, systemd.heard()); diff != "" {
				t.Fatalf("%s: by its end systemd has heard (-want +got):\n%s", test.name, diff)
			}
		}
	}
}
