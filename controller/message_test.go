package controller

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/tally"
	"github.com/sluicelb/sluice/p4/packet"
)

// What a switch reports of its hosts is told as events, for people and for programs, and stands in the status.
func TestNoiseIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, testIntent, core.Stored{})
		l.connect("leaf1")
		now := time.Now()
		before := l.events.before(0)
		web1, stranger := packet.MAC{2, 0, 0, 0, 0, 0x11}, packet.MAC{2, 9, 0, 0, 0, 1}
		by := func(mac packet.MAC) []tally.Sender {
			return []tally.Sender{{MAC: mac, Known: mac == web1, Count: tally.Once(now)}}
		}
		l.in(func() {
			l.observe(l.views["leaf1"], device.Observation{Switch: "leaf1", Noise: &tally.Noise{
				Claims: []tally.Entry[tally.Claimed]{{
					Key:   tally.Claimed{VIP: netip.MustParseAddr("10.0.0.100"), Port: 3},
					Count: tally.Once(now), Senders: by(web1),
				}},
				Moves: []tally.Entry[tally.Move]{{
					Key: tally.Move{From: 1, To: 2}, Count: tally.Once(now), Senders: by(stranger),
				}},
				NoRoom: []tally.Entry[uint16]{{Key: 3, Count: tally.Once(now), Senders: by(stranger)}},
				Full:   "all 9 stations are taken",
				Spoofs: []tally.Entry[tally.Spoofed]{{
					Key:   tally.Spoofed{Port: 3, Address: netip.MustParseAddr("10.0.0.12")},
					Count: tally.Once(now), Senders: by(web1),
				}},
			}})
		})
		at := timestamppb.New(now)
		claim := &api.ARPClaim{
			Switch: "leaf1", VipAddress: "10.0.0.100", Port: 3, Mac: "02:00:00:00:00:11", Backend: "web/web1", Count: 1,
			First: at, Last: at,
		}
		spoof := &api.Spoof{
			Switch: "leaf1", Port: 3, Mac: "02:00:00:00:00:11", Sender: "web/web1", Address: "10.0.0.12",
			Station: "web/web2", StationMac: "02:00:00:00:00:12", StationPort: 2, Frames: 1, First: at, Last: at,
		}
		want := []*api.Event{
			{
				Text: "web/web1 (02:00:00:00:00:11) on port 3 of leaf1 says by ARP that it has 10.0.0.12, the " +
					"address of web/web2: dropped; its mac is 02:00:00:00:00:12, and if that has changed the " +
					"configuration must say so",
				Detail: &api.Event_Spoof{Spoof: spoof},
			},
			{
				Text: "02:00:00:00:00:11 (web/web1: it must not answer ARP for the VIP) claims VIP 10.0.0.100 on " +
					"port 3 of leaf1: dropped, 1 so far",
				Detail: &api.Event_ArpClaim{ArpClaim: claim},
			},
			{
				Text: "02:09:00:00:00:01 moved from port 1 to port 2 of leaf1",
				Detail: &api.Event_Station{Station: &api.StationMoved{
					Switch: "leaf1", Mac: "02:09:00:00:00:01", FromPort: 1, ToPort: 2, Times: 1,
				}},
			},
			{
				Text: "leaf1 does not learn 02:09:00:00:00:01 on port 3: frames to it are flooded; all 9 " +
					"stations are taken",
				Detail: &api.Event_StationsFull{StationsFull: &api.StationsFull{
					Switch: "leaf1", Port: 3, Mac: "02:09:00:00:00:01", Reason: "all 9 stations are taken",
				}},
			},
		}
		got, _, _ := l.events.after(before, 10)
		for i, e := range got {
			got[i] = proto.CloneOf(e)
			got[i].Sequence, got[i].Time = 0, nil
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		m, err := (&service{loop: l.loop, telemetry: l.sampler(time.Second)}).GetStatus(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]*api.ARPClaim{claim}, m.ArpClaims, protocmp.Transform()); diff != "" {
			t.Errorf("claims in the status (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]*api.Spoof{spoof}, m.Spoofs, protocmp.Transform()); diff != "" {
			t.Errorf("spoofs in the status (-want +got):\n%s", diff)
		}
		var concerns []string
		for _, c := range m.Concerns {
			if strings.Contains(c.Text, "ARP") {
				concerns = append(concerns, c.Text)
			}
		}
		if diff := cmp.Diff([]string{
			"web/web1 (02:00:00:00:00:11) on port 3 of leaf1 says by ARP that it has 10.0.0.12, the address of " +
				"web/web2: dropped; its mac, 02:00:00:00:00:12, is wrong, or a host there pretends",
			"backend web/web1 (02:00:00:00:00:11) on port 3 of leaf1 claims VIP 10.0.0.100 by ARP: set arp_ignore=1 " +
				"and arp_announce=2 there",
		}, concerns); diff != "" {
			t.Errorf("concerns (-want +got):\n%s", diff)
		}
	})
}
