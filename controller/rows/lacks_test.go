package rows

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/p4/packet"
)

// Two VIPs on one address, and slots of which the second one moves from backend 2 to backend 1.
func servedTables() Tables {
	a := netip.MustParseAddr("10.0.0.100")
	to := ToPool{Pool: 1, Generation: 3, SlotMask: 3}
	return Tables{
		Backend: map[BackendID]Forward{1: {MAC: packet.MAC{2, 1}, Port: 1}, 2: {MAC: packet.MAC{2, 2}, Port: 2}},
		Slots: map[SlotTable][]Slot{{Pool: 1, Generation: 3}: {
			{Backend: 1}, {Backend: 1, Old: 2, Epoch: 7}, {Backend: 1}, {Backend: 2},
		}},
		VIP: map[VIPKey]ToPool{{Address: a, Protocol: 6, Port: 80}: to,
			{Address: a, Protocol: 6, Port: 443}: to},
		VIPAddress:   map[netip.Addr]struct{}{a: {}},
		ARPGuard:     map[netip.Addr]struct{}{a: {}},
		ARPResponder: map[netip.Addr]packet.MAC{a: {2, 9}},
		Flood:        []uint16{1, 2},
	}
}

// Every row that a VIP needs is missed.
func TestLacks(t *testing.T) {
	a := netip.MustParseAddr("10.0.0.100")
	www, tls := VIPKey{Address: a, Protocol: 6, Port: 80}, VIPKey{Address: a, Protocol: 6, Port: 443}
	slots := SlotTable{Pool: 1, Generation: 3}
	type to = map[BackendID]int
	both := func(l Lack) map[VIPKey]Lack { return map[VIPKey]Lack{www: l, tls: l} }
	set := func(h *Tables, i int, s Slot) {
		list := slices.Clone(h.Slots[slots])
		list[i] = s
		h.Slots[slots] = list
	}
	for _, tt := range []struct {
		name string
		lose func(have *Tables)
		want map[VIPKey]Lack
	}{
		{"nothing", func(*Tables) {}, both(Lack{})},
		{"vip", func(h *Tables) { delete(h.VIP, tls) }, map[VIPKey]Lack{www: {}, tls: {Row: "vip", Dead: true}}},
		{"vip, to slots of before", func(h *Tables) {
			h.VIP[tls] = ToPool{Pool: 1, Generation: 2, SlotMask: 1}
			h.Slots[SlotTable{Pool: 1, Generation: 2}] = []Slot{{Backend: 1}, {Backend: 1}}
		}, map[VIPKey]Lack{www: {}, tls: {Row: "vip"}}},
		{"vip, to slots that are no more", func(h *Tables) { h.VIP[tls] = ToPool{Pool: 1, Generation: 2, SlotMask: 1} },
			map[VIPKey]Lack{www: {}, tls: {Row: "vip", Dead: true}}},
		{"arp_responder", func(h *Tables) { delete(h.ARPResponder, a) }, both(Lack{Row: "arp_responder", Dead: true})},
		{"arp_responder of another MAC", func(h *Tables) { h.ARPResponder[a] = packet.MAC{2, 8} },
			both(Lack{Row: "arp_responder"})},
		{"vip_address", func(h *Tables) { delete(h.VIPAddress, a) }, both(Lack{Row: "vip_address"})},
		{"arp_guard", func(h *Tables) { delete(h.ARPGuard, a) }, both(Lack{Row: "arp_guard"})},
		{"the flood group", func(h *Tables) { h.Flood = nil }, both(Lack{Row: "multicast_group"})},
		{"a port of it", func(h *Tables) { h.Flood = []uint16{1} }, both(Lack{Row: "multicast_group"})},
		{"all slots", func(h *Tables) { delete(h.Slots, slots) }, both(Lack{Slots: &Astray{Slots: 4, New: to{0: 4}}})},
		{"a slot", func(h *Tables) { set(h, 2, Slot{}) }, both(Lack{Slots: &Astray{Slots: 4, New: to{0: 1}}})},
		{"a slot of another backend", func(h *Tables) { set(h, 2, Slot{Backend: 2}) },
			both(Lack{Slots: &Astray{Slots: 4, New: to{2: 1}}})},
		{"the old path", func(h *Tables) { set(h, 1, Slot{Backend: 1, Epoch: 7}) },
			both(Lack{Slots: &Astray{Slots: 4, New: to{}, Old: 1}})},
		{"the epoch of a move", func(h *Tables) { set(h, 1, Slot{Backend: 1, Old: 2}) },
			both(Lack{Slots: &Astray{Slots: 4, New: to{}, Old: 1}})},
		{"backend", func(h *Tables) { delete(h.Backend, 2) },
			both(Lack{Slots: &Astray{Slots: 4, New: to{0: 1}, Old: 1}})},
		{"a backend's MAC", func(h *Tables) { h.Backend[1] = Forward{MAC: packet.MAC{2, 3}, Port: 1} },
			both(Lack{Slots: &Astray{Slots: 4, New: to{0: 3}}})},
	} {
		have := servedTables()
		tt.lose(&have)
		if diff := cmp.Diff(tt.want, Lacks(have, servedTables())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	// Slots that are meant to have nobody are no lack.
	want := servedTables()
	want.Slots[slots] = []Slot{{}, {Backend: 1, Old: 2, Epoch: 7}, {Backend: 1}, {Backend: 2}}
	if diff := cmp.Diff(both(Lack{}), Lacks(servedTables(), want)); diff != "" {
		t.Errorf("a slot that nobody may have (-want +got):\n%s", diff)
	}
	// But for the open flows of one that is down.
	want.Slots[slots] = []Slot{{Old: 1, Epoch: 8}, {Backend: 1, Old: 2, Epoch: 7}, {Backend: 1}, {Backend: 2}}
	if diff := cmp.Diff(both(Lack{Slots: &Astray{Slots: 4, New: to{}, Old: 1}}),
		Lacks(servedTables(), want)); diff != "" {
		t.Errorf("a slot in its grace (-want +got):\n%s", diff)
	}
}
