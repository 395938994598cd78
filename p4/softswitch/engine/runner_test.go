package engine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/p4/packet"
)

func std(name string) object { return fieldRef("standard_metadata", name) }

// inEgress gives a program an egress that runs one action.
func inEgress(prog object, primitives ...any) object {
	prog["actions"] = append(prog["actions"].(array), action1(9, "leave", nil, primitives...))
	egress := prog["pipelines"].(array)[1].(object)
	egress["init_table"] = "leaves"
	egress["action_calls"] = array{object{"name": "leaves", "id": 9, "action_id": 9, "next_node": nil}}
	return prog
}

func setStd(name, value string) object { return primitive("assign", std(name), hexstr(value)) }

func TestTrafficManager(t *testing.T) {
	drop := primitive("mark_to_drop", header1("standard_metadata"))
	marks := []any{
		assign("a", std("egress_rid")), assign("b", std("egress_port")), assign("c", std("instance_type")),
		assign("d", std("packet_length")), assign("s", std("egress_spec")),
	}
	tests := []struct {
		name string
		prog object
		want []string // port, then a, b, c, d, s
	}{
		{"unicast", inEgress(base(), marks...), []string{"2: 00 0002 00000000 0000000000000020 00"}},
		{"multicast", inEgress(base(setStd("mcast_grp", "0x7")), marks...), []string{
			"3: 01 0003 00000005 0000000000000020 00", "4: 02 0004 00000005 0000000000000020 00",
			"3: 05 0003 00000005 0000000000000020 00"}},
		{"copies do not see each other", inEgress(base(setStd("mcast_grp", "0x7")),
			assign("a", infix("+", pkt("a"), hexstr("0x1"))), primitive("remove_header", header1("vl"))), []string{
			"3: 01 0000 00000000 0000000000000000 00", "4: 01 0000 00000000 0000000000000000 00",
			"3: 01 0000 00000000 0000000000000000 00"}},
		{"multicast to a group that is not there", base(setStd("mcast_grp", "0x8")), nil},
		{"drop in ingress", base(drop), nil},
		{"drop takes multicast back", base(setStd("mcast_grp", "0x7"), drop), nil},
		{"multicast goes before drop", base(drop, setStd("mcast_grp", "0x7")), []string{
			"3: 00 0000 00000000 0000000000000000 00", "4: 00 0000 00000000 0000000000000000 00",
			"3: 00 0000 00000000 0000000000000000 00"}},
		{"a port after drop", base(drop, setStd("egress_spec", "0x3")),
			[]string{"3: 00 0000 00000000 0000000000000000 00"}},
		{"drop in egress", inEgress(base(), drop), nil},
		{"egress_spec in egress moves nothing", inEgress(base(), setStd("egress_spec", "0x3")),
			[]string{"2: 00 0000 00000000 0000000000000000 00"}},
		{"length follows headers",
			inEgress(base(primitive("add_header", header1("copy")), primitive("remove_header", header1("pkt"))),
				primitive("assign", fieldRef("copy", "d"), std("packet_length"))),
			[]string{"2: 00 0000 00000000 0000000000000020 00"}},
		{"length of an added header", inEgress(base(primitive("add_header", header1("copy"))),
			assign("d", std("packet_length"))),
			[]string{"2: 00 0000 00000000 0000000000000040 00"}},
		{"time is in microseconds", base(assign("d", std("ingress_global_timestamp"))),
			[]string{"2: 00 0000 00000000 00000000000f4240 00"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := mustLoad(t, tt.prog)
			p.SetMulticastGroup(7, []Replica{{3, 1}, {4, 2}, {3, 5}})
			var got []string
			for _, s := range run(p, 1, zeros()).frames {
				f := s.Frame
				got = append(got, fmt.Sprintf("%d: %s %s %s %s %s", s.Port, f[:2], f[2:6], f[6:14], f[14:30], f[62:64]))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("frames (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMulticastGroups(t *testing.T) {
	p := mustLoad(t, base(setStd("mcast_grp", "0x7")))
	replicas := []Replica{{3, 0}}
	p.SetMulticastGroup(7, replicas)
	replicas[0].Port = 4
	if got := run(p, 1, zeros()).frames; len(got) != 1 || got[0].Port != 3 {
		t.Errorf("frames %v, want one out of port 3", got)
	}
	p.SetMulticastGroup(7, nil)
	if got := run(p, 1, zeros()).frames; got != nil {
		t.Errorf("frames %v after the group was deleted", got)
	}
}

func TestActions(t *testing.T) {
	register := func(n string) object { return object{"type": "register_array", "value": n} }
	withRegister := func(prog object) object {
		prog["register_arrays"] = array{object{"name": "r", "size": 4, "bitwidth": 5}}
		return prog
	}
	vl := func(bits string) object {
		prog := base(primitive("assign_header", header1("copy"), header1("pkt")))
		state := prog["parsers"].(array)[0].(object)["parse_states"].(array)[0].(object)
		state["parser_ops"] = append(state["parser_ops"].(array), object{"op": "extract_VL", "parameters": array{
			object{"type": "regular", "value": "vl"}, object{"type": "expression", "value": hexstr(bits)}}})
		return prog
	}
	tests := []struct {
		name string
		prog object
		in   string
		want string // of the frame, its beginning
	}{
		{"jump", base(primitive("_jump", hexstr("0x3")), assign("a", hexstr("0x1")), assign("b", hexstr("0x2"))), "",
			"00 0002"},
		{"jump if zero", base(primitive("_jump_if_zero", pkt("a"), hexstr("0x3")), assign("a", hexstr("0x9")),
			assign("b", hexstr("0x2"))), "00", "00 0002"},
		{"no jump if not zero", base(primitive("_jump_if_zero", pkt("a"), hexstr("0x3")), assign("a", hexstr("0x9")),
			assign("b", hexstr("0x2"))), "01", "09 0002"},
		{"jump to the end", base(primitive("_jump", hexstr("0x3")), assign("a", hexstr("0x1"))), "", "00 0000"},
		{"register in range", withRegister(base(primitive("register_write", register("r"), hexstr("0x3"),
			hexstr("0xff")),
			primitive("register_read", pkt("a"), register("r"), hexstr("0x3")))), "77", "1f"},
		{"register out of range",
			withRegister(base(primitive("register_write", register("r"), hexstr("0x4"), hexstr("0xff")),
				primitive("register_read", pkt("a"), register("r"), hexstr("0x4")))), "77", "77"},
		{"register at a negative index",
			withRegister(base(primitive("register_read", pkt("a"), register("r"), pkt("s")))),
			"77 0000 00000000 0000000000000000 00000000000000000000000000000000 ff", "77"},
		{"header to metadata and back", base(primitive("assign_header", header1("meta"), header1("pkt")),
			assign("w", hexstr("0x0")), assign("a", hexstr("0x0")),
			primitive("assign_header", header1("pkt"), header1("meta"))),
			"77 0102 03040506 0708090a0b0c0d0e 0102030405060708090a0b0c0d0e0f10 ff",
			"77 0102 03040506 0708090a0b0c0d0e 0102030405060708090a0b0c0d0e0f10 ff"},
		{"an invalid header invalidates", base(primitive("assign_header", header1("pkt"), header1("copy"))), "77 0102",
			""},
		{"added twice is added once", base(primitive("add_header", header1("pkt"))), "77 0102", "77 0102"},
		{"variable header", vl("0x18"), "", "00"},
		{"draw of one number", base(primitive("modify_field_rng_uniform", pkt("a"), hexstr("0x5"), hexstr("0x5"))), "",
			"05"},
		{"draw of none", base(primitive("modify_field_rng_uniform", pkt("a"), hexstr("0x5"), hexstr("0x4"))), "", "05"},
		{"exit ends the pipeline, and egress runs", inEgress(base(primitive("exit"), assign("a", hexstr("0x1"))),
			assign("b", hexstr("0x2"))), "", "01 0002"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			frame := append(zeros(), 0xa1, 0xa2, 0xa3, 0xa4)
			copy(frame, unhex(tt.in))
			got := through(t, mustLoad(t, tt.prog), frame)
			want := fmt.Sprintf("%x", unhex(tt.want))
			if len(want) == 0 {
				want = "a1a2a3a4"
			}
			if got[:len(want)] != want || got[len(got)-8:] != "a1a2a3a4" {
				t.Errorf("frame %s, want it to begin with %s and end with its payload", got, want)
			}
		})
	}
}

func TestDrawsAreInRange(t *testing.T) {
	p := mustLoad(t, base(primitive("modify_field_rng_uniform", pkt("a"), hexstr("0x5"), hexstr("0x8"))))
	seen := make(map[string]bool)
	for range 400 {
		seen[through(t, p, zeros())[:2]] = true
	}
	if diff := cmp.Diff(map[string]bool{"05": true, "06": true, "07": true, "08": true}, seen); diff != "" {
		t.Errorf("drawn (-want +got):\n%s", diff)
	}
}

func TestNoAllocations(t *testing.T) {
	p := newSluice(t)
	become(t, p, flowOf(1000), moving("move", 2, 1, 1, 5))
	insert(t, p, "pin", Entry{Match: exact(bytesOf(flowOf(3000).key(), 8)), Call: call("pin_to", bytesOf(1, 4))})
	claim := packet.NewARPReply(web1MAC, vip, clientMAC, client)
	r := p.NewRunner(discard{})
	for name, in := range map[string]framed{
		"VIP":                {clientPort, toVIP(packet.ACK, 2000)},
		"VIP, SYN to a move": {clientPort, toVIP(packet.SYN, 1000)},
		"VIP, ACK to a move": {clientPort, toVIP(packet.ACK, 1000)},
		"VIP, pinned":        {clientPort, toVIP(packet.ACK, 3000)},
		"IP options":         {clientPort, withOptions(toVIP(packet.ACK, 2000), 40)},
		"fragment":           {clientPort, change(toVIP(packet.ACK, 2000), 20, 0x20, 1)},
		"ARP answered":       {clientPort, packet.NewARPRequest(clientMAC, client, vip)},
		"ARP claim":          {web1Port, claim},
		"flood and digest":   {otherPort, at6(packet.Broadcast, toVIP(packet.ACK, 2000))},
		"packet-out":         {510, append([]byte{0, 3}, claim...)},
		"runt":               {clientPort, []byte{1}},
	} {
		if n := testing.AllocsPerRun(50, func() { r.Process(in.port, in.frame, time.Second) }); n != 0 {
			t.Errorf("%s: %v allocations per packet", name, n)
		}
	}
}

// A packet does not see what another left behind in the scratch.
func TestPacketsAreIndependent(t *testing.T) {
	p := newSluice(t)
	used := new(recorder)
	r := p.NewRunner(used)
	random := rand.New(rand.NewPCG(10, 11))
	for i := range 300 {
		frame := toVIP(packet.ACK, uint16(i))
		frame = withOptions(frame, 4*random.IntN(11))
		frame[random.IntN(40)] ^= byte(random.IntN(2) << random.IntN(8))
		frame = frame[:len(frame)-random.IntN(len(frame))]
		used.frames, used.digests = nil, nil
		r.Process(clientPort, frame, time.Second)
		if diff := cmp.Diff(run(p, clientPort, frame).frames, used.frames); diff != "" {
			t.Fatalf("frame %x: a used Runner differs (-fresh +used):\n%s", frame, diff)
		}
	}
}

// Frames of any length, one after the other: what a Runner keeps of longer ones is not seen.
func TestFrameLengths(t *testing.T) {
	p := mustLoad(t, base())
	out := new(recorder)
	r := p.NewRunner(out)
	for _, n := range []int{32, 9000, 33, 40, 20000, 32} {
		frame := bytes.Repeat([]byte{byte(n)}, n)
		out.frames = nil
		r.Process(1, frame, time.Second)
		if diff := cmp.Diff([]sent{{2, fmt.Sprintf("%x", frame)}}, out.frames); diff != "" {
			t.Errorf("%d bytes (-want +got):\n%s", n, diff)
		}
	}
	for n := range 32 { // too short for the header: reads nothing of the frames before
		out.frames = nil
		r.Process(1, make([]byte, n), time.Second)
		if diff := cmp.Diff([]sent{{2, fmt.Sprintf("%x", make([]byte, n))}}, out.frames); diff != "" {
			t.Errorf("%d bytes (-want +got):\n%s", n, diff)
		}
	}
}

// Packets run while everything is written: with -race this is the test of the lock-free tables.
func TestWritesWhilePacketsRun(t *testing.T) {
	p := newSluice(t)
	stop := make(chan struct{})
	var writers, runners sync.WaitGroup
	write := func(f func(i int) error) {
		writers.Go(func() {
			for i := range 3000 {
				if err := f(i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	slot, station := p.Table("slot"), p.Table("station")
	write(func(i int) error { // every slot always exists, and moves
		calls := []Call{call("to_backend", bytesOf(uint64(1+i%2), 4)),
			moving("move", 2, 1, 1, uint64(i))}
		return slot.Modify(Entry{Match: slotMatch(uint64(i) % slots), Call: calls[i%2]})
	})
	write(func(i int) error { // grows, shrinks, leaves tombstones
		m := exact(bytesOf(uint64(i/2), 6))
		if i%2 == 0 {
			return station.Insert(Entry{Match: m, Call: call("known", bytesOf(1, 2))})
		}
		if i%8 == 7 {
			return nil
		}
		return station.Delete(m, 0)
	})
	write(func(i int) error {
		p.SetMulticastGroup(uint16(1+i%2), []Replica{{clientPort, 0}, {otherPort, uint16(i)}})
		return nil
	})
	write(func(i int) error {
		n := 0
		for e := range slot.All() {
			e.Entry()
			n++
		}
		if n != slots {
			return fmt.Errorf("walk %d saw %d slots, want %d", i, n, slots)
		}
		p.Register("mark_1").Write(i, bytesOf(uint64(i), 4))
		p.Counter("tally").Write(9, uint64(i), 0)
		return nil
	})
	for range 3 {
		runners.Go(func() {
			var lost counter
			r := p.NewRunner(&lost)
			syn, ack := toVIP(packet.SYN, 1000), toVIP(packet.ACK, 2000)
			sent := 0
			for {
				select {
				case <-stop:
					if lost.frames != sent {
						t.Errorf("%d packets to the VIP, %d left the switch", sent, lost.frames)
					}
					return
				default:
				}
				for range 100 {
					r.Process(clientPort, syn, time.Second)
					r.Process(clientPort, ack, time.Second)
					sent += 2
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	runners.Wait()
}

// counter counts the frames that leave by the ports of the backends.
type counter struct{ frames int }

func (c *counter) Emit(port uint16, _ []byte) {
	if port == web1Port || port == web2Port {
		c.frames++
	}
}
func (c *counter) Digest(*Digest) {}

// Actions that read and write a register count every packet, whoever runs it.
func TestRegisterActionsAreAtomic(t *testing.T) {
	register := object{"type": "register_array", "value": "r"}
	body := []any{primitive("register_read", pkt("d"), register, hexstr("0x0"))}
	for range 300 { // time for another runner to come between
		body = append(body, assign("c", infix("+", pkt("c"), hexstr("0x1"))))
	}
	prog := base(append(body,
		assign("d", infix("+", pkt("d"), hexstr("0x1"))),
		primitive("register_write", register, hexstr("0x0"), pkt("d")))...)
	prog["register_arrays"] = array{object{"name": "r", "size": 1, "bitwidth": 64}}
	p := mustLoad(t, prog)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			r := p.NewRunner(discard{})
			for range 5000 {
				r.Process(1, zeros(), time.Second)
			}
		})
	}
	wg.Wait()
	if got := toUint64(p.Register("r").Read(0)); got != 20000 {
		t.Errorf("register = %d, want 20000", got)
	}
}
