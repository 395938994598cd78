package controller

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/internal/text"
)

const (
	// eventsKept and eventBytes bound what is remembered, for those who come later or read slowly; one
	// event is kept however long it is.
	eventsKept = 16384
	eventBytes = 16 << 20
	// noiseKept is how many of these may be what hosts can repeat at will.
	noiseKept = 256
	// longestText is how many bytes the text of an event has at most: lists in it are short, and so is what others
	// wrote, but there may be several of them.
	longestText = 2048
)

// events remembers the last events. Watchers read on at their own pace: nobody's reading holds up the loop.
type events struct {
	log *slog.Logger // nil: none

	mu       sync.Mutex // guards all below
	sequence uint64
	kept     []*api.Event  // by sequence
	bytes    int           // of kept
	noise    int           // how many of kept are
	lost     uint64        // sequence of the last event that was forgotten and is no noise
	next     chan struct{} // closed when there is another one; nil: nobody waits
}

// isNoise says whether hosts can repeat the event at will.
func isNoise(ev *api.Event) bool {
	switch ev.Detail.(type) {
	case *api.Event_ArpClaim, *api.Event_Station, *api.Event_StationsFull, *api.Event_Spoof, *api.Event_Port:
		return true
	}
	return false
}

// publish gives the event its number and time, and writes its lines to the log. Nobody may change it afterwards.
func (e *events) publish(now time.Time, ev *api.Event, lines ...core.Log) {
	if e.log != nil {
		for _, line := range lines {
			e.log.Log(context.Background(), line.Level, line.Text, line.Args...)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sequence++
	ev.Text = text.CutTo(ev.Text, longestText)
	ev.Sequence, ev.Time = e.sequence, timestamppb.New(now)
	e.kept = append(e.kept, ev)
	e.bytes += proto.Size(ev)
	if isNoise(ev) {
		if e.noise++; e.noise > noiseKept {
			e.forget(slices.IndexFunc(e.kept, isNoise))
		}
	}
	for len(e.kept) > eventsKept || e.bytes > eventBytes && len(e.kept) > 1 {
		e.forget(0)
	}
	if e.next != nil {
		close(e.next)
		e.next = nil
	}
}

func (e *events) forget(i int) {
	ev := e.kept[i]
	e.bytes -= proto.Size(ev)
	if isNoise(ev) {
		e.noise--
	} else {
		e.lost = ev.Sequence
	}
	if i == 0 {
		e.kept[0] = nil
		e.kept = e.kept[1:] // append moves them to a new array at times
		return
	}
	e.kept = slices.Delete(e.kept, i, i+1)
}

// before returns the sequence after which at most recent events have come.
func (e *events) before(recent int) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if recent < len(e.kept) {
		return e.sequenceBefore(len(e.kept) - recent)
	}
	return e.sequenceBefore(0)
}

func (e *events) sequenceBefore(i int) uint64 {
	if i < len(e.kept) {
		return e.kept[i].Sequence - 1
	}
	return e.sequence
}

// after returns the next events after a sequence, at most some, and a channel that is closed when there
// are more. missed says that others than noise are forgotten: whoever reads is too slow.
func (e *events) after(sequence uint64, most int) (list []*api.Event, more <-chan struct{}, missed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i, _ := slices.BinarySearchFunc(e.kept, sequence+1, func(ev *api.Event, s uint64) int {
		return int(int64(ev.Sequence - s))
	})
	list = slices.Clone(e.kept[i:min(i+most, len(e.kept))])
	if e.next == nil {
		e.next = make(chan struct{})
	}
	return list, e.next, e.lost > sequence
}
