package softswitch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/packet"
	"github.com/sluicelb/sluice/p4/packet/packettest"
	"github.com/sluicelb/sluice/p4/softswitch/engine"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

var (
	macA = packet.MAC{2, 0, 0, 0, 0, 0x0a}
	macB = packet.MAC{2, 0, 0, 0, 0, 0x0b}
)

// l2 returns a Sluice program that sends frames for macB to a port.
func l2(t testing.TB, to uint16) *engine.Program {
	t.Helper()
	p, err := engine.Load(p4.DeviceConfig())
	if err != nil {
		t.Fatal(err)
	}
	err = p.Table("l2").Insert(engine.Entry{
		Match: []engine.Match{{Value: macB[:]}},
		Call:  engine.Call{Action: "forward", Params: [][]byte{{byte(to >> 8), byte(to)}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func frame() []byte {
	return packet.NewTCP(packet.Segment{
		SrcMAC: macA, DstMAC: macB, Flags: packet.ACK,
		Src: netip.MustParseAddrPort("10.0.0.1:1000"), Dst: netip.MustParseAddrPort("10.0.0.2:80"),
	})
}

// host is the far end of a link; it keeps what it gets.
type host struct {
	*port.End
	mu  sync.Mutex
	got [][]byte
}

func (h *host) frames() [][]byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	got := h.got
	h.got = nil
	return got
}

func attach(t *testing.T, s *Switch, id uint16) *host {
	t.Helper()
	p, end := port.NewLink()
	h := &host{End: end}
	h.Receive(func(f []byte) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.got = append(h.got, append([]byte(nil), f...))
	})
	t.Cleanup(func() { end.Close() })
	if err := s.AddPort(id, p); err != nil {
		t.Fatal(err)
	}
	return h
}

// run runs a switch inside a synctest bubble until the test ends.
func run(t *testing.T, s *Switch) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// A committed program takes over from one frame to the next; ports come before and after Run; frames
// for ports that are not there are counted.
func TestSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Log: slog.New(slog.DiscardHandler)})
		a := attach(t, s, 1)
		run(t, s)
		a.Send(frame())
		synctest.Wait()
		if diff := cmp.Diff(Status{Ports: map[uint16]Port{1: {Counters: port.Counters{Received: 1}}}, Unprogrammed: 1},
			s.Status()); diff != "" {
			t.Errorf("before a program (-want +got):\n%s", diff)
		}

		b, c := attach(t, s, 2), attach(t, s, 3)
		plane{s}.Commit(l2(t, 2))
		a.Send(frame())
		synctest.Wait()
		plane{s}.Commit(l2(t, 3))
		a.Send(frame())
		synctest.Wait()
		for name, h := range map[string]*host{"first": b, "second": c} {
			got := h.frames()
			if len(got) != 1 {
				t.Fatalf("%s program: %d frames, want 1", name, len(got))
			}
			packettest.Equal(t, got[0], frame())
		}

		plane{s}.Commit(l2(t, 99))
		a.Send(frame())
		synctest.Wait()
		want := Status{
			Ports: map[uint16]Port{
				1: {Counters: port.Counters{Received: 4}}, 2: {Counters: port.Counters{Sent: 1}},
				3: {Counters: port.Counters{Sent: 1}},
			},
			Unprogrammed: 1, Unconnected: 1,
		}
		if diff := cmp.Diff(want, s.Status()); diff != "" {
			t.Errorf("status (-want +got):\n%s", diff)
		}
	})
}

func TestAddPortErrors(t *testing.T) {
	s := New(Config{Log: slog.New(slog.DiscardHandler)})
	attach(t, s, 4)
	for id, want := range map[uint16]string{
		0:   "port 0: want 1 to 510, and not the CPU port 510",
		510: "port 510: want 1 to 510, and not the CPU port 510",
		511: "port 511: want 1 to 510, and not the CPU port 510",
		4:   "port 4 is there already",
	} {
		p, end := port.NewLink()
		defer end.Close()
		if err := s.AddPort(id, p); err == nil || err.Error() != want {
			t.Errorf("AddPort(%d): %v, want %s", id, err, want)
		}
	}
}

// brokenPort fails at once to receive, and always to send.
type brokenPort struct{ port.Port }

func (brokenPort) Run(context.Context, func([][]byte)) error { return errors.New("cable bitten") }
func (brokenPort) Send([]byte)                               {}
func (brokenPort) Flush() error                              { return errors.New("cable bitten through") }
func (brokenPort) Counters() port.Counters                   { return port.Counters{} }

