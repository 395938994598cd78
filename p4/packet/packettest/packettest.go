// Package packettest asserts on frames in tests. A failed assertion prints the whole frame, decoded as
// far as it can be and then in hexadecimal, so that a test log alone tells what happened.
package packettest

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/p4/packet"
)

// Check looks at a frame and says what is wrong with it; "" when nothing is.
type Check func(frame []byte) string

// Assert reports every check that the frame fails.
func Assert(t testing.TB, frame []byte, checks ...Check) {
	t.Helper()
	for _, check := range checks {
		if wrong := check(frame); wrong != "" {
			t.Errorf("%s\nframe: %s", wrong, Describe(frame))
		}
	}
}

// Equal reports the difference of two frames, decoded and byte by byte.
func Equal(t testing.TB, got, want []byte) {
	t.Helper()
	if diff := cmp.Diff(Describe(want), Describe(got)); diff != "" {
		t.Errorf("frame (-want +got):\n%s", diff)
	}
}

// Dst wants the destination MAC.
func Dst(want packet.MAC) Check {
	return ethernet("destination MAC", want, packet.Ethernet.Dst)
}

// Src wants the source MAC.
func Src(want packet.MAC) Check {
	return ethernet("source MAC", want, packet.Ethernet.Src)
}

// ARP wants a valid ARP packet with this operation, sender and target.
func ARP(operation uint16, senderMAC packet.MAC, sender, target netip.Addr) Check {
	type view struct {
		Operation      uint16
		SenderMAC      packet.MAC
		Sender, Target netip.Addr
	}
	want := view{operation, senderMAC, sender, target}
	return func(frame []byte) string {
		e := packet.Ethernet(frame)
		if !e.IsValid() || e.Type() != packet.TypeARP || !packet.ARP(e.Payload()).IsValid() {
			return "not an ARP packet"
		}
		a := packet.ARP(e.Payload())
		if got := (view{a.Operation(), a.SenderMAC(), a.Sender(), a.Target()}); got != want {
			return fmt.Sprintf("ARP is %+v, want %+v", got, want)
		}
		return ""
	}
}

// TCP wants a TCP segment over IPv4 between these ends, with right checksums.
func TCP(src, dst netip.AddrPort) Check {
	return func(frame []byte) string {
		ip, seg, ok := tcp(frame)
		if !ok {
			return "not a TCP segment over IPv4"
		}
		if got := netip.AddrPortFrom(ip.Src(), seg.SrcPort()); got != src {
			return fmt.Sprintf("source is %v, want %v", got, src)
		}
		if got := netip.AddrPortFrom(ip.Dst(), seg.DstPort()); got != dst {
			return fmt.Sprintf("destination is %v, want %v", got, dst)
		}
		if packet.Checksum(ip[:ip.HeaderLen()]) != 0 {
			return "wrong IPv4 header checksum"
		}
		if packet.TransportChecksum(ip.Src(), ip.Dst(), packet.ProtocolTCP, ip.Payload()) != 0 {
			return "wrong TCP checksum"
		}
		return ""
	}
}

// Describe prints a frame: one line per header it can decode, then all bytes.
func Describe(frame []byte) string {
	var b strings.Builder
	if e := packet.Ethernet(frame); e.IsValid() {
		fmt.Fprintf(&b, "%v > %v type %#04x, %d bytes", e.Src(), e.Dst(), e.Type(), len(frame))
		if a := packet.ARP(e.Payload()); e.Type() == packet.TypeARP && a.IsValid() {
			fmt.Fprintf(&b, "\n  arp operation %d: sender %v %v, target %v %v",
				a.Operation(), a.Sender(), a.SenderMAC(), a.Target(), a.TargetMAC())
		}
		if ip, seg, ok := tcp(frame); ok {
			fmt.Fprintf(&b, "\n  tcp %v:%d > %v:%d flags %#02x seq %d ack %d ttl %d, %d bytes",
				ip.Src(), seg.SrcPort(), ip.Dst(), seg.DstPort(), seg.Flags(), seg.Sequence(),
				seg.Acknowledgement(), ip.TTL(), len(seg.Payload()))
		}
	} else {
		fmt.Fprintf(&b, "%d bytes, no Ethernet header", len(frame))
	}
	b.WriteString("\n")
	b.WriteString(hex.Dump(frame))
	return b.String()
}

func ethernet(what string, want packet.MAC, get func(packet.Ethernet) packet.MAC) Check {
	return func(frame []byte) string {
		e := packet.Ethernet(frame)
		if !e.IsValid() {
			return "not an Ethernet frame"
		}
		if got := get(e); got != want {
			return fmt.Sprintf("%s is %v, want %v", what, got, want)
		}
		return ""
	}
}

func tcp(frame []byte) (packet.IPv4, packet.TCP, bool) {
	e := packet.Ethernet(frame)
	if !e.IsValid() || e.Type() != packet.TypeIPv4 {
		return nil, nil, false
	}
	ip := packet.IPv4(e.Payload())
	if !ip.IsValid() || ip.Protocol() != packet.ProtocolTCP || ip.FragmentOffset() != 0 {
		return nil, nil, false
	}
	seg := packet.TCP(ip.Payload())
	return ip, seg, seg.IsValid()
}
