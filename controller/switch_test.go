package controller_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/packet"
)

// allTables are those that the plan owns.
var allTables = []string{"vip", "vip_address", "arp_guard", "arp_responder", "backend", "slot", "pin",
	"pinned_station", "pinned_l2", "pinned_arp"}

// write makes another primary write entries, and leave.
func (tg *target) write(election uint64, updates ...*v1.Update) {
	tg.t.Helper()
	s := p4rt.NewSession(p4rt.Config{
		Target: tg.Target(), DeviceID: 1, Election: &p4rt.ElectionID{Low: election},
		Pipeline: &v1.ForwardingPipelineConfig{
			P4Info: p4.P4Info(), P4DeviceConfig: p4.DeviceConfig(),
			Cookie: &v1.ForwardingPipelineConfig_Cookie{Cookie: p4.Cookie()},
		},
	})
	err := s.Run(tg.t.Context(), func(ctx context.Context, p *p4rt.Primary) error {
		if err := p.Write(ctx, updates); err != nil {
			tg.t.Error(err)
		}
		return nil
	})
	if err != nil {
		tg.t.Fatal(err)
	}
}

// insert makes an update from a row as `sluice table` names it.
func insert(t *testing.T, table, action string, match, params []p4rt.Field) *v1.Update {
	t.Helper()
	e, err := pipelineInfo(t).EncodeEntry(p4rt.Entry{Table: table, Match: match, Action: action, Params: params})
	if err != nil {
		t.Fatal(err)
	}
	return p4rt.Insert(p4rt.TableEntity(e))
}

func field(name string, v p4rt.Value) p4rt.Field { return p4rt.Field{Name: name, Value: v} }

