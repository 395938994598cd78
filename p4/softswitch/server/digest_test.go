package server

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/protobuf/encoding/prototext"

	"github.com/sluicelb/sluice/p4/softswitch/engine"
)

// digestRig drives digests at made-up times.
type digestRig struct {
	t    *testing.T
	ds   *digests
	now  time.Time
	sent [][]byte // the first byte of each message, by list
	ids  []uint64
	full bool // nobody takes a list
}

func newDigestRig(t *testing.T, config *v1.DigestEntry_Config) *digestRig {
	t.Helper()
	info := &configv1.P4Info{}
	const text = `
		digests { preamble { id: 9 name: "learn" } type_spec { struct { name: "learn" } } }
		type_info { structs { key: "learn" value {
			members { name: "a" type_spec { bitstring { bit { bitwidth: 32 } } } }
			members { name: "b" type_spec { bitstring { bit { bitwidth: 16 } } } }
		} } }`
	if err := prototext.Unmarshal([]byte(text), info); err != nil {
		t.Fatal(err)
	}
	ds, err := newDigests(info, newTypes(info, 510), map[string][]int{"learn": {32, 16}}, make(chan struct{}, 1))
	if err != nil {
		t.Fatal(err)
	}
	r := &digestRig{t: t, ds: ds, now: time.Unix(1, 0)}
	if config != nil {
		if err := ds.update(v1.Update_INSERT, &v1.DigestEntry{DigestId: 9, Config: config}); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (r *digestRig) send(l *v1.DigestList) bool {
	if r.full {
		return false
	}
	var list []byte
	for _, d := range l.Data {
		list = append(list, d.GetStruct().Members[0].GetBitstring()[0])
	}
	r.sent, r.ids = append(r.sent, list), append(r.ids, l.ListId)
	return true
}

func (r *digestRig) report(values ...byte) {
	for _, v := range values {
		r.add(0, 0, 0, v)
	}
}

// add reports a message whose first member has these bytes.
func (r *digestRig) add(first ...byte) {
	r.ds.add(&engine.Digest{Name: "learn", Members: [][]byte{first, {0, 1}}, Valid: []bool{true, true}}, r.now, r.send)
}

// after lets time pass, and returns how long until something is due.
func (r *digestRig) after(d time.Duration) time.Duration {
	r.now = r.now.Add(d)
	next := r.ds.due(r.now, r.send)
	if next.IsZero() {
		return 0
	}
	return next.Sub(r.now)
}

func (r *digestRig) want(lists ...[]byte) {
	r.t.Helper()
	if diff := cmp.Diff(lists, r.sent); diff != "" {
		r.t.Errorf("lists sent (-want +got):\n%s", diff)
	}
	r.sent = nil
}

// Section "DigestEntry".
func TestDigestBuffer(t *testing.T) {
	r := newDigestRig(t, &v1.DigestEntry_Config{MaxTimeoutNs: 100, MaxListSize: 3, AckTimeoutNs: 1000})
	r.report(1, 1, 2) // duplicates are left out
	r.want()
	r.report(3) // full
	r.want([]byte{1, 2, 3})
	r.report(1, 2, 3, 4) // the first three are not acknowledged
	if next := r.after(99); next != 1 {
		t.Errorf("next is due in %v, want 1ns", next)
	}
	r.want()
	r.after(1) // the timeout since the first message of the buffer
	r.want([]byte{4})

	if err := r.ds.ack(9, r.ids[0]); err != nil {
		t.Fatal(err)
	}
	r.report(1, 4)
	r.after(100)
	r.want([]byte{1})

	if next := r.after(799); next != 101 {
		t.Errorf("next is due in %v, want the 101ns left of list 2's acknowledgement", next)
	}
	r.after(101) // list 2 was sent 1000ns ago: forgotten
	r.report(4, 1)
	r.after(100)
	r.want([]byte{4})
}

func TestDigestNoBuffer(t *testing.T) {
	for name, config := range map[string]*v1.DigestEntry_Config{
		"no timeout":   {MaxListSize: 5, AckTimeoutNs: 10},
		"list of one":  {MaxTimeoutNs: 50, MaxListSize: 1, AckTimeoutNs: 10},
		"without acks": {},
	} {
		t.Run(name, func(t *testing.T) {
			r := newDigestRig(t, config)
			r.report(1, 2, 1)
			if config.AckTimeoutNs == 0 {
				r.want([]byte{1}, []byte{2}, []byte{1}) // no cache at all
			} else {
				r.want([]byte{1}, []byte{2})
			}
		})
	}
}

func TestDigestBounds(t *testing.T) {
	r := newDigestRig(t, &v1.DigestEntry_Config{MaxTimeoutNs: 100, AckTimeoutNs: 1000})
	for i := range maxDigestList {
		r.add(0, 0, byte(i>>8), byte(i))
	}
	if len(r.sent) != 1 || len(r.sent[0]) != maxDigestList {
		t.Errorf("without max_list_size: %d lists, want one of %d", len(r.sent), maxDigestList)
	}
	for i := range 2 * maxDigestKnown {
		r.add(1, byte(i>>16), byte(i>>8), byte(i))
	}
	if n := len(r.ds.byID[9].known); n > maxDigestKnown {
		t.Errorf("%d messages are kept, want %d at most", n, maxDigestKnown)
	}
}

// A list that nobody takes is no reason to keep quiet about the next report of the same.
func TestDigestNobodyListens(t *testing.T) {
	r := newDigestRig(t, &v1.DigestEntry_Config{MaxListSize: 1, AckTimeoutNs: 1000, MaxTimeoutNs: 100})
	r.full = true
	r.report(1)
	r.full = false
	r.report(1)
	r.want([]byte{1})
	r.ds.forget() // another primary
	r.report(1)
	r.want([]byte{1})
}

func TestDigestConfig(t *testing.T) {
	r := newDigestRig(t, nil)
	r.report(1)
	r.want() // not enabled
	config := &v1.DigestEntry_Config{MaxListSize: 1}
	for _, tt := range []struct {
		kind  v1.Update_Type
		entry *v1.DigestEntry
		want  string
	}{
		{v1.Update_MODIFY, &v1.DigestEntry{DigestId: 9, Config: config},
			"rpc error: code = NotFound desc = digest learn is not enabled"},
		{v1.Update_DELETE, &v1.DigestEntry{DigestId: 9},
			"rpc error: code = NotFound desc = digest learn is not enabled"},
		{v1.Update_INSERT, &v1.DigestEntry{DigestId: 8, Config: config},
			"rpc error: code = InvalidArgument desc = digest_id 8 is not in the P4Info"},
		{v1.Update_INSERT, &v1.DigestEntry{DigestId: 9},
			"rpc error: code = InvalidArgument desc = digest learn: no config"},
		{v1.Update_INSERT, &v1.DigestEntry{DigestId: 9, Config: &v1.DigestEntry_Config{MaxListSize: -1}},
			"rpc error: code = InvalidArgument desc = digest learn: max_timeout_ns 0, max_list_size -1, " +
				"ack_timeout_ns 0: want 0 or more"},
		{v1.Update_INSERT, &v1.DigestEntry{DigestId: 9, Config: config}, ""},
		{v1.Update_INSERT, &v1.DigestEntry{DigestId: 9, Config: config},
			"rpc error: code = AlreadyExists desc = digest learn is enabled"},
		{v1.Update_MODIFY, &v1.DigestEntry{DigestId: 9, Config: config}, ""},
	} {
		message := ""
		if err := r.ds.update(tt.kind, tt.entry); err != nil {
			message = err.Error()
		}
		if message != tt.want {
			t.Errorf("%v %v: %s, want %s", tt.kind, tt.entry, message, tt.want)
		}
	}
	r.report(2)
	r.want([]byte{2})
	if err := r.ds.update(v1.Update_DELETE, &v1.DigestEntry{DigestId: 9}); err != nil {
		t.Fatal(err)
	}
	r.report(3)
	r.want()
	if err := r.ds.ack(3, 1); err == nil || err.Error() != "rpc error: code = InvalidArgument desc = digest_id 3 is "+
		"not in the P4Info" {
		t.Errorf("ack of an unknown digest: %v", err)
	}
}
