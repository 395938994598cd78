package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/p4/packet"
)

// The proof can fail: in a demo whose network lies, the claim that is false is named.
func TestDemoFindsLies(t *testing.T) {
	start := []step{baseline, death}
	for _, test := range []struct {
		name   string
		tamper tamper
		script []step // nil: all
		claims int
		claim  string
		detail string
	}{
		{
			"the switch changes an IP byte",
			tamper{inside: at(2, changed{out: decrementTTL})},
			nil, 16,
			"request frames reached one server each, changed in the destination MAC alone",
			"left at port 2 with other bytes than it entered with",
		},
		{
			"a server answers from another MAC",
			tamper{wire: at(4, changed{in: func(frame []byte) {
				if e := packet.Ethernet(frame); e.Type() == packet.TypeIPv4 {
					e.SetSrc(packet.MAC{2, 0, 0, 0, 0, 0x99})
				}
			}})},
			start, 10,
			"came straight back by the router's port alone, changed in nothing",
			"entered at port 4 with source MAC 02:00:00:00:00:99, want 02:00:00:00:00:13",
		},
		{
			"the switch sends every reply to a server too",
			tamper{inside: flooded(routerPort, 3, fromVIP)},
			start, 10,
			"came straight back by the router's port alone, changed in nothing",
			"left by port 3, which is not the router's",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			var result Result
			err := Run(t.Context(), Config{
				Out: &out, tamper: test.tamper, script: test.script, places: []place{fra},
				watch:  300 * time.Millisecond,
				Result: func(r Result) error { result = r; return nil },
			})
			t.Log(out.String())
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("of %d claims do not hold:\n", test.claims)) ||
				!strings.Contains(err.Error(), test.claim) {
				t.Fatalf("error %v, want the claim that %s", err, test.claim)
			}
			if !equal(result.DSRVerified, false) || !equal(result.Proved, false) {
				t.Errorf("result: %s", show(result))
			}
			if !onBusyMachine(out.String()) {
				if !strings.HasPrefix(err.Error(), fmt.Sprintf("1 of %d claims do not hold:\n", test.claims)) {
					t.Errorf("error %v, want that claim alone", err)
				}
				if !equal(result.FailedOnLiveBackends, 0) || !equal(result.SurplusSlotMoves, 0) ||
					*result.DetectionMS <= 0 {
					t.Errorf("result: %s", show(result))
				}
			}
			if !strings.Contains(flat(out.String()), test.detail) {
				t.Errorf("the output does not say %q", test.detail)
			}
		})
	}
}

// A gslb that goes on sending clients to a dead data center is found out, and so is a switch that lies in the other.
func TestDemoFindsLiesAfterFailover(t *testing.T) {
	for _, test := range []struct {
		name   string
		tamper tamper
		claims []string
		detail string
		right  func(r Result, busy bool) bool
	}{
		{
			"DNS goes on naming the dead data center",
			tamper{dns: func(response *dns.Msg) {
				response.Answer[0].(*dns.A).A = fra.vip.Addr().AsSlice()
			}},
			[]string{
				"fra dead: DNS named ams", "wrong: each named the data center that it had to",
				"ams: 0 request frames", "ams: ARP for the VIP: the switch answered 0 times", // nobody came
			},
			"s: it names 10.0.0.100",
			func(r Result, busy bool) bool {
				return r.GSLBFailoverMS == nil && (busy || *r.GSLBWrongAnswers >= mostWrong)
			},
		},
		{
			"the switch of the other changes an IP byte",
			tamper{place: ams.Name, inside: at(2, changed{out: decrementTTL})},
			[]string{"ams: "},
			"ams: a frame of 192.0.2.10",
			func(r Result, busy bool) bool {
				return *r.GSLBFailoverMS > 0 && (busy || equal(r.GSLBWrongAnswers, 0)) && equal(r.DSRVerified, false)
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			var result Result
			err := Run(t.Context(), Config{
				Out: &out, tamper: test.tamper, script: []step{baseline, powerCuts}, watch: 300 * time.Millisecond,
				Result: func(r Result) error { result = r; return nil },
			})
			t.Log(out.String())
			if err == nil {
				t.Fatal("nothing was found")
			}
			busy := onBusyMachine(out.String())
			for _, claim := range test.claims {
				if !strings.Contains(err.Error(), claim) &&
					!(busy && strings.Contains(flat(out.String()), "? not measured: "+claim)) {
					t.Errorf("error %v, want the claim %s", err, claim)
				}
			}
			if !busy && !strings.HasPrefix(err.Error(), fmt.Sprintf("%d of ", len(test.claims))) {
				t.Errorf("error %v, want those %d claims alone", err, len(test.claims))
			}
			if !test.right(result, busy) {
				t.Errorf("result: %s", show(result))
			}
			if !strings.Contains(flat(out.String()), test.detail) {
				t.Errorf("the output does not say %q", test.detail)
			}
		})
	}
}

