package p4_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"

	"github.com/sluicelb/sluice/p4"
)

var update = flag.Bool("update", false, "write docs/resources.md anew")

const resources = "../docs/resources.md"

var (
	constant  = regexp.MustCompile(`const bit<\d+>\s+(\w+_SIZE|BANKS|MARKS)\s*=\s*\d+;(?: *// (.*))?`)
	tableSize = regexp.MustCompile(`(?s)\btable (\w+) \{.*?\n        size = (\w+);`)
	arraySize = regexp.MustCompile(`\n    (?:register<bit<32>>|counter|meter)\((\w+)[,)][^;]*?(\w+);`)
	comment   = regexp.MustCompile(`\s*//.*`)
)

// sizes are the names of the sizes of tables and arrays in the P4 source, and what it says of each name.
func sizes(t *testing.T) (of, says map[string]string) {
	t.Helper()
	files, err := filepath.Glob("include/*.p4")
	if err != nil {
		t.Fatal(err)
	}
	of, says = make(map[string]string), make(map[string]string)
	for _, name := range append(files, "sluice.p4") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range constant.FindAllStringSubmatch(string(text), -1) {
			says[m[1]] = m[2]
		}
		code := comment.ReplaceAllString(string(text), "")
		for _, m := range tableSize.FindAllStringSubmatch(code, -1) {
			of[m[1]] = m[2]
		}
		for _, m := range arraySize.FindAllStringSubmatch(code, -1) {
			of[m[2]] = m[1]
		}
	}
	return of, says
}

// docs/resources.md says what a switch needs for the pipeline, as compiled; with -update it is written.
func TestResources(t *testing.T) {
	info, program := p4.P4Info(), parseProgram(t)
	of, says := sizes(t)
	used := make(map[string]bool)
	size := func(name string, entries int64) string {
		t.Helper()
		if of[name] == "" {
			t.Errorf("the source gives %s no size by name", name)
		}
		used[of[name]] = true
		return fmt.Sprintf("%d | `%s`", entries, of[name])
	}
	var b strings.Builder
	kbit := func(bits int64) string { return fmt.Sprintf("%.1f", float64(bits)/1024) }
	b.WriteString("# What the pipeline takes of a switch\n\n" +
		"Made from `p4/build` and the P4 source by `go test ./p4 -run TestResources -update`, and held against them\n" +
		"by `go test ./p4`. No packet meets a table twice, and no register array but to write the cell that it has\n" +
		"read (`TestNothingIsVisitedTwice`). Kbit are 1,024 bits of what is to be kept, without what a target adds:\n" +
		"buckets that stay empty, parity, the counters and timers of entries.\n\n" +
		"## Tables\n\n" +
		"All are matched exactly. Action bits are those of the widest action's parameters, and those that tell its\n" +
		"actions apart.\n\n" +
		"| table | entries | their constant | key bits | action bits | Kbit | also has |\n" +
		"|---|---|---|---|---|---|---|\n")
	var total int64
	for _, table := range info.GetTables() {
		key, widest, actions := int64(0), 0, int64(0)
		for _, f := range table.GetMatchFields() {
			if f.GetMatchType() != configv1.MatchField_EXACT {
				t.Errorf("%s: key %s is matched %v, and resources.md says exactly", table.GetPreamble().GetName(),
					f.GetName(), f.GetMatchType())
			}
			key += int64(f.GetBitwidth())
		}
		for _, ref := range table.GetActionRefs() {
			if ref.GetScope() == configv1.ActionRef_DEFAULT_ONLY {
				continue
			}
			actions++
			for _, a := range info.GetActions() {
				if a.GetPreamble().GetId() == ref.GetId() {
					bits := 0
					for _, p := range a.GetParams() {
						bits += int(p.GetBitwidth())
					}
					widest = max(widest, bits)
				}
			}
		}
		for more := actions - 1; more > 0; more >>= 1 {
			widest++
		}
		var also []string
		if table.GetDirectResourceIds() != nil {
			also = append(also, "a counter per entry")
		}
		if table.GetIdleTimeoutBehavior() == configv1.Table_NOTIFY_CONTROL {
			also = append(also, "idle timeouts")
		}
		name := table.GetPreamble().GetName()
		bits := table.GetSize() * (key + int64(widest))
		total += bits
		fmt.Fprintf(&b, "| `%s` | %s | %d | %d | %s | %s |\n", name, size(name, table.GetSize()), key, widest,
			kbit(bits), strings.Join(also, ", "))
	}
	fmt.Fprintf(&b, "| all | | | | | %s | |\n\n## Registers\n\n| array | cells | their constant | bits | Kbit |\n"+
		"|---|---|---|---|---|\n", kbit(total))
	total = 0
	for _, r := range program.Registers {
		bits := int64(r.Size) * int64(r.Bitwidth)
		total += bits
		fmt.Fprintf(&b, "| `%s` | %s | %d | %s |\n", r.Name, size(r.Name, int64(r.Size)), r.Bitwidth, kbit(bits))
	}
	fmt.Fprintf(&b, "| all | | | | %s |\n\n## Counters and meters by index\n\n"+
		"| array | kind | cells | their constant |\n|---|---|---|---|\n", kbit(total))
	for _, c := range info.GetCounters() {
		name := c.GetPreamble().GetName()
		fmt.Fprintf(&b, "| `%s` | counter of %s | %s |\n", name, map[configv1.CounterSpec_Unit]string{
			configv1.CounterSpec_PACKETS: "packets", configv1.CounterSpec_BOTH: "packets and bytes",
		}[c.GetSpec().GetUnit()], size(name, c.GetSize()))
	}
	for _, m := range info.GetMeters() {
		name := m.GetPreamble().GetName()
		fmt.Fprintf(&b, "| `%s` | meter of packets | %s |\n", name, size(name, m.GetSize()))
	}
	b.WriteString("\n## What the constants stand for\n\nThey are in `p4/include/headers.p4`, and in `p4/limits` for " +
		"Go.\n\n| constant | what it is |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if says[name] == "" {
			t.Errorf("the source does not say what %s stands for", name)
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, says[name])
	}
	if *update {
		if err := os.WriteFile(resources, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(resources)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(b.String(), "\n"), strings.Split(string(page), "\n")); diff != "" {
		t.Errorf("docs/resources.md is not of this pipeline; run go test ./p4 -run TestResources -update "+
			"(-pipeline +page):\n%s", diff)
	}
}
