package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"strings"
)

// The JSON as bmv2's docs/JSON_format.md describes it, as far as this package reads it.
type document struct {
	HeaderTypes       []headerTypeJSON
	Headers           []headerJSON
	HeaderStacks      []json.RawMessage
	HeaderUnionTypes  []json.RawMessage
	HeaderUnions      []json.RawMessage
	HeaderUnionStacks []json.RawMessage
	Errors            [][]any
	Parsers           []parserJSON
	ParseVsets        []json.RawMessage
	Deparsers         []deparserJSON
	MeterArrays       []meterJSON
	CounterArrays     []counterJSON
	RegisterArrays    []registerJSON
	Calculations      []calculationJSON
	LearnLists        []learnListJSON
	Actions           []actionJSON
	Pipelines         []pipelineJSON
	Checksums         []checksumJSON
	ExternInstances   []json.RawMessage
	FieldAliases      [][]json.RawMessage
	Meta              *struct{ Version []int }
}

// keys maps the members of document to their keys in the file.
func (d *document) keys() map[string]any {
	return map[string]any{
		"header_types": &d.HeaderTypes, "headers": &d.Headers, "header_stacks": &d.HeaderStacks,
		"header_union_types": &d.HeaderUnionTypes, "header_unions": &d.HeaderUnions,
		"header_union_stacks": &d.HeaderUnionStacks, "errors": &d.Errors, "parsers": &d.Parsers,
		"parse_vsets": &d.ParseVsets, "deparsers": &d.Deparsers, "meter_arrays": &d.MeterArrays,
		"counter_arrays": &d.CounterArrays, "register_arrays": &d.RegisterArrays,
		"calculations": &d.Calculations, "learn_lists": &d.LearnLists, "actions": &d.Actions,
		"pipelines": &d.Pipelines, "checksums": &d.Checksums,
		"extern_instances": &d.ExternInstances, "field_aliases": &d.FieldAliases, "__meta__": &d.Meta,
	}
}

type headerTypeJSON struct {
	Name      string              `json:"name"`
	Fields    [][]json.RawMessage `json:"fields"`
	LengthExp json.RawMessage     `json:"length_exp"`
	MaxLength int                 `json:"max_length"` // bytes
}

type headerJSON struct {
	Name       string `json:"name"`
	HeaderType string `json:"header_type"`
	Metadata   bool   `json:"metadata"`
}

type parserJSON struct {
	Name        string           `json:"name"`
	InitState   *string          `json:"init_state"`
	ParseStates []parseStateJSON `json:"parse_states"`
}

type parseStateJSON struct {
	Name          string           `json:"name"`
	ParserOps     []parserOpJSON   `json:"parser_ops"`
	TransitionKey []valueJSON      `json:"transition_key"`
	Transitions   []transitionJSON `json:"transitions"`
}

type parserOpJSON struct {
	Op         string            `json:"op"`
	Parameters []json.RawMessage `json:"parameters"`
}

type transitionJSON struct {
	Type      string  `json:"type"`
	Value     *string `json:"value"`
	Mask      *string `json:"mask"`
	NextState *string `json:"next_state"`
}

type deparserJSON struct {
	Name       string            `json:"name"`
	Order      []string          `json:"order"`
	Primitives []json.RawMessage `json:"primitives"`
}

type counterJSON struct {
	Name     string `json:"name"`
	Size     int    `json:"size"`
	IsDirect bool   `json:"is_direct"`
}

type meterJSON struct {
	Name         string          `json:"name"`
	Size         int             `json:"size"`
	IsDirect     bool            `json:"is_direct"`
	Type         string          `json:"type"`
	RateCount    int             `json:"rate_count"`
	ResultTarget json.RawMessage `json:"result_target"`
}

type registerJSON struct {
	Name     string `json:"name"`
	Size     int    `json:"size"`
	Bitwidth int    `json:"bitwidth"`
}

type calculationJSON struct {
	Name  string      `json:"name"`
	Algo  string      `json:"algo"`
	Input []valueJSON `json:"input"`
}

