package softswitch

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/sluicelb/sluice/internal/metrics"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/task"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

// RoleName is the switch's in the name of its socket.
const RoleName = "switch"

// Interface is a network interface that is a port of the switch.
type Interface struct {
	Port uint16 // 1 to MaxPort
	Name string
}

// RoleConfig is what a switch needs as the work of a process.
type RoleConfig struct {
	Config
	Interfaces []Interface
	Captures   string   // the directory that gets a file of each port's frames; empty: they are not recorded
	Listen     []string // addresses of the P4Runtime and gNMI server; none: the socket of the role
	Access     *rpc.Access
	Security   rpc.Security
	Metrics    *rpc.Listener // where Prometheus asks; nil: nowhere. The role does not close it
}

// Role is a switch on network interfaces, with its servers and captures, as the work of a process. NewRole makes it,
// and Run closes what it has opened.
type Role struct {
	*Switch
	cfg   RoleConfig
	tasks []task.Task
	ready chan struct{}
	close []func() error // what is open, in the order that it was opened
}

// NewRole opens the interfaces, the captures and the sockets. It fails with port.ErrNoInterface for an interface that
// is not there.
func NewRole(cfg RoleConfig) (*Role, error) {
	r := &Role{Switch: New(cfg.Config), cfg: cfg, ready: make(chan struct{})}
	r.cfg.Config = r.Switch.cfg // with what New fills in
	if len(cfg.Listen) == 0 {
		r.cfg.Listen = []string{rpc.Socket(RoleName)}
	}
	if err := r.open(); err != nil {
		return nil, errors.Join(err, r.closeAll())
	}
	return r, nil
}

func (r *Role) open() error {
	for _, i := range r.cfg.Interfaces {
		if err := r.addInterface(i); err != nil {
			return err
		}
		r.cfg.Log.Info("port", "port", i.Port, "interface", i.Name)
	}
	if len(r.cfg.Interfaces) == 0 {
		r.cfg.Log.Warn("this switch has no ports and forwards nothing: --port ID=INTERFACE gives it one")
	}
	var listeners []net.Listener
	for _, address := range r.cfg.Listen {
		l, err := rpc.Listen(address, r.cfg.Access, r.cfg.Security, r.cfg.Log)
		if err != nil {
			return fmt.Errorf("P4Runtime server: %w", err)
		}
		r.close = append(r.close, ignoring(l.Close))
		listeners = append(listeners, l)
		r.cfg.Log.Info("P4Runtime server", "address", l.Address(), "device_id", r.cfg.DeviceID,
			"cpu_port", r.cfg.CPUPort)
	}
	r.tasks = r.Switch.tasks(listeners...)
	if r.cfg.Metrics != nil {
		r.tasks = append(r.tasks, task.Task{Name: "metrics", Run: func(ctx context.Context) error {
			return metrics.Serve(ctx, r.cfg.Metrics, RoleName, r.Switch, nil)
		}})
	}
	return nil
}

// addInterface opens an interface as a port, which is recorded if captures are wanted.
func (r *Role) addInterface(i Interface) error {
	p, err := port.OpenPacket(i.Name)
	if err != nil {
		return fmt.Errorf("port %d: %w", i.Port, err)
	}
	r.close = append(r.close, ignoring(p.Close))
	if r.cfg.Captures != "" {
		if p, err = r.record(p, i.Port); err != nil {
			return err
		}
	}
	return r.AddPort(i.Port, p)
}

// record writes the frames of a port to a new file.
func (r *Role) record(p port.Port, id uint16) (port.Port, error) {
	f, err := port.CreateCapture(r.cfg.Captures, fmt.Sprintf("port%d", id))
	if err != nil {
		return nil, fmt.Errorf("capture of port %d: %w", id, err)
	}
	capture, err := port.NewPcap(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", f.Name(), err), f.Close())
	}
	r.close = append(r.close, func() error {
		if err := errors.Join(capture.Err(), f.Close()); err != nil {
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
		return nil
	})
	r.cfg.Log.Info("capture", "port", id, "file", f.Name())
	return port.Capture(p, capture), nil
}

// ignoring is a close whose error tells nothing: nobody waits for what it would have written.
func ignoring(closed func() error) func() error {
	return func() error { _ = closed(); return nil }
}

// closeAll closes what is open, the last first, and tells what of the captures is not written.
func (r *Role) closeAll() error {
	var errs []error
	for len(r.close) > 0 {
		last := len(r.close) - 1
		errs = append(errs, r.close[last]())
		r.close = r.close[:last]
	}
	return errors.Join(errs...)
}

// Run runs the switch and serves until ctx ends. Then it logs what its ports have counted, and closes all that NewRole
// has opened.
func (r *Role) Run(ctx context.Context) error {
	close(r.ready)
	err := task.Run(ctx, r.tasks...)
	status := r.Status()
	for _, i := range r.cfg.Interfaces {
		n := status.Ports[i.Port]
		r.cfg.Log.Info("port stopped", "port", i.Port, "interface", i.Name, "received", n.Received, "sent", n.Sent,
			"receive_dropped", n.ReceiveDropped, "send_dropped", n.SendDropped)
	}
	return errors.Join(err, r.closeAll())
}

// Ready is closed once the role runs: its sockets are open before.
func (r *Role) Ready() <-chan struct{} { return r.ready }
