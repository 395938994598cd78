package rows

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/sluicelb/sluice/p4/limits"
)

// FloodRow is the multicast group that unknown and broadcast destinations go to. It is no table of the pipeline: its
// Table has no keys, and the row has no Entry.
type FloodRow struct{ Ports PortSet }

// PortSet is a set of ports of a switch.
type PortSet [(limits.MaxPort + 64) / 64]uint64

// Ports makes a PortSet. Numbers that are no ports are left out.
func Ports(list []uint16) (s PortSet) {
	for _, p := range list {
		if p <= limits.MaxPort {
			s[p/64] |= 1 << (p % 64)
		}
	}
	return s
}

// List returns the ports, ascending; not nil.
func (s PortSet) List() []uint16 {
	list := []uint16{}
	for i, word := range s {
		for ; word != 0; word &= word - 1 {
			list = append(list, uint16(64*i+bits.TrailingZeros64(word)))
		}
	}
	return list
}

var flood = kind(&Table{
	Name: "multicast_group",
	diff: func(have, want *Tables, d differ) {
		switch {
		case want.Flood == nil && have.Flood != nil:
			d.drop(FloodRow{Ports(have.Flood)})
		case have.Flood == nil && want.Flood != nil:
			d.put(Insert, FloodRow{Ports(want.Flood)})
		case !slices.Equal(have.Flood, want.Flood):
			d.put(Modify, FloodRow{Ports(want.Flood)})
		}
	},
})

// floodRef is the Ref of the FloodRow.
type floodRef struct{}

func (FloodRow) Kind() *Kind      { return flood }
func (FloodRow) Ref() Ref         { return floodRef{} }
func (FloodRow) Needs() []Ref     { return nil }
func (FloodRow) Entry() Entry     { return Entry{} }
func (r FloodRow) String() string { return fmt.Sprintf("multicast_group: ports %v", r.Ports.List()) }

func (FloodRow) Held(t *Tables) (Row, bool) { return FloodRow{Ports(t.Flood)}, t.Flood != nil }

func (r FloodRow) set(t *Tables, gone bool) {
	if t.Flood = r.Ports.List(); gone {
		t.Flood = nil
	}
}
