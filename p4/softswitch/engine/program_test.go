package engine

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Small programs by hand. A packet is one header: a 8 bits, b 16, c 32, d 64, w 128, s int<8>, v
// varbit after it. Port 1 goes to port 2 unless the program says otherwise.

type object = map[string]any
type array = []any

func fieldRef(header, name string) object {
	return object{"type": "field", "value": array{header, name}}
}
func pkt(name string) object            { return fieldRef("pkt", name) }
func hexstr(s string) object            { return object{"type": "hexstr", "value": s} }
func header1(n string) object           { return object{"type": "header", "value": n} }
func local(i int) object                { return object{"type": "runtime_data", "value": i} }
func truth(b bool) object               { return object{"type": "bool", "value": b} }
func wrapped(e object) object           { return object{"type": "expression", "value": e} }
func prefix(op string, r object) object { return infix(op, nil, r) }
func infix(op string, l, r object) object {
	e := object{"op": op, "left": l, "right": r}
	if l == nil {
		e["left"] = nil
	}
	return object{"type": "expression", "value": e}
}
func choose(cond, l, r object) object {
	return object{"type": "expression", "value": object{"op": "?", "left": l, "right": r, "cond": cond}}
}

func primitive(op string, params ...any) object {
	if params == nil {
		params = array{}
	}
	return object{"op": op, "parameters": params}
}

// assign sets a field of the packet.
func assign(name string, value object) object { return primitive("assign", pkt(name), wrapped(value)) }

func action1(id int, name string, bits []int, primitives ...any) object {
	var params array
	for i, n := range bits {
		params = append(params, object{"name": fmt.Sprintf("p%d", i), "bitwidth": n})
	}
	return object{"name": name, "id": id, "runtime_data": params, "primitives": primitives}
}

// base is a program whose ingress runs the action "main" on every packet.
func base(primitives ...any) object {
	std := array{}
	for _, f := range []struct {
		name string
		bits int
	}{{"ingress_port", 9}, {"egress_spec", 9}, {"egress_port", 9}, {"instance_type", 32}, {"packet_length", 32},
		{"mcast_grp", 16}, {"egress_rid", 16}, {"parser_error", 32}, {"ingress_global_timestamp", 48},
		{"_padding", 3}} {
		std = append(std, array{f.name, f.bits, false})
	}
	to2 := primitive("assign", fieldRef("standard_metadata", "egress_spec"), hexstr("0x2"))
	return object{
		"header_types": array{
			object{"name": "std_t", "id": 0, "fields": std},
			object{"name": "pkt_t", "id": 1, "fields": array{array{"a", 8, false}, array{"b", 16, false},
				array{"c", 32, false},
				array{"d", 64, false}, array{"w", 128, false}, array{"s", 8, true}}},
			object{"name": "vl_t", "id": 2, "fields": array{array{"v", "*"}}, "max_length": 8},
		},
		"headers": array{
			object{"name": "standard_metadata", "id": 0, "header_type": "std_t", "metadata": true},
			object{"name": "pkt", "id": 1, "header_type": "pkt_t", "metadata": false},
			object{"name": "copy", "id": 2, "header_type": "pkt_t", "metadata": false},
			object{"name": "meta", "id": 3, "header_type": "pkt_t", "metadata": true},
			object{"name": "vl", "id": 4, "header_type": "vl_t", "metadata": false},
		},
		"field_aliases": array{
			array{"intrinsic_metadata.mcast_grp", array{"standard_metadata", "mcast_grp"}},
			array{"intrinsic_metadata.egress_rid", array{"standard_metadata", "egress_rid"}},
			array{"intrinsic_metadata.ingress_global_timestamp",
				array{"standard_metadata", "ingress_global_timestamp"}},
		},
		"parsers": array{object{"name": "parser", "id": 0, "init_state": "start", "parse_states": array{
			object{"name": "start", "id": 0, "transition_key": array{},
				"parser_ops": array{object{"op": "extract",
					"parameters": array{object{"type": "regular", "value": "pkt"}}}},
				"transitions": array{object{"type": "default", "value": nil, "mask": nil, "next_state": nil}}},
		}}},
		"deparsers": array{object{"name": "deparser", "id": 0, "order": array{"pkt", "copy", "vl"},
			"primitives": array{}}},
		"actions": array{action1(0, "main", nil, append(array{to2}, primitives...)...)},
		"pipelines": array{
			object{"name": "ingress", "id": 0, "init_table": "call", "tables": array{}, "conditionals": array{},
				"action_profiles": array{},
				"action_calls":    array{object{"name": "call", "id": 0, "action_id": 0, "next_node": nil}}},
			object{"name": "egress", "id": 1, "init_table": nil, "tables": array{}, "conditionals": array{},
				"action_profiles": array{}},
		},
	}
}

// withTable is a base whose ingress applies a table on the given keys, "name:kind". Its actions are
// answer (8 bits into a) and NoAction, which is the default.
func withTable(match string, keys ...string) object {
	prog := base()
	var key array
	for _, k := range keys {
		name, kind, _ := strings.Cut(k, ":")
		var target any = array{"pkt", name}
		if kind == "valid" {
			target = name
		}
		key = append(key, object{"name": name, "match_type": kind, "target": target, "mask": nil})
	}
	prog["actions"] = append(prog["actions"].(array),
		action1(1, "answer", []int{8}, primitive("assign", pkt("a"), local(0))),
		action1(2, "NoAction", nil))
	ingress := prog["pipelines"].(array)[0].(object)
	ingress["action_calls"].(array)[0].(object)["next_node"] = "t"
	ingress["tables"] = array{object{"name": "t", "id": 0, "key": key, "match_type": match, "type": "simple",
		"max_size":      8,
		"with_counters": true, "support_timeout": true, "action_ids": array{1, 2},
		"actions":           array{"answer", "NoAction"},
		"base_default_next": nil, "next_tables": object{"answer": nil, "NoAction": nil},
		"default_entry": object{"action_id": 2, "action_const": false, "action_data": array{},
			"action_entry_const": false}}}
	return prog
}

func table1(prog object) object {
	return prog["pipelines"].(array)[0].(object)["tables"].(array)[0].(object)
}

func load(prog object) (*Program, error) {
	text, err := json.Marshal(prog)
	if err != nil {
		return nil, err
	}
	return Load(text)
}

func mustLoad(t testing.TB, prog object) *Program {
	t.Helper()
	p, err := load(prog)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// zeros is a packet of the small programs, all zero; its fields are set by hexadecimal text.
func zeros() []byte { return make([]byte, 32) }

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// through runs one packet, and returns what leaves by port 2, in hexadecimal.
func through(t testing.TB, p *Program, frame []byte) string {
	t.Helper()
	rec := new(recorder)
	p.NewRunner(rec).Process(1, frame, time.Second)
	if len(rec.frames) != 1 || rec.frames[0].Port != 2 {
		t.Fatalf("want one frame out of port 2, got %v", rec.frames)
	}
	return rec.frames[0].Frame
}
