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
	"github.com/sluicelb/sluice/controller/tally"
	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/backlog"
	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/packet"
)

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
func (r *reads) Dropped(backlog.Kind) uint64               { return 0 }

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
	if n := configured(); n != 3 {
		t.Errorf("%d digests are configured, want 3", n)
	}
	e, err := d.codec.info.DigestEntity(disowned, digests)
	if err != nil {
		t.Fatal(err)
	}
	value := func(b ...byte) *v1.P4Data { return &v1.P4Data{Data: &v1.P4Data_Bitstring{Bitstring: b}} }
	r := newReconciler(d, new(reads), &Status{Since: time.Now()})
	err = r.digest(&v1.DigestList{DigestId: e.GetDigestEntry().GetDigestId(),
		Data: []*v1.P4Data{{Data: &v1.P4Data_Struct{Struct: &v1.P4StructLike{
			Members: []*v1.P4Data{value(2, 0, 0, 0, 0, 0x12), value(3), value(10, 0, 0, 100)},
		}}}}})
	got := r.noise.take(time.Now()).Claims
	want := tally.Claimed{VIP: netip.MustParseAddr("10.0.0.100"), Port: 3, Disowned: true}
	if err != nil || len(got) != 1 || got[0].Key != want || got[0].Times != 1 ||
		got[0].Senders[0].MAC != (packet.MAC{2, 0, 0, 0, 0, 0x12}) {
		t.Errorf("%v, claims %+v, want one of %+v by 02:00:00:00:00:12", err, got, want)
	}

	// One that does not tell is taken as it is.
	source := p4.P4Info()
	source.Digests = slices.DeleteFunc(source.Digests,
		func(x *configv1.Digest) bool { return x.Preamble.Name == disowned })
	info, err := p4rt.NewInfo(source)
	if err != nil {
		t.Fatal(err)
	}
	d.codec.info = info
	if n := configured(); n != 2 {
		t.Errorf("%d digests are configured without it, want 2", n)
	}
}
