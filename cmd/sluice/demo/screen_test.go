package demo

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// No line is wider than the window, whatever is printed.
func TestScreenWidth(t *testing.T) {
	shown := map[string]int{"web1": 1250, "web2": 1250, "web3": 0}
	slots := map[string]int{"web1": 2048, "web2": 2048, "web3": 0}
	sessions := map[string]int{"web1": 28, "web2": 2, "web3": 18}
	for _, test := range []struct {
		columns string // as the environment has it
		width   int
		shares  string
	}{
		{"", 80, `
   share of new connections                       answers   slots  sessions
   web1  ███████████████                 50.0 %     1,250   2,048        28
   web2  ███████████████                 50.0 %     1,250   2,048         2
   web3                                   0.0 %         0       0        18
`},
		{"200", 80, ""},
		{"no number", 80, ""},
		{"0", 80, ""},
		{"79", 79, ""},
		{"60", 60, `
   share                           answers   slots  sessions
   web1  ███████▌         50.0 %     1,250   2,048        28
   web2  ███████▌         50.0 %     1,250   2,048         2
   web3                    0.0 %         0       0        18
`},
		{"53", 53, ""},
		{"52", 52, ""},
		{"40", 40, `
   share         answers slots sessions
   web1   50.0 %   1,250 2,048       28
   web2   50.0 %   1,250 2,048        2
   web3    0.0 %       0     0       18
`},
		{"7", 40, ""},
	} {
		t.Run(test.columns, func(t *testing.T) {
			t.Setenv("COLUMNS", test.columns)
			var out strings.Builder
			s := newScreen(&out, func() {})
			s.shares([]string{"web1", "web2", "web3"}, shown, slots, sessions)
			if diff := cmp.Diff(test.shares, "\n"+out.String()); test.shares != "" && diff != "" {
				t.Errorf("shares (-want +got):\n%s", diff)
			}
			s.introduce()
			s.title("Power cut at the whole pool of a data center whose servers are all dead")
			s.note("DNS has named %s %d times; clients keep an answer for its TTL of 1 s", "fra", 12345)
			s.line("The last request frame for web2 left %s ms after its death, and nobody heard of it.", "12,345")
			s.at(123456*time.Millisecond, "gslb, which watches it, calls answer %s down, as it has no server left",
				"www-fra")
			s.claim(check{holds: true, text: strings.Repeat("this holds ", 20)})
			s.claim(check{text: strings.Repeat("this does not hold ", 20)})
			s.claim(check{excused: true, text: strings.Repeat("nobody knows ", 20)})
			widest := 0
			for line := range strings.Lines(out.String()) {
				widest = max(widest, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")))
			}
			if widest > test.width || widest < test.width-8 {
				t.Errorf("the widest line has %d columns, want not quite %d:\n%s", widest, test.width, &out)
			}
		})
	}
}

func TestScreen(t *testing.T) {
	t.Setenv("COLUMNS", "40")
	var out strings.Builder
	s := newScreen(&out, func() {})
	s.title("A title that does not fit into a line")
	s.at(1041*time.Millisecond, "the last slot is written (%s)", "1,365 rows")
	s.hang(12, "", "682 slots web2 → web1")
	s.claim(check{holds: true, text: "this one holds, and that is a long story"})
	s.claim(check{text: "0 is 1", excused: false})
	s.claim(check{text: "the machine was slow", excused: true})
	s.command("sluice gslb explain www.example.com --socket /tmp/sluice-demo/gslb.sock")
	want := `
1  A title that does not fit into a line
     1,041 ms  the last slot is written
               (1,365 rows)
               682 slots web2 → web1
   ✓ this one holds, and that is a long
     story
   ✗ 0 is 1
   ? not measured: the machine was slow
   sluice gslb explain www.example.com --socket /tmp/sluice-demo/gslb.sock
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
