//go:build !linux

package main

import "errors"

var errNotLinux = errors.New("needs Linux network namespaces")

func enclose(string, string) error { return errNotLinux }
func inside(string, string) error  { return errNotLinux }
