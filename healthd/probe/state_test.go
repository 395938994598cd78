package probe

import (
	"fmt"
	"testing"
)

// judgeAll is what the state machine must agree with, said without states: the verdict is that of the last run of
// outcomes that was long enough.
func judgeAll(outcomes []outcome, rise, fall int) Health {
	verdict := Unknown
	for i := range outcomes {
		run := func(belongs func(outcome) bool) int {
			n := 0
			for ; n <= i && belongs(outcomes[i-n]); n++ {
			}
			return n
		}
		fell := run(func(o outcome) bool { return o != passed }) >= fall
		died := run(func(o outcome) bool { return o == dead }) >= fall
		rose := run(func(o outcome) bool { return o == passed }) >= rise
		lives := run(func(o outcome) bool { return o != dead }) >= rise
		switch {
		case rose:
			verdict = Up
		case died:
			verdict = Down
		case verdict == Down && lives, verdict != Down && fell:
			verdict = Failing
		}
	}
	return verdict
}

// withoutKinds is the verdict of who knows two kinds of outcome, as gslb does: what fails is down.
func withoutKinds(outcomes []outcome, rise, fall int) (isUp, isDown bool) {
	run := 0
	for i, o := range outcomes {
		if i > 0 && (outcomes[i-1] == passed) != (o == passed) {
			run = 0
		}
		run++
		switch {
		case o == passed && run >= rise:
			isUp, isDown = true, false
		case o != passed && run >= fall:
			isUp, isDown = false, true
		}
	}
	return isUp, isDown
}

// checkState feeds outcomes one by one and compares every state on the way.
func checkState(t *testing.T, outcomes []outcome, rise, fall int) {
	t.Helper()
	var s state
	for i, o := range outcomes {
		before := s
		s = s.next(o, rise, fall)
		at := func() string {
			return fmt.Sprintf("rise %d, fall %d, outcomes %v: %+v -> %+v", rise, fall, outcomes[:i+1], before, s)
		}
		if want := judgeAll(outcomes[:i+1], rise, fall); s.health != want {
			t.Fatalf("%s: want %v", at(), want)
		}
		if isUp, isDown := withoutKinds(outcomes[:i+1], rise, fall); isUp != (s.health == Up) ||
			isDown != (s.health == Down || s.health == Failing) {
			t.Fatalf("%s: without kinds of failures it is up: %t, down: %t", at(), isUp, isDown)
		}
		agrees := s.health == Up && o == passed || s.health == Down && o == dead
		if s.health == Failing {
			agrees = o == wrong
		}
		if s.settled() != agrees {
			t.Fatalf("%s: settled is %t", at(), s.settled())
		}
		if h := after(s, dead, fall, rise, fall); h != Down {
			t.Fatalf("%s: %v after %d that are dead", at(), h, fall)
		}
		if h := after(s, passed, rise, rise, fall); h != Up {
			t.Fatalf("%s: %v after %d passes", at(), h, rise)
		}
		// missing more outcomes of either kind always lead to a verdict, and no fewer do for one kind.
		missing := s.missing(rise, fall)
		if missing < 1 {
			t.Fatalf("%s: missing is %d", at(), missing)
		}
		if s.health != Up && after(s, passed, missing, rise, fall) != Up || s.health != Down &&
			after(s, dead, missing, rise, fall) != Down {
			t.Fatalf("%s: %d more are not enough", at(), missing)
		}
		if missing > 1 && (s.health == Up || after(s, passed, missing-1, rise, fall) == Up) &&
			(s.health == Down || after(s, dead, missing-1, rise, fall) == Down) {
			t.Fatalf("%s: %d more are too many", at(), missing)
		}
	}
}

func after(s state, o outcome, times, rise, fall int) Health {
	for range times {
		s = s.next(o, rise, fall)
	}
	return s.health
}

