package engine

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/packet"
)

// Nobody outside can aim. An attacker has the program, the rows and all the time, and lacks the secret. He chooses
// source addresses and ports so that his flows fall into one slot, or cover all cells of the arrays of marks.
//
// Without a secret a hash is linear in what he chooses: from what single bits do he knows what any of them do together
// (Gaussian elimination over GF(2)). It is shown first that he gets what he wants then.

// aimed is the pipeline with a pool whose backends tell the slots: slot s leads to the MAC 02:01:00:00:ss:ss, or all of
// them move together.
func aimed(t *testing.T, slots int, secret1, secret2 uint64, moving bool) *Program {
	t.Helper()
	p, err := Load(p4.DeviceConfig())
	if err != nil {
		t.Fatal(err)
	}
	insert(t, p, "station", Entry{Match: exact(macBytes(clientMAC)), Call: call("known", bytesOf(clientPort, 2))})
	insert(t, p, "vip", Entry{Match: exact(addr(vip), bytesOf(6, 1), bytesOf(80, 2)),
		Call: call("to_pool", bytesOf(poolID, 4), bytesOf(0, 1), bytesOf(uint64(slots-1), 2),
			bytesOf(secret1, 8), bytesOf(secret2, 8))})
	for s := range uint64(slots) {
		m := packet.MAC{2, 1, 0, 0, byte(s >> 8), byte(s)}
		insert(t, p, "backend", Entry{Match: exact(bytesOf(1+s, 4)),
			Call: call("forward_to_backend", macBytes(m), bytesOf(web1Port, 2))})
		do := call("to_backend", bytesOf(1+s, 4))
		if moving {
			do = call("move", bytesOf(1+s, 4), bytesOf(1+s, 4), bytesOf(0, 1), bytesOf(9, 4))
		}
		insert(t, p, "slot", Entry{Match: slotMatch(s), Call: do})
	}
	return p
}

// choice is what an attacker varies: a source address in the low 32 bits, a source port above.
type choice uint64

// syn is the packet that opens the flow of a choice.
func (c choice) syn() []byte {
	f := toVIP(packet.SYN, uint16(c>>32))
	binary.BigEndian.PutUint32(f[14+12:], uint32(c))
	return f
}

var firstChoice = choice(40000)<<32 | choice(binary.BigEndian.Uint32(netip.MustParseAddr("192.0.2.0").AsSlice()))

// arrays are those of marks, of bank 0.
func arrays(p *Program, visit func(array int, cell uint32, epoch uint64)) {
	for i, name := range markArrays {
		r := p.Register(name)
		for cell := range 1 << 16 {
			visit(i, uint32(cell), toUint64(r.Read(cell)))
		}
	}
}

// marksOf are the cells that the openings of flows mark, in a pool with one slot that moves.
func marksOf(t *testing.T, p *Program, of []choice) [][marks]uint32 {
	t.Helper()
	cells := make([][marks]uint32, len(of))
	open := make(map[int]bool) // those of which not all cells are known
	for i := range of {
		open[i] = true
	}
	for epoch := uint64(1); len(open) > 0; { // each in an epoch of its own, and again what another has overwritten
		first, who := epoch, []int(nil)
		for i := range open {
			become := Entry{Match: slotMatch(0), Call: moving("move", 1, 1, 0, epoch)}
			if err := p.Table("slot").Modify(become); err != nil {
				t.Fatal(err)
			}
			run(p, clientPort, of[i].syn())
			who = append(who, i)
			epoch++
		}
		found := make(map[int]int)
		arrays(p, func(array int, cell uint32, epoch uint64) {
			if epoch >= first {
				cells[who[epoch-first]][array] = cell
				found[who[epoch-first]]++
			}
		})
		before := len(open)
		for i, n := range found {
			if n == marks {
				delete(open, i)
			}
		}
		if len(open) == before {
			t.Fatalf("flows %v leave no marks", open)
		}
	}
	return cells
}

func slotOf(t *testing.T, p *Program, c choice) uint32 {
	t.Helper()
	frames := run(p, clientPort, c.syn()).frames
	if len(frames) != 1 {
		t.Fatalf("frames %v", frames)
	}
	slot, err := strconv.ParseUint(frames[0].Frame[8:12], 16, 16) // the end of the destination MAC
	if err != nil {
		t.Fatal(err)
	}
	return uint32(slot)
}

