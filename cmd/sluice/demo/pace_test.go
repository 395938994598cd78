package demo

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Patience grows with what the machine lets the demo wait.
func TestPace(t *testing.T) {
	const (
		ms      = time.Millisecond
		longest = 5 * time.Minute
	)
	type beats struct {
		elapsed time.Duration
		times   int
	}
	overdue := func(limit time.Duration, busy bool) string { return (&overdueError{limit, busy}).Error() }
	for _, test := range []struct {
		name string
		seen []beats
		own  time.Duration
		busy string
		over string // why a wait of 10 s has ended; "": it goes on
	}{
		{"an idle machine", []beats{{beat, 999}}, 9990 * ms, "", ""},
		{"an idle machine, and nothing comes", []beats{{beat, 1000}}, 10 * time.Second, "",
			overdue(10*time.Second, false)},
		{"a little late", []beats{{25 * ms, 400}}, 8 * time.Second, "", ""},
		{"half of the time", []beats{{40 * ms, 400}}, 8 * time.Second, "", ""},
		{"less than half", []beats{{50 * ms, 400}}, 8 * time.Second, "the demo got less than half of its time for 20 s",
			""},
		{"less than half, and nothing comes", []beats{{50 * ms, 500}}, 10 * time.Second,
			"the demo got less than half of its time for 25 s", overdue(10*time.Second, true)},
		{"one stall", []beats{{beat, 100}, {310 * ms, 1}}, 1020 * ms, "the demo stood still for up to 0.3 s", ""},
		{"one that checks bear", []beats{{beat, 100}, {longStall, 1}}, 1020 * ms, "", ""},
		{"stopped for a day", []beats{{24 * time.Hour, 1}}, 20 * ms,
			"the demo stood still for up to 86400.0 s, and got less than half of its time for 86400 s", ""},
		{"starved", []beats{{time.Second, int(longest / time.Second)}}, 20 * ms * time.Duration(longest/time.Second),
			"the demo stood still for up to 1.0 s, and got less than half of its time for " + fmt.Sprintf("%.0f s",
				longest.Seconds()), overdue(longest, true)},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPace()
			p.longest = longest
			waiting, cancel := p.within(t.Context(), 10*time.Second)
			defer cancel()
			for _, b := range test.seen {
				for range b.times {
					p.pass(b.elapsed)
				}
			}
			over := ""
			if waiting.Err() != nil {
				over = context.Cause(waiting).Error()
			}
			type all struct {
				Own        time.Duration
				Busy, Over string
			}
			if diff := cmp.Diff(all{test.own, test.busy, test.over}, all{p.own, p.busy(), over}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			select {
			case <-p.late:
				if test.busy == "" {
					t.Error("says that the machine is busy")
				}
			default:
				if test.busy != "" {
					t.Error("does not say that the machine is busy")
				}
			}
		})
	}
}

// Only what waits beyond a limit is ended.
func TestPaceEnds(t *testing.T) {
	p := newPace()
	short, cancelShort := p.within(t.Context(), 2*beat)
	defer cancelShort()
	long, cancelLong := p.within(t.Context(), 10*beat)
	defer cancelLong()
	over, cancelOver := p.within(t.Context(), 2*beat)
	cancelOver()
	p.pass(beat)
	p.pass(beat)
	if _, ok := errors.AsType[*overdueError](context.Cause(short)); !ok {
		t.Errorf("the short one: %v", context.Cause(short))
	}
	if long.Err() != nil {
		t.Errorf("the long one: %v", context.Cause(long))
	}
	if !errors.Is(context.Cause(over), context.Canceled) {
		t.Errorf("the one that was over: %v", context.Cause(over))
	}
	p.forEver()
	p.pass(beat)
	p.total += longest // of which the demo had nothing
	p.pass(time.Second)
	select {
	case <-p.late:
		t.Error("says that the machine is busy when that makes no difference any more")
	default:
	}
	if long.Err() != nil {
		t.Errorf("the long one, when the demo is over and what runs stays: %v", context.Cause(long))
	}
}