func TestEverySequenceOfOutcomes(t *testing.T) {
	const length, all = 8, 6561 // 3^8
	outcomes := make([]outcome, length)
	for rise := 1; rise <= 3; rise++ {
		for fall := 1; fall <= 4; fall++ {
			for n := range all {
				for i := range outcomes {
					outcomes[i], n = outcome(n%3), n/3
				}
				checkState(t, outcomes, rise, fall)
			}
		}
	}
}

// What was not asked changes no verdict and no count; alone it is told, at once when nothing was ever heard, and else
// after fall in a row.
func TestNotAsked(t *testing.T) {
	const rise, fall = 2, 3
	feed := func(outcomes ...outcome) (s state) {
		for _, o := range outcomes {
			s = s.next(o, rise, fall)
		}
		return s
	}
	for _, tt := range []struct {
		name      string
		state     state
		health    Health
		unchecked bool
		settled   bool
	}{
		{"never heard of", feed(notAsked), Unknown, true, false},
		{"heard of once", feed(passed, notAsked, notAsked), Unknown, false, false},
		{"heard of once, then never", feed(passed, notAsked, notAsked, notAsked), Unknown, true, false},
		{"up, and an accident", feed(passed, passed, notAsked, notAsked), Up, false, false},
		{"up, and not asked", feed(passed, passed, notAsked, notAsked, notAsked), Up, true, true},
		{"up, and asked again", feed(passed, passed, notAsked, notAsked, notAsked, passed), Up, false, true},
		{"never heard of, then once", feed(notAsked, passed), Unknown, true, false},
		{"never heard of, then up", feed(notAsked, passed, passed), Up, false, true},
		{"up, and a failure when it is asked again", feed(passed, passed, notAsked, notAsked, notAsked, dead, dead), Up,
			true,
			false},
		{"up, and down when it is asked again", feed(passed, passed, notAsked, notAsked, notAsked, dead, dead, dead),
			Down,
			false, true},
		{"up, and both when it is asked again", feed(passed, passed, notAsked, notAsked, notAsked, dead, passed), Up,
			false,
			true},
		{"down, and failing when it is asked again", feed(dead, dead, dead, notAsked, notAsked, notAsked, wrong, wrong),
			Failing, false, true},
		{"accidents one by one", feed(passed, passed, notAsked, notAsked, passed, notAsked, notAsked), Up, false,
			false},
		{"down, and not asked", feed(dead, dead, dead, notAsked, notAsked, notAsked), Down, true, true},
		{"failing, and not asked", feed(wrong, wrong, wrong, notAsked, notAsked, notAsked), Failing, true, true},
		{"two of three that are dead", feed(passed, passed, dead, notAsked, notAsked, notAsked, dead), Up, true, false},
		{"three that are dead", feed(passed, passed, dead, notAsked, notAsked, notAsked, dead, dead), Down, false,
			true},
	} {
		if s := tt.state; s.health != tt.health || s.unchecked != tt.unchecked || s.settled() != tt.settled {
			t.Errorf("%s: %v, unchecked %t, settled %t; want %v, %t, %t: %+v", tt.name,
				s.health, s.unchecked, s.settled(), tt.health, tt.unchecked, tt.settled, s)
		}
	}
}

// FuzzFlapping takes longer sequences: two bits for an outcome.
func FuzzFlapping(f *testing.F) {
	f.Add(uint8(2), uint8(3), []byte{0xff, 0x55, 0x00, 0xaa})
	f.Add(uint8(1), uint8(1), []byte{0x55})
	f.Add(uint8(10), uint8(10), []byte{0xff, 0x03, 0x00, 0xfc})
	f.Fuzz(func(t *testing.T, rise, fall uint8, bits []byte) {
		if rise == 0 || fall == 0 || len(bits) > 64 {
			t.Skip("rise and fall are at least 1, and long sequences take long")
		}
		var outcomes []outcome
		for _, b := range bits {
			for i := range 4 {
				outcomes = append(outcomes, outcome(b>>(2*i)&3)%notAsked)
			}
		}
		checkState(t, outcomes, int(rise), int(fall))
	})
}
