package engine

// checksum is an entry of the checksums section.
type checksum struct {
	header *header
	load   func(*Runner) uint64
	store  func(*Runner)
	value  *calculation
	cond   func(*Runner) bool // nil: always
}

// verifyChecksums returns 1 when a checksum of the parsed packet is wrong, 0 otherwise.
func (r *Runner) verifyChecksums() uint64 {
	var wrong uint64
	for _, k := range r.program.verify {
		if k.header.validNow(r) && (k.cond == nil || k.cond(r)) && k.load(r) != k.value.output(r) {
			wrong = 1
		}
	}
	return wrong
}

// deparse updates the checksums and puts the packet together: valid headers in order, and the bytes
// that the parser did not take.
func (r *Runner) deparse() []byte {
	for _, k := range r.program.update {
		if k.cond == nil || k.cond(r) {
			r.cell = k.value.output(r)
			k.store(r)
		}
	}
	if out := r.inPlace(); out != nil {
		return out
	}
	out := r.deparsed[:0]
	for _, h := range r.program.order {
		if r.words[h.valid.word] != 0 {
			out = h.emit(r, out)
		}
	}
	out = append(out, r.frame[r.parsed:]...)
	r.deparsed = out
	return out
}

// inPlace returns the packet when its headers and what the parser did not take stand one behind the other as they are;
// else nil.
func (r *Runner) inPlace() []byte {
	order := r.program.order
	start := r.program.home + r.parsed
	for i := len(order) - 1; i >= 0; i-- {
		h := order[i]
		if r.words[h.valid.word] == 0 {
			continue
		}
		base := h.base(r)
		if h.variable != nil || base+h.size != start {
			return nil
		}
		start = base
	}
	return r.bytes[start : r.program.home+len(r.frame)]
}

func (c *compiler) compileDeparser() error {
	if len(c.doc.Deparsers) != 1 || c.doc.Deparsers[0].Name != "deparser" {
		return at("deparsers").errorf(`simple_switch needs one, called "deparser"`)
	}
	j := c.doc.Deparsers[0]
	where := at("deparsers[0] (deparser)")
	if len(j.Primitives) > 0 {
		return where.member("primitives").index(0).errorf("not supported")
	}
	for i, name := range j.Order {
		h := c.headers[name]
		if h == nil {
			return where.member("order").index(i).errorf("no header %q", name)
		}
		if h.metadata {
			return where.member("order").index(i).errorf("%s is metadata", name)
		}
		c.program.order = append(c.program.order, h)
	}
	return nil
}

func (c *compiler) compileChecksums() error {
	for i, j := range c.doc.Checksums {
		where := at("").named("checksums", i, j.Name)
		if j.Type != "generic" {
			return where.errorf("unknown type %q", j.Type)
		}
		k := &checksum{value: c.calculations[j.Calculation]}
		if k.value == nil {
			return where.member("calculation").errorf("no calculation %q", j.Calculation)
		}
		if len(j.Target) != 2 || c.headers[j.Target[0]] == nil || c.headers[j.Target[0]].byName[j.Target[1]] == nil {
			return where.member("target").errorf("no field %q", j.Target)
		}
		k.header = c.headers[j.Target[0]]
		f := k.header.byName[j.Target[1]]
		if !f.small() {
			return where.member("target").errorf("field %s is wider than 64 bits", f.name)
		}
		k.load = f.load()
		k.store = c.assign(f, &number{min: lowest(64, false), max: maxUint64, low: func(r *Runner) uint64 {
			return r.cell
		}})
		if j.IfCond != nil {
			cond, err := c.boolean(where.member("if_cond"), *j.IfCond)
			if err != nil {
				return err
			}
			k.cond = cond.holds
		}
		if j.Verify == nil || *j.Verify {
			c.program.verify = append(c.program.verify, k)
		}
		if j.Update == nil || *j.Update {
			c.program.update = append(c.program.update, k)
		}
	}
	return nil
}
