package proof

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/p4/packet"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

// The switch of the tests:
//
//	client 192.0.2.10 ── router ─1┌────────┐2─ web1
//	                              │ switch │3─ web2
//	                              └────────┘4─ manager
const (
	routerPort  = 1
	managerPort = 4
)

var (
	client    = netip.MustParseAddrPort("192.0.2.10:20000")
	vip       = netip.MustParseAddrPort("10.0.0.100:80")
	vipMAC    = packet.MAC{2, 0x53, 0x4c, 0, 0, 1}
	routerMAC = packet.MAC{2, 0, 0, 0, 0, 1}
	web1      = packet.MAC{2, 0, 0, 0, 0, 0x11}
	web2      = packet.MAC{2, 0, 0, 0, 0, 0x12}
	stranger  = packet.MAC{2, 0, 0, 0, 0, 0x99}
)

func config() Config {
	return Config{
		VIP: vip.Addr(), VIPMAC: vipMAC, Router: routerPort,
		Servers: map[uint16]packet.MAC{2: web1, 3: web2}, Others: []uint16{managerPort},
	}
}

// changed returns a copy of a frame that f has changed.
func changed(frame []byte, f func([]byte)) []byte {
	frame = slices.Clone(frame)
	f(frame)
	return frame
}

// fragment makes of a frame one that follows another: where the ports would be is payload.
func fragment(frame []byte) []byte {
	return changed(frame, func(f []byte) { f[packet.EthernetLen+7] = 3 })
}

