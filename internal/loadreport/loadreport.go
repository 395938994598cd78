// Package loadreport is the protocol by which somebody who picks a data center asks a controller how
// loaded its VIPs are: one datagram each way, authenticated, by VIP or by tag. docs/load-report.md has
// the layout and the reasons. The package turns items into bytes and back, asks (Client) and answers
// (Server); what the answer is, is the caller's business: the controller hands Server a function, and
// gslb's keepalives ask.
package loadreport

import (
	"errors"
	"fmt"
	"net/netip"
)

// DefaultPort is the UDP port that the documents and examples use. No controller listens unless told to.
const DefaultPort = 9681

const (
	// MaxItems is how many items a datagram can carry.
	MaxItems = 64
	// MaxSize is the size of the greatest datagram, in bytes: the least MTU of IPv6, without its headers.
	MaxSize = 1280 - 40 - 8
	// MaxTag is the length of the longest tag, in bytes.
	MaxTag = 63
)

// Item is what is asked for: a tag, or, when Tag is empty, VIPs by their address.
type Item struct {
	Tag      string
	Address  netip.Addr
	Protocol uint8  // IP protocol number; 0: any
	Port     uint16 // 0: any
}

// Tag asks for the VIPs that carry the tag.
func Tag(name string) Item { return Item{Tag: name} }

// VIP asks for the VIPs at an address; port 0 is every port, protocol 0 every protocol.
func VIP(at netip.AddrPort, protocol uint8) Item {
	return Item{Address: at.Addr(), Protocol: protocol, Port: at.Port()}
}

// String prints "tag web" or "vip 10.0.0.100 6 80".
func (i Item) String() string {
	if i.Tag != "" {
		return "tag " + i.Tag
	}
	return fmt.Sprintf("vip %s %d %d", i.Address, i.Protocol, i.Port)
}

// Check says what is wrong with an item that cannot be sent.
func (i Item) Check() error {
	switch {
	case len(i.Tag) > MaxTag:
		return fmt.Errorf("a tag must be at most %d bytes, is %d", MaxTag, len(i.Tag))
	case i.Tag != "" && i != Tag(i.Tag):
		return errors.New("an item must be a tag or an address, is both")
	case i.Tag == "" && !i.Address.IsValid():
		return errors.New("an item must be a tag or an address, is neither")
	case i.Address.Zone() != "":
		return fmt.Errorf("an address must have no zone, is %s", i.Address)
	}
	return nil
}

// Offline is the load of what must get no traffic.
const Offline = 255

// Report is the answer to one item.
type Report struct {
	// Known is false when the controller has no such VIP or tag; then Load is Offline.
	Known bool
	Load  uint8 // 0 idle .. 254 full; Offline
	// Unseen is true when the controller sees nothing of what was asked for, as while it has no switch: Load is Offline
	// for those who do not know better, and tells nothing.
	Unseen bool
	// Live and Total count the backends that take new connections, and all of them. Both stop at 65535.
	Live, Total uint16
}

// Online says whether traffic may come.
func (r Report) Online() bool { return r.Known && r.Load != Offline }
