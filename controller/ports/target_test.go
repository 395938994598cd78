package ports

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/sluicelb/sluice/p4/softswitch"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

// Targets that are at hand, through real sockets.
//
//	Collector --TCP--> target
func TestTargets(t *testing.T) {
	for _, tt := range []struct {
		name  string
		start func(t *testing.T, address string)
		want  string
	}{
		{"softswitch", startSoftswitch, "3 port3 up 0 | gNMI, streamed |  | <nil>"},
		{"bmv2", startBMv2, " |  |  | " + ErrUntold.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			address := l.Addr().String()
			l.Close()
			tt.start(t, address)
			c := New(Config{Target: address, DeviceID: 1})
			ctx, stop := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { _ = c.Run(ctx) })
			defer running.Wait()
			defer stop()
			deadline := time.Now().Add(time.Minute)
			for shown(c.View()) != tt.want {
				if time.Now().After(deadline) {
					t.Fatalf("got %s, want %s", shown(c.View()), tt.want)
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
}

func startSoftswitch(t *testing.T, address string) {
	sw := softswitch.New(softswitch.Config{DeviceID: 1, Log: slog.New(slog.DiscardHandler)})
	link, _ := port.NewLink()
	if err := sw.AddPort(3, link); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- sw.RunAndServe(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("softswitch: %v", err)
		}
	})
}

func startBMv2(t *testing.T, address string) {
	binary, err := exec.LookPath("simple_switch_grpc")
	if err != nil {
		t.Skip("simple_switch_grpc is not installed")
	}
	cmd := exec.Command(binary, "--no-p4", "--device-id", "1", "--", "--grpc-server-addr", address)
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.TempDir(), io.Discard, io.Discard
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
}
