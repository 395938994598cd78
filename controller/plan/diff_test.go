package plan

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/packet"
)

func text(batches []rows.Batch) string {
	var b strings.Builder
	for i, batch := range batches {
		if i > 0 {
			b.WriteString("--\n")
		}
		for _, c := range batch {
			fmt.Fprintln(&b, c)
		}
	}
	return b.String()
}

// The life of a pool of two slots, as the switch sees it.
func TestDiffOverALife(t *testing.T) {
	w := newWorld(t, pool(2, equal(2)...))
	have := rows.Tables{}
	stages := []struct {
		name string
		do   func()
		want string
	}{
		{"first", func() { w.step() }, `
insert backend 1: forward_to_backend(02:00:00:00:00:01, port 2)
insert backend 2: forward_to_backend(02:00:00:00:00:02, port 3)
insert pinned_station 02:00:00:00:00:01: pinned(port 2)
insert pinned_station 02:00:00:00:00:02: pinned(port 3)
insert pinned_station 02:53:4c:00:00:01: pinned(no port)
insert pinned_l2 02:00:00:00:00:01: at(port 2)
insert pinned_l2 02:00:00:00:00:02: at(port 3)
insert pinned_l2 02:53:4c:00:00:01: discard()
insert pinned_arp 10.0.0.1: owned(02:00:00:00:00:01)
insert pinned_arp 10.0.0.2: owned(02:00:00:00:00:02)
insert multicast_group: ports [1 2 3]
--
insert slot pool 1 generation 0 slot 0: to_backend(1)
insert slot pool 1 generation 0 slot 1: to_backend(2)
--
insert vip_address 192.0.2.1: refuse()
insert arp_guard 192.0.2.1: claim()
--
insert vip 192.0.2.1 tcp port 80: to_pool(1, generation 0, mask 0x1)
--
insert arp_responder 192.0.2.1: answer(02:53:4c:00:00:01)
`},
		{"nothing new", func() { w.step() }, "\n"},
		{"drain", func() { w.admin("b1", Drain).step() }, `
modify slot pool 1 generation 0 slot 0: move(2, old 1, bank 0, epoch 1)
`},
		{"a flow is pinned", func() { w.pin(7, 1) }, `
insert pin flow 0000000000000007: pin_to(1), idle after 2m0s
`},
		{"another drain time", func() { w.in.Intent.Pools[0].DrainIdle = time.Second }, `
modify pin flow 0000000000000007: pin_to(1), idle after 2s
`},
		{"another flow is pinned, and the slot settles", func() { w.pin(8, 1); w.settle() }, `
insert pin flow 0000000000000008: pin_to(1), idle after 2s
--
modify slot pool 1 generation 0 slot 0: to_backend(2)
`},
		{"undrain and another MAC", func() {
			w.in.Intent.Pools[0].Backends[1].MAC = packet.MAC{2, 9}
			w.admin("b1", Active).step()
		}, `
modify backend 2: forward_to_backend(02:09:00:00:00:00, port 3)
insert pinned_station 02:09:00:00:00:00: pinned(port 3)
insert pinned_l2 02:09:00:00:00:00: at(port 3)
modify pinned_arp 10.0.0.2: owned(02:09:00:00:00:00)
--
modify slot pool 1 generation 0 slot 0: move(1, old 2, bank 0, epoch 2)
--
delete pinned_station 02:00:00:00:00:02: pinned(port 3)
delete pinned_l2 02:00:00:00:00:02: at(port 3)
`},
		{"more slots", func() {
			w.settle()
			w.in.Intent.Pools[0].Slots = 4
			w.step()
		}, `
insert slot pool 1 generation 1 slot 0: to_backend(1)
insert slot pool 1 generation 1 slot 1: to_backend(2)
insert slot pool 1 generation 1 slot 2: to_backend(1)
insert slot pool 1 generation 1 slot 3: to_backend(2)
--
modify vip 192.0.2.1 tcp port 80: to_pool(1, generation 1, mask 0x3)
--
delete slot pool 1 generation 0 slot 0: move(1, old 2, bank 0, epoch 2)
delete slot pool 1 generation 0 slot 1: to_backend(2)
`},
		{"all down", func() { w.health("b1", Down).health("b2", Down).step() }, `
modify slot pool 1 generation 1 slot 0: move(0, old 1, bank 0, epoch 3)
modify slot pool 1 generation 1 slot 1: move(0, old 2, bank 0, epoch 3)
modify slot pool 1 generation 1 slot 2: move(0, old 1, bank 0, epoch 3)
modify slot pool 1 generation 1 slot 3: move(0, old 2, bank 0, epoch 3)
`},
		{"one up, with a grace now, VIP disabled", func() {
			w.in.Intent.VIPs[0].Enabled = false
			w.in.Intent.Pools[0].Grace = time.Second
			w.health("b1", Up).step()
		}, `
modify slot pool 1 generation 1 slot 0: to_backend(1)
modify slot pool 1 generation 1 slot 2: to_backend(1)
--
modify slot pool 1 generation 1 slot 1: move(1, old 2, bank 0, epoch 3)
modify slot pool 1 generation 1 slot 3: move(1, old 2, bank 0, epoch 3)
--
delete arp_responder 192.0.2.1: answer(02:53:4c:00:00:01)
--
delete vip 192.0.2.1 tcp port 80: to_pool(1, generation 1, mask 0x3)
`},
		{"the other lives too", func() { w.health("b2", Failing).step() }, "\n"},
		{"nothing left but a MAC for VIPs",
			func() { w.in.Intent = &config.Intent{VIPMAC: w.in.Intent.VIPMAC}; w.step() }, `
delete vip_address 192.0.2.1: refuse()
delete arp_guard 192.0.2.1: claim()
--
delete slot pool 1 generation 1 slot 0: to_backend(1)
delete slot pool 1 generation 1 slot 1: move(1, old 2, bank 0, epoch 3)
delete slot pool 1 generation 1 slot 2: to_backend(1)
delete slot pool 1 generation 1 slot 3: move(1, old 2, bank 0, epoch 3)
--
delete pin flow 0000000000000007: pin_to(1), idle after 2s
delete pin flow 0000000000000008: pin_to(1), idle after 2s
--
delete backend 1: forward_to_backend(02:00:00:00:00:01, port 2)
delete backend 2: forward_to_backend(02:09:00:00:00:00, port 3)
delete pinned_station 02:00:00:00:00:01: pinned(port 2)
delete pinned_station 02:09:00:00:00:00: pinned(port 3)
delete pinned_l2 02:00:00:00:00:01: at(port 2)
delete pinned_l2 02:09:00:00:00:00: at(port 3)
delete pinned_arp 10.0.0.1: owned(02:00:00:00:00:01)
delete pinned_arp 10.0.0.2: owned(02:09:00:00:00:00)
delete multicast_group: ports [1 2 3]
`},
	}
	for _, s := range stages {
		s.do()
		want := build(w.in.Intent, w.st)
		if len(w.in.Intent.Pools) > 0 {
			want.Flood = []uint16{1, 2, 3}
		}
		if diff := cmp.Diff(strings.TrimPrefix(s.want, "\n"), text(rows.Diff(have, want))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.name, diff)
		}
		have = want
	}
}

