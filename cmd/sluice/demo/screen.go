package demo

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// screen prints the demo's progress in 80 columns.
type screen struct {
	w      io.Writer
	gone   func() // called when nobody reads any more
	err    error  // why
	colour bool
	step   int
}

// newScreen uses colour on a terminal, unless NO_COLOR (no-color.org) or TERM says otherwise.
func newScreen(w io.Writer, gone func()) *screen {
	s := &screen{w: w, gone: gone}
	file, isFile := w.(*os.File)
	if isFile && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
		info, err := file.Stat()
		s.colour = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return s
}

func (s *screen) printf(format string, args ...any) {
	if s.err != nil {
		return
	}
	if _, s.err = fmt.Fprintf(s.w, format, args...); s.err != nil {
		s.gone()
	}
}

const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
	blue  = "34"
)

func (s *screen) paint(style, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// paragraph prints text as it is.
func (s *screen) paragraph(text string) { s.printf("%s\n", text) }

// title starts a step of the script.
func (s *screen) title(text string) {
	s.step++
	s.printf("\n%s\n", s.paint(bold, fmt.Sprintf("%d  %s", s.step, text)))
}

// line prints one line of a step.
func (s *screen) line(format string, args ...any) {
	s.printf("   "+format+"\n", args...)
}

// note prints a text that explains, in as many lines as it takes.
func (s *screen) note(format string, args ...any) {
	for _, line := range wrap(fmt.Sprintf(format, args...), columns-3) {
		s.line("%s", s.paint(dim, line))
	}
}

// head prints the header of a table.
func (s *screen) head(format string, args ...any) {
	s.line("%s", s.paint(dim, fmt.Sprintf(format, args...)))
}

// at prints what happened how long after an event.
func (s *screen) at(since time.Duration, format string, args ...any) {
	s.line("%7s ms  %s", thousands(int(since.Milliseconds())), fmt.Sprintf(format, args...))
}

// claim prints one claim of the summary.
func (s *screen) claim(holds bool, format string, args ...any) {
	mark := s.paint(green, "✓")
	if !holds {
		mark = s.paint(red, "✗")
	}
	for _, line := range wrap(fmt.Sprintf(format, args...), columns-5) {
		s.line("%s %s", mark, line)
		mark = " "
	}
}

const columns = 80

// wrap breaks a text into lines of a width, where it has spaces. All begin with the spaces that it
// begins with.
func wrap(text string, width int) []string {
	indent := text[:len(text)-len(strings.TrimLeft(text, " "))]
	var lines []string
	line := indent
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == indent:
			line += word
		case utf8.RuneCountInString(line+" "+word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = indent + word
		}
	}
	return append(lines, line)
}

const barWidth = 30

// bar draws a part of a whole, in eighths of a column.
func (s *screen) bar(part, whole int) string {
	eighths := 0
	if whole > 0 {
		eighths = (part*barWidth*8 + whole/2) / whole
	}
	text := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		text += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	pad := strings.Repeat(" ", barWidth-len([]rune(text)))
	return s.paint(blue, text) + pad
}

// thousands prints n with commas.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// count prints "1 slot", "2 slots".
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return thousands(n) + " " + noun
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
