package controller

import (
	"context"
	"time"

	"github.com/sluicelb/sluice/controller/plan"
)

// limits knows since when moves last. The plan knows no time, and what is not stored counts anew after
// a restart of the controller: a move may then last for up to another drain_limit.
type limits struct {
	since  map[uint32]time.Time    // by epoch, from when the connected switches held its moves
	epochs map[*plan.Pool][]uint32 // that are alive there; pools are never modified
}

// look brings l in line with st. Epochs that are new to it begin now, unless the switches lack them.
func (l *limits) look(st plan.State, held bool, now time.Time) {
	epochs := make(map[*plan.Pool][]uint32, len(st.Pools))
	since := make(map[uint32]time.Time)
	for _, p := range st.Pools {
		alive, ok := l.epochs[p]
		if !ok {
			alive = p.Epochs()
		}
		epochs[p] = alive
		for _, e := range alive {
			if at, ok := l.since[e]; ok {
				since[e] = at
			} else if held {
				since[e] = now
			}
		}
	}
	l.since, l.epochs = since, epochs
}

// limit ends by force the moves that have lasted for their pool's drain_limit, and the graces that are over, and sets
// the timer to when the next ones will be.
func (l *loop) limit(ctx context.Context, timer *time.Timer) {
	now := time.Now()
	l.limits.look(l.st.Plan, l.held(), now)
	var due []plan.SlotRef
	var next time.Time
	gone := len(away(l.views)) > 0 // what is due waits: its return ends up here
	for _, pool := range l.intent.Pools {
		p := l.st.Plan.Pools[pool.Name]
		for _, epoch := range l.limits.epochs[p] {
			since, ok := l.limits.since[epoch]
			if !ok {
				continue
			}
			if at := since.Add(pool.DrainLimit); !at.After(now) {
				if !gone {
					due = append(due, p.Moving(epoch)...)
				}
			} else if next.IsZero() || at.Before(next) {
				next = at
			}
		}
	}
	if len(due) > 0 {
		l.settle(ctx, due, now, afterLimit)
		// What moves now is new, and what is left is due at next at the earliest.
		l.limits.look(l.st.Plan, l.held(), now)
	}
	if at := l.grace(ctx, now); !at.IsZero() && (next.IsZero() || at.Before(next)) {
		next = at
	}
	if timer.Stop(); !next.IsZero() {
		timer.Reset(next.Sub(now))
	}
}

// held says whether switches are connected, and all of them hold what was decided.
func (l *loop) held() bool { return l.connected() && !hold(l.views, l.sequence) }

// connected says whether any switch is.
func (l *loop) connected() bool {
	for _, v := range l.views {
		if v.connected() {
			return true
		}
	}
	return false
}
