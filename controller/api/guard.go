package api

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"connectrpc.com/connect"
)

// guard refuses what a web page makes a browser on this machine send: requests for a name that only
// resolves to here (DNS rebinding), and those that come from another origin. Browsers cannot reach a unix
// socket, where the host is a placeholder.
func guard(network string, next http.Handler) http.Handler {
	errs := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := checkOrigin(r)
		if err == nil && network != "unix" {
			err = checkHost(r.Host)
		}
		switch {
		case err == nil:
			next.ServeHTTP(w, r)
		case errs.IsSupported(r):
			_ = errs.Write(w, r, connect.NewError(connect.CodePermissionDenied, err)) // the caller is gone
		default:
			http.Error(w, err.Error(), http.StatusForbidden)
		}
	})
}

func checkHost(hostPort string) error {
	host := (&url.URL{Host: hostPort}).Hostname()
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("host %q: must be localhost or a loopback address", hostPort)
}

func checkOrigin(r *http.Request) error {
	for _, origin := range r.Header.Values("Origin") {
		if u, err := url.Parse(origin); err != nil || u.Host == "" || u.Host != r.Host {
			return fmt.Errorf("origin %q: must be this server, %q: web pages of others may not call it", origin, r.Host)
		}
	}
	return nil
}

// hurry gives callers m.body to send their requests. Streams over HTTP/1.1 are excepted: there the deadline
// would end the answer too.
func (m limits) hurry(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case ControllerServiceWatchEventsProcedure, ControllerServiceWatchVIPsProcedure, HealthServiceWatchChecksProcedure:
			if r.ProtoMajor == 1 {
				break
			}
			fallthrough
		default:
			if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(m.body)); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// limitedListener closes connections beyond as many as free has room for.
type limitedListener struct {
	net.Listener
	free chan struct{}
}

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.free <- struct{}{}:
			return &limitedConn{Conn: c, done: sync.OnceFunc(func() { <-l.free })}, nil
		default:
			c.Close()
		}
	}
}

type limitedConn struct {
	net.Conn
	done func()
}

func (c *limitedConn) Close() error {
	defer c.done()
	return c.Conn.Close()
}
