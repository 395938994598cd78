package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"
)

// Client calls a controller. It connects when it is used, and again after a loss.
type Client struct {
	ControllerServiceClient
	HealthServiceClient

	Address   string // as given to Dial, for messages
	transport *http.Transport
}

// Dial returns a client for "host:port", "http://host:port" (loopback only) or "unix:/path". It does
// not connect: an unreachable controller shows on the first call, see Unreachable.
func Dial(address string) (*Client, error) {
	e, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	base := "http://" + e.address
	if e.network == "unix" {
		base = "http://controller"
	}
	var dialer net.Dialer
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, e.network, e.address)
		},
		Protocols: new(http.Protocols),
		// A controller that vanished without closing its connections is noticed.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 5 * time.Second},
	}
	t.Protocols.SetUnencryptedHTTP2(true)
	hc := &http.Client{Transport: t}
	return &Client{
		ControllerServiceClient: NewControllerServiceClient(hc, base),
		HealthServiceClient:     NewHealthServiceClient(hc, base),
		Address:                 address,
		transport:               t,
	}, nil
}

// Close lets go of the connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

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
