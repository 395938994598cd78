package controller

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/store"
	"github.com/sluicelb/sluice/controller/tally"
	"github.com/sluicelb/sluice/p4/packet"
)

// Who sends under the MAC of a pinned station is named, once in a while for each port, and shown with what
// it sent.
func TestSpoofsAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := strings.Replace(testIntent, "pools:", "stations: [{name: router1, mac: \"02:00:00:00:00:01\", switch_port: 3}]\npools:", 1)
		l := newLimited(t, text, store.State{})
		l.connect("leaf1")
		spoof := func(port uint16, frames uint64, mac ...byte) {
			l.in(func() {
				l.report(l.ctx, l.views["leaf1"], device.Report{
					Switch: "leaf1", Noise: &device.Noise{Spoofs: []tally.Entry[uint16]{{
						Key: port, Senders: []tally.Sender{{MAC: packet.MAC(mac), Known: true, Count: tally.Count{Times: frames}}},
					}}},
				})
			})
		}
		spoof(2, 1, 2, 0, 0, 0, 0, 0x11) // web1
		for range 60 {
			spoof(2, 64, 2, 0, 0, 0, 0, 0x11)
			spoof(2, 1, 2, 0, 0, 0, 0, 0x01) // router1
			time.Sleep(time.Second)
		}
		spoof(1, 1, 2, 0x53, 0x4c, 0, 0, 1) // the VIPs'
		spoof(1, 5, 2, 9, 9, 9, 9, 9)       // of somebody who has just left the intent

		var events []string
		for _, e := range l.events.past() {
			if e.GetSpoof() != nil {
				events = append(events, e.Text)
			}
		}
		const web1 = "somebody on port 2 of leaf1 sends as 02:00:00:00:00:11, the MAC of web/web1: dropped; " +
			"its switch_port is 1, and if it has moved the configuration must say so"
		if diff := cmp.Diff([]string{
			web1, web1, "somebody on port 1 of leaf1 sends as 02:53:4c:00:00:01, the MAC of the VIPs: dropped",
		}, events); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		type row struct {
			Port   uint32
			MAC    string
			Owner  string
			At     uint32
			Frames uint64
		}
		var got []row
		l.in(func() {
			for _, s := range l.spoofMessages() {
				got = append(got, row{s.Port, s.Mac, s.Station, s.StationPort, s.Frames})
			}
		})
		if diff := cmp.Diff([]row{
			{1, "02:09:09:09:09:09", "", 0, 5},
			{1, "02:53:4c:00:00:01", "the VIPs", 0, 1},
			{2, "02:00:00:00:00:01", "router1", 3, 60},
			{2, "02:00:00:00:00:11", "web/web1", 1, 3841},
		}, got); diff != "" {
			t.Errorf("status (-want +got):\n%s", diff)
		}
	})
}

// Memory and events stay bounded, whatever a host sends.
func TestSpoofsAreBounded(t *testing.T) {
	s := newSpoofs()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	told := 0
	for i := range 10 * spoofsKept {
		now = now.Add(10 * time.Millisecond)
		if s.add(spoofKey{spoofPort{"leaf1", 4}, packet.MAC{2, 1, byte(i >> 8), byte(i)}}, 1, now) {
			told++
		}
	}
	if want := 4; told != want { // in 102 s
		t.Errorf("told %d times, want %d", told, want)
	}
	if len(s.seen) > spoofsKept {
		t.Errorf("%d are kept, want %d at most", len(s.seen), spoofsKept)
	}
	last := 10*spoofsKept - 1
	if s.seen[spoofKey{spoofPort{"leaf1", 4}, packet.MAC{2, 1, byte(last >> 8), byte(last)}}] == nil {
		t.Error("the latest is forgotten")
	}
}
