package tally_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/tally"
	"github.com/sluicelb/sluice/p4/packet"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// key is something that happens on a port.
type key struct {
	port int
	what string
}

func newTally() *tally.Tally[int, key] { return tally.New(func(k key) int { return k.port }) }

func mac(n int) packet.MAC { return packet.MAC{2, 0, 0, byte(n >> 16), byte(n >> 8), byte(n)} }

func by(n int, known bool, second int) tally.Sender {
	return tally.Sender{MAC: mac(n), Known: known, Count: tally.Once(start.Add(time.Duration(second) * time.Second))}
}

// text prints entries: "1 a 5 0..4s: 02:00:00:00:00:01* 3, 02:00:00:00:00:02 1, others 1".
func text(entries []tally.Entry[key]) string {
	var lines []string
	for _, e := range entries {
		var parts []string
		for _, s := range e.Senders {
			star := ""
			if s.Known {
				star = "*"
			}
			parts = append(parts, fmt.Sprintf("%v%s %d", s.MAC, star, s.Times))
		}
		if n := e.Others(); n > 0 {
			parts = append(parts, fmt.Sprintf("others %d", n))
		}
		lines = append(lines, fmt.Sprintf("%d %s %d %v..%v: %s", e.Key.port, e.Key.what, e.Times,
			e.First.Sub(start), e.Last.Sub(start), strings.Join(parts, ", ")))
	}
	return strings.Join(lines, "\n")
}

func TestCounts(t *testing.T) {
	a, b := newTally(), newTally()
	for i := range 3 {
		a.Add(key{1, "a"}, by(1, false, i))
	}
	a.Add(key{1, "a"}, by(2, true, 4))
	a.Add(key{2, "b"}, by(1, false, 5))
	want := "1 a 4 0s..4s: 02:00:00:00:00:02* 1, 02:00:00:00:00:01 3\n2 b 1 5s..5s: 02:00:00:00:00:01 1"
	if diff := cmp.Diff(want, text(a.Entries())); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	b.Add(key{1, "a"}, by(1, false, 9))
	for _, e := range a.Take() {
		b.Merge(e)
	}
	if n := a.Len(); n != 0 {
		t.Errorf("%d entries are left after Take", n)
	}
	want = "1 a 5 0s..9s: 02:00:00:00:00:02* 1, 02:00:00:00:00:01 4\n2 b 1 5s..5s: 02:00:00:00:00:01 1"
	if diff := cmp.Diff(want, text(b.Entries())); diff != "" {
		t.Errorf("merged (-want +got):\n%s", diff)
	}
	if got := b.Sender(key{1, "a"}, by(1, false, 0)).Times; got != 4 {
		t.Errorf("the sender's count is %d, want 4", got)
	}
	if got := b.Sender(key{1, "a"}, by(9, false, 0)).Times; got != 1 {
		t.Errorf("the count of a sender that is not there is %d, want what it says", got)
	}
}

// Invented senders displace each other. One that comes back stays, and so does one that is known.
func TestInventedSenders(t *testing.T) {
	for _, knownAt := range []int{0, 500} {
		tl := newTally()
		for i := range 1000 {
			if i == knownAt {
				tl.Add(key{1, "a"}, by(7, true, 0))
			}
			tl.Add(key{1, "a"}, by(1000+i, false, i))
			if i%100 < 2 {
				tl.Add(key{1, "a"}, by(8, false, i))
			}
		}
		e := tl.Entries()[0]
		if e.Times != 1021 || len(e.Senders) != 5 {
			t.Errorf("%d times by %d senders, want 1021 by 5", e.Times, len(e.Senders))
		}
		if s := e.Senders[0]; s.MAC != mac(7) || !s.Known || s.Times != 1 {
			t.Errorf("the first is %+v, want the known one", s)
		}
		if s := e.Senders[1]; s.MAC != mac(8) || s.Times < 18 {
			t.Errorf("the second is %+v, want the one that comes back", s)
		}
		if last := e.Senders[4]; last.MAC.String() < mac(1996).String() {
			t.Errorf("the last is %+v, want one of the latest", last)
		}
	}
}

// Known senders are bounded too: their MACs can be forged.
func TestForgedSenders(t *testing.T) {
	tl := newTally()
	for i := range 1000 {
		tl.Add(key{1, "a"}, by(i, true, i))
	}
	if e := tl.Entries()[0]; len(e.Senders) != 8 || e.Others() != 992 {
		t.Errorf("%d senders and %d others, want 8 and 992", len(e.Senders), e.Others())
	}
}

// Keys are bounded by place, and what somebody known did stays.
func TestManyKeys(t *testing.T) {
	tl := newTally()
	tl.Add(key{1, "known"}, by(7, true, 0))
	tl.Add(key{2, "quiet"}, by(9, false, 0))
	for i := range 10_000 {
		tl.Add(key{1, fmt.Sprint(i)}, by(i, false, i))
	}
	tl.Add(key{1, "late"}, by(6, true, 0))
	entries := tl.Entries()
	if tl.Len() != 9 || len(entries) != 9 {
		t.Errorf("%d keys, want 8 of port 1 and 1 of port 2", tl.Len())
	}
	got := map[string]bool{}
	for _, e := range entries {
		got[e.Key.what] = true
	}
	if !got["known"] || !got["late"] || !got["quiet"] || !entries[0].Known() || !entries[1].Known() {
		t.Errorf("displaced:\n%s", text(entries))
	}
	// Where all are known, a stranger finds no room.
	for i := range 20 {
		tl.Add(key{1, fmt.Sprint("k", i)}, by(i, true, i))
	}
	tl.Add(key{1, "stranger"}, by(1, false, 99))
	for _, e := range tl.Entries() {
		if e.Key.port == 1 && !e.Known() {
			t.Errorf("a stranger displaced a known sender: %s", e.Key.what)
		}
	}
}

// Places are bounded: the one where nothing has happened for longest goes, unless somebody known is there.
func TestManyPlaces(t *testing.T) {
	tl := newTally()
	tl.Add(key{-1, "x"}, by(7, true, 0))
	for port := range 5000 {
		tl.Add(key{port, "x"}, by(1, false, port))
	}
	got := map[int]bool{}
	for _, e := range tl.Entries() {
		got[e.Key.port] = true
	}
	if len(got) != 1024 || !got[-1] || !got[4999] || got[3000] {
		t.Errorf("%d places are kept; the one of somebody known: %v, the latest: %v, an old one: %v", len(got), got[-1],
			got[4999], got[3000])
	}
	for port := range 1024 {
		tl.Add(key{-2 - port, "x"}, by(7, true, 0))
	}
	tl.Add(key{1, "x"}, by(1, false, 9999))
	if tl.Len() != 1024 || !tl.Entries()[1023].Known() {
		t.Errorf("%d places, the last %+v; want 1024 of somebody known", tl.Len(), tl.Entries()[1023])
	}
}
