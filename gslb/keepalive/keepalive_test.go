package keepalive

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/healthd/probe"
)

// tcp is a keepalive of a server of its own.
func tcp(address string, t config.Timing) config.Keepalive {
	return config.Keepalive{Kind: config.TCP, Address: netip.MustParseAddrPort(address), Timing: t}
}

// states prints a snapshot: "up, down: connection refused".
func states(all []Result) []string {
	var list []string
	for _, r := range all {
		text := r.Health.String()
		if r.Load != NoLoad {
			text += fmt.Sprint(" ", r.Load)
		}
		if r.Reason != "" {
			text += ": " + r.Reason
		}
		list = append(list, text)
	}
	return list
}

// is compares the snapshot.
func (w world) is(want ...string) {
	w.t.Helper()
	if diff := cmp.Diff(want, states(w.Snapshot())); diff != "" {
		w.t.Errorf("snapshot (-want +got):\n%s", diff)
	}
}

// settle lets so much time pass that everything has a verdict.
func (w world) settle() {
	time.Sleep(2 * time.Minute)
	synctest.Wait()
}

func TestSetKeepsWhatIsUnchanged(t *testing.T) {
	const refused = "TCP 10.0.0.2:80: connecting: connection refused"
	one, two, three := tcp("10.0.0.1:80", fast), tcp("10.0.0.2:80", fast), tcp("10.0.0.3:80", fast)
	named, standardTwo, twoByFIN := one, tcp("10.0.0.2:80", standard), two
	named.Name = "web"
	twoByFIN.FIN = true
	never := config.Keepalive{Kind: config.Always}
	for _, tt := range []struct {
		name string
		next []config.Keepalive
		at   []string // once, before any probe
		then []string
	}{
		{"the same", []config.Keepalive{one, two}, []string{"up", "down: " + refused},
			[]string{"up", "down: " + refused}},
		{"another order", []config.Keepalive{two, one}, []string{"down: " + refused, "up"},
			[]string{"down: " + refused, "up"}},
		{"one that is new, first", []config.Keepalive{three, one, two},
			[]string{"unknown: no answer yet", "up", "down: " + refused}, []string{"up", "up", "down: " + refused}},
		{"one that goes", []config.Keepalive{two}, []string{"down: " + refused}, []string{"down: " + refused}},
		{"none", nil, nil, nil},
		{"a name", []config.Keepalive{named, two}, []string{"up", "down: " + refused},
			[]string{"up", "down: " + refused}},
		{"another timing", []config.Keepalive{one, standardTwo}, []string{"up", "down: " + refused},
			[]string{"up", "down: " + refused}},
		{"another way to close", []config.Keepalive{one, twoByFIN}, []string{"up", "unknown: no answer yet"},
			[]string{"up", "down: " + refused}},
		{"always up", []config.Keepalive{never, one}, []string{"up", "up"}, []string{"up", "up"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &lab{of: map[string]behaviour{"10.0.0.2:80": refuses}}, 0)
				w.Set([]config.Keepalive{one, two})
				w.is("unknown: no answer yet", "unknown: no answer yet")
				w.settle()
				w.is("up", "down: "+refused)
				since := w.Snapshot()[0].Since

				w.Set(tt.next)
				w.is(tt.at...)
				synctest.Wait() // the engine has taken it over
				w.is(tt.at...)
				for i, k := range tt.next {
					if got := w.Snapshot()[i]; questionOf(k) == questionOf(one) && got.Since != since {
						t.Errorf("up since %v, want %v", got.Since, since)
					}
				}
				asked := w.asks()
				w.settle()
				w.is(tt.then...)
				for address, n := range w.asks() {
					want := slices.ContainsFunc(tt.next,
						func(k config.Keepalive) bool { return k.Address.String() == address })
					if n > asked[address] != want {
						t.Errorf("%s was asked %d times more", address, n-asked[address])
					}
				}
			})
		})
	}
}

// asks counts the tries by address.
func (l *lab) asks() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := map[string]int{}
	for _, a := range l.asked {
		n[a]++
	}
	return n
}

