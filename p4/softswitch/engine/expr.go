package engine

import (
	"bytes"
	"encoding/json"
	"math/big"
)

// bmv2 computes with unbounded integers and cuts a value when it stores it. Here every operand
// carries its bounds, worked out when the program is compiled, and a closure for its low 64 bits:
// sums, products and bitwise operations need no more of their operands. Where the bounds fit 64
// bits, signed or not, those low bits are the value. Only what needs the whole of a wider value
// (comparing, shifting right, dividing) goes through math/big, on integers of the Runner's.
type number struct {
	low      func(*Runner) uint64
	min, max *big.Int // nil: not bounded
	wide     func(*Runner) *big.Int
	constant *big.Int
	spot     *spot  // where it stands; nil for what is computed
	param    *param // the parameter of an action that it is; nil for others
}

// boolean is a compiled truth value. A control that branches on it does so by its parts, see pipeline.branch.
type boolean struct {
	holds func(*Runner) bool

	op    string // and, or, not: of parts; spot: whether two spots are the same; value: whether one is value
	parts [2]*boolean
	spots [2]spot
	value uint64
}

// opaque is a truth value of which nothing but holds is known.
func opaque(holds func(*Runner) bool) *boolean { return &boolean{holds: holds} }

func (b *boolean) not() *boolean {
	holds := b.holds
	return &boolean{holds: func(r *Runner) bool { return !holds(r) }, op: "not", parts: [2]*boolean{b}}
}

// expression is one of the three types that expressions have here.
type expression struct {
	num  *number
	cond *boolean
	head *operandHeader
}

// operandHeader is a header of a known type: always the same one, or, of a choice, the one that now returns.
type operandHeader struct {
	kind *headerType
	same *header // nil: a choice
	now  func(*Runner) *header
}

var one = big.NewInt(1)

func lowest(bits int, signed bool) *big.Int {
	if !signed {
		return new(big.Int)
	}
	v := new(big.Int).Lsh(one, uint(bits-1))
	return v.Neg(v)
}

func highest(bits int, signed bool) *big.Int {
	if signed {
		bits--
	}
	v := new(big.Int).Lsh(one, uint(bits))
	return v.Sub(v, one)
}

var (
	minInt64, maxInt64 = lowest(64, true), highest(64, true)
	maxUint64          = highest(64, false)
)

// low64 returns the low 64 bits of the two's complement of v.
func low64(v *big.Int) uint64 {
	var low uint64
	if w := v.Bits(); len(w) > 0 {
		low = uint64(w[0])
	}
	if v.Sign() < 0 {
		low = -low
	}
	return low
}

func (n *number) bounded() bool { return n.min != nil && n.max != nil }
func (n *number) isInt64() bool {
	return n.bounded() && n.min.Cmp(minInt64) >= 0 && n.max.Cmp(maxInt64) <= 0
}
func (n *number) isUint64() bool {
	return n.bounded() && n.min.Sign() >= 0 && n.max.Cmp(maxUint64) <= 0
}
func (n *number) natural() bool { return n.min != nil && n.min.Sign() >= 0 }

// fits tells whether every value is an unsigned number of that many bits.
func (n *number) fits(bits int) bool {
	return n.bounded() && n.min.Sign() >= 0 && n.max.BitLen() <= bits
}

// whole returns a closure for the whole value.
func (n *number) whole(c *compiler) func(*Runner) *big.Int {
	switch {
	case n.constant != nil:
		k := n.constant
		return func(*Runner) *big.Int { return k }
	case n.isUint64():
		z, low := c.big(), n.low
		return func(r *Runner) *big.Int { return r.big[z].SetUint64(low(r)) }
	case n.isInt64():
		z, low := c.big(), n.low
		return func(r *Runner) *big.Int { return r.big[z].SetInt64(int64(low(r))) }
	}
	return n.wide
}

// index returns the value as an index: a huge number when it is negative or over 64 bits, as bmv2
// saturates it, so that it is out of the range of any array.
func (n *number) index(c *compiler) func(*Runner) uint64 {
	if n.isUint64() {
		return n.low
	}
	wide := n.whole(c)
	return func(r *Runner) uint64 {
		if v := wide(r); v.IsUint64() {
			return v.Uint64()
		}
		return ^uint64(0)
	}
}

