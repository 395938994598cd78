package p4rt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"slices"
	"sync/atomic"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/rpc/endpoint"
	"github.com/sluicelb/sluice/internal/text"
)

const (
	// DefaultMaxBatch is how many updates one Write RPC carries at most.
	DefaultMaxBatch = 4096

	// maxBatchBytes keeps a batch of large updates below the 4 MB that every gRPC server takes
	// (section "gRPC Server Maximum Receive Message Size").
	maxBatchBytes = 3 << 20

	// maxHeaderBytes is for the details of a failed batch, which come in one gRPC trailer, a detail for
	// each update, OKs included (section "gRPC Metadata Maximum Size").
	maxHeaderBytes = 64 << 20

	// maxMessageBytes is for targets that answer a read with a single message. bmv2 does: the largest table, with
	// half a million rows, takes 40 MB of it.
	maxMessageBytes = 128 << 20

	// maxMessageItems is how many messages and list items there may be in one, which cost more than their bytes: a
	// row has about ten.
	maxMessageItems = 8 << 20

	// maxEntities is how many entities a read may give. A target may be asked for all tables, the largest of which
	// has half a million rows.
	maxEntities = 2 << 20
)

// Client is one connection to one device. It needs no election to read. When the connection is lost
// every call fails from then on: a Client never reconnects by itself, so nothing that was meant for a
// target before its restart reaches it after.
type Client struct {
	deviceID uint64
	conn     *Conn
	rpc      v1.P4RuntimeClient
	maxBatch int
	election *v1.Uint128 // goes with writes; nil for clients that are not primary
	info     *Info       // names things in errors; may be nil
}

// Option changes how Dial connects.
type Option func(*options)

type options struct {
	dial     func(ctx context.Context, address string) (net.Conn, error)
	maxBatch int
	security rpc.Security
}

// WithSecurity sets how targets beyond this machine are reached: those at https:// need an identity, those in plain
// text the operator's leave. Targets are other makers' as well, so TLS 1.2 is enough.
func WithSecurity(s rpc.Security) Option {
	s.Oldest = tls.VersionTLS12
	return func(o *options) { o.security = s }
}

// WithDialer replaces the dialer; whoever it reaches is trusted.
func WithDialer(dial func(ctx context.Context, address string) (net.Conn, error)) Option {
	return func(o *options) { o.dial = dial }
}

// WithMaxBatch bounds the updates that one Write RPC carries; the default is DefaultMaxBatch.
func WithMaxBatch(n int) Option {
	return func(o *options) { o.maxBatch = n }
}

// Dial connects to target, an address as package endpoint reads it, and returns when it has answered a first call; ctx
// bounds the wait. Whether the target has the device shows in the next call. Who serves a unix socket, or by TLS, is
// made sure of, see rpc.DialEndpoint.
func Dial(ctx context.Context, target string, deviceID uint64, opts ...Option) (*Client, error) {
	o := options{maxBatch: DefaultMaxBatch}
	for _, opt := range opts {
		opt(&o)
	}
	conn, err := o.connect(target,
		grpc.WithMaxHeaderListSize(maxHeaderBytes),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes),
			grpc.ForceCodecV2(newCodec(maxMessageItems))))
	if err != nil {
		return nil, err
	}
	c := &Client{
		deviceID: deviceID,
		conn:     conn,
		rpc:      v1.NewP4RuntimeClient(conn),
		maxBatch: o.maxBatch,
	}
	if err := c.alive(ctx); err != nil {
		conn.Close()
		if r := conn.Refused(); r != nil {
			return nil, fmt.Errorf("connecting to the target: %w", r)
		}
		return nil, fmt.Errorf("connecting to %s: %w", target, err)
	}
	return c, nil
}

// Conn is a connection to a target, for whatever services that has. It connects with the first call, and once it was
// connected it never does so again: when it is lost, every call fails.
type Conn struct {
	*grpc.ClientConn
	refused *atomic.Pointer[rpc.RefusedError]
}

// Refused says that the connection ended because one end does not believe the other; nil where it did not.
func (c *Conn) Refused() *rpc.RefusedError { return c.refused.Load() }

