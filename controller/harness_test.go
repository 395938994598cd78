package controller_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/bmv2-tests/lab"
	"github.com/sluicelb/sluice/controller"
	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/store"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/packet"
	"github.com/sluicelb/sluice/p4/softswitch"
	"github.com/sluicelb/sluice/p4/softswitch/port"
	"github.com/sluicelb/sluice/p4/softswitch/server"
)

// patience is for what takes milliseconds, on a machine that does ten other things with the race detector on: the idle
// notices of 4,096 moving slots, one each drain_idle, then take all there is.
const patience = 2 * time.Minute

// target is a softswitch behind real gRPC, with an interceptor that counts writes and can refuse them.
// It keeps its address when it restarts.
//
//	controller --gRPC--> count, refuse --> softswitch --ports 1..4--> hosts of the test
type target struct {
	*lab.Site[*lab.Stack, port.Port]
	t       testing.TB
	updates atomic.Int64 // that were sent to it, refused ones too
	refuse  atomic.Pointer[func(*v1.Update) error]
	before  atomic.Pointer[func()] // called before each write
}

func newTarget(t testing.TB) *target {
	t.Helper()
	tg := &target{t: t}
	l, err := lab.InProcess(lab.Bare(4), lab.Options{Switch: tg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	tg.Site = l.Sites[0]
	return tg
}

// Start implements lab.Switch.
func (tg *target) Start(ctx context.Context, listen string, ports map[uint16]port.Port) (*lab.Running, error) {
	sw := softswitch.New(softswitch.Config{DeviceID: 1, Log: slog.New(slog.DiscardHandler)})
	for id, p := range ports {
		if err := sw.AddPort(id, p); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("tcp", cmp.Or(listen, "127.0.0.1:0"))
	if err != nil {
		return nil, err
	}
	s := grpc.NewServer(append(server.Options(), grpc.UnaryInterceptor(tg.intercept))...)
	sw.Register(s)
	var running sync.WaitGroup
	running.Go(func() { _ = sw.Run(ctx) })
	running.Go(func() { _ = s.Serve(l) })
	running.Go(func() { <-ctx.Done(); s.Stop() })
	return &lab.Running{Target: l.Addr().String(), Wait: func() error { running.Wait(); return nil }}, nil
}

func (tg *target) start() {
	tg.t.Helper()
	if err := tg.RestartSwitch(); err != nil {
		tg.t.Fatal(err)
	}
}

// hear names a function that gets what the host at a port does.
func (tg *target) hear(port uint16, f func(frame []byte)) {
	_, _ = tg.End(port).Capture(func(frame lab.Frame) {
		if !frame.Sent {
			f(frame.Data)
		}
	})
}

func (tg *target) intercept(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any,
	error) {
	w, ok := req.(*v1.WriteRequest)
	if !ok {
		return handler(ctx, req)
	}
	if f := tg.before.Load(); f != nil {
		(*f)()
	}
	tg.updates.Add(int64(len(w.Updates)))
	refuse := tg.refuse.Load()
	if refuse == nil {
		return handler(ctx, req)
	}
	details := make([]*v1.Error, len(w.Updates))
	passed := &v1.WriteRequest{DeviceId: w.DeviceId, ElectionId: w.ElectionId}
	var places []int
	failed := false
	for i, u := range w.Updates {
		details[i] = &v1.Error{CanonicalCode: int32(codes.OK)}
		if err := (*refuse)(u); err != nil {
			details[i] = &v1.Error{CanonicalCode: int32(status.Code(err)), Message: status.Convert(err).Message()}
			failed = true
			continue
		}
		places = append(places, i)
		passed.Updates = append(passed.Updates, u)
	}
	resp, err := handler(ctx, passed)
	if err != nil {
		failed = true
		for k, d := range status.Convert(err).Details() {
			details[places[k]] = d.(*v1.Error)
		}
	}
	if !failed {
		return resp, nil
	}
	var all []protoadapt.MessageV1
	for _, d := range details {
		all = append(all, protoadapt.MessageV1Of(d))
	}
	st, err := status.New(codes.Unknown, "some updates failed").WithDetails(all...)
	if err != nil {
		tg.t.Error(err)
	}
	return nil, st.Err()
}

func (tg *target) refuseIf(f func(*v1.Update) error) { tg.refuse.Store(&f) }

func (tg *target) refuseNothing() { tg.refuse.Store(nil) }

// dump prints the rows of the tables, sorted, one on a line.
func (tg *target) dump(tables ...string) string {
	tg.t.Helper()
	client, err := p4rt.Dial(tg.t.Context(), tg.Target(), 1)
	if err != nil {
		tg.t.Fatal(err)
	}
	defer client.Close()
	info := pipelineInfo(tg.t)
	var b strings.Builder
	for _, name := range tables {
		table, err := info.Table(name)
		if err != nil {
			tg.t.Fatal(err)
		}
		var lines []string
		query := p4rt.TableEntity(&v1.TableEntry{TableId: table.ID})
		for entry, err := range (p4rt.Inspector{Client: client, Info: info}).Entries(tg.t.Context(), query) {
			if err != nil {
				tg.t.Fatal(err)
			}
			lines = append(lines, entry.String())
		}
		sortLines(lines)
		for _, line := range lines {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// daemon is a controller that runs.
type daemon struct {
	*controller.Controller
	*api.Client
	t      testing.TB
	cancel context.CancelFunc
	done   chan error
}

type options struct {
	dir, file string
	endpoints []string
	election  uint64
	station   time.Duration
	log       *slog.Logger // default: shown when the test fails
	reports   string       // where load reports are answered
	keys      string       // their keys' file
	interval  time.Duration
	identity  *rpc.Identity
	metrics   string // where they are shown
	plain     bool   // switches beyond this machine may be spoken to in plain text
	also      string // where the API listens besides
}

func startController(t testing.TB, o options) *daemon {
	t.Helper()
	d, err := tryController(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func tryController(t testing.TB, o options) (*daemon, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	if o.log == nil {
		o.log = slog.New(slog.NewTextHandler(logTo(t), &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	listen := []string{"127.0.0.1:0"}
	if o.also != "" {
		listen = append(listen, o.also)
	}
	c := controller.New(controller.Config{
		File:         o.file,
		Store:        store.Config{Dir: o.dir, Endpoints: o.endpoints},
		Listen:       listen,
		StationIdle:  o.station,
		ElectionHigh: o.election,
		Log:          o.log,

		Identity:      o.identity,
		PlainSwitches: o.plain,

		Metrics:        o.metrics,
		LoadReport:     o.reports,
		LoadReportKeys: o.keys,
		LoadInterval:   o.interval,
		Session: func(s *p4rt.Config) {
			s.MinBackoff, s.MaxBackoff = 5*time.Millisecond, 50*time.Millisecond
		},
	})
	d := &daemon{Controller: c, t: t, cancel: cancel, done: make(chan error, 1)}
	go func() { d.done <- c.Run(ctx) }()
	select {
	case <-c.Ready():
	case err := <-d.done:
		cancel()
		return nil, err
	}
	var err error
	if d.Client, err = api.Dial(c.Address(), rpc.Security{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.kill)
	return d, nil
}

// kill stops the controller and waits for it.
func (d *daemon) kill() {
	if d.cancel == nil {
		return
	}
	d.Client.Close()
	d.cancel()
	d.cancel = nil
	if err := <-d.done; err != nil {
		d.t.Errorf("controller: %v", err)
	}
}

// logTo shows logs when the test fails.
func logTo(t testing.TB) io.Writer {
	var mu sync.Mutex
	var b strings.Builder
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		if t.Failed() && testing.Verbose() {
			t.Log("log:\n" + b.String())
		}
	})
	return writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return b.Write(p)
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func (d *daemon) status() *api.GetStatusResponse {
	d.t.Helper()
	m, err := d.GetStatus(d.t.Context(), &api.GetStatusRequest{})
	if err != nil {
		d.t.Fatal(err)
	}
	return m
}

// wait watches events until one matches and returns it. Events since the controller's start count.
func (d *daemon) wait(what string, match func(*api.Event) bool) *api.Event {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	stream, err := d.Client.WatchEvents(ctx, &api.WatchEventsRequest{Recent: 1000})
	if err != nil {
		d.t.Fatalf("waiting until %s: %v", what, err)
	}
	defer stream.Close()
	var seen []string
	for stream.Receive() {
		if match(stream.Msg()) {
			return stream.Msg()
		}
		seen = append(seen, stream.Msg().Text)
	}
	d.t.Fatalf("waiting until %s: %v; events:\n%s\nstatus: %v", what, stream.Err(), strings.Join(seen, "\n"),
		d.status())
	return nil
}

// since is wait for events after one.
func (d *daemon) since(after *api.Event, what string, match func(*api.Event) bool) *api.Event {
	d.t.Helper()
	return d.wait(what, func(e *api.Event) bool { return e.Sequence > after.Sequence && match(e) })
}

func (d *daemon) synced() *api.Event {
	d.t.Helper()
	return d.wait("the switch is synced", isState(api.SwitchStatus_STATE_SYNCED))
}

func isState(s api.SwitchStatus_State) func(*api.Event) bool {
	return func(e *api.Event) bool { return e.GetSwitch().GetState() == s }
}

// reprogrammed matches the report of a change whose cause contains text.
func reprogrammed(text string) func(*api.Event) bool {
	return func(e *api.Event) bool {
		return e.GetReprogrammed() != nil && strings.Contains(e.GetReprogrammed().Cause, text)
	}
}

// quiet waits until the switches hold what is decided.
func (d *daemon) quiet() {
	d.t.Helper()
	d.until("the switches hold what is decided", func(m *api.GetStatusResponse) bool { return synced(m) })
}

// atRest waits until, besides, no slot is moving that ever ends to: from then on nothing happens by itself.
func (d *daemon) atRest() {
	d.t.Helper()
	d.until("nothing moves", func(m *api.GetStatusResponse) bool {
		for _, p := range m.Pools {
			held := uint32(0) // below its floor
			for _, b := range p.Backends {
				held += b.GraceSlots
			}
			if p.Moving > held || held > 0 && p.Held == "" {
				return false
			}
		}
		return synced(m)
	})
}

// open opens so many flows to the VIP, and waits until the switch has counted them.
func (d *daemon) open(tg *target, flows int) {
	d.t.Helper()
	for n := range flows {
		tg.End(1).Inject(packet.NewTCP(packet.Segment{
			SrcMAC: packet.MAC{2, 0, 0, 0, 0, 1}, DstMAC: packet.MAC{2, 0x53, 0x4c, 0, 0, 1},
			Src: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(n >> 8), byte(n)}), 1024),
			Dst: netip.MustParseAddrPort("10.0.0.100:80"), Flags: packet.SYN,
		}))
	}
	d.until("all SYNs are counted",
		func(m *api.GetStatusResponse) bool { return m.Vips[0].Packets.GetPackets() == uint64(flows) })
}

// trusting waits until, besides being synced, no switch is the suspect in place of the servers.
func (d *daemon) trusting() {
	d.t.Helper()
	d.until("verdicts count", func(m *api.GetStatusResponse) bool {
		return synced(m) && !slices.ContainsFunc(m.Pools, func(p *api.PoolStatus) bool {
			return strings.Contains(p.Held, "does not count yet")
		})
	})
}

func synced(m *api.GetStatusResponse) bool {
	for _, s := range m.Switches {
		if s.State != api.SwitchStatus_STATE_SYNCED {
			return false
		}
	}
	return true
}

// until waits until the status is as wanted.
func (d *daemon) until(what string, is func(*api.GetStatusResponse) bool) {
	d.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		m := d.status()
		if is(m) {
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("waiting until %s: %v", what, m)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// verdict reports one verdict, detected now.
func (d *daemon) verdict(backend string, h api.Health) {
	d.t.Helper()
	now := timestamppb.Now()
	r, err := d.ReportVerdicts(d.t.Context(), &api.ReportVerdictsRequest{Verdicts: []*api.Verdict{
		{Pool: "web", Backend: backend, Health: h, Reason: "test", Since: now, DetectedAt: now},
	}})
	if err != nil || len(r.Unknown) > 0 {
		d.t.Fatalf("reporting %s: %v, %v", backend, r, err)
	}
}

func (d *daemon) admin(backend string, a api.Admin) {
	d.t.Helper()
	if _, err := d.SetBackendAdmin(d.t.Context(), &api.SetBackendAdminRequest{Backend: backend, Admin: a}); err != nil {
		d.t.Fatal(err)
	}
}

// shares prints the pool's backends as "web1 1366, web2 1365, web3 1365".
func (d *daemon) shares() string {
	d.t.Helper()
	var parts []string
	for _, p := range d.status().Pools {
		for _, b := range p.Backends {
			s := fmt.Sprintf("%s %d", b.Name, b.Slots)
			if b.MovingIn+b.MovingOut > 0 {
				s += fmt.Sprintf(" in %d out %d", b.MovingIn, b.MovingOut)
			}
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ", ")
}

// intent is a configuration of one pool of three on a switch.
func intent(address string) string {
	return fmt.Sprintf(`switches:
  - {name: leaf1, address: %q, device_id: 1, ports: [1, 2, 3, 4]}
vip_mac: 02:53:4c:00:00:01
pools:
  - name: web
    slots: 256
    drain_idle: 500ms
    grace: 200ms
    checks:
      - {type: tcp, port: 80}
    backends:
      - {name: web1, address: 10.0.0.11, mac: "02:00:00:00:00:11", switch_port: 2}
      - {name: web2, address: 10.0.0.12, mac: "02:00:00:00:00:12", switch_port: 3}
      - {name: web3, address: 10.0.0.13, mac: "02:00:00:00:00:13", switch_port: 4}
vips:
  - {name: www, address: 10.0.0.100, port: 80, pool: web}
`, address)
}

func writeFile(t testing.TB, dir, text string) string {
	t.Helper()
	file := filepath.Join(dir, "sluice.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// setup starts a switch and a controller of it, and waits until they agree.
func setup(t *testing.T) (*target, *daemon, options) {
	t.Helper()
	tg := newTarget(t)
	dir := t.TempDir()
	o := options{dir: dir, file: writeFile(t, dir, intent(tg.Target()))}
	d := startController(t, o)
	d.synced()
	return tg, d, o
}
