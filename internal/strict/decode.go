package strict

import (
	"bytes"
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
)

// Document is what is known of a file besides its values: where they are, and what is wrong with them.
type Document struct {
	file     string
	lines    map[string]int
	problems []*Problem // the first of them, and some more
	found    int        // how many there are
	last     int        // lines from here on have no problem among the first; 0: not known yet
	bad      map[string]bool
	huge     map[string]written // whole numbers that no int holds, by path; those in whose place the nearest int stands
}

// written is a number as the file has it, for messages that format an int.
type written string

// Format writes w, whatever the verb.
func (w written) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, string(w)) }

// MaxProblems is how many problems Err tells; of the rest, how many there are.
const MaxProblems = 100

// Decode reads the one YAML document in data into the struct that into points to, and goes on after
// a problem: what has one keeps its zero value.
//
// Fields carry `yaml:"key"` or `yaml:"key,required"`, and may be structs, slices, strings, bools,
// ints, uint64s, durations, types that unmarshal text, and pointers to these, which stay nil without a key.
// The fields of an embedded struct count as those of the struct around it. An Each is one value, or a set of names with
// one each.
// A scalar is taken as it is written: name: 010 is the text "010".
func Decode(file string, data []byte, into any) *Document {
	d := &Document{file: file, lines: make(map[string]int), bad: make(map[string]bool), huge: make(map[string]written)}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var root yaml.Node
	switch err := decoder.Decode(&root); {
	case errors.Is(err, io.EOF):
		d.problem(1, "", "is empty")
		return d
	case err != nil:
		d.syntax(err)
		return d
	}
	top := root.Content[0]
	if top.Kind == yaml.ScalarNode && top.Tag == "!!null" {
		d.problem(1, "", "is empty")
		return d
	}
	d.value("", top, reflect.ValueOf(into).Elem())
	var second yaml.Node
	switch err := decoder.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		d.syntax(err)
	default:
		d.problem(second.Line, "", "has a second document: must be one")
	}
	return d
}

// Add reports a problem with the value at path, or with the nearest thing around it that is there. A number
// that no int holds is shown as the file has it.
func (d *Document) Add(path, format string, args ...any) {
	d.bad[path] = true
	if text, ok := d.huge[path]; ok {
		args = slices.Clone(args)
		for i, arg := range args {
			if x, ok := arg.(int); ok && (x == math.MaxInt || x == math.MinInt) {
				args[i] = text
			}
		}
	}
	d.problem(d.Line(path), path, format, args...)
}

// Bad reports whether the value at path has a problem.
func (d *Document) Bad(path string) bool { return d.bad[path] }

// Has reports whether the file has a value at path, be it a bad one.
func (d *Document) Has(path string) bool {
	_, ok := d.lines[path]
	return ok
}

// Usable says whether the value at path is there and has no problem yet.
func (d *Document) Usable(path string) bool { return d.Has(path) && !d.Bad(path) }