func TestVerdict(t *testing.T) {
	to := func(mac packet.MAC) []byte {
		return packet.NewTCP(packet.Segment{
			SrcMAC: routerMAC, DstMAC: mac, Src: client, Dst: vip, Flags: packet.ACK, Payload: []byte("GET"),
		})
	}
	from := func(mac packet.MAC) []byte {
		return packet.NewTCP(packet.Segment{
			SrcMAC: mac, DstMAC: routerMAC, Src: vip, Dst: client, Flags: packet.ACK, Payload: []byte("page"),
		})
	}
	ttl := func(f []byte) { f[packet.EthernetLen+8]-- }
	const (
		changedRequest = "a frame of 192.0.2.10:20000 left at port 2 with other bytes than it entered with, or " +
			"left twice"
		withoutPorts = "a frame of 192.0.2.10:0 left at port 2 with other bytes than it entered with, or left twice"
		changedReply = "a frame from the VIP to 192.0.2.10:20000 left with other bytes than it entered with, or " +
			"left twice"
		wrongServer = "a frame of 192.0.2.10:20000 left at port 2 " +
			"with destination MAC 02:00:00:00:00:12, want 02:00:00:00:00:11"
	)
	answer := packet.NewARPReply(vipMAC, vip.Addr(), routerMAC, netip.MustParseAddr("10.0.0.1"))
	claim := packet.NewARPReply(web2, vip.Addr(), routerMAC, netip.MustParseAddr("10.0.0.1"))
	// In 802.3, behind LLC and SNAP, and a tag.
	hidden := slices.Concat(claim[:12], []byte{0x81, 0, 0, 7, 0, 36, 0xaa, 0xaa, 3, 0, 0, 0}, claim[12:])
	type step struct {
		port  uint16
		way   port.Direction
		frame []byte
	}
	honest := []step{
		{routerPort, port.Out, answer},
		{routerPort, port.In, to(vipMAC)}, {3, port.Out, to(web2)},
		{3, port.In, from(web2)}, {routerPort, port.Out, from(web2)},
	}
	for _, test := range []struct {
		name    string
		steps   []step
		leaky   bool     // claims are allowed
		want    []string // breaches
		waiting int
		unseen  []string
	}{
		{name: "honest", steps: honest},
		{name: "nothing", steps: []step{}, unseen: []string{
			"no request frame was seen", "no reply frame was seen", "no ARP answer for the VIP was seen",
		}},
		{
			name:  "requests without answers",
			steps: honest[:3], unseen: []string{"no reply frame was seen"},
		},
		{
			name: "what is not TCP of the VIP does not count",
			steps: append([]step{
				{2, port.In, packet.NewTCP(packet.Segment{
					SrcMAC: web1, DstMAC: web2, Src: netip.MustParseAddrPort("10.0.0.11:80"), Dst: client,
				})},
				{2, port.In, changed(to(vipMAC), func(f []byte) { f[packet.EthernetLen+9] = packet.ProtocolICMP })},
				{2, port.In, packet.NewARPRequest(web1, netip.MustParseAddr("10.0.0.11"), vip.Addr())},
				{2, port.In, []byte("short")},
			}, honest...),
		},
		{
			name:  "a request with another TTL",
			steps: append(honest, step{routerPort, port.In, to(vipMAC)}, step{2, port.Out, changed(to(web1), ttl)}),
			want:  []string{changedRequest}, waiting: 1,
		},
		{
			name:  "a request that was cut",
			steps: append(honest, step{routerPort, port.In, to(vipMAC)}, step{2, port.Out, to(web1)[:40]}),
			want:  []string{withoutPorts}, waiting: 1,
		},
		{
			name: "a fragment with another TTL",
			steps: append(honest,
				step{routerPort, port.In, fragment(to(vipMAC))}, step{2, port.Out, changed(fragment(to(web1)), ttl)}),
			want: []string{withoutPorts}, waiting: 1,
		},
		{
			name:  "a request to two servers",
			steps: append(honest, step{2, port.Out, to(web1)}),
			want:  []string{changedRequest},
		},
		{
			name:  "a request for one server to another",
			steps: append(honest, step{routerPort, port.In, to(vipMAC)}, step{2, port.Out, to(web2)}),
			want:  []string{wrongServer},
		},
		{
			name:  "a request to who is no server",
			steps: append(honest, step{routerPort, port.In, to(vipMAC)}, step{managerPort, port.Out, to(web2)}),
			want:  []string{"a frame of 192.0.2.10:20000 for the VIP left at port 4, which is no server's"},
		},
		{
			name:  "a request that does not leave",
			steps: append(honest, step{routerPort, port.In, to(vipMAC)}), waiting: 1,
		},
		{
			name:  "a request for another MAC",
			steps: append(honest, step{routerPort, port.In, to(web1)}, step{2, port.Out, to(web1)}),
			want: []string{
				"a frame for the VIP entered with destination MAC 02:00:00:00:00:11, want 02:53:4c:00:00:01"},
		},
		{
			name:  "a request from inside",
			steps: append(honest, step{managerPort, port.In, to(vipMAC)}, step{2, port.Out, to(web1)}),
			want:  []string{"a frame for the VIP entered at port 4, which is not the router's"},
		},
		{
			name:  "a reply with another TTL",
			steps: append(honest, step{3, port.In, from(web2)}, step{routerPort, port.Out, changed(from(web2), ttl)}),
			want:  []string{changedReply}, waiting: 1,
		},
		{
			name:  "a reply from another MAC than it came with",
			steps: append(honest, step{3, port.In, from(web2)}, step{routerPort, port.Out, from(vipMAC)}),
			want:  []string{changedReply}, waiting: 1,
		},
		{
			name:  "a reply twice",
			steps: append(honest, step{routerPort, port.Out, from(web2)}),
			want:  []string{changedReply},
		},
		{
			name:  "a reply to another server too",
			steps: append(honest, step{2, port.Out, from(web2)}),
			want:  []string{"a frame from the VIP to 192.0.2.10:20000 left by port 2, which is not the router's"},
		},
		{
			name:  "a reply that does not leave",
			steps: append(honest, step{3, port.In, from(web2)}), waiting: 1,
		},
		{
			name:  "a reply from another MAC",
			steps: append(honest, step{3, port.In, from(stranger)}, step{routerPort, port.Out, from(stranger)}),
			want: []string{"a frame from the VIP to 192.0.2.10:20000 entered at port 3 " +
				"with source MAC 02:00:00:00:00:99, want 02:00:00:00:00:12"},
		},
		{
			name: "a reply from who is no server",
			steps: append(honest, step{managerPort, port.In, from(stranger)},
				step{routerPort, port.Out, from(stranger)}),
			want: []string{"a frame from the VIP to 192.0.2.10:20000 entered at port 4, which is no server's"},
		},
		{
			name:  "a server claims the VIP",
			steps: append(honest, step{3, port.In, claim}),
			want:  []string{"02:00:00:00:00:12 at port 3 speaks for the VIP in ARP"},
		},
		{
			name:  "a server claims the VIP in SNAP behind a tag",
			steps: append(honest, step{3, port.In, hidden}),
			want:  []string{"02:00:00:00:00:12 at port 3 speaks for the VIP in ARP"},
		},
		{
			name:  "a server that may claim the VIP does",
			steps: append(honest, step{3, port.In, claim}, step{3, port.In, hidden}), leaky: true,
		},
		{
			name:  "its claim is heard",
			steps: append(honest, step{3, port.In, claim}, step{routerPort, port.Out, claim}), leaky: true,
			want: []string{"ARP that names 02:00:00:00:00:12 as the VIP left at port 1"},
		},
		{
			name: "the switch's answer comes from another MAC",
			steps: append(honest, step{routerPort, port.Out, changed(answer, func(f []byte) {
				packet.Ethernet(f).SetSrc(web1)
			})}),
			want: []string{"ARP that names 02:53:4c:00:00:01 as the VIP left at port 1"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := config()
			c.ClaimsAllowed = test.leaky
			p := New(c)
			p.RouterIsLearned()
			for _, s := range test.steps {
				p.See(s.port, s.way, time.Time{}, s.frame)
			}
			v := p.Finding()
			type finding struct {
				Broken, Unseen    []string
				Breaches, Waiting int
			}
			want := finding{test.want, test.unseen, len(test.want), test.waiting}
			if diff := cmp.Diff(want, finding{v.Broken, v.Unseen, v.Breaches, v.Waiting}); diff != "" {
				t.Errorf("finding (-want +got):\n%s", diff)
			}
		})
	}
}

