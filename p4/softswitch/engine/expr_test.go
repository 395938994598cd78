package engine

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"
)

// The offsets of a packet's fields in bytes.
const (
	atA, atB, atC, atD, atW, atS = 0, 1, 3, 7, 15, 31
)

func TestExpressions(t *testing.T) {
	a, b, c, d, w, s := pkt("a"), pkt("b"), pkt("c"), pkt("d"), pkt("w"), pkt("s")
	minus1 := hexstr("-0x1")
	lt := func(l, r object) object { return infix("<", l, r) }
	number := func(cond object) object { return prefix("b2d", cond) }
	tests := []struct {
		name string
		expr object
		in   string // a, b, c, d, w, s
		want string // w
	}{
		{"constant", hexstr("0x123"), "", "0123"},
		{"negative constant is cut", hexstr("-0x2"), "", "fffffffffffffffffffffffffffffffe"},
		{"sum over the width of its operands", infix("+", a, a), "ff", "01fe"},
		{"difference below zero", infix("-", a, b), "01 0002", "ffffffffffffffffffffffffffffffff"},
		{"difference below zero, compared", number(lt(infix("-", a, b), a)), "01 0002", "01"},
		{"difference below zero, of 64 bits", number(lt(infix("-", hexstr("0"), d), hexstr("0"))),
			"00 0000 00000000 ffffffffffffffff", "01"},
		{"sum over 64 bits", infix("+", d, d), "00 0000 00000000 ffffffffffffffff", "01fffffffffffffffe"},
		{"product of 64 bits", infix("*", d, d), "00 0000 00000000 ffffffffffffffff",
			"fffffffffffffffe0000000000000001"},
		{"unary minus", object{"type": "expression", "value": object{"op": "-", "left": nil, "right": a}}, "01",
			"ffffffffffffffffffffffffffffffff"},
		{"not is minus one minus", prefix("~", a), "05", "fffffffffffffffffffffffffffffffa"},
		{"not, cut", infix("&", prefix("~", a), hexstr("0xff")), "05", "fa"},
		{"and with a negative", infix("&", b, minus1), "00 1234", "1234"},
		{"or with a negative", infix("|", b, hexstr("-0x100")), "00 0034", "ffffffffffffffffffffffffffffff34"},
		{"shift left over the width", infix("<<", a, hexstr("0x40")), "81", "810000000000000000"},
		{"shift left by a field", infix("<<", a, b), "81 0078", "81000000000000000000000000000000"},
		{"shift left out of everything", infix("<<", a, c), "81 0000 ffffffff", "00"},
		{"shift left by a negative", infix("<<", a, s),
			"81 0000 00000000 0000000000000000 00000000000000000000000000000000 ff", "00"},
		{"shift right of a sum keeps the carry", infix(">>", infix("+", d, d), hexstr("0x40")),
			"00 0000 00000000 ffffffffffffffff", "01"},
		{"shift right of a negative rounds down", infix("&", infix(">>", infix("-", a, b), hexstr("0x1")),
			hexstr("0xff")), "01 0004", "fe"},
		{"shift right out of everything", infix(">>", w, c),
			"81 0000 ffffffff 0000000000000000 ff000000000000000000000000000000", "00"},
		{"shift right of a wide field", infix(">>", w, a),
			"78 0000 00000000 0000000000000000 ff000000000000000000000000000000", "ff"},
		{"division", infix("/", b, a), "07 0064", "0e"},
		{"division by zero", infix("/", b, a), "00 0064", "00"},
		{"division of wide fields", infix("/", w, a),
			"10 0000 00000000 0000000000000000 10000000000000000000000000000000", "01000000000000000000000000000000"},
		{"division of wide fields by zero", infix("/", w, a),
			"00 0000 00000000 0000000000000000 10000000000000000000000000000000", "00"},
		{"remainder", infix("%", b, a), "07 0064", "02"},
		{"remainder by zero", infix("%", b, a), "00 0064", "00"},
		{"remainder of wide fields", infix("%", w, a),
			"07 0000 00000000 0000000000000000 00000000000000100000000000000000", "04"},
		{"signed field", s, "00 0000 00000000 0000000000000000 00000000000000000000000000000000 80",
			"ffffffffffffffffffffffffffffff80"},
		{"signed comparison", number(lt(s, hexstr("0x0"))),
			"00 0000 00000000 0000000000000000 00000000000000000000000000000000 80", "01"},
		{"signed and unsigned", number(lt(s, d)),
			"00 0000 00000000 ffffffffffffffff 00000000000000000000000000000000 80", "01"},
		{"wide comparison", number(infix(">=", w, d)),
			"00 0000 00000000 ffffffffffffffff 00000000000000010000000000000000", "01"},
		{"equal to a constant that cannot be", number(infix("==", a, hexstr("-0x1"))), "ff", "00"},
		{"unlike a constant that cannot be", number(infix("!=", a, hexstr("0x10000000000000000"))), "ff", "01"},
		{"d2b", number(prefix("d2b", a)), "80", "01"},
		{"d2b of a wide field", number(prefix("d2b", w)),
			"00 0000 00000000 0000000000000000 80000000000000000000000000000000", "01"},
		{"and, or, not", number(infix("and", prefix("not", prefix("d2b", a)),
			infix("or", prefix("d2b", b), truth(false)))), "00 0001", "01"},
		{"equal truth values", number(infix("==", prefix("d2b", a), truth(false))), "00", "01"},
		{"valid", number(prefix("valid", header1("pkt"))), "", "01"},
		{"not valid", number(prefix("valid", header1("copy"))), "", "00"},
		{"$valid$", pkt("$valid$"), "", "01"},
		{"metadata is always valid", number(prefix("valid", header1("meta"))), "", "01"},
		{"invalid headers are not equal", number(infix("==", header1("copy"), header1("copy"))), "", "00"},
		{"choice", choose(lt(a, b), c, w), "01 0002 00000007", "07"},
		{"other choice", choose(lt(a, b), c, w), "03 0002 00000000 0000000000000000 99000000000000000000000000000000",
			"99000000000000000000000000000000"},
		{"choice of truth values", number(choose(prefix("d2b", a), truth(true), truth(false))), "01", "01"},
		{"two_comp_mod", infix("two_comp_mod", hexstr("0x101"), hexstr("0x8")), "", "01"},
		{"two_comp_mod from below", infix("two_comp_mod", hexstr("-0x81"), hexstr("0x8")), "", "7f"},
		{"two_comp_mod of a field", infix("&", infix("two_comp_mod", b, hexstr("0x8")), hexstr("0xffff")), "00 0180",
			"ff80"},
		{"two_comp_mod wide", infix("two_comp_mod", w, hexstr("0x50")),
			"00 0000 00000000 0000000000000000 12348000000000000000000000000000", "0000"},
		{"two_comp_mod wide, negative", infix("&", infix("two_comp_mod", w, hexstr("0x50")),
			hexstr("0xffffffffffffffffffffffff")),
			"00 0000 00000000 0000000000000000 00000000000080000000000000000000", "ffff80000000000000000000"},
		{"sat_cast above", infix("sat_cast", b, hexstr("0x8")), "00 1234", "7f"},
		{"sat_cast below", infix("&", infix("sat_cast", infix("-", a, b), hexstr("0x8")), hexstr("0xff")), "00 1234",
			"80"},
		{"usat_cast above", infix("usat_cast", infix("+", d, d), hexstr("0x40")), "00 0000 00000000 8000000000000000",
			"ffffffffffffffff"},
		{"usat_cast below", infix("usat_cast", infix("-", a, b), hexstr("0x8")), "00 0001", "00"},
		{"usat_cast of an unsigned", infix("usat_cast", d, hexstr("0x8")), "00 0000 00000000 8000000000000000", "ff"},
		{"metadata wider than a word", fieldRef("meta", "w"), "", "00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			frame := zeros()
			copy(frame, unhex(tt.in))
			got := through(t, mustLoad(t, base(assign("w", tt.expr))), frame)
			if want := fmt.Sprintf("%032s", tt.want); got[2*atW:2*atS] != want {
				t.Errorf("w = %s, want %s", got[2*atW:2*atS], want)
			}
		})
	}
}

