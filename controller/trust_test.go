package controller

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
)

// wide has a pool of n backends with the default grace and floor.
func wide(n int) string {
	var more strings.Builder
	for i := 3; i <= n; i++ {
		fmt.Fprintf(&more, "      - {name: web%d, address: 10.0.0.1%d, mac: \"02:00:00:00:00:1%d\", switch_port: 3}\n",
			i, i, i)
	}
	return strings.Replace(testIntent, "vips:", more.String()+"vips:", 1)
}

func (l limited) held() (texts []string) {
	for _, e := range l.events.past() {
		if e.GetPoolHeld() != nil {
			texts = append(texts, e.Text)
		}
	}
	return texts
}

// A verdict that is taken back within the grace has moved no open flow; one that stands moves them when it is over.
func TestGraceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, wide(4), core.Stored{})
		l.connect("leaf1")
		before := l.slots()
		l.verdict("web4", api.Health_HEALTH_DOWN)
		start := time.Now()
		time.Sleep(time.Second) // the switch takes its time: the grace counts from then
		l.connect("leaf1")
		b := l.web().Backends[3]
		if b.Slots != 0 || b.GraceSlots != 16 || !b.GraceUntil.AsTime().Equal(start.Add(7*time.Second)) {
			t.Errorf("web4 is down: %v", b)
		}
		time.Sleep(6*time.Second - time.Millisecond)
		synctest.Wait()
		for i, s := range l.slots() {
			if was := before[i].Backend; s.Backend != was && s.Old != was {
				t.Errorf("before the end slot %d is %+v, its open flows were with %d", i, s, was)
			}
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if m := l.web(); m.Moving != 0 || m.Backends[3].GraceSlots != 0 {
			t.Errorf("at the end: %v", m)
		}
		past := l.events.past()
		past = past[len(past)-1:]
		const text = "web: the grace of 16 slots is over, 6s: connections that were still open to backends that are " +
			"down go to others " +
			"and break; 0 slots still move"
		if len(past) != 1 || past[0].Text != text {
			t.Errorf("got %v, want %q", past, text)
		}
	})
}

// When healthd loses its own network all servers fall, one after the other: nobody's open flows go anywhere, for
// however long it lasts, and the operator is told. So it is after a restart of the controller.
func TestFloorHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, wide(5), core.Stored{})
		l.connect("leaf1")
		before := l.slots()
		keeps := func(when string) {
			t.Helper()
			for i, s := range l.slots() {
				if was := before[i].Backend; s.Backend != was && s.Old != was {
					t.Errorf("%s slot %d is %+v, its open flows were with %d", when, i, s, was)
				}
			}
		}
		for i := 1; i <= 5; i++ {
			l.verdict(fmt.Sprintf("web%d", i), api.Health_HEALTH_DOWN)
			l.connect("leaf1")
			time.Sleep(400 * time.Millisecond)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		keeps("after 10 minutes")
		var vip api.VIPStatus_State
		l.in(func() { vip = l.moment().statusMessage().Vips[0].State })
		if m := l.web(); m.Held != "none of the 5 backends is up: "+whatToDo || vip != api.VIPStatus_STATE_NO_BACKEND {
			t.Errorf("held %q, the VIP is %v", m.Held, vip)
		}
		var st core.Stored
		l.in(func() { st = l.core.Stored() })

		l = newLimited(t, wide(5), st)
		l.connect("leaf1")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		keeps("after a restart")
		for i := 1; i <= 5; i++ {
			l.verdict(fmt.Sprintf("web%d", i), api.Health_HEALTH_UP)
			l.connect("leaf1")
			keeps("as they return")
		}
		if m := l.web(); m.Held != "" {
			t.Errorf("all are up: held %q", m.Held)
		}
		want := []string{
			"web: none of the 5 backends is up: " + whatToDo,
			"web: backends that are down keep open connections for their grace and no longer",
		}
		if diff := cmp.Diff(want, l.held()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// What the message says to do helps: when those that are dead have been disabled, their grace ends.
func TestFloorIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := wide(3)
		l := newLimited(t, text, core.Stored{})
		l.connect("leaf1")
		for _, b := range []string{"web2", "web3"} {
			l.verdict(b, api.Health_HEALTH_DOWN)
			l.connect("leaf1")
		}
		time.Sleep(time.Hour)
		if m := l.web(); m.Moving == 0 || m.Held == "" || m.Backends[1].GraceUntil != nil {
			t.Fatalf("two of three fell: %v", m)
		}
		text = strings.ReplaceAll(text, "switch_port: 2}", "switch_port: 2, enabled: false}")
		text = strings.ReplaceAll(text, "switch_port: 3}", "switch_port: 3, enabled: false}")
		l.in(func() {
			if _, err := l.applyFile(parse("test.yaml", text)); err != nil {
				t.Error(err)
			}
		})
		l.connect("leaf1")
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if m := l.web(); m.Moving != 0 || m.Held != "" || m.Backends[0].Slots != 64 {
			t.Errorf("they are disabled: %v", m)
		}
	})
}

