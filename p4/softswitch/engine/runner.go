package engine

import (
	"math"
	"math/big"
	"math/bits"
	"math/rand/v2"
	"time"
)

// Digest is what the program reports with digest(): the name of the learn list, and its fields, each big endian in
// ceil(bits/8) bytes, and whether the header of each is valid.
type Digest struct {
	Name    string
	Members [][]byte
	Valid   []bool
}

// Output takes what Process produces. Frames and digests are valid during the call only, and the
// Runner must not be used within it.
type Output interface {
	Emit(port uint16, frame []byte)
	Digest(d *Digest)
}

// dropPort is simple_switch's: what is sent there is dropped.
const dropPort = 511

// replication is the instance_type of multicast copies.
const replication = 5

// Runner runs packets through a program. It is the scratch of one goroutine; any number of Runners
// may run the same program at the same time.
type Runner struct {
	program *Program
	out     Output

	// The packet, laid out as layout.go says.
	words []uint64
	bytes []byte

	frame       []byte // as received, but for the headers in it: the end of bytes, without the padding
	parsed      int    // bytes of it that the parser took
	taken       uint64 // a bit for each header that it took
	length      int    // of the packet as headers come and go
	received    uint64 // len(frame), for counters
	now         int64
	parserError uint64
	exit        bool
	learn       *digest
	failed      *Assertion // the last that did not hold, for the packet or a copy
	broken      bool       // one did not hold: what is in hand is dropped
	longest     uint64     // what of the packet leaves at most, in bytes

	args      []uint64 // of the action that runs
	cell      uint64   // a value on its way into a field
	key       []uint64 // of the table that is looked up, and the same masked
	input     []byte   // of the calculation that runs
	inputBits int
	scratch   []byte
	buffers   [][]byte
	big       []*big.Int
	random    *rand.Rand
	digests   []Digest

	savedWords []uint64 // the packet after ingress, while its copies go through egress
	savedBytes []byte
	deparsed   []byte

	// What packets hit, not yet added to the stats: packets that come at once mostly hit the same.
	hits   [hitPlaces]hits
	filled uint64 // a bit for each place that is in use
	held   bool
}

// NewRunner returns a Runner that gives what it produces to out.
func (p *Program) NewRunner(out Output) *Runner {
	r := &Runner{
		program:    p,
		out:        out,
		words:      make([]uint64, len(p.words)),
		bytes:      make([]byte, p.home+padding),
		key:        make([]uint64, p.keyWords),
		scratch:    make([]byte, p.scratch),
		random:     rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		savedWords: make([]uint64, len(p.words)),
		deparsed:   make([]byte, 0, 4096),
		input:      make([]byte, 0, 4096),
	}
	for range p.bigs {
		r.big = append(r.big, new(big.Int))
	}
	for _, n := range p.buffers {
		r.buffers = append(r.buffers, make([]byte, n))
	}
	for _, d := range p.digestList {
		out := Digest{Name: d.name}
		for _, f := range d.fields {
			out.Members = append(out.Members, make([]byte, (f.bits+7)/8))
		}
		out.Valid = make([]bool, len(d.fields))
		r.digests = append(r.digests, out)
	}
	return r
}

// Process takes one frame from ingressPort through the program, and calls the Runner's Output for
// every frame that leaves and every digest before it returns. It does not change or keep frame. now
// is the caller's clock, from an origin of its choice, and never goes back; idle times and the
// program's timestamps are on it.
func (r *Runner) Process(ingressPort uint16, frame []byte, now time.Duration) {
	p := r.program
	std := &p.standard
	copy(r.words, p.words)
	r.take(frame)
	r.parsed, r.length, r.received = 0, len(frame), uint64(len(frame))
	r.now, r.parserError, r.learn = int64(now), p.errors.none, nil
	r.failed, r.broken, r.longest = nil, false, math.MaxUint64
	std.ingressPort.set(r, uint64(ingressPort))
	std.packetLength.set(r, uint64(len(frame)))
	std.ingressTimestamp.set(r, uint64(now.Microseconds()))

	r.forward()
	if !r.held {
		r.settle()
	}
}

// take lays out the bytes of a packet.
func (r *Runner) take(frame []byte) {
	home := r.program.home
	if n := home + len(frame) + padding; n > cap(r.bytes) {
		r.bytes = make([]byte, n)
	} else {
		r.bytes = r.bytes[:n]
	}
	clear(r.bytes[:home])
	r.frame = r.bytes[home : home+copy(r.bytes[home:], frame)]
}

// Hold is called before packets that come at once: what they hit is counted together, by Release.
func (r *Runner) Hold() { r.held = true }

// Release counts what packets hit since Hold.
func (r *Runner) Release() {
	r.held = false
	r.settle()
}

const hitPlaces = 64

// hits are what packets did to one entry of a table.
type hits struct {
	stats          *stats
	packets, bytes uint64
	last           int64 // when
}

// hit counts the packet for an entry.
func (r *Runner) hit(s *stats) {
	h := &r.hits[s.place%hitPlaces]
	if h.stats != s {
		r.displace(h, s)
	}
	h.packets++
	h.bytes += r.received
	h.last = r.now
}

// displace makes room for s.
func (r *Runner) displace(h *hits, s *stats) {
	if h.stats != nil {
		h.stats.hit(h.packets, h.bytes, h.last)
	}
	*h = hits{stats: s}
	r.filled |= 1 << (s.place % hitPlaces)
}