// What is the same but for its name runs once, and tells all that share it. What has another timing or another
// secret runs for itself.
func TestSharedRunsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &lab{load: 7}, 0)
		named := tcp("10.0.0.1:80", fast)
		named.Name = "web"
		load := keepalives(fast)["load report"]
		other := load
		other.Key = []byte("another secret, for the rotation")
		w.Set([]config.Keepalive{tcp("10.0.0.1:80", fast), tcp("10.0.0.2:80", fast), named,
			tcp("10.0.0.2:80", standard), load, other})
		w.settle()
		w.is("up", "up", "up", "up", "up 7", "up 7")
		var seen []int
		for range 6 {
			seen = append(seen, w.nextIs(true).index)
		}
		slices.Sort(seen)
		if diff := cmp.Diff([]int{0, 1, 2, 3, 4, 5}, seen); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
		before := w.asks()
		time.Sleep(40 * time.Second)
		after := w.asks()
		for address, want := range map[string]int{"10.0.0.1:80": 10, "10.0.0.2:80": 11, "10.0.0.11:9681": 20} {
			if got := after[address] - before[address]; got != want {
				t.Errorf("%s was asked %d times in 40s, want %d", address, got, want)
			}
		}
	})
}

// A verdict outlives a reload that comes with every change, however fast reloads follow each other.
func TestReloadsThatFollowEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &lab{}, 0)
		one, two := tcp("10.0.0.1:80", fast), tcp("10.0.0.2:80", fast)
		w.Set([]config.Keepalive{one})
		w.settle()
		for range 100 {
			w.Set([]config.Keepalive{two, one})
			w.Set([]config.Keepalive{one})
		}
		w.Set([]config.Keepalive{two, one})
		w.is("unknown: no answer yet", "up")
		w.settle()
		w.is("up", "up")
	})
}

// What is gone and back before the engine has heard of it keeps its verdict: the engine knows it still.
func TestReloadsThatTheEngineMisses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := tcp("10.0.0.1:80", fast), tcp("10.0.0.2:80", fast)
		held := make(chan struct{})
		w := world{lab: &lab{}, t: t}
		w.Manager = New(Deps{Network: w.lab, OnChange: func(int, bool, int, string, time.Time) { <-held }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		w.Set([]config.Keepalive{one})
		w.settle() // the engine waits in OnChange
		w.Set([]config.Keepalive{one})
		synctest.Wait() // this waits for the engine
		w.Set([]config.Keepalive{two})
		w.Set([]config.Keepalive{two, one})
		w.is("unknown: no answer yet", "unknown: no answer yet")
		close(held)
		synctest.Wait()
		if got := states(w.Snapshot())[1]; got != "up" {
			t.Errorf("what the engine knows is %q, want up", got)
		}
		w.settle()
		w.is("up", "up")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &lab{load: 10}, 0)
		w.Set([]config.Keepalive{keepalives(fast)["load report"]})
		says := func(want change) {
			t.Helper()
			got := w.next()
			if got.at != got.seen {
				t.Errorf("at %v, seen %v", got.at, got.seen)
			}
			got.at, got.seen = want.at, want.seen
			if got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		}
		load := func(n uint8) {
			w.lab.mu.Lock()
			defer w.lab.mu.Unlock()
			w.load = n
		}
		says(change{up: true, load: 10})
		load(254)
		says(change{up: true, load: 254})
		w.is("up 254")
		w.be(overloaded)
		const reason = "load of tag web from 10.0.0.11:9681: it must get no traffic"
		says(change{load: NoLoad, reason: reason})
		w.is("down: " + reason)
		load(0)
		w.be(answers)
		says(change{up: true, load: 0})
		time.Sleep(time.Hour)
		if n := len(w.changes); n != 0 {
			t.Errorf("%d changes without a change", n)
		}
	})
}

