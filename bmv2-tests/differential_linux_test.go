package bmv2tests

import (
	"bytes"
	order "cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/bmv2-tests/lab"
	"github.com/sluicelb/sluice/bmv2-tests/lab/namespaces"
	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/packet"
)

const (
	differentialPorts  = 5
	differentialBursts = 1000
	differentialBurst  = 16 // frames into one port before the fence: bmv2 takes its time with each
	differentialSeed   = 20261122
)

// TestDifferential holds the embedded switch against real bmv2: the same pipeline, the same P4Runtime
// writes, the same frames in the same order; on every port the same bytes must come out, the same
// packet-ins, the same flows must be reported, and at the end there must be the same counters. In the middle
// every second flow that was reported is pinned, and some moves are taken back.
//
//	burst, fence ──▶ port p ┌────────┐ ──▶ ports 1-5, until the fence is out of each
//	                        │ switch │
//	                        └────────┘ ──▶ packet-in, digest
func TestDifferential(t *testing.T) {
	needNamespaces(t)
	if _, err := exec.LookPath("simple_switch_grpc"); err != nil {
		t.Skip("simple_switch_grpc is not on PATH")
	}
	cables, err := namespaces.New(lab.Bare(differentialPorts), namespaces.BMv2)
	if err != nil {
		t.Fatal(err)
	}
	bmv2 := newDevice(t, "bmv2", cables)
	links, err := lab.InProcess(lab.Bare(differentialPorts), lab.Options{Switch: lab.Embedded{}})
	if err != nil {
		t.Fatal(err)
	}
	soft := newDevice(t, "softswitch", links)

	generator := &frames{rand.New(rand.NewPCG(differentialSeed, 0))}
	type burst struct {
		port   uint16
		frames [][]byte
	}
	bursts := make([]burst, differentialBursts)
	for i := range bursts {
		bursts[i].port = uint16(1 + generator.IntN(differentialPorts))
		for range differentialBurst {
			bursts[i].frames = append(bursts[i].frames, generator.frame())
		}
	}

	results := make([]result, 2)
	for i, d := range []*device{bmv2, soft} {
		d.run(t, func(ctx context.Context, p *p4rt.Primary) error {
			for half := range 2 {
				sent := make(chan messages, 1)
				go func() { sent <- takeMessages(ctx, p) }()
				for n, in := range bursts[half*len(bursts)/2:][:len(bursts)/2] {
					out, err := d.exchange(in.port, in.frames)
					if err != nil {
						return fmt.Errorf("burst %d of half %d: %w", n, half, err)
					}
					results[i].frames = append(results[i].frames, out)
				}
				for _, last := range [][]byte{lastFlow(), lastClaim()} {
					if err := d.inject(1, last); err != nil {
						return err
					}
				}
				got := <-sent
				results[i].packetIns = append(results[i].packetIns, got.packetIns...)
				flows := slices.SortedFunc(maps.Keys(got.flows), reported.compare)
				results[i].flows = append(results[i].flows, flows)
				if half == 0 {
					if err := change(ctx, p, flows); err != nil {
						return err
					}
				}
			}
			var err error
			results[i].counters, err = readCounters(ctx, p)
			return err
		})
	}
	if t.Failed() {
		return // half a run compares with nothing
	}
	differences := 0
	for n, in := range bursts {
		if diff := cmp.Diff(results[0].frames[n], results[1].frames[n]); diff != "" {
			if differences++; differences <= 3 {
				t.Errorf("burst %d into port %d, %x:\n(-bmv2 +softswitch)\n%s", n, in.port, in.frames, diff)
			}
		}
	}
	if differences > 0 {
		t.Errorf("%d of %d bursts left differently", differences, len(bursts))
	}
	if diff := cmp.Diff(results[0].packetIns, results[1].packetIns); diff != "" {
		t.Errorf("packet-ins differ (-bmv2 +softswitch):\n%s", diff)
	}
	if diff := cmp.Diff(results[0].flows, results[1].flows, cmp.AllowUnexported(reported{})); diff != "" {
		t.Errorf("flows that were reported differ, by half (-bmv2 +softswitch):\n%s", diff)
	}
	if diff := cmp.Diff(results[0].counters, results[1].counters); diff != "" {
		t.Errorf("counters differ (-bmv2 +softswitch):\n%s", diff)
	}
	in, out := differentialBursts*differentialBurst, 0
	for _, f := range results[0].frames {
		for _, frames := range f {
			out += len(frames)
		}
	}
	flows := results[0].flows
	moves := make(map[string]int) // packets of moving slots and of pins
	for _, line := range results[0].counters {
		var n int
		array, _, _ := strings.Cut(line, "[")
		if at := strings.LastIndexAny(line, "]"); at >= 0 {
			fmt.Sscanf(line[at+1:], "%d", &n)
		}
		moves[array] += n
	}
	t.Logf("%d frames in; %d out and %d packet-ins on bmv2; %d, then %d flows reported and %d reports held back; %d "+
		"packets of pinned flows, %d openings", in, out, len(results[0].packetIns), len(flows[0]), len(flows[1]),
		moves["pin_unsent"], moves["pin "], moves["openings"])
	if out < in/2 || len(results[0].packetIns) == 0 || len(flows[0]) < 20 || len(flows[1]) < 20 ||
		min(moves["pin_unsent"], moves["pin "], moves["openings"]) < 100 {
		t.Error("the frames exercise too little of the pipeline")
	}
}

