package bmv2tests

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicelb/sluice/bmv2-tests/lab"
	"github.com/sluicelb/sluice/bmv2-tests/lab/namespaces"
	"github.com/sluicelb/sluice/controller"
	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/store"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/p4/packet"
)

// What a host sends at line rate holds up neither a failover nor a drain, on switches that are processes of
// their own: `go test ./controller -run TestFloodsHoldUpNothing` is the same in one process.
//
//	client ---- 1 |        | 2 -- web1
//	              | switch | 3 -- web2, dies and drains
//	              |        | 4 -- web3, floods
func TestFloodsOnTargets(t *testing.T) {
	needNamespaces(t)
	t.Run("softswitch-veth", func(t *testing.T) { floodTarget(t, namespaces.Softswitch(buildSluice(t)), 10_000) })
	t.Run("bmv2", func(t *testing.T) {
		if _, err := exec.LookPath("simple_switch_grpc"); err != nil {
			t.Skip("simple_switch_grpc is not on PATH")
		}
		// It forwards a few times as much, so that what waits does so in the controller.
		floodTarget(t, namespaces.BMv2, 5_000)
	})
}

const floodIntent = `switches:
  - {name: leaf1, address: %q, device_id: 1, ports: [1, 2, 3, 4]}
vip_mac: 02:53:4c:00:00:01
pools:
  - name: web
    slots: 256
    drain_idle: 1s
    checks: [{type: tcp, port: 80}]
    backends:
      - {name: web1, address: 10.0.0.11, mac: "02:00:00:00:00:11", switch_port: 2}
      - {name: web2, address: 10.0.0.12, mac: "02:00:00:00:00:12", switch_port: 3}
      - {name: web3, address: 10.0.0.13, mac: "02:00:00:00:00:13", switch_port: 4}
vips:
  - {name: www, address: 10.0.0.100, port: 80, pool: web}
`

// flooded is a controller of a switch whose ports are the test's.
type flooded struct {
	t      *testing.T
	cables *lab.Site[*namespaces.Machine, string]
	client *api.Client
	last   atomic.Int64 // UnixNano: when a new flow came to web2
}

