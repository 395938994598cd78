package core

import (
	"strings"
	"testing"
	"time"

	"github.com/sluicelb/sluice/controller/plan"
)

// A change is reported when every switch that was connected has it; one that is lost meanwhile does
// not hold up the report.
func TestProgressOfAChange(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	status := func(name string, connected bool, applied uint64, ms, writes int) Switch {
		return Switch{Name: name, Connected: connected, Applied: applied, AppliedAt: at(ms), Writes: writes}
	}
	views := map[string]*view{}
	for _, name := range []string{"a", "b", "c"} {
		views[name] = &view{status: Switch{Connected: true, Applied: 6}}
	}
	views["gone"] = &view{}
	why := cause{text: "verdict on web/web1", detected: at(-10),
		backends: []plan.BackendKey{{Pool: "web", Backend: "web1"}}}
	c := newChange(7, why, at(0), plan.Progress{Moves: []plan.Move{{Pool: "web", From: "web1", To: "web2", Slots: 5}}},
		views)
	steps := []struct {
		s    Switch
		over bool
	}{
		{status("a", true, 6, 1, 9), false},
		{status("a", true, 7, 5, 5), false},
		{status("gone", true, 7, 50, 50), false},
		{status("b", true, 8, 7, 6), false},
		{status("c", false, 6, 0, 0), true},
	}
	for _, s := range steps {
		if over, _ := c.take(s.s); over != s.over {
			t.Errorf("%s: over %v, want %v", s.s.Name, over, s.over)
		}
	}
	got := c.done().Text()
	if want := "verdict on web/web1: 11 entries written to a, b, the last one 17.0 ms after detection"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	e := c.done()
	if _, took := e.Took(); took != 17*time.Millisecond || e.Wrote() != 7*time.Millisecond ||
		e.Progress.Moves[0].Slots != 5 {
		t.Errorf("event: %+v", e)
	}
}

// The time from detection to the last row says how quick the change was, or nothing at all.
func TestTimesOfAChange(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name               string
		detected, applied  time.Time
		reprogram, written float64
	}{
		{"as usual", now.Add(-20 * time.Millisecond), now.Add(5 * time.Millisecond), 25, 5},
		{"a minute ago", now.Add(-time.Minute), now, 60000, 0},
		{"detected long ago", now.AddDate(-6, 0, 0), now.Add(5 * time.Millisecond), 5, 5},
		{"no verdict", time.Time{}, now.Add(5 * time.Millisecond), 5, 5},
		{"nothing to write", now.Add(-20 * time.Millisecond), time.Time{}, 20, 0},
		{"detected to come", now.Add(time.Hour), now, 0, 0},
	}
	for _, tt := range tests {
		views := map[string]*view{"a": {status: Switch{Connected: true}}}
		c := newChange(1, cause{detected: tt.detected}, now, plan.Progress{}, views)
		c.take(Switch{Name: "a", Connected: true, Applied: 1, AppliedAt: tt.applied})
		_, took := c.done().Took()
		if reprogram, written := Milliseconds(took), Milliseconds(c.done().Wrote()); reprogram != tt.reprogram ||
			written != tt.written {
			t.Errorf("%s: %v ms since detection, %v since the decision; want %v, %v", tt.name, reprogram, written,
				tt.reprogram, tt.written)
		}
	}
}

// What no switch has to take is not waited for, nor what a switch had to that the intent gives up.
func TestPendingChanges(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.apply(testIntent)
	c := w.core
	for n := range 10 {
		w.verdict("web2", []plan.Health{plan.Down, plan.Up}[n%2])
	}
	if len(c.pending) != 0 {
		t.Errorf("no switch is connected, %d changes wait", len(c.pending))
	}
	w.connect("leaf1")
	w.verdict("web1", plan.Down)
	if len(c.pending) != 1 {
		t.Errorf("a switch is connected, %d changes wait, want 1", len(c.pending))
	}
	for range 2 * changesPending {
		c.follow(newChange(c.sequence, cause{}, w.now, plan.Progress{}, c.views))
	}
	if len(c.pending) != changesPending {
		t.Errorf("%d changes wait, want %d", len(c.pending), changesPending)
	}
	w.apply(strings.ReplaceAll(testIntent, "leaf1", "leaf2"))
	if len(c.pending) != 0 {
		t.Errorf("the switch is given up, %d changes wait", len(c.pending))
	}
}
