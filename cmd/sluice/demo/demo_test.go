package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/p4/packet"
)

// The proof can fail: in a demo whose network lies, the claim that is false is named.
func TestDemoFindsLies(t *testing.T) {
	start := []step{(*demo).baseline, (*demo).kill}
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
				Out: &out, tamper: test.tamper, script: test.script, places: []place{fra}, watch: 300 * time.Millisecond,
				Report: func(r Result) error { result = r; return nil },
			})
			t.Log(out.String())
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("of %d claims do not hold:\n", test.claims)) || !strings.Contains(err.Error(), test.claim) {
				t.Fatalf("error %v, want the claim that %s", err, test.claim)
			}
			if result.DSRVerified {
				t.Errorf("result: %+v", result)
			}
			// Only where the machine itself held the demo up may a second claim, about time, fail too.
			if starved := strings.Contains(out.String(), "stood still"); !starved {
				if !strings.HasPrefix(err.Error(), fmt.Sprintf("1 of %d claims do not hold:\n", test.claims)) {
					t.Errorf("error %v, want that claim alone", err)
				}
				if result.FailedOnLiveBackends != 0 || result.SurplusSlotMoves != 0 || result.DetectionMS <= 0 {
					t.Errorf("result: %+v", result)
				}
			}
			if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), test.detail) {
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
		right  func(Result) bool
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
			func(r Result) bool { return r.GSLBFailoverMS == 0 && r.GSLBWrongAnswers >= mostWrong },
		},
		{
			"the switch of the other changes an IP byte",
			tamper{place: ams.name, inside: at(2, changed{out: decrementTTL})},
			[]string{"ams: "},
			"ams: a frame of 192.0.2.10",
			func(r Result) bool { return r.GSLBFailoverMS > 0 && r.GSLBWrongAnswers == 0 && !r.DSRVerified },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			var result Result
			err := Run(t.Context(), Config{
				Out: &out, tamper: test.tamper, script: []step{(*demo).baseline, (*demo).failover}, watch: 300 * time.Millisecond,
				Report: func(r Result) error { result = r; return nil },
			})
			t.Log(out.String())
			if err == nil {
				t.Fatal("nothing was found")
			}
			for _, claim := range test.claims {
				if !strings.Contains(err.Error(), claim) {
					t.Errorf("error %v, want the claim %s", err, claim)
				}
			}
			// As in TestDemoFindsLies.
			if starved := strings.Contains(out.String(), "stood still"); !starved && !strings.HasPrefix(err.Error(), fmt.Sprintf("%d of ", len(test.claims))) {
				t.Errorf("error %v, want those %d claims alone", err, len(test.claims))
			}
			if !test.right(result) {
				t.Errorf("result: %+v", result)
			}
			if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), test.detail) {
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
				Report: func(r Result) error { results = append(results, r); return nil },
			})
			if err == nil || err.Error() != test.want {
				t.Errorf("error %v, want %s", err, test.want)
			}
			if len(results) != 1 || results[0].DSRVerified {
				t.Errorf("results: %+v, want one without proof", results)
			} else if r := results[0]; test.on == "Power cut" && (r.Requests < enough || r.OK == 0) {
				t.Errorf("result %+v, want the requests so far", r)
			}
			if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
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
