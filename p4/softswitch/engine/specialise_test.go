package engine

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/packet"
)

// However many nodes are copied, none included, a program does the same with every packet.
func TestCopiesDoAsTheProgram(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 7))
	programs := map[string][]byte{"sluice": p4.DeviceConfig()}
	paths, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if programs[path], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	for name, config := range programs {
		t.Run(name, func(t *testing.T) {
			var frames [][]byte
			for i := range 500 {
				frame := randomFrame(random)
				if name == "sluice" {
					frame = randomClient(random)
				}
				frame[0] ^= byte(i)
				frames = append(frames, frame[:len(frame)-random.IntN(2)*random.IntN(len(frame))])
			}
			pass := func(copies int) *recorder {
				p, err := loadCopying(config, copies)
				if err != nil {
					t.Fatal(err)
				}
				if name == "sluice" {
					fillSluice(t, p)
				}
				p.SetMulticastGroup(7, []Replica{{1, 1}, {2, 2}, {1, 3}})
				out := new(recorder)
				r := p.NewRunner(out)
				for i, frame := range frames {
					out.digests = append(out.digests, fmt.Sprint("packet ", i))
					r.Process(uint16(1+i%3), frame, time.Second)
				}
				return out
			}
			want := pass(0)
			for _, copies := range []int{1, 7, 50, copyLimit} {
				got := pass(copies)
				if diff := cmp.Diff(want.frames, got.frames); diff != "" {
					t.Errorf("%d copies: frames (-want +got):\n%s", copies, diff)
				}
				if diff := cmp.Diff(want.digests, got.digests); diff != "" {
					t.Errorf("%d copies: digests (-want +got):\n%s", copies, diff)
				}
			}
		})
	}
}

func randomFrame(random *rand.Rand) []byte {
	frame := make([]byte, 1+random.IntN(100))
	for i := range frame {
		frame[i] = [...]byte{0, 1, 0xff, byte(random.Uint32())}[random.IntN(4)]
	}
	return frame
}

// randomClient is a packet to a VIP, or what became of one.
func randomClient(random *rand.Rand) []byte {
	flags := [...]uint8{packet.SYN, packet.ACK, packet.SYN | packet.ACK}
	frame := toVIP(flags[random.IntN(3)], uint16(random.IntN(100)))
	switch random.IntN(8) {
	case 0:
		frame = withOptions(frame, 4*random.IntN(11))
	case 1:
		frame = change(frame, 12, 0x81, 0) // a tag
	case 2:
		frame = change(frame, 12, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1) // ARP
	case 3:
		frame = at6([...]packet.MAC{web1MAC, web2MAC, otherMAC, vipMAC}[random.IntN(4)], frame)
	}
	frame[random.IntN(len(frame))] ^= byte(random.IntN(2) << random.IntN(8))
	return frame
}