// Connect makes a Conn for services beside P4Runtime, with the same trust as Dial. A message that the target sends has
// at most so many bytes, and items as package wire counts them.
func Connect(target string, bytes, items int, opts ...Option) (*Conn, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	return o.connect(target, grpc.WithMaxHeaderListSize(1<<16),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(bytes), grpc.ForceCodecV2(newCodec(items))))
}

func (o options) connect(target string, more ...grpc.DialOption) (*Conn, error) {
	authority := target
	refused := new(atomic.Pointer[rpc.RefusedError])
	o.security.Refused = refused.Store
	if o.dial == nil {
		if err := o.security.CheckDial(target); err != nil {
			return nil, err
		}
		e, err := endpoint.Parse(target)
		if err != nil {
			return nil, err
		}
		o.dial = func(ctx context.Context, _ string) (net.Conn, error) { return rpc.DialEndpoint(ctx, e, o.security) }
		if authority = e.Address; e.Unix() {
			authority = "localhost"
		}
	}
	conn, err := grpc.NewClient("passthrough:///"+target, append([]grpc.DialOption{
		grpc.WithAuthority(authority),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // TLS, where there is any, is a layer below
		grpc.WithContextDialer(once(o.dial)),
		grpc.WithNoProxy(),
		grpc.WithIdleTimeout(0), // an idle connection is still the connection
	}, more...)...)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", target, err)
	}
	return &Conn{conn, refused}, nil
}

var errLost = errors.New("the connection is lost")

// once lets dial succeed a single time.
func once(dial func(context.Context, string) (net.Conn, error)) func(context.Context, string) (net.Conn, error) {
	var connected atomic.Bool
	return func(ctx context.Context, address string) (net.Conn, error) {
		if connected.Load() {
			return nil, errLost
		}
		conn, err := dial(ctx, address)
		if err == nil && connected.Swap(true) {
			conn.Close()
			return nil, errLost
		}
		return conn, err
	}
}

// alive asks for the target's capabilities. Any answer will do: old targets do not implement the call.
// gRPC's own keepalive is of no use here, because servers by default end connections that ping more
// often than every five minutes.
func (c *Client) alive(ctx context.Context) error {
	_, err := c.rpc.Capabilities(ctx, &v1.CapabilitiesRequest{})
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return err
	}
	return nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Pipeline returns the P4Info and the cookie of what the device runs, nil when it runs nothing yet.
func (c *Client) Pipeline(ctx context.Context) (*v1.ForwardingPipelineConfig, error) {
	r, err := c.rpc.GetForwardingPipelineConfig(ctx, &v1.GetForwardingPipelineConfigRequest{
		DeviceId:     c.deviceID,
		ResponseType: v1.GetForwardingPipelineConfigRequest_P4INFO_AND_COOKIE,
	})
	switch {
	case status.Code(err) == codes.FailedPrecondition:
		// bmv2; the specification wants OK and no config.
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading the pipeline of device %d: %w", c.deviceID, err)
	case r.GetConfig().GetP4Info() == nil:
		return nil, nil
	}
	return r.GetConfig(), nil
}

// setPipeline makes the device run config. It clears all tables.
func (c *Client) setPipeline(ctx context.Context, config *v1.ForwardingPipelineConfig) error {
	_, err := c.rpc.SetForwardingPipelineConfig(ctx, &v1.SetForwardingPipelineConfigRequest{
		DeviceId:   c.deviceID,
		ElectionId: c.election,
		Action:     v1.SetForwardingPipelineConfigRequest_VERIFY_AND_COMMIT,
		Config:     config,
	})
	if err != nil {
		return fmt.Errorf("pushing the pipeline to device %d: %w", c.deviceID, notPrimary(err))
	}
	return nil
}