// Who was drained by the configuration is called down with all others when healthd loses its network: no sign that it
// is dead. One that the operator took out because it was down is given up, though the others are held.
func TestFloorOfWhoWasTakenOut(t *testing.T) {
	disabled := func(text string) string {
		return strings.Replace(text, "switch_port: 2}", "switch_port: 2, enabled: false}", 1)
	}
	removed := func(text string) string {
		i := strings.Index(text, "      - {name: web2,")
		return text[:i] + text[i+strings.Index(text[i:], "\n")+1:]
	}
	for name, takeOut := range map[string]func(string) string{"disabled": disabled, "removed": removed} {
		for _, alive := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, alive %v", name, alive), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					text := wide(4)
					l := newLimited(t, text, core.Stored{})
					l.connect("leaf1")
					before := l.slots()
					id := rows.BackendID(2)
					out := func() {
						l.in(func() {
							if _, err := l.applyFile(parse("test.yaml", takeOut(text))); err != nil {
								t.Error(err)
							}
						})
						l.connect("leaf1")
					}
					fall := func(backends ...string) {
						for _, b := range backends {
							l.verdict(b, api.Health_HEALTH_DOWN)
							l.connect("leaf1")
						}
					}
					if alive {
						out()
						l.in(func() { // connections of it live on
							l.put(core.Reported{Switch: "leaf1", Flows: map[rows.Flow]rows.BackendID{7: id, 8: id}})
						})
						time.Sleep(time.Minute)
						l.connect("leaf1")
						fall("web2", "web1", "web3", "web4")
					} else {
						fall("web2", "web1", "web3", "web4")
						time.Sleep(time.Minute)
						out()
					}
					time.Sleep(10 * time.Minute)
					synctest.Wait()
					if m := l.web(); m.Held == "" {
						t.Fatalf("all are down: %v", m)
					}
					for i, s := range l.slots() {
						was := before[i].Backend
						kept := s.Backend == was || s.Old == was
						if was != id && !kept {
							t.Errorf("slot %d is %+v, its open flows were with %d", i, s, was)
						}
						if was == id && kept {
							t.Errorf("slot %d is %+v, and web2 was taken out long ago", i, s)
						}
					}
					pinned := 0
					l.in(func() { pinned = l.core.Stored().Plan.Pins.Of(id) })
					if alive && pinned != 2 || !alive && pinned != 0 {
						t.Errorf("%d connections are pinned to web2", pinned)
					}
				})
			})
		}
	}
}

// A server that answers, wrongly, is drained.
func TestFailingDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, wide(3), core.Stored{})
		l.connect("leaf1")
		l.verdict("web2", api.Health_HEALTH_FAILING)
		l.connect("leaf1")
		b := l.web().Backends[1]
		if b.Health != api.Health_HEALTH_FAILING || b.Slots != 0 || b.MovingOut != 21 || b.GraceSlots != 0 ||
			oldPaths(l.slots()) != 21 {
			t.Errorf("web2 fails: %v", b)
		}
		l.in(func() { l.put(core.Reported{Switch: "leaf1", Flows: map[rows.Flow]rows.BackendID{7: 2}}) })
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if b := l.web().Backends[1]; b.Pinned != 1 || b.MovingOut != 0 {
			t.Errorf("half an hour later: %v", b)
		}
	})
}

