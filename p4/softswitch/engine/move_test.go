package engine

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/packet"
)

const marks = limits.MarkArrays

var markArrays = [marks]string{"mark_1", "mark_2", "mark_3", "mark_4"}

// flow is what balance.p4 makes of a TCP flow.
type flow struct {
	a, b  uint32        // halves of its key
	cells [marks]uint16 // of its marks
}

func hashed(src, dst uint32, srcPort, dstPort uint16, secret1, secret2 uint64) flow {
	word := binary.BigEndian.AppendUint32
	high := func(secret uint64) uint32 { return uint32(secret >> 32) }
	low := func(secret uint64) uint32 { return uint32(secret) }
	src += high(secret1)
	ports := uint32(srcPort)<<16 + uint32(dstPort) + low(secret1)
	var in [13]byte
	a := crc32.ChecksumIEEE(word(append(word(word(in[:0], src), dst), 6), ports))
	b := crc32.ChecksumIEEE(word(word(append(word(in[:0], ports), 6), dst), src))
	f := flow{a: crc32.ChecksumIEEE(word(in[:0], a+high(secret2))), b: crc32.ChecksumIEEE(word(in[:0], b+low(secret2)))}
	for i, words := range [marks][2]uint32{{f.a + low(secret2), f.b + high(secret2)}, {f.b + high(secret1), f.a +
		low(secret1)}, {a + low(secret2), b + high(secret2)}, {b + high(secret1), a + low(secret1)}} {
		f.cells[i] = uint16(crc16(word(word(in[:0], words[0]), words[1])))
	}
	return f
}

// flowOf is the flow of the client to the VIP from a port.
func flowOf(srcPort uint16) flow {
	src, dst := binary.BigEndian.Uint32(addr(client)), binary.BigEndian.Uint32(addr(vip))
	return hashed(src, dst, srcPort, 80, secret1, secret2)
}

func (f flow) key() uint64             { return uint64(f.a)<<32 | uint64(f.b) }
func (f flow) slot(mask uint16) uint16 { return uint16(f.a) & mask }

// match is that of its slot's row in newSluice.
func (f flow) match() []Match { return slotMatch(uint64(f.slot(slots - 1))) }

// become gives the slot of a flow another row.
func become(t testing.TB, p *Program, f flow, c Call) {
	t.Helper()
	if err := p.Table("slot").Modify(Entry{Match: f.match(), Call: c}); err != nil {
		t.Fatal(err)
	}
}

// moved is a switch whose client has one flow in a slot that moves.
type moved struct {
	*testing.T
	p    *Program
	f    flow
	bank int
}

func newMoved(t *testing.T, bank int) *moved { return &moved{t, newSluice(t), flowOf(1000), bank} }

func (m *moved) become(c Call) { m.Helper(); become(m.T, m.p, m.f, c) }

// goes sends a packet of the flow; want is the port that it leaves by, 0 for none, and reported the backend that its
// flow is reported with, 0 for none.
func (m *moved) goes(what string, flags uint8, want uint16, reported int) {
	m.Helper()
	mac := map[uint16]packet.MAC{web1Port: web1MAC, web2Port: web2MAC}[want]
	got := run(m.p, clientPort, toVIP(flags, 1000))
	var frames []sent
	if want != 0 {
		frames = out(want, at6(mac, toVIP(flags, 1000)))
	}
	if diff := cmp.Diff(frames, got.frames); diff != "" {
		m.Errorf("%s (-want +got):\n%s", what, diff)
	}
	var digests []string
	if reported != 0 {
		digests = []string{fmt.Sprintf("flow_t %016x %08x", m.f.key(), reported)}
	}
	if diff := cmp.Diff(digests, got.digests); diff != "" {
		m.Errorf("%s: digests (-want +got):\n%s", what, diff)
	}
}

func (m *moved) cell(array int) (*Register, int) {
	return m.p.Register(markArrays[array]), m.bank<<16 | int(m.f.cells[array])
}

// marked compares what the flow's cells hold.
func (m *moved) marked(what string, want [marks]uint64) {
	m.Helper()
	var got [marks]uint64
	for array := range marks {
		r, cell := m.cell(array)
		got[array] = toUint64(r.Read(cell))
	}
	if got != want {
		m.Errorf("marks %s: %d, want %d", what, got, want)
	}
}