// tree is an expression and its value by plain math/big, as bmv2 computes it.
type tree struct {
	json  object
	value func(fields map[string]*big.Int) *big.Int
	text  string
}

// randomTree makes an expression of the given depth.
func randomTree(random *rand.Rand, depth int) tree {
	if depth == 0 {
		if random.IntN(4) == 0 {
			k := new(big.Int).Lsh(big.NewInt(random.Int64N(1<<20)-1<<19), uint(random.IntN(70)))
			text := fmt.Sprintf("%#x", k)
			return tree{hexstr(text), func(map[string]*big.Int) *big.Int { return k }, text}
		}
		name := []string{"a", "b", "c", "d", "w", "s"}[random.IntN(6)]
		return tree{pkt(name), func(f map[string]*big.Int) *big.Int { return f[name] }, name}
	}
	l, r := randomTree(random, random.IntN(depth)), randomTree(random, random.IntN(depth))
	op := []string{"+", "-", "*", "&", "|", "^", ">>", "<<", "cut", "wrap", "sat", "usat", "<", "~",
		"?"}[random.IntN(15)]
	text := fmt.Sprintf("(%s %s %s)", l.text, op, r.text)
	bits := []int{1, 7, 8, 31, 32, 33, 63, 64, 65, 128}[random.IntN(10)]
	width := hexstr(fmt.Sprintf("%#x", bits))
	switch op {
	case "cut":
		mask := highest(bits, false)
		return tree{infix("&", l.json, hexstr(fmt.Sprintf("%#x", mask))), func(f map[string]*big.Int) *big.Int {
			return new(big.Int).And(l.value(f), mask)
		}, fmt.Sprintf("(%s & %#x)", l.text, mask)}
	case "wrap", "sat", "usat":
		name := map[string]string{"wrap": "two_comp_mod", "sat": "sat_cast", "usat": "usat_cast"}[op]
		lo, hi := lowest(bits, op != "usat"), highest(bits, op != "usat")
		return tree{infix(name, l.json, width), func(f map[string]*big.Int) *big.Int {
			v := new(big.Int).Set(l.value(f))
			if op == "wrap" {
				v.And(v, highest(bits, false))
				if v.Cmp(hi) > 0 {
					v.Sub(v, new(big.Int).Lsh(one, uint(bits)))
				}
				return v
			}
			return larger(lo, smaller(hi, v))
		}, fmt.Sprintf("%s(%s, %d)", name, l.text, bits)}
	case ">>", "<<":
		n := []uint{0, 1, 8, 33, 63, 64, 65, 100}[random.IntN(8)]
		return tree{infix(op, l.json, hexstr(fmt.Sprintf("%#x", n))), func(f map[string]*big.Int) *big.Int {
			if op == ">>" {
				return new(big.Int).Rsh(l.value(f), n)
			}
			return new(big.Int).Lsh(l.value(f), n)
		}, fmt.Sprintf("(%s %s %d)", l.text, op, n)}
	case "<":
		return tree{prefix("b2d", infix("<", l.json, r.json)), func(f map[string]*big.Int) *big.Int {
			if l.value(f).Cmp(r.value(f)) < 0 {
				return one
			}
			return new(big.Int)
		}, text}
	case "~":
		return tree{prefix("~", l.json), func(f map[string]*big.Int) *big.Int { return new(big.Int).Not(l.value(f)) },
			"~" + l.text}
	case "?":
		return tree{choose(infix("==", l.json, r.json), l.json, r.json), func(f map[string]*big.Int) *big.Int {
			if l.value(f).Cmp(r.value(f)) == 0 {
				return l.value(f)
			}
			return r.value(f)
		}, text}
	}
	apply := map[string]func(z, x, y *big.Int) *big.Int{
		"+": (*big.Int).Add, "-": (*big.Int).Sub, "*": (*big.Int).Mul,
		"&": (*big.Int).And, "|": (*big.Int).Or, "^": (*big.Int).Xor,
	}[op]
	return tree{infix(op, l.json, r.json), func(f map[string]*big.Int) *big.Int {
		return apply(new(big.Int), l.value(f), r.value(f))
	}, text}
}

