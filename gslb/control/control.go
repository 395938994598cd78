// Package control is the local socket of `sluice gslb`: messages, the service, and how its two ends find each
// other and who may call what. The gslb process serves it, the command line calls it through Dial. What the answers
// are is the matter of package gslb.
package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"connectrpc.com/connect"
)

//go:generate ./generate.sh

// DefaultSocket is where the socket is unless told otherwise: /run/sluice-gslb.sock for root; for
// others in $XDG_RUNTIME_DIR, or else in the directory for temporary files, with the user's id.
func DefaultSocket() string {
	if os.Geteuid() == 0 {
		return "/run/sluice-gslb.sock"
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "sluice-gslb.sock")
	}
	return filepath.Join(os.TempDir(), "sluice-gslb-"+strconv.Itoa(os.Geteuid())+".sock")
}

// Listen opens the socket. On Linux everybody may connect, since Serve knows callers by their credentials; elsewhere
// it is for its owner alone. A socket file whose process is gone is replaced.
func Listen(path string) (*net.UnixListener, error) {
	fail := func(err error) (*net.UnixListener, error) {
		return nil, fmt.Errorf("opening the control socket: %w", err)
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return fail(fmt.Errorf("%s exists and is no socket", path))
		}
		switch c, err := net.Dial("unix", path); {
		case err == nil:
			c.Close()
			return fail(fmt.Errorf("another process listens on %s", path))
		case !errors.Is(err, syscall.ECONNREFUSED): // somebody may listen
			return fail(err)
		}
		if err := os.Remove(path); err != nil {
			return fail(err)
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		return fail(err)
	}
	if err := os.Chmod(path, socketMode); err != nil {
		l.Close()
		return fail(err)
	}
	return l, nil
}

// Serve answers on l until ctx ends, then closes it. Each method asks for its role.
func Serve(ctx context.Context, l *net.UnixListener, roles *Roles, h ControlServiceHandler) error {
	mux := http.NewServeMux()
	mux.Handle(NewControlServiceHandler(h, connect.WithReadMaxBytes(1<<20)))
	s := &http.Server{
		Handler:           roles.guard(mux),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       time.Minute,
		Protocols:         new(http.Protocols),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       withCaller,
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 250*time.Millisecond)
		defer cancel()
		err := s.Shutdown(grace)
		if err != nil {
			err = s.Close()
		}
		stopped <- err
	})
	err := s.Serve(l)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving the control socket: %w", err)
}

// Client calls a gslb process.
type Client struct {
	ControlServiceClient
	Socket    string
	transport *http.Transport
}

// Dial returns a client for the socket at path. It does not connect: a process that is not there shows on the
// first call, with connect.CodeUnavailable.
func Dial(path string) *Client {
	var dialer net.Dialer
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		},
		Protocols: new(http.Protocols),
	}
	t.Protocols.SetUnencryptedHTTP2(true)
	return &Client{NewControlServiceClient(&http.Client{Transport: t}, "http://gslb"), path, t}
}

// Close lets go of the connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }
