package device

import (
	"context"
	"iter"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/packet"
)

// Two VIPs on one address, and slots of which the second one moves from backend 2 to backend 1.
func servedTables() rows.Tables {
	a := netip.MustParseAddr("10.0.0.100")
	to := rows.ToPool{Pool: 1, Generation: 3, SlotMask: 3}
	return rows.Tables{
		Backend: map[rows.BackendID]rows.Forward{1: {MAC: packet.MAC{2, 1}, Port: 1}, 2: {MAC: packet.MAC{2, 2}, Port: 2}},
		Slots: map[rows.SlotTable]rows.Slots{{Pool: 1, Generation: 3}: {
			Rows: []rows.Slot{{Backend: 1}, {Backend: 1, Old: 2, Epoch: 7}, {Backend: 1}, {Backend: 2}},
		}},
		VIP:          map[rows.VIPKey]rows.ToPool{{Address: a, Protocol: 6, Port: 80}: to, {Address: a, Protocol: 6, Port: 443}: to},
		VIPAddress:   map[netip.Addr]struct{}{a: {}},
		ARPGuard:     map[netip.Addr]struct{}{a: {}},
		ARPResponder: map[netip.Addr]packet.MAC{a: {2, 9}},
		Flood:        []uint16{1, 2},
	}
}

