package controller

import (
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/internal/text"
)

const (
	eventsKept   = 256 // for those who come later
	eventsQueued = 256 // for one watcher
	// longestText is how many bytes the text of an event has at most: lists in it are short, and so is what others
	// wrote, but there may be several of them.
	longestText = 2048
)

// events remembers the last events and passes new ones on. A watcher that falls behind is cut off:
// nobody's reading holds up the loop.
type events struct {
	log *slog.Logger // nil: none

	mu       sync.Mutex // guards all below
	sequence uint64
	kept     []*api.Event
	watchers map[chan *api.Event]bool
}

// publish gives the event its number and time, and writes it to the log. Nobody may change it afterwards.
func (e *events) publish(now time.Time, ev *api.Event) {
	if e.log != nil {
		logEvent(e.log, ev)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sequence++
	ev.Text = text.CutTo(ev.Text, longestText)
	ev.Sequence, ev.Time = e.sequence, timestamppb.New(now)
	if len(e.kept) == eventsKept {
		e.kept = append([]*api.Event(nil), e.kept[eventsKept/4:]...)
	}
	e.kept = append(e.kept, ev)
	for w := range e.watchers {
		select {
		case w <- ev:
		default:
			close(w)
			delete(e.watchers, w)
		}
	}
}

// watch returns the last events, at most recent of them, and a channel of those to come, which is
// closed when the watcher is too slow. The watcher calls stop when it leaves.
func (e *events) watch(recent int) (past []*api.Event, next <-chan *api.Event, stop func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	past = append(past, e.kept[max(0, len(e.kept)-recent):]...)
	w := make(chan *api.Event, eventsQueued)
	if e.watchers == nil {
		e.watchers = make(map[chan *api.Event]bool)
	}
	e.watchers[w] = true
	return past, w, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.watchers, w)
	}
}
