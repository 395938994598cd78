package probe

// Health is what is known of one check, or of what several checks are of.
type Health uint8

// Unknown is the health before the first verdict. Unchecked is that of what cannot be asked: no check has it, since a
// check keeps the health it had, see Status.Unchecked.
const (
	Unknown   Health = iota
	Up               // it answers as it should
	Failing          // it answers, and not as it should
	Down             // it is dead: nothing answers
	Unchecked        // it cannot be asked
)

func (h Health) String() string {
	switch h {
	case Up:
		return "up"
	case Failing:
		return "failing"
	case Down:
		return "down"
	case Unchecked:
		return "unchecked"
	}
	return "unknown"
}

// outcome is what one probe says.
type outcome uint8

const (
	passed   outcome = iota
	wrong            // an answer, and not as it should be
	dead             // no answer
	notAsked         // nothing
)

// state is the state machine of one check: it turns single outcomes, each of which may be an accident, into a verdict.
// It is a value without time; the engine keeps the clock.
//
//	        +---------+      fall failures, some wrong
//	        | unknown |-------------------------------+
//	        +---------+                               |
//	rise passes |   | fall dead                       |
//	            v   |                                 v
//	        +------+|  fall failures, some wrong +---------+
//	        |  up  |+--------------------------->| failing |
//	        |      |<----------------------------|         |
//	        +------+|        rise passes         +---------+
//	          |   ^ |                               |   ^ rise not dead,
//	fall dead |   | | rise passes         fall dead |   | not all of them passes
//	          v   | v                               v   |
//	        +---------------------------------------------+
//	        |                    down                     |
//	        +---------------------------------------------+
//
// All of that is in a row. A failure is a wrong answer or none, which is dead: what gets worse takes fall outcomes,
// what gets better rise. So a server that fell silent is down after fall of them, whether it was up or failing before.
//
// An outcome that was not asked leaves health and counts as they are. After fall of them in a row, or after the first
// if nothing was ever heard of the check, it is unchecked, until an outcome agrees with its health or gives it another.
type state struct {
	health    Health
	unchecked bool // it cannot be asked: health is what it was
	// Outcomes in a row, up to the last one that told something.
	passes int // that pass
	fails  int // that do not
	alive  int // that are not dead
	deads  int // that are
	// Outcomes in a row that told nothing.
	unasked int
}

// next is the state after one more outcome. rise and fall are at least 1.
func (s state) next(o outcome, rise, fall int) state {
	if o == notAsked {
		s.unasked++
		nothing := s.health == Unknown && s.passes+s.fails == 0
		s.unchecked = s.unchecked || nothing || s.unasked >= fall
		return s
	}
	before := s.health
	s.unasked = 0
	if o == passed {
		s.passes, s.fails = s.passes+1, 0
	} else {
		s.passes, s.fails = 0, s.fails+1
	}
	if o == dead {
		s.alive, s.deads = 0, s.deads+1
	} else {
		s.alive, s.deads = s.alive+1, 0
	}
	switch {
	case s.passes >= rise:
		s.health = Up
	case s.deads >= fall:
		s.health = Down
	case s.health == Down && s.alive >= rise, s.health != Down && s.fails >= fall:
		s.health = Failing
	}
	s.unchecked = s.unchecked && s.health == before && !s.agrees()
	return s
}

// agrees reports that all that was heard last speaks for the verdict.
func (s state) agrees() bool {
	switch s.health {
	case Up:
		return s.fails == 0
	case Failing:
		return s.passes == 0 && s.deads == 0
	case Down:
		return s.alive == 0
	}
	return false
}

// settled reports that no verdict is in the making. Else the check runs at its fast interval.
func (s state) settled() bool {
	return s.agrees() && (s.unasked == 0 || s.unchecked)
}

// missing is how many more outcomes could be needed for the next verdict: at least 1.
func (s state) missing(rise, fall int) int {
	need := 1
	if s.health != Up {
		need = max(need, rise-s.passes)
	}
	if s.health != Down {
		need = max(need, fall-s.deads)
	}
	return need
}
