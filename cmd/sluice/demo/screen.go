package demo

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// screen prints the demo's progress, in no more columns than there are.
type screen struct {
	colour  bool
	columns int
	step    int

	mu   sync.Mutex // guards what follows
	w    io.Writer
	gone func() // called when nobody reads any more
	err  error  // why
}

const (
	mostColumns   = 80
	leastColumns  = 40 // a terminal with fewer breaks lines by itself
	columnsToDraw = 76 // what the picture takes
)

// newScreen uses colour on a terminal, unless NO_COLOR (no-color.org) or TERM says otherwise.
func newScreen(w io.Writer, gone func()) *screen {
	s := &screen{w: w, gone: gone, columns: mostColumns}
	size, err := terminalSize(w)
	s.colour = err == nil && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	if err == nil && size.Col > 0 {
		s.columns = int(size.Col)
	}
	// Set by people who know better, and where there is no terminal.
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		s.columns = n
	}
	s.columns = min(max(s.columns, leastColumns), mostColumns)
	return s
}

func terminalSize(w io.Writer) (*unix.Winsize, error) {
	file, ok := w.(*os.File)
	if !ok {
		return nil, unix.ENOTTY
	}
	return unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
}

func (s *screen) printf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
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

// broken is why nobody reads any more, nil if somebody may.
func (s *screen) broken() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// introduce says what is shown, and draws it.
func (s *screen) introduce() {
	for _, line := range wrap("Sluice: the switch balances, the servers answer the client directly.", s.columns) {
		s.printf("%s\n", line)
	}
	drawing := picture
	if s.columns < columnsToDraw {
		drawing = narrowPicture
	}
	s.printf("%s\n", drawing)
	s.line("The VIP is on every server's loopback. In each data center a controller programs the switch over " +
		"P4Runtime, " +
		"and healthd checks from mgmt.")
	s.printf("\n")
}

// title starts a step of the script.
func (s *screen) title(text string) {
	s.step++
	for i, line := range wrap(text, s.columns-3) {
		if i == 0 {
			line = fmt.Sprintf("\n%s", s.paint(bold, fmt.Sprintf("%d  %s", s.step, line)))
		} else {
			line = "   " + s.paint(bold, line)
		}
		s.printf("%s\n", line)
	}
}

// command prints a line that people copy, whole.
func (s *screen) command(text string) { s.printf("   %s\n", text) }

// hang prints a text that begins in a column, behind what stands before it, in as many lines as it takes.
func (s *screen) hang(column int, before, format string, args ...any) {
	for _, line := range wrap(fmt.Sprintf(format, args...), s.columns-3-column) {
		s.printf("   %s%s%s\n", before, strings.Repeat(" ", column-utf8.RuneCountInString(before)), line)
		before = ""
	}
}

// line prints what a step found.
func (s *screen) line(format string, args ...any) { s.hang(0, "", format, args...) }

// note prints a text that explains.
func (s *screen) note(format string, args ...any) {
	var text strings.Builder // whole, whoever else prints
	for _, line := range wrap(fmt.Sprintf(format, args...), s.columns-3) {
		fmt.Fprintf(&text, "   %s\n", s.paint(dim, line))
	}
	s.printf("%s", &text)
}

// at prints what happened how long after an event.
func (s *screen) at(since time.Duration, format string, args ...any) {
	s.hang(12, fmt.Sprintf("%7s ms", thousands(int(since.Milliseconds()))), format, args...)
}

// claim prints one claim of the summary.
func (s *screen) claim(c check) {
	mark, text := s.paint(green, "✓"), c.text
	switch {
	case c.holds:
	case c.excused:
		mark, text = "?", "not measured: "+text
	default:
		mark = s.paint(red, "✗")
	}
	for _, line := range wrap(text, s.columns-5) {
		s.printf("   %s %s\n", mark, line)
		mark = " "
	}
}

// shares prints how new connections were shared, beside the slots behind them and the sessions that are open.
func (s *screen) shares(servers []string, answers, slots, sessions map[string]int) {
	title, row := "share of new connections", "%s %7s %9s %7s %9s"
	bar := s.columns - 3 - len("web1  ") - 1 - 7 - 10 - 8 - 10
	if bar = min(bar, 30); bar < 18 {
		title = "share"
	}
	if bar < 8 { // the figures take all that there is
		bar, row = 0, "%s%7s %7s %5s %8s"
	}
	all := 0
	for _, server := range servers {
		all += answers[server]
	}
	head := fmt.Sprintf(row, fmt.Sprintf("%-*s", 6+bar, title), "", "answers", "slots", "sessions")
	s.printf("   %s\n", s.paint(dim, head))
	for _, server := range servers {
		n := answers[server]
		percent := fmt.Sprintf("%.1f %%", 100*float64(n)/float64(max(all, 1)))
		s.printf("   "+row+"\n", fmt.Sprintf("%-6s", server)+s.bar(n, all, bar), percent, thousands(n),
			thousands(slots[server]), thousands(sessions[server]))
	}
}

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

// bar draws a part of a whole, in eighths of a column.
func (s *screen) bar(part, whole, width int) string {
	eighths := 0
	if whole > 0 {
		eighths = (part*width*8 + whole/2) / whole
	}
	text := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		text += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	pad := strings.Repeat(" ", width-utf8.RuneCountInString(text))
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
