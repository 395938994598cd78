package gslb

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/selection"
)

var (
	t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	t1 = t0.Add(time.Minute)
	t2 = t0.Add(2 * time.Minute)
)

func TestComposeAnAnswer(t *testing.T) {
	c := &config.Config{
		DataCenters: []config.DataCenter{{Name: "fra", Region: config.None, Controller: "127.0.0.1:9680"}},
		Keepalives: []config.Keepalive{
			{Kind: config.ICMP, Address: netip.MustParseAddrPort("192.0.2.1:0")},
			{Name: "web", Kind: config.HTTPHead, Address: netip.MustParseAddrPort("192.0.2.1:80"), Path: "/ok"},
			{Kind: config.Always},
		},
	}
	up := verdict{health: selection.Up, load: -1, since: t0}
	down := verdict{health: selection.Down, load: -1, reason: "no answer", since: t1}
	unknown := verdict{load: -1}
	lost := verdict{health: selection.Down, load: -1, reason: "no word for 30s", since: t1, unseen: true}
	awaited := verdict{load: -1, reason: "connection refused", unseen: true}
	unasked := verdict{load: -1, reason: "not asked: operation not permitted", unseen: true}
	loaded := func(load int) verdict { return verdict{health: selection.Up, load: load, since: t0} }
	type keepalives = []int
	for _, tt := range []struct {
		name       string
		keepalives keepalives
		vip        string
		suspend    bool
		verdicts   []verdict // of the keepalives in the configuration
		controller verdict
		want       selection.State
		reason     string
		since      time.Time
	}{
		{"nothing asked is up", nil, "", false, []verdict{down, down, down}, down,
			selection.State{Health: selection.Up}, "", t2},
		{"all pass", keepalives{0, 1}, "", false, []verdict{up, loaded(7), down}, down,
			selection.State{Health: selection.Up, HasLoad: true, Load: 7}, "", t0},
		{"one fails", keepalives{0, 1}, "", false, []verdict{up, down, up}, up, selection.State{Health: selection.Down},
			"web: no answer", t1},
		{"a failure counts before the others are known", keepalives{0, 1}, "", false, []verdict{unknown, down, up}, up,
			selection.State{Health: selection.Down}, "web: no answer", t1},
		{"one is not known yet", keepalives{0, 1}, "", false, []verdict{up, unknown, up}, up, selection.State{},
			"web (http head 192.0.2.1:80 /ok): no verdict yet", t2},
		{"one cannot be asked", keepalives{0}, "", false, []verdict{unasked, up, up}, up, selection.State{Unseen: true},
			"icmp 192.0.2.1: not asked: operation not permitted", t2},
		{"one cannot be asked, and another vouches", keepalives{0, 1}, "", false, []verdict{unasked, up, up}, up,
			selection.State{Health: selection.Up}, "without a say: icmp 192.0.2.1: not asked: operation not permitted",
			t0},
		{"one cannot be asked, and another fails", keepalives{0, 1}, "", false, []verdict{unasked, down, up}, up,
			selection.State{Health: selection.Down}, "web: no answer", t1},
		{"one cannot be asked, and another is not known yet", keepalives{0, 1}, "", false,
			[]verdict{unasked, unknown, up}, up, selection.State{}, "web (http head 192.0.2.1:80 /ok): no verdict yet",
			t2},
		{"that it is always up vouches for nothing that cannot be asked", keepalives{0, 2}, "", false,
			[]verdict{unasked, up, up}, up, selection.State{Unseen: true},
			"icmp 192.0.2.1: not asked: operation not permitted", t2},
		{"one cannot be asked, and the controller vouches", keepalives{0}, "www", false, []verdict{unasked, up, up},
			loaded(9), selection.State{Health: selection.Up, HasLoad: true, Load: 9},
			"without a say: icmp 192.0.2.1: not asked: operation not permitted", t0},
		{"one cannot be asked, and the controller does not see it either", keepalives{0}, "www", false,
			[]verdict{unasked, up, up}, lost, selection.State{Health: selection.Down},
			"VIP www at the controller of fra: no word for 30s", t1},
		{"one cannot be asked, and the controller's verdict is to come", keepalives{0}, "www", false,
			[]verdict{unasked, up, up}, unknown, selection.State{}, "VIP www at the controller of fra: no verdict yet",
			t2},
		{"one cannot be asked, and the controller says down", keepalives{0}, "www", false, []verdict{unasked, up, up},
			down, selection.State{Health: selection.Down}, "VIP www at the controller of fra: no answer", t1},
		{"the controller's first word is waited for", keepalives{0}, "www", false, []verdict{up, up, up}, unknown,
			selection.State{}, "VIP www at the controller of fra: no verdict yet", t2},
		{"a controller that refuses is left out where a keepalive asks", keepalives{0}, "www", false,
			[]verdict{up, up, up}, awaited, selection.State{Health: selection.Up},
			"without a say: VIP www at the controller of fra: connection refused", t0},
		{"a controller that refuses is waited for where nothing else asks", nil, "www", false, []verdict{up, up, up},
			awaited, selection.State{}, "VIP www at the controller of fra: connection refused", t2},
		{"the controller too must say so", keepalives{0}, "www", false, []verdict{up, up, up}, down,
			selection.State{Health: selection.Down}, "VIP www at the controller of fra: no answer", t1},
		{"the highest load counts", keepalives{0, 1}, "www", false, []verdict{loaded(20), loaded(3), up}, loaded(254),
			selection.State{Health: selection.Up, HasLoad: true, Load: 254}, "", t0},
		{"a lost controller is left out where a keepalive asks", keepalives{0}, "www", false, []verdict{up, up, up},
			lost, selection.State{Health: selection.Up},
			"without a say: VIP www at the controller of fra: no word for 30s", t0},
		{"a lost controller is down where nothing else asks", nil, "www", false, []verdict{up, up, up}, lost,
			selection.State{Health: selection.Down}, "VIP www at the controller of fra: no word for 30s", t1},
		{"that it is always up vouches for nothing", keepalives{2}, "www", false, []verdict{up, up, up}, lost,
			selection.State{Health: selection.Down}, "VIP www at the controller of fra: no word for 30s", t1},
		{"the load of a lost controller does not count", keepalives{0}, "www", false, []verdict{up, up, up},
			verdict{health: selection.Down, load: 200, unseen: true}, selection.State{Health: selection.Up}, "", t0},
		{"suspended", keepalives{0}, "", true, []verdict{up, up, up}, up,
			selection.State{Health: selection.Up, Suspended: true}, "suspended by an operator", t2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c.Answers = []config.Answer{{Name: "a", Kind: config.VIP, DataCenter: 0, Keepalives: tt.keepalives,
				ControllerVIP: tt.vip}}
			s := suspended{}
			if tt.suspend {
				s = s.with([]string{"a"}, nil, true)
			}
			o := observed{
				keepalive:  func(i int) verdict { return tt.verdicts[i] },
				controller: func(int, string) verdict { return tt.controller },
			}
			got := compose(c, o, s, nil, t2)[0]
			if got.State != tt.want || got.reason != tt.reason || !got.since.Equal(tt.since) {
				t.Errorf("got %+v %q since %v\nwant %+v %q since %v", got.State, got.reason, got.since, tt.want,
					tt.reason, tt.since)
			}
		})
	}
}

