package healthd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/healthd/probe"
	"github.com/sluicelb/sluice/internal/rpc"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

func timeoutContext(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

// blackhole is a network on which nothing ever answers.
type blackhole struct{}

func (blackhole) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (blackhole) Ping(ctx context.Context, _ netip.Addr) (time.Duration, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

// controller is the health service of a controller that remembers what it is told.
type controller struct {
	api.UnimplementedControllerServiceHandler
	checks  chan *api.Checks // sent to whoever watches
	reports chan *api.ReportVerdictsRequest
	refuse  atomic.Bool // reports

	mu      sync.Mutex
	current *api.Checks // sent first to whoever watches
}

func newController(current *api.Checks) *controller {
	return &controller{checks: make(chan *api.Checks), reports: make(chan *api.ReportVerdictsRequest, 1000),
		current: current}
}

func (c *controller) WatchChecks(
	ctx context.Context, _ *api.WatchChecksRequest, s *connect.ServerStream[api.Checks],
) error {
	c.mu.Lock()
	current := c.current
	c.mu.Unlock()
	for {
		if err := s.Send(current); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case current = <-c.checks:
		}
	}
}

func (c *controller) ReportVerdicts(
	_ context.Context, r *api.ReportVerdictsRequest,
) (*api.ReportVerdictsResponse, error) {
	if c.refuse.Load() {
		return nil, connect.NewError(connect.CodeUnavailable, errors.New("not now"))
	}
	c.reports <- r
	return &api.ReportVerdictsResponse{}, nil
}

// serve runs the controller at address until stop is called.
func (c *controller) serve(t *testing.T, address string) (stop func()) {
	t.Helper()
	l, err := rpc.Listen(address, nil, rpc.Security{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, l, c, c) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// await returns the first report that is as wanted.
func (c *controller) await(
	t *testing.T, what string, want func(*api.ReportVerdictsRequest) bool,
) *api.ReportVerdictsRequest {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case r := <-c.reports:
			if want(r) {
				return r
			}
		case <-late:
			t.Fatalf("no report of %s", what)
		}
	}
}

// says reports that r has these verdicts and no others: "web1 UP, web2 FAILING".
func says(want string) func(*api.ReportVerdictsRequest) bool {
	return func(r *api.ReportVerdictsRequest) bool { return text(r) == want }
}

func text(r *api.ReportVerdictsRequest) string {
	var all []string
	for _, v := range r.Verdicts {
		all = append(all, v.Backend+" "+strings.TrimPrefix(v.Health.String(), "HEALTH_"))
	}
	return strings.Join(all, ", ")
}

// start runs a daemon until the test ends.
func start(t *testing.T, c Config) *Daemon {
	t.Helper()
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return d
}

// web is a real HTTP server that may fall ill.
type web struct {
	*httptest.Server
	ill      atomic.Bool
	requests atomic.Int64
}

func newWeb(t *testing.T, latency time.Duration) *web {
	w := &web{}
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.requests.Add(1)
		time.Sleep(latency)
		if w.ill.Load() {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(w.Close)
	return w
}

func (w *web) port() uint32 {
	return uint32(netip.MustParseAddrPort(w.Listener.Addr().String()).Port())
}

// checked is the message about pools of one backend each; pool and backend have the same name.
func checked(backends ...*api.PoolChecks) *api.Checks { return &api.Checks{Pools: backends} }

func (w *web) backend(name string) *api.PoolChecks {
	return &api.PoolChecks{
		Pool:     name,
		Backends: []*api.CheckedBackend{{Name: name, Address: "127.0.0.1"}},
		Checks: []*api.Check{{
			Type: "http", Port: w.port(), Path: "/healthz",
			Interval: durationpb.New(50 * time.Millisecond), FastInterval: durationpb.New(20 * time.Millisecond),
			Timeout: durationpb.New(5 * time.Second), Rise: 2, Fall: 2,
		}},
	}
}

func TestVerdictsReachTheController(t *testing.T) {
	one, two := newWeb(t, 0), newWeb(t, 0)
	two.ill.Store(true)
	c := newController(checked(one.backend("web1"), two.backend("web2")))
	address := "unix:" + filepath.Join(t.TempDir(), "api.sock")
	c.serve(t, address)
	d := start(t, Config{Controller: address, ReportInterval: time.Hour})
	<-d.Ready()

	// The first report is full, and empty. Changes come one by one or together, and only changes.
	if r := <-c.reports; !r.Full || len(r.Verdicts) != 0 {
		t.Errorf("first report: %v", r)
	}
	seen := map[string]string{}
	for len(seen) < 2 {
		r := <-c.reports
		if r.Full {
			t.Errorf("a full report before its time: %v", r)
		}
		for _, v := range r.Verdicts {
			seen[v.Backend] = v.Health.String() + " " + v.Reason
		}
	}
	want := map[string]string{
		"web1": "HEALTH_UP all checks pass",
		"web2": fmt.Sprintf("HEALTH_FAILING HTTP GET http://127.0.0.1:%d/healthz: status 503, want 200-299",
			two.port()),
	}
	for name, w := range want {
		if seen[name] != w {
			t.Errorf("%s: got %q, want %q", name, seen[name], w)
		}
	}

	one.ill.Store(true)
	r := c.await(t, "the change", says("web1 FAILING"))
	if v := r.Verdicts[0]; v.Since.AsTime().After(v.DetectedAt.AsTime()) ||
		time.Since(v.DetectedAt.AsTime()) > patience {
		t.Errorf("since %v, detected at %v", v.Since.AsTime(), v.DetectedAt.AsTime())
	}

	// Another set: web1 goes, web3 comes.
	c.checks <- checked(two.backend("web2"), one.backend("web3"))
	c.await(t, "the new backend", says("web3 FAILING"))
}

// A controller that does not know better sends a check that cannot be asked. The server, which answers 503, is not
// called up, and the report says why.
func TestUncheckedIsTold(t *testing.T) {
	one := newWeb(t, 0)
	one.ill.Store(true)
	b := one.backend("web1")
	b.Checks[0].Path = "/health z?x=ä"
	c := newController(checked(b))
	address := "unix:" + filepath.Join(t.TempDir(), "api.sock")
	c.serve(t, address)
	start(t, Config{Controller: address, ReportInterval: 100 * time.Millisecond})
	const why = `http check of web1/web1: not asked: path: must have a query of printable ASCII without spaces, such ` +
		`as ?site=a%20b, is "/health z?x=ä"`
	for n := 0; n < 5; {
		r := <-c.reports
		switch got := text(r); {
		case got == "web1 UNCHECKED" && r.Verdicts[0].Reason == why:
			n++
		case got != "" || n > 0:
			t.Fatalf("got %v, want unchecked: %s", r.Verdicts, why)
		}
	}
	if n := one.requests.Load(); n != 0 {
		t.Errorf("%d requests came", n)
	}
}

// A server whose answer is a torrent of control characters gets one short line.
func TestReasonsAreShort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed at the end
			}
			go func() {
				defer c.Close()
				c.Read(make([]byte, 1024))
				c.Write([]byte("\x1b[2J\x00\xff" + strings.Repeat("garbage", 8000) + "\r\n\r\n"))
				c.Read(make([]byte, 1)) // until the check resets
			}()
		}
	}()
	b := (&web{Server: &httptest.Server{Listener: l}}).backend("web1")
	c := newController(checked(b))
	address := "unix:" + filepath.Join(t.TempDir(), "api.sock")
	c.serve(t, address)
	start(t, Config{Controller: address, ReportInterval: 100 * time.Millisecond})
	reason := c.await(t, "garbage", says("web1 FAILING")).Verdicts[0].Reason
	want := fmt.Sprintf(`HTTP GET http://%s/healthz: reading the response: malformed HTTP response `+
		`"\x1b[2J\x00\xffgarbagegarbage`, l.Addr())
	if !strings.HasPrefix(reason, want) || !strings.HasSuffix(reason, "...") || len(reason) > probe.MaxLine {
		t.Errorf("got %d bytes, want %s...:\n%s", len(reason), want, reason)
	}
}

