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

// message is an event for the API.
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
			Cause: e.Cause, Moves: moves(e.Progress), SurplusMoves: uint32(e.Progress.Surplus),
			MovesTotal: uint32(len(e.Progress.Moves)), SlotsTotal: uint32(core.SlotsOf(e.Progress)),
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
			Pool: e.Backend.Pool, Backend: e.Backend.Backend, Forced: uint32(e.Forced.Slots),
			ForcedPinned: uint32(e.Forced.Pinned), Without: e.Without,
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
	case core.VIPClaimed:
		claim := claimMessage(e.Claim)
		claim.Also = e.Also
		m.Detail = &api.Event_ArpClaim{ArpClaim: claim}
	case core.StationMoved:
		m.Detail = &api.Event_Station{Station: &api.StationMoved{
			Switch: e.Switch, Mac: e.MAC.String(), FromPort: uint32(e.From), ToPort: uint32(e.To), Backend: e.Backend,
			Times: e.Times, Also: e.Also,
		}}
	case core.StationsFull:
		m.Detail = &api.Event_StationsFull{StationsFull: &api.StationsFull{
			Switch: e.Switch, Port: uint32(e.Port), Mac: e.MAC.String(), Reason: e.Reason, Also: e.Also,
		}}
	case core.PortChanged:
		m.Detail = &api.Event_Port{Port: &api.PortChanged{
			Switch: e.Switch, Port: uint32(e.Port.ID), Name: e.Port.Name, State: e.Port.State, Reason: e.Port.Reason,
			Backends: e.Backends[:min(len(e.Backends), core.MovesTold)], Changes: uint32(e.Changes),
		}}
	case core.StationSpoofed:
		m.Detail = &api.Event_Spoof{Spoof: spoofMessage(e.Spoof)}
	case switchChanged:
		m.Detail = &api.Event_Switch{Switch: &api.SwitchChanged{
			Switch: e.name, State: stateMessage(e.status.State), RowsReadBack: uint64(e.status.ReadBack),
			EntriesWritten: uint64(e.status.WrittenConnect), Error: e.wrong(),
		}}
	case healthdChanged:
		m.Detail = &api.Event_Healthd{Healthd: &api.HealthdChanged{Connected: e.connected}}
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
		Moves: moves(e.Progress), MovesTotal: uint32(len(e.Progress.Moves)),
		SlotsTotal:   uint32(core.SlotsOf(e.Progress)),
		SurplusMoves: uint32(e.Progress.Surplus), Switches: e.Switches, BackendsTotal: uint32(len(e.Backends)),
	}
	if !e.Detected.IsZero() {
		m.DetectedAt = timestamppb.New(e.Detected)
	}
	for _, b := range e.Backends[:min(len(e.Backends), core.MovesTold)] {
		m.Backends = append(m.Backends, b.String())
	}
	return m
}

func moves(r plan.Progress) []*api.SlotMoves {
	var out []*api.SlotMoves
	for _, m := range core.Foremost(r, core.MovesTold) {
		out = append(out, &api.SlotMoves{Pool: m.Pool, From: m.From, To: m.To, Slots: uint32(m.Slots),
			Gradual: m.Gradual, Grace: m.Grace})
	}
	return out
}

// switchChanged: the state of a switch has changed.
type switchChanged struct {
	name   string
	status *device.Status
}

func (e switchChanged) Text() string {
	s := e.status
	is := ""
	switch s.State {
	case device.Disconnected:
		is = "disconnected" + because(e.wrong())
	case device.Reconciling:
		is = "connected"
	case device.Synced:
		is = fmt.Sprintf("in line with the plan; the last connect found %d rows and wrote %d", s.ReadBack,
			s.WrittenConnect)
	case device.Degraded:
		is = fmt.Sprintf("%d updates are refused and will be retried", s.FailedTotal)
		if wrong := e.wrong(); wrong != "" {
			is += ", the first: " + wrong
		}
		if n := leftOut(s); n > 0 {
			is += fmt.Sprintf("; %d VIPs are left out, the newest", n)
		}
	}
	return fmt.Sprintf("switch %s: %s", e.name, is)
}

func (e switchChanged) Lines() []core.Log {
	return []core.Log{{Level: slog.LevelInfo, Text: "switch", Args: []any{
		"name", e.name, "state", e.status.State.String(), "read_back", uint64(e.status.ReadBack),
		"written", uint64(e.status.WrittenConnect), "err", e.wrong(),
	}}}
}

// wrong says why the switch is disconnected, or what it refuses first.
func (e switchChanged) wrong() string {
	switch s := e.status; {
	case s.State == device.Disconnected && s.Err != nil:
		return text.Cut(s.Err.Error())
	case s.State == device.Degraded && len(s.Failed) > 0:
		return failureText(s.Failed[0])
	}
	return ""
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

// healthdChanged: the first healthd is connected, or the last one has left.
type healthdChanged struct{ connected bool }

func (e healthdChanged) Text() string {
	if e.connected {
		return "healthd is connected"
	}
	return "healthd has left: its verdicts stand, and nobody notices a server that dies"
}

func (e healthdChanged) Lines() []core.Log {
	level := slog.LevelWarn
	if e.connected {
		level = slog.LevelInfo
	}
	return []core.Log{{Level: level, Text: e.Text()}}
}

func claimMessage(c core.Claim) *api.ARPClaim {
	m := &api.ARPClaim{
		Switch: c.Switch, VipAddress: c.VIP.String(), Port: uint32(c.Port), Backend: c.Backend, Disowned: c.Disowned,
		Count: c.Times, First: timestamppb.New(c.First), Last: timestamppb.New(c.Last),
	}
	if !c.MAC.IsZero() {
		m.Mac = c.MAC.String()
	}
	return m
}

func spoofMessage(s core.Spoof) *api.Spoof {
	m := &api.Spoof{
		Switch: s.Switch, Port: uint32(s.Port), Mac: s.MAC.String(), Sender: s.Sender, Station: s.Station,
		StationPort: uint32(s.StationPort), Frames: s.Frames,
		First: timestamppb.New(s.First), Last: timestamppb.New(s.Last),
	}
	if s.Address.IsValid() {
		m.Address = s.Address.String()
		if s.Station != "" {
			m.StationMac = s.StationMAC.String()
		}
	}
	return m
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
