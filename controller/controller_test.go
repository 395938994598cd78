package controller_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/p4rt"
)

func sortLines(lines []string) { slices.Sort(lines) }

var pipelineInfo = func() func(testing.TB) *p4rt.Info {
	get := sync.OnceValues(func() (*p4rt.Info, error) { return p4rt.NewInfo(p4.P4Info()) })
	return func(t testing.TB) *p4rt.Info {
		t.Helper()
		info, err := get()
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
}()

func TestProgramsASwitch(t *testing.T) {
	tg, d, _ := setup(t)
	want := `vip{address=10.0.0.100 protocol=6 port=80} -> to_pool(pool_id=1, generation=0, slot_mask=0x00ff, secret_1=hidden, secret_2=hidden)
vip_address{address=10.0.0.100} -> refuse()
arp_guard{sender_address=10.0.0.100} -> claim()
arp_responder{target_address=10.0.0.100} -> answer(mac=02:53:4c:00:00:01)
backend{backend_id=1} -> forward_to_backend(mac=02:00:00:00:00:11, port=2)
backend{backend_id=2} -> forward_to_backend(mac=02:00:00:00:00:12, port=3)
backend{backend_id=3} -> forward_to_backend(mac=02:00:00:00:00:13, port=4)
`
	if diff := cmp.Diff(want, tg.dump("vip", "vip_address", "arp_guard", "arp_responder", "backend")); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}
	if n := strings.Count(tg.dump("slot"), "\n"); n != 256 {
		t.Errorf("%d slots, want 256", n)
	}
	if got, want := d.shares(), "web1 86, web2 85, web3 85"; got != want {
		t.Errorf("got shares %s, want %s", got, want)
	}
}

// A restart with unchanged intent writes nothing at all: not to tables, groups or digests.
func TestRestartWritesNothing(t *testing.T) {
	tg, d, o := setup(t)
	d.verdict("web2", api.Health_HEALTH_DOWN)
	d.wait("web2's slots have moved", reprogrammed("web/web2"))
	d.atRest()
	before := tg.dump("vip", "vip_address", "arp_guard", "arp_responder", "backend", "slot", "pin")
	shares := d.shares()
	d.kill()

	for range 3 {
		sent := tg.updates.Load()
		d = startController(t, o)
		d.synced()
		if n := tg.updates.Load() - sent; n != 0 {
			t.Errorf("the restart wrote %d entries, want 0", n)
		}
		s := d.status().Switches[0]
		if s.EntriesWrittenConnect != 0 || s.RowsReadBack != s.RowsHeld || s.RowsHeld == 0 {
			t.Errorf("status: %d written, %d read back, %d held", s.EntriesWrittenConnect, s.RowsReadBack, s.RowsHeld)
		}
		if got := d.shares(); got != shares {
			t.Errorf("got shares %s, want %s: the verdict stands", got, shares)
		}
		d.kill()
	}
	if diff := cmp.Diff(before, tg.dump("vip", "vip_address", "arp_guard", "arp_responder", "backend", "slot",
		"pin")); diff != "" {
		t.Errorf("tables (-before +after):\n%s", diff)
	}
}

func TestDeathAndReturn(t *testing.T) {
	tg, d, _ := setup(t)
	before := tg.dump("slot")
	d.verdict("web2", api.Health_HEALTH_DOWN)
	e := d.wait("web2's slots have moved", reprogrammed("verdict on web/web2"))
	r := e.GetReprogrammed()
	moved := uint32(0)
	for _, m := range r.Moves {
		if m.From != "web2" || m.Gradual {
			t.Errorf("unexpected move %v", m)
		}
		moved += m.Slots
	}
	if moved != 85 || r.Writes != 85 || r.SurplusMoves != 0 {
		t.Errorf("%d slots moved with %d writes, %d surplus; want 85, 85, 0", moved, r.Writes, r.SurplusMoves)
	}
	if r.ReprogramMs <= 0 || r.ReprogramMs > 5000 || r.WriteMs > r.ReprogramMs {
		t.Errorf("reprogrammed in %v ms, of these %v after the decision", r.ReprogramMs, r.WriteMs)
	}
	if diff := cmp.Diff([]string{"leaf1"}, r.Switches); diff != "" {
		t.Errorf("switches (-want +got):\n%s", diff)
	}
	t.Logf("reprogrammed in %.1f ms after detection, %.1f ms after decision", r.ReprogramMs, r.WriteMs)

	d.until("its grace is over", func(m *api.GetStatusResponse) bool { return m.Pools[0].Moving == 0 })
	d.quiet()
	d.verdict("web2", api.Health_HEALTH_UP)
	e = d.since(e, "web2 has its slots back", reprogrammed("verdict on web/web2"))
	moved = 0
	for _, m := range e.GetReprogrammed().Moves {
		if m.To != "web2" || !m.Gradual {
			t.Errorf("unexpected move %v", m)
		}
		moved += m.Slots
	}
	if moved != 85 {
		t.Errorf("%d slots moved back, want 85", moved)
	}
	for {
		e = d.since(e, "all slots are settled", func(e *api.Event) bool { return e.GetSlotsSettled() != nil })
		if e.GetSlotsSettled().Moving == 0 {
			break
		}
	}
	d.settled(tg)
	if diff := cmp.Diff(before, tg.dump("slot")); diff != "" {
		t.Errorf("slots before and after (-before +after):\n%s", diff)
	}
}