func TestSecondary(t *testing.T) {
	k := keepalives(fast)["load report"]
	k.Secondary = netip.MustParseAddrPort("10.0.0.12:9681")
	const first, second = "10.0.0.11:9681", "10.0.0.12:9681"
	for _, tt := range []struct {
		name string
		of   map[string]behaviour
		want string
		took time.Duration
	}{
		{"the primary answers", map[string]behaviour{second: silent}, "up 5", 0},
		{"the primary is silent", map[string]behaviour{first: silent}, "up 5", time.Second},
		{"the primary refuses", map[string]behaviour{first: refuses}, "up 5", 0},
		{"the primary says that no traffic may come", map[string]behaviour{first: overloaded},
			"down: load of tag web from 10.0.0.11:9681: it must get no traffic", 0},
		{"the secondary says that no traffic may come", map[string]behaviour{first: silent, second: overloaded},
			"down: load of tag web from 10.0.0.12:9681: it must get no traffic", time.Second},
		{"both are silent", map[string]behaviour{first: silent, second: silent},
			"down: load of tag web from 10.0.0.11:9681: no answer within 1s; load of tag web from 10.0.0.12:9681: no " +
				"answer within 1s, the last of 2 tries", 4 * time.Second},
		{"both refuse", map[string]behaviour{first: refuses, second: refuses},
			"down: load of tag web from 10.0.0.11:9681: connection refused; load of tag web from 10.0.0.12:9681: " +
				"connection refused", 0},
		{"the primary sees nothing", map[string]behaviour{first: unseeing}, "up 5", 0},
		{"the primary sees nothing, the secondary says that no traffic may come",
			map[string]behaviour{first: unseeing, second: overloaded},
			"down: load of tag web from 10.0.0.12:9681: it must get no traffic", 0},
		{"the primary sees nothing, the secondary refuses", map[string]behaviour{first: unseeing, second: refuses},
			"unknown: load of tag web from 10.0.0.11:9681: it sees nothing of it, as it has no switch; load of tag " +
				"web from 10.0.0.12:9681: connection refused", 0},
		{"the primary refuses, the secondary sees nothing", map[string]behaviour{first: refuses, second: unseeing},
			"unknown: load of tag web from 10.0.0.12:9681: it sees nothing of it, as it has no switch; load of tag " +
				"web from 10.0.0.11:9681: connection refused", 0},
		{"the primary cannot be asked, the secondary refuses",
			map[string]behaviour{first: cannotBeAsked, second: refuses},
			"down: load of tag web from 10.0.0.12:9681: connection refused; load of tag web from 10.0.0.11:9681: not " +
				"asked: too many open files", 0},
		{"the primary refuses, the secondary cannot be asked",
			map[string]behaviour{first: refuses, second: cannotBeAsked},
			"down: load of tag web from 10.0.0.11:9681: connection refused; load of tag web from 10.0.0.12:9681: not " +
				"asked: too many open files", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &lab{load: 5, of: tt.of}, 0)
				w.Set([]config.Keepalive{k})
				c := w.next()
				w.is(tt.want)
				if took := c.seen.Sub(w.seen()[0]); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
			})
		})
	}
}

// What this host could not ask fails nobody, and is told.
func TestNotAsked(t *testing.T) {
	for kind, what := range map[string]string{
		"ICMP": "ICMP echo 10.0.0.11: pinging", "TCP-RST": "TCP 10.0.0.11:80: connecting",
		"HEAD-RST":    "HTTP HEAD http://10.0.0.11:80/: connecting",
		"name server": "DNS A www.example.com. at 10.0.0.11:53: querying",
		"SNMP":        "SNMP .1.3.6.1.2.1.1.7.0 at 10.0.0.11:161: asking",
		"load report": "load of tag web from 10.0.0.11:9681",
	} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &lab{is: cannotBeAsked, load: 3}, 0)
				w.Set([]config.Keepalive{keepalives(fast)[kind]})
				w.settle()
				because := what + ": not asked: too many open files"
				w.is("unknown: " + because)
				if w.nextIs(false); !w.Snapshot()[0].Unseen {
					t.Error("it is not said that no verdict is to come")
				}
				w.be(answers)
				if w.nextIs(true); w.Snapshot()[0].Unseen {
					t.Error("it is still said that no verdict is to come")
				}
				w.be(cannotBeAsked)
				w.settle()
				up := "up"
				if kind == "load report" {
					up = "up 3"
				}
				w.is(up + ": " + because)
				if len(w.changes) != 0 {
					t.Errorf("changed: %+v", w.next())
				}
			})
		})
	}
}

