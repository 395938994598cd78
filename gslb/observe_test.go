package gslb

import (
	"testing"
	"time"

	"github.com/sluicelb/sluice/gslb/keepalive"
	"github.com/sluicelb/sluice/gslb/selection"
	"github.com/sluicelb/sluice/gslb/watch"
	"github.com/sluicelb/sluice/healthd/probe"
)

// What a controller sees nothing of is neither up nor down, and is waited for only where nothing else is heard.
func TestControllerVerdict(t *testing.T) {
	const hold = 30 * time.Second
	for _, tt := range []struct {
		name string
		vip  watch.VIP
		age  time.Duration // for which it has been watched
		want verdict
	}{
		{"first word to come", watch.VIP{Reason: "not heard"}, firstWord - 1, verdict{load: -1}},
		{"first word does not come", watch.VIP{Reason: "not heard"}, firstWord,
			verdict{load: -1, reason: "not heard", unseen: true}},
		{"refused", watch.VIP{Refused: true, Reason: "refused"}, 0, verdict{load: -1, reason: "refused", unseen: true}},
		{"refused for long", watch.VIP{Refused: true, Reason: "refused"}, hold,
			verdict{health: selection.Down, load: -1, reason: "refused", since: t0.Add(hold), unseen: true}},
		{"without a switch from the start", watch.VIP{Heard: true, Lost: true, Reason: "no switch"}, hold - 1,
			verdict{load: -1, reason: "no switch", unseen: true}},
		{"without a switch for long", watch.VIP{Heard: true, Lost: true, Reason: "no switch", Since: t1}, hold,
			verdict{health: selection.Down, load: -1, reason: "no switch", since: t1, unseen: true}},
		{"live", watch.VIP{Heard: true, Live: true, Load: 7, Since: t1}, 0,
			verdict{health: selection.Up, load: 7, since: t1}},
		{"dead", watch.VIP{Heard: true, Load: 255, Reason: "disabled", Since: t1}, 0,
			verdict{health: selection.Down, load: -1, reason: "disabled", since: t1}},
	} {
		if got := controllerVerdict(tt.vip, t0.Add(tt.age), tt.age, hold); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// What a load reporter says last before it sees nothing of an answer stands for the hold; a silent one says nothing.
func TestKeepaliveVerdict(t *testing.T) {
	const hold = 30 * time.Second
	none := keepalive.NoLoad
	for _, tt := range []struct {
		name   string
		result keepalive.Result
		want   verdict
	}{
		{"up", keepalive.Result{Health: probe.Up, Load: 7, Since: t0},
			verdict{health: selection.Up, load: 7, since: t0}},
		{"down", keepalive.Result{Health: probe.Down, Load: none, Reason: "no traffic", Since: t0},
			verdict{health: selection.Down, load: -1, reason: "no traffic", since: t0}},
		{"silent", keepalive.Result{Health: probe.Down, Load: none, Unseen: true, Reason: "no answer", Since: t0},
			verdict{health: selection.Down, load: -1, reason: "no answer", since: t0, unseen: true}},
		{"cannot be asked", keepalive.Result{Load: none, Unseen: true, Reason: "not asked"},
			verdict{load: -1, reason: "not asked", unseen: true}},
		{"sees nothing from the start", keepalive.Result{Load: none, Unseen: true, Blind: t0, Reason: "sees nothing"},
			verdict{load: -1, reason: "sees nothing", unseen: true}},
		{"up, and sees nothing", keepalive.Result{Health: probe.Up, Load: 7, Blind: t1.Add(1 - hold),
			Reason: "sees nothing", Since: t0}, verdict{health: selection.Up, load: 7, reason: "sees nothing",
			since: t0}},
		{"up, and sees nothing for long", keepalive.Result{Health: probe.Up, Load: 7, Blind: t1.Add(-hold),
			Reason: "sees nothing", Since: t0}, verdict{health: selection.Down, load: -1, reason: "sees nothing",
			since: t1, unseen: true}},
		{"down, and sees nothing", keepalive.Result{Health: probe.Down, Load: none, Blind: t1.Add(1 - hold),
			Reason: "no traffic", Since: t0}, verdict{health: selection.Down, load: -1, reason: "no traffic",
			since: t0}},
		{"down, and sees nothing for long", keepalive.Result{Health: probe.Down, Load: none, Blind: t1.Add(-hold),
			Reason: "no traffic", Since: t0}, verdict{health: selection.Down, load: -1, reason: "no traffic", since: t1,
			unseen: true}},
	} {
		if got := keepaliveVerdict(tt.result, t1, t1.Sub, hold); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