func constant(v *big.Int) *number {
	low := low64(v)
	return &number{low: func(*Runner) uint64 { return low }, min: v, max: v, constant: v}
}

// big reserves an integer in every Runner.
func (c *compiler) big() int {
	c.bigs++
	return c.bigs - 1
}

// buffer reserves n bytes in every Runner.
func (c *compiler) buffer(n int) int {
	c.buffers = append(c.buffers, n)
	return len(c.buffers) - 1
}

// number compiles a value that must be a number.
func (c *compiler) number(where at, v valueJSON) (*number, error) {
	e, err := c.expression(where, v)
	if err != nil {
		return nil, err
	}
	if e.num == nil {
		return nil, where.errorf("must be a number")
	}
	return e.num, nil
}

// boolean compiles a value that must be a truth value.
func (c *compiler) boolean(where at, v valueJSON) (*boolean, error) {
	e, err := c.expression(where, v)
	if err != nil {
		return nil, err
	}
	if e.cond == nil {
		return nil, where.errorf("must be boolean")
	}
	return e.cond, nil
}

func (c *compiler) operand(where at, raw json.RawMessage) (expression, error) {
	var v valueJSON
	if err := decode(where, raw, &v); err != nil {
		return expression{}, err
	}
	return c.expression(where, v)
}

func (c *compiler) expression(where at, v valueJSON) (expression, error) {
	var e expression
	switch v.Type {
	case "field":
		f, err := c.field(where, v.Value)
		if err != nil {
			return e, err
		}
		if f.variable() {
			return e, where.errorf("variable field %s is not a number", f.name)
		}
		e.num = f.number(c)
	case "hexstr":
		var s string
		if err := decode(where, v.Value, &s); err != nil {
			return e, err
		}
		k, err := parseHex(where, s)
		if err != nil {
			return e, err
		}
		e.num = constant(k)
	case "bool":
		var b bool
		if err := decode(where, v.Value, &b); err != nil {
			return e, err
		}
		e.cond = opaque(func(*Runner) bool { return b })
	case "header":
		h, err := c.header(where, v.Value)
		if err != nil {
			return e, err
		}
		e.head = &operandHeader{kind: h.kind, same: h, now: func(*Runner) *header { return h }}
	case "local", "runtime_data":
		var i int
		if err := decode(where, v.Value, &i); err != nil {
			return e, err
		}
		if i < 0 || i >= len(c.params) {
			return e, where.errorf("parameter %d of an action with %d", i, len(c.params))
		}
		e.num = c.params[i].number(c)
	case "expression":
		var op operationJSON
		if err := decode(where, v.Value, &op); err != nil {
			return e, err
		}
		if op.Op == "" { // an expression wrapped in a value
			return c.operand(where, v.Value)
		}
		return c.operation(where, op)
	default:
		return e, where.errorf("unknown value type %q", v.Type)
	}
	return e, nil
}

// operandTypes says what each operation takes: n numbers, b booleans, h header, ? any, _ absent.
var operandTypes = map[string]string{
	"+": "nn", "-": "nn", "*": "nn", "/": "nn", "%": "nn", "<<": "nn", ">>": "nn",
	"&": "nn", "|": "nn", "^": "nn", "~": "_n",
	"==": "??", "!=": "??", "<": "nn", ">": "nn", "<=": "nn", ">=": "nn",
	"and": "bb", "or": "bb", "not": "_b", "valid": "_h", "d2b": "_n", "b2d": "_b",
	"two_comp_mod": "nn", "sat_cast": "nn", "usat_cast": "nn", "?": "??",
}

