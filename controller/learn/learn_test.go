package learn_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/learn"
	"github.com/sluicelb/sluice/p4/packet"
)

var (
	a     = packet.MAC{2, 0, 0, 0, 0, 0xa}
	b     = packet.MAC{2, 0, 0, 0, 0, 0xb}
	vip   = packet.MAC{2, 0x53, 0x4c, 0, 0, 1}
	group = packet.MAC{1, 0, 0x5e, 0, 0, 1}
)

// flush writes what the learner asks for, all with success, and returns it as text.
func flush(l *learn.Learner) string {
	var lines []string
	for _, c := range l.Changes() {
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
		{"a new station gets both rows", func(l *learn.Learner) { l.Seen(a, 1) },
			"insert station 02:00:00:00:00:0a port 1\ninsert l2 02:00:00:00:00:0a port 1"},
		{"a report twice writes once", func(l *learn.Learner) { l.Seen(a, 1); flush(l); l.Seen(a, 1) }, ""},
		{"a move modifies both rows", func(l *learn.Learner) { l.Seen(a, 1); flush(l); l.Seen(a, 2) },
			"modify station 02:00:00:00:00:0a port 2\nmodify l2 02:00:00:00:00:0a port 2"},
		{"a station that aged loses both rows", func(l *learn.Learner) { l.Seen(a, 1); flush(l); l.Aged(a) },
			"delete station 02:00:00:00:00:0a\ndelete l2 02:00:00:00:00:0a"},
		{"aged before it was written: nothing", func(l *learn.Learner) { l.Seen(a, 1); l.Aged(a) }, ""},
		{"aged and back before it was deleted: nothing", func(l *learn.Learner) { l.Seen(a, 1); flush(l); l.Aged(a); l.Seen(a, 1) }, ""},
		{"group and zero addresses are nobody's", func(l *learn.Learner) { l.Seen(group, 1); l.Seen(packet.MAC{}, 1) }, ""},
		{"a VIP's MAC is not learned", func(l *learn.Learner) { l.Ignore(map[packet.MAC]uint16{vip: 0}); l.Seen(vip, 3) }, ""},
		{"a station whose MAC becomes a VIP's goes", func(l *learn.Learner) {
			l.Seen(vip, 3)
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
		{"read back: the halves disagree", func(l *learn.Learner) { l.Adopt(learn.L2, a, 2); l.Adopt(learn.Station, a, 1) },
			"modify l2 02:00:00:00:00:0a port 1"},
		{"read back: l2 alone would never age", func(l *learn.Learner) { l.Adopt(learn.L2, a, 2) },
			"delete l2 02:00:00:00:00:0a"},
		{"read back: a VIP's MAC", func(l *learn.Learner) {
			l.Ignore(map[packet.MAC]uint16{vip: 0})
			l.Adopt(learn.Station, vip, 1)
		}, "delete station 02:53:4c:00:00:01"},
		{"a failed write comes again", func(l *learn.Learner) { l.Seen(a, 1); l.Done(l.Changes()[0]) },
			"insert l2 02:00:00:00:00:0a port 1"},
		{"given up: what was written goes, and it may come back", func(l *learn.Learner) {
			l.Seen(a, 1)
			l.Done(l.Changes()[0])
			l.GiveUp(a)
		}, "delete station 02:00:00:00:00:0a"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := learn.New()
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
	l := learn.New()
	var got []string
	for _, port := range []uint16{1, 1, 4} {
		from, moved := l.Seen(a, port)
		got = append(got, fmt.Sprint(from, moved))
	}
	if diff := cmp.Diff([]string{"0 false", "1 false", "1 true"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if l.Len() != 1 {
		t.Errorf("%d stations, want 1", l.Len())
	}
}
