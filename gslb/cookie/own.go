package cookie

import (
	"crypto/rand"
	"sync/atomic"
)

// ownLife is how long the process makes cookies with one secret of its own, in seconds. RFC 9018 section 5 finds
// once a month adequate.
const ownLife = 28 * 24 * 60 * 60

// own holds the secrets that this process made up, the newest first, and when.
type own struct {
	since   uint32
	secrets [][16]byte
}

// Own is what makes up secrets for a server that was configured with none. The zero value is ready. It may be used
// from many goroutines.
type Own struct{ current atomic.Pointer[own] }

// Secrets returns configured if there are any. Otherwise it returns this process's own, which change monthly; the
// one before goes on verifying. now is as in Check.
func (o *Own) Secrets(configured [][16]byte, now uint32) [][16]byte {
	if len(configured) > 0 {
		return configured
	}
	for {
		have := o.current.Load()
		if have != nil && int32(now-have.since) < ownLife {
			return have.secrets
		}
		fresh := [][16]byte{{}}
		rand.Read(fresh[0][:]) // does not fail
		if have != nil {
			fresh = append(fresh, have.secrets[0])
		}
		o.current.CompareAndSwap(have, &own{now, fresh})
	}
}

var process Own

// Secrets is Own.Secrets of the one that all of the process shares.
func Secrets(configured [][16]byte, now uint32) [][16]byte { return process.Secrets(configured, now) }
