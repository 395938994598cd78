// Package engine runs a P4 program that p4c compiled to bmv2's JSON for v1model: it reads the JSON
// once, turns it into Go closures over a flat packet scratch, and passes frames through parser,
// ingress, traffic manager, egress and deparser with simple_switch's semantics and no allocation.
//
// It knows no P4Runtime, no P4Info and no ports: package server writes its tables, and whoever has
// frames calls Runner.Process. Tables, counters, registers and multicast groups may be read and
// written while packets run.
//
// What it leaves out makes Load fail, with the place in the JSON: header unions, action profiles,
// parser value sets, externs other than v1model's, clone, resubmit and recirculate.
package engine

import (
	"errors"
	"sync/atomic"
)

// Errors of table writes, for callers that branch.
var (
	ErrExists   = errors.New("entry exists")
	ErrNotFound = errors.New("no such entry")
	ErrFull     = errors.New("table is full")
	ErrConst    = errors.New("entries are const")
	ErrInvalid  = errors.New("invalid entry")
)

// Program is one compiled program and its state.
type Program struct {
	tables    []*Table
	tableBy   map[string]*Table
	counters  map[string]*Counter
	registers map[string]*Register
	digests   map[int]string
	groups    atomic.Pointer[groups]
}

// Load compiles deviceConfig, bmv2's JSON. The error names the first construct that it does not
// know, and where it is.
func Load(deviceConfig []byte) (*Program, error) { return nil, errors.ErrUnsupported }

// Table returns the table that the JSON calls name, nil when there is none.
func (p *Program) Table(name string) *Table { return p.tableBy[name] }

// Tables returns all tables in the order of the JSON, those included that p4c made of statements
// outside tables (no key, const default).
func (p *Program) Tables() []*Table { return p.tables }

// Counter returns an indirect counter array, nil when there is none of that name.
func (p *Program) Counter(name string) *Counter { return p.counters[name] }

// Register returns a register array, nil when there is none of that name.
func (p *Program) Register(name string) *Register { return p.registers[name] }

// DigestName returns the name of the learn list with that id, "" when there is none.
func (p *Program) DigestName(id int) string { return p.digests[id] }

// Replica is one copy of a multicast packet: the port it leaves by and its egress_rid.
type Replica struct{ Port, Instance uint16 }

type groups map[uint16][]Replica

// SetMulticastGroup replaces the replicas of a group; nil deletes it. A packet sees the group as it
// was before or after, never in between. One caller at a time.
func (p *Program) SetMulticastGroup(id uint16, replicas []Replica) {}
