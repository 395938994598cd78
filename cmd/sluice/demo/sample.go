package demo

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"
)

// enough connections of a sample for a server without any answer to be no accident: of so many, each
// of three or two servers must get some, by sigmas.
const enough = 100

// sigmas is how far a server's answers may be from its share of the slots. Which slot a new connection
// takes is random, so that an honest switch is further off once in a million times; how busy the
// machine is has no part in it.
const sigmas = 5

// sample is what became of the new connections that were opened in one stretch of time, all of them:
// it waits for the slow ones, so that none is missing because its server or the machine was busy.
type sample struct {
	mu       sync.Mutex // guards what follows
	opened   int
	pending  int
	closed   bool
	answers  map[string]int // by server
	failed   int
	enough   chan struct{} // closed when enough are opened
	complete chan struct{} // closed when no more are opened, and all have ended
}

func newSample() *sample {
	return &sample{answers: make(map[string]int), enough: make(chan struct{}), complete: make(chan struct{})}
}

func (s *sample) add() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending++
	if s.opened++; s.opened == enough {
		close(s.enough)
	}
}

func (s *sample) done(server string, answered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if answered {
		s.answers[server]++
	} else {
		s.failed++
	}
	if s.pending--; s.pending == 0 && s.closed {
		close(s.complete)
	}
}

func (s *sample) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed = true; s.pending == 0 {
		close(s.complete)
	}
}

// draw samples the new connections of a while, or longer, until there are enough.
func (l *load) draw(ctx context.Context, while time.Duration) (answers map[string]int, failed int, err error) {
	s := newSample()
	l.setSample(s)
	if err := receive(ctx, time.After(while)); err != nil {
		return nil, 0, err
	}
	if err := receive(ctx, s.enough); err != nil {
		return nil, 0, err
	}
	l.setSample(nil)
	s.close()
	if err := receive(ctx, s.complete); err != nil {
		return nil, 0, err
	}
	return s.answers, s.failed, nil
}

func (l *load) setSample(s *sample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sample = s
}

// receive waits for a channel, or the end of ctx.
func receive[T any](ctx context.Context, c <-chan T) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c:
		return nil
	}
}

// uneven says what is wrong with the slots of servers that have equal weights, or with the answers
// that came from them.
func uneven(servers []string, slots, answers map[string]int) (wrong []string) {
	live, allSlots, allAnswers := 0, 0, 0
	for _, s := range servers {
		allSlots += slots[s]
		allAnswers += answers[s]
		if slots[s] > 0 {
			live++
		}
	}
	if n := slots[""]; n > 0 {
		wrong = append(wrong, fmt.Sprintf("nobody has %s", count(n, "slot")))
	}
	if allAnswers < enough*9/10 {
		wrong = append(wrong, fmt.Sprintf("only %s", count(allAnswers, "answer")))
	}
	for _, s := range servers {
		if n := slots[s]; n > 0 && (n < allSlots/live || n > (allSlots+live-1)/live) {
			wrong = append(wrong, fmt.Sprintf("%s has %s of %s, shared by %d", s, thousands(n), count(allSlots, "slot"),
				live))
		}
		share := float64(slots[s]) / float64(max(allSlots, 1))
		want := share * float64(allAnswers)
		off := sigmas * math.Sqrt(want*(1-share))
		if math.Abs(float64(answers[s])-want) > off {
			wrong = append(wrong, fmt.Sprintf("%s gave %s of %s, its slots are good for %.0f ± %.0f",
				s, thousands(answers[s]), count(allAnswers, "answer"), want, off))
		}
	}
	return wrong
}
