package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/packet"
)

// The network of these tests:
//
//	client (port 1) ---- switch ---- web1 (port 3), web2 (port 4)
//	                       |
//	                     other, router (port 2)
//
// 10.0.0.100:80 is a VIP, its pool has 64 slots, all on web1 (backend 1); web2 is backend 2. web1, the
// router and the VIP's MAC are pinned, the others are learned; web1's address is pinned too.
var (
	clientMAC = packet.MAC{2, 0, 0, 0, 0, 0x01}
	otherMAC  = packet.MAC{2, 0, 0, 0, 0, 0x02}
	routerMAC = packet.MAC{2, 0, 0, 0, 0, 0x03}
	web1MAC   = packet.MAC{2, 0, 0, 0, 0, 0x11}
	web2MAC   = packet.MAC{2, 0, 0, 0, 0, 0x12}
	vipMAC    = packet.MAC{2, 0x53, 0x4c, 0, 0, 0x01}

	client = netip.MustParseAddr("192.0.2.1")
	other  = netip.MustParseAddr("192.0.2.2")
	vip    = netip.MustParseAddr("10.0.0.100")
	web1   = netip.MustParseAddr("10.0.0.11")
)

const (
	clientPort = 1
	otherPort  = 2
	routerPort = 2
	web1Port   = 3
	web2Port   = 4
	slots      = 64
	poolID     = 7
	secret1    = 0x9e3779b97f4a7c15
	secret2    = 0xd1b54a32d192ed03
)

// recorder keeps what a Runner gives out.
type recorder struct {
	frames  []sent
	digests []string
}

type sent struct {
	Port  uint16
	Frame string // hexadecimal, for readable differences
}

func (o *recorder) Emit(port uint16, frame []byte) {
	o.frames = append(o.frames, sent{port, fmt.Sprintf("%x", frame)})
}

func (o *recorder) Digest(d *Digest) {
	text := d.Name
	for _, m := range d.Members {
		text += fmt.Sprintf(" %x", m)
	}
	o.digests = append(o.digests, text)
}

func bytesOf(v uint64, n int) []byte {
	var out [8]byte
	binary.BigEndian.PutUint64(out[:], v)
	return bytes.Clone(out[8-n:])
}

func exact(values ...[]byte) []Match {
	var m []Match
	for _, v := range values {
		m = append(m, Match{Value: v})
	}
	return m
}

func call(action string, params ...[]byte) Call { return Call{Action: action, Params: params} }

func addr(a netip.Addr) []byte     { return a.AsSlice() }
func macBytes(m packet.MAC) []byte { return m[:] }

func slotMatch(slot uint64) []Match {
	return exact(bytesOf(poolID, 4), bytesOf(0, 1), bytesOf(slot, 2))
}

// insert adds rows to a table.
func insert(t testing.TB, p *Program, table string, entries ...Entry) {
	t.Helper()
	for _, e := range entries {
		if err := p.Table(table).Insert(e); err != nil {
			t.Fatalf("table %s: %v", table, err)
		}
	}
}

// newSluice loads the pipeline with the rows of the network above; all stations are known.
func newSluice(t testing.TB) *Program {
	t.Helper()
	p, err := Load(p4.DeviceConfig())
	if err != nil {
		t.Fatal(err)
	}
	fillSluice(t, p)
	return p
}

