package main

import (
	"context"
	"errors"
	"fmt"
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
				&cli.BoolFlag{Name: "wait", Usage: "return when no connection is left there"}},
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
			b, err = drainAndWait(ctx, client, c.String("pool"), args[0])
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

// drainAndWait watches events from before the drain begins, so that its end cannot be missed.
func drainAndWait(ctx context.Context, client *api.Client, pool, backend string) (*api.BackendStatus, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := client.WatchEvents(ctx, &api.WatchEventsRequest{})
	if err != nil {
		return nil, err
	}
	b, err := callSetAdmin(ctx, client, pool, backend, api.Admin_ADMIN_DRAIN)
	if err != nil || b.Drained {
		return b, err
	}
	for events.Receive() {
		e := events.Msg()
		if done := e.GetDrainDone(); done.GetPool() == b.Pool && done.GetBackend() == b.Name {
			b.Slots, b.MovingOut, b.Drained = 0, 0, true
			return b, nil
		}
		if a := e.GetAdmin(); a.GetPool() == b.Pool && a.GetBackend() == b.Name && a.GetAdmin() == api.Admin_ADMIN_ACTIVE {
			return nil, fmt.Errorf("%s/%s was taken back before it was drained", b.Pool, b.Name)
		}
	}
	if err := events.Err(); err != nil {
		return nil, err
	}
	return nil, errors.New("the controller stopped before the drain was complete; it goes on when the controller is back")
}

func adminText(b *api.BackendStatus) string {
	name := b.Pool + "/" + b.Name
	switch {
	case b.Drained:
		return name + " is drained: no connection is left there"
	case b.Admin == api.Admin_ADMIN_DRAIN:
		return fmt.Sprintf("%s drains: %d slots left, old connections in %d more", name, b.Slots, b.MovingOut)
	}
	return name + " takes new connections when it is up"
}

func backendTable(list []*api.BackendStatus) *textTable {
	t := newTextTable("POOL", "BACKEND", "ADDRESS", "PORT", "WEIGHT", "ADMIN", "HEALTH", "SLOTS", "IN", "OUT", "PACKETS", "REASON")
	for _, b := range list {
		packets := "-"
		if b.Packets != nil {
			packets = fmt.Sprint(b.Packets.Packets)
		}
		t.row(b.Pool, b.Name, b.Address, fmt.Sprint(b.SwitchPort), fmt.Sprint(b.Weight), adminWord(b), healthWord(b.Health),
			fmt.Sprint(b.Slots), fmt.Sprint(b.MovingIn), fmt.Sprint(b.MovingOut), packets, oneLine(b.Reason))
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
