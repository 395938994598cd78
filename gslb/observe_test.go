package gslb

import (
	"testing"
	"time"

	"github.com/sluicelb/sluice/gslb/selection"
	"github.com/sluicelb/sluice/gslb/watch"
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
		{"first word does not come", watch.VIP{Reason: "not heard"}, firstWord, verdict{load: -1, reason: "not heard", unseen: true}},
		{"refused", watch.VIP{Refused: true, Reason: "refused"}, 0, verdict{load: -1, reason: "refused", unseen: true}},
		{"refused for long", watch.VIP{Refused: true, Reason: "refused"}, hold, verdict{health: selection.Down, load: -1, reason: "refused", since: t0.Add(hold), unseen: true}},
		{"without a switch from the start", watch.VIP{Heard: true, Lost: true, Reason: "no switch"}, hold - 1, verdict{load: -1, reason: "no switch", unseen: true}},
		{"without a switch for long", watch.VIP{Heard: true, Lost: true, Reason: "no switch", Since: t1}, hold, verdict{health: selection.Down, load: -1, reason: "no switch", since: t1, unseen: true}},
		{"live", watch.VIP{Heard: true, Live: true, Load: 7, Since: t1}, 0, verdict{health: selection.Up, load: 7, since: t1}},
		{"dead", watch.VIP{Heard: true, Load: 255, Reason: "disabled", Since: t1}, 0, verdict{health: selection.Down, load: -1, reason: "disabled", since: t1}},
	} {
		if got := controllerVerdict(tt.vip, t0, t0.Add(tt.age), hold); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
