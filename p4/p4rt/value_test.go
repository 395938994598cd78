package p4rt_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/packet"
)

func TestValue(t *testing.T) {
	tests := []struct {
		name  string
		value p4rt.Value
		bytes []byte
		text  string
	}{
		{"zero", p4rt.UintValue(0), []byte{0}, "0"},
		{"one byte", p4rt.UintValue(255), []byte{255}, "255"},
		{"two bytes", p4rt.UintValue(256), []byte{1, 0}, "256"},
		{"64 bits", p4rt.UintValue(1<<64 - 1), []byte{255, 255, 255, 255, 255, 255, 255, 255}, "18446744073709551615"},
		{"wider than 64 bits", p4rt.BytesValue([]byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 0}), []byte{1, 0, 0, 0, 0, 0, 0, 0, 0},
			"0x010000000000000000"},
		{"bytes with leading zeros", p4rt.BytesValue([]byte{0, 0, 7}), []byte{7}, "7"},
		{"IPv4", p4rt.AddrValue(netip.MustParseAddr("10.0.0.100")), []byte{10, 0, 0, 100}, "10.0.0.100"},
		{"IPv4 with leading zeros", p4rt.AddrValue(netip.MustParseAddr("0.0.0.1")), []byte{1}, "0.0.0.1"},
		{"IPv4 in IPv6", p4rt.AddrValue(netip.MustParseAddr("::ffff:10.0.0.1")), []byte{10, 0, 0, 1}, "10.0.0.1"},
		{"IPv6", p4rt.AddrValue(netip.MustParseAddr("::1")), []byte{1}, "::1"},
		{"MAC", p4rt.MACValue(packet.MAC{0, 0, 0, 0, 1, 2}), []byte{1, 2}, "00:00:00:00:01:02"},
		{"string", p4rt.TextValue("Ethernet0"), []byte("Ethernet0"), `"Ethernet0"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.bytes, tt.value.Bytes()); diff != "" {
				t.Errorf("bytes (-want +got):\n%s", diff)
			}
			if got := tt.value.String(); got != tt.text {
				t.Errorf("prints %s, want %s", got, tt.text)
			}
		})
	}
}

func TestValueBackAgain(t *testing.T) {
	for _, text := range []string{"10.0.0.100", "0.0.0.0", "255.255.255.255", "::", "::1", "2001:db8::1"} {
		addr := netip.MustParseAddr(text)
		if got := p4rt.AddrValue(addr).Addr(); got != addr {
			t.Errorf("address %v comes back as %v", addr, got)
		}
	}
	for _, mac := range []packet.MAC{{}, {2, 0, 0, 0, 0, 1}, packet.Broadcast} {
		if got := p4rt.MACValue(mac).MAC(); got != mac {
			t.Errorf("MAC %v comes back as %v", mac, got)
		}
	}
	for _, x := range []uint64{0, 1, 1 << 31, 1<<64 - 1} {
		if got := p4rt.UintValue(x).Uint(); got != x {
			t.Errorf("%d comes back as %d", x, got)
		}
	}
	if got := p4rt.MACValue(packet.Broadcast).Addr(); got != (netip.Addr{}) {
		t.Errorf("48 bits as an address: %v", got)
	}
	if got := (p4rt.Value{}).Addr(); got != (netip.Addr{}) {
		t.Errorf("no value as an address: %v", got)
	}
}

func TestValueOrder(t *testing.T) {
	ordered := []p4rt.Value{p4rt.UintValue(0), p4rt.UintValue(9), p4rt.UintValue(255), p4rt.UintValue(256),
		p4rt.UintValue(1 << 40)}
	for i, a := range ordered {
		for j, b := range ordered {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := a.Compare(b); got != want {
				t.Errorf("%v.Compare(%v) = %d, want %d", a, b, got, want)
			}
		}
	}
	if got := p4rt.TextValue("blue").Compare(p4rt.TextValue("red")); got != -1 {
		t.Errorf("blue compares to red as %d", got)
	}
	// Width and format are no part of the number.
	if !p4rt.AddrValue(netip.MustParseAddr("0.0.0.7")).Equal(p4rt.UintValue(7)) {
		t.Error("0.0.0.7 is not 7")
	}
}

func TestElectionID(t *testing.T) {
	tests := []struct {
		a, b p4rt.ElectionID
		want int
	}{
		{p4rt.ElectionID{}, p4rt.ElectionID{}, 0},
		{p4rt.ElectionID{Low: 1}, p4rt.ElectionID{}, 1},
		{p4rt.ElectionID{High: 1}, p4rt.ElectionID{Low: 1<<64 - 1}, 1},
		{p4rt.ElectionID{High: 1, Low: 1}, p4rt.ElectionID{High: 1, Low: 2}, -1},
	}
	for _, tt := range tests {
		if got := tt.a.Compare(tt.b); got != tt.want {
			t.Errorf("%v.Compare(%v) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
