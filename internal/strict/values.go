package strict

// Values returns how many values and keys a YAML document has at most. Each takes some two hundred bytes when it is
// decoded, and may be written with one, so who reads a text of others looks here first.
//
// It counts what begins a value, wherever it stands: in comments and in texts, too.
func Values(data []byte) int {
	n := 1
	for i, c := range data {
		switch c {
		case '[', '{':
			n += 3 // itself, and the first key and value in it
		case ',':
			n += 2 // the next key and value
		case ':':
			if i+1 == len(data) || ends(data[i+1]) || i > 0 && closes(data[i-1]) {
				n += 2 // a key and a value
			}
		case '-', '?':
			if i+1 == len(data) || ends(data[i+1]) {
				n += 2 // an element, or a key and a value
			}
		}
	}
	return n
}

// ends says whether c ends the token before it.
func ends(c byte) bool {
	switch c {
	case ' ', '\t', '\r', '\n', ',', '[', ']', '{', '}', 0xc2, 0xe2: // the last two begin line breaks outside of ASCII
		return true
	}
	return false
}

// closes says whether c ends a key that may have its colon right behind it.
func closes(c byte) bool { return c == '"' || c == '\'' || c == ']' || c == '}' }
