package device

import (
	"context"
	"time"

	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/backlog"
	"github.com/sluicelb/sluice/p4/limits"
)

const (
	// leftInterval is the least time from one report of flows to the next.
	leftInterval = 100 * time.Millisecond
	// lostInterval is how often the switch is asked whether it held reports back, while slots move.
	lostInterval = time.Second
	// mostLeft is how many flows wait to be reported. It is as many as can be pinned.
	mostLeft = limits.PinSize
)

// Left are flows of former backends of moving slots: the switch has seen a packet of each go there.
type Left struct {
	Flows map[rows.Flow]rows.BackendID
	Lost  [limits.Banks]bool // reports of moves in that bank may have been lost since the last Left
}

// leavers adds up flows between two reports. For one goroutine.
type leavers struct {
	Left
	told   time.Time // the last report
	asked  time.Time // when the switch was asked what it held back
	unsent [limits.Banks]uint64
	known  bool   // unsent is
	lost   uint64 // digests that found no room here
}

func (l *leavers) add(flow rows.Flow, to rows.BackendID) {
	if len(l.Flows) >= mostLeft {
		l.loseAll()
		return
	}
	if l.Flows == nil {
		l.Flows = make(map[rows.Flow]rows.BackendID)
	}
	l.Flows[flow] = to
}

func (l *leavers) loseAll() {
	for bank := range l.Lost {
		l.Lost[bank] = true
	}
}

// due returns when there is something to do: a report, or a question while slots move. The zero Time for never.
func (l *leavers) due(moving bool) (due time.Time) {
	if len(l.Flows) > 0 || l.Lost != [limits.Banks]bool{} {
		due = l.told.Add(leftInterval)
	}
	if ask := l.asked.Add(lostInterval); moving && (due.IsZero() || ask.Before(due)) {
		due = ask
	}
	return due
}

// reportLeft asks what was held back, and tells of flows, as far as either is due.
func (r *reconciler) reportLeft(ctx context.Context) {
	l, now := &r.leavers, time.Now()
	if dropped := r.target.Dropped(backlog.Digest); dropped != l.lost {
		l.lost = dropped
		l.loseAll()
	}
	if r.held.moving > 0 && now.Sub(l.asked) >= lostInterval {
		l.asked = now
		r.heldBack(ctx)
	}
	if due := l.due(false); due.IsZero() || due.After(now) {
		return
	}
	l.told = now
	report := l.Left
	l.Left = Left{}
	r.cfg.Observe(ctx, Observation{Switch: r.cfg.Name, Left: &report})
}

// heldBack notes of which moves the switch has held reports back since it was asked last. What it does not answer is
// asked again: time counts from the last report that may have been lost, and not from the question.
func (r *reconciler) heldBack(ctx context.Context) {
	l := &r.leavers
	array, err := r.codec.info.Counter("pin_unsent")
	if err != nil {
		return
	}
	var unsent [limits.Banks]uint64
	for e, err := range r.target.Read(ctx, array.Query()) {
		if err != nil {
			r.complain(err)
			l.loseAll()
			return
		}
		if i := e.GetCounterEntry().GetIndex().GetIndex(); i >= 0 && i < limits.Banks {
			unsent[i] = uint64(e.GetCounterEntry().GetData().GetPacketCount())
		}
	}
	for bank := range unsent {
		if l.known && unsent[bank] != l.unsent[bank] {
			l.Lost[bank] = true
		}
	}
	l.unsent, l.known = unsent, true
}
