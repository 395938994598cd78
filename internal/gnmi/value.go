package gnmi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	pb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/openconfig/gnmi/value"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// encodings are those that are served (gNMI specification section 2.3).
var encodings = []pb.Encoding{pb.Encoding_JSON, pb.Encoding_JSON_IETF, pb.Encoding_PROTO}

func checkEncoding(e pb.Encoding) error {
	if slices.Contains(encodings, e) {
		return nil
	}
	return status.Errorf(codes.Unimplemented, "encoding %v is not supported: must be JSON, JSON_IETF or PROTO", e)
}

// typed returns the value of a leaf.
func (i item) typed(e pb.Encoding) *pb.TypedValue {
	if e == pb.Encoding_PROTO {
		v, err := value.FromScalar(i.value())
		return must(v, err)
	}
	return document(i.json(e), e)
}

// document is a value in JSON.
func document(v any, e pb.Encoding) *pb.TypedValue {
	text, err := json.Marshal(v)
	text = must(text, err)
	if e == pb.Encoding_JSON_IETF {
		return &pb.TypedValue{Value: &pb.TypedValue_JsonIetfVal{JsonIetfVal: text}}
	}
	return &pb.TypedValue{Value: &pb.TypedValue_JsonVal{JsonVal: text}}
}

// must returns what a value of a leaf, which Set has looked at, cannot fail to become.
func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("gnmi: %v", err))
	}
	return v
}

// json is what a leaf's value is in JSON. JSON_IETF writes numbers of 64 bits and decimals as text, as numbers of
// JavaScript hold neither (RFC 7951 section 6.1).
func (i item) json(e pb.Encoding) any {
	if e == pb.Encoding_JSON_IETF {
		switch v := i.value().(type) {
		case uint64:
			if i.leaf.kind == Uint64 {
				return strconv.FormatUint(v, 10)
			}
		case float64:
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
	}
	return i.value()
}

// subtree is the JSON of a node: what items have below it, at elements of their paths from at on (gNMI specification
// section 2.3.1). In JSON_IETF a name has its module before it where that is another than the parent's (RFC 7951
// section 4); at the top it always has.
func subtree(items []item, at int, parent string, e pb.Encoding) any {
	if len(items) == 1 && len(items[0].leaf.elems) == at {
		return items[0].json(e)
	}
	object := make(map[string]any)
	for len(items) > 0 {
		node := items[0].leaf.elems[at]
		var same, rest []item
		for _, i := range items {
			if n := i.leaf.elems[at]; n.name == node.name && n.module == node.module {
				same = append(same, i)
			} else {
				rest = append(rest, i)
			}
		}
		items = rest
		name := node.name
		if e == pb.Encoding_JSON_IETF && node.module != parent {
			name = node.module + ":" + name
		}
		if len(node.keys) == 0 {
			object[name] = subtree(same, at+1, node.module, e)
			continue
		}
		var list []any
		for _, entry := range byEntry(same, at) {
			list = append(list, subtree(entry, at+1, node.module, e))
		}
		object[name] = list
	}
	return object
}

// byEntry sorts items into those of each entry of the list that is the element at of their paths, in order of its keys.
func byEntry(items []item, at int) [][]item {
	keys := func(i item) []string {
		n := 0
		for _, e := range i.leaf.elems[:at+1] {
			n += len(e.keys)
		}
		return i.entry.keys[:n]
	}
	slices.SortStableFunc(items, func(a, b item) int { return slices.Compare(keys(a), keys(b)) })
	var all [][]item
	for start := 0; start < len(items); {
		end := start + 1
		for end < len(items) && slices.Equal(keys(items[start]), keys(items[end])) {
			end++
		}
		all, start = append(all, items[start:end]), end
	}
	return all
}
