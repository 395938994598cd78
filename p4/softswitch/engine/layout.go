package engine

import (
	"encoding/binary"
	"encoding/json"
	"math/big"
)

// The scratch of a packet is two flat areas. Metadata of up to 64 bits takes a word each, so do the
// validity bits and the lengths of variable fields. Headers keep their wire format in bytes, and fields
// are read and written in place. The bytes begin with a home for each header, and the frame follows.
// A word says where each header is: at home, or, once the parser has taken it, in the frame, so that
// nothing is copied to extract it, nor to emit it while what stands before and behind it does so in the
// frame too. A header with a variable field is copied home. Metadata wider than 64 bits lives there too.

// field is one field of one header instance, or a header's validity bit.
type field struct {
	name   string // "ipv4.dst"
	bits   int    // width; of a variable field, the largest it can be
	signed bool
	word   int // index in Runner.words, -1 when the field lives in bytes
	at     int // word with the offset of the header in Runner.bytes, when the field lives there
	bit    int // offset in bits from there
	length int // word with the current length in bytes, of a variable field; else -1
}

// header is one header or metadata instance.
type header struct {
	name     string
	kind     *headerType
	metadata bool // always valid, never on the wire
	valid    field
	fields   []*field
	byName   map[string]*field

	word, words int    // metadata: its words
	at          int    // word with the offset of its bytes
	home        int    // that offset, unless it is in the frame
	size        int    // of its bytes, without a variable field
	bit         uint64 // in Runner.taken; 0: the program has too many headers
	variable    *field
	before      int // bytes of the header before the variable field
}

type headerType struct {
	name   string
	fields []fieldType
	max    int // largest size in bytes of a header with a variable field
}

type fieldType struct {
	name   string
	bits   int // -1: variable
	signed bool
}

// padding after the bytes, so that eight bytes can be loaded at any field.
const padding = 16

func (c *compiler) layout() error {
	types := make(map[string]*headerType)
	for i, j := range c.doc.HeaderTypes {
		where := at("").named("header_types", i, j.Name)
		t := &headerType{name: j.Name, max: j.MaxLength}
		for k, f := range j.Fields {
			where := where.member("fields").index(k)
			ft, err := readFieldType(where, f)
			if err != nil {
				return err
			}
			if ft.bits < 0 {
				if !isNull(j.LengthExp) {
					return where.errorf("variable field with length_exp is not supported")
				}
				if t.max <= 0 || t.max > 65535 {
					return where.errorf("variable field in a header whose max_length is %d", t.max)
				}
			}
			t.fields = append(t.fields, ft)
		}
		types[t.name] = t
		c.program.headerTypes = append(c.program.headerTypes, t)
	}
	for i, j := range c.doc.Headers {
		where := at("").named("headers", i, j.Name)
		t := types[j.HeaderType]
		if t == nil {
			return where.errorf("no header type %q", j.HeaderType)
		}
		if err := c.addHeader(where, j.Name, t, j.Metadata); err != nil {
			return err
		}
	}
	for i, alias := range c.doc.FieldAliases {
		where := at("field_aliases").index(i)
		if len(alias) != 2 {
			return where.errorf("must have 2 elements, has %d", len(alias))
		}
		var name string
		if err := decode(where, alias[0], &name); err != nil {
			return err
		}
		f, err := c.field(where, alias[1])
		if err != nil {
			return err
		}
		c.aliases[name] = f
	}
	return nil
}

func readFieldType(where at, tuple []json.RawMessage) (fieldType, error) {
	var f fieldType
	if len(tuple) < 2 {
		return f, where.errorf("must have a name and a width")
	}
	if err := decode(where, tuple[0], &f.name); err != nil {
		return f, err
	}
	if string(tuple[1]) == `"*"` {
		f.bits = -1
	} else if err := decode(where, tuple[1], &f.bits); err != nil {
		return f, err
	} else if f.bits < 1 || f.bits > 65535 {
		return f, where.errorf("width must be 1..65535, is %d", f.bits)
	}
	var signed, saturating boolJSON
	for i, into := range []*boolJSON{&signed, &saturating} {
		if len(tuple) > 2+i {
			if err := decode(where.index(2+i), tuple[2+i], into); err != nil {
				return f, err
			}
		}
	}
	if saturating {
		return f, where.errorf("saturating field %s is not supported", f.name)
	}
	f.signed = bool(signed)
	return f, nil
}

func (c *compiler) newWord() int {
	c.words++
	return c.words - 1
}

