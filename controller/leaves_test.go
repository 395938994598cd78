package controller_test

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/bmv2-tests/lab"
	"github.com/sluicelb/sluice/bmv2-tests/lab/proof"
	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/p4/packet"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

const leavesIntent = `switches:
  - {name: leaf1, address: %q, device_id: 1, ports: [1, 2, 8]}
  - {name: leaf2, address: %q, device_id: 1, ports: [2, 3, 4, 9]}
vip_mac: 02:53:4c:00:00:01
stations:
  - {name: router, mac: "02:00:00:00:00:01", switch_port: {leaf1: 1, leaf2: 9}}
  - {name: neighbour, mac: "02:00:00:00:00:02", switch_port: {leaf1: 8, leaf2: 2}}
pools:
  - name: web
    slots: 64
    backends:
      - {name: web1, address: 10.0.0.11, mac: "02:00:00:00:00:11", switch_port: {leaf1: 2, leaf2: 9}}
      - {name: web2, address: 10.0.0.12, mac: "02:00:00:00:00:12", switch_port: {leaf1: 8, leaf2: 3}}
      - {name: web3, address: 10.0.0.13, mac: "02:00:00:00:00:13", switch_port: {leaf2: 4}}
vips:
  - {name: www, address: 10.0.0.100, port: 80, pool: web}
  - {name: alt, address: 10.0.0.101, port: 80, pool: web}
`

// leaf2Base is added to the ports of leaf2, for a proof that takes both switches for one.
const leaf2Base = 100

