package telemetry

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/rows"
)

// A total never falls while its row is somewhere, and what is added is what was counted since the time before.
func TestTotals(t *testing.T) {
	start := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	a := rows.VIPKey{Address: netip.MustParseAddr("10.0.0.100"), Protocol: 6, Port: 80}
	b := rows.VIPKey{Address: netip.MustParseAddr("10.0.0.101"), Protocol: 6, Port: 80}
	type counts = map[rows.VIPKey]device.Count
	of := func(packets uint64) device.Count { return device.Count{Packets: packets, Bytes: 100 * packets} }
	leaf1, leaf2, another := &source{}, &source{}, &source{}
	both := map[string]Source{"leaf1": leaf1, "leaf2": leaf2}
	var totals totals
	for i, step := range []struct {
		name    string
		sources map[string]Source
		at      int // when the counters came, if not at this step
		news    map[string]counts
		want    counts
	}{
		{"what was counted before anybody asked is left out", both, 0,
			map[string]counts{"leaf1": {a: of(1000)}, "leaf2": {a: of(7)}}, counts{a: of(0)}},
		{"switches add up", both, 0,
			map[string]counts{"leaf1": {a: of(1500)}, "leaf2": {a: of(9)}}, counts{a: of(502)}},
		{"a row that is new has counted from zero", both, 0,
			map[string]counts{"leaf1": {a: of(1500), b: of(3)}, "leaf2": {a: of(9)}}, counts{a: of(502), b: of(3)}},
		{"the same answer counts once", both, 2,
			map[string]counts{"leaf1": {a: of(1500), b: of(3)}, "leaf2": {a: of(9)}}, counts{a: of(502), b: of(3)}},
		{"an answer that is late is not taken for a restart", both, 1,
			map[string]counts{"leaf1": {a: of(1000)}, "leaf2": {a: of(7)}}, counts{a: of(502), b: of(3)}},
		{"one does not answer: nothing falls", both, 0,
			map[string]counts{"leaf1": {a: of(1510), b: of(3)}}, counts{a: of(512), b: of(3)}},
		{"b is gone from one that answers, and the other never had it", both, 0,
			map[string]counts{"leaf1": {a: of(1510)}, "leaf2": {a: of(9)}}, counts{a: of(512)}},
		{"one has restarted: it counts from zero", both, 0,
			map[string]counts{"leaf1": {a: of(40)}, "leaf2": {a: of(9)}}, counts{a: of(552)}},
		{"b comes anew", both, 0,
			map[string]counts{"leaf1": {a: of(40)}, "leaf2": {a: of(9), b: of(5)}}, counts{a: of(552), b: of(5)}},
		{"another switch has the name of one: what it has counted before is not of now",
			map[string]Source{"leaf1": another, "leaf2": leaf2}, 0,
			map[string]counts{"leaf1": {a: of(5000)}, "leaf2": {a: of(9), b: of(5)}}, counts{a: of(552), b: of(5)}},
		{"one leaves the configuration", map[string]Source{"leaf1": another}, 0,
			map[string]counts{"leaf1": {a: of(5001)}}, counts{a: of(553)}},
		{"all are lost", map[string]Source{"leaf1": another}, 0, nil, counts{a: of(553)}},
		{"and the last one leaves", nil, 0, nil, counts{}},
	} {
		at := start.Add(time.Duration(i) * time.Second)
		if step.at > 0 {
			at = start.Add(time.Duration(step.at) * time.Second)
		}
		samples := make(map[string]Sample)
		for name := range step.sources {
			samples[name] = Sample{At: at, CountersErr: errors.New("no answer")}
			if c, ok := step.news[name]; ok {
				samples[name] = Sample{At: at, Counters: device.Counters{VIP: c}}
			}
		}
		got := totals.take(step.sources, samples)
		if diff := cmp.Diff(step.want, got.VIP); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
		if len(got.Backend) > 0 {
			t.Errorf("%s: backends %v", step.name, got.Backend)
		}
	}
}
