package server_test

import (
	"bytes"
	"strings"
	"testing"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/p4/softswitch"
)

func packetOut(t testing.TB, s string) *v1.StreamMessageRequest {
	t.Helper()
	return parse(t, &v1.StreamMessageRequest{}, "packet:{"+s+"}")
}

// forwardToCPU makes small send every frame to the CPU port.
func forwardToCPU(t *testing.T, r *rig) {
	r.mustWrite(modify(t, `table_entry:{table_id:$small is_default_action:true `+
		`action:{action:{action_id:$forward_counted params:{param_id:1 value:"\x01\xfe"}}}}`))
}

// Section "Packet I/O": the header of P4Info becomes metadata, field by field, whatever their widths,
// and the other way round.
func TestPacketIO(t *testing.T) {
	r := newRig(t)
	s := r.configured(kinds(t))
	backup := r.stream()
	backup.arbitrate(arbitration(nil))
	backup.next()
	host, frames := r.link(300)
	forwardToCPU(t, r)

	payload := "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	host.Send([]byte(payload))
	s.want(`packet:{payload:"` + payload + `" metadata:{metadata_id:1 value:"\x01,"} metadata:{metadata_id:2 ` +
		`value:"\x05"} metadata:{metadata_id:3 value:"\x00"}}`)

	s.send(packetOut(t, `payload:"`+payload+`" metadata:{metadata_id:3 value:"\x07"} metadata:{metadata_id:2 `+
		`value:"\x00\x01\x2c"} metadata:{metadata_id:1 value:"\x00"}`))
	if got := <-frames; string(got) != payload {
		t.Errorf("packet-out left as %q, want %q", got, payload)
	}

	// The backup gets nothing and may send nothing.
	backup.send(packetOut(t, `payload:"x"`))
	backup.want(`error:{canonical_code:7 message:"not primary" packet_out:{packet_out:{payload:"x"}}}`)
}

// Section "Stream Error Reporting".
func TestPacketOutErrors(t *testing.T) {
	const ok = ` metadata:{metadata_id:1 value:"\x00"} metadata:{metadata_id:2 value:"\x01"}`
	for _, tt := range []struct{ name, packet, want string }{
		{"missing", `payload:"x"` + ok, "packet-out: metadata class is missing"},
		{"unknown", `payload:"x"` + ok + ` metadata:{metadata_id:7 value:"\x01"}`,
			"packet-out: metadata_id 7 is not in the P4Info"},
		{"twice", `payload:"x"` + ok + ` metadata:{metadata_id:2 value:"\x01"}`,
			"packet-out: metadata port is there twice"},
		{"too large", `payload:"x"` + ok + ` metadata:{metadata_id:3 value:"\x08"}`,
			"packet-out: metadata class: 0x08 does not fit 3 bits"},
		{"empty", `payload:"x"` + ok + ` metadata:{metadata_id:3}`,
			"packet-out: metadata class: empty, want a number of 3 bits"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			s := r.configured(kinds(t))
			s.send(packetOut(t, tt.packet))
			if got, want := s.next(),
				`error:{canonical_code:3 message:"`+tt.want+`" packet_out:{`; !strings.HasPrefix(got, want) {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
	r := newRig(t)
	s := r.primary()
	s.send(packetOut(t, `payload:"x"`))
	s.want(`error:{canonical_code:9 message:"no forwarding pipeline config is set" ` +
		`packet_out:{packet_out:{payload:"x"}}}`)
	s.send(&v1.StreamMessageRequest{})
	s.want(`error:{canonical_code:12 message:"this target has no such stream message" other:{}}`)
	if err := r.setConfig(commit, kinds(t)); err != nil {
		t.Fatal(err)
	}
	s.send(&v1.StreamMessageRequest{
		Update: &v1.StreamMessageRequest_Packet{Packet: &v1.PacketOut{Payload: make([]byte, 70_000)}}})
	if got, want := s.next(),
		`error:{canonical_code:3 message:"packet-out of 70000 bytes, want 65553 at most"`; !strings.HasPrefix(got,
		want) {
		t.Errorf("got %.100s, want %s", got, want)
	}
}

// A client that does not read its stream loses messages; packets flow on, and other clients get theirs.
func TestSlowClient(t *testing.T) {
	r := newRig(t)
	r.configured(kinds(t)) // never reads again
	other := r.stream()
	other.arbitrate(&v1.MasterArbitrationUpdate{DeviceId: device, Role: &v1.Role{Name: "watcher"},
		ElectionId: election(1)})
	other.next()
	host, _ := r.link(1)
	forwardToCPU(t, r)
	// The slow client takes what fits its queue and gRPC's windows; one after the other, for the other
	// client takes every frame.
	payload := bytes.Repeat([]byte{1}, 1000)
	for range 4000 {
		host.Send(payload)
		if got := other.next(); !strings.HasPrefix(got, "packet:{") {
			t.Fatalf("the other client got %s", got)
		}
	}
	if n := strings.Count(r.log.String(), "client reads its stream too slowly"); n != 1 {
		t.Errorf("drops were logged %d times, want once:\n%s", n, r.log)
	}
	if u := r.sw.Status().Undelivered; u.PacketIns == 0 || u != (softswitch.Undelivered{PacketIns: u.PacketIns}) {
		t.Errorf("counted as dropped: %+v, want packet-ins alone", u)
	}
	// Its writes still work.
	forwardToCPU(t, r)
}
