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
}

type item struct {
	On bool `yaml:"on"`
}

func TestDecode(t *testing.T) {
	var got file
	d := Decode("f", []byte("name: 010\ncount: 7\nwait: 1m30s\nlevel: high\nitems:\n  - on: true\n  -\n    on: false\n"), &got)
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

func TestDecodeGoesOnAfterAProblem(t *testing.T) {
	var got file
	d := Decode("f", []byte("count: x\nwait: 3\nlevel: middle\nitems: [{on: 1}, {no: true}, 4, {on: true}]\n? [a]\n: b\n"), &got)
	want := `f:1: count: must be a whole number, is "x"
f:1: name: is missing
f:2: wait: must be a duration with its unit, such as 500ms or 2s, is "3"
f:3: level: must be high or low, is "middle"
f:4: items[0].on: must be true or false, is "1"
f:4: items[1].no: is not a known key: did you mean on?
f:4: items[2]: must be a set of keys and values, is "4"
f:5: has a list for a key: must be one of name, count, wait, level, items`
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
	if diff := cmp.Diff([]string{"count", "items.on", "level"}, Missing([]byte("name: a\nwait: 1s\nitems: []\n"), file{})); diff != "" {
		t.Errorf("Missing (-want +got):\n%s", diff)
	}
}
