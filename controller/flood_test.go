package controller_test

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/packet"
)

// The rule of this file: what a host may send at line rate holds up nothing. One port floods, in one of the
// ways that end up at the controller; a client, on another, opens flows all the time; servers die and drain.
//
//	client ---- 1 |        | 2 -- web1
//	              | switch | 3 -- web2, dies and drains
//	              |        | 4 -- web3, floods

// floods make the n-th frame of one that ends up at the controller.
var floods = []struct {
	name  string
	rate  int // frames a second that are sent, if the machine can
	frame func(n uint64) []byte
}{
	{"claims of the VIP from ever new MACs", 15_000, func(n uint64) []byte {
		vip := netip.MustParseAddr("10.0.0.100")
		return packet.NewARP(packet.ARPFrame{
			Dst: packet.Broadcast, Src: inventedMAC(n), Operation: packet.ARPReply,
			SenderMAC: inventedMAC(n), Sender: vip, Target: vip,
		})
	}},
	{"frames from ever new MACs", 30_000, func(n uint64) []byte { return plainFrame(inventedMAC(n)) }},
	{"stations that move", 15_000, func(n uint64) []byte { return plainFrame(inventedMAC(n % 64)) }},
}

func inventedMAC(n uint64) packet.MAC {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	return packet.MAC{2, 9, b[4], b[5], b[6], b[7]}
}

// plainFrame is one that nobody takes.
func plainFrame(from packet.MAC) []byte {
	f := packet.AppendEthernet(nil, packet.MAC{2, 0, 0, 0, 0, 0x99}, from, 0x88b5)
	return append(f, make([]byte, 46)...)
}

// flood sends frames by some ports at a rate until stop is called.
func (tg *target) flood(rate int, frame func(uint64) []byte, ports ...uint16) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		began := time.Now()
		for n := uint64(0); ; {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				// What the machine has missed is not made up for: a link holds 1024 frames.
				for want := uint64(now.Sub(began).Seconds() * float64(rate)); n < want; n++ {
					if want-n > 512 {
						n = want - 512
					}
					for _, port := range ports {
						tg.End(port).Inject(frame(n))
					}
				}
			}
		}
	})
	return func() { cancel(); running.Wait() }
}

// client opens flows all the time, and notes when the last one arrived at web2.
type client struct {
	last atomic.Int64 // UnixNano
	stop func()
}

func (tg *target) client() *client {
	c := new(client)
	for port := uint16(1); port <= 4; port++ {
		dead := port == 3
		tg.hear(port, func(frame []byte) {
			if dead && packet.Ethernet(frame).Dst() == (packet.MAC{2, 0, 0, 0, 0, 0x12}) {
				c.last.Store(time.Now().UnixNano())
			}
		})
	}
	syn := func(n uint64) []byte {
		return packet.NewTCP(packet.Segment{
			SrcMAC: packet.MAC{2, 0, 0, 0, 0, 0xc}, DstMAC: packet.MAC{2, 0x53, 0x4c, 0, 0, 1},
			Src: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(1024+n%60_000)),
			Dst: netip.MustParseAddrPort("10.0.0.100:80"), Flags: packet.SYN,
		})
	}
	c.stop = tg.flood(1000, syn, 1)
	return c
}

// quietAfter waits until no new flow has arrived at web2 for a while, and returns when the last one did,
// counted from began.
func (c *client) quietAfter(t *testing.T, began time.Time) time.Duration {
	t.Helper()
	const silence = 250 * time.Millisecond // some 80 flows go elsewhere
	for {
		last := time.Unix(0, c.last.Load())
		if time.Since(last) > silence && time.Since(began) > silence {
			return max(0, last.Sub(began))
		}
		if time.Since(began) > patience {
			t.Fatalf("new flows go to the dead server %v after the verdict", time.Since(began))
		}
		time.Sleep(time.Millisecond)
	}
}

// busy waits until new flows arrive at web2.
func (c *client) busy(t *testing.T, d *daemon) {
	t.Helper()
	began := time.Now()
	for c.last.Load() < began.UnixNano() {
		if time.Since(began) > patience {
			t.Fatalf("no flow goes to web2: %v", d.status())
		}
		time.Sleep(time.Millisecond)
	}
}

// failover returns how long a server that died gets new flows, and drain how long one takes to drain. Both
// leave things as they were.
func (d *daemon) failover(t *testing.T, c *client) time.Duration {
	t.Helper()
	c.busy(t, d)
	began := time.Now()
	d.verdict("web2", api.Health_HEALTH_DOWN)
	took := c.quietAfter(t, began)
	d.verdict("web2", api.Health_HEALTH_UP)
	c.busy(t, d)
	d.atRest()
	return took
}

