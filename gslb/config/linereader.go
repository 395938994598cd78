package config

import "io"

// lineReader hands out a zone file byte by byte, as the zone parser takes it, and knows the line. It makes up for
// three things that the parser leaves out: the end of a line that nothing ends, without which it forgets what the line
// began; the blank that a line's end is in parentheses (RFC 1035 section 5.1), without which "( 1" and "2 )" are 12;
// and that a parenthesis ends a word, without which "MX(10" is one. And it leaves out comments in parentheses, behind
// which the parser takes any "A" or "MX" for the type of the record.
type lineReader struct {
	data  []byte
	next  int
	line  int // of the byte before next
	ended bool

	depth                    int // of parentheses
	quoted, escaped, comment bool
	blank                    bool // was handed out for what stands at next
}

// ReadByte returns the next byte.
func (r *lineReader) ReadByte() (byte, error) {
	if r.next > len(r.data) {
		return 0, io.EOF
	}
	c := byte('\n')
	if r.next < len(r.data) {
		c = r.data[r.next]
	}
	if !r.blank && r.separates(c) {
		r.blank = true
		return ' ', nil
	}
	if c == ';' && r.depth > 0 && !r.quoted && !r.escaped && !r.comment {
		for r.next < len(r.data) && r.data[r.next] != '\n' {
			r.next++
		}
		return r.ReadByte()
	}
	r.blank = false
	if r.ended || r.next == 0 {
		r.line++
	}
	r.next++
	r.ended = c == '\n'
	r.follow(c)
	return c, nil
}

// separates reports whether c, which stands at next, is to have a blank before it. At the begin of a line that would
// stand for the owner.
func (r *lineReader) separates(c byte) bool {
	switch c {
	case '\n':
		return r.depth > 0 && !r.quoted
	case '(', ')':
		return !r.quoted && !r.escaped && !r.comment && r.next > 0 && r.data[r.next-1] != '\n'
	}
	return false
}

// follow keeps track of where parentheses mean something.
func (r *lineReader) follow(c byte) {
	switch {
	case c == '\n':
		r.comment, r.escaped = false, false
	case r.comment:
	case r.escaped:
		r.escaped = false
	case c == '\\':
		r.escaped = true
	case c == '"':
		r.quoted = !r.quoted
	case r.quoted:
	case c == ';':
		r.comment = true
	case c == '(':
		r.depth++
	case c == ')':
		r.depth--
	}
}
