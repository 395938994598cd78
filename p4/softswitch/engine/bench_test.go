package engine

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/sluicelb/sluice/p4/packet"
)

type discard struct{}

func (discard) Emit(uint16, []byte) {}
func (discard) Digest(*Digest)      {}

func benchmark(b *testing.B, frame []byte) {
	r := newSluice(b).NewRunner(discard{})
	r.Process(clientPort, frame, time.Second)
	if n := testing.AllocsPerRun(100, func() { r.Process(clientPort, frame, time.Second) }); n != 0 {
		b.Fatalf("%v allocations per packet", n)
	}
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		r.Process(clientPort, frame, time.Second)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
}

func BenchmarkProcessVIP(b *testing.B) { benchmark(b, toVIP(packet.ACK, 1000)) }

// BenchmarkProcessVIPFull runs many flows through full tables: 4,000 VIPs, 100 pools of 4,096 slots.
func BenchmarkProcessVIPFull(b *testing.B) {
	p := newSluice(b)
	for pool := range uint64(100) {
		for slot := range uint64(4096) {
			insert(b, p, "slot", Entry{Match: exact(bytesOf(100+pool, 4), bytesOf(0, 1), bytesOf(slot, 2)),
				Call: call("to_backend", bytesOf(1+slot%2, 4))})
		}
	}
	var frames [][]byte
	for i := range uint64(4000) {
		a := [4]byte{10, 1, byte(i >> 8), byte(i)}
		insert(b, p, "vip", Entry{Match: exact(a[:], bytesOf(6, 1), bytesOf(80, 2)),
			Call: call("to_pool", bytesOf(100+i%100, 4), bytesOf(0, 1), bytesOf(4095, 2),
				bytesOf(1<<62+1, 8), bytesOf(1<<61+1, 8))})
		for flow := range uint16(8) {
			frames = append(frames, packet.NewTCP(packet.Segment{DstMAC: vipMAC, SrcMAC: clientMAC, Flags: packet.ACK,
				Src: netip.AddrPortFrom(client, 1000+flow), Dst: netip.AddrPortFrom(netip.AddrFrom4(a), 80)}))
		}
	}
	rand.Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] })
	r := p.NewRunner(discard{})
	for i := 0; b.Loop(); i++ {
		r.Process(clientPort, frames[i%len(frames)], time.Second)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
}

func BenchmarkProcessL2(b *testing.B) {
	benchmark(b, at6(otherMAC, change(toVIP(packet.ACK, 1000), 30, 192, 0, 2, 2)))
}

func BenchmarkInsert4096Slots(b *testing.B) {
	p := newSluice(b)
	t := p.Table("slot")
	var entries []Entry
	for i := range uint64(4096) {
		entries = append(entries, Entry{Match: exact(bytesOf(9, 4), bytesOf(0, 1), bytesOf(i, 2)),
			Call: call("to_backend", bytesOf(1, 4))})
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, e := range entries {
			if err := t.Insert(e); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		for _, e := range entries {
			if err := t.Delete(e.Match, 0); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
	}
	b.ReportMetric(4096*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}