func fillSluice(t testing.TB, p *Program) {
	t.Helper()
	for port, m := range map[uint64]packet.MAC{clientPort: clientMAC, otherPort: otherMAC, web2Port: web2MAC} {
		insert(t, p, "station", Entry{Match: exact(macBytes(m)), Call: call("known", bytesOf(port, 2))})
		insert(t, p, "l2", Entry{Match: exact(macBytes(m)), Call: call("forward", bytesOf(port, 2))})
	}
	for port, m := range map[uint64]packet.MAC{web1Port: web1MAC, routerPort: routerMAC, limits.NoPort: vipMAC} {
		insert(t, p, "pinned_station", Entry{Match: exact(macBytes(m)), Call: call("pinned", bytesOf(port, 2))})
		if m == vipMAC {
			insert(t, p, "pinned_l2", Entry{Match: exact(macBytes(m)), Call: call("discard")})
		} else {
			insert(t, p, "pinned_l2", Entry{Match: exact(macBytes(m)), Call: call("at", bytesOf(port, 2))})
		}
	}
	insert(t, p, "pinned_arp", Entry{Match: exact(addr(web1)), Call: call("owned", macBytes(web1MAC))})
	insert(t, p, "arp_guard", Entry{Match: exact(addr(vip)), Call: call("claim")})
	insert(t, p, "arp_responder", Entry{Match: exact(addr(vip)), Call: call("answer", macBytes(vipMAC))})
	insert(t, p, "vip", Entry{Match: exact(addr(vip), bytesOf(6, 1), bytesOf(80, 2)),
		Call: call("to_pool", bytesOf(poolID, 4), bytesOf(0, 1), bytesOf(slots-1, 2),
			bytesOf(secret1, 8), bytesOf(secret2, 8))})
	insert(t, p, "vip_address", Entry{Match: exact(addr(vip)), Call: call("refuse")})
	insert(t, p, "backend", Entry{Match: exact(bytesOf(1, 4)), Call: call("forward_to_backend", macBytes(web1MAC),
		bytesOf(web1Port, 2))})
	insert(t, p, "backend", Entry{Match: exact(bytesOf(2, 4)), Call: call("forward_to_backend", macBytes(web2MAC),
		bytesOf(web2Port, 2))})
	for i := range uint64(slots) {
		insert(t, p, "slot", Entry{Match: slotMatch(i), Call: call("to_backend", bytesOf(1, 4))})
	}
	p.SetMulticastGroup(limits.FloodGroup, []Replica{{clientPort, 0}, {otherPort, 0}, {web1Port, 0}, {web2Port, 0}})
}

// run passes one frame through a program.
func run(p *Program, port uint16, frame []byte) *recorder {
	out := new(recorder)
	p.NewRunner(out).Process(port, frame, time.Second)
	return out
}

func toVIP(flags uint8, srcPort uint16) []byte {
	return packet.NewTCP(packet.Segment{
		DstMAC: vipMAC, SrcMAC: clientMAC,
		Src: netip.AddrPortFrom(client, srcPort), Dst: netip.AddrPortFrom(vip, 80),
		Flags: flags, Payload: []byte("GET / HTTP/1.1\r\n"),
	})
}

// change returns a copy of the frame with bytes overwritten from an offset on.
func change(frame []byte, offset int, with ...byte) []byte {
	out := bytes.Clone(frame)
	copy(out[offset:], with)
	return out
}

// withOptions makes room for n bytes of IPv4 options (no-operations).
func withOptions(frame []byte, n int) []byte {
	out := append(bytes.Clone(frame[:34]), bytes.Repeat([]byte{1}, n)...)
	out = append(out, frame[34:]...)
	out[14] = 0x40 | byte(5+n/4)
	return out
}

func at6(m packet.MAC, frame []byte) []byte { return change(frame, 0, m[:]...) }

func from(m packet.MAC, frame []byte) []byte { return change(frame, 6, m[:]...) }

func packetIn(port, reason uint16, frame []byte) []byte {
	return append([]byte{byte(port >> 8), byte(port), byte(reason >> 8), byte(reason)}, frame...)
}

