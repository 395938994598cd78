package device

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"

	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/controller/tally"
	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/backlog"
	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/packet"
)

// fakeTarget is an empty switch that takes what it is told, but for what refuse refuses, and says what the
// test has put into its backlog.
type fakeTarget struct {
	*backlog.Backlog
	writes []write
	acked  []uint64
	took   time.Duration // a write
	refuse func(*v1.Update) codes.Code
	then   func() // called in each write
}

// write is one call.
type write struct {
	at       time.Time
	stations int // updates of L2 rows
	planned  int
}

func (f *fakeTarget) Read(context.Context, ...*v1.Entity) iter.Seq2[*v1.Entity, error] {
	return func(func(*v1.Entity, error) bool) {}
}

func (f *fakeTarget) AckDigest(l *v1.DigestList) error {
	f.acked = append(f.acked, l.ListId)
	return nil
}

func (f *fakeTarget) Write(_ context.Context, updates []*v1.Update) error {
	w := write{at: time.Now()}
	c := mustCodec()
	var refused []p4rt.UpdateError
	for i, u := range updates {
		if t := c.byID[u.GetEntity().GetTableEntry().GetTableId()]; t != nil && t.learned() {
			w.stations++
		} else {
			w.planned++
		}
		if f.refuse != nil {
			if code := f.refuse(u); code != codes.OK {
				refused = append(refused, p4rt.UpdateError{Index: i, Update: u, Code: code})
			}
		}
	}
	f.writes = append(f.writes, w)
	time.Sleep(f.took)
	if f.then != nil {
		f.then()
	}
	if refused != nil {
		return &p4rt.BatchError{Failed: refused, Updates: len(updates)}
	}
	return nil
}

var mustCodec = sync.OnceValue(func() *codec {
	info, err := p4rt.NewInfo(p4.P4Info())
	if err != nil {
		panic(err)
	}
	c, err := newCodec(info)
	if err != nil {
		panic(err)
	}
	return c
})

// working is a reconciler at work in a synctest bubble.
type working struct {
	*Device
	*fakeTarget
	reports []Observation
	log     strings.Builder
	stop    func()
}

var errStopped = errors.New("stopped")

func work(t *testing.T, target *fakeTarget) *working {
	t.Helper()
	w := &working{fakeTarget: target}
	target.Backlog = backlog.New(backlog.DefaultRooms, nil)
	named := map[packet.MAC]bool{{2, 0, 0, 0, 0, 0x12}: true}
	d, err := New(Config{
		Name: "leaf1",
		Log:  slog.New(slog.NewTextHandler(&w.log, nil)),
		Observe: func(_ context.Context, r Observation) {
			if r.Status == nil {
				w.reports = append(w.reports, r)
			}
		},
	}, Wanted{Tables: rows.Tables{Flood: []uint16{1, 2, 3, 4}}, Named: named})
	if err != nil {
		t.Fatal(err)
	}
	w.Device = d
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	r := newReconciler(d, target, new(Status))
	go func() { done <- r.run(ctx) }()
	w.stop = func() {
		cancel(errStopped)
		if err := <-done; !errors.Is(err, errStopped) {
			t.Errorf("the reconciler ended: %v", err)
		}
	}
	synctest.Wait()
	target.writes = nil // the digest configuration, the flood group
	return w
}

