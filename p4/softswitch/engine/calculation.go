package engine

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"math/big"
	"math/bits"
	"strings"
)

func putUint64(b []byte, v uint64) { binary.BigEndian.PutUint64(b, v) }

// calculation is a hash over fields. The input is their bits, one behind the other, fields of
// invalid headers left out, the last byte filled with zeros; the payload, if any, starts on a byte.
type calculation struct {
	inputs  []func(*Runner)
	payload bool
	hash    func([]byte) uint64

	// Instead of inputs and hash, for a CRC over metadata of few bytes, see linear.
	parts []linearPart
	zero  uint64
}

// linearPart is a field in the input of a linear calculation. The tables have what each value of each of its bytes
// changes in the result, the last byte first. Calculations of one algorithm share them.
type linearPart struct {
	spot
	tables [][256]uint32
}

var algorithms = map[string]func([]byte) uint64{
	"crc16":        crc16,
	"crc16_custom": crc16, // bmv2's configuration of the custom ones until it is told otherwise
	"crc32":        func(b []byte) uint64 { return uint64(crc32.ChecksumIEEE(b)) },
	"crc32_custom": func(b []byte) uint64 { return uint64(crc32.ChecksumIEEE(b)) },
	"crcCCITT":     crcCCITT,
	"csum16":       csum16,
	"cksum16":      csum16,
	"identity":     identity,
	"xor16":        xor16,
	"xor32":        xor32,
}

// output runs the calculation on the packet as it stands.
func (k *calculation) output(r *Runner) uint64 {
	if k.parts != nil {
		sum := uint32(k.zero)
		for i := range k.parts {
			p := &k.parts[i]
			v := p.get(r)
			for t := range p.tables {
				sum ^= p.tables[t][byte(v)]
				v >>= 8
			}
		}
		return uint64(sum)
	}
	r.input, r.inputBits = r.input[:0], 0
	for _, add := range k.inputs {
		add(r)
	}
	if k.payload {
		r.input = append(r.input, r.frame[r.parsed:]...)
	}
	return k.hash(r.input)
}

// addBits appends the low n bits of v to the input, n up to 64.
func (r *Runner) addBits(v uint64, n int) {
	if r.inputBits%8 == 0 && n%8 == 0 {
		var b [8]byte
		putUint64(b[:], v<<(64-n))
		r.input = append(r.input, b[:n/8]...)
		r.inputBits += n
		return
	}
	for n > 0 {
		if r.inputBits%8 == 0 {
			r.input = append(r.input, 0)
		}
		free := 8 - r.inputBits%8
		take := min(free, n)
		part := byte(v>>(n-take)) & (1<<take - 1)
		r.input[len(r.input)-1] |= part << (free - take)
		r.inputBits += take
		n -= take
	}
}

// addBytes appends a big endian number of n bits that fills b from the right.
func (r *Runner) addBytes(b []byte, n int) {
	if head := n % 8; head != 0 {
		r.addBits(uint64(b[0]), head)
		b = b[1:]
	}
	for _, x := range b {
		r.addBits(uint64(x), 8)
	}
}

func (c *compiler) compileCalculations() error {
	for i, j := range c.doc.Calculations {
		where := at("").named("calculations", i, j.Name)
		hash := algorithms[j.Algo]
		if hash == nil {
			return where.errorf("unknown algorithm %q", j.Algo)
		}
		k := &calculation{hash: hash}
		if strings.HasPrefix(j.Algo, "crc") {
			k.linear(c, j.Algo, j.Input)
		}
		for n, v := range j.Input {
			where := where.member("input").index(n)
			if v.Type == "payload" {
				k.payload = true
				continue
			}
			add, err := c.input(where, v)
			if err != nil {
				return err
			}
			k.inputs = append(k.inputs, add)
		}
		if c.calculations[j.Name] != nil {
			return where.errorf("a second calculation of that name")
		}
		c.calculations[j.Name] = k
	}
	return nil
}

// linearBytes bounds the tables of a linear calculation, 1 KiB for each byte, which are to stay near the processor.
const linearBytes = 16

