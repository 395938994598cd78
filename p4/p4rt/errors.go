package p4rt

import (
	"errors"
	"fmt"
	"strings"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ErrNotPrimary is in the error of a write, packet-out or acknowledgement by a client that is not the primary, or is it
// no longer.
var ErrNotPrimary = errors.New("this client is not primary")

// notPrimary marks PERMISSION_DENIED for a whole RPC, and nothing else, as ErrNotPrimary.
func notPrimary(err error) error {
	if status.Code(err) == codes.PermissionDenied {
		return fmt.Errorf("%w: %w", ErrNotPrimary, err)
	}
	return err
}

// BatchError says which updates of a Write the target refused. All others are done.
type BatchError struct {
	Failed  []UpdateError // by ascending Index, never empty
	Updates int           // how many the Write had
}

// UpdateError is one refused update.
type UpdateError struct {
	Index   int // into the slice that was given to Write
	Update  *v1.Update
	Code    codes.Code
	Message string
	info    *Info
}

// Error lists the first few.
func (e *BatchError) Error() string {
	const most = 3
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d updates refused: ", len(e.Failed), e.Updates)
	for k := range e.Failed {
		if k == most {
			fmt.Fprintf(&b, "; and %d more", len(e.Failed)-most)
			break
		}
		if k > 0 {
			b.WriteString("; ")
		}
		b.WriteString(e.Failed[k].Error())
	}
	return b.String()
}

// Error is for example: update 3, INSERT l2{mac=02:00:00:00:00:01}: AlreadyExists: the entry exists.
func (e *UpdateError) Error() string {
	s := fmt.Sprintf("update %d, %v %s: %v", e.Index, e.Update.GetType(), e.info.describe(e.Update.GetEntity()), e.Code)
	if e.Message != "" {
		s += ": " + e.Message
	}
	return s
}

// describe names an entity by its key, as well as it can.
func (i *Info) describe(e *v1.Entity) string {
	t := e.GetTableEntry()
	if i != nil && t != nil {
		if entry, err := i.DecodeEntry(t); err == nil {
			return Entry{Table: entry.Table, Match: entry.Match, Priority: entry.Priority,
				Default: entry.Default}.String()
		}
	}
	if t != nil {
		return fmt.Sprintf("entry of table id %d", t.GetTableId())
	}
	if g := e.GetPacketReplicationEngineEntry().GetMulticastGroupEntry(); g != nil {
		return fmt.Sprintf("multicast group %d", g.GetMulticastGroupId())
	}
	s := fmt.Sprintf("%T", e.GetEntity())
	return s[strings.LastIndex(s, "_")+1:]
}

// updateDetails returns what a batch RPC that failed says about each of its n requests (section "Error
// Reporting"). It fails with err itself when that carries no details, thus is about the RPC as a
// whole, and with an error that says more when the details make no sense.
func updateDetails(err error, n int) ([]*v1.Error, error) {
	st, ok := status.FromError(err)
	if !ok || len(st.Proto().GetDetails()) == 0 {
		return nil, err
	}
	details := st.Proto().GetDetails()
	if len(details) != n {
		return nil, fmt.Errorf("the target gives %d error details for %d requests: %w", len(details), n, err)
	}
	out := make([]*v1.Error, n)
	failed := false
	for k, d := range details {
		out[k] = new(v1.Error)
		if unmarshalErr := d.UnmarshalTo(out[k]); unmarshalErr != nil {
			return nil, fmt.Errorf("error detail %d of %d is no p4.v1.Error (%v): %w", k, n, unmarshalErr, err)
		}
		failed = failed || codes.Code(out[k].GetCanonicalCode()) != codes.OK
	}
	if !failed {
		return nil, fmt.Errorf("the target gives %d error details that all say OK: %w", n, err)
	}
	return out, nil
}
