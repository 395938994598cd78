//go:build !linux

package namespaces

import (
	"context"
	"errors"

	"github.com/sluicelb/sluice/bmv2-tests/lab"
)

var errNotLinux = errors.New("needs Linux network namespaces")

// Machine is a host that cannot be.
type Machine struct{ lab.Host }

// Blast refuses.
func (*Machine) Blast(context.Context, [][]byte) error { return errNotLinux }

// Received refuses.
func (*Machine) Received() (uint64, error) { return 0, errNotLinux }

// Unavailable says why this machine cannot run a lab of namespaces.
func Unavailable() error { return errNotLinux }

// New refuses: there are none here.
func New(lab.Topology, lab.Switch[string]) (*lab.Lab[*Machine, string], error) {
	return nil, errNotLinux
}
