package rpc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"github.com/sluicelb/sluice/internal/rpc/endpoint"
)

// Client calls a Connect server. It connects when it is used, and again after a loss.
type Client struct {
	Address string // as given to Dial, for messages
	URL     string // what the generated constructors of clients take, with HTTP

	transport *http.Transport
	refused   atomic.Pointer[RefusedError] // what the connection that was tried last ended with; nil: it was let in
}

// Dial returns a client. It does not connect: a server that is not there shows on the first call, with
// connect.CodeUnavailable, and so does one that is not to be trusted, or that does not trust this process.
func Dial(address string, sec Security) (*Client, error) {
	e, err := sec.parse(address)
	if err != nil {
		return nil, err
	}
	url := "http://" + e.Address // also with TLS, which is a layer below
	if e.Unix() {
		url = "http://sluice"
	}
	client := &Client{Address: address, URL: url}
	sec.Refused = client.refused.Store
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			client.refused.Store(nil)
			return DialEndpoint(ctx, e, sec)
		},
		Protocols: new(http.Protocols),
		// A server that vanished without closing its connections is noticed.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 5 * time.Second},
	}
	t.Protocols.SetUnencryptedHTTP2(true)
	client.transport = t
	return client, nil
}

// HTTP is what the generated constructors of clients take, with URL.
func (c *Client) HTTP() *http.Client { return &http.Client{Transport: c} }

// RoundTrip implements http.RoundTripper. Where a connection ended because one end does not believe the other, it says
// so.
func (c *Client) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.transport.RoundTrip(r)
	if err == nil {
		c.refused.Store(nil)
	} else if refused := c.refused.Load(); refused != nil && r.Context().Err() == nil {
		err = refused
	}
	return resp, err
}

// Options are for the generated constructors of clients: they hold what the server says to these bounds, however it
// is compressed, which is not at all.
func (c *Client) Options(bytes, items int) connect.ClientOption {
	return connect.WithClientOptions(
		connect.WithAcceptCompression("gzip", nil, nil),
		connect.WithReadMaxBytes(bytes),
		connect.WithCodec(binary{items}))
}

// Close lets go of the connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// DialEndpoint connects. Before anything is said it makes sure, at a unix socket, that root, this process's own user or
// the endpoint's serves it, and that nobody else could have put it there; with TLS, that the server has a certificate
// for its host, of an authority of the identity. That the server refuses this process's certificate shows in the first
// read, as a RefusedError.
func DialEndpoint(ctx context.Context, e endpoint.Endpoint, sec Security) (net.Conn, error) {
	if _, err := sec.parse(e.String()); err != nil {
		return nil, err
	}
	var dialer net.Dialer
	if !e.Unix() {
		c, err := dialer.DialContext(ctx, "tcp", e.Address)
		if err != nil {
			return nil, err
		}
		if !e.TLS {
			return &plainConn{Conn: c, endpoint: e, refused: sec.Refused}, nil
		}
		return dialTLS(ctx, c, e, sec)
	}
	trusted := []uint32{0, uint32(os.Geteuid())}
	if e.User != "" {
		id, err := userID(e.User)
		n, notNumber := strconv.ParseUint(id, 10, 32)
		if err != nil || notNumber != nil {
			return nil, fmt.Errorf("%s: this system has no user %q", e, e.User)
		}
		trusted = append(trusted, uint32(n))
	}
	if err := checkPath(e.Address, trusted); err != nil {
		return nil, err
	}
	c, err := dialer.DialContext(ctx, "unix", e.Address)
	if err != nil {
		return nil, denied(err, e.Address)
	}
	if credentials {
		server := callerOf(c)
		if server.Err != nil || !slices.Contains(trusted, server.UID) {
			c.Close()
			return nil, distrust(e.Address, "it is served by", server)
		}
	}
	return c, nil
}

func distrust(path, what string, who Caller) error {
	if who.Err != nil {
		return fmt.Errorf("%s is not trusted: %w", path, who.Err)
	}
	return fmt.Errorf("%s is not trusted: %s %s, must be root or the caller; behind the path, ?user=NAME names another",
		path, what, who.name())
}

// checkPath looks at a socket and the directory that it is in: who may put a socket there may answer in its name.
func checkPath(path string, trusted []uint32) error {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // connecting says so
	}
	if err != nil {
		return err
	}
	switch mode := info.Mode(); {
	case !slices.Contains(trusted, ownerOf(info)):
		return distrust(path, "its directory belongs to", Caller{UID: ownerOf(info)})
	case mode.Perm()&0o002 != 0 && mode&fs.ModeSticky == 0:
		return fmt.Errorf("%s is not trusted: everybody may write to its directory", path)
	}
	info, err = os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%s is no socket", path)
	case !slices.Contains(trusted, ownerOf(info)):
		return distrust(path, "it belongs to", Caller{UID: ownerOf(info)})
	}
	return nil
}

// denied says why a socket does not let this user connect.
func denied(err error, path string) error {
	info, unseen := os.Lstat(path)
	if !errors.Is(err, syscall.EACCES) || unseen != nil {
		return err
	}
	return fmt.Errorf("%w: this socket is for others, owned by %s with mode %v: who serves it can give you a role",
		err, Caller{UID: ownerOf(info)}.name(), info.Mode().Perm())
}