// together are choices of bits that leave a linear function of so many outputs as it is, for single bits do what
// effect says; the lightest ones that a few rounds of adding them up give.
func together(bit []choice, effect []uint32) []choice {
	type row struct {
		of  choice
		out uint32
	}
	pivots := make(map[int]row)
	var kernel []choice
	for i, b := range bit {
		r := row{b, effect[i]}
		for r.out != 0 {
			pivot, ok := pivots[bits.Len32(r.out)]
			if !ok {
				pivots[bits.Len32(r.out)] = r
				break
			}
			r.out ^= pivot.out
			r.of ^= pivot.of
		}
		if r.out == 0 {
			kernel = append(kernel, r.of)
		}
	}
	// The highest bits of what is added to cost nothing: no carry leaves them.
	weight := func(c choice) int { return bits.OnesCount64(uint64(c &^ (1<<31 | 1<<47))) }
	for range 8 {
		for i := range kernel {
			for j := range kernel {
				if both := kernel[i] ^ kernel[j]; i != j && weight(both) < weight(kernel[i]) {
					kernel[i] = both
				}
			}
		}
	}
	slices.SortFunc(kernel, func(a, b choice) int { return weight(a) - weight(b) })
	return kernel
}

// span are the 1<<len(of) choices that some make together.
func span(of []choice) []choice {
	all := make([]choice, 1<<len(of))
	for i := range all {
		for j, c := range of {
			if i>>j&1 == 1 {
				all[i] ^= c
			}
		}
	}
	return all
}

// chosen are the bits that an attacker varies: of the port, and the low ones of the address.
func chosen(address int) (all []choice) {
	for b := range 48 {
		if b < address || b >= 32 {
			all = append(all, 1<<b)
		}
	}
	return all
}

func TestNobodyAimsAtASlot(t *testing.T) {
	const slots, flows = 4096, 12 // 1 << 12 of these
	most := func(p *Program, of []choice) int {
		counts := make(map[uint32]int)
		for _, c := range of {
			counts[slotOf(t, p, firstChoice^c)]++
		}
		most := 0
		for _, n := range counts {
			most = max(most, n)
		}
		return most
	}
	public := aimed(t, slots, 0, 0, false)
	for _, test := range []struct {
		name    string
		address int // bits of it that he has
	}{{"from a /24", 8}, {"from anywhere", 32}} {
		all := chosen(test.address)
		effects := make([]uint32, len(all))
		for i, c := range all {
			effects[i] = slotOf(t, public, firstChoice^c) ^ slotOf(t, public, firstChoice)
		}
		aim := span(together(all, effects)[:flows])
		if n := most(public, aim); n != 1<<flows {
			t.Fatalf("%s: without a secret %d of %d flows are in one slot: the attack proves nothing", test.name, n,
				1<<flows)
		}
		random := rand.New(rand.NewPCG(1, 2))
		for range 5 {
			one, two := random.Uint64(), random.Uint64()
			// By chance it is 7 or 8: of 4,096 flows that fall at random, more than 15 share a slot once in 10^10
			// times.
			if n := most(aimed(t, slots, one, two, false), aim); n > 15 {
				t.Errorf("%s, with the secret %x %x: %d of %d flows are in one slot", test.name, one, two, n, 1<<flows)
			}
		}
	}
}

func TestNobodyAimsAtTheMarks(t *testing.T) {
	const flows = 16 // 1 << 16 of these
	covered := func(p *Program, of []choice) (cells [marks]int) {
		r := p.NewRunner(discard{})
		for _, c := range of {
			r.Process(clientPort, (firstChoice ^ c).syn(), time.Second)
		}
		arrays(p, func(array int, _ uint32, epoch uint64) {
			if epoch != 0 {
				cells[array]++
			}
		})
		return cells
	}
	all := chosen(32)
	asked := []choice{firstChoice}
	for _, c := range all {
		asked = append(asked, firstChoice^c)
	}
	marked := marksOf(t, aimed(t, 1, 0, 0, true), asked)
	effects := make([][marks]uint32, len(all))
	for i := range all {
		for array := range marks {
			effects[i][array] = marked[1+i][array] ^ marked[0][array]
		}
	}
	// Of 16 choices at random it takes those that are independent for all arrays.
	random := rand.New(rand.NewPCG(3, 4))
	var aim []choice
	for aim == nil {
		some := make([]choice, flows)
		var effect [marks][]uint32
		for i := range some {
			var changes [marks]uint32
			for j, c := range all {
				if random.IntN(2) == 1 {
					some[i] ^= c
					for array := range marks {
						changes[array] ^= effects[j][array]
					}
				}
			}
			for array := range marks {
				effect[array] = append(effect[array], changes[array])
			}
		}
		dependent := func(of []uint32) bool { return len(together(some, of)) != 0 }
		if !slices.ContainsFunc(effect[:], dependent) {
			aim = span(some)
		}
	}
	const cells = 1 << 16
	if got := covered(aimed(t, 1, 0, 0, true), aim); got != [marks]int{cells, cells, cells, cells} {
		t.Fatalf("without a secret %v of %d cells are covered: the attack proves nothing", got, cells)
	}
	for range 2 {
		one, two := random.Uint64(), random.Uint64()
		// By chance it is 1 - 1/e of them, 63 %.
		for i, n := range covered(aimed(t, 1, one, two, true), aim) {
			if n > cells*65/100 {
				t.Errorf("with the secret %x %x: %d flows cover %d of %d cells of array %d", one, two, 1<<flows, n,
					cells, i+1)
			}
		}
	}
}
