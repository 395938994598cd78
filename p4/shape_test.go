package p4_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sluicelb/sluice/p4"
)

// program is what there is in bmv2's JSON of how packets go.
type program struct {
	Actions   []*action
	Pipelines []struct {
		Name      string
		InitTable *string `json:"init_table"`
		Tables    []struct {
			Name       string
			ActionIDs  []int              `json:"action_ids"`
			NextTables map[string]*string `json:"next_tables"`
			Base       *string            `json:"base_default_next"`
		}
		Conditionals []struct {
			Name string
			Yes  *string `json:"true_next"`
			No   *string `json:"false_next"`
		}
		ActionCalls []json.RawMessage `json:"action_calls"`
	}
	Registers []struct {
		Name           string
		Size, Bitwidth int
	} `json:"register_arrays"`
}

type action struct {
	ID          int
	Name        string
	Primitives  []primitive
	RuntimeData []struct{ Bitwidth int } `json:"runtime_data"`
}

type primitive struct {
	Op         string
	Parameters []operand
}

type operand struct {
	Type  string
	Value json.RawMessage
}

// step is a table, with one of its actions, or a condition; next is what may come after.
type step struct {
	does []primitive
	next string // "": the control ends
}

// ways are the steps of a control by name.
func (p *program) ways(t *testing.T, pipeline int) map[string][]step {
	t.Helper()
	name := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	in := p.Pipelines[pipeline]
	if len(in.ActionCalls) > 0 {
		t.Fatalf("%s calls actions outside tables: this test does not know them", in.Name)
	}
	ways := make(map[string][]step)
	for _, table := range in.Tables {
		for _, id := range table.ActionIDs {
			i := slices.IndexFunc(p.Actions, func(a *action) bool { return a.ID == id })
			for key, next := range table.NextTables { // by action, or by hit and miss
				if key == p.Actions[i].Name || strings.HasPrefix(key, "__") {
					ways[table.Name] = append(ways[table.Name], step{p.Actions[i].Primitives, name(next)})
				}
			}
		}
		ways[table.Name] = append(ways[table.Name], step{next: name(table.Base)})
	}
	for _, c := range in.Conditionals {
		ways[c.Name] = append(ways[c.Name], step{next: name(c.Yes)}, step{next: name(c.No)})
	}
	return ways
}

// touched is what a packet has done to a register: "" nothing, else "read" or "written".
type touched struct {
	how   string
	index string // of the read: the fields and operations that it is made of
	stale bool   // they have changed since
}

type touches map[string]touched

func (s touches) String() string { return fmt.Sprint(map[string]touched(s)) }

// do adds what an action does, or says what it must not do.
func (s touches) do(primitives []primitive) (touches, error) {
	s = maps.Clone(s)
	made := make(map[string]string) // what an action has set a field to
	for _, p := range primitives {
		switch p.Op {
		case "register_read", "register_write":
			array, at := p.Parameters[0], p.Parameters[1]
			if p.Op == "register_read" {
				array, at = p.Parameters[1], p.Parameters[2]
			}
			index := string(at.Value)
			if whole, ok := made[index]; ok {
				index = whole
			}
			name := string(array.Value)
			before, again := s[name]
			switch {
			case again && (p.Op == "register_read" || before.how == "written"):
				return nil, fmt.Errorf("%s of %s, which is %s before", p.Op, name, before.how)
			case again && (before.index != index || before.stale):
				return nil, fmt.Errorf("%s is read at %s and written at %s (changed: %t): not one visit to one cell",
					name, before.index, index, before.stale)
			case p.Op == "register_read":
				s[name] = touched{how: "read", index: index}
			default:
				s[name] = touched{how: "written"}
			}
		}
		if len(p.Parameters) > 0 && p.Parameters[0].Type == "field" {
			set := string(p.Parameters[0].Value)
			for name, r := range s {
				if r.stale = r.stale || strings.Contains(r.index, set); r.how == "read" {
					s[name] = r
				}
			}
			delete(made, set)
			if p.Op == "assign" {
				made[set] = string(p.Parameters[1].Value)
			}
		}
	}
	return s, nil
}

