// Package gnmi serves a tree of leaves over gNMI: Capabilities, Get, Subscribe. Whose tree it is, it does not know: a
// Schema says what leaves there may be, a Source which there are. It is read-only, and Set says so. The embedded switch
// serves it by gRPC (Register), the controller beside its API (Services).
//
// Nothing waits for a reader. A subscription remembers the state of the tree that it has sent, and sends what differs
// in the one that there is when the reader is ready: what was in between is counted (Update.duplicates), not kept.
// States share what did not change, so a reader that stands still costs no more than the tree.
//
//	Source --read--> state (events) --+                       +--> stream: what differs from what it has sent
//	       --read--> state (sampled) -+--> match with a query -+
//
// openconfig/gnmi has the messages. Its cache and its queue are not used: paths are index strings there, where a key
// that is left out cannot be told from the next element, and the queue grows with each leaf that goes and comes back.
//
// The numbers of sections are of the gNMI specification 0.10.0
// (https://github.com/openconfig/reference/blob/master/rpc/gnmi/gnmi-specification.md).
package gnmi

import (
	"context"
	"slices"
	"sync"
	"time"

	pb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/text"
)

// Source is whose tree it is. Its methods are called by several goroutines. An error is that of who asks: it should be
// of package status, or of a context.
type Source interface {
	// Events fills in the leaves that were declared so.
	Events(context.Context, *Tree) error
	// Samples fills in those that are sampled.
	Samples(context.Context, *Tree) error
	// Changed returns a channel that is closed when Events has something new to tell. It is nil where nobody says so:
	// then Events is asked again and again while somebody subscribes to changes.
	Changed() <-chan struct{}
}

// Config says what is served, and how.
type Config struct {
	Schema *Schema
	Source Source
	// Lowest is the shortest sample and heartbeat interval, and what a sample interval of 0 means. Nobody sees a sample
	// that is older than a tenth of it, but for trees of more than 40,000 values for each second of it.
	Lowest time.Duration
	// ReadOnly ends the refusal of Set: how the target is told what to do.
	ReadOnly string
}

// targetDefined is the interval at which TARGET_DEFINED sends what is sampled.
const targetDefined = 10 * time.Second

// Server answers. Any number of goroutines may call it.
type Server struct {
	pb.UnimplementedGNMIServer
	cfg   Config
	trees [classes]*cache
	watch watch
	// Who subscribes and stays keeps nobody from a Get.
	gets, streams places
	standstill    time.Duration // for tests
}

// places hold a token for each call of a kind that is under way: in a room for everybody, and in one for those who rule
// the target (rpc.IsOwner), so that others cannot keep them out.
type places struct {
	kind         string
	others, ours chan struct{}
}

func newPlaces(kind string) places {
	return places{kind, make(chan struct{}, mostCalls), make(chan struct{}, mostCalls)}
}

// mostCalls is how many Gets of each kind of caller may be under way, and as many subscriptions.
const mostCalls = 64

// New returns a Server.
func New(cfg Config) *Server {
	fresh := cfg.Lowest / 10
	return &Server{
		cfg: cfg, gets: newPlaces("Gets"), streams: newPlaces("subscriptions"), standstill: standstill,
		trees: [classes]*cache{
			event:   newCache(cfg.Schema, event, fresh, cfg.Source.Events),
			sampled: newCache(cfg.Schema, sampled, fresh, cfg.Source.Samples),
		},
	}
}

// Register adds the gNMI service to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) { pb.RegisterGNMIServer(r, s) }

// Capabilities tells models, encodings and version (section 3.2).
func (s *Server) Capabilities(context.Context, *pb.CapabilityRequest) (*pb.CapabilityResponse, error) {
	options := pb.File_github_com_openconfig_gnmi_proto_gnmi_gnmi_proto.Options()
	version, _ := proto.GetExtension(options, pb.E_GnmiService).(string)
	m := &pb.CapabilityResponse{SupportedEncodings: encodings, GNMIVersion: version}
	for _, model := range s.cfg.Schema.models {
		m.SupportedModels = append(m.SupportedModels,
			&pb.ModelData{Name: model.Name, Organization: model.Organization, Version: model.Version})
	}
	return m, nil
}

