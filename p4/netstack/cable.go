package netstack

import (
	"slices"
	"sync"
)

const cableFrames = 1024

// CableEnd is one end of a Cable.
type CableEnd struct {
	frames chan []byte // to this end
	peer   *CableEnd

	mu      sync.Mutex // guards receive; held while it runs
	receive func([]byte)
}

// Cable joins two hosts without a switch. Frames that find the other end's queue full are lost.
// Calling stop ends the cable's goroutines; frames sent later go nowhere.
func Cable() (a, b *CableEnd, stop func()) {
	a, b = newCableEnd(), newCableEnd()
	a.peer, b.peer = b, a
	done := make(chan struct{})
	var running sync.WaitGroup
	for _, end := range []*CableEnd{a, b} {
		running.Go(func() { end.run(done) })
	}
	return a, b, sync.OnceFunc(func() { close(done); running.Wait() })
}

func newCableEnd() *CableEnd {
	return &CableEnd{frames: make(chan []byte, cableFrames), receive: func([]byte) {}}
}

func (e *CableEnd) run(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case frame := <-e.frames:
			e.mu.Lock()
			e.receive(frame)
			e.mu.Unlock()
		}
	}
}

// Send implements Link.
func (e *CableEnd) Send(frame []byte) {
	select {
	case e.peer.frames <- slices.Clone(frame):
	default:
	}
}

// Receive implements Link.
func (e *CableEnd) Receive(f func([]byte)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.receive = f
}
