// Package config is the one schema of the operator's intent: strict YAML in, validated values out.
// Everything that can be wrong with a file is found here, all of it at once and each with its place;
// past this package nothing is validated again. The controller, healthd and the command line use
// the values; the reference file reference.yaml shows every key.
package config

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/sluicelb/sluice/internal/text"
	"github.com/sluicelb/sluice/p4/packet"
)

// Intent is what the operator wants, as committed.
type Intent struct {
	Switches []Switch
	VIPMAC   packet.MAC // answers for every VIP that names no MAC of its own
	Floor    Floor      // of all pools together
	Stations []Station
	Pools    []Pool
	VIPs     []VIP
}

// Floor says when so many backends fall at once that the checks are suspect, and not the servers: when more than
// Percent of those that are enabled fall Within that time. Then open flows stay where they are.
type Floor struct {
	Percent int // 1..100
	Within  time.Duration
}

// Switch is one target that carries the whole intent.
type Switch struct {
	Name     string
	Address  string // of its P4Runtime server: host:port, or unix:/path
	DeviceID uint64
	Ports    []uint16 // the flood domain: every port with a host or a network behind it
	// Named are further ports of it, by the names that the switch has for them. Resolve adds their numbers to Ports.
	Named []string
	GNMI  GNMI
}

// GNMI is where a switch tells of its ports, and who asks.
type GNMI struct {
	Address                string // that of P4Runtime, unless it is named
	Username, PasswordFile string // empty: none
}

// Station is a host that is no backend and must keep its port in the switch, as backends do: a router, or the host that
// healthd runs on. Frames under its MAC that come in elsewhere are dropped.
type Station struct {
	Name       string
	MAC        packet.MAC
	SwitchPort SwitchPorts
	Addresses  []netip.Addr // ARP may give them to nobody else
}

// SwitchPorts says by which port of each switch a station is reached.
type SwitchPorts struct {
	All uint16            // of every switch, 1..509; 0: as By says
	By  map[string]uint16 // by switch; one that is not named learns where the station is. Nobody changes it
	// Names have the names in place of numbers, of every switch or by switch; Resolve adds what they stand for to By.
	Name  string
	Names map[string]string
}

// name is that of the port on a switch; empty: a number, or nothing, is given.
func (s SwitchPorts) name(on string) string { return cmp.Or(s.Name, s.Names[on]) }

// On is the port on a switch, 0: none is given.
func (s SwitchPorts) On(name string) uint16 {
	if s.All != 0 {
		return s.All
	}
	return s.By[name]
}

// Equal says whether both are written alike.
func (s SwitchPorts) Equal(o SwitchPorts) bool {
	return s.All == o.All && maps.Equal(s.By, o.By) && s.Name == o.Name && maps.Equal(s.Names, o.Names)
}

// String is as in a configuration: "3", or "{leaf1: 3, leaf2: 5}".
func (s SwitchPorts) String() string {
	if s.Name != "" {
		return s.Name
	}
	if len(s.By)+len(s.Names) == 0 {
		return fmt.Sprint(s.All)
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(s.Names)) {
		parts = append(parts, fmt.Sprintf("%s: %s", name, s.Names[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(s.By)) {
		parts = append(parts, fmt.Sprintf("%s: %d", name, s.By[name]))
	}
	return "{" + text.List(parts, 4) + "}"
}

// Protocol is an IP protocol number.
type Protocol uint8

// TCP is the protocol VIPs can have.
const TCP Protocol = 6

// VIP is one service address.
type VIP struct {
	Name     string
	Address  netip.Addr
	Protocol Protocol
	Port     uint16
	Pool     string
	MAC      packet.MAC // what the switch answers ARP with; one per address
	Enabled  bool       // a disabled VIP is silent
	Tags     []string   // other names that load reports may ask by; several VIPs may share one
	Capacity int        // packets per second that all of its backends can take; 0: not known
}

// AllDown says what becomes of new flows when no backend of a pool is up.
type AllDown string

const (
	Drop    AllDown = "drop"    // they are dropped
	Forward AllDown = "forward" // as if those that fell last were up
)

// FailingAs says what becomes of the slots of a backend that answers its checks, but wrongly.
type FailingAs string

const (
	FailingDrain FailingAs = "drain" // new flows go elsewhere, open ones stay, as in a drain
	FailingDown  FailingAs = "down"  // the same as of one that does not answer
)

// Pool is a set of backends that share checks and one slot table.
type Pool struct {
	Name      string
	Slots     int           // a power of two, 64..65536
	DrainIdle time.Duration // a connection that is silent for so long counts as over
	// DrainLimit is how long open connections may stay with a backend that is drained, disabled or removed, at least
	// DrainIdle: they break then. 0: as long as they live.
	DrainLimit time.Duration
	AllDown    AllDown
	// Grace is how long open flows stay with a backend that is called down; its new ones go elsewhere at once.
	// While the pool is below its floor it does not end.
	Grace    time.Duration
	Floor    Floor
	Failing  FailingAs
	Checks   []Check // all must pass
	Backends []Backend
}

// Backend is one real server of a pool. Its name is its identity: a MAC, an address or a switch port
// may change under it, and open flows follow. Give a server that takes another's place a new name.
type Backend struct {
	Name       string
	Address    netip.Addr // its own, which checks use
	MAC        packet.MAC
	SwitchPort SwitchPorts
	Weight     int // share of the pool's slots, relative to the others
	Enabled    bool
}

// CheckType is the way a check asks.
type CheckType string

const (
	CheckTCP   CheckType = "tcp"
	CheckHTTP  CheckType = "http"
	CheckHTTPS CheckType = "https"
	CheckICMP  CheckType = "icmp"
)

// Check is run against every backend of its pool.
type Check struct {
	Type              CheckType
	Port              uint16        // 0 for icmp
	Path              string        // http, https
	Host              string        // http, https: Host header and TLS server name; empty: the backend's address
	ExpectStatus      []uint16      // http, https: sorted; empty: any 2xx
	VerifyCertificate bool          // https
	Interval          time.Duration // from start to start
	FastInterval      time.Duration // the interval while the state is changing
	Timeout           time.Duration // of one attempt
	Jitter            time.Duration // every wait is shortened by a random part of this
	Rise              int           // successes in a row before up
	Fall              int           // failures in a row before down
}
