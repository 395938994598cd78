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
	"github.com/sluicelb/sluice/controller/plan"
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
	slots1 = plan.SlotTable{Pool: 1, Generation: 0}
	mac1   = packet.MAC{2, 0, 0, 0, 0, 0x11}
)

// rows has one of each kind, with zeros and highest values.
var rows = []plan.Row{
	plan.BackendRow{ID: 1, Forward: plan.Forward{MAC: mac1, Port: 3}},
	plan.BackendRow{ID: 1<<32 - 1, Forward: plan.Forward{MAC: packet.MAC{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff}, Port: 509}},
	plan.SlotRow{SlotTable: slots1, Slot: 0, Backend: 1},
	plan.SlotRow{SlotTable: plan.SlotTable{Pool: 256, Generation: 255}, Slot: 65535, Backend: 1 << 31, Bank: 3, Epoch: 1<<32 - 1},
	plan.SlotOldRow{SlotTable: slots1, Slot: 7, Backend: 2, Idle: time.Minute},
	plan.VIPRow{VIPKey: plan.VIPKey{Address: vip1, Protocol: 6, Port: 80}, ToPool: plan.ToPool{Pool: 1, Generation: 2, SlotMask: 0xfff}},
	plan.VIPAddressRow{Address: vip1},
	plan.ARPGuardRow{Address: netip.MustParseAddr("0.0.0.1")},
	plan.ARPResponderRow{Address: vip1, MAC: mac1},
	plan.PinnedStationRow{MAC: mac1, Port: 509},
	plan.PinnedStationRow{MAC: mac1, Port: plan.Nowhere},
	plan.PinnedL2Row{MAC: mac1, Port: 1},
	plan.PinnedL2Row{MAC: mac1, Port: plan.Nowhere},
}

func TestRowsRoundTrip(t *testing.T) {
	c := testCodec(t)
	for _, row := range rows {
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
	for _, ch := range []learn.Change{{Table: learn.Station, MAC: mac1, Port: 4}, {Table: learn.L2, MAC: mac1, Port: 509}} {
		e := c.learned(ch, time.Minute).GetEntity().GetTableEntry()
		table, mac, port, ok := c.parseStation(e)
		if !ok || table != ch.Table || mac != ch.MAC || port != ch.Port {
			t.Errorf("%v reads back as %v %v %d %v", ch, table, mac, port, ok)
		}
		if aged := e.IdleTimeoutNs != 0; aged != (ch.Table == learn.Station) {
			t.Errorf("%v has idle timeout %d", ch, e.IdleTimeoutNs)
		}
	}
}

// Entries that no row of the plan can be are foreign, and what is left of them is their key.
func TestForeignEntries(t *testing.T) {
	c := testCodec(t)
	entry := func(row plan.Row, change func(*v1.TableEntry)) *v1.TableEntry {
		e := c.row(row).GetTableEntry()
		change(e)
		return e
	}
	slot := plan.SlotRow{SlotTable: slots1, Slot: 1, Backend: 1}
	pinned := plan.PinnedStationRow{MAC: mac1, Port: 1}
	for name, e := range map[string]*v1.TableEntry{
		"station pinned to port 0":            entry(pinned, func(e *v1.TableEntry) { e.Action = c.pinned.with(number(uint8(0))) }),
		"a pinned station's frames to port 0": entry(plan.PinnedL2Row{MAC: mac1, Port: 1}, func(e *v1.TableEntry) { e.Action = c.forward.with(number(uint8(0))) }),
		"slot to backend 0":                   c.row(plan.SlotRow{SlotTable: slots1, Slot: 1}).GetTableEntry(),
		"move of epoch 0":                     entry(slot, func(e *v1.TableEntry) { e.Action = c.move.with(number(uint8(1)), number(uint8(1)), number(uint8(0))) }),
		"an action of another":                entry(slot, func(e *v1.TableEntry) { e.Action = c.refuse.with() }),
		"no action":                           entry(slot, func(e *v1.TableEntry) { e.Action = nil }),
		"stay at backend 0":                   c.row(plan.SlotOldRow{SlotTable: slots1, Slot: 1, Idle: 1}).GetTableEntry(),
		"a table of no concern":               {TableId: 1},
	} {
		h, l := newHeld(), learn.New(100)
		h.add(c, l, e, time.Now())
		if h.rows != 0 || len(h.Slots) != 0 || len(h.foreign) != 1 || h.foreign[0].GetTableEntry().Action != nil {
			t.Errorf("%s: rows %d, foreign %v", name, h.rows, h.foreign)
		}
	}
	h := newHeld()
	h.add(c, learn.New(100), &v1.TableEntry{TableId: c.slot.id, IsDefaultAction: true}, time.Now())
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
	want := "no table \"l2\"; there is: arp_guard, arp_responder, backend, pinned_arp, pinned_l2, pinned_station, slot, slot_old, station, vip, vip_address\n" +
		"action move has 4 parameters, must have 3"
	if err == nil || err.Error() != want {
		t.Errorf("got error %q, want %q", err, want)
	}
}
