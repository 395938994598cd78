package controller

import (
	"fmt"
	"maps"
	"slices"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/internal/text"
)

// vipIs is what is known of a VIP at one moment.
type vipIs struct {
	state   api.VIPStatus_State
	reason  string
	serving bool // traffic may come: some switch does with it what was decided, as far as that can be told
	unseen  bool // a switch may serve that is out of sight, and none that is in sight does
}

// vipState is the one truth about a VIP. live says whether its pool takes new connections, dead whom switches send new
// flows to though they are not up.
func (l *loop) vipState(v config.VIP, live bool, dead map[rows.BackendID]bool) vipIs {
	switch {
	case !v.Enabled:
		return vipIs{state: api.VIPStatus_STATE_DISABLED}
	case !l.connected():
		return vipIs{state: api.VIPStatus_STATE_UNPROGRAMMED, reason: "no switch is connected", unseen: live}
	case !live:
		return vipIs{state: api.VIPStatus_STATE_NO_BACKEND, reason: "no backend of the pool may receive traffic"}
	}
	serving, hidden := false, false
	var read, worse []string // switches that are being read back, and what is wrong with others
	for _, name := range slices.Sorted(maps.Keys(l.views)) {
		view := l.views[name]
		switch {
		case !view.connected():
			hidden = true // not to be seen is not to be down: it may serve
		case view.status.Lacks == nil:
			hidden = true
			read = append(read, name)
		default:
			wrong, serves := l.service(name, view, v, dead)
			serving = serving || serves
			if wrong != "" {
				worse = append(worse, wrong)
			}
		}
	}
	unseen := hidden && !serving
	switch {
	case len(worse) == 1:
		return vipIs{api.VIPStatus_STATE_DEGRADED, worse[0], serving, unseen}
	case len(worse) > 1:
		return vipIs{api.VIPStatus_STATE_DEGRADED, fmt.Sprintf("%s; and %d more", worse[0], len(worse)-1), serving, unseen}
	case !serving:
		reason := fmt.Sprintf("switch %s is being read back", text.List(read, 3))
		return vipIs{state: api.VIPStatus_STATE_UNPROGRAMMED, reason: reason, unseen: unseen}
	}
	return vipIs{state: api.VIPStatus_STATE_ACTIVE, serving: true}
}

// service says what is wrong with a VIP on a switch that was read back, and whether it serves there. What is being
// written to a VIP that stands there is not wrong: it goes by what was decided before.
func (l *loop) service(name string, view *view, v config.VIP, dead map[rows.BackendID]bool) (wrong string, serves bool) {
	lack, told := view.status.Lacks[vipKey(v)]
	refused := view.status.State == device.Degraded
	nowhere := lack.Slots != nil && lack.Slots.New[0] > 0
	switch {
	case !told || !refused && (lack.Dead || nowhere):
		return fmt.Sprintf("its rows are not on switch %s yet", name), false
	case !refused:
		return "", true
	case lack.Dead:
		return fmt.Sprintf("switch %s does not take its rows", name), false
	case lack.Slots != nil:
		where, lost := l.astray(lack.Slots, dead)
		return fmt.Sprintf("switch %s does not take its rows: %s", name, where), !lost
	case lack.Row != "":
		return fmt.Sprintf("switch %s does not take its rows: %s", name, lack.Row), true
	}
	return "", true
}

// astray tells where flows of slots go whose rows a switch refuses; lost says that new ones go to nobody who is up.
func (l *loop) astray(a *device.Astray, dead map[rows.BackendID]bool) (where string, lost bool) {
	var parts []string
	for _, id := range slices.Sorted(maps.Keys(a.New)) {
		to := "nowhere"
		switch key, known := l.st.Plan.Backend(id); {
		case dead[id] && known:
			to = fmt.Sprintf("to %v, which is not up", key)
		case known:
			to = fmt.Sprintf("to %v", key)
		case id != 0:
			to = "to a backend that was removed"
		}
		lost = lost || dead[id]
		parts = append(parts, fmt.Sprintf("new flows of %d of %d slots go %s", a.New[id], a.Slots, to))
	}
	if a.Old > 0 {
		parts = append(parts, fmt.Sprintf("open flows of %d of %d slots may break", a.Old, a.Slots))
	}
	return text.List(parts, 3), lost
}

// deadAhead returns whom new flows go to where a switch refuses rows, of those who are not up. 0 is nobody.
func (l *loop) deadAhead() map[rows.BackendID]bool {
	dead := make(map[rows.BackendID]bool)
	seen := make(map[*device.Astray]bool)
	var health map[plan.BackendKey]plan.Health
	for _, view := range l.views {
		if view.status.State != device.Degraded {
			continue
		}
		for _, lack := range view.status.Lacks {
			if lack.Slots == nil || seen[lack.Slots] {
				continue
			}
			seen[lack.Slots] = true
			if health == nil {
				health = l.health(l.st)
			}
			for id := range lack.Slots.New {
				key, known := l.st.Plan.Backend(id)
				if is := health[key]; !known || is != plan.Up && is != plan.Unknown {
					dead[id] = true
				}
			}
		}
	}
	return dead
}
