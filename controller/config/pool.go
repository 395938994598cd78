package config

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sluicelb/sluice/controller/config/checkable"
	"github.com/sluicelb/sluice/internal/strict"
	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/packet"
)

const (
	minSlots, maxPoolSlots, defaultSlots = 64, limits.PoolSlots, 4096
	minWeight, maxWeight, defaultWeight  = 1, 1000, 100

	// Targets count idleness no finer than half a second.
	minDrainIdle, maxDrainIdle, defaultDrainIdle       = 500 * time.Millisecond, 24 * time.Hour, time.Minute
	maxGrace, leastDefaultGrace, defaultGraceIntervals = time.Hour, 5 * time.Second, 3

	defaultFloorPercent = 50

	minFloorWithin, maxFloorWithin, defaultFloorWithin = time.Second, time.Hour, 30 * time.Second

	minDrainLimit, maxDrainLimit = time.Second, 168 * time.Hour

	// DefaultPatience is how long a pool without a drain_limit waits for a switch that lacks what was decided.
	DefaultPatience = time.Hour
)

type rawPool struct {
	Name       string         `yaml:"name,required"`
	Slots      *int           `yaml:"slots"`
	DrainIdle  *time.Duration `yaml:"drain_idle"`
	DrainLimit *time.Duration `yaml:"drain_limit"`
	AllDown    *string        `yaml:"all_down"`
	Grace      *time.Duration `yaml:"grace"`
	rawFloor   `yaml:",inline"`
	Failing    *string      `yaml:"failing"`
	Checks     []rawCheck   `yaml:"checks"`
	Backends   []rawBackend `yaml:"backends,required"`
}

type rawFloor struct {
	Percent *int           `yaml:"floor_percent"`
	Within  *time.Duration `yaml:"floor_within"`
}

type rawBackend struct {
	Name    string `yaml:"name,required"`
	Address string `yaml:"address,required"`
	MAC     string `yaml:"mac,required"`
	Port    *int   `yaml:"port"`
	Weight  *int   `yaml:"weight"`
	Enabled *bool  `yaml:"enabled"`

	SwitchPort strict.Each[string] `yaml:"switch_port,required"`
}

func (p *parser) pools(raw []rawPool, vips []VIP) []Pool {
	names := make(map[string]string)
	all := make([]Pool, len(raw))
	slots, largest, backends, checks, asked := 0, 0, 0, 0, 0
	for i, r := range raw {
		path := fmt.Sprintf("pools[%d]", i)
		p.name(path+".name", r.Name, names)
		pool := Pool{
			Name:      r.Name,
			Slots:     p.slots(path+".slots", r.Slots),
			DrainIdle: p.Duration(path+".drain_idle", r.DrainIdle, defaultDrainIdle, minDrainIdle, maxDrainIdle),
			AllDown:   p.allDown(path+".all_down", r.AllDown),
			Floor:     p.floor(path+".", r.rawFloor),
			Failing:   p.failing(path+".failing", r.Failing),
		}
		pool.DrainLimit = p.drainLimit(path, r.DrainLimit, pool.DrainIdle)
		ports := p.portsOf(r.Name, vips)
		pool.Backends = p.backends(path, r.Backends, ports)
		p.enoughSlots(path, pool)
		pool.Checks = p.checks(path+".checks", r.Checks, ports)
		pool.Grace = p.Duration(path+".grace", r.Grace, defaultGrace(pool.Checks), 0, maxGrace)
		all[i] = pool
		slots += pool.Slots
		largest = max(largest, pool.Slots)
		backends += len(pool.Backends)
		checks += len(pool.Checks)
		asked += len(pool.Checks) * len(pool.Backends)
	}
	if slots+largest > maxSlots {
		p.Add("pools",
			"must have at most %d slots together, counting the largest pool twice (to change its slots takes "+
				"room for both tables), have %d: a switch holds no more", maxSlots, slots+largest)
	}
	if backends > maxBackends {
		p.Add("pools", "must have at most %d backends together, have %d: a switch holds no more", maxBackends, backends)
	}
	if checks > checkable.MaxAllChecks {
		p.Add("pools", "must have at most %d checks together, have %d", checkable.MaxAllChecks, checks)
	}
	if asked > checkable.MaxTargets {
		p.Add("pools", "must have at most %d checks of backends together, each check of a pool times each of its "+
			"backends, have %d: "+
			"healthd takes no more", checkable.MaxTargets, asked)
	}
	return all
}

