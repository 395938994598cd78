package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/urfave/cli/v2"

	"github.com/sluicelb/sluice/controller/api"
)

// controllerFlag names the controller that a command talks to.
func controllerFlag() cli.Flag {
	return &cli.StringFlag{Name: "controller", EnvVars: []string{"SLUICE_CONTROLLER"}, Value: api.DefaultAddress, Usage: "`ADDRESS` of the controller's API, or unix:/path"}
}

// withController runs f with a client, and turns what the client says into errors for people.
func withController(c *cli.Context, f func(ctx context.Context, client *api.Client) error) error {
	client, err := api.Dial(c.String("controller"))
	if err != nil {
		return usageError(fmt.Errorf("--controller: %w", err))
	}
	defer client.Close()
	return controllerError(client.Address, f(c.Context, client))
}

func controllerError(address string, err error) error {
	refused, ok := errors.AsType[*connect.Error](err)
	switch {
	case !ok:
		return err
	case api.Unreachable(err) && !connect.IsWireError(err):
		return unreachableError(fmt.Errorf("no controller answers at %s (%v); "+
			"--controller names another, `sluice controller --config FILE --data-dir DIR` starts one", address, refused.Unwrap()))
	}
	return errors.New(refused.Message())
}

// callTimeout bounds a call that does not wait for switches.
const callTimeout = 10 * time.Second