// A switch that somebody else has filled ends up with the plan, and keeps what it had learned, but for
// stations that the plan pins: those are found in the pinned tables alone.
func TestForeignRows(t *testing.T) {
	tg := newTarget(t)
	vip := p4rt.AddrValue(netip.MustParseAddr("10.0.0.100"))
	other := p4rt.AddrValue(netip.MustParseAddr("10.9.9.9"))
	station := p4rt.MACValue(packet.MAC{2, 0, 0, 0, 0, 0x77})
	web1 := p4rt.MACValue(packet.MAC{2, 0, 0, 0, 0, 0x11})
	number := p4rt.UintValue
	slot := func(pool, generation, slot, backend uint64) *v1.Update {
		return insert(t, "slot", "to_backend",
			[]p4rt.Field{field("pool_id", number(pool)), field("generation", number(generation)),
				field("slot", number(slot))},
			[]p4rt.Field{field("backend_id", number(backend))})
	}
	tg.write(1,
		slot(1, 0, 3, 77),      // a wrong backend
		slot(1, 0, 4, 0),       // no backend: no row of ours
		slot(1, 0, 60000, 1),   // beyond the pool's slots
		slot(1, 9, 0, 1),       // another generation
		slot(500, 0, 65535, 1), // another pool
		insert(t, "vip", "to_pool",
			[]p4rt.Field{field("address", other), field("protocol", number(6)), field("port", number(80))},
			[]p4rt.Field{field("pool_id", number(500)), field("generation", number(0)),
				field("slot_mask", number(0xffff)),
				field("secret_1", number(1)), field("secret_2", number(2))}),
		insert(t, "arp_responder", "answer", []p4rt.Field{field("target_address", vip)},
			[]p4rt.Field{field("mac", station)}),
		insert(t, "arp_guard", "claim", []p4rt.Field{field("sender_address", other)}, nil),
		insert(t, "backend", "forward_to_backend", []p4rt.Field{field("backend_id", number(0))},
			[]p4rt.Field{field("mac", station), field("port", number(1))}),
		insert(t, "station", "known", []p4rt.Field{field("mac", station)}, []p4rt.Field{field("port", number(3))}),
		insert(t, "l2", "forward", []p4rt.Field{field("mac", station)}, []p4rt.Field{field("port", number(3))}),
		insert(t, "station", "known", []p4rt.Field{field("mac", web1)}, []p4rt.Field{field("port", number(4))}),
		insert(t, "l2", "forward", []p4rt.Field{field("mac", web1)}, []p4rt.Field{field("port", number(4))}),
		insert(t, "pinned_station", "pinned", []p4rt.Field{field("mac", web1)}, []p4rt.Field{field("port", number(4))}),
		insert(t, "pinned_station", "pinned", []p4rt.Field{field("mac", station)},
			[]p4rt.Field{field("port", number(4))}),
		insert(t, "pinned_l2", "discard", []p4rt.Field{field("mac", web1)}, nil),
		insert(t, "pinned_l2", "at", []p4rt.Field{field("mac", station)}, []p4rt.Field{field("port", number(4))}),
		insert(t, "pinned_arp", "owned", []p4rt.Field{field("sender_address", other)},
			[]p4rt.Field{field("mac", station)}),
		insert(t, "pinned_arp", "owned",
			[]p4rt.Field{field("sender_address", p4rt.AddrValue(netip.MustParseAddr("10.0.0.11")))},
			[]p4rt.Field{field("mac", station)}),
		p4rt.Insert(p4rt.MulticastGroup{ID: limits.FloodGroup,
			Replicas: []p4rt.Replica{{Port: 1, Instance: 7}}}.Entity()),
		p4rt.Insert(p4rt.MulticastGroup{ID: 9, Replicas: []p4rt.Replica{{Port: 2, Instance: 1}}}.Entity()),
	)
	dir := t.TempDir()
	// Whatever the clock says, this controller's election id is above the other's.
	o := options{dir: dir, file: writeFile(t, dir, intent(tg.Target())), election: 1}
	d := startController(t, o)
	d.synced()

	clean := newTarget(t)
	cleanDir := t.TempDir()
	c := startController(t, options{dir: cleanDir, file: writeFile(t, cleanDir, intent(clean.Target()))})
	c.synced()
	if diff := cmp.Diff(clean.dump(allTables...), tg.dump(allTables...)); diff != "" {
		t.Errorf("against a switch that was empty (-want +got):\n%s", diff)
	}
	const row = "pinned_station{mac=02:00:00:00:00:11} -> pinned(port=2)"
	if got := tg.dump("pinned_station"); !strings.Contains(got, row) {
		t.Errorf("no %s in\n%s", row, got)
	}
	want := "station{mac=02:00:00:00:00:77} -> known(port=3)\nl2{mac=02:00:00:00:00:77} -> forward(port=3)\n"
	if diff := cmp.Diff(want, tg.dump("station", "l2")); diff != "" {
		t.Errorf("learned before (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("1: 1 2 3 4\n9: 2\n", tg.groups()); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	if n := d.status().Switches[0].Stations; n != 1 {
		t.Errorf("%d stations, want 1", n)
	}
	d.kill()
	sent := tg.updates.Load()
	d = startController(t, o)
	d.synced()
	if n := tg.updates.Load() - sent; n != 0 {
		t.Errorf("the restart wrote %d entries, want 0", n)
	}
}

// groups prints the multicast groups and their ports.
func (tg *target) groups() string {
	tg.t.Helper()
	client, err := p4rt.Dial(tg.t.Context(), tg.Target(), 1)
	if err != nil {
		tg.t.Fatal(err)
	}
	defer client.Close()
	var lines []string
	for e, err := range client.Read(tg.t.Context(), p4rt.QueryMulticastGroups()) {
		if err != nil {
			tg.t.Fatal(err)
		}
		g, err := p4rt.DecodeMulticastGroup(e.GetPacketReplicationEngineEntry().GetMulticastGroupEntry())
		if err != nil {
			tg.t.Fatal(err)
		}
		line := fmt.Sprintf("%d:", g.ID)
		for _, r := range g.Replicas {
			line += fmt.Sprintf(" %d", r.Port)
		}
		lines = append(lines, line+"\n")
	}
	sortLines(lines)
	return strings.Join(lines, "")
}

// isTable says whether an update is for that table.
func isTable(t *testing.T, u *v1.Update, name string) bool {
	t.Helper()
	table, err := pipelineInfo(t).Table(name)
	if err != nil {
		t.Fatal(err)
	}
	return u.GetEntity().GetTableEntry().GetTableId() == table.ID
}

// A full table leaves out the newest VIPs, holds up nobody else, and is tried again. bmv2 says UNKNOWN.
func TestFullTable(t *testing.T) {
	for _, code := range []codes.Code{codes.ResourceExhausted, codes.Unknown} {
		t.Run(code.String(), func(t *testing.T) {
			tg, d, o := setup(t)
			var vips atomic.Int64
			vips.Store(1)
			const room = 3
			tg.refuseIf(func(u *v1.Update) error {
				if u.Type == v1.Update_INSERT && isTable(t, u, "vip") && vips.Add(1) > room {
					vips.Add(-1)
					return status.Error(code, "table vip is full")
				}
				return nil
			})
			// Two VIPs come first, then two more that sort before them.
			text := intent(tg.Target())
			for revision, addresses := range [][]int{{150, 160}, {110, 120}} {
				for _, last := range addresses {
					text += fmt.Sprintf("  - {name: v%d, address: 10.0.0.%d, port: 80, pool: web}\n", last, last)
				}
				r, err := d.ApplyIntent(t.Context(), &api.ApplyIntentRequest{Yaml: text})
				if err != nil || r.Revision != int64(revision+2) {
					t.Fatalf("%v, %v", r, err)
				}
				d.wait("the revision is in the switch", reprogrammed(fmt.Sprintf("intent revision %d", r.Revision)))
			}
			m := d.status()
			var got []string
			for _, v := range m.Vips {
				got = append(got, v.Name+" "+strings.TrimPrefix(v.State.String(), "STATE_")+" "+v.Reason)
			}
			const why = "switch leaf1 does not take its rows"
			want := []string{"www ACTIVE ", "v150 ACTIVE ", "v160 ACTIVE ", "v110 DEGRADED " + why,
				"v120 DEGRADED " + why}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("VIPs (-want +got):\n%s", diff)
			}
			s := m.Switches[0]
			if s.State != api.SwitchStatus_STATE_DEGRADED || s.FailedTotal != 2 || s.Failed[0].Code != code.String() ||
				s.Failed[0].Message != "table vip is full" {
				t.Errorf("switch: %v", s)
			}
			degraded := d.wait("the switch is degraded", isState(api.SwitchStatus_STATE_DEGRADED))
			if !strings.Contains(degraded.Text, "2 VIPs are left out, the newest") {
				t.Errorf("event: %s", degraded.Text)
			}
			// What is wanted meanwhile is not held up.
			d.verdict("web2", api.Health_HEALTH_DOWN)
			if r := d.wait("web2's slots have moved",
				reprogrammed("verdict on web/web2")).GetReprogrammed(); r.Writes != 85 {
				t.Errorf("%d writes for web2's death, want 85", r.Writes)
			}
			tg.refuseNothing()
			d.since(degraded, "the switch is synced", isState(api.SwitchStatus_STATE_SYNCED))
			if n := strings.Count(tg.dump("vip"), "\n"); n != 5 {
				t.Errorf("%d VIPs, want 5", n)
			}
			_ = o
		})
	}
}

