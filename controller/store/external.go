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

// external connects to an etcd elsewhere. TLS is a layer of the connection below gRPC, as at every other way in and out,
// so that who serves is made sure of by the same rules: see rpc.DialEndpoint.
type external struct {
	security  rpc.Security
	endpoints map[string]endpoint.Endpoint // by host:port, as etcd's client calls them
	order     []string

	mu      sync.Mutex // guards refused
	refused map[string]*rpc.RefusedError
}

// dialExternal returns a client. It does not connect.
func dialExternal(cfg Config) (*external, *clientv3.Client, error) {
	x := &external{
		security:  cfg.Security,
		endpoints: make(map[string]endpoint.Endpoint), refused: make(map[string]*rpc.RefusedError),
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
	heard := func(r *rpc.RefusedError) {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.refused[address] = r
	}
	heard(nil)
	sec := x.security
	sec.Refused = heard
	return rpc.DialEndpoint(ctx, x.endpoints[address], sec)
}

// because adds to the error of an etcd that does not answer which end does not believe the other, where that is why.
// x may be nil: the embedded one believes whoever calls.
func (x *external) because(err error) error {
	if x == nil || !errors.Is(err, ErrUnavailable) {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, address := range x.order {
		if r := x.refused[address]; r != nil {
			err = fmt.Errorf("%w: %w", err, r)
		}
	}
	return err
}
