package device

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/p4rt"
)

// A flood group whose replicas have other instances than this controller writes is written anew.
func TestFloodGroupReadBack(t *testing.T) {
	for instance, want := range map[uint32][]uint16{1: {1, 2}, 0: {}, 2: {}} {
		g := p4rt.MulticastGroup{ID: limits.FloodGroup, Replicas: []p4rt.Replica{{Port: 2, Instance: 1},
			{Port: 1, Instance: instance}}}
		h := newHeld()
		if err := h.addGroup(g.Entity().GetPacketReplicationEngineEntry().GetMulticastGroupEntry()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, h.Flood); diff != "" {
			t.Errorf("instance %d (-want +got):\n%s", instance, diff)
		}
	}
}
