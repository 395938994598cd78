package engine

import (
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

// Register is a register array of cells of up to 64 bits.
type Register struct {
	bits  int
	cells []atomic.Uint64
}

// Size returns the number of cells.
func (r *Register) Size() int { return len(r.cells) }

// Bits returns the width of a cell.
func (r *Register) Bits() int { return r.bits }

// Read returns cell i. It panics when i is not below Size.
func (r *Register) Read(i int) uint64 { return r.cells[i].Load() }

// Write sets cell i, cut to Bits. It panics when i is not below Size.
func (r *Register) Write(i int, value uint64) { r.cells[i].Store(value & ones(r.bits)) }

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

// cellLimit bounds what a program may ask for in one array.
const cellLimit = 1 << 26

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
		if j.Bitwidth < 1 || j.Bitwidth > 64 {
			return where.errorf("bitwidth must be 1..64, is %d", j.Bitwidth)
		}
		if c.program.registers[j.Name] != nil {
			return where.errorf("a second register of that name")
		}
		c.program.registers[j.Name] = &Register{bits: j.Bitwidth, cells: make([]atomic.Uint64, j.Size)}
	}
	return nil
}
