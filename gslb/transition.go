package gslb

import (
	"cmp"
	"slices"

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