// linear makes the tables of a CRC whose inputs are metadata of whole bytes, if they are few. For inputs of one length
// it is linear: each byte changes the result by what its value and its distance from the end say, whatever the others
// are, and however many are before it.
func (k *calculation) linear(c *compiler, algorithm string, inputs []valueJSON) {
	var fields []*field
	length := 0
	for _, v := range inputs {
		if v.Type != "field" {
			return
		}
		f, err := c.field("", v.Value)
		if err != nil || f.word < 0 || f.bits%8 != 0 || !c.owner(v.Value).metadata {
			return
		}
		fields = append(fields, f)
		length += f.bits / 8
	}
	if length == 0 || length > linearBytes {
		return
	}
	tables := c.linear[algorithm]
	if tables == nil {
		tables = make([][256]uint32, linearBytes)
		b := make([]byte, linearBytes)
		zero := k.hash(b)
		for t := range tables {
			at := &b[linearBytes-1-t]
			for v := range 256 {
				*at = byte(v)
				tables[t][v] = uint32(k.hash(b) ^ zero)
			}
			*at = 0
		}
		c.linear[algorithm] = tables
	}
	k.zero = k.hash(make([]byte, length))
	for _, f := range fields {
		k.parts = append(k.parts, linearPart{*f.spot(), tables[length-f.bits/8 : length]})
		length -= f.bits / 8
	}
}

func (c *compiler) input(where at, v valueJSON) (func(*Runner), error) {
	switch v.Type {
	case "field":
		f, err := c.field(where, v.Value)
		if err != nil {
			return nil, err
		}
		add := f.input(c)
		h := c.owner(v.Value)
		if h.metadata {
			return add, nil
		}
		return func(r *Runner) {
			if r.words[h.valid.word] != 0 {
				add(r)
			}
		}, nil
	case "header":
		h, err := c.header(where, v.Value)
		if err != nil {
			return nil, err
		}
		var adds []func(*Runner)
		for _, f := range h.fields {
			adds = append(adds, f.input(c))
		}
		return func(r *Runner) {
			if h.validNow(r) {
				for _, add := range adds {
					add(r)
				}
			}
		}, nil
	case "hexstr":
		var s string
		if err := decode(where, v.Value, &s); err != nil {
			return nil, err
		}
		if v.Bitwidth < 1 || v.Bitwidth > 65535 {
			return nil, where.errorf("bitwidth must be 1..65535, is %d", v.Bitwidth)
		}
		k, err := parseHex(where, s)
		if err != nil {
			return nil, err
		}
		if k.Cmp(lowest(v.Bitwidth, true)) < 0 || k.Cmp(highest(v.Bitwidth, false)) > 0 {
			return nil, where.errorf("hexstr %s does not fit %d bits", s, v.Bitwidth)
		}
		// negative: two's complement
		b := k.And(k, highest(v.Bitwidth, false)).FillBytes(make([]byte, (v.Bitwidth+7)/8))
		return func(r *Runner) { r.addBytes(b, v.Bitwidth) }, nil
	case "expression": // what p4c makes of a bool: its field compared with 0. bmv2 refuses it
		var op operationJSON
		var right valueJSON
		if err := decode(where, v.Value, &op); err != nil {
			return nil, err
		}
		if op.Op != "d2b" {
			return nil, where.errorf("an expression must be d2b of a field of one bit")
		}
		if err := decode(where.member("right"), op.Right, &right); err != nil {
			return nil, err
		}
		if f, err := c.fieldParameter(where.member("right"), right); err != nil {
			return nil, err
		} else if f.bits != 1 {
			return nil, where.errorf("an expression must be d2b of a field of one bit")
		}
		return c.input(where.member("right"), right)
	}
	return nil, where.errorf("unknown input type %q", v.Type)
}

// owner is the header of a field reference that field has accepted.
func (c *compiler) owner(raw json.RawMessage) *header {
	var ref []string
	_ = json.Unmarshal(raw, &ref)
	return c.headers[ref[0]]
}

