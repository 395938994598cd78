package device

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/packet"
)

// Whatever a claim hides behind, the controller knows who made it; and it knows spoofed stations.
func TestPacketInsAreNamed(t *testing.T) {
	claim := packet.NewARPReply(mac1, vip1, packet.Broadcast, vip1)
	insert := func(more ...byte) []byte {
		return append(append(append([]byte{}, claim[:12]...), more...), claim[12:]...)
	}
	hardware := append([]byte{}, claim...)
	hardware[15] = 6
	const want = "claim of 10.0.0.100 on port 4 by 02:00:00:00:00:11"
	tests := []struct {
		name   string
		reason uint8
		frame  []byte
		want   string
	}{
		{"plain", limits.ReasonARPClaim, claim, want},
		{"802.1Q", limits.ReasonARPClaim, insert(0x81, 0, 0, 5), want},
		{"802.1ad", limits.ReasonARPClaim, insert(0x88, 0xa8, 0, 5), want},
		{"0x9100", limits.ReasonARPClaim, insert(0x91, 0, 0, 5), want},
		{"SNAP", limits.ReasonARPClaim, insert(0, 36, 0xaa, 0xaa, 3, 0, 0, 0), want},
		{"hardware type 6", limits.ReasonARPClaim, hardware, want},
		{"no ARP at all", limits.ReasonARPClaim, claim[:20], ""},
		{"spoof", limits.ReasonSpoof, insert(0x81, 0, 0, 5), "spoof on port 4 by 02:00:00:00:00:11"},
		{"spoof that is cut", limits.ReasonSpoof, claim[:13], ""},
		{"ARP spoof", limits.ReasonARPSpoof, insert(0x81, 0, 0, 5),
			"spoof of 10.0.0.100 on port 4 by 02:00:00:00:00:11"},
		{"ARP spoof that is cut", limits.ReasonARPSpoof, claim[:20], ""},
		{"another reason", 9, claim, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := New(Config{Name: "leaf1", Log: slog.New(slog.DiscardHandler)}, Wanted{})
			if err != nil {
				t.Fatal(err)
			}
			r := newReconciler(d, &meterTarget{}, new(Status))
			if err := r.packetIn(&v1.PacketIn{Payload: tt.frame, Metadata: []*v1.PacketMetadata{
				{MetadataId: 1, Value: []byte{4}}, {MetadataId: 2, Value: []byte{tt.reason}},
			}}); err != nil {
				t.Fatal(err)
			}
			var got []string
			n := r.noise.take(time.Now())
			for _, e := range n.Claims {
				got = append(got, fmt.Sprintf("claim of %v on port %d by %v", e.Key.VIP, e.Key.Port, e.Senders[0].MAC))
			}
			for _, e := range n.Spoofs {
				of := ""
				if e.Key.Address.IsValid() {
					of = fmt.Sprintf(" of %v", e.Key.Address)
				}
				got = append(got, fmt.Sprintf("spoof%s on port %d by %v", of, e.Key.Port, e.Senders[0].MAC))
			}
			if got := strings.Join(got, "; "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
