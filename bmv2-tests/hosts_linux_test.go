package bmv2tests

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicelb/sluice/bmv2-tests/lab"
	"github.com/sluicelb/sluice/bmv2-tests/lab/namespaces"
	"github.com/sluicelb/sluice/p4/packet"
)

// hosts is the lab with every role on a host of its own: they meet in a network for management, over TLS.
//
//	 10.99.0.0/24, a bridge
//	───┬──────────┬──────────┬──────────┬──────────┬───
//	 .1│        .2│        .3│        .4│        .5│
//	switch   controller   healthd     gslb     operator, who has the command line
//	   │                     │
//	   └── the lab's cables ─┴── router, web1, web2, web3
type hosts struct {
	t      *testing.T
	sluice string
	dir    string            // with the certificates
	names  map[string]string // of namespaces

	mu      sync.Mutex
	outputs map[string]*bytes.Buffer
}

var hostNumbers = map[string]uint16{"switch": 1, "controller": 2, "healthd": 3, "gslb": 4, "operator": 5}

func (h *hosts) address(host string) string { return fmt.Sprintf("10.99.0.%d", hostNumbers[host]) }

func (h *hosts) ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (h *hosts) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// meet builds the network for management. healthd is at one end of the lab's cables, too: its card here waits for it.
func (h *hosts) meet() {
	h.t.Helper()
	management := lab.Segment{Name: "management"}
	for host, n := range hostNumbers {
		node := lab.Node{Name: host, Port: n, MAC: packet.MAC{2, 0, 0, 0, 99, byte(n)}}
		if host != "healthd" {
			node.Address = netip.MustParsePrefix(h.address(host) + "/24")
		}
		management.Nodes = append(management.Nodes, node)
	}
	l, err := namespaces.New(lab.Topology{Segments: []lab.Segment{management}}, bridge{})
	h.must(err)
	closeLater(h.t, l)
	for host, n := range hostNumbers {
		h.names[host] = l.Sites[0].End(n).Namespace()
	}
}

// moveHealthd makes another host healthd's.
func (h *hosts) moveHealthd(to string) {
	h.t.Helper()
	h.must(h.ip("-n", h.names["healthd"], "link", "set", "eth0", "netns", to, "name", "mgmt0"))
	h.must(h.ip("-n", to, "address", "add", h.address("healthd")+"/24", "dev", "mgmt0"))
	h.must(h.ip("-n", to, "link", "set", "mgmt0", "up"))
	h.names["healthd"] = to
}

// command is the binary on a host, which finds its certificate there. as names the certificate.
func (h *hosts) command(ctx context.Context, host, as string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", h.names[host], h.sluice}, args...)...)
	cmd.Env = append(os.Environ(),
		"SLUICE_TLS_CA="+filepath.Join(h.dir, "ca.crt"),
		"SLUICE_TLS_CERT="+filepath.Join(h.dir, as+".crt"), "SLUICE_TLS_KEY="+filepath.Join(h.dir, as+".key"),
		"XDG_RUNTIME_DIR="+h.dir)
	cmd.Dir = h.dir
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = patience
	return cmd
}

// start runs a role until the test ends.
func (h *hosts) start(host, as string, args ...string) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	wait, err := h.run(ctx, host, as, args...)
	if err != nil {
		cancel()
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		cancel()
		if err := wait(); err != nil {
			h.t.Error(err)
		}
	})
}

func (h *hosts) run(ctx context.Context, host, as string, args ...string) (wait func() error, err error) {
	cmd := h.command(ctx, host, as, args...)
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = writer{h, out}, writer{h, out}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.outputs[host+" as "+as] = out
	h.mu.Unlock()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	return func() error {
		err := <-done
		if ctx.Err() == nil {
			return fmt.Errorf("%s ended by itself: %w\n%s", host, err, h.output(host+" as "+as))
		}
		return nil
	}, nil
}

type writer struct {
	h   *hosts
	out *bytes.Buffer
}

func (w writer) Write(p []byte) (int, error) {
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	return w.out.Write(p)
}

func (h *hosts) output(of string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.outputs[of].String()
}

// Start implements lab.Switch: the switch takes its end of the cables to a host of its own.
func (h *hosts) Start(ctx context.Context, _ string, ports map[uint16]string) (*lab.Running, error) {
	args := []string{"switch", "--grpc", "https://" + h.address("switch") + ":9559"}
	for _, port := range slices.Sorted(maps.Keys(ports)) {
		if err := errors.Join(
			h.ip("link", "set", ports[port], "netns", h.names["switch"]),
			h.ip("-n", h.names["switch"], "link", "set", ports[port], "up"),
		); err != nil {
			return nil, err
		}
		args = append(args, "--port", fmt.Sprintf("%d=%s", port, ports[port]))
	}
	wait, err := h.run(ctx, "switch", "switch", args...)
	if err != nil {
		return nil, err
	}
	return &lab.Running{Wait: wait, Pause: func(bool) error { return errors.ErrUnsupported }}, nil
}

