//go:build !linux

package lab

import "errors"

var errNotLinux = errors.New("needs Linux network namespaces")

// Unavailable says why this machine cannot run a lab of namespaces.
func Unavailable() error { return errNotLinux }

// NewNamespaces refuses: there are none here.
func NewNamespaces(Switch) (Lab, error) { return nil, errNotLinux }