func (c *compiler) operation(where at, op operationJSON) (expression, error) {
	var e, l, r expression
	types, ok := operandTypes[op.Op]
	if !ok {
		return e, where.errorf("unknown operation %q", op.Op)
	}
	where = at(string(where) + " " + op.Op)
	if op.Op == "==" || op.Op == "!=" {
		a, b := c.variableField(op.Left), c.variableField(op.Right)
		if a != nil && b != nil {
			e.cond = sameVariable(a, b, op.Op == "==")
			return e, nil
		}
	}
	var err error
	switch {
	case (op.Op == "+" || op.Op == "-") && isNull(op.Left): // unary
		l.num = constant(new(big.Int))
	case types[0] != '_':
		if l, err = c.operand(where.member("left"), op.Left); err != nil {
			return e, err
		}
	}
	if r, err = c.operand(where.member("right"), op.Right); err != nil {
		return e, err
	}
	for i, x := range []expression{l, r} {
		ok := true
		switch types[i] {
		case 'n':
			ok = x.num != nil
		case 'b':
			ok = x.cond != nil
		case 'h':
			ok = x.head != nil
		}
		if !ok {
			return e, where.errorf("%s operand has the wrong type", [...]string{"left", "right"}[i])
		}
	}
	switch op.Op {
	case "+", "-", "*", "/", "%", "<<", ">>", "&", "|", "^":
		e.num = c.infix(op.Op, l.num, r.num)
	case "~":
		e.num = c.arithmetic("-", constant(big.NewInt(-1)), r.num) // ~x = -1 - x
	case "<", ">", "<=", ">=":
		e.cond = c.compare(op.Op, l.num, r.num)
	case "==", "!=":
		switch {
		case l.num != nil && r.num != nil:
			e.cond = c.compare(op.Op, l.num, r.num)
		case l.cond != nil && r.cond != nil:
			a, b, want := l.cond.holds, r.cond.holds, op.Op == "=="
			e.cond = opaque(func(r *Runner) bool { return (a(r) == b(r)) == want })
		case l.head != nil && r.head != nil:
			a, b, want := l.head.now, r.head.now, op.Op == "=="
			e.cond = opaque(func(r *Runner) bool { return a(r).equal(r, b(r)) == want })
		default:
			return e, where.errorf("operands have different types")
		}
	case "and":
		a, b := l.cond.holds, r.cond.holds
		e.cond = &boolean{op: op.Op, parts: [2]*boolean{l.cond, r.cond},
			holds: func(r *Runner) bool { return a(r) && b(r) }}
	case "or":
		a, b := l.cond.holds, r.cond.holds
		e.cond = &boolean{op: op.Op, parts: [2]*boolean{l.cond, r.cond},
			holds: func(r *Runner) bool { return a(r) || b(r) }}
	case "not":
		e.cond = r.cond.not()
	case "valid":
		h := r.head.now
		e.cond = opaque(func(r *Runner) bool { return h(r).validNow(r) })
	case "d2b":
		e.cond = c.compare("!=", r.num, constant(new(big.Int)))
	case "b2d":
		b := r.cond.holds
		e.num = &number{min: new(big.Int), max: one, low: func(r *Runner) uint64 {
			if b(r) {
				return 1
			}
			return 0
		}}
	case "two_comp_mod", "sat_cast", "usat_cast":
		w := r.num.constant
		if w == nil || w.Cmp(one) < 0 || w.Cmp(big.NewInt(65535)) > 0 {
			return e, where.errorf("width must be a constant, 1..65535")
		}
		if op.Op == "two_comp_mod" {
			e.num = c.wrap(l.num, int(w.Int64()))
		} else {
			e.num = c.saturate(l.num, int(w.Int64()), op.Op == "sat_cast")
		}
	case "?":
		cond, err := c.operand(where.member("cond"), op.Cond)
		if err != nil {
			return e, err
		}
		if cond.cond == nil {
			return e, where.errorf("cond must be boolean")
		}
		return c.choice(where, cond.cond.holds, l, r)
	}
	return e, nil
}

// variableField returns the field that an operand is, nil when it is anything but a variable field.
func (c *compiler) variableField(raw json.RawMessage) *field {
	var v valueJSON
	if json.Unmarshal(raw, &v) != nil || v.Type != "field" {
		return nil
	}
	f, err := c.field("", v.Value)
	if err != nil || !f.variable() {
		return nil
	}
	return f
}

