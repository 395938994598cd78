package gslb

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/gslb/awake"
	"github.com/sluicelb/sluice/gslb/keepalive"
	"github.com/sluicelb/sluice/gslb/server"
	"github.com/sluicelb/sluice/gslb/watch"
	"github.com/sluicelb/sluice/internal/loadreport"
)

// reporter answers load reports as it is told to.
type reporter struct{ unseen atomic.Bool }

func (r *reporter) Ask(context.Context, netip.AddrPort, []byte, string, netip.AddrPort) (loadreport.Report, error) {
	if r.unseen.Load() {
		return loadreport.Report{Known: true, Unseen: true, Load: loadreport.Offline}, nil
	}
	return loadreport.Report{Known: true, Load: 7}, nil
}

// A gslb that was stopped for longer than the hold takes no answer out for what it did not hear meanwhile: neither one
// whose load reporter sees nothing of it, nor one whose controller it has not reached yet.
func TestStopped(t *testing.T) {
	const hold = 30 * time.Second
	file := filepath.Join(t.TempDir(), "gslb.yaml")
	text := strings.Replace(fmt.Sprintf(twoSites, "127.0.0.1", 80),
		"keepalives: [{kind: tcp, address: 127.0.0.1, port: 80, timing: {preset: custom, interval: 100ms, "+
			"timeout: 1s}}]",
		"keepalives: [{kind: load_report, address: 127.0.0.1, tag: web, key_file: key, timing: {preset: custom, "+
			"interval: 1s, timeout: 500ms}}]", 1)
	text = strings.Replace(text, "- {name: nyc}", "- {name: nyc, controller: unix:/nowhere}", 1)
	text = strings.Replace(text, "data_center: nyc}", "data_center: nyc, controller_vip: www}", 1)
	for name, content := range map[string]string{file: text,
		filepath.Join(filepath.Dir(file), "key"): "the secret of this test"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first, err := load(file)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var stopped atomic.Int64
		loads := new(reporter)
		log := slog.New(slog.DiscardHandler)
		d := &Daemon{
			cfg: Config{Hold: hold}, log: log, teller: teller{log: log}, server: server.New(server.Config{}),
			changed: make(chan struct{}, 1),
			clock:   awake.New(func() time.Time { return time.Now().Add(time.Duration(stopped.Load())) }),
		}
		d.keepalives = keepalive.New(keepalive.Deps{Loads: loads, OnChange: func(int, bool, int, string, time.Time) {
			d.poke()
		}})
		d.watches = watch.New(watch.Deps{Clock: d.clock, OnChange: d.poke, Hold: hold}) // it hears nobody
		d.keepalives.Set(first.config.Keepalives)
		d.watched = map[string]time.Time{"nyc": d.clock.Now()}
		d.publish(first, "")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		tasks := []func(context.Context) error{d.clock.Run, d.keepalives.Run, d.watches.Run, d.loop}
		for _, run := range tasks {
			go func() { done <- run(ctx) }()
		}
		after := func(what string, pause time.Duration, want ...string) {
			t.Helper()
			time.Sleep(pause)
			synctest.Wait()
			var got []string
			for i, a := range d.now.Load().answers {
				got = append(got, first.config.Answers[i].Name+" "+stateName(a.State))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		after("all is well", 10*time.Second, "fra-www up", "ams-www up", "nyc-www unknown")
		loads.unseen.Store(true)
		after("the reporter sees nothing", 10*time.Second, "fra-www up", "ams-www up", "nyc-www unknown")
		stopped.Add(int64(time.Minute))
		d.poke()
		after("stopped for a minute", 0, "fra-www up", "ams-www up", "nyc-www unknown")
		after("it goes on", 5*time.Second, "fra-www up", "ams-www up", "nyc-www unknown")
		after("the hold is over", 30*time.Second, "fra-www down", "ams-www up", "nyc-www down")
		cancel()
		for range tasks {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}