func (m *moved) mark(array int, epoch uint64) {
	r, cell := m.cell(array)
	r.Write(cell, bytesOf(epoch, 4))
}

func countedPackets(p *Program, counter string) (all []uint64) {
	c := p.Counter(counter)
	for i := range c.Size() {
		n, _ := c.Read(i)
		all = append(all, n)
	}
	return all
}

func moving(action string, to, old, bank, epoch uint64) Call {
	return call(action, bytesOf(to, 4), bytesOf(old, 4), bytesOf(bank, 1), bytesOf(epoch, 4))
}

// A slot moves from web1 to web2 in epoch 9, bank 2. Flows that were open stay with web1 and are reported, flows that
// open go to web2, and stay there.
func TestMovingSlot(t *testing.T) {
	const bank, epoch = 2, 9
	m := newMoved(t, bank)
	m.become(moving("move", 2, 1, bank, epoch))
	m.goes("a flow that was open", packet.ACK, web1Port, 1)
	m.goes("its next packet", packet.ACK, web1Port, 1)
	m.goes("a SYN-ACK opens nothing", packet.SYN|packet.ACK, web1Port, 1)
	m.marked("before the flow opens", [marks]uint64{})
	m.goes("the flow opens", packet.SYN, web2Port, 0)
	m.marked("after the flow opened", [marks]uint64{epoch, epoch, epoch, epoch})
	m.goes("the flow goes on", packet.ACK, web2Port, 0)
	for array := range marks {
		m.mark(array, epoch-1)
		m.goes("a flow with one mark of another epoch", packet.ACK, web1Port, 1)
		m.mark(array, epoch)
	}
	m.goes("all marks again", packet.ACK, web2Port, 0)
	if diff := cmp.Diff([]uint64{0, 0, 1, 0}, countedPackets(m.p, "openings")); diff != "" {
		t.Errorf("openings (-want +got):\n%s", diff)
	}
	m.become(call("to_backend", bytesOf(2, 4)))
	m.goes("after the move", packet.ACK, web2Port, 0)
}

// Nobody takes new flows of web1, which is down: they leave no mark, and open ones stay.
func TestMovingSlotToNobody(t *testing.T) {
	const bank, epoch = 1, 9
	m := newMoved(t, bank)
	m.become(moving("move", 0, 1, bank, epoch))
	m.goes("an open flow", packet.ACK, web1Port, 1)
	m.goes("a flow that opens", packet.SYN, 0, 0)
	if got, want := tallied(m.p), "cell 4: 1 packets, 70 bytes"; got != want {
		t.Errorf("tally = %q, want %q", got, want)
	}
	m.marked("of a flow that nobody takes", [marks]uint64{})
	m.goes("and an open flow after that", packet.ACK, web1Port, 1)
	m.become(moving("move", 2, 1, bank, epoch))
	m.goes("web2 takes its place: an open flow", packet.ACK, web1Port, 1)
	m.goes("a flow that opens", packet.SYN, web2Port, 0)
	m.goes("and goes on", packet.ACK, web2Port, 0)
}

// The slot goes back to web1: what opened with web2 stays there and is reported, all else is web1's, and what opens
// takes back its mark.
func TestSlotGoesBack(t *testing.T) {
	const bank, epoch = 3, 9
	m := newMoved(t, bank)
	m.become(moving("move", 2, 1, bank, epoch))
	m.goes("the flow opens in the move", packet.SYN, web2Port, 0)
	m.become(moving("back", 1, 2, bank, epoch))
	m.goes("the flow goes on", packet.ACK, web2Port, 2)
	for array := range marks {
		m.mark(array, epoch-1)
		m.goes("a flow with one mark of another epoch", packet.ACK, web1Port, 0)
		m.goes("and it opens", packet.SYN, web1Port, 0)
		m.mark(array, epoch)
	}
	m.marked("of flows that had not all", [marks]uint64{epoch, epoch, epoch, epoch})
	m.goes("it opens once more", packet.SYN, web1Port, 0)
	m.marked("taken back", [marks]uint64{epoch, epoch, epoch, 0})
	m.goes("it goes on", packet.ACK, web1Port, 0)
	if diff := cmp.Diff([]uint64{0, 0, 0, 1}, countedPackets(m.p, "openings")); diff != "" {
		t.Errorf("openings (-want +got):\n%s", diff)
	}
}

