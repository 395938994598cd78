// Package softswitch is the embedded target: it puts together the engine, which runs the P4 program,
// the server, which speaks P4Runtime, and the ports. A controller cannot tell it from another target,
// and it knows nothing of controllers.
//
//	clients ==gRPC== server -- tables --> engine
//	                   | ^                  |
//	        packet-out v | packet-in        v
//	  port -- receive --> worker (one per port) -- Send --> port
//
// Every port has one goroutine, which takes the frames that arrived, runs them through the program
// and sends what leaves, so frames of one port keep their order. There is no queue between: a port
// that is full drops, and counts. Before the first pipeline configuration all frames are dropped.
package softswitch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/sluicelb/sluice/internal/gnmi"
	"github.com/sluicelb/sluice/internal/metrics"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/task"
	"github.com/sluicelb/sluice/p4/backlog"
	"github.com/sluicelb/sluice/p4/softswitch/engine"
	"github.com/sluicelb/sluice/p4/softswitch/port"
	"github.com/sluicelb/sluice/p4/softswitch/server"
)

// RoleName is the switch's in the name of its socket.
const RoleName = "switch"

// DefaultCPUPort is the port between program and controller, where Config names none.
const DefaultCPUPort = 510

// lookInterval is how often a port whose interface is gone is looked for.
const lookInterval = 100 * time.Millisecond

// MaxPort is the highest port id: v1model's have 9 bits, and 511 drops.
const MaxPort = 510

// Config is what a Switch needs.
type Config struct {
	DeviceID uint64
	CPUPort  uint16       // 0 for DefaultCPUPort
	Log      *slog.Logger // nil for the default logger
}

// Switch is one embedded target. New makes it, AddPort gives it ports, Register or Serve offers its
// P4Runtime service, and Run moves frames.
type Switch struct {
	cfg     Config
	server  *server.Server
	gnmi    *gnmi.Server
	start   time.Time // the origin of Now
	program atomic.Pointer[engine.Program]
	ports   [MaxPort + 1]atomic.Pointer[attached]

	unprogrammed, unconnected atomic.Uint64

	cpuMu sync.Mutex // guards cpu: packet-outs come from several clients
	cpu   worker

	mu      sync.Mutex      // guards what follows
	running context.Context // of Run, nil when it does not run
	work    sync.WaitGroup  // the goroutines of ports
}

// attached is a port of the switch.
type attached struct {
	id     uint16
	port   port.Port
	log    *slog.Logger
	failed atomic.Pointer[failure] // what Flush said last, and when
	// stopped is why the port does not run any more; nil while it does.
	stopped atomic.Pointer[error]
}

// failure is why a port dropped frames.
type failure struct {
	text string
	at   time.Time
}

