package config

import (
	"errors"
	"strings"

	"github.com/miekg/dns"
)

var (
	errEmptyName  = errors.New("it is empty")
	errEmptyLabel = errors.New("it has an empty label")
	errLongLabel  = errors.New("a label may have at most 63 bytes")
	errLongName   = errors.New("a name may have at most 255 bytes on the wire, that is 253 characters")
	errNotASCII   = errors.New("internationalised names are written in their ASCII form, xn--bcher-kva")
	errCharacter  = errors.New(`labels have letters, digits, "-", "_" and "/"; all else is escaped, as \. or \032`)
	errStar       = errors.New(`"*" may only be the whole first label`)
)

// canonical returns the absolute, lower-case form of a domain name as DNS servers print it (RFC 4343, RFC 1035
// section 5.1), so that equal names are equal strings. The last dot may be left out. "*" may stand anywhere: it means
// something only as the whole first label (RFC 4592 section 2.1.1).
func canonical(text string) (string, error) {
	if text == "." {
		return text, nil
	}
	if strings.IndexByte(text, '\\') >= 0 {
		return normal(text)
	}
	rest := strings.TrimSuffix(text, ".")
	if rest == "" {
		return "", errEmptyName
	}
	if len(rest) > 253 {
		return "", errLongName
	}
	label, upper := 0, false
	for i := range len(rest) {
		switch c := rest[i]; {
		case c == '.':
			if label == 0 {
				return "", errEmptyLabel
			}
			label = 0
			continue
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '/', c == '*':
		case 'A' <= c && c <= 'Z':
			upper = true
		case c >= 0x80:
			return "", errNotASCII
		default:
			return "", errCharacter
		}
		if label++; label > 63 {
			return "", errLongLabel
		}
	}
	switch {
	case label == 0:
		return "", errEmptyLabel
	case upper:
		return strings.ToLower(rest) + ".", nil
	case len(rest) == len(text):
		return rest + ".", nil
	}
	return text, nil
}

// normal is canonical for any name that packs, by way of the wire.
func normal(text string) (string, error) {
	var wire [255]byte
	n, err := dns.PackDomainName(dns.Fqdn(text), wire[:], 0, nil, false)
	if err != nil {
		return "", err
	}
	for i, c := range wire[:n] { // lengths are below 'A'
		if 'A' <= c && c <= 'Z' {
			wire[i] = c + 'a' - 'A'
		}
	}
	name, _, err := dns.UnpackDomainName(wire[:n], 0)
	return name, err
}

// parent returns the name without its first label; "" for the root.
func parent(name string) string {
	if name == "." {
		return ""
	}
	next, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[next:]
}

// within reports whether canonical name is zone or below it.
func within(name, zone string) bool {
	for ; name != ""; name = parent(name) {
		if name == zone {
			return true
		}
		if len(name) <= len(zone) {
			return zone == "."
		}
	}
	return false
}

// isWildcard reports whether the first label of name is "*".
func isWildcard(name string) bool { return name == "*." || strings.HasPrefix(name, "*.") }
