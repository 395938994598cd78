package rows

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/packet"
)

var (
	testAddress = netip.MustParseAddr("10.0.0.100")
	testMAC     = packet.MAC{2, 0, 0, 0, 0, 0x11}
	testSlots   = SlotTable{Pool: 7, Generation: 3}
)

// samples has a row of every kind, and of every action.
var samples = []Row{
	BackendRow{1<<32 - 1, Forward{packet.MAC{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff}, 509}},
	SlotRow{testSlots, 65535, Slot{Backend: 1}},
	SlotRow{testSlots, 0, Slot{Backend: 1, Old: 2, Bank: 3, Epoch: 1<<32 - 1}},
	SlotRow{testSlots, 0, Slot{Old: 1, Bank: 3, Epoch: 5}},
	SlotRow{testSlots, 0, Slot{Backend: 2, Old: 1, Epoch: 5, Back: true}},
	PinRow{1<<64 - 1, Pin{2, time.Minute}},
	VIPRow{VIPKey{testAddress, 6, 80}, ToPool{1, 2, 0xfff, Secret{1<<64 - 1, 5}}},
	VIPAddressRow{testAddress}, ARPGuardRow{testAddress}, ARPResponderRow{testAddress, testMAC},
	PinnedStationRow{testMAC, 509}, PinnedStationRow{testMAC, Nowhere}, PinnedL2Row{testMAC, 1},
	PinnedL2Row{testMAC, Nowhere},
	PinnedL2Row{testMAC, Anywhere}, BackendRow{7, Forward{testMAC, Anywhere}},
	PinnedARPRow{testAddress, testMAC}, FloodRow{Ports([]uint16{1, 63, 64, 509})},
}

var sameAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// Tables, keys, actions and parameters are the pipeline's, all of them.
func TestTablesAreThePipelines(t *testing.T) {
	pipeline, got := make(map[string]string), make(map[string]string)
	actions := make(map[uint32]string)
	for _, a := range p4.P4Info().GetActions() {
		text := a.GetPreamble().GetAlias()
		for _, p := range a.GetParams() {
			text += " " + p.GetName()
		}
		actions[a.GetPreamble().GetId()] = text
	}
	for _, table := range p4.P4Info().GetTables() {
		var keys, does []string
		for _, f := range table.GetMatchFields() {
			keys = append(keys, f.GetName())
		}
		for _, a := range table.GetActionRefs() {
			if a.GetScope().String() != "DEFAULT_ONLY" {
				does = append(does, actions[a.GetId()])
			}
		}
		slices.Sort(does)
		pipeline[table.GetPreamble().GetAlias()] = fmt.Sprintf("%q %q", keys, does)
	}
	for _, table := range append(slices.Clone(Planned), Station, L2) {
		if table == flood.Table {
			continue
		}
		var does []string
		for _, a := range table.Actions {
			text := a.Name
			for _, p := range a.Params {
				text += " " + p
			}
			does = append(does, text)
		}
		slices.Sort(does)
		got[table.Name] = fmt.Sprintf("%q %q", table.Keys, does)
	}
	if diff := cmp.Diff(pipeline, got); diff != "" {
		t.Errorf("tables (-pipeline +rows):\n%s", diff)
	}
}

// Every row is read as it was written, is found where it was put, and is gone when it was dropped.
func TestRows(t *testing.T) {
	seen := make(map[*Kind]bool)
	for _, row := range samples {
		seen[row.Kind()] = true
		if table := row.Kind().Table; table != flood.Table {
			got, ok := table.Row(row.Entry())
			if diff := cmp.Diff(row, got, sameAddr); diff != "" || !ok {
				t.Errorf("%v, read back %v (-want +got):\n%s", row, ok, diff)
			}
		}
		var tables Tables
		if is, ok := row.Held(&tables); ok {
			t.Errorf("%v is held as %v by nobody", row, is)
		}
		tables.Put(row)
		is, ok := row.Held(&tables)
		if diff := cmp.Diff(row, is, sameAddr); diff != "" || !ok {
			t.Errorf("%v is held %v (-want +got):\n%s", row, ok, diff)
		}
		tables.Drop(row)
		if is, ok := row.Held(&tables); ok {
			t.Errorf("%v is still held as %v", row, is)
		}
	}
	for _, k := range Kinds {
		if !seen[k] {
			t.Errorf("no sample of %s", k.Table.Name)
		}
	}
}

// Two rows have one Ref exactly if they are one entry of one table.
func TestRefs(t *testing.T) {
	for _, a := range samples {
		for _, b := range samples {
			same := a.Kind().Table == b.Kind().Table && a.Entry().Key == b.Entry().Key
			if got := a.Ref() == b.Ref(); got != same {
				t.Errorf("%v and %v have one Ref: %v, want %v", a, b, got, same)
			}
		}
	}
}

// What a row needs is written before it, and taken away after it.
func TestNeedsFollowTheGraph(t *testing.T) {
	for _, row := range samples {
		for _, need := range row.Needs() {
			for _, other := range samples {
				part, isPart := other.Ref().(Part)
				if other.Ref() != need && (!isPart || part.Whole() != need) &&
					fmt.Sprintf("%T", other.Ref()) != fmt.Sprintf("%T", need) {
					continue
				}
				if before, after := other.Kind(), row.Kind(); before.stage >= after.stage ||
					before.Table.last >= after.Table.last {
					t.Errorf("%v needs %v, which is written at stage %d, not before %d", row, other, before.stage,
						after.stage)
				}
			}
		}
	}
}

func TestValues(t *testing.T) {
	for _, tt := range []struct {
		value Value
		bytes []byte
	}{
		{Value{}, []byte{0}},
		{Value{Lo: 0x100}, []byte{1, 0}},
		{Value{Hi: 1, Lo: 2}, []byte{1, 0, 0, 0, 0, 0, 0, 0, 2}},
		{mac(testMAC), []byte{2, 0, 0, 0, 0, 0x11}},
		{address(testAddress), []byte{10, 0, 0, 100}},
	} {
		if diff := cmp.Diff(tt.bytes, tt.value.AppendBytes(nil)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.value, diff)
		}
		for _, b := range [][]byte{tt.bytes, append(make([]byte, 20), tt.bytes...)} {
			if got, ok := ParseValue(b); !ok || got != tt.value {
				t.Errorf("% x is %v %v, want %v", b, got, ok, tt.value)
			}
		}
	}
	for _, b := range [][]byte{nil, {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}} {
		if got, ok := ParseValue(b); ok {
			t.Errorf("% x is %v, want nothing", b, got)
		}
	}
}
