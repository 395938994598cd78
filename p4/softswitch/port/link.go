package port

import (
	"context"
	"sync"
)

// queueFrames is how many frames wait in each direction of a link before more are dropped.
const queueFrames = 1024

// NewLink returns the two ends of an in-process wire: a port for the switch, and the end of a host.
// Each direction has a bounded queue, copies what is sent, and drops and counts what finds the queue
// full. Both ends must be closed; closing one is closing the wire.
func NewLink() (Port, *End) {
	l := &link{toSwitch: newQueue(), toHost: newQueue()}
	return (*linkPort)(l), &End{link: l, receive: func([]byte) {}}
}

type link struct {
	toSwitch, toHost *queue
	counters         counters
}

func (l *link) close() {
	l.toSwitch.close()
	l.toHost.close()
}

// linkPort is the switch's end.
type linkPort link

func (p *linkPort) Send(frame []byte) {
	if p.toHost.put(frame) {
		p.counters.sent.Add(1)
	} else {
		p.counters.sendDropped.Add(1)
	}
}

func (p *linkPort) Flush() error { return nil }

func (p *linkPort) Run(ctx context.Context, receive func(frames [][]byte)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.toSwitch.closed:
			return ErrClosed
		case <-p.toSwitch.ready:
			if frames := p.toSwitch.take(); len(frames) > 0 {
				p.counters.received.Add(uint64(len(frames)))
				receive(frames)
			}
		}
	}
}

func (p *linkPort) Counters() Counters { return p.counters.snapshot() }

func (p *linkPort) State() State {
	p.toSwitch.mu.Lock()
	defer p.toSwitch.mu.Unlock()
	switch {
	case p.toSwitch.ended:
		return State{Status: NotPresent, Reason: "the wire is closed"}
	case p.toSwitch.down:
		return State{Status: Down, Reason: "the wire is pulled out"}
	}
	return State{}
}

func (p *linkPort) Close() error {
	(*link)(p).close()
	return nil
}

// End is a host's end of a link.
type End struct {
	link  *link
	start sync.Once
	done  sync.WaitGroup // the goroutine that delivers; ends with Close of either end

	mu      sync.Mutex // guards receive; held while it runs
	receive func(frame []byte)
}

// Send puts a frame on the wire. It does not keep the slice and never waits.
func (e *End) Send(frame []byte) {
	if !e.link.toSwitch.put(frame) {
		e.link.counters.receiveDropped.Add(1)
	}
}

// Receive names the function that gets every frame from the switch: one call at a time, on a
// goroutine of the link, the frame valid during the call only. Until the first Receive, frames wait.
// A later Receive replaces the function, and returns when the old one runs no more; f must not call
// it.
func (e *End) Receive(f func(frame []byte)) {
	e.mu.Lock()
	e.receive = f
	e.mu.Unlock()
	e.start.Do(func() { e.done.Go(e.deliver) })
}

func (e *End) deliver() {
	for {
		select {
		case <-e.link.toHost.closed:
			return
		case <-e.link.toHost.ready:
			for _, frame := range e.link.toHost.take() {
				e.mu.Lock()
				e.receive(frame)
				e.mu.Unlock()
			}
		}
	}
}

// SetUp plugs the wire in or pulls it out. While it is out, frames vanish both ways, those on the
// way included.
func (e *End) SetUp(up bool) {
	e.link.toSwitch.setUp(up)
	e.link.toHost.setUp(up)
}

// Close closes the wire and waits for the function of Receive, which must not call it.
func (e *End) Close() error {
	e.link.close()
	e.done.Wait()
	return nil
}

// queue is one direction of a link. It holds two batches and swaps them, so that the receiver works
// on one while senders fill the other, and the frames' memory is used again.
type queue struct {
	ready  chan struct{} // holds a token when frames may wait
	closed chan struct{}

	mu      sync.Mutex // guards what follows
	down    bool
	ended   bool
	waiting [][]byte // cap queueFrames; the slices behind len keep their memory
	taken   [][]byte
}

func newQueue() *queue {
	return &queue{
		ready:   make(chan struct{}, 1),
		closed:  make(chan struct{}),
		waiting: make([][]byte, 0, queueFrames),
		taken:   make([][]byte, 0, queueFrames),
	}
}

// put copies frame into the queue, and reports whether it did.
func (q *queue) put(frame []byte) bool {
	q.mu.Lock()
	n := len(q.waiting)
	if q.down || q.ended || n == queueFrames || len(frame) > MaxFrame {
		q.mu.Unlock()
		return false
	}
	q.waiting = q.waiting[:n+1]
	q.waiting[n] = append(q.waiting[n][:0], frame...)
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
	return true
}

// take returns the frames that wait, valid until the next take.
func (q *queue) take() [][]byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting, q.taken = q.taken[:0], q.waiting
	return q.taken
}

func (q *queue) setUp(up bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.down = !up
	q.waiting = q.waiting[:0]
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.ended {
		q.ended = true
		close(q.closed)
	}
}
