package demo

import (
	"cmp"
	"errors"
	"net/netip"
	"time"

	"github.com/sluicelb/sluice/bmv2-tests/lab"
	"github.com/sluicelb/sluice/bmv2-tests/lab/proof"
	"github.com/sluicelb/sluice/p4/packet"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

// picture is the demo's network; the values below are its other half. It takes 76 columns.
const picture = `
     client 192.0.2.10 <--------- DNS over UDP ---------> gslb
          |                                                 |
     router 192.0.2.1                            watches both controllers
       |            |
       | 10.0.0.1   +----------------------------+ 10.1.0.1
       |                                         |
   +---1------------------------------+      +---1-----------------------+
   |  fra: sluice.p4 on softswitch    |      |  ams: the same            |
   |  VIP 10.0.0.100:80               |      |  VIP 10.1.0.100:80        |
   +---2--------3--------4--------5---+      +---2--------3--------4-----+
       |        |        |        |              |        |        |
      web1     web2     web3     mgmt           web4     web5     mgmt
      .11      .12      .13      .250           .11      .12      .250
`

// narrowPicture is the same network.
const narrowPicture = `
   client 192.0.2.10 <-- DNS --> gslb
     |                           |
   router 192.0.2.1    watches both
     |                  controllers
     |
     | 10.0.0.1
     +---1 fra: sluice.p4 on softswitch
     |   | VIP 10.0.0.100:80
     |   2-- web1 .11
     |   3-- web2 .12
     |   4-- web3 .13
     |   5-- mgmt .250
     |
     | 10.1.0.1
     +---1 ams: the same
         | VIP 10.1.0.100:80
         2-- web4 .11
         3-- web5 .12
         4-- mgmt .250
`

const (
	routerPort  = 1
	firstServer = 2 // port of the first of the servers
)

// place is one data center, as the picture has it.
type place struct {
	lab.Segment
	vip     netip.AddrPort
	vipMAC  packet.MAC
	servers []string // names
}

// newPlace numbers a data center: 10.n.0.0/24 is its network. The host that healthd checks through is the last one.
func newPlace(n byte, name string, servers ...string) place {
	address := func(last byte) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, n, 0, last}), 24) }
	node := func(name string, mac, last byte) lab.Node {
		return lab.Node{Name: name, MAC: packet.MAC{0x02, 0, 0, 0, n, mac}, Address: address(last)}
	}
	p := place{
		Segment: lab.Segment{Name: name, Nodes: []lab.Node{node("router", 0x01, 1)}},
		vip:     netip.AddrPortFrom(address(100).Addr(), 80),
		vipMAC:  packet.MAC{0x02, 0x53, 0x4c, 0, n, 0x01},
		servers: servers,
	}
	p.Nodes[0].Router = true
	for i, server := range servers {
		s := node(server, byte(0x11+i), byte(11+i))
		s.VIPs = []netip.Addr{p.vip.Addr()}
		p.Nodes = append(p.Nodes, s)
	}
	p.Nodes = append(p.Nodes, node("mgmt", 0xfa, 250))
	for i := range p.Nodes {
		p.Nodes[i].Port = uint16(routerPort + i)
	}
	return p
}

var (
	fra = newPlace(0, "fra", "web1", "web2", "web3")
	ams = newPlace(1, "ams", "web4", "web5")

	client = lab.Node{
		Name: "client", MAC: packet.MAC{0x02, 0, 0, 0, 0x02, 0x10}, Address: netip.MustParsePrefix("192.0.2.10/24"),
	}
	outside = lab.Node{MAC: packet.MAC{0x02, 0, 0, 0, 0x02, 0x01}, Address: netip.MustParsePrefix("192.0.2.1/24")}
)

// world is all that is beside Sluice: the networks of the data centers, and the client, whose router has a leg in
// each.
type world struct {
	lab      *lab.Lab[*lab.Stack, port.Port]
	networks []*network
}

