package p4rt

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
)

// Info is a P4Info with its names and ids resolved. It never changes, so any number of goroutines may
// use it. A name that is not there is an error which lists the names that are: id 0 never stands for
// "unknown", because on the wire 0 is a wildcard.
//
// Things go by their alias, the shortest name that is unambiguous; lookups take the full name too.
type Info struct {
	tables    index[Table]
	actions   index[Action]
	counters  index[CounterArray]
	meters    index[MeterArray]
	digests   index[Digest]
	packetIn  *Header // nil when the program has none
	packetOut *Header
}

// Table is one table of the P4 program.
type Table struct {
	ID           uint32
	Name         string
	Keys         []Key
	Actions      []*Action // those that entries may name
	DefaultOnly  []*Action // those that only the default entry may name
	ConstDefault *Action   // what a miss always does; nil when the default can be modified
	Size         int64     // entries that it must hold
	Const        bool      // its entries are part of the program
	Counter      Unit      // what the direct counter of each entry counts; 0 when there is none
	IdleTimeout  bool      // entries may have an idle timeout
	Profile      uint32    // the id of the action profile whose members or groups entries name; 0: none
}

// Key is one match field of a table.
type Key struct {
	ID   uint32
	Name string
	Kind MatchKind
	typed
}

// Action is one action of the P4 program.
type Action struct {
	ID     uint32
	Name   string
	Params []Param
}

// Param is one parameter of an action, or one field of a packet header for the controller or of a
// digest, which have no ids.
type Param struct {
	ID   uint32
	Name string
	typed
}

// CounterArray is an indirect counter: Size cells.
type CounterArray struct {
	ID   uint32
	Name string
	Unit Unit
	Size int64
}

// MeterArray is an indirect meter: Size cells.
type MeterArray struct {
	ID   uint32
	Name string
	Unit Unit // Packets or Bytes
	Size int64
}

// Unit is what a counter counts: Packets, Bytes or both.
type Unit uint8

// The units.
const (
	Packets Unit = 1 << iota
	Bytes
)

// Digest is a kind of message that the data plane sends to the controller, in lists.
type Digest struct {
	ID     uint32
	Name   string
	Fields []Param
}

// Header is the metadata that every packet-in or packet-out carries.
type Header struct {
	Name   string
	Fields []Param
}

// MatchKind is how a match field matches.
type MatchKind uint8

// The kinds of match fields.
const (
	Exact MatchKind = iota
	LPM
	Ternary
	Range
	Optional
)

var matchKinds = [...]string{"exact", "lpm", "ternary", "range", "optional"}

func (k MatchKind) String() string {
	if int(k) < len(matchKinds) {
		return matchKinds[k]
	}
	return fmt.Sprintf("MatchKind(%d)", uint8(k))
}

// NewInfo resolves a P4Info. It keeps nothing of it.
func NewInfo(source *configv1.P4Info) (*Info, error) {
	b := builder{
		Info: &Info{
			tables:   newIndex[Table]("table"),
			actions:  newIndex[Action]("action"),
			counters: newIndex[CounterArray]("counter"),
			meters:   newIndex[MeterArray]("meter"),
			digests:  newIndex[Digest]("digest"),
		},
		types: source.GetTypeInfo(),
	}
	for _, a := range source.GetActions() {
		b.action(a)
	}
	units := make(map[uint32]Unit) // by the table that has the counter
	for _, c := range source.GetDirectCounters() {
		units[c.GetDirectTableId()] = unitOf(c.GetSpec())
	}
	for _, t := range source.GetTables() {
		b.table(t, units[t.GetPreamble().GetId()])
	}
	for _, c := range source.GetCounters() {
		b.add(b.counters.add(c.GetPreamble(), &CounterArray{
			ID:   c.GetPreamble().GetId(),
			Name: nameOf(c.GetPreamble()),
			Unit: unitOf(c.GetSpec()),
			Size: c.GetSize(),
		}))
	}
	for _, m := range source.GetMeters() {
		unit := Packets
		if m.GetSpec().GetUnit() == configv1.MeterSpec_BYTES {
			unit = Bytes
		}
		b.add(b.meters.add(m.GetPreamble(), &MeterArray{
			ID:   m.GetPreamble().GetId(),
			Name: nameOf(m.GetPreamble()),
			Unit: unit,
			Size: m.GetSize(),
		}))
	}
	for _, d := range source.GetDigests() {
		b.digest(d)
	}
	for _, m := range source.GetControllerPacketMetadata() {
		b.header(m)
	}
	if err := errors.Join(b.problems...); err != nil {
		return nil, fmt.Errorf("P4Info: %w", err)
	}
	return b.Info, nil
}

// Table finds a table.
func (i *Info) Table(name string) (*Table, error) { return i.tables.named(name) }

