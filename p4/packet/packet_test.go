package packet_test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/p4/packet"
	"github.com/sluicelb/sluice/p4/packet/packettest"
)

var (
	hostMAC = packet.MAC{0x02, 0, 0, 0, 0, 0x11}
	vipMAC  = packet.MAC{0x02, 0x53, 0x4c, 0, 0, 1}
	host    = netip.MustParseAddr("10.0.0.11")
	vip     = netip.MustParseAddr("10.0.0.100")
)

func TestParseMAC(t *testing.T) {
	const allowed = ` is not a MAC address: want six pairs of hexadecimal digits joined by colons, such as ` +
		`02:53:4c:00:00:01`
	for _, tt := range []struct {
		in   string
		want packet.MAC
		err  string
	}{
		{in: "02:53:4c:00:00:01", want: vipMAC},
		{in: "FF:ff:Ff:fF:FF:FF", want: packet.Broadcast},
		{in: "", err: `""` + allowed},
		{in: "02-53-4c-00-00-01", err: `"02-53-4c-00-00-01"` + allowed},
		{in: "0253.4c00.0001", err: `"0253.4c00.0001"` + allowed},
		{in: "02:53:4c:00:00:0g", err: `"02:53:4c:00:00:0g"` + allowed},
		{in: "02:53:4c:00:00:01:02", err: `"02:53:4c:00:00:01:02"` + allowed},
		{in: "2:53:4c:00:00:001", err: `"2:53:4c:00:00:001"` + allowed},
	} {
		t.Run(tt.in, func(t *testing.T) {
			got, err := packet.ParseMAC(tt.in)
			message := ""
			if err != nil {
				message = err.Error()
			}
			if got != tt.want || message != tt.err {
				t.Errorf("ParseMAC(%q) = %v, %q; want %v, %q", tt.in, got, message, tt.want, tt.err)
			}
		})
	}
}

func TestMACText(t *testing.T) {
	text, err := json.Marshal(map[packet.MAC]packet.MAC{vipMAC: hostMAC})
	if want := `{"02:53:4c:00:00:01":"02:00:00:00:00:11"}`; err != nil || string(text) != want {
		t.Fatalf("json.Marshal = %s, %v; want %s", text, err, want)
	}
	var back map[packet.MAC]packet.MAC
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[packet.MAC]packet.MAC{vipMAC: hostMAC}, back); diff != "" {
		t.Errorf("round trip (-want +got):\n%s", diff)
	}
	if err := json.Unmarshal([]byte(`"nonsense"`), new(packet.MAC)); err == nil {
		t.Error("nonsense was accepted as a MAC")
	}
}

func TestMACProperties(t *testing.T) {
	for _, tt := range []struct {
		mac         packet.MAC
		group, zero bool
	}{
		{packet.MAC{}, false, true},
		{packet.Broadcast, true, false},
		{packet.MAC{1, 0, 0x5e}, true, false},
		{vipMAC, false, false},
	} {
		if tt.mac.IsGroup() != tt.group || tt.mac.IsZero() != tt.zero {
			t.Errorf("%v: IsGroup %v, IsZero %v; want %v, %v", tt.mac, tt.mac.IsGroup(), tt.mac.IsZero(), tt.group,
				tt.zero)
		}
	}
	if hostMAC.Compare(vipMAC) != -1 || vipMAC.Compare(hostMAC) != 1 || vipMAC.Compare(vipMAC) != 0 {
		t.Error("Compare does not order by bytes")
	}
}

func TestARP(t *testing.T) {
	request := packet.NewARPRequest(hostMAC, host, vip)
	packettest.Assert(t, request,
		packettest.Src(hostMAC), packettest.Dst(packet.Broadcast),
		packettest.ARP(packet.ARPRequest, hostMAC, host, vip))
	reply := packet.NewARPReply(vipMAC, vip, hostMAC, host)
	packettest.Assert(t, reply,
		packettest.Src(vipMAC), packettest.Dst(hostMAC),
		packettest.ARP(packet.ARPReply, vipMAC, vip, host))
	if got := packet.ARP(packet.Ethernet(reply).Payload()).TargetMAC(); got != hostMAC {
		t.Errorf("target MAC is %v, want %v", got, hostMAC)
	}
}

func TestTCP(t *testing.T) {
	src, dst := netip.AddrPortFrom(host, 40000), netip.AddrPortFrom(vip, 80)
	for _, payload := range []string{"", "x", "GET / HTTP/1.1\r\n"} {
		frame := packet.NewTCP(packet.Segment{
			DstMAC: vipMAC, SrcMAC: hostMAC, Src: src, Dst: dst,
			Sequence: 7, Acknowledgement: 9, Flags: packet.SYN | packet.ACK, Payload: []byte(payload),
		})
		packettest.Assert(t, frame, packettest.TCP(src, dst))
		ip := packet.IPv4(packet.Ethernet(frame).Payload())
		seg := packet.TCP(ip.Payload())
		if seg.Flags() != packet.SYN|packet.ACK || seg.Sequence() != 7 || seg.Acknowledgement() != 9 ||
			string(seg.Payload()) != payload {
			t.Errorf("segment came back as %s", packettest.Describe(frame))
		}
	}
}