// Of many breaches the first few are told, each once, and how many there are.
func TestManyBreaches(t *testing.T) {
	p := New(config())
	for n := range uint16(7) {
		for range 2 {
			from := netip.AddrPortFrom(client.Addr(), 20000+n)
			p.See(2, port.Out, time.Time{},
				packet.NewTCP(packet.Segment{SrcMAC: routerMAC, DstMAC: web1, Src: from, Dst: vip}))
		}
	}
	var want []string
	for n := range 5 {
		want = append(want, fmt.Sprintf("a frame of 192.0.2.10:%d left at port 2 "+
			"with other bytes than it entered with, or left twice", 20000+n))
	}
	v := p.Finding()
	if diff := cmp.Diff(append(want, "and so on, 14 breaches in all"), v.Broken); diff != "" || v.Breaches != 14 {
		t.Errorf("%d breaches, want 14 (-want +got):\n%s", v.Breaches, diff)
	}
}

// Who got an answer must have been seen both ways.
func TestFinish(t *testing.T) {
	for _, test := range []struct {
		name     string
		answered bool
		want     []string
	}{
		{"answered", true, []string{"192.0.2.10:20000 got an answer, but 0 frames to a server and 0 back were seen"}},
		{"not answered", false, nil},
	} {
		p := New(config())
		p.Open(client, time.Time{})
		p.Finish(client, test.answered)
		if diff := cmp.Diff(test.want, p.Finding().Broken); diff != "" {
			t.Errorf("%s: broken (-want +got):\n%s", test.name, diff)
		}
	}
}