func (d *daemon) drain(t *testing.T, c *client) time.Duration {
	t.Helper()
	c.busy(t, d)
	events, err := d.WatchEvents(t.Context(), &api.WatchEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	late := time.AfterFunc(patience, func() { events.Close() })
	defer late.Stop()
	began := time.Now()
	d.admin("web2", api.Admin_ADMIN_DRAIN)
	for events.Msg().GetDrainDone() == nil {
		if !events.Receive() {
			t.Fatalf("web2 is not drained %v after it began to: %v", time.Since(began), events.Err())
		}
	}
	took := time.Since(began)
	d.admin("web2", api.Admin_ADMIN_ACTIVE)
	c.busy(t, d)
	d.atRest()
	return took
}

// times does something a few times and returns the median of what it took.
func times(n int, f func() time.Duration) (median time.Duration, all []time.Duration) {
	for range n {
		all = append(all, f())
	}
	slices.Sort(all)
	return all[n/2], all
}

// Failover and drain take no more than twice the time under a flood, whatever it is of. Nobody misses an
// event that matters, the log stays short, and memory bounded.
func TestFloodsHoldUpNothing(t *testing.T) {
	const (
		// noise of the machine, which would count for much in what takes milliseconds
		floor = 150 * time.Millisecond
	)
	for _, flood := range floods {
		t.Run(flood.name, func(t *testing.T) {
			tg := newTarget(t)
			dir := t.TempDir()
			var log logCounter
			d := startController(t, options{
				dir: dir, file: writeFile(t, dir, intent(tg.Target())), log: slog.New(slog.NewTextHandler(&log, nil)),
			})
			d.synced()
			c := tg.client()
			defer c.stop()

			failover, all := times(repeat, func() time.Duration { return d.failover(t, c) })
			drain, allDrains := times(repeat, func() time.Duration { return d.drain(t, c) })
			t.Logf("in peace: a dead server gets new flows for %v, a drain takes %v", all, allDrains)

			sleepy, err := d.WatchEvents(t.Context(), &api.WatchEventsRequest{}) // reads at the end only
			if err != nil {
				t.Fatal(err)
			}
			defer sleepy.Close()
			peace := log.bytes.Load()
			ports := []uint16{4}
			if strings.Contains(flood.name, "move") {
				ports = []uint16{4, 3}
			}
			stop := tg.flood(flood.rate/slowdown, flood.frame, ports...)
			defer stop()
			tg.flooded(t, d, flood.name)
			tg.namesBackend(t, d)
			flooded, all := times(repeat, func() time.Duration { return d.failover(t, c) })
			floodedDrain, allDrains := times(repeat, func() time.Duration { return d.drain(t, c) })
			t.Logf("in the flood: a dead server gets new flows for %v, a drain takes %v", all, allDrains)
			if limit := 2 * max(failover, floor); flooded > limit && !raceDetector {
				t.Errorf("failover takes %v in the flood and %v in peace, want %v at most", flooded, failover, limit)
			}
			if limit := 2 * max(drain, floor); floodedDrain > limit && !raceDetector {
				t.Errorf("a drain takes %v in the flood and %v in peace, want %v at most", floodedDrain, drain, limit)
			}
			// What a failover and a drain log in peace, and a line for each kind of noise in 10 s.
			if n := log.bytes.Load() - peace; n > peace+32<<10 {
				t.Errorf("%d bytes of log in the flood, %d in peace:\n%.2000s", n, peace, log.text())
			}
			tg.learnsRouter(t)
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			if m.HeapInuse > 256<<20 { // of switch, controller and hosts
				t.Errorf("%d MB of heap in the flood", m.HeapInuse>>20)
			}
			stop()

			var verdicts, drains int
			for verdicts < 2*repeat || drains < repeat {
				if !sleepy.Receive() {
					t.Fatalf("a watcher that read late was cut off after %d verdicts and %d drains, want %d and %d: %v",
						verdicts, drains, 2*repeat, repeat, sleepy.Err())
				}
				if sleepy.Msg().GetVerdict() != nil {
					verdicts++
				}
				if sleepy.Msg().GetDrainDone() != nil {
					drains++
				}
			}
		})
	}
}

// flooded waits until the flood has reached the controller.
func (tg *target) flooded(t *testing.T, d *daemon, name string) {
	t.Helper()
	d.wait("the flood of "+name+" shows", func(e *api.Event) bool {
		return e.GetArpClaim() != nil || e.GetStation() != nil || e.GetStationsFull() != nil
	})
}

// namesBackend asks that a server that claims the VIP once is named, whatever the others do.
func (tg *target) namesBackend(t *testing.T, d *daemon) {
	t.Helper()
	web1, vip := packet.MAC{2, 0, 0, 0, 0, 0x11}, netip.MustParseAddr("10.0.0.100")
	tg.End(2).Inject(packet.NewARPReply(web1, vip, packet.Broadcast, vip))
	d.wait("web1 is named for its claim", func(e *api.Event) bool { return e.GetArpClaim().GetBackend() == "web/web1" })
	d.until("the status names web1", func(m *api.GetStatusResponse) bool {
		return slices.ContainsFunc(m.ArpClaims, func(c *api.ARPClaim) bool {
			return c.Backend == "web/web1" && c.Port == 2 && c.Count == 1
		})
	})
}

// learnsRouter asks that a station on a quiet port is learned.
func (tg *target) learnsRouter(t *testing.T) {
	t.Helper()
	router := packet.MAC{2, 0, 0, 0, 1, 1}
	info := pipelineInfo(t)
	table, err := info.Table("l2")
	if err != nil {
		t.Fatal(err)
	}
	client, err := p4rt.Dial(t.Context(), tg.Target(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	row := p4rt.TableEntity(&v1.TableEntry{TableId: table.ID, Match: []*v1.FieldMatch{{
		FieldId:        table.Keys[0].ID,
		FieldMatchType: &v1.FieldMatch_Exact_{Exact: &v1.FieldMatch_Exact{Value: router[:]}},
	}}})
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		tg.End(1).Inject(plainFrame(router))
		for _, err := range client.Read(t.Context(), row) {
			if err == nil {
				return
			}
		}
		if time.Since(began) > patience {
			t.Fatalf("a router on a quiet port was not learned within %v", patience)
		}
	}
}

// logCounter counts what is logged and keeps the beginning.
type logCounter struct {
	bytes atomic.Int64
	mu    sync.Mutex
	begin strings.Builder
}

func (l *logCounter) Write(p []byte) (int, error) {
	l.bytes.Add(int64(len(p)))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begin.Len() < 1<<16 {
		l.begin.Write(p)
	}
	return len(p), nil
}

func (l *logCounter) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begin.String()
}