// A port that fails leaves the others alone, and its reason is logged once.
func TestBrokenPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := New(Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err := s.AddPort(2, brokenPort{}); err != nil {
			t.Fatal(err)
		}
		a, c := attach(t, s, 1), attach(t, s, 3)
		run(t, s)
		plane{s}.Commit(l2(t, 2))
		for range 3 {
			a.Send(frame())
			synctest.Wait()
		}
		plane{s}.Commit(l2(t, 3))
		a.Send(frame())
		synctest.Wait()
		if got := len(c.frames()); got != 1 {
			t.Errorf("%d frames at port 3, want 1", got)
		}
		for _, want := range []string{
			`level=ERROR msg="port stopped" port=2 error="cable bitten"`,
			`level=WARN msg="frames are dropped" port=2 error="cable bitten through"`,
		} {
			if n := strings.Count(log.String(), want); n != 1 {
				t.Errorf("%d lines %s, want 1, in\n%s", n, want, log.String())
			}
		}
	})
}

// lostPort is there no more, and there again when it is told so.
type lostPort struct {
	port.Port
	there *atomic.Bool
}

func (p lostPort) State() port.State {
	if !p.there.Load() {
		return port.State{Status: port.NotPresent, Reason: "the interface is gone"}
	}
	return port.State{}
}

func (p lostPort) Run(ctx context.Context, receive func([][]byte)) error {
	if !p.there.Load() {
		return fmt.Errorf("interface sw: %w", port.ErrGone)
	}
	return p.Port.Run(ctx, receive)
}

// A port whose interface is deleted and made again works again.
func TestLostPortComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := New(Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
		p, a := port.NewLink()
		defer a.Close()
		lost := lostPort{p, new(atomic.Bool)}
		if err := s.AddPort(1, lost); err != nil {
			t.Fatal(err)
		}
		c := attach(t, s, 3)
		run(t, s)
		plane{s}.Commit(l2(t, 3))
		time.Sleep(time.Minute)
		if got := s.Status().Ports[1]; got.Status != port.NotPresent || got.Reason != "the interface is gone" {
			t.Errorf("while it is gone: %+v", got)
		}
		lost.there.Store(true)
		time.Sleep(lookInterval)
		synctest.Wait()
		a.Send(frame())
		synctest.Wait()
		if got := len(c.frames()); got != 1 {
			t.Errorf("%d frames at port 3, want 1", got)
		}
		if got := s.Status().Ports[1]; got.Status != port.Up || got.Reason != "" || got.Received != 1 {
			t.Errorf("when it is back: %+v", got)
		}
		for _, want := range []string{`level=ERROR msg="port stopped" port=1 error="interface sw: is gone"`,
			`level=INFO msg="port is back" port=1`} {
			if n := strings.Count(log.String(), want); n != 1 {
				t.Errorf("%d lines %s, want 1, in\n%s", n, want, log.String())
			}
		}
	})
}

// What the switch adds to the engine's work: a link in, a link out, and the goroutines between.
func BenchmarkSwitch(b *testing.B) {
	s := New(Config{Log: slog.New(slog.DiscardHandler)})
	in, a := port.NewLink()
	out, z := port.NewLink()
	for id, p := range map[uint16]port.Port{1: in, 2: out} {
		if err := s.AddPort(id, p); err != nil {
			b.Fatal(err)
		}
	}
	got := make(chan struct{}, 1024)
	z.Receive(func([]byte) { got <- struct{}{} })
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	plane{s}.Commit(l2(b, 2))
	f := frame()
	const window = 256
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i >= window {
			<-got
		}
		a.Send(f)
	}
	for range min(b.N, window) {
		<-got
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
	cancel()
	<-done
	a.Close()
	z.Close()
}

// A packet that breaks an assertion of the program is dropped, and said once.
func TestBrokenAssertion(t *testing.T) {
	config, err := os.ReadFile("engine/testdata/constructs.json")
	if err != nil {
		t.Fatal(err)
	}
	program, err := engine.Load(config)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := New(Config{Log: slog.New(slog.NewTextHandler(&log,
			&slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}}))})
		a, b := attach(t, s, 1), attach(t, s, 2)
		run(t, s)
		plane{s}.Commit(program)
		for range 2 {
			a.Send(make([]byte, 20)) // too short for the header that the program asserts
		}
		a.Send(make([]byte, 60))
		synctest.Wait()
		if n := len(b.frames()); n != 1 {
			t.Errorf("%d frames left, want 1", n)
		}
		want := `level=ERROR msg="an assertion of the P4 program does not hold; such packets are dropped"` +
			` assertion="constructs.p4(55): assert(hdr.key.isValid())" ingress_port=1` + "\n"
		if diff := cmp.Diff(want, log.String()); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}
