package loadreport

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"os"
	"strings"
)

// MinSecret is the least length of a secret, in bytes.
const MinSecret = 16

// maxKeys is how many keys a controller takes; rotation needs two.
const maxKeys = 64

// Key is a secret that both ends have. Its id, which datagrams carry in the clear, follows from the secret,
// so that a controller that has several knows which one is meant: that is how keys are rotated.
type Key struct {
	id     uint32
	secret []byte
}

// NewKey makes a key of a secret of at least MinSecret bytes.
func NewKey(secret []byte) (Key, error) {
	if len(secret) < MinSecret {
		return Key{}, fmt.Errorf("a key must have at least %d bytes, has %d", MinSecret, len(secret))
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("sluice load report key id"))
	return Key{binary.BigEndian.Uint32(mac.Sum(nil)), bytes.Clone(secret)}, nil
}

// ID returns the key's id, which is no secret.
func (k Key) ID() uint32 { return k.id }

// Secret returns what NewKey made the key of.
func (k Key) Secret() []byte { return bytes.Clone(k.secret) }

// String prints the id and not the secret.
func (k Key) String() string { return fmt.Sprintf("%08x", k.id) }

// GoString is String: %#v shows no secret either.
func (k Key) GoString() string { return "loadreport.Key(" + k.String() + ")" }

func (k Key) mac() hash.Hash { return hmac.New(sha256.New, k.secret) }

// ParseKeys reads one key from each line of text: the secret as it stands, or "base64:" and its base64.
// White space around it, empty lines and those that begin with # do not count.
func ParseKeys(text []byte) ([]Key, error) {
	var keys []Key
	lines := make(map[uint32]int) // by key id
	var problems []error
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, err := parseKey(line)
		if err != nil {
			problems = append(problems, fmt.Errorf("line %d: %w", number, err))
			continue
		}
		if first, ok := lines[key.id]; ok {
			problems = append(problems, fmt.Errorf("line %d: the key is that of line %d", number, first))
			continue
		}
		lines[key.id] = number
		keys = append(keys, key)
	}
	switch {
	case len(problems) > 0:
		return nil, errors.Join(problems...)
	case len(keys) == 0:
		return nil, errors.New("no key is in it: a line must hold one")
	case len(keys) > maxKeys:
		return nil, fmt.Errorf("at most %d keys may be in it, are %d", maxKeys, len(keys))
	}
	return keys, nil
}

func parseKey(line string) (Key, error) {
	secret := []byte(line)
	if text, ok := strings.CutPrefix(line, "base64:"); ok {
		var err error
		if secret, err = base64.StdEncoding.DecodeString(text); err != nil {
			return Key{}, errors.New("what follows base64: is not base64")
		}
	}
	return NewKey(secret)
}

// published is the secret of gslb's example, which everybody can read.
const published = "a secret of at least 16 bytes"

// ReadKeys reads the file of keys of who answers, see ParseKeys. The file must be closed to others than its owner and
// group, and its secrets must not be those of our documents.
func ReadKeys(file string) ([]Key, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("reading the keys: %w", err)
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("reading the keys: everybody may use %s, mode %v: chmod o= it", file, info.Mode().Perm())
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the keys: %w", err)
	}
	keys, err := ParseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("reading the keys in %s: %w", file, err)
	}
	for _, k := range keys {
		if string(k.secret) == published {
			return nil, fmt.Errorf("reading the keys in %s: one is that of the example, which is public: "+
				"make one, as with head -c 32 /dev/urandom | base64", file)
		}
	}
	return keys, nil
}