// A VIP whose flows partly go to a dead server, because the switch refuses rows of its slots, says so; gslb too.
func TestRefusedSlotsShowOnTheirVIP(t *testing.T) {
	tg, d, _ := setup(t)
	tg.refuseIf(func(u *v1.Update) error {
		if u.Type == v1.Update_MODIFY && isTable(t, u, "slot") {
			return status.Error(codes.ResourceExhausted, "no room")
		}
		return nil
	})
	d.verdict("web2", api.Health_HEALTH_DOWN)
	degraded := d.wait("the switch is degraded", isState(api.SwitchStatus_STATE_DEGRADED))
	m := d.status()
	const why = "switch leaf1 does not take its rows: new flows of 85 of 256 slots go to web/web2, which is not up"
	if v := m.Vips[0]; v.State != api.VIPStatus_STATE_DEGRADED || v.Reason != why || v.Load != 255 {
		t.Errorf("VIP: %v", v)
	}
	d.told(api.VIPStatus_STATE_DEGRADED, why, 255)
	tg.refuseNothing()
	d.since(degraded, "the switch is synced", isState(api.SwitchStatus_STATE_SYNCED))
	d.told(api.VIPStatus_STATE_ACTIVE, "", 85)
}

// Where a switch refuses the next generation of a pool's slots, the one before goes on serving its VIP.
func TestRefusedGenerationKeepsTheOneBefore(t *testing.T) {
	for _, refused := range []struct {
		op    v1.Update_Type
		table string
	}{
		{v1.Update_MODIFY, "vip"},
		{v1.Update_INSERT, "slot"},
		{v1.Update_INSERT, "backend"}, // so that some of the slots are not even tried
	} {
		t.Run(refused.table, func(t *testing.T) { refusedGeneration(t, refused.op, refused.table) })
	}
}

