package engine

import (
	"bytes"
	"encoding/json"
	"math/big"
)

// parseState is a state of the parser.
type parseState struct {
	name string
	ops  []parserOp
	key  []selectPart

	// Instead of key, when it is of fields, and of up to 64 bits, as it mostly is.
	spots *keySpots

	// One of the two, by the size of the key: up to 64 bits, and more.
	cases  []parseCase
	long   []longCase
	buffer int // of the Runner, for a long key

	otherwise *parseState // nil: accept
}

// selectPart is one part of a transition key. Both functions return false when the packet is too short.
type selectPart struct {
	bits int
	size int                          // in whole bytes
	spot *spot                        // of a field; nil for others
	load func(*Runner) (uint64, bool) // nil when the part is wider than 64 bits
	fill func(*Runner, []byte) bool   // size bytes, from the right

	signed bool
}

type parseCase struct {
	value, mask uint64
	next        *parseState
}

type longCase struct {
	value, mask []byte
	next        *parseState
}

// parserOp is one operation: what run does, which ends parsing when it returns false, with the error in
// Runner.parserError. Most operations extract a header of fixed size: they have no run.
type parserOp struct {
	header *header // that is extracted; nil: none
	run    func(*Runner) bool
}

// maxStates bounds the states that one packet visits: a parser may loop without extracting.
const maxStates = 4096

// parse runs the parser. What was extracted before an error stays.
func (r *Runner) parse() {
	state := r.program.start
	r.taken = 0
	for visits := 0; state != nil; visits++ {
		if visits == maxStates {
			r.parserError = r.program.errors.timeout
			return
		}
		for i := range state.ops {
			op := &state.ops[i]
			h := op.header
			if op.run == nil {
				if len(r.frame)-r.parsed < h.size {
					r.parserError = r.program.errors.tooShort
					return
				}
				r.words[h.valid.word] = 1
				r.words[h.at] = uint64(r.program.home + r.parsed)
				r.parsed += h.size
			} else if !op.run(r) {
				return
			}
			if h != nil {
				r.taken |= h.bit
			}
		}
		switch {
		case len(state.cases) > 0:
			var key uint64
			if state.spots != nil {
				if key = state.spots.first.get(r); len(state.spots.rest) > 0 {
					key = state.spots.get(r)
				}
			} else {
				var ok bool
				if key, ok = state.keyOf(r); !ok {
					r.parserError = r.program.errors.tooShort
					return
				}
			}
			next := state.otherwise
			for i := range state.cases {
				if c := &state.cases[i]; key&c.mask == c.value {
					next = c.next
					break
				}
			}
			state = next
		case len(state.long) > 0:
			var ok bool
			if state, ok = state.chooseLong(r); !ok {
				r.parserError = r.program.errors.tooShort
				return
			}
		default:
			state = state.otherwise
		}
	}
}

// keyOf reads a key of up to 64 bits.
func (s *parseState) keyOf(r *Runner) (uint64, bool) {
	var key uint64
	for i := range s.key {
		part := &s.key[i]
		v, ok := part.load(r)
		if !ok {
			return 0, false
		}
		key = key<<(8*part.size) | v
	}
	return key, true
}

func (s *parseState) chooseLong(r *Runner) (*parseState, bool) {
	key := r.buffers[s.buffer][:0]
	for i := range s.key {
		part := &s.key[i]
		key = key[:len(key)+part.size]
		if !part.fill(r, key[len(key)-part.size:]) {
			return nil, false
		}
	}
	for i := range s.long {
		if c := &s.long[i]; matchBytes(key, c.value, c.mask) {
			return c.next, true
		}
	}
	return s.otherwise, true
}

func matchBytes(b, value, mask []byte) bool {
	for i, x := range b {
		if x&mask[i] != value[i] {
			return false
		}
	}
	return true
}

// parserErrors are the values of v1model's parser errors in this program.
type parserErrors struct {
	none, tooShort, headerTooShort, timeout, invalidArgument uint64
}

func (c *compiler) readErrors() error {
	e := &c.program.errors
	by := map[string]*uint64{
		"NoError": &e.none, "PacketTooShort": &e.tooShort, "HeaderTooShort": &e.headerTooShort,
		"ParserTimeout": &e.timeout, "ParserInvalidArgument": &e.invalidArgument,
	}
	// As core.p4 numbers them, when the program does not say.
	*e = parserErrors{none: 0, tooShort: 1, headerTooShort: 4, timeout: 5, invalidArgument: 6}
	for i, pair := range c.doc.Errors {
		where := at("errors").index(i)
		if len(pair) != 2 {
			return where.errorf("must be a name and a value")
		}
		name, ok := pair[0].(string)
		value, isNumber := pair[1].(float64)
		if !ok || !isNumber || value < 0 {
			return where.errorf("must be a name and a value")
		}
		if to := by[name]; to != nil {
			*to = uint64(value)
		}
	}
	return nil
}