// input returns what appends the field to the input of a calculation.
func (f *field) input(c *compiler) func(*Runner) {
	switch {
	case f.variable():
		return func(r *Runner) {
			b := f.varying(r)
			r.addBytes(b, 8*len(b))
		}
	case f.small():
		load, n := f.load(), f.bits
		return func(r *Runner) { r.addBits(load(r), n) }
	}
	buf := c.buffer((f.bits + 7) / 8)
	return func(r *Runner) {
		f.read(r, r.buffers[buf])
		r.addBytes(r.buffers[buf], f.bits)
	}
}

func (c *compiler) hashPrimitive(where at, p primitiveJSON) (func(*Runner), error) {
	where = where.member("parameters")
	dst, err := c.smallOrWideField(where.index(0), p.Parameters[0])
	if err != nil {
		return nil, err
	}
	base, err := c.number(where.index(1), p.Parameters[1])
	if err != nil {
		return nil, err
	}
	name, err := c.name(where.index(2), p.Parameters[2], "calculation")
	if err != nil {
		return nil, err
	}
	k := c.calculations[name]
	if k == nil {
		return nil, where.index(2).errorf("no calculation %q", name)
	}
	size, err := c.number(where.index(3), p.Parameters[3])
	if err != nil {
		return nil, err
	}
	from, modulus := base.low, size.index(c)
	result := &number{min: new(big.Int), max: maxUint64}
	if m := size.constant; isZero(base) && m != nil && m.IsUint64() && m.Uint64()&(m.Uint64()-1) == 0 {
		mask := max(m.Uint64(), 1) - 1
		result.max = new(big.Int).SetUint64(mask)
		result.low = func(r *Runner) uint64 { return k.output(r) & mask }
		return c.assign(dst, result), nil
	}
	result.low = func(r *Runner) uint64 {
		h := k.output(r)
		if m := modulus(r); m&(m-1) == 0 { // a power of two, or 0, which counts as 1
			h &= max(m, 1) - 1
		} else {
			h %= m
		}
		return h + from(r)
	}
	return c.assign(dst, result), nil
}

var crc16Table, ccittTable = func() (arc, ccitt [256]uint16) {
	for i := range 256 {
		a, b := uint16(i), uint16(i)<<8
		for range 8 {
			if a&1 != 0 {
				a = a>>1 ^ 0xa001
			} else {
				a >>= 1
			}
			if b&0x8000 != 0 {
				b = b<<1 ^ 0x1021
			} else {
				b <<= 1
			}
		}
		arc[i], ccitt[i] = a, b
	}
	return arc, ccitt
}()

// crc16 is CRC-16/ARC: polynomial 0x8005, reflected, initial value 0.
func crc16(b []byte) uint64 {
	var crc uint16
	for _, x := range b {
		crc = crc>>8 ^ crc16Table[byte(crc)^x]
	}
	return uint64(crc)
}

// crcCCITT is CRC-16/CCITT-FALSE: polynomial 0x1021, initial value 0xffff.
func crcCCITT(b []byte) uint64 {
	crc := uint16(0xffff)
	for _, x := range b {
		crc = crc<<8 ^ ccittTable[byte(crc>>8)^x]
	}
	return uint64(crc)
}

// csum16 is the Internet checksum (RFC 1071).
func csum16(b []byte) uint64 {
	var sum, carry uint64
	for ; len(b) >= 8; b = b[8:] {
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b), carry)
	}
	var tail [8]byte
	copy(tail[:], b)
	sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(tail[:]), carry)
	sum, carry = bits.Add64(sum, 0, carry)
	sum += carry
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^sum & 0xffff
}

// identity is the first eight bytes of the input.
func identity(b []byte) uint64 {
	var v uint64
	for _, x := range b[:min(8, len(b))] {
		v = v<<8 | uint64(x)
	}
	return v
}

func xor16(b []byte) uint64 {
	var v uint64
	for i, x := range b {
		v ^= uint64(x) << (8 * (1 - i%2))
	}
	return v
}

func xor32(b []byte) uint64 {
	var v uint64
	for i, x := range b {
		v ^= uint64(x) << (8 * (3 - i%4))
	}
	return v
}
