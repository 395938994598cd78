package demo

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sluicelb/sluice/controller/api"
)

// eventLog follows the controller's events, as any client of its API may.
type eventLog struct {
	mu     sync.Mutex // guards what follows
	events []*api.Event
	err    error         // why no more come
	more   chan struct{} // closed and replaced with every change
}

func newEventLog() *eventLog { return &eventLog{more: make(chan struct{})} }

// follow reads events until ctx ends or the controller does.
func (l *eventLog) follow(ctx context.Context, c *api.Client) error {
	stream, err := c.WatchEvents(ctx, &api.WatchEventsRequest{})
	if err != nil {
		l.add(nil, fmt.Errorf("watching events: %w", err))
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		l.add(stream.Msg(), nil)
	}
	err = fmt.Errorf("watching events: %w", stream.Err())
	l.add(nil, err)
	return err
}

func (l *eventLog) add(e *api.Event, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e != nil {
		l.events = append(l.events, e)
	}
	l.err = err
	close(l.more)
	l.more = make(chan struct{})
}

// next is the place behind all events so far.
func (l *eventLog) next() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.events)
}

// wait returns the first event from a place on that matches; what it waits for names it in errors.
func (l *eventLog) wait(ctx context.Context, from int, timeout time.Duration, what string, match func(*api.Event) bool) (*api.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		l.mu.Lock()
		events, err, more := l.events, l.err, l.more
		l.mu.Unlock()
		for ; from < len(events); from++ {
			if match(events[from]) {
				return events[from], nil
			}
		}
		if err != nil {
			return nil, fmt.Errorf("waiting until %s: %w", what, err)
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting until %s: %w", what, ctx.Err())
		}
	}
}