func (c *compiler) compileParser() error {
	var j *parserJSON
	for i := range c.doc.Parsers {
		if c.doc.Parsers[i].Name == "parser" {
			j = &c.doc.Parsers[i]
		} else {
			return at("").named("parsers", i, c.doc.Parsers[i].Name).errorf(`simple_switch runs a parser called ` +
				`"parser" only`)
		}
	}
	if j == nil {
		return at("parsers").errorf(`there is none called "parser"`)
	}
	where := at("parsers[0] (parser)")
	states := make(map[string]*parseState)
	for i, s := range j.ParseStates {
		if states[s.Name] != nil {
			return where.named(".parse_states", i, s.Name).errorf("a second state of that name")
		}
		states[s.Name] = &parseState{name: s.Name}
	}
	next := func(where at, name *string) (*parseState, error) {
		if name == nil {
			return nil, nil
		}
		if states[*name] == nil {
			return nil, where.errorf("no parse state %q", *name)
		}
		return states[*name], nil
	}
	for i, s := range j.ParseStates {
		where := where.named(".parse_states", i, s.Name)
		state := states[s.Name]
		for k, op := range s.ParserOps {
			f, err := c.parserOp(where.member("parser_ops").index(k), op)
			if err != nil {
				return err
			}
			state.ops = append(state.ops, f)
		}
		if err := c.transitions(where, s, state, next); err != nil {
			return err
		}
	}
	var err error
	c.program.start, err = next(where.member("init_state"), j.InitState)
	return err
}

func (c *compiler) transitions(where at, s parseStateJSON, state *parseState,
	next func(at, *string) (*parseState, error),
) error {
	n := 0
	for k, v := range s.TransitionKey {
		part, err := c.selectPart(where.member("transition_key").index(k), v)
		if err != nil {
			return err
		}
		state.key = append(state.key, part)
		n += part.size
	}
	if n > 8 {
		state.buffer = c.buffer(n)
	}
	if n > 0 && n <= 8 {
		state.spots = selectSpots(state.key)
	}
	for k, t := range s.Transitions {
		where := where.member("transitions").index(k)
		to, err := next(where.member("next_state"), t.NextState)
		if err != nil {
			return err
		}
		kind := t.Type
		if kind == "" { // from a time when there were no types
			kind = "hexstr"
		}
		if kind == "default" || kind == "hexstr" && t.Value != nil && *t.Value == "default" {
			state.otherwise = to
			continue
		}
		if kind != "hexstr" {
			return where.errorf("unknown transition type %q", t.Type)
		}
		if t.Value == nil {
			return where.member("value").errorf("is missing")
		}
		value, err := keyValue(where.member("value"), *t.Value, state.key, n)
		if err != nil {
			return err
		}
		mask := bytes.Repeat([]byte{0xff}, n)
		if t.Mask != nil {
			if mask, err = keyValue(where.member("mask"), *t.Mask, state.key, n); err != nil {
				return err
			}
		}
		for i := range value {
			value[i] &= mask[i]
		}
		if n > 8 {
			state.long = append(state.long, longCase{value, mask, to})
			continue
		}
		state.cases = append(state.cases, parseCase{toUint64(value), toUint64(mask), to})
	}
	return nil
}

// keyValue reads a hexstr that a transition key is compared with, as n bytes. p4c makes it of the values of the parts,
// each shifted to its place, and adds them up: a negative one borrows from the part before it. bmv2 dies of a negative
// sum.
func keyValue(where at, s string, key []selectPart, n int) ([]byte, error) {
	v, err := parseHex(where, s)
	if err != nil || v.Sign() >= 0 {
		return parseHexBytes(where, s, n)
	}
	out := make([]byte, n)
	end := n
	for i := len(key) - 1; i >= 0; i-- {
		part := &key[i]
		low := new(big.Int).And(v, highest(8*part.size, false))
		new(big.Int).And(low, highest(part.bits, false)).FillBytes(out[end-part.size : end])
		if part.signed && low.Bit(8*part.size-1) == 1 {
			low.Sub(low, new(big.Int).Lsh(one, uint(8*part.size)))
		}
		v.Rsh(v.Sub(v, low), uint(8*part.size))
		end -= part.size
	}
	if v.Sign() != 0 {
		return nil, where.errorf("hexstr %s is negative, and its part of the key is not", s)
	}
	return out, nil
}

