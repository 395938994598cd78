package server

import (
	"fmt"
	"slices"
	"testing"
)

// No name gets the number of the port that drops, or of the CPU's: what a client sends to its first ports would be
// lost. A client that says such a number has it.
func TestNamesOfPorts(t *testing.T) {
	for _, tt := range []struct {
		bits    int
		cpuPort uint16
		names   []string
		want    []string
	}{
		{9, 510, []string{"eth0", "eth1"}, []string{"01fd", "01fc"}},
		{9, 508, []string{"eth0", "eth1", "eth2", "eth3"}, []string{"01fe", "01fd", "01fb", "01fa"}},
		{9, 510, []string{"511", "510", "eth0"}, []string{"01ff", "01fe", "01fd"}},
		{16, 510, []string{"eth0"}, []string{"fffd"}}, // the port is its last 9 bits
		{8, 510, []string{"eth0"}, []string{"ff"}},    // no port
	} {
		n := newNames(tt.bits, newTypes(nil, tt.cpuPort).special)
		var got []string
		for _, name := range tt.names {
			number, err := n.number(name, true, func() string { return name })
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%x", number))
			if back := n.text(number); back != name {
				t.Errorf("%s comes back as %s", name, back)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%d bits, CPU port %d: %q stand for %q, want %q", tt.bits, tt.cpuPort, tt.names, got, tt.want)
		}
	}
}
