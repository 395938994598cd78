package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/internal/text"
)

func poolFlag() cli.Flag {
	return &cli.StringFlag{Name: "pool",
		Usage: "`POOL` of the backend; needed when several pools have one of that name"}
}

var backendCommand = &cli.Command{
	Name:   "backend",
	Usage:  "list backends, drain them and take them back",
	Action: group,
	Subcommands: []*cli.Command{
		{
			Name:        "list",
			Usage:       "list backends with their health and their slots",
			Description: "With --json prints one array of sluice.v1.BackendStatus.",
			Flags: append(controllerFlags(), &cli.StringFlag{Name: "pool", Usage: "only those of `POOL`"},
				jsonFlag()),
			Action: action(backendList),
		},
		{
			Name:      "drain",
			Usage:     "send new connections elsewhere; open ones stay until they end",
			ArgsUsage: "BACKEND",
			Flags: append(controllerFlags(), poolFlag(), jsonFlag(),
				&cli.BoolFlag{Name: "wait", Usage: "return when no slot leads there and open connections have ended " +
					"or were " +
					"silent for drain_idle; tell the progress on standard error"}),
			Action: action(backendDrain, "BACKEND"),
		},
		{
			Name:      "undrain",
			Usage:     "take a drained backend back",
			ArgsUsage: "BACKEND",
			Flags:     append(controllerFlags(), poolFlag(), jsonFlag()),
			Action:    action(backendUndrain, "BACKEND"),
		},
	},
}

func backendList(c *cli.Context, _ []string) error {
	return withController(c, func(ctx context.Context, client *api.Client) error {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		m, err := client.ListBackends(ctx, &api.ListBackendsRequest{Pool: c.String("pool")})
		if err != nil {
			return err
		}
		if c.Bool("json") {
			list := []any{}
			for _, b := range m.Backends {
				list = append(list, jsonMessage{b})
			}
			return writeJSON(c.App.Writer, list)
		}
		return section{backendTable(m.Backends, time.Now()), contradictions(m.Backends)}.print(c.App.Writer)
	})
}

func backendDrain(c *cli.Context, args []string) error {
	return setAdmin(c, args, api.Admin_ADMIN_DRAIN)
}

func backendUndrain(c *cli.Context, args []string) error {
	return setAdmin(c, args, api.Admin_ADMIN_ACTIVE)
}

func setAdmin(c *cli.Context, args []string, admin api.Admin) error {
	if len(args) == 0 {
		return usageError(fmt.Errorf("which BACKEND? `%s --help` tells the usage", c.Command.HelpName))
	}
	return withController(c, func(ctx context.Context, client *api.Client) error {
		var b *api.BackendStatus
		var err error
		if c.Bool("wait") {
			b, err = drainAndWait(ctx, client, c.String("pool"), args[0], c.App.ErrWriter)
		} else {
			b, err = callSetAdmin(ctx, client, c.String("pool"), args[0], admin)
		}
		if err != nil {
			return err
		}
		if c.Bool("json") {
			return writeJSON(c.App.Writer, jsonMessage{b})
		}
		_, err = fmt.Fprintln(c.App.Writer, oneLine(adminText(b)))
		return err
	})
}

func callSetAdmin(
	ctx context.Context, client *api.Client, pool, backend string, admin api.Admin,
) (*api.BackendStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	m, err := client.SetBackendAdmin(ctx, &api.SetBackendAdminRequest{Pool: pool, Backend: backend, Admin: admin})
	return m.GetBackend(), err
}

