package p4rt

import (
	"cmp"
	"fmt"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
)

// ElectionID ranks the clients of a device: the highest that a device has seen is its primary. It is
// one number of 128 bits. {0, 0} is an id like any other; a client that has none is never primary.
type ElectionID struct{ High, Low uint64 }

// Compare orders ids: -1, 0 or 1.
func (e ElectionID) Compare(o ElectionID) int {
	return cmp.Or(cmp.Compare(e.High, o.High), cmp.Compare(e.Low, o.Low))
}

// String is high:low.
func (e ElectionID) String() string { return fmt.Sprintf("%d:%d", e.High, e.Low) }

func (e *ElectionID) message() *v1.Uint128 {
	if e == nil {
		return nil
	}
	return &v1.Uint128{High: e.High, Low: e.Low}
}
