package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// action is a compiled action.
type action struct {
	name   string
	id     int
	params []*param
	words  int // of an entry's arguments
	steps  []step
}

// param is one parameter: its place among the words of Runner.args, least significant word first.
type param struct {
	name string
	bits int
	word int
}

func (p *param) words() int { return (p.bits + 63) / 64 }

func (p *param) number(c *compiler) *number {
	i := p.word
	n := &number{min: new(big.Int), max: highest(p.bits, false), param: p,
		low: func(r *Runner) uint64 { return r.args[i] }}
	if p.bits > 64 {
		z, buf, words := c.big(), c.buffer(8*p.words()), p.words()
		n.wide = func(r *Runner) *big.Int {
			b := r.buffers[buf]
			for k := range words {
				putUint64(b[8*(words-1-k):], r.args[i+k])
			}
			return r.big[z].SetBytes(b)
		}
	}
	return n
}

// step is one primitive of an action. Most set a word to what is at hand; a jump returns the index of the next step.
type step struct {
	kind   stepKind
	to     int32 // the word that is set
	from   spot
	value  uint64 // or the index of an argument
	run    func(*Runner)
	jump   func(*Runner) int
	effect *effect            // of run; nil: it may do anything
	holds  func(*Runner) bool // of an assertion, which jumps to the end when it does not hold
}

// effect is what there is to know of a step: the words that it sets, and it does not end the control.
type effect struct{ sets []int }

type stepKind uint8

const (
	runStep stepKind = iota
	jumpStep
	setSpot
	setArgument
	setValue
)

// do runs the action on a packet.
func (a *action) do(r *Runner) {
	steps := a.steps
	for i := 0; i < len(steps); i++ {
		switch s := &steps[i]; s.kind {
		case setSpot:
			r.words[s.to] = s.from.get(r)
		case setArgument:
			r.words[s.to] = r.args[s.value]
		case setValue:
			r.words[s.to] = s.value
		case jumpStep:
			i = s.jump(r) - 1
		default:
			s.run(r)
		}
	}
}

func (c *compiler) compileActions() error {
	locked := c.registersToLock()
	for i, j := range c.doc.Actions {
		where := at("").named("actions", i, j.Name)
		a := &action{name: j.Name, id: j.ID}
		for k, p := range j.RuntimeData {
			if p.Bitwidth < 1 || p.Bitwidth > 65535 {
				return where.member("runtime_data").index(k).errorf("bitwidth must be 1..65535, is %d", p.Bitwidth)
			}
			q := &param{name: p.Name, bits: p.Bitwidth, word: a.words}
			a.words += q.words()
			a.params = append(a.params, q)
		}
		c.params = a.params
		var again repeats
		isJump := func(p primitiveJSON) bool { return strings.HasPrefix(p.Op, "_jump") }
		jumps := slices.ContainsFunc(j.Primitives, isJump)
		for k, p := range j.Primitives {
			s, err := c.primitive(where.member("primitives").index(k), p, k, len(j.Primitives))
			if err != nil {
				return err
			}
			if !jumps { // what stands before a step is done before it
				s = again.instead(c, p, s)
			}
			a.steps = append(a.steps, s)
		}
		c.params = nil
		if locks := locksOf(j, locked); len(locks) > 0 {
			a.steps = []step{{run: underLocks(&action{steps: a.steps}, locks)}}
		}
		if c.actions[a.id] != nil {
			return where.errorf("a second action with id %d", a.id)
		}
		c.actions[a.id] = a
	}
	return nil
}

// repeats knows what an action has computed so far. p4c writes out what is used twice as often as it is used.
type repeats []computed

// What looking for repeats may cost: so many expressions are kept in mind, of so many fields.
const (
	repeatLimit = 32
	readLimit   = 16
)

// computed is a field that holds the value of an expression.
type computed struct {
	expression string
	to         *field
	reads      []*field
}

