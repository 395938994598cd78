//go:build linux

package main

import (
	"context"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// vips accept the connections of keepalives, for all addresses of the loopback at once.
type vips struct {
	net.Listener
	port uint16
	done chan struct{}
}

func listenVIPs() (*vips, error) {
	lo := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		bad := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), "lo") })
		if err == nil {
			err = bad
		}
		return err
	}}
	l, err := lo.Listen(context.Background(), "tcp4", "0.0.0.0:0")
	if err != nil {
		return nil, err
	}
	v := &vips{Listener: l, port: l.Addr().(*net.TCPAddr).AddrPort().Port(), done: make(chan struct{})}
	go v.accept() // ends with Close
	return v, nil
}

func (v *vips) accept() {
	defer close(v.done)
	for {
		c, err := v.Accept()
		if err != nil {
			return
		}
		c.Close()
	}
}

func (v *vips) Close() error {
	err := v.Listener.Close()
	<-v.done
	return err
}
