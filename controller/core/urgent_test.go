package core

import (
	"testing"
	"time"

	"github.com/sluicelb/sluice/controller/plan"
)

// A backend is urgent while its port is down and for some seconds more; a port that goes up and down all the time
// changes that once.
func TestUrgency(t *testing.T) {
	start := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	u := make(urgency)
	web1 := plan.BackendKey{Pool: "web", Backend: "web1"}
	off := map[plan.BackendKey]bool{web1: true}
	for _, step := range []struct {
		name    string
		at      time.Duration
		off     map[plan.BackendKey]bool
		changed bool
		urgent  bool
	}{
		{"nothing is down", 0, nil, false, false},
		{"down", 0, off, true, true},
		{"up", time.Millisecond, nil, false, true},
		{"down again", 2 * time.Millisecond, off, false, true},
		{"for long", time.Minute, off, false, true},
		{"up for nearly long enough", time.Minute + calm - 1, nil, false, true},
		{"up for long enough", time.Minute + calm, nil, true, false},
		{"and later", time.Hour, nil, false, false},
	} {
		changed := u.take(start.Add(step.at), step.off)
		if _, urgent := u[web1]; changed != step.changed || urgent != step.urgent {
			t.Errorf("%s: changed %v, urgent %v, want %v, %v", step.name, changed, urgent, step.changed, step.urgent)
		}
	}
}