// New flows of a dead backend wait for nothing; but a bank that slots which settle have yet is theirs until then.
func TestDiffOfADeath(t *testing.T) {
	key := rows.SlotTable{Pool: 1}
	tables := func(slots ...rows.Slot) rows.Tables {
		return rows.Tables{Slots: map[rows.SlotTable][]rows.Slot{key: slots}}
	}
	have := tables(rows.Slot{Backend: 1}, rows.Slot{Backend: 2}, rows.Slot{Backend: 2, Old: 3, Epoch: 7, Bank: 1},
		rows.Slot{Backend: 1})
	want := tables(rows.Slot{Backend: 2, Old: 1, Epoch: 8, Bank: 2}, rows.Slot{Backend: 3, Old: 2, Epoch: 9, Bank: 3},
		rows.Slot{Backend: 2}, rows.Slot{Backend: 3, Old: 1, Epoch: 10, Bank: 1})
	want.Dead = map[rows.BackendID]bool{1: true}
	want.Pins = map[rows.Flow]rows.Pin{5: {Backend: 3}}
	const changes = `modify slot pool 1 generation 0 slot 0: move(2, old 1, bank 2, epoch 8)
--
insert pin flow 0000000000000005: pin_to(3), idle after 0s
--
modify slot pool 1 generation 0 slot 2: to_backend(2)
--
modify slot pool 1 generation 0 slot 3: move(3, old 1, bank 1, epoch 10)
--
modify slot pool 1 generation 0 slot 1: move(3, old 2, bank 3, epoch 9)
`
	if diff := cmp.Diff(changes, text(rows.Diff(have, want))); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// What is read back from a switch may be anything.
func TestDiffFromForeignTables(t *testing.T) {
	w := newWorld(t, pool(2, equal(2)...))
	w.step()
	w.admin("b1", Drain).step()
	want := build(w.in.Intent, w.st)
	key := rows.SlotTable{Pool: 1, Generation: 0}
	have := build(w.in.Intent, w.st)
	have.Slots = map[rows.SlotTable][]rows.Slot{
		key:                      {{}, {Backend: 2, Old: 7, Epoch: 9, Bank: 3}, {}, {Backend: 7}},
		{Pool: 9, Generation: 4}: {{Backend: 3}},
	}
	have.Pins = map[rows.Flow]rows.Pin{5: {Backend: 77}}
	have.Flood = []uint16{4}
	have.Backend[77] = rows.Forward{}
	got := text(rows.Diff(have, want))
	const wanted = `modify slot pool 1 generation 0 slot 1: to_backend(2)
--
insert slot pool 1 generation 0 slot 0: move(2, old 1, bank 0, epoch 1)
--
delete slot pool 1 generation 0 slot 3: to_backend(7)
delete slot pool 9 generation 4 slot 0: to_backend(3)
--
delete pin flow 0000000000000005: pin_to(77), idle after 0s
--
delete backend 77: forward_to_backend(00:00:00:00:00:00, port 0)
delete multicast_group: ports [4]
`
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// clean drops what makes no difference: empty slots at the end.
func clean(t rows.Tables) rows.Tables {
	slots := make(map[rows.SlotTable][]rows.Slot)
	for key, s := range t.Slots {
		list := slices.Clone(s)
		for len(list) > 0 && list[len(list)-1] == (rows.Slot{}) {
			list = list[:len(list)-1]
		}
		if len(list) > 0 {
			slots[key] = list
		}
	}
	t.Slots = slots
	return t
}

// dangling says what points at a row that is missing, though it is there before or after the change.
func dangling(now, have, want rows.Tables) string {
	for key, t := range now.Slots {
		for i, row := range t {
			for _, id := range [...]rows.BackendID{row.Backend, row.Old} {
				if _, ok := now.Backend[id]; !ok && id != 0 {
					return fmt.Sprintf("%v slot %d names backend %d", key, i, id)
				}
			}
			if w := want.Slots[key]; i < len(w) && row == w[i] && i < len(have.Slots[key]) &&
				have.Slots[key][i].Old != 0 &&
				row.Epoch == 0 && !maps.Equal(now.Pins, want.Pins) && len(now.Pins) < len(want.Pins) {
				return fmt.Sprintf("%v slot %d settles before flows are pinned", key, i)
			}
		}
	}
	for flow, pin := range now.Pins {
		if _, ok := now.Backend[pin.Backend]; !ok {
			return fmt.Sprintf("flow %s is pinned to backend %d", flow, pin.Backend)
		}
	}
	for key, to := range now.VIP {
		table := to.Table()
		for i := range int(to.SlotMask) + 1 {
			at := func(t rows.Tables) rows.Slot {
				if slots := t.Slots[table]; i < len(slots) {
					return slots[i]
				}
				return rows.Slot{}
			}
			inUse := want.VIP[key] == to // else the table is on its way out
			isRow := func(t rows.Tables) bool { return at(t).Backend != 0 || at(t).Old != 0 }
			if !isRow(now) && (inUse && isRow(want) && have.VIP[key] != to || isRow(have) && (isRow(want) || !inUse)) {
				return fmt.Sprintf("%v leads to %v slot %d", key, table, i)
			}
		}
	}
	for a, m := range now.ARPResponder {
		if _, ok := now.PinnedL2[m]; !ok {
			return fmt.Sprintf("%v is answered for with %v, and what comes for it otherwise is flooded", a, m)
		}
		_, guarded := now.ARPGuard[a]
		_, owned := now.VIPAddress[a]
		if !guarded || !owned {
			return fmt.Sprintf("%v is answered for and not guarded", a)
		}
	}
	return ""
}

// Broken off anywhere and in any order within a batch, the changes leave nothing dangling.
func TestDiffPrefixes(t *testing.T) {
	changes := 0
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 2))
		p := pool(1<<r.IntN(5), 100, 100, 100, 100)
		p.Grace = time.Duration(r.IntN(2)) * time.Second
		w := newWorld(t, p)
		w.step()
		have := rows.Tables{}
		for range 12 {
			cfg := &w.in.Intent.Pools[0]
			for range 1 + r.IntN(3) {
				key := BackendKey{"web", fmt.Sprintf("b%d", 1+r.IntN(4))}
				switch r.IntN(9) {
				case 0, 1:
					w.in.Health[key] = Health(r.IntN(4))
				case 2, 3:
					w.in.Admin[key] = Admin(r.IntN(2))
				case 4:
					cfg.Backends = slices.Clone(p.Backends[:1+r.IntN(4)])
				case 5:
					cfg.Slots = 1 << r.IntN(5)
				case 6:
					if members := w.st.Pools["web"].Members; len(members) > 0 {
						w.pin(rows.Flow(r.IntN(8)), members[r.IntN(len(members))].ID)
					}
					w.settle()
				case 7:
					w.in.Intent.VIPs[0].Enabled = r.IntN(2) == 0
				case 8:
					w.in.Intent.VIPs[0].Address = netip.AddrFrom4([4]byte{192, 0, 2, byte(r.IntN(2))})
				}
				w.step()
			}
			want := build(w.in.Intent, w.st)
			now, stop := have, r.IntN(8) == 0
			for _, batch := range rows.Diff(have, want) {
				for _, i := range r.Perm(len(batch)) {
					now = apply(now, batch[i])
					changes++
					if broken := dangling(now, have, want); broken != "" {
						t.Fatalf("seed %d: after %s: %s\nof\n%s", seed, batch[i], broken, text(rows.Diff(have, want)))
					}
				}
				if stop && r.IntN(3) == 0 {
					break // the connection is lost; the next difference starts here
				}
			}
			if left := rows.Diff(now, want); !stop && len(left) > 0 {
				t.Fatalf("seed %d: after all changes there are still\n%s", seed, text(left))
			}
			if diff := cmp.Diff(clean(want), clean(now), cmpopts.EquateEmpty()); !stop && diff != "" {
				t.Fatalf("seed %d: tables (-want +got):\n%s", seed, diff)
			}
			have = now
		}
	}
	t.Logf("%d changes", changes)
}

