package engine

import (
	"fmt"
	"testing"
	"time"
)

// A variable field that is longer than its room ends the parse, and the header that lies behind it in
// memory stays as it is.
func TestVariableFieldKeepsToItsRoom(t *testing.T) {
	for _, tt := range []struct {
		name string
		bits string
		want bool // vl is there
	}{
		{"as long as its room", "0x40", true},
		{"a byte longer", "0x48", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			prog := base(
				primitive("assign_header", header1("copy"), header1("tail")),
				primitive("assign", fieldRef("copy", "a"), fieldRef("vl", "$valid$")))
			prog["headers"] = append(prog["headers"].(array), object{"name": "tail", "id": 5, "header_type": "pkt_t",
				"metadata": false})
			prog["deparsers"].(array)[0].(object)["order"] = array{"copy", "tail", "vl"}
			state := prog["parsers"].(array)[0].(object)["parse_states"].(array)[0].(object)
			state["parser_ops"] = array{
				object{"op": "extract", "parameters": array{object{"type": "regular", "value": "tail"}}},
				object{"op": "extract_VL", "parameters": array{
					object{"type": "regular", "value": "vl"}, object{"type": "expression", "value": hexstr(tt.bits)}}},
			}
			frame := zeros()
			for i := range frame {
				frame[i] = 0x11
			}
			for i := range 16 {
				frame = append(frame, 0xa0+byte(i))
			}
			copied := append([]byte{0}, frame[1:32]...)
			if tt.want {
				copied[0] = 1
			}
			if got, want := through(t, mustLoad(t, prog), frame), fmt.Sprintf("%x%x", copied, frame); got != want {
				t.Errorf("frame\n got %s\nwant %s", got, want)
			}
		})
	}
}

// p4c keeps a varbit<W> variable in metadata of its own, and what a hash takes of one too. bmv2 dies of the hash.
func TestVariableFieldInMetadata(t *testing.T) {
	prog := base(
		primitive("assign_VL", fieldRef("kept", "v"), fieldRef("vl", "v")),
		primitive("assign_VL", fieldRef("vl", "v"), fieldRef("short", "v")),
		primitive("modify_field_with_hash_based_offset", pkt("d"), hexstr("0x0"),
			object{"type": "calculation", "value": "c"}, hexstr("0x10000000000000000")),
	)
	prog["headers"] = append(prog["headers"].(array),
		object{"name": "kept", "id": 5, "header_type": "vl_t", "metadata": true},
		object{"name": "short", "id": 6, "header_type": "vl_t", "metadata": true})
	prog["calculations"] = array{object{"name": "c", "algo": "identity", "input": array{
		object{"type": "hexstr", "value": "0xab", "bitwidth": 8}, fieldRef("short", "v"), fieldRef("kept", "v"),
	}}}
	state := prog["parsers"].(array)[0].(object)["parse_states"].(array)[0].(object)
	state["parser_ops"] = append(state["parser_ops"].(array), object{"op": "extract_VL", "parameters": array{
		object{"type": "regular", "value": "vl"}, object{"type": "expression", "value": fieldRef("pkt", "a")}}})
	rec := new(recorder)
	r := mustLoad(t, prog).NewRunner(rec)
	for i, tt := range []struct {
		bits byte
		want string // pkt.d
	}{
		{24, "00000000" + "ab010203"},
		{0, "00000000" + "000000ab"}, // nothing is left of the packet before
	} {
		frame := append(zeros(), 1, 2, 3)
		frame[0] = tt.bits
		r.Process(1, frame, time.Second)
		if len(rec.frames) != i+1 {
			t.Fatalf("%d frames left, want %d", len(rec.frames), i+1)
		}
		got := rec.frames[i].Frame
		if d := got[14:30]; d != tt.want {
			t.Errorf("%d bits: the hash is %s, want %s", tt.bits, d, tt.want)
		}
		if n := len(got) / 2; n != len(frame)-int(tt.bits)/8 { // vl.v is that of short now, which is empty
			t.Errorf("%d bits: %d bytes leave, want %d", tt.bits, n, len(frame)-int(tt.bits)/8)
		}
	}
}
