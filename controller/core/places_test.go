package core

import (
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/packet"
)

// Switches share the rows that follow from places unless they differ, and a verdict does not make these anew. A change
// of the ports on one switch changes the rows of that switch alone.
func TestPlaces(t *testing.T) {
	told := make(map[string]rows.Tables)
	w := newWorld(t)
	w.told = func(e Effect) {
		switch e := e.(type) {
		case Tell:
			told[e.Switch] = e.Tables
		case TakeOn:
			told[e.Switch.Name] = e.Tell.Tables
		}
	}
	same := func(a, b map[packet.MAC]uint16) bool {
		return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
	}
	two := strings.Replace(testIntent, "vip_mac:",
		`  - {name: leaf2, address: "127.0.0.1:9560", device_id: 1, ports: [1, 2, 3]}
vip_mac:`, 1)
	w.start()
	w.apply(two)
	if !same(told["leaf1"].PinnedL2, told["leaf2"].PinnedL2) {
		t.Error("switches with the same ports have rows of their own")
	}
	w.apply(strings.Replace(two, "switch_port: 2", "switch_port: {leaf1: 2, leaf2: 3}", 1))
	before := maps.Clone(told)
	web2 := packet.MAC{2, 0, 0, 0, 0, 0x12}
	if a, b := before["leaf1"].PinnedL2[web2], before["leaf2"].PinnedL2[web2]; a != 2 || b != 3 {
		t.Errorf("web2 is at ports %d and %d, want 2 and 3", a, b)
	}
	w.connect("leaf1")
	w.connect("leaf2")
	w.verdict("web1", plan.Down)
	for _, name := range []string{"leaf1", "leaf2"} {
		if !same(before[name].PinnedL2, told[name].PinnedL2) {
			t.Errorf("a verdict makes the places of %s anew", name)
		}
	}
	before = maps.Clone(told)
	w.apply(strings.Replace(two, "switch_port: 2", "switch_port: {leaf1: 2, leaf2: 1}", 1))
	for name, want := range map[string]int{"leaf1": 0, "leaf2": 3} {
		changes := 0
		for _, batch := range rows.Diff(before[name], told[name]) {
			changes += len(batch)
		}
		if changes != want {
			t.Errorf("another port of leaf2 changes %d rows of %s, want %d", changes, name, want)
		}
	}
}