func (p *parser) slots(path string, x *int) int {
	switch {
	case x == nil:
		return defaultSlots
	case *x < minSlots || *x > maxPoolSlots || bits.OnesCount(uint(*x)) != 1:
		p.Add(path, "must be a power of two, %d..%d, is %d", minSlots, maxPoolSlots, *x)
		return defaultSlots
	}
	return *x
}

// drainLimit reads the longest time of a drain, 0: there is none. It leaves every move the time to end by itself.
func (p *parser) drainLimit(pool string, x *time.Duration, idle time.Duration) time.Duration {
	if x == nil || *x == 0 {
		return 0
	}
	at := pool + ".drain_limit"
	d := p.Duration(at, x, 0, minDrainLimit, maxDrainLimit)
	if d < idle && !p.Bad(at) && !p.Bad(pool+".drain_idle") {
		p.Add(at, "must be at least drain_idle, %s, is %s", strict.Short(idle), strict.Short(d))
	}
	return d
}

func (p *parser) allDown(path string, text *string) AllDown {
	if text == nil {
		return Drop
	}
	if a := AllDown(*text); a == Drop || a == Forward {
		return a
	}
	p.Add(path, "must be %s or %s, is %s", Drop, Forward, strict.Quote(*text))
	return Drop
}

func (p *parser) failing(path string, text *string) FailingAs {
	if text == nil {
		return FailingDrain
	}
	if f := FailingAs(*text); f == FailingDrain || f == FailingDown {
		return f
	}
	p.Add(path, "must be %s or %s, is %s", FailingDrain, FailingDown, strict.Quote(*text))
	return FailingDrain
}

// floor reads the keys of a floor, which stand at prefix.
func (p *parser) floor(prefix string, r rawFloor) Floor {
	return Floor{
		Percent: p.Number(prefix+"floor_percent", r.Percent, defaultFloorPercent, 1, 100),
		Within:  p.Duration(prefix+"floor_within", r.Within, defaultFloorWithin, minFloorWithin, maxFloorWithin),
	}
}

// defaultGrace is the time of a few checks: as long as it takes to notice that a verdict was wrong.
func defaultGrace(checks []Check) time.Duration {
	grace := leastDefaultGrace
	for _, c := range checks {
		grace = max(grace, defaultGraceIntervals*c.Interval)
	}
	return min(grace, maxGrace)
}