// instead returns what does the same as a step: where it computes what a field holds already, a copy of that field.
func (a *repeats) instead(c *compiler, p primitiveJSON, s step) step {
	if s.effect == nil {
		*a = nil // nothing is known of what it does
		return s
	}
	var to *field
	if i, ok := resultParameter[p.Op]; p.Op == "assign" || p.Op == "modify_field" {
		to, _ = c.fieldParameter("", p.Parameters[0])
	} else if ok && i >= 0 {
		to, _ = c.fieldParameter("", p.Parameters[i])
	}
	if to == nil {
		return s
	}
	var text bytes.Buffer
	now := computed{to: to}
	if p.Op == "assign" && to.word >= 0 && s.kind == runStep && json.Compact(&text, p.Parameters[1].Value) == nil {
		var fields bool
		if now.reads, fields = c.reads(p.Parameters[1]); fields {
			now.expression = text.String()
		}
	}
	for _, before := range *a {
		if now.expression != "" && before.expression == now.expression && before.to.bits == to.bits && before.to != to {
			s = step{kind: setSpot, to: int32(to.word), from: *before.to.spot(), effect: s.effect}
			break
		}
	}
	*a = slices.DeleteFunc(*a, func(x computed) bool { return x.to == to || slices.Contains(x.reads, to) })
	if now.expression != "" && len(now.reads) <= readLimit && !slices.Contains(now.reads, to) {
		if len(*a) == repeatLimit {
			*a = slices.Delete(*a, 0, 1)
		}
		*a = append(*a, now)
	}
	return s
}

// reads returns the fields that an expression is made of; false when there is something else that may change.
func (c *compiler) reads(v valueJSON) (fields []*field, ok bool) {
	switch v.Type {
	case "field":
		f, err := c.field("", v.Value)
		return []*field{f}, err == nil
	case "hexstr", "bool", "local", "runtime_data":
		return nil, true
	case "expression":
		var op operationJSON
		if json.Unmarshal(v.Value, &op) != nil {
			return nil, false
		}
		operands := []json.RawMessage{op.Left, op.Right, op.Cond}
		if op.Op == "" {
			operands = []json.RawMessage{v.Value}
		}
		for _, raw := range operands {
			if isNull(raw) {
				continue
			}
			var v valueJSON
			if json.Unmarshal(raw, &v) != nil {
				return nil, false
			}
			of, ok := c.reads(v)
			if !ok {
				return nil, false
			}
			fields = append(fields, of...)
		}
		return fields, true
	}
	return nil, false
}

// An action that reads and writes a register does both or neither for any other packet, as bmv2
// holds a register for the length of an action. Registers that no action does both with need no
// lock: their cells are atomic.
func (c *compiler) registersToLock() map[string]*sync.Mutex {
	locked := make(map[string]*sync.Mutex)
	for _, a := range c.doc.Actions {
		reads, writes := registerUse(a)
		for name := range reads {
			if writes[name] && locked[name] == nil {
				locked[name] = new(sync.Mutex)
			}
		}
	}
	return locked
}

func registerUse(a actionJSON) (reads, writes map[string]bool) {
	reads, writes = make(map[string]bool), make(map[string]bool)
	for _, p := range a.Primitives {
		for _, v := range p.Parameters {
			var name string
			if v.Type == "register_array" && json.Unmarshal(v.Value, &name) == nil {
				if p.Op == "register_read" {
					reads[name] = true
				} else {
					writes[name] = true
				}
			}
		}
	}
	return reads, writes
}