// sameVariable compares variable fields as bmv2 does, as numbers: leading zeros do not count.
func sameVariable(a, b *field, want bool) *boolean {
	value := func(r *Runner, f *field) []byte { return bytes.TrimLeft(f.varying(r), "\x00") }
	return opaque(func(r *Runner) bool { return bytes.Equal(value(r, a), value(r, b)) == want })
}

// infix compiles an operation on two numbers whose result is one.
func (c *compiler) infix(op string, l, r *number) *number {
	switch op {
	case "/", "%":
		return c.division(op, l, r)
	case "<<":
		return c.shiftLeft(l, r)
	case ">>":
		return c.shiftRight(l, r)
	case "&", "|", "^":
		return c.bitwise(op, l, r)
	}
	return c.arithmetic(op, l, r)
}

func (c *compiler) choice(where at, cond func(*Runner) bool, l, r expression) (expression, error) {
	var e expression
	switch {
	case l.num != nil && r.num != nil:
		n := &number{low: func(x *Runner) uint64 {
			if cond(x) {
				return l.num.low(x)
			}
			return r.num.low(x)
		}}
		if l.num.bounded() && r.num.bounded() {
			n.min, n.max = smaller(l.num.min, r.num.min), larger(l.num.max, r.num.max)
		}
		if !n.isInt64() && !n.isUint64() {
			a, b := l.num.whole(c), r.num.whole(c)
			n.wide = func(x *Runner) *big.Int {
				if cond(x) {
					return a(x)
				}
				return b(x)
			}
		}
		e.num = n
	case l.cond != nil && r.cond != nil:
		a, b := l.cond.holds, r.cond.holds
		e.cond = opaque(func(r *Runner) bool {
			if cond(r) {
				return a(r)
			}
			return b(r)
		})
	case l.head != nil && r.head != nil && l.head.kind == r.head.kind:
		a, b := l.head.now, r.head.now
		e.head = &operandHeader{kind: l.head.kind, now: func(r *Runner) *header {
			if cond(r) {
				return a(r)
			}
			return b(r)
		}}
	default:
		return e, where.errorf("both alternatives must be numbers, both boolean, or both headers of one type")
	}
	return e, nil
}

func smaller(a, b *big.Int) *big.Int {
	if a.Cmp(b) < 0 {
		return a
	}
	return b
}

func larger(a, b *big.Int) *big.Int {
	if a.Cmp(b) > 0 {
		return a
	}
	return b
}

func isZero(n *number) bool { return n.constant != nil && n.constant.Sign() == 0 }

// finish gives n a way to its whole value when 64 bits do not hold it.
func (c *compiler) finish(n, l, r *number, op func(z, x, y *big.Int) *big.Int) *number {
	if !n.isInt64() && !n.isUint64() {
		z, a, b := c.big(), l.whole(c), r.whole(c)
		n.wide = func(r *Runner) *big.Int { return op(r.big[z], a(r), b(r)) }
	}
	return n
}

func (c *compiler) arithmetic(op string, l, r *number) *number {
	a, b := l.low, r.low
	n := new(number)
	var whole func(z, x, y *big.Int) *big.Int
	bounded := l.bounded() && r.bounded()
	switch op {
	case "+":
		if isZero(r) {
			return l
		}
		if isZero(l) {
			return r
		}
		n.low = func(r *Runner) uint64 { return a(r) + b(r) }
		if l.spot != nil && r.spot != nil {
			a, b := *l.spot, *r.spot
			n.low = func(r *Runner) uint64 { return a.get(r) + b.get(r) }
		} else if r.spot != nil {
			b := *r.spot
			n.low = func(r *Runner) uint64 { return a(r) + b.get(r) }
		}
		whole = (*big.Int).Add
		if bounded {
			n.min, n.max = new(big.Int).Add(l.min, r.min), new(big.Int).Add(l.max, r.max)
		}
	case "-":
		n.low = func(r *Runner) uint64 { return a(r) - b(r) }
		whole = (*big.Int).Sub
		if bounded {
			n.min, n.max = new(big.Int).Sub(l.min, r.max), new(big.Int).Sub(l.max, r.min)
		}
	case "*":
		n.low = func(r *Runner) uint64 { return a(r) * b(r) }
		whole = (*big.Int).Mul
		if bounded {
			for i, corner := range []*big.Int{
				new(big.Int).Mul(l.min, r.min), new(big.Int).Mul(l.min, r.max),
				new(big.Int).Mul(l.max, r.min), new(big.Int).Mul(l.max, r.max),
			} {
				if i == 0 {
					n.min, n.max = corner, corner
				}
				n.min, n.max = smaller(n.min, corner), larger(n.max, corner)
			}
		}
	}
	return c.finish(n, l, r, whole)
}

