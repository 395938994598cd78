package engine

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/p4/packet"
)

// flowHashes are the hashes of a flow to the VIP as balance.p4 takes them.
func flowHashes(srcPort uint16) (crc32Of, crc16Of uint64) {
	word := binary.BigEndian.AppendUint32
	in := word(nil, binary.BigEndian.Uint32(addr(client))+secret1>>32)
	in = append(append(in, addr(vip)...), 6)
	in = word(in, (uint32(srcPort)<<16|80)+secret1&math.MaxUint32)
	flow := crc32.ChecksumIEEE(in)
	return uint64(crc32.ChecksumIEEE(word(nil, flow+secret2>>32))), crc16(word(nil, flow+secret2&math.MaxUint32))
}

// A slot moves from web1 to web2 in epoch 9, bank 2. Flows that were open stay with web1, flows that
// open go to web2, and stay there.
func TestMovingSlot(t *testing.T) {
	const bank, epoch = 2, 9
	p := newSluice(t)
	h, h2 := flowHashes(1000)
	slot := h & (slots - 1)
	move := Entry{Match: slotMatch(slot), Call: call("move", bytesOf(2, 4), bytesOf(bank, 1), bytesOf(epoch, 4))}
	old := Entry{Match: slotMatch(slot), Call: call("stay", bytesOf(1, 4))}
	insert(t, p, "slot_old", old)
	if err := p.Table("slot").Modify(move); err != nil {
		t.Fatal(err)
	}
	goes := func(what string, flags uint8, srcPort, want uint16) {
		t.Helper()
		mac := map[uint16]packet.MAC{web1Port: web1MAC, web2Port: web2MAC}[want]
		if diff := cmp.Diff(out(want, at6(mac, toVIP(flags, srcPort))),
			run(p, clientPort, toVIP(flags, srcPort)).frames); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	goes("a flow that was open", packet.ACK, 1000, web1Port)
	goes("a SYN-ACK opens nothing", packet.SYN|packet.ACK, 1000, web1Port)
	cell1, cell2 := int(bank<<16|h>>16), int(bank<<16|h2)
	marks := func() [2]uint64 {
		return [2]uint64{toUint64(p.Register("mark_1").Read(cell1)), toUint64(p.Register("mark_2").Read(cell2))}
	}
	if got := marks(); got != [2]uint64{} {
		t.Errorf("marks before the flow opens: %v", got)
	}
	goes("the flow opens", packet.SYN, 1000, web2Port)
	if got := marks(); got != [2]uint64{epoch, epoch} {
		t.Errorf("marks after the flow opened: %v", got)
	}
	goes("the flow goes on", packet.ACK, 1000, web2Port)

	p.Register("mark_2").Write(cell2, bytesOf(epoch-1, 4))
	goes("a flow with one mark of another epoch", packet.ACK, 1000, web1Port)

	e, _ := p.Table("slot_old").Lookup(old.Match, 0)
	if n, bytes := e.Counter(); n != 3 || bytes != uint64(3*len(toVIP(0, 0))) {
		t.Errorf("slot_old counted %d packets, %d bytes; want the 3 that stayed", n, bytes)
	}

	// Settled: the slot row first, then slot_old goes.
	if err := p.Table("slot").Modify(Entry{Match: slotMatch(slot),
		Call: call("to_backend", bytesOf(2, 4))}); err != nil {
		t.Fatal(err)
	}
	goes("after the move", packet.ACK, 1000, web2Port)
	if err := p.Table("slot_old").Delete(old.Match, 0); err != nil {
		t.Fatal(err)
	}
	goes("after slot_old is gone", packet.ACK, 1000, web2Port)

	// A moving slot without slot_old sends everything to the new backend.
	if err := p.Table("slot").Modify(move); err != nil {
		t.Fatal(err)
	}
	goes("the old backend failed", packet.ACK, 1000, web2Port)
}

// web1 is down: flows that open go to web2, or nowhere while nobody takes web1's place, and open ones stay.
func TestLeavingSlot(t *testing.T) {
	const bank, epoch = 2, 9
	p := newSluice(t)
	h, h2 := flowHashes(1000)
	slot := h & (slots - 1)
	cell1, cell2 := int(bank<<16|h>>16), int(bank<<16|h2)
	become := func(e Entry) {
		t.Helper()
		if err := p.Table("slot").Modify(e); err != nil {
			t.Fatal(err)
		}
	}
	leave := func(to uint64) Entry {
		return Entry{Match: slotMatch(slot), Call: call("leave", bytesOf(to, 4), bytesOf(1, 4), bytesOf(bank, 1),
			bytesOf(epoch, 4))}
	}
	goes := func(what string, flags uint8, want uint16) {
		t.Helper()
		mac := map[uint16]packet.MAC{web1Port: web1MAC, web2Port: web2MAC}[want]
		if diff := cmp.Diff(out(want, at6(mac, toVIP(flags, 1000))),
			run(p, clientPort, toVIP(flags, 1000)).frames); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	// Another slot's row in slot_old, which must not matter.
	insert(t, p, "slot_old", Entry{Match: slotMatch(slot), Call: call("stay", bytesOf(2, 4))})

	become(leave(0))
	goes("nobody takes its place: an open flow", packet.ACK, web1Port)
	if got := run(p, clientPort, toVIP(packet.SYN, 1000)); got.frames != nil {
		t.Errorf("nobody takes its place: a flow that opens goes to %v", got.frames)
	}
	if got, want := tallied(p), "cell 4: 1 packets, 70 bytes"; got != want {
		t.Errorf("tally = %q, want %q", got, want)
	}
	if m1, m2 := toUint64(p.Register("mark_1").Read(cell1)), toUint64(p.Register("mark_2").Read(cell2)); m1 != 0 ||
		m2 != 0 {
		t.Errorf("a flow that nobody takes leaves the marks %d and %d", m1, m2)
	}
	goes("and an open flow after that", packet.ACK, web1Port)

	become(leave(2))
	goes("an open flow", packet.ACK, web1Port)
	goes("a flow that opens", packet.SYN, web2Port)
	goes("and goes on", packet.ACK, web2Port)
	p.Register("mark_1").Write(cell1, bytesOf(epoch-1, 4))
	goes("a flow with one mark of another epoch", packet.ACK, web1Port)
}

func TestEverySlotIsReached(t *testing.T) {
	p := newSluice(t)
	for port := range uint16(500) {
		h, _ := flowHashes(port)
		if err := p.Table("slot").Modify(Entry{Match: slotMatch(h & (slots - 1)),
			Call: call("to_backend", bytesOf(2, 4))}); err != nil {
			t.Fatal(err)
		}
		if got := run(p, clientPort, toVIP(packet.ACK, port)).frames; len(got) != 1 || got[0].Port != web2Port {
			t.Fatalf("flow from port %d, hash %#x: %v", port, h, got)
		}
		if err := p.Table("slot").Modify(Entry{Match: slotMatch(h & (slots - 1)),
			Call: call("to_backend", bytesOf(1, 4))}); err != nil {
			t.Fatal(err)
		}
	}
}

// What a VIP's packet meets on its way when rows are missing, and what counts it.
func TestMissingRows(t *testing.T) {
	h, _ := flowHashes(1000)
	tests := []struct {
		name  string
		table string
		match []Match
		tally string
	}{
		{"no slot", "slot", slotMatch(h & (slots - 1)), "cell 3: 1 packets, 70 bytes"},
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
