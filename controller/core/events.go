package core

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/internal/text"
	"github.com/sluicelb/sluice/p4/packet"
)

// Event is something that people and programs may want to know. Its fields are for programs.
type Event interface {
	Text() string // for people
	Lines() []Log // for the log
}

// Few is how many things of a list a line names. Lines must stay readable when a thousand servers change at once.
const Few = 8

// MovesTold is how many moves an event has: every one more costs each event that is remembered.
const MovesTold = 64

// Unnamed is the name of a healthd that gives none.
const Unnamed = "healthd"

func info(text string, args ...any) []Log { return []Log{{slog.LevelInfo, text, args}} }

func warn(text string, args ...any) []Log { return []Log{{slog.LevelWarn, text, args}} }

// VerdictChanged: the verdict on a backend has changed.
type VerdictChanged struct {
	Backend plan.BackendKey
	Verdict Verdict
}

func (e VerdictChanged) Text() string {
	text := fmt.Sprintf("%v is %v", e.Backend, e.Verdict.Health)
	if e.Verdict.Reason != "" {
		text += ": " + e.Verdict.Reason
	}
	if a := e.Verdict.Author; a != "" && a != Unnamed {
		text += " (says " + a + ")"
	}
	return text
}

func (e VerdictChanged) Lines() []Log {
	return info("verdict", "backend", e.Backend.String(), "health", e.Verdict.Health.String(), "reason",
		e.Verdict.Reason)
}

// SlotsMoved: the plan has given slots to others.
type SlotsMoved struct {
	Cause    string
	Progress plan.Progress
}

func (e SlotsMoved) Text() string { return e.Cause + ": " + movesText(e.Progress) }

// Lines also tells when a pool loses its last live backend: only then do slots go to nobody.
func (e SlotsMoved) Lines() []Log {
	var lines []Log
	lost := make(map[string]bool)
	for _, move := range Foremost(e.Progress, MovesTold) {
		if move.To == "" && !lost[move.Pool] {
			lost[move.Pool] = true
			lines = append(lines, warn("pool has no live backend", "pool", move.Pool, "cause", e.Cause)...)
		}
	}
	moved := info("slots moved", "cause", e.Cause, "slots", SlotsOf(e.Progress), "moves", movesText(e.Progress))
	return append(lines, moved...)
}

// movesText is for example "683 slots of web: web2 -> web1, 682 slots of web: web2 -> web3 (gradually)".
func movesText(r plan.Progress) string {
	var parts []string
	for _, m := range Foremost(r, Few) {
		s := fmt.Sprintf("%d slots of %s: %s -> %s", m.Slots, m.Pool, cmp.Or(m.From, "nobody"), cmp.Or(m.To, "nobody"))
		if m.Gradual {
			s += " (gradually)"
		}
		if m.Grace {
			s += " (open connections have a grace)"
		}
		parts = append(parts, s)
	}
	told := strings.Join(parts, ", ")
	if more := len(r.Moves) - Few; more > 0 {
		told += fmt.Sprintf(" and %d more moves, %d slots in all", more, SlotsOf(r))
	}
	return told
}

// Foremost returns the first few moves: those to nobody before all others, for they break flows.
func Foremost(r plan.Progress, most int) []plan.Move {
	moves := slices.Clone(r.Moves)
	slices.SortStableFunc(moves, func(a, b plan.Move) int { return cmp.Compare(min(len(a.To), 1), min(len(b.To), 1)) })
	return moves[:min(len(moves), most)]
}

// SlotsOf counts the slots that moved.
func SlotsOf(r plan.Progress) (slots int) {
	for _, m := range r.Moves {
		slots += m.Slots
	}
	return slots
}

// Reprogrammed: all switches that were connected when something was decided hold it.
type Reprogrammed struct {
	Cause    string
	Detected time.Time // by healthd; zero when no verdict was the cause, or long ago
	Decided  time.Time
	Last     time.Time         // when the last row was written; not before Decided
	Backends []plan.BackendKey // whose verdicts were the cause
	Writes   int
	Progress plan.Progress
	Switches []string
}

// Took is the time to the last row from the detection, or where nothing was detected from the decision; 0 at least, for
// wall clocks may be set back.
func (e Reprogrammed) Took() (since string, took time.Duration) {
	if e.Detected.IsZero() {
		return "decision", max(e.Last.Sub(e.Decided), 0)
	}
	return "detection", max(e.Last.Sub(e.Detected), 0)
}

// Wrote is the time to the last row from the decision.
func (e Reprogrammed) Wrote() time.Duration { return max(e.Last.Sub(e.Decided), 0) }