// division divides naturals. bmv2 dies of a zero divisor; here the result is 0.
func (c *compiler) division(op string, l, r *number) *number {
	n := new(number)
	quotient := op == "/"
	if l.bounded() && r.bounded() {
		m := larger(new(big.Int).Abs(l.min), new(big.Int).Abs(l.max))
		n.min, n.max = new(big.Int), m
		if !l.natural() || !r.natural() {
			n.min = new(big.Int).Neg(m)
		}
	}
	if l.isUint64() && r.isUint64() {
		a, b := l.low, r.low
		n.low = func(r *Runner) uint64 {
			x, y := a(r), b(r)
			switch {
			case y == 0:
				return 0
			case quotient:
				return x / y
			}
			return x % y
		}
		return n
	}
	z, a, b := c.big(), l.whole(c), r.whole(c)
	n.wide = func(r *Runner) *big.Int {
		x, y := a(r), b(r)
		switch {
		case y.Sign() == 0:
			return r.big[z].SetInt64(0)
		case quotient:
			return r.big[z].Quo(x, y)
		}
		return r.big[z].Rem(x, y)
	}
	wide := n.wide
	n.low = func(r *Runner) uint64 { return low64(wide(r)) }
	return n
}

// shiftLimit bounds what a packet can make the switch compute: bits shifted further left than this
// are in no field.
const shiftLimit = 65536

func (c *compiler) shiftLeft(l, r *number) *number {
	if isZero(r) {
		return l
	}
	a, by := l.low, r.index(c)
	n := new(number)
	if k := r.constant; k != nil && k.IsUint64() && k.Uint64() < 64 {
		s := k.Uint64()
		n.low = func(r *Runner) uint64 { return a(r) << s }
		if l.spot != nil {
			a := *l.spot
			n.low = func(r *Runner) uint64 { return a.get(r) << (s & 63) }
		}
	} else {
		n.low = func(r *Runner) uint64 { return a(r) << by(r) } // Go shifts by 64 or more to 0
	}
	if l.bounded() && r.bounded() && r.max.Cmp(big.NewInt(4096)) <= 0 && r.natural() {
		s := uint(r.max.Uint64())
		n.min, n.max = smaller(l.min, new(big.Int).Lsh(l.min, s)), new(big.Int).Lsh(l.max, s)
		if l.max.Sign() < 0 {
			n.max = l.max
		}
	}
	if !n.isInt64() && !n.isUint64() {
		z, a := c.big(), l.whole(c)
		n.wide = func(r *Runner) *big.Int {
			s := by(r)
			if s > shiftLimit {
				return r.big[z].SetInt64(0)
			}
			return r.big[z].Lsh(a(r), uint(s))
		}
	}
	return n
}

func (c *compiler) shiftRight(l, r *number) *number {
	if isZero(r) {
		return l
	}
	if k := r.constant; l.spot != nil && k != nil && k.IsUint64() && k.Cmp(big.NewInt(int64(l.max.BitLen()))) < 0 {
		above := int(k.Int64())
		return l.part(above, l.max.BitLen()-above)
	}
	by := r.index(c)
	n := &number{min: l.min, max: l.max}
	if k := r.constant; k != nil && k.IsUint64() && l.bounded() {
		s := uint(min(k.Uint64(), shiftLimit))
		n.min, n.max = new(big.Int).Rsh(l.min, s), new(big.Int).Rsh(l.max, s)
	} else if l.bounded() {
		n.min, n.max = smaller(l.min, new(big.Int)), larger(l.max, new(big.Int))
	}
	switch a := l.low; {
	case l.isUint64():
		n.low = func(r *Runner) uint64 { return a(r) >> by(r) }
	case l.isInt64():
		n.low = func(r *Runner) uint64 { return uint64(int64(a(r)) >> by(r)) }
	default:
		z, a := c.big(), l.whole(c)
		wide := func(r *Runner) *big.Int { return r.big[z].Rsh(a(r), uint(min(by(r), shiftLimit))) }
		n.wide = wide
		n.low = func(r *Runner) uint64 { return low64(wide(r)) }
	}
	return n
}

