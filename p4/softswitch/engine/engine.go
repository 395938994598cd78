// Package engine runs a P4 program that p4c compiled to bmv2's JSON for v1model: it reads the JSON
// once, turns it into nodes, steps and Go closures over a flat packet scratch, and passes frames through
// parser, ingress, traffic manager, egress and deparser with simple_switch's semantics. Packets allocate
// nothing, unless the program computes negative numbers wider than 64 bits.
//
// It knows no P4Runtime, no P4Info and no ports: package server writes its tables, and whoever has
// frames calls Runner.Process. Tables, counters, registers and multicast groups may be read and
// written while packets run.
//
// What it does not run makes Load fail, with its place in the JSON: header stacks and unions, tables with action
// profiles, parser value sets, externs other than v1model's, clone, resubmit and recirculate. Where bmv2's behaviour is
// undefined, this is what happens here: fields of headers that were never valid read 0, division by zero gives 0, a
// lookahead beyond the packet is PacketTooShort, and a parser that loops ends with ParserTimeout. An assertion that
// does not hold drops the packet, where bmv2 ends as a whole. A prefix counts from the first bit of its field, as P4
// has it; bmv2 counts from the first bit of the bytes that hold the field, which is another one unless the width is a
// multiple of 8.
package engine

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Errors of table writes, for callers that branch.
var (
	ErrExists   = errors.New("entry exists")
	ErrNotFound = errors.New("no such entry")
	ErrFull     = errors.New("table is full")
	ErrConst    = errors.New("fixed by the program")
	ErrInvalid  = errors.New("invalid entry")
)

// Program is one compiled program and its state.
type Program struct {
	tables    []*Table
	tableBy   map[string]*Table
	counters  map[string]*Counter
	registers map[string]*Register
	meters    map[string]*Meter
	digests   map[int]string

	groups   atomic.Pointer[map[uint16][]Replica]
	groupsMu sync.Mutex // one writer of groups

	start          *parseState
	errors         parserErrors
	verify, update []*checksum
	ingress        control
	egress         *node
	order          []*header // of the deparser
	standard       standard
	digestList     []*digest
	assertions     []*Assertion
	headerTypes    []*headerType

	// What a Runner needs.
	words                   []uint64 // as every packet finds them
	home                    int      // bytes of the homes of headers
	keyWords, scratch, bigs int
	buffers                 []int
}

// compiler is the state of Load.
type compiler struct {
	doc          *document
	program      *Program
	headers      map[string]*header
	aliases      map[string]*field
	calculations map[string]*calculation
	linear       map[string][][256]uint32 // tables of linear calculations, by algorithm
	actions      map[int]*action
	digests      map[int]*digest
	digestList   []*digest
	directMeters map[string]*directMeter
	params       []*param     // of the action that is compiled
	parserSets   map[int]bool // words that the parser may set, of metadata
	parserHides  bool         // it may set others

	words, bytes, keyWords, bigs, wireHeaders, nodes int
	buffers                                          []int
}

// Load compiles deviceConfig, bmv2's JSON. The error names the first construct that it does not
// know, and where it is.
func Load(deviceConfig []byte) (*Program, error) { return loadCopying(deviceConfig, copyLimit) }

// loadCopying is Load with a bound for the copies of nodes, see copyLimit.
func loadCopying(deviceConfig []byte, copies int) (*Program, error) {
	doc, err := readDocument(deviceConfig)
	if err != nil {
		return nil, err
	}
	p := &Program{
		tableBy:   make(map[string]*Table),
		counters:  make(map[string]*Counter),
		registers: make(map[string]*Register),
		meters:    make(map[string]*Meter),
		digests:   make(map[int]string),
	}
	p.groups.Store(&map[uint16][]Replica{})
	c := &compiler{
		doc:          doc,
		program:      p,
		headers:      make(map[string]*header),
		aliases:      make(map[string]*field),
		calculations: make(map[string]*calculation),
		linear:       make(map[string][][256]uint32),
		actions:      make(map[int]*action),
		digests:      make(map[int]*digest),
		directMeters: make(map[string]*directMeter),
		parserSets:   make(map[int]bool),
	}
	for _, compile := range []func() error{
		c.layout, c.findStandard, c.readErrors, c.compileState, c.compileMeters, c.compileCalculations,
		c.compileDigests,
		c.compileParser, c.compileActions, c.compilePipelines, c.compileDeparser, c.compileChecksums,
	} {
		if err := compile(); err != nil {
			return nil, err
		}
	}
	c.specialise(copies)
	p.words, p.home, p.keyWords, p.bigs = make([]uint64, c.words), c.bytes, c.keyWords, c.bigs
	p.buffers, p.digestList = c.buffers, c.digestList
	for _, h := range c.headers {
		p.words[h.at] = uint64(h.home)
		for _, f := range h.fields {
			p.scratch = max(p.scratch, 2*((f.bits+7)/8))
		}
	}
	return p, nil
}

// Table returns the table that the JSON calls name, nil when there is none.
func (p *Program) Table(name string) *Table { return p.tableBy[name] }

// Tables returns all tables in the order of the JSON, those included that p4c made of statements
// outside tables (no key, const default).
func (p *Program) Tables() []*Table { return slices.Clone(p.tables) }

// Counter returns an indirect counter array, nil when there is none of that name.
func (p *Program) Counter(name string) *Counter { return p.counters[name] }

// Register returns a register array, nil when there is none of that name.
func (p *Program) Register(name string) *Register { return p.registers[name] }

// Meter returns an indirect meter array, nil when there is none of that name.
func (p *Program) Meter(name string) *Meter { return p.meters[name] }

// Assertions returns those of the program.
func (p *Program) Assertions() []*Assertion { return slices.Clone(p.assertions) }

// Digests returns the learn lists: the widths in bits of the members of each, by its name.
func (p *Program) Digests() map[string][]int {
	all := make(map[string][]int)
	for _, d := range p.digestList {
		widths := []int{}
		for _, f := range d.fields {
			widths = append(widths, f.bits)
		}
		all[d.name] = widths
	}
	return all
}

// HeaderWidths returns the widths in bits of the fields of all header types whose fields have just these names.
func (p *Program) HeaderWidths(fields []string) [][]int {
	var all [][]int
	for _, t := range p.headerTypes {
		var names []string
		var widths []int
		for _, f := range t.fields {
			names, widths = append(names, f.name), append(widths, f.bits)
		}
		if slices.Equal(names, fields) {
			all = append(all, widths)
		}
	}
	return all
}

// DigestName returns the name of the learn list with that id, "" when there is none.
func (p *Program) DigestName(id int) string { return p.digests[id] }

// Replica is one copy of a multicast packet: the port it leaves by and its egress_rid.
type Replica struct{ Port, Instance uint16 }

// SetMulticastGroup replaces the replicas of a group; nil deletes it. A packet sees the group as it
// was before or after, never in between.
func (p *Program) SetMulticastGroup(id uint16, replicas []Replica) {
	p.groupsMu.Lock()
	defer p.groupsMu.Unlock()
	groups := maps.Clone(*p.groups.Load())
	if replicas == nil {
		delete(groups, id)
	} else {
		groups[id] = slices.Clone(replicas)
	}
	p.groups.Store(&groups)
}