// Read asks for entities and returns what the device answers, as it arrives. The sequence ends after
// the last entity, or after the first error; leaving it early ends the call.
func (c *Client) Read(ctx context.Context, entities ...*v1.Entity) iter.Seq2[*v1.Entity, error] {
	return func(yield func(*v1.Entity, error) bool) {
		for data, err := range c.read(ctx, entities) {
			e := new(v1.Entity)
			if err == nil {
				if err = proto.Unmarshal(data, e); err != nil {
					err = fmt.Errorf("reading from device %d: decoding an entity: %w", c.deviceID, err)
				}
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// read is Read, of entities that are not decoded yet. The sequence ends after the first error.
func (c *Client) read(ctx context.Context, entities []*v1.Entity) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := c.startRead(ctx, entities)
		if err != nil {
			yield(nil, c.readError(err, len(entities)))
			return
		}
		for left := maxEntities; ; {
			var p page
			if err := stream.RecvMsg(&p); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				yield(nil, c.readError(err, len(entities)))
				return
			}
			for e, err := range p.entities() {
				if left--; err == nil && left < 0 {
					err = fmt.Errorf("more than %d entities, which no table holds", maxEntities)
				}
				if err != nil {
					yield(nil, fmt.Errorf("reading from device %d: %w", c.deviceID, err))
					return
				}
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// startRead is the generated client's Read, whose Recv would decode a page as a whole.
func (c *Client) startRead(ctx context.Context, entities []*v1.Entity) (grpc.ClientStream, error) {
	stream, err := c.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, v1.P4Runtime_Read_FullMethodName)
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(&v1.ReadRequest{DeviceId: c.deviceID, Entities: entities}); err != nil {
		return nil, err
	}
	return stream, stream.CloseSend()
}

// readError gives the error of a read the code of the request that failed, where the details name one
// (section "Batch Processing" of Read).
func (c *Client) readError(err error, requests int) error {
	details, detailsErr := updateDetails(err, requests)
	if detailsErr != nil {
		return fmt.Errorf("reading from device %d: %w", c.deviceID, err)
	}
	for k, d := range details {
		if code := codes.Code(d.GetCanonicalCode()); code != codes.OK {
			return fmt.Errorf("reading from device %d: request %d: %w", c.deviceID, k,
				status.Error(code, d.GetMessage()))
		}
	}
	return fmt.Errorf("reading from device %d: %w", c.deviceID, err)
}

// Write sends updates in batches. Updates of one batch take effect in no particular order, so those
// that depend on each other belong into different calls.
//
// It fails with a *BatchError when the target has answered for every update and refused some; the
// rest is done. With any other error the call itself failed, and only reading back tells what was
// done: nothing after the batch that it names.
func (c *Client) Write(ctx context.Context, updates []*v1.Update) error {
	var refused []UpdateError
	for from := 0; from < len(updates); {
		to := c.batchEnd(updates, from)
		// The request gets its own slice: gRPC may look at it after the call was cancelled.
		batch := slices.Clone(updates[from:to])
		_, err := c.rpc.Write(ctx, &v1.WriteRequest{
			DeviceId:   c.deviceID,
			ElectionId: c.election,
			Updates:    batch,
		})
		if err != nil {
			details, detailsErr := updateDetails(err, len(batch))
			if detailsErr != nil {
				return fmt.Errorf("writing updates %d..%d of %d to device %d: %w",
					from, to-1, len(updates), c.deviceID, notPrimary(detailsErr))
			}
			for k, d := range details {
				if code := codes.Code(d.GetCanonicalCode()); code != codes.OK {
					refused = append(refused, UpdateError{
						Index:   from + k,
						Update:  updates[from+k],
						Code:    code,
						Message: text.Cut(d.GetMessage()),
						info:    c.info,
					})
				}
			}
		}
		from = to
	}
	if len(refused) > 0 {
		return &BatchError{Failed: refused, Updates: len(updates)}
	}
	return nil
}

// batchEnd returns where the batch that starts at from ends.
func (c *Client) batchEnd(updates []*v1.Update, from int) int {
	size := 0
	for to := from; to < len(updates); to++ {
		size += proto.Size(updates[to])
		if to > from && (to-from == c.maxBatch || size > maxBatchBytes) {
			return to
		}
	}
	return len(updates)
}
