package controller

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/plan"
)

// A backend that is removed while every epoch is in use keeps its slots for now. It is checked and listed
// until they are gone, and its death moves them at once.
func TestRemovedBackendDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var more strings.Builder
		for n := 3; n <= 6; n++ {
			fmt.Fprintf(&more,
				"      - {name: web%d, address: 10.0.0.1%d, mac: \"02:00:00:00:00:1%d\", switch_port: 3}\n", n, n, n)
		}
		text := strings.Replace(limitIntent, "vips:", more.String()+"vips:", 1)
		l := newLimited(t, text, core.Stored{})
		l.connect("leaf1")
		for _, b := range []string{"web2", "web3", "web4", "web5"} {
			l.admin(b, plan.Drain)
			l.connect("leaf1")
		}
		watched := func() (names []string) {
			m, _ := l.checks.get()
			for _, b := range m.Pools[0].Backends {
				names = append(names, b.Name+" "+b.Address)
			}
			return names
		}
		lines := strings.SplitAfter(text, "\n")
		without := strings.Join(slices.DeleteFunc(lines, func(s string) bool { return strings.Contains(s, "web6") }),
			"")
		l.in(func() {
			if _, err := l.applyFile(parse("test.yaml", without)); err != nil {
				t.Error(err)
			}
		})
		l.connect("leaf1")
		b := l.web().Backends
		if len(b) != 6 || b[5].Name != "web6" || b[5].Slots == 0 || b[5].Reason != fmt.Sprintf(
			"removed, %d slots and 0 pinned connections left", b[5].Slots) || b[5].Waiting != b[5].Slots {
			t.Fatalf("backends: %v", b)
		}
		if !slices.Contains(watched(), "web6 10.0.0.16") {
			t.Errorf("checked: %q", watched())
		}
		l.verdict("web6", api.Health_HEALTH_UP)
		if b := l.web().Backends; len(b) != 6 || b[5].Health != api.Health_HEALTH_UP || b[5].Since == nil {
			t.Errorf("web6 is up: %v", b)
		}
		time.Sleep(time.Second)
		had := l.web().Backends[5].Slots
		l.verdict("web6", api.Health_HEALTH_DOWN)
		if b := l.web().Backends; len(b) != 6 || b[5].Slots != 0 || b[5].MovingOut != had {
			t.Errorf("web6 is dead, and its open connections have no grace: %v", b)
		}
		l.connect("leaf1")
		time.Sleep(6 * time.Second)
		l.connect("leaf1")
		if b := l.web().Backends; len(b) != 5 {
			t.Errorf("web6 is dead, its grace is over, and it is listed: %v", b)
		}
		for i, s := range l.slots() {
			if s.Backend == 6 || s.Old == 6 {
				t.Fatalf("slot %d is web6's: %+v", i, s)
			}
		}
		if slices.Contains(watched(), "web6 10.0.0.16") {
			t.Errorf("web6 has nothing left, and is checked: %q", watched())
		}
		l.in(func() {
			unknown, err := l.verdicts(&api.ReportVerdictsRequest{Verdicts: down("web6")})
			if err != nil || len(unknown) != 1 ||
				l.core.Stored().Verdicts[plan.BackendKey{Pool: "web", Backend: "web6"}].Health != plan.Unknown {
				t.Errorf("a verdict on web6: %v, %v, %v", unknown, err, l.core.Stored().Verdicts)
			}
		})
	})
}
