package engine

import (
	"strings"
	"testing"

	"github.com/sluicelb/sluice/p4"
)

func TestLoadSluice(t *testing.T) {
	p, err := Load(p4.DeviceConfig())
	if err != nil {
		t.Fatal(err)
	}
	var tables []string
	for _, table := range p.Tables() {
		if len(table.Keys()) > 0 {
			tables = append(tables, table.Name())
		}
	}
	if got, want := strings.Join(tables, " "), "arp_guard pinned_arp pinned_station station pinned_l2 arp_responder "+
		"vip pin slot backend vip_address l2"; got != want {
		t.Errorf("tables = %s, want %s", got, want)
	}
	if p.bigs != 0 {
		t.Errorf("the pipeline needs %d wide integers; it should need none", p.bigs)
	}
	if p.Table("none") != nil || p.Counter("none") != nil || p.Register("none") != nil || p.DigestName(9) != "" {
		t.Error("something is called none")
	}
	if got := p.DigestName(1) + " " + p.DigestName(2) + " " + p.DigestName(3); got != "learn_t flow_t disowned_t" {
		t.Errorf("digests = %s, want learn_t flow_t disowned_t", got)
	}
}

func TestLoadErrors(t *testing.T) {
	parser := func(ops ...any) object {
		prog := base()
		prog["parsers"].(array)[0].(object)["parse_states"].(array)[0].(object)["parser_ops"] = ops
		return prog
	}
	state := func(key, value any) object {
		prog := base()
		prog["parsers"].(array)[0].(object)["parse_states"].(array)[0].(object)[key.(string)] = value
		return prog
	}
	section := func(key string, rows ...any) object {
		prog := base()
		prog[key] = rows
		return prog
	}
	inTable := func(key string, value any) object {
		prog := withTable("exact", "a:exact")
		table1(prog)[key] = value
		return prog
	}
	tests := []struct {
		name string
		prog object
		want string
	}{
		{"primitive", base(primitive("clone_ingress_pkt_to_egress")),
			`actions[0] (main).primitives[1]: unknown primitive "clone_ingress_pkt_to_egress"`},
		{"primitive with too few parameters", base(primitive("assign", pkt("a"))),
			`actions[0] (main).primitives[1] assign: takes 2 parameters, has 1`},
		{"operation", base(assign("a", infix("**", pkt("a"), pkt("b")))),
			`actions[0] (main).primitives[1] assign.parameters[1]: unknown operation "**"`},
		{"value type", base(assign("a", object{"type": "stack_field", "value": array{"s", "f"}})),
			`actions[0] (main).primitives[1] assign.parameters[1]: unknown value type "stack_field"`},
		{"operand within an expression", base(assign("a", infix("+", pkt("a"), infix("&", pkt("x"), pkt("b"))))),
			`actions[0] (main).primitives[1] assign.parameters[1] +.right &.left: header pkt has no field "x"`},
		{"operand type", base(assign("a", infix("+", pkt("a"), truth(true)))),
			`actions[0] (main).primitives[1] assign.parameters[1] +: right operand has the wrong type`},
		{"comparing unlike things", base(assign("a", prefix("b2d", infix("==", pkt("a"), truth(true))))),
			`actions[0] (main).primitives[1] assign.parameters[1] b2d.right ==: operands have different types`},
		{"missing operand", base(assign("a", infix("&", nil, pkt("a")))),
			`actions[0] (main).primitives[1] assign.parameters[1] &.left: is missing`},
		{"hexstr", base(assign("a", hexstr("0xzz"))),
			`actions[0] (main).primitives[1] assign.parameters[1]: hexstr "0xzz" is not a hexadecimal number`},
		{"width that varies", base(assign("a", infix("sat_cast", pkt("a"), pkt("b")))),
			`actions[0] (main).primitives[1] assign.parameters[1] sat_cast: width must be a constant, 1..65535`},
		{"parameter", base(assign("a", object{"type": "local", "value": 1})),
			`actions[0] (main).primitives[1] assign.parameters[1]: parameter 1 of an action with 0`},
		{"header", base(primitive("add_header", header1("none"))),
			`actions[0] (main).primitives[1] add_header.parameters[0]: no header "none"`},
		{"register", base(primitive("register_write", object{"type": "register_array", "value": "r"}, hexstr("0"),
			hexstr("0"))),
			`actions[0] (main).primitives[1] register_write.parameters[0]: no register "r"`},
		{"digest", base(primitive("generate_digest", hexstr("0"), hexstr("0x1"))),
			`actions[0] (main).primitives[1] generate_digest.parameters[1]: must be the id of a learn list`},
		{"jump backwards", base(primitive("_jump", hexstr("0x0"))),
			`actions[0] (main).primitives[1] _jump: offset must be a constant, 2..2`},
		{"parser operation", parser(object{"op": "rewind", "parameters": array{}}),
			`parsers[0] (parser).parse_states[0] (start).parser_ops[0]: unknown parser operation "rewind"`},
		{"extract into a stack",
			parser(object{"op": "extract", "parameters": array{object{"type": "stack", "value": "s"}}}),
			`parsers[0] (parser).parse_states[0] (start).parser_ops[0] extract.parameters[0]: unknown extract type ` +
				`"stack"`},
		{"extract of a variable header",
			parser(object{"op": "extract", "parameters": array{object{"type": "regular", "value": "vl"}}}),
			`parsers[0] (parser).parse_states[0] (start).parser_ops[0] extract.parameters[0]: extract is for headers ` +
				`of fixed size and extract_VL for the others: vl`},
		{"next state", state("transitions", array{object{"type": "default", "next_state": "gone"}}),
			`parsers[0] (parser).parse_states[0] (start).transitions[0].next_state: no parse state "gone"`},
		{"value set", state("transitions", array{object{"type": "parse_vset", "value": "set", "next_state": nil}}),
			`parsers[0] (parser).parse_states[0] (start).transitions[0]: unknown transition type "parse_vset"`},
		{"key", state("transition_key", array{object{"type": "stack_field", "value": array{"s", "f"}}}),
			`parsers[0] (parser).parse_states[0] (start).transition_key[0]: unknown key type "stack_field"`},
		{"transition value too wide", func() object {
			prog := state("transitions", array{object{"type": "hexstr", "value": "0x100", "next_state": nil}})
			prog["parsers"].(array)[0].(object)["parse_states"].(array)[0].(object)["transition_key"] = array{pkt("a")}
			return prog
		}(), `parsers[0] (parser).parse_states[0] (start).transitions[0].value: hexstr 0x100 does not fit 1 bytes`},
		{"negative transition value", func() object {
			prog := state("transitions", array{object{"type": "hexstr", "value": "-0x1", "next_state": nil}})
			prog["parsers"].(array)[0].(object)["parse_states"].(array)[0].(object)["transition_key"] = array{pkt("a")}
			return prog
		}(), `parsers[0] (parser).parse_states[0] (start).transitions[0].value: hexstr -0x1 is negative, and its ` +
			`part of the key is not`},
		{"header stack", section("header_stacks", object{"name": "vlan", "id": 0}),
			`header_stacks[0] (vlan): not supported`},
		{"header union", section("header_unions", object{"name": "u"}), `header_unions[0] (u): not supported`},
		{"meter that counts neither packets nor bytes",
			section("meter_arrays", object{"name": "m", "size": 1, "rate_count": 2}),
			`meter_arrays[0] (m): type must be packets or bytes, is ""`},
		{"meter of one rate", section("meter_arrays", object{"name": "m", "size": 1, "type": "bytes", "rate_count": 1}),
			`meter_arrays[0] (m): rate_count must be 2, is 1`},
		{"meter size", section("meter_arrays", object{"name": "m", "size": -1, "type": "bytes", "rate_count": 2}),
			`meter_arrays[0] (m): size must be 0..67108864, is -1`},
		{"meter of an entry without a place for the color",
			section("meter_arrays", object{"name": "m", "is_direct": true, "type": "bytes",
				"rate_count": 2, "result_target": array{"pkt", "x"}}),
			`meter_arrays[0] (m).result_target: header pkt has no field "x"`},
		{"no such meter", base(primitive("execute_meter", object{"type": "meter_array", "value": "m"}, hexstr("0"),
			pkt("a"))),
			`actions[0] (main).primitives[1] execute_meter.parameters[0]: no meter "m"`},
		{"extern", section("extern_instances", object{"name": "x"}), `extern_instances[0] (x): not supported`},
		{"algorithm", section("calculations", object{"name": "c", "algo": "md5", "input": array{}}),
			`calculations[0] (c): unknown algorithm "md5"`},
		{"calculation input", section("calculations",
			object{"name": "c", "algo": "crc32", "input": array{object{"type": "moon"}}}),
			`calculations[0] (c).input[0]: unknown input type "moon"`},
		{"calculation of an expression",
			section("calculations", object{"name": "c", "algo": "crc32",
				"input": array{infix("+", pkt("a"), pkt("a"))}}),
			`calculations[0] (c).input[0]: an expression must be d2b of a field of one bit`},
		{"calculation of a number as bool",
			section("calculations", object{"name": "c", "algo": "crc32", "input": array{prefix("d2b", pkt("a"))}}),
			`calculations[0] (c).input[0]: an expression must be d2b of a field of one bit`},
		{"calculation of a constant",
			section("calculations", object{"name": "c", "algo": "crc32",
				"input": array{object{"type": "hexstr", "value": "-0x81", "bitwidth": 8}}}),
			`calculations[0] (c).input[0]: hexstr -0x81 does not fit 8 bits`},
		{"checksum", section("checksums", object{"name": "c", "type": "ipv4"}),
			`checksums[0] (c): unknown type "ipv4"`},
		{"register width", section("register_arrays", object{"name": "r", "size": 1, "bitwidth": 65536}),
			`register_arrays[0] (r): bitwidth must be 1..65535, is 65536`},
		{"register that is too large",
			section("register_arrays", object{"name": "r", "size": 1 << 26, "bitwidth": 136}),
			`register_arrays[0] (r): 67108864 cells of 136 bits take 1140850688 bytes, must take 1073741824 at most`},
		{"counter size", section("counter_arrays", object{"name": "c", "size": -1}),
			`counter_arrays[0] (c): size must be 0..67108864, is -1`},
		{"no deparser", section("deparsers"), `deparsers: simple_switch needs one, called "deparser"`},
		{"third pipeline", func() object {
			prog := base()
			prog["pipelines"] = append(prog["pipelines"].(array), object{"name": "third"})
			return prog
		}(), `pipelines[2] (third): simple_switch runs pipelines called ingress and egress only`},
		{"control that comes back", func() object {
			prog := base()
			prog["pipelines"].(array)[0].(object)["action_calls"].(array)[0].(object)["next_node"] = "call"
			return prog
		}(), `pipelines[0] (ingress): control flow comes back to call`},
		{"condition", func() object {
			prog := base()
			prog["pipelines"].(array)[0].(object)["conditionals"] = array{object{"name": "if", "expression": pkt("a")}}
			return prog
		}(), `pipelines[0] (ingress).conditionals[0] (if).expression: must be boolean`},
		{"table type", inTable("type", "indirect_ws"), `pipelines[0] (ingress).tables[0] (t): table type ` +
			`"indirect_ws" is not supported: its actions are in an action profile`},
		{"match type", inTable("match_type", "fuzzy"),
			`pipelines[0] (ingress).tables[0] (t): unknown match_type "fuzzy"`},
		{"direct meter", inTable("direct_meters", "m"),
			`pipelines[0] (ingress).tables[0] (t).direct_meters: no direct meter "m"`},
		{"next table", inTable("next_tables", object{"answer": "gone"}),
			`pipelines[0] (ingress).tables[0] (t).next_tables.answer: no table or conditional "gone"`},
		{"key kind", withTable("exact", "a:selector"),
			`pipelines[0] (ingress).tables[0] (t).key[0] (a): unknown match_type "selector"`},
		{"key of another kind", withTable("exact", "a:ternary"),
			`pipelines[0] (ingress).tables[0] (t).key[0] (a): ternary key in a table of match_type exact`},
		{"two prefixes", withTable("lpm", "b:lpm", "c:lpm"),
			`pipelines[0] (ingress).tables[0] (t).key[1] (c): lpm key in a table of match_type lpm`},
		{"default entry", inTable("default_entry", object{"action_id": 1, "action_data": array{}}),
			`pipelines[0] (ingress).tables[0] (t).default_entry: action answer takes 1 parameters, has 0`},
		{"const entry twice", inTable("entries", array{
			object{"match_key": array{object{"match_type": "exact", "key": "0x01"}},
				"action_entry": object{"action_id": 2, "action_data": array{}}},
			object{"match_key": array{object{"match_type": "exact", "key": "0x01"}},
				"action_entry": object{"action_id": 2, "action_data": array{}}},
		}), `pipelines[0] (ingress).tables[0] (t).entries[1]: entry exists`},
		{"number in the place of a name", section("calculations", object{"name": 7}),
			`calculations.name: must be a string, is number`},
		{"object in the place of a list", func() object {
			prog := base()
			prog["parsers"] = object{}
			return prog
		}(), `parsers: must be an array, is object`},
		{"word in the place of a truth value", func() object {
			prog := base()
			prog["header_types"].(array)[1].(object)["fields"] = array{array{"a", 8, "no"}}
			return prog
		}(), `header_types[1] (pkt_t).fields[0][2]: must be true or false, is "no"`},
		{"width that is no number", func() object {
			prog := base()
			prog["header_types"].(array)[1].(object)["fields"] = array{array{"a", true}}
			return prog
		}(), `header_types[1] (pkt_t).fields[0]: must be a whole number, is bool`},
		{"copy of a header of another type", base(primitive("assign_header", header1("vl"), header1("pkt"))),
			`actions[0] (main).primitives[1] assign_header: header vl is a vl_t, and what is copied to it is a pkt_t`},
		{"copy of a number", base(primitive("assign_header", header1("pkt"), pkt("a"))),
			`actions[0] (main).primitives[1] assign_header.parameters[1]: must be a header`},
		{"choice of unlike headers",
			base(primitive("assign_header", header1("pkt"), choose(truth(true), header1("pkt"), header1("vl")))),
			`actions[0] (main).primitives[1] assign_header.parameters[1] ?: both alternatives must be numbers, both ` +
				`boolean, or both headers of one type`},
		{"assertion of a header", base(primitive("assert", header1("pkt"))),
			`actions[0] (main).primitives[1] assert.parameters[0]: must be a number`},
		{"older primitive with too few parameters", base(primitive("add", pkt("a"), pkt("b"))),
			`actions[0] (main).primitives[1] add: takes 3 parameters, has 2`},
		{"older primitive on a header", base(primitive("add_to_field", pkt("a"), header1("pkt"))),
			`actions[0] (main).primitives[1] add_to_field.parameters[1]: must be a number`},
		{"select on a variable field",
			state("transition_key", array{object{"type": "field", "value": array{"vl", "v"}}}),
			`parsers[0] (parser).parse_states[0] (start).transition_key[0]: variable field vl.v cannot be selected on`},
		{"header that is no whole bytes", func() object {
			prog := base()
			prog["header_types"].(array)[1].(object)["fields"] = array{array{"a", 7, false}}
			return prog
		}(), `headers[1] (pkt): is 7 bits wide, must be a multiple of 8`},
		{"no standard metadata", func() object {
			prog := base()
			prog["headers"] = prog["headers"].(array)[1:]
			delete(prog, "field_aliases")
			return prog
		}(), `headers: simple_switch needs standard_metadata.ingress_port`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(tt.prog)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error\n got %v\nwant %s", err, tt.want)
			}
		})
	}
	for _, tt := range []struct{ text, want string }{
		{"P4", "device config is not bmv2 JSON: invalid character 'P' looking for beginning of value"},
		{`{"__meta__": {"version": [3, 0]}}`, "__meta__.version: major version must be 2, is 3"},
		{`{}`, "headers: simple_switch needs standard_metadata.ingress_port"},
	} {
		if _, err := Load([]byte(tt.text)); err == nil || err.Error() != tt.want {
			t.Errorf("Load(%s)\n got %v\nwant %s", tt.text, err, tt.want)
		}
	}
}