// Where a switch has no port for a backend, frames of VIPs for it go where it was learned, back by the port that they
// came in by too; and frames that are for it already are not balanced again.
func TestBackendWithoutPort(t *testing.T) {
	p := newSluice(t)
	insert(t, p, "pinned_l2", Entry{Match: exact(macBytes(web2MAC)), Call: call("anywhere")})
	insert(t, p, "backend", Entry{Match: exact(bytesOf(3, 4)), Call: call("forward_to_backend", macBytes(web2MAC),
		bytesOf(limits.NoPort, 2))})
	for i := range uint64(slots) {
		if err := p.Table("slot").Modify(Entry{Match: slotMatch(i),
			Call: call("to_backend", bytesOf(3, 4))}); err != nil {
			t.Fatal(err)
		}
	}
	syn := toVIP(packet.SYN, 1000)
	balanced := at6(web2MAC, syn)
	for _, tt := range []struct {
		name  string
		port  uint16
		frame []byte
		want  []sent
	}{
		{"to a VIP", clientPort, syn, out(web2Port, balanced)},
		{"to a VIP, from the backend's own port", web2Port, from(web2MAC, syn), out(web2Port, from(web2MAC, balanced))},
		{"balanced by another switch", clientPort, balanced, out(web2Port, balanced)},
		{"balanced by another switch, from the backend's own port", web2Port, from(web2MAC, balanced), nil},
	} {
		if diff := cmp.Diff(tt.want, run(p, tt.port, tt.frame).frames); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	if err := p.Table("l2").Delete(exact(macBytes(web2MAC)), 0); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(flood(clientPort, balanced), run(p, clientPort, syn).frames); diff != "" {
		t.Errorf("to a VIP, before the backend was learned (-want +got):\n%s", diff)
	}
}

func TestSluicePackets(t *testing.T) {
	syn := toVIP(packet.SYN, 1000)
	broadcast := at6(packet.Broadcast, change(syn, 12, 0x88, 0xb5))
	question := packet.NewARPRequest(clientMAC, client, vip)
	answer := packet.NewARP(packet.ARPFrame{
		Dst: clientMAC, Src: vipMAC, Operation: packet.ARPReply,
		SenderMAC: vipMAC, Sender: vip, TargetMAC: clientMAC, Target: client,
	})
	claim := packet.NewARPReply(web1MAC, vip, clientMAC, client)
	gratuitous := packet.NewARPRequest(web1MAC, vip, vip)
	disowned := packet.NewARPRequest(web1MAC, vip, other)
	fragment := change(syn, 20, 0x20, 0x01)
	newMAC := packet.MAC{2, 0, 0, 0, 0, 0x99}
	tagged := func(frame []byte, tpid ...byte) []byte { // VID 0
		return slices.Concat(frame[:12], tpid, []byte{0, 0}, frame[12:])
	}
	snap := func(frame []byte, oui ...byte) []byte { // RFC 1042
		length := len(frame) - 14 + 8
		return slices.Concat(frame[:12], []byte{byte(length >> 8), byte(length), 0xaa, 0xaa, 3}, oui, frame[12:])
	}
	claimed := func(frame []byte) []sent {
		return out(limits.CPUPort, packetIn(web1Port, limits.ReasonARPClaim, frame))
	}
	spoofed := func(port uint16, frame []byte) []sent {
		return out(limits.CPUPort, packetIn(port, limits.ReasonSpoof, frame))
	}
	impostor := packet.NewARPReply(web2MAC, web1, clientMAC, client)
	exposed := func(frame []byte) []sent {
		return out(limits.CPUPort, packetIn(web2Port, limits.ReasonARPSpoof, frame))
	}
	honest := packet.NewARPReply(web1MAC, web1, clientMAC, client)
	toOther := change(syn, 30, 192, 0, 2, 2)
	toVIPMAC := func(etherType ...byte) []byte { return change(syn, 12, etherType...) }

	tests := []struct {
		name    string
		port    uint16
		frame   []byte
		want    []sent
		digests []string
		tally   int // the cell that counts the frame
	}{
		{name: "ARP request for a VIP is answered", port: clientPort, frame: question, want: out(clientPort, answer)},
		{name: "ARP probe for a VIP is answered", port: clientPort,
			frame: change(question, 28, 0, 0, 0, 0), want: out(clientPort, change(answer, 38, 0, 0, 0, 0))},
		{name: "ARP request for another is flooded, never back", port: clientPort,
			frame: packet.NewARPRequest(clientMAC, client, other),
			want:  flood(clientPort, packet.NewARPRequest(clientMAC, client, other))},
		{name: "ARP reply that claims a VIP goes to the CPU", port: web1Port, frame: claim,
			want: out(limits.CPUPort, packetIn(web1Port, limits.ReasonARPClaim, claim)), tally: 5},
		{name: "gratuitous ARP that claims a VIP goes to the CPU", port: web1Port, frame: gratuitous,
			want: out(limits.CPUPort, packetIn(web1Port, limits.ReasonARPClaim, gratuitous)), tally: 5},
		{name: "ARP request in the name of a VIP becomes a probe", port: web1Port, frame: disowned,
			want:    flood(web1Port, change(disowned, 28, 0, 0, 0, 0)),
			digests: []string{"disowned_t 020000000011 0003 0a000064"}, tally: 6},
		{name: "a claim of hardware type 6 goes to the CPU", port: web1Port, frame: change(claim, 15, 6),
			want: out(limits.CPUPort, packetIn(web1Port, limits.ReasonARPClaim, change(claim, 15, 6))), tally: 5},
		{name: "a claim behind a tag goes to the CPU", port: web1Port, frame: tagged(claim, 0x81, 0),
			want: out(limits.CPUPort, packetIn(web1Port, limits.ReasonARPClaim, tagged(claim, 0x81, 0))), tally: 5},
		{name: "a claim behind an 802.1ad tag goes to the CPU", port: web1Port, frame: tagged(claim, 0x88, 0xa8),
			want: out(limits.CPUPort, packetIn(web1Port, limits.ReasonARPClaim, tagged(claim, 0x88, 0xa8))), tally: 5},
		{name: "a claim behind tag 0x9100 goes to the CPU", port: web1Port, frame: tagged(claim, 0x91, 0),
			want: claimed(tagged(claim, 0x91, 0)), tally: 5},
		{name: "a claim behind tag 0x9200 goes to the CPU", port: web1Port, frame: tagged(claim, 0x92, 0),
			want: claimed(tagged(claim, 0x92, 0)), tally: 5},
		{name: "a claim behind tag 0x9300 goes to the CPU", port: web1Port, frame: tagged(claim, 0x93, 0),
			want: claimed(tagged(claim, 0x93, 0)), tally: 5},
		{name: "a claim of hardware type 0 goes to the CPU", port: web1Port, frame: change(claim, 15, 0),
			want: claimed(change(claim, 15, 0)), tally: 5},
		{name: "a claim of hardware type 7 goes to the CPU", port: web1Port, frame: change(claim, 15, 7),
			want: claimed(change(claim, 15, 7)), tally: 5},
		{name: "a claim of hardware type 24 goes to the CPU", port: web1Port, frame: change(claim, 15, 24),
			want: claimed(change(claim, 15, 24)), tally: 5},
		{name: "a claim of hardware type 256 goes to the CPU", port: web1Port, frame: change(claim, 14, 1, 0),
			want: claimed(change(claim, 14, 1, 0)), tally: 5},
		{name: "a claim in SNAP goes to the CPU", port: web1Port, frame: snap(claim, 0, 0, 0),
			want: claimed(snap(claim, 0, 0, 0)), tally: 5},
		{name: "a claim in SNAP of a bridge tunnel goes to the CPU", port: web1Port, frame: snap(claim, 0, 0, 0xf8),
			want: claimed(snap(claim, 0, 0, 0xf8)), tally: 5},
		{name: "a claim in SNAP behind a tag goes to the CPU", port: web1Port,
			frame: tagged(snap(claim, 0, 0, 0), 0x81, 0),
			want:  claimed(tagged(snap(claim, 0, 0, 0), 0x81, 0)), tally: 5},
		{name: "a claim behind a tag in SNAP is dropped", port: web1Port, frame: snap(tagged(claim, 0x81, 0), 0, 0, 0),
			tally: 8},
		{name: "SNAP of others is none of ours", port: web2Port, frame: from(web2MAC, snap(claim, 0, 0, 1)),
			want: out(clientPort, from(web2MAC, snap(claim, 0, 0, 1)))},
		{name: "LLC without SNAP is none of ours", port: web2Port,
			frame: from(web2MAC, change(claim, 12, 0, 3, 0x42, 0x42, 3)),
			want:  out(clientPort, from(web2MAC, change(claim, 12, 0, 3, 0x42, 0x42, 3)))},
		{name: "a request in SNAP for a VIP is answered in SNAP", port: clientPort, frame: snap(question, 0, 0, 0),
			want: out(clientPort, snap(answer, 0, 0, 0))},
		{name: "SYN in SNAP to a VIP", port: clientPort, frame: snap(syn, 0, 0, 0),
			want: out(web1Port, at6(web1MAC, snap(syn, 0, 0, 0)))},
		{name: "SYN in SNAP to another port of the VIP: refused", port: clientPort,
			frame: snap(change(syn, 36, 0, 81), 0, 0, 0), tally: 1},
		{name: "three tags", port: web1Port, frame: tagged(tagged(tagged(claim, 0x91, 0), 0x91, 0), 0x81, 0), tally: 8},
		{name: "a claim behind two tags is dropped", port: web1Port, frame: tagged(tagged(claim, 0x81, 0), 0x88, 0xa8),
			tally: 8},
		{name: "a claim is not learned from", port: web1Port, frame: change(claim, 6, newMAC[:]...),
			want:  out(limits.CPUPort, packetIn(web1Port, limits.ReasonARPClaim, change(claim, 6, newMAC[:]...))),
			tally: 5},
		{name: "an ARP reply to a VIP is not answered", port: clientPort, frame: change(question, 20, 0, 2),
			want: flood(clientPort, change(question, 20, 0, 2))},
		{name: "tagged ARP request for a VIP is answered with its tag", port: clientPort,
			frame: tagged(question, 0x81, 0),
			want:  out(clientPort, tagged(answer, 0x81, 0))},
		{name: "tagged SYN to a VIP", port: clientPort, frame: tagged(syn, 0x81, 0),
			want: out(web1Port, at6(web1MAC, tagged(syn, 0x81, 0)))},
		{name: "SYN to a VIP", port: clientPort, frame: syn, want: out(web1Port, at6(web1MAC, syn))},
		{name: "SYN to a VIP that is for a station by its MAC: another switch has balanced it", port: clientPort,
			frame: at6(routerMAC, syn), want: out(routerPort, at6(routerMAC, syn))},
		{name: "fragment to a VIP that is for a station by its MAC", port: clientPort,
			frame: at6(routerMAC, fragment), want: out(routerPort, at6(routerMAC, fragment))},
		{name: "ARP request for a VIP that is for a station by its MAC is answered", port: clientPort,
			frame: at6(web1MAC, question), want: out(clientPort, answer)},
		{name: "SYN to a VIP by broadcast", port: clientPort, frame: at6(packet.Broadcast, syn),
			want: out(web1Port, at6(web1MAC, syn))},
		{name: "ACK to a VIP", port: clientPort, frame: toVIP(packet.ACK, 1000),
			want: out(web1Port, at6(web1MAC, toVIP(packet.ACK, 1000)))},
		{name: "SYN to a VIP from the port of its backend", port: web1Port, frame: change(syn, 6, web1MAC[:]...),
			want: out(web1Port, at6(web1MAC, change(syn, 6, web1MAC[:]...)))},
		{name: "padding behind the IP packet stays", port: clientPort, frame: append(bytes.Clone(syn), 1, 2, 3),
			want: out(web1Port, append(at6(web1MAC, syn), 1, 2, 3))},
		{name: "4 bytes of IP options", port: clientPort, frame: withOptions(syn, 4),
			want: out(web1Port, at6(web1MAC, withOptions(syn, 4)))},
		{name: "40 bytes of IP options", port: clientPort, frame: withOptions(syn, 40),
			want: out(web1Port, at6(web1MAC, withOptions(syn, 40)))},
		{name: "IP options beyond the packet: no TCP, hence refused", port: clientPort,
			frame: withOptions(syn, 40)[:60], tally: 1},
		{name: "TCP header cut short: refused", port: clientPort, frame: syn[:53], tally: 1},
		{name: "IHL below 5: refused", port: clientPort, frame: change(syn, 14, 0x44), tally: 1},
		{name: "another port of the VIP: refused", port: clientPort, frame: change(syn, 36, 0, 81), tally: 1},
		{name: "UDP to the VIP: refused", port: clientPort, frame: change(syn, 23, 17), tally: 1},
		{name: "non-first fragment to the VIP", port: clientPort, frame: fragment, tally: 2},
		{name: "first fragment to the VIP", port: clientPort, frame: change(syn, 20, 0x20, 0), tally: 2},
		{name: "don't fragment", port: clientPort, frame: change(syn, 20, 0x40, 0),
			want: out(web1Port, at6(web1MAC, change(syn, 20, 0x40, 0)))},
		{name: "first fragment to another", port: clientPort, frame: at6(otherMAC, change(toOther, 20, 0x20, 0)),
			want: out(otherPort, at6(otherMAC, change(toOther, 20, 0x20, 0)))},
		{name: "from the VIP to the VIP", port: clientPort, frame: change(syn, 26, 10, 0, 0, 100), tally: 15},
		{name: "from another to itself is none of ours", port: clientPort,
			frame: at6(otherMAC, change(toOther, 26, 192, 0, 2, 2)),
			want:  out(otherPort, at6(otherMAC, change(toOther, 26, 192, 0, 2, 2)))},
		{name: "another address at the VIP's MAC", port: clientPort, frame: toOther, tally: 11},
		{name: "IPv6 to the VIP's MAC", port: clientPort, frame: toVIPMAC(0x86, 0xdd), tally: 11},
		{name: "ARP for another to the VIP's MAC", port: clientPort,
			frame: at6(vipMAC, packet.NewARPRequest(clientMAC, client, other)), tally: 11},
		{name: "anything to the VIP's MAC", port: clientPort, frame: toVIPMAC(0x88, 0xcc), tally: 11},
		{name: "from the VIP's MAC", port: otherPort, frame: from(vipMAC, broadcast),
			want: spoofed(otherPort, from(vipMAC, broadcast)), tally: 10},
		{name: "pinned station at its port", port: web1Port, frame: from(web1MAC, broadcast),
			want: flood(web1Port, from(web1MAC, broadcast))},
		{name: "pinned station at another port", port: web2Port, frame: from(web1MAC, broadcast),
			want: spoofed(web2Port, from(web1MAC, broadcast)), tally: 10},
		{name: "SYN to a VIP from a pinned station at another port", port: otherPort, frame: from(web1MAC, syn),
			want: spoofed(otherPort, from(web1MAC, syn)), tally: 10},
		{name: "ARP for a VIP from a pinned station at another port", port: clientPort,
			frame: from(routerMAC, question),
			want:  spoofed(clientPort, from(routerMAC, question)), tally: 10},
		{name: "ARP in the name of a VIP from a pinned station at another port", port: web2Port, frame: disowned,
			want: spoofed(web2Port, disowned), tally: 10},
		{name: "ARP reply for a pinned address under another MAC", port: web2Port, frame: impostor,
			want: exposed(impostor), tally: 16},
		{name: "gratuitous ARP for a pinned address under another MAC", port: web2Port,
			frame: packet.NewARPRequest(web2MAC, web1, web1), want: exposed(packet.NewARPRequest(web2MAC, web1, web1)),
			tally: 16},
		{name: "ARP request from a pinned address under another MAC", port: web2Port,
			frame: packet.NewARPRequest(web2MAC, web1, client),
			want:  exposed(packet.NewARPRequest(web2MAC, web1, client)), tally: 16},
		{name: "ARP for a VIP from a pinned address under another MAC", port: web2Port,
			frame: packet.NewARPRequest(web2MAC, web1, vip), want: exposed(packet.NewARPRequest(web2MAC, web1, vip)),
			tally: 16},
		{name: "ARP reply for a pinned address under another MAC, in SNAP behind a tag", port: web2Port,
			frame: tagged(snap(impostor, 0, 0, 0), 0x81, 0), want: exposed(tagged(snap(impostor, 0, 0, 0), 0x81, 0)),
			tally: 16},
		{name: "ARP reply for a pinned address under another MAC is not learned from", port: web2Port,
			frame: from(newMAC, impostor), want: exposed(from(newMAC, impostor)), tally: 16},
		{name: "ARP reply for a pinned address under its own MAC", port: web1Port, frame: honest,
			want: out(clientPort, honest)},
		{name: "somebody tells where a pinned address is", port: web2Port, frame: from(web2MAC, honest),
			want: out(clientPort, from(web2MAC, honest))},
		{name: "ARP probe for a pinned address", port: web2Port,
			frame: change(packet.NewARPRequest(web2MAC, web1, web1), 28, 0, 0, 0, 0),
			want:  flood(web2Port, change(packet.NewARPRequest(web2MAC, web1, web1), 28, 0, 0, 0, 0))},
		{name: "to a pinned station", port: clientPort, frame: at6(routerMAC, toOther),
			want: out(routerPort, at6(routerMAC, toOther))},
		{name: "spanning tree", port: otherPort, frame: change(from(otherMAC, syn), 0, 1, 0x80, 0xc2, 0, 0, 0, 2, 0, 0,
			0, 0, 2, 0, 38, 0x42, 0x42, 3), tally: 14},
		{name: "LLDP", port: otherPort, frame: at6(packet.MAC{1, 0x80, 0xc2, 0, 0, 0x0e},
			change(broadcast, 12, 0x88, 0xcc)), tally: 14},
		{name: "the group after the reserved ones", port: clientPort, frame: at6(packet.MAC{1, 0x80, 0xc2, 0, 0, 0x10},
			broadcast),
			want: flood(clientPort, at6(packet.MAC{1, 0x80, 0xc2, 0, 0, 0x10}, broadcast))},
		{name: "known station", port: clientPort, frame: at6(otherMAC, change(syn, 30, 192, 0, 2, 2)),
			want: out(otherPort, at6(otherMAC, change(syn, 30, 192, 0, 2, 2)))},
		{name: "known station on the same port", port: otherPort,
			frame: at6(otherMAC, change(syn, 30, 192, 0, 2, 2)), digests: []string{"learn_t 020000000001 0002"},
			tally: 7},
		{name: "broadcast is flooded, never back", port: otherPort, frame: change(broadcast, 6, otherMAC[:]...),
			want: flood(otherPort, change(broadcast, 6, otherMAC[:]...))},
		{name: "unknown source is learned", port: otherPort, frame: change(broadcast, 6, newMAC[:]...),
			want: flood(otherPort, change(broadcast, 6, newMAC[:]...)), digests: []string{"learn_t 020000000099 0002"}},
		{name: "known source on another port is learned", port: otherPort, frame: broadcast,
			want: flood(otherPort, broadcast), digests: []string{"learn_t 020000000001 0002"}},
		{name: "group source", port: otherPort, frame: change(broadcast, 6, 3, 0, 0, 0, 0, 1), tally: 13},
		{name: "zero source", port: otherPort, frame: from(packet.MAC{}, broadcast), tally: 13},
		{name: "packet-out", port: limits.CPUPort, frame: append([]byte{0, web2Port}, claim...),
			want: out(web2Port, claim)},
		{name: "packet-out to no port", port: limits.CPUPort, frame: append([]byte{1, 0xff}, claim...), tally: 9},
		{name: "packet-out of one byte", port: limits.CPUPort, frame: []byte{1}, tally: 12},
		{name: "runt of 13 bytes", port: clientPort, frame: syn[:13], tally: 12},
		{name: "empty frame", port: clientPort, tally: 12},
		{name: "IPv4 header cut short", port: clientPort, frame: at6(otherMAC, syn)[:33], tally: 12},
		{name: "ARP header cut short", port: clientPort, frame: question[:21], tally: 12},
		{name: "ARP addresses cut short", port: web1Port, frame: claim[:41], tally: 12},
		{name: "tag cut short", port: clientPort, frame: tagged(syn, 0x81, 0)[:17], tally: 12},
		{name: "SNAP cut short", port: clientPort, frame: snap(syn, 0, 0, 0)[:21], tally: 12},
		{name: "a tiny segment of another is none of ours", port: clientPort, frame: at6(otherMAC, toOther)[:42],
			want: out(otherPort, at6(otherMAC, toOther)[:42])},
		{name: "Ethernet header alone", port: clientPort, frame: broadcast[:14],
			want: flood(clientPort, broadcast[:14])},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newSluice(t)
			before := bytes.Clone(tt.frame)
			got := run(p, tt.port, tt.frame)
			if diff := cmp.Diff(tt.want, got.frames); diff != "" {
				t.Errorf("frames (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.digests, got.digests); diff != "" {
				t.Errorf("digests (-want +got):\n%s", diff)
			}
			if !bytes.Equal(before, tt.frame) {
				t.Error("Process changed the frame that it was given")
			}
			want := fmt.Sprintf("cell %d: 1 packets, %d bytes", tt.tally, len(tt.frame))
			if tt.tally == 0 {
				want = ""
			}
			if got := tallied(p); got != want {
				t.Errorf("tally = %q, want %q", got, want)
			}
		})
	}
}

