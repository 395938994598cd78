package engine

import "bytes"

func (h *header) isValid() boolean {
	if h.metadata {
		return func(*Runner) bool { return true }
	}
	i := h.valid.word
	return func(r *Runner) bool { return r.words[i] != 0 }
}

func (h *header) validNow(r *Runner) bool { return h.metadata || r.words[h.valid.word] != 0 }

// length returns the header's size on the wire in bytes, valid or not.
func (h *header) length(r *Runner) int {
	if h.variable != nil {
		return h.size + int(r.words[h.variable.length])
	}
	return h.size
}

// extract fills the header from wire, which must hold size+varying bytes.
func (h *header) extract(r *Runner, wire []byte, varying int) {
	r.words[h.valid.word] = 1
	if h.variable == nil {
		copy(r.bytes[h.base:h.base+h.size], wire)
		return
	}
	r.words[h.variable.length] = uint64(varying)
	copy(r.bytes[h.base:h.base+h.before], wire)
	at := h.variable.bit / 8
	copy(r.bytes[at:at+varying], wire[h.before:])
	copy(r.bytes[h.base+h.before:h.base+h.size], wire[h.before+varying:])
}

// emit appends the header to out.
func (h *header) emit(r *Runner, out []byte) []byte {
	if h.variable == nil {
		return append(out, r.bytes[h.base:h.base+h.size]...)
	}
	at, n := h.variable.bit/8, int(r.words[h.variable.length])
	out = append(out, r.bytes[h.base:h.base+h.before]...)
	out = append(out, r.bytes[at:at+n]...)
	return append(out, r.bytes[h.base+h.before:h.base+h.size]...)
}

// zero clears the fields; a variable field keeps its length, as in bmv2.
func (h *header) zero(r *Runner) {
	clear(r.bytes[h.base : h.base+h.size])
	if h.variable != nil {
		at := h.variable.bit / 8
		clear(r.bytes[at : at+int(r.words[h.variable.length])])
	}
	for _, f := range h.fields {
		if f.word >= 0 {
			r.words[f.word] = 0
		}
	}
}

// assign copies src, which has the same type, validity included.
func (h *header) assign(r *Runner, src *header) {
	if !src.validNow(r) {
		r.words[h.valid.word] = 0
		return
	}
	r.words[h.valid.word] = 1
	if h.metadata == src.metadata {
		copy(r.words[h.word:h.word+h.words], r.words[src.word:])
		copy(r.bytes[h.base:h.base+h.size], r.bytes[src.base:])
		if h.variable != nil {
			assignVariable(r, h.variable, src.variable)
		}
		return
	}
	for i, f := range h.fields {
		if f.variable() {
			assignVariable(r, f, src.fields[i])
			continue
		}
		buf := r.scratch[:(f.bits+7)/8]
		src.fields[i].read(r, buf)
		f.set(r, buf)
	}
}

// assignVariable copies a variable field, cut to what the target holds.
func assignVariable(r *Runner, dst, src *field) {
	n := min(int(r.words[src.length]), dst.bits/8)
	r.words[dst.length] = uint64(n)
	copy(r.bytes[dst.bit/8:dst.bit/8+n], r.bytes[src.bit/8:])
}

// equal compares as bmv2 does: two invalid headers are not equal.
func (h *header) equal(r *Runner, o *header) bool {
	if h.kind != o.kind || !h.validNow(r) || !o.validNow(r) {
		return false
	}
	for i, f := range h.fields {
		g := o.fields[i]
		if f.variable() {
			n := r.words[f.length]
			if n != r.words[g.length] ||
				!bytes.Equal(r.bytes[f.bit/8:f.bit/8+int(n)], r.bytes[g.bit/8:g.bit/8+int(n)]) {
				return false
			}
			continue
		}
		n := (f.bits + 7) / 8
		a, b := r.scratch[:n], r.scratch[n:2*n]
		f.read(r, a)
		g.read(r, b)
		if !bytes.Equal(a, b) {
			return false
		}
	}
	return true
}

// set is write for fields of any place.
func (f *field) set(r *Runner, buf []byte) {
	if f.word < 0 {
		f.write(r, buf)
		return
	}
	var v uint64
	for _, b := range buf {
		v = v<<8 | uint64(b)
	}
	r.words[f.word] = v
}