func TestBuildOwnsAddressesWhateverTheVIPsState(t *testing.T) {
	w := newWorld(t, pool(64, 100))
	address := w.in.Intent.VIPs[0].Address
	off := w.in.Intent.VIPs[0]
	off.Port, off.Enabled = 443, false
	w.in.Intent.VIPs = append(w.in.Intent.VIPs, off)
	w.step()
	tables := build(w.in.Intent, w.st)
	if _, ok := tables.ARPResponder[address]; !ok || len(tables.VIP) != 1 {
		t.Errorf("one VIP of two on %s is enabled: answered %v, %d vip rows", address, ok, len(tables.VIP))
	}
	w.in.Intent.VIPs[0].Enabled = false
	tables = build(w.in.Intent, w.st)
	got := []int{len(tables.ARPResponder), len(tables.VIP), len(tables.ARPGuard), len(tables.VIPAddress)}
	if diff := cmp.Diff([]int{0, 0, 1, 1}, got); diff != "" {
		t.Errorf("rows of arp_responder, vip, arp_guard, vip_address (-want +got):\n%s", diff)
	}
}

// Every station that the intent places is pinned once, whoever else has it.
func TestBuildPinsStations(t *testing.T) {
	w := newWorld(t, pool(64, 100, 100), pool(64, 100))
	w.in.Intent.Pools[1].Name = "api"
	shared := w.in.Intent.Pools[0].Backends[0] // of both pools
	w.in.Intent.Pools[1].Backends[0].MAC, w.in.Intent.Pools[1].Backends[0].SwitchPort = shared.MAC, shared.SwitchPort
	w.in.Intent.Stations = []config.Station{{Name: "router", MAC: packet.MAC{2, 1},
		SwitchPort: config.SwitchPorts{All: 9},
		Addresses:  []netip.Addr{netip.MustParseAddr("10.0.0.254"), netip.MustParseAddr("10.0.0.253")}}}
	own := w.in.Intent.VIPs[0]
	own.MAC, own.Address, own.Enabled = packet.MAC{2, 0x53, 0x4c, 0, 0, 2}, netip.MustParseAddr("192.0.2.9"), false
	w.in.Intent.VIPs = append(w.in.Intent.VIPs, own)
	w.step()
	b2 := w.in.Intent.Pools[0].Backends[1]
	want := map[packet.MAC]uint16{
		shared.MAC: shared.SwitchPort.All, b2.MAC: b2.SwitchPort.All, {2, 1}: 9, w.in.Intent.VIPMAC: rows.Nowhere,
		own.MAC: rows.Nowhere,
	}
	owners := make(map[netip.Addr]packet.MAC)
	for _, pool := range w.in.Intent.Pools {
		for _, b := range pool.Backends {
			owners[b.Address] = b.MAC
		}
	}
	owners[netip.MustParseAddr("10.0.0.254")], owners[netip.MustParseAddr("10.0.0.253")] = packet.MAC{2, 1},
		packet.MAC{2, 1}
	check := func(when string) {
		t.Helper()
		tables := build(w.in.Intent, w.st)
		if diff := cmp.Diff(owners, tables.PinnedARP, cmp.Comparer(func(a, b netip.Addr) bool {
			return a == b
		})); diff != "" {
			t.Errorf("%s: pinned_arp (-want +got):\n%s", when, diff)
		}
		if diff := cmp.Diff(want, tables.PinnedStation); diff != "" {
			t.Errorf("%s: pinned_station (-want +got):\n%s", when, diff)
		}
		if diff := cmp.Diff(want, tables.PinnedL2); diff != "" {
			t.Errorf("%s: pinned_l2 (-want +got):\n%s", when, diff)
		}
	}
	check("first")

	// b2 leaves the intent and keeps its old flows, and its port until they are over.
	w.in.Intent.Pools[0].Backends = w.in.Intent.Pools[0].Backends[:1]
	w.step()
	check("a backend that leaves") // and is checked while it has flows
	// Its place is taken by what the intent says of the same MAC.
	w.in.Intent.Stations = append(w.in.Intent.Stations,
		config.Station{Name: "other", MAC: b2.MAC, SwitchPort: config.SwitchPorts{All: 5}})
	want[b2.MAC] = 5
	check("another station of the same MAC")
	// And its address by who has it now, or by a VIP.
	w.in.Intent.Stations[1] = config.Station{Name: "other", MAC: packet.MAC{2, 5},
		SwitchPort: config.SwitchPorts{All: 5}, Addresses: []netip.Addr{b2.Address}}
	want[b2.MAC], want[packet.MAC{2, 5}] = b2.SwitchPort.All, 5
	owners[b2.Address] = packet.MAC{2, 5}
	check("another station of the same address")
	delete(want, packet.MAC{2, 5})
	w.in.Intent.Stations = w.in.Intent.Stations[:1]
	w.in.Intent.VIPs[1].Address = b2.Address
	delete(owners, b2.Address)
	check("a VIP of the same address")
	w.in.Intent.VIPs[1].Address = own.Address
	w.settle()
	w.step()
	delete(want, b2.MAC)
	check("old flows are over")
}

