package controller

import (
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/internal/text"
)

// message is an event of the core for the API.
func message(e core.Event) *api.Event {
	m := &api.Event{Text: e.Text()}
	switch e := e.(type) {
	case core.VerdictChanged:
		m.Detail = &api.Event_Verdict{Verdict: &api.VerdictChanged{
			Pool: e.Backend.Pool, Backend: e.Backend.Backend, Health: healthMessage(e.Verdict.Health),
			Reason:     e.Verdict.Reason,
			DetectedAt: timestamppb.New(e.Verdict.DetectedAt),
		}}
	case core.SlotsMoved:
		m.Detail = &api.Event_SlotsMoved{SlotsMoved: &api.SlotsMoved{
			Cause: e.Cause, Moves: moves(e.Report), SurplusMoves: uint32(e.Report.Surplus),
			MovesTotal: uint32(len(e.Report.Moves)), SlotsTotal: uint32(core.SlotsOf(e.Report)),
		}}
	case core.Reprogrammed:
		m.Detail = &api.Event_Reprogrammed{Reprogrammed: reprogrammed(e)}
	case core.SlotsSettled:
		m.Detail = &api.Event_SlotsSettled{SlotsSettled: &api.SlotsSettled{
			Pool: e.Pool.Name, Slots: uint32(e.Slots), Moving: uint32(e.Moving), Forced: e.Why == core.AfterLimit,
		}}
	case core.IntentApplied:
		m.Detail = &api.Event_IntentApplied{IntentApplied: &api.IntentApplied{Revision: e.Revision}}
	case core.PoolHeld:
		m.Detail = &api.Event_PoolHeld{PoolHeld: &api.PoolHeld{Pool: e.Pool, Reason: e.Reason}}
	case core.AdminChanged:
		m.Detail = &api.Event_Admin{Admin: &api.AdminChanged{
			Pool: e.Backend.Pool, Backend: e.Backend.Backend, Admin: adminMessage(e.Admin),
		}}
	case core.DrainDone:
		m.Detail = &api.Event_DrainDone{DrainDone: &api.DrainDone{
			Pool: e.Backend.Pool, Backend: e.Backend.Backend, Forced: uint32(e.Forced), Without: e.Without,
		}}
	case core.StoreChanged:
		changed := new(api.StoreChanged)
		if e.Err != nil {
			changed.Frozen, changed.Error = true, e.Err.Error()
		}
		m.Detail = &api.Event_Store{Store: changed}
	case core.SlotsAdopted:
		m.Detail = &api.Event_SlotsAdopted{SlotsAdopted: &api.SlotsAdopted{
			Switch: e.Switch, Slots: uint32(e.Found.Astray), SlotsTotal: uint32(e.Found.Slots),
			Unknown: uint32(e.Found.Unknown),
		}}
	case core.SwitchOverdue:
		is := &api.SwitchAwaited{Switch: e.Switch, Away: e.Away}
		for _, pool := range e.Pools {
			is.Pools = append(is.Pools, pool.Name)
		}
		m.Detail = &api.Event_SwitchAwaited{SwitchAwaited: is}
	case core.SwitchInLine:
		m.Detail = &api.Event_SwitchAwaited{SwitchAwaited: &api.SwitchAwaited{Switch: e.Switch, Awaited: true}}
	default:
		panic(fmt.Sprintf("no message for %T", e))
	}
	return m
}

func reprogrammed(e core.Reprogrammed) *api.Reprogrammed {
	_, took := e.Took()
	m := &api.Reprogrammed{
		Time: timestamppb.New(e.Last), Cause: e.Cause, DecidedAt: timestamppb.New(e.Decided),
		WriteMs: core.Milliseconds(e.Wrote()), ReprogramMs: core.Milliseconds(took), Writes: uint32(e.Writes),
		Moves: moves(e.Report), MovesTotal: uint32(len(e.Report.Moves)), SlotsTotal: uint32(core.SlotsOf(e.Report)),
		SurplusMoves: uint32(e.Report.Surplus), Switches: e.Switches, BackendsTotal: uint32(len(e.Backends)),
	}
	if !e.Detected.IsZero() {
		m.DetectedAt = timestamppb.New(e.Detected)
	}
	for _, b := range e.Backends[:min(len(e.Backends), core.MovesTold)] {
		m.Backends = append(m.Backends, b.String())
	}
	return m
}

