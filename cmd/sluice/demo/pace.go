package demo

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// beat is how often the demo looks how late the machine wakes it.
	beat = 10 * time.Millisecond

	// Checks of servers have 400 ms. A machine that keeps the demo from running for nearly as long, or for most of a
	// second, makes servers that live look dead.
	longStall = 300 * time.Millisecond

	// stepLimit, by the demo's own pace, is four times what the longest step takes.
	stepLimit  = 30 * time.Second * slowdown
	readyLimit = 20 * time.Second

	// longest is how long all may take, by the machine's clock.
	longest = 5 * time.Minute * slowdown
)

// pace is the demo's own clock: it goes on only while the machine lets the demo run, so that patience by this clock
// grows with what else the machine has to do. And it knows how busy the machine is, so that no server is
// blamed for that.
type pace struct {
	mu      sync.Mutex // guards what follows
	own     time.Duration
	total   time.Duration // by the machine's clock; a demo that is stopped for long, by Ctrl-Z, grows a second older
	stall   time.Duration // the longest time without a beat
	starved time.Duration // in seconds of which more than half were lost
	second  struct{ own, total time.Duration }
	longest time.Duration      // after which no wait goes on; 0: never
	late    chan struct{}      // closed when the machine is found busy before forEver
	waits   map[*wait]struct{} // that have a limit
}

// wait ends when own time has come to a point.
type wait struct {
	end   time.Duration
	limit time.Duration
	stop  context.CancelCauseFunc
}

func newPace() *pace {
	return &pace{longest: longest, waits: make(map[*wait]struct{}), late: make(chan struct{})}
}

// run keeps time until ctx ends.
func (p *pace) run(ctx context.Context) {
	for last := time.Now(); receive(ctx, time.After(beat)) == nil; {
		now := time.Now()
		p.pass(now.Sub(last))
		last = now
	}
}

// pass notes that so much time went by since the last beat, and ends the waits whose limits are reached.
func (p *pace) pass(elapsed time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fine := p.busyness() == ""
	own := min(elapsed, 2*beat)
	p.own += own
	p.total += min(elapsed, time.Second)
	p.stall = max(p.stall, elapsed)
	p.second.own += own
	if p.second.total += elapsed; p.second.total >= time.Second {
		if p.second.own < p.second.total/2 {
			p.starved += p.second.total
		}
		p.second.own, p.second.total = 0, 0
	}
	if fine && p.busyness() != "" && p.longest > 0 {
		close(p.late)
	}
	over := p.longest > 0 && p.total >= p.longest
	for w := range p.waits {
		switch {
		case over:
			w.stop(&overdueError{p.longest, p.busyness() != ""})
		case p.own >= w.end:
			w.stop(&overdueError{w.limit, p.busyness() != ""})
		}
	}
}

// after calls stop with an overdueError when limit has passed, unless the function that it returns was called before.
func (p *pace) after(limit time.Duration, stop context.CancelCauseFunc) (done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &wait{p.own + limit, limit, stop}
	p.waits[w] = struct{}{}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.waits, w)
	}
}

// within returns a context that ends, with an overdueError as its cause, when limit has passed.
func (p *pace) within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancelCause(ctx)
	done := p.after(limit, stop)
	return ctx, func() { done(); stop(nil) }
}

// forEver lets waits go on beyond the longest time that a demo may take, on a machine as busy as it likes: there is
// nothing left to prove, and the systems stay.
func (p *pace) forEver() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.longest = 0
}

// busy says how much of its time the machine kept from the demo; "" if that made no difference.
func (p *pace) busy() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.busyness()
}

func (p *pace) busyness() string {
	var text string
	if p.stall > longStall {
		text = fmt.Sprintf("the demo stood still for up to %.1f s", p.stall.Seconds())
	}
	if p.starved > 0 {
		if text != "" {
			text += ", and "
		} else {
			text = "the demo "
		}
		text += fmt.Sprintf("got less than half of its time for %.0f s", p.starved.Seconds())
	}
	return text
}

// overdueError is why a wait was given up.
type overdueError struct {
	limit time.Duration
	busy  bool
}

func (e *overdueError) Error() string {
	text := fmt.Sprintf("it took longer than %v", e.limit)
	if e.busy {
		text += ", and this machine is too busy"
	}
	return text
}