type learnListJSON struct {
	ID       int         `json:"id"`
	Name     string      `json:"name"`
	Elements []valueJSON `json:"elements"`
}

type actionJSON struct {
	Name        string `json:"name"`
	ID          int    `json:"id"`
	RuntimeData []struct {
		Name     string `json:"name"`
		Bitwidth int    `json:"bitwidth"`
	} `json:"runtime_data"`
	Primitives []primitiveJSON `json:"primitives"`
}

type primitiveJSON struct {
	Op         string      `json:"op"`
	Parameters []valueJSON `json:"parameters"`
	SourceInfo struct {
		Filename string `json:"filename"`
		Line     int    `json:"line"`
		Fragment string `json:"source_fragment"`
	} `json:"source_info"`
}

type pipelineJSON struct {
	Name         string            `json:"name"`
	InitTable    *string           `json:"init_table"`
	Tables       []tableJSON       `json:"tables"`
	Conditionals []conditionalJSON `json:"conditionals"`
	ActionCalls  []actionCallJSON  `json:"action_calls"`
}

type tableJSON struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Match string `json:"match_type"`
	Key   []struct {
		MatchType string          `json:"match_type"`
		Name      string          `json:"name"`
		Target    json.RawMessage `json:"target"`
		Mask      *string         `json:"mask"`
	} `json:"key"`
	MaxSize         int                `json:"max_size"`
	WithCounters    bool               `json:"with_counters"`
	SupportTimeout  bool               `json:"support_timeout"`
	DirectMeters    *string            `json:"direct_meters"`
	ActionIDs       []int              `json:"action_ids"`
	Actions         []string           `json:"actions"`
	BaseDefaultNext *string            `json:"base_default_next"`
	NextTables      map[string]*string `json:"next_tables"`
	DefaultEntry    *struct {
		ActionID         int      `json:"action_id"`
		ActionConst      bool     `json:"action_const"`
		ActionData       []string `json:"action_data"`
		ActionEntryConst bool     `json:"action_entry_const"`
	} `json:"default_entry"`
	Entries []tableEntryJSON `json:"entries"`
}

type tableEntryJSON struct {
	MatchKey []struct {
		MatchType    string          `json:"match_type"`
		Key          json.RawMessage `json:"key"`
		Mask         string          `json:"mask"`
		PrefixLength int             `json:"prefix_length"`
		Start        string          `json:"start"`
		End          string          `json:"end"`
	} `json:"match_key"`
	ActionEntry struct {
		ActionID   int      `json:"action_id"`
		ActionData []string `json:"action_data"`
	} `json:"action_entry"`
	Priority int `json:"priority"`
}

type conditionalJSON struct {
	Name       string    `json:"name"`
	Expression valueJSON `json:"expression"`
	TrueNext   *string   `json:"true_next"`
	FalseNext  *string   `json:"false_next"`
}

type actionCallJSON struct {
	Name     string  `json:"name"`
	ActionID int     `json:"action_id"`
	NextNode *string `json:"next_node"`
}

type checksumJSON struct {
	Name        string     `json:"name"`
	Target      []string   `json:"target"`
	Type        string     `json:"type"`
	Calculation string     `json:"calculation"`
	Update      *bool      `json:"update"`
	Verify      *bool      `json:"verify"`
	IfCond      *valueJSON `json:"if_cond"`
}

// valueJSON is the "type value object" of the format.
type valueJSON struct {
	Type     string          `json:"type"`
	Value    json.RawMessage `json:"value"`
	Bitwidth int             `json:"bitwidth"`
}

type operationJSON struct {
	Op    string          `json:"op"`
	Left  json.RawMessage `json:"left"`
	Right json.RawMessage `json:"right"`
	Cond  json.RawMessage `json:"cond"`
}