type result struct {
	frames    []map[uint16][]string // per burst and port, what came out, in order
	packetIns []string
	flows     [][]reported // before flows were pinned, and after
	counters  []string
}

// messages are what a switch sends up.
type messages struct {
	packetIns []string
	flows     map[reported]bool // how often is the learning engine's affair
}

// reported is an open flow that a move leaves with its old backend.
type reported struct{ flow, backend uint64 }

func (r reported) compare(s reported) int {
	return order.Or(order.Compare(r.flow, s.flow), order.Compare(r.backend, s.backend))
}

// device is one of the two switches under comparison.
type device struct {
	name   string
	target string
	inject func(port uint16, frame []byte) error

	mu     sync.Mutex
	frames map[uint16][]string // that came out since the last exchange, by port
	fences map[uint16]uint32   // the highest fence that came out, by port
	turn   chan struct{}       // something came out
	next   uint32              // fence
}

func (d *device) out(port uint16, frame []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(frame) == 18 && binary.BigEndian.Uint16(frame[12:]) == fenceType {
		if d.fences == nil {
			d.fences = map[uint16]uint32{}
		}
		// The second fence of a burst is awaited on one port only: its other copies may come after the next one's.
		d.fences[port] = max(d.fences[port], binary.BigEndian.Uint32(frame[14:]))
	} else {
		if d.frames == nil {
			d.frames = map[uint16][]string{}
		}
		d.frames[port] = append(d.frames[port], fmt.Sprintf("%x", frame))
	}
	if d.turn != nil {
		close(d.turn)
		d.turn = nil
	}
}

// exchange sends frames into one port and returns all that came out for them. Every port keeps its
// order, so all copies are out when a flooded fence is.
func (d *device) exchange(port uint16, frames [][]byte) (map[uint16][]string, error) {
	for _, frame := range frames {
		if err := d.inject(port, frame); err != nil {
			return nil, err
		}
	}
	other := port%differentialPorts + 1
	if err := d.fence(port, func(p uint16) bool { return p != port }); err != nil {
		return nil, err
	}
	if err := d.fence(other, func(p uint16) bool { return p == port }); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.frames
	d.frames = nil
	return out, nil
}

func (d *device) fence(port uint16, expect func(uint16) bool) error {
	d.next++
	fence := packet.AppendEthernet(nil, packet.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, fenceMAC(port), fenceType)
	fence = binary.BigEndian.AppendUint32(fence, d.next)
	if err := d.inject(port, fence); err != nil {
		return err
	}
	deadline := time.After(10 * time.Second)
	for {
		d.mu.Lock()
		passed := true
		for p := uint16(1); p <= differentialPorts; p++ {
			passed = passed && (!expect(p) || d.fences[p] == d.next)
		}
		turn := make(chan struct{})
		d.turn = turn
		d.mu.Unlock()
		if passed {
			return nil
		}
		select {
		case <-turn:
		case <-deadline:
			return fmt.Errorf("fence %d from port %d does not come out everywhere: %v", d.next, port, d.fences)
		}
	}
}

