package engine

import (
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A packet that an assertion does not hold for is dropped at once and counted; the next one is none the worse.
func TestAssertions(t *testing.T) {
	isTwo := prefix("b2d", infix("==", pkt("a"), hexstr("0x2")))
	counted := primitive("count", object{"type": "counter_array", "value": "after"}, hexstr("0x0"))
	assert := primitive("assert", isTwo)
	assert["source_info"] = object{"filename": "x.p4", "line": 7, "column": 3,
		"source_fragment": "assert(hdr.pkt.a == 2)"}
	inAction := base(assert, counted)
	inEgress := base(counted)
	inEgress["actions"] = append(inEgress["actions"].(array), action1(1, "egress", nil, assert))
	egress := inEgress["pipelines"].(array)[1].(object)
	egress["init_table"] = "check"
	egress["action_calls"] = array{object{"name": "check", "id": 0, "action_id": 1, "next_node": nil}}
	inParser := base(counted)
	start := inParser["parsers"].(array)[0].(object)["parse_states"].(array)[0].(object)
	start["parser_ops"] = append(start["parser_ops"].(array),
		object{"op": "primitive", "parameters": array{primitive("assume", isTwo)}})
	for _, tt := range []struct {
		name  string
		prog  object
		where string
		after uint64 // packets that got past the action
	}{
		{"in ingress", inAction, "x.p4(7): assert(hdr.pkt.a == 2)", 2},
		{"in egress", inEgress, "x.p4(7): assert(hdr.pkt.a == 2)", 3},
		{"in the parser", inParser, "parsers[0] (parser).parse_states[0] (start).parser_ops[1] primitive assume", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.prog["counter_arrays"] = array{object{"name": "after", "size": 1, "is_direct": false}}
			p := mustLoad(t, tt.prog)
			rec := new(recorder)
			r := p.NewRunner(rec)
			for i, a := range []byte{2, 1, 2} {
				frame := zeros()
				frame[0] = a
				r.Process(1, frame, time.Second)
				if failed := r.Failed(); (failed != nil) != (a != 2) || failed != nil && failed.Where != tt.where {
					t.Errorf("packet %d failed %+v, want only those other than 2 to, at %s", i, failed, tt.where)
				}
			}
			if len(rec.frames) != 2 {
				t.Errorf("%d frames left, want 2", len(rec.frames))
			}
			all := p.Assertions()
			if len(all) != 1 || all[0].Failed() != 1 {
				t.Errorf("assertions: %+v, want one that failed once", all)
			}
			if n, _ := p.Counter("after").Read(0); n != tt.after {
				t.Errorf("%d packets got past the assertion, want %d", n, tt.after)
			}
		})
	}
}

// A cell of more than 64 bits is read and written as a whole, by clients and packets at once.
func TestWideRegister(t *testing.T) {
	register := object{"type": "register_array", "value": "r"}
	prog := base(
		primitive("register_read", pkt("w"), register, hexstr("0x1")),
		primitive("register_write", register, hexstr("0x0"), pkt("w")),
		primitive("register_write", register, hexstr("0x2"), hexstr("-0x1")), // beyond the end
	)
	prog["register_arrays"] = array{object{"name": "r", "size": 2, "bitwidth": 100}}
	p := mustLoad(t, prog)
	reg := p.Register("r")
	halves := [][]byte{unhex("00 000000000000 000000000000"), unhex("0f ffffffffffff ffffffffffff")}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 2000 {
			reg.Write(1, halves[i%2])
		}
	})
	rec := new(recorder)
	r := p.NewRunner(rec)
	for range 500 {
		r.Process(1, zeros(), time.Second)
	}
	wg.Wait()
	const at = 2 * atW
	seen := map[string]bool{}
	for _, f := range rec.frames {
		seen[f.Frame[at:at+32]] = true
	}
	delete(seen, "00000000000000000000000000000000")
	delete(seen, "0000000fffffffffffffffffffffffff")
	if len(seen) > 0 {
		t.Errorf("packets read what nobody wrote: %v", seen)
	}
	reg.Write(1, unhex("01 234567890abc def012345678"))
	r.Process(1, zeros(), time.Second)
	if diff := cmp.Diff(unhex("01 234567890abc def012345678"), reg.Read(0)); diff != "" {
		t.Errorf("what a packet wrote (-want +got):\n%s", diff)
	}
}

