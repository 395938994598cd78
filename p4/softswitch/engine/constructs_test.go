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
	assert["source_info"] = object{"filename": "x.p4", "line": 7, "column": 3, "source_fragment": "assert(hdr.pkt.a == 2)"}
	inAction := base(assert, counted)
	inEgress := base(counted)
	inEgress["actions"] = append(inEgress["actions"].(array), action1(1, "egress", nil, assert))
	egress := inEgress["pipelines"].(array)[1].(object)
	egress["init_table"] = "check"
	egress["action_calls"] = array{object{"name": "check", "id": 0, "action_id": 1, "next_node": nil}}
	inParser := base(counted)
	start := inParser["parsers"].(array)[0].(object)["parse_states"].(array)[0].(object)
	start["parser_ops"] = append(start["parser_ops"].(array), object{"op": "primitive", "parameters": array{primitive("assume", isTwo)}})
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
		primitive("assign_header", header1("copy"), choose(prefix("valid", header1("pkt")), header1("pkt"), header1("copy"))),
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
