package zone

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
)

// sized is an index with that many balanced names and records, and names that are in it.
func sized(tb testing.TB, balanced, addresses int) (z *Zones, hits [][]byte) {
	zone := whole(tb, "example.com.", "")
	for i := range addresses {
		zone.Records = append(zone.Records, &dns.A{
			Hdr: dns.RR_Header{Name: fmt.Sprintf("host%d.rack%d.example.com.", i, i%100), Rrtype: dns.TypeA,
				Class: dns.ClassINET, Ttl: 60},
			A: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).AsSlice(),
		})
	}
	var names []Balanced
	for i := range balanced {
		names = append(names, Balanced{Name: fmt.Sprintf("www%d.example.com.", i), Set: int32(i)})
		hits = append(hits, wireName(tb, names[i].Name))
	}
	return build(tb, []config.Zone{zone}, names...), hits
}

func BenchmarkLookup(b *testing.B) {
	for _, size := range []struct{ balanced, records int }{{1, 0}, {4000, 0}, {4000, 100_000}} {
		z, hits := sized(b, size.balanced, size.records)
		rand.New(rand.NewPCG(1, 1)).Shuffle(len(hits), func(i, j int) { hits[i], hits[j] = hits[j], hits[i] })
		var misses, deep [][]byte
		for i := range 1024 {
			misses = append(misses, wireName(b, fmt.Sprintf("nx%d.example.com.", i)))
			deep = append(deep, wireName(b, fmt.Sprintf("nx%d.%sexample.com.", i, repeatLabel(100))))
		}
		for _, x := range []struct {
			name  string
			names [][]byte
		}{{"hit", hits}, {"miss", misses}, {"miss100labels", deep}} {
			b.Run(fmt.Sprintf("names=%d/records=%d/%s", size.balanced, size.records, x.name), func(b *testing.B) {
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					z.Lookup(x.names[i], dns.TypeA)
					if i++; i == len(x.names) {
						i = 0
					}
				}
			})
		}
	}
}

func repeatLabel(n int) string {
	s := ""
	for range n {
		s += "a."
	}
	return s
}

func BenchmarkAppendNegative(b *testing.B) {
	z, _ := sized(b, 1, 0)
	name, dst := wireName(b, "nx.example.com."), make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		z.All()[0].AppendNegative(dst, name)
	}
}

func BenchmarkBuild(b *testing.B) {
	zone := whole(b, "example.com.", "")
	for i := range 100_000 {
		zone.Records = append(zone.Records, &dns.A{
			Hdr: dns.RR_Header{Name: fmt.Sprintf("host%d.example.com.", i), Rrtype: dns.TypeA, Class: dns.ClassINET,
				Ttl: 60},
			A: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).AsSlice(),
		})
	}
	b.ReportAllocs()
	for b.Loop() {
		build(b, []config.Zone{zone})
	}
}