// Milliseconds of a time.
func Milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (e Reprogrammed) Text() string {
	since, took := e.Took()
	return fmt.Sprintf("%s: %d entries written to %s, the last one %.1f ms after %s",
		e.Cause, e.Writes, text.List(e.Switches, Few), Milliseconds(took), since)
}

func (e Reprogrammed) Lines() []Log {
	_, took := e.Took()
	return info("switches reprogrammed", "cause", e.Cause, "switches", text.List(e.Switches, Few), "writes", e.Writes,
		"ms", Milliseconds(took))
}

// SlotsSettled: moves have ended.
type SlotsSettled struct {
	Pool   config.Pool
	Slots  int // that have settled
	Moving int // that have not
	Why    Ending
}

func (e SlotsSettled) Text() string {
	switch e.Why {
	case AfterGrace:
		return fmt.Sprintf(
			"%s: the grace of %d slots is over, %v: connections that were still open to backends that are "+
				"down go to others and break; %d slots still move", e.Pool.Name, e.Slots, e.Pool.Grace,
			e.Moving)
	case AfterLimit:
		return fmt.Sprintf(
			"%s: %d slots are settled by force, their backend was taken out longer ago than drain_limit, %v: "+
				"connections "+
				"that were still open there go to the new backend and break; %d slots still move",
			e.Pool.Name, e.Slots, e.Pool.DrainLimit, e.Moving)
	}
	return fmt.Sprintf("%s: %d slots have settled, their old connections are pinned or gone; %d slots still move",
		e.Pool.Name, e.Slots, e.Moving)
}

func (e SlotsSettled) Lines() []Log {
	if e.Why == AfterLimit {
		return warn("open connections were handed to another backend: theirs was taken out longer ago than drain_limit",
			"pool", e.Pool.Name, "slots", e.Slots, "drain_limit", e.Pool.DrainLimit)
	}
	return []Log{{slog.LevelDebug, "slots settled", []any{"pool", e.Pool.Name, "slots", e.Slots, "moving", e.Moving}}}
}

// IntentApplied: another intent runs.
type IntentApplied struct{ Revision int64 }

func (e IntentApplied) Text() string { return fmt.Sprintf("intent revision %d applied", e.Revision) }

func (e IntentApplied) Lines() []Log { return info("intent applied", "revision", e.Revision) }

// PoolHeld: the graces of a pool do not end, for a Reason; or, where that is empty, they end again.
type PoolHeld struct{ Pool, Reason string }

const floorOver = "backends that are down keep open connections for their grace and no longer"

func (e PoolHeld) Text() string {
	return e.Pool + ": " + cmp.Or(e.Reason, floorOver)
}

func (e PoolHeld) Lines() []Log {
	if e.Reason == "" {
		return info(floorOver, "pool", e.Pool)
	}
	return []Log{{slog.LevelError, "too much fell at once", []any{"pool", e.Pool, "reason", e.Reason}}}
}

// AdminChanged: the operator drains a backend, or takes it back.
type AdminChanged struct {
	Backend plan.BackendKey
	Admin   plan.Admin
}

func (e AdminChanged) Text() string {
	if e.Admin == plan.Drain {
		return fmt.Sprintf("%v drains", e.Backend)
	}
	return fmt.Sprintf("%v is taken back", e.Backend)
}

func (e AdminChanged) Lines() []Log {
	if e.Admin == plan.Drain {
		return info("drain", "backend", e.Backend.String())
	}
	return info("undrain", "backend", e.Backend.String())
}

// DrainDone says what is known: a switch has no table of connections, and hears nothing of those that are silent.
type DrainDone struct {
	Backend plan.BackendKey
	Forced  Forced
	Without []string // switches that were not waited for: they may still send connections there
}

func (e DrainDone) Text() string {
	is := "no slot leads there any more, and no open connection sent a packet for drain_idle"
	if e.Forced != (Forced{}) {
		is = fmt.Sprintf("no slot leads there any more; at the end of drain_limit %d connections were pinned "+
			"there, and %d "+
			"slots still moved: what was open broke", e.Forced.Pinned, e.Forced.Slots)
	}
	if len(e.Without) > 0 {
		is += fmt.Sprintf("; but %s may still send connections there, as what was decided is not written to it",
			text.List(e.Without, Few))
	}
	return fmt.Sprintf("%v is drained: %s", e.Backend, is)
}

func (e DrainDone) Lines() []Log {
	return info("drain done", "backend", e.Backend.String(), "forced_connections", e.Forced.Pinned, "forced_slots",
		e.Forced.Slots)
}

// StoreChanged: the store does not take what is decided, for a reason; or, with nil, it does again.
type StoreChanged struct{ Err error }

