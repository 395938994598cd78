package strict

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/sluicelb/sluice/internal/alloctest"
)

// A file with very many problems tells the first hundred, and how many more there are.
func TestProblemsStop(t *testing.T) {
	text := "name: x\n" + strings.Repeat("name: x\n", 200000) + "items: [{on: 1}, {no: true}, 4]\n"
	var err error
	var d *Document
	used := alloctest.MiB(func() {
		d = Decode("f", []byte(text), new(file))
		for range 1000 {
			d.Add("items[2]", "is wrong again")
		}
		d.Add("name", "is early")
		err = d.Err()
	})
	problems := Problems(err)
	if len(problems) != MaxProblems+1 || problems[0].Error() != "f:1: name: is early" ||
		problems[99].Error() != "f:100: name: is given twice: first on line 1" ||
		problems[100].Error() != "and 200904 more" || Count(problems) != 201004 {
		t.Errorf("%d problems, %d in all; the first is %v, the last two %v and %v", len(problems), Count(problems),
			problems[0], problems[len(problems)-2], problems[len(problems)-1])
	}
	var nodes yaml.Node
	parsing := alloctest.MiB(func() { _ = yaml.Unmarshal([]byte(text), &nodes) })
	if used > 2*parsing {
		t.Errorf("%d MiB for the problems of a text that takes %d MiB to parse", used-parsing, parsing)
	}
}

// However a text is written, it has no more keys and values than Values says.
func TestValues(t *testing.T) {
	for _, text := range []string{
		"", "a", "a: b", "a:\n  b:\n    - c\n    -\n    - d\n", "[a, b, c]", "{a, b, c}", "{a: 1, b: 2}",
		"[a: b, c: d]",
		`{"a":1,'b':2,[c]:3,{d}:4}`,
		"? a\n: b\n? c\n", "- - - - a", "[[[[]]]]", "{{{a}}}", "{a:,b:,c}", "a:\t1\nb:\r\nc:", "- ?\n- ?",
		"!!map {? a}",
		"{? , ? }", "a:\u20282", "- - -",
		strings.Repeat("[", 50) + strings.Repeat("]", 50), strings.Repeat("{a,", 20) + strings.Repeat("}", 20),
		strings.Repeat("- ", 100), strings.Repeat("? ", 20),
	} {
		var root yaml.Node
		if err := yaml.Unmarshal([]byte(text), &root); err != nil {
			continue
		}
		if got, want := Values([]byte(text)), nodes(&root); got < want {
			t.Errorf("%q: at most %d values, and there are %d", text, got, want)
		}
	}
	const backend = "- {name: web1, address: 10.0.0.11, mac: \"02:00:00:00:00:11\"}\n# 12:30\n"
	if got := Values([]byte(backend)); got != 1+2+3+3*2+2*2 {
		t.Errorf("a backend has up to %d values", got)
	}
}

// nodes counts without the document, which is none of what is written.
func nodes(n *yaml.Node) int {
	count := 1
	if n.Kind == yaml.DocumentNode || n.Kind == 0 {
		count = 0
	}
	for _, inner := range n.Content {
		count += nodes(inner)
	}
	return count
}

func FuzzValues(f *testing.F) {
	for _, seed := range []string{"a: [b, {c: d}]\n? e\n: - f\n", "{a,b,\"c\":d}", "- - ?\n",
		"a: 'it''s'\nb: \"x\\\" \"",
		"%YAML 1.1\n---\na: |\n  x\n", "a:\xe2\x80\xa8"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var root yaml.Node
		if yaml.Unmarshal([]byte(text), &root) != nil {
			return
		}
		if got, want := Values([]byte(text)), nodes(&root); got < want {
			t.Errorf("%q: at most %d values, and there are %d", text, got, want)
		}
	})
}
