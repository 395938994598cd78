package engine

import "bytes"

func (h *header) validNow(r *Runner) bool { return h.metadata || r.words[h.valid.word] != 0 }

// length returns the header's size on the wire in bytes, valid or not.
func (h *header) length(r *Runner) int {
	if h.variable != nil {
		return h.size + int(r.words[h.variable.length])
	}
	return h.size
}

// base is where its bytes begin.
func (h *header) base(r *Runner) int { return int(r.words[h.at]) }

// extractVariable fills a header with a variable field from wire, which must hold size+varying bytes.
func (h *header) extractVariable(r *Runner, wire []byte, varying int) {
	r.words[h.valid.word] = 1
	r.words[h.variable.length] = uint64(varying)
	to := r.bytes[h.base(r):]
	copy(to[:h.before], wire)
	copy(to[h.size:h.size+varying], wire[h.before:])
	copy(to[h.before:h.size], wire[h.before+varying:])
}

// emit appends the header to out.
func (h *header) emit(r *Runner, out []byte) []byte {
	b := r.bytes[h.base(r):]
	if h.variable == nil {
		return append(out, b[:h.size]...)
	}
	out = append(out, b[:h.before]...)
	out = append(out, h.variable.varying(r)...)
	return append(out, b[h.before:h.size]...)
}

// zero clears the fields; a variable field keeps its length, as in bmv2.
func (h *header) zero(r *Runner) {
	base := h.base(r)
	clear(r.bytes[base : base+h.size])
	if h.variable != nil {
		clear(h.variable.varying(r))
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
		base := h.base(r)
		copy(r.bytes[base:base+h.size], r.bytes[src.base(r):])
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
	copy(dst.varying(r), src.varying(r))
}

// equal compares as bmv2 does: two invalid headers are not equal.
func (h *header) equal(r *Runner, o *header) bool {
	if h.kind != o.kind || !h.validNow(r) || !o.validNow(r) {
		return false
	}
	for i, f := range h.fields {
		g := o.fields[i]
		if f.variable() {
			if !bytes.Equal(f.varying(r), g.varying(r)) {
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