func (e StoreChanged) Text() string {
	if e.Err == nil {
		return "the store answers again"
	}
	return "the configuration is frozen: " + e.Err.Error()
}

func (e StoreChanged) Lines() []Log {
	if e.Err == nil {
		return info("the store answers again")
	}
	return []Log{{
		slog.LevelError, "the store takes no changes: the configuration is frozen, verdicts go on",
		[]any{"err", e.Err.Error()},
	}}
}

// SlotsAdopted: a switch and the store disagreed, and the switch has the last word.
type SlotsAdopted struct {
	Switch string
	Found  plan.Adoption
}

func (e SlotsAdopted) Text() string {
	text := fmt.Sprintf("the store is older than switch %s, or was not written to it: "+
		"%d of %d slots differ there. Open connections stay where the switch has them, "+
		"and what has to change moves gradually",
		e.Switch, e.Found.Astray, e.Found.Slots)
	if e.Found.Unknown > 0 {
		text += fmt.Sprintf("; %d backends that the store does not know are drained", e.Found.Unknown)
	}
	return text
}

func (e SlotsAdopted) Lines() []Log {
	return warn("the store is older than a switch, or was not written to it: "+
		"open connections stay where the switch has them",
		"switch", e.Switch, "slots", e.Found.Astray, "of", e.Found.Slots, "unknown_backends", e.Found.Unknown)
}

// SwitchOverdue: moves of pools go on without a switch that lacks what was decided.
type SwitchOverdue struct {
	Switch string
	Away   bool          // or it is connected, and does not take what it is told
	For    time.Duration // for how long
	Pools  []config.Pool
}

func (e SwitchOverdue) Text() string {
	is := "has not taken what was decided"
	if e.Away {
		is = "is away"
	}
	return fmt.Sprintf("switch %s %s for %v: moves of %s go on without it. When it is back, slots that have settled "+
		"meanwhile go to their new backend there at once, and connections that it still has to another one break",
		e.Switch, is, e.For, e.pools())
}

func (e SwitchOverdue) Lines() []Log {
	return warn("moves go on without a switch that has lagged for longer than drain_limit",
		"switch", e.Switch, "away", e.Away, "for", e.For, "pools", e.pools())
}

func (e SwitchOverdue) pools() string {
	var names []string
	for _, pool := range e.Pools {
		names = append(names, pool.Name)
	}
	return text.List(names, Few)
}

// SwitchInLine: a switch that moves went on without has caught up.
type SwitchInLine struct{ Switch string }

func (e SwitchInLine) Text() string {
	return fmt.Sprintf("switch %s has caught up, and holds all that was decided: moves wait for it as before", e.Switch)
}

func (e SwitchInLine) Lines() []Log {
	return info("a switch that moves went on without has caught up", "switch", e.Switch)
}

// VIPClaimed: a host says by ARP that it has a VIP, or asks for its neighbours as if it had.
type VIPClaimed struct {
	Claim
	Also string // what else came since the last such event, empty: nothing
}

func (e VIPClaimed) Text() string {
	who := e.MAC.String()
	if e.Disowned {
		if e.Backend != "" {
			who = fmt.Sprintf("%v (%s: arp_announce=2 is missing there)", e.MAC, e.Backend)
		}
		return fmt.Sprintf(
			"%s asks for its neighbours as VIP %v on port %d of %s: forwarded without the VIP, %d so far%s",
			who, e.VIP, e.Port, e.Switch, e.Times, also(e.Also))
	}
	if e.Backend != "" {
		who = fmt.Sprintf("%v (%s: it must not answer ARP for the VIP)", e.MAC, e.Backend)
	}
	return fmt.Sprintf("%s claims VIP %v on port %d of %s: dropped, %d so far%s",
		who, e.VIP, e.Port, e.Switch, e.Times, also(e.Also))
}

func (e VIPClaimed) Lines() []Log {
	what := "somebody claims a VIP"
	if e.Disowned {
		what = "somebody asks for its neighbours as a VIP"
	}
	return warn(what, "vip", e.VIP.String(), "mac", e.MAC.String(), "switch", e.Switch, "port", e.Port,
		"backend", e.Backend, "times", e.Times, "also", e.Also)
}

// StationMoved: a station shows at another port.
type StationMoved struct {
	Switch   string
	MAC      packet.MAC
	Backend  string // of the intent, pool/backend, whose MAC it is; empty: nobody's
	From, To uint16
	Times    uint64
	Also     string // as of VIPClaimed
}

func (e StationMoved) Text() string {
	who := e.MAC.String()
	if e.Backend != "" {
		who = fmt.Sprintf("%v (%s)", e.MAC, e.Backend)
	}
	return fmt.Sprintf("%s moved from port %d to port %d of %s%s", who, e.From, e.To, e.Switch, also(e.Also))
}

