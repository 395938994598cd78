package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What the lab lacks is said in a line, with what to install.
func TestMissing(t *testing.T) {
	for _, test := range []struct {
		name, sw string
		uid      int
		lacks    string
		want     string
	}{
		{name: "nothing"},
		{name: "nothing, on bmv2", sw: "bmv2"},
		{name: "softswitch needs no bmv2", sw: "softswitch", lacks: "simple_switch_grpc"},
		{name: "root", uid: 1000, want: "needs root, for network namespaces: sudo make lab"},
		{name: "mininet", lacks: "mininet", want: "needs mininet: apt-get install --no-install-recommends mininet"},
		{name: "nginx", lacks: "nginx", want: "needs nginx: apt-get install nginx"},
		{name: "unbound", lacks: "unbound", want: "needs unbound: apt-get install unbound"},
		{name: "dig", lacks: "dig", want: "needs dig: apt-get install bind9-dnsutils"},
		{name: "arping", lacks: "arping", want: "needs arping: apt-get install iputils-arping"},
		{
			name: "bmv2", sw: "bmv2", lacks: "simple_switch_grpc",
			want: "needs simple_switch_grpc: build it from github.com/p4lang/behavioral-model",
		},
		{name: "no such switch", sw: "ovs", want: `SWITCH must be softswitch or bmv2, is "ovs"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			if err := missing(test.uid, test.sw, func(tool string) bool { return tool != test.lacks }); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("error %q, want %q", got, test.want)
			}
		})
	}
}

// A page is sections with text and commands; what has no commands is no step.
func TestParse(t *testing.T) {
	const page = "# Title\n\nWords.\n\n```\npicture\n```\n\n## One\n\nDo this:\n\n```\n" +
		"mininet> web1 role kill\nmininet> client curl x | sort\na\n...\n```\n\n## Two\n\nNothing.\n\n## Three\n```\n" +
		"mininet> a b\n```\n"
	steps, err := parse(page)
	if err != nil {
		t.Fatal(err)
	}
	want := []step{
		{title: "One", parts: []part{
			{}, {text: "Do this:"}, {},
			{command: &command{line: 14, host: "web1", args: "role kill"}},
			{command: &command{line: 15, host: "client", args: "curl x | sort", want: []string{"a", "..."}}},
			{},
		}},
		{title: "Three", parts: []part{{command: &command{line: 26, host: "a", args: "b"}}, {}}},
	}
	if diff := cmp.Diff(want, steps, cmp.AllowUnexported(step{}, part{}, command{})); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	for _, test := range []struct{ name, page, want string }{
		{
			"a host that does nothing", "## One\n```\nmininet> web1\n```\n",
			`line 3: a command is a host and what it does, is "web1"`,
		},
		{"a block without an end", "## One\n\n```\nmininet> web1 x\n", "line 3: the code block has no end"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := parse(test.page); err == nil || err.Error() != test.want {
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}
}

func TestMatches(t *testing.T) {
	for _, test := range []struct {
		name, want, output string
		matches            bool
	}{
		{"the same", "a b\nc", "a b\nc\n", true},
		{"other blanks", "a b", "  a \t b \n", true},
		{"no last newline", "a", "a", true},
		{"a terminal's ends of lines", "a\nb", "a\r\nb\r\n", true},
		{"a line more", "a", "a\nb\n", false},
		{"a line before", "b", "a\nb\n", false},
		{"a line less", "a\nb", "a\n", false},
		{"another order", "a\nb", "b\na\n", false},
		{"more in the line", "a", "a b\n", false},
		{"part of a word", "held", "upheld\n", false},
		{"no pattern", "a.c (x)", "abc (x)\n", false},
		{"the rest of a line", "web1 up ...", "web1 up   1366 0\n", true},
		{"the rest of a line, which must be there", "web1 up ...", "web1 up\n", false},
		{"the middle of a line", "web1 ... up", "web1 2 3 up\n", true},
		{"part of a word may differ", "http...:9559", "https://a:9559\n", true},
		{"within a line only", "a ... b", "a\nb\n", false},
		{"any lines", "...\nb\n...", "a\nb\nc\n", true},
		{"any lines, even none", "...\nb\n...", "b\n", true},
		{"any lines, but not without that one", "...\nb\n...", "a\nc\n", false},
		{"nothing at all", "...", "", true},
		{"nothing where there should be something", "a", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := matches(strings.Split(test.want, "\n"), test.output); got != test.matches {
				t.Errorf("matches(%q, %q) = %t", test.want, test.output, got)
			}
		})
	}
}

func TestReport(t *testing.T) {
	now := time.Now()
	// One with each server, whose request has had no answer for so long.
	held := func(unanswered ...time.Duration) (open []*heldConnection) {
		for i, u := range unanswered {
			c := &heldConnection{server: fmt.Sprint("web", i+1)}
			if u > 0 {
				c.asked = now.Add(-u)
			}
			open = append(open, c)
		}
		return open
	}
	for _, test := range []struct {
		name  string
		open  []*heldConnection
		ended map[string]int
		want  string
	}{
		{name: "peace", open: held(slow/2, slow/2), want: "berlin: web1 held, web2 held"},
		{name: "silence", open: held(0, 2*slow), want: "berlin: web1 held, web2 waits"},
		{name: "all are over", open: held(0), ended: map[string]int{"web2": 4}, want: "berlin: web1 held, web2 ended"},
		{
			name: "some are over", open: held(0, 2*slow), ended: map[string]int{"web2": 3},
			want: "berlin: web1 held, web2 3 of 4 ended",
		},
		{name: "a server that has none", open: held(0), want: "berlin: web1 held, web2 none"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := &holder{name: "berlin", servers: []string{"web1", "web2"}, open: map[*heldConnection]bool{},
				ended: test.ended}
			for _, c := range test.open {
				h.open[c] = true
			}
			if got := h.report(now, true); got != test.want {
				t.Errorf("report %q, want %q", got, test.want)
			}
			if got := h.report(now, false); strings.Contains(got, "ended") {
				t.Errorf("report %q, after all that ended was to be forgotten", got)
			}
		})
	}
	if got, want := (&holder{name: "berlin"}).report(now, false), "berlin: no server answers"; got != want {
		t.Errorf("report %q, want %q", got, want)
	}
}

// The page holds itself to what a tour is for: no connection with a server that lives ends in any step, and what the
// page shows is typed at mininet's prompt with the same outcome.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../../docs/lab.md")
	if err != nil {
		t.Fatal(err)
	}
	steps, err := parse(string(page))
	if err != nil {
		t.Fatal(err)
	}
	mayEnd := map[string][]string{
		"A server dies": {"web1"}, "A cable is pulled": {"web2"}, "A data center goes dark": {"web1", "web2", "web3"},
	}
	hosts := make(map[string]bool)
	for _, s := range steps {
		for _, p := range s.parts {
			if p.command != nil {
				hosts[p.command.host] = true
			}
		}
	}
	for i, s := range steps {
		var last *command
		for _, p := range s.parts {
			c := p.command
			if c == nil {
				continue
			}
			if strings.HasPrefix(c.args, "lab held") {
				last = c
				if len(c.want) != 2 || c.want[1] != "boston: web1 held, web2 held, web3 held" {
					t.Errorf("line %d: connections to Boston, where nothing happens, may not end: %q", c.line, c.want)
				}
				for _, state := range strings.Split(strings.TrimPrefix(c.want[0], "berlin: "), ", ") {
					server, is, _ := strings.Cut(state, " ")
					if is != "held" && is != "waits" && (is != "ended" || !slices.Contains(mayEnd[s.title], server)) {
						t.Errorf("line %d: in this step no connection with %s may be %s", c.line, server, is)
					}
				}
			}
			if strings.Contains(c.args, "#") {
				t.Errorf("line %d: mininet's prompt takes all from # on for a comment", c.line)
			}
			for _, arg := range strings.Split(c.args, " ") {
				if hosts[arg] {
					t.Errorf("line %d: mininet's prompt puts an address in the place of %s", c.line, arg)
				}
			}
		}
		if i == len(steps)-1 {
			break // tells how to go on
		}
		if last == nil || last.args != "lab held" || last.want[0] != "berlin: web1 held, web2 held, web3 held" {
			t.Errorf("%s: the step does not end with connections to all servers", s.title)
		}
	}
	if len(steps) < 10 {
		t.Errorf("only %d steps were understood", len(steps))
	}
}

// Where a data center has a second switch, its controllers are told where each station is on it.
func TestIntentOfTwoSwitches(t *testing.T) {
	if !has("mininet") {
		t.Skip("mininet is not installed (Debian's package has it), and lab.py needs it")
	}
	out, err := exec.Command(python, "-B", "-c", `import lab
for switches in ["leaf"], ["leaf", "spine"]:
    dc = lab.DataCenter("berlin", 1, "198.51.100.0/24", switches, ["ctl"], ["web1", "web2"])
    print(lab.intent(dc))`).Output()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	where := regexp.MustCompile(`name: ([\w-]+),.* ((?:switch_port|ports): .*)`)
	for line := range strings.Lines(string(out)) {
		if found := where.FindStringSubmatch(line); found != nil {
			got = append(got, found[1]+": "+found[2])
		}
	}
	if diff := cmp.Diff([]string{
		"berlin-leaf: ports: [1, 2, 3, 4]}",
		"router: switch_port: 1, addresses: [198.51.100.1]}",
		"berlin-healthd: switch_port: 2, addresses: [198.51.100.2]}",
		"web1: switch_port: 3}",
		"web2: switch_port: 4}",

		"berlin-leaf: ports: [1, 2, 3, 4, 20]}",
		"berlin-spine: ports: [1]}",
		"router: switch_port: {berlin-leaf: 1, berlin-spine: 1}, addresses: [198.51.100.1]}",
		"berlin-healthd: switch_port: {berlin-leaf: 2, berlin-spine: 1}, addresses: [198.51.100.2]}",
		"web1: switch_port: {berlin-leaf: 3, berlin-spine: 1}}",
		"web2: switch_port: {berlin-leaf: 4, berlin-spine: 1}}",
	}, got); diff != "" {
		t.Errorf("where stations are (-want +got):\n%s", diff)
	}
}