func TestFullReportsAtIntervals(t *testing.T) {
	one := newWeb(t, 0)
	c := newController(checked(one.backend("web1")))
	address := "unix:" + filepath.Join(t.TempDir(), "api.sock")
	c.serve(t, address)
	start(t, Config{Controller: address, ReportInterval: 100 * time.Millisecond})
	for range 3 {
		c.await(t, "all", func(r *api.ReportVerdictsRequest) bool { return r.Full && text(r) == "web1 UP" })
	}
}

// The controller is killed. The checks go on, a server dies meanwhile, and the controller that comes back is
// told all.
func TestControllerLostAndBack(t *testing.T) {
	one, two := newWeb(t, 0), newWeb(t, 0)
	checks := checked(one.backend("web1"), two.backend("web2"))
	address := "unix:" + filepath.Join(t.TempDir(), "api.sock")
	var log lines
	c := newController(checks)
	stop := c.serve(t, address)
	d := start(t, Config{Controller: address, ReportInterval: 200 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(&log, nil))})
	c.await(t, "all", func(r *api.ReportVerdictsRequest) bool { return r.Full && text(r) == "web1 UP, web2 UP" })

	stop()
	before := one.requests.Load()
	two.ill.Store(true)
	eventually(t, "checks without a controller", func() bool { return one.requests.Load() > before+10 })
	eventually(t, "a verdict without a controller", func() bool { return d.verdictOn("web2").health == probe.Failing })

	c = newController(checks)
	defer c.serve(t, address)()
	if r := <-c.reports; !r.Full || text(r) != "web1 UP, web2 FAILING" {
		t.Errorf("first report to the new controller: full %t, %s", r.Full, text(r))
	}
	for message, times := range map[string]int{"controller connected": 1,
		"no controller: the checks go on and the verdicts stand": 1} {
		if n := log.count(message); n < times {
			t.Errorf("logged %q %d times, want %d:\n%s", message, n, times, log.String())
		}
	}
	if n := log.count("no controller"); n != 1 {
		t.Errorf("logged %d times that there is no controller, want once:\n%s", n, log.String())
	}
}