// Every row that a VIP needs is missed.
func TestLacks(t *testing.T) {
	a := netip.MustParseAddr("10.0.0.100")
	www, tls := rows.VIPKey{Address: a, Protocol: 6, Port: 80}, rows.VIPKey{Address: a, Protocol: 6, Port: 443}
	slots := rows.SlotTable{Pool: 1, Generation: 3}
	type to = map[rows.BackendID]int
	both := func(l Lack) map[rows.VIPKey]Lack { return map[rows.VIPKey]Lack{www: l, tls: l} }
	set := func(h *rows.Tables, i int, s rows.Slot) {
		list := slices.Clone(h.Slots[slots].Rows)
		list[i] = s
		h.Slots[slots] = rows.Slots{Rows: list}
	}
	for _, tt := range []struct {
		name string
		lose func(have *rows.Tables)
		want map[rows.VIPKey]Lack
	}{
		{"nothing", func(*rows.Tables) {}, both(Lack{})},
		{"vip", func(h *rows.Tables) { delete(h.VIP, tls) }, map[rows.VIPKey]Lack{www: {}, tls: {Row: "vip", Dead: true}}},
		{"vip, to slots of before", func(h *rows.Tables) {
			h.VIP[tls] = rows.ToPool{Pool: 1, Generation: 2, SlotMask: 1}
			h.Slots[rows.SlotTable{Pool: 1, Generation: 2}] = rows.Slots{Rows: []rows.Slot{{Backend: 1}, {Backend: 1}}}
		}, map[rows.VIPKey]Lack{www: {}, tls: {Row: "vip"}}},
		{"vip, to slots that are no more", func(h *rows.Tables) { h.VIP[tls] = rows.ToPool{Pool: 1, Generation: 2, SlotMask: 1} },
			map[rows.VIPKey]Lack{www: {}, tls: {Row: "vip", Dead: true}}},
		{"arp_responder", func(h *rows.Tables) { delete(h.ARPResponder, a) }, both(Lack{Row: "arp_responder", Dead: true})},
		{"arp_responder of another MAC", func(h *rows.Tables) { h.ARPResponder[a] = packet.MAC{2, 8} }, both(Lack{Row: "arp_responder"})},
		{"vip_address", func(h *rows.Tables) { delete(h.VIPAddress, a) }, both(Lack{Row: "vip_address"})},
		{"arp_guard", func(h *rows.Tables) { delete(h.ARPGuard, a) }, both(Lack{Row: "arp_guard"})},
		{"the flood group", func(h *rows.Tables) { h.Flood = nil }, both(Lack{Row: "multicast_group"})},
		{"a port of it", func(h *rows.Tables) { h.Flood = []uint16{1} }, both(Lack{Row: "multicast_group"})},
		{"all slots", func(h *rows.Tables) { delete(h.Slots, slots) }, both(Lack{Slots: &Astray{Slots: 4, New: to{0: 4}}})},
		{"a slot", func(h *rows.Tables) { set(h, 2, rows.Slot{}) }, both(Lack{Slots: &Astray{Slots: 4, New: to{0: 1}}})},
		{"a slot of another backend", func(h *rows.Tables) { set(h, 2, rows.Slot{Backend: 2}) }, both(Lack{Slots: &Astray{Slots: 4, New: to{2: 1}}})},
		{"slot_old", func(h *rows.Tables) { set(h, 1, rows.Slot{Backend: 1, Epoch: 7}) }, both(Lack{Slots: &Astray{Slots: 4, New: to{}, Old: 1}})},
		{"the epoch of a move", func(h *rows.Tables) { set(h, 1, rows.Slot{Backend: 1, Old: 2}) }, both(Lack{Slots: &Astray{Slots: 4, New: to{}, Old: 1}})},
		{"backend", func(h *rows.Tables) { delete(h.Backend, 2) }, both(Lack{Slots: &Astray{Slots: 4, New: to{0: 1}, Old: 1}})},
		{"a backend's MAC", func(h *rows.Tables) { h.Backend[1] = rows.Forward{MAC: packet.MAC{2, 3}, Port: 1} }, both(Lack{Slots: &Astray{Slots: 4, New: to{0: 3}}})},
	} {
		have := servedTables()
		tt.lose(&have)
		if diff := cmp.Diff(tt.want, lacks(have, servedTables())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	// Slots that are meant to have nobody are no lack.
	want := servedTables()
	want.Slots[slots] = rows.Slots{Rows: []rows.Slot{{}, {Backend: 1, Old: 2, Epoch: 7}, {Backend: 1}, {Backend: 2}}}
	if diff := cmp.Diff(both(Lack{}), lacks(servedTables(), want)); diff != "" {
		t.Errorf("a slot that nobody may have (-want +got):\n%s", diff)
	}
	// But for the open flows of one that is down.
	want.Slots[slots] = rows.Slots{Rows: []rows.Slot{{Grace: 1, Epoch: 8}, {Backend: 1, Old: 2, Epoch: 7}, {Backend: 1}, {Backend: 2}}}
	if diff := cmp.Diff(both(Lack{Slots: &Astray{Slots: 4, New: to{}, Old: 1}}), lacks(servedTables(), want)); diff != "" {
		t.Errorf("a slot in its grace (-want +got):\n%s", diff)
	}
}

// reads is a target that remembers what it was asked for.
type reads struct{ asked [][]*v1.Entity }

func (r *reads) Read(_ context.Context, entities ...*v1.Entity) iter.Seq2[*v1.Entity, error] {
	r.asked = append(r.asked, entities)
	return func(func(*v1.Entity, error) bool) {}
}
func (r *reads) Write(context.Context, []*v1.Update) error { return nil }
func (r *reads) Waiting() <-chan struct{}                  { return nil }
func (r *reads) Next() *v1.StreamMessageResponse           { return nil }
func (r *reads) AckDigest(*v1.DigestList) error            { return nil }

// A target may answer with one message: it must not be one of all tables.
func TestReadBackAsksForOneTableAtATime(t *testing.T) {
	d, err := New(Config{Log: slog.New(slog.DiscardHandler)}, Wanted{})
	if err != nil {
		t.Fatal(err)
	}
	target := new(reads)
	if err := newReconciler(d, target, &Status{Since: time.Now()}).readBack(t.Context()); err != nil {
		t.Fatal(err)
	}
	tables := make(map[uint32]bool)
	for _, asked := range target.asked {
		if len(asked) != 1 {
			t.Errorf("%d entities are asked for in one read", len(asked))
		}
		tables[asked[0].GetTableEntry().GetTableId()] = true // 0 is the multicast groups
	}
	want := []uint32{0}
	for _, table := range p4.P4Info().GetTables() {
		want = append(want, table.GetPreamble().GetId())
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(tables))); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}
}

