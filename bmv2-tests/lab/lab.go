// Package lab builds the one topology that the scenarios, the benchmark and the differential tests
// share, on a switch of the caller's choice. It starts the switch and the hosts; it leaves the
// controller and the traffic to its callers.
//
//	client ──── router ──1┌────────┐3── web1 ┐
//	192.0.2.10  10.0.0.1  │ switch │4── web2 ├ 10.0.0.11-13, each with the VIP
//	                      │        │5── web3 ┘ 10.0.0.100 on its loopback
//	            manager ─2└────────┘
//	            10.0.0.2, where healthd lives
package lab

import (
	"context"
	"net"
	"net/netip"

	"github.com/sluicelb/sluice/p4/packet"
)

// The addresses of the topology.
var (
	VIP           = netip.MustParseAddr("10.0.0.100")
	ClientAddress = netip.MustParsePrefix("192.0.2.10/24")
	RouterOutside = netip.MustParsePrefix("192.0.2.1/24")
	RouterInside  = netip.MustParsePrefix("10.0.0.1/24")
)

// Node is one host of the topology on a port of the switch.
type Node struct {
	Name    string
	Port    uint16
	MAC     packet.MAC
	Address netip.Prefix
	Server  bool // carries the VIP on its loopback, ARP suppressed
}

// Nodes are the hosts on the switch's ports. The client is not among them: it sits behind the router.
var Nodes = []Node{
	{Name: "router", Port: 1, MAC: packet.MAC{2, 0, 0, 0, 0, 1}, Address: RouterInside},
	{Name: "manager", Port: 2, MAC: packet.MAC{2, 0, 0, 0, 0, 2}, Address: netip.MustParsePrefix("10.0.0.2/24")},
	{Name: "web1", Port: 3, MAC: packet.MAC{2, 0, 0, 0, 0, 0x11}, Address: netip.MustParsePrefix("10.0.0.11/24"), Server: true},
	{Name: "web2", Port: 4, MAC: packet.MAC{2, 0, 0, 0, 0, 0x12}, Address: netip.MustParsePrefix("10.0.0.12/24"), Server: true},
	{Name: "web3", Port: 5, MAC: packet.MAC{2, 0, 0, 0, 0, 0x13}, Address: netip.MustParsePrefix("10.0.0.13/24"), Server: true},
}

// Frame is one Ethernet frame seen at a node's network card.
type Frame struct {
	Sent bool // by the node; else received
	Data []byte
}

// Host is one machine of the lab, with a TCP/IP stack of its own.
type Host interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	Listen(netip.AddrPort) (net.Listener, error)
	// SetLink pulls the host's cable or puts it back: frames vanish, nobody is told.
	SetLink(up bool) error
	// SuppressARP sets whether a server keeps silent about the VIP on its loopback, as it should.
	SuppressARP(bool) error
	// Capture hands every frame at the host's card on the switch to f until stop is called. f must
	// not keep the frame's data.
	Capture(f func(Frame)) (stop func(), err error)
	// Inject puts a frame on the wire as if the host had sent it.
	Inject(frame []byte) error
}

// Lab is the topology, running.
type Lab interface {
	// Target is where the switch serves P4Runtime; its device id is 1.
	Target() string
	Client() Host
	Host(name string) Host
	// Get fetches a URL from the client over a new connection and returns the body.
	Get(ctx context.Context, url string) (string, error)
	// Healthd runs `sluice healthd`, or the same role in process, on the manager until ctx ends.
	Healthd(ctx context.Context, sluice, controller string) error
	// PauseSwitch lets the switch hang, or go on.
	PauseSwitch(paused bool) error
	// StopSwitch ends the switch without warning.
	StopSwitch() error
	// RestartSwitch ends the switch without warning, if it runs, and starts it again, empty.
	RestartSwitch() error
	Close() error
}
