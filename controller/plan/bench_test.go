package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/rows"
)

// large is what one switch must hold: pools of 4,096 slots with 10 backends each, and 40 VIPs for every pool.
func large(b *testing.B, pools int) (Input, State, rows.Tables) {
	b.Helper()
	var all []config.Pool
	for i := range pools {
		p := pool(4096, equal(10)...)
		p.Name = fmt.Sprintf("p%d", i)
		all = append(all, p)
	}
	in := Input{Intent: intent(all...), Health: make(map[BackendKey]Health)}
	in.Intent.VIPs = nil
	for i := range 40 * pools {
		in.Intent.VIPs = append(in.Intent.VIPs, config.VIP{
			Address: netip.AddrFrom4([4]byte{192, 1, byte(i >> 8), byte(i)}), Protocol: config.TCP, Port: 80,
			Pool: all[i%pools].Name, Enabled: true,
		})
	}
	st, _, err := Step(State{}, in)
	if err != nil {
		b.Fatal(err)
	}
	return in, st, build(in.Intent, st)
}

// From a verdict to the list of writes.
func BenchmarkDeath(b *testing.B) {
	for _, pools := range []int{1, 100} {
		b.Run(fmt.Sprintf("pools=%d", pools), func(b *testing.B) {
			in, st, have := large(b, pools)
			in.Health[BackendKey{"p0", "b3"}] = Down
			writes := 0
			for b.Loop() {
				next, _, err := Step(st, in)
				if err != nil {
					b.Fatal(err)
				}
				writes = 0
				for _, batch := range rows.Diff(have, build(in.Intent, next)) {
					writes += len(batch)
				}
			}
			b.ReportMetric(float64(writes), "writes")
		})
	}
}

// An empty switch: all there is.
func BenchmarkEverything(b *testing.B) {
	in, _, _ := large(b, 100)
	writes := 0
	for b.Loop() {
		st, _, err := Step(State{}, in)
		if err != nil {
			b.Fatal(err)
		}
		writes = 0
		for _, batch := range rows.Diff(rows.Tables{}, build(in.Intent, st)) {
			writes += len(batch)
		}
	}
	b.ReportMetric(float64(writes), "writes")
}

// A connect to a switch that has it all.
func BenchmarkNothing(b *testing.B) {
	in, st, have := large(b, 100)
	for key, t := range have.Slots { // as read back: nothing is shared
		have.Slots[key] = slices.Clone(t)
	}
	want := build(in.Intent, st)
	for b.Loop() {
		if batches := rows.Diff(have, want); len(batches) != 0 {
			b.Fatalf("%d batches", len(batches))
		}
	}
}
