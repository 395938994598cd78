package bmv2tests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluicelb/sluice/bmv2-tests/lab"
	"github.com/sluicelb/sluice/bmv2-tests/lab/proof"
	"github.com/sluicelb/sluice/p4/packet"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

type stageKey struct{}

// patience bounds every wait for a real process; nothing here depends on its length.
const patience = 30 * time.Second

// topology is what every scenario runs on.
//
//	client ──── router ──1┌────────┐3── web1 ┐
//	192.0.2.10  10.0.0.1  │ switch │4── web2 ├ 10.0.0.11-13, each with the VIP
//	                      │        │5── web3 ┘ 10.0.0.100 on its loopback
//	            manager ─2└────────┘
//	            10.0.0.2, where healthd lives
var topology = lab.Topology{
	Client: lab.Node{Name: "client", MAC: packet.MAC{2, 0, 0, 0, 1, 2},
		Address: netip.MustParsePrefix("192.0.2.10/24")},
	Outside: lab.Node{MAC: packet.MAC{2, 0, 0, 0, 1, 1}, Address: netip.MustParsePrefix("192.0.2.1/24")},
	Segments: []lab.Segment{{Nodes: []lab.Node{
		{Name: "router", Port: 1, MAC: hostMAC(0x01), Address: netip.MustParsePrefix("10.0.0.1/24"), Router: true},
		{Name: "manager", Port: 2, MAC: hostMAC(0x02), Address: netip.MustParsePrefix("10.0.0.2/24")},
		{Name: "web1", Port: 3, MAC: hostMAC(0x11), Address: netip.MustParsePrefix("10.0.0.11/24"), VIPs: vips},
		{Name: "web2", Port: 4, MAC: hostMAC(0x12), Address: netip.MustParsePrefix("10.0.0.12/24"), VIPs: vips},
		{Name: "web3", Port: 5, MAC: hostMAC(0x13), Address: netip.MustParsePrefix("10.0.0.13/24"), VIPs: vips},
	}}},
}

var (
	vip       = netip.MustParseAddr("10.0.0.100")
	vips      = []netip.Addr{vip}
	switchMAC = packet.MAC{2, 0x53, 0x4c, 0, 0, 1} // for the VIP, as the intent says
)

func hostMAC(n uint16) packet.MAC { return packet.MAC{2, 0, 0, 0, 0, byte(n)} }

// network is the topology at work, whatever it is made of.
type network interface {
	Host(name string) lab.Host
	Target() string
	PauseSwitch(paused bool) error
	StopSwitch() error
	RestartSwitch() error
}

// stage is what one scenario acts on: the network, the web servers on it, and the daemons it started.
type stage struct {
	network
	client     lab.Host
	closeLab   func() error
	sluice     string // the binary
	dir        string
	controller string // its API address

	servers  []*http.Server
	daemons  map[string]*daemon
	held     map[string][]*heldConnection
	captures *capture
	frames   int      // sent by the command frame
	ill      sync.Map // servers whose health page says 503, by name
	floods   []func() // each ends one
}

func newStage[H lab.Host, P any](l *lab.Lab[H, P], sluice, dir string) *stage {
	return &stage{
		network: l.Sites[0], client: l.Client, closeLab: l.Close, sluice: sluice, dir: dir,
		controller: "unix:" + filepath.Join(dir, "controller.sock"),
		daemons:    map[string]*daemon{},
		held:       map[string][]*heldConnection{},
	}
}

// intent is what every scenario's controller starts with; a script may write another.
const intent = `switches:
  - {name: leaf1, address: %s, device_id: 1, ports: [1, 2, 3, 4, 5]}
vip_mac: 02:53:4c:00:00:01
stations:
  - {name: router1, mac: "02:00:00:00:00:01", switch_port: 1, addresses: [10.0.0.1]}
pools:
  - name: web
    slots: 256
    drain_idle: 6s
    checks:
      - {type: http, port: 8080, path: /healthz, interval: 2s, fast_interval: 300ms, timeout: 2s, rise: 2, fall: 2}
    backends:
      - {name: web1, address: 10.0.0.11, mac: "02:00:00:00:00:11", switch_port: 3}
      - {name: web2, address: 10.0.0.12, mac: "02:00:00:00:00:12", switch_port: 4}
      - {name: web3, address: 10.0.0.13, mac: "02:00:00:00:00:13", switch_port: 5}
vips:
  - {name: www, address: 10.0.0.100, protocol: tcp, port: 80, pool: web}
`

