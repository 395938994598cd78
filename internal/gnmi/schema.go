package gnmi

import (
	"fmt"
	"slices"
	"strings"
)

// Model is a YANG module that is served, as Capabilities tells it (gNMI specification section 2.6.1).
type Model struct {
	Name, Organization, Version string
	// Origin is that of the trees whose root is in the module (gNMI specification section 2.7): "openconfig", or one of
	// ours. Modules that only add to others' trees have none.
	Origin string
}

// Schema is what leaves a tree may have. It is declared once, at start: what is not possible panics.
type Schema struct {
	models []Model
	lists  []*List // the first is the root, which has one entry
	leaves []*Leaf
}

// List is a YANG list, or the root: where a tree has entries, each with values for the leaves of the list.
type List struct {
	schema *Schema
	index  int
	elems  []elem
	keys   []string // of elems
	leaves []*Leaf
}

// Leaf is a YANG leaf.
type Leaf struct {
	list  *List
	index int // in the list
	elems []elem
	kind  Type
	class class
}

// elem is a node of the schema. keys are those of a list.
type elem struct {
	name, module string
	keys         []string
}

// class says how a leaf comes to be known.
type class uint8

const (
	event   class = iota // each change of it matters, and is told
	sampled              // it goes on changing, and is looked at
	classes
)

// Type is the YANG type of a leaf (RFC 7950 section 9). It decides which Go value the leaf has, and how JSON_IETF
// writes it (RFC 7951 section 6).
type Type uint8

// The types, and what Go value Entry.Set takes for them.
const (
	String   Type = iota // string
	Enum                 // string: the name
	Bool                 // bool
	Uint8                // uint64
	Uint16               // uint64
	Uint32               // uint64
	Uint64               // uint64
	Decimal              // float64: decimal64
	Strings              // []string: a leaf-list
	Identity             // string: the name, with its module before it
)

// String is how YANG calls it.
func (t Type) String() string {
	return [...]string{"string", "enumeration", "boolean", "uint8", "uint16", "uint32", "uint64", "decimal64",
		"leaf-list of string", "identityref"}[t]
}

// takes says whether v is a value of the type.
func (t Type) takes(v any) (ok bool) {
	switch t {
	case String, Enum, Identity:
		_, ok = v.(string)
	case Bool:
		_, ok = v.(bool)
	case Uint8, Uint16, Uint32, Uint64:
		_, ok = v.(uint64)
	case Decimal:
		_, ok = v.(float64)
	case Strings:
		_, ok = v.([]string)
	}
	return ok
}

// NewSchema returns a schema without leaves.
func NewSchema(models ...Model) *Schema {
	s := &Schema{models: models}
	s.lists = []*List{{schema: s}}
	return s
}

// Root is where leaves are that are in no list.
func (s *Schema) Root() *List { return s.lists[0] }

// Leaves returns all leaves, in the order of their declaration.
func (s *Schema) Leaves() []*Leaf { return slices.Clone(s.leaves) }

// List declares a list below l. path leads there from l; a name has its module before it where that is another than the
// parent's, as in "openconfig-interfaces:interfaces/interface" (RFC 7951 section 4). keys are the names of its keys.
func (l *List) List(path string, keys ...string) *List {
	elems := l.parse(path)
	elems[len(elems)-1].keys = keys
	below := &List{
		schema: l.schema, index: len(l.schema.lists),
		elems: slices.Concat(l.elems, elems), keys: slices.Concat(l.keys, keys),
	}
	l.schema.lists = append(l.schema.lists, below)
	return below
}

// Event declares a leaf of l each change of which matters: ON_CHANGE tells it at once. path is as for List.
func (l *List) Event(path string, kind Type) *Leaf { return l.leaf(path, kind, event) }

// Sampled declares a leaf of l that is looked at, as counters are. path is as for List.
func (l *List) Sampled(path string, kind Type) *Leaf { return l.leaf(path, kind, sampled) }

func (l *List) leaf(path string, kind Type, c class) *Leaf {
	leaf := &Leaf{
		list: l, index: len(l.leaves), elems: slices.Concat(l.elems, l.parse(path)), kind: kind, class: c,
	}
	l.leaves = append(l.leaves, leaf)
	l.schema.leaves = append(l.schema.leaves, leaf)
	return leaf
}

func (l *List) parse(path string) []elem {
	module := ""
	if len(l.elems) > 0 {
		module = l.elems[len(l.elems)-1].module
	}
	var elems []elem
	for part := range strings.SplitSeq(path, "/") {
		name := part
		if before, after, ok := strings.Cut(part, ":"); ok {
			module, name = before, after
		}
		if !slices.ContainsFunc(l.schema.models, func(m Model) bool { return m.Name == module }) || name == "" {
			panic(fmt.Sprintf("gnmi: %q in the path %q is in no model", part, path))
		}
		elems = append(elems, elem{name: name, module: module})
	}
	return elems
}

// Path is where the leaf is, with the names of keys, as in /interfaces/interface[name]/state/oper-status.
func (l *Leaf) Path() string {
	var b strings.Builder
	for _, e := range l.elems {
		b.WriteString("/" + e.name)
		for _, k := range e.keys {
			b.WriteString("[" + k + "]")
		}
	}
	return b.String()
}

// Module is the name of the YANG module that has the leaf.
func (l *Leaf) Module() string { return l.elems[len(l.elems)-1].module }

// Type is the leaf's.
func (l *Leaf) Type() Type { return l.kind }

// Sampled says whether the leaf goes on changing, and is looked at.
func (l *Leaf) Sampled() bool { return l.class == sampled }

// config says whether the leaf is configuration; all that is not below a container of that name is state.
func (l *Leaf) config() bool {
	return slices.ContainsFunc(l.elems, func(e elem) bool { return e.name == "config" })
}

// origin is that of the tree that the leaf is in.
func (l *Leaf) origin() string {
	for _, m := range l.list.schema.models {
		if m.Name == l.elems[0].module {
			return m.Origin
		}
	}
	return ""
}

// origins returns those that there are.
func (s *Schema) origins() []string {
	var all []string
	for _, m := range s.models {
		if m.Origin != "" && !slices.Contains(all, m.Origin) {
			all = append(all, m.Origin)
		}
	}
	return all
}