// The controller of another user comes after healthd, at a socket that was not there before.
func TestControllerIsFoundLater(t *testing.T) {
	own, system := "unix:"+filepath.Join(t.TempDir(), "api.sock"), "unix:"+filepath.Join(t.TempDir(), "api.sock")
	var at atomic.Value
	at.Store(own)
	d, err := New(Config{ReportInterval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	looked := make(chan struct{}, 1)
	d.find = func() string {
		select {
		case looked <- struct{}{}:
		default:
		}
		return at.Load().(string)
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	go func() { done <- d.Run(ctx) }()
	<-looked
	c := newController(checked(newWeb(t, 0).backend("web1")))
	c.serve(t, system)
	at.Store(system)
	c.await(t, "all", func(r *api.ReportVerdictsRequest) bool { return r.Full && text(r) == "web1 UP" })
}

// denies is a controller that has no role for this healthd.
type denies struct{ *controller }

func (denies) ReportVerdicts(context.Context, *api.ReportVerdictsRequest) (*api.ReportVerdictsResponse, error) {
	return nil, connect.NewError(connect.CodePermissionDenied, errors.New("user sluice has the role nobody"))
}

// A controller that was away and refuses when it comes is told, once: nobody else would say it.
func TestRefusalIsTold(t *testing.T) {
	address := "unix:" + filepath.Join(t.TempDir(), "api.sock")
	var log lines
	start(t, Config{Controller: address, ReportInterval: 100 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(&log, nil))})
	eventually(t, "nobody is there", func() bool { return log.count("no such file or directory") == 1 })
	l, err := rpc.Listen(address, nil, rpc.Security{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := denies{newController(checked(newWeb(t, 0).backend("web1")))}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, l, c, c) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	eventually(t, "the refusal", func() bool { return log.count("user sluice has the role nobody") == 1 })
}

// No news is lost when a report fails: all verdicts follow.
func TestReportThatFails(t *testing.T) {
	one := newWeb(t, 0)
	c := newController(checked(one.backend("web1")))
	address := "unix:" + filepath.Join(t.TempDir(), "api.sock")
	c.serve(t, address)
	d := start(t, Config{Controller: address, ReportInterval: time.Hour})
	c.await(t, "up", says("web1 UP"))
	c.refuse.Store(true)
	one.ill.Store(true)
	eventually(t, "the verdict", func() bool { return d.verdictOn("web1").health == probe.Failing })
	c.refuse.Store(false)
	if r := c.await(t, "down", says("web1 FAILING")); !r.Full {
		// It may have gone out as news if the verdict fell together with the end of the refusal.
		t.Logf("reported as news")
	}
}

func (d *Daemon) verdictOn(name string) verdict {
	d.board.mu.Lock()
	defer d.board.mu.Unlock()
	return d.board.verdicts[backendKey{name, name}]
}

// Reports say who reports: a name that stays over restarts, and a word that each start has anew.
func TestIdentity(t *testing.T) {
	one := newWeb(t, 0)
	address := "unix:" + filepath.Join(t.TempDir(), "api.sock")
	c := newController(checked(one.backend("web1")))
	stop := c.serve(t, address)
	from := func(c *controller, name, session string) string {
		t.Helper()
		r := c.await(t, "a report of "+name, func(r *api.ReportVerdictsRequest) bool {
			return r.Healthd == name && text(r) == "web1 UP"
		})
		if len(r.Session) < 16 || (session != "") != (r.Session == session) {
			t.Errorf("session %q of %s, before %q", r.Session, name, session)
		}
		return r.Session
	}
	start(t, Config{Controller: address, Name: "a.example_1-2", ReportInterval: 100 * time.Millisecond})
	session := from(c, "a.example_1-2", "")
	from(c, "a.example_1-2", session)
	stop()
	c = newController(checked(one.backend("web1")))
	c.serve(t, address)
	from(c, "a.example_1-2", session)

	// A restart, and one that goes by the name of its host.
	start(t, Config{Controller: address, Name: "a.example_1-2", ReportInterval: 100 * time.Millisecond})
	r := c.await(t, "another session", func(r *api.ReportVerdictsRequest) bool { return r.Session != session })
	if r.Healthd != "a.example_1-2" || len(r.Session) < 16 {
		t.Errorf("after a restart: %q, session %q", r.Healthd, r.Session)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	start(t, Config{Controller: address, ReportInterval: 100 * time.Millisecond})
	from(c, host, "")
}

func TestNames(t *testing.T) {
	const rule = `must be 1..63 letters, digits, ".", "_" or "-", the first one a letter or a digit, is `
	host := func(name string, err error) func() (string, error) {
		return func() (string, error) { return name, err }
	}
	for _, tt := range []struct {
		name     string
		hostName func() (string, error)
		want     string
	}{
		{"health1", host("h", nil), "health1"},
		{"", host("h.example", nil), "h.example"},
		{"a b", host("h", nil), "name: " + rule + `"a b"`},
		{"", host("(none)", nil), "name: is not given, and the host's " + rule + `"(none)"`},
		{"", host("", errors.New("no such file")), "name: is not given, and the host's cannot be read: no such file"},
	} {
		got, err := nameOr(tt.name, tt.hostName)
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// A set of checks that is too large is not taken, and the former goes on.
func TestTooLargeASet(t *testing.T) {
	one := newWeb(t, 0)
	c := newController(checked(one.backend("web1")))
	address := "unix:" + filepath.Join(t.TempDir(), "api.sock")
	c.serve(t, address)
	var log lines
	start(t, Config{Controller: address, ReportInterval: time.Hour, Log: slog.New(slog.NewTextHandler(&log, nil))})
	c.await(t, "up", says("web1 UP"))
	huge := &api.PoolChecks{Pool: "huge"}
	for i := range maxBackends + 1 {
		huge.Backends = append(huge.Backends, &api.CheckedBackend{Name: fmt.Sprint(i)})
	}
	c.checks <- checked(huge)
	c.checks <- checked(huge)
	c.checks <- checked(one.backend("web1"), one.backend("web2"))
	c.await(t, "the next set", says("web2 UP"))
	if n := log.count("the controller asks for too many checks: those of before go on"); n != 1 {
		t.Errorf("said %d times, want once:\n%s", n, log.String())
	}
}

func TestNewRefusesOtherHosts(t *testing.T) {
	_, err := New(Config{Controller: "http://192.0.2.1:9680"})
	if want := `address "http://192.0.2.1:9680": plain text stays on this machine`; err == nil ||
		!strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s...", err, want)
	}
}

const stoppedEnv = "SLUICE_TEST_HEALTHD_CONTROLLER"

// TestMain lets the test binary be a healthd of its own, for a test to stop and continue.
func TestMain(m *testing.M) {
	if address := os.Getenv(stoppedEnv); address != "" {
		d, err := New(Config{Controller: address, ReportInterval: 200 * time.Millisecond,
			Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
		if err == nil {
			err = d.Run(context.Background())
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// A real process is stopped, for longer than the timeout, while probes are under way. It has seen no
// answer in time, and must not say that the server gave none.
func TestStoppedProcessFailsNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds of real time")
	}
	server := newWeb(t, 300*time.Millisecond) // so that a probe is always under way
	b := server.backend("web1")
	b.Checks[0].Timeout = durationpb.New(time.Second)
	b.Checks[0].Fall = 1
	c := newController(checked(b))
	address := "unix:" + filepath.Join(t.TempDir(), "api.sock")
	c.serve(t, address)
	var log lines
	healthd := exec.Command(os.Args[0])
	healthd.Env = append(os.Environ(), stoppedEnv+"="+address)
	healthd.Stderr = &log
	if err := healthd.Start(); err != nil {
		t.Fatal(err)
	}
	defer healthd.Wait()
	defer healthd.Process.Kill()
	c.await(t, "up", says("web1 UP"))
	for range 3 {
		asked := server.requests.Load()
		eventually(t, "probes", func() bool { return server.requests.Load() > asked })
		healthd.Process.Signal(syscall.SIGSTOP)
		time.Sleep(1300 * time.Millisecond) // real time of another process: nothing to wait for
		healthd.Process.Signal(syscall.SIGCONT)
		asked = server.requests.Load()
		eventually(t, "more probes", func() bool { return server.requests.Load() > asked+1 })
		for range len(c.reports) + 2 { // what has come, and what says how it is now
			if r := <-c.reports; text(r) != "web1 UP" {
				t.Fatalf("a stopped healthd failed the server: %v\n%s", r.Verdicts, log.String())
			}
		}
	}
	server.ill.Store(true)
	c.await(t, "down, when it is", says("web1 FAILING"))
}

// eventually polls, for what happens in other goroutines or processes.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for late := time.Now().Add(patience); !ok(); {
		if time.Now().After(late) {
			t.Fatalf("no %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// lines collects a log.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *lines) count(message string) int { return strings.Count(l.String(), message) }
