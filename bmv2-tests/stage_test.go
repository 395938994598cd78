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
)

type stageKey struct{}

// patience bounds every wait for a real process; nothing here depends on its length.
const patience = 30 * time.Second

// stage is what one scenario acts on: the lab, the web servers on it, and the daemons it started.
type stage struct {
	lab.Lab
	sluice     string // the binary
	dir        string
	controller string // its API address

	servers  []*http.Server
	daemons  map[string]*daemon
	held     map[string][]*heldConnection
	captures *dsrCapture
	frames   int      // sent by the command frame
	ill      sync.Map // servers whose health page says 503, by name
	floods   []func() // each ends one
}

func newStage(l lab.Lab, sluice, dir string) *stage {
	return &stage{
		Lab: l, sluice: sluice, dir: dir,
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
	for _, node := range lab.Nodes {
		if !node.Server {
			continue
		}
		for address, handler := range map[netip.AddrPort]http.HandlerFunc{
			netip.AddrPortFrom(lab.VIP, 80): func(w http.ResponseWriter, r *http.Request) {
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
	return errors.Join(append(errs, s.Close())...)
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
	go func() { done <- s.Healthd(ctx, s.sluice, s.controller) }()
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
				body, err := s.Get(ctx, url)
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
		conn, err := s.Client().DialContext(ctx, "tcp", "10.0.0.100:80")
		cancel()
		if err != nil {
			return err
		}
		used := false
		h := &heldConnection{conn: conn, client: &http.Client{
			Timeout: 5 * time.Second,
			Transport: &http.Transport{MaxConnsPerHost: 1, DialContext: func(context.Context, string, string) (net.Conn, error) {
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

// dsrCapture watches the wire at the router and at every server, and holds the two against each
// other: what DSR promises is checked on bytes, not inferred.
type dsrCapture struct {
	stops []func()

	mu                sync.Mutex
	toServer, toVIP   map[string]int // frames by their bytes after the destination MAC
	fromServer, reply map[string]int // frames by all their bytes
	faults            []string       // what no later frame can mend
}

func (s *stage) capture() (*dsrCapture, error) {
	c := &dsrCapture{
		toServer: map[string]int{}, toVIP: map[string]int{},
		fromServer: map[string]int{}, reply: map[string]int{},
	}
	for _, node := range lab.Nodes {
		if node.Name != "router" && !node.Server {
			continue
		}
		stop, err := s.Host(node.Name).Capture(func(f lab.Frame) { c.frame(node, f) })
		if err != nil {
			c.stop()
			return nil, fmt.Errorf("capturing at %s: %w", node.Name, err)
		}
		c.stops = append(c.stops, stop)
	}
	return c, nil
}

func (c *dsrCapture) stop() {
	for _, stop := range c.stops {
		stop()
	}
	c.stops = nil
}

// frame sorts one frame. Only TCP between the client and the VIP matters here.
func (c *dsrCapture) frame(node lab.Node, f lab.Frame) {
	if len(f.Data) < 34 || [2]byte(f.Data[12:14]) != [2]byte{8, 0} || f.Data[23] != 6 {
		return
	}
	src, dst := netip.AddrFrom4([4]byte(f.Data[26:30])), netip.AddrFrom4([4]byte(f.Data[30:34]))
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case dst == lab.VIP && node.Server && !f.Sent:
		if [6]byte(f.Data[:6]) != [6]byte(node.MAC) {
			c.faults = append(c.faults, fmt.Sprintf("%s received a frame for MAC %x", node.Name, f.Data[:6]))
		}
		c.toServer[string(f.Data[6:])]++
	case dst == lab.VIP && node.Name == "router" && f.Sent:
		c.toVIP[string(f.Data[6:])]++
	case src == lab.VIP && node.Server && f.Sent:
		if [6]byte(f.Data[6:12]) != [6]byte(node.MAC) {
			c.faults = append(c.faults, fmt.Sprintf("%s sent a frame from MAC %x", node.Name, f.Data[6:12]))
		}
		c.fromServer[string(f.Data)]++
	case src == lab.VIP && node.Name == "router" && !f.Sent:
		c.reply[string(f.Data)]++
	}
}

// verdict returns how many frames each way were proved, or why not.
func (c *dsrCapture) verdict() (requests, replies int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.faults) > 0 {
		return 0, 0, errors.New(c.faults[0])
	}
	if !maps.Equal(c.toVIP, c.toServer) {
		return 0, 0, fmt.Errorf("%d distinct frames left the router for the VIP, %d reached servers, and they are not the same but for the destination MAC", len(c.toVIP), len(c.toServer))
	}
	if !maps.Equal(c.fromServer, c.reply) {
		return 0, 0, fmt.Errorf("%d distinct frames left the servers with the VIP as source, %d reached the router, and they are not the same", len(c.fromServer), len(c.reply))
	}
	if len(c.toVIP) == 0 || len(c.reply) == 0 {
		return 0, 0, errors.New("no frames were captured")
	}
	return len(c.toVIP), len(c.reply), nil
}