func (s *stage) writeIntent(target string) error {
	return os.WriteFile(filepath.Join(s.dir, "sluice.yaml"), fmt.Appendf(nil, intent, target), 0o644)
}

// serve starts the real servers: the site on the VIP, and the health page on their own address.
func (s *stage) serve() error {
	for _, node := range topology.Segments[0].Servers(vip) {
		for address, handler := range map[netip.AddrPort]http.HandlerFunc{
			netip.AddrPortFrom(vip, 80): func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprintln(w, node.Name)
			},
			netip.AddrPortFrom(node.Address.Addr(), 8080): func(w http.ResponseWriter, r *http.Request) {
				if _, ill := s.ill.Load(node.Name); ill {
					w.WriteHeader(http.StatusServiceUnavailable)
				} else if r.URL.Path != "/healthz" {
					http.NotFound(w, r)
				}
			},
		} {
			l, err := s.Host(node.Name).Listen(address)
			if err != nil {
				return fmt.Errorf("%s listening on %v: %w", node.Name, address, err)
			}
			server := &http.Server{Handler: handler}
			s.servers = append(s.servers, server)
			go server.Serve(l) // ends with close
		}
	}
	return nil
}

func (s *stage) close() error {
	var errs []error
	for _, end := range s.floods {
		end()
	}
	if s.captures != nil {
		s.captures.stop()
	}
	for _, name := range slices.Sorted(maps.Keys(s.daemons)) {
		errs = append(errs, s.daemons[name].end(os.Interrupt))
	}
	for _, conns := range s.held {
		for _, c := range conns {
			c.conn.Close()
		}
	}
	for _, server := range s.servers {
		server.Close()
	}
	return errors.Join(append(errs, s.closeLab())...)
}

// daemon is one long-lived role of the scenario.
type daemon struct {
	end func(os.Signal) error
}

// startController runs the real binary and returns when it answers.
func (s *stage) startController(config string) error {
	cmd := exec.Command(s.sluice, "controller", "--config", config,
		"--data-dir", filepath.Join(s.dir, "data"), "--listen", s.controller)
	cmd.Dir = s.dir
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	s.daemons["controller"] = &daemon{end: func(signal os.Signal) error {
		delete(s.daemons, "controller")
		if err := cmd.Process.Signal(signal); err != nil {
			return fmt.Errorf("the controller had ended by itself:\n%s", output.Bytes())
		}
		select {
		case <-ended:
		case <-time.After(patience):
			cmd.Process.Kill()
			<-ended
			return fmt.Errorf("the controller did not end on %v:\n%s", signal, output.Bytes())
		}
		if signal == os.Interrupt && cmd.ProcessState.ExitCode() != 0 {
			return fmt.Errorf("the controller ended with %v:\n%s", cmd.ProcessState, output.Bytes())
		}
		return nil
	}}
	return poll(func() error {
		select {
		case <-ended:
			delete(s.daemons, "controller")
			return permanent{fmt.Errorf("the controller ended with %v:\n%s", cmd.ProcessState, output.Bytes())}
		default:
		}
		return s.run(io.Discard, "status")
	})
}

func (s *stage) startHealthd() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Host("manager").Healthd(ctx, s.sluice, s.controller) }()
	s.daemons["healthd"] = &daemon{end: func(os.Signal) error {
		delete(s.daemons, "healthd")
		cancel()
		return <-done
	}}
}

