package probe

// Health is what is known of one check, or of what several checks are of.
type Health uint8

// Unknown is the health before the first verdict.
const (
	Unknown Health = iota
	Up
	Down
)

func (h Health) String() string {
	switch h {
	case Up:
		return "up"
	case Down:
		return "down"
	}
	return "unknown"
}

// state is the rise/fall state machine of one check: it turns single results, each of which may be an
// accident, into a verdict. It is a value without time; the engine keeps the clock.
//
//	           rise passes in a row
//	unknown ---------------------------> up
//	   |                                ^  |
//	   | fall failures      rise passes |  | fall failures
//	   | in a row              in a row |  | in a row
//	   |                                |  v
//	   +-------------------------------> down
//
// A result that agrees with the verdict clears the count of those against it.
type state struct {
	health Health
	passes int // in a row, while not up
	fails  int // in a row, while not down
}

// next is the state after one more result. rise and fall are at least 1.
func (s state) next(passed bool, rise, fall int) state {
	if passed {
		s.passes, s.fails = s.passes+1, 0
	} else {
		s.passes, s.fails = 0, s.fails+1
	}
	switch {
	case s.health == Up && passed, s.health != Up && s.passes >= rise:
		return state{health: Up}
	case s.health == Down && !passed, s.health != Down && s.fails >= fall:
		return state{health: Down}
	}
	return s
}

// settled reports that nothing speaks against the verdict. Else the check runs at its fast interval.
func (s state) settled() bool {
	return s.health != Unknown && s.passes == 0 && s.fails == 0
}

// missing is how many more results could be needed for the next verdict: at least 1.
func (s state) missing(rise, fall int) int {
	need := 1
	if s.health != Up {
		need = max(need, rise-s.passes)
	}
	if s.health != Down {
		need = max(need, fall-s.fails)
	}
	return need
}