// isMask tells whether n is a constant 2^k-1 that cuts nothing off x.
func isMask(n, x *number) bool {
	if n.constant == nil || n.constant.Sign() < 0 || !x.natural() || !x.bounded() {
		return false
	}
	k := n.constant.BitLen()
	return x.max.BitLen() <= k && n.constant.Cmp(highest(k, false)) == 0
}

// lowBits returns k when n is the constant 2^k-1, else 0.
func lowBits(n *number) int {
	if k := n.constant; k != nil && k.Sign() > 0 && k.Cmp(highest(k.BitLen(), false)) == 0 {
		return k.BitLen()
	}
	return 0
}

// part returns n bits of a number that stands in a spot, from the one above that many.
func (x *number) part(above, n int) *number {
	s := x.spot.bits(above, n)
	return &number{min: new(big.Int), max: highest(n, false), low: s.load(), spot: &s}
}

func (c *compiler) bitwise(op string, l, r *number) *number {
	a, b := l.low, r.low
	n := new(number)
	bitLen := 0
	for _, x := range []*number{l, r} {
		if x.bounded() {
			bitLen = max(bitLen, x.min.BitLen(), x.max.BitLen())
		}
	}
	var whole func(z, x, y *big.Int) *big.Int
	switch op {
	case "&":
		if isMask(r, l) {
			return l
		}
		if isMask(l, r) {
			return r
		}
		if k := lowBits(r); l.spot != nil && k > 0 {
			return l.part(0, min(k, l.max.BitLen()))
		}
		whole = (*big.Int).And
		n.low = func(r *Runner) uint64 { return a(r) & b(r) }
		if k := r.constant; k != nil {
			mask := low64(k)
			n.low = func(r *Runner) uint64 { return a(r) & mask }
		} else if l.spot != nil && r.spot != nil {
			a, b := *l.spot, *r.spot
			n.low = func(r *Runner) uint64 { return a.get(r) & b.get(r) }
		}
		for _, x := range []*number{l, r} { // a natural operand bounds the result
			if x.natural() && x.bounded() && (n.max == nil || x.max.Cmp(n.max) < 0) {
				n.min, n.max = new(big.Int), x.max
			}
		}
	case "|":
		if isZero(r) {
			return l
		}
		if isZero(l) {
			return r
		}
		whole = (*big.Int).Or
		n.low = func(r *Runner) uint64 { return a(r) | b(r) }
		if r.spot != nil {
			b := *r.spot
			n.low = func(r *Runner) uint64 { return a(r) | b.get(r) }
		}
	case "^":
		whole = (*big.Int).Xor
		n.low = func(r *Runner) uint64 { return a(r) ^ b(r) }
	}
	if n.max == nil && l.bounded() && r.bounded() {
		n.min, n.max = new(big.Int), highest(bitLen, false)
		if !l.natural() || !r.natural() {
			n.min = lowest(bitLen+1, true)
		}
	}
	return c.finish(n, l, r, whole)
}

