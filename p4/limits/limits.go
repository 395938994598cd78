// Package limits holds the sizes and numbers that the pipeline and those who write its tables must agree on. The P4
// source has them too, and a test of package p4 holds the two together. It knows no P4Runtime, so that pure packages
// may use it.
package limits

// What the pipeline and the controller must agree on; p4/include/headers.p4 has the same.
const (
	MaxPort        = 509     // of hosts and networks
	CPUPort        = 510     // the port that packet-ins leave by and packet-outs enter by
	FloodGroup     = 1       // the multicast group that carries unknown and broadcast destinations
	NoPort         = 511     // no packet comes by it, and what is sent there is dropped
	ReasonARPClaim = 1       // packet_in.reason: an ARP reply or gratuitous ARP that claims a VIP
	ReasonSpoof    = 2       // the source MAC is that of a pinned station, on a port that is not its own
	ReasonARPSpoof = 3       // ARP that gives the address of a pinned station to another MAC
	Banks          = 4       // mark banks, hence the number of epochs that can live at once
	MarkArrays     = 4       // arrays of marks: a flow is taken for a new one when it is marked in all
	BankCells      = 1 << 16 // of one bank, in each array
	PoolSlots      = 1 << 16 // of a pool, at most: its mask has 16 bits
)

// Table sizes, in entries; p4/include/headers.p4 has the same.
const (
	VIPSize     = 8192
	SlotSize    = 524288
	PinSize     = 65536
	BackendSize = 32768
	StationSize = 16384
	PinnedSize  = 65536
	MeterSize   = 512
)

// Tally is a cell of the counter `tally`: why a packet that the pipeline owns went nowhere, or was
// mended on its way.
type Tally int

const (
	DropNoService Tally = 1 + iota // for a VIP, but no such protocol and port, or a runt
	DropFragment                   // fragment of a packet for a VIP: most carry no ports to hash
	DropNoSlot                     // the pool has no live backend
	DropNoBackend                  // a slot names a backend that is not there, or nobody takes new flows
	DropARPClaim                   // ARP reply or gratuitous ARP that claims a VIP
	ARPDisowned                    // ARP request with a VIP as sender: forwarded as a probe
	DropHairpin                    // for a station on the port that the frame came in by
	DropTags                       // more than one 802.1Q tag: what is inside could be a VIP's
	DropPacketOut                  // packet-out to a port that there cannot be
	DropSpoof                      // source MAC of a pinned station, on a port that is not its own
	DropVIPMAC                     // for the MAC of a VIP, and no service takes it
	DropRunt                       // too short to say whose it is
	DropSource                     // source MAC that is zero or a group's
	DropReserved                   // for a group address that no bridge passes on
	DropLAND                       // for a VIP, and from it
	DropARPSpoof                   // ARP that gives the address of a pinned station to another MAC
)
