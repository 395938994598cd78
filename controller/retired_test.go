package controller

import (
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/controller/store"
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
		{"a VIP with a MAC of its own goes", nil, intent(a, b, c), intent(a, b), map[packet.MAC]time.Time{c: until(retiredFor)}},
		{"vip_mac changes", nil, intent(a, b), intent(d, b), map[packet.MAC]time.Time{a: until(retiredFor)}},
		{"earlier ones stay", map[packet.MAC]time.Time{c: until(time.Hour), d: until(-time.Second)}, intent(a, b), intent(a),
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
	synctest.Test(t, func(t *testing.T) {
		with := strings.Replace(testIntent, "pool: web}", "pool: web, mac: \"02:53:4c:00:00:07\"}", 1)
		l := newLimited(t, with, store.State{})
		l.connect("leaf1")
		in := func(l limited) (tables rows.Tables) {
			l.in(func() { tables = l.tables() })
			return tables
		}
		if tables := in(l); tables.PinnedStation[old] != rows.Nowhere || len(tables.VIPAddress) != 1 {
			t.Errorf("while the VIP is there: %v, %v", tables.PinnedStation, tables.VIPAddress)
		}
		apply := func(l limited, text string) {
			l.in(func() {
				if _, _, err := l.applyFile(l.ctx, parse("test.yaml", text)); err != nil {
					t.Error(err)
				}
			})
		}
		without, _, _ := strings.Cut(with, "vips:")
		apply(l, without)
		var st store.State
		l.in(func() { st = l.st })

		time.Sleep(time.Hour)
		again := newLimited(t, without, st) // another process
		time.Sleep(retiredFor - time.Hour - 2*time.Second)
		synctest.Wait()
		for name, l := range map[string]limited{"the same controller": l, "restarted": again} {
			tables := in(l)
			if port, ok := tables.PinnedL2[old]; !ok || port != rows.Nowhere {
				t.Errorf("%s: what is sent to the MAC goes to port %d, %v", name, port, ok)
			}
			if _, ok := tables.PinnedStation[old]; ok || len(tables.VIPAddress) != 0 || len(tables.ARPGuard) != 0 {
				t.Errorf("%s: nobody may have the VIP's MAC or address", name)
			}
		}
		before := map[*loop]uint64{}
		for _, l := range []limited{l, again} {
			l.in(func() { before[l.loop] = l.sequence })
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		for _, l := range []limited{l, again} {
			l.in(func() {
				if l.sequence != before[l.loop]+1 {
					t.Errorf("%d decisions were told when the time was up, want 1", l.sequence-before[l.loop])
				}
			})
		}
		for name, l := range map[string]limited{"the same controller": l, "restarted": again} {
			if _, ok := in(l).PinnedL2[old]; ok {
				t.Errorf("%s: the row is there for ever", name)
			}
		}
	})
}