// readDocument decodes the JSON section by section, so that an error names its section, and
// refuses what this package does not run.
func readDocument(data []byte) (*document, error) {
	var sections map[string]json.RawMessage
	if err := json.Unmarshal(data, &sections); err != nil {
		return nil, fmt.Errorf("device config is not bmv2 JSON: %w", err)
	}
	doc := new(document)
	for key, into := range doc.keys() {
		if raw, ok := sections[key]; ok {
			if err := json.Unmarshal(raw, into); err != nil {
				return nil, at(key).mistyped(err)
			}
		}
	}
	if doc.Meta != nil && len(doc.Meta.Version) > 0 && doc.Meta.Version[0] != 2 {
		return nil, fmt.Errorf("__meta__.version: major version must be 2, is %d", doc.Meta.Version[0])
	}
	for _, s := range []struct {
		key  string
		rows []json.RawMessage
	}{
		{"header_stacks", doc.HeaderStacks},
		{"header_union_types", doc.HeaderUnionTypes},
		{"header_unions", doc.HeaderUnions},
		{"header_union_stacks", doc.HeaderUnionStacks},
		{"parse_vsets", doc.ParseVsets},
		{"extern_instances", doc.ExternInstances},
	} {
		if len(s.rows) > 0 {
			return nil, fmt.Errorf("%s[0] (%s): not supported", s.key, nameOf(s.rows[0]))
		}
	}
	return doc, nil
}

// nameOf returns the "name" member of an object, for messages.
func nameOf(raw json.RawMessage) string {
	var named struct{ Name string }
	_ = json.Unmarshal(raw, &named)
	return named.Name
}

// at is a place in the JSON, for messages.
type at string

func (a at) member(key string) at { return a + "." + at(key) }
func (a at) index(i int) at       { return at(fmt.Sprintf("%s[%d]", a, i)) }
func (a at) named(key string, i int, nm string) at {
	return at(fmt.Sprintf("%s%s[%d] (%s)", a, key, i, nm))
}
func (a at) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: "+format, append([]any{a}, args...)...)
}

// decode reads a JSON value strictly enough for its place.
func decode(where at, raw json.RawMessage, into any) error {
	if isNull(raw) {
		return where.errorf("is missing")
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return where.mistyped(err)
	}
	return nil
}

// mistyped says where the JSON has a value of another type than it must have.
func (a at) mistyped(err error) error {
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return a.errorf("%w", err)
	}
	if wrong.Field != "" {
		a = a.member(wrong.Field)
	}
	must := wrong.Type.Kind().String()
	switch wrong.Type.Kind() {
	case reflect.Struct, reflect.Map:
		must = "an object"
	case reflect.Slice:
		must = "an array"
	case reflect.Bool:
		must = "true or false"
	case reflect.String:
		must = "a string"
	case reflect.Int:
		must = "a whole number"
	}
	return a.errorf("must be %s, is %s", must, wrong.Value)
}

// boolJSON is true or false, which p4c writes as 1 or 0 in the type of a bool within a header.
type boolJSON bool

func (f *boolJSON) UnmarshalJSON(raw []byte) error {
	switch string(raw) {
	case "true", "1":
		*f = true
	case "false", "0":
		*f = false
	default:
		return fmt.Errorf("must be true or false, is %s", raw)
	}
	return nil
}

func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || bytes.Equal(bytes.TrimSpace(raw), []byte("null"))
}

// parseHex reads a hexstr: optional sign, optional 0x.
func parseHex(where at, s string) (*big.Int, error) {
	digits, negative := strings.CutPrefix(s, "-")
	digits = strings.TrimPrefix(digits, "0x")
	v, ok := new(big.Int).SetString(digits, 16)
	if !ok || v.Sign() < 0 {
		return nil, where.errorf("hexstr %q is not a hexadecimal number", s)
	}
	if negative {
		v.Neg(v)
	}
	return v, nil
}

// parseHexBytes reads a hexstr as exactly n bytes.
func parseHexBytes(where at, s string, n int) ([]byte, error) {
	v, err := parseHex(where, s)
	if err != nil {
		return nil, err
	}
	if v.Sign() < 0 || v.BitLen() > 8*n {
		return nil, where.errorf("hexstr %s does not fit %d bytes", s, n)
	}
	return v.FillBytes(make([]byte, n)), nil
}