// A station has the port that is given for the switch, and where none is given it is learned; what all switches hold
// alike is untouched by that.
func TestPlace(t *testing.T) {
	w := newWorld(t, pool(64, 100, 100))
	b1 := &w.in.Intent.Pools[0].Backends[0]
	router := config.Station{Name: "router", MAC: packet.MAC{2, 1}, SwitchPort: config.SwitchPorts{All: 9}}
	w.in.Intent.Stations = []config.Station{router}
	w.step()
	if !SamePlaces(w.in.Intent, w.st) {
		t.Error("one port for all switches is said to differ")
	}
	b1.SwitchPort = config.SwitchPorts{By: map[string]uint16{"leaf1": 3, "leaf2": 5}}
	w.in.Intent.Pools[0].Backends = append(w.in.Intent.Pools[0].Backends, backend(3, 100))
	w.step()
	// Who leaves the intent keeps its ports by switch, too.
	w.in.Intent.Pools[0].Backends = slices.Clone(w.in.Intent.Pools[0].Backends[1:])
	w.step()
	b2 := &w.in.Intent.Pools[0].Backends[0]
	b2.SwitchPort = config.SwitchPorts{By: map[string]uint16{"leaf2": 4}}
	w.step()
	if SamePlaces(w.in.Intent, w.st) {
		t.Error("ports by switch are said to be the same")
	}
	mac1, vips := backend(1, 100).MAC, w.in.Intent.VIPMAC
	third := backend(3, 100)
	forward := func(first, second uint16) map[rows.BackendID]rows.Forward {
		return map[rows.BackendID]rows.Forward{1: {MAC: mac1, Port: first}, 2: {MAC: b2.MAC, Port: second},
			3: {MAC: third.MAC, Port: third.SwitchPort.All}}
	}
	pins := func(first, second uint16) map[packet.MAC]uint16 {
		all := map[packet.MAC]uint16{mac1: first, b2.MAC: second, third.MAC: third.SwitchPort.All, {2, 1}: 9,
			vips: rows.Nowhere}
		maps.DeleteFunc(all, func(_ packet.MAC, port uint16) bool { return port == 0xffff })
		return all
	}
	const none = 0xffff
	for _, tt := range []struct {
		on   string
		want Places
	}{
		{"leaf1", Places{forward(3, rows.Anywhere), pins(3, none), pins(3, rows.Anywhere)}},
		{"leaf2", Places{forward(5, 4), pins(5, 4), pins(5, 4)}},
		{"leaf3", Places{forward(rows.Anywhere, rows.Anywhere), pins(none, none), pins(rows.Anywhere, rows.Anywhere)}},
	} {
		if diff := cmp.Diff(tt.want, Place(w.in.Intent, w.st, tt.on)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.on, diff)
		}
	}
}

func TestRetire(t *testing.T) {
	w := newWorld(t, pool(64, 100))
	w.step()
	tables := Place(w.in.Intent, w.st, "leaf1")
	old, backend := packet.MAC{2, 0x53, 0x4c, 0, 0, 9}, w.in.Intent.Pools[0].Backends[0]
	tables.Retire(old)
	tables.Retire(backend.MAC)
	if port, ok := tables.L2[old]; !ok || port != rows.Nowhere {
		t.Errorf("what is sent to the MAC of a VIP that is gone goes to port %d, %v", port, ok)
	}
	if _, ok := tables.PinnedStation[old]; ok {
		t.Error("nobody may have the MAC of a VIP that is gone")
	}
	if port := tables.L2[backend.MAC]; port != backend.SwitchPort.All {
		t.Errorf("a backend that has the MAC is at port %d, want %d", port, backend.SwitchPort.All)
	}
}