// Set is refused: the tree is read-only.
func (s *Server) Set(context.Context, *pb.SetRequest) (*pb.SetResponse, error) {
	return nil, status.Error(codes.Unimplemented, "gNMI is read-only here: "+s.cfg.ReadOnly)
}

// enter takes a place for a call, until leave is called.
func (p places) enter(ctx context.Context) (leave func(), err error) {
	room := p.others
	if rpc.IsOwner(ctx) {
		room = p.ours
	}
	select {
	case room <- struct{}{}:
		return func() { <-room }, nil
	default:
		most := cap(room)
		return nil, status.Errorf(codes.ResourceExhausted, "%d %s are under way: must be at most %d", most, p.kind,
			most)
	}
}

// models returns which leaves a request counts that names models (section 2.6); without, all of them.
func (s *Server) models(used []*pb.ModelData) (func(*Leaf) bool, error) {
	if len(used) == 0 {
		return func(*Leaf) bool { return true }, nil
	}
	names := make(map[string]bool)
	for _, m := range used {
		has := slices.ContainsFunc(s.cfg.Schema.models, func(n Model) bool {
			return n.Name == m.GetName() && (m.GetVersion() == "" || m.GetVersion() == n.Version)
		})
		if !has {
			return nil, status.Errorf(codes.InvalidArgument, "model %q, version %q, is not served: must be one that "+
				"Capabilities tells", text.Cut(m.GetName()), text.Cut(m.GetVersion()))
		}
		names[m.GetName()] = true
	}
	return func(l *Leaf) bool { return names[l.Module()] }, nil
}

// cache keeps the latest state of a class of leaves.
type cache struct {
	schema *Schema
	class  class
	fresh  time.Duration // how old a state may be for who asks now
	read   func(context.Context, *Tree) error

	reading chan struct{} // holds a token while the source is read

	mu     sync.Mutex // guards what follows
	latest *state
	next   chan struct{} // closed when another state differs
}

func newCache(s *Schema, c class, fresh time.Duration, read func(context.Context, *Tree) error) *cache {
	return &cache{
		schema: s, class: c, fresh: fresh, read: read,
		reading: make(chan struct{}, 1), latest: new(state), next: make(chan struct{}),
	}
}

// current is the latest state, and a channel that is closed when there is one that differs.
func (c *cache) current() (*state, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.latest, c.next
}

// perValue is about what it takes of a processor to read a value and to compare it (BenchmarkRead of controller/tree).
const perValue = 500 * time.Nanosecond

// get returns a state that is not old. Those who ask at the same time share one. Samples of a large tree stay fresh for
// five times as long as reading them takes: that leaves most of a processor to others.
func (c *cache) get(ctx context.Context) (*state, error) {
	age := c.fresh
	if c.class == sampled {
		latest, _ := c.current()
		age = max(age, 5*time.Duration(latest.values)*perValue)
	}
	return c.state(ctx, age)
}

// state returns one that is younger than that; with 0, one whose reading began after the call.
func (c *cache) state(ctx context.Context, age time.Duration) (*state, error) {
	asked := time.Now()
	select {
	case c.reading <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-c.reading }()
	before, _ := c.current()
	if !before.at.IsZero() && asked.Sub(before.at) < age {
		return before, nil
	}
	t, at := newTree(c.schema, c.class), time.Now()
	if err := c.read(ctx, t); err != nil {
		return nil, err
	}
	now := t.follow(before, at)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.latest = now; now.revision != before.revision {
		close(c.next)
		c.next = make(chan struct{})
	}
	return now, nil
}