// A frame that was dropped for its port is told of backends' MACs, and of nobody else's.
func TestDroppedFramesAreSighted(t *testing.T) {
	web, other := packet.MAC{2, 0, 0, 0, 0, 0x11}, packet.MAC{2, 0, 0, 0, 0, 0x99}
	d, err := New(Config{Log: slog.New(slog.DiscardHandler)}, Wanted{
		Tables: rows.Tables{Backend: map[rows.BackendID]rows.Forward{1: {MAC: web, Port: 2}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := newReconciler(d, new(reads), &Status{Since: time.Now()})
	if s := d.Sightings(); !s.Since.IsZero() {
		t.Errorf("before the switch was read: %+v", s)
	}
	if err := r.readBack(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, mac := range []packet.MAC{web, other} {
		frame := packet.NewARPRequest(mac, netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("10.0.0.6"))
		in := &v1.PacketIn{Payload: frame, Metadata: []*v1.PacketMetadata{
			{MetadataId: 1, Value: []byte{3}}, {MetadataId: 2, Value: []byte{limits.ReasonSpoof}},
		}}
		if err := r.packetIn(in); err != nil {
			t.Fatal(err)
		}
	}
	s := d.Sightings()
	if got := s.Last[web]; len(s.Last) != 1 || got.Port != 3 || got.At.IsZero() || s.Since.IsZero() {
		t.Errorf("sightings: %+v", s)
	}
}

// Who asks for its neighbours as a VIP is named, where the pipeline tells.
func TestDisownedRequestsAreNamed(t *testing.T) {
	d, err := New(Config{Name: "leaf1", Log: slog.New(slog.DiscardHandler)}, Wanted{})
	if err != nil {
		t.Fatal(err)
	}
	configured := func() (n int) {
		target := new(reads)
		if err := newReconciler(d, target, &Status{Since: time.Now()}).configureDigests(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(target.asked)
	}
	if n := configured(); n != 2 {
		t.Errorf("%d digests are configured, want 2", n)
	}
	e, err := d.codec.info.DigestEntity(disowned, digests)
	if err != nil {
		t.Fatal(err)
	}
	value := func(b ...byte) *v1.P4Data { return &v1.P4Data{Data: &v1.P4Data_Bitstring{Bitstring: b}} }
	r := newReconciler(d, new(reads), &Status{Since: time.Now()})
	err = r.digest(&v1.DigestList{DigestId: e.GetDigestEntry().GetDigestId(), Data: []*v1.P4Data{{Data: &v1.P4Data_Struct{Struct: &v1.P4StructLike{
		Members: []*v1.P4Data{value(2, 0, 0, 0, 0, 0x12), value(3), value(10, 0, 0, 100)},
	}}}}})
	got := r.noise.take(time.Now()).Claims
	want := Claimed{VIP: netip.MustParseAddr("10.0.0.100"), Port: 3, Disowned: true}
	if err != nil || len(got) != 1 || got[0].Key != want || got[0].Times != 1 || got[0].Senders[0].MAC != (packet.MAC{2, 0, 0, 0, 0, 0x12}) {
		t.Errorf("%v, claims %+v, want one of %+v by 02:00:00:00:00:12", err, got, want)
	}

	// One that does not tell is taken as it is.
	source := p4.P4Info()
	source.Digests = slices.DeleteFunc(source.Digests, func(x *configv1.Digest) bool { return x.Preamble.Name == disowned })
	info, err := p4rt.NewInfo(source)
	if err != nil {
		t.Fatal(err)
	}
	d.codec.info = info
	if n := configured(); n != 1 {
		t.Errorf("%d digests are configured without it, want 1", n)
	}
}
