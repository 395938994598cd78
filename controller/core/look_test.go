package core

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/tally"
)

// A Look goes on telling what it told first, whatever happens to the core (TestStorm has what this one has not).
func TestLook(t *testing.T) {
	h := newHearing(t, strings.Replace(testIntent, "ports: [", "ports: [eth9, ", 1))
	h.connect("leaf1")
	spoof := func() {
		h.put(Noise{"leaf1", tally.Noise{Spoofs: sent(h, tally.Spoofed{Port: 2}, web1MAC)}})
	}
	doubt := func(reason string) {
		h.put(Report{Healthd: "h1", Session: "1", Verdicts: []Said{
			{Backend: plan.BackendKey{Pool: "web", Backend: "web1"}, Health: plan.Unknown, Reason: reason},
		}})
	}
	for _, step := range []struct {
		name string
		does func()
	}{
		{"nothing", func() {}},
		{"a claim", func() { h.claim(3, web2MAC, invented(1)) }},
		{"the same claim, and others", func() { h.claim(3, web2MAC, invented(1), invented(2)) }},
		{"a spoof", spoof},
		{"the same", spoof},
		{"a backend cannot be asked", func() { doubt("no route") }},
		{"for another reason", func() { doubt("no address") }},
		{"a port is told of", func() { h.put(Ports{Switch: "leaf1", IDs: map[string]uint16{"eth9": 9}}) }},
		{"and no longer", func() { h.put(Ports{Switch: "leaf1", IDs: map[string]uint16{}}) }},
		{"time passes", func() { h.wait(time.Minute) }},
	} {
		look, now := h.core.Look(), h.now
		said := tells(look, now)
		if diff := cmp.Diff(tells(h.core, now), said); diff != "" {
			t.Errorf("before %s (-core +look):\n%s", step.name, diff)
		}
		step.does()
		if diff := cmp.Diff(said, tells(look, now)); diff != "" {
			t.Errorf("after %s (-before +after):\n%s", step.name, diff)
		}
	}
}
