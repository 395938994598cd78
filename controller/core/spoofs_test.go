package core

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/tally"
	"github.com/sluicelb/sluice/p4/packet"
)

// Who sends under the MAC of a pinned station is named, once in a while for each port, and shown with what
// it sent.
func TestSpoofsAreNamed(t *testing.T) {
	h := newHearing(t, strings.Replace(testIntent, "pools:",
		"stations: [{name: router1, mac: \"02:00:00:00:00:01\", switch_port: 3}]\npools:", 1))
	h.connect("leaf1")
	h.texts()
	spoof := func(what tally.Spoofed, frames uint64, mac ...byte) {
		by := tally.Sender{MAC: packet.MAC(mac), Known: mac[1] == 0, Count: tally.Count{Times: frames}}
		entry := tally.Entry[tally.Spoofed]{Key: what, Senders: []tally.Sender{by}}
		h.put(Noise{"leaf1", tally.Noise{Spoofs: []tally.Entry[tally.Spoofed]{entry}}})
	}
	spoof(tally.Spoofed{Port: 2}, 1, 2, 0, 0, 0, 0, 0x11) // web1
	for range 60 {
		spoof(tally.Spoofed{Port: 2}, 64, 2, 0, 0, 0, 0, 0x11)
		spoof(tally.Spoofed{Port: 2}, 1, 2, 0, 0, 0, 0, 0x01) // router1
		h.wait(time.Second)
	}
	spoof(tally.Spoofed{Port: 1}, 1, 2, 0x53, 0x4c, 0, 0, 1) // the VIPs'
	spoof(tally.Spoofed{Port: 1}, 5, 2, 9, 9, 9, 9, 9)       // of somebody who has just left the intent
	web1 := tally.Spoofed{Port: 4, Address: netip.MustParseAddr("10.0.0.11")}
	spoof(web1, 3, 2, 0, 0, 0, 0, 0x12) // web2
	for i := range byte(100) {
		spoof(web1, 1, 2, 7, 7, 7, 7, i)
	}
	spoof(tally.Spoofed{Port: 3, Address: netip.MustParseAddr("10.0.0.1")}, 1, 2, 9, 9, 9, 9, 9)

	const sent = "somebody on port 2 of leaf1 sends as 02:00:00:00:00:11, the MAC of web/web1: dropped; " +
		"its switch_port is 1, and if it has moved the configuration must say so"
	if diff := cmp.Diff([]string{
		sent, sent, "somebody on port 1 of leaf1 sends as 02:53:4c:00:00:01, the MAC of the VIPs: dropped",
		"web/web2 (02:00:00:00:00:12) on port 4 of leaf1 says by ARP that it has 10.0.0.11, the address of " +
			"web/web1: dropped; " +
			"its mac is 02:00:00:00:00:11, and if that has changed the configuration must say so",
		"02:09:09:09:09:09 on port 3 of leaf1 says by ARP that it has 10.0.0.1: dropped",
	}, h.texts()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	type row struct {
		Port                uint16
		MAC, Address, Owner string
		At                  uint16
		Frames              uint64
	}
	var got []row
	for _, s := range h.core.Spoofs() {
		address := ""
		if s.Address.IsValid() {
			address = s.Address.String()
		}
		got = append(got, row{s.Port, s.MAC.String(), address, s.Station, s.StationPort, s.Frames})
	}
	if diff := cmp.Diff([]row{
		{1, "02:09:09:09:09:09", "", "", 0, 5},
		{1, "02:53:4c:00:00:01", "", "the VIPs", 0, 1},
		{2, "02:00:00:00:00:01", "", "router1", 3, 60},
		{2, "02:00:00:00:00:11", "", "web/web1", 1, 3841},
		{3, "02:09:09:09:09:09", "10.0.0.1", "", 0, 1},
		{4, "02:00:00:00:00:12", "10.0.0.11", "web/web1", 1, 103},
	}, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

// A backend that left the intent is pinned while it serves old flows, and named.
func TestSpoofsOfWhoLeaves(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.apply(testIntent)
	w.connect("leaf1")
	var without strings.Builder
	for line := range strings.Lines(testIntent) {
		if !strings.Contains(line, "web1") {
			without.WriteString(line)
		}
	}
	w.apply(without.String())
	names := func() []string {
		of := stationOf(w.core.Intent(), w.core.Stored().Plan, packet.MAC{2, 0, 0, 0, 0, 0x11})
		at := stationAt(w.core.Intent(), w.core.Stored().Plan, netip.MustParseAddr("10.0.0.11"))
		return []string{
			fmt.Sprintf("%q port %d", of.Name, of.SwitchPort.On("leaf1")), fmt.Sprintf("%q %s", at.Name, at.MAC),
		}
	}
	want := []string{`"web/web1 (removed)" port 1`, `"web/web1 (removed)" 02:00:00:00:00:11`}
	if diff := cmp.Diff(want, names()); diff != "" {
		t.Errorf("while it serves old flows (-want +got):\n%s", diff)
	}
	w.verdict("web1", plan.Down)
	w.connect("leaf1")
	w.wait(time.Minute)
	w.connect("leaf1")
	if diff := cmp.Diff([]string{`"" port 0`, `"" 00:00:00:00:00:00`}, names()); diff != "" {
		t.Errorf("afterwards (-want +got):\n%s", diff)
	}
}

// Memory and events stay bounded, whatever a host sends.
func TestSpoofsAreBounded(t *testing.T) {
	s := newSpoofs()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	told := 0
	for i := range 10 * spoofsKept {
		now = now.Add(10 * time.Millisecond)
		if s.add(spoofKey{spoofPort: spoofPort{"leaf1", 4}, MAC: packet.MAC{2, 1, byte(i >> 8), byte(i)}},
			tally.Sender{Count: tally.Once(now)}, now) {
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
	if s.seen[spoofKey{spoofPort: spoofPort{"leaf1", 4}, MAC: packet.MAC{2, 1, byte(last >> 8), byte(last)}}] == nil {
		t.Error("the latest is forgotten")
	}
}
