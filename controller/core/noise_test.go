package core

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/tally"
	"github.com/sluicelb/sluice/p4/packet"
)

var (
	web1MAC = packet.MAC{2, 0, 0, 0, 0, 0x11}
	web2MAC = packet.MAC{2, 0, 0, 0, 0, 0x12}
	testVIP = netip.MustParseAddr("10.0.0.100")
)

// invented is a MAC that nobody has.
func invented(n int) packet.MAC {
	return packet.MAC{2, 9, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

// hearing is a world that writes down what is told.
type hearing struct {
	*world
	events []Event
	times  []time.Time // of each event
	log    strings.Builder
}

func newHearing(t *testing.T, text string) *hearing {
	h := &hearing{world: newWorld(t)}
	h.start()
	h.apply(text)
	h.told = func(e Effect) {
		if p, ok := e.(Publish); ok {
			h.events, h.times = append(h.events, p.Event), append(h.times, h.now)
			for _, line := range p.Event.Lines() {
				fmt.Fprintln(&h.log, append([]any{line.Level, line.Text}, line.Args...)...)
			}
		}
	}
	return h
}

// texts returns the events since the last call.
func (h *hearing) texts() (texts []string) {
	for _, e := range h.events {
		texts = append(texts, e.Text())
	}
	h.events, h.times = nil, nil
	return texts
}

// sent makes entries of single happenings, as a device reports them.
func sent[K comparable](h *hearing, k K, macs ...packet.MAC) []tally.Entry[K] {
	t := tally.New(func(K) int { return 0 })
	for _, mac := range macs {
		t.Add(k, tally.Sender{MAC: mac, Known: h.core.ownerOf(mac) != "", Count: tally.Once(h.now)})
	}
	return t.Take()
}

func (h *hearing) claim(port uint16, macs ...packet.MAC) {
	h.put(Noise{"leaf1", tally.Noise{Claims: sent(h, tally.Claimed{VIP: testVIP, Port: port}, macs...)}})
}

// Half an hour of claims from ever new MACs: one event and one line of the log an interval. A backend that
// claims among them is named at once, and stays in the status.
func TestFloodOfClaims(t *testing.T) {
	h := newHearing(t, testIntent)
	began := h.now
	n := 0
	for i := range 1800 {
		if i > 0 {
			h.wait(time.Second)
		}
		var macs []packet.MAC
		for range 500 {
			n++
			macs = append(macs, invented(n))
		}
		h.claim(3, macs...)
		if h.now.Equal(began.Add(1001 * time.Second)) {
			h.claim(3, web2MAC)
		}
	}
	var strangers, backends int
	for i, e := range h.events {
		c, ok := e.(VIPClaimed)
		switch {
		case !ok:
		case c.Backend != "":
			backends++
			want := "02:00:00:00:00:12 (web/web2: it must not answer ARP for the VIP) claims VIP 10.0.0.100 " +
				"on port 3 of leaf1: dropped, 1 so far"
			if e.Text() != want {
				t.Errorf("got %q, want %q", e.Text(), want)
			}
			if got := h.times[i]; !got.Equal(began.Add(1001 * time.Second)) {
				t.Errorf("the backend is named at %v, want at once", got)
			}
		default:
			strangers++
		}
	}
	if backends != 1 || strangers != 180 {
		t.Errorf("%d events of a backend and %d of strangers, want 1 and 180", backends, strangers)
	}
	if got, want := strings.Count(h.log.String(), "somebody claims a VIP"), 1800/10+1; got != want {
		t.Errorf("%d lines, want %d: one in 10 s, and one of the backend", got, want)
	}
	if h.log.Len() > 125_000 {
		t.Errorf("%d bytes of log in half an hour", h.log.Len())
	}
	list := h.core.Claims()
	if len(list) > 10 {
		t.Errorf("%d rows of claims on one VIP and port", len(list))
	}
	sum, named := uint64(0), 0
	for _, c := range list {
		sum += c.Times
		if c.Backend == "web/web2" {
			named++
		}
	}
	if sum != 1800*500+1 || named != 1 {
		t.Errorf("%d claims in the status, %d rows of web2; want all %d, and one row:\n%v",
			sum, named, 1800*500+1, list)
	}
}

// What came in between is told together when the interval is over, also when nothing comes any more, with
// the others by name.
func TestNoticeNamesOthers(t *testing.T) {
	h := newHearing(t, testIntent)
	h.claim(1, web1MAC)
	h.texts()
	h.wait(time.Second)
	for range 3 {
		h.claim(2, web2MAC)
	}
	h.wait(time.Second)
	h.claim(1, web1MAC)
	h.wait(8*time.Second - 1)
	if got := h.texts(); got != nil {
		t.Errorf("told within the interval: %q", got)
	}
	h.wait(1)
	want := []string{"02:00:00:00:00:12 (web/web2: it must not answer ARP for the VIP) claims VIP 10.0.0.100 " +
		"on port 2 of leaf1: dropped, 3 so far; also 02:00:00:00:00:11 (web/web1) claims 10.0.0.100 on port 1; " +
		"4 times in all since the last such notice"}
	if diff := cmp.Diff(want, h.texts()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	h.wait(time.Hour)
	if got := h.texts(); got != nil {
		t.Errorf("told though nothing came: %q", got)
	}
}

// A notice of hosts that use a VIP as their sender names the others too, as all notices do.
func TestDisownedNamesOthers(t *testing.T) {
	h := newHearing(t, testIntent)
	claims := sent(h, tally.Claimed{VIP: testVIP, Port: 1, Disowned: true}, web1MAC, web2MAC)
	h.put(Noise{"leaf1", tally.Noise{Claims: claims}})
	want := []string{"02:00:00:00:00:11 (web/web1: arp_announce=2 is missing there) asks for its neighbours as " +
		"VIP 10.0.0.100 on port 1 of leaf1: forwarded without the VIP, 1 so far; " +
		"also 02:00:00:00:00:12 (web/web2) asks as 10.0.0.100 on port 1; 2 times in all since the last such notice"}
	if diff := cmp.Diff(want, h.texts()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Noise is told while a decision that has come up waits for the store; a switch that has left has nothing to say.
func TestNoiseWaitsForNothing(t *testing.T) {
	h := newHearing(t, testIntent)
	h.nobody = true
	h.core.save = true // what the next Input brings is to be stored
	h.claim(1, web1MAC)
	if got := h.texts(); len(got) != 1 || !h.core.Waiting() {
		t.Errorf("told %q, and the decision waits: %v; want one event, true", got, h.core.Waiting())
	}
	h.put(Saved{})
	h.nobody = false
	h.claim(2, web1MAC)
	h.apply(strings.ReplaceAll(testIntent, "leaf1", "leaf2"))
	h.texts()
	h.wait(time.Hour)
	h.claim(1, web1MAC)
	if got := h.texts(); got != nil {
		t.Errorf("of a switch that has left: %q", got)
	}
}

// Stations that alternate between ports make one event an interval; a backend among them is told apart.
func TestFloodOfMoves(t *testing.T) {
	h := newHearing(t, testIntent)
	for i := range 100 {
		n := tally.Noise{Moves: sent(h, tally.Move{From: 1, To: 2}, invented(1), invented(i), invented(i+1))}
		n.Moves = append(n.Moves, sent(h, tally.Move{From: 2, To: 1}, web2MAC)...)
		h.put(Noise{"leaf1", n})
		h.wait(time.Second - 1)
	}
	texts := h.texts()
	if len(texts) != 20 {
		t.Errorf("%d events in 100 s, want 10 of the backend and 10 of others:\n%s",
			len(texts), strings.Join(texts, "\n"))
	}
	want := "02:00:00:00:00:12 (web/web2) moved from port 2 to port 1 of leaf1"
	if !strings.Contains(strings.Join(texts, "\n"), want) {
		t.Errorf("no %q in\n%s", want, strings.Join(texts, "\n"))
	}
	if got := strings.Count(h.log.String(), "station moved"); got != 20 {
		t.Errorf("%d lines, want 20", got)
	}
}

// That stations are not learned is told, once an interval, with the reason.
func TestNoRoomIsTold(t *testing.T) {
	h := newHearing(t, testIntent)
	for i := range 100 {
		n := tally.Noise{NoRoom: sent(h, uint16(2), invented(i), invented(i+1)), Full: "the table has 9 rows"}
		h.put(Noise{"leaf1", n})
		h.wait(99 * time.Millisecond)
	}
	want := []string{fmt.Sprintf("leaf1 does not learn %v on port 2: frames to it are flooded; the table has 9 rows; "+
		"also %v on port 2; 2 times in all since the last such notice", invented(0), invented(1))}
	if diff := cmp.Diff(want, h.texts()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if got := strings.Count(h.log.String(), "stations are not learned"); got != 1 {
		t.Errorf("%d lines, want 1:\n%s", got, h.log.String())
	}
}

// However many VIPs and ports are claimed, the status is bounded, and backends come first in it.
func TestClaimsShown(t *testing.T) {
	h := newHearing(t, testIntent)
	for port := range uint16(500) {
		for vip := range 20 {
			key := claimKey{claimPlace{"leaf1", port}, netip.AddrFrom4([4]byte{10, 0, 1, byte(vip)}), false}
			for i := range 10 {
				h.core.noise.claims.Add(key, tally.Sender{MAC: invented(i), Count: tally.Once(h.now)})
			}
		}
	}
	key := claimKey{claimPlace{"leaf1", 499}, testVIP, false}
	h.core.noise.claims.Add(key, tally.Sender{MAC: web1MAC, Known: true, Count: tally.Once(h.now)})
	var got Claim
	list := h.core.Claims()
	for _, c := range list {
		if c.Backend != "" {
			got = c
		}
	}
	if len(list) != claimsShown || got.Port != 499 || got.Backend != "web/web1" {
		t.Errorf("%d rows, want %d; the backend's row is %v", len(list), claimsShown, got)
	}
}