// Line returns the line of the value at path, or of the nearest thing around it that is there.
func (d *Document) Line(path string) int {
	for {
		if line, ok := d.lines[path]; ok || path == "" {
			return line
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
}

// Err joins the problems in the order of their lines, the first MaxProblems, and after them one that counts the
// rest; nil when there are none.
func (d *Document) Err() error {
	for _, path := range slices.Sorted(maps.Keys(d.huge)) {
		switch text := d.huge[path]; {
		case d.bad[path]: // whoever knows what is allowed has said so
		case text[0] == '-':
			d.Add(path, "must be at least %s, is %s", strconv.Itoa(math.MinInt), text)
		default:
			d.Add(path, "must be at most %s, is %s", strconv.Itoa(math.MaxInt), text)
		}
	}
	d.trim()
	all := make([]error, len(d.problems))
	for i, p := range d.problems {
		all[i] = p
	}
	if more := d.found - len(d.problems); more > 0 {
		all = append(all, More(d.file, more))
	}
	return errors.Join(all...)
}

// problem notes a problem. A file may have millions: those that are not among the first are only counted.
func (d *Document) problem(line int, path, format string, args ...any) {
	d.found++
	if d.last > 0 && line >= d.last {
		return
	}
	d.problems = append(d.problems,
		&Problem{File: d.file, Line: line, Path: path, Message: fmt.Sprintf(format, args...)})
	if len(d.problems) >= 2*MaxProblems {
		d.trim()
	}
}

// trim sorts the problems and forgets those that are not among the first.
func (d *Document) trim() {
	slices.SortStableFunc(d.problems, func(a, b *Problem) int { return cmp.Compare(a.Line, b.Line) })
	if len(d.problems) >= MaxProblems {
		clear(d.problems[MaxProblems:])
		d.problems = d.problems[:MaxProblems]
		d.last = d.problems[MaxProblems-1].Line
	}
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

func (d *Document) syntax(err error) {
	text := err.Error()
	m := yamlLine.FindStringSubmatch(text)
	if m == nil {
		m = []string{"", ""}
	}
	line, _ := strconv.Atoi(m[1])
	d.problem(max(line, 1), "", "is not YAML: %s", strings.TrimPrefix(text, m[0]))
}

var (
	eachType     = reflect.TypeFor[decoder]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
	durationType = reflect.TypeFor[time.Duration]()
)

// value decodes n, which is at path, into v.
func (d *Document) value(path string, n *yaml.Node, v reflect.Value) {
	if !d.Has(path) {
		d.lines[path] = n.Line
	}
	t := v.Type()
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		d.Add(path, "anchors and aliases are not allowed: write the value out")
	case n.Style&yaml.TaggedStyle != 0:
		d.Add(path, "the tag %s is not allowed: leave it out", printable(n.Tag))
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		d.Add(path, "has no value: give it one, or leave the key out")
	case t.Kind() == reflect.Pointer:
		p := reflect.New(t.Elem())
		d.value(path, n, p.Elem())
		if !d.bad[path] {
			v.Set(p)
		}
	case t == durationType:
		x, err := time.ParseDuration(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil {
			d.Add(path, "must be a duration with its unit, such as 500ms or 2s, is %s", shown(n))
			return
		}
		v.SetInt(int64(x))
	case reflect.PointerTo(t).Implements(eachType):
		v.Addr().Interface().(decoder).decode(d, path, n)
	case reflect.PointerTo(t).Implements(textType):
		if n.Kind != yaml.ScalarNode {
			d.Add(path, "must be one value, is %s", shown(n))
		} else if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Value)); err != nil {
			d.Add(path, "%v", err)
		}
	case t.Kind() == reflect.Struct:
		d.mapping(path, n, v)
	case t.Kind() == reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			d.Add(path, "must be a list, is %s", shown(n))
			return
		}
		v.Set(reflect.MakeSlice(t, len(n.Content), len(n.Content)))
		for i, item := range n.Content {
			d.value(path+"["+strconv.Itoa(i)+"]", item, v.Index(i))
		}
	default:
		d.scalar(path, n, v)
	}
}

func (d *Document) scalar(path string, n *yaml.Node, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if n.Kind != yaml.ScalarNode {
			d.Add(path, "must be text, is %s", shown(n))
			return
		}
		v.SetString(n.Value)
	case reflect.Bool:
		x, err := strconv.ParseBool(n.Value)
		switch {
		case n.Kind == yaml.ScalarNode && n.Tag == "!!bool" && err == nil:
			v.SetBool(x)
		case quoted(n) && err == nil:
			d.Add(path, "must be true or false, without quotes, is the text %s", shown(n))
		default:
			d.Add(path, "must be true or false, is %s", shown(n))
		}
	case reflect.Int:
		if d.whole(path, n) {
			// What is out of range for an int is so for every field, whose check comes later and knows its range.
			x, err := strconv.Atoi(n.Value)
			if err != nil {
				d.huge[path] = written(cut(n.Value))
			}
			v.SetInt(int64(x)) // the nearest
		}
	case reflect.Uint64:
		if d.whole(path, n) {
			x, err := strconv.ParseUint(strings.TrimPrefix(n.Value, "+"), 10, 64)
			switch {
			case err != nil && n.Value[0] == '-':
				d.Add(path, "must be 0 or more, is %s", cut(n.Value))
			case err != nil:
				d.Add(path, "must be 0..%d, is %s", uint64(math.MaxUint64), cut(n.Value))
			}
			v.SetUint(x)
		}
	default:
		panic(fmt.Sprintf("strict: %s: fields of type %s are not for files", path, v.Type()))
	}
}

var (
	decimal = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	// as YAML writes them
	integer = regexp.MustCompile(`^[-+]?(0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|[0-9][0-9_]*)$`)
)

// whole reports whether n is a whole number, of any size. If not, it says how one is written.
func (d *Document) whole(path string, n *yaml.Node) bool {
	switch {
	case n.Kind != yaml.ScalarNode:
		d.Add(path, "must be a whole number, is %s", shown(n))
	case quoted(n) && decimal.MatchString(n.Value):
		d.Add(path, "must be a whole number, without quotes, is the text %s", shown(n))
	case !quoted(n) && decimal.MatchString(n.Value):
		return true
	case !quoted(n) && integer.MatchString(n.Value):
		d.Add(path, "must be a whole number in plain decimal digits, is %s", shown(n))
	default:
		d.Add(path, "must be a whole number, is %s", shown(n))
	}
	return false
}