// Two healthds that both live may differ, because one of them has no way to a server that the other reaches. New
// connections go where nobody has a doubt, and the open ones stay for as long as somebody finds the server up.
func TestHealthdsThatDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, wide(3), core.Stored{})
		l.connect("leaf1")
		detected := time.Now()
		say := func(name string, h api.Health) {
			t.Helper()
			var list []*api.Verdict
			for _, b := range []string{"web1", "web2", "web3"} {
				v := api.Verdict{Pool: "web", Backend: b, Health: api.Health_HEALTH_UP,
					DetectedAt: timestamppb.New(detected)}
				if b == "web2" {
					v.Health = h
				}
				list = append(list, &v)
			}
			l.in(func() {
				_, err := l.verdicts(&api.ReportVerdictsRequest{Healthd: name, Session: "1", Full: true,
					Verdicts: list})
				if err != nil {
					t.Error(err)
				}
			})
			l.connect("leaf1")
		}
		say("h1", api.Health_HEALTH_UP)
		time.Sleep(time.Second)
		detected = time.Now()
		say("h2", api.Health_HEALTH_DOWN)
		for range 60 { // 5 minutes, far beyond the grace
			time.Sleep(5 * time.Second)
			say("h1", api.Health_HEALTH_UP)
			say("h2", api.Health_HEALTH_DOWN)
		}
		synctest.Wait()
		b := l.web().Backends[1]
		want := "healthd h2 calls it down and healthd h1 up: new connections go elsewhere and open ones stay; is " +
			"there a way to it from both hosts?"
		if b.Slots != 0 || b.GraceSlots != 21 || b.GraceUntil != nil ||
			!slices.Equal(b.Contradictions, []string{want}) {
			t.Errorf("h1 finds web2 up: %v", b)
		}
		for range 14 { // h1 is gone: 30 s, and what is left of a fall 30 s more
			time.Sleep(5 * time.Second)
			say("h2", api.Health_HEALTH_DOWN)
		}
		synctest.Wait()
		if b := l.web().Backends[1]; b.GraceSlots != 0 || len(b.Contradictions) != 0 {
			t.Errorf("nobody finds web2 up any more: %v", b)
		}
	})
}

// A healthd that has no way to any server, beside one that finds them up, takes no VIP out of service: most of the pool
// fell, so it may be the checks that fail, and nobody else would get the new connections.
func TestHealthdsThatDifferOnAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, wide(3), core.Stored{})
		l.connect("leaf1")
		before := l.slots()
		say := func(name string, h api.Health) {
			t.Helper()
			r := &api.ReportVerdictsRequest{Healthd: name, Session: "1", Full: true}
			for _, b := range []string{"web1", "web2", "web3"} {
				r.Verdicts = append(r.Verdicts, detected(b, h, time.Now())...)
			}
			l.in(func() {
				if _, err := l.verdicts(r); err != nil {
					t.Error(err)
				}
			})
			l.connect("leaf1")
		}
		want := func(when string, slots uint32, held string, differ []string) {
			t.Helper()
			m := l.web()
			b := m.Backends[1]
			if b.Slots != slots || b.Health != api.Health_HEALTH_DOWN || m.Held != held {
				t.Errorf("%s: %v", when, m)
			}
			if diff := cmp.Diff(differ, b.Contradictions); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
		say("h1", api.Health_HEALTH_UP)
		time.Sleep(time.Second)
		say("h2", api.Health_HEALTH_DOWN)
		text := "healthd h2 calls it down and healthd h1 up: it counts as up, since most of the pool fell; is " +
			"there a way to it from both hosts?"
		const held = "none of the 3 backends is up: " + whatToDo
		want("h2 calls all down", 21, held, []string{text})
		if after := l.slots(); !slices.Equal(before, after) {
			t.Errorf("slots moved:\n got %v\nwant %v", after, before)
		}
		time.Sleep(20 * time.Second)
		say("h2", api.Health_HEALTH_DOWN)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		want("h1 is silent for 31 s", 0, held, nil)
	})
}

