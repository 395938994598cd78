package probe

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestLine(t *testing.T) {
	long := strings.Repeat("ä", MaxLine)
	for _, tt := range []struct{ name, text, want string }{
		{"plain", "HTTP GET http://10.0.0.11/ä: status 503, want 200-299",
			"HTTP GET http://10.0.0.11/ä: status 503, want 200-299"},
		{"empty", "", ""},
		{"escape codes", "\x1b[31mred\x1b[0m", `\x1b[31mred\x1b[0m`},
		{"line ends", "a\r\nb\x00\x7f\u0085\u2028", `a\r\nb\x00\x7f\u0085\u2028`},
		{"the other direction", "a\u202eb\u00a0", `a\u202eb\u00a0`},
		{"not UTF-8", "a\xffb\xc3", `a\xffb\xc3`},
		{"the replacement character itself", "\ufffd", "\ufffd"},
		{"just fits", strings.Repeat("x", MaxLine), strings.Repeat("x", MaxLine)},
		{"too long", strings.Repeat("x", MaxLine+1), strings.Repeat("x", MaxLine-3) + "..."},
		{"between letters", long, long[:MaxLine-4] + "..."},
		{"between escapes", strings.Repeat("\x01", 60_000), strings.Repeat(`\x01`, 63) + "..."},
	} {
		if got := Line(tt.text); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\x1b\xff\u202e")
	f.Fuzz(func(t *testing.T, text string) {
		line := Line(text)
		if len(line) > MaxLine || !utf8.ValidString(line) ||
			strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q gives %q", text, line)
		}
		if Line(line) != line {
			t.Errorf("%q gives %q, and then %q", text, line, Line(line))
		}
	})
}
