// Package api is the controller's API: messages, services, and how its two ends find each other. The
// controller serves it; healthd, gslb and the command line call it through Dial. It leaves every
// decision to the controller.
package api

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

//go:generate ./generate.sh

// DefaultAddress is where a controller listens unless told otherwise.
const DefaultAddress = "127.0.0.1:9680"

// endpoint is a parsed address: a unix socket's path, or host:port.
type endpoint struct{ network, address string }

// parseAddress reads "127.0.0.1:9680", "http://127.0.0.1:9680" or "unix:/run/sluice.sock". Nothing
// leaves this machine without mutual TLS, which the API does not speak yet, so other hosts are refused.
func parseAddress(s string) (endpoint, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		path = strings.TrimPrefix(path, "//")
		if path == "" {
			return endpoint{}, fmt.Errorf("address %q: must name a socket, as unix:/run/sluice.sock", s)
		}
		return endpoint{"unix", path}, nil
	}
	rest, _ := strings.CutPrefix(s, "http://")
	hostPort := strings.TrimSuffix(rest, "/")
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil || port == "" {
		return endpoint{}, fmt.Errorf("address %q: must be host:port or unix:/path, as %s", s, DefaultAddress)
	}
	if host != "localhost" {
		ip, err := netip.ParseAddr(host)
		if err != nil || !ip.IsLoopback() {
			return endpoint{}, fmt.Errorf("address %q: must be a loopback address or a unix socket: the API has no TLS yet, and without it is not offered to a network", s)
		}
	}
	return endpoint{"tcp", hostPort}, nil
}

// Listen opens the controller's socket. A unix socket is for its owner alone. A socket file whose
// process is gone is replaced.
func Listen(address string) (net.Listener, error) {
	e, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	if e.network == "unix" {
		return listenUnix(e.address)
	}
	l, err := net.Listen(e.network, e.address)
	if err != nil {
		return nil, fmt.Errorf("opening the API's socket: %w", err)
	}
	return l, nil
}
