package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/packet"
	"github.com/sluicelb/sluice/p4/softswitch/engine"
)

const (
	slots    = 4096
	backends = 3
	flows    = 1024
	batch    = 64 // frames that come at once, as a port takes them
)

var (
	vip       = netip.MustParseAddr("10.0.0.100")
	vipMAC    = packet.MAC{2, 0x53, 0x4c, 0, 0, 1}
	routerMAC = packet.MAC{2, 0, 0, 0, 0, 1}
)

func backendMAC(id int) packet.MAC { return packet.MAC{2, 0, 0, 0, 1, byte(id)} }

// vipFrames are the same flows for every switch: client side of established connections.
func vipFrames() [][]byte {
	frames := make([][]byte, flows)
	for i := range frames {
		frames[i] = packet.NewTCP(packet.Segment{
			DstMAC: vipMAC, SrcMAC: routerMAC,
			Src:   netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), uint16(1024+i*7)),
			Dst:   netip.AddrPortFrom(vip, 80),
			Flags: packet.ACK, Payload: make([]byte, 6),
		})
	}
	return frames
}

type discard struct{ frames int }

func (d *discard) Emit(uint16, []byte)   { d.frames++ }
func (d *discard) Digest(*engine.Digest) {}

// inProcess measures the engine alone: no ports, one goroutine.
func inProcess(_ context.Context, _ time.Duration, rounds int) error {
	program, err := engine.Load(p4.DeviceConfig())
	if err != nil {
		return err
	}
	if err := fillEngine(program); err != nil {
		return err
	}
	l2 := packet.AppendEthernet(nil, backendMAC(1), routerMAC, 0x88b5)
	l2 = append(l2, make([]byte, 46)...)
	rows := [][]string{{"in process", "packets/s", "ns/packet", "allocs/packet"}}
	for _, path := range []struct {
		name   string
		frames [][]byte
	}{
		{"VIP -> slot -> backend", vipFrames()},
		{"L2, known station", [][]byte{l2}},
	} {
		out := new(discard)
		runner := program.NewRunner(out)
		results := make([]testing.BenchmarkResult, rounds)
		for r := range results {
			sent := 0
			out.frames = 0
			results[r] = testing.Benchmark(func(b *testing.B) {
				b.ReportAllocs()
				now := time.Duration(0)
				runner.Hold()
				for b.Loop() {
					runner.Process(1, path.frames[sent%len(path.frames)], now)
					sent++
					now++
					if sent%batch == 0 {
						runner.Release()
						runner.Hold()
					}
				}
				runner.Release()
			})
			if out.frames != sent {
				return fmt.Errorf("%s: %d frames in, %d out", path.name, sent, out.frames)
			}
		}
		slices.SortFunc(results, func(a, b testing.BenchmarkResult) int {
			return cmp.Compare(a.NsPerOp(), b.NsPerOp())
		})
		median := results[rounds/2]
		ns := float64(median.T.Nanoseconds()) / float64(median.N)
		rows = append(rows, []string{path.name, fmt.Sprintf("%.0f", 1e9/ns), fmt.Sprintf("%.0f", ns),
			fmt.Sprintf("%.3f", float64(median.MemAllocs)/float64(median.N))})
	}
	table("softswitch engine on sluice.p4, one goroutine", rows...)
	return nil
}

func fillEngine(program *engine.Program) error {
	be := func(bits int, x uint64) []byte {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], x)
		return b[8-(bits+7)/8:]
	}
	mac := func(m packet.MAC) []byte { return m[:] }
	insert := func(table string, match [][]byte, action string, params ...[]byte) error {
		e := engine.Entry{Call: engine.Call{Action: action, Params: params}}
		for _, value := range match {
			e.Match = append(e.Match, engine.Match{Value: value})
		}
		return program.Table(table).Insert(e)
	}
	for id := 1; id <= backends; id++ {
		if err := insert("backend", [][]byte{be(32, uint64(id))}, "forward_to_backend", mac(backendMAC(id)),
			be(9, uint64(id+1))); err != nil {
			return err
		}
		if err := insert("l2", [][]byte{mac(backendMAC(id))}, "forward", be(9, uint64(id+1))); err != nil {
			return err
		}
	}
	for slot := range slots {
		if err := insert("slot", [][]byte{be(32, 1), be(8, 0), be(16, uint64(slot))}, "to_backend",
			be(32, uint64(1+slot%backends))); err != nil {
			return err
		}
	}
	if err := insert("station", [][]byte{mac(routerMAC)}, "known", be(9, 1)); err != nil {
		return err
	}
	return insert("vip", [][]byte{vip.AsSlice(), be(8, 6), be(16, 80)}, "to_pool", be(32, 1), be(8, 0), be(16, slots-1),
		be(64, 1<<62+1), be(64, 1<<61+1))
}