// A load reporter is asked in place of the answer: that it sees nothing, or is silent, tells nothing of the answer.
func TestReporterThatSeesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &lab{is: unseeing, load: 3}, 0)
		w.Set([]config.Keepalive{keepalives(fast)["load report"]})
		const sees, blind = "load of tag web from 10.0.0.11:9681: ",
			"load of tag web from 10.0.0.11:9681: it sees nothing of it, as it has no switch"
		next := func(what string, b behaviour, want string, unseen, isBlind bool) {
			t.Helper()
			w.be(b)
			w.next()
			w.is(want)
			if r := w.Snapshot()[0]; r.Unseen != unseen || r.Blind.IsZero() == isBlind {
				t.Errorf("%s: got %+v, want unseen %t, blind %t", what, r, unseen, isBlind)
			}
		}
		next("blind from the start", unseeing, "unknown: "+blind, true, true)
		next("it sees", answers, "up 3", false, false)
		next("blind: what it said last stands", unseeing, "up 3: "+blind, false, true)
		if since := w.Snapshot()[0].Blind; time.Since(since) > time.Second {
			t.Errorf("blind since %v ago", time.Since(since))
		}
		next("it sees again", answers, "up 3", false, false)
		next("it says down", overloaded, "down: "+sees+"it must get no traffic", false, false)
		next("blind: that stands, too", unseeing, "down: "+sees+"it must get no traffic", false, true)
		next("it sees again", answers, "up 3", false, false)
		next("dead", refuses, "down: "+sees+"connection refused", true, false)
		next("back, and blind", unseeing, "down: "+blind, true, true)
		next("it says down", overloaded, "down: "+sees+"it must get no traffic", false, false)
		next("it sees again", answers, "up 3", false, false)
		w.be(cannotBeAsked) // which is no word of its
		time.Sleep(time.Minute)
		w.settle()
		next("asked again: blind", unseeing, "up 3: "+blind, false, true)
		if since := w.Snapshot()[0].Blind; time.Since(since) > time.Second {
			t.Errorf("blind since %v ago, as long as it could not be asked", time.Since(since))
		}
		next("it sees again", answers, "up 3", false, false)
		next("it has no such", without, "down: "+sees+"it has no such", false, false)
	})
}

// One that answers wrongly is down like one that is dead, from the first of either kind on.
func TestFailingIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &lab{}, 0)
		w.Set([]config.Keepalive{keepalives(standard)["HEAD-RST"]})
		w.nextIs(true)
		w.be(overloaded)
		down := w.nextIs(false)
		w.settle()
		w.is("down: HTTP HEAD http://10.0.0.11:80/: status 503, want 200")
		w.be(refuses)
		w.settle()
		w.is("down: HTTP HEAD http://10.0.0.11:80/: connecting: connection refused")
		if got := w.Snapshot()[0].Since; !got.Equal(down.at) {
			t.Errorf("down since %v, want %v", got, down.at)
		}
		w.be(overloaded)
		w.settle()
		w.is("down: HTTP HEAD http://10.0.0.11:80/: status 503, want 200")
		if len(w.changes) != 0 {
			t.Errorf("changed: %+v", w.next())
		}
		w.be(answers)
		w.nextIs(true)
	})
}

// What cannot be a check is told, and fails nobody.
func TestImpossible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{}
		m := New(Deps{Network: l})
		head := keepalives(fast)["HEAD-RST"]
		head.Host = "a b"
		m.Set([]config.Keepalive{head, keepalives(fast)["load report"], {Kind: 99, Timing: fast}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		time.Sleep(time.Minute)
		want := []string{
			`unknown: http_head 10.0.0.11:80/: not asked: host: must be a host name, such as www.example.com, is "a b"`,
			"unknown: load_report 10.0.0.11:9681 tag web: not asked: nobody here asks for load reports",
			"unknown: 99 invalid AddrPort: not asked: kind 99 is not known",
		}
		if diff := cmp.Diff(want, states(m.Snapshot())); diff != "" {
			t.Errorf("snapshot (-want +got):\n%s", diff)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Thousands of keepalives come in no burst, neither at the start nor later, and no more than MaxProbes are under way;
// when all servers are silent all are found down all the same.
func TestThousands(t *testing.T) {
	const n, most = 3000, 200
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &lab{latency: 10 * time.Millisecond}, most)
		var all []config.Keepalive
		for i := range n {
			all = append(all, tcp(fmt.Sprintf("10.0.%d.%d:80", i/250, i%250+1), standard))
		}
		start := time.Now()
		w.Set(all)
		for range n {
			w.nextIs(true)
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("all had verdicts after %v, want 3s at most", took)
		}
		time.Sleep(10 * time.Minute)
		busiest, inOne := map[int64]int{}, 0
		for _, at := range w.seen()[2*n:] {
			second := at.Unix()
			busiest[second]++
			inOne = max(inOne, busiest[second])
		}
		if inOne > 2*n/40 {
			t.Errorf("%d probes in one second, want about %d", inOne, n/40)
		}
		w.be(silent)
		for range n {
			w.nextIs(false)
		}
		w.lab.mu.Lock()
		if w.most > most {
			t.Errorf("%d probes under way, want at most %d", w.most, most)
		}
		w.lab.mu.Unlock()
		for i, r := range w.Snapshot() {
			if r.Health != probe.Down {
				t.Fatalf("%d is %v", i, r.Health)
			}
		}
	})
}
