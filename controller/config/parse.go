package config

import (
	"fmt"
	"net/netip"
	"regexp"

	"github.com/sluicelb/sluice/internal/strict"
	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/packet"
)

// What the pipeline's tables hold.
const (
	maxVIPs     = limits.VIPSize
	maxSlots    = limits.SlotSize
	maxBackends = limits.BackendSize / 2 // so that there is room for those that left it and serve on
	maxPort     = limits.MaxPort
	maxStations = 1024 // so that the pinned tables have room for these, the backends and the VIPs' MACs
)

type rawIntent struct {
	Switches []rawSwitch `yaml:"switches,required"`
	VIPMAC   string      `yaml:"vip_mac,required"`
	rawFloor `yaml:",inline"`
	Stations []rawStation `yaml:"stations"`
	Pools    []rawPool    `yaml:"pools"`
	VIPs     []rawVIP     `yaml:"vips"`
}

// The size of an intent, in bytes and in keys and values, is bounded before it is read: so is the memory that reading
// it takes. One with as many VIPs and backends as there may be, and every key of theirs, has half of the first and
// three quarters of the second.
const (
	MaxBytes  = 8 << 20
	maxValues = 1 << 20
)

// maxSwitches bounds a list that no table bounds.
const maxSwitches = 1024

// Parse reads an intent. The error joins a *strict.Problem for each thing that is wrong, the first
// strict.MaxProblems of them.
func Parse(file string, data []byte) (*Intent, error) {
	if len(data) > MaxBytes {
		return nil, &strict.Problem{File: file, Message: fmt.Sprintf("must have at most %d bytes, has more", MaxBytes)}
	}
	if n := strict.Values(data); n > maxValues {
		return nil, &strict.Problem{File: file,
			Message: fmt.Sprintf("must have at most %d keys and values, has up to %d", maxValues, n)}
	}
	var raw rawIntent
	p := &parser{
		Document:   strict.Decode(file, data, &raw),
		vipsByPool: make(map[string][]int),
		byAddress:  make(map[netip.Addr]place),
		byMAC:      make(map[packet.MAC]place),
	}
	intent := new(Intent)
	intent.VIPMAC = p.stationMAC("vip_mac", raw.VIPMAC)
	intent.Switches = p.switches(raw.Switches)
	p.ports = intent.Switches
	intent.Floor = p.floor("", raw.rawFloor)
	intent.Stations = p.stations(raw.Stations)
	intent.VIPs = p.vips(raw.VIPs, intent.VIPMAC)
	intent.Pools = p.pools(raw.Pools, intent.VIPs)
	p.references(intent)
	if err := p.Err(); err != nil {
		return nil, err
	}
	return intent, nil
}

// parser turns raw values into valid ones. Its methods report what is wrong and return what they
// can, so that one problem does not hide the next.
type parser struct {
	*strict.Document
	ports      []Switch         // the backends' switch ports must be theirs
	vipsByPool map[string][]int // VIPs by the pool they name
	byAddress  map[netip.Addr]place
	byMAC      map[packet.MAC]place
}

// place is where a backend was first seen.
type place struct {
	path    string
	backend Backend
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

const nameRule = `must be 1..63 letters, digits, ".", "_" or "-", the first one a letter or a digit, is %s`

// name checks a name that must be the only one of its kind; seen has the paths of those before it.
func (p *parser) name(path, name string, seen map[string]string) {
	if !p.Usable(path) {
		return
	}
	if !nameForm.MatchString(name) {
		p.Add(path, nameRule, strict.Quote(name))
		return
	}
	unique(p, path, name, seen, "must be unique, %q is the name of %s too", name)
}

// unique reports the problem when key is in seen; the format's last argument is the path there.
func unique[K comparable](p *parser, path string, key K, seen map[K]string, format string, args ...any) {
	if first, ok := seen[key]; ok {
		p.Add(path, format, append(args, fmt.Sprintf("%s (line %d)", first, p.Line(first)))...)
		return
	}
	seen[key] = parent(path)
}

// host reads the address of a VIP or a backend.
func (p *parser) host(path, text string) netip.Addr {
	if !p.Usable(path) {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		p.Add(path, "must be an IPv4 address such as 10.0.0.100, is %s", strict.Quote(text))
	case !addr.Is4():
		p.Add(path, "must be an IPv4 address, is %s: IPv6 is not supported yet", strict.Quote(text))
	case addr.IsUnspecified() || addr.IsLoopback() || addr.IsMulticast() || addr.As4()[0] == 0 || addr.As4()[0] >= 240:
		p.Add(path, "must be the address of a host, is %s", addr)
	default:
		return addr
	}
	return netip.Addr{}
}

// stationMAC reads a MAC that somebody may have.
func (p *parser) stationMAC(path, text string) packet.MAC {
	if !p.Usable(path) {
		return packet.MAC{}
	}
	mac, err := packet.ParseMAC(text)
	switch {
	case err != nil:
		p.Add(path, "must be a MAC address such as 02:53:4c:00:00:01, is %s", strict.Quote(text))
	case mac.IsGroup():
		p.Add(path, "must be the MAC address of one station (an even first byte), is the group address %s", mac)
	case mac.IsZero():
		p.Add(path, "must be a MAC address that is not zero")
	default:
		return mac
	}
	return packet.MAC{}
}

// atMost refuses a list that is too long, and says whether it did.
func (p *parser) atMost(path string, n, most int) bool {
	if n > most && p.Usable(path) {
		p.Add(path, "must have at most %d elements, has %d", most, n)
	}
	return n > most
}

func orTrue(x *bool) bool { return x == nil || *x }
