package learn_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/learn"
	"github.com/sluicelb/sluice/p4/packet"
)

var (
	start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

	a     = packet.MAC{2, 0, 0, 0, 0, 0xa}
	b     = packet.MAC{2, 0, 0, 0, 0, 0xb}
	vip   = packet.MAC{2, 0x53, 0x4c, 0, 0, 1}
	group = packet.MAC{1, 0, 0x5e, 0, 0, 1}
)

// flush writes what the learner asks for, all with success, and returns it as text.
func flush(l *learn.Learner) string {
	var lines []string
	for _, c := range l.Changes(1000, start) {
		lines = append(lines, c.String())
		l.Done(c)
	}
	return strings.Join(lines, "\n")
}

func TestLearner(t *testing.T) {
	tests := []struct {
		name string
		do   func(*learn.Learner)
		want string
	}{
		{"a new station gets both rows", func(l *learn.Learner) { l.Seen(a, 1, start) },
			"insert station 02:00:00:00:00:0a port 1\ninsert l2 02:00:00:00:00:0a port 1"},
		{"a report twice writes once", func(l *learn.Learner) { l.Seen(a, 1, start); flush(l); l.Seen(a, 1, start) },
			""},
		{"a move modifies both rows", func(l *learn.Learner) { l.Seen(a, 1, start); flush(l); l.Seen(a, 2, start) },
			"modify station 02:00:00:00:00:0a port 2\nmodify l2 02:00:00:00:00:0a port 2"},
		{"a station that aged loses both rows", func(l *learn.Learner) { l.Seen(a, 1, start); flush(l); l.Aged(a) },
			"delete station 02:00:00:00:00:0a\ndelete l2 02:00:00:00:00:0a"},
		{"aged before it was written: nothing", func(l *learn.Learner) { l.Seen(a, 1, start); l.Aged(a) }, ""},
		{"aged and back before it was deleted: nothing",
			func(l *learn.Learner) { l.Seen(a, 1, start); flush(l); l.Aged(a); l.Seen(a, 1, start) }, ""},
		{"group and zero addresses are nobody's",
			func(l *learn.Learner) { l.Seen(group, 1, start); l.Seen(packet.MAC{}, 1, start) }, ""},
		{"a VIP's MAC is not learned",
			func(l *learn.Learner) { l.Ignore(map[packet.MAC]uint16{vip: 0}); l.Seen(vip, 3, start) }, ""},
		{"a station whose MAC becomes a VIP's goes", func(l *learn.Learner) {
			l.Seen(vip, 3, start)
			flush(l)
			l.Ignore(map[packet.MAC]uint16{vip: 0})
		}, "delete station 02:53:4c:00:00:01\ndelete l2 02:53:4c:00:00:01"},
		{"rows read back are adopted", func(l *learn.Learner) {
			l.Adopt(learn.L2, a, 1)
			l.Adopt(learn.Station, a, 1)
			l.Adopt(learn.Station, b, 2)
			l.Adopt(learn.L2, b, 2)
		}, ""},
		{"read back: half a station is mended", func(l *learn.Learner) { l.Adopt(learn.Station, a, 1) },
			"insert l2 02:00:00:00:00:0a port 1"},
		{"read back: the halves disagree",
			func(l *learn.Learner) { l.Adopt(learn.L2, a, 2); l.Adopt(learn.Station, a, 1) },
			"modify l2 02:00:00:00:00:0a port 1"},
		{"read back: l2 alone would never age", func(l *learn.Learner) { l.Adopt(learn.L2, a, 2) },
			"delete l2 02:00:00:00:00:0a"},
		{"read back: a VIP's MAC", func(l *learn.Learner) {
			l.Ignore(map[packet.MAC]uint16{vip: 0})
			l.Adopt(learn.Station, vip, 1)
		}, "delete station 02:53:4c:00:00:01"},
		{"a failed write comes again",
			func(l *learn.Learner) { l.Seen(a, 1, start); l.Done(l.Changes(1000, start)[0]) },
			"insert l2 02:00:00:00:00:0a port 1"},
		{"refused: what was written goes, and it may come back", func(l *learn.Learner) {
			l.Seen(a, 1, start)
			changes := l.Changes(1000, start)
			l.Done(changes[0])
			l.Refused(changes[1], start)
		}, "delete station 02:00:00:00:00:0a"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := learn.New(100)
			test.do(l)
			if diff := cmp.Diff(test.want, flush(l)); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if again := flush(l); again != "" {
				t.Errorf("written twice:\n%s", again)
			}
		})
	}
}

