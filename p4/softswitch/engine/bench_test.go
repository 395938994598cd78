package engine

import (
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

func BenchmarkProcessL2(b *testing.B) {
	benchmark(b, at6(otherMAC, change(toVIP(packet.ACK, 1000), 30, 192, 0, 2, 2)))
}

func BenchmarkInsert4096Slots(b *testing.B) {
	p := newSluice(b)
	t := p.Table("slot")
	var entries []Entry
	for i := range uint64(4096) {
		entries = append(entries, Entry{Match: exact(bytesOf(9, 4), bytesOf(0, 1), bytesOf(i, 2)), Call: call("to_backend", bytesOf(1, 4))})
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
