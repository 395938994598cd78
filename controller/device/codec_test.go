package device

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/controller/learn"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/packet"
)

func testCodec(t *testing.T) *codec {
	t.Helper()
	info, err := p4rt.NewInfo(p4.P4Info())
	if err != nil {
		t.Fatal(err)
	}
	c, err := newCodec(info)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var (
	vip1   = netip.MustParseAddr("10.0.0.100")
	slots1 = rows.SlotTable{Pool: 1, Generation: 0}
	mac1   = packet.MAC{2, 0, 0, 0, 0, 0x11}
)

// oneOfEach has rows of each kind, with zeros and highest values.
var oneOfEach = []rows.Row{
	rows.BackendRow{ID: 1, Forward: rows.Forward{MAC: mac1, Port: 3}},
	rows.BackendRow{ID: 1<<32 - 1, Forward: rows.Forward{MAC: packet.MAC{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff},
		Port: 509}},
	rows.SlotRow{SlotTable: slots1, Slot: rows.Slot{Backend: 1}},
	rows.SlotRow{SlotTable: rows.SlotTable{Pool: 256, Generation: 255}, Number: 65535,
		Slot: rows.Slot{Backend: 1 << 31, Old: 1, Bank: 3, Epoch: 1<<32 - 1}},
	rows.SlotRow{SlotTable: slots1, Number: 7, Slot: rows.Slot{Backend: 1, Old: 2, Epoch: 1, Back: true}},
	rows.PinRow{Flow: 1<<64 - 1, Pin: rows.Pin{Backend: 2, Idle: time.Minute}},
	rows.VIPRow{VIPKey: rows.VIPKey{Address: vip1, Protocol: 6, Port: 80},
		ToPool: rows.ToPool{Pool: 1, Generation: 2, SlotMask: 0xfff, Secret: rows.Secret{7, 1<<64 - 1}}},
	rows.VIPAddressRow{Address: vip1},
	rows.ARPGuardRow{Address: netip.MustParseAddr("0.0.0.1")},
	rows.ARPResponderRow{Address: vip1, MAC: mac1},
	rows.PinnedStationRow{MAC: mac1, Port: 509},
	rows.PinnedStationRow{MAC: mac1, Port: rows.Nowhere},
	rows.PinnedL2Row{MAC: mac1, Port: 1},
	rows.PinnedL2Row{MAC: mac1, Port: rows.Nowhere},
	rows.PinnedARPRow{Address: vip1, MAC: mac1},
}

func TestRowsRoundTrip(t *testing.T) {
	c := testCodec(t)
	for _, row := range oneOfEach {
		e := c.row(row)
		got, ok := c.parseRow(e.GetTableEntry())
		if !ok {
			t.Errorf("%v cannot be read back", row)
		} else if diff := cmp.Diff(row, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%v (-want +got):\n%s", row, diff)
		}
		entry, err := c.info.DecodeEntry(e.GetTableEntry())
		if err != nil {
			t.Errorf("%v: %v", row, err)
			continue
		}
		// The generic encoder is slower and checks everything: same bytes.
		again, err := c.info.EncodeEntry(entry)
		if err != nil {
			t.Errorf("%v: %v", row, err)
		} else if again.String() != e.GetTableEntry().String() {
			t.Errorf("%v is written as\n%v, should be\n%v", row, e.GetTableEntry(), again)
		}
	}
	for _, ch := range []learn.Change{{Table: learn.Station, MAC: mac1, Port: 4},
		{Table: learn.L2, MAC: mac1, Port: 509}} {
		e := c.learned(ch, time.Minute).GetEntity().GetTableEntry()
		table, is, ok := c.parseStation(e)
		if !ok || table != ch.Table || is != (rows.Learned{MAC: ch.MAC, Port: ch.Port}) {
			t.Errorf("%v reads back as %v %v %v", ch, table, is, ok)
		}
		if aged := e.IdleTimeoutNs != 0; aged != (ch.Table == learn.Station) {
			t.Errorf("%v has idle timeout %d", ch, e.IdleTimeoutNs)
		}
	}
}

// Entries that no row of the plan can be are foreign, and what is left of them is their key.
func TestForeignEntries(t *testing.T) {
	c := testCodec(t)
	entry := func(row rows.Row, change func(*v1.TableEntry)) *v1.TableEntry {
		e := c.row(row).GetTableEntry()
		change(e)
		return e
	}
	param := func(i int, value byte) func(*v1.TableEntry) {
		return func(e *v1.TableEntry) { e.Action.GetAction().Params[i].Value = []byte{value} }
	}
	slot := rows.SlotRow{SlotTable: slots1, Number: 1, Slot: rows.Slot{Backend: 1}}
	another := c.row(rows.VIPAddressRow{Address: vip1}).GetTableEntry().Action
	for name, e := range map[string]*v1.TableEntry{
		"station pinned to port 0":            entry(rows.PinnedStationRow{MAC: mac1, Port: 1}, param(0, 0)),
		"a pinned station's frames to port 0": entry(rows.PinnedL2Row{MAC: mac1, Port: 1}, param(0, 0)),
		"slot to backend 0":                   entry(slot, param(0, 0)),
		"move of epoch 0": entry(rows.SlotRow{SlotTable: slots1, Number: 1,
			Slot: rows.Slot{Backend: 1, Old: 2, Epoch: 1}},
			param(3, 0)),
		"an action of another":  entry(slot, func(e *v1.TableEntry) { e.Action = another }),
		"no action":             entry(slot, func(e *v1.TableEntry) { e.Action = nil }),
		"pin to backend 0":      c.row(rows.PinRow{Flow: 1, Pin: rows.Pin{Idle: 1}}).GetTableEntry(),
		"a table of no concern": {TableId: 1},
	} {
		h, l := newHeld(), learn.New(100)
		h.add(c, l, e)
		if h.rows != 0 || len(h.Slots) != 0 || len(h.foreign) != 1 || h.foreign[0].GetTableEntry().Action != nil {
			t.Errorf("%s: rows %d, foreign %v", name, h.rows, h.foreign)
		}
	}
	h := newHeld()
	h.add(c, learn.New(100), &v1.TableEntry{TableId: c.byTable[slot.Kind().Table].id, IsDefaultAction: true})
	if len(h.foreign) != 0 {
		t.Error("a default entry is foreign")
	}
}

// A pipeline that lacks a name is refused with that name.
func TestCodecNeedsEveryName(t *testing.T) {
	source := p4.P4Info()
	source.Tables = slices.DeleteFunc(source.Tables, func(t *configv1.Table) bool { return t.Preamble.Alias == "l2" })
	for _, a := range source.Actions {
		if a.Preamble.Name == "move" {
			a.Params = append(a.Params, &configv1.Action_Param{Id: 9, Name: "more", Bitwidth: 8})
		}
	}
	info, err := p4rt.NewInfo(source)
	if err != nil {
		t.Fatal(err)
	}
	_, err = newCodec(info)
	want := "action move has 5 parameters, must have 4\n" +
		"no table \"l2\"; there is: arp_guard, arp_responder, backend, pin, pinned_arp, pinned_l2, " +
		"pinned_station, slot, " +
		"station, vip, vip_address"
	if err == nil || err.Error() != want {
		t.Errorf("got error %q, want %q", err, want)
	}
}