// Two switches that are one network, and each balances what reaches it first: a backend has another port on each, or
// none that is given. Direct Server Return holds for both as for one switch: what enters for a VIP leaves once, at its
// server.
//
//	client ── router ──1┌───────┐8────9┌───────┐2── neighbour, a client too
//	                    │ leaf1 │      │ leaf2 │3── web2
//	            web1 ──2└───────┘      └───────┘4── web3, whose port on leaf1 is learned
func TestPortsBySwitch(t *testing.T) {
	www, alt := netip.MustParseAddr("10.0.0.100"), netip.MustParseAddr("10.0.0.101")
	node := func(name string, id uint16, mac byte, address string, vips ...netip.Addr) lab.Node {
		return lab.Node{Name: name, Port: id, MAC: packet.MAC{2, 0, 0, 0, 0, mac},
			Address: netip.MustParsePrefix(address + "/24"),
			Gateway: netip.MustParseAddr("10.0.0.1"), VIPs: vips}
	}
	router := node("router", 1, 0x01, "10.0.0.1")
	router.Router, router.Gateway = true, netip.Addr{}
	topology := lab.Topology{
		Client: lab.Node{Name: "client", MAC: packet.MAC{2, 0, 0, 0, 1, 2},
			Address: netip.MustParsePrefix("192.0.2.10/24")},
		Outside: lab.Node{MAC: packet.MAC{2, 0, 0, 0, 1, 1}, Address: netip.MustParsePrefix("192.0.2.1/24")},
		Segments: []lab.Segment{
			{Name: "leaf1", Nodes: []lab.Node{router, node("web1", 2, 0x11, "10.0.0.11", www, alt),
				{Name: "trunk", Port: 8}}},
			{Name: "leaf2", Nodes: []lab.Node{
				node("neighbour", 2, 0x02, "10.0.0.2"), node("web2", 3, 0x12, "10.0.0.12", www, alt),
				node("web3", 4, 0x13, "10.0.0.13", www, alt), {Name: "trunk", Port: 9},
			}},
		},
	}
	servers := map[uint16]packet.MAC{2: {2, 0, 0, 0, 0, 0x11}, leaf2Base + 3: {2, 0, 0, 0, 0, 0x12},
		leaf2Base + 4: {2, 0, 0, 0, 0, 0x13}}
	vipMAC := packet.MAC{2, 0x53, 0x4c, 0, 0, 1}
	// The router's client uses one VIP, by leaf1, and the neighbour the other, by leaf2.
	proofs := map[netip.Addr]*proof.Proof{
		www: proof.New(proof.Config{VIP: www, VIPMAC: vipMAC, Router: 1, Servers: servers,
			Others: []uint16{leaf2Base + 2}}),
		alt: proof.New(proof.Config{VIP: alt, VIPMAC: vipMAC, Router: leaf2Base + 2, Servers: servers,
			Others: []uint16{1}}),
	}
	l, err := lab.InProcess(topology,
		lab.Options{Switch: lab.Embedded{}, Before: func(s lab.Segment, n lab.Node, p port.Port) port.Port {
			id := n.Port
			if s.Name == "leaf2" {
				id += leaf2Base
			}
			if n.Name == "trunk" {
				return p
			}
			return port.Tap(p, func(d port.Direction, at time.Time, frame []byte) {
				for _, one := range proofs {
					one.See(id, d, at, frame)
				}
			})
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	leaf1, leaf2 := l.Sites[0], l.Sites[1]
	lab.Join(leaf1.End(8), leaf2.End(9))
	for _, s := range l.Sites {
		for _, n := range s.Servers(www) {
			for _, vip := range n.VIPs {
				serve(t, s.End(n.Port), netip.AddrPortFrom(vip, 80), n.Name)
			}
		}
	}

	dir := t.TempDir()
	text := fmt.Sprintf(leavesIntent, leaf1.Target(), leaf2.Target())
	d := startController(t, options{dir: dir, file: writeFile(t, dir, text)})
	d.until("both switches hold all", synced)
	// web3 asks for somebody: leaf1 learns where it is.
	web3 := &target{Site: leaf1, t: t}
	_, _ = leaf2.End(4).DialContext(t.Context(), "tcp", "10.0.0.11:81")
	d.until("web3 is learned",
		func(*api.GetStatusResponse) bool { return strings.Contains(web3.dump("l2"), "02:00:00:00:00:13") })

	var flows []net.Conn
	answers := func(from lab.Host, vip netip.Addr) map[string]bool {
		t.Helper()
		seen := make(map[string]bool)
		for range 48 {
			conn, err := from.DialContext(t.Context(), "tcp", netip.AddrPortFrom(vip, 80).String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			flows = append(flows, conn)
			seen[ask(t, conn)] = true
		}
		return seen
	}
	all := map[string]bool{"web1": true, "web2": true, "web3": true}
	if diff := cmp.Diff(all, answers(l.Client, www)); diff != "" {
		t.Errorf("servers of flows by leaf1 (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(all, answers(leaf2.End(2), alt)); diff != "" {
		t.Errorf("servers of flows by leaf2 (-want +got):\n%s", diff)
	}

	// A port that is given now moves rows on that switch alone, and no flow.
	written := func() (n []uint64) {
		for _, s := range d.status().Switches {
			n = append(n, s.EntriesWritten)
		}
		return n
	}
	before := written()
	text = strings.Replace(text, "{leaf2: 4}", "{leaf1: 8, leaf2: 4}", 1)
	if _, err := d.ApplyIntent(t.Context(), &api.ApplyIntentRequest{Yaml: text}); err != nil {
		t.Fatal(err)
	}
	d.quiet()
	after := written()
	if diff := cmp.Diff([]uint64{3, 0}, []uint64{after[0] - before[0], after[1] - before[1]}); diff != "" {
		t.Errorf("entries written to leaf1, leaf2 (-want +got):\n%s", diff)
	}
	for _, conn := range flows {
		ask(t, conn)
	}
	var got []string
	for _, b := range d.status().Pools[0].Backends {
		got = append(got, fmt.Sprintf("%s %d leaf1 %d leaf2 %d", b.Name, b.SwitchPort, b.SwitchPorts["leaf1"],
			b.SwitchPorts["leaf2"]))
	}
	if diff := cmp.Diff([]string{"web1 0 leaf1 2 leaf2 9", "web2 0 leaf1 8 leaf2 3", "web3 0 leaf1 8 leaf2 4"},
		got); diff != "" {
		t.Errorf("ports in the status (-want +got):\n%s", diff)
	}

	// What is pinned is so where each switch has it.
	leaf2.End(3).Inject(sentBy(web1MAC, routerMAC))
	const want = "somebody on port 3 of leaf2 sends as 02:00:00:00:00:11, the MAC of web/web1: dropped; " +
		"its switch_port is 9, and if it has moved the configuration must say so"
	if e := d.wait("the spoof is told", func(e *api.Event) bool { return e.GetSpoof() != nil }); e.Text != want {
		t.Errorf("got event %q, want %q", e.Text, want)
	}
	for _, conn := range flows {
		conn.Close()
	}
	for vip, one := range proofs {
		v := one.Finding()
		if v.Breaches > 0 || len(v.Unseen) > 0 || v.Flooded > 0 {
			t.Errorf("%v: %+v", vip, v)
		}
	}
}

// serve answers each line with a name, until the test ends.
func serve(t *testing.T, h lab.Host, at netip.AddrPort, name string) {
	t.Helper()
	listener, err := h.Listen(at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					fmt.Fprintln(conn, name)
				}
			}()
		}
	}()
}

// ask sends a line and returns the answer.
func ask(t *testing.T, conn net.Conn) string {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(conn, "who?"); err != nil {
		t.Fatal(err)
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(answer)
}