// Verdicts belong to who gave them.
func TestAuthors(t *testing.T) {
	const up, down, unchecked = api.Health_HEALTH_UP, api.Health_HEALTH_DOWN, api.Health_HEALTH_UNCHECKED
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, wide(3), core.Stored{})
		l.connect("leaf1")
		say := func(name, session string, full bool, ago time.Duration, h api.Health, backends ...string) {
			t.Helper()
			r := &api.ReportVerdictsRequest{Healthd: name, Session: session, Full: full}
			for _, b := range backends {
				v := detected(b, h, time.Now().Add(-ago))[0]
				if h == unchecked {
					v.Reason = "no right to ping"
				}
				r.Verdicts = append(r.Verdicts, v)
			}
			l.in(func() {
				if _, err := l.verdicts(r); err != nil {
					t.Error(err)
				}
			})
		}
		of := func(backend string) *api.BackendStatus {
			t.Helper()
			list := l.web().Backends
			return list[slices.IndexFunc(list, func(b *api.BackendStatus) bool { return b.Name == backend })]
		}
		want := func(what, backend, who string, h api.Health, stale bool, doubt string) {
			t.Helper()
			if b := of(backend); b.Health != h || b.Healthd != who || b.HealthStale != stale ||
				b.UncheckedReason != doubt {
				t.Errorf("%s: %v", what, b)
			}
		}
		want("nobody has said anything", "web1", "", api.Health_HEALTH_UNSPECIFIED, false, "no healthd is connected")
		say("h1", "a", true, time.Minute, up, "web1", "web2")
		want("h1 says up", "web1", "h1", up, false, "")
		// Another one, that cannot reach the servers, calls all down and ends.
		say("h2", "a", true, 0, down, "web1", "web2")
		want("h2 says down later", "web1", "h2", down, false, "")
		say("h1", "a", true, 2*time.Minute, up, "web1", "web2") // with its own times, as ever
		want("h1 repeats itself", "web1", "h2", down, false, "")
		for range 6 {
			time.Sleep(5 * time.Second)
			say("h1", "a", true, 3*time.Minute, up, "web1", "web2")
		}
		want("h2 is stale", "web1", "h2", down, true, "")
		time.Sleep(time.Second)
		say("h1", "a", true, 3*time.Minute, up, "web1", "web2")
		want("h2 has been silent for 30 s", "web1", "h1", up, false, "")
		// A new start of the same healthd knows better than the one before.
		say("h1", "b", true, time.Hour, down, "web2")
		want("h1 started anew", "web2", "h1", down, false, "")
		// Who cannot ask knows nothing: what stands stays.
		say("h1", "b", false, 0, unchecked, "web2")
		want("h1 cannot ask", "web2", "h1", down, false, "no right to ping")
		say("h1", "b", false, 0, up, "web2")
		want("h1 can ask", "web2", "h1", up, false, "")
		time.Sleep(16 * time.Second)
		want("nobody reports any more", "web2", "h1", up, true, "")
	})
}

// A drain is under way, and all servers but one are called down, the one that drains and one that took its slots among
// them: for the time of the floor these slots stay as they are, for both may live; then new flows go to who is up.
func TestFloorInADrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, wide(3), core.Stored{})
		l.connect("leaf1")
		l.admin("web1", plan.Drain)
		l.connect("leaf1")
		before := l.slots()
		for _, b := range []string{"web1", "web2"} {
			l.verdict(b, api.Health_HEALTH_DOWN)
			l.connect("leaf1")
		}
		between := func() (n int) { // web1 and web2
			for i, s := range l.slots() {
				if before[i].Old == 1 && before[i].Backend == 2 && s == before[i] {
					n++
				}
			}
			return n
		}
		if n := between(); n != 11 || l.web().Held == "" {
			t.Errorf("%d slots stay between web1 and web2, want 11: %v", n, l.web())
		}
		time.Sleep(30*time.Second - time.Millisecond)
		synctest.Wait()
		if n := between(); n != 11 {
			t.Errorf("just before the end %d slots stay, want 11", n)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		l.connect("leaf1")
		if m := l.web(); between() != 0 || m.Backends[2].Slots != 64 {
			t.Errorf("after 30 s web3 does not have all new flows: %v", m)
		}
	})
}

// holds says whether the switch holds what is decided.
func (l limited) holds() (held bool) {
	l.t.Helper()
	l.in(func() { held = l.loop.core.Held(l.loop.core.Intent().Pools[0]) })
	return held
}

