package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/urfave/cli/v2"

	"github.com/sluicelb/sluice/controller/api"
)

// callTimeout bounds a call that does not wait for switches.
const callTimeout = 10 * time.Second

// controllerFlag names the controller that a command talks to.
func controllerFlag() cli.Flag {
	return &cli.StringFlag{Name: "controller", EnvVars: []string{"SLUICE_CONTROLLER"}, Value: api.DefaultAddress, Usage: "`ADDRESS` of the controller's API, or unix:/path"}
}

// withController runs f with a client, and turns what the client says into errors for people.
func withController(c *cli.Context, f func(ctx context.Context, client *api.Client) error) error {
	if err := checkAPIAddress(c.String("controller"), 1); err != nil {
		return usageError(fmt.Errorf("--controller: %w", err))
	}
	client, err := api.Dial(c.String("controller"))
	if err != nil {
		return usageError(fmt.Errorf("--controller: %w", err))
	}
	defer client.Close()
	return controllerError(client.Address, f(c.Context, client))
}

// controllerError tells a controller that refused from one that is not there.
func controllerError(address string, err error) error {
	const advice = "--controller names another, `sluice controller --config FILE --data-dir DIR` starts one"
	failed, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return err
	}
	switch code := failed.Code(); {
	case code == connect.CodeDeadlineExceeded:
		return unreachableError(fmt.Errorf("no controller answers at %s: something accepts the connection, but says nothing within %v; %s", address, callTimeout, advice))
	case connect.IsWireError(failed), errors.Is(err, context.Canceled), strings.HasPrefix(failed.Message(), "marshal message:"):
		return errors.New(failed.Message())
	case api.Unreachable(err), code == connect.CodeCanceled: // the client has that code for connections that break, too
		return unreachableError(fmt.Errorf("no controller answers at %s (%v); %s", address, failed.Unwrap(), advice))
	}
	// Whatever else the client makes up is about answers that it does not understand.
	return unreachableError(fmt.Errorf("what answers at %s is not a controller (%s); %s", address, failed.Message(), advice))
}

// checkAPIAddress checks an address of the controller's API, which has least for its lowest port.
func checkAPIAddress(address string, least int) error {
	client, err := api.Dial(address)
	if err != nil {
		return err
	}
	client.Close()
	if strings.HasPrefix(address, "unix:") {
		return nil
	}
	_, port, err := net.SplitHostPort(strings.TrimSuffix(strings.TrimPrefix(address, "http://"), "/"))
	if err != nil {
		return err
	}
	return checkPort(address, port, least)
}

// checkPort checks the port of an address. Where something listens, port 0 is any that is free.
func checkPort(address, port string, least int) error {
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || int(n) < least {
		return fmt.Errorf("address %q: the port must be %d..65535, is %q", address, least, port)
	}
	return nil
}
