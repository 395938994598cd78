package controller

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/store"
	"github.com/sluicelb/sluice/internal/text"
)

// The functions below make events: text for people, detail for programs.

func verdictChanged(key plan.BackendKey, v store.Verdict) *api.Event {
	text := fmt.Sprintf("%v is %s", key, healthWord(v.Health))
	if v.Reason != "" {
		text += ": " + v.Reason
	}
	if v.Author != "" && v.Author != unnamed {
		text += " (says " + v.Author + ")"
	}
	return &api.Event{Text: text, Detail: &api.Event_Verdict{Verdict: &api.VerdictChanged{
		Pool: key.Pool, Backend: key.Backend, Health: healthMessage(v.Health), Reason: v.Reason, DetectedAt: timestamppb.New(v.DetectedAt),
	}}}
}

func slotsMoved(why cause, r plan.Report) *api.Event {
	return &api.Event{
		Text: fmt.Sprintf("%s: %s", why.text, movesText(r)),
		Detail: &api.Event_SlotsMoved{SlotsMoved: &api.SlotsMoved{
			Cause: why.text, Moves: moves(r), SurplusMoves: uint32(r.Surplus),
			MovesTotal: uint32(len(r.Moves)), SlotsTotal: slotsOf(r),
		}},
	}
}

// few is how many of a list a line has. Lines must stay readable when a thousand servers change at once.
const few = 8

// movesText is for example "683 slots of web: web2 -> web1, 682 slots of web: web2 -> web3 (gradually)".
func movesText(r plan.Report) string {
	var parts []string
	for _, m := range foremost(r, few) {
		s := fmt.Sprintf("%d slots of %s: %s -> %s", m.Slots, m.Pool, nobody(m.From), nobody(m.To))
		if m.Gradual {
			s += " (gradually)"
		}
		if m.Grace {
			s += " (open connections have a grace)"
		}
		parts = append(parts, s)
	}
	told := strings.Join(parts, ", ")
	if more := len(r.Moves) - few; more > 0 {
		told += fmt.Sprintf(" and %d more moves, %d slots in all", more, slotsOf(r))
	}
	return told
}

func nobody(name string) string {
	if name == "" {
		return "nobody"
	}
	return name
}

func reprogrammed(m *api.Reprogrammed) *api.Event {
	since := "decision"
	if m.DetectedAt != nil {
		since = "detection"
	}
	return &api.Event{
		Text: fmt.Sprintf("%s: %d entries written to %s, the last one %.1f ms after %s",
			m.Cause, m.Writes, text.List(m.Switches, few), m.ReprogramMs, since),
		Detail: &api.Event_Reprogrammed{Reprogrammed: m},
	}
}

func slotsSettled(pool config.Pool, slots, moving int, why ending) *api.Event {
	text := fmt.Sprintf("%s: the old connections of %d slots are gone, %d slots still have some", pool.Name, slots, moving)
	switch why {
	case afterGrace:
		text = fmt.Sprintf("%s: the grace of %d slots is over, %v: connections that were still open to backends that are down go to others "+
			"and break; %d slots still have old connections", pool.Name, slots, pool.Grace, moving)
	case afterLimit:
		text = fmt.Sprintf("%s: %d slots are settled by force, they moved for longer than drain_limit, %v: connections that were still open "+
			"there go to the new backend and break; %d slots still have old connections", pool.Name, slots, pool.DrainLimit, moving)
	}
	return &api.Event{Text: text, Detail: &api.Event_SlotsSettled{SlotsSettled: &api.SlotsSettled{
		Pool: pool.Name, Slots: uint32(slots), Moving: uint32(moving), Forced: why == afterLimit,
	}}}
}

func arpClaim(m *api.ARPClaim) *api.Event {
	who := m.Mac
	if m.Backend != "" {
		who = fmt.Sprintf("%s (%s: it must not answer ARP for the VIP)", m.Mac, m.Backend)
	}
	if m.Disowned {
		if m.Backend != "" {
			who = fmt.Sprintf("%s (%s: arp_announce=2 is missing there)", m.Mac, m.Backend)
		}
		return &api.Event{
			Text:   fmt.Sprintf("%s asks for its neighbours as VIP %s on port %d of %s: asked without it, %d so far", who, m.VipAddress, m.Port, m.Switch, m.Count),
			Detail: &api.Event_ArpClaim{ArpClaim: m},
		}
	}
	return &api.Event{
		Text: fmt.Sprintf("%s claims VIP %s on port %d of %s: dropped, %d so far%s",
			who, m.VipAddress, m.Port, m.Switch, m.Count, alsoText(m.Also)),
		Detail: &api.Event_ArpClaim{ArpClaim: m},
	}
}

func stationMoved(m *api.StationMoved) *api.Event {
	who := m.Mac
	if m.Backend != "" {
		who = fmt.Sprintf("%s (%s)", m.Mac, m.Backend)
	}
	return &api.Event{
		Text:   fmt.Sprintf("%s moved from port %d to port %d of %s%s", who, m.FromPort, m.ToPort, m.Switch, alsoText(m.Also)),
		Detail: &api.Event_Station{Station: m},
	}
}

func stationsFull(m *api.StationsFull) *api.Event {
	text := fmt.Sprintf("%s does not learn %s on port %d: frames to it are flooded", m.Switch, m.Mac, m.Port)
	if m.Reason != "" {
		text += "; " + m.Reason
	}
	return &api.Event{Text: text + alsoText(m.Also), Detail: &api.Event_StationsFull{StationsFull: m}}
}

