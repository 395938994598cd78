package gslb

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/sluicelb/sluice/gslb/selection"
)

// transition is a change of an answer's state that operators hear of.
type transition struct {
	answer, from, to, reason string
}

// transitions says what changed between two sets of states, by answer name, sorted. Answers that came or went with the
// configuration are none.
func transitions(before, after map[string]answerState) []transition {
	var all []transition
	for name, is := range after {
		was, known := before[name]
		from, to := "unknown", stateName(is.State)
		if known {
			from = stateName(was.State)
		} else if is.Health == selection.Unknown && !is.Suspended {
			continue
		}
		if from != to {
			all = append(all, transition{name, from, to, is.reason})
		}
	}
	slices.SortFunc(all, func(a, b transition) int { return cmp.Compare(a.answer, b.answer) })
	return all
}

const (
	// mostTold is how many transitions are logged, each in a line, in toldWithin. Of more, as when a process starts
	// or a network is lost that thousands of answers lie in, only the number is.
	mostTold   = 50
	toldWithin = 10 * time.Second
)

// teller logs transitions. A first verdict that is as good as can be is no news.
type teller struct {
	log     *slog.Logger
	since   time.Time // of the lines below
	lines   int
	counted map[string]int // by state that it came to; those that had no line
}

// tell logs, and is called at least once in toldWithin.
func (t *teller) tell(list []transition, now time.Time) {
	if now.Sub(t.since) >= toldWithin {
		if len(t.counted) > 0 {
			var attrs []any
			for _, to := range slices.Sorted(maps.Keys(t.counted)) {
				attrs = append(attrs, to, t.counted[to])
			}
			t.log.Info("more answers changed", attrs...)
		}
		t.since, t.lines, t.counted = now, 0, make(map[string]int)
	}
	for _, x := range list {
		if x.from == "unknown" && x.to == "up" || t.lines == mostTold {
			t.counted[x.to]++
			continue
		}
		t.lines++
		t.log.Info("answer "+x.to, "answer", x.answer, "was", x.from, "reason", x.reason)
	}
}

func stateName(s selection.State) string {
	switch {
	case s.Suspended:
		return "suspended"
	case s.Health == selection.Up:
		return "up"
	case s.Health == selection.Down:
		return "down"
	}
	return "unknown"
}
