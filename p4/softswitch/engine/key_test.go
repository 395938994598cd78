package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/sluicelb/sluice/p4/packet"
)

// What flows make of the pipeline's hashes: that the pipeline takes them as hashed does is shown first, and then what
// hashed makes of millions.

func TestKeysAreThePipelines(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	const bank, epoch = 1, 9
	for range 20 {
		one, two := random.Uint64(), random.Uint64()
		p := aimed(t, 1, one, two, false)
		move := Entry{Match: slotMatch(0), Call: moving("move", 1, 1, bank, epoch)}
		if err := p.Table("slot").Modify(move); err != nil {
			t.Fatal(err)
		}
		for range 50 {
			src, port := random.Uint32(), uint16(random.Uint32())
			a := netip.AddrFrom4([4]byte(bytesOf(uint64(src), 4)))
			frame := func(flags uint8) []byte {
				return packet.NewTCP(packet.Segment{DstMAC: vipMAC, SrcMAC: clientMAC, Flags: flags,
					Src: netip.AddrPortFrom(a, port), Dst: netip.AddrPortFrom(vip, 80)})
			}
			f := hashed(src, uint32(toUint64(addr(vip))), port, 80, one, two)
			want := []string{fmt.Sprintf("flow_t %016x 00000001", f.key())}
			if got := run(p, clientPort, frame(packet.ACK)).digests; !slices.Equal(got, want) {
				t.Fatalf("%v port %d, secrets %x %x: digests %v, want %v", a, port, one, two, got, want)
			}
			run(p, clientPort, frame(packet.SYN))
			for i, cell := range f.cells {
				if got := toUint64(p.Register(markArrays[i]).Read(bank<<16 | int(cell))); got != epoch {
					t.Fatalf("%v port %d, secrets %x %x: cell %d of %s holds %d", a, port, one, two, cell,
						markArrays[i], got)
				}
			}
		}
	}
}

// flowSet is flows by number.
type flowSet func(i uint32) (src, dst uint32, port uint16)

// flowSets are flows as networks have them, and as they fall at random, to some VIPs.
func flowSets() map[string]flowSet {
	const vip = 10 << 24
	random := rand.New(rand.NewPCG(5, 6))
	a, b, c, d, odd := random.Uint32(), random.Uint32(), random.Uint32(), random.Uint32(), random.Uint64()|1
	mixed := func(i uint32) uint64 { // a permutation of 48 bits: no flow comes twice
		v := uint64(i)
		for range 3 {
			v = (v ^ v>>23) * odd & (1<<48 - 1)
		}
		return v
	}
	return map[string]flowSet{
		"random": func(i uint32) (uint32, uint32, uint16) {
			return uint32(mixed(i) >> 16), vip, uint16(mixed(i))
		},
		"one address after another": func(i uint32) (uint32, uint32, uint16) { return a + i, vip + 1, 40000 },
		"some addresses, all ports": func(i uint32) (uint32, uint32, uint16) { return b + i>>16, vip + 2, uint16(i) },
		"many networks, few ports": func(i uint32) (uint32, uint32, uint16) {
			return c + i>>4<<8, vip + 3, uint16(i&15) << 12
		},
		"some VIPs, all ports": func(i uint32) (uint32, uint32, uint16) {
			return d + i>>16, vip + 4 + i>>13&7, uint16(i)
		},
	}
}