func refusedGeneration(t *testing.T, op v1.Update_Type, table string) {
	tg, d, o := setup(t)
	before := tg.dump("slot", "backend", "vip")
	tg.refuseIf(func(u *v1.Update) error {
		if u.Type == op && isTable(t, u, table) {
			return status.Error(codes.Internal, "not now")
		}
		return nil
	})
	larger := strings.Replace(intent(tg.Target()), "slots: 256", "slots: 512", 1)
	larger = strings.Replace(larger, "      - {name: web3", "      - {name: web4", 1)
	if _, err := d.ApplyIntent(t.Context(), &api.ApplyIntentRequest{Yaml: larger, File: o.file}); err != nil {
		t.Fatal(err)
	}
	degraded := d.wait("the switch is degraded", isState(api.SwitchStatus_STATE_DEGRADED))
	now := "\n" + tg.dump("slot", "backend", "vip")
	for line := range strings.Lines(before) {
		if !strings.Contains(now, "\n"+line) {
			t.Errorf("gone, though the VIP leads there: %s", line)
		}
	}
	tg.refuseNothing()
	d.since(degraded, "the switch is synced", isState(api.SwitchStatus_STATE_SYNCED))
	if n := strings.Count(tg.dump("slot"), "generation=0"); n != 0 {
		t.Errorf("%d rows of the generation before are left", n)
	}
}

// told waits until gslb is told that of the first VIP.
func (d *daemon) told(state api.VIPStatus_State, reason string, load uint32) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	stream, err := d.WatchVIPs(ctx, &api.WatchVIPsRequest{})
	if err != nil {
		d.t.Fatal(err)
	}
	defer stream.Close()
	var v *api.VIP
	for stream.Receive() {
		if v = stream.Msg().Vips[0]; v.State == state && v.Reason == reason && v.Load == load {
			return
		}
	}
	d.t.Fatalf("gslb is told %v, want %v, load %d: %s (%v)", v, state, load, reason, stream.Err())
}

// A VIP is active when its rows are on the switch, not when the switch is connected.
func TestVIPIsActiveWhenItsRowsAreThere(t *testing.T) {
	tg := newTarget(t)
	read, write := make(chan struct{}), make(chan struct{})
	tg.refuseIf(func(u *v1.Update) error {
		if u.GetEntity().GetDigestEntry() != nil || u.GetEntity().GetMeterEntry() != nil {
			<-read // they come before the switch is read back
		} else {
			<-write
		}
		return nil
	})
	dir := t.TempDir()
	d := startController(t, options{dir: dir, file: writeFile(t, dir, intent(tg.Target()))})
	d.told(api.VIPStatus_STATE_UNPROGRAMMED, "switch leaf1 is being read back", 255)
	close(read)
	d.told(api.VIPStatus_STATE_DEGRADED, "its rows are not on switch leaf1 yet", 255)
	close(write)
	d.told(api.VIPStatus_STATE_ACTIVE, "", 0)
}

