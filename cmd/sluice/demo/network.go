package demo

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/sluicelb/sluice/p4/netstack"
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
	name       string
	vip        netip.AddrPort
	vipMAC     packet.MAC
	router     netip.Prefix // the router's leg into it
	routerMAC  packet.MAC
	management netip.Prefix // the host that healthd checks through
	mgmtMAC    packet.MAC
	servers    []string // names
}

// newPlace numbers a data center: 10.n.0.0/24 is its network.
func newPlace(n byte, name string, servers ...string) place {
	host := func(last byte) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, n, 0, last}), 24) }
	return place{
		name:       name,
		vip:        netip.AddrPortFrom(host(100).Addr(), 80),
		vipMAC:     packet.MAC{0x02, 0x53, 0x4c, 0, n, 0x01},
		router:     host(1),
		routerMAC:  packet.MAC{0x02, 0, 0, 0, n, 0x01},
		management: host(250),
		mgmtMAC:    packet.MAC{0x02, 0, 0, 0, n, 0xfa},
		servers:    servers,
	}
}

// managementPort is the last one.
func (p place) managementPort() uint16 { return uint16(firstServer + len(p.servers)) }

var (
	fra = newPlace(0, "fra", "web1", "web2", "web3")
	ams = newPlace(1, "ams", "web4", "web5")

	clientAddress   = netip.MustParsePrefix("192.0.2.10/24")
	clientGateway   = netip.MustParsePrefix("192.0.2.1/24")
	clientMAC       = packet.MAC{0x02, 0, 0, 0, 0x02, 0x10}
	routerClientMAC = packet.MAC{0x02, 0, 0, 0, 0x02, 0x01}
)

// world is all that is beside Sluice: the networks of the data centers, and the client, whose router has a leg in
// each.
type world struct {
	client   *netstack.Host
	networks []*network
	closers  closers
}

// newWorld builds the hosts and their wires. With a directory, what passes each port of a switch is
// recorded there, or the error is a CaptureError. tamper, in tests, gets to falsify what happens.
func newWorld(captures string, tamper tamper, places ...place) (*world, error) {
	if captures != "" {
		if err := port.MakeCaptures(captures); err != nil {
			return nil, &CaptureError{err}
		}
	}
	w := new(world)
	if err := w.build(captures, tamper, places); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *world) build(captures string, tamper tamper, places []place) error {
	for _, p := range places {
		n := newNetwork(p)
		w.networks = append(w.networks, n)
		if err := n.build(captures, tamper); err != nil {
			return err
		}
	}
	inner, outer, stop := netstack.Cable()
	w.closers.add(func() error { stop(); return nil })
	legs := []netstack.Interface{{Link: outer, MAC: routerClientMAC, Address: clientGateway}}
	for _, n := range w.networks {
		legs = append(legs, netstack.Interface{Link: n.uplink, MAC: n.routerMAC, Address: n.router})
	}
	router, err := netstack.NewRouter("router", legs...)
	if err != nil {
		return err
	}
	w.closers.add(func() error { router.Close(); return nil })
	w.client, err = netstack.New(netstack.Config{
		Name: "client", MAC: clientMAC, Address: clientAddress, Gateway: clientGateway.Addr(),
	}, inner)
	if err != nil {
		return err
	}
	w.closers.add(func() error { w.client.Close(); return nil })
	return nil
}

func (w *world) close() error {
	err := w.closers.close()
	for _, n := range w.networks {
		err = errors.Join(err, n.closers.close())
	}
	return err
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
	hosts   []*server // by name
	mgmt    *netstack.Host
	uplink  *port.End // the router's
	proof   *proof
	ports   map[uint16]port.Port // for the switch, taps on
	closers closers
}

func newNetwork(p place) *network {
	n := &network{place: p, ports: make(map[uint16]port.Port)}
	macs := make(map[uint16]packet.MAC)
	for i, name := range p.servers {
		s := &server{
			name:    name,
			vip:     p.vip,
			address: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, p.router.Addr().As4()[1], 0, byte(11 + i)}), 24),
			gateway: p.router.Addr(),
			mac:     packet.MAC{0x02, 0, 0, 0, p.routerMAC[4], byte(0x11 + i)},
			port:    uint16(firstServer + i),
		}
		n.hosts = append(n.hosts, s)
		macs[s.port] = s.mac
	}
	n.proof = newProof(p.vip, p.vipMAC, routerPort, p.managementPort(), macs)
	return n
}

// build makes all but the router.
func (n *network) build(captures string, tamper tamper) (err error) {
	if tamper.place != n.name && !(tamper.place == "" && n.name == fra.name) {
		tamper.wire, tamper.inside = nil, nil
	}
	if n.uplink, err = n.wire(routerPort, "router", captures, tamper); err != nil {
		return err
	}
	managementEnd, err := n.wire(n.managementPort(), "mgmt", captures, tamper)
	if err != nil {
		return err
	}
	n.mgmt, err = netstack.New(netstack.Config{Name: "mgmt", MAC: n.mgmtMAC, Address: n.management}, managementEnd)
	if err != nil {
		return err
	}
	n.closers.add(func() error { n.mgmt.Close(); return nil })
	for _, s := range n.hosts {
		if s.end, err = n.wire(s.port, s.name, captures, tamper); err != nil {
			return err
		}
		if err := s.powerOn(); err != nil {
			return err
		}
		n.closers.add(func() error { s.powerOff(); return nil })
	}
	return nil
}

// wire makes a port of the switch with its taps, and returns the host's end.
func (n *network) wire(id uint16, name, captures string, tamper tamper) (*port.End, error) {
	p, end := port.NewLink()
	n.closers.add(end.Close)
	if tamper.wire != nil {
		p = tamper.wire(id, p)
	}
	if captures != "" {
		file, err := port.CreateCapture(captures, fmt.Sprintf("%s-port%d-%s", n.name, id, name))
		if err != nil {
			return nil, &CaptureError{err}
		}
		pcap, err := port.NewPcap(file)
		if err != nil {
			return nil, &CaptureError{errors.Join(err, file.Close())}
		}
		n.closers.add(func() error { return errors.Join(pcap.Err(), file.Close()) })
		p = port.Capture(p, pcap)
	}
	p = port.Tap(p, n.proof.tap(id))
	if tamper.inside != nil {
		p = tamper.inside(id, p)
	}
	n.ports[id] = p
	return end, nil
}

func (n *network) server(name string) *server {
	for _, s := range n.hosts {
		if s.name == name {
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
		if s.port == id {
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

// CaptureError says that the directory for captures cannot be used.
type CaptureError struct{ err error }

func (e *CaptureError) Error() string { return e.err.Error() }
func (e *CaptureError) Unwrap() error { return e.err }

// closers are undone from last to first.
type closers []func() error

func (c *closers) add(f func() error) { *c = append(*c, f) }

func (c closers) close() error {
	var err error
	for i := len(c) - 1; i >= 0; i-- {
		err = errors.Join(err, c[i]())
	}
	return err
}