// quoted reports whether n is text whatever it looks like.
func quoted(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode &&
		n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
}

// keys calls f for each key of a mapping once, and returns their lines. allowed is what a key must be.
func (d *Document) keys(
	path string, n *yaml.Node, allowed string, f func(at string, key, value *yaml.Node),
) map[string]int {
	seen := make(map[string]int)
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			d.problem(key.Line, path, "has %s for a key: must be %s", shown(key), allowed)
			continue
		}
		at := Join(path, key.Value)
		if key.Anchor != "" {
			d.problem(key.Line, at, "has an anchor on its key: anchors and aliases are not allowed, leave it out")
		}
		if key.Style&yaml.TaggedStyle != 0 {
			d.problem(key.Line, at, "has the tag %s on its key: tags are not allowed, leave it out", printable(key.Tag))
		}
		if line, ok := seen[key.Value]; ok {
			d.problem(key.Line, at, "is given twice: first on line %d", line)
			continue
		}
		seen[key.Value] = key.Line
		f(at, key, value)
	}
	return seen
}

// mapping decodes n into the struct v.
func (d *Document) mapping(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.Add(path, "must be a set of keys and values, is %s", shown(n))
		return
	}
	fields := fieldsOf(v.Type())
	seen := d.keys(path, n, "one of "+names(fields), func(at string, key, value *yaml.Node) {
		known := slices.IndexFunc(fields, func(f field) bool { return f.key == key.Value })
		if known < 0 {
			d.problem(key.Line, at, "is not a known key: %s", suggestion(key.Value, fields))
			return
		}
		d.lines[at] = key.Line // of a list or a mapping, the node has the line of what is in it
		d.value(at, value, v.FieldByIndex(fields[known].index))
	})
	for _, f := range fields {
		if _, ok := seen[f.key]; f.required && !ok {
			d.problem(n.Line, Join(path, f.key), "is missing")
			d.bad[Join(path, f.key)] = true
		}
	}
}

// Join returns the path of key under path. A key that could be taken for something else than a key,
// such as one with a dot or a line break, is quoted.
func Join(path, key string) string {
	if !plainKey.MatchString(key) {
		key = Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,60}$`)

type field struct {
	key      string
	required bool
	index    []int // as reflect.Value.FieldByIndex takes it
}

// fieldsByType has the []field of each type that was decoded: long lists have the same over and over.
var fieldsByType sync.Map

func fieldsOf(t reflect.Type) []field {
	if fields, ok := fieldsByType.Load(t); ok {
		return fields.([]field)
	}
	fields := readFields(t)
	fieldsByType.Store(t, fields)
	return fields
}

func readFields(t reflect.Type) []field {
	var fields []field
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous {
			continue
		}
		key, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		fields = append(fields, field{key: key, required: option == "required", index: f.Index})
	}
	return fields
}

// shown describes a value in a message.
func shown(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a set of keys and values"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	return Quote(n.Value)
}

// cut is a number with a sane count of digits.
func cut(number string) string {
	if len(number) > 30 {
		return number[:30] + "..."
	}
	return number
}

// printable is s, in quotes if it has what would not print.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) || len(s) > 60 {
		return Quote(s)
	}
	return s
}

// Quote returns s quoted, and cut when it is long.
func Quote(s string) string {
	const most = 60
	if len(s) > most {
		return fmt.Sprintf("%q...", s[:most])
	}
	return strconv.Quote(s)
}

// Missing returns the paths, without list indexes, of the keys that from's struct type has and the
// document in data uses nowhere, sorted. It keeps reference files complete.
func Missing(data []byte, from any) []string {
	var used = make(map[string]bool)
	into := reflect.New(reflect.TypeOf(from))
	d := Decode("", data, into.Interface())
	for path := range d.lines {
		used[index.ReplaceAllString(path, "")] = true
	}
	var missing []string
	for _, path := range keys("", reflect.TypeOf(from)) {
		if !used[path] {
			missing = append(missing, path)
		}
	}
	slices.Sort(missing)
	return missing
}

var index = regexp.MustCompile(`\[\d+\]`)

// keys returns the paths of all keys of t's fields.
func keys(path string, t reflect.Type) []string {
	var all []string
	for _, f := range fieldsOf(t) {
		at := Join(path, f.key)
		all = append(all, at)
		inner := t.FieldByIndex(f.index).Type
		for inner.Kind() == reflect.Slice || inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		p := reflect.PointerTo(inner)
		if inner.Kind() == reflect.Struct && !p.Implements(textType) && !p.Implements(eachType) {
			all = append(all, keys(at, inner)...)
		}
	}
	return all
}