func floodTarget(t *testing.T, sw lab.Switch[string], rate int) {
	const floor = 200 * time.Millisecond // noise of the machine, which would count for much in what takes milliseconds
	f := newFlooded(t, sw)
	defer f.send(500, func(n int) []byte {
		return packet.NewTCP(packet.Segment{
			SrcMAC: packet.MAC{2, 0, 0, 0, 0, 0xc}, DstMAC: packet.MAC{2, 0x53, 0x4c, 0, 0, 1},
			Src: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(1024+n%60_000)),
			Dst: netip.AddrPortFrom(vip, 80), Flags: packet.SYN,
		})
	}, 1)()
	failover, failovers := median(repeat, f.failover)
	drain, drains := median(repeat, f.drain)
	t.Logf("in peace: a dead server gets new flows for %v, a drain takes %v", failovers, drains)
	plain := func(mac packet.MAC) []byte {
		return append(packet.AppendEthernet(nil, packet.MAC{2, 0, 0, 0, 0, 0x99}, mac, 0x88b5), make([]byte, 46)...)
	}
	for _, flood := range []struct {
		name  string
		ports []uint16 // in turns
		told  func(*api.Event) bool
		frame func(n int) []byte
	}{
		{"claims", []uint16{4}, func(e *api.Event) bool { return e.GetArpClaim() != nil }, func(n int) []byte {
			mac := packet.MAC{2, 9, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
			return packet.NewARPReply(mac, vip, packet.Broadcast, vip)
		}},
		{"new MACs", []uint16{4}, func(e *api.Event) bool { return e.GetStationsFull() != nil }, func(n int) []byte {
			return plain(packet.MAC{2, 8, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
		}},
		{"moves", []uint16{4, 3}, func(e *api.Event) bool { return e.GetStation() != nil }, func(n int) []byte {
			return plain(packet.MAC{2, 7, 0, 0, 0, byte(n / 2 % 64)})
		}},
	} {
		func() {
			noticed := f.noticed(flood.told)
			defer f.send(rate/slowdown, flood.frame, flood.ports...)()
			noticed()
			got, all := median(repeat, f.failover)
			gotDrain, allDrains := median(repeat, f.drain)
			t.Logf("in the flood of %s: a dead server gets new flows for %v, a drain takes %v", flood.name, all,
				allDrains)
			if limit := 2 * max(failover, floor); got > limit && !raceDetector {
				t.Errorf("failover takes %v in the flood of %s and %v in peace, want %v at most", got, flood.name,
					failover, limit)
			}
			if limit := 2 * max(drain, floor); gotDrain > limit && !raceDetector {
				t.Errorf("a drain takes %v in the flood of %s and %v in peace, want %v at most", gotDrain, flood.name,
					drain, limit)
			}
		}()
	}
}

func newFlooded(t *testing.T, sw lab.Switch[string]) *flooded {
	t.Helper()
	l, err := namespaces.New(lab.Bare(4), sw)
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, l)
	cables := l.Sites[0]
	f := &flooded{t: t, cables: cables}
	stop, err := cables.End(3).Capture(func(frame lab.Frame) {
		in := packet.Ethernet(frame.Data)
		if !frame.Sent && in.IsValid() && in.Dst() == (packet.MAC{2, 0, 0, 0, 0, 0x12}) {
			f.last.Store(time.Now().UnixNano())
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	dir := t.TempDir()
	file := filepath.Join(dir, "sluice.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, floodIntent, cables.Target()), 0o600); err != nil {
		t.Fatal(err)
	}
	c := controller.New(controller.Config{
		File: file, Store: store.Config{Dir: filepath.Join(dir, "data")},
		Listen: []string{"unix:" + filepath.Join(dir, "api.sock")},
		Log:    slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-c.Ready():
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	if f.client, err = api.Dial(c.Address(), rpc.Security{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.client.Close() })
	f.atRest()
	return f
}

// send sends frames at a rate into ports, in turns, until stop is called.
func (f *flooded) send(rate int, frame func(n int) []byte, ports ...uint16) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		began := time.Now()
		for n := 0; ; {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				want := int(now.Sub(began).Seconds() * float64(rate))
				n = max(n, want-256) // what the machine has missed is not made up for
				for ; n < want; n++ {
					_ = f.cables.End(ports[n%len(ports)]).Inject(frame(n)) // the kernel may have no room
				}
			}
		}
	})
	return func() { cancel(); running.Wait() }
}

// until waits until is says so.
func (f *flooded) until(what string, is func() bool) {
	f.t.Helper()
	for began := time.Now(); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > patience {
			f.t.Fatalf("waiting in vain until %s: %v", what, f.status())
		}
	}
}

func (f *flooded) status() *api.GetStatusResponse {
	f.t.Helper()
	m, err := f.client.GetStatus(f.t.Context(), &api.GetStatusRequest{})
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

func (f *flooded) atRest() {
	f.t.Helper()
	f.until("the switch is synced and nothing moves", func() bool {
		m := f.status()
		return m.Switches[0].State == api.SwitchStatus_STATE_SYNCED && m.Pools[0].Moving == 0
	})
}

// noticed returns what waits until the controller has told of a flood that comes after the call.
func (f *flooded) noticed(told func(*api.Event) bool) (wait func()) {
	f.t.Helper()
	events, err := f.client.WatchEvents(f.t.Context(), &api.WatchEventsRequest{})
	if err != nil {
		f.t.Fatal(err)
	}
	return func() {
		f.t.Helper()
		defer events.Close()
		for events.Receive() {
			if told(events.Msg()) {
				return
			}
		}
		f.t.Fatal(events.Err())
	}
}

func (f *flooded) busy() {
	f.t.Helper()
	began := time.Now().UnixNano()
	f.until("new flows go to web2", func() bool { return f.last.Load() > began })
}

func (f *flooded) report(h api.Health) {
	f.t.Helper()
	_, err := f.client.ReportVerdicts(f.t.Context(), &api.ReportVerdictsRequest{
		Verdicts: []*api.Verdict{{Pool: "web", Backend: "web2", Health: h}},
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// failover returns for how long a dead server gets new flows, and leaves things as they were.
func (f *flooded) failover() time.Duration {
	f.t.Helper()
	const silence = 300 * time.Millisecond
	f.busy()
	began := time.Now()
	f.report(api.Health_HEALTH_DOWN)
	f.until("the dead server gets no new flows", func() bool {
		return time.Since(began) > silence && time.Since(time.Unix(0, f.last.Load())) > silence
	})
	took := max(0, time.Unix(0, f.last.Load()).Sub(began))
	f.report(api.Health_HEALTH_UP)
	f.busy()
	f.atRest()
	return took
}

// drain returns how long a drain takes, and leaves things as they were.
func (f *flooded) drain() time.Duration {
	f.t.Helper()
	admin := func(a api.Admin) {
		f.t.Helper()
		_, err := f.client.SetBackendAdmin(f.t.Context(), &api.SetBackendAdminRequest{Backend: "web2", Admin: a})
		if err != nil {
			f.t.Fatal(err)
		}
	}
	f.busy()
	began := time.Now()
	admin(api.Admin_ADMIN_DRAIN)
	f.until("web2 is drained", func() bool { return f.status().Pools[0].Backends[1].Drained })
	took := time.Since(began)
	admin(api.Admin_ADMIN_ACTIVE)
	f.busy()
	f.atRest()
	return took
}

// median does something a few times.
func median(n int, f func() time.Duration) (time.Duration, []time.Duration) {
	var all []time.Duration
	for range n {
		all = append(all, f())
	}
	slices.Sort(all)
	return all[n/2], all
}