// alsoText is what a notice says of the rest.
func alsoText(also string) string {
	if also == "" {
		return ""
	}
	return "; " + also
}

func switchChanged(name string, s *device.Status) *api.Event {
	m := &api.SwitchChanged{
		Switch: name, State: stateMessage(s.State), RowsReadBack: uint64(s.ReadBack), EntriesWritten: uint64(s.WrittenConnect),
	}
	var is string
	switch s.State {
	case device.Disconnected:
		is = "disconnected"
		if s.Err != nil {
			m.Error = text.Cut(s.Err.Error())
			is += ": " + m.Error
		}
	case device.Reconciling:
		is = "connected"
	case device.Synced:
		is = fmt.Sprintf("in line with the plan; the last connect found %d rows and wrote %d", s.ReadBack, s.WrittenConnect)
	case device.Degraded:
		is = fmt.Sprintf("%d updates are refused and will be retried", s.FailedTotal)
		if len(s.Failed) > 0 {
			m.Error = failureText(s.Failed[0])
			is += ", the first: " + m.Error
		}
		if n := leftOut(s); n > 0 {
			is += fmt.Sprintf("; %d VIPs are left out, the newest", n)
		}
	}
	return &api.Event{Text: fmt.Sprintf("switch %s: %s", name, is), Detail: &api.Event_Switch{Switch: m}}
}

// leftOut counts the VIPs that a switch does not serve at all.
func leftOut(s *device.Status) (n int) {
	for _, lack := range s.Lacks {
		if lack.Dead {
			n++
		}
	}
	return n
}

func failureText(f device.Failure) string {
	return fmt.Sprintf("%s: %v: %s", f.Change, f.Code, f.Message)
}

func intentApplied(revision int64) *api.Event {
	return &api.Event{
		Text:   fmt.Sprintf("intent revision %d applied", revision),
		Detail: &api.Event_IntentApplied{IntentApplied: &api.IntentApplied{Revision: revision}},
	}
}

// poolHeld says that the graces of a pool do not end, and why; or, without a reason, that they do again.
func poolHeld(pool, reason string) *api.Event {
	text := fmt.Sprintf("%s: %s", pool, reason)
	if reason == "" {
		text = pool + ": backends that are down have their grace again, and no more"
	}
	return &api.Event{Text: text, Detail: &api.Event_PoolHeld{PoolHeld: &api.PoolHeld{Pool: pool, Reason: reason}}}
}

func adminChanged(key plan.BackendKey, a plan.Admin) *api.Event {
	text := fmt.Sprintf("%v is taken back", key)
	if a == plan.Drain {
		text = fmt.Sprintf("%v drains", key)
	}
	return &api.Event{Text: text, Detail: &api.Event_Admin{Admin: &api.AdminChanged{
		Pool: key.Pool, Backend: key.Backend, Admin: adminMessage(a),
	}}}
}

// drainDone says what is known: a switch has no table of connections, and hears nothing of those that are silent.
func drainDone(key plan.BackendKey, forced int) *api.Event {
	is := "no slot leads there any more, and no open connection sent a packet for drain_idle"
	if forced > 0 {
		is = fmt.Sprintf("no slot leads there any more; %d slots had open connections at the end of drain_limit, which broke", forced)
	}
	return &api.Event{
		Text:   fmt.Sprintf("%v is drained: %s", key, is),
		Detail: &api.Event_DrainDone{DrainDone: &api.DrainDone{Pool: key.Pool, Backend: key.Backend, Forced: uint32(forced)}},
	}
}

func storeChanged(err error) *api.Event {
	if err == nil {
		return &api.Event{Text: "the store answers again", Detail: &api.Event_Store{Store: &api.StoreChanged{}}}
	}
	return &api.Event{
		Text:   "the configuration is frozen: " + err.Error(),
		Detail: &api.Event_Store{Store: &api.StoreChanged{Frozen: true, Error: err.Error()}},
	}
}

func healthdChanged(connected bool) *api.Event {
	is := "healthd has left: its verdicts stand, and nobody notices a server that dies"
	if connected {
		is = "healthd is connected"
	}
	return &api.Event{Text: is, Detail: &api.Event_Healthd{Healthd: &api.HealthdChanged{Connected: connected}}}
}

func healthWord(h plan.Health) string {
	return [...]string{"not judged", "up", "down", "failing"}[h]
}

func healthMessage(h plan.Health) api.Health {
	return [...]api.Health{
		api.Health_HEALTH_UNSPECIFIED, api.Health_HEALTH_UP, api.Health_HEALTH_DOWN, api.Health_HEALTH_FAILING,
	}[h]
}

func adminMessage(a plan.Admin) api.Admin {
	return [...]api.Admin{api.Admin_ADMIN_ACTIVE, api.Admin_ADMIN_DRAIN}[a]
}

func stateMessage(s device.State) api.SwitchStatus_State {
	return [...]api.SwitchStatus_State{
		api.SwitchStatus_STATE_DISCONNECTED, api.SwitchStatus_STATE_RECONCILING,
		api.SwitchStatus_STATE_SYNCED, api.SwitchStatus_STATE_DEGRADED,
	}[s]
}

func joinKeys(keys []plan.BackendKey) string {
	var names []string
	for _, k := range keys {
		names = append(names, k.String())
	}
	slices.Sort(names)
	return text.List(names, few)
}
