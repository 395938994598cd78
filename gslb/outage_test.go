package gslb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/controller"
	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/store"
	"github.com/sluicelb/sluice/gslb/control"
	"github.com/sluicelb/sluice/healthd/check"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/softswitch"
)

// These have this test run as a controller: its directory, and the address of its load reports.
const (
	controllerEnv = "SLUICE_TEST_CONTROLLER"
	reportsEnv    = "SLUICE_TEST_LOAD_REPORTS"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(controllerEnv); dir != "" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		c := controller.New(controller.Config{
			File: filepath.Join(dir, "sluice.yaml"), Store: store.Config{Dir: filepath.Join(dir, "data")},
			Listen:     []string{"unix:" + filepath.Join(dir, "api")},
			LoadReport: os.Getenv(reportsEnv), LoadReportKeys: filepath.Join(dir, "keys"),
			Session: func(c *p4rt.Config) { c.MaxBackoff = time.Second },
		})
		if err := c.Run(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// badNetwork is this machine's, but for one address that says nothing and for pings, which take a right.
type badNetwork struct{ check.Kernel }

const darkAddress = "127.0.9.9:9"

func (n badNetwork) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if address == darkAddress {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return n.Kernel.DialContext(ctx, network, address)
}

func (badNetwork) Ping(context.Context, netip.Addr) (time.Duration, error) {
	return 0, fmt.Errorf("%w: operation not permitted", check.ErrNotAsked)
}

// darkNetwork is one in which nobody answers, and pings take a right.
type darkNetwork struct{ badNetwork }

func (darkNetwork) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// The example of the documents answers at once without privileges, or anything behind the addresses.
func TestExampleWithoutPrivileges(t *testing.T) {
	r := startWith(t, func(text string) string { return text }, func(c *Config) {
		c.File, c.Network = "../docs/examples/gslb.yaml", darkNetwork{}
	})
	for _, tt := range []struct{ name, want string }{
		{"www.example.com.", "192.0.2.1"},
		{"shop.example.com.", "192.0.2.1"}, // of the third clause: nothing is known of the first two
		{"img7.example.com.", "192.0.2.1"},
		{"static.example.com.", "REFUSED"}, // unknown: down
		{"app.example.net.", "192.0.2.1"},
		{"a.tenants.example.org.", "192.0.2.1"},
	} {
		if got := r.address(tt.name); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestOutages: nobody gets a wrong answer, or none, whatever becomes of what gslb learns from.
//
//	clients ══UDP══▶ gslb ── keepalive ──▶ web of fra
//	                  │ └─── keepalive ──▶ dark, may not be asked
//	                  └── API, load reports ──▶ controller of fra ── cable ──▶ switch
//	                       killed, stopped: ┘           └ cut
//
// Clients ask throughout: while the servers are dark at the start, while the controller has not come yet, loses its
// switch, is stopped, goes on, is killed and comes back, while the configuration is written in parts, and while it is
// reloaded under 5,000 queries a second.
func TestOutages(t *testing.T) {
	dir, err := os.MkdirTemp("", "gslb") // the path of a unix socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	toSwitch := newCable(t)
	intent := fmt.Sprintf(`switches:
  - {name: leaf1, address: %q, device_id: 1, ports: [1, 2, 3]}
vip_mac: 02:53:4c:00:00:01
pools:
  - name: web
    slots: 64
    checks: [{type: tcp, port: 80}]
    backends: [{name: web1, address: 10.0.0.11, mac: "02:00:00:00:00:11", switch_port: 2}]
vips:
  - {name: www, address: 10.0.0.100, port: 80, pool: web}
`, toSwitch.Addr())
	const secret = "the secret of this test"
	for name, content := range map[string]string{"sluice.yaml": intent, "keys": secret} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	reports, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	reportsAt := netip.MustParseAddrPort(reports.LocalAddr().String())
	reports.Close()
	t.Setenv(reportsEnv, reportsAt.String())

	// The switch has what it serves by, from a controller that is gone: an empty one serves nobody, and is rightly
	// called down.
	process := startController(t, dir)
	waitLive(t, "unix:"+filepath.Join(dir, "api"))
	process.kill()

	// zones are n static ones, which a half-written file loses.
	zones := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "  - {name: z%d.test, records: [{name: '@', type: SOA, data: ns h 1 7200 900 1209600 5}, "+
				"{name: '@', type: NS, data: ns}, {name: ns, type: A, data: 192.0.2.53}]}\n", i)
		}
		return b.String()
	}
	const static = 40
	var text string
	r := startWith(t, func(base string) string {
		_, web, _ := strings.Cut(base, "port: ")
		web, _, _ = strings.Cut(web, ",")
		// fra needs its controller, too, and there are names whose first answers nothing is known of.
		base = strings.Replace(base, "{name: fra, region: europe}",
			"{name: fra, region: europe, controller: 'unix:"+filepath.Join(dir, "api")+"'}", 1)
		base = strings.Replace(base, "owner: shop, keepalives:", "owner: shop, controller_vip: www, keepalives:", 1)
		base = strings.Replace(base, "unknown: down, ", "", 1)
		base = strings.Replace(base, "groups:\n",
			`  - {name: dark, kind: vip, ipv4: 192.0.2.8, keepalives: [{kind: tcp, address: 127.0.9.9, port: 9}]}
  - {name: unasked, kind: vip, ipv4: 192.0.2.7, keepalives: [{kind: icmp}]}
  - name: loaded
    kind: vip
    ipv4: 192.0.2.6
    keepalives:
      - {kind: tcp, address: 127.0.0.1, port: `+web+`, timing: {preset: custom, interval: 100ms, timeout: 1s}}
      - {kind: load_report, address: 127.0.0.1, port: `+fmt.Sprint(reportsAt.Port())+`, vip: "10.0.0.100:80", key: `+secret+`, timing: {preset: custom, interval: 100ms, timeout: 1s}}
groups:
  - {name: loaded, members: [{answer: loaded}]}
  - {name: dark, members: [{answer: dark}]}
  - {name: unasked, members: [{answer: unasked}]}
  - {name: fra, members: [{answer: fra-www}]}
  - {name: ams, members: [{answer: ams-www}]}
`, 1)
		base = strings.Replace(base, "domain_lists: [", "domain_lists: [{name: dark, domains: [dark.example.com]}, "+
			"{name: loaded, domains: [loaded.example.com]}, {name: unasked, domains: [unasked.example.com]}, {name: "+
			"fra, domains: [fra.example.com]}, ", 1)
		base = strings.Replace(base, "rules:\n", `rules:
  - {name: dark, domains: dark, all_down: no_data, clauses: [{group: dark}, {group: ams}]}
  - {name: unasked, domains: unasked, clauses: [{group: unasked}]}
  - {name: loaded, domains: loaded, all_down: no_data, max_wait: 30s, clauses: [{group: loaded}]}
  - {name: fra, domains: fra, all_down: no_data, max_wait: 30s, clauses: [{group: fra}]}
`, 1)
		text = base + zones(static)
		return text
	}, func(c *Config) { c.Network, c.Hold = badNetwork{}, 2*time.Second })

	var fraIsUp atomic.Bool
	clients := newClients(t, r.Addrs()[0].String())
	clients.ask("www.example.com.", func(a string) bool {
		return a == "192.0.2.1" ||
			a == "192.0.2.2" && !fraIsUp.Load()
	})
	clients.ask("fra.example.com.", func(a string) bool { return a == "192.0.2.1" })
	clients.ask("dark.example.com.", func(a string) bool { return a == "192.0.2.2" })
	clients.ask("loaded.example.com.", func(a string) bool { return a == "192.0.2.6" })
	clients.ask("unasked.example.com.", func(a string) bool { return a == "192.0.2.7" })
	for i := range 4 {
		clients.ask(fmt.Sprintf("ns.z%d.test.", static-1-i), func(a string) bool { return a == "192.0.2.53" })
	}
	// told waits until the controller's word on fra, and its load report, are as wanted.
	told := func(what string, ok, report func(p *control.ProbeStatus) bool) {
		t.Helper()
		r.eventually(what, func() bool {
			for answer, ok := range map[string]func(p *control.ProbeStatus) bool{"fra-www": ok, "loaded": report} {
				m, err := r.api.GetStatus(t.Context(),
					&control.GetStatusRequest{Selector: &control.Selector{Answer: answer}})
				if err != nil {
					t.Fatal(err)
				}
				if !ok(m.Answers[0].Probes[1]) {
					return false
				}
			}
			return true
		})
		if text := clients.complaints(); text != "" {
			t.Fatalf("until %s: %s\nlog:\n%s", what, text, r.log)
		}
	}
	is := func(state control.State, reason string) func(p *control.ProbeStatus) bool {
		return func(p *control.ProbeStatus) bool { return p.State == state && strings.Contains(p.Reason, reason) }
	}
	live, silent, blind := is(control.State_STATE_UP, ""), is(control.State_STATE_DOWN, "load of VIP"),
		is(control.State_STATE_DOWN, "it sees nothing of it")

	r.eventually("fra is up", func() bool { return r.address("www.example.com.") == "192.0.2.1" })
	fraIsUp.Store(true)
	told("there was no controller for long", is(control.State_STATE_DOWN, "has not been heard yet"), silent)
	process = startController(t, dir)
	told("the controller has its switch", live, live)

	toSwitch.cut(true)
	told("the controller has lost its switch", is(control.State_STATE_DOWN, "no switch is connected"), blind)
	toSwitch.cut(false)
	told("the controller has its switch again", live, live)

	process.signal(syscall.SIGSTOP)
	toSwitch.cut(true) // which gives a controller up that says nothing
	told("the controller is stopped", is(control.State_STATE_DOWN, "was heard last"), silent)
	process.signal(syscall.SIGCONT)
	told("the controller goes on, without its switch", is(control.State_STATE_DOWN, "no switch is connected"), blind)
	toSwitch.cut(false)
	told("the controller goes on", live, live)

	process.kill()
	told("the controller is dead", is(control.State_STATE_DOWN, "was heard last"), silent)
	startController(t, dir)
	told("the controller is back", live, live)

	// A writer that pauses: half of the zones are there, for longer than a file must be left alone.
	refused := func() string {
		m, err := r.api.GetStatus(t.Context(),
			&control.GetStatusRequest{Selector: &control.Selector{Answer: "fra-www"}})
		if err != nil {
			t.Fatal(err)
		}
		return m.ConfigError
	}
	half := len(text) - len(zones(static)) + len(zones(static/2))
	file, err := os.OpenFile(r.file, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{text[:half], text[half:]} {
		if _, err := file.WriteString(part); err != nil {
			t.Fatal(err)
		}
		waits := len(part) == half
		r.eventually("the file is looked at",
			func() bool { return strings.HasPrefix(refused(), "waits for SIGHUP") == waits })
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}

	// Reloads, each with other zones and another question to fra's server, while 5,000 queries are asked each second.
	clients.hurry()
	before := clients.asked.Load()
	began := time.Now()
	for i := range 20 {
		hangUp := []string{"rst", "fin"}[i%2]
		r.write(strings.Replace(text, "{kind: tcp, ", "{kind: tcp, close: "+hangUp+", ",
			1) + strings.ReplaceAll(zones(i), "name: z", "name: more"))
		if _, err := r.api.Reload(t.Context(), &control.ReloadRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	r.eventually("enough is asked", func() bool { return clients.asked.Load()-before > 5000 })
	t.Logf("%.0f queries a second during the reloads", float64(clients.asked.Load()-before)/time.Since(began).Seconds())

	clients.stop()
	if text := clients.complaints(); text != "" {
		t.Errorf("%s\nlog:\n%s", text, r.log)
	}
	t.Logf("%d queries, none answered wrongly, none lost", clients.asked.Load())
}

// testClients are DNS clients that ask one query after the other, over UDP, until they are stopped.
type testClients struct {
	t      *testing.T
	server string
	ctx    context.Context
	cancel context.CancelFunc
	all    sync.WaitGroup
	n      int           // clients
	pause  atomic.Int64  // of a client from one query to the next
	asked  atomic.Uint64 // and answered, or lost

	mu      sync.Mutex // guards the rest
	wrong   int
	lost    int
	samples []string
}

func newClients(t *testing.T, server string) *testClients {
	c := &testClients{t: t, server: server}
	c.pause.Store(int64(5 * time.Millisecond))
	c.ctx, c.cancel = context.WithCancel(context.Background())
	t.Cleanup(c.stop)
	return c
}

func (c *testClients) stop() {
	c.cancel()
	c.all.Wait()
}

// hurry has all clients together ask 5,000 queries a second.
func (c *testClients) hurry() { c.pause.Store(int64(c.n) * int64(time.Second) / 5000) }

// ask starts a client that asks for the A record of a name. right says whether an address is a right answer; what is no
// address is the RCODE.
func (c *testClients) ask(name string, right func(address string) bool) {
	conn, err := net.Dial("udp", c.server)
	if err != nil {
		c.t.Fatal(err)
	}
	c.n++
	c.all.Go(func() {
		defer conn.Close()
		buf := make([]byte, 1232)
		for next := time.Now(); c.ctx.Err() == nil; next = next.Add(time.Duration(c.pause.Load())) {
			time.Sleep(time.Until(next)) // no longer than a pause
			answer, err := exchange(conn, name, buf)
			c.asked.Add(1)
			if err == nil && right(answer) {
				continue
			}
			c.mu.Lock()
			if err != nil {
				c.lost++
				answer = err.Error()
			} else {
				c.wrong++
			}
			if len(c.samples) < 10 {
				c.samples = append(c.samples, name+" "+answer)
			}
			c.mu.Unlock()
		}
	})
}

// exchange asks once, and gives a busy machine time to answer.
func exchange(conn net.Conn, name string, buf []byte) (answer string, err error) {
	query := new(dns.Msg).SetQuestion(name, dns.TypeA)
	wire, err := query.Pack()
	if err != nil {
		return "", err
	}
	conn.SetDeadline(time.Now().Add(40 * time.Second))
	if _, err := conn.Write(wire); err != nil {
		return "", err
	}
	n, err := conn.Read(buf)
	if err != nil {
		return "", err
	}
	reply := new(dns.Msg)
	if err := reply.Unpack(buf[:n]); err != nil {
		return "", err
	}
	switch {
	case reply.Id != query.Id:
		return "", errors.New("the reply is to another query")
	case len(reply.Answer) == 1 && reply.Answer[0].Header().Rrtype == dns.TypeA:
		return reply.Answer[0].(*dns.A).A.String(), nil
	}
	return dns.RcodeToString[reply.Rcode], nil
}

// complaints are empty while all is well.
func (c *testClients) complaints() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wrong+c.lost == 0 {
		return ""
	}
	return fmt.Sprintf("of %d queries %d were answered wrongly and %d not at all, as %s", c.asked.Load(), c.wrong,
		c.lost, strings.Join(c.samples, "; "))
}

// cable is the way from the controller to an embedded switch.
type cable struct {
	net.Listener
	to string

	mu    sync.Mutex // guards the rest
	isCut bool
	conns map[net.Conn]bool
}

func newCable(t *testing.T) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- softswitch.New(softswitch.Config{DeviceID: 1, Log: slog.New(slog.DiscardHandler)}).RunAndServe(ctx, l)
	}()
	c := &cable{to: l.Addr().String(), conns: make(map[net.Conn]bool)}
	if c.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() { // ends with the listener
		for {
			near, err := c.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", c.to)
			if err != nil || !c.add(near, far) {
				near.Close()
				if err == nil {
					far.Close()
				}
				continue
			}
			for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
				all.Go(func() {
					io.Copy(pair[0], pair[1])
					pair[0].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		c.cut(true)
		c.Close()
		all.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return c
}

// add takes connections in unless the cable is cut.
func (c *cable) add(conns ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		c.conns[conn] = true
	}
	return !c.isCut
}

// cut cuts the cable, or mends it.
func (c *cable) cut(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.isCut = on
	for conn := range c.conns {
		conn.Close()
	}
	clear(c.conns)
}

// controllerProcess is a controller in a process of its own.
type controllerProcess struct {
	t    *testing.T
	cmd  *exec.Cmd
	said *syncBuffer
}

func startController(t *testing.T, dir string) *controllerProcess {
	t.Helper()
	p := &controllerProcess{t: t, cmd: exec.Command(os.Args[0]), said: new(syncBuffer)}
	p.cmd.Env = append(os.Environ(), controllerEnv+"="+dir)
	p.cmd.Stdout, p.cmd.Stderr = p.said, p.said
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

// waitLive waits until a controller says that its VIPs are live.
func waitLive(t *testing.T, address string) {
	t.Helper()
	client, err := api.Dial(address, rpc.Security{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		stream, err := client.WatchVIPs(t.Context(), &api.WatchVIPsRequest{})
		if err != nil {
			continue // it has not come yet
		}
		for stream.Receive() {
			if vips := stream.Msg().Vips; len(vips) > 0 && vips[0].State == api.VIPStatus_STATE_ACTIVE {
				stream.Close()
				return
			}
		}
	}
	t.Fatal("the controller has no live VIP within a minute")
}

func (p *controllerProcess) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%v: %s", err, p.said)
	}
}

func (p *controllerProcess) kill() {
	_ = p.cmd.Process.Kill() // which it may be already
	_ = p.cmd.Wait()         // killed
}
