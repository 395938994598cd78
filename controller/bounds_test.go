package controller

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/plan"
)

// What two thousand servers do at once fits a line, and the events that are remembered stay small.
func TestManyChangesMakeShortLines(t *testing.T) {
	const n = 2000
	var b strings.Builder
	b.WriteString(`switches:
  - {name: leaf1, address: "127.0.0.1:9559", device_id: 1, ports: [1]}
vip_mac: 02:53:4c:00:00:01
pools:
  - name: web
    slots: 4096
    checks: [{type: tcp, port: 80}]
    backends:
`)
	for i := range n {
		fmt.Fprintf(&b, "      - {name: server-with-a-name-%d, address: 10.1.%d.%d, mac: \"02:00:00:00:%02x:%02x\", "+
			"switch_port: 1}\n", i, i/250, i%250+1, i/250, i%250+1)
	}
	b.WriteString("vips:\n  - {name: www, address: 10.0.0.100, port: 80, pool: web}\n")
	var logged bytes.Buffer
	l := newLoop(slog.New(slog.NewTextHandler(&logged, nil)), newFigures(), &fakeStore{}, core.Stored{})
	l.start = startNothing
	if err := l.begin("test.yaml", []byte(b.String())); err != nil {
		t.Fatal(err)
	}
	var list []*api.Verdict
	for i := range n / 2 {
		list = append(list, &api.Verdict{Pool: "web", Backend: fmt.Sprintf("server-with-a-name-%d", i),
			Health: api.Health_HEALTH_DOWN})
	}
	if _, err := l.verdicts(&api.ReportVerdictsRequest{Verdicts: list}); err != nil {
		t.Fatal(err)
	}
	causes := 0
	for line := range strings.Lines(logged.String()) {
		if len(line) > 1200 {
			t.Errorf("a line of %d bytes: %.300s", len(line), line)
		}
		if strings.Contains(line, `cause="verdicts on web/server-with-a-name-0, `) &&
			strings.Contains(line, ` and 992 more" slots=`) &&
			strings.Contains(line, " more moves, ") {
			causes++
		}
	}
	if causes != 1 {
		t.Errorf("%d lines tell that slots moved", causes)
	}
	past := l.events.past()
	var moved *api.SlotsMoved
	for _, ev := range past {
		if size := proto.Size(ev); size > 8<<10 {
			t.Errorf("an event of %d bytes: %.200s", size, ev.Text)
		}
		if ev.GetSlotsMoved() != nil {
			moved = ev.GetSlotsMoved()
		}
	}
	if len(moved.Moves) != core.MovesTold || moved.MovesTotal <= core.MovesTold || moved.SlotsTotal < 2000 {
		t.Errorf("%d moves told of %d, %d slots", len(moved.Moves), moved.MovesTotal, moved.SlotsTotal)
	}
	// Slots that go to nobody are told first: they break flows.
	r := plan.Progress{Moves: []plan.Move{{From: "a", To: "b", Slots: 1}, {From: "c", Slots: 2}}}
	if got := core.Foremost(r, 1)[0]; got.From != "c" {
		t.Errorf("the foremost move is %v", got)
	}
}

// What others wrote is cut where it comes in.
func TestReasonsAreCut(t *testing.T) {
	l := newTestLoop(t, &fakeStore{})
	garbage := strings.Repeat("x", 60<<10)
	list := []*api.Verdict{
		{Pool: "web", Backend: "web1", Health: api.Health_HEALTH_DOWN, Reason: garbage},
		{Pool: "web", Backend: garbage, Health: api.Health_HEALTH_DOWN},
	}
	unknown, err := l.verdicts(&api.ReportVerdictsRequest{Verdicts: list})
	if err != nil {
		t.Fatal(err)
	}
	want := garbage[:256] + "... (61440 bytes)"
	if got := l.core.Stored().Verdicts[plan.BackendKey{Pool: "web", Backend: "web1"}].Reason; got != want {
		t.Errorf("stored: %d bytes", len(got))
	}
	if len(unknown) != 1 || len(unknown[0]) > 300 {
		t.Errorf("unknown: %d", len(unknown))
	}
	past := l.events.past()
	for _, ev := range past {
		if len(ev.Text) > 400 {
			t.Errorf("an event of %d bytes: %.100s", len(ev.Text), ev.Text)
		}
	}
}
