package engine

import (
	"fmt"
	"testing"
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
			prog["headers"] = append(prog["headers"].(array), object{"name": "tail", "id": 5, "header_type": "pkt_t", "metadata": false})
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
