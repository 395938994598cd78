package engine

import (
	"fmt"
	"testing"
)

// What an action has computed it does not compute again, as long as that is the same. 8 bits of metadata hold it, and
// 8 others are to hold it too.
func TestRepeats(t *testing.T) {
	meta := func(name string) object { return fieldRef("meta", name) }
	sum := infix("+", pkt("a"), hexstr("0x1"))
	first := primitive("assign", meta("a"), wrapped(sum))
	second := primitive("assign", meta("s"), wrapped(sum))
	show := assign("a", infix("&", meta("s"), hexstr("0xff")))
	for _, tt := range []struct {
		name   string
		does   array
		want   byte // of a packet whose first byte is 5
		copies int  // steps that copy
	}{
		{"the same", array{first, second, show}, 6, 1},
		{"what it is made of has changed", array{first, assign("a", hexstr("0x9")), second, show}, 10, 0},
		{"what it is made of is drawn", array{first, primitive("modify_field_rng_uniform", pkt("a"), hexstr("0x7"),
			hexstr("0x7")), second, show}, 8, 0},
		{"where it was is something else now", array{first, primitive("assign", meta("a"), hexstr("0x3")), second,
			show}, 6, 0},
		{"another thing has changed", array{first, assign("b", hexstr("0x9")), second, show}, 6, 1},
		{"a header is added", array{first, primitive("add_header", header1("copy")), second, show}, 6, 0},
		{"it is made of where it goes", array{
			primitive("assign", meta("a"), pkt("a")),
			primitive("assign", meta("a"), wrapped(infix("+", meta("a"), hexstr("0x1")))),
			primitive("assign", meta("s"), wrapped(infix("+", meta("a"), hexstr("0x1")))), show}, 7, 0},
		{"it is jumped over", array{primitive("_jump", hexstr("0x3")), first, second, show}, 6, 0},
		{"another width", array{primitive("assign", meta("b"), wrapped(sum)), second, show}, 6, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			frame := append(zeros(), 0)
			frame[0] = 5
			p := mustLoad(t, base(tt.does...))
			if got, want := through(t, p, frame)[:2], fmt.Sprintf("%02x", tt.want); got != want {
				t.Errorf("first byte %s, want %s", got, want)
			}
			copies := 0
			for _, step := range p.ingress.general.action.steps {
				if step.kind == setSpot && !step.from.inBytes {
					copies++
				}
			}
			if copies != tt.copies {
				t.Errorf("%d steps copy metadata, want %d", copies, tt.copies)
			}
		})
	}
}