// settle counts all hits.
func (r *Runner) settle() {
	for ; r.filled != 0; r.filled &= r.filled - 1 {
		h := &r.hits[bits.TrailingZeros64(r.filled)]
		h.stats.hit(h.packets, h.bytes, h.last)
		h.stats = nil
	}
}

// Failed returns an assertion that did not hold for the last packet or a copy of it; nil when all did.
func (r *Runner) Failed() *Assertion { return r.failed }

// forward takes the packet from the parser to where it leaves.
func (r *Runner) forward() {
	p := r.program
	std := &p.standard
	r.parse()
	if r.broken {
		return
	}
	std.parserError.set(r, r.parserError)
	std.checksumError.set(r, r.verifyChecksums())
	r.walk(p.ingress.start(r.taken))
	if r.broken {
		return
	}

	if r.learn != nil {
		r.report()
	}
	if group := std.multicastGroup.get(r); group != 0 {
		std.instanceType.set(r, replication)
		r.replicate((*p.groups.Load())[uint16(group)])
	} else if port := std.egressSpec.get(r); port != dropPort {
		std.instanceType.set(r, 0)
		r.leave(uint16(port))
	}
}

// replicate sends a copy of the packet, as ingress left it, to each replica.
func (r *Runner) replicate(replicas []Replica) {
	std := &r.program.standard
	length := r.length
	headers := r.bytes[:r.program.home+r.parsed]
	if len(replicas) > 1 {
		copy(r.savedWords, r.words)
		r.savedBytes = append(r.savedBytes[:0], headers...)
	}
	for i, to := range replicas {
		if i > 0 {
			copy(r.words, r.savedWords)
			copy(headers, r.savedBytes)
			r.length, r.broken = length, false
		}
		std.egressRID.set(r, uint64(to.Instance))
		r.longest = math.MaxUint64 // bmv2 forgets it, too
		r.leave(to.Port)
	}
}

// leave takes the packet through egress and the deparser to a port.
func (r *Runner) leave(port uint16) {
	std := &r.program.standard
	std.egressTimestamp.set(r, uint64(r.now/1000))
	std.enqueueTimestamp.set(r, uint64(r.now/1000)) // there is no queue: no depth, no time in it
	std.egressPort.set(r, uint64(port))
	std.egressSpec.set(r, dropPort+1)
	std.packetLength.set(r, uint64(r.length))
	r.walk(r.program.egress)
	if r.broken || std.egressSpec.get(r) == dropPort {
		return
	}
	frame := r.deparse()
	r.out.Emit(port, frame[:min(uint64(len(frame)), r.longest)])
}

// report fills the digest that ingress asked for.
func (r *Runner) report() {
	d := &r.digests[r.learn.index]
	for i, f := range r.learn.fields {
		f.read(r, d.Members[i])
		d.Valid[i] = r.learn.headers[i].validNow(r)
	}
	r.out.Digest(d)
}

// standard holds the fields of v1model's standard_metadata that the target reads and writes.
type standard struct {
	ingressPort, egressSpec, egressPort, instanceType, packetLength stdField
	multicastGroup, egressRID, parserError, checksumError           stdField
	ingressTimestamp, egressTimestamp, enqueueTimestamp             stdField
}

// fields returns those that the target sets before ingress.
func (s *standard) fields() []stdField {
	return []stdField{s.ingressPort, s.packetLength, s.ingressTimestamp, s.parserError, s.checksumError}
}

// stdField is a metadata field that the target uses. The zero stdField is a field that the program
// does not have: it reads 0 and keeps nothing.
type stdField struct {
	word int
	mask uint64
}

func (m stdField) get(r *Runner) uint64 { return r.words[m.word] & m.mask }

func (m stdField) set(r *Runner, v uint64) {
	if m.mask != 0 {
		r.words[m.word] = v & m.mask
	}
}

func (c *compiler) findStandard() error {
	s := &c.program.standard
	for _, f := range []struct {
		header, name string
		to           *stdField
		required     bool
	}{
		{"standard_metadata", "ingress_port", &s.ingressPort, true},
		{"standard_metadata", "packet_length", &s.packetLength, true},
		{"standard_metadata", "instance_type", &s.instanceType, true},
		{"standard_metadata", "egress_spec", &s.egressSpec, true},
		{"standard_metadata", "egress_port", &s.egressPort, true},
		{"standard_metadata", "parser_error", &s.parserError, false},
		{"standard_metadata", "checksum_error", &s.checksumError, false},
		{"intrinsic_metadata", "mcast_grp", &s.multicastGroup, false},
		{"intrinsic_metadata", "egress_rid", &s.egressRID, false},
		{"intrinsic_metadata", "ingress_global_timestamp", &s.ingressTimestamp, false},
		{"intrinsic_metadata", "egress_global_timestamp", &s.egressTimestamp, false},
		{"queueing_metadata", "enq_timestamp", &s.enqueueTimestamp, false},
	} {
		found := c.target(f.header, f.name)
		switch {
		case found != nil && found.word < 0:
			return at("headers").errorf("%s must be metadata of up to 64 bits", found.name)
		case found != nil:
			*f.to = stdField{found.word, ones(found.bits)}
		case f.required:
			return at("headers").errorf("simple_switch needs %s.%s", f.header, f.name)
		}
	}
	return nil
}
