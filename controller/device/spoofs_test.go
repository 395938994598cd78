package device

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/packet"
)

func TestSpoofsAreHeldBack(t *testing.T) {
	var s spoofs
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var got []Spoof
	for i := range 250 { // one each 10 ms
		for _, port := range []uint16{4, 5} {
			if r := s.add(mac1, port, start.Add(time.Duration(i)*10*time.Millisecond)); r != nil {
				got = append(got, *r)
			}
		}
	}
	want := []Spoof{{mac1, 4, 1}, {mac1, 5, 1}, {mac1, 4, 100}, {mac1, 5, 100}, {mac1, 4, 100}, {mac1, 5, 100}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for i := range 3 * spoofsKept {
		s.add(packet.MAC{2, 1, byte(i >> 8), byte(i)}, 4, start)
	}
	if len(s.seen) > spoofsKept {
		t.Errorf("%d are kept, want %d at most", len(s.seen), spoofsKept)
	}
}

func TestMovesAreHeldBack(t *testing.T) {
	var m moves
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var got []Moved
	for i := range 201 { // one each 100 ms
		if r := m.add(Moved{MAC: mac1, From: 1, To: 2}, start.Add(time.Duration(i)*100*time.Millisecond)); r != nil {
			got = append(got, *r)
		}
	}
	if diff := cmp.Diff([]Moved{{mac1, 1, 2, 0}, {mac1, 1, 2, 99}, {mac1, 1, 2, 99}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Whatever a claim hides behind, the controller knows who made it; and it knows spoofed stations.
func TestPacketInsAreNamed(t *testing.T) {
	claim := packet.NewARPReply(mac1, vip1, packet.Broadcast, vip1)
	insert := func(more ...byte) []byte {
		return append(append(append([]byte{}, claim[:12]...), more...), claim[12:]...)
	}
	hardware := append([]byte{}, claim...)
	hardware[15] = 6
	want := Report{Switch: "leaf1", Claim: &Claim{VIP: vip1, Port: 4, MAC: mac1}}
	tests := []struct {
		name   string
		reason uint8
		frame  []byte
		want   []Report
	}{
		{"plain", p4.ReasonARPClaim, claim, []Report{want}},
		{"802.1Q", p4.ReasonARPClaim, insert(0x81, 0, 0, 5), []Report{want}},
		{"802.1ad", p4.ReasonARPClaim, insert(0x88, 0xa8, 0, 5), []Report{want}},
		{"0x9100", p4.ReasonARPClaim, insert(0x91, 0, 0, 5), []Report{want}},
		{"SNAP", p4.ReasonARPClaim, insert(0, 36, 0xaa, 0xaa, 3, 0, 0, 0), []Report{want}},
		{"hardware type 6", p4.ReasonARPClaim, hardware, []Report{want}},
		{"no ARP at all", p4.ReasonARPClaim, claim[:20], nil},
		{"spoof", p4.ReasonSpoof, insert(0x81, 0, 0, 5), []Report{{Switch: "leaf1", Spoof: &Spoof{MAC: mac1, Port: 4, Frames: 1}}}},
		{"spoof that is cut", p4.ReasonSpoof, claim[:13], nil},
		{"another reason", 9, claim, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []Report
			d, err := New(Config{
				Name: "leaf1", Log: slog.New(slog.NewTextHandler(new(strings.Builder), nil)),
				Report: func(_ context.Context, r Report) { got = append(got, r) },
			}, Wanted{})
			if err != nil {
				t.Fatal(err)
			}
			r := newReconciler(d, &meterTarget{}, new(Status))
			if err := r.packetIn(t.Context(), &v1.PacketIn{Payload: tt.frame, Metadata: []*v1.PacketMetadata{
				{MetadataId: 1, Value: []byte{4}}, {MetadataId: 2, Value: []byte{tt.reason}},
			}}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.Comparer(func(a, b Claim) bool { return a == b })); diff != "" {
				t.Errorf("reports (-want +got):\n%s", diff)
			}
		})
	}
}
