package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/sluicelb/sluice/bmv2-tests/lab/proof"
	"github.com/sluicelb/sluice/p4/packet"
)

// Topology is a network as data: one segment or several, and a client behind a router that has a leg in each. Names of
// segments, of nodes in a segment, and ports of a segment are used once.
//
//	            ┌─ leg ── segment: switch ── hosts
//	client ── router
//	            └─ leg ── segment: switch ── hosts
type Topology struct {
	Segments []Segment
	Client   Node // on no switch; where no segment has a router there is none
	Outside  Node // the router's leg to the client
}

// Segment is the network of one data center: a switch, and what is at its ports.
type Segment struct {
	Name  string // may be empty where there is only one
	Nodes []Node
}

// Node is what is at one port of a segment's switch.
type Node struct {
	Name    string
	Port    uint16
	MAC     packet.MAC
	Address netip.Prefix // IPv4. Without one there is no TCP/IP: the caller sends and receives every frame
	Gateway netip.Addr   // if it is the zero Addr, the segment's router, if there is one
	VIPs    []netip.Addr // that it serves: on its loopback, ARP suppressed
	Router  bool         // the router's leg into this segment
}

// Bare is a segment with nothing but cables at ports 1 to n.
func Bare(n uint16) Topology {
	var s Segment
	for id := uint16(1); id <= n; id++ {
		s.Nodes = append(s.Nodes, Node{Name: "port" + strconv.Itoa(int(id)), Port: id})
	}
	return Topology{Segments: []Segment{s}}
}

// Node returns the node of a name; there must be one.
func (s Segment) Node(name string) Node {
	i := slices.IndexFunc(s.Nodes, func(n Node) bool { return n.Name == name })
	if i < 0 {
		panic(fmt.Sprintf("lab: segment %q has no %s", s.Name, name))
	}
	return s.Nodes[i]
}

// Router returns the router's leg, the zero Node if there is none.
func (s Segment) Router() Node {
	for _, n := range s.Nodes {
		if n.Router {
			return n
		}
	}
	return Node{}
}

// Servers returns the nodes that serve a VIP, in order.
func (s Segment) Servers(vip netip.Addr) []Node {
	return slices.DeleteFunc(slices.Clone(s.Nodes), func(n Node) bool { return !slices.Contains(n.VIPs, vip) })
}

// Proof says what the proof of a VIP must know of the segment. vipMAC is the switch's, for the VIP.
func (s Segment) Proof(vip netip.Addr, vipMAC packet.MAC) proof.Config {
	c := proof.Config{VIP: vip, VIPMAC: vipMAC, Router: s.Router().Port, Servers: make(map[uint16]packet.MAC)}
	for _, n := range s.Nodes {
		switch {
		case slices.Contains(n.VIPs, vip):
			c.Servers[n.Port] = n.MAC
		case !n.Router:
			c.Others = append(c.Others, n.Port)
		}
	}
	return c
}
