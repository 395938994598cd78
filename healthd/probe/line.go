package probe

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLine is how many bytes Line returns at most.
const MaxLine = 256

// Line makes text that servers may have had a hand in fit for one line of a log, a report and a screen: it is cut,
// valid UTF-8, and what does not print is escaped as Go does it.
func Line(text string) string {
	const cut = "..."
	var b strings.Builder
	whole := 0 // as far as the text goes if it is cut
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		piece := text[:size]
		switch {
		case r == utf8.RuneError && size == 1:
			piece = fmt.Sprintf(`\x%02x`, text[0])
		case !unicode.IsPrint(r):
			quoted := strconv.QuoteRune(r)
			piece = quoted[1 : len(quoted)-1]
		}
		if b.Len()+len(piece) > MaxLine {
			return b.String()[:whole] + cut
		}
		b.WriteString(piece)
		if b.Len() <= MaxLine-len(cut) {
			whole = b.Len()
		}
		text = text[size:]
	}
	return b.String()
}