// run runs the command line against this stage.
func (s *stage) run(stdout io.Writer, args ...string) error {
	if args[0] == "status" {
		args = append(args, "--exit-zero") // a scenario looks at what it is about
	}
	cmd := exec.Command(s.sluice, args...)
	cmd.Env = append(os.Environ(), "SLUICE_CONTROLLER="+s.controller, "SLUICE_TARGET="+s.Target())
	cmd.Dir = s.dir
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = stdout, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("sluice %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return nil
}

// permanent ends a poll at once.
type permanent struct{ error }

// poll repeats try until it succeeds: the other side is a real process, which cannot tell us.
func poll(try func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := try()
		if err == nil {
			return nil
		}
		if p, ok := errors.AsType[permanent](err); ok {
			return p.error
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %v: %w", patience, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// get fetches url n times over new connections, at most 8 at a time, and counts the bodies.
func (s *stage) get(n int, url string) (map[string]int, []error) {
	var mu sync.Mutex
	counts := map[string]int{}
	var errs []error
	var workers sync.WaitGroup
	tickets := make(chan struct{}, n)
	for range n {
		tickets <- struct{}{}
	}
	close(tickets)
	for range min(n, 8) {
		workers.Go(func() {
			for range tickets {
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				body, err := s.client.Get(ctx, url)
				cancel()
				mu.Lock()
				if err != nil {
					errs = append(errs, err)
				} else {
					counts[strings.TrimSpace(body)]++
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return counts, errs
}

// heldConnection is an established connection that must survive what the scenario does.
type heldConnection struct {
	conn   net.Conn
	client *http.Client
	server string // who answered first
}

func (s *stage) hold(name string, n int, url string) error {
	for range n {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		conn, err := s.client.DialContext(ctx, "tcp", "10.0.0.100:80")
		cancel()
		if err != nil {
			return err
		}
		used := false
		h := &heldConnection{conn: conn, client: &http.Client{
			Timeout: 5 * time.Second,
			Transport: &http.Transport{MaxConnsPerHost: 1, DialContext: func(context.Context, string, string) (net.Conn,
				error) {
				if used {
					return nil, errors.New("the connection was lost")
				}
				used = true
				return conn, nil
			}},
		}}
		if h.server, err = h.ask(url); err != nil {
			return err
		}
		s.held[name] = append(s.held[name], h)
	}
	return nil
}

func (h *heldConnection) ask(url string) (string, error) {
	resp, err := h.client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return strings.TrimSpace(string(body)), err
}

// capture is what passed the cards of all hosts on the switch since it began.
type capture struct {
	stops []func()

	mu     sync.Mutex // guards frames
	frames []captured
}

// captured is a frame that passed a port of the switch.
type captured struct {
	port uint16
	way  port.Direction
	data []byte
}

func (s *stage) capture() (*capture, error) {
	c := new(capture)
	for _, node := range topology.Segments[0].Nodes {
		stop, err := s.Host(node.Name).Capture(func(f lab.Frame) {
			way := port.Out
			if f.Sent {
				way = port.In
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.frames = append(c.frames, captured{node.Port, way, bytes.Clone(f.Data)})
		})
		if err != nil {
			c.stop()
			return nil, fmt.Errorf("capturing at %s: %w", node.Name, err)
		}
		c.stops = append(c.stops, stop)
	}
	return c, nil
}

func (c *capture) stop() {
	for _, stop := range c.stops {
		stop()
	}
	c.stops = nil
}

// judge holds what was captured against Direct Server Return. Each card was read on its own, so the order between two
// is not known: all frames count as entered before the first left.
func (c *capture) judge() (proof.Finding, error) {
	config := topology.Segments[0].Proof(vip, switchMAC)
	config.ClaimsAllowed = true // by a server that leaks
	p := proof.New(config)
	p.RouterIsLearned() // pinned by the intent
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, way := range []port.Direction{port.In, port.Out} {
		for _, f := range c.frames {
			if f.way == way {
				p.See(f.port, way, time.Time{}, f.data)
			}
		}
	}
	switch v := p.Finding(); {
	case v.Breaches > 0:
		return v, errors.New(strings.Join(v.Broken, "; "))
	case v.Waiting > 0:
		return v, fmt.Errorf("%d of %d frames to the VIP and %d from it did not leave the switch",
			v.Waiting, v.RequestsIn, v.RepliesIn)
	case v.RequestsOut == 0 || v.RepliesOut == 0:
		return v, errors.New("no frames were captured")
	default:
		return v, nil
	}
}
