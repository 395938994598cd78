package controller

import (
	"cmp"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/plan"
)

const (
	changesKept    = 32
	movesTold      = 64   // in a message; every one more costs each event that is remembered
	changesPending = 1024 // a switch that is connected and never done keeps no more
	// latestCause is how long ago what caused a change may have been detected: the time from an earlier
	// detection, reported by a healthd that was away, says nothing of how quick the change was.
	latestCause = time.Minute
)

// cause is why the plan was asked.
type cause struct {
	text     string
	detected time.Time         // by healthd; zero when no verdict was the cause, or long ago
	backends []plan.BackendKey // whose verdicts
}

// change follows one decision until every switch that was connected at the time has it.
type change struct {
	sequence uint64
	cause    cause
	decided  time.Time
	report   plan.Report
	waiting  map[string]bool // switches that do not have it yet
	switches []string        // those that do
	last     time.Time       // when the last row was written; not before decided
	writes   int
}

func newChange(sequence uint64, why cause, now time.Time, r plan.Report, views map[string]*view) *change {
	if now.Sub(why.detected) > latestCause {
		why.detected = time.Time{}
	}
	c := &change{sequence: sequence, cause: why, decided: now, last: now, report: r, waiting: make(map[string]bool)}
	for name, v := range views {
		if v.connected() {
			c.waiting[name] = true
		}
	}
	return c
}

// take looks at a switch's status. When the change is over, reached tells whether any switch has it:
// those that lose their connection get it with their next read-back, which is another story.
func (c *change) take(name string, s *device.Status) (over, reached bool) {
	if c.waiting[name] {
		switch {
		case s.State == device.Disconnected:
			delete(c.waiting, name)
		case s.Applied >= c.sequence:
			delete(c.waiting, name)
			c.switches = append(c.switches, name)
			c.writes += s.Writes
			if s.AppliedAt.After(c.last) {
				c.last = s.AppliedAt
			}
		}
	}
	return len(c.waiting) == 0, len(c.switches) > 0
}

func (c *change) message() *api.Reprogrammed {
	since := c.decided
	m := &api.Reprogrammed{
		Time:         timestamppb.New(c.last),
		Cause:        c.cause.text,
		DecidedAt:    timestamppb.New(c.decided),
		WriteMs:      milliseconds(c.last.Sub(c.decided)),
		Writes:       uint32(c.writes),
		Moves:        moves(c.report),
		MovesTotal:   uint32(len(c.report.Moves)),
		SlotsTotal:   slotsOf(c.report),
		SurplusMoves: uint32(c.report.Surplus),
		Switches:     slices.Sorted(slices.Values(c.switches)),
	}
	if !c.cause.detected.IsZero() {
		since = c.cause.detected
		m.DetectedAt = timestamppb.New(since)
	}
	m.ReprogramMs = milliseconds(c.last.Sub(since))
	for _, b := range c.cause.backends[:min(len(c.cause.backends), movesTold)] {
		m.Backends = append(m.Backends, b.String())
	}
	m.BackendsTotal = uint32(len(c.cause.backends))
	return m
}

// milliseconds is 0 at least: wall clocks may be set back.
func milliseconds(d time.Duration) float64 { return float64(max(d, 0)) / float64(time.Millisecond) }

// foremost returns the first few moves: those to nobody before all others, for they break flows.
func foremost(r plan.Report, most int) []plan.Move {
	moves := slices.Clone(r.Moves)
	slices.SortStableFunc(moves, func(a, b plan.Move) int { return cmp.Compare(min(len(a.To), 1), min(len(b.To), 1)) })
	return moves[:min(len(moves), most)]
}

func moves(r plan.Report) []*api.SlotMoves {
	var out []*api.SlotMoves
	for _, m := range foremost(r, movesTold) {
		out = append(out, &api.SlotMoves{Pool: m.Pool, From: m.From, To: m.To, Slots: uint32(m.Slots), Gradual: m.Gradual, Grace: m.Grace})
	}
	return out
}

func slotsOf(r plan.Report) (slots uint32) {
	for _, m := range r.Moves {
		slots += uint32(m.Slots)
	}
	return slots
}