// A drain is answered when new connections go elsewhere, or the answer says that they do not yet.
func TestDrainIsAnsweredWhenItIsWritten(t *testing.T) {
	tg, d, _ := setup(t)
	release := make(chan struct{})
	wait := func() { <-release }
	tg.before.Store(&wait)
	set := func(a api.Admin) *api.BackendStatus {
		t.Helper()
		m, err := d.SetBackendAdmin(t.Context(), &api.SetBackendAdminRequest{Backend: "web2", Admin: a})
		if err != nil {
			t.Fatal(err)
		}
		return m.Backend
	}
	b := set(api.Admin_ADMIN_DRAIN)
	if diff := cmp.Diff([]string{"being written to switch leaf1"}, b.Unwritten); diff != "" || b.Drained ||
		b.Slots != 0 {
		t.Errorf("while nothing is written: %v (-want +got):\n%s", b, diff)
	}
	close(release)
	b = set(api.Admin_ADMIN_DRAIN)
	if len(b.Unwritten) != 0 || strings.Contains(tg.dump("slot"), "(backend_id=2") {
		t.Errorf("answered before it was written: %v\n%s", b, tg.dump("slot"))
	}
	d.wait("web2 is drained", func(e *api.Event) bool {
		return e.GetDrainDone() != nil && e.Text == "web/web2 is drained: no slot leads there any more, and no open "+
			"connection sent a packet for drain_idle"
	})
	d.quiet()
	if b := set(api.Admin_ADMIN_DRAIN); !b.Drained || b.DrainIdle.AsDuration() != 500*time.Millisecond ||
		b.DrainForced != 0 {
		t.Errorf("drained: %v", b)
	}
	// A switch that refuses it says so too.
	tg.refuseIf(func(u *v1.Update) error {
		if u.Type == v1.Update_MODIFY && isTable(t, u, "slot") {
			return status.Error(codes.ResourceExhausted, "no room")
		}
		return nil
	})
	m, err := d.SetBackendAdmin(t.Context(), &api.SetBackendAdminRequest{Backend: "web1", Admin: api.Admin_ADMIN_DRAIN})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"switch leaf1 does not take it: new flows of 128 slots still come here"}
	if diff := cmp.Diff(want, m.Backend.Unwritten); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
}

// Rows that somebody deletes or adds behind the controller's back are found out when a write meets them.
func TestSomebodyElseWrites(t *testing.T) {
	tg, d, _ := setup(t)
	// A refused update that says that the row is not there, or is.
	var once atomic.Bool
	tg.refuseIf(func(u *v1.Update) error {
		if u.Type == v1.Update_MODIFY && isTable(t, u, "slot") && once.CompareAndSwap(false, true) {
			return status.Error(codes.NotFound, "no such entry")
		}
		return nil
	})
	d.verdict("web2", api.Health_HEALTH_DOWN)
	degraded := d.wait("the switch is degraded", isState(api.SwitchStatus_STATE_DEGRADED))
	d.since(degraded, "the switch is synced", isState(api.SwitchStatus_STATE_SYNCED))
	if s := d.status().Switches[0]; s.Connects != 2 {
		t.Errorf("%d read-backs, want 2", s.Connects)
	}
	if strings.Contains(tg.dump("slot"), "backend_id=2)") {
		t.Error("slots still lead to web2")
	}
}

// receive returns what the host at a port gets.
func (tg *target) receive(port uint16) <-chan []byte {
	got := make(chan []byte, 64)
	tg.hear(port, func(frame []byte) {
		select {
		case got <- append([]byte(nil), frame...):
		default:
		}
	})
	return got
}

func TestLearning(t *testing.T) {
	tg := newTarget(t)
	dir := t.TempDir()
	d := startController(t, options{dir: dir, file: writeFile(t, dir, intent(tg.Target())), station: 4 * time.Second})
	synced := d.synced()
	a, b := packet.MAC{2, 0, 0, 0, 0, 0xa}, packet.MAC{2, 0, 0, 0, 0, 0xb}
	from := func(mac packet.MAC) []byte {
		return packet.NewARPRequest(mac, netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("10.0.0.6"))
	}
	tg.End(1).Inject(from(a))
	tg.End(2).Inject(from(packet.MAC{2, 0x53, 0x4c, 0, 0, 1})) // nobody is learned as the VIP
	tg.End(2).Inject(from(b))
	tg.until("both are learned", "station",
		"station{mac=02:00:00:00:00:0a} -> known(port=1)\nstation{mac=02:00:00:00:00:0b} -> known(port=2)\n")
	tg.until("both are reachable", "l2",
		"l2{mac=02:00:00:00:00:0a} -> forward(port=1)\nl2{mac=02:00:00:00:00:0b} -> forward(port=2)\n")
	d.until("the status has both", func(m *api.GetStatusResponse) bool {
		tg.End(1).Inject(from(a)) // they go on speaking, however slow the machine is
		tg.End(2).Inject(from(b))
		return m.Switches[0].Stations == 2
	})
	tg.End(3).Inject(from(a))
	moved := d.since(synced, "the station moves", func(e *api.Event) bool { return e.GetStation() != nil })
	if want := "02:00:00:00:00:0a moved from port 1 to port 3 of leaf1"; moved.Text != want {
		t.Errorf("got event %q, want %q", moved.Text, want)
	}
	// Silence: both age, both rows of both.
	tg.until("all have aged", "station", "")
	tg.until("all have aged", "l2", "")
}