func (c *compiler) addHeader(where at, name string, t *headerType, metadata bool) error {
	h := &header{name: name, kind: t, metadata: metadata, byName: make(map[string]*field)}
	h.valid = field{name: name + ".$valid$", bits: 1, word: c.newWord(), length: -1}
	h.at, h.home = c.newWord(), c.bytes
	h.word = c.words
	bit := 0
	for _, ft := range t.fields {
		f := &field{name: name + "." + ft.name, bits: ft.bits, signed: ft.signed, word: -1, length: -1, at: h.at}
		switch {
		case ft.bits < 0:
			if h.variable != nil || bit%8 != 0 {
				return where.errorf("variable field %s must be the only one, on a byte boundary", f.name)
			}
			h.variable, h.before = f, bit/8
			f.length = c.newWord()
		case metadata && ft.bits <= 64:
			f.word = c.newWord()
		case metadata: // wide: on its own bytes
			bit = (bit + 7) / 8 * 8
			f.bit = bit
			bit += ft.bits
		default:
			f.bit = bit
			bit += ft.bits
		}
		h.fields = append(h.fields, f)
		h.byName[ft.name] = f
	}
	if !metadata && bit%8 != 0 {
		return where.errorf("is %d bits wide, must be a multiple of 8", bit)
	}
	h.words = c.words - h.word
	h.size = (bit + 7) / 8
	c.bytes += h.size
	if h.variable != nil {
		room := t.max - h.size
		if room < 0 {
			return where.errorf("max_length %d is less than its %d fixed bytes", t.max, h.size)
		}
		h.variable.bits, h.variable.bit = room*8, h.size*8
		c.bytes += room
	}
	if c.headers[name] != nil {
		return where.errorf("a second header of that name")
	}
	if !metadata {
		h.bit = 1 << c.wireHeaders // 0 after 64
		c.wireHeaders++
	}
	c.headers[name] = h
	return nil
}

// header finds a header instance.
func (c *compiler) header(where at, raw json.RawMessage) (*header, error) {
	var name string
	if err := decode(where, raw, &name); err != nil {
		return nil, err
	}
	h := c.headers[name]
	if h == nil {
		return nil, where.errorf("no header %q", name)
	}
	return h, nil
}

// field finds a field by its 2-tuple, hidden fields included.
func (c *compiler) field(where at, raw json.RawMessage) (*field, error) {
	var ref []string
	if err := decode(where, raw, &ref); err != nil {
		return nil, err
	}
	if len(ref) != 2 {
		return nil, where.errorf("field reference must be [header, field], has %d elements", len(ref))
	}
	h := c.headers[ref[0]]
	if h == nil {
		return nil, where.errorf("no header %q", ref[0])
	}
	if ref[1] == "$valid$" {
		return &h.valid, nil
	}
	f := h.byName[ref[1]]
	if f == nil {
		return nil, where.errorf("header %s has no field %q", ref[0], ref[1])
	}
	return f, nil
}

// target finds a field by the name that simple_switch knows it by, nil when the program lacks it.
func (c *compiler) target(header, name string) *field {
	if f := c.aliases[header+"."+name]; f != nil {
		return f
	}
	for _, h := range []string{header, "standard_metadata"} {
		if h := c.headers[h]; h != nil {
			if f := h.byName[name]; f != nil {
				return f
			}
		}
	}
	return nil
}

func (f *field) variable() bool { return f.length >= 0 }
func (f *field) small() bool    { return f.bits <= 64 && !f.variable() }

func ones(bits int) uint64 { return ^uint64(0) >> (64 - bits) }

// words returns the word that the field is, none for one that lives in bytes.
func (f *field) words() []int {
	if f.word < 0 {
		return nil
	}
	return []int{f.word}
}

// base is where the bytes of the field's header begin.
func (f *field) base(r *Runner) int { return int(r.words[f.at]) }

// varying returns the bytes that a variable field has.
func (f *field) varying(r *Runner) []byte {
	from := f.base(r) + f.bit/8
	return r.bytes[from : from+int(r.words[f.length])]
}

// spot is where an unsigned operand of up to 64 bits stands: it is a word, or eight bytes of a header, shifted.
type spot struct {
	word       int32 // itself, or the offset of the header
	offset     int32 // in bytes from there
	inBytes    bool
	left, down uint8 // shifts, which leave the operand's bits
}

func (s *spot) get(r *Runner) uint64 {
	v := r.words[s.word]
	if s.inBytes {
		v = binary.BigEndian.Uint64(r.bytes[int(v)+int(s.offset):])
	}
	return v << (s.left & 63) >> (s.down & 63)
}

// whole says whether the operand is a word as it is.
func (s *spot) whole() bool { return !s.inBytes && s.down == 0 }

// bits returns where the n bits of the operand are that end above its lowest ones; there must be as many.
func (s spot) bits(above, n int) spot {
	s.down += uint8(above)
	cut := 64 - int(s.down) - n
	s.left += uint8(cut)
	s.down += uint8(cut)
	return s
}

// keySpots is a key of up to 64 bits that is put together of spots, the one in its lowest bits first.
type keySpots struct {
	first spot
	rest  []shiftedSpot
}

// shiftedSpot is a part of a key that does not begin at its lowest bit.
type shiftedSpot struct {
	spot
	up uint8
}

