package watch_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller"
	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/store"
	"github.com/sluicelb/sluice/gslb/awake"
	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/watch"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/p4/softswitch"
)

const patience = time.Minute // for what takes milliseconds

// The whole way: softswitch <--P4Runtime-- controller --WatchVIPs--> Watcher.
func TestRealController(t *testing.T) {
	dir, err := os.MkdirTemp("", "sluice") // the path of a unix socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	background(t, func(ctx context.Context) error {
		return softswitch.New(softswitch.Config{DeviceID: 1, Log: slog.New(slog.DiscardHandler)}).RunAndServe(ctx, l)
	})
	file, socket := filepath.Join(dir, "sluice.yaml"), "unix:"+filepath.Join(dir, "api")
	intent := fmt.Sprintf(`switches:
  - {name: leaf1, address: %q, device_id: 1, ports: [1, 2, 3]}
vip_mac: 02:53:4c:00:00:01
pools:
  - name: web
    slots: 64
    checks: [{type: tcp, port: 80}]
    backends:
      - {name: web1, address: 10.0.0.11, mac: "02:00:00:00:00:11", switch_port: 2, weight: 300}
      - {name: web2, address: 10.0.0.12, mac: "02:00:00:00:00:12", switch_port: 3}
vips:
  - {name: www, address: 10.0.0.100, port: 80, pool: web}
  - {name: off, address: 10.0.0.101, port: 80, pool: web, enabled: false}
`, l.Addr())
	if err := os.WriteFile(file, []byte(intent), 0o600); err != nil {
		t.Fatal(err)
	}
	start := func() (stop func()) {
		c := controller.New(controller.Config{File: file, Store: store.Config{Dir: filepath.Join(dir, "data")},
			Listen: []string{socket}})
		return background(t, c.Run)
	}
	changed := make(chan struct{}, 1)
	clock := awake.New(nil)
	background(t, clock.Run)
	w := watch.New(watch.Deps{
		Clock:       clock,
		Hold:        10 * patience, // for slow machines
		DataCenters: []config.DataCenter{{Name: "dc1", Region: config.None, Controller: socket}},
		OnChange: func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		},
	})
	background(t, w.Run)
	// until waits until the VIP is as wanted, and fails when it is something in between that it must not be.
	until := func(what, vip string, want watch.VIP, never func(watch.VIP) bool) {
		t.Helper()
		deadline := time.After(patience)
		for {
			got := w.VIP("dc1", vip)
			diff := cmp.Diff(want, got, cmpopts.IgnoreFields(watch.VIP{}, "Since"))
			if diff == "" {
				return
			}
			if never != nil && never(got) {
				t.Fatalf("waiting until %s, it is %+v", what, got)
			}
			select {
			case <-changed:
			case <-deadline:
				t.Fatalf("waiting until %s (-want +got):\n%s", what, diff)
			}
		}
	}
	say := func(backend string, h api.Health) {
		t.Helper()
		client, err := api.Dial(socket, rpc.Security{})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		now := timestamppb.Now()
		if _, err := client.ReportVerdicts(t.Context(), &api.ReportVerdictsRequest{Verdicts: []*api.Verdict{
			{Pool: "web", Backend: backend, Health: h, Reason: "test", Since: now, DetectedAt: now},
		}}); err != nil {
			t.Fatal(err)
		}
	}
	stop := start()
	until("the controller has its switch", "www", watch.VIP{Heard: true, Live: true, LiveBackends: 2, TotalBackends: 2},
		nil)
	until("the disabled one is dead", "off", watch.VIP{Heard: true, Load: 255, LiveBackends: 2, TotalBackends: 2,
		Reason: "disabled by the intent"}, nil)
	until("one that is not there is dead", "none",
		watch.VIP{Heard: true, Load: 255, Reason: `the controller has no VIP "none"`}, nil)
	say("web1", api.Health_HEALTH_DOWN)
	quarter := watch.VIP{Heard: true, Live: true, LiveBackends: 1, TotalBackends: 2, Load: 191}
	until("three quarters are gone", "www", quarter, nil)

	// A restart of the controller takes nobody away. What it has not written by then, the switch does not know of web1.
	written := func() bool {
		t.Helper()
		client, err := api.Dial(socket, rpc.Security{})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		m, err := client.GetStatus(t.Context(), &api.GetStatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		web1 := m.Pools[0].Backends[0]
		return web1.Slots == 0 && len(web1.Unwritten) == 0
	}
	for deadline := time.Now().Add(patience); !written(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the switch does not hold that web1 is down")
		}
	}
	stop()
	dead := func(v watch.VIP) bool { return !v.Live || !v.Known() }
	for w.Controller("dc1").Connected {
		until("the controller restarts", "www", quarter, dead)
		<-changed
	}
	start()
	for !w.Controller("dc1").Connected {
		until("the controller is back", "www", quarter, dead)
		<-changed
	}
	until("the controller is back", "www", quarter, dead)
	say("web2", api.Health_HEALTH_DOWN)
	until("nobody is left", "www", watch.VIP{Heard: true, Load: 255, TotalBackends: 2,
		Reason: "no backend of the pool may receive traffic"}, nil)
	say("web2", api.Health_HEALTH_UP)
	until("one is back", "www", quarter, nil)
}

// background runs f until stop is called, or the test ends.
func background(t *testing.T, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}
