// Package port holds what the embedded switch is plugged into: in-process links, whose other end is
// a host in the same program; AF_PACKET sockets on Linux interfaces; and taps that show or record
// what passes. Ports move frames and count them; what a frame means is left to the switch, which
// owns one goroutine per port.
package port

import (
	"context"
	"errors"
	"sync/atomic"
)

// MaxFrame is the longest frame that a port takes, in bytes: the largest IP packet, an Ethernet
// header and one tag.
const MaxFrame = 65535 + 18

// ErrClosed is what Run returns when the port was closed under it.
var ErrClosed = errors.New("port is closed")

// ErrNoInterface is part of why an interface cannot be opened that the host does not have.
var ErrNoInterface = errors.New("no such network interface")

// ErrGone is part of what Run returns when what the port is plugged into is no longer there. Once State says that it is
// there again, the port can Run again.
var ErrGone = errors.New("is gone")

// Status is how a port is: the values that OpenConfig's oper-status has for it.
type Status uint8

// The states of a port.
const (
	Up Status = iota
	Down
	NotPresent
)

func (s Status) String() string { return [...]string{"UP", "DOWN", "NOT_PRESENT"}[s] }

// State is how a port is at the moment.
type State struct {
	Name   string // of the interface, and always the same; may be empty
	Status Status
	// SetDown says that somebody wants the interface to be down: OpenConfig's admin-status.
	SetDown bool
	Reason  string // why it is not up
}

// Port is one port of a switch. A frame is an Ethernet frame without its check sequence.
type Port interface {
	// Send takes a frame that leaves the switch and does not keep the slice. It never waits for the
	// receiver: what does not fit is dropped and counted. Frames may stay behind until Flush. Send
	// and Flush may be called from any goroutine.
	Send(frame []byte)
	// Flush hands on what Send has gathered. Its error is the first reason since the last Flush
	// why frames were dropped, other than a full queue.
	Flush() error
	// Run calls receive with the frames that arrive, in order, some at a time, and returns when ctx
	// ends (nil), or when the port cannot go on. The frames are valid during the call only, and must
	// not be changed. Only one Run at a time.
	Run(ctx context.Context, receive func(frames [][]byte)) error
	// Counters returns what the port has counted since it was made.
	Counters() Counters
	// State looks how the port is.
	State() State
	// Close releases the port. Run must have returned.
	Close() error
}

// Counters counts the frames of one port, seen from the switch. A dropped frame is not counted as
// received or sent.
type Counters struct {
	Received, ReceiveDropped uint64
	Sent, SendDropped        uint64
}

// counters is Counters while the port runs.
type counters struct {
	received, receiveDropped, sent, sendDropped atomic.Uint64
}

func (c *counters) snapshot() Counters {
	return Counters{
		Received: c.received.Load(), ReceiveDropped: c.receiveDropped.Load(),
		Sent: c.sent.Load(), SendDropped: c.sendDropped.Load(),
	}
}
