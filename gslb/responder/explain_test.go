package responder

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/selection"
)

func TestExplain(t *testing.T) {
	r := newRig(t)
	for _, test := range []struct {
		name    string
		qtype   uint16
		subnet  string
		outcome string
		steps   []string // name: data
		why     []int    // selections at each step
		answer  []string
		scope   bool
	}{
		{name: "a.example.com", qtype: dns.TypeA, outcome: "NOERROR", steps: []string{"a.example.com.: positive"},
			why: []int{0}, answer: []string{"a.example.com.\t3600\tIN\tA\t192.0.2.10"}},
		{name: "WWW.example.com.", qtype: dns.TypeA, outcome: "NOERROR", steps: []string{"www.example.com.: by rules"},
			why: []int{1}, answer: []string{"www.example.com.\t30\tIN\tA\t203.0.113.10"}},
		{name: "torule.example.com", qtype: dns.TypeA, outcome: "NOERROR",
			steps: []string{"torule.example.com.: CNAME", "www.example.com.: by rules"}, why: []int{0, 1},
			answer: []string{"torule.example.com.\t3600\tIN\tCNAME\twww.example.com.",
				"www.example.com.\t30\tIN\tA\t203.0.113.10"}},
		{name: "x.wild.example.com", qtype: dns.TypeA, outcome: "NOERROR",
			steps: []string{"x.wild.example.com.: positive, by the wildcard of wild.example.com."}, why: []int{0},
			answer: []string{"x.wild.example.com.\t3600\tIN\tA\t192.0.2.40"}},
		{name: "host.sub.example.com", qtype: dns.TypeA, outcome: "NOERROR",
			steps: []string{"host.sub.example.com.: delegation at sub.example.com."}, why: []int{0}},
		{name: "x.nowhere.example.com", qtype: dns.TypeA, outcome: "NXDOMAIN",
			steps: []string{"x.nowhere.example.com.: no such name, its closest encloser is example.com."},
			why:   []int{0}},
		{name: "web1.expression.example.com", qtype: dns.TypeA, outcome: "NOERROR",
			steps: []string{"web1.expression.example.com.: no such name, its closest encloser is example.com.; rules " +
				"by regular expression"}, why: []int{1},
			answer: []string{"web1.expression.example.com.\t30\tIN\tA\t203.0.113.10"}},
		{name: "inside.example.com", qtype: dns.TypeA, outcome: "NOERROR",
			steps: []string{"inside.example.com.: by rules; no rule has this client, who gets: no data"},
			why:   []int{1}},
		{name: "foreign.test", qtype: dns.TypeA, outcome: "REFUSED",
			steps: []string{"foreign.test.: not ours, its closest encloser is test."}, why: []int{0}},
		{name: "web.example.com", qtype: dns.TypeHTTPS, outcome: "NOERROR",
			steps: []string{"web.example.com.: positive"}, why: []int{2},
			answer: []string{"web.example.com.\t30\tIN\tHTTPS\t1 www.example.com. alpn=\"h2,h3\" " +
				"ipv4hint=\"203.0.113.10\" ipv6hint=\"2001:db8:e::10\""}},
		{name: "asked.example.com", qtype: dns.TypeA, outcome: "forward",
			steps: []string{"asked.example.com.: by rules"}, why: []int{1}},
		{name: "waiting.example.com", qtype: dns.TypeA, outcome: "wait",
			steps: []string{"waiting.example.com.: by rules"}, why: []int{1}},
		{name: "subnet.example.com", qtype: dns.TypeA, subnet: "198.18.64.0/24", outcome: "NOERROR",
			steps: []string{"subnet.example.com.: by rules"}, why: []int{1},
			answer: []string{"subnet.example.com.\t30\tIN\tA\t203.0.113.10"}, scope: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var subnet netip.Prefix
			if test.subnet != "" {
				subnet = netip.MustParsePrefix(test.subnet)
			}
			story, err := Explain(r.view, test.name, test.qtype, netip.MustParseAddr("198.51.100.77"), subnet)
			if err != nil {
				t.Fatal(err)
			}
			var steps []string
			var why []int
			for _, s := range story.Steps {
				steps = append(steps, s.Name+": "+s.Data)
				why = append(why, len(s.Why))
			}
			if d := cmp.Diff(test.steps, steps); d != "" {
				t.Errorf("steps (-want +got):\n%s", d)
			}
			if !slices.Equal(test.why, why) {
				t.Errorf("selections at the steps %v, want %v", why, test.why)
			}
			if d := cmp.Diff(test.answer, story.Answer); d != "" {
				t.Errorf("answer (-want +got):\n%s", d)
			}
			if story.Outcome != test.outcome || test.scope != (story.Scope > 0) {
				t.Errorf("outcome %s, scope %d; want %s, a scope: %v", story.Outcome, story.Scope, test.outcome,
					test.scope)
			}
			text := strings.Join(story.Lines(), "\n")
			for _, line := range append(slices.Clone(test.answer), test.steps...) {
				if !strings.Contains(text, line) {
					t.Errorf("lines without %q:\n%s", line, text)
				}
			}
			if _, err := json.Marshal(story); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestExplainChangesNothing(t *testing.T) {
	r := newRig(t)
	r.view.Sticky = selection.NewStickyTable(10)
	client := netip.MustParseAddr("198.51.100.77")
	for range 2 {
		for _, name := range []string{"turns.example.com.", "stays.example.com."} {
			story, err := Explain(r.view, name, dns.TypeA, client, netip.Prefix{})
			if err != nil || len(story.Answer) != 1 || !strings.HasSuffix(story.Answer[0], "203.0.113.10") {
				t.Fatalf("%+v, %v; want the first answer each time", story, err)
			}
		}
	}
	r.want(r.ask("turns.example.com.", dns.TypeA), "NOERROR aa", "answer turns.example.com. 30 IN A 203.0.113.10")
}

func TestExplainRefusesWhatIsNoName(t *testing.T) {
	r := newRig(t)
	_, err := Explain(r.view, "a..example.com", dns.TypeA, netip.MustParseAddr("198.51.100.77"), netip.Prefix{})
	if err == nil || !strings.HasPrefix(err.Error(), `name "a..example.com": `) {
		t.Errorf("error %v", err)
	}
}
