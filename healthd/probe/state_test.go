package probe

import (
	"fmt"
	"testing"
)

// judgeAll is what the state machine must agree with, said without states: the verdict is that of the last
// run of results that was long enough.
func judgeAll(results []bool, rise, fall int) Health {
	verdict, run := Unknown, 0
	for i, passed := range results {
		if i > 0 && results[i-1] != passed {
			run = 0
		}
		run++
		switch {
		case passed && run >= rise:
			verdict = Up
		case !passed && run >= fall:
			verdict = Down
		}
	}
	return verdict
}

// checkState feeds results one by one and compares every state on the way.
func checkState(t *testing.T, results []bool, rise, fall int) {
	t.Helper()
	var s state
	for i, passed := range results {
		before := s
		s = s.next(passed, rise, fall)
		at := func() string {
			return fmt.Sprintf("rise %d, fall %d, results %v: %+v -> %+v", rise, fall, results[:i+1], before, s)
		}
		if want := judgeAll(results[:i+1], rise, fall); s.health != want {
			t.Fatalf("%s: want %v", at(), want)
		}
		agrees := s.health == Up && passed || s.health == Down && !passed
		if s.settled() != agrees {
			t.Fatalf("%s: settled is %t", at(), s.settled())
		}
		if s.health != Unknown && (s.passes > 0 && s.health == Up || s.fails > 0 && s.health == Down) {
			t.Fatalf("%s: counts what agrees", at())
		}
		// missing more results of either kind always lead to a verdict, and no fewer do for one kind.
		missing := s.missing(rise, fall)
		if missing < 1 {
			t.Fatalf("%s: missing is %d", at(), missing)
		}
		if s.health != Up && after(s, true, missing, rise, fall) != Up || s.health != Down && after(s, false, missing, rise, fall) != Down {
			t.Fatalf("%s: %d more are not enough", at(), missing)
		}
		if missing > 1 && (s.health == Up || after(s, true, missing-1, rise, fall) == Up) && (s.health == Down || after(s, false, missing-1, rise, fall) == Down) {
			t.Fatalf("%s: %d more are too many", at(), missing)
		}
	}
}

func after(s state, passed bool, times, rise, fall int) Health {
	for range times {
		s = s.next(passed, rise, fall)
	}
	return s.health
}

func TestEverySequenceOfResults(t *testing.T) {
	const length = 10
	results := make([]bool, length)
	for rise := 1; rise <= 4; rise++ {
		for fall := 1; fall <= 4; fall++ {
			for bits := range 1 << length {
				for i := range results {
					results[i] = bits>>i&1 == 1
				}
				checkState(t, results, rise, fall)
			}
		}
	}
}

// FuzzFlapping takes longer sequences: a bit for a result.
func FuzzFlapping(f *testing.F) {
	f.Add(uint8(2), uint8(3), []byte{0xff, 0x55, 0x00, 0xaa})
	f.Add(uint8(1), uint8(1), []byte{0x55})
	f.Add(uint8(10), uint8(10), []byte{0xff, 0x03, 0x00, 0xfc})
	f.Fuzz(func(t *testing.T, rise, fall uint8, bits []byte) {
		if rise == 0 || fall == 0 || len(bits) > 64 {
			t.Skip()
		}
		var results []bool
		for _, b := range bits {
			for i := range 8 {
				results = append(results, b>>i&1 == 1)
			}
		}
		checkState(t, results, int(rise), int(fall))
	})
}
