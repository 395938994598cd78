package backlog_test

import (
	"fmt"
	"strings"
	"testing"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/p4/backlog"
)

func packetIn(port byte, payload string) *v1.StreamMessageResponse {
	return &v1.StreamMessageResponse{Update: &v1.StreamMessageResponse_Packet{Packet: &v1.PacketIn{
		Payload: []byte(payload), Metadata: []*v1.PacketMetadata{{MetadataId: 1, Value: []byte{port}}},
	}}}
}

func digest(list uint64) *v1.StreamMessageResponse {
	return &v1.StreamMessageResponse{Update: &v1.StreamMessageResponse_Digest{Digest: &v1.DigestList{DigestId: 7,
		ListId: list}}}
}

func idle(table uint32, entries int) *v1.StreamMessageResponse {
	n := new(v1.IdleTimeoutNotification)
	for range entries {
		n.TableEntry = append(n.TableEntry, &v1.TableEntry{TableId: table})
	}
	return &v1.StreamMessageResponse{Update: &v1.StreamMessageResponse_IdleTimeoutNotification{
		IdleTimeoutNotification: n}}
}

func streamError() *v1.StreamMessageResponse {
	return &v1.StreamMessageResponse{Update: &v1.StreamMessageResponse_Error{Error: new(v1.StreamError)}}
}

func offer(b *backlog.Backlog, m *v1.StreamMessageResponse) bool {
	return b.Offer(backlog.ClassOf(m), m)
}

// take empties b, by its token alone, and returns what was there as text.
func take(t *testing.T, b *backlog.Backlog) string {
	t.Helper()
	var got []string
	for {
		select {
		case <-b.Waiting():
			if m := b.Next(); m == nil {
				t.Error("a token, and nothing waits")
			} else {
				got = append(got, text(m))
			}
			continue
		default:
			if m := b.Next(); m != nil {
				t.Errorf("no token, and %v waits", m)
			}
			return strings.Join(got, " ")
		}
	}
}

func text(m *v1.StreamMessageResponse) string {
	switch u := m.GetUpdate().(type) {
	case *v1.StreamMessageResponse_Packet:
		return string(u.Packet.Payload)
	case *v1.StreamMessageResponse_Digest:
		return fmt.Sprintf("list%d", u.Digest.ListId)
	case *v1.StreamMessageResponse_IdleTimeoutNotification:
		return fmt.Sprintf("idle%d", u.IdleTimeoutNotification.TableEntry[0].TableId)
	}
	return "error"
}

// What is worth most is taken first, whatever came before it; within a kind the order stays.
func TestRanks(t *testing.T) {
	b := backlog.New(backlog.DefaultRooms, nil)
	for _, m := range []*v1.StreamMessageResponse{
		packetIn(1, "a"), packetIn(2, "b"), streamError(), digest(1), packetIn(1, "c"), idle(5, 1), digest(2),
		idle(4, 1),
	} {
		if !offer(b, m) {
			t.Fatalf("%v found no room", m)
		}
	}
	if got := text(b.Next()); got != "idle5" { // without the token
		t.Errorf("got %s, want idle5", got)
	}
	if got, want := take(t, b), "idle4 list1 list2 error a b c"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A flood of one kind fills its own room and no other.
func TestRoomsAreBounded(t *testing.T) {
	rooms := backlog.Rooms{Idle: 20_000, Digest: 20_000, Error: 20_000, Packet: 20_000}
	for kind, m := range map[backlog.Kind]*v1.StreamMessageResponse{
		backlog.Idle: idle(1, 3), backlog.Digest: digest(3), backlog.Error: streamError(),
		backlog.Packet: packetIn(1, "x"),
	} {
		told := uint64(0)
		b := backlog.New(rooms, func(k backlog.Kind) {
			if k == kind {
				told++
			}
		})
		const offered = 1000
		taken := uint64(0)
		for range offered {
			if offer(b, m) {
				taken++
			}
		}
		if got := b.Dropped(kind); got+taken != offered || taken < 10 || taken > 40 || told != got {
			t.Errorf("%v: %d taken, %d counted as dropped and %d told of %d", kind, taken, got, told, offered)
		}
		if !b.Full(kind, backlog.ClassOf(m), 1) {
			t.Errorf("%v: a full room takes more", kind)
		}
		for other, m := range map[backlog.Kind]*v1.StreamMessageResponse{
			backlog.Idle: idle(1, 3), backlog.Digest: digest(3), backlog.Error: streamError(),
			backlog.Packet: packetIn(1, "x"),
		} {
			if other != kind && (b.Full(other, "", 10) || !offer(b, m)) {
				t.Errorf("%v are full, and so are %v", kind, other)
			}
		}
		u := b.Used()
		if u.Idle > rooms.Idle || u.Digest > rooms.Digest || u.Error > rooms.Error || u.Packet > rooms.Packet {
			t.Errorf("%v: %+v is used of %+v", kind, u, rooms)
		}
		for b.Next() != nil {
		}
		if got := take(t, b); got != "" {
			t.Errorf("%v: %s waits when all is taken", kind, got)
		}
		if u := b.Used(); u != (backlog.Rooms{}) {
			t.Errorf("%v: %+v is used when all is taken", kind, u)
		}
	}
}

// In a full room the class that takes the most of it gives way: a port that floods displaces nobody.
func TestFloodDisplacesItself(t *testing.T) {
	b := backlog.New(backlog.Rooms{Packet: 6000}, nil)
	for i := range 1000 {
		offer(b, packetIn(1, fmt.Sprintf("flood%d", i)))
	}
	dropped := b.Dropped(backlog.Packet)
	if b.Full(backlog.Packet, backlog.ClassOf(packetIn(2, "")), 10) {
		t.Error("there is no room for a quiet port")
	}
	for _, m := range []*v1.StreamMessageResponse{packetIn(2, "quiet1"), packetIn(3, "other"), packetIn(2, "quiet2")} {
		if !offer(b, m) {
			t.Errorf("%s found no room", m.GetPacket().Payload)
		}
		offer(b, packetIn(1, "more"))
	}
	if got := b.Dropped(backlog.Packet) - dropped; got != 6 {
		t.Errorf("%d are counted as dropped, want 6: three that made room, and three that found none", got)
	}
	got := take(t, b)
	if want := "flood0 flood1 flood2 flood3 flood4 flood5 flood6 flood7 quiet1 other quiet2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// Nobody is displaced by one that takes no less.
	for i := range 20 {
		offer(b, packetIn(1, "one"))
		offer(b, packetIn(2, "two"))
		if i > 10 && (offer(b, packetIn(1, "one")) || offer(b, packetIn(2, "two"))) {
			t.Fatal("two equal classes displace each other")
		}
	}
}
