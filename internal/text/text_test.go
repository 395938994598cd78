package text

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestCut(t *testing.T) {
	long := strings.Repeat("x", 60<<10)
	for _, tt := range []struct{ name, in, want string }{
		{"short", "connection refused", "connection refused"},
		{"at the limit", long[:Most], long[:Most]},
		{"one more", long[:Most+1], long[:Most] + "... (257 bytes)"},
		{"60 KB", long, long[:Most] + "... (61440 bytes)"},
		{"no half a letter", strings.Repeat("x", Most-1) + "äöü", strings.Repeat("x", Most-1) + "... (261 bytes)"},
		{"no letters at all", strings.Repeat("\x80", 2*Most), strings.Repeat("\x80", Most-4) + "... (512 bytes)"},
	} {
		if got := Cut(tt.in); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestEscape(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"plain", "web1 is down: timeout\n\tafter 2 s", "web1 is down: timeout\n\tafter 2 s"},
		{"letters", "größer, 東京", "größer, 東京"},
		{"a terminal's title", "\x1b]0;owned\x07", `\u001b]0;owned\u0007`},
		{"back over what was written", "down\r\b\bup", `down\u000d\u0008\u0008up`},
		{"the 8-bit way to begin a sequence", "\u009b31m", `\u009b31m`},
		{"the same as a single byte", "\x9b31m", `\x9b31m`},
		{"delete", "\x7f", `\u007f`},
		{"right to left", "a\u202etxt.exe", `a\u202etxt.exe`},
		{"beyond 16 bits", "\U000e0001", `\udb40\udc01`},
	} {
		if got := Escape(tt.in); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// A document for programs may pass through Escape: they read what was meant.
func TestEscapeKeepsJSON(t *testing.T) {
	want := "a\U000e0001\u009b\u202e\x7f\x1b\nz"
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got string
	if err := json.Unmarshal([]byte(Escape(string(b))), &got); err != nil || got != want {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
}

func TestLine(t *testing.T) {
	if got, want := Line(" a\r\n b\x1b[2J\t c\n"), `a b\u001b[2J c`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestList(t *testing.T) {
	if got := List([]string{"a", "b"}, 2); got != "a, b" {
		t.Errorf("got %q", got)
	}
	if got := List([]string{"a", "b", "c", "d"}, 2); got != "a, b and 2 more" {
		t.Errorf("got %q", got)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"status", "switch", "on", "Berlin"}
	for word, want := range map[string]string{
		"statsu": "status", "Status": "status", "swtich": "switch", "switches": "switch",
		"berlin": "Berlin", "BELRIN": "Berlin", "o": "on", "no": "on", "an": "on", "ab": "", "x": "", "": "",
		"stay":    "",
		"nothing": "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestMeant(t *testing.T) {
	if got := Meant("; ", "wbe", []string{"db", "web"}); got != "; did you mean web?" {
		t.Errorf("got %q", got)
	}
	if got := Meant("; ", "other", []string{"db", "web"}); got != "" {
		t.Errorf("got %q", got)
	}
}
