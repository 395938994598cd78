package demo

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// screen prints the demo's progress in 80 columns.
type screen struct {
	w      io.Writer
	colour bool
	step   int
}

// newScreen uses colour on a terminal, unless NO_COLOR (no-color.org) or TERM says otherwise.
func newScreen(w io.Writer) *screen {
	file, isFile := w.(*os.File)
	if !isFile || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return &screen{w: w}
	}
	info, err := file.Stat()
	return &screen{w: w, colour: err == nil && info.Mode()&os.ModeCharDevice != 0}
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
func (s *screen) paragraph(text string) { fmt.Fprintln(s.w, text) }

// title starts a step of the script.
func (s *screen) title(text string) {
	s.step++
	fmt.Fprintf(s.w, "\n%s\n", s.paint(bold, fmt.Sprintf("%d  %s", s.step, text)))
}

// line prints one line of a step.
func (s *screen) line(format string, args ...any) {
	fmt.Fprintf(s.w, "   "+format+"\n", args...)
}

// note prints a line that explains.
func (s *screen) note(format string, args ...any) {
	s.line("%s", s.paint(dim, fmt.Sprintf(format, args...)))
}

// head prints the header of a table.
func (s *screen) head(format string, args ...any) {
	s.note(format, args...)
}

// at prints what happened how long after an event.
func (s *screen) at(since time.Duration, format string, args ...any) {
	s.line("%7s ms  %s", thousands(int(since.Milliseconds())), fmt.Sprintf(format, args...))
}

// claim prints one line of the summary.
func (s *screen) claim(holds bool, format string, args ...any) {
	mark := s.paint(green, "✓")
	if !holds {
		mark = s.paint(red, "✗")
	}
	s.line("%s %s", mark, fmt.Sprintf(format, args...))
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