// A pinned flow goes where it is pinned to, whatever becomes of its slot, marks nothing and is not reported.
func TestPinnedFlow(t *testing.T) {
	const bank, epoch = 2, 9
	m := newMoved(t, bank)
	pin := Entry{Match: exact(bytesOf(m.f.key(), 8)), Call: call("pin_to", bytesOf(1, 4))}
	insert(t, m.p, "pin", pin)
	for _, c := range []Call{call("to_backend", bytesOf(2, 4)), moving("move", 2, 2, bank, epoch),
		moving("back", 2, 2, bank, epoch)} {
		m.become(c)
		m.goes(c.Action+": the flow goes on", packet.ACK, web1Port, 0)
		m.goes(c.Action+": it opens once more", packet.SYN, web1Port, 0)
	}
	if err := m.p.Table("slot").Delete(m.f.match(), 0); err != nil {
		t.Fatal(err)
	}
	m.goes("no slot", packet.ACK, web1Port, 0)
	m.marked("of a pinned flow", [marks]uint64{})
	if got := tallied(m.p); got != "" {
		t.Errorf("tally = %q", got)
	}
	e, _ := m.p.Table("pin").Lookup(pin.Match, 0)
	if n, bytes := e.Counter(); n != 7 || bytes != uint64(7*len(toVIP(0, 0))) {
		t.Errorf("the pin counted %d packets, %d bytes; want 7", n, bytes)
	}
	if err := m.p.Table("pin").Delete(pin.Match, 0); err != nil {
		t.Fatal(err)
	}
	m.goes("no pin, no slot", packet.ACK, 0, 0)
	if got, want := tallied(m.p), "cell 3: 1 packets, 70 bytes"; got != want {
		t.Errorf("tally = %q, want %q", got, want)
	}
	insert(t, m.p, "slot", Entry{Match: m.f.match(), Call: moving("move", 2, 1, bank, epoch)})
	m.goes("no pin", packet.ACK, web1Port, 1)
	insert(t, m.p, "pin", Entry{Match: pin.Match, Call: call("pin_to", bytesOf(99, 4))})
	m.goes("pinned to nobody", packet.ACK, 0, 0)
	if got, want := tallied(m.p), "cell 3: 1 packets, 70 bytes; cell 4: 1 packets, 70 bytes"; got != want {
		t.Errorf("tally = %q, want %q", got, want)
	}
}

// Reports of flows are metered by port; those that are held back are counted by bank.
func TestPinMeter(t *testing.T) {
	const bank, epoch, burst, sent = 2, 9, 3, 5
	m := newMoved(t, bank)
	m.become(moving("move", 2, 1, bank, epoch))
	for _, port := range []int{clientPort, otherPort} {
		m.p.Meter("pin_meter").SetRates(port, &Rates{CIR: 1, CBurst: burst, PIR: 1, PBurst: burst})
	}
	for _, port := range []uint16{clientPort, otherPort} {
		frame, reported := toVIP(packet.ACK, 1000), 0
		if port == otherPort {
			frame = change(frame, 6, otherMAC[:]...)
		}
		for range sent {
			got := run(m.p, port, frame)
			reported += len(got.digests)
			if diff := cmp.Diff(out(web1Port, at6(web1MAC, frame)), got.frames); diff != "" {
				t.Errorf("port %d (-want +got):\n%s", port, diff)
			}
		}
		if reported != burst {
			t.Errorf("port %d: %d of %d packets were reported, want %d", port, reported, sent, burst)
		}
	}
	if diff := cmp.Diff([]uint64{0, 0, 2 * (sent - burst), 0}, countedPackets(m.p, "pin_unsent")); diff != "" {
		t.Errorf("held back, by bank (-want +got):\n%s", diff)
	}
}

