package engine

import (
	"math"
	"math/bits"
	"sync"
)

// The colors that a meter gives, as v1model numbers them.
const (
	green = iota
	yellow
	red
)

// Rates configures a meter cell: tokens per second and the most that a bucket holds, in packets or
// bytes as the meter counts (RFC 2698: committed and peak).
type Rates struct {
	CIR, CBurst uint64
	PIR, PBurst uint64
}

// Meter is an indirect meter array. A cell without rates lets everything through: green.
type Meter struct {
	bytes bool
	cells []meterCell
}

// Size returns the number of cells.
func (m *Meter) Size() int { return len(m.cells) }

// Rates returns those of cell i; false when it has none. It panics when i is not below Size.
func (m *Meter) Rates(i int) (Rates, bool) { return m.cells[i].get() }

// SetRates configures cell i and fills its buckets; nil takes its rates away. It panics when i is not
// below Size.
func (m *Meter) SetRates(i int, rates *Rates) { m.cells[i].set(rates) }

// meterCell is one two rate three color marker, color-blind (RFC 2698 section 3).
type meterCell struct {
	mu              sync.Mutex // guards the rest
	configured      bool
	committed, peak bucket
}

// bucket counts tokens from the origin of the clock, so that fractions are never lost.
type bucket struct {
	rate, burst uint64
	tokens      uint64
	made        uint64 // since the origin, as of the last packet
}

func (c *meterCell) get() (Rates, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Rates{CIR: c.committed.rate, CBurst: c.committed.burst, PIR: c.peak.rate, PBurst: c.peak.burst}, c.configured
}

func (c *meterCell) set(r *Rates) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.configured = r != nil
	if r == nil {
		r = new(Rates)
	}
	c.committed = bucket{rate: r.CIR, burst: r.CBurst, tokens: r.CBurst}
	c.peak = bucket{rate: r.PIR, burst: r.PBurst, tokens: r.PBurst}
}

// color marks a packet worth n tokens that came at now.
func (c *meterCell) color(n uint64, now int64) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.configured:
		return green
	case !c.peak.take(n, now):
		return red
	case !c.committed.take(n, now):
		return yellow
	}
	return green
}

func (b *bucket) take(n uint64, now int64) bool {
	// Runners take the time each for itself: it may be a little earlier than the last packet's.
	if made := tokensBy(now, b.rate); made > b.made {
		b.tokens = min(b.burst, b.tokens+min(b.burst, made-b.made))
		b.made = made
	}
	if b.tokens < n {
		return false
	}
	b.tokens -= n
	return true
}

// tokensBy is what a rate has made since the origin of the clock.
func tokensBy(now int64, rate uint64) uint64 {
	const second = 1_000_000_000
	high, low := bits.Mul64(uint64(max(now, 0)), rate)
	if high >= second {
		return math.MaxUint64
	}
	tokens, _ := bits.Div64(high, low, second)
	return tokens
}

// worth is what a packet takes from a bucket.
func worth(bytes bool, r *Runner) uint64 {
	if bytes {
		return r.received
	}
	return 1
}

// directMeter is a table's: a cell for every entry, and where the color goes.
type directMeter struct {
	bytes bool
	set   func(*Runner) // the color in Runner.cell
	field *field        // where it puts it
}

func (m *directMeter) mark(r *Runner, c *meterCell) {
	r.cell = c.color(worth(m.bytes, r), r.now)
	m.set(r)
}

func (c *compiler) compileMeters() error {
	for i, j := range c.doc.MeterArrays {
		where := at("").named("meter_arrays", i, j.Name)
		if j.Type != "packets" && j.Type != "bytes" {
			return where.errorf("type must be packets or bytes, is %q", j.Type)
		}
		if j.RateCount != 2 {
			return where.errorf("rate_count must be 2, is %d", j.RateCount)
		}
		if c.program.meters[j.Name] != nil || c.directMeters[j.Name] != nil {
			return where.errorf("a second meter of that name")
		}
		if j.IsDirect {
			f, err := c.field(where.member("result_target"), j.ResultTarget)
			if err != nil {
				return err
			}
			if f.variable() {
				return where.member("result_target").errorf("variable field %s cannot be assigned a number", f.name)
			}
			c.directMeters[j.Name] = &directMeter{bytes: j.Type == "bytes", set: c.assign(f, colorNumber()), field: f}
			continue
		}
		if j.Size < 0 || j.Size > cellLimit {
			return where.errorf("size must be 0..%d, is %d", cellLimit, j.Size)
		}
		c.program.meters[j.Name] = &Meter{bytes: j.Type == "bytes", cells: make([]meterCell, j.Size)}
	}
	return nil
}

// colorNumber is the color in Runner.cell.
func colorNumber() *number {
	return &number{min: lowest(2, false), max: highest(2, false), low: func(r *Runner) uint64 { return r.cell }}
}

// executeMeter compiles execute_meter(meter, index, result). An index out of range leaves the result
// as it is, as in bmv2.
func (c *compiler) executeMeter(where at, p primitiveJSON) (func(*Runner), error) {
	where = where.member("parameters")
	name, err := c.name(where.index(0), p.Parameters[0], "meter_array")
	if err != nil {
		return nil, err
	}
	m := c.program.meters[name]
	if m == nil {
		return nil, where.index(0).errorf("no meter %q", name)
	}
	n, err := c.number(where.index(1), p.Parameters[1])
	if err != nil {
		return nil, err
	}
	dst, err := c.smallOrWideField(where.index(2), p.Parameters[2])
	if err != nil {
		return nil, err
	}
	index, set := n.index(c), c.assign(dst, colorNumber())
	return func(r *Runner) {
		if i := index(r); i < uint64(len(m.cells)) {
			r.cell = m.cells[i].color(worth(m.bytes, r), r.now)
			set(r)
		}
	}, nil
}