// drainAndWait watches events from before the drain begins, so that its end cannot be missed. It tells
// progress what is left, each time that changes.
func drainAndWait(
	ctx context.Context, client *api.Client, pool, backend string, progress io.Writer,
) (*api.BackendStatus, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := client.WatchEvents(ctx, &api.WatchEventsRequest{})
	if err != nil {
		return nil, err
	}
	b, err := callSetAdmin(ctx, client, pool, backend, api.Admin_ADMIN_DRAIN)
	if err != nil {
		return nil, err
	}
	told := ""
	for !b.Drained {
		if text := adminText(b); text != told {
			told = text
			fmt.Fprintln(progress, oneLine(text))
		}
		if !events.Receive() {
			return nil, waitEnded(ctx, b, events.Err())
		}
		e := events.Msg()
		if a := e.GetAdmin(); a.GetPool() == b.Pool && a.GetBackend() == b.Name &&
			a.GetAdmin() == api.Admin_ADMIN_ACTIVE {
			return nil, fmt.Errorf("%s/%s was taken back before it was drained", b.Pool, b.Name)
		}
		if done := e.GetDrainDone(); done.GetPool() == b.Pool && done.GetBackend() == b.Name {
			b.Slots, b.MovingOut, b.Pinned = 0, 0, 0
			b.Waiting, b.WaitingReason, b.Drained, b.Unwritten = 0, "", true, nil
			b.DrainForced, b.DrainForcedPinned = done.Forced, done.ForcedPinned
			for _, name := range done.Without {
				b.Unwritten = append(b.Unwritten, fmt.Sprintf("switch %s may still send connections there", name))
			}
			return b, nil
		}
		if changesSlots(e) {
			now, err := findBackend(ctx, client, b)
			if err != nil {
				return nil, waitEnded(ctx, b, err)
			}
			// That it is drained is true when the switches have it: then there is an event.
			now.Drained = false
			b = now
		}
	}
	return b, nil
}

// waitEnded is the error of a wait that ended before the drain did.
func waitEnded(ctx context.Context, b *api.BackendStatus, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted: the drain of %s/%s goes on, `sluice backend undrain %s` takes it back", b.Pool,
			b.Name, b.Name)
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF): // which is that of a controller that was killed
		return err
	}
	return errors.New("the controller stopped before the drain was complete; it goes on when the controller is back")
}

// changesSlots says whether another number of slots may be left after the event, or for another reason.
func changesSlots(e *api.Event) bool {
	return e.GetSlotsMoved() != nil || e.GetSlotsSettled() != nil || e.GetReprogrammed() != nil ||
		e.GetIntentApplied() != nil || e.GetSwitchAwaited() != nil
}

// findBackend returns what the backend is now.
func findBackend(ctx context.Context, client *api.Client, b *api.BackendStatus) (*api.BackendStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	m, err := client.ListBackends(ctx, &api.ListBackendsRequest{Pool: b.Pool})
	if err != nil {
		return nil, err
	}
	for _, now := range m.Backends {
		if now.Name == b.Name {
			return now, nil
		}
	}
	return nil, fmt.Errorf("%s/%s is no longer in the configuration; its connections stay until they end", b.Pool,
		b.Name)
}

func adminText(b *api.BackendStatus) string {
	name := b.Pool + "/" + b.Name
	switch {
	case b.Drained:
		return name + " is drained: " + drainedText(b) + unwrittenText(b)
	case b.Admin == api.Admin_ADMIN_DRAIN:
		is := fmt.Sprintf("%s drains: %d slots left, %d more still move, %d old connections are pinned", name, b.Slots,
			b.MovingOut, b.Pinned)
		if b.Waiting > 0 {
			is += "; " + waitText(b.Waiting, b.WaitingReason)
		}
		return is + unwrittenText(b)
	}
	return name + " takes new connections when it is up" + unwrittenText(b)
}

// drainedText says what is known: a switch has no table of connections, and hears nothing of those that are silent.
func drainedText(b *api.BackendStatus) string {
	switch {
	case b.DrainForced > 0 || b.DrainForcedPinned > 0:
		return fmt.Sprintf("no slot leads there any more; at the end of drain_limit %d connections were pinned "+
			"there, and "+
			"%d slots still moved: what was open broke", b.DrainForcedPinned, b.DrainForced)
	case b.Health == api.Health_HEALTH_DOWN || b.DrainIdle == nil:
		return "no slot leads there any more"
	}
	return fmt.Sprintf("no slot leads there any more, and no open connection sent a packet for %v (drain_idle)",
		b.DrainIdle.AsDuration())
}

