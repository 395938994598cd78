package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
)

var statusCommand = &cli.Command{
	Name:  "status",
	Usage: "show switches, VIPs, pools and what happened last",
	Description: "Begins with what somebody should look at. The exit code is what monitoring expects:\n" +
		"0: all is well; 1: a warning, it works but not as it should; 2: critical, something does not work\n" +
		"(or the command line is not valid); 3: unknown, no controller tells.\n\n" +
		"Of a switch: ROWS are the table entries that it holds, STATIONS the hosts that it learned, WRITTEN\n" +
		"the changes since the controller began, REFUSED rows that the switch does not take, NOT FORWARDED\n" +
		"frames that it dropped because no service takes them.\n" +
		"Of a pool: SLOTS are the parts that its flows are split into, each a backend's; MOVING ones go to\n" +
		"another backend while old connections stay, UNOWNED ones have no backend, because none may take\n" +
		"them. EPOCHS are sets of slots that move together, of which four can be under way, one of them\n" +
		"kept for backends that go down. GENERATION counts how often the pool's slots were built anew.\n" +
		"Of a backend: SLOTS are where new connections go, IN those of them that still have old connections\n" +
		"elsewhere, OUT slots that went elsewhere with old connections still here, PINNED connections that stay\n" +
		"here whatever their slots say, as long as they live.\n" +
		"Of what was reprogrammed last: SURPLUS are moves that no lost or regained share explains, and there\n" +
		"should be none; MS is from the cause to the last switch.\n" +
		"LOAD is what gslb is told, 0 idle to 254 full; 255 means that no traffic may come.\n" +
		"With --json prints one sluice.v1.GetStatusResponse.",
	Flags: append(controllerFlags(), jsonFlag(),
		&cli.BoolFlag{Name: "exit-zero", Usage: "exit with 0 however things are, if only a controller answers"}),
	Action: action(runStatus),
}

func runStatus(c *cli.Context, _ []string) error {
	err := withController(c, func(ctx context.Context, client *api.Client) error {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		m, err := client.GetStatus(ctx, &api.GetStatusRequest{})
		if err != nil {
			return err
		}
		if c.Bool("json") {
			err = writeJSON(c.App.Writer, jsonMessage{m})
		} else {
			err = writeStatus(c.App.Writer, m)
		}
		if code := statusCode(m); err == nil && code != 0 && !c.Bool("exit-zero") {
			err = &exitError{code: code}
		}
		return err
	})
	if _, coded := errors.AsType[*exitError](err); err != nil && !coded {
		return unreachableError(err) // the code of other commands would say that it works
	}
	return err
}

// statusCode is the exit code of a status; 3 is for those who do not get one.
func statusCode(m *api.GetStatusResponse) int {
	worst := api.Concern_SEVERITY_UNSPECIFIED
	for _, c := range m.Concerns {
		worst = max(worst, c.Severity)
	}
	switch worst {
	case api.Concern_SEVERITY_CRITICAL:
		return exitCritical
	case api.Concern_SEVERITY_WARNING:
		return exitWarning
	}
	return 0
}

// writeStatus prints what somebody should look at, then one section for each kind of thing; those without content are
// left out.
func writeStatus(w io.Writer, m *api.GetStatusResponse) error {
	now := m.Time.AsTime()
	for _, c := range m.Concerns {
		fmt.Fprintf(w, "%-14s %s\n", strings.TrimPrefix(c.Severity.String(), "SEVERITY_"), oneLine(c.Text))
	}
	if len(m.Concerns) == 0 {
		fmt.Fprintln(w, "OK             all is well")
	}
	health := "not connected"
	switch {
	case m.HealthConnected && m.HealthReportedAt != nil:
		health = "last report " + ago(now, m.HealthReportedAt)
	case m.HealthConnected:
		health = "connected"
	case m.HealthReportedAt != nil:
		health = fmt.Sprintf("not connected: its verdicts of %s stand", ago(now, m.HealthReportedAt))
	}
	fmt.Fprintf(w, "configuration  revision %d, applied %s\nhealthd        %s\n", m.IntentRevision,
		ago(now, m.IntentAppliedAt), health)
	if m.Frozen != "" {
		fmt.Fprintf(w, "FROZEN         %s\n", oneLine(m.Frozen))
	}
	var backends []*api.BackendStatus
	for _, p := range m.Pools {
		backends = append(backends, p.Backends...)
	}
	for _, s := range []section{
		{switchTable(m, now), switchErrors(m.Switches)},
		{vipTable(m.Vips), nil},
		{poolTable(m.Pools), poolWaits(m.Pools)},
		{backendTable(backends, now), contradictions(backends)},
		{portTable(m.Switches, now), nil},
		{failedTable(m.Switches), nil},
		{claimTable(m.ArpClaims, now), nil},
		{spoofTable(m.Spoofs, now), nil},
		{reprogrammedTable(m.Reprogrammed, now), nil},
	} {
		if err := s.write(w); err != nil {
			return err
		}
	}
	return nil
}

