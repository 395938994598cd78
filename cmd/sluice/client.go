package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/urfave/cli/v2"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/internal/rpc"
)

// callTimeout bounds a call that does not wait for switches.
const callTimeout = 10 * time.Second

// controllerFlags name the controller that a command talks to, and how it is known who does.
func controllerFlags() []cli.Flag { return append([]cli.Flag{controllerFlag()}, tlsFlags()...) }

func controllerFlag() cli.Flag {
	return &cli.StringFlag{Name: "controller", EnvVars: []string{"SLUICE_CONTROLLER"}, Value: rpc.Find(api.RoleName),
		Usage: "`ADDRESS` of the controller's API: unix:/path, https://host:port, or loopback host:port"}
}

// withController runs f with a client, and turns what the client says into errors for people.
func withController(c *cli.Context, f func(ctx context.Context, client *api.Client) error) error {
	sec, err := dialSecurity(c, c.String("controller"), nil)
	if err != nil {
		return err
	}
	if err := sec.CheckDial(c.String("controller")); err != nil {
		return usageError(fmt.Errorf("--controller: %w", err))
	}
	client, err := api.Dial(c.String("controller"), sec)
	if err != nil {
		return usageError(fmt.Errorf("--controller: %w", err))
	}
	defer client.Close()
	return controllerDaemon.failure(client.Address, f(c.Context, client))
}

// callee is a daemon that commands ask.
type callee struct {
	name, one string // "no NAME answers", "is not ONE"
	advice    string
}

var (
	controllerDaemon = callee{"controller", "a controller",
		"--controller names another, `sluice controller --config FILE --data-dir DIR` starts one"}
	gslbDaemon = callee{"gslb", "gslb", "--socket names another, `sluice gslb --config FILE` starts one"}
)

// failure tells a daemon that refused from one that is not there.
func (d callee) failure(address string, err error) error {
	failed, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return err
	}
	if err := untrusted(err); err != nil {
		return unreachableError(fmt.Errorf("the %s: %w", d.name, err))
	}
	nobody := func(why string) error {
		return unreachableError(fmt.Errorf("no %s answers at %s%s; %s", d.name, address, why, d.advice))
	}
	switch code := failed.Code(); {
	case code == connect.CodeDeadlineExceeded:
		return nobody(fmt.Sprintf(": something accepts the connection, but says nothing within %v", callTimeout))
	case connect.IsWireError(failed), errors.Is(err, context.Canceled), strings.HasPrefix(failed.Message(),
		"marshal message:"):
		return refusal(failed)
	// The client has the second code for connections that break, too.
	case code == connect.CodeUnavailable, code == connect.CodeCanceled, errors.Is(err, io.ErrUnexpectedEOF):
		return nobody(fmt.Sprintf(" (%v)", failed.Unwrap()))
	}
	// Whatever else the client makes up is about answers that it does not understand.
	return unreachableError(fmt.Errorf("what answers at %s is not %s (%s); %s", address, d.one, failed.Message(),
		d.advice))
}

// refusal is what a daemon says to a request that it has understood. A name that it does not know and a value that it
// does not take are wrong in the command line.
func refusal(e *connect.Error) error {
	err := errors.New(e.Message())
	if code := e.Code(); code == connect.CodeNotFound || code == connect.CodeInvalidArgument {
		return usageError(err)
	}
	return err
}

// allowFlag gives roles to accounts.
func allowFlag(roles ...rpc.Role) cli.Flag {
	var names []string
	for _, r := range roles {
		names = append(names, string(r))
	}
	return &cli.StringSliceFlag{Name: "allow", Usage: "give a role to `ROLE=USER`, or to a group as ROLE=%GROUP: " +
		strings.Join(names, ", ") +
		"; may be repeated. Root and the own user have all of them"}
}

// access reads the flag.
func access(c *cli.Context, roles ...rpc.Role) (*rpc.Access, error) {
	members := make(map[rpc.Role][]string)
	for _, text := range c.StringSlice("allow") {
		role, who, _ := strings.Cut(text, "=")
		if !slices.Contains(roles, rpc.Role(role)) || strings.TrimPrefix(who, "%") == "" {
			return nil, fmt.Errorf("--allow: must be ROLE=USER or ROLE=%%GROUP with one of the roles %v, is %q", roles,
				text)
		}
		members[rpc.Role(role)] = append(members[rpc.Role(role)], who)
	}
	return rpc.NewAccess(members,
		func(r rpc.Role) string { return fmt.Sprintf("with --allow %s=NAME where it was started", r) }), nil
}
