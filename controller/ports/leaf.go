package ports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/openconfig/gnmi/proto/gnmi"
)

// place is a node of a target's tree: the interface or component that it is of, and the names of its path below that.
type place struct {
	list string // "interfaces/interface"; a beginning of it: what is above the list
	key  string // name of the entry; empty: all of them
	leaf string // "state/oper-status"; a beginning of it: all that is below
}

// The lists that are read, both by name.
const (
	interfaces = "interfaces/interface"
	components = "components/component"
)

// deepest is how many names the path of a leaf has that is read.
const deepest = 8

// placeOf reads a path. It is false for one that has nothing to do with what is read.
func placeOf(elems ...*gnmi.PathElem) (p place, ok bool) {
	var names []string
	for _, e := range elems {
		if len(names) == deepest {
			return p, false
		}
		names = append(names, plain(e.GetName()))
		if len(names) == 2 {
			p.key = e.GetKey()["name"]
		}
	}
	return p.at(names)
}

// at fills in the names of a path.
func (p place) at(names []string) (place, bool) {
	if p.key == "*" {
		p.key = ""
	}
	top := names[:min(2, len(names))]
	p.list, p.leaf = strings.Join(top, "/"), strings.Join(names[len(top):], "/")
	known := slices.ContainsFunc([]string{interfaces, components}, func(l string) bool {
		return l == p.list || len(top) < 2 && (p.list == "" || strings.HasPrefix(l, p.list+"/"))
	})
	return p, known
}

// plain is a name without its module.
func plain(name string) string { return name[strings.LastIndexByte(name, ':')+1:] }

// read tells visit of each leaf that an update has of an entry, in whatever encoding. A value is a string, a whole
// number, or what package json makes of one.
func read(prefix *gnmi.Path, u *gnmi.Update, visit func(place, any)) error {
	elems := slices.Concat(prefix.GetElem(), u.GetPath().GetElem())
	p, ok := placeOf(elems...)
	if !ok {
		return nil
	}
	document := u.GetVal().GetJsonIetfVal()
	if document == nil {
		document = u.GetVal().GetJsonVal()
	}
	if document == nil {
		if v := scalar(u.GetVal()); v != nil && p.key != "" && p.leaf != "" {
			visit(p, v)
		}
		return nil
	}
	items := 0 // at most: texts have such characters too
	for _, c := range document {
		if c == ',' || c == '[' || c == '{' {
			items++
		}
	}
	if items > maxItems {
		return fmt.Errorf("a JSON document of %d items: must be at most %d", items, maxItems)
	}
	d := json.NewDecoder(bytes.NewReader(document))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return fmt.Errorf("a JSON document: %w", err)
	}
	var names []string
	for _, e := range elems {
		names = append(names, plain(e.GetName()))
	}
	walk(p.key, names, v, visit)
	return nil
}

// scalar is a value of the kinds that leaves here have, nil for others. Package value of openconfig/gnmi does not bear
// messages that lack a part.
func scalar(v *gnmi.TypedValue) any {
	switch v := v.GetValue().(type) {
	case *gnmi.TypedValue_StringVal:
		return v.StringVal
	case *gnmi.TypedValue_UintVal:
		return v.UintVal
	case *gnmi.TypedValue_IntVal:
		return v.IntVal
	}
	return nil
}

// walk goes down a JSON document that stands at names, of the entry key.
func walk(key string, names []string, v any, visit func(place, any)) {
	switch v := v.(type) {
	case map[string]any:
		if len(names) == 2 && key == "" {
			for name, inner := range v {
				if plain(name) == "name" {
					key, _ = inner.(string)
				}
			}
		}
		if len(names) == deepest {
			return
		}
		for name, inner := range v {
			walk(key, append(slices.Clone(names), plain(name)), inner, visit)
		}
	case []any:
		if len(names) != 2 {
			return // no list below those is read
		}
		for _, inner := range v {
			walk(key, names, inner, visit)
		}
	default:
		if p, ok := (place{key: key}).at(names); ok && p.key != "" && p.leaf != "" {
			visit(p, v)
		}
	}
}

// number is a value as a whole number, which is text in JSON_IETF where it has 64 bits (RFC 7951 section 6.1).
func number(v any) (uint64, bool) {
	switch v := v.(type) {
	case uint64:
		return v, true
	case int64:
		return uint64(v), v >= 0
	case string:
		n, err := strconv.ParseUint(v, 10, 64)
		return n, err == nil
	case json.Number:
		n, err := strconv.ParseUint(v.String(), 10, 64)
		return n, err == nil
	}
	return 0, false
}
