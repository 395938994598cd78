package zone

import (
	"fmt"

	"github.com/miekg/dns"
)

// maxName is how long a name in wire format may be (RFC 1035, section 2.3.4).
const maxName = 255

// maxLabels is how many labels fit into a name, the root's not counted.
const maxLabels = (maxName - 1) / 2

// Name turns the presentation of an absolute name into wire format, in lower case, with the root's zero byte.
func Name(s string) ([]byte, error) {
	name, err := pack(s)
	return lower(name), err
}

// pack turns the presentation of an absolute name into wire format, as it is written.
func pack(s string) ([]byte, error) {
	buf := make([]byte, len(s)+1) // each dot is a length byte there, and the root's is added
	n, err := dns.PackDomainName(s, buf, 0, nil, false)
	if err != nil {
		return nil, fmt.Errorf("name %q: %w", s, err)
	}
	if n == 0 || n > maxName {
		return nil, fmt.Errorf("name %q: has %d bytes in wire format, must be 1..%d", s, n, maxName)
	}
	return buf[:n:n], nil
}

// lower turns ASCII letters of a name in wire format to lower case, in place (RFC 4343). Bytes that are lengths are
// below any letter.
func lower(name []byte) []byte {
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			name[i] = c | 0x20
		}
	}
	return name
}

// parent is the name without its first label. The root has none.
func parent(name string) string {
	return name[1+int(name[0]):]
}

// below reports whether name is at or below ancestor.
func below(name, ancestor string) bool {
	for len(name) > len(ancestor) {
		name = parent(name)
	}
	return name == ancestor
}

// labels counts the labels of a name, the root's not counted.
func labels(name string) int {
	n := 0
	for len(name) > 1 {
		name = parent(name)
		n++
	}
	return n
}

// isWildcard reports whether the first label is an asterisk alone (RFC 4592, section 2.1.1).
func isWildcard(name string) bool {
	return len(name) > 2 && name[0] == 1 && name[1] == '*'
}

// presentation is the name as package dns unpacks it.
func presentation(name string) (string, error) {
	s, _, err := dns.UnpackDomainName([]byte(name), 0)
	return s, err
}
