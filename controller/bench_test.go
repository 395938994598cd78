package controller_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/p4rt"
)

// large is 100 pools of 4,096 slots and 4,000 VIPs.
func large(address string) string {
	const pools, vips = 100, 4000
	var b strings.Builder
	fmt.Fprintf(&b, "switches:\n  - {name: leaf1, address: %q, device_id: 1, ports: [1, 2, 3, 4]}\n"+
		"vip_mac: 02:53:4c:00:00:01\npools:\n", address)
	for p := range pools {
		fmt.Fprintf(&b, "  - name: pool%d\n    checks: [{type: tcp, port: 80}]\n    backends:\n", p)
		for s := range 10 {
			fmt.Fprintf(&b,
				"      - {name: s%d, address: 10.1.%d.%d, mac: \"02:00:00:00:%02x:%02x\", switch_port: %d}\n", s, p,
				10+s, p, s, 2+s%3)
		}
	}
	b.WriteString("vips:\n")
	for v := range vips {
		fmt.Fprintf(&b, "  - {name: v%d, address: 10.2.%d.%d, port: 80, pool: pool%d}\n", v, v/200, 1+v%200, v%pools)
	}
	return b.String()
}

// What the controller needs to fill a switch, beside raw batched writes of the same entries to the same
// kind of target; to restart on it; and to move a dead backend's slots.
func BenchmarkLarge(b *testing.B) {
	for b.Loop() {
		tg := newTarget(b)
		dir := b.TempDir()
		o := options{dir: dir, file: writeFile(b, dir, large(tg.Target()))}
		d := startController(b, o)
		synced := d.synced()
		connected := d.wait("the switch is connected", isState(api.SwitchStatus_STATE_RECONCILING))
		program := synced.Time.AsTime().Sub(connected.Time.AsTime())
		entries := d.status().Switches[0].EntriesWritten
		d.kill()

		began := time.Now()
		d = startController(b, o)
		d.synced()
		restart := time.Since(began)
		if n := d.status().Switches[0].EntriesWritten; n != 0 {
			b.Errorf("the restart wrote %d entries", n)
		}
		now := d.status().Time
		if _, err := d.ReportVerdicts(b.Context(), &api.ReportVerdictsRequest{Verdicts: []*api.Verdict{
			{Pool: "pool7", Backend: "s3", Health: api.Health_HEALTH_DOWN, Since: now, DetectedAt: now},
		}}); err != nil {
			b.Fatal(err)
		}
		death := d.wait("the slots have moved", reprogrammed("verdict on pool7/s3")).GetReprogrammed()
		d.kill()

		raw, n := rawWrites(b, tg)
		b.ReportMetric(float64(entries)/program.Seconds(), "entries/s")
		b.ReportMetric(float64(n)/raw.Seconds(), "raw-entries/s")
		b.ReportMetric(restart.Seconds(), "restart-s")
		b.ReportMetric(death.WriteMs, "death-ms")
		b.ReportMetric(float64(death.Writes), "death-writes")
	}
}

// rawWrites copies what the target holds to an empty one, in batches, and takes the time.
func rawWrites(b *testing.B, from *target) (time.Duration, int) {
	b.Helper()
	client, err := p4rt.Dial(b.Context(), from.Target(), 1)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	var updates []*v1.Update
	for _, name := range allTables {
		table, err := pipelineInfo(b).Table(name)
		if err != nil {
			b.Fatal(err)
		}
		for e, err := range client.Read(b.Context(), p4rt.TableEntity(&v1.TableEntry{TableId: table.ID})) {
			if err != nil {
				b.Fatal(err)
			}
			updates = append(updates, p4rt.Insert(e))
		}
	}
	to := newTarget(b)
	var took time.Duration
	s := p4rt.NewSession(p4rt.Config{Target: to.Target(), DeviceID: 1, Election: &p4rt.ElectionID{Low: 1},
		Pipeline: &v1.ForwardingPipelineConfig{
			P4Info: p4.P4Info(), P4DeviceConfig: p4.DeviceConfig(),
			Cookie: &v1.ForwardingPipelineConfig_Cookie{Cookie: p4.Cookie()},
		}})
	err = s.Run(b.Context(), func(ctx context.Context, p *p4rt.Primary) error {
		began := time.Now()
		err := p.Write(ctx, updates)
		took = time.Since(began)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return took, len(updates)
}
