package p4rt

import (
	"regexp"
	"strings"
)

// Format says how a Value prints. P4 sources choose it with @format(...). Most programs do not, so for
// a value without it the width and the name tell:
//
//   - 48 bits are a MAC, but for a name that says time.
//   - 32 bits are an IPv4 address, and 128 bits an IPv6 address, when a part of the name says address
//     (addr, srcAddr, ip, ipv4, dst_ip, spa, tpa, next_hop: hdr.ipv4.src as well) and its last part does
//     not say count, hash, index or the like; and when the value is matched by its prefix.
//   - All others are Decimal.
//
// Masks print in the format of their values, but those of Decimal values as Hex.
type Format uint8

// The formats.
const (
	Decimal Format = iota // up to 64 bits; wider values print as Hex
	Hex                   // @format(HEX_STRING)
	MAC                   // @format(MAC_ADDRESS)
	IPv4                  // @format(IPV4_ADDRESS)
	IPv6                  // @format(IPV6_ADDRESS)
	Text                  // @format(STRING), and values translated to SDN strings
	Hidden                // @secret, an annotation of ours: not for screens, files and logs
)

var formatAnnotation = regexp.MustCompile(`^@format\(\s*"?(\w+)"?\s*\)$`)

func formatOf(annotations []string) Format {
	for _, a := range annotations {
		if a == "@secret" {
			return Hidden
		}
		if m := formatAnnotation.FindStringSubmatch(a); m != nil {
			switch m[1] {
			case "HEX_STRING":
				return Hex
			case "MAC_ADDRESS":
				return MAC
			case "IPV4_ADDRESS":
				return IPv4
			case "IPV6_ADDRESS":
				return IPv6
			}
		}
	}
	return Decimal
}

var (
	humps       = regexp.MustCompile(`([a-z0-9])([A-Z])`)
	nameParts   = regexp.MustCompile(`[a-z0-9]+`)
	saysAddress = regexp.MustCompile(
		`^(\w*addr(ess)?|[sd]?ip(v?[46])?(src|dst)?|(src|dst)ip(v?[46])?|[st]pa|nh(op)?|(next)?hop)$`)
	saysNumber = regexp.MustCompile(`^(count|counter|cnt|hash|id|idx|index|len|length|mark|num|port|size|type)$`)
	saysTime   = regexp.MustCompile(`time|tstamp`)
)

// named returns t in the format that the name of a value suggests, where the P4 program chooses none.
func (t typed) named(name string) typed {
	if t.text || t.signed || t.format != Decimal {
		return t
	}
	parts := nameParts.FindAllString(strings.ToLower(humps.ReplaceAllString(name, "${1}_${2}")), -1)
	address := false
	for _, part := range parts {
		address = address || saysAddress.MatchString(part)
	}
	if len(parts) > 0 && saysNumber.MatchString(parts[len(parts)-1]) {
		address = false
	}
	switch {
	case t.bits == 48 && !saysTime.MatchString(strings.ToLower(name)):
		t.format = MAC
	case address:
		t = t.address()
	}
	return t
}

// address returns t in the format of the addresses that are as wide, if there are such.
func (t typed) address() typed {
	switch {
	case t.format != Decimal:
	case t.bits == 32:
		t.format = IPv4
	case t.bits == 128:
		t.format = IPv6
	}
	return t
}
