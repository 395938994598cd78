package packet

import (
	"bytes"
	"encoding/hex"
	"fmt"
)

// MAC is an Ethernet address. It is comparable, and its zero value is no station's address.
type MAC [6]byte

// Broadcast is the address of every station.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// ParseMAC reads the colon form, six pairs of hexadecimal digits: 02:53:4c:00:00:01.
func ParseMAC(s string) (MAC, error) {
	var m MAC
	if len(s) != 17 {
		return MAC{}, macError(s)
	}
	for i := range m {
		if i > 0 && s[3*i-1] != ':' {
			return MAC{}, macError(s)
		}
		if _, err := hex.Decode(m[i:i+1], []byte(s[3*i:3*i+2])); err != nil {
			return MAC{}, macError(s)
		}
	}
	return m, nil
}

func macError(s string) error {
	return fmt.Errorf("%q is not a MAC address: want six pairs of hexadecimal digits joined by colons, such as "+
		"02:53:4c:00:00:01", s)
}

// String returns the colon form in lower case.
func (m MAC) String() string {
	text, _ := m.MarshalText()
	return string(text)
}

// MarshalText implements encoding.TextMarshaler.
func (m MAC) MarshalText() ([]byte, error) {
	text := make([]byte, 0, 17)
	for i, b := range m {
		if i > 0 {
			text = append(text, ':')
		}
		text = hex.AppendEncode(text, []byte{b})
	}
	return text, nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *MAC) UnmarshalText(text []byte) error {
	parsed, err := ParseMAC(string(text))
	if err != nil {
		return err
	}
	*m = parsed
	return nil
}

// IsGroup reports whether m is a multicast or broadcast address, which no station may send from.
func (m MAC) IsGroup() bool { return m[0]&1 == 1 }

// IsZero reports whether m is 00:00:00:00:00:00.
func (m MAC) IsZero() bool { return m == MAC{} }

// Compare orders addresses by their bytes: -1, 0 or 1.
func (m MAC) Compare(o MAC) int { return bytes.Compare(m[:], o[:]) }
