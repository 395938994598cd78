package demo

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sluicelb/sluice/controller/api"
)

// journal is a list of what happened. It grows, and others wait on it.
type journal[T any] struct {
	mu      sync.Mutex // guards what follows
	entries []T
	err     error         // why no more come
	more    chan struct{} // closed and replaced with every change
}

func newJournal[T any]() *journal[T] { return &journal[T]{more: make(chan struct{})} }

func (j *journal[T]) add(entry T) {
	j.change(func() { j.entries = append(j.entries, entry) })
}

// end says why nothing comes any more.
func (j *journal[T]) end(err error) {
	j.change(func() { j.err = err })
}

func (j *journal[T]) change(f func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f()
	close(j.more)
	j.more = make(chan struct{})
}

// next is the place behind all entries so far.
func (j *journal[T]) next() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.entries)
}

func (j *journal[T]) all() []T {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.entries)
}

// wait returns the first entry from a place on that matches; what it waits for names it in errors.
func (j *journal[T]) wait(ctx context.Context, from int, what string, match func(T) bool) (T, error) {
	var none T
	for {
		j.mu.Lock()
		entries, err, more := j.entries, j.err, j.more
		j.mu.Unlock()
		for ; from < len(entries); from++ {
			if match(entries[from]) {
				return entries[from], nil
			}
		}
		if err != nil {
			return none, fmt.Errorf("waiting until %s: %w", what, err)
		}
		select {
		case <-more:
		case <-ctx.Done():
			return none, fmt.Errorf("waiting until %s: %w", what, context.Cause(ctx))
		}
	}
}

// followEvents writes the controller's events down, as any client of its API may, until ctx ends or the
// controller does.
func followEvents(ctx context.Context, c *api.Client, j *journal[*api.Event]) {
	stream, err := c.WatchEvents(ctx, &api.WatchEventsRequest{})
	if err != nil {
		j.end(fmt.Errorf("watching events: %w", err))
		return
	}
	defer stream.Close()
	for stream.Receive() {
		j.add(stream.Msg())
	}
	j.end(fmt.Errorf("watching events: %w", stream.Err()))
}

// vipSeen is what the controller said of the VIP, and when that came in.
type vipSeen struct {
	at    time.Time
	state api.VIPStatus_State
}

// followVIP writes down what the controller says of its VIP, as gslb hears it, until ctx ends.
func followVIP(ctx context.Context, c *api.Client, j *journal[vipSeen]) {
	stream, err := c.WatchVIPs(ctx, &api.WatchVIPsRequest{})
	if err != nil {
		j.end(fmt.Errorf("watching the VIP: %w", err))
		return
	}
	defer stream.Close()
	for stream.Receive() {
		for _, v := range stream.Msg().GetVips() {
			if v.GetName() == vipName {
				j.add(vipSeen{time.Now(), v.GetState()})
			}
		}
	}
	j.end(fmt.Errorf("watching the VIP: %w", stream.Err()))
}
