package engine

// Counter is an indirect counter array: packets and bytes per cell.
type Counter struct{}

// Size returns the number of cells.
func (c *Counter) Size() int { return 0 }

// Read returns cell i. It panics when i is not below Size.
func (c *Counter) Read(i int) (packets, bytes uint64) { return 0, 0 }

// Write sets cell i. It panics when i is not below Size.
func (c *Counter) Write(i int, packets, bytes uint64) {}

// Register is a register array.
type Register struct{}

// Size returns the number of cells.
func (r *Register) Size() int { return 0 }

// Bits returns the width of a cell.
func (r *Register) Bits() int { return 0 }

// Read returns cell i: big endian, ceil(Bits/8) bytes. It panics when i is not below Size.
func (r *Register) Read(i int) []byte { return nil }

// Write sets cell i, value big endian, cut to Bits. It panics when i is not below Size.
func (r *Register) Write(i int, value []byte) {}