func (c *compiler) compare(op string, l, r *number) *boolean {
	switch op {
	case "==":
		if b := same(l, r); b != nil {
			return b
		}
	case "!=":
		if b := same(l, r); b != nil {
			return b.not()
		}
	}
	a, b := l.low, r.low
	switch {
	case l.isUint64() && r.isUint64():
		switch op {
		case "==":
			return opaque(func(r *Runner) bool { return a(r) == b(r) })
		case "!=":
			return opaque(func(r *Runner) bool { return a(r) != b(r) })
		case "<":
			return opaque(func(r *Runner) bool { return a(r) < b(r) })
		case ">":
			return opaque(func(r *Runner) bool { return a(r) > b(r) })
		case "<=":
			return opaque(func(r *Runner) bool { return a(r) <= b(r) })
		}
		return opaque(func(r *Runner) bool { return a(r) >= b(r) })
	case l.isInt64() && r.isInt64():
		switch op {
		case "==":
			return opaque(func(r *Runner) bool { return a(r) == b(r) })
		case "!=":
			return opaque(func(r *Runner) bool { return a(r) != b(r) })
		case "<":
			return opaque(func(r *Runner) bool { return int64(a(r)) < int64(b(r)) })
		case ">":
			return opaque(func(r *Runner) bool { return int64(a(r)) > int64(b(r)) })
		case "<=":
			return opaque(func(r *Runner) bool { return int64(a(r)) <= int64(b(r)) })
		}
		return opaque(func(r *Runner) bool { return int64(a(r)) >= int64(b(r)) })
	}
	x, y := l.whole(c), r.whole(c)
	holds := map[string]func(int) bool{
		"==": func(o int) bool { return o == 0 }, "!=": func(o int) bool { return o != 0 },
		"<": func(o int) bool { return o < 0 }, ">": func(o int) bool { return o > 0 },
		"<=": func(o int) bool { return o <= 0 }, ">=": func(o int) bool { return o >= 0 },
	}[op]
	return opaque(func(r *Runner) bool { return holds(x(r).Cmp(y(r))) })
}

// same compares a spot with a constant or another spot; nil when l and r are something else.
func same(l, r *number) *boolean {
	switch {
	case l.spot != nil && r.constant != nil && r.constant.IsUint64():
		a, k := *l.spot, r.constant.Uint64()
		return &boolean{holds: func(r *Runner) bool { return a.get(r) == k }, op: "value", spots: [2]spot{a}, value: k}
	case l.spot != nil && r.spot != nil:
		a, b := *l.spot, *r.spot
		return &boolean{holds: func(r *Runner) bool { return a.get(r) == b.get(r) }, op: "spot", spots: [2]spot{a, b}}
	}
	return nil
}

// wrap is two_comp_mod: the low bits of n as a two's complement number.
func (c *compiler) wrap(n *number, bits int) *number {
	lo, hi := lowest(bits, true), highest(bits, true)
	if n.bounded() && n.min.Cmp(lo) >= 0 && n.max.Cmp(hi) <= 0 {
		return n
	}
	if bits <= 64 {
		a, up := n.low, 64-bits
		return &number{min: lo, max: hi, low: func(r *Runner) uint64 { return uint64(int64(a(r)<<up) >> up) }}
	}
	z, a := c.big(), n.whole(c)
	mask, size := highest(bits, false), new(big.Int).Lsh(one, uint(bits))
	wide := func(r *Runner) *big.Int {
		v := r.big[z].And(a(r), mask)
		if v.Cmp(hi) > 0 {
			v.Sub(v, size)
		}
		return v
	}
	return &number{min: lo, max: hi, wide: wide, low: n.low}
}

// saturate is sat_cast and usat_cast.
func (c *compiler) saturate(n *number, bits int, signed bool) *number {
	lo, hi := lowest(bits, signed), highest(bits, signed)
	if n.bounded() && n.min.Cmp(lo) >= 0 && n.max.Cmp(hi) <= 0 {
		return n
	}
	out := &number{min: lo, max: hi}
	if n.isInt64() && (lo.IsInt64() && hi.IsInt64()) {
		a, x, y := n.low, lo.Int64(), hi.Int64()
		out.low = func(r *Runner) uint64 { return uint64(min(max(int64(a(r)), x), y)) }
		return out
	}
	if n.isUint64() && hi.IsUint64() {
		a, y := n.low, hi.Uint64()
		out.low = func(r *Runner) uint64 { return min(a(r), y) }
		return out
	}
	a := n.whole(c)
	wide := func(r *Runner) *big.Int {
		v := a(r)
		if v.Cmp(lo) < 0 {
			return lo
		}
		if v.Cmp(hi) > 0 {
			return hi
		}
		return v
	}
	out.wide = wide
	out.low = func(r *Runner) uint64 { return low64(wide(r)) }
	return out
}
