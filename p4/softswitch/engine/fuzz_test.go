package engine

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/packet"
)

// watcher holds the pipeline to what it promises about every frame.
type watcher struct {
	t     *testing.T
	port  uint16
	frame []byte
	sent  int
}

func (w *watcher) Emit(port uint16, frame []byte) {
	w.sent++
	in := w.frame
	if w.port == limits.CPUPort {
		in = in[2:]
	}
	if port == w.port && port != limits.CPUPort && !isARP(in) && !isToVIP(in) {
		w.t.Errorf("a frame that is neither ARP nor to a VIP left by the port that it came in by")
	}
	if port == 511 {
		w.t.Errorf("a frame left by the drop port")
	}
	switch {
	case port == limits.CPUPort:
		if len(frame) != len(in)+4 || !bytes.Equal(frame[4:], in) {
			w.t.Errorf("the packet-in is not the frame behind its header:\n in %x\nout %x", in, frame)
		}
	case w.port == limits.CPUPort:
		if !bytes.Equal(frame, in) {
			w.t.Errorf("the packet-out changed:\n in %x\nout %x", in, frame)
		}
	case isARP(in): // may be answered, or become a probe; what is around it stays, but for the MACs
		arp, _ := packet.FindARP(in)
		at := len(in) - len(arp)
		if len(frame) != len(in) || !bytes.Equal(frame[12:at], in[12:at]) ||
			!bytes.Equal(frame[at+packet.ARPLen:], in[at+packet.ARPLen:]) {
			w.t.Errorf("more than the ARP packet changed:\n in %x\nout %x", in, frame)
		}
	default: // at most the destination MAC changes
		if len(frame) != len(in) || !bytes.Equal(frame[6:], in[6:]) {
			w.t.Errorf("more than the destination MAC changed:\n in %x\nout %x", in, frame)
		}
	}
}

func (w *watcher) Digest(d *Digest) {
	if d.Name == "disowned_t" && len(d.Members) == 3 && len(d.Members[0]) == 6 && len(d.Members[1]) == 2 &&
		len(d.Members[2]) == 4 {
		return
	}
	if d.Name == "flow_t" && len(d.Members) == 2 && len(d.Members[0]) == 8 && len(d.Members[1]) == 4 {
		return
	}
	if d.Name != "learn_t" || len(d.Members) != 2 || len(d.Members[0]) != 6 || len(d.Members[1]) != 2 {
		w.t.Errorf("digest %v", d)
	}
}

func isARP(frame []byte) bool {
	_, ok := packet.FindARP(frame)
	return ok
}

// isToVIP looks behind a tag and into SNAP, as the pipeline does.
func isToVIP(frame []byte) bool {
	e := packet.Ethernet(frame)
	if !e.IsValid() {
		return false
	}
	etherType, ip := e.Type(), e.Payload()
	if etherType < 0x600 && len(ip) >= 8 {
		etherType, ip = binary.BigEndian.Uint16(ip[6:]), ip[8:]
	}
	return etherType == packet.TypeIPv4 && len(ip) >= packet.IPv4Len && bytes.Equal(ip[16:20], addr(vip))
}

func FuzzProcess(f *testing.F) {
	syn, claim := toVIP(packet.SYN, 1000), packet.NewARPReply(web1MAC, vip, clientMAC, client)
	for _, seed := range [][]byte{
		nil, syn, syn[:53], withOptions(syn, 40), withOptions(syn, 12)[:40], change(syn, 14, 0x4f),
		change(syn, 14, 0x44),
		change(syn, 20, 0x20, 1), packet.NewARPRequest(clientMAC, client, vip),
		packet.NewARPReply(web1MAC, vip, clientMAC, client),
		append([]byte{0, 3}, syn...), make([]byte, 65536),
		slices.Concat(syn[:12], []byte{0x88, 0xa8, 0, 0}, syn[12:]),
		slices.Concat(syn[:12], []byte{0, 64, 0xaa, 0xaa, 3, 0, 0, 0}, syn[12:]),
		slices.Concat(claim[:12], []byte{0, 36, 0xaa, 0xaa, 3, 0, 0, 0xf8}, claim[12:]), change(syn, 6, web1MAC[:]...),
	} {
		f.Add(uint16(clientPort), seed)
		f.Add(uint16(limits.CPUPort), seed)
	}
	p := newSluice(f)
	become(f, p, flowOf(1000), moving("move", 2, 1, 3, 77))
	f.Fuzz(func(t *testing.T, port uint16, frame []byte) {
		port &= 0x1ff // ports have 9 bits
		if port == 511 {
			t.Skip("no port has this number")
		}
		before := bytes.Clone(frame)
		w := &watcher{t: t, port: port, frame: before}
		p.NewRunner(w).Process(port, frame, time.Second)
		if !bytes.Equal(before, frame) {
			t.Errorf("Process changed the frame that it was given")
		}
		if w.sent > 4 {
			t.Errorf("%d frames out of one", w.sent)
		}
	})
}

// FuzzLoad: whatever the device configuration, Load returns, and what it accepts runs.
func FuzzLoad(f *testing.F) {
	// Small programs: the fuzzer gets nowhere with large ones.
	for _, prog := range []object{
		base(assign("a", infix("+", pkt("a"), infix("<<", pkt("b"), pkt("c"))))),
		withTable("ternary", "b:ternary", "c:lpm"),
		withTable("range", "b:range", "w:exact"),
		inEgress(base(primitive("_jump_if_zero", pkt("a"), hexstr("0x3")), assign("w", prefix("~", pkt("w"))))),
	} {
		text, err := json.Marshal(prog)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	frame, _ := hex.DecodeString("450000140000000000000000c0000201c00002020000000000000000")
	f.Fuzz(func(t *testing.T, config []byte) {
		p, err := Load(config)
		if err != nil {
			return
		}
		r := p.NewRunner(discard{})
		r.Process(1, frame, time.Second)
		r.Process(1, nil, time.Second)
	})
}