// What is rare costs no allocation either; negative numbers of more than 64 bits, which constructs.p4 has, do.
func TestRarePacketsAllocateNothing(t *testing.T) {
	register := object{"type": "register_array", "value": "r"}
	wide := base(
		primitive("register_read", pkt("w"), register, hexstr("0x1")),
		primitive("register_write", register, hexstr("0x0"), pkt("w")),
		primitive("assign_header", header1("copy"), choose(prefix("valid", header1("pkt")), header1("pkt"),
			header1("copy"))),
		primitive("assert", prefix("b2d", truth(true))),
		primitive("truncate", hexstr("0x10")),
	)
	wide["register_arrays"] = array{object{"name": "r", "size": 2, "bitwidth": 128}}
	selects, err := os.ReadFile("testdata/wide.json")
	if err != nil {
		t.Fatal(err)
	}
	selecting, err := Load(selects)
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]*Program{"actions": mustLoad(t, wide), "select over 128 bits": selecting} {
		r := p.NewRunner(discard{})
		frame := make([]byte, 40)
		frame[16], frame[17] = 0xff, 2
		if n := testing.AllocsPerRun(50, func() { r.Process(1, frame, time.Second) }); n != 0 {
			t.Errorf("%s: %v allocations per packet", name, n)
		}
	}
}

// What a select compares with is made of its parts by shifting and adding, negative ones too: the values are those of
// p4c. bmv2 dies of them.
func TestNegativeSelect(t *testing.T) {
	for _, tt := range []struct {
		name        string
		key         array
		value, mask any
		a, s        byte // of the packet
		want        bool
	}{
		{"-1", array{pkt("s")}, "-0x01", nil, 0, 0xff, true},
		{"-1, but it is 1", array{pkt("s")}, "-0x01", nil, 0, 1, false},
		{"-128", array{pkt("s")}, "-0x80", nil, 0, 0x80, true},
		{"-16 in the upper half", array{pkt("s")}, "-0x10", "0xf0", 0, 0xf7, true},
		{"-16 in the upper half, but it is 0", array{pkt("s")}, "-0x10", "0xf0", 0, 7, false},
		{"(-1, 3)", array{pkt("s"), pkt("a")}, "-0xfd", nil, 3, 0xff, true},
		{"(-1, 3), but it is -2", array{pkt("s"), pkt("a")}, "-0xfd", nil, 3, 0xfe, false},
		{"(0, -1)", array{pkt("a"), pkt("s")}, "-0x01", nil, 0, 0xff, true},
		{"(0, -1), but it is (255, -1)", array{pkt("a"), pkt("s")}, "-0x01", nil, 0xff, 0xff, false},
		{"(-1, -1)", array{pkt("s"), pkt("s")}, "-0x101", nil, 0, 0xff, true},
		{"more than 64 bits", array{pkt("s"), pkt("d"), pkt("a")}, "-0xfffffffffffffffffd", nil, 3, 0xff, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			prog := base()
			parser := prog["parsers"].(array)[0].(object)
			start := parser["parse_states"].(array)[0].(object)
			start["transition_key"] = tt.key
			start["transitions"] = array{
				object{"type": "hexstr", "value": tt.value, "mask": tt.mask, "next_state": "met"},
				object{"type": "default", "value": nil, "mask": nil, "next_state": nil},
			}
			parser["parse_states"] = append(parser["parse_states"].(array), object{
				"name": "met", "id": 1, "transition_key": array{}, "transitions": array{},
				"parser_ops": array{object{"op": "set", "parameters": array{pkt("b"), hexstr("0x1234")}}},
			})
			frame := zeros()
			frame[0], frame[31] = tt.a, tt.s
			got := through(t, mustLoad(t, prog), frame)
			if met := got[2:6] == "1234"; met != tt.want {
				t.Errorf("met is %v, want %v: %s", met, tt.want, got)
			}
		})
	}
}

// A hash takes a bool as one bit, and a negative number in two's complement.
func TestHashOfBoolsAndNegatives(t *testing.T) {
	flag := object{"name": "flag_t", "id": 7, "fields": array{array{"f", 1, 0}, array{"rest", 7, 0}}}
	prog := base(
		primitive("assign", fieldRef("flag", "f"), hexstr("0x1")),
		primitive("modify_field_with_hash_based_offset", pkt("d"), hexstr("0x0"),
			object{"type": "calculation", "value": "c"}, hexstr("0x100000000")),
	)
	prog["header_types"] = append(prog["header_types"].(array), flag)
	prog["headers"] = append(prog["headers"].(array), object{"name": "flag", "id": 5, "header_type": "flag_t",
		"metadata": true})
	constant := func(s string, bits int) object { return object{"type": "hexstr", "value": s, "bitwidth": bits} }
	prog["calculations"] = array{object{"name": "c", "algo": "identity", "input": array{
		prefix("d2b", fieldRef("flag", "f")), constant("-0x2", 12), constant("0x5", 3), constant("-0x80", 8),
	}}}
	got := through(t, mustLoad(t, prog), zeros())
	if got, want := got[14:30], "0000000000fff580"; got != want { // 1, 1111 1111 1110, 101, 1000 0000
		t.Errorf("the hash is %s, want %s", got, want)
	}
}