// A flow from a source that is new is reported; the source is learned from a packet that is not.
func TestReportBeforeLearning(t *testing.T) {
	m := newMoved(t, 0)
	m.become(moving("move", 2, 1, 0, 9))
	from := packet.MAC{2, 0, 0, 0, 0, 0x77}
	for flags, want := range map[uint8]string{
		packet.ACK: fmt.Sprintf("flow_t %016x %08x", m.f.key(), 1),
		packet.SYN: fmt.Sprintf("learn_t %x %04x", from[:], clientPort),
	} {
		got := run(m.p, clientPort, change(toVIP(flags, 1000), 6, from[:]...)).digests
		if diff := cmp.Diff([]string{want}, got); diff != "" {
			t.Errorf("flags %#x (-want +got):\n%s", flags, diff)
		}
	}
}

func TestEverySlotIsReached(t *testing.T) {
	p := newSluice(t)
	for port := range uint16(500) {
		f := flowOf(port)
		become(t, p, f, call("to_backend", bytesOf(2, 4)))
		if got := run(p, clientPort, toVIP(packet.ACK, port)).frames; len(got) != 1 || got[0].Port != web2Port {
			t.Fatalf("flow from port %d, key %#x: %v", port, f.key(), got)
		}
		become(t, p, f, call("to_backend", bytesOf(1, 4)))
	}
}

// What a VIP's packet meets on its way when rows are missing, and what counts it.
func TestMissingRows(t *testing.T) {
	tests := []struct {
		name  string
		table string
		match []Match
		tally string
	}{
		{"no slot", "slot", flowOf(1000).match(), "cell 3: 1 packets, 70 bytes"},
		{"no backend", "backend", exact(bytesOf(1, 4)), "cell 4: 1 packets, 70 bytes"},
		{"no VIP row", "vip", exact(addr(vip), bytesOf(6, 1), bytesOf(80, 2)), "cell 1: 1 packets, 70 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newSluice(t)
			if err := p.Table(tt.table).Delete(tt.match, 0); err != nil {
				t.Fatal(err)
			}
			if got := run(p, clientPort, toVIP(packet.ACK, 1000)); got.frames != nil {
				t.Errorf("frames %v", got.frames)
			}
			if got := tallied(p); got != tt.tally {
				t.Errorf("tally = %q, want %q", got, tt.tally)
			}
		})
	}
	// A VIP that is gone: its clients go on sending to its MAC, which nobody else may read. Who takes over
	// the address has a MAC of its own.
	t.Run("no VIP at all", func(t *testing.T) {
		p := newSluice(t)
		for table, m := range map[string][]Match{"vip": exact(addr(vip), bytesOf(6, 1), bytesOf(80, 2)),
			"vip_address": exact(addr(vip))} {
			if err := p.Table(table).Delete(m, 0); err != nil {
				t.Fatal(err)
			}
		}
		frame := toVIP(packet.ACK, 1000)
		if got := run(p, clientPort, frame); got.frames != nil {
			t.Errorf("frames %v", got.frames)
		}
		if got, want := tallied(p), "cell 11: 1 packets, 70 bytes"; got != want {
			t.Errorf("tally = %q, want %q", got, want)
		}
		frame = at6(otherMAC, frame)
		if diff := cmp.Diff(out(otherPort, frame), run(p, clientPort, frame).frames); diff != "" {
			t.Errorf("to the new owner of the address (-want +got):\n%s", diff)
		}
	})
}

func TestVIPCounters(t *testing.T) {
	p := newSluice(t)
	frame := toVIP(packet.ACK, 1000)
	for range 3 {
		run(p, clientPort, frame)
	}
	run(p, clientPort, change(frame, 36, 0, 81))
	run(p, clientPort, packet.NewARPRequest(clientMAC, client, vip))
	var got []string
	for _, table := range []string{"vip", "vip_address", "backend", "arp_responder", "arp_guard", "slot"} {
		for e := range p.Table(table).All() {
			if n, bytes := e.Counter(); n != 0 {
				got = append(got, fmt.Sprintf("%s %d %d", table, n, bytes))
			}
		}
	}
	if diff := cmp.Diff([]string{"vip 3 210", "vip_address 1 70", "backend 3 210", "arp_responder 1 42"},
		got); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}
