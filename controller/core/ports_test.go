package core

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/config"
)

// A port that is named is where its switch last said; what cannot be one is as if it were not told; the same again
// tells nobody anything.
func TestPortsMove(t *testing.T) {
	const text = `switches:
  - {name: leaf1, address: "127.0.0.1:9559", device_id: 1, ports: [1, eth2]}
vip_mac: 02:53:4c:00:00:01
pools:
  - name: web
    slots: 64
    backends:
      - {name: web1, address: 10.0.0.11, mac: "02:00:00:00:00:11", switch_port: eth2}
vips:
  - {name: www, address: 10.0.0.100, port: 80, pool: web}
`
	intent, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	c := New(Stored{}, now)
	step := func(in Input) (told []string) {
		for effects := c.Step(now, in); len(effects) > 0; {
			var saved bool
			for _, e := range effects {
				switch e := e.(type) {
				case Save:
					saved = true
				case TakeOn:
					told = append(told, fmt.Sprint(e.Tell.Tables.Flood))
				case Tell:
					told = append(told, fmt.Sprint(e.Tables.Flood))
				}
			}
			effects = nil
			if saved {
				effects = c.Step(now, Saved{Outcome: Done})
			}
		}
		return told
	}
	kept := func() string {
		var all []string
		for _, u := range c.Unnumbered() {
			all = append(all, fmt.Sprint(u))
		}
		return strings.Join(all, ", ")
	}
	for _, tt := range []struct {
		name string
		in   Input
		want []string // the ports that are flooded to, as the switch is told
		kept string
	}{
		{"at first nobody knows", Apply{File: "test.yaml", Text: text, Intent: intent}, []string{"[1]"},
			"{leaf1 eth2 0}"},
		{"the switch tells", Ports{Switch: "leaf1", IDs: map[string]uint16{"eth2": 7, "eth3": 3}},
			[]string{"[1 7]"}, ""},
		{"the same again", Ports{Switch: "leaf1", IDs: map[string]uint16{"eth2": 7}}, nil, ""},
		{"another number", Ports{Switch: "leaf1", IDs: map[string]uint16{"eth2": 8}}, []string{"[1 8]"}, ""},
		{"it is gone", Ports{Switch: "leaf1"}, nil, "{leaf1 eth2 8}"},
		{"it is no port of the pipeline", Ports{Switch: "leaf1", IDs: map[string]uint16{"eth2": 510}},
			nil, "{leaf1 eth2 8}"},
		{"another switch", Ports{Switch: "leaf9", IDs: map[string]uint16{"eth2": 5}}, nil, "{leaf1 eth2 8}"},
		{"it is back", Ports{Switch: "leaf1", IDs: map[string]uint16{"eth2": 2}}, []string{"[1 2]"}, ""},
	} {
		got := step(tt.in)
		if diff := cmp.Diff(tt.want, got); diff != "" || kept() != tt.kept {
			t.Errorf("%s: kept %q, want %q (-want +got):\n%s", tt.name, kept(), tt.kept, diff)
		}
		if on := c.Intent().Pools[0].Backends[0].SwitchPort.On("leaf1"); len(got) > 0 &&
			on != c.stored.PortIDs["leaf1"]["eth2"] {
			t.Errorf("%s: web1 is at port %d", tt.name, on)
		}
	}
	// What was stored counts from the start.
	again := New(c.stored, now)
	again.Step(now, Begin{Intent: intent})
	again.Step(now, Saved{})
	if got := again.Intent().Pools[0].Backends[0].SwitchPort.On("leaf1"); got != 2 {
		t.Errorf("after a restart web1 is at port %d, want 2", got)
	}
}
