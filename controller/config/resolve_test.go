package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A port that is named stands where its switch has it, and nowhere while nobody knows.
func TestResolve(t *testing.T) {
	text := strings.NewReplacer("ports: [3, 1, 2]}", "ports: [3, eth1, Ethernet1/2/0]}\n"+
		"  - {name: leaf2, address: \"127.0.0.1:9560\", device_id: 1, ports: [3, eth1, 7]}", "switch_port: 1",
		"switch_port: eth1",
		"switch_port: 2", "switch_port: {leaf1: Ethernet1/2/0, leaf2: 7}", "vip_mac", "stations:\n"+
			"  - {name: router1, mac: \"02:00:00:00:00:01\", switch_port: 3}\nvip_mac").Replace(valid)
	intent, err := Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		ids  PortIDs
		want string
	}{
		{"nothing is known", nil, "leaf1 [3], leaf2 [3 7]; web1 0 0, web2 0 7; router1 3 3"},
		{"one is", PortIDs{"leaf1": {"eth1": 9}}, "leaf1 [3 9], leaf2 [3 7]; web1 9 0, web2 0 7; router1 3 3"},
		{"all are", PortIDs{"leaf1": {"eth1": 9, "Ethernet1/2/0": 4}, "leaf2": {"eth1": 8}},
			"leaf1 [3 4 9], leaf2 [3 7 8]; web1 9 8, web2 4 7; router1 3 3"},
		{"one has a number that another is written by", PortIDs{"leaf1": {"eth1": 3}},
			"leaf1 [3], leaf2 [3 7]; web1 3 0, web2 0 7; router1 3 3"},
	} {
		if diff := cmp.Diff(tt.want, placesOf(intent.Resolve(tt.ids))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	if diff := cmp.Diff("leaf1 [3], leaf2 [3 7]; web1 0 0, web2 0 7; router1 3 3", placesOf(intent)); diff != "" {
		t.Errorf("the intent itself has changed (-want +got):\n%s", diff)
	}
	plain, err := Parse("f", []byte(valid))
	if err != nil {
		t.Fatal(err)
	}
	if plain.Resolve(PortIDs{"leaf1": {"eth1": 3}}) != plain {
		t.Error("an intent that names no port is made anew")
	}
}

// placesOf prints the ports of switches, and those of backends and stations on each.
func placesOf(i *Intent) string {
	var parts, places []string
	on := func(s SwitchPorts) string {
		var all []string
		for _, sw := range i.Switches {
			all = append(all, fmt.Sprint(s.On(sw.Name)))
		}
		return strings.Join(all, " ")
	}
	for _, sw := range i.Switches {
		parts = append(parts, fmt.Sprint(sw.Name, " ", sw.Ports))
	}
	for _, b := range i.Pools[0].Backends {
		places = append(places, b.Name+" "+on(b.SwitchPort))
	}
	return strings.Join(parts, ", ") + "; " + strings.Join(places, ", ") + "; " + i.Stations[0].Name + " " +
		on(i.Stations[0].SwitchPort)
}