func TestComposeKeepsSince(t *testing.T) {
	c := &config.Config{Answers: []config.Answer{{Name: "a", DataCenter: config.None}}}
	before := map[string]answerState{"a": {State: selection.State{Health: selection.Up}, since: t0}}
	if got := compose(c, observed{}, suspended{}, before, t1)[0]; !got.since.Equal(t0) {
		t.Errorf("what goes on is since %v, want %v", got.since, t0)
	}
	before["a"] = answerState{State: selection.State{Health: selection.Up, Suspended: true}, since: t0}
	if got := compose(c, observed{}, suspended{}, before, t1)[0]; !got.since.Equal(t1) {
		t.Errorf("activated since %v, want %v", got.since, t1)
	}
}

// What was known of an answer stands until there is a verdict on what is asked about it now.
func TestComposeAfterAChange(t *testing.T) {
	c := &config.Config{
		Keepalives: []config.Keepalive{{Kind: config.TCP, Address: netip.MustParseAddrPort("192.0.2.1:80")}},
		Answers: []config.Answer{{Name: "a", Kind: config.VIP, IPv4: netip.MustParseAddr("192.0.2.1"),
			DataCenter: config.None, Keepalives: []int{0}}},
	}
	same, other := identityOf(&c.Answers[0]), identity{kind: config.VIP, ipv4: netip.MustParseAddr("192.0.2.2")}
	up, down := selection.State{Health: selection.Up, HasLoad: true, Load: 7}, selection.State{Health: selection.Down}
	unknown, unasked := verdict{load: -1}, verdict{load: -1, unseen: true}
	for _, tt := range []struct {
		name   string
		before answerState
		now    verdict
		want   selection.State
		reason string
	}{
		{"it was up", answerState{State: up, of: same}, unknown, up, ""},
		{"it was down", answerState{State: down, of: same, reason: "no answer"}, unknown, down, "no answer"},
		{"it was not known", answerState{of: same}, unknown, selection.State{}, "tcp 192.0.2.1:80: no verdict yet"},
		{"it was suspended", answerState{State: selection.State{Health: selection.Up, Suspended: true}, of: same,
			reason: "suspended by an operator"}, unknown, selection.State{Health: selection.Up}, ""},
		{"it is another server", answerState{State: up, of: other}, unknown, selection.State{},
			"tcp 192.0.2.1:80: no verdict yet"},
		{"there is a verdict", answerState{State: up, of: same},
			verdict{health: selection.Down, load: -1, reason: "refused"}, down, "refused"},
		{"there is another load", answerState{State: up, of: same}, verdict{health: selection.Unknown, load: 9},
			selection.State{Health: selection.Up, HasLoad: true, Load: 9}, ""},
		{"no verdict is to come", answerState{State: up, of: same}, unasked, selection.State{Unseen: true},
			"tcp 192.0.2.1:80: no verdict yet"},
	} {
		o := observed{keepalive: func(int) verdict { return tt.now }}
		if got := compose(c, o, suspended{}, map[string]answerState{"a": tt.before}, t1)[0]; got.State != tt.want ||
			got.reason != tt.reason {
			t.Errorf("%s: got %+v %q, want %+v %q", tt.name, got.State, got.reason, tt.want, tt.reason)
		}
	}
}

