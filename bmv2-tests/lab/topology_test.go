package lab

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/bmv2-tests/lab/proof"
	"github.com/sluicelb/sluice/p4/packet"
)

func TestProofOfSegment(t *testing.T) {
	vip, other := netip.MustParseAddr("10.0.0.100"), netip.MustParseAddr("10.0.0.101")
	mac := func(n byte) packet.MAC { return packet.MAC{2, 0, 0, 0, 0, n} }
	s := Segment{Nodes: []Node{
		{Name: "router", Port: 7, MAC: mac(7), Router: true},
		{Name: "web1", Port: 2, MAC: mac(2), VIPs: []netip.Addr{vip}},
		{Name: "web2", Port: 3, MAC: mac(3), VIPs: []netip.Addr{other, vip}},
		{Name: "mail", Port: 4, MAC: mac(4), VIPs: []netip.Addr{other}},
		{Name: "manager", Port: 5, MAC: mac(5)},
	}}
	want := proof.Config{
		VIP: vip, VIPMAC: mac(0x53), Router: 7, Servers: map[uint16]packet.MAC{2: mac(2), 3: mac(3)},
		Others: []uint16{4, 5},
	}
	sameAddr := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	if diff := cmp.Diff(want, s.Proof(vip, mac(0x53)), sameAddr); diff != "" {
		t.Errorf("proof (-want +got):\n%s", diff)
	}
}