// A reply may be flooded, once per port, if it came in before the switch knew the router.
func TestProofOfFloods(t *testing.T) {
	reply := func(seq byte) []byte {
		return packet.NewTCP(packet.Segment{
			SrcMAC: web1, DstMAC: routerMAC, Src: vip, Dst: client, Flags: packet.ACK, Sequence: uint32(seq),
		})
	}
	p := New(config())
	see := func(id uint16, d port.Direction, frame []byte) { p.See(id, d, time.Time{}, frame) }
	var got []int
	note := func() { got = append(got, p.breaches) }
	see(2, port.In, reply(1))
	see(3, port.Out, reply(1))
	see(managerPort, port.Out, reply(1))
	p.RouterIsLearned()
	see(routerPort, port.Out, reply(1))
	note()
	see(3, port.Out, reply(1)) // a second copy
	note()
	see(2, port.In, reply(2))
	see(routerPort, port.Out, reply(2))
	note()
	see(3, port.Out, reply(2)) // no reason to flood
	note()
	if diff := cmp.Diff([]int{0, 1, 1, 2}, got); diff != "" {
		t.Errorf("breaches (-want +got):\n%s", diff)
	}
	if p.counts.Flooded != 4 {
		t.Errorf("%d copies counted, want 4", p.counts.Flooded)
	}
}

// A frame is as late as it came in, however long it took.
func TestLastRequest(t *testing.T) {
	p := New(config())
	if left, entered := p.LastRequest(2); !left.IsZero() || !entered.IsZero() {
		t.Errorf("before any: %v, %v", left, entered)
	}
	request := func(dst packet.MAC, seq byte) []byte {
		s := packet.Segment{SrcMAC: routerMAC, DstMAC: dst, Src: client, Dst: vip, Flags: packet.SYN,
			Sequence: uint32(seq)}
		if seq == 9 {
			s.Flags = packet.ACK
		}
		return packet.NewTCP(s)
	}
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	p.See(1, port.In, at(1), request(vipMAC, 7))
	p.See(1, port.In, at(2), request(vipMAC, 7)) // the same, sent again
	p.See(1, port.In, at(3), request(vipMAC, 8))
	p.See(2, port.Out, at(4), request(web1, 7))
	if left, entered := p.LastRequest(2); left != at(4) || entered != at(1) {
		t.Errorf("first: left %v, entered %v", left, entered)
	}
	p.See(2, port.Out, at(5), request(web1, 8))
	p.See(2, port.Out, at(6), request(web1, 7)) // overtaken
	if left, entered := p.LastRequest(2); left != at(6) || entered != at(3) {
		t.Errorf("last: left %v, entered %v", left, entered)
	}
	p.See(1, port.In, at(7), request(vipMAC, 9)) // opens nothing
	p.See(2, port.Out, at(8), request(web1, 9))
	if left, entered := p.LastRequest(2); left != at(8) || entered != at(3) {
		t.Errorf("of an open connection: left %v, entered %v", left, entered)
	}
	if p.breaches != 0 {
		t.Errorf("broken: %q", p.broken)
	}
}

func TestFlowServer(t *testing.T) {
	segment := func(src, dst netip.AddrPort, srcMAC, dstMAC packet.MAC, flags uint8) []byte {
		return packet.NewTCP(packet.Segment{SrcMAC: srcMAC, DstMAC: dstMAC, Src: src, Dst: dst, Flags: flags})
	}
	p := New(config())
	see := func(id uint16, d port.Direction, frame []byte) { p.See(id, d, time.Time{}, frame) }
	to := func(id uint16, mac packet.MAC, flags uint8) {
		see(1, port.In, segment(client, vip, routerMAC, vipMAC, flags))
		see(id, port.Out, segment(client, vip, routerMAC, mac, flags))
	}
	p.Open(client, time.Time{})
	var got []uint16
	note := func() {
		f := p.On(client)
		got = append(got, f.Server())
	}
	note()
	to(3, web2, packet.SYN) // lost
	note()
	to(2, web1, packet.SYN) // sent again, after the slot moved
	note()
	see(2, port.In, segment(vip, client, web1, routerMAC, packet.SYN|packet.ACK))
	note()
	to(3, web2, packet.ACK) // led astray
	note()
	if diff := cmp.Diff([]uint16{0, 3, 2, 2, 2}, got); diff != "" {
		t.Errorf("server of the flow (-want +got):\n%s", diff)
	}
}