// Where no epoch is left in which open flows could stay with a backend that is down, its slots wait with it, for its
// grace, as status says; and for longer while graces do not end.
func TestGraceOfSlotsThatWait(t *testing.T) {
	const why = "their backend is down, and no epoch is free in which its open connections could stay with it"
	tests := []struct {
		name    string
		happens func(l limited)
		held    string          // the reason of the pool
		moved   bool            // the slots of web1, when its grace has lasted
		after   func(l limited) // and then they do
	}{
		{"the grace ends", func(limited) {}, "", true, nil},
		{"below the floor", func(l limited) {
			l.verdict("web2", api.Health_HEALTH_DOWN)
			l.verdict("web3", api.Health_HEALTH_DOWN)
		},
			"3 of 5 backends fell within 30s, more than 50 %: " + whatToDo, false, func(l limited) {
				l.verdict("web2", api.Health_HEALTH_UP)
				l.verdict("web3", api.Health_HEALTH_UP)
				for !l.holds() { // each time lets more begin
					l.connect("leaf1")
				}
				time.Sleep(30 * time.Second)
			}},
		{"a switch is the suspect", func(l limited) { time.Sleep(time.Second); l.lose("leaf1") },
			"switch leaf1 is away, and the checks may go through it: what they say does not count yet", false,
			func(l limited) {
				l.connect("leaf1")
				time.Sleep(settled)
			}},
	}
	// False verdicts, each taken back; one slot of each still moves, and will for long.
	text := strings.Replace(wide(5), "drain_idle: 1s", "drain_idle: 1h", 1)
	intent, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var st plan.State
	for range 4 {
		for _, h := range []plan.Health{plan.Up, plan.Down, plan.Up} {
			st, _, err = plan.Step(st, plan.Input{Intent: intent,
				Health: map[plan.BackendKey]plan.Health{{Pool: "web", Backend: "web1"}: h}})
			if err != nil {
				t.Fatal(err)
			}
		}
		st, _ = plan.Settle(st, st.Pools["web"].Moving(st.NextEpoch - 1)[1:])
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimited(t, text, core.Stored{Plan: st})
				l.connect("leaf1")
				time.Sleep(settled) // it came empty
				l.verdict("web1", api.Health_HEALTH_DOWN)
				l.connect("leaf1")
				waiting := func() (n int) {
					for _, s := range l.slots() {
						if s == (rows.Slot{Backend: 1}) {
							n++
						}
					}
					return n
				}
				b := l.web().Backends[0]
				end := time.Now().Add(6 * time.Second)
				if n := waiting(); n != 9 || b.Waiting != 9 || b.WaitingReason != why ||
					!b.GraceUntil.AsTime().Equal(end) {
					t.Errorf("%d slots wait, web1: %v", n, b)
				}
				tt.happens(l)
				time.Sleep(6*time.Second - time.Millisecond)
				synctest.Wait()
				if m := l.web(); waiting() != 9 || m.Held != tt.held {
					t.Errorf("in the grace %d slots wait, want 9: %v", waiting(), m)
				}
				time.Sleep(time.Millisecond)
				synctest.Wait()
				if moved := waiting() == 0; moved != tt.moved {
					t.Errorf("after 6 s %d slots wait: %v", waiting(), l.web())
				}
				if tt.after != nil {
					time.Sleep(time.Minute)
					if waiting() != 9 {
						t.Errorf("after a minute %d slots wait, want 9: %v", waiting(), l.web())
					}
					tt.after(l)
					synctest.Wait()
				}
				if m := l.web(); waiting() != 0 || m.Backends[0].Waiting != 0 || m.Backends[0].Slots != 0 {
					t.Errorf("in the end %d slots wait: %v", waiting(), m)
				}
			})
		})
	}
}

// A switch that is lost again and again does not keep a dead server in service for ever.
func TestSuspicionIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimited(t, wide(4), core.Stored{})
		l.connect("leaf1")
		l.lose("leaf1")
		l.verdict("web2", api.Health_HEALTH_DOWN)
		start := time.Now()
		for l.web().Backends[1].Slots > 0 {
			l.connect("leaf1")
			time.Sleep(2 * time.Second)
			l.lose("leaf1")
			time.Sleep(time.Second)
			if time.Since(start) > time.Hour {
				t.Fatal("web2 is dead, and has its slots an hour later")
			}
		}
		if took := time.Since(start); took < longest || took > longest+10*time.Second {
			t.Errorf("its slots left after %v, want %v", took, longest)
		}
	})
}

// Somebody has to know that two healthds of one name void each other's word.
func TestTwoOfOneNameAreTold(t *testing.T) {
	in := concerned{shared: []string{"h1"}}
	got := concerns(&api.GetStatusResponse{}, in)
	want := "two healthds report by the name h1, and each voids what the other says: give one of them another with " +
		"--name"
	if len(got) != 1 || got[0].Text != want {
		t.Errorf("concerns are %v, want %s", got, want)
	}
}

// Each healthd that comes and leaves is logged once, beside others too.
func TestHealthdsAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		l := newLimited(t, wide(3), core.Stored{})
		l.in(func() {
			l.log = slog.New(slog.NewTextHandler(&log,
				&slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
					if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
						return slog.Attr{}
					}
					return a
				}}))
		})
		report := func(names ...string) {
			l.in(func() {
				for _, name := range names {
					if _, err := l.verdicts(&api.ReportVerdictsRequest{Healthd: name, Session: "1",
						Full: true}); err != nil {
						t.Error(err)
					}
				}
			})
			time.Sleep(2 * saveInterval)
		}
		for range 3 {
			report("h1", "h2")
		}
		for range int(lapse / (2 * saveInterval)) {
			report("h1")
		}
		report("h1", "h2")
		var got string
		l.in(func() { got = log.String() })
		want := `msg="a healthd reports" healthd=h1
msg="a healthd reports" healthd=h2
msg="a healthd is silent: what it said no longer counts where others report" healthd=h2 for=30s
msg="a healthd reports" healthd=h2
`
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}
