// Package packet reads and builds Ethernet frames over plain byte slices: header views with named
// getters, builders, checksums, and the MAC address type of the whole program.
//
// A view checks nothing by itself: call IsValid before any getter, on a view of bytes that came from
// outside. Nothing here keeps, copies or changes the bytes it is given unless its name says so. What
// the headers mean is left to the callers: the switch's tests, the demo and the controller.
package packet

// EtherTypes (IEEE 802.3 clause 3.2.6) and IP protocol numbers that Sluice looks at.
const (
	TypeIPv4 = 0x0800
	TypeARP  = 0x0806
	TypeVLAN = 0x8100 // IEEE 802.1Q; IsTag knows the others

	ProtocolICMP = 1
	ProtocolTCP  = 6
	ProtocolUDP  = 17
)
