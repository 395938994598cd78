package controller

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/api"
)

// limitsIntent is 100 pools of some slots and backends each, and some VIPs, on ten switches.
func limitsIntent(slots, backends, vips int) string {
	var y strings.Builder
	y.WriteString("vip_mac: 02:53:4c:00:00:01\nswitches:\n")
	for i := range 10 {
		fmt.Fprintf(&y, "  - {name: leaf%d, address: \"127.0.0.1:%d\", device_id: 1, ports: [1, 2]}\n", i, i+1)
	}
	y.WriteString("pools:\n")
	for p := range 100 {
		fmt.Fprintf(&y, "  - name: pool%d\n    slots: %d\n    checks: [{type: tcp, port: 80}]\n    backends:\n", p,
			slots)
		for i := range backends {
			n := p*backends + i
			fmt.Fprintf(&y,
				"      - {name: b%d, address: 10.1.%d.%d, mac: \"02:00:00:01:%02x:%02x\", switch_port: 1}\n",
				n, n/250, n%250+1, n/256, n%256)
		}
	}
	y.WriteString("vips:\n")
	for v := range vips {
		fmt.Fprintf(&y, "  - {name: v%d, address: 10.2.%d.%d, port: 80, pool: pool%d}\n", v, v/250, v%250+1, v%100)
	}
	return y.String()
}

// atLimits is a loop that has that intent, and verdicts of two healthds on each backend.
func atLimits(t testing.TB, slots, backends, vips int) *loop {
	t.Helper()
	l := newTestLoop(t, &fakeStore{})
	if _, err := l.apply(parse("sluice.yaml", limitsIntent(slots, backends, vips))); err != nil {
		t.Fatal(err)
	}
	for _, healthd := range []string{"h1", "h2"} {
		r := &api.ReportVerdictsRequest{Healthd: healthd, Full: true}
		for _, p := range l.core.Intent().Pools {
			for _, b := range p.Backends {
				v := &api.Verdict{Pool: p.Name, Backend: b.Name, Health: api.Health_HEALTH_UP}
				r.Verdicts = append(r.Verdicts, v)
			}
		}
		if unknown, err := l.verdicts(r); err != nil || len(unknown) > 0 {
			t.Fatal(unknown, err)
		}
	}
	return l
}

// BenchmarkStatus is how long the decisions wait for a moment of a configuration at its limits (4,000 VIPs, 100 pools,
// 10,000 backends), and how long it takes others then to make of it what GetStatus and gNMI tell.
func BenchmarkStatus(b *testing.B) {
	l := atLimits(b, 4096, 100, 4000)
	at := l.moment()
	for _, part := range []struct {
		name string
		f    func()
	}{
		{"moment", func() { l.moment() }},
		{"status", func() { at.statusMessage() }},
		{"sampled", func() { at.sampledMessage() }},
		{"concerned", func() { at.concerned() }},
	} {
		b.Run(part.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				part.f()
			}
		})
	}
}

// What decisions wait for while somebody asks for a status does not grow with each backend and VIP: a few tables are
// copied whole, and nothing is made of them.
func TestMomentIsQuick(t *testing.T) {
	const most = 400
	for _, backends := range []int{1, 10} {
		synctest.Test(t, func(t *testing.T) { // no store is too slow there
			l := atLimits(t, 64, backends, 20*backends)
			if n := testing.AllocsPerRun(5, func() { l.moment() }); n > most {
				t.Errorf("%d backends: %.0f allocations, want at most %d", 100*backends, n, most)
			}
		})
	}
}

// All that is told is made of a moment outside of the loop, which goes on: what it decides changes nothing there.
func TestMomentsStay(t *testing.T) { synctest.Test(t, momentsStay) }

func momentsStay(t *testing.T) {
	l := atLimits(t, 64, 3, 10)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = l.run(ctx, nil) }()
	defer func() { cancel(); <-ended }()
	tell := func(at *moment) string {
		in := at.concerned()
		return fmt.Sprint(at.statusMessage(), at.sampledMessage(), in.older, in.checked, in.ports, in.keys, in.banks)
	}
	var work sync.WaitGroup
	for i := range 20 {
		var at *moment
		if err := l.look(ctx, func() { at = l.moment() }); err != nil {
			t.Fatal(err)
		}
		said := tell(at)
		work.Go(func() {
			if diff := cmp.Diff(said, tell(at)); diff != "" {
				t.Errorf("a moment (-first +later):\n%s", diff)
			}
		})
		health := []api.Health{api.Health_HEALTH_DOWN, api.Health_HEALTH_UP}[i%2]
		r := &api.ReportVerdictsRequest{Verdicts: []*api.Verdict{{Pool: "pool1", Backend: "b4", Health: health}}}
		if err := l.do(ctx, func() { _, _ = l.verdicts(r) }); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(said, tell(at)); diff != "" {
			t.Errorf("a moment (-before the verdict +after):\n%s", diff)
		}
	}
	work.Wait()
}