// until waits until the table holds what is wanted.
func (tg *target) until(what, table, want string) {
	tg.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got := tg.dump(table)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			tg.t.Fatalf("waiting until %s: table %s holds (-want +got):\n%s", what, table, cmp.Diff(want, got))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A real server that answers ARP for the VIP is dropped, counted and named.
func TestARPClaims(t *testing.T) {
	tg, d, _ := setup(t)
	vip := netip.MustParseAddr("10.0.0.100")
	server := packet.MAC{2, 0, 0, 0, 0, 0x12}
	client := packet.MAC{2, 0, 0, 0, 0, 0xc}
	claim := func() { tg.End(3).Inject(packet.NewARPReply(server, vip, client, netip.MustParseAddr("10.0.0.1"))) }
	claim()
	e := d.wait("the claim is reported", func(e *api.Event) bool { return e.GetArpClaim() != nil })
	want := "02:00:00:00:00:12 (web/web2: it must not answer ARP for the VIP) claims VIP 10.0.0.100 on port 3 of " +
		"leaf1: dropped, 1 so far"
	if e.Text != want {
		t.Errorf("got event %q, want %q", e.Text, want)
	}
	claim()
	claim()
	deadline := time.Now().Add(patience)
	for {
		m := d.status()
		if len(m.ArpClaims) == 1 && m.ArpClaims[0].Count == 3 {
			c := m.ArpClaims[0]
			if c.Switch != "leaf1" || c.VipAddress != "10.0.0.100" || c.Port != 3 || c.Mac != server.String() ||
				c.Backend != "web/web2" {
				t.Errorf("claim: %v", c)
			}
			if n := m.Switches[0].Tallies["drop_arp_claim"].GetPackets(); n != 3 {
				t.Errorf("the switch counts %d claims, want 3", n)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("claims: %v", m.ArpClaims)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A server that asks for its neighbours as the VIP is named, and its requests are not among what was not forwarded.
func TestDisownedRequests(t *testing.T) {
	tg, d, _ := setup(t)
	vip, server := netip.MustParseAddr("10.0.0.100"), packet.MAC{2, 0, 0, 0, 0, 0x12}
	tg.End(3).Inject(packet.NewARPRequest(server, vip, netip.MustParseAddr("10.0.0.1")))
	e := d.wait("it is reported", func(e *api.Event) bool { return e.GetArpClaim() != nil })
	want := "02:00:00:00:00:12 (web/web2: arp_announce=2 is missing there) asks for its neighbours as VIP 10.0.0.100 " +
		"on port 3 of leaf1: forwarded without the VIP, 1 so far"
	if e.Text != want {
		t.Errorf("got event %q, want %q", e.Text, want)
	}
	m := d.status()
	s := m.Switches[0]
	if s.Mended["arp_disowned"].GetPackets() != 1 || len(s.Tallies) != 0 {
		t.Errorf("mended %v, tallies %v", s.Mended, s.Tallies)
	}
	if len(m.ArpClaims) != 1 || !m.ArpClaims[0].Disowned || m.ArpClaims[0].Port != 3 ||
		m.ArpClaims[0].Backend != "web/web2" {
		t.Errorf("claims: %v", m.ArpClaims)
	}
}

// A switch_port that is not where the server is shows, though every check finds the server.
func TestWrongPortShows(t *testing.T) {
	tg, d, _ := setup(t)
	web1 := packet.MAC{2, 0, 0, 0, 0, 0x11} // at port 2, says the intent
	tg.End(1).Inject(packet.NewARPRequest(web1, netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("10.0.0.6")))
	const want = "frames from its MAC 02:00:00:00:00:11 come in by port 1 of leaf1 and are dropped: its " +
		"switch_port, 2, is wrong, or a host there pretends"
	d.until("the contradiction shows", func(m *api.GetStatusResponse) bool {
		for _, c := range m.Concerns {
			if c.Text == "backend web/web1: "+want {
				return len(m.Pools[0].Backends[0].Contradictions) == 1 &&
					len(m.Pools[0].Backends[1].Contradictions) == 0
			}
		}
		return false
	})
}

// How the ports of a switch are shows in the status, and what is wrong with them among what is wrong.
func TestPortsShowInTheStatus(t *testing.T) {
	tg, d, _ := setup(t)
	watched, err := d.WatchChecks(t.Context(), new(api.WatchChecksRequest))
	if err != nil {
		t.Fatal(err)
	}
	defer watched.Close()
	tg.End(2).SetLink(false)
	var m *api.GetStatusResponse
	d.until("the port is down", func(now *api.GetStatusResponse) bool {
		m = now
		return len(m.Switches[0].Ports) == 4 && m.Switches[0].Ports[1].State == "down"
	})
	want := []*api.PortStatus{
		{Id: 1, Name: "port1", State: "up", Configured: true},
		{Id: 2, Name: "port2", State: "down", Reason: "the wire is pulled out", Configured: true},
		{Id: 3, Name: "port3", State: "up", Configured: true}, {Id: 4, Name: "port4", State: "up", Configured: true},
	}
	since := protocmp.IgnoreFields(new(api.PortStatus), "heard")
	if diff := cmp.Diff(want, m.Switches[0].Ports, protocmp.Transform(), since); diff != "" ||
		m.Switches[0].PortsUntold != "" {
		t.Errorf("ports: %s (-want +got):\n%s", m.Switches[0].PortsUntold, diff)
	}
	if got, want := m.Switches[0].PortsWay, "gNMI, streamed"; got != want {
		t.Errorf("told by %q, want %q", got, want)
	}
	found := false
	for _, c := range m.Concerns {
		found = found || c.Text == "port 2 of leaf1 is down: the wire is pulled out; behind it: web/web1" &&
			c.Severity == api.Concern_SEVERITY_WARNING
	}
	if !found {
		t.Errorf("concerns: %v", m.Concerns)
	}
	for _, b := range m.Pools[0].Backends {
		var want []string
		if b.Name == "web1" {
			want = []string{"port 2 of leaf1 is down: the wire is pulled out"}
		}
		if diff := cmp.Diff(want, b.Ports); diff != "" {
			t.Errorf("%s (-want +got):\n%s", b.Name, diff)
		}
	}
	told := d.wait("an event tells of it", func(e *api.Event) bool { return e.GetPort() != nil })
	const event = "port 2 (port2) of leaf1 is down: the wire is pulled out; behind it: web/web1"
	if told.Text != event {
		t.Errorf("event %q, want %q", told.Text, event)
	}
	// healthd is told to look at once, and decides.
	var urgent []string
	for len(urgent) == 0 && watched.Receive() {
		for _, b := range watched.Msg().Pools[0].Backends {
			if b.Urgent {
				urgent = append(urgent, b.Name)
			}
		}
	}
	if diff := cmp.Diff([]string{"web1"}, urgent); diff != "" {
		t.Errorf("urgent (-want +got):\n%s", diff)
	}
	if h := m.Pools[0].Backends[0].Health; h != api.Health_HEALTH_UNSPECIFIED {
		t.Errorf("web1 is %v by its port alone", h)
	}
}

// A switch that was started without ports forwards nothing, whatever its tables hold.
func TestSwitchWithoutPorts(t *testing.T) {
	ctx, end := context.WithCancel(context.Background())
	sw, err := (&target{t: t}).Start(ctx, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(); _ = sw.Wait() })
	dir := t.TempDir()
	d := startController(t, options{dir: dir, file: writeFile(t, dir, intent(sw.Target))})
	const want = "switch leaf1 does not have ports that the configuration names: 1, 2, 3, 4"
	d.until("it is said", func(m *api.GetStatusResponse) bool {
		return slices.ContainsFunc(m.Concerns, func(c *api.Concern) bool { return c.Text == want })
	})
}

// Ports may be named as the switch names them. Their rows are those of the numbers, and another spelling of the same
// writes nothing.
func TestPortsByName(t *testing.T) {
	tg := newTarget(t)
	tg.start()
	numbers := intent(tg.Target())
	names := strings.NewReplacer("ports: [1, 2, 3, 4]", "ports: [1, port2, 3, port4]", "switch_port: 2",
		"switch_port: port2",
		"switch_port: 4", "switch_port: {leaf1: port4}").Replace(numbers)
	dir := t.TempDir()
	d := startController(t, options{dir: dir, file: writeFile(t, dir, names)})
	d.until("the ports have numbers", func(m *api.GetStatusResponse) bool {
		return synced(m) && m.Pools[0].Backends[2].SwitchPorts["leaf1"] == 4
	})
	rows := tg.dump(allTables...)
	written := tg.updates.Load()

	// A restart does not wait for the switch to tell.
	d.kill()
	d = startController(t, options{dir: dir})
	d.quiet()
	if n := tg.updates.Load() - written; n != 0 {
		t.Errorf("%d updates after a restart, want none", n)
	}
	if _, err := d.ApplyIntent(t.Context(), &api.ApplyIntentRequest{Yaml: numbers}); err != nil {
		t.Fatal(err)
	}
	d.quiet()
	if diff := cmp.Diff(rows, tg.dump(allTables...)); diff != "" {
		t.Errorf("by number (-names +numbers):\n%s", diff)
	}
	if n := tg.updates.Load() - written; n != 0 {
		t.Errorf("%d updates for another spelling, want none", n)
	}

	if _, err := d.ApplyIntent(t.Context(),
		&api.ApplyIntentRequest{Yaml: strings.NewReplacer("port4]", "eth4]", "port4}",
			"eth4}").Replace(names)}); err != nil {
		t.Fatal(err)
	}
	const want = "switch leaf1 does not tell of a port eth4, which the configuration names: nothing is flooded to " +
		"it, and who is behind it is not pinned there; there are port1, port2, port3, port4"
	d.until("it is said", func(m *api.GetStatusResponse) bool {
		return slices.ContainsFunc(m.Concerns, func(c *api.Concern) bool { return c.Text == want })
	})
}

// Counters of the switch show in the status, by VIP and backend.
func TestStatusCountsPackets(t *testing.T) {
	tg, d, _ := setup(t)
	arrived := make([]<-chan []byte, 5)
	for port := uint16(2); port <= 4; port++ {
		arrived[port] = tg.receive(port)
	}
	const n = 30
	for i := range n {
		tg.End(1).Inject(packet.NewTCP(packet.Segment{
			SrcMAC: packet.MAC{2, 0, 0, 0, 0, 0xc}, DstMAC: packet.MAC{2, 0x53, 0x4c, 0, 0, 1},
			Src: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(1000+i)),
			Dst: netip.MustParseAddrPort("10.0.0.100:80"), Flags: packet.SYN,
		}))
	}
	for range n {
		select {
		case <-arrived[2]:
		case <-arrived[3]:
		case <-arrived[4]:
		case <-time.After(patience):
			t.Fatal("packets are missing")
		}
	}
	m := d.status()
	if got := m.Vips[0].Packets.GetPackets(); got != n {
		t.Errorf("the VIP counts %d packets, want %d", got, n)
	}
	sum := uint64(0)
	for _, b := range m.Pools[0].Backends {
		if b.Packets.GetPackets() == 0 {
			t.Errorf("%s counts no packets", b.Name)
		}
		sum += b.Packets.GetPackets()
	}
	if sum != n {
		t.Errorf("the backends count %d packets, want %d", sum, n)
	}
}
