package plan

import (
	"fmt"
	"slices"
)

// Wait is a number of slots of one backend that should move and cannot yet. Their flows are served all the
// while, but for those that are opened at a backend that is dead.
type Wait struct {
	Pool    string
	Backend string // empty: the whole pool, to get another number of slots
	Slots   int
	Why     Why
}

// Why says what slots wait for.
type Why uint8

const (
	OldFlows   Why = iota + 1 // the slot still moves: the flows of its former backend are not pinned yet
	EpochsUsed                // every bank is taken, or left to the dead
	Behind                    // Input.Hold
	NobodyUp                  // no backend may take them
	NoEpoch                   // the backend is dead, and there is no epoch in which its open flows could stay
	BothDown                  // the slot still moves, and both of its backends are dead
)

// Lifted says whether the wait ends with the grace of the backend at the latest: Input.Over.
func (w Why) Lifted() bool { return w == NoEpoch || w == BothDown }

func (w Why) String() string {
	switch w {
	case OldFlows:
		return "they have moved lately, and their old connections are not pinned yet"
	case EpochsUsed:
		return fmt.Sprintf("all %d epochs are in use or kept for backends that go down", banks)
	case Behind:
		return "a switch does not hold the last decision yet"
	case NobodyUp:
		return "no backend may take them"
	case NoEpoch:
		return "their backend is down, and no epoch is free in which its open connections could stay with it"
	case BothDown:
		return "both of their backends are down, and keep their open connections for the grace"
	}
	return fmt.Sprintf("why %d", uint8(w))
}

// waits lists the pool's slots that should be elsewhere, by the backend that has them. settled is why slots do not move
// though they are free to.
func (w *work) waits(settled Why) []Wait {
	lacks := w.lacks()
	free := make([]int, len(w.pool.Members)) // slots that do not move
	if slices.ContainsFunc(lacks, func(n int) bool { return n < 0 }) {
		for _, slot := range w.pool.Slots {
			if b := w.roster.at(slot.Backend); b >= 0 && slot.Epoch == 0 {
				free[b]++
			}
		}
	}
	var all []Wait
	add := func(member, slots int, why Why) {
		if slots > 0 {
			all = append(all, Wait{w.cfg.Name, w.pool.Members[member].Name, slots, why})
		}
	}
	for i, lack := range lacks {
		add(i, w.stuck[stuck{i, NoEpoch}], NoEpoch)
		add(i, w.stuck[stuck{i, BothDown}], BothDown)
		switch {
		case !w.anybody && (w.status[i] == leaving || w.status[i] == failing):
			add(i, w.held[i], NobodyUp)
		case w.anybody && lack < 0:
			n := min(-lack, free[i])
			add(i, -lack-n, OldFlows)
			add(i, n, settled)
		}
	}
	return all
}
