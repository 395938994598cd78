package keepalive

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/gslb/config"
)

// A server falls silent, wholly or only in the exchange, at any moment. From the start of the first probe that is
// not answered the verdict takes exactly the time of the preset, and from the death no longer than the interval on top.
func TestDetectionTimes(t *testing.T) {
	s := time.Second
	five, slow, twice, custom := fast, standard, standard, standard
	five.Retries = 5
	slow.Interval, slow.Timeout = 255*s, 60*s
	twice.Failures = 2
	custom.Interval, custom.Timeout = s/10, s
	none := fast
	none.Retries = 0
	quick := config.Timing{Fast: true, Response: s / 2, Retry: s / 4, Retries: 3, Successes: 2}
	for _, tt := range []struct {
		kind           string
		preset         string
		timing         config.Timing
		want, interval time.Duration
	}{
		{"ICMP", "standard", standard, 20 * s, 40 * s},
		{"TCP-RST", "standard", standard, 20 * s, 40 * s},
		{"TCP-FIN", "standard", standard, 20 * s, 40 * s},
		{"HEAD-RST", "standard", standard, 20 * s, 40 * s},
		{"HEAD-FIN", "standard", standard, 20 * s, 40 * s},
		{"name server", "standard", standard, 20 * s, 40 * s},
		{"SNMP", "standard", standard, 20 * s, 40 * s},
		{"load report", "standard", standard, 20 * s, 40 * s},
		{"TCP-RST", "standard, the longest", slow, 60 * s, 255 * s},
		{"TCP-RST", "standard, two failures", twice, 60 * s, 40 * s},
		{"ICMP", "custom", custom, s, s / 10},

		{"ICMP", "fast", fast, 4 * s, 4 * s},
		{"TCP-RST", "fast", fast, 4 * s, 4 * s},
		{"TCP-FIN", "fast", fast, 10 * s, 10 * s},
		{"HEAD-RST", "fast", fast, 8 * s, 8 * s},
		{"HEAD-FIN", "fast", fast, 14 * s, 14 * s},
		{"name server", "fast", fast, 4 * s, 4 * s},
		{"SNMP", "fast", fast, 4 * s, 4 * s},
		{"load report", "fast", fast, 4 * s, 4 * s},
		{"TCP-RST", "fast, 5 retries", five, 12 * s, 12 * s},
		{"TCP-RST", "fast, no retries", none, 2 * s, 2 * s},
		{"HEAD-FIN", "fast, other times", quick, 3*(s/2+3*s/4) + s/2, 3*(s/2+3*s/4) + s/2},
	} {
		for how, dies := range map[string]behaviour{"wholly": silent, "in the exchange": halfSilent} {
			if dies == halfSilent && strings.HasPrefix(tt.kind, "TCP") {
				continue // the connection is all the exchange
			}
			t.Run(strings.Join([]string{tt.kind, tt.preset, how}, " "), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, &lab{load: 10}, 0)
					w.Set([]config.Keepalive{keepalives(tt.timing)[tt.kind]})
					w.nextIs(true)
					for range 20 {
						time.Sleep(rand.N(3 * tt.interval))
						synctest.Wait()
						alive := len(w.seen())
						death := time.Now()
						w.be(dies)
						down := w.nextIs(false).seen
						if got := down.Sub(w.seen()[alive]); got != tt.want {
							t.Errorf("down %v after the start of the first probe without an answer, want %v", got,
								tt.want)
						}
						if got, most := down.Sub(death), tt.interval+tt.want; got > most {
							t.Errorf("down %v after the death, want at most %v", got, most)
						}
						time.Sleep(rand.N(3 * tt.interval))
						w.be(answers)
						w.nextIs(true)
					}
					// The longest: it dies when it has just answered.
					time.Sleep(3 * tt.interval)
					for n := len(w.seen()); len(w.seen()) == n; {
						time.Sleep(time.Millisecond)
					}
					answered := w.seen()[len(w.seen())-1]
					synctest.Wait()
					w.be(dies)
					if got, want := w.nextIs(false).seen.Sub(answered), tt.interval+tt.want; got != want {
						t.Errorf("down %v after the last answer, want %v", got, want)
					}
				})
			})
		}
	}
}

// A server that says no is down with the first probe that hears it.
func TestNoIsBelievedAtOnce(t *testing.T) {
	want := map[string]map[behaviour]string{
		"ICMP":    {refuses: "ICMP echo 10.0.0.11: pinging: connection refused"},
		"TCP-RST": {refuses: "TCP 10.0.0.11:80: connecting: connection refused"},
		"HEAD-FIN": {refuses: "HTTP HEAD http://10.0.0.11:80/: connecting: connection refused",
			overloaded: "HTTP HEAD http://10.0.0.11:80/: status 503, want 200"},
		"name server": {refuses: "DNS A www.example.com. at 10.0.0.11:53: querying: connection refused",
			overloaded: "DNS A www.example.com. at 10.0.0.11:53: answer SERVFAIL, want NOERROR"},
		"SNMP": {refuses: "SNMP .1.3.6.1.2.1.1.7.0 at 10.0.0.11:161: asking: connection refused",
			overloaded: "SNMP .1.3.6.1.2.1.1.7.0 at 10.0.0.11:161: value 50, want 0 to 10"},
		"load report": {refuses: "load of tag web from 10.0.0.11:9681: connection refused",
			overloaded: "load of tag web from 10.0.0.11:9681: it must get no traffic"},
	}
	for _, preset := range []config.Timing{standard, fast} {
		for kind, failures := range want {
			for how, reason := range failures {
				t.Run(fmt.Sprint(kind, how, preset.Fast), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := newWorld(t, &lab{load: 10}, 0)
						w.Set([]config.Keepalive{keepalives(preset)[kind]})
						w.nextIs(true)
						synctest.Wait()
						alive := len(w.seen())
						w.be(how)
						down := w.nextIs(false)
						if took := down.seen.Sub(w.seen()[alive]); took != 0 || down.reason != reason {
							t.Errorf("down after %v: %s\nwant at once: %s", took, down.reason, reason)
						}
					})
				})
			}
		}
	}
}

