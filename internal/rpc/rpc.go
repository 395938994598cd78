// Package rpc is how the processes of Sluice find and trust each other on one machine. It makes and owns local
// sockets (Listen), finds them (Socket, Find), connects to them and makes sure who listens (Dial, DialEndpoint), knows
// who calls (Caller) and what the caller may do (Access), and serves Connect services by that (Serve). Every role uses
// it: the API of the controller, P4Runtime of the embedded switch, the control socket of gslb, and whoever calls them.
//
// It knows no service: who may call what is a table that each service brings (Methods). What is said over a
// connection is the matter of its two ends. A network, which takes TLS, is not reached yet: addresses other than unix
// sockets and the loopback are refused by Listen and Dial.
package rpc

import (
	"errors"
	"fmt"

	"github.com/sluicelb/sluice/internal/rpc/endpoint"
)

// local reads an address that stays on this machine.
func local(address string) (endpoint.Endpoint, error) {
	e, err := endpoint.Parse(address)
	if err == nil && !e.Local() {
		err = errors.New("must be a loopback address or a unix socket: the API has no TLS yet, and without it is not offered to a network")
	}
	if err != nil {
		return e, fmt.Errorf("address %q: %w", address, err)
	}
	return e, nil
}

// Check says what is wrong with an address for Listen or, where port 0 is none, for Dial.
func Check(address string, anyPort bool) error {
	e, err := local(address)
	if anyPort {
		return err
	}
	if err == nil && !e.Unix() && e.Port() == 0 {
		err = &endpoint.PortError{Port: "0"}
	}
	if port, ok := errors.AsType[*endpoint.PortError](err); ok {
		return fmt.Errorf("address %q: %s", address, port.Text(1))
	}
	return err
}
