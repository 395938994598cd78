package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"
)

// Method says who may call a procedure, and what a call may cost.
type Method struct {
	Role   Role
	Stream bool // answers for as long as the caller likes
	// Talks says that the caller of a stream may go on to send: Bytes and Items are of each message. Who serves it
	// bounds how long the first one may take.
	Talks bool
	// Owner is the role whose holders rule what is asked, so that those who may only look must not keep them out:
	// IsOwner tells who serves it. Empty: nobody is told apart.
	Owner Role
	Bytes int // of the longest request; 0: 64 KiB
	Items int // messages and list items in it, which cost more than their bytes; 0: 1024
}

// Methods are the procedures of a service, as "/package.Service/Method". What is not there cannot be called.
type Methods map[string]Method

const (
	defaultBytes = 64 << 10
	defaultItems = 1024
)

func (m Method) bytes() int {
	if m.Bytes == 0 {
		return defaultBytes
	}
	return m.Bytes
}

func (m Method) items() int {
	if m.Items == 0 {
		return defaultItems
	}
	return m.Items
}

// Options are for the handlers of the service: they hold each request to its method's bounds. Compressed requests
// are refused: they save little, and what they may cost is work.
func (m Methods) Options() connect.HandlerOption {
	return connect.WithHandlerOptions(
		connect.WithCompression("gzip", nil, nil),
		connect.WithConditionalHandlerOptions(func(s connect.Spec) []connect.HandlerOption {
			method := m[s.Procedure]
			return []connect.HandlerOption{
				connect.WithReadMaxBytes(method.bytes()),
				connect.WithCodec(binary{method.items()}),
				connect.WithCodec(text{"json", method.items()}),
				connect.WithCodec(text{"json; charset=utf-8", method.items()}),
			}
		}))
}

// Service is a handler, and the path that it is for.
type Service struct {
	path    string
	handler http.Handler
}

// Mount makes a Service of what the generated constructors of handlers return.
func Mount(path string, handler http.Handler) Service { return Service{path, handler} }

// callTime is how long a caller may take to send a request, after its headers.
const callTime = 30 * time.Second

// Serve answers on l until ctx ends, then closes it: streams end with ctx, calls under way get a moment to finish.
// Every protocol of Connect is served, over HTTP/1.1 and unencrypted HTTP/2.
func Serve(ctx context.Context, l *Listener, methods Methods, services ...Service) error {
	return serve(ctx, l, methods, callTime, services)
}

func serve(ctx context.Context, l *Listener, methods Methods, within time.Duration, services []Service) error {
	mux := http.NewServeMux()
	for _, s := range services {
		mux.Handle(s.path, s.handler)
	}
	s := &http.Server{
		Handler: &door{
			methods: methods, access: l.access, anyHost: l.path != "" || l.endpoint.TLS, within: within, next: mux,
		},
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		Protocols:         new(http.Protocols),
		// A caller that vanished without closing its connection holds nothing for long.
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 64, SendPingTimeout: 15 * time.Second,
			PingTimeout: 15 * time.Second},
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, callerKey{}, CallerAt(c.RemoteAddr()))
		},
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
	return fmt.Errorf("serving %s: %w", l.Address(), err)
}

type (
	callerKey struct{}
	ownerKey  struct{}
)

// Owner makes ctx that of a call of who rules what is asked.
func Owner(ctx context.Context) context.Context { return context.WithValue(ctx, ownerKey{}, true) }

// IsOwner says whether ctx is that of a call of who rules what is asked.
func IsOwner(ctx context.Context) bool { return ctx.Value(ownerKey{}) != nil }