// Silence is told with all the times that it was met.
func TestReasonOfSilence(t *testing.T) {
	for _, tt := range []struct {
		kind   string
		timing config.Timing
		want   string
	}{
		{"ICMP", standard, "ICMP echo 10.0.0.11: pinging: no answer within 14s, the last of 3 tries"},
		{"TCP-RST", standard, "TCP 10.0.0.11:80: connecting: no answer within 20s"},
		{"TCP-RST", fast, "TCP 10.0.0.11:80: connecting: no answer within 2s, the last of 2 tries"},
		{"load report", fast, "load of tag web from 10.0.0.11:9681: no answer within 2s, the last of 2 tries"},
	} {
		t.Run(fmt.Sprint(tt.kind, tt.timing.Fast), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &lab{is: silent}, 0)
				w.Set([]config.Keepalive{keepalives(tt.timing)[tt.kind]})
				if got := w.nextIs(false).reason; got != tt.want {
					t.Errorf("got  %q\nwant %q", got, tt.want)
				}
			})
		})
	}
}

// What is lost on the way is asked again within the same probe, and fails nobody.
func TestLostTries(t *testing.T) {
	for _, tt := range []struct {
		kind   string
		timing config.Timing
		lose   int
		want   []time.Duration // tries of the probe, from its start
	}{
		{"ICMP", standard, 2, []time.Duration{0, 2 * time.Second, 6 * time.Second}},
		{"name server", standard, 1, []time.Duration{0, 2 * time.Second}},
		{"ICMP", fast, 1, []time.Duration{0, 2 * time.Second}},
		{"TCP-FIN", fast, 1, []time.Duration{0, 4 * time.Second}},
		{"HEAD-FIN", fast, 1, []time.Duration{0, 6 * time.Second}},
	} {
		t.Run(fmt.Sprint(tt.kind, tt.timing.Fast), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &lab{}, 0)
				w.Set([]config.Keepalive{keepalives(tt.timing)[tt.kind]})
				w.nextIs(true)
				synctest.Wait()
				before := len(w.seen())
				w.loses(tt.lose)
				for len(w.seen()) < before+len(tt.want) {
					time.Sleep(time.Second)
				}
				var got []time.Duration
				for _, at := range w.seen()[before:][:len(tt.want)] {
					got = append(got, at.Sub(w.seen()[before]))
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("tries (-want +got):\n%s", diff)
				}
				time.Sleep(5 * time.Minute)
				select {
				case c := <-w.changes:
					t.Errorf("changed: %+v", c)
				default:
				}
			})
		})
	}
}

// successful-probes: so many answers in a row make a server that was down, or is new, an answer.
func TestSuccessesInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		three := fast
		three.Successes = 3
		w := newWorld(t, &lab{}, 0)
		w.Set([]config.Keepalive{keepalives(three)["TCP-RST"]})
		w.nextIs(true)
		if n := len(w.seen()); n != 3 {
			t.Errorf("new, and up after %d answers, want 3", n)
		}
		w.be(refuses)
		w.nextIs(false)
		synctest.Wait()
		before := len(w.seen())
		w.be(answers)
		for len(w.seen()) < before+2 {
			time.Sleep(time.Millisecond)
		}
		w.be(refuses) // the third is none
		for len(w.seen()) < before+3 {
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		w.be(answers)
		up := w.nextIs(true).seen
		if n := len(w.seen()) - before; n != 6 {
			t.Errorf("up after %d probes, want 2, 1 that failed, and 3", n)
		}
		if took := up.Sub(w.seen()[before+2]); took != 12*time.Second {
			t.Errorf("up %v after the probe that failed, want three intervals of 4s", took)
		}
	})
}

func TestScheduleInSteadyState(t *testing.T) {
	for _, tt := range []struct {
		timing config.Timing
		want   time.Duration
	}{{standard, 40 * time.Second}, {fast, 4 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, &lab{}, 0)
			w.Set([]config.Keepalive{keepalives(tt.timing)["ICMP"]})
			time.Sleep(time.Hour)
			starts := w.seen()
			for i := 2; i < len(starts); i++ { // the second comes early, to spread those that start together
				if got := starts[i].Sub(starts[i-1]); got != tt.want {
					t.Fatalf("%v between two probes, want %v", got, tt.want)
				}
			}
		})
	}
}

func TestRepeatedEndsWithItsContext(t *testing.T) {
	calls := 0
	ctx, cancel := context.WithCancel(t.Context())
	r := repeated{checkFunc(func(ctx context.Context) error {
		calls++
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}), []time.Duration{time.Hour, time.Hour}}
	if err := r.Run(ctx); !errors.Is(err, context.Canceled) || calls != 1 {
		t.Errorf("got %v after %d calls, want one", err, calls)
	}
}

type checkFunc func(context.Context) error

func (f checkFunc) Run(ctx context.Context) error { return f(ctx) }