func TestSeenTellsAMove(t *testing.T) {
	l := learn.New(100)
	var got []string
	for _, port := range []uint16{1, 1, 4} {
		from, what := l.Seen(a, port, start)
		got = append(got, fmt.Sprint(from, what == learn.Moved))
	}
	if diff := cmp.Diff([]string{"0 false", "1 false", "1 true"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if l.Len() != 1 {
		t.Errorf("%d stations, want 1", l.Len())
	}
}

func station(n int) packet.MAC { return packet.MAC{2, 1, 0, byte(n >> 16), byte(n >> 8), byte(n)} }

// A port that invents MACs gets the half that is for all, and its own share of the other: a router on
// another port finds room, and all of its own share.
func TestPortsHaveShares(t *testing.T) {
	l := learn.New(1000)
	l.Limit(1000, []uint16{1, 2, 3, 4}) // shares of 125
	learned := func(port uint16, from, to int) (n int) {
		for i := from; i < to; i++ {
			if _, what := l.Seen(station(i), port, start); what == learn.Fresh {
				n++
			} else if what != learn.NoRoom {
				t.Fatalf("station %d: %v", i, what)
			}
		}
		flush(l)
		return n
	}
	if full := l.Full(start); full != "" {
		t.Errorf("empty and full: %s", full)
	}
	if n := learned(1, 0, 100_000); n != 625 {
		t.Errorf("%d stations on port 1, want the shared half and its own eighth, 625", n)
	}
	if got, want := l.Full(start),
		"port 1 has 625 stations and may have no more, 375 of 1000 are kept for other ports"; got != want {
		t.Errorf("full: %q, want %q", got, want)
	}
	if n := learned(9, 200_000, 200_010); n != 0 {
		t.Errorf("%d stations on a port that the switch does not have", n)
	}
	for port := uint16(2); port <= 4; port++ {
		if n := learned(port, int(port)*1_000_000, int(port)*1_000_000+1000); n != 125 {
			t.Errorf("%d stations on port %d, want 125", n, port)
		}
	}
	if got, want := l.Full(start), "all 1000 stations are taken"; l.Len() != 1000 || got != want {
		t.Errorf("%d stations, full: %q, want %q", l.Len(), got, want)
	}
	// Known ones move though nothing is free.
	if from, what := l.Seen(station(0), 2, start); from != 1 || what != learn.Moved {
		t.Errorf("a move: %v from %d", what, from)
	}
	l.Aged(station(4_000_000))
	if n := learned(3, 5_000_000, 5_000_010); n != 0 {
		t.Errorf("%d more on port 3, though the place is of port 4's share", n)
	}
	l.Aged(station(1))
	if n := learned(3, 6_000_000, 6_000_010); n != 1 {
		t.Errorf("%d more on port 3 when a place that is for all was free, want 1", n)
	}
}

// Whatever hosts send, what waits to be written is bounded too, and comes in parts.
func TestChangesComeInParts(t *testing.T) {
	l := learn.New(1000)
	l.Limit(1000, []uint16{1})
	for i := range 50_000 {
		l.Seen(station(i), 1, start)
	}
	total := 0
	for {
		part := l.Changes(100, start)
		if len(part) == 0 {
			break
		}
		if len(part) > 101 {
			t.Fatalf("%d changes at once, want about 100", len(part))
		}
		if total == 0 && part[0].MAC != station(0) {
			t.Errorf("the first is %v, want the one that waited longest", part[0])
		}
		for _, c := range part {
			l.Done(c)
		}
		total += len(part)
	}
	if total != 2000 {
		t.Errorf("%d changes, want two for each of 1000 stations", total)
	}
	if due := l.Due(start); !due.IsZero() {
		t.Errorf("more is due at %v", due)
	}
	// Reports of what is known, and of nobody, leave nothing to write.
	l.Seen(station(1), 1, start)
	l.Aged(station(70_000))
	if due := l.Due(start); !due.IsZero() {
		t.Errorf("reports that change nothing are due at %v", due)
	}
}

// A station does not wait behind those that another port invents.
func TestPortsTakeTurns(t *testing.T) {
	l := learn.New(10_000)
	l.Limit(10_000, []uint16{1, 2, 3})
	for i := range 3000 {
		l.Seen(station(i), 1, start)
	}
	write := func() map[packet.MAC]bool {
		got := make(map[packet.MAC]bool)
		for _, c := range l.Changes(8, start) {
			got[c.MAC] = true
			l.Done(c)
		}
		return got
	}
	write()
	l.Seen(a, 2, start)
	l.Seen(b, 3, start)
	l.Aged(station(0))
	if got := write(); !got[a] || !got[b] || !got[station(0)] || len(got) != 4 {
		t.Errorf("written: %v, want a station each of ports 1, 2 and 3, and the one that is gone", got)
	}
	if got := write(); len(got) != 4 || got[station(0)] {
		t.Errorf("written then: %v, want 4 of port 1", got)
	}
	// More ports than fit in one go: each gets its turn.
	l = learn.New(10_000)
	for port := range uint16(20) {
		for i := range 5 {
			l.Seen(station(int(port)*100+i), port, start)
		}
	}
	turns := make(map[byte]int)
	for range 5 {
		for mac := range write() {
			turns[byte((int(mac[4])<<8|int(mac[5]))/100)]++
		}
	}
	for port := range byte(20) {
		if turns[port] != 1 {
			t.Errorf("port %d had %d turns of 20, want 1", port, turns[port])
		}
	}
}

// A switch that turns out to hold fewer is left alone until a row is gone, or Retry is over.
func TestTableThatTurnsOutFull(t *testing.T) {
	l := learn.New(1000)
	l.Limit(1000, []uint16{1, 2})
	l.Seen(a, 1, start)
	flush(l)
	try := func(mac packet.MAC, at time.Time) (n int) {
		t.Helper()
		l.Seen(mac, 2, at)
		for _, c := range l.Changes(1000, at) {
			if c.Op == learn.Delete {
				l.Done(c)
				continue
			}
			n++
			l.Refused(c, at)
		}
		return n
	}
	l.Seen(b, 2, start)
	for i := range 10 {
		l.Seen(station(i), 2, start)
	}
	for _, c := range l.Changes(2, start) {
		l.Refused(c, start)
	}
	if left := l.Changes(1000, start); len(left) != 0 || l.Len() != 1 {
		t.Errorf("%v is to be written though the table is full, and %d stations are known; want nothing, and 1", left,
			l.Len())
	}
	if got, want := l.Full(start), "the switch takes no more than 1 stations"; got != want {
		t.Errorf("full: %q, want %q", got, want)
	}
	almost := start.Add(learn.Retry - time.Millisecond)
	if n := try(b, almost); n != 0 {
		t.Errorf("%d rows were tried again at once", n)
	}
	if n := try(b, start.Add(learn.Retry)); n != 2 {
		t.Errorf("%d rows were tried when the time was over, want 2", n)
	}
	l.Aged(a)
	flush(l)
	if _, what := l.Seen(b, 2, start.Add(learn.Retry)); what != learn.Fresh {
		t.Errorf("when a station has left: %v, want room", what)
	}
}

// A row that is not deleted is not tried at once, and only once then.
func TestRefusedDeletion(t *testing.T) {
	l := learn.New(100)
	l.Seen(a, 1, start)
	flush(l)
	l.Aged(a)
	for _, c := range l.Changes(1000, start) {
		l.Refused(c, start)
	}
	if n := len(l.Changes(1000, start)); n != 0 {
		t.Errorf("%d deletions are tried again at once", n)
	}
	if due := l.Due(start); !due.Equal(start.Add(learn.Retry)) {
		t.Errorf("due at %v, want after %v", due, learn.Retry)
	}
	want := []learn.Change{{Op: learn.Delete, Table: learn.Station, MAC: a},
		{Op: learn.Delete, Table: learn.L2, MAC: a}}
	if diff := cmp.Diff(want, l.Changes(1000, start.Add(learn.Retry))); diff != "" {
		t.Errorf("then (-want +got):\n%s", diff)
	}
}
