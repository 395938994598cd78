package controller

import (
	"context"
	"slices"
	"time"
)

// writtenTimeout bounds how long a caller waits for the switches. After that it is told to which of them its change is
// not written.
const writtenTimeout = time.Second

// writer is somebody who waits until the connected switches have what was decided.
type writer struct {
	sequence uint64
	done     chan struct{} // closed then
}

// written waits, not for long, until the connected switches have what is decided now. Not for the loop's goroutine.
func (l *loop) written(ctx context.Context) {
	w := writer{done: make(chan struct{})}
	if l.look(ctx, func() { w.sequence = l.core.Sequence(); l.writers = append(l.writers, w) }) != nil {
		return
	}
	late := time.NewTimer(writtenTimeout)
	defer late.Stop()
	select {
	case <-w.done:
	case <-late.C:
	case <-ctx.Done():
	}
}

// tellWriters answers those whose decision is written; the others stop waiting by themselves.
func (l *loop) tellWriters() {
	if len(l.writers) == 0 {
		return
	}
	least := l.core.Sequence()
	for _, v := range l.views {
		if v.connected() {
			least = min(least, v.status.Applied)
		}
	}
	l.writers = slices.DeleteFunc(l.writers, func(w writer) bool {
		if w.sequence > least {
			return false
		}
		close(w.done)
		return true
	})
}