// Of millions of flows, no two have the same key. Nothing that is taken of a flow tells anything of another thing that
// is: the slot, the other half of the key, the cells. (The slot and the rest of its half are words of one CRC, which
// neighbours go through together, and of which nothing but the slot is used by itself.)
func TestKeysAndCellsAreIndependent(t *testing.T) {
	const flows = 1 << 19 // of each set
	random := rand.New(rand.NewPCG(7, 8))
	one, two := random.Uint64(), random.Uint64()
	var keys []uint64
	for name, set := range flowSets() {
		names := [...]string{"slot", "lower half", "rest of lower half", "mark 1", "mark 2", "mark 3", "mark 4"}
		parts := make([][len(names)]uint16, flows)
		for i := range parts {
			src, dst, port := set(uint32(i))
			f := hashed(src, dst, port, 80, one, two)
			keys = append(keys, f.key())
			parts[i] = [...]uint16{uint16(f.a), uint16(f.b), uint16(f.b >> 16), 3: f.cells[0], f.cells[1], f.cells[2],
				f.cells[3]}
		}
		both := make([]uint32, flows)
		for x := range names {
			for y := range x {
				if x == 2 && y == 1 {
					continue // one CRC
				}
				// What two have in common shows in how many flows share a byte of each, and in how many share both.
				for shifts := range 4 {
					var counts [1 << 16]uint16
					for i := range parts {
						counts[parts[i][x]>>(shifts&1*8)&255<<8|parts[i][y]>>(shifts>>1*8)&255]++
					}
					expected, chi := float64(flows)/(1<<16), 0.0
					for _, n := range counts {
						chi += (float64(n) - expected) * (float64(n) - expected) / expected
					}
					// Of 65,535 degrees of freedom; more even than by chance is as good. The words of the key by
					// themselves are not quite even, and there is no more to it than that.
					if z := (chi - 65535) / math.Sqrt(2*65535); z > 6 {
						t.Errorf("%s: bytes of %s and %s go together: z = %.1f", name, names[x], names[y], z)
					}
				}
				for i := range parts {
					both[i] = uint32(parts[i][x])<<16 | uint32(parts[i][y])
				}
				slices.Sort(both)
				pairs, run := 0, 0
				for i := 1; i < len(both); i++ {
					if run++; both[i] != both[i-1] {
						run = 0
					}
					pairs += run
				}
				expected := float64(flows) * (flows - 1) / 2 / (1 << 32)
				if z := (float64(pairs) - expected) / math.Sqrt(expected); z > 6 {
					t.Errorf("%s: %d pairs of flows share %s and %s, by chance %.0f", name, pairs, names[x],
						names[y], expected)
				}
			}
		}
	}
	all := len(keys)
	slices.Sort(keys)
	if n := len(slices.Compact(keys)); n != all {
		t.Errorf("%d flows have %d keys", all, n)
	}
}

// Old flows are taken for new ones as by so many marks at random, (1 - e^(-n/65536))^4 for n openings, whatever the
// flows, when all slots move and when a third of them do.
func TestFalsePositives(t *testing.T) {
	const asked = 200000
	random := rand.New(rand.NewPCG(9, 10))
	for name, set := range flowSets() {
		one, two := random.Uint64(), random.Uint64()
		for _, opened := range []int{10000, 30000, 65536, 150000} {
			for _, share := range []uint16{4096, 1365} {
				next := uint32(0)
				flow := func() flow {
					for {
						src, dst, port := set(next)
						next++
						if f := hashed(src, dst, port, 80, one, two); f.slot(4095) < share {
							return f
						}
					}
				}
				var marked [marks][1 << 16]bool
				for range opened {
					for array, cell := range flow().cells {
						marked[array][cell] = true
					}
				}
				got := 0
				for range asked {
					all := true
					for array, cell := range flow().cells {
						all = all && marked[array][cell]
					}
					if all {
						got++
					}
				}
				expected := asked * math.Pow(1-math.Exp(-float64(opened)/(1<<16)), marks)
				// Besides that of the flows asked there is the chance of how many cells the others mark.
				deviation := math.Sqrt(expected) + expected*0.01
				if math.Abs(float64(got)-expected) > 6*deviation {
					t.Errorf("%s, %d opened, %d of 4096 slots: %d of %d flows are taken for new, expected %.0f",
						name, opened, share, got, asked, expected)
				}
			}
		}
	}
}
