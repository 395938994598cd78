package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/rpc/endpoint"
)

// external connects to an etcd elsewhere. TLS is a layer of the connection below gRPC, as at every other way in and
// out, so that who serves is made sure of by the same rules: see rpc.DialEndpoint.
type external struct {
	security  rpc.Security
	endpoints map[string]endpoint.Endpoint // by host:port, as etcd's client calls them
	order     []string

	mu     sync.Mutex       // guards failed
	failed map[string]error // by host:port: what came of the last connection; nothing where etcd has said something
}

// dialExternal returns a client. It does not connect.
func dialExternal(cfg Config) (*external, *clientv3.Client, error) {
	x := &external{
		security:  cfg.Security,
		endpoints: make(map[string]endpoint.Endpoint), failed: make(map[string]error),
	}
	for _, text := range cfg.Endpoints {
		e, err := endpoint.Parse(text)
		if err != nil {
			return nil, nil, fmt.Errorf("address %q: %w", text, err)
		}
		x.endpoints[e.Address] = e
		x.order = append(x.order, e.Address)
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   x.order, // without https://, which etcd's client would do itself
		DialTimeout: cfg.Timeout,
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(x.dial)},
		Logger:      zap.New(&zapCore{log: cfg.Log}),
	})
	return x, client, err
}

func (x *external) dial(ctx context.Context, address string) (net.Conn, error) {
	c, err := rpc.DialEndpoint(ctx, x.endpoints[address], x.security)
	if err != nil {
		x.comes(address, err)
		return nil, err
	}
	return &connection{Conn: c, comes: func(err error) { x.comes(address, err) }}, nil
}

// comes notes what came of a connection.
func (x *external) comes(address string, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err == nil {
		delete(x.failed, address)
	} else if !errors.Is(err, context.Canceled) {
		x.failed[address] = err
	}
}

// connection tells what the first read comes to. With TLS 1.3 a refusal is heard there, and a server that waits for
// TLS ends a connection without it.
type connection struct {
	net.Conn
	comes func(error)
	begun bool // for who reads
}

func (c *connection) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.begun {
		return n, err
	}
	c.begun = true
	switch _, refused := errors.AsType[*rpc.RefusedError](err); {
	case n > 0:
		c.comes(nil)
	case refused:
		c.comes(err)
	case !errors.Is(err, net.ErrClosed):
		c.comes(fmt.Errorf("%s ended the connection before it said anything (%w): "+
			"where it speaks TLS, the address must begin with https://", c.RemoteAddr(), err))
	}
	return n, err
}

// because adds to the error of an etcd that does not answer what came of the connections to it, where that is why.
// x may be nil: the embedded one needs none.
func (x *external) because(err error) error {
	if x == nil || !errors.Is(err, ErrUnavailable) {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, address := range x.order {
		if why := x.failed[address]; why != nil {
			err = fmt.Errorf("%w: %w", err, why)
		}
	}
	return err
}