// shape returns what a switch that visits every table and every register array once could not do, nil when there is
// nothing.
func (p *program) shape(t *testing.T) error {
	t.Helper()
	ends := map[string]touches{"": {}}
	tables := make(map[string]bool)
	for i, in := range p.Pipelines {
		ways := p.ways(t, i)
		for name := range ways {
			if tables[name] {
				return fmt.Errorf("%s is in two controls", name)
			}
			tables[name] = true
		}
		open := make(map[string]bool) // on the way here
		seen := make(map[string]bool)
		next := make(map[string]touches)
		var walk func(name string, s touches) error
		walk = func(name string, s touches) error {
			at := name + " " + s.String()
			switch {
			case name == "":
				next[s.String()] = s
				return nil
			case open[name]:
				return fmt.Errorf("a packet comes back to %s", name)
			case seen[at]:
				return nil
			}
			seen[at], open[name] = true, true
			defer delete(open, name)
			for _, way := range ways[name] {
				after, err := s.do(way.does)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				if err := walk(way.next, after); err != nil {
					return err
				}
			}
			return nil
		}
		for _, s := range ends {
			if in.InitTable == nil {
				next[s.String()] = s
			} else if err := walk(*in.InitTable, s); err != nil {
				return err
			}
		}
		ends = next
	}
	visitsAll := func(s touches) bool { return len(s) == len(p.Registers) }
	if !slices.ContainsFunc(slices.Collect(maps.Values(ends)), visitsAll) {
		return fmt.Errorf("no way visits all %d register arrays: %v", len(p.Registers), ends)
	}
	return nil
}

func parseProgram(t *testing.T) *program {
	t.Helper()
	var text bytes.Buffer // operands that are the same are so by their text
	p := new(program)
	if err := json.Compact(&text, p4.DeviceConfig()); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text.Bytes(), p); err != nil {
		t.Fatal(err)
	}
	return p
}

// A switch whose tables and registers are in stages visits each once for a packet. So no packet meets a table twice, or
// a register array, but to write the cell that it has read: a stateful ALU does both in one visit.
func TestNothingIsVisitedTwice(t *testing.T) {
	if err := parseProgram(t).shape(t); err != nil {
		t.Error(err)
	}
	// with returns the first action that does all that.
	with := func(p *program, ops ...string) *action {
		t.Helper()
		for _, a := range p.Actions {
			missing := slices.ContainsFunc(ops, func(op string) bool {
				return !slices.ContainsFunc(a.Primitives, func(p primitive) bool { return p.Op == op })
			})
			writes := slices.ContainsFunc(a.Primitives, func(p primitive) bool { return p.Op == "register_write" })
			if !missing && writes == slices.Contains(ops, "register_write") && len(a.Primitives) > 1 {
				return a
			}
		}
		t.Fatalf("no action does %v", ops)
		return nil
	}
	takesBack := func(p *program) *action { // writes one mark, after all were read
		i := slices.IndexFunc(p.Actions, func(a *action) bool {
			return len(a.Primitives) == 2 && a.Primitives[1].Op == "register_write"
		})
		return p.Actions[i]
	}
	for _, tt := range []struct {
		name   string
		change func(*program)
		want   string
	}{
		{"an array is read twice", func(p *program) {
			for _, r := range with(p, "register_read").Primitives {
				if r.Op == "register_read" && string(r.Parameters[1].Value) == `"mark_3"` {
					r.Parameters[1].Value = json.RawMessage(`"mark_4"`)
				}
			}
		}, `register_read of "mark_4", which is read before`},
		{"another cell is written than is read", func(p *program) {
			takesBack(p).Primitives[1].Parameters[1].Value = json.RawMessage(`["scalars","metadata_t.epoch"]`)
		}, "not one visit to one cell"},
		{"another array is written, at the index of this one", func(p *program) {
			takesBack(p).Primitives[1].Parameters[0].Value = json.RawMessage(`"mark_1"`)
		}, "not one visit to one cell"},
		{"the index changes between reading and writing", func(p *program) {
			a := with(p, "register_read")
			a.Primitives = append(a.Primitives, primitive{"assign", []operand{
				{"field", json.RawMessage(`["scalars","metadata_t.bank"]`)}, {"hexstr", json.RawMessage(`"0x1"`)}}})
		}, "(changed: true): not one visit to one cell"},
		{"an array is written twice", func(p *program) {
			a := with(p, "register_write", "count")
			a.Primitives = append(a.Primitives, a.Primitives[:2]...)
		}, `register_write of "mark_1", which is written before`},
		{"a table comes again", func(p *program) {
			for _, table := range p.Pipelines[0].Tables {
				if table.Name == "backend" {
					table.NextTables["__HIT__"] = new("pin")
				}
			}
		}, "a packet comes back to pin"},
		{"a table is in egress as well", func(p *program) {
			p.Pipelines[1].Tables = append(p.Pipelines[1].Tables, p.Pipelines[0].Tables[0])
		}, "is in two controls"},
	} {
		p := parseProgram(t)
		tt.change(p)
		if err := p.shape(t); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
