package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluicelb/sluice/controller"
	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/store"
	"github.com/sluicelb/sluice/healthd"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/p4/softswitch"
)

const (
	device  = 1
	vipName = "www"
	pool    = "web"
	slots   = 4096

	// Shorter than in production, where it is a minute, so that nobody has to wait; longer than
	// sessions are silent.
	drainIdle = 2 * time.Second * slowdown

	// Shorter than in production too: the server that dies is dead.
	grace = time.Second
)

// intent is the operator's configuration for one data center.
func intent(target string, n *network) string {
	var ports []string
	for _, node := range n.Nodes {
		ports = append(ports, strconv.Itoa(int(node.Port)))
	}
	var b strings.Builder
	fmt.Fprintf(&b, `switches:
  - {name: %s-leaf1, address: %q, device_id: %d, ports: [%s]}
vip_mac: %v
vips:
  - {name: %s, address: %v, port: %d, pool: %s}
pools:
  - name: %s
    slots: %d
    drain_idle: %v
    grace: %v
    checks:
      - {type: http, path: /healthz, interval: 500ms, fast_interval: 100ms, timeout: 400ms, rise: 2, fall: 3}
    backends:
`, n.Name, target, device, strings.Join(ports, ", "), n.vipMAC, vipName, n.vip.Addr(), n.vip.Port(), pool, pool,
		slots, drainIdle, grace)
	for _, s := range n.hosts {
		fmt.Fprintf(&b, "      - {name: %s, address: %v, mac: %q, switch_port: %d}\n", s.Name, s.Address.Addr(), s.MAC,
			s.Port)
	}
	return b.String()
}

// system is the three roles of Sluice in one data center, each as it runs in production: they share nothing but
// sockets.
type system struct {
	target, api string // where switch and controller listen
	standard    bool   // they prefer the sockets where the commands look
	directory   string // of configuration and store
	log         *slog.Logger
	running     *errgroup.Group
	stop        context.CancelFunc
}

// startSystem starts the switch over the network's ports, the controller, and healthd, which checks
// through the management host. It returns when every server is up and can be reached.
func startSystem(ctx context.Context, n *network, directory string, standard bool, log *slog.Logger) (*system, error) {
	s := &system{directory: directory, standard: standard, log: log}
	ctx, s.stop = context.WithCancel(ctx)
	s.running, ctx = errgroup.WithContext(ctx)
	if err := s.start(ctx, n); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *system) start(ctx context.Context, n *network) error {
	if err := s.startSwitch(ctx, n); err != nil {
		return err
	}
	if err := s.startController(ctx, n); err != nil {
		return err
	}
	client, err := api.Dial(s.api, rpc.Security{})
	if err != nil {
		return err
	}
	defer client.Close()
	// Servers that cannot be reached yet would be called down first.
	if err := until(ctx, client, switchSynced); err != nil {
		return err
	}
	h, err := healthd.New(healthd.Config{Controller: s.api, Network: n.mgmt, Log: s.log.With("role", "healthd")})
	if err != nil {
		return err
	}
	s.running.Go(func() error { return h.Run(ctx) })
	return until(ctx, client, allUp)
}

func (s *system) startSwitch(ctx context.Context, n *network) error {
	sw := softswitch.New(softswitch.Config{DeviceID: device, Log: s.log.With("role", "switch")})
	for id, p := range n.ports {
		if err := sw.AddPort(id, p); err != nil {
			return err
		}
	}
	listener, err := s.listen(softswitch.RoleName)
	if err != nil {
		return err
	}
	s.target = listener.Address()
	s.running.Go(func() error { return sw.RunAndServe(ctx, listener) })
	return nil
}

func (s *system) startController(ctx context.Context, n *network) error {
	file := filepath.Join(s.directory, "sluice.yaml")
	if err := os.WriteFile(file, []byte(intent(s.target, n)), 0o600); err != nil {
		return err
	}
	address := s.socket(api.RoleName)
	if l, err := s.listen(api.RoleName); err == nil {
		address = l.Address()
		l.Close()
	}
	c := controller.New(controller.Config{
		File:   file,
		Store:  store.Config{Dir: filepath.Join(s.directory, "store")},
		Listen: []string{address},
		Log:    s.log.With("role", "controller"),
	})
	failed := make(chan error, 1)
	s.running.Go(func() error {
		err := c.Run(ctx)
		failed <- err
		return err
	})
	select {
	case <-c.Ready():
	case err := <-failed:
		return fmt.Errorf("starting the controller: %w", err)
	case <-ctx.Done():
		return ctx.Err()
	}
	s.api = c.Address()
	return nil
}

// close stops all roles and waits for them.
func (s *system) close() error {
	s.stop()
	return s.running.Wait()
}

// socket is the address of a role's socket in the system's own directory.
func (s *system) socket(role string) string {
	return "unix:" + filepath.Join(s.directory, role+".sock")
}

// listen opens the socket where the commands look for the role, if asked to and possible, else one in the system's
// own directory.
func (s *system) listen(role string) (*rpc.Listener, error) {
	if s.standard {
		if l, err := rpc.Listen(rpc.Socket(role), nil, rpc.Security{}, s.log); err == nil {
			return l, nil
		}
	}
	return rpc.Listen(s.socket(role), nil, rpc.Security{}, s.log)
}

func free(address string) bool {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// until waits for the controller's status to lack nothing: missing says what, or "".
func until(ctx context.Context, c *api.Client, missing func(*api.GetStatusResponse) string) error {
	why := "the controller does not answer"
	for {
		status, err := c.GetStatus(ctx, &api.GetStatusRequest{})
		if err == nil {
			if why = missing(status); why == "" {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until all is ready: %s: %w", why, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func switchSynced(status *api.GetStatusResponse) string {
	if len(status.GetSwitches()) != 1 {
		return fmt.Sprintf("there are %d switches", len(status.GetSwitches()))
	}
	if s := status.GetSwitches()[0]; s.GetState() != api.SwitchStatus_STATE_SYNCED {
		return fmt.Sprintf("switch %s is %v %s", s.GetName(), s.GetState(), s.GetError())
	}
	return ""
}

func allUp(status *api.GetStatusResponse) string {
	if why := switchSynced(status); why != "" {
		return why
	}
	for _, p := range status.GetPools() {
		for _, b := range p.GetBackends() {
			if b.GetHealth() != api.Health_HEALTH_UP {
				return fmt.Sprintf("%s is %v %s", b.GetName(), b.GetHealth(), b.GetReason())
			}
		}
	}
	return ""
}

// flags returns what the commands need to find the demo, "" when they look there anyway.
func (s *system) flags() (controllerFlag, targetFlag string) {
	if s.api != rpc.Socket(api.RoleName) {
		controllerFlag = " --controller " + s.api
	}
	if s.target != rpc.Socket(softswitch.RoleName) {
		targetFlag = " --target " + s.target
	}
	return controllerFlag, targetFlag
}
