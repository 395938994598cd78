package strict

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type level string

func (l *level) UnmarshalText(text []byte) error {
	if string(text) != "high" && string(text) != "low" {
		return fmt.Errorf("must be high or low, is %s", Quote(string(text)))
	}
	*l = level(text)
	return nil
}

type file struct {
	Name  string         `yaml:"name,required"`
	Count *int           `yaml:"count"`
	Wait  *time.Duration `yaml:"wait"`
	Level level          `yaml:"level"`
	Items []item         `yaml:"items"`
	Port  Each[int]      `yaml:"port"`
}

type item struct {
	On bool `yaml:"on"`
}

func TestDecode(t *testing.T) {
	var got file
	d := Decode("f", []byte(
		"name: 010\ncount: 7\nwait: 1m30s\nlevel: high\nitems:\n  - on: true\n  -\n    on: false\n"),
		&got)
	if err := d.Err(); err != nil {
		t.Fatal(err)
	}
	count, wait := 7, 90*time.Second
	want := file{Name: "010", Count: &count, Wait: &wait, Level: "high", Items: []item{{true}, {false}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Decode (-want +got):\n%s", diff)
	}
	for path, line := range map[string]int{
		"name": 1, "items": 5, "items[0].on": 6, "items[1]": 8, "items[1].on": 8,
		"items[1].absent.deeper": 8, "absent": 1, "": 1, // the nearest that is there
	} {
		if got := d.Line(path); got != line {
			t.Errorf("Line(%q) = %d, want %d", path, got, line)
		}
	}
}

// An Each is one value or a set of names; each has its place.
func TestEach(t *testing.T) {
	three := 3
	for _, tt := range []struct {
		name, data string
		want       Each[int]
		problems   string
	}{
		{"one value", "port: 3", Each[int]{All: &three}, ""},
		{"a set", "port:\n  b: 3\n  a.b: 4", Each[int]{By: []Named[int]{{"b", 3}, {"a.b", 4}}}, ""},
		{"an empty set", "port: {}", Each[int]{}, ""},
		{"no key", "level: low", Each[int]{}, ""},
		{"text", "port: three", Each[int]{}, `f:1: port: must be a whole number, is "three"`},
		{"a list", "port: [3]", Each[int]{},
			"f:1: port: must be one value, or a set of names with a value each, is a list"},
		{"a set with faults", "port:\n  a: x\n  a: 3\n  [b]: 4\n  c:", Each[int]{By: []Named[int]{{"a", 0}, {"c", 0}}},
			"f:2: port.a: must be a whole number, is \"x\"\nf:3: port.a: is given twice: first on line 2\n" +
				"f:4: port: has a list for a key: must be a name\nf:5: port.c: has no value: give it one, or leave " +
				"the key out"},
	} {
		var got file
		d := Decode("f", []byte(tt.data+"\nname: a\n"), &got)
		text := ""
		if err := d.Err(); err != nil {
			text = err.Error()
		}
		if diff := cmp.Diff(tt.problems, text); diff != "" {
			t.Errorf("%s: problems (-want +got):\n%s", tt.name, diff)
		}
		if diff := cmp.Diff(tt.want, got.Port); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestDecodeGoesOnAfterAProblem(t *testing.T) {
	var got file
	d := Decode("f", []byte(
		"count: x\nwait: 3\nlevel: middle\nitems: [{on: 1}, {no: true}, 4, {on: true}]\n? [a]\n: b\n"),
		&got)
	want := `f:1: count: must be a whole number, is "x"
f:1: name: is missing
f:2: wait: must be a duration with its unit, such as 500ms or 2s, is "3"
f:3: level: must be high or low, is "middle"
f:4: items[0].on: must be true or false, is "1"
f:4: items[1].no: is not a known key: did you mean on?
f:4: items[2]: must be a set of keys and values, is "4"
f:5: has a list for a key: must be one of name, count, wait, level, items, port`
	if diff := cmp.Diff(want, fmt.Sprint(d.Err())); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(file{Items: []item{{}, {}, {}, {true}}}, got); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
	if !d.Bad("count") || !d.Has("count") || d.Bad("items") || !d.Bad("name") || d.Has("name") {
		t.Error("Bad or Has is wrong about count, items or name")
	}
}

func TestDecodeTakesEmbeddedFields(t *testing.T) {
	type shape struct {
		Size *int   `yaml:"size,required"`
		Mark []item `yaml:"mark"`
	}
	type box struct {
		Name string `yaml:"name"`
		shape
	}
	var got box
	if err := Decode("f", []byte("{size: 3, name: a, mark: [{on: true}]}"), &got).Err(); err != nil {
		t.Fatal(err)
	}
	if got.Name != "a" || *got.Size != 3 || len(got.Mark) != 1 || !got.Mark[0].On {
		t.Errorf("Decode = %+v", got)
	}
	want := "f:1: sizes: is not a known key: did you mean size?\nf:1: size: is missing"
	if diff := cmp.Diff(want, fmt.Sprint(Decode("f", []byte("{sizes: 3}"), &got).Err())); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"mark", "mark.on", "name"}, Missing([]byte("size: 1"), box{})); diff != "" {
		t.Errorf("Missing (-want +got):\n%s", diff)
	}
}

func TestProblems(t *testing.T) {
	a, b := &Problem{File: "f", Line: 1, Path: "a", Message: "is wrong"}, &Problem{File: "f", Message: "is unreadable"}
	err := fmt.Errorf("applying: %w", errors.Join(a, errors.New("another"), b))
	if diff := cmp.Diff([]*Problem{a, b}, Problems(err)); diff != "" {
		t.Errorf("Problems (-want +got):\n%s", diff)
	}
	if got, want := b.Error(), "f: is unreadable"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}

func TestQuoteCuts(t *testing.T) {
	if got, want := Quote(strings.Repeat("x", 61)), `"`+strings.Repeat("x", 60)+`"...`; got != want {
		t.Errorf("Quote = %s, want %s", got, want)
	}
}

func TestSuggestion(t *testing.T) {
	fields := []field{{key: "weight"}, {key: "switch_port"}, {key: "on"}}
	for key, want := range map[string]string{
		"wieght":                       "did you mean weight?",
		"Weight":                       "did you mean weight?",
		"switch-port":                  "did you mean switch_port?",
		"port":                         "must be one of weight, switch_port, on",
		"":                             "must be one of weight, switch_port, on",
		strings.Repeat("weight", 1000): "must be one of weight, switch_port, on",
	} {
		if got := suggestion(key, fields); got != want {
			t.Errorf("suggestion(%.20q) = %q, want %q", key, got, want)
		}
	}
}

func TestMissing(t *testing.T) {
	if diff := cmp.Diff([]string{"count", "items.on", "level", "port"},
		Missing([]byte("name: a\nwait: 1s\nitems: []\n"), file{})); diff != "" {
		t.Errorf("Missing (-want +got):\n%s", diff)
	}
}

// Whatever a file has for keys and values, problems are one line each and say what is allowed.
func TestProblemTexts(t *testing.T) {
	type numbers struct {
		ID    *uint64 `yaml:"id"`
		Count *int    `yaml:"count"`
		On    bool    `yaml:"on"`
	}
	for _, tt := range []struct{ name, text, want string }{
		{"all of uint64", "id: 18446744073709551615", "<nil>"},
		{"above uint64", "id: 18446744073709551616",
			"f:1: id: must be 0..18446744073709551615, is 18446744073709551616"},
		{"far above uint64", "id: 1" + strings.Repeat("0", 99), "f:1: id: must be 0..18446744073709551615, is 1" +
			strings.Repeat("0", 29) + "..."},
		{"below uint64", "id: -1", "f:1: id: must be 0 or more, is -1"},
		{"no number", "id: one", `f:1: id: must be a whole number, is "one"`},
		{"a fraction", "id: 1.5", `f:1: id: must be a whole number, is "1.5"`},
		{"a list", "id: [1]", "f:1: id: must be a whole number, is a list"},
		{"hexadecimal", "id: 0x3", `f:1: id: must be a whole number in plain decimal digits, is "0x3"`},
		{"underscores", "count: 1_000", `f:1: count: must be a whole number in plain decimal digits, is "1_000"`},
		{"quoted number", `count: "80"`, `f:1: count: must be a whole number, without quotes, is the text "80"`},
		{"above int", "count: 99999999999999999999",
			"f:1: count: must be at most 9223372036854775807, is 99999999999999999999"},
		{"below int", "count: -99999999999999999999",
			"f:1: count: must be at least -9223372036854775808, is -99999999999999999999"},
		{"quoted bool", "on: 'true'", `f:1: on: must be true or false, without quotes, is the text "true"`},
		{"control characters in a key", `{"a\e[31m\nb": 1}`,
			`f:1: "a\x1b[31m\nb": is not a known key: must be one of id, count, on`},
		{"a dot in a key", "a.b: 1", `f:1: "a.b": is not a known key: must be one of id, count, on`},
		{"no key", `"": 1`, `f:1: "": is not a known key: must be one of id, count, on`},
		{"an anchor on a key", "&a id: 1",
			"f:1: id: has an anchor on its key: anchors and aliases are not allowed, leave it out"},
		{"a tag on a key", "!!str id: 1", "f:1: id: has the tag !!str on its key: tags are not allowed, leave it out"},
		{"a tag on an unknown key", "!!binary foo: 1",
			"f:1: foo: has the tag !!binary on its key: tags are not allowed, " +
				"leave it out\nf:1: foo: is not a known key: must be one of id, count, on"},
		{"an alias for a key", "id: &a 1\n*a : 2", "f:1: id: anchors and aliases are not allowed: write the value " +
			"out\nf:2: has an alias for a key: must be one of id, count, on"},
		{"a tag that does not print", "id: !<%1B[31m> 1", `f:1: id: the tag "\x1b[31m" is not allowed: leave it out`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, fmt.Sprint(Decode("f", []byte(tt.text), new(numbers)).Err())); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
