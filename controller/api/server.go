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

// limits bound what callers can take of this process.
type limits struct {
	body        time.Duration // to read a request, after its headers
	connections int           // at a time; more are closed at once
}

var defaultLimits = limits{body: 30 * time.Second, connections: 256}

// Serve answers on l until ctx ends, then closes it: streams end with ctx, calls under way get a
// moment to finish. Every protocol of Connect is served, over HTTP/1.1 and unencrypted HTTP/2.
func Serve(ctx context.Context, l net.Listener, c ControllerServiceHandler, h HealthServiceHandler) error {
	return defaultLimits.serve(ctx, l, c, h)
}

func (m limits) serve(ctx context.Context, l net.Listener, c ControllerServiceHandler, h HealthServiceHandler) error {
	mux := http.NewServeMux()
	mux.Handle(NewControllerServiceHandler(c, connect.WithReadMaxBytes(16<<20)))
	mux.Handle(NewHealthServiceHandler(h, connect.WithReadMaxBytes(16<<20)))
	s := &http.Server{
		Handler:           guard(l.Addr().Network(), m.hurry(mux)),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       5 * time.Minute,
		Protocols:         new(http.Protocols),
		BaseContext:       func(net.Listener) context.Context { return ctx },
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
	err := s.Serve(&limitedListener{Listener: l, free: make(chan struct{}, m.connections)})
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving the API: %w", err)
}
