// Package cookie makes and checks DNS server cookies as RFC 7873 and RFC 9018 have them, so that any servers
// that share secrets accept each other's. It allocates nothing and keeps no state but the secrets of a process
// that was given none. Reading the COOKIE option and refusing what is malformed is left to the callers,
// packages responder and fastpath; reading secrets from files is package config's.
package cookie

import (
	"encoding/binary"
	"net/netip"

	"github.com/dchest/siphash"
)

// Sizes in bytes of the parts of a COOKIE option's value (RFC 7873 section 4). Other servers' cookies may have 8 to
// 32 bytes; ours, which is the only kind that can be valid, has ServerSize.
const (
	ClientSize    = 8
	ServerSize    = 16
	Size          = ClientSize + ServerSize
	MinServerSize = 8
	MaxServerSize = 32
)

// How long a server cookie is good for, in seconds around the clock of whoever checks it (RFC 9018 section 4.3).
const (
	maxAge   = 60 * 60
	maxAhead = 5 * 60
	renewAge = 30 * 60
)

const version = 1

// WellFormed reports whether an option's value has a length that RFC 7873 allows: a client cookie, alone or
// with a server cookie. Anything else is FORMERR.
func WellFormed(option []byte) bool {
	return len(option) == ClientSize ||
		len(option) >= ClientSize+MinServerSize && len(option) <= ClientSize+MaxServerSize
}

// Check reports whether option, the value of a COOKIE option, holds a server cookie that one of secrets made for
// client not too long ago. now is Unix time in seconds modulo 2^32.
func Check(secrets [][16]byte, option []byte, client netip.Addr, now uint32) bool {
	valid, _ := check(secrets, option, client, now)
	return valid
}

// Append appends the value of the COOKIE option of a response to one from client with the well-formed value option: the
// client's cookie and a server cookie. The server cookie is the client's own while that is valid, made by the
// first secret and young; else a new one. valid is what Check says.
func Append(dst []byte, secrets [][16]byte, option []byte, client netip.Addr, now uint32) (result []byte, valid bool) {
	valid, renew := check(secrets, option, client, now)
	if valid && !renew {
		return append(dst, option...), true
	}
	return Make(dst, secrets[0], option[:ClientSize], client, now), valid
}

// Make appends the client cookie and a new server cookie for it.
func Make(dst []byte, secret [16]byte, clientCookie []byte, client netip.Addr, now uint32) []byte {
	start := len(dst)
	dst = append(dst, clientCookie[:ClientSize]...)
	dst = append(dst, version, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, now)
	return binary.LittleEndian.AppendUint64(dst, sum(secret, dst[start:], client))
}

// check also reports whether a valid cookie is due to be replaced: it is old, from the future, or an earlier secret
// made it.
func check(secrets [][16]byte, option []byte, client netip.Addr, now uint32) (valid, renew bool) {
	if len(option) != Size || option[ClientSize] != version {
		return false, false
	}
	age := int32(now - binary.BigEndian.Uint32(option[ClientSize+4:])) // serial numbers, RFC 1982
	if age > maxAge || age < -maxAhead {
		return false, false
	}
	have := binary.LittleEndian.Uint64(option[ClientSize+8:])
	// The 64 bits are compared at once and not byte by byte, so time tells nothing about how many match.
	for i, secret := range secrets {
		if sum(secret, option[:ClientSize+8], client) == have {
			return true, i > 0 || age > renewAge || age < 0
		}
	}
	return false, false
}

// sum is the hash of RFC 9018 section 4.4 over the client cookie, version, reserved bytes and time, and the address.
func sum(secret [16]byte, head []byte, client netip.Addr) uint64 {
	var message [ClientSize + 8 + 16]byte
	n := copy(message[:], head)
	if client = client.Unmap(); client.Is4() {
		a := client.As4()
		n += copy(message[n:], a[:])
	} else {
		a := client.As16()
		n += copy(message[n:], a[:])
	}
	return siphash.Hash(binary.LittleEndian.Uint64(secret[:]), binary.LittleEndian.Uint64(secret[8:]), message[:n])
}
