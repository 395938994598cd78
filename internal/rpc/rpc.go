// Package rpc is how the processes of Sluice find and trust each other. It makes and owns sockets (Listen), finds local
// ones (Socket, Find), connects and makes sure who listens (Dial, DialEndpoint), knows who calls (Caller) and what the
// caller may do (Access), and serves Connect services by that (Serve). Every role uses it: the API of the controller,
// P4Runtime of the embedded switch, the control socket of gslb, and whoever calls them.
//
// On one machine the kernel says who the other end is. Through a network it takes TLS, where each end shows a
// certificate (Identity): the server's is for its host, the client's has its roles. TLS is a layer of the connection
// below HTTP and gRPC, so that what bounds them is the same with it and without.
//
// It knows no service: who may call what is a table that each service brings (Methods). What is said over a
// connection is the matter of its two ends.
package rpc

import (
	"errors"
	"fmt"

	"github.com/sluicelb/sluice/internal/rpc/endpoint"
)

// Security is what a process brings to connections that leave the machine. The zero value stays on it.
type Security struct {
	Identity *Identity // for https addresses; nil: none can be used
	// Plaintext allows plain text beyond this machine, for an end that has no TLS. Only flags that name the danger set
	// it.
	Plaintext bool
	// Danger ends the error for plain text that is not allowed: what comes of it, and what allows it. "": nothing does.
	Danger string
	// Oldest is the oldest version of TLS that may be spoken to a server, as crypto/tls has it; 0: TLS 1.3, for servers
	// of Sluice's own.
	Oldest uint16
	// Refused hears of a connection where one end does not believe the other: those who read for HTTP/2 do not always
	// pass on what they hear. It may be nil.
	Refused func(*RefusedError)
}

// parse reads an address that this process may use.
func (s Security) parse(address string) (endpoint.Endpoint, error) {
	e, err := endpoint.Parse(address)
	switch {
	case err != nil:
	case e.TLS && s.Identity == nil:
		err = errors.New("needs --tls-ca, and --tls-cert with --tls-key: without them nobody is known there")
	case !e.TLS && !e.Local() && !s.Plaintext:
		err = errors.New("plain text stays on this machine: must be https://host:port, a unix socket or a loopback " +
			"address")
		if s.Danger != "" {
			err = fmt.Errorf("%w; %s", err, s.Danger)
		}
	}
	if err != nil {
		return e, &AddressError{address, err}
	}
	return e, nil
}

// AddressError says why this process may not use an address, whoever is there.
type AddressError struct {
	Address string
	err     error
}

func (e *AddressError) Error() string { return fmt.Sprintf("address %q: %v", e.Address, e.err) }
func (e *AddressError) Unwrap() error { return e.err }

// CheckListen says what is wrong with an address for Listen.
func (s Security) CheckListen(address string) error {
	e, err := s.parse(address)
	if err == nil && e.TLS {
		if err = s.Identity.mayServe(); err != nil {
			return &AddressError{address, err}
		}
	}
	return err
}

// CheckDial says what is wrong with an address for Dial.
func (s Security) CheckDial(address string) error {
	e, err := s.parse(address)
	switch {
	case err != nil:
	case !e.Unix() && e.Port() == 0:
		err = &endpoint.PortError{Port: "0"}
	case !e.Unix() && e.Host() == "":
		err = &AddressError{address, errors.New("must have a host before the port")}
	}
	if port, ok := errors.AsType[*endpoint.PortError](err); ok {
		return &AddressError{address, errors.New(port.Text(1))}
	}
	return err
}