func toUint64(b []byte) uint64 {
	var v uint64
	for _, x := range b {
		v = v<<8 | uint64(x)
	}
	return v
}

// selectPart compiles one part of a transition key.
func (c *compiler) selectPart(where at, v valueJSON) (selectPart, error) {
	var part selectPart
	switch v.Type {
	case "field":
		f, err := c.field(where, v.Value)
		if err != nil {
			return part, err
		}
		if f.variable() {
			return part, where.errorf("variable field %s cannot be selected on", f.name)
		}
		part.bits, part.size, part.signed = f.bits, (f.bits+7)/8, f.signed
		part.fill = func(r *Runner, b []byte) bool { f.read(r, b); return true }
		if f.small() {
			load := f.load()
			part.spot, part.load = f.spot(), func(r *Runner) (uint64, bool) { return load(r), true }
		}
		return part, nil
	case "lookahead":
		offset, bits, err := lookahead(where, v.Value)
		if err != nil {
			return part, err
		}
		part.bits, part.size = bits, (bits+7)/8
		part.fill = func(r *Runner, b []byte) bool { return r.peekBytes(b, offset, bits) }
		if bits <= 64 {
			part.load = func(r *Runner) (uint64, bool) { return r.peek(offset, bits) }
		}
		return part, nil
	}
	return part, where.errorf("unknown key type %q", v.Type)
}

// selectSpots returns the parts of a key; nil when one of them is not just a spot.
func selectSpots(key []selectPart) *keySpots {
	spots := new(keySpots)
	up := 0
	for i := len(key) - 1; i >= 0; i-- {
		if key[i].spot == nil {
			return nil
		}
		spots.add(*key[i].spot, up)
		up += 8 * key[i].size
	}
	return spots
}

func lookahead(where at, raw json.RawMessage) (offset, bits int, err error) {
	var pair []int
	if err := decode(where, raw, &pair); err != nil {
		return 0, 0, err
	}
	if len(pair) != 2 || pair[0] < 0 || pair[0] > 1<<20 || pair[1] < 1 || pair[1] > 1<<20 {
		return 0, 0, where.errorf("lookahead must be an offset and a width in bits")
	}
	return pair[0], pair[1], nil
}

// peek reads up to 64 bits ahead of the parser.
func (r *Runner) peek(offset, bits int) (uint64, bool) {
	rest := r.frame[r.parsed:]
	if (offset+bits+7)/8 > len(rest) {
		return 0, false
	}
	var v uint64
	for i := offset; i < offset+bits; {
		if i%8 == 0 && offset+bits-i >= 8 {
			v = v<<8 | uint64(rest[i/8])
			i += 8
			continue
		}
		v = v<<1 | uint64(rest[i/8]>>(7-i%8)&1)
		i++
	}
	return v, true
}

// peekBytes reads any number of bits ahead of the parser into b, from the right.
func (r *Runner) peekBytes(b []byte, offset, bits int) bool {
	rest := r.frame[r.parsed:]
	if (offset+bits+7)/8 > len(rest) {
		return false
	}
	b[0] = 0
	copyBits(b, len(b)*8-bits, rest, offset, bits)
	return true
}

var parserOpCounts = map[string]int{
	"extract": 1, "extract_VL": 2, "set": 2, "verify": 2, "advance": 1, "shift": 1, "primitive": 1,
}