func (e StationMoved) Lines() []Log {
	return info("station moved", "mac", e.MAC.String(), "backend", e.Backend, "switch", e.Switch, "from", e.From,
		"to", e.To, "times", e.Times, "also", e.Also)
}

// StationsFull: a switch has no room to learn a station.
type StationsFull struct {
	Switch string
	Port   uint16
	MAC    packet.MAC
	Reason string // empty: it is not known
	Also   string // as of VIPClaimed
}

func (e StationsFull) Text() string {
	return fmt.Sprintf("%s does not learn %v on port %d: frames to it are flooded%s%s",
		e.Switch, e.MAC, e.Port, also(e.Reason), also(e.Also))
}

func (e StationsFull) Lines() []Log {
	return warn("stations are not learned: frames to them are flooded", "switch", e.Switch, "port", e.Port,
		"mac", e.MAC.String(), "reason", e.Reason, "also", e.Also)
}

// PortChanged: a port of the intent went down, or is up again.
type PortChanged struct {
	Switch   string
	Port     Port
	Backends []string // behind it
	Changes  int      // since the last such event
}

func (e PortChanged) Text() string {
	says := fmt.Sprintf("port %d (%s) of %s is %s", e.Port.ID, e.Port.Name, e.Switch,
		strings.ReplaceAll(e.Port.State, "_", " "))
	if e.Port.Reason != "" {
		says += ": " + e.Port.Reason
	}
	if len(e.Backends) > 0 {
		says += "; behind it: " + text.List(e.Backends, Few)
	}
	if e.Changes > 1 {
		says += fmt.Sprintf("; it has changed %d times since the last such notice", e.Changes)
	}
	return says
}

func (e PortChanged) Lines() []Log {
	line, is := info, "a port is up again"
	if e.Port.State != "up" {
		line, is = warn, "a port is not up"
	}
	return line(is, "switch", e.Switch, "port", e.Port.ID, "name", e.Port.Name, "state", e.Port.State,
		"reason", e.Port.Reason, "backends", text.List(e.Backends, Few), "changes", e.Changes)
}

// StationSpoofed: somebody passes for a pinned station.
type StationSpoofed struct{ Spoof }

func (e StationSpoofed) Text() string { return fmt.Sprintf("%s: dropped%s", e.Pretence(), e.hint()) }

func (e StationSpoofed) Lines() []Log {
	if e.Address.IsValid() {
		return warn("somebody says by ARP that he has the address of a station", "mac", e.MAC.String(),
			"sender", e.Sender, "address", e.Address.String(), "station", e.Station,
			"station_mac", e.stationMAC(), "switch", e.Switch,
			"port", e.Port)
	}
	return warn("somebody sends under the MAC of a pinned station", "mac", e.MAC.String(), "station", e.Station,
		"station_port", e.StationPort, "switch", e.Switch, "port", e.Port)
}

// stationMAC is empty where nobody has the address any more.
func (e StationSpoofed) stationMAC() string {
	if e.Station == "" {
		return ""
	}
	return e.StationMAC.String()
}

// hint says what to do if nobody pretends.
func (e StationSpoofed) hint() string {
	switch {
	case e.Station == "":
		return ""
	case e.Address.IsValid():
		return fmt.Sprintf("; its mac is %v, and if that has changed the configuration must say so", e.StationMAC)
	case e.StationPort == 0:
		return ""
	}
	return fmt.Sprintf("; its switch_port is %d, and if it has moved the configuration must say so", e.StationPort)
}

// Pretence says who passes for whom.
func (s Spoof) Pretence() string {
	if s.Address.IsValid() {
		whose := s.Address.String()
		if s.Station != "" {
			whose += ", the address of " + s.Station
		}
		who := s.MAC.String()
		if s.Sender != "" {
			who = fmt.Sprintf("%s (%v)", s.Sender, s.MAC)
		}
		return fmt.Sprintf("%s on port %d of %s says by ARP that it has %s", who, s.Port, s.Switch, whose)
	}
	whose := s.MAC.String()
	if s.Station != "" {
		whose += ", the MAC of " + s.Station
	}
	return fmt.Sprintf("somebody on port %d of %s sends as %s", s.Port, s.Switch, whose)
}

// also appends what else there is to say, if anything.
func also(more string) string {
	if more == "" {
		return ""
	}
	return "; " + more
}

func joinKeys(keys []plan.BackendKey) string {
	var names []string
	for _, k := range keys {
		names = append(names, k.String())
	}
	slices.Sort(names)
	return text.List(names, Few)
}