func locksOf(a actionJSON, locked map[string]*sync.Mutex) []*sync.Mutex {
	reads, writes := registerUse(a)
	var names []string
	for name := range locked {
		if reads[name] || writes[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names) // one order everywhere: no deadlock
	var locks []*sync.Mutex
	for _, name := range names {
		locks = append(locks, locked[name])
	}
	return locks
}

func underLocks(a *action, locks []*sync.Mutex) func(*Runner) {
	return func(r *Runner) {
		for _, l := range locks {
			l.Lock()
		}
		a.do(r)
		for _, l := range locks {
			l.Unlock()
		}
	}
}

// parameterCounts has the primitives and how many parameters each takes. Compilers of P4-14, and old ones of P4-16, use
// others for what is an assignment today: see olderPrimitives.
var parameterCounts = map[string]int{
	"copy_header": 2, "modify_field": 2, "drop": 0, "assert": 1, "assume": 1, "truncate": 1,
	"assign": 2, "assign_VL": 2, "assign_header": 2, "add_header": 1, "remove_header": 1,
	"mark_to_drop": 1, "count": 2, "execute_meter": 3, "register_read": 3, "register_write": 3,
	"modify_field_with_hash_based_offset": 4, "modify_field_rng_uniform": 3, "generate_digest": 2,
	"exit": 0, "no_op": 0, "log_msg": 2, "_jump": 1, "_jump_if_zero": 2,
}

// resultParameter has the parameter that is set by primitives which set no other field; -1: none.
var resultParameter = map[string]int{
	"count": -1, "register_write": -1, "generate_digest": -1, "no_op": -1, "log_msg": -1,
	"register_read": 0, "modify_field_with_hash_based_offset": 0, "modify_field_rng_uniform": 0, "execute_meter": 2,
}

// primitive compiles call index of count calls.
func (c *compiler) primitive(where at, p primitiveJSON, index, count int) (step, error) {
	if run, err := c.olderPrimitive(where, p); run != nil || err != nil {
		return step{run: run}, err
	}
	want, ok := parameterCounts[p.Op]
	if !ok {
		return step{}, where.errorf("unknown primitive %q", p.Op)
	}
	where = at(string(where) + " " + p.Op)
	if len(p.Parameters) != want {
		return step{}, where.errorf("takes %d parameters, has %d", want, len(p.Parameters))
	}
	switch p.Op {
	case "_jump", "_jump_if_zero":
		jump, err := c.jump(where, p, index, count)
		return step{kind: jumpStep, jump: jump}, err
	case "assert", "assume":
		holds, err := c.assertion(where, p)
		return step{kind: jumpStep, jump: func(r *Runner) int {
			if holds(r) {
				return index + 1
			}
			return count
		}, holds: holds}, err
	case "assign", "modify_field":
		return c.assignment(where.member("parameters"), p)
	}
	s := step{}
	var err error
	s.run, err = c.primitiveRun(where, p)
	if into, ok := resultParameter[p.Op]; ok {
		s.effect = new(effect)
		if into >= 0 && err == nil {
			f, _ := c.fieldParameter(where, p.Parameters[into]) // primitiveRun took it
			s.effect.sets = f.words()
		}
	}
	return s, err
}

// olderPrimitives are those whose result is that of an operation on their other parameters.
var olderPrimitives = map[string]string{
	"add": "+", "subtract": "-", "bit_and": "&", "bit_or": "|", "bit_xor": "^", "shift_left": "<<", "shift_right": ">>",
	"add_to_field": "+", "subtract_from_field": "-",
}

// olderPrimitive compiles an operation with a name of its own; nil when p is none.
func (c *compiler) olderPrimitive(where at, p primitiveJSON) (func(*Runner), error) {
	op, ok := olderPrimitives[p.Op]
	if !ok {
		return nil, nil
	}
	where = at(string(where) + " " + p.Op)
	operands := p.Parameters
	want := 3
	if p.Op == "add_to_field" || p.Op == "subtract_from_field" {
		want = 2
	} else if len(operands) > 0 {
		operands = operands[1:]
	}
	if len(p.Parameters) != want {
		return nil, where.errorf("takes %d parameters, has %d", want, len(p.Parameters))
	}
	where = where.member("parameters")
	dst, err := c.smallOrWideField(where.index(0), p.Parameters[0])
	if err != nil {
		return nil, err
	}
	var n [2]*number
	for i := range n {
		if n[i], err = c.number(where.index(want-2+i), operands[i]); err != nil {
			return nil, err
		}
	}
	return c.assign(dst, c.infix(op, n[0], n[1])), nil
}

// Assertion is an assert or assume of the program. A packet for which it does not hold is dropped there and then; bmv2
// ends as a whole.
type Assertion struct {
	Where  string // in the P4 source when the JSON tells, else in the JSON
	failed atomic.Uint64
	told   atomic.Bool
}

// Failed returns how many packets were dropped for it.
func (a *Assertion) Failed() uint64 { return a.failed.Load() }

// Tell returns true once: who has to say that the assertion failed says it then, and no more.
func (a *Assertion) Tell() bool { return !a.told.Swap(true) }

// assertion compiles the condition of an assert or assume.
func (c *compiler) assertion(where at, p primitiveJSON) (func(*Runner) bool, error) {
	holds, err := c.nonzero(where.member("parameters").index(0), p.Parameters[0])
	if err != nil {
		return nil, err
	}
	a := &Assertion{Where: string(where)}
	if s := p.SourceInfo; s.Filename != "" {
		a.Where = fmt.Sprintf("%s(%d): %s", s.Filename, s.Line, s.Fragment)
	}
	c.program.assertions = append(c.program.assertions, a)
	return func(r *Runner) bool {
		if holds(r) {
			return true
		}
		a.failed.Add(1)
		r.failed, r.broken, r.exit = a, true, true
		return false
	}, nil
}

// nonzero compiles a condition that is boolean, or a number other than 0.
func (c *compiler) nonzero(where at, v valueJSON) (func(*Runner) bool, error) {
	e, err := c.expression(where, v)
	switch {
	case err != nil:
		return nil, err
	case e.cond != nil:
		return e.cond.holds, nil
	case e.num != nil:
		return c.compare("!=", e.num, constant(new(big.Int))).holds, nil
	}
	return nil, where.errorf("must be a number")
}

func (c *compiler) jump(where at, p primitiveJSON, index, count int) (func(*Runner) int, error) {
	last := len(p.Parameters) - 1
	to, err := c.number(where.member("parameters").index(last), p.Parameters[last])
	if err != nil {
		return nil, err
	}
	if to.constant == nil || to.constant.Cmp(big.NewInt(int64(index))) <= 0 ||
		to.constant.Cmp(big.NewInt(int64(count))) > 0 {
		return nil, where.errorf("offset must be a constant, %d..%d", index+1, count)
	}
	target := int(to.constant.Int64())
	if p.Op == "_jump" {
		return func(*Runner) int { return target }, nil
	}
	holds, err := c.nonzero(where.member("parameters").index(0), p.Parameters[0])
	if err != nil {
		return nil, err
	}
	return func(r *Runner) int {
		if holds(r) {
			return index + 1
		}
		return target
	}, nil
}

func (c *compiler) primitiveRun(where at, p primitiveJSON) (func(*Runner), error) {
	place := func(i int) at { return where.member("parameters").index(i) }
	switch p.Op {
	case "exit":
		return func(r *Runner) { r.exit = true }, nil
	case "no_op", "log_msg": // bmv2 writes log_msg to its own log; packets do not depend on it
		return func(*Runner) {}, nil
	case "assign_VL":
		dst, err := c.fieldParameter(place(0), p.Parameters[0])
		if err != nil {
			return nil, err
		}
		src, err := c.fieldParameter(place(1), p.Parameters[1])
		if err != nil {
			return nil, err
		}
		if !dst.variable() || !src.variable() {
			return nil, where.errorf("needs two variable fields")
		}
		return func(r *Runner) { assignVariable(r, dst, src) }, nil
	case "assign_header", "copy_header":
		dst, err := c.headerParameter(place(0), p.Parameters[0])
		if err != nil {
			return nil, err
		}
		e, err := c.expression(place(1), p.Parameters[1])
		switch {
		case err != nil:
			return nil, err
		case e.head == nil:
			return nil, place(1).errorf("must be a header")
		case e.head.kind != dst.kind:
			return nil, where.errorf("header %s is a %s, and what is copied to it is a %s",
				dst.name, dst.kind.name, e.head.kind.name)
		}
		if src := e.head.same; src != nil {
			return func(r *Runner) { dst.assign(r, src) }, nil
		}
		src := e.head.now
		return func(r *Runner) { dst.assign(r, src(r)) }, nil
	case "add_header":
		h, err := c.headerParameter(place(0), p.Parameters[0])
		if err != nil {
			return nil, err
		}
		return func(r *Runner) {
			if !h.validNow(r) {
				h.zero(r)
				r.words[h.valid.word] = 1
				r.length += h.length(r)
			}
		}, nil
	case "remove_header":
		h, err := c.headerParameter(place(0), p.Parameters[0])
		if err != nil {
			return nil, err
		}
		return func(r *Runner) {
			if h.validNow(r) {
				r.words[h.valid.word] = 0
				r.length -= h.length(r)
			}
		}, nil
	case "mark_to_drop":
		h, err := c.headerParameter(place(0), p.Parameters[0])
		if err != nil {
			return nil, err
		}
		spec := h.byName["egress_spec"]
		if spec == nil {
			return nil, where.errorf("header %s has no field egress_spec", h.name)
		}
		return c.drop(spec, h.byName["mcast_grp"]), nil
	case "drop":
		return c.drop(c.target("standard_metadata", "egress_spec"), c.target("intrinsic_metadata", "mcast_grp")), nil
	case "truncate":
		n, err := c.number(place(0), p.Parameters[0])
		if err != nil {
			return nil, err
		}
		length := n.index(c)
		return func(r *Runner) { r.longest = min(r.longest, length(r)) }, nil
	case "count":
		return c.count(where, p)
	case "execute_meter":
		return c.executeMeter(where, p)
	case "register_read", "register_write":
		return c.registerAccess(where, p)
	case "modify_field_with_hash_based_offset":
		return c.hashPrimitive(where, p)
	case "modify_field_rng_uniform":
		return c.random(where, p)
	}
	return c.digestPrimitive(where, p) // generate_digest
}

// drop makes the port that of dropped packets and takes the packet out of its group, where there are groups.
func (c *compiler) drop(spec, group *field) func(*Runner) {
	drop := c.assign(spec, constant(big.NewInt(dropPort)))
	if group == nil {
		return drop
	}
	noGroup := c.assign(group, constant(new(big.Int)))
	return func(r *Runner) { drop(r); noGroup(r) }
}

func (c *compiler) fieldParameter(where at, v valueJSON) (*field, error) {
	if v.Type != "field" {
		return nil, where.errorf("must be a field, is %q", v.Type)
	}
	return c.field(where, v.Value)
}

func (c *compiler) smallOrWideField(where at, v valueJSON) (*field, error) {
	f, err := c.fieldParameter(where, v)
	if err == nil && f.variable() {
		err = where.errorf("variable field %s cannot be assigned a number", f.name)
	}
	return f, err
}

func (c *compiler) headerParameter(where at, v valueJSON) (*header, error) {
	if v.Type != "header" {
		return nil, where.errorf("must be a header, is %q", v.Type)
	}
	return c.header(where, v.Value)
}

// assignment compiles the assignment of a number to a field.
func (c *compiler) assignment(where at, p primitiveJSON) (step, error) {
	dst, err := c.smallOrWideField(where.index(0), p.Parameters[0])
	if err != nil {
		return step{}, err
	}
	src, err := c.number(where.index(1), p.Parameters[1])
	if err != nil {
		return step{}, err
	}
	s := step{run: c.assign(dst, src), to: int32(dst.word), effect: &effect{dst.words()}}
	switch k := src.constant; {
	case dst.word < 0:
	case k != nil:
		s.kind, s.value = setValue, low64(k)&ones(dst.bits)
	case !src.fits(dst.bits):
	case src.spot != nil:
		s.kind, s.from = setSpot, *src.spot
	case src.param != nil:
		s.kind, s.value = setArgument, uint64(src.param.word)
	}
	return s, nil
}

// assign stores a number in a field, cut to its width.
func (c *compiler) assign(dst *field, src *number) func(*Runner) {
	if !dst.small() {
		return c.assignWide(dst, src)
	}
	store, low := dst.store(), src.low
	if !src.fits(dst.bits) {
		cut, mask := low, ones(dst.bits)
		low = func(r *Runner) uint64 { return cut(r) & mask }
	}
	if i := dst.word; i >= 0 {
		return func(r *Runner) { r.words[i] = low(r) }
	}
	return func(r *Runner) { store(r, low(r)) }
}

func (c *compiler) assignWide(dst *field, src *number) func(*Runner) {
	value := c.bytesOf(src, dst.bits)
	return func(r *Runner) { dst.write(r, value(r)) }
}

// bytesOf returns the low bits of a number, big endian in ceil(bits/8) bytes, in a buffer of the Runner.
func (c *compiler) bytesOf(n *number, bits int) func(*Runner) []byte {
	wide, z, buf := n.whole(c), c.big(), c.buffer((bits+7)/8)
	mask := highest(bits, false)
	return func(r *Runner) []byte {
		v := wide(r)
		if v.Sign() < 0 || v.BitLen() > bits {
			v = r.big[z].And(v, mask)
		}
		return v.FillBytes(r.buffers[buf])
	}
}

func (c *compiler) name(where at, v valueJSON, kind string) (string, error) {
	var name string
	if v.Type != kind {
		return "", where.errorf("must be a %s, is %q", kind, v.Type)
	}
	return name, decode(where, v.Value, &name)
}

func (c *compiler) count(where at, p primitiveJSON) (func(*Runner), error) {
	where = where.member("parameters")
	name, err := c.name(where.index(0), p.Parameters[0], "counter_array")
	if err != nil {
		return nil, err
	}
	counter := c.program.counters[name]
	if counter == nil {
		return nil, where.index(0).errorf("no counter %q", name)
	}
	n, err := c.number(where.index(1), p.Parameters[1])
	if err != nil {
		return nil, err
	}
	index := n.index(c)
	return func(r *Runner) { counter.add(index(r), r.received) }, nil
}

func (c *compiler) registerAccess(where at, p primitiveJSON) (func(*Runner), error) {
	where = where.member("parameters")
	read := p.Op == "register_read"
	arrayAt, indexAt, valueAt := 0, 1, 2
	if read {
		arrayAt, indexAt, valueAt = 1, 2, 0
	}
	name, err := c.name(where.index(arrayAt), p.Parameters[arrayAt], "register_array")
	if err != nil {
		return nil, err
	}
	reg := c.program.registers[name]
	if reg == nil {
		return nil, where.index(arrayAt).errorf("no register %q", name)
	}
	n, err := c.number(where.index(indexAt), p.Parameters[indexAt])
	if err != nil {
		return nil, err
	}
	index := n.index(c)
	if !read {
		v, err := c.number(where.index(valueAt), p.Parameters[valueAt])
		if err != nil {
			return nil, err
		}
		if reg.bits > 64 {
			value := c.bytesOf(v, reg.bits)
			return func(r *Runner) { reg.storeWide(index(r), value(r)) }, nil
		}
		value := v.low
		return func(r *Runner) { reg.store(index(r), value(r)) }, nil
	}
	dst, err := c.smallOrWideField(where.index(valueAt), p.Parameters[valueAt])
	if err != nil {
		return nil, err
	}
	cell := &number{min: new(big.Int), max: highest(reg.bits, false), low: func(r *Runner) uint64 { return r.cell }}
	if reg.bits > 64 {
		z, buf := c.big(), c.buffer((reg.bits+7)/8)
		cell.wide = func(r *Runner) *big.Int { return r.big[z].SetBytes(r.buffers[buf]) }
		cell.low = func(r *Runner) uint64 { return low64(cell.wide(r)) }
		set := c.assign(dst, cell)
		return func(r *Runner) {
			if reg.loadWide(index(r), r.buffers[buf]) {
				set(r)
			}
		}, nil
	}
	set := c.assign(dst, cell)
	return func(r *Runner) {
		if v, ok := reg.load(index(r)); ok {
			r.cell = v
			set(r)
		}
	}, nil
}

func (c *compiler) random(where at, p primitiveJSON) (func(*Runner), error) {
	where = where.member("parameters")
	dst, err := c.smallOrWideField(where.index(0), p.Parameters[0])
	if err != nil {
		return nil, err
	}
	lo, err := c.number(where.index(1), p.Parameters[1])
	if err != nil {
		return nil, err
	}
	hi, err := c.number(where.index(2), p.Parameters[2])
	if err != nil {
		return nil, err
	}
	drawn := &number{min: new(big.Int), max: maxUint64, low: func(r *Runner) uint64 {
		a, b := lo.low(r), hi.low(r)
		if b < a || b-a == ^uint64(0) {
			return a
		}
		return a + r.random.Uint64N(b-a+1)
	}}
	return c.assign(dst, drawn), nil
}

func (c *compiler) digestPrimitive(where at, p primitiveJSON) (func(*Runner), error) {
	where = where.member("parameters").index(1)
	n, err := c.number(where, p.Parameters[1])
	if err != nil {
		return nil, err
	}
	if n.constant == nil || !n.constant.IsInt64() || c.digests[int(n.constant.Int64())] == nil {
		return nil, where.errorf("must be the id of a learn list")
	}
	d := c.digests[int(n.constant.Int64())]
	return func(r *Runner) { r.learn = d }, nil
}

// digest is a compiled learn list.
type digest struct {
	name    string
	fields  []*field
	headers []*header // of each field
	index   int       // among the digests of a Runner
}

func (c *compiler) compileDigests() error {
	for i, j := range c.doc.LearnLists {
		where := at("").named("learn_lists", i, j.Name)
		d := &digest{name: j.Name, index: i}
		for k, e := range j.Elements {
			f, err := c.smallOrWideField(where.member("elements").index(k), e)
			if err != nil {
				return err
			}
			d.fields, d.headers = append(d.fields, f), append(d.headers, c.owner(e.Value))
		}
		if c.digests[j.ID] != nil {
			return where.errorf("a second learn list with id %d", j.ID)
		}
		c.digests[j.ID] = d
		c.digestList = append(c.digestList, d)
		c.program.digests[j.ID] = d.name
	}
	return nil
}