func unwrittenText(b *api.BackendStatus) string {
	if len(b.Unwritten) == 0 {
		return ""
	}
	return "; not in effect yet: " + strings.Join(b.Unwritten, "; ")
}

func waitText(slots uint32, reason string) string {
	if slots == 1 {
		return "1 slot waits: " + reason
	}
	return fmt.Sprintf("%d slots wait: %s", slots, reason)
}

// reasonText is the verdict's reason, what speaks against believing it, and what becomes of slots.
func reasonText(b *api.BackendStatus, now time.Time) string {
	var parts []string
	if b.Reason != "" {
		parts = append(parts, b.Reason)
	}
	parts = append(parts, b.Ports...)
	if b.UncheckedReason != "" && b.UncheckedReason != b.Reason {
		parts = append(parts, "not checked: "+b.UncheckedReason)
	}
	if b.HealthStale || b.Healthd != "" {
		said := "said"
		if b.HealthStale {
			said = "last said"
		}
		if b.Healthd != "" {
			said += " by " + b.Healthd
		}
		parts = append(parts, said+" "+ago(now, b.Reported))
	}
	if b.GraceSlots > 0 {
		left := "does not end by itself"
		if b.GraceUntil != nil {
			left = max(b.GraceUntil.AsTime().Sub(now), 0).Round(time.Second).String()
		}
		parts = append(parts, fmt.Sprintf("grace %s, %d slots", left, b.GraceSlots))
	}
	if b.Waiting > 0 {
		parts = append(parts, waitText(b.Waiting, b.WaitingReason))
	}
	return strings.Join(parts, "; ")
}

// contradictions are what switches see that cannot be if the configuration is right.
func contradictions(list []*api.BackendStatus) (lines []string) {
	for _, b := range list {
		for _, line := range b.Contradictions {
			lines = append(lines, fmt.Sprintf("%s/%s: %s", b.Pool, b.Name, line))
		}
	}
	return lines
}

func backendTable(list []*api.BackendStatus, now time.Time) *textTable {
	t := newTextTable("POOL", "BACKEND", "ADDRESS", "PORT", "WEIGHT", "ADMIN", "HEALTH", "SLOTS", "IN", "OUT",
		"PINNED", "PACKETS", "REASON")
	for _, b := range list {
		packets := "-"
		if b.Packets != nil {
			packets = fmt.Sprint(b.Packets.Packets)
		}
		t.row(b.Pool, b.Name, b.Address, portText(b), fmt.Sprint(b.Weight), adminWord(b), healthWord(b.Health),
			fmt.Sprint(b.Slots), fmt.Sprint(b.MovingIn), fmt.Sprint(b.MovingOut), fmt.Sprint(b.Pinned), packets,
			reasonText(b, now))
	}
	return t
}

// portText is "3", or "leaf1:3 leaf2:5" where ports are given by switch.
func portText(b *api.BackendStatus) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(b.SwitchPorts)) {
		parts = append(parts, fmt.Sprintf("%s:%d", name, b.SwitchPorts[name]))
	}
	if len(parts) > 0 {
		return strings.ReplaceAll(text.List(parts, 4), ", ", " ")
	}
	return fmt.Sprint(b.SwitchPort)
}

func adminWord(b *api.BackendStatus) string {
	switch {
	case !b.Enabled:
		return "disabled"
	case b.Drained:
		return "drained"
	case b.Admin == api.Admin_ADMIN_DRAIN:
		return "draining"
	}
	return "active"
}

func healthWord(h api.Health) string {
	switch h {
	case api.Health_HEALTH_UP:
		return "up"
	case api.Health_HEALTH_DOWN:
		return "down"
	case api.Health_HEALTH_FAILING:
		return "failing"
	case api.Health_HEALTH_UNCHECKED:
		return "unchecked"
	}
	return "unknown"
}

func oneLine(s string) string { return text.Line(s) }
