// Package p4 holds the Sluice pipeline: its source, and what p4c made of it, embedded. It knows
// nothing of who runs it; the controller pushes it, the tests and tools read names from it.
package p4

import (
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"fmt"
	"sync"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// What the pipeline and the controller must agree on; include/headers.p4 has the same.
const (
	CPUPort        = 510 // the port that packet-ins leave by and packet-outs enter by
	FloodGroup     = 1   // the multicast group that carries unknown and broadcast destinations
	ReasonARPClaim = 1   // packet_in.reason: an ARP reply or gratuitous ARP that claims a VIP
	Banks          = 4   // mark banks, hence the number of epochs that can live at once
)

// Table sizes, in entries; include/headers.p4 has the same.
const (
	VIPSize     = 8192
	SlotSize    = 524288
	MovingSize  = 65536
	BackendSize = 16384
	StationSize = 16384
)

// Tally is a cell of the counter `tally`: why a packet that the pipeline owns went nowhere, or was
// mended on its way.
type Tally int

const (
	DropNoService Tally = 1 + iota // for a VIP, but no such protocol and port, or a runt
	DropFragment                   // non-first fragment: carries no ports to hash
	DropNoSlot                     // the pool has no live backend
	DropNoBackend                  // a slot names a backend that is not there, or nobody takes new flows
	DropARPClaim                   // ARP reply or gratuitous ARP that claims a VIP
	ARPDisowned                    // ARP request with a VIP as sender: forwarded as a probe
	DropHairpin                    // for a station on the port that the frame came in by
	DropTags                       // more than one 802.1Q tag: what is inside could be a VIP's
	DropPacketOut                  // packet-out to a port that there cannot be
)

//go:generate sh build.sh

//go:embed build/sluice.json
var deviceConfig []byte

//go:embed build/sluice.p4info.txt
var p4InfoText []byte

// DeviceConfig returns the compiled program in bmv2's JSON format. The caller must not change it.
func DeviceConfig() []byte { return deviceConfig }

var parsed = sync.OnceValue(func() *configv1.P4Info {
	info := new(configv1.P4Info)
	if err := prototext.Unmarshal(p4InfoText, info); err != nil {
		panic(fmt.Sprintf("p4: embedded P4Info: %v", err))
	}
	return info
})

// P4Info returns a copy of the program's P4Info.
func P4Info() *configv1.P4Info { return proto.Clone(parsed()).(*configv1.P4Info) }

// Cookie identifies this build of the pipeline: the first 8 bytes of the SHA-256 of what is pushed.
// A target whose cookie equals it is running the same program.
func Cookie() uint64 {
	h := sha256.New()
	h.Write(deviceConfig)
	h.Write(p4InfoText)
	return binary.BigEndian.Uint64(h.Sum(nil))
}
