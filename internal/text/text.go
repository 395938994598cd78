// Package text holds what every role does with text that somebody else wrote: what comes in is cut, what goes out to a
// terminal is escaped, and lists that may be long tell their first few. It knows nothing of who wrote what.
package text

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Most is how many bytes of a text from outside are kept: a reason that is longer says nothing more to a person.
const Most = 256

// Cut returns s, or where it has more than Most bytes its beginning and how long it was.
func Cut(s string) string { return CutTo(s, Most) }

// CutTo is Cut for another length. The result has at most that many bytes and the note behind it.
func CutTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	end := most
	for end > 0 && end > most-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	// A copy: what is kept must not hold on to all of what came.
	return fmt.Sprintf("%s... (%d bytes)", s[:end], len(s))
}

// Escape replaces what a terminal would not print but obey: control characters, marks that turn the direction of
// writing, bytes that are no text. Line ends and tabs stay. What it makes of a JSON document means the same.
func Escape(s string) string {
	if safe(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case printed(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r) // as JSON writes it
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += size
	}
	return b.String()
}

func safe(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= utf8.RuneSelf || c < ' ' && c != '\n' && c != '\t' || c == 0x7f {
			return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !printed(r) })
		}
	}
	return true
}

func printed(r rune) bool { return r == '\n' || r == '\t' || strconv.IsPrint(r) }

// Line is Escape on one line: whatever white space s has, one space stands for it.
func Line(s string) string { return Escape(strings.Join(strings.Fields(s), " ")) }

// List is the first few of parts, with separators: "a, b and 7 more".
func List(parts []string, most int) string {
	if len(parts) <= most {
		return strings.Join(parts, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(parts[:most], ", "), len(parts)-most)
}