// run makes this test the device's primary, writes the rows and calls f.
func (d *device) run(t *testing.T, f func(context.Context, *p4rt.Primary) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	session := p4rt.NewSession(p4rt.Config{
		Target: d.target, DeviceID: 1, Election: &p4rt.ElectionID{Low: 1},
		Pipeline: &v1.ForwardingPipelineConfig{
			P4Info: p4.P4Info(), P4DeviceConfig: p4.DeviceConfig(),
			Cookie: &v1.ForwardingPipelineConfig_Cookie{Cookie: p4.Cookie()},
		},
	})
	err := session.Run(ctx, func(ctx context.Context, p *p4rt.Primary) error {
		defer cancel()
		flows, err := p.Info().DigestEntity("flow_t", p4rt.DigestConfig{MaxListSize: 1})
		if err != nil {
			return err
		}
		for _, batch := range append(differentialRows(p.Info()), []*v1.Update{p4rt.Insert(flows)}) {
			if err := p.Write(ctx, batch); err != nil {
				t.Errorf("%s: %v", d.name, err)
				return err
			}
		}
		if err := f(ctx, p); err != nil {
			t.Errorf("%s: %v", d.name, err)
		}
		return nil
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// lastClaim comes to the CPU after everything else: when it is there, all before it are.
func lastClaim() []byte {
	return packet.NewARPReply(packet.MAC{2, 0xee, 0, 0, 0, 0xee}, vip, hostMAC(1), netip.MustParseAddr("10.0.0.1"))
}

// lastFlow is reported after all others, and with a backend of its own.
func lastFlow() []byte {
	return packet.NewTCP(packet.Segment{DstMAC: vipMAC(0), SrcMAC: hostMAC(1), Flags: packet.ACK,
		Src: netip.MustParseAddrPort("192.0.2.1:1024"), Dst: netip.MustParseAddrPort("10.0.0.103:80")})
}

const lastBackend = 77

// takeMessages returns what comes up, to the last claim and the last flow.
func takeMessages(ctx context.Context, p *p4rt.Primary) messages {
	got := messages{flows: make(map[reported]bool)}
	for flowsDone, packetsDone := false, false; !flowsDone || !packetsDone; {
		select {
		case <-p.Waiting():
		case <-ctx.Done():
			got.packetIns = append(got.packetIns, "the last ones did not come")
			return got
		}
		switch m := p.Next(); {
		case m.GetPacket() != nil:
			in, err := p.Info().DecodePacketIn(m.GetPacket())
			if err != nil {
				got.packetIns = append(got.packetIns, err.Error())
				return got
			}
			got.packetIns = append(got.packetIns, fmt.Sprintf("port %v reason %v: %x", in.Field("ingress_port"),
				in.Field("reason"), in.Payload))
			packetsDone = packetsDone || bytes.Equal(in.Payload, lastClaim())
		case m.GetDigest() != nil:
			list, err := p.Info().DecodeDigests(m.GetDigest())
			if err == nil {
				err = p.AckDigest(m.GetDigest())
			}
			if err != nil {
				got.packetIns = append(got.packetIns, err.Error())
				return got
			}
			for _, fields := range list.Messages {
				r := reported{fields[0].Value.Uint(), fields[1].Value.Uint()}
				if flowsDone = flowsDone || r.backend == lastBackend; r.backend != lastBackend {
					got.flows[r] = true
				}
			}
		}
	}
	return got
}

// change pins every second flow to a backend, mostly another than it has, and takes some moves back.
func change(ctx context.Context, p *p4rt.Primary, flows []reported) error {
	var batch []*v1.Update
	entry := func(update func(*v1.Entity) *v1.Update, e p4rt.Entry) error {
		encoded, err := p.Info().EncodeEntry(e)
		batch = append(batch, update(p4rt.TableEntity(encoded)))
		return err
	}
	number := func(name string, n uint64) p4rt.Field { return p4rt.Field{Name: name, Value: p4rt.UintValue(n)} }
	for i, f := range flows {
		if i%2 != 0 {
			continue
		}
		if err := entry(p4rt.Insert, p4rt.Entry{Table: "pin", Match: []p4rt.Field{number("flow", f.flow)},
			Action: "pin_to", Params: []p4rt.Field{number("backend_id", uint64(1+i/2%4))},
			IdleTimeout: time.Hour}); err != nil {
			return err
		}
	}
	for _, slot := range []uint64{2, 3, 14} {
		if err := entry(p4rt.Modify, p4rt.Entry{Table: "slot", Action: "back",
			Match: []p4rt.Field{number("pool_id", 1), number("generation", 0), number("slot", slot)},
			Params: []p4rt.Field{number("backend_id", 1+slot%3), number("old_id", 1+(slot+1)%3), number("bank", slot%4),
				number("epoch", 70000+slot)}}); err != nil {
			return err
		}
	}
	return p.Write(ctx, batch)
}

// readCounters reads every counter and the rates of what goes up, by name.
func readCounters(ctx context.Context, p *p4rt.Primary) ([]string, error) {
	var got []string
	for _, name := range []string{"arp_guard", "arp_responder", "vip", "vip_address", "pin", "backend"} {
		table, err := p.Info().Table(name)
		if err != nil {
			return nil, err
		}
		for entry, err := range (p4rt.Inspector{Client: p.Client, Info: p.Info()}).Entries(ctx, table.Query()) {
			if err != nil {
				return nil, fmt.Errorf("reading table %s: %w", name, err)
			}
			if entry.Counter == nil {
				return nil, fmt.Errorf("%v has no counter", entry)
			}
			got = append(got, fmt.Sprintf("%s %v %d packets %d bytes", name, entry.Match, entry.Counter.Packets,
				entry.Counter.Bytes))
		}
	}
	for _, name := range []string{"tally", "openings", "pin_unsent", "learn_unsent", "alarm_unsent"} {
		array, err := p.Info().Counter(name)
		if err != nil {
			return nil, err
		}
		for entity, err := range p.Read(ctx, array.Query()) {
			if err != nil {
				return nil, fmt.Errorf("reading the counter %s: %w", name, err)
			}
			cell, err := p.Info().DecodeCell(entity.GetCounterEntry())
			if err != nil {
				return nil, err
			}
			got = append(got, fmt.Sprintf("%s[%d] %d packets %d bytes", name, cell.Index, cell.Packets, cell.Bytes))
		}
	}
	meter, err := p.Info().Meter("alarm_meter")
	if err != nil {
		return nil, err
	}
	for entity, err := range p.Read(ctx, meter.Query()) {
		if err != nil {
			return nil, fmt.Errorf("reading the meter: %w", err)
		}
		cell := entity.GetMeterEntry()
		rates := "none"
		if c := cell.GetConfig(); c != nil {
			rates = fmt.Sprint(c.Cir, c.Cburst, c.Pir, c.Pburst)
		}
		got = append(got, fmt.Sprintf("alarm_meter[%d] %s", cell.GetIndex().GetIndex(), rates))
	}
	slices.Sort(got)
	return got, nil
}

// newDevice takes the far ends of a switch's cables until the test ends.
func newDevice[H lab.Host, P any](t *testing.T, name string, l *lab.Lab[H, P]) *device {
	t.Helper()
	closeLater(t, l)
	site := l.Sites[0]
	d := &device{name: name, target: site.Target()}
	d.inject = func(p uint16, frame []byte) error { return site.End(p).Inject(frame) }
	for p := uint16(1); p <= differentialPorts; p++ {
		stop, err := site.End(p).Capture(func(f lab.Frame) {
			if !f.Sent {
				d.out(p, f.Data)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
	}
	return d
}

func fenceMAC(port uint16) packet.MAC { return packet.MAC{2, 0xff, 0, 0, 0, byte(port)} }
func vipMAC(n int) packet.MAC         { return packet.MAC{2, 0x53, 0x4c, 0, 0, byte(n)} }

// differentialRows is a state with every kind of row, and every kind of hole.
func differentialRows(info *p4rt.Info) [][]*v1.Update {
	var batch []*v1.Update
	var batches [][]*v1.Update
	flush := func() { batches = append(batches, batch); batch = nil }
	row := func(table, action string, match, params []p4rt.Field, idle time.Duration) {
		e, err := info.EncodeEntry(p4rt.Entry{Table: table, Match: match, Action: action, Params: params,
			IdleTimeout: idle})
		if err != nil {
			panic(err)
		}
		batch = append(batch, p4rt.Insert(p4rt.TableEntity(e)))
	}
	is := func(name string, v p4rt.Value) p4rt.Field { return p4rt.Field{Name: name, Value: v} }
	number := func(name string, n int) p4rt.Field { return is(name, p4rt.UintValue(uint64(n))) }
	fields := func(f ...p4rt.Field) []p4rt.Field { return f }

	flood := p4rt.MulticastGroup{ID: limits.FloodGroup}
	for p := uint16(1); p <= differentialPorts; p++ {
		flood.Replicas = append(flood.Replicas, p4rt.Replica{Port: uint32(p)})
		for _, mac := range []packet.MAC{fenceMAC(p), hostMAC(p)} {
			row("station", "known", fields(is("mac", p4rt.MACValue(mac))), fields(number("port", int(p))), time.Hour)
		}
		row("l2", "forward", fields(is("mac", p4rt.MACValue(hostMAC(p)))), fields(number("port", int(p))), 0)
	}
	batch = append(batch, p4rt.Insert(flood.Entity()))
	// Pinned: host 4 to its port, host 5 to another than it is learned at, and two MACs of VIPs. The rates of
	// what goes up let the first few through and no more, whenever they come.
	for mac, port := range map[packet.MAC]int{hostMAC(4): 4, hostMAC(5): 1, vipMAC(0): limits.NoPort,
		vipMAC(1): limits.NoPort} {
		row("pinned_station", "pinned", fields(is("mac", p4rt.MACValue(mac))), fields(number("port", port)), 0)
		if port == limits.NoPort {
			row("pinned_l2", "discard", fields(is("mac", p4rt.MACValue(mac))), nil, 0)
		} else {
			row("pinned_l2", "at", fields(is("mac", p4rt.MACValue(mac))), fields(number("port", port)), 0)
		}
	}
	// The address of host 2 is nobody's under another MAC.
	row("pinned_arp", "owned", fields(is("sender_address", p4rt.AddrValue(netip.MustParseAddr("10.0.0.2")))),
		fields(is("mac", p4rt.MACValue(hostMAC(2)))), 0)
	meter, err := info.Meter("alarm_meter")
	if err != nil {
		panic(err)
	}
	flows, err := info.Meter("pin_meter")
	if err != nil {
		panic(err)
	}
	for _, port := range []int64{2, 3, 4} {
		batch = append(batch, p4rt.Modify(meter.Cell(port, &v1.MeterConfig{Cburst: 10 * port, Pburst: 20 * port})),
			p4rt.Modify(flows.Cell(port, &v1.MeterConfig{Cburst: 20 * port, Pburst: 30 * port})))
	}
	for id := 1; id <= 3; id++ {
		row("backend", "forward_to_backend", fields(number("backend_id", id)),
			fields(is("mac", p4rt.MACValue(packet.MAC{2, 0, 0, 0, 1, byte(id)})), number("port", id+2)), 0)
	}
	// One more is where l2 says: host 3, which frames may be for already.
	row("backend", "forward_to_backend", fields(number("backend_id", 4)),
		fields(is("mac", p4rt.MACValue(hostMAC(3))), number("port", limits.NoPort)), 0)
	row("pinned_l2", "anywhere", fields(is("mac", p4rt.MACValue(hostMAC(3)))), nil, 0)
	key := func(pool, slot int) []p4rt.Field {
		return fields(number("pool_id", pool), number("generation", 0), number("slot", slot))
	}
	moving := func(slot, backend, old int) []p4rt.Field {
		return fields(number("backend_id", backend), number("old_id", old), number("bank", slot%4),
			number("epoch", 70000+slot))
	}
	flush()
	for slot := range 16 {
		switch {
		case slot == 7: // nobody
		case slot == 8: // somebody who is not there
			row("slot", "to_backend", key(1, slot), fields(number("backend_id", 99)), 0)
		case slot == 12: // its backend is down, and nobody takes new flows
			row("slot", "move", key(1, slot), moving(slot, 0, 3), 0)
		case slot == 13: // and the old one is not there
			row("slot", "move", key(1, slot), moving(slot, 2, 99), 0)
		case slot%4 >= 2:
			row("slot", "move", key(1, slot), moving(slot, 1+(slot+1)%3, 1+slot%3), 0)
		default:
			row("slot", "to_backend", key(1, slot), fields(number("backend_id", 1+slot%3)), 0)
		}
	}
	row("slot", "move", key(3, 0), moving(0, 1, lastBackend), 0)
	for slot := range 4 {
		row("slot", "to_backend", key(2, slot), fields(number("backend_id", 1+slot)), 0)
	}
	flush()
	address := func(name string, a string) p4rt.Field { return is(name, p4rt.AddrValue(netip.MustParseAddr(a))) }
	vip := func(a string, port, pool, mask int) {
		row("vip", "to_pool", fields(address("address", a), number("protocol", 6), number("port", port)),
			fields(number("pool_id", pool), number("generation", 0), number("slot_mask", mask),
				number("secret_1", 1<<62+pool), number("secret_2", 1<<61+mask)), 0)
	}
	vip("10.0.0.100", 80, 1, 15)
	vip("10.0.0.101", 443, 2, 3)
	vip("10.0.0.103", 80, 3, 0)
	for i, a := range []string{"10.0.0.100", "10.0.0.101", "10.0.0.102"} {
		row("vip_address", "refuse", fields(address("address", a)), nil, 0)
		row("arp_guard", "claim", fields(address("sender_address", a)), nil, 0)
		if i < 2 {
			row("arp_responder", "answer", fields(address("target_address", a)),
				fields(is("mac", p4rt.MACValue(vipMAC(i)))), 0)
		}
	}
	flush()
	return batches
}

// frames makes frames that reach every corner of the pipeline, and some that are nonsense.
type frames struct{ *rand.Rand }

func (g *frames) address() netip.Addr {
	return netip.AddrFrom4([4]byte{10, 0, 0, []byte{1, 2, 11, 100, 100, 101, 102, 0}[g.IntN(8)]})
}

func (g *frames) mac() packet.MAC {
	switch g.IntN(8) {
	case 0:
		return packet.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	case 1:
		return vipMAC(0)
	case 2:
		return packet.MAC{2, 9, byte(g.Uint32()), byte(g.Uint32()), 0, 1}
	case 3:
		if g.IntN(4) == 0 {
			return packet.MAC{1, 0x80, 0xc2, 0, 0, byte(g.IntN(20))}
		}
		return hostMAC(4)
	default:
		return hostMAC(uint16(1 + g.IntN(differentialPorts)))
	}
}

// src is mostly a station at its port, or what follows says little.
func (g *frames) src() packet.MAC {
	switch g.IntN(16) {
	case 0:
		return g.mac() // a group's or a VIP's, now and then
	case 1:
		return packet.MAC{}
	default:
		return hostMAC(uint16(1 + g.IntN(3)))
	}
}

func (g *frames) frame() []byte {
	var frame []byte
	switch g.IntN(14) {
	case 10, 11, 12, 13: // of a hundred flows, most of which open some time
		flags := uint8(packet.ACK)
		if g.IntN(7) == 0 {
			flags = packet.SYN
		}
		frame = packet.NewTCP(packet.Segment{DstMAC: vipMAC(0), SrcMAC: hostMAC(uint16(1 + g.IntN(3))), Flags: flags,
			Src: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), uint16(1024+g.IntN(100))),
			Dst: netip.MustParseAddrPort("10.0.0.100:80")})
	case 0, 1:
		frame = packet.NewARP(packet.ARPFrame{
			Dst: g.mac(), Src: g.src(), Operation: uint16(g.IntN(4)),
			SenderMAC: g.mac(), Sender: g.address(), TargetMAC: g.mac(), Target: g.address(),
		})
		if g.IntN(4) == 0 {
			binary.BigEndian.PutUint16(frame[14:], []uint16{0, 6, 7, 24, 256}[g.IntN(5)])
		}
	case 2:
		frame = packet.AppendEthernet(nil, g.mac(), g.src(), uint16(g.Uint32()))
		for range g.IntN(80) {
			frame = append(frame, byte(g.Uint32()))
		}
	default:
		frame = g.ipv4()
	}
	if g.IntN(8) == 0 { // LLC and SNAP, of those that the pipeline looks into and of others
		length := len(frame) - 14 + 8
		oui := []byte{0, 0, []byte{0, 0, 0xf8, 1}[g.IntN(4)]}
		frame = slices.Concat(frame[:12], []byte{byte(length >> 8), byte(length), 0xaa, 0xaa, byte(3 * g.IntN(2))}, oui,
			frame[12:])
	}
	switch g.IntN(12) {
	case 0: // cut short; a packet socket sends no less than an Ethernet header
		frame = frame[:14+g.IntN(len(frame)-13)]
	case 2: // a tag, or two; the kernel between here and bmv2 drops tagged frames of next to nothing
		for range min(1+g.IntN(2), len(frame)/24) {
			tpid := [][]byte{{0x81, 0}, {0x88, 0xa8}, {0x91, 0}, {0x92, 0}, {0x93, 0}}[g.IntN(5)]
			frame = slices.Concat(frame[:12], tpid, []byte{0, byte(g.IntN(2))}, frame[12:])
		}
	case 1: // a byte gone wrong
		frame[g.IntN(len(frame))] ^= byte(1 << g.IntN(8))
	}
	if len(frame) == 18 && binary.BigEndian.Uint16(frame[12:]) == fenceType {
		frame[12] = 0
	}
	return frame
}

func (g *frames) ipv4() []byte {
	port := []uint16{80, 80, 80, 443, 81}[g.IntN(5)]
	words := 0
	if g.IntN(4) == 0 {
		words = g.IntN(11)
	}
	frame := packet.AppendEthernet(nil, g.mac(), g.src(), packet.TypeIPv4)
	header := make([]byte, 20+4*words)
	header[0] = byte(0x45 + words)
	payload := g.IntN(60)
	binary.BigEndian.PutUint16(header[2:], uint16(len(header)+20+payload))
	binary.BigEndian.PutUint16(header[4:], uint16(g.Uint32()))
	if g.IntN(8) == 0 {
		binary.BigEndian.PutUint16(header[6:], uint16(g.Uint32()))
	}
	header[8] = byte(g.Uint32())
	header[9] = []byte{6, 6, 6, 6, 6, 17, 1}[g.IntN(7)]
	src, dst := netip.AddrFrom4([4]byte{192, 0, 2, byte(g.IntN(8))}), g.address()
	switch g.IntN(16) {
	case 0, 1:
		src, dst = dst, src
	case 2:
		src = dst
	}
	copy(header[12:], src.AsSlice())
	copy(header[16:], dst.AsSlice())
	for i := 20; i < len(header); i++ {
		header[i] = byte(g.Uint32())
	}
	binary.BigEndian.PutUint16(header[10:], packet.Checksum(header))
	frame = append(frame, header...)
	segment := make([]byte, 20)
	binary.BigEndian.PutUint16(segment, uint16(1024+g.IntN(64))) // few flows, so that marks are met again
	binary.BigEndian.PutUint16(segment[2:], port)
	binary.BigEndian.PutUint32(segment[4:], g.Uint32())
	segment[12], segment[13] = 0x50|byte(g.IntN(16)), []byte{0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0xff}[g.IntN(7)]
	frame = append(frame, segment...)
	for range payload {
		frame = append(frame, byte(g.Uint32()))
	}
	return frame
}