func TestInterrupted(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out notifier
	var interrupted time.Time
	out.on, out.do = "Power cut", func() { interrupted = time.Now(); cancel() }
	if err := Run(ctx, Config{Out: &out, watch: 100 * time.Millisecond}); !errors.Is(err, ErrInterrupted) {
		t.Errorf("error %v, want %v", err, ErrInterrupted)
	}
	if took := time.Since(interrupted); took > 10*time.Second {
		t.Errorf("ended after %v", took)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// What there is of a result comes out of every demo that began.
func TestResultOfHalfADemo(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, test := range []struct {
		name string
		on   string
		want string // error
	}{
		{"nobody reads the start", "Sluice: the switch balances", "showing what happens: broken pipe"},
		{"nobody reads the middle", "Power cut", "showing what happens: broken pipe"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var results []Result
			out := &closing{on: test.on}
			err := Run(t.Context(), Config{
				Out: out, places: []place{fra}, watch: 100 * time.Millisecond,
				Result: func(r Result) error { results = append(results, r); return nil },
			})
			if err == nil || err.Error() != test.want {
				t.Errorf("error %v, want %s", err, test.want)
			}
			if len(results) != 1 || results[0].DSRVerified != nil || results[0].Proved != nil {
				t.Errorf("results: %s, want one without proof", show(results...))
			} else if r := results[0]; test.on == "Power cut" && (r.Requests < enough || r.OK == 0) {
				t.Errorf("result %s, want the requests so far", show(r))
			}
			if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// A step that cannot be played to its end is named, the others that are left were not measured, what was proved
// is shown, and what runs is held. A machine that is too busy is blamed before anybody else.
func TestCutShort(t *testing.T) {
	endless := func(own time.Duration) step {
		return step{"the end of the world", func(d *demo, ctx context.Context) error {
			d.load.stop() // or its requests would take as long
			for ctx.Err() == nil {
				d.pace.pass(own)
			}
			_, err := d.fra.events.wait(ctx, 0, "web2 is called down", func(*api.Event) bool { return false })
			return err
		}}
	}
	for _, test := range []struct {
		name    string
		step    step
		busy    string // what the test makes of the machine's time; "": nothing
		claims  []string
		want    string // the error's beginning
		refuted bool
	}{
		{
			"an error", step{"the end of the world",
				func(*demo, context.Context) error { return errors.New("no such luck") }},
			"",
			[]string{"✗ the end of the world: no such luck", "? not measured: the drain of web3",
				"✓ 0 requests failed on live servers", "? not measured: new connections were shared"},
			"1 of 9 claims do not hold:\n  the end of the world: no such luck", true,
		},
		{
			"what was awaited does not come", endless(beat), "",
			[]string{
				fmt.Sprintf("✗ the end of the world: waiting until web2 is called down: it took longer than %v",
					stepLimit),
				"? not measured: the drain of web3",
			},
			"1 of 9 claims do not hold:\n  the end of the world: waiting until web2 is called down: it took " +
				"longer than", true,
		},
		{
			"the machine is too busy", endless(time.Second), "the demo stood still for up to ",
			[]string{
				"? not measured: the end of the world: waiting until web2 is called down: it took longer than " +
					longest.String() +
					", and this machine is too busy",
				"? not measured: the drain of web3",
				"This machine is too busy: the demo stood still for up to ",
			},
			"this machine is too busy: the demo stood still for up to ", false,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var out strings.Builder
			var results []Result
			err := Run(ctx, Config{
				Out:    io.MultiWriter(&out, &notifier{on: "dig @", do: cancel}),
				script: []step{test.step, draining}, places: []place{fra}, Hold: true, aside: true,
				Result: func(r Result) error { results = append(results, r); return nil },
			})
			t.Log(out.String())
			if test.busy == "" && onBusyMachine(out.String()) {
				t.Skip("this machine is too busy to tell one that is from one that is not")
			}
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("error %v, want %s", err, test.want)
			}
			for _, claim := range append(test.claims,
				"Everything stays up; Ctrl-C ends it the demo did not get to its end, "+
					"so ask how things are; every server has power") {
				if !strings.Contains(flat(out.String()), claim) {
					t.Errorf("the output does not say %q", claim)
				}
			}
			if len(results) != 1 {
				t.Fatalf("results: %s, want one", show(results...))
			}
			r := results[0]
			if test.refuted != equal(r.Proved, false) || !equal(r.DSRVerified, true) || r.DetectionMS != nil ||
				r.SurplusSlotMoves != nil {
				t.Errorf("result: %s", show(r))
			}
		})
	}
}

// A machine that is too busy from the start is named, too, and not what was waited for alone.
func TestTooBusyToStart(t *testing.T) {
	p := newPace()
	p.pass(time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out notifier
	out.on, out.do = "Sluice: ", func() {
		for range 400 * slowdown {
			p.pass(time.Second)
		}
	}
	err := Run(ctx, Config{Out: &out, pace: p, places: []place{fra}})
	if want := "this machine is too busy to start: the demo stood still for up to "; err == nil ||
		!strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
}

// What does not hold is false, unless nobody can know.
func TestProved(t *testing.T) {
	holds, broken, open := check{holds: true}, check{}, check{excused: true}
	for _, test := range []struct {
		name   string
		claims []check
		want   *bool
	}{
		{"all hold", []check{holds, {holds: true, excused: true}}, new(true)},
		{"one does not", []check{holds, broken}, new(false)},
		{"one could not be judged", []check{holds, open, holds}, nil},
		{"one could not be judged, one does not hold", []check{open, broken, holds}, new(false)},
	} {
		if diff := cmp.Diff(test.want, proved(test.claims)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// What could not be judged has no number either.
func TestJudged(t *testing.T) {
	for _, test := range []struct {
		name  string
		claim check
		n     *int
		want  *int
	}{
		{"nothing failed", tally{ok: 9}.claimOfLive(false), new(0), new(0)},
		{"nothing failed on a busy machine", tally{ok: 9}.claimOfLive(true), new(0), new(0)},
		{"one failed", tally{failedLive: 1}.claimOfLive(false), new(1), new(1)},
		{"one failed on a busy machine", tally{failedLive: 1}.claimOfLive(true), new(1), nil},
		{"nothing was asked", check{excused: true}, nil, nil},
	} {
		if diff := cmp.Diff(test.want, test.claim.judged(test.n)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// onBusyMachine reports whether the demo says that the machine held it up: then claims that need time may not hold.
func onBusyMachine(output string) bool {
	return strings.Contains(flat(output), "This machine is ")
}

// flat is a text without its line breaks.
func flat(text string) string { return strings.Join(strings.Fields(text), " ") }

func equal[T comparable](got *T, want T) bool { return got != nil && *got == want }

func show(results ...Result) string {
	text, err := json.Marshal(results)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// closing is a pipe that nobody reads any more once on is written.
type closing struct {
	on     string
	closed bool
}

func (c *closing) Write(p []byte) (int, error) {
	if c.closed = c.closed || strings.Contains(string(p), c.on); c.closed {
		return 0, errors.New("broken pipe")
	}
	return len(p), nil
}

// notifier calls do when on is written.
type notifier struct {
	on string
	do func()
}

func (n *notifier) Write(p []byte) (int, error) {
	if strings.Contains(string(p), n.on) {
		n.do()
	}
	return len(p), nil
}
