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

// Serve answers on l until ctx ends, then closes it: streams end with ctx, calls under way get a
// moment to finish. Every protocol of Connect is served, over HTTP/1.1 and unencrypted HTTP/2.
func Serve(ctx context.Context, l net.Listener, c ControllerServiceHandler, h HealthServiceHandler) error {
	mux := http.NewServeMux()
	mux.Handle(NewControllerServiceHandler(c, connect.WithReadMaxBytes(16<<20)))
	mux.Handle(NewHealthServiceHandler(h, connect.WithReadMaxBytes(16<<20)))
	s := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
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
	err := s.Serve(l)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving the API: %w", err)
}
