package server

import (
	"sync/atomic"

	"github.com/sluicelb/sluice/gslb/responder"
)

// views is where the newest view is published, and taken from without a lock.
type views struct {
	current atomic.Pointer[published]
}

// published is one view, and the news of the next.
type published struct {
	view     *responder.View
	replaced chan struct{} // closed when there is a newer one
}

func newViews() *views {
	v := new(views)
	v.current.Store(&published{replaced: make(chan struct{})})
	return v
}

func (v *views) publish(view *responder.View) {
	old := v.current.Swap(&published{view, make(chan struct{})})
	close(old.replaced)
}

// load returns the newest view, nil before the first.
func (v *views) load() *responder.View { return v.current.Load().view }