// pause lets time pass, and everybody finish what he does at its end.
func pause(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// say puts a message into the backlog.
func (f *fakeTarget) say(m *v1.StreamMessageResponse) { f.Offer(backlog.ClassOf(m), m) }

// digestOf is a list of stations on a port.
func digestOf(list uint64, port byte, macs ...packet.MAC) *v1.StreamMessageResponse {
	learned, err := mustCodec().info.Digest("learn_t")
	if err != nil {
		panic(err)
	}
	l := &v1.DigestList{DigestId: learned.ID, ListId: list}
	for _, mac := range macs {
		l.Data = append(l.Data, &v1.P4Data{Data: &v1.P4Data_Struct{Struct: &v1.P4StructLike{Members: []*v1.P4Data{
			{Data: &v1.P4Data_Bitstring{Bitstring: mac[:]}}, {Data: &v1.P4Data_Bitstring{Bitstring: []byte{port}}},
		}}}})
	}
	return &v1.StreamMessageResponse{Update: &v1.StreamMessageResponse_Digest{Digest: l}}
}

func station(n int) packet.MAC { return packet.MAC{2, 1, 0, byte(n >> 16), byte(n >> 8), byte(n)} }

func stations(from, to int) (macs []packet.MAC) {
	for n := from; n < to; n++ {
		macs = append(macs, station(n))
	}
	return macs
}

var controllerHeaders = sync.OnceValue(func() []*configv1.ControllerPacketMetadata {
	return p4.P4Info().GetControllerPacketMetadata()
})

// claimOf is ARP by which a MAC on a port claims a VIP.
func claimOf(port byte, mac packet.MAC) *v1.StreamMessageResponse {
	vip := netip.MustParseAddr("10.0.0.100")
	in := &v1.PacketIn{Payload: packet.NewARPReply(mac, vip, packet.Broadcast, vip)}
	for _, header := range controllerHeaders() {
		if header.GetPreamble().GetName() != "packet_in" {
			continue
		}
		for _, f := range header.GetMetadata() {
			value := []byte{port}
			if f.GetName() == "reason" {
				value = []byte{byte(limits.ReasonARPClaim)}
			}
			in.Metadata = append(in.Metadata, &v1.PacketMetadata{MetadataId: f.GetId(), Value: value})
		}
	}
	return &v1.StreamMessageResponse{Update: &v1.StreamMessageResponse_Packet{Packet: in}}
}

// However many stations there are to write, what is planned waits for one part of them at most; and the
// switch gets time for others between two parts.
func TestStationsAreWrittenInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := work(t, &fakeTarget{took: 3 * time.Millisecond})
		defer w.stop()
		for i := range 20 {
			w.say(digestOf(uint64(i), 1, stations(256*i, 256*(i+1))...))
		}
		pause(100 * time.Millisecond)
		asked := time.Now()
		w.Set(Wanted{Sequence: 2, Tables: rows.Tables{Flood: []uint16{1, 2}}})
		pause(10 * time.Second)
		synctest.Wait()
		sum := 0
		for i, at := range w.writes {
			sum += at.stations
			if at.stations > stationsAtOnce+1 {
				t.Errorf("%d updates of stations in one write, want %d at most", at.stations, stationsAtOnce)
			}
			if i > 0 && at.stations > 0 && w.writes[i-1].stations > 0 && at.at.Sub(w.writes[i-1].at) < stationsPause {
				t.Errorf("two parts within %v", at.at.Sub(w.writes[i-1].at))
			}
			if at.planned > 0 && at.at.Sub(asked) > w.took {
				t.Errorf("what is planned was written %v after it was wanted, want %v at most", at.at.Sub(asked),
					w.took)
			}
		}
		if sum != 2*20*256 {
			t.Errorf("%d updates, want two for each of %d stations", sum, 20*256)
		}
	})
}

// Lists are acknowledged when their stations are written.
func TestAcknowledgements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := work(t, &fakeTarget{})
		defer w.stop()
		w.say(digestOf(1, 1, stations(0, 10)...))
		w.say(digestOf(2, 2, stations(10, 20)...))
		pause(time.Second)
		if diff := cmp.Diff([]uint64{1, 2}, w.acked); diff != "" {
			t.Errorf("acknowledged (-want +got):\n%s", diff)
		}
		if got := w.Stations(); got != (Stations{Known: 20}) {
			t.Errorf("stations: %+v, want 20", got)
		}
	})
}

// A switch that takes no more stations is not asked at once again, its digests lapse without an
// acknowledgement, and it is said that there is no room: once a second.
func TestFullSwitchIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, code := range []codes.Code{codes.ResourceExhausted, codes.Unknown} { // bmv2 says the latter
			w := work(t, &fakeTarget{refuse: func(u *v1.Update) codes.Code {
				if u.Type == v1.Update_INSERT && u.GetEntity().GetTableEntry() != nil {
					return code
				}
				return codes.OK
			}})
			n := 0
			for range 100 { // 10 s
				w.say(digestOf(uint64(n), 1, stations(256*n, 256*(n+1))...))
				n++
				pause(100 * time.Millisecond)
			}
			tried := 0
			for _, at := range w.writes {
				tried += at.stations
			}
			if tried > 2*stationsAtOnce {
				t.Errorf("%v: %d updates of stations were tried in 10 s", code, tried)
			}
			if len(w.acked) > 1 { // the first was over when the table turned out full
				t.Errorf("%v: lists %v were acknowledged, though there was no room", code, w.acked)
			}
			if got, want := w.Stations(), (Stations{Full: "the switch takes no more than 0 stations"}); got != want {
				t.Errorf("%v: stations: %+v, want %+v", code, got, want)
			}
			if len(w.reports) < 9 || len(w.reports) > 11 {
				t.Errorf("%v: %d reports in 10 s, want one a second", code, len(w.reports))
			}
			refused := uint64(0)
			for _, r := range w.reports {
				if len(r.Noise.NoRoom) != 1 || r.Noise.NoRoom[0].Key != 1 {
					t.Errorf("%v: report %+v, want port 1 without room", code, r.Noise)
					continue
				}
				refused += r.Noise.NoRoom[0].Times
			}
			if refused < 90*256 {
				t.Errorf("%v: %d stations are said not to be learned, want nearly all of %d", code, refused, 100*256)
			}
			w.stop()
		}
	})
}

