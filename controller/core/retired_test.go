package core

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/packet"
)

func TestRetired(t *testing.T) {
	a, b, c, d := packet.MAC{2, 0xa}, packet.MAC{2, 0xb}, packet.MAC{2, 0xc}, packet.MAC{2, 0xd}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	intent := func(macs ...packet.MAC) *config.Intent {
		i := &config.Intent{VIPMAC: macs[0]}
		for _, m := range macs[1:] {
			i.VIPs = append(i.VIPs, config.VIP{MAC: m})
		}
		return i
	}
	until := func(d time.Duration) time.Time { return now.Add(d) }
	tests := []struct {
		name     string
		before   map[packet.MAC]time.Time
		from, to *config.Intent
		want     map[packet.MAC]time.Time
	}{
		{"the first intent", nil, nil, intent(a, b), nil},
		{"nothing goes", nil, intent(a, b), intent(a, b), nil},
		{"a VIP with a MAC of its own goes", nil, intent(a, b, c), intent(a, b),
			map[packet.MAC]time.Time{c: until(retiredFor)}},
		{"vip_mac changes", nil, intent(a, b), intent(d, b), map[packet.MAC]time.Time{a: until(retiredFor)}},
		{"earlier ones stay", map[packet.MAC]time.Time{c: until(time.Hour), d: until(-time.Second)}, intent(a, b),
			intent(a),
			map[packet.MAC]time.Time{b: until(retiredFor), c: until(time.Hour)}},
		{"one comes back", map[packet.MAC]time.Time{b: until(time.Hour)}, intent(a), intent(a, b), nil},
		{"time is up", map[packet.MAC]time.Time{b: now}, intent(a), intent(a), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kept := maps.Clone(tt.before)
			if diff := cmp.Diff(tt.want, retired(tt.before, tt.from, tt.to, now)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(kept, tt.before); diff != "" {
				t.Errorf("what was there is changed (-before +after):\n%s", diff)
			}
		})
	}
}

// What clients go on sending to a VIP that is gone is kept from the others, over a restart too, until
// nobody's ARP cache can have it; its address is free at once.
func TestRetiredMACIsKeptFromOthers(t *testing.T) {
	old := packet.MAC{2, 0x53, 0x4c, 0, 0, 7}
	with := strings.Replace(testIntent, "pool: web}", "pool: web, mac: \"02:53:4c:00:00:07\"}", 1)
	w := newWorld(t)
	w.start()
	w.apply(with)
	w.connect("leaf1")
	if tables := w.core.tables(); tables.PinnedStation[old] != rows.Nowhere || len(tables.VIPAddress) != 1 {
		t.Errorf("while the VIP is there: %v, %v", tables.PinnedStation, tables.VIPAddress)
	}
	without, _, _ := strings.Cut(with, "vips:")
	w.apply(without)

	w.wait(time.Hour)
	again := newWorld(t) // another process
	again.now, again.stored = w.now, w.stored
	again.start()
	worlds := map[string]*world{"the same controller": w, "restarted": again}
	for name, w := range worlds {
		w.wait(retiredFor - time.Hour - 2*time.Second)
		tables := w.core.tables()
		if port, ok := tables.PinnedL2[old]; !ok || port != rows.Nowhere {
			t.Errorf("%s: what is sent to the MAC goes to port %d, %v", name, port, ok)
		}
		if _, ok := tables.PinnedStation[old]; ok || len(tables.VIPAddress) != 0 || len(tables.ARPGuard) != 0 {
			t.Errorf("%s: nobody may have the VIP's MAC or address", name)
		}
		before := w.core.sequence
		w.wait(4 * time.Second)
		if w.core.sequence != before+1 {
			t.Errorf("%s: %d decisions were told when the time was up, want 1", name, w.core.sequence-before)
		}
		if _, ok := w.core.tables().PinnedL2[old]; ok {
			t.Errorf("%s: the row is there for ever", name)
		}
		if len(w.stored.Retired) != 0 {
			t.Errorf("%s: %v is stored for ever", name, w.stored.Retired)
		}
	}
}
