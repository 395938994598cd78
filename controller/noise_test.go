package controller

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/tally"
	"github.com/sluicelb/sluice/p4/packet"
)

var (
	web1MAC  = packet.MAC{2, 0, 0, 0, 0, 0x11}
	web2MAC  = packet.MAC{2, 0, 0, 0, 0, 0x12}
	testVIP  = netip.MustParseAddr("10.0.0.100")
	someTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

// invented is a MAC that nobody has.
func invented(n int) packet.MAC {
	return packet.MAC{2, 9, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

// sent makes entries of single happenings, as a device reports them.
func sent[K comparable](l *loop, k K, now time.Time, macs ...packet.MAC) []tally.Entry[K] {
	t := tally.New(func(K) int { return 0 })
	named := backendMACs(l.core.Intent())
	for _, mac := range macs {
		t.Add(k, tally.Sender{MAC: mac, Known: named[mac], Count: tally.Once(now)})
	}
	return t.Take()
}

func loggingLoop(t *testing.T) (*loop, *bytes.Buffer) {
	t.Helper()
	var b bytes.Buffer
	l := newLoop(slog.New(slog.NewTextHandler(&b, nil)), &fakeStore{}, core.Stored{})
	l.start = startNothing
	if err := l.begin("test.yaml", []byte(testIntent)); err != nil {
		t.Fatal(err)
	}
	return l, &b
}

func claimed(l *loop, port uint16, now time.Time, macs ...packet.MAC) *device.Noise {
	return &device.Noise{Claims: sent(l, device.Claimed{VIP: testVIP, Port: port}, now, macs...)}
}

// Half an hour of claims from ever new MACs: one event and one line of the log an interval. A backend that
// claims among them is named at once, and stays in the status.
func TestFloodOfClaims(t *testing.T) {
	l, log := loggingLoop(t)
	n := 0
	now := someTime
	for range 1800 {
		var macs []packet.MAC
		for range 500 {
			n++
			macs = append(macs, invented(n))
		}
		l.noise("leaf1", claimed(l, 3, now, macs...), now)
		if now.Equal(someTime.Add(1001 * time.Second)) {
			l.noise("leaf1", claimed(l, 3, now, web2MAC), now)
		}
		now = now.Add(time.Second)
	}
	var strangers, backends int
	for _, e := range l.events.past() {
		c := e.GetArpClaim()
		switch {
		case c == nil:
		case c.Backend != "":
			backends++
			if want := "02:00:00:00:00:12 (web/web2: it must not answer ARP for the VIP) claims VIP 10.0.0.100 on " +
				"port 3 of leaf1: dropped, 1 so far"; e.Text != want {
				t.Errorf("got %q, want %q", e.Text, want)
			}
			if got := e.Time.AsTime(); !got.Equal(someTime.Add(1001 * time.Second)) {
				t.Errorf("the backend is named at %v, want at once", got)
			}
		default:
			strangers++
		}
	}
	if backends != 1 || strangers != 180 {
		t.Errorf("%d events of a backend and %d of strangers are remembered, want 1 and 180", backends, strangers)
	}
	if got, want := strings.Count(log.String(), "somebody claims a VIP"), 1800/10+1; got != want {
		t.Errorf("%d lines, want %d: one in 10 s, and one of the backend", got, want)
	}
	if log.Len() > 125_000 {
		t.Errorf("%d bytes of log in half an hour", log.Len())
	}
	list := l.claimMessages()
	if len(list) > 10 {
		t.Errorf("%d rows of claims on one VIP and port", len(list))
	}
	sum, named := uint64(0), 0
	for _, c := range list {
		sum += c.Count
		if c.Backend == "web/web2" {
			named++
		}
	}
	if sum != 1800*500+1 || named != 1 {
		t.Errorf("%d claims in the status, %d rows of web2; want all %d, and one row:\n%v", sum, named, 1800*500+1,
			list)
	}
}

// What came in between is told together when the interval is over, also when nothing comes any more, with
// the others by name.
func TestNoticeNamesOthers(t *testing.T) {
	l, _ := loggingLoop(t)
	told := func(now time.Time) string {
		before := l.events.sequence
		l.tellDue(now)
		list, _, _ := l.events.after(before, 10)
		var texts []string
		for _, e := range list {
			texts = append(texts, e.Text)
		}
		return strings.Join(texts, "\n")
	}
	l.noise("leaf1", claimed(l, 1, someTime, web1MAC), someTime)
	for range 3 {
		l.noise("leaf1", claimed(l, 2, someTime, web2MAC), someTime.Add(time.Second))
	}
	l.noise("leaf1", claimed(l, 1, someTime, web1MAC), someTime.Add(2*time.Second))
	if got := told(someTime.Add(9 * time.Second)); got != "" {
		t.Errorf("told within the interval: %s", got)
	}
	want := "02:00:00:00:00:12 (web/web2: it must not answer ARP for the VIP) claims VIP 10.0.0.100 on port 2 of " +
		"leaf1: dropped, 3 so far; " +
		"also 02:00:00:00:00:11 (web/web1) claims 10.0.0.100 on port 1; 4 times in all since the last such notice"
	if diff := cmp.Diff(want, told(someTime.Add(10*time.Second))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := told(someTime.Add(time.Hour)); got != "" {
		t.Errorf("told though nothing came: %s", got)
	}
}

// Stations that alternate between ports make one event an interval; a backend among them is told apart.
func TestFloodOfMoves(t *testing.T) {
	l, log := loggingLoop(t)
	now := someTime
	for i := range 100 {
		n := &device.Noise{Moves: sent(l, device.Move{From: 1, To: 2}, now, invented(1), invented(i), invented(i+1))}
		n.Moves = append(n.Moves, sent(l, device.Move{From: 2, To: 1}, now, web2MAC)...)
		l.noise("leaf1", n, now)
		now = now.Add(time.Second)
	}
	var texts []string
	for _, e := range l.events.past() {
		if e.GetStation() != nil {
			texts = append(texts, e.Text)
		}
	}
	if len(texts) != 20 {
		t.Errorf("%d events in 100 s, want 10 of the backend and 10 of others:\n%s", len(texts),
			strings.Join(texts, "\n"))
	}
	if want := "02:00:00:00:00:12 (web/web2) moved from port 2 to port 1 of leaf1"; !strings.Contains(
		strings.Join(texts, "\n"), want) {
		t.Errorf("no %q in\n%s", want, strings.Join(texts, "\n"))
	}
	if got := strings.Count(log.String(), "station moved"); got != 20 {
		t.Errorf("%d lines, want 20", got)
	}
}

// That stations are not learned is told, once an interval.
func TestNoRoomIsTold(t *testing.T) {
	l, log := loggingLoop(t)
	for i := range 100 {
		now := someTime.Add(time.Duration(i) * 100 * time.Millisecond)
		l.noise("leaf1", &device.Noise{NoRoom: sent(l, uint16(2), now, invented(i), invented(i+1))}, now)
	}
	var texts []string
	for _, e := range l.events.past() {
		if e.GetStationsFull() != nil {
			texts = append(texts, e.Text)
		}
	}
	want := []string{fmt.Sprintf("leaf1 does not learn %v on port 2: frames to it are flooded; also %v on port 2; 2 "+
		"times in all since the last such notice",
		invented(0), invented(1))}
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if got := strings.Count(log.String(), "stations are not learned"); got != 1 {
		t.Errorf("%d lines, want 1:\n%s", got, log)
	}
}

// However many VIPs and ports are claimed, the status is bounded, and backends come first in it.
func TestClaimsShown(t *testing.T) {
	l, _ := loggingLoop(t)
	for port := range uint16(500) {
		for vip := range 20 {
			key := claimKey{claimPlace{"leaf1", port}, netip.AddrFrom4([4]byte{10, 0, 1, byte(vip)}), false}
			for i := range 10 {
				l.claims.Add(key, tally.Sender{MAC: invented(i), Count: tally.Once(someTime)})
			}
		}
	}
	key := claimKey{claimPlace{"leaf1", 499}, testVIP, false}
	l.claims.Add(key, tally.Sender{MAC: web1MAC, Known: true, Count: tally.Once(someTime)})
	var got *api.ARPClaim
	list := l.claimMessages()
	for _, c := range list {
		if c.Backend != "" {
			got = c
		}
	}
	if len(list) != claimsShown || got.GetPort() != 499 || got.GetBackend() != "web/web1" {
		t.Errorf("%d rows, want %d; the backend's row is %v", len(list), claimsShown, got)
	}
}