func moves(r plan.Report) []*api.SlotMoves {
	var out []*api.SlotMoves
	for _, m := range core.Foremost(r, core.MovesTold) {
		out = append(out, &api.SlotMoves{Pool: m.Pool, From: m.From, To: m.To, Slots: uint32(m.Slots),
			Gradual: m.Gradual, Grace: m.Grace})
	}
	return out
}

// happening is an event of the edge: text for people and detail for programs, and what the log says of it.
type happening struct {
	event *api.Event
	line  core.Log
}

func (e *events) tell(now time.Time, h happening) { e.publish(now, h.event, h.line) }

func info(text string, args ...any) core.Log {
	return core.Log{Level: slog.LevelInfo, Text: text, Args: args}
}

func warn(text string, args ...any) core.Log {
	return core.Log{Level: slog.LevelWarn, Text: text, Args: args}
}

func arpClaim(m *api.ARPClaim) happening {
	who, does, what := m.Mac, "", "somebody claims a VIP"
	if m.Disowned {
		if m.Backend != "" {
			who = fmt.Sprintf("%s (%s: arp_announce=2 is missing there)", m.Mac, m.Backend)
		}
		what = "somebody asks for its neighbours as a VIP"
		does = fmt.Sprintf("%s asks for its neighbours as VIP %s on port %d of %s: asked without it, %d so far",
			who, m.VipAddress, m.Port, m.Switch, m.Count)
	} else {
		if m.Backend != "" {
			who = fmt.Sprintf("%s (%s: it must not answer ARP for the VIP)", m.Mac, m.Backend)
		}
		does = fmt.Sprintf("%s claims VIP %s on port %d of %s: dropped, %d so far%s",
			who, m.VipAddress, m.Port, m.Switch, m.Count, alsoText(m.Also))
	}
	return happening{
		&api.Event{Text: does, Detail: &api.Event_ArpClaim{ArpClaim: m}},
		warn(what, "vip", m.VipAddress, "mac", m.Mac, "switch", m.Switch, "port", m.Port, "backend", m.Backend,
			"times", m.Count, "also", m.Also),
	}
}

func stationMoved(m *api.StationMoved) happening {
	who := m.Mac
	if m.Backend != "" {
		who = fmt.Sprintf("%s (%s)", m.Mac, m.Backend)
	}
	return happening{
		&api.Event{
			Text: fmt.Sprintf("%s moved from port %d to port %d of %s%s", who, m.FromPort, m.ToPort, m.Switch,
				alsoText(m.Also)),
			Detail: &api.Event_Station{Station: m},
		},
		info("station moved", "mac", m.Mac, "backend", m.Backend, "switch", m.Switch, "from", m.FromPort, "to",
			m.ToPort,
			"times", m.Times, "also", m.Also),
	}
}

func stationsFull(m *api.StationsFull) happening {
	text := fmt.Sprintf("%s does not learn %s on port %d: frames to it are flooded", m.Switch, m.Mac, m.Port)
	if m.Reason != "" {
		text += "; " + m.Reason
	}
	return happening{
		&api.Event{Text: text + alsoText(m.Also), Detail: &api.Event_StationsFull{StationsFull: m}},
		warn("stations are not learned: frames to them are flooded", "switch", m.Switch, "port", m.Port, "mac", m.Mac,
			"reason", m.Reason, "also", m.Also),
	}
}

// alsoText is what a notice says of the rest.
func alsoText(also string) string {
	if also == "" {
		return ""
	}
	return "; " + also
}

func switchChanged(name string, s *device.Status) happening {
	m := &api.SwitchChanged{
		Switch: name, State: stateMessage(s.State), RowsReadBack: uint64(s.ReadBack),
		EntriesWritten: uint64(s.WrittenConnect),
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
		is = fmt.Sprintf("in line with the plan; the last connect found %d rows and wrote %d", s.ReadBack,
			s.WrittenConnect)
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
	return happening{
		&api.Event{Text: fmt.Sprintf("switch %s: %s", name, is), Detail: &api.Event_Switch{Switch: m}},
		info("switch", "name", name, "state", s.State.String(), "read_back", m.RowsReadBack, "written",
			m.EntriesWritten, "err", m.Error),
	}
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

func healthdChanged(connected bool) happening {
	is := warn("healthd has left: its verdicts stand, and nobody notices a server that dies")
	if connected {
		is = info("healthd is connected")
	}
	return happening{
		&api.Event{Text: is.Text, Detail: &api.Event_Healthd{Healthd: &api.HealthdChanged{Connected: connected}}},
		is,
	}
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

func timestampOf(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
