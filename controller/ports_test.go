package controller

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/ports"
)

// A Collector runs for each switch of the intent, by what that says of gNMI; what one reports counts while it runs.
func TestCollectors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoop(slog.New(slog.DiscardHandler), newFigures(), &fakeStore{}, core.Stored{})
		l.start = startNothing
		running := make(map[string]ports.Config)
		l.gather = func(cfg ports.Config) *collecting {
			running[cfg.Target] = cfg
			return &collecting{Collector: ports.New(cfg), cancel: func() { delete(running, cfg.Target) }}
		}
		if err := l.begin("test.yaml", []byte(testIntent)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { _ = l.run(ctx, nil); close(done) }()
		defer func() { cancel(); <-done }()
		in := func(f func()) {
			t.Helper()
			if err := l.do(ctx, f); err != nil {
				t.Fatal(err)
			}
		}
		urgent := func() (names []string) {
			m, _ := l.checks.get()
			for _, b := range m.Pools[0].Backends {
				if b.Urgent {
					names = append(names, b.Name)
				}
			}
			return names
		}
		targets := func() (all []string) {
			in(func() {
				for target, cfg := range running {
					all = append(all, target+" "+cfg.Username)
				}
			})
			slices.Sort(all)
			return all
		}
		first := targets()
		if len(first) != 1 {
			t.Fatalf("collectors %v, want one", first)
		}
		old := running[strings.Fields(first[0])[0]]
		port := l.core.Intent().Pools[0].Backends[0].SwitchPort.On("leaf1")
		name := l.core.Intent().Pools[0].Backends[0].Name
		down := ports.View{Ports: []ports.Port{{ID: port, Name: "eth", State: "down"}}}
		old.Show(ctx, down)
		synctest.Wait()
		if diff := cmp.Diff([]string{name}, urgent()); diff != "" {
			t.Errorf("urgent (-want +got):\n%s", diff)
		}
		down.Ports[0].Stale = true // the switch is lost, and nobody knows
		old.Show(ctx, down)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := urgent(); got != nil {
			t.Errorf("long after the port is up: %v are urgent", got)
		}

		text := strings.Replace(testIntent, "device_id: 1",
			`device_id: 1, gnmi: {address: "127.0.0.1:9339", username: admin, password_file: /x}`, 1)
		down.Ports[0].Stale = false
		in(func() {
			if _, err := l.applyFile(parse("test.yaml", text)); err != nil {
				t.Error(err)
			}
		})
		if diff := cmp.Diff([]string{"127.0.0.1:9339 admin"}, targets()); diff != "" {
			t.Errorf("collectors (-want +got):\n%s", diff)
		}
		old.Show(ctx, down)
		synctest.Wait()
		if got := urgent(); got != nil {
			t.Errorf("by one that has been let go %v are urgent", got)
		}
	})
}
