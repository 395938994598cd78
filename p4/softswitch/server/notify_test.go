package server_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
)

var timestamp = regexp.MustCompile(` ?timestamp:\d+`)

// Digests over the whole way: a frame from an unknown station, the list, the acknowledgement.
func TestDigests(t *testing.T) {
	r := newRig(t)
	s := r.configured(sluice())
	host, _ := r.link(4)
	config := `digest_entry:{digest_id:$learn_t config:{max_timeout_ns:1000000 max_list_size:100 ` +
		`ack_timeout_ns:60000000000}}`
	r.mustWrite(insert(t, config))
	if diff := cmp.Diff([]string{config}, texts(r.mustRead(entry(t, `digest_entry:{}`)))); diff != "" {
		t.Errorf("digest entries (-want +got):\n%s", diff)
	}
	frame := func(station byte) []byte {
		return append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, station}, make([]byte, 48)...)
	}
	list := func(id int, station byte) string {
		return fmt.Sprintf(`digest:{digest_id:$learn_t list_id:%d `+
			`data:{struct:{members:{bitstring:"\x02\x00\x00\x00\x00\x%02x"} members:{bitstring:"\x04"}}}}`, id, station)
	}
	next := func() string {
		t.Helper()
		return unnamed.Replace(timestamp.ReplaceAllString(s.next(), ""))
	}
	host.Send(frame(0x11))
	if got := next(); got != list(1, 0x11) {
		t.Errorf("first list:\n got %s\nwant %s", got, list(1, 0x11))
	}
	host.Send(frame(0x11)) // not acknowledged: left out
	host.Send(frame(0x12))
	if got := next(); got != list(2, 0x12) {
		t.Errorf("second list:\n got %s\nwant %s", got, list(2, 0x12))
	}
	ack := func(id uint32, list uint64) {
		s.send(&v1.StreamMessageRequest{
			Update: &v1.StreamMessageRequest_DigestAck{DigestAck: &v1.DigestListAck{DigestId: id, ListId: list}}})
	}
	ack(7, 1)
	s.want(`error:{canonical_code:3 message:"digest_id 7 is not in the P4Info" ` +
		`digest_list_ack:{digest_list_ack:{digest_id:7 list_id:1}}}`)
	ack(398033514, 1)
	s.send(&v1.StreamMessageRequest{}) // its answer comes after the acknowledgement took effect
	s.next()
	host.Send(frame(0x11))
	if got := next(); got != list(3, 0x11) {
		t.Errorf("after the acknowledgement:\n got %s\nwant %s", got, list(3, 0x11))
	}
}

// Sections "Idle-timeout" and "Table Idle Timeout Notification": entries that no packet hits are
// notified together, and again after another timeout; one that is hit is not.
func TestIdleTimeout(t *testing.T) {
	r := newRig(t)
	s := r.configured(sluice())
	station := func(mac, timeout string) *v1.Update {
		return insert(t, `table_entry:{table_id:$station match:{field_id:1 exact:{value:"`+mac+
			`"}} action:{action:{action_id:$known params:{param_id:1 value:"\x01"}}} idle_timeout_ns:`+timeout+
			` metadata:"m"}`)
	}
	start := time.Now()
	r.mustWrite(station(`\x01`, "50000000"), station(`\x02`, "50000000"), station(`\x03`, "3600000000000"),
		station(`\x04`, "0"))
	seen := map[string]int{}
	for seen["1"] < 3 {
		m, err := s.rpc.Recv()
		if err != nil {
			t.Fatal(err)
		}
		n := m.GetIdleTimeoutNotification()
		if n == nil || len(n.TableEntry) == 0 || n.Timestamp < start.UnixNano() {
			t.Fatalf("got %v, want an idle timeout notification with entries", m)
		}
		for _, e := range n.TableEntry {
			mac := fmt.Sprint(e.Match[0].GetExact().Value[0])
			if mac != "1" && mac != "2" || e.IdleTimeoutNs != 50_000_000 || string(e.Metadata) != "m" {
				t.Errorf("notified: %s", text(e))
			}
			seen[mac]++
		}
	}
	if passed := time.Since(start); passed < 150*time.Millisecond {
		t.Errorf("three notifications within %v, want at least three timeouts", passed)
	}
	read := texts(r.mustRead(entry(t, `table_entry:{table_id:$station match:{field_id:1 exact:{value:"\x03"}} `+
		`time_since_last_hit:{}}`)))
	if len(read) != 1 || !strings.Contains(read[0], "time_since_last_hit:{elapsed_ns:") {
		t.Errorf("time_since_last_hit is not returned: %v", read)
	}
}