// What a copied control still asks.
func TestWhatIsKnownIsNotAsked(t *testing.T) {
	meta := func(name string) object { return fieldRef("meta", name) }
	set := func(to object, value string) object { return primitive("assign", to, hexstr(value)) }
	valid := func(h string) object { return prefix("d2b", fieldRef(h, "$valid$")) }
	is := func(l object, value string) object { return infix("==", l, hexstr(value)) }
	extract := object{"op": "extract", "parameters": array{object{"type": "regular", "value": "pkt"}}}
	parserSets := object{"op": "set", "parameters": array{meta("a"), hexstr("0x1")}}
	tests := []struct {
		name      string
		parser    array
		before    object // an action's primitive before the condition
		condition object
		want      string
	}{
		{"a header that the parser took", array{extract}, nil, valid("pkt"), "yes"},
		{"a header that it does not know", array{extract}, nil, valid("copy"), "no"},
		{"metadata that nothing set", array{extract}, nil, is(meta("a"), "0x0"), "yes"},
		{"metadata that an action set", array{extract}, set(meta("a"), "0x2"), is(meta("a"), "0x2"), "yes"},
		{"metadata that an action copied", array{extract}, primitive("assign", meta("b"), meta("a")),
			is(meta("b"), "0x0"), "yes"},
		{"two of them", array{extract}, nil, infix("==", meta("a"), meta("b")), "yes"},
		{"both parts", array{extract}, nil, infix("and", valid("pkt"), is(meta("a"), "0x1")), "no"},
		{"one part", array{extract}, nil, infix("and", valid("pkt"), is(pkt("a"), "0x1")), "asks"},
		{"metadata that the parser may set", array{extract, parserSets}, nil, is(meta("a"), "0x0"), "asks"},
		{"metadata that an action set to a field", array{extract}, primitive("assign", meta("a"), pkt("a")),
			is(meta("a"), "0x0"), "asks"},
		{"what the target sets", array{extract}, nil, is(std("ingress_port"), "0x0"), "asks"},
		{"a header that an action took away", array{extract}, primitive("remove_header", header1("pkt")),
			valid("pkt"), "asks"},
		{"a header whose validity the parser sets", array{extract, object{"op": "set",
			"parameters": array{fieldRef("copy", "$valid$"), hexstr("0x1")}}}, nil, valid("copy"), "asks"},
		{"after a primitive of the parser that does something else", array{extract, object{"op": "primitive",
			"parameters": array{primitive("add_header", header1("copy"))}}}, nil, is(meta("a"), "0x0"), "asks"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			prog := base()
			state := prog["parsers"].(array)[0].(object)["parse_states"].(array)[0].(object)
			state["parser_ops"] = tt.parser
			primitives := array{}
			if tt.before != nil {
				primitives = append(primitives, tt.before)
			}
			prog["actions"] = append(prog["actions"].(array),
				action1(1, "before", nil, primitives...),
				action1(2, "yes", nil, set(pkt("b"), "0x1")), action1(3, "no", nil, set(pkt("b"), "0x2")))
			ingress := prog["pipelines"].(array)[0].(object)
			ingress["init_table"] = "before"
			ingress["action_calls"] = array{
				object{"name": "before", "id": 0, "action_id": 1, "next_node": "condition"},
				object{"name": "yes", "id": 1, "action_id": 2, "next_node": nil},
				object{"name": "no", "id": 2, "action_id": 3, "next_node": nil},
			}
			ingress["conditionals"] = array{object{"name": "condition", "id": 0, "expression": tt.condition,
				"true_next": "yes", "false_next": "no"}}
			p := mustLoad(t, prog)
			n := p.ingress.start(1)
			for n.name == "before" {
				n = n.yes
			}
			got := n.name
			if n.kind == sameWord || n.kind == sameValue || n.kind == sameSpot || n.kind == condition {
				got = "asks"
			}
			if got != tt.want {
				t.Errorf("comes to %q (kind %d), want %q", got, n.kind, tt.want)
			}
		})
	}
}

// Copying is bounded by the ways that it goes, and not by nodes alone: a table has one for each of its actions.
func TestCopiesAreFew(t *testing.T) {
	const tables, actions, limit = 20, 40, 200
	prog := base()
	ids, names := array{}, array{}
	for i := range actions {
		name := fmt.Sprintf("set%d", i)
		value := hexstr(fmt.Sprintf("%#x", i))
		prog["actions"] = append(prog["actions"].(array),
			action1(1+i, name, nil, primitive("assign", fieldRef("meta", "a"), value)))
		ids, names = append(ids, 1+i), append(names, name)
	}
	var chain array
	for i := range tables {
		table := table1(withTable("exact", "a:exact"))
		next := object{}
		for _, name := range names {
			next[name.(string)] = "last"
			if i+1 < tables {
				next[name.(string)] = fmt.Sprint("t", i+1)
			}
		}
		table["name"], table["id"], table["action_ids"], table["actions"] = fmt.Sprint("t", i), i, ids, names
		table["next_tables"], table["default_entry"] = next, nil
		chain = append(chain, table)
	}
	ingress := prog["pipelines"].(array)[0].(object)
	ingress["init_table"], ingress["tables"] = "t0", chain
	ingress["conditionals"] = array{object{"name": "last", "id": 0, "expression": infix("==", fieldRef("meta", "a"),
		hexstr("0x1")), "true_next": "call", "false_next": nil}}
	config, err := json.Marshal(prog)
	if err != nil {
		t.Fatal(err)
	}
	ways := func(copies int) int {
		p, err := loadCopying(config, copies)
		if err != nil {
			t.Fatal(err)
		}
		n, seen, open := 0, make(map[*node]bool), []*node{p.ingress.general}
		for _, s := range p.ingress.starts {
			open = append(open, s.node)
		}
		for len(open) > 0 {
			at := open[len(open)-1]
			if open = open[:len(open)-1]; at == nil || seen[at] {
				continue
			}
			seen[at] = true
			n += 1 + len(at.next)
			open = append(open, at.after()...)
		}
		return n
	}
	if more, most := ways(limit)-ways(0), limit+actions; more <= 0 || more > most {
		t.Errorf("copies have %d nodes and ways, want 1 to %d", more, most)
	}
}