// section is a table and what is too long for it, a line each.
type section struct {
	*textTable
	lines []string
}

func (s section) write(w io.Writer) error {
	if len(s.rows) == 1 {
		return nil
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return s.print(w)
}

// print is write where nothing is above it and no row is a result too.
func (s section) print(w io.Writer) error {
	if err := s.textTable.write(w); err != nil {
		return err
	}
	for _, line := range s.lines {
		if _, err := fmt.Fprintln(w, oneLine(line)); err != nil {
			return err
		}
	}
	return nil
}

func switchTable(m *api.GetStatusResponse, now time.Time) *textTable {
	t := newTextTable("SWITCH", "ADDRESS", "STATE", "SINCE", "ROWS", "STATIONS", "WRITTEN", "REFUSED", "NOT FORWARDED")
	for _, s := range m.Switches {
		var tallies []string
		for _, name := range slices.Sorted(maps.Keys(s.Tallies)) {
			tallies = append(tallies, fmt.Sprintf("%s %d", name, s.Tallies[name].Packets))
		}
		t.row(s.Name, s.Address, stateWord(s.State), ago(now, s.Since), fmt.Sprint(s.RowsHeld), fmt.Sprint(s.Stations),
			fmt.Sprint(s.EntriesWritten), fmt.Sprint(s.FailedTotal), strings.Join(tallies, ", "))
	}
	return t
}

func switchErrors(list []*api.SwitchStatus) []string {
	var lines []string
	for _, s := range list {
		if s.Error != "" {
			lines = append(lines, s.Name+": "+oneLine(s.Error))
		}
		if s.Unmetered != "" {
			lines = append(lines,
				s.Name+": does not meter what it sends up, a host can flood the controller: "+oneLine(s.Unmetered))
		}
		if s.StationsFull != "" {
			lines = append(lines, s.Name+": new stations are not learned, frames to them are flooded: "+
				oneLine(s.StationsFull))
		}
		for _, name := range slices.Sorted(maps.Keys(s.Mended)) {
			lines = append(lines, fmt.Sprintf("%s: %s %d: forwarded, but changed", s.Name, name,
				s.Mended[name].Packets))
		}
		switch {
		case s.PortsUntold != "" && len(s.Ports) > 0:
			lines = append(lines, fmt.Sprintf("%s: nothing more is heard of its ports: %s", s.Name,
				oneLine(s.PortsUntold)))
		case s.PortsUntold != "":
			lines = append(lines, fmt.Sprintf("%s: its ports are not known: %s", s.Name, oneLine(s.PortsUntold)))
		}
		if s.PortsNote != "" {
			lines = append(lines, fmt.Sprintf("%s: its ports, by %s: %s", s.Name, cmp.Or(s.PortsWay, "gNMI"),
				oneLine(s.PortsNote)))
		}
	}
	return lines
}

func poolWaits(list []*api.PoolStatus) []string {
	var lines []string
	for _, p := range list {
		if p.Held != "" {
			lines = append(lines, p.Name+": HELD: "+oneLine(p.Held))
		}
		if p.Waiting > 0 {
			lines = append(lines, p.Name+": "+waitText(p.Waiting, p.WaitingReason))
		}
	}
	return lines
}

func vipTable(list []*api.VIPStatus) *textTable {
	t := newTextTable("VIP", "ADDRESS", "PORT", "POOL", "STATE", "LOAD", "PACKETS", "REASON")
	for _, v := range list {
		packets := ""
		if v.Packets != nil {
			packets = fmt.Sprint(v.Packets.Packets)
		}
		t.row(v.Name, v.Address, fmt.Sprintf("%d/%s", v.Port, v.Protocol), v.Pool, stateWord(v.State),
			fmt.Sprint(v.Load),
			packets, v.Reason)
	}
	return t
}

func poolTable(list []*api.PoolStatus) *textTable {
	t := newTextTable("POOL", "SLOTS", "MOVING", "UNOWNED", "EPOCHS", "GENERATION", "VIPS")
	for _, p := range list {
		t.row(p.Name, fmt.Sprint(p.Slots), fmt.Sprint(p.Moving), fmt.Sprint(p.Unowned), fmt.Sprint(p.Epochs),
			fmt.Sprint(p.Generation), strings.Join(p.Vips, ", "))
	}
	return t
}

func portTable(list []*api.SwitchStatus, now time.Time) *textTable {
	t := newTextTable("SWITCH", "PORT", "INTERFACE", "STATE", "RECEIVED", "DROPPED", "SENT", "DROPPED", "REASON")
	for _, s := range list {
		for _, p := range s.Ports {
			reason := p.Reason
			if p.ReasonAt != nil {
				reason += ", " + ago(now, p.ReasonAt)
			}
			state := strings.ReplaceAll(p.State, "_", " ")
			if p.Stale {
				state += ", heard " + ago(now, p.Heard)
			}
			t.row(s.Name, fmt.Sprint(p.Id), p.Name, state, fmt.Sprint(p.Received), fmt.Sprint(p.ReceivedDropped),
				fmt.Sprint(p.Sent), fmt.Sprint(p.SentDropped), reason)
		}
	}
	return t
}

func failedTable(list []*api.SwitchStatus) *textTable {
	t := newTextTable("SWITCH", "REFUSED UPDATE", "CODE", "ATTEMPTS", "MESSAGE")
	for _, s := range list {
		for _, f := range s.Failed {
			t.row(s.Name, f.Update, f.Code, fmt.Sprint(f.Attempts), oneLine(f.Message))
		}
		if more := s.FailedTotal - uint64(len(s.Failed)); len(s.Failed) > 0 && more > 0 {
			t.row(s.Name, fmt.Sprintf("and %d more", more), "", "", "")
		}
	}
	return t
}

func claimTable(list []*api.ARPClaim, now time.Time) *textTable {
	t := newTextTable("VIP CLAIMED", "BY", "HOW", "BACKEND", "SWITCH", "PORT", "TIMES", "LAST")
	for _, c := range list {
		mac := c.Mac
		if mac == "" {
			mac = "others"
		}
		how := "reply"
		if c.Disowned {
			how = "as sender of requests"
		}
		t.row(c.VipAddress, mac, how, c.Backend, c.Switch, fmt.Sprint(c.Port), fmt.Sprint(c.Count), ago(now, c.Last))
	}
	return t
}

func spoofTable(list []*api.Spoof, now time.Time) *textTable {
	t := newTextTable("SPOOFED", "STATION", "ITS PORT", "BY", "SWITCH", "FROM PORT", "TIMES", "LAST")
	for _, s := range list {
		port := "none"
		if s.StationPort != 0 {
			port = fmt.Sprint(s.StationPort)
		}
		spoofed, by := s.Mac, ""
		if s.Address != "" {
			spoofed, by = s.Address, cmp.Or(s.Sender, s.Mac)
		}
		t.row(spoofed, s.Station, port, by, s.Switch, fmt.Sprint(s.Port), fmt.Sprint(s.Frames), ago(now, s.Last))
	}
	return t
}

func reprogrammedTable(list []*api.Reprogrammed, now time.Time) *textTable {
	const most = 10
	t := newTextTable("REPROGRAMMED", "CAUSE", "MOVED", "SURPLUS", "WRITES", "MS", "SWITCHES")
	for _, r := range list[:min(most, len(list))] {
		t.row(ago(now, r.Time), r.Cause, fmt.Sprint(r.SlotsTotal), fmt.Sprint(r.SurplusMoves), fmt.Sprint(r.Writes),
			fmt.Sprintf("%.1f", r.ReprogramMs), strings.Join(r.Switches, ", "))
	}
	return t
}

// stateWord turns STATE_NO_BACKEND into "no backend".
func stateWord(s fmt.Stringer) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(s.String(), "STATE_")), "_", " ")
}

func ago(now time.Time, t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	d := max(now.Sub(t.AsTime()), 0)
	if d < time.Second {
		return "now"
	}
	return d.Round(time.Second).String() + " ago"
}
