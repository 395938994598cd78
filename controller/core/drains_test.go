package core

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
)

// Twenty drains in a row, beside connections that live on: none waits longer than for those before it to settle, which
// is drain_idle and the time of a report.
func TestTwentyDrains(t *testing.T) {
	var more strings.Builder
	for n := 3; n <= 24; n++ {
		fmt.Fprintf(&more,
			"      - {name: web%d, address: 10.0.1.%d, mac: \"02:00:00:00:01:%02x\", switch_port: 3}\n", n, n, n)
	}
	text := strings.Replace(testIntent, "slots: 64", "slots: 1024", 1)
	text = strings.Replace(text, "drain_idle: 1s", "drain_idle: 10s", 1)
	w := newWorld(t)
	w.start()
	w.apply(strings.Replace(text, "vips:", more.String()+"vips:", 1))
	w.connect("leaf1")
	flow := rows.Flow(0)
	flows := make(map[rows.Flow]rows.BackendID)
	for n := 1; n <= 20; n++ {
		w.put(SetAdmin{plan.BackendKey{Pool: "web", Backend: fmt.Sprint("web", n)}, plan.Drain})
		w.connect("leaf1")
		for range 5 {
			flow++
			flows[flow] = rows.BackendID(n)
		}
		w.put(Reported{Switch: "leaf1", Flows: flows})
		w.wait(time.Second)
		w.connect("leaf1")
	}
	w.wait(10*time.Second + reportTime)
	w.connect("leaf1")
	census, _ := w.core.Stored().Plan.Census("web")
	for _, b := range census.Backends[:20] {
		if b.Slots != 0 || b.Pinned != 5 {
			t.Errorf("%s has %d slots, and %d connections are pinned to it, want 0 and 5", b.Name, b.Slots, b.Pinned)
		}
	}
	for range 24 { // what moved in the meantime moves once more
		w.wait(time.Second)
		w.connect("leaf1")
	}
	if census, _ := w.core.Stored().Plan.Census("web"); census.Moving != 0 {
		t.Errorf("%d slots still move", census.Moving)
	}
}