// settled waits until no slot of the switch moves any more.
func (d *daemon) settled(tg *target) {
	d.t.Helper()
	deadline := time.Now().Add(patience)
	for strings.Contains(tg.dump("slot"), "old_id=") {
		if time.Now().After(deadline) {
			d.t.Fatalf("slots still move:\n%s", tg.dump("slot"))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestDrain(t *testing.T) {
	tg, d, o := setup(t)
	d.admin("web3", api.Admin_ADMIN_DRAIN)
	d.admin("web3", api.Admin_ADMIN_DRAIN)
	e := d.wait("the drain is decided", reprogrammed("drain of web/web3"))
	for _, m := range e.GetReprogrammed().Moves {
		if m.From != "web3" || !m.Gradual {
			t.Errorf("unexpected move %v", m)
		}
	}
	if n := strings.Count(tg.dump("slot"), "old_id=3"); n != 85 {
		t.Errorf("%d slots keep old flows at web3, want 85", n)
	}
	if got, want := d.shares(), "web1 128 in 42 out 0, web2 128 in 43 out 0, web3 0 in 0 out 85"; got != want {
		t.Errorf("got shares %s, want %s", got, want)
	}
	// A restart in the middle changes nothing.
	d.kill()
	sent := tg.updates.Load()
	d = startController(t, o)
	d.synced()
	if n := tg.updates.Load() - sent; n != 0 {
		t.Errorf("the restart wrote %d entries, want 0", n)
	}
	d.wait("web3 is drained", func(e *api.Event) bool { return e.GetDrainDone().GetBackend() == "web3" })
	if slots := tg.dump("slot"); strings.Contains(slots, "old_id=3") {
		t.Errorf("drained, but slots still move:\n%s", slots)
	}
	b, err := d.ListBackends(t.Context(), &api.ListBackendsRequest{Pool: "web"})
	if err != nil {
		t.Fatal(err)
	}
	if !b.Backends[2].Drained || b.Backends[0].Drained {
		t.Errorf("backends: %v", b.Backends)
	}
	d.admin("web3", api.Admin_ADMIN_ACTIVE)
	d.wait("web3 is back", reprogrammed("end of the drain of web/web3"))
}

func TestTargetRestartsEmpty(t *testing.T) {
	tg, d, _ := setup(t)
	tables := []string{"vip", "vip_address", "arp_guard", "arp_responder", "backend", "slot", "pin"}
	before := tg.dump(tables...)
	first := d.synced()
	tg.StopSwitch()
	lost := d.since(first, "the switch is lost", isState(api.SwitchStatus_STATE_DISCONNECTED))
	// What is decided meanwhile is in the next read-back's difference.
	d.verdict("web1", api.Health_HEALTH_DOWN)
	d.verdict("web1", api.Health_HEALTH_UP)
	tg.start()
	d.since(lost, "the switch is synced again", isState(api.SwitchStatus_STATE_SYNCED))
	d.quiet()
	s := d.status().Switches[0]
	if s.RowsReadBack != 0 || s.Connects != 2 {
		t.Errorf("%d rows read back on connect %d, want 0 on 2", s.RowsReadBack, s.Connects)
	}
	d.settled(tg)
	after := tg.dump(tables...)
	if got, want := strings.Count(after, "\n"), strings.Count(before, "\n"); got != want {
		t.Errorf("%d rows after the restart, want %d", got, want)
	}
}
