// Package control is the control service of `sluice gslb`: messages, who may call what, and a client. The gslb
// process serves it, the command line calls it through Dial. How its two ends find and trust each other is package
// rpc's matter, and what the answers are is that of package gslb.
package control

import (
	"context"

	"github.com/sluicelb/sluice/internal/rpc"
)

//go:generate ./generate.sh

// RoleName is gslb's in the name of its socket.
const RoleName = "gslb"

// Methods is who may call what.
var Methods = rpc.Methods{
	ControlServiceGetStatusProcedure:    {Role: rpc.Viewer},
	ControlServiceExplainProcedure:      {Role: rpc.Viewer},
	ControlServiceQueryProcedure:        {Role: rpc.Viewer},
	ControlServiceSetSuspendedProcedure: {Role: rpc.Operator},
	ControlServiceReloadProcedure:       {Role: rpc.Operator},
}

// Access gives roles to those that the configuration names.
func Access(operators, viewers []string) *rpc.Access {
	return rpc.NewAccess(map[rpc.Role][]string{rpc.Operator: operators, rpc.Viewer: viewers}, func(r rpc.Role) string {
		return "under server.control." + string(r) + "s"
	})
}

// Serve answers on l until ctx ends, then closes it.
func Serve(ctx context.Context, l *rpc.Listener, h ControlServiceHandler) error {
	return rpc.Serve(ctx, l, Methods, rpc.Mount(NewControlServiceHandler(h, Methods.Options())))
}

// Client calls a gslb process.
type Client struct {
	ControlServiceClient
	*rpc.Client
}

// What a client takes: the status of a gslb at the limits of its configuration.
const maxAnswer, maxAnswerItems = 256 << 20, 1 << 22

// Dial returns a client for an address, as rpc.Dial takes it. It does not connect: a process that is
// not there shows on the first call, with connect.CodeUnavailable.
func Dial(address string, sec rpc.Security) (*Client, error) {
	c, err := rpc.Dial(address, sec)
	if err != nil {
		return nil, err
	}
	return &Client{NewControlServiceClient(c.HTTP(), c.URL, c.Options(maxAnswer, maxAnswerItems)), c}, nil
}