// Tables returns all tables by name.
func (i *Info) Tables() []*Table { return slices.Clone(i.tables.list) }

// Action finds an action.
func (i *Info) Action(name string) (*Action, error) { return i.actions.named(name) }

// Counter finds an indirect counter.
func (i *Info) Counter(name string) (*CounterArray, error) { return i.counters.named(name) }

// Counters returns all indirect counters by name.
func (i *Info) Counters() []*CounterArray { return slices.Clone(i.counters.list) }

// Meter finds an indirect meter.
func (i *Info) Meter(name string) (*MeterArray, error) { return i.meters.named(name) }

// Digest finds a digest.
func (i *Info) Digest(name string) (*Digest, error) { return i.digests.named(name) }

// Digests returns all digests by name.
func (i *Info) Digests() []*Digest { return slices.Clone(i.digests.list) }

// Key finds a match field.
func (t *Table) Key(name string) (*Key, error) {
	for i := range t.Keys {
		if t.Keys[i].Name == name {
			return &t.Keys[i], nil
		}
	}
	return nil, unknown("match field", name, t.Keys, func(k Key) string { return k.Name })
}

// Action finds an action that entries of the table may name.
func (t *Table) Action(name string) (*Action, error) {
	if a := actionNamed(t.Actions, name); a != nil {
		return a, nil
	}
	if actionNamed(t.DefaultOnly, name) != nil {
		return nil, fmt.Errorf("action %q is for the default entry only", name)
	}
	return nil, unknown("action", name, t.Actions, func(a *Action) string { return a.Name })
}

func actionNamed(list []*Action, name string) *Action {
	for _, a := range list {
		if a.Name == name {
			return a
		}
	}
	return nil
}

func (t *Table) withID(id uint32) *Action {
	for _, list := range [][]*Action{t.Actions, t.DefaultOnly} {
		for _, a := range list {
			if a.ID == id {
				return a
			}
		}
	}
	return nil
}

// hasPriority reports whether entries have a priority: exactly when a key is ternary, range or
// optional (section "TableEntry").
func (t *Table) hasPriority() bool {
	return slices.ContainsFunc(t.Keys, func(k Key) bool {
		return k.Kind == Ternary || k.Kind == Range || k.Kind == Optional
	})
}

// unknown is the error for a name that is not there.
func unknown[T any](kind, name string, list []T, nameOf func(T) string) error {
	there := "none"
	if len(list) > 0 {
		var all []string
		for _, item := range list {
			all = append(all, nameOf(item))
		}
		slices.Sort(all)
		there = strings.Join(all, ", ")
	}
	return fmt.Errorf("no %s %q; there is: %s", kind, name, there)
}

// named is what index holds.
type named interface {
	Table | Action | CounterArray | MeterArray | Digest
}

// index finds things of one kind by id, full name or alias.
type index[T named] struct {
	kind    string // for messages
	list    []*T
	aliases []string // of list
	full    map[string]*T
	alias   map[string]*T
	byID    map[uint32]*T
}

func newIndex[T named](kind string) index[T] {
	return index[T]{
		kind:  kind,
		full:  make(map[string]*T),
		alias: make(map[string]*T),
		byID:  make(map[uint32]*T),
	}
}

func nameOf(p *configv1.Preamble) string {
	if p.GetAlias() != "" {
		return p.GetAlias()
	}
	return p.GetName()
}

func (x *index[T]) add(p *configv1.Preamble, item *T) error {
	name := nameOf(p)
	switch {
	case name == "":
		return fmt.Errorf("%s %d has no name", x.kind, p.GetId())
	case p.GetId() == 0:
		return fmt.Errorf("%s %q has no id", x.kind, name)
	case x.byID[p.GetId()] != nil:
		return fmt.Errorf("%s %q: another has the id %d too", x.kind, name, p.GetId())
	case x.alias[name] != nil:
		return fmt.Errorf("two %ss are named %q", x.kind, name)
	}
	x.byID[p.GetId()] = item
	x.alias[name] = item
	x.full[p.GetName()] = item
	at, _ := slices.BinarySearch(x.aliases, name)
	x.aliases = slices.Insert(x.aliases, at, name)
	x.list = slices.Insert(x.list, at, item)
	return nil
}

func (x *index[T]) named(name string) (*T, error) {
	if item := x.alias[name]; item != nil {
		return item, nil
	}
	if item := x.full[name]; item != nil && name != "" {
		return item, nil
	}
	return nil, unknown(x.kind, name, x.aliases, func(s string) string { return s })
}

func (x *index[T]) withID(id uint32) (*T, error) {
	if item := x.byID[id]; item != nil {
		return item, nil
	}
	return nil, fmt.Errorf("no %s has id %d", x.kind, id)
}