// What a port makes the switch send up is metered, whatever it sends, and leaves the other ports theirs;
// what is not sent up is dropped and counted all the same.
func TestSluiceMeters(t *testing.T) {
	const burst, sent = 3, 5
	claim := packet.NewARPReply(web1MAC, vip, clientMAC, client)
	spoof := from(web1MAC, packet.NewARPRequest(web1MAC, client, other))
	tests := []struct {
		name   string
		meter  string
		tally  string
		frames func(i byte) []byte
	}{
		{"claims", "alarm_meter", "cell 5: 10 packets, 420 bytes",
			func(i byte) []byte { return change(claim, 27, i) }},
		{"spoofs", "alarm_meter", "cell 10: 10 packets, 420 bytes", func(byte) []byte { return spoof }},
		{"ARP spoofs", "alarm_meter", "cell 16: 10 packets, 420 bytes", func(i byte) []byte {
			return packet.NewARPReply(packet.MAC{2, 0, 0, 0, 1, i}, web1, clientMAC, client)
		}},
		{"new stations", "learn_meter", "", func(i byte) []byte {
			return packet.NewARPRequest(packet.MAC{2, 0, 0, 0, 1, i}, client, other)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newSluice(t)
			for _, port := range []int{otherPort, web2Port} {
				p.Meter(tt.meter).SetRates(port, &Rates{CIR: 1, CBurst: burst, PIR: 1, PBurst: burst})
			}
			for _, port := range []uint16{otherPort, web2Port} {
				up := 0
				for i := range byte(sent) {
					got := run(p, port, tt.frames(i))
					up += len(got.digests)
					for _, f := range got.frames {
						if f.Port == limits.CPUPort {
							up++
						} else if tt.tally != "" {
							t.Errorf("port %d: frame %d left by port %d", port, i, f.Port)
						}
					}
				}
				if up != burst {
					t.Errorf("port %d: %d of %d went up, want %d", port, up, sent, burst)
				}
			}
			if got := tallied(p); got != tt.tally {
				t.Errorf("tally = %q, want %q", got, tt.tally)
			}
		})
	}
}

func tallied(p *Program) string {
	var cells []string
	c := p.Counter("tally")
	for i := range c.Size() {
		if packets, bytes := c.Read(i); packets != 0 {
			cells = append(cells, fmt.Sprintf("cell %d: %d packets, %d bytes", i, packets, bytes))
		}
	}
	return strings.Join(cells, "; ")
}

func out(port uint16, frame []byte) []sent { return []sent{{port, fmt.Sprintf("%x", frame)}} }

// flood is a frame on every port but one.
func flood(not uint16, frame []byte) []sent {
	var all []sent
	for _, port := range []uint16{clientPort, otherPort, web1Port, web2Port} {
		if port != not {
			all = append(all, out(port, frame)...)
		}
	}
	return all
}