// TestRandomExpressions holds the bounds and the 64-bit paths of the compiler against math/big.
func TestRandomExpressions(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 3))
	for range 1500 {
		x := randomTree(random, 1+random.IntN(5))
		p := mustLoad(t, base(assign("w", x.json)))
		rec := new(recorder)
		r := p.NewRunner(rec)
		for range 8 {
			frame := zeros()
			for i := range frame {
				frame[i] = [...]byte{0, 0xff, 0x80, byte(random.Uint32())}[random.IntN(4)]
			}
			field := func(from, to int) *big.Int { return new(big.Int).SetBytes(frame[from:to]) }
			fields := map[string]*big.Int{
				"a": field(atA, atB), "b": field(atB, atC), "c": field(atC, atD), "d": field(atD, atW),
				"w": field(atW, atS),
				"s": big.NewInt(int64(int8(frame[atS]))),
			}
			want := fmt.Sprintf("%032x", new(big.Int).And(x.value(fields), highest(128, false)))
			rec.frames = nil
			r.Process(1, frame, time.Second)
			if got := rec.frames[0].Frame[2*atW : 2*atS]; got != want {
				t.Fatalf("%s\nof %x\n got %s\nwant %s", x.text, frame, got, want)
			}
		}
	}
}

// Fields of every width at every offset read what was written, and leave their neighbours alone.
func TestFieldPlaces(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 5))
	for bits := 1; bits <= 64; bits++ {
		for lead := range 8 {
			f := &field{bits: bits, word: -1, length: -1, bit: 8 + lead}
			r := &Runner{words: make([]uint64, 1), bytes: make([]byte, 32)}
			for i := range r.bytes {
				r.bytes[i] = byte(random.Uint32())
			}
			before := string(r.bytes)
			old := f.load()(r)
			v := random.Uint64() & ones(bits)
			f.store()(r, v)
			if got := f.load()(r); got != v {
				t.Fatalf("%d bits at bit %d: wrote %x, read %x", bits, lead, v, got)
			}
			buf := make([]byte, (bits+7)/8)
			if f.read(r, buf); toUint64(buf) != v {
				t.Fatalf("%d bits at bit %d: wrote %x, read bytes %x", bits, lead, v, buf)
			}
			f.store()(r, old)
			if string(r.bytes) != before {
				t.Fatalf("%d bits at bit %d: neighbours changed", bits, lead)
			}
		}
	}
}
