// Package api is the controller's API: messages, services, who may call what, and clients. The controller serves it;
// healthd, gslb and the command line call it. How its two ends find and trust each other is package rpc's matter, and
// every decision the controller's.
package api

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"github.com/sluicelb/sluice/internal/rpc"
)

//go:generate ./generate.sh

// RoleName stands for the controller in the name of its socket.
const RoleName = "controller"

// Bounds of the messages.
const (
	MaxIntent = 8 << 20 // bytes of an intent: config.MaxBytes
	// MaxVerdicts is how many verdicts a report may have: one for each backend that there may be, and for those that
	// an intent is about to lose.
	MaxVerdicts = 32768
	// MaxVIPs is how many VIPs a message of WatchVIPs may have: as many as there may be.
	MaxVIPs = 8192

	// What a client takes: the status of a controller at its limits, with a reason for each backend.
	maxAnswer, maxAnswerItems = 32 << 20, 1 << 18
)

// Methods is who may call what, and what a request may cost.
var Methods = rpc.Methods{
	ControllerServiceGetStatusProcedure:       {Role: rpc.Viewer},
	ControllerServiceGetIntentProcedure:       {Role: rpc.Viewer},
	ControllerServiceListBackendsProcedure:    {Role: rpc.Viewer},
	ControllerServiceApplyIntentProcedure:     {Role: rpc.Operator, Bytes: MaxIntent + 16<<10},
	ControllerServiceSetBackendAdminProcedure: {Role: rpc.Operator},
	ControllerServiceWatchEventsProcedure:     {Role: rpc.Viewer, Stream: true},
	ControllerServiceWatchVIPsProcedure:       {Role: rpc.GSLB, Stream: true},
	HealthServiceWatchChecksProcedure:         {Role: rpc.Healthd, Stream: true},
	// A verdict has a reason of some hundred bytes, and a time or two.
	HealthServiceReportVerdictsProcedure: {Role: rpc.Healthd, Bytes: 16 << 20, Items: 4 * MaxVerdicts},
}

// Serve answers on l until ctx ends, then closes it.
func Serve(ctx context.Context, l *rpc.Listener, c ControllerServiceHandler, h HealthServiceHandler) error {
	return rpc.Serve(ctx, l, Methods, Services(c, h)...)
}

// Services returns the services for rpc.Serve, for who serves others beside them.
func Services(c ControllerServiceHandler, h HealthServiceHandler) []rpc.Service {
	return []rpc.Service{
		rpc.Mount(NewControllerServiceHandler(c, Methods.Options())),
		rpc.Mount(NewHealthServiceHandler(h, Methods.Options())),
	}
}

// Client calls a controller. It connects when it is used, and again after a loss.
type Client struct {
	ControllerServiceClient
	HealthServiceClient
	*rpc.Client
}

// Dial returns a client for an address as rpc.Dial takes it. It does not connect: an unreachable controller shows on
// the first call, see Unreachable.
func Dial(address string, sec rpc.Security) (*Client, error) {
	c, err := rpc.Dial(address, sec)
	if err != nil {
		return nil, err
	}
	bounds := c.Options(maxAnswer, maxAnswerItems)
	return &Client{
		ControllerServiceClient: NewControllerServiceClient(c.HTTP(), c.URL, bounds),
		HealthServiceClient:     NewHealthServiceClient(c.HTTP(), c.URL, bounds),
		Client:                  c,
	}, nil
}

// Unreachable tells a call that no controller answered from one that a controller refused.
func Unreachable(err error) bool { return connect.CodeOf(err) == connect.CodeUnavailable }

// Problems returns the faults for which an intent was refused.
func Problems(err error) []*Problem {
	refused, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return nil
	}
	var problems []*Problem
	for _, d := range refused.Details() {
		if m, err := d.Value(); err == nil {
			if p, ok := m.(*Problem); ok {
				problems = append(problems, p)
			}
		}
	}
	return problems
}

// Text prints the problem as "file:line: path: message", without the parts it lacks.
func (p *Problem) Text() string {
	s := p.GetMessage()
	if p.GetPath() != "" {
		s = p.GetPath() + ": " + s
	}
	switch {
	case p.GetFile() != "" && p.GetLine() != 0:
		s = fmt.Sprintf("%s:%d: %s", p.GetFile(), p.GetLine(), s)
	case p.GetFile() != "":
		s = p.GetFile() + ": " + s
	}
	return s
}