// newWorld builds the hosts and their wires. With a directory, what passes each port of a switch is
// recorded there, or the error is a CaptureError. tamper, in tests, gets to falsify what happens.
func newWorld(captures string, tamper tamper, places ...place) (*world, error) {
	w := new(world)
	proofs := make(map[string]*proof.Proof)
	topology := lab.Topology{Client: client, Outside: outside}
	for _, p := range places {
		n := newNetwork(p)
		w.networks = append(w.networks, n)
		proofs[p.Name] = n.proof
		topology.Segments = append(topology.Segments, p.Segment)
	}
	var err error
	w.lab, err = lab.InProcess(topology, lab.Options{
		Captures: captures,
		Beyond:   tamper.at(tamper.wire),
		Before: func(s lab.Segment, n lab.Node, p port.Port) port.Port {
			p = port.Tap(p, func(d port.Direction, at time.Time, frame []byte) {
				proofs[s.Name].See(n.Port, d, at, frame)
			})
			return tamper.at(tamper.inside)(s, n, p)
		},
	})
	if err != nil {
		return nil, err
	}
	for i, n := range w.networks {
		if err := n.plugIn(w.lab.Sites[i]); err != nil {
			return nil, errors.Join(err, w.close())
		}
	}
	return w, nil
}

func (w *world) close() error {
	for _, n := range w.networks {
		n.powerOff()
	}
	return w.lab.Close()
}

// at returns the data center whose VIP has an address, or nil.
func (w *world) at(vip netip.Addr) *network {
	for _, n := range w.networks {
		if n.vip.Addr() == vip {
			return n
		}
	}
	return nil
}

// network is everything at the ports of one data center's switch.
type network struct {
	place
	hosts []*server // by name
	mgmt  *lab.Stack
	proof *proof.Proof
	ports map[uint16]port.Port // for the switch
}

func newNetwork(p place) *network {
	n := &network{place: p, proof: proof.New(p.Proof(p.vip.Addr(), p.vipMAC))}
	for _, node := range p.Servers(p.vip.Addr()) {
		n.hosts = append(n.hosts, &server{Node: node, vip: p.vip})
	}
	return n
}

// plugIn takes the hosts of a lab's site, and lets the servers serve.
func (n *network) plugIn(site *lab.Site[*lab.Stack, port.Port]) error {
	n.ports, n.mgmt = site.Ports, site.End(n.Node("mgmt").Port)
	for _, s := range n.hosts {
		s.Stack = site.End(s.Port)
	}
	return n.powerOn()
}

func (n *network) server(name string) *server {
	for _, s := range n.hosts {
		if s.Name == name {
			return s
		}
	}
	panic("no server " + name)
}

// powerOff cuts the power of all servers at once, and returns when the last one died.
func (n *network) powerOff() time.Time {
	var last time.Time
	died := make(chan time.Time, len(n.hosts))
	for _, s := range n.hosts {
		go func() { died <- s.powerOff() }()
	}
	for range n.hosts {
		if at := <-died; at.After(last) {
			last = at
		}
	}
	return last
}

func (n *network) powerOn() error {
	var err error
	for _, s := range n.hosts {
		err = errors.Join(err, s.powerOn())
	}
	return err
}

// deadDuring reports whether the server at a port was without power at any time between two. For port
// 0, which stands for whoever would have taken the flow, it reports whether all servers were, at once.
func (n *network) deadDuring(id uint16, from, to time.Time) bool {
	if id == 0 {
		return n.darkDuring(from, to)
	}
	for _, s := range n.hosts {
		if s.Port == id {
			return s.offDuring(from, to)
		}
	}
	return false
}

// darkDuring reports whether at any time between two no server had power. Such a time begins with from, or
// when the last server dies.
func (n *network) darkDuring(from, to time.Time) bool {
	moments := []time.Time{from}
	for _, s := range n.hosts {
		for _, o := range s.history() {
			if o.from.After(from) && o.from.Before(to) {
				moments = append(moments, o.from)
			}
		}
	}
	for _, moment := range moments {
		dark := true
		for _, s := range n.hosts {
			dark = dark && s.offAt(moment)
		}
		if dark {
			return true
		}
	}
	return false
}

// tamper makes the world lie, so that a test can see the proof fail. Each function may be nil.
type tamper struct {
	place  string                                 // whose network; "" is fra's
	wire   func(id uint16, p port.Port) port.Port // may replace a port beyond the taps: what servers send
	inside func(id uint16, p port.Port) port.Port // may replace one before the taps: what the switch sends
	dns    dnsTamper
}

// at puts a replacement on the ports of the network that is tampered with.
func (t tamper) at(replace func(uint16, port.Port) port.Port) func(lab.Segment, lab.Node, port.Port) port.Port {
	return func(s lab.Segment, n lab.Node, p port.Port) port.Port {
		if replace == nil || s.Name != cmp.Or(t.place, fra.Name) {
			return p
		}
		return replace(n.Port, p)
	}
}

// CaptureError says that the directory for captures cannot be used.
type CaptureError = lab.CaptureError