// New returns a Switch without ports and without a program.
func New(cfg Config) *Switch {
	if cfg.CPUPort == 0 {
		cfg.CPUPort = DefaultCPUPort
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	s := &Switch{cfg: cfg, start: time.Now()}
	s.server = server.New(server.Config{DeviceID: cfg.DeviceID, CPUPort: cfg.CPUPort, Plane: plane{s}, Log: cfg.Log})
	s.gnmi = gnmi.New(gnmi.Config{
		Schema: Telemetry, Source: telemetry{s}, Lowest: lowestInterval,
		ReadOnly: "ports and device id are told to the switch at its start",
	})
	s.cpu = worker{s: s, ingress: cfg.CPUPort}
	return s
}

// AddPort gives the switch a port, before or while it runs. The switch does not close it. When the port
// fails, the switch says so in its log and goes on without it.
func (s *Switch) AddPort(id uint16, p port.Port) error {
	if id == 0 || id > MaxPort || id == s.cfg.CPUPort {
		return fmt.Errorf("port %d: want 1 to %d, and not the CPU port %d", id, MaxPort, s.cfg.CPUPort)
	}
	a := &attached{id: id, port: p, log: s.cfg.Log.With("port", id)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ports[id].CompareAndSwap(nil, a) {
		return fmt.Errorf("port %d is there already", id)
	}
	if s.running != nil {
		s.run(s.running, a)
	}
	return nil
}

// run starts the goroutine of a port. mu is held.
func (s *Switch) run(ctx context.Context, a *attached) {
	s.work.Go(func() {
		w := &worker{s: s, ingress: a.id}
		for {
			err := a.port.Run(ctx, w.receive)
			if err == nil {
				return
			}
			a.stopped.Store(&err)
			a.log.Error("port stopped", "error", err)
			if !errors.Is(err, port.ErrGone) || !a.comesBack(ctx) {
				return
			}
			a.stopped.Store(nil)
			a.log.Info("port is back")
		}
	})
}

// comesBack waits until what the port is plugged into is there again; false when ctx ends before.
func (a *attached) comesBack(ctx context.Context) bool {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for a.port.State().Status == port.NotPresent {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

// Run moves frames, and sends digests and idle timeouts, until ctx ends. It returns when nothing of it
// is left running.
func (s *Switch) Run(ctx context.Context) error {
	s.mu.Lock()
	s.running = ctx
	for a := range s.attachedPorts() {
		s.run(ctx, a)
	}
	s.mu.Unlock()
	err := s.server.Run(ctx)
	s.mu.Lock()
	s.running = nil
	s.mu.Unlock()
	s.work.Wait()
	return err
}

// Register adds the P4Runtime service to a gRPC server, which must have server.Options, and next to it gNMI, which
// tells how the ports are.
func (s *Switch) Register(r grpc.ServiceRegistrar) {
	s.server.Register(r)
	s.gnmi.Register(r)
}

// Serve offers the P4Runtime service on l until ctx ends. It closes l. Callers of an rpc.Listener may do what their
// role allows, those of any other listener everything.
func (s *Switch) Serve(ctx context.Context, l net.Listener) error {
	options := server.Options()
	if l, ok := l.(*rpc.Listener); ok {
		options = append(options, server.Guard(l.Access()))
	}
	g := grpc.NewServer(options...)
	s.Register(g)
	// Not GracefulStop: streams have no end of their own.
	stop := context.AfterFunc(ctx, g.Stop)
	defer stop()
	if err := g.Serve(l); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// RunAndServe runs the switch and offers its service on all until ctx ends.
func (s *Switch) RunAndServe(ctx context.Context, all ...net.Listener) error {
	return s.Role(nil, all...).Run(ctx)
}

// Role is the switch as the work of a process: its ports, and its service on all. It is ready once it runs, for the
// sockets are open already.
func (s *Switch) Role(shown *rpc.Listener, all ...net.Listener) task.Role {
	tasks := []task.Task{{Name: "ports", Run: s.Run}}
	if shown != nil {
		tasks = append(tasks, task.Task{Name: "metrics", Run: func(ctx context.Context) error {
			return metrics.Serve(ctx, shown, RoleName, s, nil)
		}})
	}
	for _, l := range all {
		tasks = append(tasks, task.Task{Name: "P4Runtime", Run: func(ctx context.Context) error {
			return s.Serve(ctx, l)
		}})
	}
	return &role{tasks, make(chan struct{})}
}

type role struct {
	tasks []task.Task
	ready chan struct{}
}

func (r *role) Run(ctx context.Context) error {
	close(r.ready)
	return task.Run(ctx, r.tasks...)
}

func (r *role) Ready() <-chan struct{} { return r.ready }

// Port is how a port is and what it has counted.
type Port struct {
	port.State
	port.Counters
	Dropped   string    // why it dropped frames to send last, other than that they were too many
	DroppedAt time.Time // zero: it never did
}

// Status is what the switch has counted.
type Status struct {
	Ports map[uint16]Port
	// Unprogrammed frames came before there was a program; Unconnected ones were for a port that is
	// not there.
	Unprogrammed, Unconnected uint64
	// Undelivered counts messages for clients that read too slowly.
	Undelivered Undelivered
}

// Undelivered counts stream messages that clients were too slow for. Idle timeouts and digests are reported
// again.
type Undelivered struct{ IdleTimeouts, Digests, Errors, PacketIns uint64 }

// Status returns the counters of all ports.
func (s *Switch) Status() Status {
	out := Status{
		Ports:        map[uint16]Port{},
		Unprogrammed: s.unprogrammed.Load(),
		Unconnected:  s.unconnected.Load(),
		Undelivered: Undelivered{
			IdleTimeouts: s.server.Dropped(backlog.Idle),
			Digests:      s.server.Dropped(backlog.Digest),
			Errors:       s.server.Dropped(backlog.Error),
			PacketIns:    s.server.Dropped(backlog.Packet),
		},
	}
	for a := range s.attachedPorts() {
		p := Port{State: a.state(), Counters: a.port.Counters()}
		if f := a.failed.Load(); f != nil {
			p.Dropped, p.DroppedAt = f.text, f.at
		}
		out.Ports[a.id] = p
	}
	return out
}

// attachedPorts yields the ports by id.
func (s *Switch) attachedPorts() iter.Seq[*attached] {
	return func(yield func(*attached) bool) {
		for id := range s.ports {
			if a := s.ports[id].Load(); a != nil && !yield(a) {
				return
			}
		}
	}
}

// state is how the port is: one that does not run is not up.
func (a *attached) state() port.State {
	p := a.port.State()
	if err := a.stopped.Load(); err != nil && p.Status == port.Up {
		p.Status, p.Reason = port.Down, (*err).Error()
	}
	return p
}

// plane is the Switch as the server sees it.
type plane struct{ s *Switch }

func (p plane) Commit(program *engine.Program) { p.s.program.Store(program) }

func (p plane) Inject(frame []byte) {
	p.s.cpuMu.Lock()
	defer p.s.cpuMu.Unlock()
	p.s.cpu.receive([][]byte{frame})
}

func (p plane) Now() time.Duration { return time.Since(p.s.start) }
