package tally

import "net/netip"

// Noise is what hosts behind a switch made happen, at line rate if they like, added up for a while.
type Noise struct {
	Claims []Entry[Claimed]
	Moves  []Entry[Move]
	NoRoom []Entry[uint16] // stations that were not learned, by port
	Full   string          // why they were not, empty when that is not known
	// Spoofs are frames of somebody who passes for a pinned station: the station has changed, or somebody wants its
	// traffic. The switch drops and counts them all (drop_spoof, drop_arp_spoof), and sends up a few.
	Spoofs []Entry[Spoofed]
}

// Claimed is what ARP replies or gratuitous ARP from a port claim: somebody's VIP.
type Claimed struct {
	VIP  netip.Addr
	Port uint16
	// Disowned: it was a request of somebody who uses the VIP as its own address, and went on without that.
	Disowned bool
}

// Move is how stations move: they show at another port.
type Move struct{ From, To uint16 }

// Spoofed is what frames that came in by a port pretend: to be from a station's MAC, which is the sender's and
// has another port, or, by ARP, from its address, which has another MAC than the sender's.
type Spoofed struct {
	Port    uint16
	Address netip.Addr // of the station; the zero Addr when the MAC is its own
}
