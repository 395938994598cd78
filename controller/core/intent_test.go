package core

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/rows"
)

func TestVIPAges(t *testing.T) {
	vip := func(port uint16) config.VIP {
		return config.VIP{Address: netip.MustParseAddr("10.0.0.1"), Protocol: config.TCP, Port: port}
	}
	key := func(port uint16) rows.VIPKey {
		return rows.VIPKey{Address: netip.MustParseAddr("10.0.0.1"), Protocol: config.TCP, Port: port}
	}
	before := map[rows.VIPKey]int64{key(1): 3, key(2): 4}
	got := vipAges(&config.Intent{VIPs: []config.VIP{vip(1), vip(9)}}, before, 7)
	want := map[rows.VIPKey]int64{key(1): 3, key(9): 7}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(rows.VIPKey{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Pools that are gone take what is remembered of their checks with them.
func TestRecheckedIsPruned(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.apply(testIntent)
	w.apply(strings.Replace(testIntent, "port: 80}]", "port: 81}]", 1))
	if len(w.core.rechecked) != 1 {
		t.Fatalf("other checks: %v, want web", w.core.rechecked)
	}
	w.apply(strings.NewReplacer("name: web\n", "name: other\n", "pool: web}", "pool: other}").Replace(testIntent))
	if len(w.core.rechecked) != 0 {
		t.Errorf("after the pool went: %v, want nothing", w.core.rechecked)
	}
}
