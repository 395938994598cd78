// Package server is the P4Runtime service of the embedded switch: arbitration, pipeline
// configuration, writes and reads, packet I/O, digests and idle timeouts, over the tables of package
// engine. Where targets differ it follows the text of the P4Runtime specification 1.5; comments name
// its sections.
//
// It leaves packets to its Plane, package softswitch, which also calls PacketIn and Digest. Calls from
// the data plane never wait for a client: what a client reads too slowly is dropped and counted.
//
// Where the specification disagrees with itself, a number that is empty or too large is OUT_OF_RANGE
// (section "Bytestrings"), also in a match or a parameter, and MODIFY without an action changes direct
// resources and nothing else (section "Action Specification").
//
// A client used to bmv2 finds these differences: nobody may write without being primary; when the primary leaves, the
// others do not move up by themselves; a full table answers RESOURCE_EXHAUSTED; reads filter by action, priority and
// metadata, and take all tables for direct counters and meters; registers are read and written; one write may set all
// cells of a meter; a backup's packet-out is answered with an error; idle timeouts are exact to 100 ms and have no
// minimum, and count no time in which the process was stopped; default entries have counters and meters, and a miss
// counts; entries of the program are const only where P4Info says so; wildcard reads of what a program lacks are
// empty; digests may hold more than bit<W>, and int<W> is in two's complement; types may be translated; a table that
// only P4Info has is kept, and met by no packet (where only the device configuration has another, they belong to two
// programs), and so is an action profile that no table has. Of keys and parameters P4Info does not tell int<W> from
// bit<W>: they are bit<W>, -1 of int<12> is 0x0fff.
//
// Nobody configures translations (section "PSA Metadata Translation"): a number stands for the same number of the
// data plane, and for strings see names.
//
// Not offered, and answered UNIMPLEMENTED: writing action profiles, value sets, clone sessions and extern entries, of
// which reads find none; backup replicas, counters of colors, RECONCILE_AND_COMMIT, and batches other than
// CONTINUE_ON_ERROR.
package server

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/sluicelb/sluice/p4/backlog"
	"github.com/sluicelb/sluice/p4/softswitch/engine"
)

// apiVersion is the version of the P4Runtime specification that this server follows.
const apiVersion = "1.5.0"

// MaxMessage is the longest message that the server takes, in bytes and before it was compressed. The specification
// asks for 4 MiB at least and for room for any device configuration ("gRPC Server Maximum Receive Message Size"),
// which here is a JSON text of a P4 program: sluice.p4's has a fiftieth of it.
const MaxMessage = 16 << 20

// Plane is what moves packets.
type Plane interface {
	// Commit makes program the one that packets run through, from the next packet on.
	Commit(program *engine.Program)
	// Inject runs a frame that enters by the CPU port, controller header included.
	Inject(frame []byte)
	// Now is the clock of engine.Runner.Process.
	Now() time.Duration
}

// Config is what a Server needs.
type Config struct {
	DeviceID uint64
	CPUPort  uint16 // that Plane takes for the CPU's
	Plane    Plane
	Log      *slog.Logger
}

// Server implements v1.P4RuntimeServer for one device.
type Server struct {
	v1.UnimplementedP4RuntimeServer
	cfg     Config
	arbiter arbiter

	// state guards the pipelines and all that is written through them. Writers hold it for one whole
	// request, readers while they take a snapshot (section "Parallelism of Read and Write Requests").
	state   sync.RWMutex
	current *pipeline // what Read and Write refer to, nil before the first config
	saved   bool      // current is saved and not committed
	// running is the pipeline that packets run through. It changes under state.
	running atomic.Pointer[pipeline]

	dropped    drops
	digestsDue chan struct{} // holds a token when digests may be due earlier than before
	idleAgain  atomic.Bool   // a new primary has not been told what is idle
}

// New returns a Server without a pipeline.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, digestsDue: make(chan struct{}, 1)}
	s.arbiter = newArbiter(cfg.DeviceID, cfg.Log, s.newPrimary)
	return s
}

// Options are the gRPC options that a server which carries this service must have.
func Options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.ForceServerCodecV2(newCodec()),
		// Of one connection: each may hold a message of MaxMessage.
		grpc.MaxConcurrentStreams(128),
		grpc.ConnectionTimeout(10 * time.Second),
		// A primary whose machine died must not stay primary until TCP gives up.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
	}
}

// Register adds the service to a gRPC server, which must have Options.
func (s *Server) Register(r grpc.ServiceRegistrar) { r.RegisterService(service(), s) }

// Run sends digests and idle timeouts when they are due, until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { s.runDigests(ctx); return nil })
	g.Go(func() error { s.runIdle(ctx); return nil })
	return g.Wait()
}

// Dropped returns how many stream messages of a kind were lost because clients read too slowly.
func (s *Server) Dropped(kind backlog.Kind) uint64 { return s.dropped[kind].Load() }

// newPrimary is called when another client becomes primary: what only the former one was told is told
// again.
func (s *Server) newPrimary() {
	if p := s.running.Load(); p != nil {
		p.digests.forget()
	}
	s.idleAgain.Store(true)
}

// Capabilities implements v1.P4RuntimeServer.
func (s *Server) Capabilities(_ context.Context, req *v1.CapabilitiesRequest) (*v1.CapabilitiesResponse, error) {
	if id := req.GetDeviceId(); id != 0 {
		if err := s.checkDevice(id); err != nil {
			return nil, err
		}
	}
	return &v1.CapabilitiesResponse{P4RuntimeApiVersion: apiVersion}, nil
}

func (s *Server) checkDevice(id uint64) error {
	if id != s.cfg.DeviceID {
		return status.Errorf(codes.NotFound, "no device %d here, only %d", id, s.cfg.DeviceID)
	}
	return nil
}