// portsOf returns the ports of the VIPs that use the pool, ascending.
func (p *parser) portsOf(pool string, vips []VIP) []uint16 {
	var ports []uint16
	for _, i := range p.vipsByPool[pool] {
		if port := vips[i].Port; port != 0 && !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	slices.Sort(ports)
	return ports
}

func (p *parser) backends(pool string, raw []rawBackend, ports []uint16) []Backend {
	if p.Usable(pool+".backends") && len(raw) == 0 {
		p.Add(pool+".backends", "must name at least one backend")
	}
	names, addresses := make(map[string]string), make(map[netip.Addr]string)
	macs := make(map[packet.MAC]string)
	all := make([]Backend, len(raw))
	for i, r := range raw {
		path := fmt.Sprintf("%s.backends[%d]", pool, i)
		p.name(path+".name", r.Name, names)
		b := Backend{
			Name:       r.Name,
			Address:    p.host(path+".address", r.Address),
			MAC:        p.stationMAC(path+".mac", r.MAC),
			SwitchPort: p.switchPort(path+".switch_port", r.SwitchPort),
			Weight:     p.Number(path+".weight", r.Weight, defaultWeight, minWeight, maxWeight),
			Enabled:    orTrue(r.Enabled),
		}
		p.samePort(path+".port", r.Port, ports)
		if b.Address.IsValid() {
			unique(p, path+".address", b.Address, addresses, "must be unique in its pool, %s is the address of %s too",
				b.Address)
		}
		if !b.MAC.IsZero() {
			unique(p, path+".mac", b.MAC, macs, "must be unique in its pool, %s is the MAC of %s too: to send one "+
				"server "+
				"more, give it a greater weight", b.MAC)
		}
		p.agrees(path, b)
		all[i] = b
	}
	return all
}

// agrees compares a backend with those of other pools that are the same machine.
func (p *parser) agrees(path string, b Backend) {
	if b.Address.IsValid() && !b.MAC.IsZero() && !p.Bad(path+".address") {
		if first, ok := p.byAddress[b.Address]; !ok {
			p.byAddress[b.Address] = place{path, b}
		} else if first.backend.MAC != b.MAC {
			p.Add(path+".mac", "must be %s, the MAC that %s (line %d) gives for %s, is %s",
				first.backend.MAC, first.path, p.Line(first.path), b.Address, b.MAC)
		}
	}
	if !b.MAC.IsZero() && !b.SwitchPort.Equal(SwitchPorts{}) && !p.Bad(path+".mac") {
		if first, ok := p.byMAC[b.MAC]; !ok {
			p.byMAC[b.MAC] = place{path, b}
		} else if !p.samePlace(first.backend.SwitchPort, b.SwitchPort) {
			p.Add(path+".switch_port", "must be %v, the port that %s (line %d) gives for %s, is %v",
				first.backend.SwitchPort, first.path, p.Line(first.path), b.MAC, b.SwitchPort)
		}
	}
}

// samePlace says whether two stations have the same port on every switch.
func (p *parser) samePlace(a, b SwitchPorts) bool {
	return !slices.ContainsFunc(p.ports, func(s Switch) bool {
		return a.On(s.Name) != b.On(s.Name) || a.name(s.Name) != b.name(s.Name)
	})
}

// switchPort reads where a station is: one port of all switches, or one by switch.
func (p *parser) switchPort(path string, raw strict.Each[string]) (ports SwitchPorts) {
	if p.Usable(path) && raw.All == nil && len(raw.By) == 0 {
		p.Add(path, "must be a port, or a set of switches (%s) with a port each, is empty", cut(p.switchNames()))
	}
	if raw.All != nil && p.Usable(path) {
		ports.All, ports.Name = p.port(path, *raw.All)
		for i := range p.ports {
			p.hasPort(i, path, ports.All, ports.Name)
		}
	}
	for _, one := range raw.By {
		at := strict.Join(path, one.Name)
		i := slices.IndexFunc(p.ports, func(s Switch) bool { return s.Name == one.Name })
		if i < 0 {
			p.Add(at, "is not the name of a switch: must be one of %s", cut(p.switchNames()))
			continue
		}
		if p.Bad(at) {
			continue // that was said
		}
		port, name := p.port(at, one.Value)
		p.hasPort(i, at, port, name)
		if port != 0 {
			if ports.By == nil {
				ports.By = make(map[string]uint16)
			}
			ports.By[one.Name] = port
		}
		if name != "" {
			if ports.Names == nil {
				ports.Names = make(map[string]string)
			}
			ports.Names[one.Name] = name
		}
	}
	return ports
}

// hasPort makes sure that a port, where one is given, is one of the switch with that index, and written as it is there.
func (p *parser) hasPort(i int, path string, port uint16, name string) {
	s := p.ports[i]
	if p.Bad(path) || p.Bad(fmt.Sprintf("switches[%d].ports", i)) || len(s.Ports)+len(s.Named) == 0 {
		return // that was said
	}
	var words []string
	for _, n := range s.Ports {
		words = append(words, fmt.Sprint(n))
	}
	all := cut(append(words, s.Named...))
	switch {
	case port != 0 && !slices.Contains(s.Ports, port):
		p.Add(path, "must be one of the ports of switch %s, %s, is %d", s.Name, all, port)
	case name != "" && !slices.Contains(s.Named, name):
		p.Add(path, "must be one of the ports of switch %s, %s, is %s", s.Name, all, strict.Quote(name))
	}
}

func (p *parser) switchNames() (names []string) {
	for _, s := range p.ports {
		names = append(names, s.Name)
	}
	return names
}

// samePort refuses port translation.
func (p *parser) samePort(path string, x *int, ports []uint16) {
	if x == nil || len(ports) == 1 && *x == int(ports[0]) {
		return
	}
	const why = "Direct Server Return leaves the packet as the client sent it, so the port cannot be translated"
	switch len(ports) {
	case 0:
		p.Add(path, "must be left out while no VIP uses the pool, is %d: it is the VIP's port", *x)
	case 1:
		p.Add(path, "must be %d, the port of the VIP, or be left out, is %d: %s", ports[0], *x, why)
	default:
		p.Add(path, "must be left out, is %d: the pool's VIPs have the ports %s, and %s", *x, list(ports), why)
	}
}

// enoughSlots sees to it that everybody's share of the slots is at least one.
func (p *parser) enoughSlots(path string, pool Pool) {
	if len(pool.Backends) > pool.Slots {
		p.Add(path+".slots", "must be at least the number of backends, %d, is %d", len(pool.Backends), pool.Slots)
		return
	}
	sum := 0
	for _, b := range pool.Backends {
		sum += b.Weight
	}
	for i, b := range pool.Backends {
		at := fmt.Sprintf("%s.backends[%d].weight", path, i)
		if b.Weight*pool.Slots < sum && !p.Bad(at) {
			p.Add(at, "must be worth one of the pool's %d slots, and %d of %d in all is "+
				"worth less: raise it, or slots", pool.Slots, b.Weight, sum)
		}
	}
}

// references checks what ties VIPs, pools and backends together.
func (p *parser) references(intent *Intent) {
	pools := make([]string, len(intent.Pools))
	for i, pool := range intent.Pools {
		pools[i] = pool.Name
	}
	for i, v := range intent.VIPs {
		path := fmt.Sprintf("vips[%d]", i)
		if p.Usable(path+".pool") && !slices.Contains(pools, v.Pool) {
			p.Add(path+".pool", "must be the name of a pool (%s), is %s", cut(pools), strict.Quote(v.Pool))
		}
		if at, ok := p.byAddress[v.Address]; ok {
			p.Add(path+".address", "must not be a backend's own address, %s is that of %s (line %d)", v.Address,
				at.path, p.Line(at.path))
		}
	}
	macs := map[packet.MAC]string{intent.VIPMAC: "vip_mac"}
	for i, v := range intent.VIPs {
		if _, ok := macs[v.MAC]; !ok {
			macs[v.MAC] = fmt.Sprintf("vips[%d].mac", i)
		}
	}
	vips := make(map[netip.Addr]string)
	for i, v := range intent.VIPs {
		if _, ok := vips[v.Address]; !ok {
			vips[v.Address] = fmt.Sprintf("vips[%d].address", i)
		}
	}
	p.strangers(intent.Stations, macs, vips)
	for i, pool := range intent.Pools {
		for j, b := range pool.Backends {
			if at, ok := macs[b.MAC]; ok && !b.MAC.IsZero() {
				p.Add(fmt.Sprintf("pools[%d].backends[%d].mac", i, j), "must be the server's own, %s is %s (line %d)",
					b.MAC, at, p.Line(at))
			}
		}
	}
}

// list joins numbers for a message.
func list(ports []uint16) string {
	text := make([]string, len(ports))
	for i, n := range ports {
		text[i] = fmt.Sprint(n)
	}
	return cut(text)
}

// cut joins the first few words.
func cut(words []string) string {
	const most = 12
	if len(words) == 0 {
		return "there is none"
	}
	if len(words) > most {
		return strings.Join(words[:most], ", ") + ", ..."
	}
	return strings.Join(words, ", ")
}

func parent(path string) string { return path[:strings.LastIndexByte(path, '.')] }