// Claims are added up before they are reported, and the one of a backend is among those reported.
func TestClaimsAreAddedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := work(t, &fakeTarget{})
		const seconds = 5
		backend := packet.MAC{2, 0, 0, 0, 0, 0x12}
		sent := uint64(0)
		for i := range seconds * 1000 {
			for range 10 {
				sent++
				w.say(claimOf(3, station(int(sent))))
			}
			if i == 1500 {
				sent++
				w.say(claimOf(3, backend))
			}
			pause(time.Millisecond)
		}
		pause(2 * time.Second)
		synctest.Wait()
		w.stop()
		if n := len(w.reports); n > seconds+1 {
			t.Errorf("%d reports in %d s, want one a second", n, seconds)
		}
		got, named := uint64(0), 0
		for _, r := range w.reports {
			if len(r.Noise.Claims) != 1 {
				t.Fatalf("report %+v, want one entry", r.Noise)
			}
			e := r.Noise.Claims[0]
			got += e.Times
			if e.Key != (tally.Claimed{VIP: netip.MustParseAddr("10.0.0.100"), Port: 3}) || len(e.Senders) > 5 {
				t.Errorf("entry %+v, want the VIP's on port 3, and a few senders", e)
			}
			if e.Senders[0].MAC == backend {
				named++
			}
		}
		if got != sent || named != 1 {
			t.Errorf("%d claims are reported and the backend is named %d times, want %d and once", got, named, sent)
		}
	})
}

// Notices of flows that are silent are taken before whatever came earlier, and reported together.
func TestSilentFlowsAreReportedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := &fakeTarget{Backlog: backlog.New(backlog.DefaultRooms, nil)}
		var reports []Observation
		d, err := New(Config{Name: "leaf1", Log: slog.New(slog.DiscardHandler),
			Observe: func(_ context.Context, r Observation) {
				reports = append(reports, r)
			}}, Wanted{})
		if err != nil {
			t.Fatal(err)
		}
		r := newReconciler(d, target, new(Status))
		if err := r.readBack(t.Context()); err != nil {
			t.Fatal(err)
		}
		var want []rows.Flow
		for range 5000 {
			target.say(claimOf(1, station(1)))
		}
		for flow := range rows.Flow(5) {
			pin := rows.PinRow{Flow: flow, Pin: rows.Pin{Backend: 2, Idle: time.Second}}
			want = append(want, flow)
			target.say(&v1.StreamMessageResponse{Update: &v1.StreamMessageResponse_IdleTimeoutNotification{
				IdleTimeoutNotification: &v1.IdleTimeoutNotification{
					TableEntry: []*v1.TableEntry{r.codec.row(pin).GetTableEntry()}},
			}})
		}
		r.take(t.Context(), 5)
		if diff := cmp.Diff([]Observation{{Switch: "leaf1", Silent: want}}, reports); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
	})
}

// What makes no sense is complained of, but not at the pace of the switch.
func TestComplaints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := work(t, &fakeTarget{})
		for range 3000 { // 30 s
			w.say(&v1.StreamMessageResponse{Update: &v1.StreamMessageResponse_Packet{Packet: &v1.PacketIn{}}})
			pause(10 * time.Millisecond)
		}
		w.stop()
		if n := strings.Count(w.log.String(), "message of the switch"); n != 3 {
			t.Errorf("%d lines in 30 s, want 3:\n%s", n, w.log.String())
		}
		if !strings.Contains(w.log.String(), "times=1000") {
			t.Errorf("the lines do not say how often:\n%s", w.log.String())
		}
	})
}