func TestTransitions(t *testing.T) {
	up, down, unknown := selection.State{Health: selection.Up}, selection.State{Health: selection.Down},
		selection.State{}
	before := map[string]answerState{"dies": {State: up}, "stays": {State: up}, "leaves": {State: up},
		"returns": {State: down}, "stops": {State: up}}
	after := map[string]answerState{
		"dies": {State: down, reason: "no answer"}, "stays": {State: up}, "returns": {State: up}, "new": {State: up},
		"newer": {State: unknown},
		"stops": {State: selection.State{Health: selection.Up, Suspended: true}, reason: "suspended by an operator"},
	}
	got := transitions(before, after)
	want := []transition{
		{"dies", "up", "down", "no answer"}, {"new", "unknown", "up", ""}, {"returns", "down", "up", ""},
		{"stops", "up", "suspended", "suspended by an operator"},
	}
	if diff := diffTransitions(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Few transitions are told each, of many the number, and first verdicts that say up are no news.
func TestTeller(t *testing.T) {
	var b strings.Builder
	tell := teller{log: slog.New(slog.NewTextHandler(&b,
		&slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
				return slog.Attr{}
			}
			return a
		}}))}
	var starts, falls []transition
	for i := range 3 {
		starts = append(starts, transition{fmt.Sprint("a", i), "unknown", "up", ""})
	}
	for i := range mostTold + 5 {
		falls = append(falls, transition{fmt.Sprint("a", i), "up", "down", "no answer"})
	}
	told := func(now time.Time, list []transition, want string) {
		t.Helper()
		b.Reset()
		tell.tell(list, now)
		if diff := cmp.Diff(want, b.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	told(t0, starts, "")
	told(t0.Add(time.Second), falls[:1], "msg=\"answer down\" answer=a0 was=up reason=\"no answer\"\n")
	b.Reset()
	tell.tell(falls[1:], t0.Add(2*time.Second))
	if n := strings.Count(b.String(), "\n"); n != mostTold-1 {
		t.Errorf("%d lines, want %d", n, mostTold-1)
	}
	told(t0.Add(toldWithin), nil, "msg=\"more answers changed\" down=5 up=3\n")
	told(t0.Add(toldWithin), falls[:1], "msg=\"answer down\" answer=a0 was=up reason=\"no answer\"\n")
	told(t0.Add(3*toldWithin), nil, "")
}

func diffTransitions(want, got []transition) string {
	return cmp.Diff(want, got, cmp.AllowUnexported(transition{}))
}
