package lab

import (
	"cmp"
	"context"
	"log/slog"
	"net"

	"github.com/sluicelb/sluice/p4/softswitch"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

// Switch is a switch that serves P4Runtime and forwards between ports of one kind.
type Switch[P any] interface {
	// Start runs it on the ports by their numbers until ctx ends, and returns once P4Runtime answers: on listen, or if
	// that is "" on a loopback address of its choice.
	Start(ctx context.Context, listen string, ports map[uint16]P) (*Running, error)
}

// Running is a switch at work.
type Running struct {
	Target string                  // where it serves P4Runtime
	Wait   func() error            // returns when it has ended
	Pause  func(paused bool) error // stops all of it for a while, connections and packets; nil: it cannot
}

// Embedded is the softswitch in this process.
type Embedded struct{}

// Start implements Switch.
func (Embedded) Start(ctx context.Context, listen string, ports map[uint16]port.Port) (*Running, error) {
	listener, err := net.Listen("tcp", cmp.Or(listen, "127.0.0.1:0"))
	if err != nil {
		return nil, err
	}
	sw := softswitch.New(softswitch.Config{DeviceID: 1, Log: slog.New(slog.DiscardHandler)})
	for id, p := range ports {
		if err := sw.AddPort(id, p); err != nil {
			listener.Close()
			return nil, err
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- sw.RunAndServe(ctx, listener) }()
	return &Running{Target: listener.Addr().String(), Wait: func() error { return <-ended }}, nil
}