// add puts a spot into the key, bits up.
func (k *keySpots) add(s spot, up int) {
	if up == 0 {
		k.first = s
	} else {
		k.rest = append(k.rest, shiftedSpot{s, uint8(up)})
	}
}

func (k *keySpots) get(r *Runner) uint64 {
	key := k.first.get(r)
	for i := range k.rest {
		key |= k.rest[i].get(r) << (k.rest[i].up & 63)
	}
	return key
}

// spot returns where the field is; nil when it is not in one place of 64 bits.
func (f *field) spot() *spot {
	lead := f.bit % 8
	switch {
	case f.word >= 0:
		return &spot{word: int32(f.word)}
	case lead+f.bits > 64:
		return nil
	}
	return &spot{
		word: int32(f.at), offset: int32(f.bit / 8), inBytes: true,
		left: uint8(lead), down: uint8(64 - f.bits),
	}
}

// load returns the field's bits, for a small field.
func (f *field) load() func(*Runner) uint64 {
	if s := f.spot(); s != nil {
		return s.load()
	}
	at, i, lead, down := f.at, f.bit/8, f.bit%8, 64-f.bits
	return func(r *Runner) uint64 {
		b := r.bytes[int(r.words[at])+i:][:9]
		return (binary.BigEndian.Uint64(b)<<lead | uint64(b[8])>>(8-lead)) >> down
	}
}

func (s spot) load() func(*Runner) uint64 {
	if i := s.word; s.whole() {
		return func(r *Runner) uint64 { return r.words[i] }
	}
	return func(r *Runner) uint64 { return s.get(r) }
}

// store sets the bits of a small field; the value must not be wider than the field.
func (f *field) store() func(*Runner, uint64) {
	if i := f.word; i >= 0 {
		return func(r *Runner, v uint64) { r.words[i] = v }
	}
	at, i, lead := f.at, f.bit/8, f.bit%8
	if over := lead + f.bits - 64; over > 0 {
		hi, lo := ones(f.bits-over), byte(ones(over)<<(8-over))
		return func(r *Runner, v uint64) {
			b := r.bytes[int(r.words[at])+i:][:9]
			binary.BigEndian.PutUint64(b, binary.BigEndian.Uint64(b)&^hi|v>>over)
			b[8] = b[8]&^lo | byte(v<<(8-over))
		}
	}
	shift := 64 - lead - f.bits
	mask := ones(f.bits) << shift
	return func(r *Runner, v uint64) {
		b := r.bytes[int(r.words[at])+i:][:8]
		binary.BigEndian.PutUint64(b, binary.BigEndian.Uint64(b)&^mask|v<<(shift&63))
	}
}

// copyBits copies n bits from src at bit from to dst at bit to.
func copyBits(dst []byte, to int, src []byte, from, n int) {
	if to%8 == 0 && from%8 == 0 {
		copy(dst[to/8:to/8+n/8], src[from/8:])
		to, from, n = to+n/8*8, from+n/8*8, n%8
	}
	for ; n > 0; n-- {
		bit := src[from/8] >> (7 - from%8) & 1
		shift := 7 - to%8
		dst[to/8] = dst[to/8]&^(1<<shift) | bit<<shift
		to, from = to+1, from+1
	}
}

// read puts the value of a field of any width into buf, big endian in ceil(bits/8) bytes.
func (f *field) read(r *Runner, buf []byte) {
	if f.word >= 0 {
		v := r.words[f.word]
		for i := len(buf) - 1; i >= 0; i-- {
			buf[i] = byte(v)
			v >>= 8
		}
		return
	}
	if len(buf) > 0 {
		buf[0] = 0
	}
	copyBits(buf, len(buf)*8-f.bits, r.bytes, f.base(r)*8+f.bit, f.bits)
}

// write sets a field of any width from buf, big endian in ceil(bits/8) bytes.
func (f *field) write(r *Runner, buf []byte) {
	copyBits(r.bytes, f.base(r)*8+f.bit, buf, len(buf)*8-f.bits, f.bits)
}

// number is the field as an operand.
func (f *field) number(c *compiler) *number {
	if !f.small() {
		buf, z := c.buffer((f.bits+7)/8), c.big()
		wide := func(r *Runner) *big.Int {
			f.read(r, r.buffers[buf])
			v := r.big[z].SetBytes(r.buffers[buf])
			if f.signed && v.Bit(f.bits-1) == 1 {
				v.Sub(v, r.big[z+1].Lsh(one, uint(f.bits)))
			}
			return v
		}
		c.big() // z+1
		return &number{min: lowest(f.bits, f.signed), max: highest(f.bits, f.signed), wide: wide,
			low: func(r *Runner) uint64 { return low64(wide(r)) }}
	}
	n := &number{min: lowest(f.bits, f.signed), max: highest(f.bits, f.signed), low: f.load()}
	if f.signed {
		raw, up := n.low, 64-f.bits
		n.low = func(r *Runner) uint64 { return uint64(int64(raw(r)<<up) >> up) }
	} else {
		n.spot = f.spot()
	}
	return n
}