// call runs a command on the operator's host and returns what it prints, and what it complains of.
func (h *hosts) call(as string, args ...string) (stdout, stderr string) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := h.command(ctx, "operator", as, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // stderr says why
	return out.String(), errs.String()
}

// until asks until the answer has a text.
func (h *hosts) until(what, want string, as string, args ...string) {
	h.t.Helper()
	var out, errs string
	for late := time.Now().Add(patience); !strings.Contains(out+errs, want); {
		if time.Now().After(late) {
			var logs strings.Builder
			h.mu.Lock()
			for _, name := range slices.Sorted(maps.Keys(h.outputs)) {
				fmt.Fprintf(&logs, "--- %s\n%s", name, h.outputs[name])
			}
			h.mu.Unlock()
			h.t.Fatalf("%s: sluice %s never says %q:\n%s%s\n%s", what, strings.Join(args, " "), want, out, errs,
				logs.String())
		}
		out, errs = h.call(as, args...)
	}
}

// Every role lives on a host of its own, knows the others by certificates, and does what it does on one host.
func TestRolesOnOtherHosts(t *testing.T) {
	needNamespaces(t)
	h := &hosts{
		t: t, sluice: buildSluice(t), dir: t.TempDir(),
		names: map[string]string{}, outputs: map[string]*bytes.Buffer{},
	}
	h.meet()

	// Certificates come from the command line too.
	for _, args := range [][]string{
		{"ca", h.dir},
		{"issue", h.dir, "--name", "switch", "--host", h.address("switch")},
		{"issue", h.dir, "--name", "controller", "--host", h.address("controller"), "--role", "controller"},
		{"issue", h.dir, "--name", "renewed", "--host", h.address("controller"), "--role", "controller"},
		{"issue", h.dir, "--name", "gslb", "--host", h.address("gslb"), "--role", "gslb"},
		{"issue", h.dir, "--name", "healthd", "--role", "healthd"},
		{"issue", h.dir, "--name", "boss", "--role", "operator"},
		{"issue", h.dir, "--name", "guest", "--role", "viewer"},
		{"issue", h.dir, "--name", "lost", "--role", "gslb"},
	} {
		if out, err := exec.Command(h.sluice, append([]string{"cert"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("sluice cert %v: %v\n%s", args, err, out)
		}
	}

	l, err := namespaces.New(topology, h)
	h.must(err)
	s := newStage(l, h.sluice, h.dir)
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	h.must(s.serve())
	h.moveHealthd(l.Sites[0].End(topology.Segments[0].Node("manager").Port).Namespace())
	h.must(s.writeIntent("https://" + h.address("switch") + ":9559"))
	h.must(os.WriteFile(filepath.Join(h.dir, "gslb.yaml"), fmt.Appendf(nil, `server:
  listen: ["%s:5300"]
  control: {listen: "https://%[1]s:9683"}
regions: [{name: europe}]
data_centers:
  - {name: berlin, region: europe, controller: "https://%s:9680"}
domain_lists: [{name: www, domains: [www.example.com]}]
answers:
  - {name: www-berlin, kind: vip, data_center: berlin, ipv4: 192.0.2.80, controller_vip: www}
groups: [{name: www, members: [{answer: www-berlin}]}]
rules:
  - {name: www, domains: www, clauses: [{group: www}]}
zones:
  - name: example.com
    records:
      - {name: "@", type: SOA, data: ns h 1 7200 900 1209600 5}
      - {name: "@", type: NS, data: ns}
      - {name: ns, type: A, data: 192.0.2.53}
`, h.address("gslb"), h.address("controller")), 0o644))

	controller, target := "https://"+h.address("controller")+":9680", "https://"+h.address("switch")+":9559"
	control := "https://" + h.address("gslb") + ":9683"
	h.start("controller", "controller", "controller", "--config", "sluice.yaml", "--data-dir", "data", "--listen",
		controller)
	h.start("healthd", "healthd", "healthd", "--controller", controller)
	h.start("gslb", "gslb", "gslb", "--config", "gslb.yaml")

	status := []string{"status", "--controller", controller}
	const web1, web3 = "web1     10.0.0.11     3     100  active  ", "web3     10.0.0.13     5     100  active  "
	h.until("the last server is up", web3+"up", "guest", status...)
	h.until("the switch has it", "OK             all is well", "guest", status...)
	body, err := s.client.Get(t.Context(), "http://"+vip.String()+"/")
	if err != nil || !strings.HasPrefix(body, "web") {
		t.Errorf("the client gets %q, %v", body, err)
	}
	h.until("gslb hears the controller", "192.0.2.80", "guest", "gslb", "query", "--socket", control, "www.example.com")
	h.until("the switch's tables", "slot", "guest", "table", "list", "--target", target)

	// A server dies: healthd's word reaches the switch, and the client never notices again.
	h.must(s.Host("web1").SetLink(false))
	h.until("a dead server", web1+"down", "guest", status...)
	h.must(s.Host("web1").SetLink(true))
	h.until("it is back", web1+"up", "guest", status...)

	// Who lacks a role hears which.
	for _, test := range []struct {
		as   string
		args []string
		want string
	}{
		{"guest", []string{"backend", "drain", "web1", "--controller", controller},
			"sluice: the certificate of \"guest\" has the role viewer and this needs operator\n"},
		{"healthd", status, "sluice: the certificate of \"healthd\" has the role healthd and this needs viewer\n"},
		{"switch", status, "sluice: the controller: " + controller + " refuses the certificate " + h.dir +
			"/switch.crt, of \"switch\": it is not for clients: those that are name a role\n"},
		{"switch", []string{"table", "list", "--target", target},
			"sluice: the switch: " + target + " refuses the certificate " + h.dir +
				"/switch.crt, of \"switch\": it is not for clients: those that are name a role\n"},
		{"lost", []string{"table", "list", "--target", target},
			"the certificate of \"lost\" has the role gslb and this needs viewer"},
		{"guest", []string{"gslb", "suspend", "--answer", "www-berlin", "--socket", control},
			"sluice: the certificate of \"guest\" has the role viewer and this needs operator\n"},
		{"boss", []string{"backend", "drain", "web1", "--controller", controller}, ""},
		{"boss", []string{"backend", "undrain", "web1", "--controller", controller}, ""},
		{"boss", []string{"gslb", "suspend", "--answer", "www-berlin", "--socket", control}, ""},
		{"boss", []string{"gslb", "activate", "--answer", "www-berlin", "--socket", control}, ""},
	} {
		if _, stderr := h.call(test.as, test.args...); stderr != test.want &&
			(test.want == "" || !strings.Contains(stderr, test.want)) {
			t.Errorf("%v as %s: %q, want %q", test.args, test.as, stderr, test.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	wait, err := h.run(ctx, "healthd", "lost", "healthd", "--controller", controller, "--name", "lost")
	h.must(err)
	h.must(poll(func() error {
		if out := h.output("healthd as lost"); !strings.Contains(out, "has the role gslb and this needs healthd") {
			return fmt.Errorf("a healthd with gslb's certificate does not say why it is refused:\n%s", out)
		}
		return nil
	}))
	cancel()
	h.must(wait())

	// The controller's certificate is renewed: the next caller sees the new one, and the switch, healthd and gslb stay
	// connected as they are.
	connected := h.since(controller)
	for _, ending := range []string{".crt", ".key"} {
		h.must(os.Rename(filepath.Join(h.dir, "renewed"+ending), filepath.Join(h.dir, "controller"+ending)))
	}
	h.until("after the certificate was renewed", web3+"up", "guest", status...)
	if after := h.since(controller); after != connected {
		t.Errorf("the switch was connected since %s, and is since %s", connected, after)
	}
	for _, role := range []string{"healthd as healthd", "gslb as gslb"} {
		if out := h.output(role); strings.Contains(out, "no controller") &&
			strings.Count(out, "controller connected") > 1 {
			t.Errorf("%s lost the controller:\n%s", role, out)
		}
	}
	if out := h.output("controller as controller"); !strings.Contains(out, `msg="TLS has new files"`) {
		t.Errorf("the controller does not tell of its new certificate:\n%s", out)
	}
}

// since returns since when the switch is as it is.
func (h *hosts) since(controller string) string {
	h.t.Helper()
	out, errs := h.call("guest", "status", "--controller", controller, "--json")
	var status struct {
		Switches []struct {
			State string `json:"state"`
			Since string `json:"since"`
		} `json:"switches"`
	}
	if err := json.Unmarshal([]byte(out), &status); err != nil || len(status.Switches) != 1 {
		h.t.Fatalf("status --json: %v\n%s%s", err, out, errs)
	}
	return status.Switches[0].State + " " + status.Switches[0].Since
}