func (c *compiler) parserOp(where at, op parserOpJSON) (parserOp, error) {
	want, ok := parserOpCounts[op.Op]
	if !ok {
		return parserOp{}, where.errorf("unknown parser operation %q", op.Op)
	}
	where = at(string(where) + " " + op.Op)
	if len(op.Parameters) != want {
		return parserOp{}, where.errorf("takes %d parameters, has %d", want, len(op.Parameters))
	}
	errors := &c.program.errors
	switch op.Op {
	case "shift":
		var n int
		if err := decode(where, op.Parameters[0], &n); err != nil {
			return parserOp{}, err
		}
		if n < 0 {
			return parserOp{}, where.errorf("must not be negative")
		}
		return parserOp{run: func(r *Runner) bool { return r.skip(uint64(n)) }}, nil
	case "primitive":
		var p primitiveJSON
		if err := decode(where, op.Parameters[0], &p); err != nil {
			return parserOp{}, err
		}
		s, err := c.primitive(where, p, 0, 1)
		if err != nil {
			return parserOp{}, err
		}
		if s.holds != nil {
			return parserOp{run: s.holds}, nil
		}
		if s.jump != nil {
			return parserOp{}, where.errorf("jump outside an action")
		}
		if s.effect == nil {
			c.parserHides = true
		} else {
			for _, word := range s.effect.sets {
				c.parserSets[word] = true
			}
		}
		a := &action{steps: []step{s}}
		return parserOp{run: func(r *Runner) bool { a.do(r); return true }}, nil
	}
	params := make([]valueJSON, len(op.Parameters))
	for i, raw := range op.Parameters {
		if err := decode(where.member("parameters").index(i), raw, &params[i]); err != nil {
			return parserOp{}, err
		}
	}
	where = where.member("parameters")
	switch op.Op {
	case "extract", "extract_VL":
		return c.extract(where, params)
	case "set":
		run, err := c.set(where, params)
		return parserOp{run: run}, err
	case "verify":
		cond, err := c.boolean(where.index(0), params[0])
		if err != nil {
			return parserOp{}, err
		}
		holds := cond.holds
		code, err := c.number(where.index(1), params[1])
		if err != nil {
			return parserOp{}, err
		}
		return parserOp{run: func(r *Runner) bool {
			if holds(r) {
				return true
			}
			r.parserError = code.low(r)
			return false
		}}, nil
	}
	by, err := c.number(where.index(0), params[0]) // advance
	if err != nil {
		return parserOp{}, err
	}
	amount := by.index(c)
	return parserOp{run: func(r *Runner) bool {
		n := amount(r)
		if n%8 != 0 {
			r.parserError = errors.invalidArgument
			return false
		}
		return r.skip(n / 8)
	}}, nil
}

func (r *Runner) skip(n uint64) bool {
	if uint64(len(r.frame)-r.parsed) < n {
		r.parserError = r.program.errors.tooShort
		return false
	}
	r.parsed += int(n)
	return true
}

func (c *compiler) extract(where at, params []valueJSON) (parserOp, error) {
	if params[0].Type != "regular" {
		return parserOp{}, where.index(0).errorf("unknown extract type %q", params[0].Type)
	}
	h, err := c.header(where.index(0), params[0].Value)
	if err != nil {
		return parserOp{}, err
	}
	if h.metadata {
		return parserOp{}, where.index(0).errorf("%s is metadata", h.name)
	}
	if (h.variable != nil) != (len(params) == 2) {
		return parserOp{}, where.index(0).errorf(
			"extract is for headers of fixed size and extract_VL for the others: %s",
			h.name)
	}
	if h.variable == nil {
		return parserOp{header: h}, nil
	}
	n, err := c.number(where.index(1), params[1])
	if err != nil {
		return parserOp{}, err
	}
	length, most := n.index(c), uint64(h.variable.bits/8)
	return parserOp{header: h, run: func(r *Runner) bool {
		bits, rest := length(r), r.frame[r.parsed:]
		errors := &r.program.errors
		switch {
		case bits%8 != 0:
			r.parserError = errors.invalidArgument
			return false
		case bits/8 > uint64(len(rest)) || h.size+int(bits/8) > len(rest):
			r.parserError = errors.tooShort
			return false
		case bits/8 > most:
			r.parserError = errors.headerTooShort
			return false
		}
		h.extractVariable(r, rest, int(bits/8))
		r.parsed += h.size + int(bits/8)
		return true
	}}, nil
}

func (c *compiler) set(where at, params []valueJSON) (func(*Runner) bool, error) {
	dst, err := c.smallOrWideField(where.index(0), params[0])
	if err != nil {
		return nil, err
	}
	if dst.word >= 0 {
		c.parserSets[dst.word] = true
	}
	if params[1].Type != "lookahead" {
		src, err := c.number(where.index(1), params[1])
		if err != nil {
			return nil, err
		}
		assign := c.assign(dst, src)
		return func(r *Runner) bool { assign(r); return true }, nil
	}
	offset, bits, err := lookahead(where.index(1), params[1].Value)
	if err != nil {
		return nil, err
	}
	if bits <= 64 {
		ahead := &number{min: new(big.Int), max: highest(bits, false), low: func(r *Runner) uint64 { return r.cell }}
		assign := c.assign(dst, ahead)
		return func(r *Runner) bool {
			v, ok := r.peek(offset, bits)
			if !ok {
				r.parserError = r.program.errors.tooShort
				return false
			}
			r.cell = v
			assign(r)
			return true
		}, nil
	}
	if dst.bits != bits {
		return nil, where.errorf("lookahead of %d bits into field %s of %d bits", bits, dst.name, dst.bits)
	}
	buf := c.buffer((bits + 7) / 8)
	return func(r *Runner) bool {
		b := r.buffers[buf]
		if !r.peekBytes(b, offset, bits) {
			r.parserError = r.program.errors.tooShort
			return false
		}
		dst.write(r, b)
		return true
	}, nil
}
