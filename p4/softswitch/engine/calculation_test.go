package engine

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
)

// A CRC by tables is that of the same bytes.
func TestLinearCalculations(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 9))
	for _, name := range []string{"crc16", "crc16_custom", "crc32", "crc32_custom", "crcCCITT"} {
		for _, widths := range [][]int{{8}, {16, 8}, {64, 48}, {32, 32, 8, 16, 16}, {24, 40, 56, 8}} {
			t.Run(fmt.Sprint(name, widths), func(t *testing.T) {
				c := &compiler{headers: make(map[string]*header), linear: make(map[string][][256]uint32)}
				kind := &headerType{name: "meta_t"}
				var inputs []valueJSON
				for i, bits := range widths {
					field := fmt.Sprint("f", i)
					kind.fields = append(kind.fields, fieldType{name: field, bits: bits})
					ref, err := json.Marshal([]string{"meta", field})
					if err != nil {
						t.Fatal(err)
					}
					inputs = append(inputs, valueJSON{Type: "field", Value: ref})
				}
				if err := c.addHeader("", "meta", kind, true); err != nil {
					t.Fatal(err)
				}
				k := &calculation{hash: algorithms[name]}
				k.linear(c, name, inputs)
				if len(k.parts) != len(widths) {
					t.Fatalf("%d parts, want %d", len(k.parts), len(widths))
				}
				r := &Runner{words: make([]uint64, c.words)}
				for range 200 {
					var input []byte
					for i, f := range c.headers["meta"].fields {
						v := random.Uint64() & ones(widths[i])
						r.words[f.word] = v
						input = append(input, bytesOf(v, widths[i]/8)...)
					}
					if got, want := k.output(r), k.hash(input); got != want {
						t.Fatalf("of %x: %#x, want %#x", input, got, want)
					}
				}
			})
		}
	}
}
