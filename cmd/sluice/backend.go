package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/sluicelb/sluice/controller/api"
)

func poolFlag() cli.Flag {
	return &cli.StringFlag{Name: "pool", Usage: "`POOL` of the backend; needed when several pools have one of that name"}
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
			Flags:       []cli.Flag{controllerFlag(), &cli.StringFlag{Name: "pool", Usage: "only those of `POOL`"}, jsonFlag()},
			Action:      action(backendList),
		},
		{
			Name:      "drain",
			Usage:     "send new connections elsewhere; open ones stay until they end",
			ArgsUsage: "BACKEND",
			Flags: []cli.Flag{controllerFlag(), poolFlag(), jsonFlag(),
				&cli.BoolFlag{Name: "wait", Usage: "return when no connection is left there; tell the progress on standard error"}},
			Action: action(backendDrain, "BACKEND"),
		},
		{
			Name:      "undrain",
			Usage:     "take a drained backend back",
			ArgsUsage: "BACKEND",
			Flags:     []cli.Flag{controllerFlag(), poolFlag(), jsonFlag()},
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
		return backendTable(m.Backends).write(c.App.Writer)
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
		_, err = fmt.Fprintln(c.App.Writer, adminText(b))
		return err
	})
}

func callSetAdmin(ctx context.Context, client *api.Client, pool, backend string, admin api.Admin) (*api.BackendStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	m, err := client.SetBackendAdmin(ctx, &api.SetBackendAdminRequest{Pool: pool, Backend: backend, Admin: admin})
	return m.GetBackend(), err
}

// drainAndWait watches events from before the drain begins, so that its end cannot be missed. It tells
// progress what is left, each time that changes.
func drainAndWait(ctx context.Context, client *api.Client, pool, backend string, progress io.Writer) (*api.BackendStatus, error) {
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
			fmt.Fprintln(progress, text)
		}
		if !events.Receive() {
			return nil, waitEnded(ctx, b, events.Err())
		}
		e := events.Msg()
		if a := e.GetAdmin(); a.GetPool() == b.Pool && a.GetBackend() == b.Name && a.GetAdmin() == api.Admin_ADMIN_ACTIVE {
			return nil, fmt.Errorf("%s/%s was taken back before it was drained", b.Pool, b.Name)
		}
		if done := e.GetDrainDone(); done.GetPool() == b.Pool && done.GetBackend() == b.Name {
			b.Slots, b.MovingOut, b.Waiting, b.WaitingReason, b.Drained = 0, 0, 0, "", true
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
		return fmt.Errorf("interrupted: the drain of %s/%s goes on, `sluice backend undrain %s` takes it back", b.Pool, b.Name, b.Name)
	case err != nil:
		return err
	}
	return errors.New("the controller stopped before the drain was complete; it goes on when the controller is back")
}

// changesSlots says whether another number of slots may be left after the event, or for another reason.
func changesSlots(e *api.Event) bool {
	return e.GetSlotsMoved() != nil || e.GetSlotsSettled() != nil || e.GetReprogrammed() != nil || e.GetIntentApplied() != nil
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
	return nil, fmt.Errorf("%s/%s is no longer in the configuration; its connections stay until they end", b.Pool, b.Name)
}

func adminText(b *api.BackendStatus) string {
	name := b.Pool + "/" + b.Name
	switch {
	case b.Drained:
		return name + " is drained: no connection is left there"
	case b.Admin == api.Admin_ADMIN_DRAIN:
		text := fmt.Sprintf("%s drains: %d slots left, old connections in %d more", name, b.Slots, b.MovingOut)
		if b.Waiting > 0 {
			text += "; " + waitText(b.Waiting, b.WaitingReason)
		}
		return text
	}
	return name + " takes new connections when it is up"
}

func waitText(slots uint32, reason string) string {
	if slots == 1 {
		return "1 slot waits: " + reason
	}
	return fmt.Sprintf("%d slots wait: %s", slots, reason)
}

// reasonText is the verdict's reason, and why slots wait.
func reasonText(b *api.BackendStatus) string {
	reason := oneLine(b.Reason)
	if b.Waiting > 0 {
		if reason != "" {
			reason += "; "
		}
		reason += waitText(b.Waiting, b.WaitingReason)
	}
	return reason
}

func backendTable(list []*api.BackendStatus) *textTable {
	t := newTextTable("POOL", "BACKEND", "ADDRESS", "PORT", "WEIGHT", "ADMIN", "HEALTH", "SLOTS", "IN", "OUT", "PACKETS", "REASON")
	for _, b := range list {
		packets := "-"
		if b.Packets != nil {
			packets = fmt.Sprint(b.Packets.Packets)
		}
		t.row(b.Pool, b.Name, b.Address, fmt.Sprint(b.SwitchPort), fmt.Sprint(b.Weight), adminWord(b), healthWord(b.Health),
			fmt.Sprint(b.Slots), fmt.Sprint(b.MovingIn), fmt.Sprint(b.MovingOut), packets, reasonText(b))
	}
	return t
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
	}
	return "unknown"
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