// The example of RFC 1071 section 3.
func TestChecksum(t *testing.T) {
	b := []byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}
	if got, want := packet.Checksum(b), ^uint16(0xddf2); got != want {
		t.Errorf("Checksum = %#x, want %#x", got, want)
	}
	if packet.Checksum([]byte{0x12}) != packet.Checksum([]byte{0x12, 0}) {
		t.Error("an odd last byte is not padded with zero")
	}
}

func TestVLAN(t *testing.T) {
	plain := packet.NewARPRequest(hostMAC, host, vip)
	if _, tagged := packet.Ethernet(plain).VLAN(); tagged {
		t.Error("an untagged frame has a tag")
	}
	tagged := append(append([]byte{}, plain[:12]...), 0x81, 0x00, 0x20, 0x2a)
	tagged = append(tagged, plain[12:]...)
	e := packet.Ethernet(tagged)
	if id, ok := e.VLAN(); !e.IsValid() || !ok || id != 42 || e.Type() != packet.TypeARP ||
		!packet.ARP(e.Payload()).IsValid() {
		t.Errorf("tagged frame: VLAN %d %v, type %#x", id, ok, e.Type())
	}
	if packet.Ethernet(tagged[:16]).IsValid() {
		t.Error("a cut tag is valid")
	}
}

// FindARP finds a claim wherever the switch does (p4/include/parser.p4).
func TestFindARP(t *testing.T) {
	plain := packet.NewARPReply(hostMAC, vip, vipMAC, host)
	insert := func(frame []byte, more ...byte) []byte { return slices.Concat(frame[:12], more, frame[12:]) }
	snap := func(frame []byte, oui ...byte) []byte {
		return insert(frame, slices.Concat([]byte{0, 36, 0xaa, 0xaa, 0x03}, oui)...)
	}
	hardware := func(hi, lo byte) []byte { f := slices.Clone(plain); f[14], f[15] = hi, lo; return f }
	tests := []struct {
		name  string
		frame []byte
		found bool
	}{
		{"plain", plain, true},
		{"802.1Q", insert(plain, 0x81, 0, 0, 5), true},
		{"802.1ad", insert(plain, 0x88, 0xa8, 0, 5), true},
		{"tag 0x9100", insert(plain, 0x91, 0, 0, 5), true},
		{"tag 0x9200", insert(plain, 0x92, 0, 0, 5), true},
		{"tag 0x9300", insert(plain, 0x93, 0, 0, 5), true},
		{"SNAP", snap(plain, 0, 0, 0), true},
		{"SNAP of a bridge tunnel", snap(plain, 0, 0, 0xf8), true},
		{"SNAP behind a tag", insert(snap(plain, 0, 0, 0), 0x81, 0, 0, 5), true},
		{"SNAP of another", snap(plain, 0, 0, 1), false},
		{"hardware type 0", hardware(0, 0), true},
		{"hardware type 6", hardware(0, 6), true},
		{"hardware type 256", hardware(1, 0), true},
		{"two tags", insert(insert(plain, 0x81, 0, 0, 5), 0x81, 0, 0, 5), false},
		{"cut", plain[:41], false},
		{"SNAP that is cut", snap(plain, 0, 0, 0)[:21], false},
		{"tag that is cut", insert(plain, 0x88, 0xa8, 0, 5)[:17], false},
		{"IPv4", packet.NewTCP(packet.Segment{Src: netip.AddrPortFrom(host, 1), Dst: netip.AddrPortFrom(vip, 2)}),
			false},
		{"nothing", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, ok := packet.FindARP(tt.frame)
			if ok != tt.found {
				t.Fatalf("FindARP says %v, want %v", ok, tt.found)
			}
			if ok && (a.Sender() != vip || a.SenderMAC() != hostMAC) {
				t.Errorf("sender is %v at %v, want %v at %v", a.Sender(), a.SenderMAC(), vip, hostMAC)
			}
		})
	}
}

// No bytes whatever make a getter behind IsValid panic.
func FuzzViews(f *testing.F) {
	f.Add(packet.NewARPRequest(hostMAC, host, vip))
	f.Add(packet.NewTCP(packet.Segment{Src: netip.AddrPortFrom(host, 1), Dst: netip.AddrPortFrom(vip, 2)}))
	f.Fuzz(func(t *testing.T, frame []byte) {
		packettest.Describe(frame)
		if a, ok := packet.FindARP(frame); ok {
			a.Target()
		}
	})
}
