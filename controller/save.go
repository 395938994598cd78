package controller

import (
	"context"
	"errors"
	"time"

	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/store"
)

// saves carries out the core's saves, one at a time. It is for the loop's goroutine.
type saves struct {
	db      saver
	figures *figures
	outcome chan error         // of the save that is under way; nil while there is none
	abandon context.CancelFunc // ends the latest save
}

// begin starts a save. It is the daemon's own: it goes on when the caller leaves, and when the core no longer waits for
// it. The store bounds what it takes.
func (s *saves) begin(st core.Stored) {
	ctx, cancel := context.WithCancel(context.Background())
	s.abandon = cancel
	outcome := make(chan error, 1)
	s.outcome = outcome
	go func() {
		start := time.Now()
		err := s.db.Save(ctx, st)
		s.figures.saved(time.Since(start), err)
		outcome <- err
	}()
}

// ended is what became of the save that was under way.
func (s *saves) ended(err error) core.Saved {
	s.outcome = nil
	switch {
	case err == nil:
		return core.Saved{Outcome: core.Done}
	case errors.Is(err, store.ErrConflict):
		return core.Saved{Outcome: core.TakenOver, Err: err}
	case errors.Is(err, store.ErrRefused):
		return core.Saved{Outcome: core.Refused, Err: err}
	}
	return core.Saved{Outcome: core.Unknown, Err: err}
}
