// Package checkable says what a check can ask: which paths and hosts an HTTP request can carry, and within which
// bounds it is asked. Those who validate a configuration and those who ask use the same functions, so that nothing
// passes the one that the other cannot do; both configurations read what they say of a request here, with the same
// bounds and messages. What else a file may say is left to the packages of its roles.
package checkable

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sluicelb/sluice/internal/strict"
)

// Bounds of a check, and of how many a pool may have.
const (
	MinInterval, MaxInterval = 10 * time.Millisecond, time.Hour // of every duration but jitter
	MaxCount                 = 100                              // of rise and fall
	// a status below is not an answer yet (RFC 9110 section 15.2)
	MinStatus, MaxStatus = 200, 599
	MaxChecks            = 32      // of one pool
	MaxAllChecks         = 8192    // of all pools
	MaxTargets           = 1 << 18 // each check of a pool times each of its backends, of all pools
	maxPath              = 2048
)

// Path returns the request target for the path of a URL and its query: "/is%20it/up?q=1". What the path itself has
// beside printable ASCII is percent-encoded.
func Path(text string) (target string, err error) {
	where, parseErr := url.ParseRequestURI(text)
	switch {
	case len(text) > maxPath:
		return "", fmt.Errorf("must have at most %d bytes, has %d", maxPath, len(text))
	case parseErr != nil || text[0] != '/' || strings.Contains(text, "#"):
		return "", fmt.Errorf("must be the path of a URL, such as /healthz, is %s", strict.Quote(text))
	case strings.ContainsFunc(where.RawQuery, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", fmt.Errorf("must have a query of printable ASCII without spaces, such as ?site=a%%20b, is %s",
			strict.Quote(text))
	}
	return where.RequestURI(), nil
}

// Statuses reads a status, or a range of them such as 200-299.
func Statuses(text string) (low, high uint16, err error) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	from, err1 := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil || from < MinStatus || to > MaxStatus || from > to {
		return 0, 0, fmt.Errorf("must be a status, %d..%d, or a range of them such as 200-299, is %s", MinStatus,
			MaxStatus, strict.Quote(text))
	}
	return uint16(from), uint16(to), nil
}

// Host reads a host name or an address, with a port or without. It returns what the Host header says, and the name
// that a certificate must be for.
func Host(text string) (header, name string, err error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Is6() && addr.Zone() == "" {
		return "[" + text + "]", text, nil
	}
	name = text
	if i := strings.LastIndexByte(text, ':'); i >= 0 && !strings.HasSuffix(text, "]") {
		name = text[:i]
		if port, err := strconv.ParseUint(text[i+1:], 10, 16); err != nil || port == 0 {
			return "", "", notHost(text)
		}
	}
	if inner, ok := strings.CutPrefix(name, "["); ok {
		name = strings.TrimSuffix(inner, "]")
		addr, err := netip.ParseAddr(name)
		if err != nil || !addr.Is6() || addr.Zone() != "" || inner != name+"]" {
			return "", "", notHost(text)
		}
		return text, name, nil
	}
	if !isHostName(name) {
		return "", "", notHost(text)
	}
	return text, name, nil
}

func notHost(text string) error {
	if strings.ContainsFunc(text, func(r rune) bool { return r > '~' }) {
		return fmt.Errorf("must be a host name in ASCII, such as www.example.com or xn--bcher-kva.example, is %s",
			strict.Quote(text))
	}
	return fmt.Errorf("must be a host name, such as www.example.com, is %s", strict.Quote(text))
}

// isHostName goes by RFC 1123, section 2.1, and lets underscores pass, which many have.
func isHostName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}) {
			return false
		}
	}
	return true
}
