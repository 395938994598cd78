package engine

import (
	"sync"
	"sync/atomic"
)

// Counter is an indirect counter array: packets and bytes per cell.
type Counter struct{ cells []counterCell }

type counterCell struct{ packets, bytes atomic.Uint64 }

// Size returns the number of cells.
func (c *Counter) Size() int { return len(c.cells) }

// Read returns cell i. It panics when i is not below Size.
func (c *Counter) Read(i int) (packets, bytes uint64) {
	return c.cells[i].packets.Load(), c.cells[i].bytes.Load()
}

// Write sets cell i. It panics when i is not below Size.
func (c *Counter) Write(i int, packets, bytes uint64) {
	c.cells[i].packets.Store(packets)
	c.cells[i].bytes.Store(bytes)
}

// add counts a packet; an index out of range counts nothing, as in bmv2.
func (c *Counter) add(i, bytes uint64) {
	if i < uint64(len(c.cells)) {
		c.cells[i].packets.Add(1)
		c.cells[i].bytes.Add(bytes)
	}
}

// Register is a register array.
type Register struct {
	bits, size int
	cells      []atomic.Uint64 // of up to 64 bits
	mu         sync.RWMutex    // guards wide
	wide       []byte          // wider cells, each big endian in ceil(bits/8) bytes
}

// Size returns the number of cells.
func (r *Register) Size() int { return r.size }

// Bits returns the width of a cell.
func (r *Register) Bits() int { return r.bits }

// Read returns cell i, big endian in ceil(bits/8) bytes. It panics when i is not below Size.
func (r *Register) Read(i int) []byte {
	b := make([]byte, (r.bits+7)/8)
	if r.cells == nil {
		r.loadWide(uint64(i), b)
	} else {
		fillBytes(b, r.cells[i].Load())
	}
	return b
}

// Write sets cell i to a number of ceil(bits/8) bytes that fits it. It panics when i is not below Size.
func (r *Register) Write(i int, value []byte) {
	if r.cells == nil {
		r.storeWide(uint64(i), value)
		return
	}
	r.cells[i].Store(toUint64(value) & ones(r.bits))
}

// load reads for a packet; out of range there is no value.
func (r *Register) load(i uint64) (uint64, bool) {
	if i >= uint64(len(r.cells)) {
		return 0, false
	}
	return r.cells[i].Load(), true
}

// store writes for a packet; out of range it does nothing.
func (r *Register) store(i, value uint64) {
	if i < uint64(len(r.cells)) {
		r.cells[i].Store(value & ones(r.bits))
	}
}

// loadWide is load for cells of more than 64 bits.
func (r *Register) loadWide(i uint64, into []byte) bool {
	if i >= uint64(r.size) {
		return false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	copy(into, r.wide[int(i)*len(into):])
	return true
}

// storeWide is store for cells of more than 64 bits.
func (r *Register) storeWide(i uint64, value []byte) {
	if i >= uint64(r.size) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	copy(r.wide[int(i)*len(value):], value)
}

// cellLimit bounds what a program may ask for in one array, and wideLimit the bytes of one whose cells are wide.
const (
	cellLimit = 1 << 26
	wideLimit = 1 << 30
)

func (c *compiler) compileState() error {
	for i, j := range c.doc.CounterArrays {
		where := at("").named("counter_arrays", i, j.Name)
		if j.IsDirect {
			continue // tables carry their own
		}
		if j.Size < 0 || j.Size > cellLimit {
			return where.errorf("size must be 0..%d, is %d", cellLimit, j.Size)
		}
		if c.program.counters[j.Name] != nil {
			return where.errorf("a second counter of that name")
		}
		c.program.counters[j.Name] = &Counter{cells: make([]counterCell, j.Size)}
	}
	for i, j := range c.doc.RegisterArrays {
		where := at("").named("register_arrays", i, j.Name)
		if j.Size < 0 || j.Size > cellLimit {
			return where.errorf("size must be 0..%d, is %d", cellLimit, j.Size)
		}
		if j.Bitwidth < 1 || j.Bitwidth > 65535 {
			return where.errorf("bitwidth must be 1..65535, is %d", j.Bitwidth)
		}
		if c.program.registers[j.Name] != nil {
			return where.errorf("a second register of that name")
		}
		reg := &Register{bits: j.Bitwidth, size: j.Size}
		if n := (j.Bitwidth + 7) / 8 * j.Size; j.Bitwidth <= 64 {
			reg.cells = make([]atomic.Uint64, j.Size)
		} else if n > wideLimit {
			return where.errorf("%d cells of %d bits take %d bytes, must take %d at most", j.Size, j.Bitwidth, n,
				wideLimit)
		} else {
			reg.wide = make([]byte, n)
		}
		c.program.registers[j.Name] = reg
	}
	return nil
}
